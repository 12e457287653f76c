"""Changes of entities and relations as Pydantic models that a language model can fill in.

Docstrings and field descriptions of the models are part of the prompt. Validators check sizes, and the schema does not state
them, because providers support different parts of JSON schema. A change that is too large is refused as a whole.

Example:
    >>> from langchain_agentmem import EntityChanges
    >>> changes = EntityChanges.model_validate(
    ...     {"relations": [{"subject": "Alice", "predicate": "works at", "object": "Acme", "valid_from": "2024"}]}
    ... )
    >>> changes.relations[0].valid_from
    '2024-01-01T00:00:00+00:00'
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from langchain_agentmem.arguments.ids import check_name
from langchain_agentmem.arguments.values import check_list, shown
from langchain_agentmem.encoding.json_values import plain_json
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError
from langchain_agentmem.knowledge.names import name_key
from langchain_agentmem.knowledge.sources import source_ids
from langchain_agentmem.knowledge.times import utc
from langchain_agentmem.text.tables import FieldTable

When = datetime | date | str
Model = TypeVar("Model", bound=BaseModel)

MAX_CHANGES = 100
"""Upper bound of the entities, and of the relations, in one `EntityChanges`."""

MAX_ALIASES = 50
"""Upper bound of the aliases, and of the attributes, in one change of an entity."""

LONGEST_TEXT = 2_000
"""Upper bound of the characters of a description and of the value of an attribute."""


def moment(what: str, value: Any) -> datetime | None:
    """Return a time in UTC. A missing month or day is the first one; a time without a zone is taken as UTC.

    Args:
        what: Name of the argument, for error messages.
        value: A `datetime`, a `date`, or ISO 8601 such as `2024`, `2024-05`, `2024-05-17` or `2024-05-17T12:00:00Z`. None
            and the empty string give None.

    Raises:
        InvalidTypeError: The value has none of these types.
        InvalidInputError: The string is not ISO 8601, or the time is out of range.

    Example:
        >>> from langchain_agentmem.knowledge.entities.changes import moment
        >>> moment("valid_from", "2024-05").isoformat()
        '2024-05-01T00:00:00+00:00'
    """
    if value is None or value == "":
        return None
    if isinstance(value, str):
        text = value.strip()
        whole = text + "-01-01"[len(text) - 4 :] if len(text) in (4, 7) else text.replace("Z", "+00:00")
        try:
            value = datetime.fromisoformat(whole)
        except ValueError:
            msg = f"{what} must be a date in ISO 8601 such as 2024-05-17; got {shown(value, 60)}."
            raise InvalidInputError(msg) from None
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if not isinstance(value, datetime):
        msg = f"{what} must be a datetime or an ISO 8601 string; got {type(value).__name__}: {shown(value, 60)}."
        raise InvalidTypeError(msg)
    return utc(value, what)


def given_moment(what: str, value: Any) -> datetime | None:
    """Same as `moment`, for arguments of the application: the empty string is refused."""
    if value == "":
        msg = f"{what} must be a datetime or an ISO 8601 string; got an empty string. Omit it, or pass None."
        raise InvalidInputError(msg)
    return moment(what, value)


def _name(text: str) -> str:
    name_key("a name", text)
    return text.strip()


def _text(text: str) -> str:
    if len(check_name("a text", text)) > LONGEST_TEXT:
        msg = f"at most {LONGEST_TEXT:,} characters are accepted"
        raise ValueError(msg)
    return text.strip()


def _at_most(limit: int) -> AfterValidator:
    def check(items: list[Any]) -> list[Any]:
        if len(items) > limit:
            msg = f"at most {limit} are accepted; got {len(items)}"
            raise ValueError(msg)
        return items

    return AfterValidator(check)


def _date(value: Any) -> str | None:
    try:
        when = moment("a date", value)
    except InvalidTypeError as error:
        raise InvalidInputError(str(error)) from None
    return None if when is None else when.isoformat()


def _number(value: Any) -> Any:
    """Return a message number as text: models write the numbers of messages as integers."""
    return str(value) if isinstance(value, int) else value


Name = Annotated[str, Strict(), AfterValidator(_name)]
Text = Annotated[str, Strict(), AfterValidator(_text)]
Date = Annotated[str | None, BeforeValidator(_date)]
Sources = Annotated[list[Annotated[Name, BeforeValidator(_number)]], _at_most(MAX_CHANGES)]


_BY_HAND = {"by hand": True}
"""Validation context for changes of the application, in which unknown names are refused."""


class _Change(BaseModel):
    model_config = ConfigDict(frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any, info: ValidationInfo) -> Any:
        """Ignore nulls and unknown names, which language models write. Unknown names of the application are refused."""
        if not isinstance(given, Mapping):
            return given
        unknown = [name for name in given if name not in cls.model_fields]
        if unknown and info.context == _BY_HAND:
            msg = f"unknown {shown(unknown[0], 60)}: known are {', '.join(cls.model_fields)}"
            raise ValueError(msg)
        return {name: value for name, value in given.items() if value is not None}


class AttributeChange(_Change):
    """A property of an entity."""

    name: Name = Field(description="What the property is called, such as 'birthday' or 'colour'.")
    value: Text = Field(description="Its value. An empty text removes the property.")


class EntityChange(_Change):
    """What is new about one person, organisation, place, thing or event."""

    name: Name = Field(description="The name it is best known by. Never a pronoun.")
    kind: Text = Field(
        default="", description="What it is, in one word: person, organisation, place, product, event, animal …"
    )
    aliases: Annotated[list[Name], _at_most(MAX_ALIASES)] = Field(
        default=[],
        description="Other names of the very same entity: nicknames, abbreviations, full names. Entities that share a name "
        "become one, so give none that is only similar.",
    )
    attributes: Annotated[list[AttributeChange], _at_most(MAX_ALIASES)] = Field(
        default=[], description="Its properties that were said or changed."
    )
    description: Text = Field(
        default="", description="What it is, in one sentence, if that was said. It replaces what was there."
    )
    sources: Sources = Field(default=[], description="The ids of the messages that say so, if they have ids.")


class RelationChange(_Change):
    """How one entity relates to another: subject, predicate, object, as in 'Alice' 'works at' 'Acme'."""

    subject: Name = Field(description="The name of the entity that it is said of.")
    predicate: Name = Field(description="The relation: a short verb phrase in the present tense, such as 'works at'.")
    object: Name = Field(description="The name of the other entity.")
    valid_from: Date = Field(
        default=None, description="Since when it is so, if that was said: ISO 8601, such as 2024 or 2024-05-17."
    )
    valid_to: Date = Field(
        default=None, description="Until when it was so, if it is so no longer: ISO 8601. Give it to end a relation."
    )
    sources: Sources = Field(default=[], description="The ids of the messages that say so, if they have ids.")


class RelationRemoval(_Change):
    """A relation that was never so."""

    subject: Name = Field(description="The name of the entity that it was said of.")
    predicate: Name = Field(description="The relation, as it is known.")
    object: Name = Field(description="The name of the other entity.")


class EntityChanges(FieldTable, _Change):
    """What a conversation changes in what is known of entities and their relations. Leave out what is known already."""

    entities: Annotated[list[EntityChange], _at_most(MAX_CHANGES)] = Field(
        default=[], description="Entities that are new, or of which something is new."
    )
    relations: Annotated[list[RelationChange], _at_most(MAX_CHANGES)] = Field(
        default=[],
        description="Relations that are new, have ended, or are now dated. A relation that changed is two: the old one "
        "with its end, and the new one.",
    )
    wrong_relations: Annotated[list[RelationRemoval], _at_most(MAX_CHANGES)] = Field(
        default=[], description="Known relations that turned out never to have been so. They are deleted."
    )
    forgotten: Annotated[list[Name], _at_most(MAX_CHANGES)] = Field(
        default=[],
        description="Names of entities that the user asked to forget. They are deleted with all their relations.",
    )

    def sourced(self, ids: Mapping[str, str]) -> EntityChanges:
        """Return a copy whose sources are message IDs, instead of the numbers under which the model saw the messages.

        Args:
            ids: Message IDs by number. Other sources are left out.
        """
        named = [
            [one.model_copy(update={"sources": [ids[name] for name in one.sources if name in ids]}) for one in changes]
            for changes in (self.entities, self.relations)
        ]
        return self.model_copy(update={"entities": named[0], "relations": named[1]})

    def __bool__(self) -> bool:
        return bool(self.entities or self.relations or self.wrong_relations or self.forgotten)


def entity_change(
    name: str, kind: str, aliases: Any, attributes: Mapping[str, Any] | None, description: str, sources: Any
) -> EntityChange:
    """Return the change that the arguments of `upsert` describe."""
    if attributes is not None and not isinstance(attributes, Mapping):
        msg = f"attributes must be a mapping; got {type(attributes).__name__}: {shown(attributes)}."
        raise InvalidTypeError(msg)
    pairs = [{"name": key, "value": _as_text(key, value)} for key, value in (attributes or {}).items()]
    return validated(
        EntityChange,
        name=_given("name", name),
        kind=kind,
        aliases=check_list("aliases", aliases, "names"),
        attributes=pairs,
        description=description,
        sources=source_ids(sources),
    )


def _given(what: str, value: Any) -> Any:
    """Return a value that must not be None."""
    if value is None:
        msg = f"{what} must be a string; got None."
        raise InvalidTypeError(msg)
    return value


def _as_text(name: str, value: Any) -> str:
    if not isinstance(value, (str, int, float)):
        msg = f"The attribute {shown(name, 60)} must be a string or a number; got {type(value).__name__}: {shown(value, 60)}."
        raise InvalidTypeError(msg)
    return str(plain_json(value, f"The attribute {shown(name, 60)}"))


def relation_change(
    subject: str, predicate: str, object_: str, valid_from: When | None, valid_to: When | None, sources: Any
) -> RelationChange:
    """Return the change that the arguments of `relate` describe."""
    return validated(
        RelationChange,
        subject=_given("subject", subject),
        predicate=_given("predicate", predicate),
        object=_given("object", object_),
        valid_from=given_moment("valid_from", valid_from),
        valid_to=given_moment("valid_to", valid_to),
        sources=source_ids(sources),
    )


def given_changes(changes: Any) -> EntityChanges:
    """Return the changes of the application, checked if it gives them as a mapping."""
    if isinstance(changes, EntityChanges):
        return changes
    if not isinstance(changes, Mapping):
        msg = f"changes must be EntityChanges or a mapping; got {type(changes).__name__}: {shown(changes)}."
        raise InvalidTypeError(msg)
    return validated(EntityChanges, changes)


def validated(model: type[Model], given: Any = None, **fields: Any) -> Model:
    """Return a model of arguments.

    Args:
        model: Class of the model.
        given: The arguments as a mapping. Default: None (`fields`).
        **fields: The arguments by name.

    Raises:
        InvalidInputError: Some are not valid.
    """
    try:
        return model.model_validate(fields if given is None else given, context=_BY_HAND)
    except ValidationError as error:
        faults = ". ".join(
            f"{'.'.join(map(str, one['loc'])) or 'changes'}: {_fault(one['msg'])}; got {shown(one['input'], 60)}"
            for one in error.errors()[:5]
        )
        msg = f"The changes are not valid, and nothing was written: {faults}."
        raise InvalidInputError(msg) from None


def _fault(message: str) -> str:
    """Return a message of Pydantic without its prefix for errors of validators and without a full stop."""
    return message.removeprefix("Value error, ").rstrip(".")
