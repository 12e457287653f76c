"""What a profile looks like: `UserProfile`, any Pydantic model, or a JSON schema."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field, PrivateAttr, ValidationError

from langchain_agentmem.arguments.ids import check_id
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import (
    DamagedDataError,
    InvalidInputError,
    InvalidTypeError,
    missing_extra,
)
from langchain_agentmem.knowledge.facts.facts import Fact, timeline_html
from langchain_agentmem.knowledge.facts.paths import Path

_MANAGED = frozenset(("user_id", "facts", "past", "last_interaction"))
"""The fields that no change names: they follow from what is stored."""


class Loaded:
    """The fields of a profile as they were read; no part of what it is, so all of these are equal."""

    def __init__(self, fields: dict[str, Any] | None = None) -> None:
        self.fields = fields

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Loaded)

    __hash__ = object.__hash__


class UserProfile(BaseModel):
    """What is known of a user. Derive from it for more fields; a notebook shows it with a timeline of its facts.

    Example:
        >>> from langchain_agentmem import AgentMemory
        >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
        ...     fact = memory.profiles.add_fact("alice@example.com", "Allergic to peanuts", topics=["health"])
        ...     memory.profiles.get("alice@example.com").facts[0].text
        'Allergic to peanuts'
    """

    user_id: str
    name: str | None = Field(default=None, description="How the user wants to be called.")
    preferences: dict[str, Any] = Field(
        default_factory=dict, description="How the user wants things to be done, by a short name such as 'language'."
    )
    facts: list[Fact] = Field(default_factory=list)
    """What is true, or was at the time asked for."""
    past: list[Fact] = Field(default_factory=list)
    """What was true before that."""
    last_interaction: datetime | None = None
    """When the user was heard of last."""

    _loaded: Loaded = PrivateAttr(default_factory=Loaded)

    def _repr_html_(self) -> str:
        fields = self.model_dump(mode="json", exclude=set(_MANAGED))
        rows: list[tuple[str, Any]] = [("user", self.user_id)]
        for name, value in fields.items():
            inner = value.items() if isinstance(value, dict) else ()
            rows += [(f"{name}: {key}", one) for key, one in inner] or [(name, value or None)]
        cells = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape('' if value is None else str(value))}</td></tr>"
            for name, value in rows
        )
        facts = sorted([*self.past, *self.facts], key=lambda fact: (fact.valid_from is not None, fact.valid_from))
        return f"<table>{cells}</table>{timeline_html(facts)}"


class Schema:
    """How the fields of a profile are checked, and what is made of them.

    Args:
        schema: A Pydantic model, or a JSON schema of an object (which needs the extra `jsonschema`).

    Raises:
        InvalidTypeError: It is neither.
        InvalidInputError: The JSON schema is not valid.
        ConfigurationError: A package is missing.
    """

    def __init__(self, schema: type[BaseModel] | Mapping[str, Any] = UserProfile) -> None:
        self.model: type[BaseModel] | None = None
        if isinstance(schema, type) and issubclass(schema, BaseModel):
            self.model = schema
            self._whole: Mapping[str, Any] = schema.model_json_schema()
            name = schema.__name__
        elif isinstance(schema, Mapping) and ("properties" in schema or "additionalProperties" in schema):
            self._whole = schema
            name = str(schema.get("title") or "profile")
        else:
            msg = f"A profile's schema is a Pydantic model or a JSON schema of an object, got {shown(schema)}."
            raise InvalidTypeError(msg)
        self.name = check_id("The schema's name", name)
        """Profiles of different names lie beside each other."""
        self.has_facts = self.model is not None and issubclass(self.model, UserProfile)
        """Whether facts belong to it."""
        self._validator: Any = None if self.model is not None else self._json_validator()

    def described(self) -> dict[str, Any]:
        """The JSON schema of the fields that a change may name."""
        properties = {
            name: one for name, one in self._whole.get("properties", {}).items() if name not in self._hidden()
        }
        described = {"type": "object", "properties": properties}
        needed = {name: one for name, one in (self._whole.get("$defs") or {}).items() if name != "Fact"}
        return {**described, "$defs": needed} if needed else described

    def check_path(self, path: Path) -> None:
        """Refuse a field that the schema does not know.

        Raises:
            InvalidInputError: It does not.
        """
        if path[0] in self._hidden() or not self._knows(self._whole, path):
            known = ", ".join(name for name in self._whole.get("properties", {}) if name not in self._hidden())
            msg = f"There is no field {shown('.'.join(path))}: known are {known or 'any'}."
            raise InvalidInputError(msg)

    def is_list(self, path: Path) -> bool:
        """Whether a field holds a list."""
        return any(one.get("type") == "array" for one in self._at(self._whole, path))

    def check(self, document: Mapping[str, Any]) -> None:
        """Refuse a document that is not as the schema says; fields may be missing.

        Raises:
            InvalidInputError: It is not.
        """
        faults = [f"{'.'.join(map(str, where)) or 'the document'}: {what}" for where, what in self._faults(document)]
        if faults:
            msg = f"It does not fit the schema {self.name}: {'; '.join(faults[:3])}."
            raise InvalidInputError(msg)

    def build(
        self, user_id: str, document: Mapping[str, Any], facts: Iterable[Fact], past: Iterable[Fact], last: str | None
    ) -> Any:
        """What is known of a user, in the form of the schema; None where required fields are not known yet."""
        if self.model is None:
            return dict(document) if all(name in document for name in self._whole.get("required", ())) else None
        managed = {"user_id": user_id, "facts": list(facts), "past": list(past), "last_interaction": last}
        known = (
            {name: value for name, value in managed.items() if name in self.model.model_fields}
            if self.has_facts
            else {}
        )
        if "user_id" in self.model.model_fields:
            known["user_id"] = user_id
        try:
            built = self.model.model_validate({**document, **known})
        except ValidationError as error:
            if all(one["type"] == "missing" for one in error.errors()):
                return None
            msg = f"What is stored of {shown(user_id)} does not fit the schema {self.name}: {error}"
            raise DamagedDataError(msg) from error
        if isinstance(built, UserProfile):
            built._loaded = Loaded(self.fields_of(built))
        return built

    def fields_of(self, profile: BaseModel) -> dict[str, Any]:
        """The fields of a profile that changes may name."""
        return profile.model_dump(mode="json", exclude=set(self._hidden()), by_alias=True)

    def _hidden(self) -> frozenset[str]:
        return _MANAGED if self.has_facts else frozenset(("user_id",)) if self.model is not None else frozenset()

    def _faults(self, document: Mapping[str, Any]) -> Iterator[tuple[Any, str]]:
        if self.model is None:
            for error in self._validator.iter_errors(dict(document)):
                if error.validator != "required":
                    yield error.absolute_path, str(error.message)[:300]
            return
        known = {"user_id": "user"} if "user_id" in self.model.model_fields else {}
        try:
            self.model.model_validate({**document, **known})
        except ValidationError as error:
            for one in error.errors():
                if one["type"] != "missing":
                    yield one["loc"], one["msg"]

    def _json_validator(self) -> Any:
        try:
            from jsonschema.exceptions import SchemaError
            from jsonschema.validators import validator_for
        except ImportError:
            raise missing_extra(what="A JSON schema as a profile", extra="jsonschema") from None
        kind = validator_for(self._whole)
        try:
            kind.check_schema(self._whole)
        except SchemaError as error:
            msg = f"The JSON schema {self.name} is not valid: {error.message}."
            raise InvalidInputError(msg) from None
        return kind(self._whole)

    def _knows(self, schema: Any, path: Path) -> bool:
        return not path or bool(self._at(schema, path))

    def _at(self, schema: Any, path: Path) -> list[Mapping[str, Any]]:
        """The schemas that a value at a path may have."""
        alternatives = list(self._alternatives(schema, 0))
        for name in path:
            inner: list[Mapping[str, Any]] = []
            for one in alternatives:
                properties = one.get("properties", {})
                if name in properties:
                    inner += self._alternatives(properties[name], 0)
                elif _is_open(one):
                    more = one.get("additionalProperties", True)
                    inner += self._alternatives(more if isinstance(more, Mapping) else {}, 0)
            alternatives = inner
        return alternatives

    def _alternatives(self, schema: Any, depth: int) -> Iterator[Mapping[str, Any]]:
        if not isinstance(schema, Mapping) or depth > 20:
            return
        reference = schema.get("$ref")
        if isinstance(reference, str) and reference.startswith("#/"):
            target: Any = self._whole
            for part in reference[2:].split("/"):
                target = target.get(part, {}) if isinstance(target, Mapping) else {}
            yield from self._alternatives(target, depth + 1)
        elif any(several in schema for several in ("anyOf", "oneOf", "allOf")):
            for several in ("anyOf", "oneOf", "allOf"):
                for one in schema.get(several, ()):
                    yield from self._alternatives(one, depth + 1)
        else:
            yield schema


def _is_open(schema: Mapping[str, Any]) -> bool:
    """Whether an object may have fields that the schema does not name."""
    if schema.get("type", "object") != "object":
        return False
    more = schema.get("additionalProperties")
    return more is not None and more is not False if "properties" in schema else more is not False
