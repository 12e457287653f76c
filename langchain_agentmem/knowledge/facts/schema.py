"""The form of profiles: `UserProfile`, another Pydantic model, or a JSON schema."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Iterable, Mapping
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
from langchain_agentmem.knowledge.facts.faults import Fault, faults_of_errors, faults_of_model, without_incomplete
from langchain_agentmem.knowledge.facts.json_schemas import SPELLINGS, SchemaTree, key_of, schema_of
from langchain_agentmem.knowledge.facts.paths import Path, find_field
from langchain_agentmem.text.tables import html_table

_USER = "user_id"
_MANAGED = frozenset((_USER, "facts", "past", "last_interaction"))
"""Fields that are computed from stored data. Changes must not name them."""

_log = logging.getLogger(__name__)


class Loaded:
    """The fields of a profile as they were read. All instances are equal, so that they do not count when profiles compare."""

    def __init__(self, fields: dict[str, Any] | None = None) -> None:
        self.fields = fields

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Loaded)

    __hash__ = object.__hash__


class UserProfile(BaseModel):
    """The default profile of a user. Subclass it to add fields. A notebook shows it with a timeline of its facts.

    A text in `facts` counts as a `Fact` with that text.

    Example:
        >>> from langchain_agentmem import AgentMemory
        >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
        ...     fact = memory.profiles.add_fact("alice@example.com", "Allergic to peanuts", topics=["health"])
        ...     memory.profiles.get("alice@example.com").facts[0].text
        'Allergic to peanuts'
    """

    user_id: str = ""
    """ID of the user. A profile without it is saved with `save(profile, user_id=…)`."""
    name: str | None = Field(default=None, description="How the user wants to be called.")
    preferences: dict[str, Any] = Field(
        default_factory=dict, description="How the user wants things to be done, by a short name such as 'language'."
    )
    facts: list[Fact] = Field(default_factory=list)
    """Facts that are true, or were true at the requested time."""
    past: list[Fact] = Field(default_factory=list)
    """Facts that ended before that time."""
    last_interaction: datetime | None = None
    """Time of the user's latest message, or of the latest change by the application."""

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
        InvalidTypeError: The schema is neither a Pydantic model nor a JSON schema.
        InvalidInputError: The JSON schema is not valid, or the model has secrets or other fields that a profile cannot hold.
        ConfigurationError: A package is missing.
    """

    def __init__(self, schema: type[BaseModel] | Mapping[str, Any] = UserProfile) -> None:
        self.model: type[BaseModel] | None = None
        if isinstance(schema, type) and issubclass(schema, BaseModel):
            self.model = schema
            self._json_schema: Mapping[str, Any] = schema_of(schema)
            name = schema.__name__
        elif isinstance(schema, Mapping) and ("properties" in schema or "additionalProperties" in schema):
            self._json_schema = schema
            name = str(schema.get("title") or "profile")
        else:
            msg = f"schema must be a Pydantic model or a JSON schema of an object; got {shown(schema)}."
            raise InvalidTypeError(msg)
        self.name = check_id("The schema's name", name)
        """Name of the schema. A user has one profile for each name."""
        self.tree = SchemaTree(self._json_schema)
        self.has_facts = self.model is not None and issubclass(self.model, UserProfile)
        """True if the profile has facts."""
        self._managed = {name: self._key(name) for name in (_MANAGED if self.has_facts else (_USER,))}
        """Names of managed fields, and the names under which a document would hold them."""
        self._validator: Any = None if self.model is not None else self._json_validator()

    def described(self) -> dict[str, Any]:
        """Return the JSON schema of the fields that a change may name."""
        properties = {name: one for name, one in self._properties().items() if not self._is_managed(name)}
        described = {"type": "object", "properties": properties}
        needed = {name: one for name, one in (self._json_schema.get("$defs") or {}).items() if name != "Fact"}
        return dict(_without_spellings({**described, "$defs": needed} if needed else described))

    def field(self, path: Path, document: Mapping[str, Any]) -> Path:
        """Return the path of the field that a path names in a document. Names may contain dots; see `SchemaTree.resolve`.

        Raises:
            InvalidInputError: The schema does not have the field.
        """
        found = self.tree.resolve(path, document)
        if found is not None and not self._is_managed(found[0]):
            return found
        msg = f"There is no field {shown('.'.join(path))} in the schema {self.name}."
        for length in range(1, len(path)):
            exists, value = find_field(document, path[:length])
            if exists and found is None and not isinstance(value, Mapping):
                msg += f" {'.'.join(path[:length])} holds {shown(value, 60)}."
        known = ", ".join(name for name in self._properties() if not self._is_managed(name))
        msg += f" Its fields: {known or 'any'}."
        raise InvalidInputError(msg)

    def check_user(self, user_id: str) -> None:
        """Refuse the ID of a user that the schema cannot hold, such as a name if `user_id` is a number.

        Raises:
            InvalidInputError: The ID does not fit the schema.
        """
        key = self._managed[_USER]
        if self.model is UserProfile or key not in self._properties():
            return
        faults = [one for one in self.faults({}, user_id) if one.path[:1] == (key,)]
        if faults:
            msg = (
                f"The user's ID {shown(user_id)} does not fit the schema {self.name}: {faults[0]}. Use another schema."
            )
            raise InvalidInputError(msg)

    def faults(self, document: Mapping[str, Any], user_id: str) -> list[Fault]:
        """Return the errors of a document of a user's fields, missing fields included."""
        whole = {**document, **self._user(user_id)}
        if self.model is not None:
            return faults_of_model(self.model, whole)
        return faults_of_errors(self._validator.iter_errors(whole))

    def lacks(self, document: Mapping[str, Any], user_id: str) -> list[Fault]:
        """Return the required fields that a document of a user's fields, or an object in it, lacks."""
        return [one for one in self.faults(document, user_id) if one.missing]

    def check(self, document: Mapping[str, Any], user_id: str, before: Mapping[str, Any] | None = None) -> None:
        """Refuse a document that does not fit the schema. Required fields may be missing.

        Args:
            document: The document.
            user_id: ID of the user.
            before: The document before a change, whose faults are accepted. Default: None (none are).

        Raises:
            InvalidInputError: The document does not fit.
        """
        known = () if before is None else self.faults(before, user_id)
        faults = [one for one in self.faults(document, user_id) if not one.missing and one not in known]
        if faults:
            msg = f"The profile would not fit the schema {self.name}: {'; '.join(map(str, faults[:3]))}."
            raise InvalidInputError(msg)

    def build(
        self, user_id: str, document: Mapping[str, Any], facts: Iterable[Fact], past: Iterable[Fact], last: str | None
    ) -> BaseModel | dict[str, Any] | None:
        """Return a user's profile in the form of the schema.

        An object that lacks required fields is left out, which is logged.

        Args:
            user_id: ID of the user.
            document: The fields.
            facts: The facts that are true.
            past: The facts that have ended.
            last: Time of the user's latest message, in ISO 8601; None if there is none.

        Returns:
            An instance of the model, or a dict for a JSON schema; None if a required field is not known yet.

        Raises:
            DamagedDataError: The fields do not fit the schema.
        """
        managed = self._user(user_id) | self._known(facts, past, last)
        if self.model is None:
            found = self._complete(document, user_id)
            return None if found is None else {**found, **managed}
        try:
            built = _built(self.model, {**document, **managed})
        except ValidationError:
            complete = self._complete(document, user_id)
            if complete is None:
                return None
            built = _built(self.model, {**complete, **managed})
        if isinstance(built, UserProfile):
            record_loaded(built, self.fields_of(built))
        return built

    def _complete(self, document: Mapping[str, Any], user_id: str) -> dict[str, Any] | None:
        """Return a document without its incomplete objects; None if a required field is not known yet.

        Raises:
            InvalidInputError: The user's ID does not fit the schema.
            DamagedDataError: The fields do not fit the schema.
        """
        self.check_user(user_id)
        complete, faults = without_incomplete(document, lambda one: self.faults(one, user_id))
        wrong = [one for one in faults if not one.missing]
        if wrong:
            errors = "; ".join(map(str, wrong[:3]))
            msg = f"The stored profile of {shown(user_id)} does not fit the schema {self.name}: {errors}."
            raise DamagedDataError(msg)
        if complete is not None and faults:
            left_out = "; ".join(map(str, faults[:3]))
            _log.warning("Incomplete parts of the profile of %s were left out: %s.", shown(user_id), left_out)
        return complete

    def fields_of(self, profile: BaseModel) -> dict[str, Any]:
        """Return the fields of a profile that changes may name, as a document holds them."""
        dumped = profile.model_dump(mode="json", exclude=set(self._managed), by_alias=False, round_trip=True)
        fields: dict[str, Any] = self.tree.keyed(self.tree.at(()), dumped)
        return fields

    def set_fields(self, profile: BaseModel) -> dict[str, Any]:
        """Same as `fields_of`, without fields that the application did not set."""
        names = {self._key(name) for name in profile.model_fields_set}
        return {name: value for name, value in self.fields_of(profile).items() if name in names}

    def _properties(self) -> Mapping[str, Any]:
        properties: Mapping[str, Any] = self._json_schema.get("properties", {})
        return properties

    def _key(self, name: str) -> str:
        """Return the name under which a document holds a field of the model."""
        info = None if self.model is None else self.model.model_fields.get(name)
        return name if info is None else key_of(name, info)

    def _is_managed(self, name: str) -> bool:
        return name in self._managed or name in self._managed.values()

    def _user(self, user_id: str) -> dict[str, Any]:
        """Return the field that holds the user's ID, in the type of the schema; nothing if there is no such field."""
        key = self._managed[_USER]
        return {key: self.tree.coerced(self.tree.at((key,)), user_id)} if key in self._properties() else {}

    def _known(self, facts: Iterable[Fact], past: Iterable[Fact], last: str | None) -> dict[str, Any]:
        """Return the other managed fields; nothing if the profile has no facts."""
        if not self.has_facts:
            return {}
        values = {"facts": list(facts), "past": list(past), "last_interaction": last}
        return {self._managed[name]: value for name, value in values.items()}

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


def _built(model: type[BaseModel], fields: dict[str, Any]) -> BaseModel:
    """Return an instance of a model. Strict models accept dates, sets and the like from JSON only.

    Raises:
        ValidationError: The fields do not fit the model.
    """
    if model is UserProfile:
        return model.model_validate(fields)
    return model.model_validate_json(json.dumps(fields, default=lambda fact: fact.model_dump(mode="json")))


def _without_spellings(schema: Any) -> Any:
    """Return a JSON schema in the form that prompts contain."""
    if isinstance(schema, Mapping):
        return {name: _without_spellings(one) for name, one in schema.items() if name != SPELLINGS}
    return [_without_spellings(one) for one in schema] if isinstance(schema, list) else schema
