"""`Session`: a session as a context manager."""

from __future__ import annotations

import copy
import logging
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from langchain_agentmem.arguments.durations import seconds
from langchain_agentmem.arguments.ids import check_id, check_optional_id
from langchain_agentmem.arguments.omitted import OMITTED, Omitted
from langchain_agentmem.arguments.retention import Retention, check_retention
from langchain_agentmem.arguments.values import reason_of, shown
from langchain_agentmem.backends.contract import Ending, MessageRow, Opening, SessionKey
from langchain_agentmem.backends.reads import session_group
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.encoding.json_values import dump_json, load_json
from langchain_agentmem.errors import AgentMemError, InvalidInputError, InvalidTypeError
from langchain_agentmem.history.face import AgentMemHistory
from langchain_agentmem.history.methods import Histories, Window, retention_by_agent
from langchain_agentmem.lifecycle.session_parts import SessionRecords, SessionVariables
from langchain_agentmem.programs import Program, Read, Write, arun, run
from langchain_agentmem.prompting.variables.engine import variable_puts
from langchain_agentmem.text.tables import FieldTable, html_table

if TYPE_CHECKING:
    from langchain_agentmem.compression.compressor import MemoryCompressor
    from langchain_agentmem.lifecycle.records import RecordEngine
    from langchain_agentmem.prompting.variables.engine import VariableEngine

STARTED = "session_started"
"""The variable that holds the time of the opening."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SessionOverview(FieldTable):
    """The contents of a session in numbers, as `Session.summary` returns them."""

    session_id: str
    user_id: str | None
    messages: int
    agents: tuple[str, ...]
    """The agents that added messages or saved records."""
    records: dict[str, int]
    """The number of records by status."""
    first_activity: datetime | None
    """Time at which the session was created, in UTC; None if it does not exist any more."""
    last_activity: datetime | None
    """Time of the newest message, record, variable or opening, in UTC."""


class Session:
    """A session as a context manager, synchronous and asynchronous. `AgentMemory.session` creates it.

    A session is open from the beginning of the first `with` block to the end of the last one, in all processes. Then it is
    ended: data with the retention policies `"single_run"` and `"session"` is deleted. An open session that nobody uses for
    its timeout, because a process was killed, is ended by the next sweep or by the next opening. If its worker continues
    after all, the end of the `with` block ends the session once more.

    After the end, `history`, `variables`, `records` and `update_metadata` raise `InvalidInputError`. Histories that were
    returned before can still be used.

    An error in the `with` block is never replaced by an error of the closing: that error is logged and added as a note.

    Example:
        >>> from langchain_agentmem import AgentMemory, Retention
        >>> memory = AgentMemory.from_url("sqlite:///:memory:")
        >>> with memory.session("campaign-1", context={"goal": "launch"}, retention=Retention("session")) as session:
        ...     session.history(agent="writer").add_ai_message("Draft headline")
        ...     _ = session.records.save("writer", {"output": "Draft headline"})
        ...     session.variables.get("goal"), session.summary().messages, session.summary().records
        ('launch', 1, {'success': 1})
        >>> memory.sessions.get("campaign-1") is None
        True
        >>> memory.close()
    """

    def __init__(
        self,
        histories: Histories,
        records: RecordEngine,
        variables: VariableEngine,
        *,
        session_id: str | None,
        user_id: str | None,
        agent: str | None,
        context: Mapping[str, Any] | None,
        metadata: Mapping[str, Any] | None,
        timeout: timedelta | float | None,
        retention: Retention | Mapping[str | None, Retention] | None,
    ) -> None:
        self.id = str(uuid4()) if session_id is None else check_id("session_id", session_id)
        self.user_id = check_optional_id("user_id", user_id)
        self.agent = check_optional_id("agent", agent)
        self._guard = histories.engine.guard
        self._context = variable_puts(_checked_context(context), guard=self._guard)
        self._given_metadata = None if metadata is None else self._dumped(metadata)
        self._metadata: dict[str, Any] = {} if metadata is None else load_json(self._given_metadata or "{}")
        self._stored_metadata: str | None = None
        self._timeout = seconds("timeout", timeout)
        self._retention: dict[str | None, Retention] = {}
        if isinstance(retention, Retention):
            self._retention[None] = retention
        elif retention is not None:
            retention_by_agent(retention)
            self._retention |= retention
        engine = copy.copy(histories.engine)
        self._run_rows: dict[SessionKey, list[MessageRow]] = {}
        engine.run_rows = self._run_rows
        self._histories = replace(histories, engine=engine)
        self._backend = engine.backend
        self._key: SessionKey = engine.key(self.id, self.user_id)
        self._token: int | None = None
        self._was_opened = False
        self._variables = SessionVariables(variables, self._key, self.agent, self._check_open)
        self._records = SessionRecords(records, self._key, self.retention_of, self._check_open)

    # The context manager

    def __enter__(self) -> Self:
        run(self._open())
        return self

    async def __aenter__(self) -> Self:
        await arun(self._open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            run(self._close())
        except Exception as failure:
            self._handle(failure, error)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await arun(self._close())
        except Exception as failure:
            self._handle(failure, error)

    def end(self) -> None:
        """Close the session before the end of the `with` block, which then does nothing."""
        run(self._close())

    async def aend(self) -> None:
        """Same as `end`, but without blocking the event loop."""
        await arun(self._close())

    # The parts of the session

    def history(
        self,
        *,
        agent: str | Omitted | None = OMITTED,
        max_messages: int | None = None,
        max_tokens: int | None = None,
        token_counter: Any = None,
        compressor: MemoryCompressor | None = None,
    ) -> AgentMemHistory:
        """Return the chat history of the session; see `AgentMemory.history`.

        Args:
            agent: The agent whose messages are read; None for those of all agents. Default: the agent of the session.
            max_messages: The maximum number of messages that `messages` returns. Default: as configured for the memory.
            max_tokens: The maximum number of tokens in that window. Default: None (any number).
            token_counter: Counts tokens. Default: None (approximately).
            compressor: Summarises older messages. Default: None.
        """
        self._check_open()
        chosen = self.agent if agent is OMITTED else check_optional_id("agent", agent)
        window = Window(max_messages, max_tokens, token_counter, compressor).checked()
        return self._histories.create(self.id, self.user_id, chosen, window, self.retention_of(chosen), turn=False)

    @property
    def variables(self) -> SessionVariables:
        """The variables of the session: `set`, `set_many`, `get`, `all`, `delete`, `clear`."""
        self._check_open()
        return self._variables

    @property
    def records(self) -> SessionRecords:
        """The records of the session: `save`, `query`."""
        self._check_open()
        return self._records

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata of the session, as it was opened or last updated by this object."""
        return copy.deepcopy(self._metadata)

    def update_metadata(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Add keys to the metadata, or replace their values, and return the metadata.

        Keys that another worker has added since are kept.

        Args:
            values: JSON values by key.
        """
        return run(self._update_metadata(values))

    async def aupdate_metadata(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Same as `update_metadata`, but without blocking the event loop."""
        return await arun(self._update_metadata(values))

    def summary(self) -> SessionOverview:
        """Return the number of messages, the agents, the records by status, and the times of the first and last activity.

        `AgentMemory.summary` returns a summary in words.
        """
        return run(self._overview())

    async def asummary(self) -> SessionOverview:
        """Same as `summary`, but without blocking the event loop."""
        return await arun(self._overview())

    # Retention

    def set_retention(self, agent: str | None, retention: Retention) -> None:
        """Set the retention of an agent in this session.

        It applies to messages and records that are added from now on, and to the agent's variables. Histories that exist
        already keep the former retention.

        Args:
            agent: The agent; None for all agents without a retention of their own.
            retention: The retention.
        """
        run(self._set_retention(agent, retention))

    async def aset_retention(self, agent: str | None, retention: Retention) -> None:
        """Same as `set_retention`, but without blocking the event loop."""
        await arun(self._set_retention(agent, retention))

    def retention_of(self, agent: str | None) -> Retention:
        """Return the retention of an agent in this session; None is the key for no agent."""
        return self._histories.retention_of(agent, self._retention.get(agent) or self._retention.get(None))

    def __repr__(self) -> str:
        user = "" if self.user_id is None else f", user_id={self.user_id!r}"
        state = "open" if self._token is not None else "closed" if self._was_opened else "not opened yet"
        return f"Session({self.id!r}{user}, {state}{self._backend.closed_mark})"

    def _repr_html_(self) -> str:
        try:
            return self.summary()._repr_html_()
        except AgentMemError as error:  # of a closed memory, the caption shows the error
            return html_table([], caption=f"Session {self.id}: {error}")

    # Programs

    def _open(self) -> Program[None]:
        if self._token is not None:
            msg = (
                f"Session {shown(self.id)} is open in this object already. "
                f"To open it again, create another object with memory.session({shown(self.id)})."
            )
            raise InvalidInputError(msg)
        token, now = secrets.randbits(62), time.time()
        kept = self.retention_of(self.agent)
        names = {put.name for put in self._context}
        started = datetime.fromtimestamp(now, UTC).isoformat()
        opening = Opening(
            token,
            now,
            self._ending(),
            self._timeout,
            self._given_metadata,
            seconds("Retention.ttl", kept.ttl),
            kept.sliding,
            [*(variable_puts({STARTED: started}) if STARTED not in names else ()), *self._context],
        )
        try:
            with self._histories.engine.cache.writing([session_group(self._key)]):
                opened = yield from Write(self._backend, self._backend.openings.open(self._key, opening))
            self._token, self._was_opened = token, True
            self._stored_metadata, self._metadata = opened.metadata, self._read_metadata(opened.metadata)
            yield from self._histories.engine.sweeper.after_write()
        except GeneratorExit:
            raise
        except BaseException as error:
            # The block is not entered, so nobody closes the session. An error of the storage says that nothing was stored.
            if self._token is not None or not isinstance(error, AgentMemError):
                yield from self._withdraw(token)
            raise

    def _withdraw(self, token: int) -> Program[None]:
        """Close an opening whose call was interrupted. It may not have been stored."""
        self._token, self._was_opened = None, False
        closing = self._backend.openings.close(self._key, token, None, time.time())
        with suppress(AgentMemError), self._histories.engine.cache.writing([session_group(self._key)]):
            yield from Write(self._backend, closing)

    def _close(self) -> Program[None]:
        if self._token is None:
            return
        closing = self._backend.openings.close(self._key, self._token, self._ending(), time.time())
        with self._histories.engine.cache.writing([session_group(self._key)]):
            yield from Write(self._backend, closing)
        self._token = None
        for rows in self._run_rows.values():
            rows.clear()

    def _handle(self, failure: Exception, error: BaseException | None) -> None:
        """Raise the error of the closing, unless the body of the `with` block raised another one."""
        if error is None:
            raise failure
        note = f"Session {self.id!r} could not be closed: {type(failure).__name__}: {reason_of(failure)}."
        error.add_note(f"{note} It is ended when its timeout is over.")
        _log.warning("%s", note)

    def _ending(self) -> Ending:
        ends = _ends(self.retention_of(None))
        agents = [agent for agent in {*self._retention, *self._histories.retention} if agent is not None]
        return Ending(ends, [agent for agent in sorted(agents) if _ends(self.retention_of(agent)) != ends])

    def _set_retention(self, agent: str | None, retention: Retention) -> Program[None]:
        check_optional_id("agent", agent)
        kept = check_retention(retention)
        if kept is None:
            msg = "retention must be a Retention, such as Retention('session'), got None."
            raise InvalidTypeError(msg)
        former = self._ending()
        self._retention[agent] = kept
        if self._token is not None and self._ending() != former:
            change = self._backend.openings.change(self._key, self._ending(), time.time())
            yield from Write(self._backend, change)

    def _dumped(self, metadata: Mapping[str, Any]) -> str:
        if self._guard is not None and isinstance(metadata, Mapping):
            metadata = self._guard.value(metadata, "metadata")
        return dump_json(metadata, "metadata")

    def _update_metadata(self, values: Mapping[str, Any]) -> Program[dict[str, Any]]:
        self._check_open()
        added = load_json(self._dumped(values))
        expected = self._stored_metadata
        while True:  # again if another worker has changed them since they were read
            text = dump_json({**self._read_metadata(expected), **added}, "metadata")
            swap = self._backend.openings.swap_metadata(self._key, expected, text, time.time())
            found = yield from Write(self._backend, swap)
            if found is None:
                msg = f"Session {shown(self.id)} does not exist any more, so its metadata cannot be changed."
                raise InvalidInputError(msg)
            (expected,) = found
            if expected == text:
                break
        self._stored_metadata, self._metadata = text, load_json(text)
        return self.metadata

    def _read_metadata(self, stored: str | None) -> dict[str, Any]:
        with reading(f"The metadata of session {self.id!r}"):
            return {} if stored is None else load_json(stored)

    def _overview(self) -> Program[SessionOverview]:
        with reading(f"Session {self.id!r}"):
            found = yield from Read(self._backend, self._backend.openings.activity(self._key, time.time()))
        run_rows = self._run_rows.get(self._key, [])
        messages, records = (found.messages, found.records) if found else ([], [])
        counts: dict[str, int] = {}
        for _, status, count in records:
            counts[status] = counts.get(status, 0) + count
        agents = {agent for agent, _ in messages} | {row.agent for row in run_rows} | {agent for agent, *_ in records}
        times = (found.row.created_at, found.row.updated_at) if found else (None, None)
        first, last = (None if one is None else datetime.fromtimestamp(one, UTC) for one in times)
        return SessionOverview(
            self.id,
            self.user_id,
            sum(count for _, count in messages) + len(run_rows),
            tuple(sorted(agent for agent in agents if agent is not None)),
            counts,
            first,
            last,
        )

    def _check_open(self) -> None:
        if self._token is None:
            msg = (
                f"Session {shown(self.id)} is not open. "
                f"Write `with memory.session({shown(self.id)}) as session:`, or `async with`."
            )
            raise InvalidInputError(msg)


def _ends(retention: Retention) -> bool:
    return retention.policy != "persistent"


def _checked_context(context: Any) -> Mapping[str, Any]:
    if context is None:
        return {}
    if not isinstance(context, Mapping):
        msg = f"context must be a mapping of names to values, got {type(context).__name__}: {shown(context)}."
        raise InvalidTypeError(msg)
    return context
