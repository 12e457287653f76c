"""Sessions as conversations: the summary is stored with the session, and only uncovered messages are read."""

from __future__ import annotations

import sys
import time

from langchain_core.messages import BaseMessage, SystemMessage

from langchain_agentmem.backends.contract import HistoryScope, MessageRow, SessionKey
from langchain_agentmem.compression.conversations import SAME_HUMAN, Snapshot
from langchain_agentmem.compression.records import Entry, RecordStorage
from langchain_agentmem.compression.storage import SessionRecords
from langchain_agentmem.compression.summaries import SessionSummary
from langchain_agentmem.compression.writer import SummaryWriter
from langchain_agentmem.history.engine import HistoryEngine
from langchain_agentmem.messages.budgets import Budget
from langchain_agentmem.messages.tokens import TokenCounter
from langchain_agentmem.programs import OffLoop, Program, Read
from langchain_agentmem.programs.sizes import is_large
from langchain_agentmem.search.rows import message_of

_PAGE = 1_000
_SUMMARY_TOKENS = 400
_MOST_QUOTED = 1_000
"""The maximum number of messages that a summary without a model quotes: its time must not grow with the session."""


class SessionMessages:
    """The conversation of a session.

    `Entry.covered` is the position after the last covered message, because positions never change.

    Args:
        engine: The engine of the history.
        key: The session.
        agent: Only this agent's messages; None for those of all agents.
        style: The style of the summaries to use; see `Entry`.
    """

    def __init__(self, engine: HistoryEngine, key: SessionKey, agent: str | None, style: str = "") -> None:
        self.storage = SessionRecords(engine.backend, key, agent, engine.guard)
        self._engine = engine
        self._key = key
        self._agent = agent
        self._style = style
        self._positions: list[int] = []
        """The positions of the tail's messages."""
        self._kept: dict[int, BaseMessage] = {}

    def load(self, room: Budget | None = None) -> Program[Snapshot]:  # noqa: ARG002 (the tail is bounded anyway)
        """See `langchain_agentmem.compression.conversations.Conversation`."""
        now = time.time()
        record, revision = yield from self.storage.load(now)
        entry = next(iter(record.of(self._style)), None)
        rows = yield from self._rows_from(entry.covered if entry else 0)
        self._positions = [row.position for row in rows]
        self._kept = (yield from self._kept_messages(entry, now)) if entry and entry.kept else {}
        yield from OffLoop(is_large([row.body.data for row in rows]))
        systems: list[BaseMessage] = [one for one in self._kept.values() if isinstance(one, SystemMessage)]
        human = next((one for one in self._kept.values() if not isinstance(one, SystemMessage)), None)
        tail = [message_of(self._engine.codec, row, self._key) for row in rows]
        return Snapshot(record, revision, entry, systems, human, tail)

    def newest(self, limit: int) -> Program[list[BaseMessage]]:
        """Return the newest messages, oldest first, and before them the newest system message if it is older."""
        rows = yield from self._engine.newest(self._key, self._agent, limit)
        yield from OffLoop(is_large([row.body.data for row in rows]))
        return [message_of(self._engine.codec, row, self._key) for row in rows]

    def entry(self, snapshot: Snapshot, summary: SessionSummary, count: int, human: int | None) -> Entry:
        """See `langchain_agentmem.compression.conversations.Conversation`."""
        kept: dict[bool, list[int]] = {is_system: [] for is_system in (True, False)}
        for position, message in self._kept.items():
            kept[isinstance(message, SystemMessage)].append(position)
        systems = [self._positions[at] for at in range(count) if isinstance(snapshot.tail[at], SystemMessage)][-1:]
        humans = kept[False] if human == SAME_HUMAN else [] if human is None else [self._positions[human]]
        return Entry(summary, self._positions[count - 1] + 1, "", (*(systems or kept[True]), *humans), self._style)

    def _rows_from(self, first: int) -> Program[list[MessageRow]]:
        rows: list[MessageRow] = []
        after = first - 1
        while True:
            page = yield from self._engine.page(self._key, self._agent, after, _PAGE)
            rows += page
            if len(page) < _PAGE:
                return rows
            after = page[-1].position

    def _kept_messages(self, entry: Entry, now: float) -> Program[dict[int, BaseMessage]]:
        backend = self._engine.backend
        scope = HistoryScope(self._key.tenant, self._key.user_id, self._key.session_id, self._agent)
        positions = [(self._key.session_id, position) for position in entry.kept]
        rows = yield from Read(backend, backend.messages.rows(scope, positions, now))
        return {row.position: message_of(self._engine.codec, row, self._key) for row in rows.values()}


def newest_summary(storage: RecordStorage) -> Program[SessionSummary | None]:
    """Return the summary that was stored last; None if there is none."""
    record, _ = yield from storage.load(time.time())
    return record.entries[0].summary if record.entries else None


def quoted_summary(messages: SessionMessages, language: str) -> Program[SessionSummary | None]:
    """Return a summary that quotes the newest messages of a session, without a model; None if it has no messages.

    Args:
        messages: The session.
        language: The language of the messages.
    """
    newest = yield from messages.newest(_MOST_QUOTED)
    if not newest:
        return None
    writer = SummaryWriter(None, TokenCounter(), _SUMMARY_TOKENS, sys.maxsize, language=language)
    (part,) = writer.parts([newest])
    return (yield from writer.extend(None, part, None))
