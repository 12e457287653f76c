"""The changes that a model may propose, and the JSON schema that asks for them.

A proposal names no user, namespace or key. It refers to facts and messages by the numbers under which the model was shown
them, so no text in a conversation can reach another user's profile.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

from langchain_core.utils.json_schema import dereference_refs
from pydantic import BaseModel, BeforeValidator, Field, ValidationError, model_validator

from langchain_agentmem.arguments.nesting import MAX_ANSWER_DEPTH
from langchain_agentmem.errors import AgentMemError
from langchain_agentmem.knowledge.entities.changes import EntityChanges, moment
from langchain_agentmem.knowledge.extraction.loose_json import from_string
from langchain_agentmem.knowledge.facts.statements import MAX_TEXT, MAX_TOPIC, MAX_TOPICS

TOOL = "change_profile"
"""Name of the tool and of the schema that ask for changes."""

NO_CHANGE = "none"
"""The action of a change that changes nothing."""

MAX_CHANGES = 20
"""Upper bound of the changes in one answer."""

MAX_VALUE = 2_000
"""Upper bound of the characters of a field's value, as JSON."""


class UnusableAnswerError(AgentMemError, ValueError):
    """The model's answer cannot be used; nothing was changed."""


TOO_DEEP = f"Its lists and objects are nested deeper than {MAX_ANSWER_DEPTH} levels."
"""Says to the model why an answer, or a change in it, is refused."""


class RefusedError(UnusableAnswerError):
    """The model refused to answer; nothing was changed."""


_ACTIONS = {
    "add": ("add", "added", "create", "insert", "append", "new", "save", "store", "remember"),
    "update": ("update", "updated", "modify", "change", "replace", "set", "edit", "upsert", "correct"),
    "remove": ("remove", "removed", "delete", "forget", "erase", "end", "ended"),
    NO_CHANGE: (
        "none",
        "noop",
        "no",
        "nothing",
        "keep",
        "skip",
        "ignore",
        "unchanged",
        "nochange",
        "donothing",
        "null",
    ),
}
_ACTION_OF = {word: action for action, words in _ACTIONS.items() for word in words}
_OMITTED = ("", "null", "none", "undefined")


def action_of(given: Any) -> str | None:
    """Return the action that a model names, or `NO_CHANGE`; None if it is unknown."""
    return _ACTION_OF.get(re.sub(r"[^a-z]", "", given.casefold())) if isinstance(given, str) else None


def is_omitted(value: Any) -> bool:
    """Return true for null, and for what small models write instead of it."""
    return value is None or (isinstance(value, str) and value.strip().casefold() in _OMITTED)


def _as_number(value: Any) -> Any:
    """Return the number of a fact. Small models write 0 or -1 if there is none, and a text such as "fact 2"."""
    if isinstance(value, str) and (found := re.fullmatch(r"\D*?(-?\d+)(?:\.0*)?\D*", value)):
        value = int(found[1])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return None if isinstance(value, bool) or (isinstance(value, int) and value < 1) else value


def as_numbers(value: Any) -> Any:
    """Return the numbers of messages, which small models write as one number, as texts or as objects."""
    if isinstance(value, str):
        return [
            int(one) for one in re.findall(r"(?<![\w.-])-?\d{1,9}(?![\w.])", value.replace("[", " ").replace("]", " "))
        ]
    if isinstance(value, Mapping):
        return as_numbers(value.get("number", value.get("id")))
    if isinstance(value, (list, tuple)):
        return [number for one in value for number in as_numbers(one)]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return [value] if isinstance(value, int) and not isinstance(value, bool) else []


def _as_topics(value: Any) -> Any:
    """Return those topics that are accepted: a fact is not refused because of a topic."""
    value = from_string(value)
    if value is None or isinstance(value, (str, int, float)):
        value = [value]
    if not isinstance(value, list):
        return []
    texts = (str(one).strip() for one in value if isinstance(one, (str, int, float)) and not is_omitted(one))
    return [one for one in texts if 0 < len(one) <= MAX_TOPIC][:MAX_TOPICS]


def _as_confidence(value: Any) -> Any:
    """Return a number from 0 to 1, or None if a model wrote anything else."""
    try:
        confidence = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return confidence if 0 <= confidence <= 1 else None


class Proposal(BaseModel):
    """A change of a fact or a field that a model proposes. Values of small models are read as they are meant."""

    @model_validator(mode="before")
    @classmethod
    def _as_meant(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        meant = {name: value for name, value in given.items() if name == "value" or not is_omitted(value)}
        action = action_of(meant.get("action"))
        if action is not None:
            if meant["action"].strip().casefold() in ("forget", "erase"):
                meant.setdefault("reason", "forget")
            meant["action"] = action
        if meant.get("reason") not in ("ended", "forget"):
            meant.pop("reason", None)
        since = meant.get("since")
        if not isinstance(since, str):
            meant["since"] = str(since) if isinstance(since, int) else None
        return meant

    action: Literal["add", "update", "remove"]
    fact: Annotated[int | None, BeforeValidator(_as_number)] = None
    field: str | list[str] | None = None
    text: str | None = Field(default=None, max_length=MAX_TEXT)
    value: Any = None
    topics: Annotated[list[str], BeforeValidator(_as_topics)] = Field(default_factory=list)
    messages: Annotated[list[int], BeforeValidator(as_numbers)] = Field(default_factory=list)
    confidence: Annotated[float | None, BeforeValidator(_as_confidence)] = None
    since: str | None = None
    reason: Literal["ended", "forget"] | None = None

    def valid_from(self) -> datetime | None:
        """Return `since` as a time; None if it is missing or not a date."""
        try:
            return moment("since", self.since)
        except ValueError:  # such as "last summer"
            return None


def described(error: ValidationError) -> str:
    """Return what is wrong with a part of an answer, for the model."""
    prefix = "Value error, "
    faults = (
        f"{'.'.join(map(str, one['loc'])) or 'the whole'}: {one['msg'].removeprefix(prefix)}"
        for one in error.errors()[:5]
    )
    return f"{'; '.join(faults).rstrip('.')}."


class Proposed(NamedTuple):
    """The changes that an answer proposes."""

    changes: list[tuple[int, Proposal]]
    """Changes of facts and fields, with their numbers in the answer."""
    entities: EntityChanges
    faults: list[str]
    """The errors of the other changes, for the model and the application."""


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
