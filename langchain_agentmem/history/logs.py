"""The messages of one history object: a session in the database, or a log of a single run in this process."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from itertools import compress
from typing import TYPE_CHECKING, Any

from langchain_core.messages import BaseMessage

from langchain_agentmem.arguments.omitted import OMITTED, Omitted
from langchain_agentmem.arguments.retention import Retention
from langchain_agentmem.backends.contract import MessageRow, SessionKey, SessionRow
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.encoding.repairs import completed
from langchain_agentmem.errors import InvalidInputError
from langchain_agentmem.history.changes import Doomed, delete_messages, replace, truncate, unknown_message
from langchain_agentmem.history.documents import SessionDocument, session_document
from langchain_agentmem.history.engine import HistoryEngine
from langchain_agentmem.history.restoring import has_messages, restore_session, restored_rows
from langchain_agentmem.history.turns import serialized_turn, with_id
from langchain_agentmem.messages.models import FoundMessages, StoredMessage
from langchain_agentmem.programs import OffLoop, Program
from langchain_agentmem.search.messages import MessageQuery
from langchain_agentmem.search.rows import are_large, digest_of_message, message_of, stored_message

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

    from langchain_agentmem.compression.compressor import MemoryCompressor


def log_of(engine: HistoryEngine, key: SessionKey, agent: str | None, retention: Retention) -> Log:
    """Return the log of a history.

    Args:
        engine: The engine of the history.
        key: The session.
        agent: The agent; None for the messages of all agents.
        retention: The messages that are kept, and their TTL.
    """
    if retention.policy == "single_run":
        rows = None if engine.run_rows is None else engine.run_rows.setdefault(key, [])
        return RunLog(engine.codec, key, agent, retention.max_messages, rows)
    return SessionLog(engine, key, agent, retention)


class Log(ABC):
    """The messages of a session, or those of one agent in it. Its methods are programs.

    Args:
        codec: Decodes messages.
        key: The session.
        agent: The agent; None for the messages of all agents.
    """

    def __init__(self, codec: Codec, key: SessionKey, agent: str | None) -> None:
        self.codec = codec
        self.key = key
        self.agent = agent

    def newest(self, limit: int | None) -> Program[list[BaseMessage]]:
        """Return the newest `limit` messages, oldest first, and before them the newest system message if it is older."""
        return (yield from self._decoded((yield from self._newest_rows(limit))))

    def stored(self, limit: int | None) -> Program[list[StoredMessage]]:
        """Return the newest `limit` messages, oldest first, with their properties."""
        rows = yield from self._newest_rows(limit)
        yield from OffLoop(are_large(rows))
        kept = rows if limit is None else rows[-limit:]
        return [stored_message(self.codec, row, self.key) for row in kept]

    def stored_page(self, after: int, size: int) -> Program[list[StoredMessage]]:
        """Return at most `size` messages after a position, with their properties."""
        rows = yield from self._page_rows(after, size)
        yield from OffLoop(are_large(rows))
        return [stored_message(self.codec, row, self.key) for row in rows]

    def page(self, after: int, size: int) -> Program[tuple[list[BaseMessage], int | None]]:
        """Return at most `size` messages after a position, and the position to continue after (None: no more)."""
        rows = yield from self._page_rows(after, size)
        return (yield from self._decoded(rows)), rows[-1].position if len(rows) == size else None

    def all(self) -> Program[list[BaseMessage]]:
        """Return all messages, oldest first."""
        return (yield from self._decoded((yield from self._newest_rows(None))))

    def document(self) -> Program[dict[str, Any]]:
        """Return the session as a JSON object; see `langchain_agentmem.history.documents`."""
        session = yield from self._session()
        rows = yield from self._newest_rows(None)
        yield from OffLoop(are_large(rows))
        with reading(f"Session {self.key.session_id!r}"):
            return session_document(self.key, self.agent, session, rows, self.codec)

    @abstractmethod
    def restore(self, session: SessionDocument) -> Program[None]:
        """Store the contents of a session, which must have no messages: all of them, or nothing."""

    @abstractmethod
    def append(
        self, messages: Sequence[BaseMessage], metadata: Mapping[str, Any] | None, *, repair: bool
    ) -> Program[int | None]:
        """Add messages at the end: all of them, next to each other, or none.

        Returns:
            The position of the first message; None if there are no messages.
        """

    @abstractmethod
    def count(self) -> Program[int]:
        """Return the number of messages."""

    @abstractmethod
    def clear(self) -> Program[None]:
        """Delete the messages."""

    @abstractmethod
    def delete(self, doomed: Doomed) -> Program[int]:
        """Delete messages, and return their number."""

    @abstractmethod
    def truncate(self, after: str) -> Program[int]:
        """Delete the messages after the one with an ID, and return their number."""

    @abstractmethod
    def replace(
        self, message_id: str, message: BaseMessage, metadata: Mapping[str, Any] | Omitted | None
    ) -> Program[None]:
        """Store a message in place of the one with an ID."""

    @abstractmethod
    def search(self, query: MessageQuery) -> Program[FoundMessages]:
        """Find messages; see `AgentMemHistory.search`."""

    @abstractmethod
    def compressed(
        self, compressor: MemoryCompressor, config: RunnableConfig, *, opens: bool
    ) -> Program[list[BaseMessage]]:
        """Return the messages within the budget of a compressor.

        Args:
            compressor: The compressor.
            config: The config of the run.
            opens: If true and there is no message of the user, a message in its place comes first.
        """

    @abstractmethod
    def _session(self) -> Program[SessionRow | None]:
        """Return the session as it is stored; None if it is not."""

    @abstractmethod
    def _newest_rows(self, limit: int | None) -> Program[list[MessageRow]]:
        """Same as `newest`, but do not decode the messages."""

    @abstractmethod
    def _page_rows(self, after: int, size: int) -> Program[list[MessageRow]]:
        """Same as `page`, but do not decode the messages."""

    def _decoded(self, rows: Sequence[MessageRow]) -> Program[list[BaseMessage]]:
        yield from OffLoop(are_large(rows))
        return [message_of(self.codec, row, self.key) for row in rows]


class SessionLog(Log):
    """A log in the database.

    Args:
        engine: The engine of the history.
        key: The session.
        agent: The agent; None for the messages of all agents.
        retention: The messages that are kept, and their TTL.
    """

    def __init__(self, engine: HistoryEngine, key: SessionKey, agent: str | None, retention: Retention) -> None:
        super().__init__(engine.codec, key, agent)
        self.engine = engine
        self.retention = retention

    def append(
        self, messages: Sequence[BaseMessage], metadata: Mapping[str, Any] | None, *, repair: bool
    ) -> Program[int | None]:
        return self.engine.append(
            self.key, messages, agent=self.agent, retention=self.retention, metadata=metadata, repair=repair
        )

    def restore(self, session: SessionDocument) -> Program[None]:
        return restore_session(self.engine, self.key, self.agent, self.retention, session)

    def count(self) -> Program[int]:
        return self.engine.count(self.key, self.agent)

    def clear(self) -> Program[None]:
        return self.engine.clear(self.key, self.agent)

    def delete(self, doomed: Doomed) -> Program[int]:
        return delete_messages(self.engine, self.key, self.agent, doomed)

    def truncate(self, after: str) -> Program[int]:
        return truncate(self.engine, self.key, self.agent, after)

    def replace(
        self, message_id: str, message: BaseMessage, metadata: Mapping[str, Any] | Omitted | None
    ) -> Program[None]:
        return replace(self.engine, self.key, self.agent, message_id, message, metadata)

    def search(self, query: MessageQuery) -> Program[FoundMessages]:
        key = self.key
        return self.engine.search(query, user_id=key.user_id, session_id=key.session_id, agent=self.agent)

    def compressed(
        self, compressor: MemoryCompressor, config: RunnableConfig, *, opens: bool
    ) -> Program[list[BaseMessage]]:
        return compressor.engine.compress_session(self.engine, self.key, self.agent, config, opens=opens)

    def _session(self) -> Program[SessionRow | None]:
        return self.engine.session(self.key)

    def _newest_rows(self, limit: int | None) -> Program[list[MessageRow]]:
        return self.engine.newest(self.key, self.agent, limit)

    def _page_rows(self, after: int, size: int) -> Program[list[MessageRow]]:
        return self.engine.page(self.key, self.agent, after, size)


class RunLog(Log):
    """A log in this process, for the retention policy `"single_run"`: it starts empty and nothing is written.

    Args:
        codec: Encodes messages, so that each read returns other objects than were added.
        key: The session.
        agent: The agent's name for new messages.
        keep: The maximum number of messages. If it is exceeded, the oldest are deleted, except the newest system message.
            None for no maximum.
        rows: The messages of the run, which other logs of it share. Default: None (they belong to this log).
    """

    def __init__(
        self,
        codec: Codec,
        key: SessionKey,
        agent: str | None,
        keep: int | None,
        rows: list[MessageRow] | None = None,
    ) -> None:
        super().__init__(codec, key, agent)
        self._keep = keep
        self._run = [] if rows is None else rows

    @property
    def _rows(self) -> list[MessageRow]:
        """The messages of the agent, or of all agents."""
        return [row for row in self._run if self.agent in (None, row.agent)]

    @_rows.setter
    def _rows(self, rows: Sequence[MessageRow]) -> None:
        others = [row for row in self._run if self.agent not in (None, row.agent)]
        self._run[:] = sorted([*others, *rows], key=lambda row: row.position)

    def append(
        self, messages: Sequence[BaseMessage], metadata: Mapping[str, Any] | None, *, repair: bool
    ) -> Program[int | None]:
        turn = yield from serialized_turn(self.codec, messages, metadata, self.key.session_id, repair=repair)
        first = self._run[-1].position + 1 if self._run else 0
        self._run += turn.rows(self.key, self.agent, time.time(), first=first)
        own = [row for row in self._run if row.agent == self.agent]
        if self._keep is not None and len(own) > self._keep:
            newest = own[-self._keep :]
            spared = [row for row in _newest_system(own) if row not in newest]
            kept = {row.position for row in (*spared, *newest[len(spared) :])}
            self._run[:] = [row for row in self._run if row.agent != self.agent or row.position in kept]
        return first if turn.messages else None

    def restore(self, session: SessionDocument) -> Program[None]:
        given = [one.message for one in session.messages]
        turn = yield from serialized_turn(self.codec, given, None, self.key.session_id, repair=False)
        drafts = turn.rows(self.key, self.agent, time.time())
        rows = restored_rows(drafts, session.messages)
        if self._run:
            raise has_messages(self.key.session_id)
        self._run += rows

    def count(self) -> Program[int]:
        yield from ()
        return len(self._rows)

    def clear(self) -> Program[None]:
        yield from ()
        self._rows = []

    def delete(self, doomed: Doomed) -> Program[int]:
        yield from ()
        digests = None if doomed.ids is None else {digest_of_message(self.key, one) for one in doomed.ids}
        return self._keep_rows(
            row.created_at >= (doomed.before or 0) if digests is None else row.id_digest not in digests
            for row in self._rows
        )

    def truncate(self, after: str) -> Program[int]:
        yield from ()
        last = self._with_id(after)[-1]
        return self._keep_rows(row.position <= last.position for row in self._rows)

    def replace(
        self, message_id: str, message: BaseMessage, metadata: Mapping[str, Any] | Omitted | None
    ) -> Program[None]:
        given = None if metadata is OMITTED else metadata
        one = with_id(completed(message), message_id)
        turn = yield from serialized_turn(self.codec, [one], given, self.key.session_id, repair=False)
        changed = {}
        for old in self._with_id(message_id):
            (row,) = turn.rows(self.key, old.agent, old.created_at, first=old.position)
            changed[old.position] = row._replace(metadata=old.metadata) if metadata is OMITTED else row
        self._rows = [changed.get(row.position, row) for row in self._rows]

    def search(self, query: MessageQuery) -> Program[FoundMessages]:  # noqa: ARG002 (of every log)
        msg = (
            f"Session {self.key.session_id!r} cannot be searched: retention policy 'single_run' stores no messages. "
            f"Use 'session' or 'persistent'."
        )
        raise InvalidInputError(msg)

    def compressed(
        self, compressor: MemoryCompressor, config: RunnableConfig, *, opens: bool
    ) -> Program[list[BaseMessage]]:
        messages = yield from self._decoded(self._rows)
        return (yield from compressor.engine.compress(messages, config, is_private=True, opens=opens))

    def _session(self) -> Program[SessionRow | None]:
        yield from ()
        return None

    def _newest_rows(self, limit: int | None) -> Program[list[MessageRow]]:
        yield from ()
        rows = self._rows
        newest = rows if limit is None else rows[max(0, len(rows) - limit) :]
        return [*(row for row in _newest_system(rows) if row.position < newest[0].position), *newest]

    def _page_rows(self, after: int, size: int) -> Program[list[MessageRow]]:
        yield from ()
        return [row for row in self._rows if row.position > after][:size]

    def _with_id(self, message_id: str) -> list[MessageRow]:
        digest = digest_of_message(self.key, message_id)
        found = [row for row in self._rows if row.id_digest == digest]
        if not found:
            raise unknown_message(message_id, self.key.session_id, self.agent)
        return found

    def _keep_rows(self, kept: Iterable[bool]) -> int:
        """Delete the rows for which `kept` is false, and return their number."""
        before = len(self._rows)
        self._rows = list(compress(self._rows, kept))
        return before - len(self._rows)


def _newest_system(rows: Sequence[MessageRow]) -> list[MessageRow]:
    """Return the newest system message in a list; [] if there is none."""
    return [row for row in rows if row.role == "system"][-1:]
