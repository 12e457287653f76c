"""The form of profiles: `UserProfile`, another Pydantic model, or a JSON schema."""

from __future__ import annotations

import copy
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
from langchain_agentmem.knowledge.facts.facts import Fact, in_order, timeline_html
from langchain_agentmem.knowledge.facts.paths import Path
from langchain_agentmem.text.tables import html_table

_MANAGED = frozenset(("user_id", "facts", "past", "last_interaction"))
"""Fields that follow from what is stored, so no change may name them."""


class Loaded:
    """The fields of a profile as they were read. All instances are equal, so that they do not count when profiles compare."""

    def __init__(self, fields: dict[str, Any] | None = None) -> None:
        self.fields = fields

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Loaded)

    __hash__ = object.__hash__


class UserProfile(BaseModel):
    """The default profile of a user. Subclass it to add fields. A notebook shows it with a timeline of its facts.

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
    """Facts that are true, or were true at the requested time."""
    past: list[Fact] = Field(default_factory=list)
    """Facts that ended before that time."""
    last_interaction: datetime | None = None
    """When the user last wrote something."""

    _loaded: Loaded = PrivateAttr(default_factory=Loaded)

    def _repr_html_(self) -> str:
        fields = self.model_dump(mode="json", exclude=set(_MANAGED))
        rows: list[tuple[str, Any]] = [("user", self.user_id)]
        for name, value in fields.items():
            inner = value.items() if isinstance(value, dict) else ()
            rows += [(f"{name}: {key}", one) for key, one in inner] or [(name, value or None)]
        return f"{html_table(rows, row_headers=True)}{timeline_html(in_order([*self.past, *self.facts]))}"


def loaded_fields(profile: BaseModel) -> dict[str, Any] | None:
    """Return the fields of a profile as they were read; None for a profile that the application made."""
    return profile._loaded.fields if isinstance(profile, UserProfile) else None


def record_loaded(profile: UserProfile, fields: dict[str, Any]) -> None:
    """Record the fields of a profile as they are stored. The next save stores only what differs from them."""
    profile._loaded = Loaded(copy.deepcopy(fields))


class Schema:
    """The form of a profile: validates its fields, and builds the object that the application gets.

    Args:
        schema: A Pydantic model, or a JSON schema of an object. A JSON schema needs the extra `jsonschema`.

    Raises:
        InvalidTypeError: The schema is neither.
        InvalidInputError: The JSON schema is not valid.
        ConfigurationError: A package is missing.
    """

    def __init__(self, schema: type[BaseModel] | Mapping[str, Any] = UserProfile) -> None:
        self.model: type[BaseModel] | None = None
        if isinstance(schema, type) and issubclass(schema, BaseModel):
            self.model = schema
            self._json_schema: Mapping[str, Any] = schema.model_json_schema()
            name = schema.__name__
        elif isinstance(schema, Mapping) and ("properties" in schema or "additionalProperties" in schema):
            self._json_schema = schema
            name = str(schema.get("title") or "profile")
        else:
            msg = f"schema must be a Pydantic model or a JSON schema of an object; got {shown(schema)}."
            raise InvalidTypeError(msg)
        self.name = check_id("The schema's name", name)
        """Name of the schema. A user has one profile for each name."""
        self.has_facts = self.model is not None and issubclass(self.model, UserProfile)
        """True if the profile has facts."""
        self._validator: Any = None if self.model is not None else self._json_validator()

    def described(self) -> dict[str, Any]:
        """Return the JSON schema of the fields that a change may name."""
        properties = {
            name: one for name, one in self._json_schema.get("properties", {}).items() if name not in self._hidden()
        }
        described = {"type": "object", "properties": properties}
        needed = {name: one for name, one in (self._json_schema.get("$defs") or {}).items() if name != "Fact"}
        return {**described, "$defs": needed} if needed else described

    def check_path(self, path: Path) -> None:
        """Refuse an unknown field.

        Raises:
            InvalidInputError: The schema does not have the field.
        """
        if path[0] in self._hidden() or not self._knows(self._json_schema, path):
            known = ", ".join(name for name in self._json_schema.get("properties", {}) if name not in self._hidden())
            msg = f"There is no field {shown('.'.join(path))} in the schema {self.name}. Its fields: {known or 'any'}."
            raise InvalidInputError(msg)

    def is_list(self, path: Path) -> bool:
        """Return true if a field holds a list."""
        return any(one.get("type") == "array" for one in self._at(self._json_schema, path))

    def check(self, document: Mapping[str, Any]) -> None:
        """Refuse a document that does not fit the schema. Required fields may be missing.

        Raises:
            InvalidInputError: The document does not fit.
        """
        faults = [f"{'.'.join(map(str, path)) or 'the document'}: {text}" for path, text in self._faults(document)]
        if faults:
            msg = f"The profile would not fit the schema {self.name}: {'; '.join(faults[:3])}."
            raise InvalidInputError(msg)

    def build(
        self, user_id: str, document: Mapping[str, Any], facts: Iterable[Fact], past: Iterable[Fact], last: str | None
    ) -> BaseModel | dict[str, Any] | None:
        """Return a user's profile in the form of the schema.

        Args:
            user_id: ID of the user.
            document: The fields.
            facts: The facts that are true.
            past: The facts that have ended.
            last: When the user last wrote something, in ISO 8601; None if never.

        Returns:
            An instance of the model, or a dict for a JSON schema; None if a required field is not known yet.

        Raises:
            DamagedDataError: The fields do not fit the schema.
        """
        if self.model is None:
            return dict(document) if all(name in document for name in self._json_schema.get("required", ())) else None
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
            msg = f"The stored profile of {shown(user_id)} does not fit the schema {self.name}: {error}"
            raise DamagedDataError(msg) from error
        if isinstance(built, UserProfile):
            record_loaded(built, self.fields_of(built))
        return built

    def fields_of(self, profile: BaseModel) -> dict[str, Any]:
        """Return the fields of a profile that changes may name."""
        return profile.model_dump(mode="json", exclude=set(self._hidden()), by_alias=True)

    def _hidden(self) -> frozenset[str]:
        return _MANAGED if self.has_facts else frozenset(("user_id",)) if self.model is not None else frozenset()

    def _faults(self, document: Mapping[str, Any]) -> Iterator[tuple[Iterable[Any], str]]:
        """Yield the path and the text of each error in a document, apart from missing fields."""
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
        validator = validator_for(self._json_schema)
        try:
            validator.check_schema(self._json_schema)
        except SchemaError as error:
            msg = f"The JSON schema {self.name} is not valid: {error.message}."
            raise InvalidInputError(msg) from None
        return validator(self._json_schema)

    def _knows(self, schema: Any, path: Path) -> bool:
        return not path or bool(self._at(schema, path))

    def _at(self, schema: Any, path: Path) -> list[Mapping[str, Any]]:
        """Return the schemas that the value at a path may have; none if there is no such field."""
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
        """Yield the schemas that a schema refers to or combines."""
        if not isinstance(schema, Mapping) or depth > 20:
            return
        reference = schema.get("$ref")
        if isinstance(reference, str) and reference.startswith("#/"):
            target: Any = self._json_schema
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
    """Return true if an object may have fields that the schema does not name."""
    if schema.get("type", "object") != "object":
        return False
    more = schema.get("additionalProperties")
    return more is not None and more is not False if "properties" in schema else more is not False
