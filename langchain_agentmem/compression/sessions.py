"""Compression of a session's history: the summary lies with the session, and only what it does not cover is read."""

from __future__ import annotations

import json
import logging
import secrets
import sys
import time

from langchain_core.messages import BaseMessage, SystemMessage

from langchain_agentmem.backends.contract import Backend, HistoryScope, MessageRow, SessionKey, StoredSummary
from langchain_agentmem.compression.budgets import Budget
from langchain_agentmem.compression.sources import STAYS, Past
from langchain_agentmem.compression.summaries import Entry, Place, Record, SessionSummary
from langchain_agentmem.compression.summarizing import Summarizer
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.errors import DamagedDataError
from langchain_agentmem.messages.tokens import TokenCounter
from langchain_agentmem.programs import OffLoop, Program, Read, Write
from langchain_agentmem.programs.sizes import is_large
from langchain_agentmem.search.rows import message_of

_log = logging.getLogger(__name__)

_PAGE = 1_000
_SUMMARY_TOKENS = 400


def record_of(stored: str) -> Record:
    """The record that `StoredSummary.value` holds; an empty one if it was damaged, so that the summary is made again."""
    try:
        with reading("The summary of a session"):
            return Record.loaded(json.loads(stored)) if stored else Record()
    except DamagedDataError as error:
        _log.warning("%s It is left out, and made again.", error)
        return Record()


class SessionPlace:
    """The record of a session's summary.

    Args:
        backend: Where the session is.
        key: Which session.
        agent: Whose messages; None for all.
    """

    def __init__(self, backend: Backend, key: SessionKey, agent: str | None) -> None:
        self._backend = backend
        self._key = key
        self._agent = agent

    def load(self, now: float) -> Program[tuple[Record, int | None]]:
        """See `langchain_agentmem.compression.summaries.Place`."""
        stored = yield from Read(self._backend, self._backend.messages.summary(self._key, self._agent, now))
        if stored is None:
            return Record(), None
        return record_of(stored.value), stored.revision

    def swap(self, record: Record, revision: int | None, now: float) -> Program[bool]:
        """See `langchain_agentmem.compression.summaries.Place`."""
        summary = StoredSummary(json.dumps(record.stored()), secrets.randbits(53))
        swapped: bool = yield from Write(
            self._backend, self._backend.messages.swap_summary(self._key, self._agent, summary, revision, now)
        )
        return swapped


class SessionMessages:
    """A session's history, as a compressor sees it.

    What is covered is counted by positions, which never change; `Entry.covered` is the position after the last of them.

    Args:
        backend: Where it is.
        codec: What reads messages.
        key: Which session.
        agent: Whose messages; None for all.
        style: What the summaries that may be used were made by; see `Entry`.
    """

    def __init__(self, backend: Backend, codec: Codec, key: SessionKey, agent: str | None, style: str = "") -> None:
        self.place = SessionPlace(backend, key, agent)
        self._style = style
        self._backend = backend
        self._codec = codec
        self._key = key
        self._agent = agent
        self._positions: list[int] = []
        """Those of the tail."""
        self._kept: dict[int, BaseMessage] = {}

    def load(self, room: Budget | None = None) -> Program[Past]:  # noqa: ARG002 (what it reads is bounded anyway)
        """See `langchain_agentmem.compression.sources.Source`."""
        now = time.time()
        record, revision = yield from self.place.load(now)
        entry = next(iter(record.of(self._style)), None)
        rows = yield from self._rows_from(entry.covered if entry else 0, now)
        self._positions = [row.position for row in rows]
        self._kept = (yield from self._kept_rows(entry, now)) if entry and entry.kept else {}
        yield from OffLoop(is_large([row.body.data for row in rows]))
        systems: list[BaseMessage] = [one for one in self._kept.values() if isinstance(one, SystemMessage)]
        human = next((one for one in self._kept.values() if not isinstance(one, SystemMessage)), None)
        tail = [message_of(self._codec, row, self._key.session_id) for row in rows]
        return Past(record, revision, entry, systems, human, tail)

    def entry(self, past: Past, summary: SessionSummary, count: int, human: int | None) -> Entry:
        """See `langchain_agentmem.compression.sources.Source`."""
        before: dict[bool, list[int]] = {is_system: [] for is_system in (True, False)}
        for position, message in self._kept.items():
            before[isinstance(message, SystemMessage)].append(position)
        systems = [self._positions[at] for at in range(count) if isinstance(past.tail[at], SystemMessage)][-1:]
        humans = before[False] if human == STAYS else [] if human is None else [self._positions[human]]
        return Entry(summary, self._positions[count - 1] + 1, "", (*(systems or before[True]), *humans), self._style)

    def _rows_from(self, first: int, now: float) -> Program[list[MessageRow]]:
        rows: list[MessageRow] = []
        after = first - 1
        while True:
            page = yield from Read(
                self._backend, self._backend.messages.page(self._key, self._agent, after, _PAGE, now)
            )
            rows += page
            if len(page) < _PAGE:
                return rows
            after = page[-1].position

    def _kept_rows(self, entry: Entry, now: float) -> Program[dict[int, BaseMessage]]:
        scope = HistoryScope(self._key.tenant, self._key.user_id, self._key.session_id, self._agent)
        places = [(self._key.session_id, position) for position in entry.kept]
        rows = yield from Read(self._backend, self._backend.messages.rows(scope, places, now))
        return {position: message_of(self._codec, row, session_id) for (session_id, position), row in rows.items()}


def newest_of(place: Place) -> Program[SessionSummary | None]:
    """The outer program that gives the newest summary in a place."""
    record, _ = yield from place.load(time.time())
    return record.entries[0].summary if record.entries else None


def summary_of(messages: SessionMessages, language: str) -> Program[SessionSummary | None]:
    """The outer program that makes a summary of a session of its own sentences; None if there are none.

    Args:
        messages: The session's history.
        language: The language that it is in.
    """
    past = yield from messages.load()
    if not past.tail:
        return None
    summarizer = Summarizer(None, TokenCounter(), _SUMMARY_TOKENS, sys.maxsize, language=language)
    (part,) = summarizer.parts([past.tail])
    return (yield from summarizer.extended(None, part, None))
