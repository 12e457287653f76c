"""The answers of the model that writes summaries: texts, messages, dicts and Pydantic objects."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage, BaseMessage
from pydantic import BaseModel

from langchain_agentmem.arguments.nesting import MAX_ANSWER_DEPTH, NestingError, check_json_depth, is_deeper
from langchain_agentmem.compression.summaries import LISTS
from langchain_agentmem.errors import AgentMemError
from langchain_agentmem.text.thoughts import without_thoughts

_MAX_POINTS = 20
"""The maximum number of entries of a list in a structured summary."""
_MAX_POINT = 500
"""The maximum number of characters of such an entry."""
_TEXT_FIELDS = ("summary", "text", "content", "output")
"""The fields of a structured answer that may contain the text, the best first."""
_OBJECT_START = re.compile(r'\{\s*"')
_DECODER = json.JSONDecoder()


class SummaryError(AgentMemError):
    """A model returned no summary, or the summary was deleted while it was extended."""


class Answer(NamedTuple):
    """The summary in an answer."""

    text: str
    lists: dict[str, tuple[str, ...]] | None
    """The lists; None if the answer is plain text."""


def read_answer(answer: Any, *, structured: bool) -> Answer:
    """Return the summary in an answer.

    Drafts in `<think>` tags are removed. The answer may be a text, a message, a Pydantic object, a dataclass, a dict, the
    dict of `with_structured_output(include_raw=True)`, or the state of an agent.

    Args:
        answer: The answer.
        structured: If true, a JSON object was requested.

    Raises:
        SummaryError: The answer contains no summary, or its JSON is incomplete or nested too deep.

    Example:
        >>> from langchain_agentmem.compression.answers import read_answer
        >>> read_answer("<think>Hm.</think>They met in Malta.", structured=False).text
        'They met in Malta.'
    """
    answer = _newest_message(answer)
    fields = _fields_of(answer)
    if fields is not None:
        if is_deeper(fields, MAX_ANSWER_DEPTH):
            raise _too_deep()
        return _read_fields(fields, answer)
    text = without_thoughts(text_of(answer)).strip()
    if _is_json_list(text) or _has_incomplete_json(text):
        raise _no_summary(answer)
    found = json_in(text)
    if found is not None and (structured or any(isinstance(found.get(name), str) for name in _TEXT_FIELDS)):
        return _read_fields(found, answer)
    if not text or (found is None and _is_object(text)):
        raise _no_summary(answer)
    return Answer(text, None)


def text_of(answer: Any) -> str:
    """Return the text of an answer, for the token count and for errors."""
    if isinstance(answer, Mapping) and isinstance(answer.get("raw"), BaseMessage):
        answer = answer["raw"]
    if isinstance(answer, BaseMessage):
        return _encodable(str(answer.text))
    return "" if is_deeper(answer, MAX_ANSWER_DEPTH) else _encodable(str(answer))


def message_of(answer: Any) -> Any:
    """Return the model's message in an answer, which reports the tokens; the answer itself if there is none."""
    return answer["raw"] if isinstance(answer, Mapping) and "raw" in answer else answer


def json_in(text: str) -> Mapping[str, Any] | None:
    """Return the last JSON object in a text that may contain other words; None if there is none."""
    found: Mapping[str, Any] | None = None
    at = text.find("{")
    while at >= 0:
        try:
            value, end = _decoded_at(text, at)
        except ValueError:
            end = at + 1
        else:
            found = value
        at = text.find("{", end)
    return found


def _decoded_at(text: str, at: int) -> tuple[Any, int]:
    """Return the JSON value at a position of a text, and the position after it.

    Raises:
        SummaryError: The value is nested too deep.
        ValueError: There is no value.
    """
    try:
        check_json_depth(text, MAX_ANSWER_DEPTH, at)
    except NestingError:
        raise _too_deep() from None
    return _DECODER.raw_decode(text, at)


def _newest_message(answer: Any) -> Any:
    """Return the last message of the state of an agent; any other answer unchanged."""
    messages = answer.get("messages") if isinstance(answer, Mapping) else None
    return messages[-1] if isinstance(messages, list) and messages else answer


def _fields_of(answer: Any) -> Mapping[str, Any] | None:
    """Return the fields of a structured answer; None for a text or a message."""
    if isinstance(answer, BaseMessage):
        return _fields_of_message(answer)
    if not isinstance(answer, Mapping):
        return _dumped(answer)
    if "parsed" not in answer or "raw" not in answer:
        return answer
    parsed = answer["parsed"]
    if parsed is None or isinstance(parsed, str):
        return _fields_of_message(answer["raw"])
    return _fields_of(parsed)


def _dumped(answer: Any) -> Mapping[str, Any] | None:
    """Return the fields of a Pydantic object or a dataclass; None for any other object."""
    if isinstance(answer, BaseModel):
        dumped = answer.model_dump()
        return dumped if isinstance(dumped, Mapping) else {"summary": dumped}
    if is_dataclass(answer) and not isinstance(answer, type):
        return asdict(answer)
    if isinstance(answer, tuple) and hasattr(answer, "_asdict"):
        fields: Mapping[str, Any] = answer._asdict()
        return fields
    return None


def _fields_of_message(message: Any) -> Mapping[str, Any] | None:
    """Return the arguments of a tool call in a message without text, or its parsed object; None if there are none."""
    if not isinstance(message, AIMessage):
        return None
    parsed = _dumped(message.additional_kwargs.get("parsed"))
    if parsed is not None:
        return parsed
    calls = [call["args"] for call in message.tool_calls if any(name in call["args"] for name in _TEXT_FIELDS)]
    return calls[-1] if calls and not str(message.text).strip() else None


def _read_fields(fields: Mapping[str, Any], answer: Any) -> Answer:
    """Return the summary in the fields of a structured answer."""
    texts = [fields[name] for name in _TEXT_FIELDS if isinstance(fields.get(name), str)][:1]
    texts = texts or [value for name, value in fields.items() if isinstance(value, str) and name not in LISTS]
    text = without_thoughts("\n".join(texts)).strip()
    if not text:
        raise _no_summary(answer)
    return Answer(_encodable(text), {name: _points(fields.get(name)) for name in LISTS})


def _points(found: Any) -> tuple[str, ...]:
    given = found if isinstance(found, (list, tuple, set, frozenset)) else []
    points = (_encodable(point)[:_MAX_POINT] for one in given if (point := _point(one)))
    return tuple(points)[:_MAX_POINTS]


def _point(value: Any) -> str:
    """Return the text of a list's entry; `""` if it has none."""
    if isinstance(value, Mapping):
        return ": ".join(one for one in value.values() if isinstance(one, str))
    return str(value) if isinstance(value, (str, int, float)) else ""


def _encodable(text: str) -> str:
    return text.encode(errors="replace").decode()


def _is_json_list(text: str) -> bool:
    if not text.startswith("["):
        return False
    try:
        _, end = _decoded_at(text, 0)
    except ValueError:
        return False
    return end == len(text)


def _is_object(text: str) -> bool:
    """Return true if a text is meant as a JSON object, alone or in a fence."""
    return re.match(r"(?:```[a-z]*\s*)?\{\s*\"", text, re.IGNORECASE) is not None


def _has_incomplete_json(text: str) -> bool:
    """Return true if a text ends within a JSON object."""
    for match in _OBJECT_START.finditer(text):
        try:
            _decoded_at(text, match.start())
        except ValueError as error:
            # The decoder reports the start of an open string, or the end of the text.
            return isinstance(error, json.JSONDecodeError) and (
                error.msg.startswith("Unterminated") or not text[error.pos :].strip("` \n")
            )
    return False


def _too_deep() -> SummaryError:
    return SummaryError(
        f"The summariser's answer cannot be read: its lists and objects are nested deeper than {MAX_ANSWER_DEPTH} levels."
    )


def _no_summary(answer: Any) -> SummaryError:
    return SummaryError(f"The summariser's answer holds no summary: {text_of(answer)[:200]!r}.")
