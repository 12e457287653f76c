"""The values of the variables that a prompt names: those that were set, and those that memory provides."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langchain_agentmem.arguments.values import check_count
from langchain_agentmem.backends.contract import (
    LIST_SUMMARY,
    MessageRow,
    SessionKey,
    StoredSummary,
    VariableRow,
    VariableScope,
)
from langchain_agentmem.backends.reads import Lookup
from langchain_agentmem.compression.storage import record_of
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.encoding.json_values import load_json_value
from langchain_agentmem.history.engine import HistoryEngine
from langchain_agentmem.knowledge.facts.fields import document_in
from langchain_agentmem.knowledge.items import readable
from langchain_agentmem.knowledge.namespaces import profile_key
from langchain_agentmem.programs import OffLoop, Program, Read, together
from langchain_agentmem.programs.sizes import LARGE, is_long
from langchain_agentmem.prompting.templates.budgets import Ranked
from langchain_agentmem.prompting.variables.engine import VariableEngine
from langchain_agentmem.search.rows import are_large, message_of
from langchain_agentmem.store.engine import StoreEngine
from langchain_agentmem.store.items import item_groups, value_of

_log = logging.getLogger(__name__)

USER_NAME, PREFERENCES, RECENT_CONTEXT, SESSION_CONTEXT, CONVERSATION_SUMMARY, RELEVANT_MEMORIES = BUILT_IN = (
    "user_name",
    "preferences",
    "recent_context",
    "session_context",
    "conversation_summary",
    "relevant_memories",
)
"""Names of the variables that memory provides. A variable that was set wins over one of these with the same name."""

_OF_USER = frozenset((USER_NAME, PREFERENCES, RELEVANT_MEMORIES))
_OF_SESSION = frozenset((RECENT_CONTEXT, SESSION_CONTEXT, CONVERSATION_SUMMARY))

STARTED = "session_started"
"""Name of the variable that holds the time when a session was opened. It is no part of `session_context`."""

_USER_RANK, _SESSION_RANK = 2, 4
"""Ranks of variables of a user and of a session; those of one agent have the next number."""


class Subject(NamedTuple):
    """Whose memory a prompt shows."""

    user_id: str | None = None
    session_id: str | None = None
    agent: str | None = None


@dataclass(frozen=True)
class RecentContext:
    """How much of a session the variable `recent_context` of a prompt quotes.

    Args:
        messages: The maximum number of messages. Default: 6.
        characters: The maximum number of characters of each message. Default: 300.

    Raises:
        InvalidInputError: A number is not positive.
        InvalidTypeError: A number is not a whole number.

    Example:
        >>> from langchain_agentmem import RecentContext
        >>> RecentContext(messages=2)
        RecentContext(messages=2, characters=300)
    """

    messages: int = 6
    characters: int = 300

    def __post_init__(self) -> None:
        check_count("RecentContext.messages", self.messages)
        check_count("RecentContext.characters", self.characters)


Recall = Callable[[str, str, str | None], Program[str]]
"""Returns what is known that answers a message: takes the message, the user, and the current session."""


class _Reading(NamedTuple):
    """A part of what is read."""

    program: Program[Any]
    """The storage program."""
    decoded: Callable[[Any], Program[dict[str, Ranked]]]
    """Returns the program that decodes its result."""
    lookup: Lookup | None = None
    """The key of the result in the cache of reads; None if it is not cached."""


class ValueReader:
    """Reads the values for prompts.

    Args:
        history: The engine of the histories.
        store: The engine of the store. Its cache of reads may answer for profiles and variables.
        variables: The engine of the variables.
        recall: Returns the text of `relevant_memories`.
        schema: Name of the profile's schema. Default: `"UserProfile"`.
        recent: How much `recent_context` quotes. Default: `RecentContext()`.
    """

    def __init__(
        self,
        history: HistoryEngine,
        store: StoreEngine,
        variables: VariableEngine,
        recall: Recall,
        schema: str = "UserProfile",
        recent: RecentContext | None = None,
    ) -> None:
        self._history = history
        self._store = store
        self._variables = variables
        self._recall = recall
        self._schema = schema
        self._recent = recent or RecentContext()

    def read(self, wanted: Set[str], subject: Subject, message: str) -> Program[dict[str, Ranked]]:
        """Return the values of variables. Only these are read, in one round trip; `relevant_memories` takes further ones.

        Args:
            wanted: The names of the variables.
            subject: Whose memory is read.
            message: The current message of the user, for `relevant_memories`.
        """
        if not wanted:
            return {}
        reads = self._reads(wanted, subject)

        def read(missing: Sequence[int]) -> Program[list[Any]]:
            programs = [reads[at].program for at in missing]
            if len(programs) == 1:
                return [(yield from Read(self._history.backend, programs[0]))]
            return (yield from Read(self._history.backend, together(programs)))

        results = yield from self._store.cache.several([one.lookup for one in reads], read)
        found: dict[str, Ranked] = {}
        for one, result in zip(reads, results, strict=True):
            # The variables come last, so that they win over what memory provides.
            found |= {name: value for name, value in (yield from one.decoded(result)).items() if name in wanted}
        if RELEVANT_MEMORIES in wanted and RELEVANT_MEMORIES not in found and subject.user_id is not None and message:
            text = yield from self._recall(message, subject.user_id, subject.session_id)
            found |= _values({RELEVANT_MEMORIES: text}, _USER_RANK)
        _log.debug("prompt: read %d of %d variables", len(found), len(wanted))
        return found

    def _reads(self, wanted: Set[str], subject: Subject) -> list[_Reading]:
        """Return the storage programs to run, each with the program that decodes its result."""
        now = time.time()
        messages, items = self._history.backend.messages, self._history.backend.items
        reads: list[_Reading] = []
        if subject.user_id is not None and not wanted.isdisjoint((USER_NAME, PREFERENCES)):
            key = profile_key(subject.user_id, self._schema)
            reads.append(
                _Reading(
                    items.get(self._store.tenant, [key], now),
                    partial(self._profile, subject.user_id),
                    Lookup(("profile of a prompt", key), item_groups([key[0]])),
                )
            )
        if subject.session_id is not None:
            session = self._history.key(subject.session_id, subject.user_id)
            if RECENT_CONTEXT in wanted:
                reads.append(
                    _Reading(
                        messages.window(session, None, self._recent.messages, now),
                        partial(self._conversation, session),
                    )
                )
            if CONVERSATION_SUMMARY in wanted:
                reads += [
                    _Reading(messages.summary(session, agent, now), self._summary) for agent in (LIST_SUMMARY, None)
                ]
        scope = VariableScope(self._history.tenant, *subject)
        # The cache holds all variables of a scope.
        is_cached = self._store.cache.is_on
        names = None if is_cached else sorted(wanted)
        read = self._history.backend.variables.read(scope, names, now, whole_session=SESSION_CONTEXT in wanted)
        reads.append(_Reading(read, self._read_variables, self._variables.lookup(scope) if is_cached else None))
        return reads

    def _profile(self, user_id: str, rows: Sequence[Any]) -> Program[dict[str, Ranked]]:
        stored = [row for row in rows if row is not None]
        document = next(readable(stored, lambda row: document_in(user_id, value_of(row))), {})
        yield from ()
        preferences = with_sorted_keys(document.get("preferences"))
        return _values({USER_NAME: document.get("name"), PREFERENCES: preferences}, _USER_RANK)

    def _conversation(self, session: SessionKey, rows: Sequence[MessageRow]) -> Program[dict[str, Ranked]]:
        yield from OffLoop(are_large(rows))
        messages = [message_of(self._history.codec, row, session) for row in rows[-self._recent.messages :]]
        return self.of_messages(messages)

    def of_messages(self, messages: Sequence[BaseMessage]) -> dict[str, Ranked]:
        """Return `recent_context` of messages that are not stored, such as those in the state of a graph."""
        lines = [line for message in messages if (line := self._line(message))][-self._recent.messages :]
        return _values({RECENT_CONTEXT: "\n".join(lines)}, _SESSION_RANK)

    def _line(self, message: BaseMessage) -> str:
        """Return a message as one line; an empty text if nobody speaks in it.

        A line break in a message must not begin a line that looks like another speaker's.
        """
        speaker = _speaker_of(message)
        text = " ".join(str(message.text).split())
        if not speaker or not text:
            return ""
        most = self._recent.characters
        return f"{speaker}: {text if len(text) <= most else text[: most - 1].rstrip() + '…'}"

    def _summary(self, stored: StoredSummary | None) -> Program[dict[str, Ranked]]:
        yield from ()
        entries = record_of(stored.value).entries if stored else ()
        return _values({CONVERSATION_SUMMARY: entries[0].summary.text if entries else None}, _SESSION_RANK)

    def _read_variables(self, rows: Sequence[VariableRow]) -> Program[dict[str, Ranked]]:
        yield from OffLoop(is_long([row.value for row in rows], LARGE))
        found: dict[str, Ranked] = {}
        session: dict[str, Any] = {}
        name = ""
        with reading(lambda: f"The variable {name!r}"):
            for rank, row in sorted([(rank_of(row.scope), row) for row in rows], key=_rank):
                name = row.name
                found[name] = one = Ranked(load_json_value(row.value), rank)
                if rank >= _SESSION_RANK:
                    session[name] = one.value
        session.pop(STARTED, None)
        if session and SESSION_CONTEXT not in found:
            found |= _values({SESSION_CONTEXT: dict(sorted(session.items()))}, _SESSION_RANK)
        return found


def with_sorted_keys(value: Any) -> Any:
    """Return a JSON value whose objects are in the order of their keys. Postgres stores items without an order of keys.

    Example:
        >>> from langchain_agentmem.prompting.values import with_sorted_keys
        >>> with_sorted_keys({"zz": 1, "b": [{"d": 2, "c": 3}]})
        {'b': [{'c': 3, 'd': 2}], 'zz': 1}
    """
    if isinstance(value, dict):
        return {key: with_sorted_keys(value[key]) for key in sorted(value)}
    return [with_sorted_keys(one) for one in value] if isinstance(value, list) else value


def unnamed_by(subject: Subject, name: str) -> str:
    """Return what a run does not name, although a variable that memory provides needs it; an empty text if there is none.

    Args:
        subject: Whose memory the run shows.
        name: The name of the variable, which may lead into an object.
    """
    built_in = name.partition(".")[0]
    if built_in in _OF_USER and subject.user_id is None:
        return "user_id"
    return "session_id" if built_in in _OF_SESSION and subject.session_id is None else ""


def _speaker_of(message: BaseMessage) -> str | None:
    if isinstance(message, HumanMessage):
        return "User"
    return "Assistant" if isinstance(message, AIMessage) else None


_rank = itemgetter(0)


def rank_of(scope: VariableScope) -> int:
    """Return how specific a scope is, as in `Ranked`."""
    level = _SESSION_RANK if scope.session_id is not None else _USER_RANK if scope.user_id is not None else 0
    return level + (scope.agent is not None)


def _values(values: Mapping[str, Any], rank: int) -> dict[str, Ranked]:
    """Return the values that are not empty."""
    return {name: Ranked(value, rank) for name, value in values.items() if value not in (None, "", [], {})}
