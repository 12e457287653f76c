"""What a file says that is to be learned from a message, and the model that proposes it.

An application passes a chat model to `memory.learn`. The demo passes `recorded_model`, whose answers are in the file. It
needs no key and no network.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda

from langchain_agentmem.command.demo.recordings import check_storable, expect, texts
from langchain_agentmem.errors import InvalidInputError
from langchain_agentmem.testing import ScriptedChatModel

_KEYS = {"fact", "instead_of", "topics", "field", "value"}
_KNOWN = re.compile(r"<data>(.*?)</data>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Lesson:
    """One fact about the user, or the value of one field of the profile."""

    fact: str | None = None
    instead_of: str | None = None
    """The text of the fact that it supersedes."""
    topics: tuple[str, ...] = ()
    field: str | None = None
    """The path of the field, such as `"preferences.diet"`."""
    value: Any = None

    def proposal(self, number: int, known: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the change, as a model proposes it.

        Args:
            number: The number of the message that states it.
            known: The facts that the model was shown, with their numbers.
        """
        if self.field is not None:
            return {"action": "update", "field": self.field, "value": self.value, "messages": [number]}
        change = {"action": "add", "text": self.fact, "topics": list(self.topics), "messages": [number]}
        former = next((one["number"] for one in known if one["text"] == self.instead_of), None)
        return change if former is None else {**change, "action": "update", "fact": former}


def read_lessons(entry: Mapping[str, Any], where: str) -> tuple[Lesson, ...]:
    """Read the list under `"learn"` of a message.

    Args:
        entry: The message of the file.
        where: Its location in the file, for errors.

    Raises:
        InvalidInputError: A value cannot be learned, or the message is not the user's.
        InvalidTypeError: A value has the wrong type.

    Example:
        >>> from langchain_agentmem.command.demo.lessons import read_lessons
        >>> read_lessons({"role": "user", "learn": [{"fact": "Sails"}]}, "file")[0].fact
        'Sails'
    """
    found = expect(entry.get("learn", []), list, "learn must be a list of objects", where)
    if found and entry.get("role") not in ("user", "human"):
        msg = f"{where}: only messages of the user may have learn."
        raise InvalidInputError(msg)
    return tuple(_read_lesson(one, f"{where}.learn[{at}]") for at, one in enumerate(found))


def _read_lesson(entry: Any, where: str) -> Lesson:
    expect(entry, dict, 'it must be an object with "fact", or with "field" and "value"', where)
    check_storable(entry, where)
    for key in ("fact", "instead_of", "field"):
        expect(entry.get(key, ""), str, f"{key} must be a string", where)
    if unknown := sorted(set(entry) - _KEYS):
        msg = f"{where} has the unknown key {unknown[0]!r}: use fact, instead_of and topics, or field and value."
        raise InvalidInputError(msg)
    if bool(entry.get("fact")) == bool(entry.get("field")):
        msg = f'{where} must have "fact", or "field" and "value".'
        raise InvalidInputError(msg)
    topics = texts(entry, "topics", where)
    return Lesson(
        entry.get("fact") or None, entry.get("instead_of"), topics, entry.get("field") or None, entry.get("value")
    )


def recorded_model(lessons: Sequence[Sequence[Lesson]]) -> Runnable[Any, BaseMessage]:
    """Return a model that proposes what a file says is to be learned.

    Args:
        lessons: The lessons of each message that the model is shown, in order.
    """

    def answer(prompt: Sequence[BaseMessage] | PromptValue, config: RunnableConfig) -> BaseMessage:
        messages = prompt.to_messages() if isinstance(prompt, PromptValue) else list(prompt)
        shown = _KNOWN.search(str(messages[-1].text))
        known = json.loads(shown[1]).get("facts", []) if shown else []
        changes = [one.proposal(number, known) for number, own in enumerate(lessons, 1) for one in own]
        return ScriptedChatModel([json.dumps({"changes": changes})]).invoke(messages, config)

    return RunnableLambda(answer)
