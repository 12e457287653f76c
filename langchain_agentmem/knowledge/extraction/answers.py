"""Reading the proposals in a model's answer: a tool call, structured output, or JSON in a text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from langchain_core.messages import AIMessage
from pydantic import ValidationError

from langchain_agentmem.knowledge.entities.changes import EntityChanges
from langchain_agentmem.knowledge.extraction.proposals import (
    MAX_CHANGES,
    Proposal,
    Proposals,
    ProposalsWithEntities,
    Proposed,
    RefusedError,
    UnusableAnswerError,
)

MAX_ANSWER = 60_000
"""Upper bound of the characters of a text that is searched for an answer."""

_TRIES = 50
"""Number of positions in a text where JSON may start."""

_FENCE = "```"
_START = re.compile(r"[{\[]")
# A comma before a closing bracket, outside of strings. The end of a string is optional: that makes matching linear.
_TRAILING_COMMA = re.compile(r'("(?:[^"\\]|\\.)*"?)|,(\s*[}\]])', re.DOTALL)


def proposals_in(answer: Any, *, entities: bool = False) -> Proposed:
    """Return the changes that an answer proposes.

    Args:
        answer: A message, or a mapping with a message under `"raw"` (`with_structured_output(include_raw=True)`).
        entities: True if the model was asked for changes of entities too. Default: False.

    Raises:
        UnusableAnswerError: The answer has no valid proposals. The error says why, for the model.
    """
    if isinstance(answer, dict) and "raw" in answer:
        answer = answer["raw"]
    shape: type[Proposals] = ProposalsWithEntities if entities else Proposals
    changes: list[Proposal] = []
    of_entities: dict[str, list[Any]] = {name: [] for name in EntityChanges.model_fields}
    try:
        for part in _parts_of(answer, nested=entities):
            read = shape.model_validate({"changes": part} if isinstance(part, list) else part)
            changes += read.changes
            if isinstance(read, ProposalsWithEntities):
                for name in of_entities:
                    of_entities[name] += getattr(read.entities, name)
        together = EntityChanges.model_validate(of_entities)
    except ValidationError as error:
        raise UnusableAnswerError(_described(error)) from None
    if len(changes) > MAX_CHANGES:
        msg = (
            f"The answer proposes {len(changes)} changes; at most {MAX_CHANGES} are accepted. "
            "Propose the most important ones."
        )
        raise UnusableAnswerError(msg)
    return Proposed(changes, together)


def _parts_of(answer: Any, *, nested: bool) -> list[Any]:
    """Return the arguments of each tool call, or the JSON in the text if there is no tool call."""
    if not isinstance(answer, AIMessage):
        return [answer if isinstance(answer, dict) else _json_in(str(getattr(answer, "text", answer)), nested=nested)]
    refusal = answer.additional_kwargs.get("refusal")
    if refusal:
        msg = f"The model refused: {refusal!s:.300}"
        raise RefusedError(msg)
    metadata = answer.response_metadata
    if metadata.get("finish_reason", metadata.get("stop_reason")) in ("length", "max_tokens"):
        msg = "The answer was cut off because it was too long. Propose fewer changes, in shorter words."
        raise UnusableAnswerError(msg)
    if answer.invalid_tool_calls:
        error = answer.invalid_tool_calls[0].get("error")
        msg = f"The arguments of the tool call are not valid JSON: {error!s:.300}"
        raise UnusableAnswerError(msg)
    return [call["args"] for call in answer.tool_calls] or [_json_in(str(answer.text), nested=nested)]


def _described(error: ValidationError) -> str:
    faults = [f"{'.'.join(map(str, one['loc'])) or 'the answer'}: {one['msg']}" for one in error.errors()[:5]]
    return f"The answer does not fit the schema: {'; '.join(faults)}."


def _json_in(text: str, *, nested: bool) -> Any:
    """Return the one answer in a text, which may be in a fence, or between other words.

    Several different answers are refused: a model may repeat in its text what a user wrote.

    Args:
        text: The text.
        nested: If true, only an object is an answer. A list of changes may be a part of a damaged object.
    """
    if len(text) > MAX_ANSWER:
        msg = (
            f"The answer has {len(text):,} characters; at most {MAX_ANSWER:,} are read. "
            "Propose the most important changes."
        )
        raise UnusableAnswerError(msg)
    parts = text.split(_FENCE)[1:-1:2] or [text]
    found: list[Any] = []
    for one in (one for part in parts for one in _answers_in(part, nested=nested)):
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


def _answers_in(text: str, *, nested: bool) -> Iterator[Any]:
    after, tries = 0, 0
    while tries < _TRIES and (start := _START.search(text, after)):
        tries += 1
        after = start.start() + 1
        rest = text[start.start() :]
        decoded = _decoded(rest) or _decoded(_TRAILING_COMMA.sub(lambda comma: comma[1] or f" {comma[2]}", rest))
        if decoded is not None and _is_answer(decoded[0], nested=nested):
            yield decoded[0]
            after = start.start() + decoded[1]


def _decoded(text: str) -> tuple[Any, int] | None:
    """Return the JSON value at the start of a text, and its length; None if there is none."""
    try:
        return json.JSONDecoder(parse_constant=_refuse).raw_decode(text)
    except (ValueError, RecursionError):
        return None


def _refuse(constant: str) -> None:
    msg = f"{constant} is not JSON"
    raise ValueError(msg)


def _is_answer(found: Any, *, nested: bool) -> bool:
    if isinstance(found, dict):
        return "changes" in found
    return not nested and isinstance(found, list) and all(isinstance(one, dict) and "action" in one for one in found)
