"""The answers in a text: JSON in a fence, between other words, after a thought, or encoded once more as a string."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from langchain_agentmem.knowledge.entities.changes import EntityChanges
from langchain_agentmem.knowledge.extraction.loose_json import LooseJSONError, decoded, decoded_at, from_string
from langchain_agentmem.knowledge.extraction.proposals import TOO_DEEP, TOOL, UnusableAnswerError
from langchain_agentmem.text.thoughts import thought_tags

MAX_ANSWER = 60_000
"""Upper bound of the characters of a text that is searched for an answer."""

_TRIES = 50
"""Number of positions in a text where JSON may start."""

_MAX_DEPTH = 6
_MARK = re.compile(r"[{\[]|`{3,}|~{3,}")
_GAP = re.compile(r"[\s,;]*")
_WRAPPERS = (TOOL, "arguments", "parameters", "args", "input", "function", "properties", "answer", "result", "output")


class _Found(NamedTuple):
    """An answer in a text."""

    answer: Any
    start: int
    end: int
    fenced: bool


def answer_in(text: str, *, entities: bool) -> Any:
    """Return the one answer in a text, in the form of `as_answer`; None if the text contains nothing like an answer.

    Several different answers are refused: a model may repeat in its text what a user wrote.

    Args:
        text: The text.
        entities: True if the model was asked for changes of entities too.

    Raises:
        UnusableAnswerError: The text is too long, or it has several answers, or its JSON is nested too deep.
    """
    if len(text) > MAX_ANSWER:
        msg = (
            f"The answer has {len(text):,} characters; at most {MAX_ANSWER:,} are read. "
            "Propose the most important changes."
        )
        raise UnusableAnswerError(msg)
    if text.strip().startswith('"'):
        text = _without_quotes(text)
    search = _Search(text, entities=entities)
    found = search.answers()
    if search.is_too_deep and not found:
        msg = f"The JSON in the answer cannot be read. {TOO_DEEP}"
        raise UnusableAnswerError(msg)
    candidates = [one for one in found if one.fenced] or found
    distinct: list[Any] = []
    for one in candidates:
        if one.answer not in distinct:
            distinct.append(one.answer)
    if len(distinct) > 1:
        msg = "There are several JSON objects with changes in the answer: give one."
        raise UnusableAnswerError(msg)
    return distinct[0] if distinct else None


def as_answer(value: Any, *, entities: bool, depth: int = 0) -> dict[str, Any] | None:
    """Convert a value to an object with a list of changes; return None if it is not an answer.

    Args:
        value: The value: such an object, one that holds it, a list of changes, one change, or one of these as a string.
        entities: True if the model was asked for changes of entities too.
        depth: Number of objects and strings around the value. Default: 0.
    """
    if depth > _MAX_DEPTH:
        return None
    if isinstance(value, str):
        inner = from_string(value)
        return None if inner is value else as_answer(inner, entities=entities, depth=depth + 1)
    if isinstance(value, list):
        return {"changes": value} if is_list_of_changes(value) else None
    return _from_object(value, entities=entities, depth=depth) if isinstance(value, dict) else None


def _from_object(value: dict[str, Any], *, entities: bool, depth: int) -> dict[str, Any] | None:
    if "changes" in value:
        return value
    if entities and any(name in value for name in EntityChanges.model_fields):
        return {"changes": [], **value}
    if "action" in value:
        return {"changes": [value]}
    within = (as_answer(value[name], entities=entities, depth=depth + 1) for name in _WRAPPERS if name in value)
    return next((one for one in within if one is not None), None)


def is_list_of_changes(value: list[Any]) -> bool:
    """Return true if a list holds changes, as objects or as strings."""
    inner = [from_string(one) for one in value]
    return all(isinstance(one, dict) for one in inner) and any("action" in one for one in inner)


def _without_quotes(text: str) -> str:
    """Return the text that a JSON string holds; the text itself if it is not a JSON string."""
    try:
        inner = decoded(text)
    except LooseJSONError:
        return text
    return inner if isinstance(inner, str) else text


class _Search:
    """Searches a text for answers.

    Args:
        text: The text.
        entities: True if the model was asked for changes of entities too.
    """

    def __init__(self, text: str, *, entities: bool) -> None:
        self._text = text
        self._entities = entities
        self._damaged = False
        """True after a damaged value. Lists and changes after it may be parts of it, so they are not answers."""
        self._found: list[_Found] = []
        self.is_too_deep = False
        """True after a value that is nested too deep."""

    def answers(self) -> list[_Found]:
        """Return the answers outside of thoughts."""
        text, position, tries, fenced = self._text, 0, 0, False
        tags = thought_tags(text)
        tag, thoughts = next(tags, None), 0
        while tries < _TRIES:
            mark = None if thoughts else _MARK.search(text, position)
            if tag is not None and (mark is None or tag.start <= mark.start()):
                if tag.start >= position:  # text in strings is not a tag
                    thoughts = self._after_tag(tag.kind, thoughts)
                    position = tag.end
                tag = next(tags, None)
                continue
            if mark is None:
                break
            position = mark.end()
            if mark[0][0] in "`~":
                fenced = not fenced
                continue
            tries += 1
            try:
                value, position = decoded_at(text, mark.start())
            except LooseJSONError as error:
                self._damaged |= error.started
                self.is_too_deep |= error.is_too_deep
                continue
            self._add(value, mark.start(), position, fenced=fenced)
        return self._found

    def _after_tag(self, kind: str, thoughts: int) -> int:
        """Return the number of thoughts around the text after a tag."""
        if kind == "begin":
            return thoughts + 1
        if kind == "end" and thoughts:
            return thoughts - 1
        if kind == "end":  # the opening tag is missing: all text before it is a thought
            self._found.clear()
            self._damaged = False
        return 0

    def _add(self, value: Any, start: int, end: int, *, fenced: bool) -> None:
        is_part = isinstance(value, list) or "changes" not in value
        answer = None if is_part and self._damaged else as_answer(value, entities=self._entities)
        if answer is None and not value and not self._damaged:
            answer = {"changes": []} if self._is_alone(start, end) else None
        if answer is None:
            self._found += [_Found(one, start, end, fenced) for one in _answers_within(value, 0)]
            return
        last = self._found[-1] if self._found else None
        if last and "action" in value and last.answer.keys() == {"changes"} and _is_gap(self._text, last.end, start):
            # Several changes one after the other, without a list around them.
            joined = {"changes": [*last.answer["changes"], *answer["changes"]]}
            self._found[-1] = _Found(joined, last.start, end, fenced)
            return
        self._found.append(_Found(answer, start, end, fenced))

    def _is_alone(self, start: int, end: int) -> bool:
        """Return true if a text has no words besides a value."""
        return not re.search(r"\w{5,}", self._text[:start] + self._text[end:])


def _is_gap(text: str, start: int, end: int) -> bool:
    return _GAP.fullmatch(text, start, end) is not None


def _answers_within(value: Any, depth: int) -> Iterator[Any]:
    """Yield the objects with a list of changes within another value."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, dict) and "changes" in value:
        yield value
    elif isinstance(value, (dict, list)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _answers_within(one, depth + 1)
