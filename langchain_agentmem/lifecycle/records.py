"""`Records`: an append-only log of what agents did."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from langchain_agentmem.arguments.ids import check_id, check_optional_id
from langchain_agentmem.arguments.omitted import OMITTED, Omitted, check_id_or_omitted
from langchain_agentmem.arguments.retention import Retention
from langchain_agentmem.arguments.values import check_count, check_flag, shown
from langchain_agentmem.backends.contract import (
    RecordQuery,
    RecordRow,
    first_record_id,
    new_record_id,
    time_of_record,
)
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.encoding.json_values import dump_json, load_json
from langchain_agentmem.errors import AgentMemError, InvalidInputError, InvalidTypeError, missing_extra
from langchain_agentmem.history.methods import Histories
from langchain_agentmem.knowledge.times import utc
from langchain_agentmem.programs import Program, Read, Write, arun, run
from langchain_agentmem.text.tables import FieldTable, html_table

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger(__name__)

SUCCESS = "success"
"""The status of a record that states none."""

_PAGE = 500
_ROWS_SHOWN = 20


@dataclass(frozen=True)
class Record(FieldTable):
    """One record of an agent."""

    id: str
    """A UUID of version 7. IDs are sorted by time."""
    agent: str
    record: dict[str, Any]
    status: str
    session_id: str | None
    user_id: str | None
    started_at: datetime | None
    duration: float | None
    """Seconds."""
    created_at: datetime
    """Time at which the record was saved, in UTC, with milliseconds."""


class RecordList(list[Record]):
    """Records in order. A notebook shows them as a table."""

    def to_pandas(self) -> pd.DataFrame:
        """Return a data frame with a row for each record, and a column for each field (extra `[pandas]`).

        The index is the ID. The fields of `record` that are mappings and lists stay as they are.

        Raises:
            ConfigurationError: pandas is not installed.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     _ = memory.records.save("writer", {"output": "A headline"}, duration=1.5)
            ...     list(memory.records.query().to_pandas()["duration"])
            [1.5]
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise missing_extra(what="to_pandas()", extra="pandas") from error
        columns = [name for name in Record.__dataclass_fields__ if name != "id"]
        rows = [[getattr(one, name) for name in columns] for one in self]
        return pd.DataFrame(rows, columns=columns, index=pd.Index([one.id for one in self], name="id", dtype=object))

    def _repr_html_(self) -> str:
        several = [name for name in ("session_id", "user_id") if len({getattr(one, name) for one in self}) > 1]
        header = ("time", "agent", "status", *(name.removesuffix("_id") for name in several), "seconds", "record")
        rows = [
            (one.created_at, one.agent, one.status, *(getattr(one, name) for name in several), one.duration, one.record)
            for one in self[:_ROWS_SHOWN]
        ]
        caption = None if len(self) <= _ROWS_SHOWN else f"The first {_ROWS_SHOWN} of {len(self)} records"
        return html_table(rows, header=header, caption=caption)


class Records:
    """The records of agents, as `AgentMemory.records`. Records are never changed. Every method has an async twin.

    Args:
        engine: The engine of the records.

    Example:
        >>> from langchain_agentmem import AgentMemory
        >>> memory = AgentMemory.from_url("sqlite:///:memory:")
        >>> id = memory.records.save("analytics_agent", {"status": "failed", "input": "Q1"}, session_id="campaign-1")
        >>> [(one.agent, one.record["input"]) for one in memory.records.query(status="failed")]
        [('analytics_agent', 'Q1')]
        >>> memory.close()
    """

    def __init__(self, engine: RecordEngine) -> None:
        self.engine = engine

    def save(
        self,
        agent: str,
        record: Mapping[str, Any],
        *,
        session_id: str | None = None,
        user_id: str | None = None,
        status: str | None = None,
        started_at: datetime | str | None = None,
        duration: timedelta | float | None = None,
    ) -> str:
        """Save a record, and return its ID.

        Args:
            agent: The agent.
            record: A JSON-serialisable mapping, such as input, output and metrics.
            session_id: The session that the record belongs to; it is created if it does not exist. The record is deleted with
                it. Default: None (the record stays until it is deleted).
            user_id: The user. Default: None (nobody).
            status: The status. Default: `record["status"]` if that is a text, or else `"success"`.
            started_at: When the agent started; in UTC if it has no time zone. Default: None.
            duration: How long it took, as a `timedelta` or in seconds. Default: None.

        Raises:
            InvalidInputError: A value is not accepted.
            InvalidTypeError: An argument has the wrong type, or the record contains a value that JSON cannot express.
        """
        return run(self.engine.save(agent, record, session_id, user_id, status, started_at, duration))

    async def asave(
        self,
        agent: str,
        record: Mapping[str, Any],
        *,
        session_id: str | None = None,
        user_id: str | None = None,
        status: str | None = None,
        started_at: datetime | str | None = None,
        duration: timedelta | float | None = None,
    ) -> str:
        """Same as `save`, but without blocking the event loop."""
        return await arun(self.engine.save(agent, record, session_id, user_id, status, started_at, duration))

    def query(
        self,
        *,
        agent: str | None = None,
        session_id: str | None = None,
        user_id: str | Omitted | None = OMITTED,
        status: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        limit: int | None = 100,
        after: str | None = None,
        newest_first: bool = True,
    ) -> RecordList:
        """Return records, the newest first.

        Args:
            agent: Only records of this agent. Default: None (all).
            session_id: Only records of this session. Default: None (all).
            user_id: Only records of this user; None for those without a user. Default: the records of all users.
            status: Only records with this status. Default: None (all).
            since: Only records that were saved at this time or later; in UTC if it has no time zone. Default: None.
            until: Only records that were saved before this time. Default: None.
            limit: The maximum number of records; None for all. Default: 100.
            after: The ID of the last record of the page before: only records that follow it are returned. Default: None.
            newest_first: If false, the oldest come first. Default: True.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     for step in range(5):
            ...         _ = memory.records.save("writer", {"step": step})
            ...     page = memory.records.query(limit=2)
            ...     following = memory.records.query(limit=2, after=page[-1].id)
            ...     [one.record["step"] for one in (*page, *following)]
            [4, 3, 2, 1]
        """
        return run(self.engine.query(agent, session_id, user_id, status, since, until, limit, after, newest_first))

    async def aquery(
        self,
        *,
        agent: str | None = None,
        session_id: str | None = None,
        user_id: str | Omitted | None = OMITTED,
        status: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        limit: int | None = 100,
        after: str | None = None,
        newest_first: bool = True,
    ) -> RecordList:
        """Same as `query`, but without blocking the event loop."""
        return await arun(
            self.engine.query(agent, session_id, user_id, status, since, until, limit, after, newest_first)
        )

    def __repr__(self) -> str:
        return f"Records({self.engine.backend!r}, tenant={self.engine.tenant!r})"

    def _repr_html_(self) -> str:
        try:
            return self.query(limit=_ROWS_SHOWN)._repr_html_()
        except AgentMemError as error:  # of a closed memory, the caption shows the error
            return html_table([], caption=f"Records: {error}")


class RecordEngine:
    """The operations of `Records` as programs.

    Args:
        histories: The histories of the memory, with their retention.
    """

    def __init__(self, histories: Histories) -> None:
        self.histories = histories
        self.backend = histories.engine.backend
        self.tenant = histories.engine.tenant

    def save(
        self,
        agent: str,
        record: Mapping[str, Any],
        session_id: str | None,
        user_id: str | None,
        status: str | None,
        started_at: datetime | str | None,
        duration: timedelta | float | None,
        retention: Retention | None = None,
    ) -> Program[str]:
        """Save a record, and return its ID; see `Records.save`.

        Args:
            agent: The agent.
            record: The record.
            session_id: The session; None for none.
            user_id: The user; None for nobody.
            status: The status; None for that of the record.
            started_at: When the agent started.
            duration: How long it took.
            retention: The retention of the agent in the session. Default: None (as configured for the agent).
        """
        check_id("agent", agent)
        guard = self.histories.engine.guard
        if guard is not None and isinstance(record, Mapping):
            record = guard.value(record, "The record")
        text = dump_json(record, "record")
        if status is None:
            stated = record.get("status")
            status = stated if isinstance(stated, str) and stated else SUCCESS
        elif guard is not None and isinstance(status, str):
            status = guard.text(status, "The status")
        kept = self.histories.retention_of(agent, retention)
        now = time.time()
        id_ = new_record_id(now)
        row = RecordRow(
            id_,
            check_optional_id("user_id", user_id),
            check_optional_id("session_id", session_id),
            agent,
            check_id("status", status),
            None if started_at is None else utc(started_at, "started_at").timestamp(),
            _seconds(duration),
            time_of_record(id_),
            text,
            ends_with_session=session_id is not None and kept.policy != "persistent",
        )
        ttl = kept.ttl.total_seconds() if isinstance(kept.ttl, timedelta) else kept.ttl
        yield from Write(self.backend, self.backend.records.add(self.tenant, row, ttl, kept.sliding, now))
        _log.debug("records: saved %r of session %r", id_, session_id)
        yield from self.histories.engine.sweeper.after_write()
        return id_

    def query(
        self,
        agent: str | None,
        session_id: str | None,
        user_id: str | Omitted | None,
        status: str | None,
        since: datetime | str | None,
        until: datetime | str | None,
        limit: int | None,
        after: str | None,
        newest_first: bool,
    ) -> Program[RecordList]:
        """Return records; see `Records.query`."""
        most = None if limit is None else check_count("limit", limit)
        following = None if after is None else _record_id("after", after)
        highest = None if until is None else first_record_id(utc(until, "until"))
        if check_flag("newest_first", newest_first) and following is not None:
            highest, following = min(following, highest or following), None
        query = RecordQuery(
            self.tenant,
            check_id_or_omitted("user_id", user_id),
            check_optional_id("session_id", session_id),
            check_optional_id("agent", agent),
            check_optional_id("status", status),
            lowest=None if since is None else first_record_id(utc(since, "since")),
            above=following,
            below=highest,
            newest_first=newest_first,
        )
        found = RecordList()
        while most is None or len(found) < most:
            size = _PAGE if most is None else min(_PAGE, most - len(found))
            with reading("A record"):
                table = self.backend.records
                rows = yield from Read(self.backend, table.query(query._replace(limit=size), time.time()))
            found += map(_record, rows)
            if len(rows) < size:
                break
            last = rows[-1].id
            query = query._replace(below=last) if newest_first else query._replace(above=last)
        _log.debug("records: read %d", len(found))
        return found


def _record(row: RecordRow) -> Record:
    with reading(f"Record {row.id}"):
        return Record(
            row.id,
            row.agent,
            load_json(row.record),
            row.status,
            row.session_id,
            row.user_id,
            None if row.started_at is None else datetime.fromtimestamp(row.started_at, UTC),
            row.duration,
            datetime.fromtimestamp(row.created_at, UTC),
        )


def _record_id(what: str, value: Any) -> str:
    """Return the ID of a record, as `save` returned it."""
    check_id(what, value)
    try:
        return str(UUID(value))
    except ValueError:
        msg = f"{what} must be the ID of a record, as records.save returns it, got {shown(value)}."
        raise InvalidInputError(msg) from None


def _seconds(duration: Any) -> float | None:
    """Return a duration of zero or more seconds."""
    if duration is None:
        return None
    given = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        msg = f"duration must be a timedelta or a number of seconds, got {type(given).__name__}: {shown(given)}."
        raise InvalidTypeError(msg)
    if not 0 <= given < math.inf:
        msg = f"duration must be at least 0 seconds, got {shown(duration)}."
        raise InvalidInputError(msg)
    return float(given)
