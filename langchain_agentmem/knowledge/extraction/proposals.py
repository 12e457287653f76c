"""What a model proposes to change: how it is asked for, read from any kind of answer, and checked before anything is done.

A proposal names no user, no namespace and no key: facts are the numbers under which they were shown, so that nothing in a
conversation can reach anybody else's profile.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

from langchain_core.messages import AIMessage
from pydantic import BaseModel, BeforeValidator, Field, ValidationError, model_validator

from langchain_agentmem.errors import AgentMemError
from langchain_agentmem.knowledge.entities.changes import EntityChanges
from langchain_agentmem.knowledge.facts.statements import MAX_TEXT, MAX_TOPICS
from langchain_agentmem.knowledge.times import utc

TOOL = "change_profile"
"""The name of the tool, and of the schema, by which changes are asked for."""

MAX_CHANGES = 20
"""The most changes of one answer."""

MAX_VALUE = 2_000
"""The longest value of a field, in characters of JSON."""

_TRIES = 50
"""At so many places of a text JSON is looked for."""

MAX_ANSWER = 60_000
"""The longest text that is looked through for an answer, in characters."""

_FENCE = "```"
# A string may lack its end: so whatever stands there, each character is looked at once.
_TRAILING_COMMA = re.compile(r'("(?:[^"\\]|\\.)*"?)|,(\s*[}\]])', re.DOTALL)
_START = re.compile(r"[{\[]")


class UnusableAnswerError(AgentMemError, ValueError):
    """What a model answered cannot be used; nothing was changed."""


class RefusedError(UnusableAnswerError):
    """A model refused to answer; nothing was changed."""


def _listed(value: Any) -> Any:
    return [] if value is None else [value] if isinstance(value, (str, int)) else value


def _sure(value: Any) -> Any:
    """How sure a model says it is, where that can be read."""
    try:
        sure = float(value)
    except (TypeError, ValueError):
        return None
    return sure if 0 <= sure <= 1 else None


class Proposal(BaseModel):
    """One change that a model proposes."""

    @model_validator(mode="before")
    @classmethod
    def _without_blanks(cls, given: Any) -> Any:
        """Small models write an empty text for what they leave out."""
        if not isinstance(given, dict):
            return given
        return {name: value for name, value in given.items() if value != "" or name == "value"}

    action: Literal["add", "update", "remove"]
    fact: int | None = None
    field: str | list[str] | None = None
    text: str | None = Field(default=None, max_length=MAX_TEXT)
    value: Any = None
    topics: Annotated[list[str], BeforeValidator(_listed), Field(max_length=MAX_TOPICS)] = Field(default_factory=list)
    messages: Annotated[list[int], BeforeValidator(_listed)] = Field(default_factory=list)
    confidence: Annotated[float | None, BeforeValidator(_sure)] = None
    since: str | None = None
    reason: Literal["ended", "forget"] | None = None

    def begun(self) -> datetime | None:
        """What `since` says, as a time; None where that cannot be read."""
        if not self.since:
            return None
        parts = self.since.strip().replace("Z", "+00:00")
        if re.fullmatch(r"\d{4}(-\d{2})?", parts):
            parts = f"{parts}-01-01" if len(parts) == 4 else f"{parts}-01"
        try:
            return utc(datetime.fromisoformat(parts))
        except ValueError:  # a small model's "last summer", or a year that is none
            return None


class Proposals(BaseModel):
    """The changes that a model proposes."""

    changes: Annotated[list[Proposal], BeforeValidator(lambda value: [] if value is None else value)] = Field(
        max_length=MAX_CHANGES
    )


class _WithEntities(Proposals):
    """The same, with changes of entities."""

    entities: EntityChanges = Field(default_factory=EntityChanges)

    @model_validator(mode="before")
    @classmethod
    def _gathered(cls, given: Any) -> Any:
        """Small models leave the part out, or write what is in it beside the changes."""
        if not isinstance(given, dict) or isinstance(given.get("entities"), dict):
            return given
        beside = {name: given[name] for name in EntityChanges.model_fields if given.get(name) is not None}
        return {**given, "entities": beside}


class Proposed(NamedTuple):
    """All that an answer proposes."""

    changes: list[Proposal]
    entities: EntityChanges
    """Changes of entities, which name messages by their numbers."""


def answer_schema(*, facts: bool, entities: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The JSON schema of an answer: flat, so that small models manage it too.

    Args:
        facts: Whether facts may be changed, or fields alone.
        entities: The schema of changes of entities, where these are asked for too. Default: None.
    """
    text: dict[str, Any] = {"type": "string"}
    whole: dict[str, Any] = {"type": "integer"}
    change: dict[str, Any] = {
        "action": {"type": "string", "enum": ["add", "update", "remove"]},
        "field": {**text, "description": "The field to change, with dots between the names of nested fields."},
        "value": {"description": "The new value of the field. With add, one more element of a list."},
        "messages": {"type": "array", "items": whole, "description": "The numbers of the messages that say so."},
        "reason": {
            **text,
            "enum": ["ended", "forget"],
            "description": "With remove: ended if it was true and is no longer, forget if the user asks to forget it.",
        },
    }
    if facts:
        change |= {
            "fact": {**whole, "description": "The number of a known fact. With add, one that already says the same."},
            "text": {**text, "description": "The fact, in one short sentence about the user."},
            "topics": {"type": "array", "items": text, "description": "One to three topics, each one word."},
            "confidence": {"type": "number", "description": "How sure it is that the user means this, from 0 to 1."},
            "since": {**text, "description": "Since when it is true, if the user says so: a date such as 2024-05-31."},
        }
    changes = {"type": "array", "items": {"type": "object", "properties": change, "required": ["action"]}}
    parts = {"changes": changes} if entities is None else {"changes": changes, "entities": dict(entities)}
    return {
        "title": TOOL,
        "description": "Change what is known of the user. An empty list if there is nothing to change.",
        "type": "object",
        "properties": parts,
        "required": list(parts),
    }


def proposals_in(answer: Any, *, entities: bool = False) -> Proposed:
    """The changes that an answer proposes: by a tool call, by structured output, or by JSON in its text.

    Args:
        answer: A message, or a mapping with it under `"raw"` (as `with_structured_output(include_raw=True)` gives it).
        entities: Whether changes of entities were asked for. Default: False (what an answer says of them does not count).

    Raises:
        UnusableAnswerError: It proposes nothing that can be read, and says so to the model.
    """
    if isinstance(answer, dict) and "raw" in answer:
        answer = answer["raw"]
    if isinstance(answer, AIMessage):
        refusal = answer.additional_kwargs.get("refusal")
        if refusal:
            msg = f"The model refused: {refusal!s:.300}"
            raise RefusedError(msg)
        if answer.response_metadata.get("finish_reason", answer.response_metadata.get("stop_reason")) in (
            "length",
            "max_tokens",
        ):
            msg = "The answer was cut off because it was too long. Propose fewer changes, in shorter words."
            raise UnusableAnswerError(msg)
        if answer.invalid_tool_calls:
            msg = (
                f"The arguments of the tool call are no valid JSON: {answer.invalid_tool_calls[0].get('error')!s:.300}"
            )
            raise UnusableAnswerError(msg)
        calls = [call["args"] for call in answer.tool_calls]
        given: list[Any] = calls or [_json_in(str(answer.text), whole=entities)]
    else:
        text = str(getattr(answer, "text", answer))
        given = [answer if isinstance(answer, dict) else _json_in(text, whole=entities)]
    found: list[Proposal] = []
    told: dict[str, list[Any]] = {name: [] for name in EntityChanges.model_fields}
    shape: type[Proposals] = _WithEntities if entities else Proposals
    try:
        for one in given:
            read = shape.model_validate({"changes": one} if isinstance(one, list) else one)
            found += read.changes
            if isinstance(read, _WithEntities):
                for name in told:
                    told[name] += getattr(read.entities, name)
        together = EntityChanges.model_validate(told)
    except ValidationError as error:
        raise UnusableAnswerError(_described(error)) from None
    if len(found) > MAX_CHANGES:
        msg = (
            f"The answer proposes {len(found)} changes; at most {MAX_CHANGES} are accepted. Propose the most important."
        )
        raise UnusableAnswerError(msg)
    return Proposed(found, together)


def _described(error: ValidationError) -> str:
    faults = [f"{'.'.join(map(str, one['loc'])) or 'the answer'}: {one['msg']}" for one in error.errors()[:5]]
    return f"The answer does not fit the schema: {'; '.join(faults)}."


def _json_in(text: str, *, whole: bool) -> Any:
    """The answer in a text: JSON in a fence, or after some prose; commas too many are forgiven.

    There must be one alone, since a model may repeat in its prose what a user wrote.

    Args:
        text: The text.
        whole: Whether a list of changes is no answer, since it may be a part of one that is damaged behind it.
    """
    if len(text) > MAX_ANSWER:
        msg = f"The answer has {len(text):,} characters; at most {MAX_ANSWER:,} are read. Propose the most important changes."
        raise UnusableAnswerError(msg)
    pieces = text.split(_FENCE)
    parts = pieces[1:-1:2] or [text]
    found: list[Any] = []
    for one in (one for part in parts for one in _answers_in(part, whole=whole)):
        if one not in found:
            found.append(one)
    if len(found) == 1:
        return found[0]
    msg = (
        "There are several JSON objects with changes in the answer: give one."
        if found
        else "There is no valid JSON object with a list of changes in the answer."
    )
    raise UnusableAnswerError(msg)


def _answers_in(text: str, *, whole: bool) -> Iterator[Any]:
    at, tries = 0, 0
    while tries < _TRIES and (start := _START.search(text, at)):
        tries += 1
        at = start.start() + 1
        rest = text[start.start() :]
        decoded = _decoded(rest) or _decoded(_TRAILING_COMMA.sub(lambda comma: comma[1] or f" {comma[2]}", rest))
        if decoded is not None and _is_answer(decoded[0], whole=whole):
            yield decoded[0]
            at = start.start() + decoded[1]


def _decoded(text: str) -> tuple[Any, int] | None:
    """The JSON that a text begins with, and where it ends; None where it begins with none."""
    try:
        return json.JSONDecoder(parse_constant=_refuse).raw_decode(text)
    except (ValueError, RecursionError):
        return None


def _refuse(constant: str) -> None:
    msg = f"{constant} is no JSON"
    raise ValueError(msg)


def _is_answer(found: Any, *, whole: bool) -> bool:
    if isinstance(found, dict):
        return "changes" in found
    return not whole and isinstance(found, list) and all(isinstance(one, dict) and "action" in one for one in found)
