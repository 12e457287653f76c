"""The changes that a model may propose, and the JSON schema that asks for them.

A proposal names no user, namespace or key. It refers to facts and messages by the numbers under which the model was shown
them, so no text in a conversation can reach another user's profile.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

from langchain_core.utils.json_schema import dereference_refs
from pydantic import BaseModel, BeforeValidator, Field, model_validator

from langchain_agentmem.errors import AgentMemError
from langchain_agentmem.knowledge.entities.changes import EntityChanges, moment
from langchain_agentmem.knowledge.facts.statements import MAX_TEXT, MAX_TOPICS

TOOL = "change_profile"
"""Name of the tool and of the schema that ask for changes."""

MAX_CHANGES = 20
"""Upper bound of the changes in one answer."""

MAX_VALUE = 2_000
"""Upper bound of the characters of a field's value, as JSON."""


class UnusableAnswerError(AgentMemError, ValueError):
    """The model's answer cannot be used; nothing was changed."""


class RefusedError(UnusableAnswerError):
    """The model refused to answer; nothing was changed."""


def _as_list(value: Any) -> Any:
    return [] if value is None else [value] if isinstance(value, (str, int)) else value


def _as_confidence(value: Any) -> Any:
    """Return a number from 0 to 1, or None if a model wrote anything else."""
    try:
        confidence = float(value)
    except (TypeError, ValueError):
        return None
    return confidence if 0 <= confidence <= 1 else None


class Proposal(BaseModel):
    """A change of a fact or a field that a model proposes."""

    @model_validator(mode="before")
    @classmethod
    def _without_blanks(cls, given: Any) -> Any:
        """Drop empty strings, which small models write for what they omit."""
        if not isinstance(given, dict):
            return given
        return {name: value for name, value in given.items() if value != "" or name == "value"}

    action: Literal["add", "update", "remove"]
    fact: int | None = None
    field: str | list[str] | None = None
    text: str | None = Field(default=None, max_length=MAX_TEXT)
    value: Any = None
    topics: Annotated[list[str], BeforeValidator(_as_list), Field(max_length=MAX_TOPICS)] = Field(default_factory=list)
    messages: Annotated[list[int], BeforeValidator(_as_list)] = Field(default_factory=list)
    confidence: Annotated[float | None, BeforeValidator(_as_confidence)] = None
    since: str | None = None
    reason: Literal["ended", "forget"] | None = None

    def valid_from(self) -> datetime | None:
        """Return `since` as a time; None if it is missing or not a date."""
        try:
            return moment("since", self.since)
        except ValueError:  # such as "last summer"
            return None


class Proposals(BaseModel):
    """The form of an answer with changes of facts and fields."""

    changes: Annotated[list[Proposal], BeforeValidator(lambda value: [] if value is None else value)] = Field(
        max_length=MAX_CHANGES
    )


class ProposalsWithEntities(Proposals):
    """The form of an answer with changes of entities too. Their sources are numbers of messages."""

    entities: EntityChanges = Field(default_factory=EntityChanges)

    @model_validator(mode="before")
    @classmethod
    def _gathered(cls, given: Any) -> Any:
        """Accept entities beside the changes, or none at all: small models do not nest them."""
        if not isinstance(given, dict) or isinstance(given.get("entities"), dict):
            return given
        beside = {name: given[name] for name in EntityChanges.model_fields if given.get(name) is not None}
        return {**given, "entities": beside}


class Proposed(NamedTuple):
    """All changes that an answer proposes."""

    changes: list[Proposal]
    entities: EntityChanges


def answer_schema(*, facts: bool, entities: bool = False) -> dict[str, Any]:
    """Return the JSON schema of an answer. It is flat, so that small models can follow it.

    Args:
        facts: If true, ask for changes of facts; if false, for changes of fields only.
        entities: If true, ask for changes of entities too. Default: False.
    """
    change = _field_properties() | (_fact_properties() if facts else {})
    changes = {"type": "array", "items": {"type": "object", "properties": change, "required": ["action"]}}
    parts = {"changes": changes} | ({"entities": entities_schema()} if entities else {})
    return {
        "title": TOOL,
        "description": "Change what is known of the user. An empty list if there is nothing to change.",
        "type": "object",
        "properties": parts,
        "required": list(parts),
    }


def _field_properties() -> dict[str, Any]:
    return {
        "action": {"type": "string", "enum": ["add", "update", "remove"]},
        "field": {
            "type": "string",
            "description": "The field to change, with dots between the names of nested fields.",
        },
        "value": {"description": "The new value of the field. With add, one more element of a list."},
        "messages": _message_numbers(),
        "reason": {
            "type": "string",
            "enum": ["ended", "forget"],
            "description": "With remove: ended if it was true and is no longer, forget if the user asks to forget it.",
        },
    }


def _fact_properties() -> dict[str, Any]:
    return {
        "fact": {
            "type": "integer",
            "description": "The number of a known fact. With add, one that already says the same.",
        },
        "text": {"type": "string", "description": "The fact, in one short sentence about the user."},
        "topics": {
            "type": "array",
            "items": {"type": "string"},
            "description": "One to three topics, each one word.",
        },
        "confidence": {"type": "number", "description": "How sure it is that the user means this, from 0 to 1."},
        "since": {
            "type": "string",
            "description": "Since when it is true, if the user says so: a date such as 2024-05-31.",
        },
    }


def _message_numbers() -> dict[str, Any]:
    return {
        "type": "array",
        "items": {"type": "integer"},
        "description": "The numbers of the messages that say so.",
    }


def entities_schema() -> dict[str, Any]:
    """Return the JSON schema of `EntityChanges` as a part of an answer."""
    schema: dict[str, Any] = _simplified(dereference_refs(EntityChanges.model_json_schema()))
    for name in ("entities", "relations"):
        schema["properties"][name]["items"]["properties"]["sources"] = _message_numbers()
    return schema


def _simplified(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema without references, unions and defaults, which small models and strict providers do not support."""
    options = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    simple = {**schema, **(options[0] if options else {})}
    for name in ("$defs", "anyOf", "default", "title"):
        simple.pop(name, None)
    if "properties" in simple:
        simple["properties"] = {name: _simplified(one) for name, one in simple["properties"].items()}
    if "items" in simple:
        simple["items"] = _simplified(simple["items"])
    return simple
