"""Recalled text for the prompts of a thread: one part is the same in all turns, the other is for one turn.

Providers cache the beginning of a prompt. A beginning that changed with every question would be billed in full in every turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig

from langchain_agentmem.programs import Program
from langchain_agentmem.programs.caches import RecentValues
from langchain_agentmem.prompting.recall.user_knowledge import Recalled, UserKnowledge

_THREADS = 1_000
"""The number of threads whose text is kept in this process."""
_SHARE_OF_TURNS = 0.25
"""The share of the characters that is reserved for the turn part."""


class Told(NamedTuple):
    """The recalled knowledge in the prompts of a thread."""

    prefix: dict[str, Any]
    """The part for all turns of the thread."""
    turn: dict[str, Any]
    """The part for the current turn."""
    question: str
    """The question of the current turn."""
    first: Recalled
    """The items behind `prefix`."""
    recalled: Recalled
    """The items behind `prefix` and `turn`."""


class ThreadPrefixes:
    """Recalls knowledge for the prompts of threads. The part for all turns stays the same within a thread.

    A later turn adds the matches of its question. Items that were deleted or superseded since are removed from both parts.

    Args:
        recall: Reads what is stored.
    """

    def __init__(self, recall: UserKnowledge) -> None:
        self.recall = recall
        self._told: RecentValues[tuple[str, str], Told] = RecentValues(_THREADS)

    def told(self, user_id: str, messages: Sequence[BaseMessage], config: RunnableConfig) -> Program[Told]:
        """Return the recalled knowledge for this turn.

        Args:
            user_id: The user.
            messages: The conversation.
            config: The config of the run. It names the thread.

        Raises:
            UnknownCollectionError: A collection of shared knowledge does not exist.
        """
        first, last = _first_question(messages), _first_question(messages[::-1])
        key = user_id, _thread_of(config, first)
        session = _session_of(config)
        told = self._told.get(key)
        if told is None:
            found = yield from self.recall.known(user_id, first, session_id=session)
            told = Told(found.known, {}, first, found, found)
        elif told.question == last:
            told = _still_valid(told, (yield from self.recall.still_known(user_id, told.recalled)))
        if told.question != last:
            found = yield from self.recall.known(user_id, last, told.first, session)
            told = _still_valid(told._replace(turn={}, question=last), found)
            told = self._with_turn(told, found)
        self._told.put(key, told)
        return told

    def texts(self, told: Told, share: float) -> tuple[str, str]:
        """Return the text for all turns and the text for the current turn.

        Args:
            told: The recalled knowledge.
            share: The share of the maximum characters of both.
        """
        prefix = self.recall.text(told.prefix, share)
        return prefix, self.recall.text(told.turn, share, len(prefix))

    def _with_turn(self, told: Told, found: Recalled) -> Told:
        """Add the matches of a question that are not in the prefix."""
        told = told._replace(turn=_without(found.known, told.prefix))
        room = self.recall.max_characters * (1 - _SHARE_OF_TURNS)
        if told.turn and len(self.recall.text(told.prefix)) > room:
            prefix = self.recall.bounded(told.prefix, 1 - _SHARE_OF_TURNS)
            told = told._replace(prefix=prefix, turn=_without(found.known, prefix))
        return told


def _thread_of(config: RunnableConfig, first_question: str) -> str:
    """Return a text that identifies the thread: by its ID, or by its first question."""
    configurable = config.get("configurable") or {}
    thread_id = configurable.get("thread_id")
    if thread_id is not None:
        return f"thread {thread_id} {(configurable.get('checkpoint_ns') or '').partition(':')[0]}"
    return f"question {blake2b(first_question.encode(errors='surrogatepass'), digest_size=16).hexdigest()}"


def _session_of(config: RunnableConfig) -> str | None:
    """Return the session of a run: `session_id` in its config, else the ID of its thread."""
    configurable = config.get("configurable") or {}
    session_id = configurable.get("session_id") or configurable.get("thread_id")
    return None if session_id is None else str(session_id)


def _first_question(messages: Sequence[BaseMessage]) -> str:
    return next((str(one.text) for one in messages if isinstance(one, HumanMessage)), "")


def _still_valid(told: Told, found: Recalled) -> Told:
    """Remove items that are no longer stored."""
    profile = found.known.get("profile", {})
    prefix = _valid(told.prefix, found)
    if not _contains(profile, told.prefix.get("profile", {})):
        prefix = {**({"profile": profile} if profile else {}), **prefix}
    elif "profile" in told.prefix:
        prefix = {"profile": told.prefix["profile"], **prefix}
    turn = _valid(told.turn, found)
    changed = _without({"profile": profile}, prefix) if "profile" in told.turn else {}
    return told._replace(prefix=prefix, turn={**changed, **turn}, recalled=found)


def _valid(known: Mapping[str, Any], found: Recalled) -> dict[str, Any]:
    """Return the lists of `known` without texts that are no longer stored."""
    lists = {
        name: [one for one in texts if one in found.valid.get(name, ())]
        for name, texts in known.items()
        if name != "profile"
    }
    return {name: texts for name, texts in lists.items() if texts}


def _without(known: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of `known` that is not in `told`."""
    rest: dict[str, Any] = {}
    for name, value in known.items():
        former = told.get(name)
        if name == "profile":
            rest[name] = {key: one for key, one in value.items() if not former or former.get(key) != one}
        else:
            rest[name] = [one for one in value if one not in (former or ())]
    return {name: value for name, value in rest.items() if value}


def _contains(whole: Any, part: Any) -> bool:
    """Return true if all values of `part` are in `whole`."""
    if isinstance(part, Mapping):
        return isinstance(whole, Mapping) and all(
            key in whole and _contains(whole[key], one) for key, one in part.items()
        )
    if isinstance(part, list):
        return isinstance(whole, list) and all(one in whole for one in part)
    return bool(whole == part)
