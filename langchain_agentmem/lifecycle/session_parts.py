"""The records and the variables of one session, as `Session.records` and `Session.variables`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from langchain_agentmem.arguments.omitted import OMITTED, Omitted, check_id_or_omitted
from langchain_agentmem.arguments.retention import Retention
from langchain_agentmem.backends.contract import SessionKey
from langchain_agentmem.programs import Program, arun, run

if TYPE_CHECKING:
    from langchain_agentmem.backends.contract import VariableScope
    from langchain_agentmem.lifecycle.records import RecordEngine, RecordList
    from langchain_agentmem.prompting.variables.engine import VariableEngine
    from langchain_agentmem.prompting.variables.models import FoundVariables


class SessionRecords:
    """The records of one session. Every method has an async twin with the prefix `a`; see `Records`.

    Args:
        engine: The engine of the records.
        key: The session.
        retention_of: Returns the retention of an agent in the session.
        check_open: Raises an error if the session is not open.
    """

    def __init__(
        self,
        engine: RecordEngine,
        key: SessionKey,
        retention_of: Callable[[str | None], Retention],
        check_open: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._key = key
        self._retention_of = retention_of
        self._check_open = check_open

    def save(
        self,
        agent: str,
        record: Mapping[str, Any],
        *,
        status: str | None = None,
        started_at: datetime | str | None = None,
        duration: timedelta | float | None = None,
    ) -> str:
        """Save a record of the session, and return its ID.

        Args:
            agent: The agent.
            record: A JSON-serialisable mapping.
            status: The status. Default: `record["status"]` if that is a text, or else `"success"`.
            started_at: When the agent started; in UTC if it has no time zone. Default: None.
            duration: How long it took, as a `timedelta` or in seconds. Default: None.
        """
        return run(self._save(agent, record, status, started_at, duration))

    async def asave(
        self,
        agent: str,
        record: Mapping[str, Any],
        *,
        status: str | None = None,
        started_at: datetime | str | None = None,
        duration: timedelta | float | None = None,
    ) -> str:
        """Same as `save`, but without blocking the event loop."""
        return await arun(self._save(agent, record, status, started_at, duration))

    def query(
        self,
        *,
        agent: str | None = None,
        status: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        limit: int | None = 100,
        after: str | None = None,
        newest_first: bool = True,
    ) -> RecordList:
        """Return records of the session, the newest first; see `Records.query`.

        Args:
            agent: Only records of this agent. Default: None (all).
            status: Only records with this status. Default: None (all).
            since: Only records that were saved at this time or later. Default: None.
            until: Only records that were saved before this time. Default: None.
            limit: The maximum number of records; None for all. Default: 100.
            after: The ID of the last record of the page before. Default: None.
            newest_first: If false, the oldest come first. Default: True.
        """
        return run(self._query(agent, status, since, until, limit, after, newest_first))

    async def aquery(
        self,
        *,
        agent: str | None = None,
        status: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        limit: int | None = 100,
        after: str | None = None,
        newest_first: bool = True,
    ) -> RecordList:
        """Same as `query`, but without blocking the event loop."""
        return await arun(self._query(agent, status, since, until, limit, after, newest_first))

    def __repr__(self) -> str:
        return f"SessionRecords({self._key.session_id!r}, user_id={self._key.user_id!r})"

    def _repr_html_(self) -> str:
        return self.query()._repr_html_()

    def _save(
        self,
        agent: str,
        record: Mapping[str, Any],
        status: str | None,
        started_at: datetime | str | None,
        duration: timedelta | float | None,
    ) -> Program[str]:
        self._check_open()
        retention = self._retention_of(agent if isinstance(agent, str) else None)
        _, user_id, session_id = self._key
        return self._engine.save(agent, record, session_id, user_id, status, started_at, duration, retention)

    def _query(self, agent: str | None, status: str | None, *more: Any) -> Program[RecordList]:
        self._check_open()
        return self._engine.query(agent, self._key.session_id, self._key.user_id, status, *more)


class SessionVariables:
    """The variables of one session. Every method has an async twin with the prefix `a`; see `Variables`.

    Args:
        engine: The engine of the variables.
        key: The session.
        agent: The agent of the session; None for none.
        check_open: Raises an error if the session is not open.
    """

    def __init__(
        self, engine: VariableEngine, key: SessionKey, agent: str | None, check_open: Callable[[], None]
    ) -> None:
        self._engine = engine
        self._key = key
        self._agent = agent
        self._check_open = check_open

    def set(
        self, name: str, value: Any, *, agent: str | Omitted | None = OMITTED, ttl: timedelta | float | None = None
    ) -> None:
        """Set a variable of the session.

        Args:
            name: The name.
            value: A JSON value.
            agent: The agent that the variable is for; None for all agents. Default: the agent of the session.
            ttl: The time until the variable expires, as a `timedelta` or in seconds. Default: None (it lives as long as the
                session).
        """
        run(self._engine.set(self._scope(agent), {name: value}, ttl))

    async def aset(
        self, name: str, value: Any, *, agent: str | Omitted | None = OMITTED, ttl: timedelta | float | None = None
    ) -> None:
        """Same as `set`, but without blocking the event loop."""
        await arun(self._engine.set(self._scope(agent), {name: value}, ttl))

    def set_many(
        self,
        values: Mapping[str, Any],
        *,
        agent: str | Omitted | None = OMITTED,
        ttl: timedelta | float | None = None,
    ) -> None:
        """Set several variables of the session in one transaction.

        Args:
            values: JSON values by name.
            agent: The agent that the variables are for; None for all agents. Default: the agent of the session.
            ttl: The time until the variables expire. Default: None.
        """
        run(self._engine.set(self._scope(agent), values, ttl))

    async def aset_many(
        self,
        values: Mapping[str, Any],
        *,
        agent: str | Omitted | None = OMITTED,
        ttl: timedelta | float | None = None,
    ) -> None:
        """Same as `set_many`, but without blocking the event loop."""
        await arun(self._engine.set(self._scope(agent), values, ttl))

    def get(self, name: str, default: Any = None, *, agent: str | Omitted | None = OMITTED) -> Any:
        """Return the value of the most specific variable that the session sees.

        Args:
            name: The name.
            default: The result if there is no such variable. Default: None.
            agent: The agent. Default: the agent of the session.
        """
        return run(self._engine.get(self._scope(agent), name, default))

    async def aget(self, name: str, default: Any = None, *, agent: str | Omitted | None = OMITTED) -> Any:
        """Same as `get`, but without blocking the event loop."""
        return await arun(self._engine.get(self._scope(agent), name, default))

    def all(self, *, agent: str | Omitted | None = OMITTED) -> dict[str, Any]:
        """Return the values of all variables that the session sees, by name.

        Args:
            agent: The agent. Default: the agent of the session.
        """
        return run(self._engine.all(self._scope(agent)))

    async def aall(self, *, agent: str | Omitted | None = OMITTED) -> dict[str, Any]:
        """Same as `all`, but without blocking the event loop."""
        return await arun(self._engine.all(self._scope(agent)))

    def search(self, query: str, k: int = 10, *, agent: str | Omitted | None = OMITTED) -> FoundVariables:
        """Find variables that the session sees by words in their name or value; see `Variables.search`.

        Args:
            query: The words. A variable needs to contain one of them.
            k: The maximum number of variables. Default: 10.
            agent: The agent. Default: the agent of the session.
        """
        return run(self._engine.search(self._scope(agent), query, k))

    async def asearch(self, query: str, k: int = 10, *, agent: str | Omitted | None = OMITTED) -> FoundVariables:
        """Same as `search`, but without blocking the event loop."""
        return await arun(self._engine.search(self._scope(agent), query, k))

    def delete(self, name: str, *, agent: str | Omitted | None = OMITTED) -> bool:
        """Delete a variable of the session; return true if it existed.

        Args:
            name: The name.
            agent: The agent that the variable is for. Default: the agent of the session.
        """
        return run(self._engine.delete(self._scope(agent), name))

    async def adelete(self, name: str, *, agent: str | Omitted | None = OMITTED) -> bool:
        """Same as `delete`, but without blocking the event loop."""
        return await arun(self._engine.delete(self._scope(agent), name))

    def clear(self, *, agent: str | Omitted | None = OMITTED) -> int:
        """Delete all variables of the session that are for an agent; return their number.

        Args:
            agent: The agent; None for the variables for all agents. Default: the agent of the session.
        """
        return run(self._engine.clear(self._scope(agent)))

    async def aclear(self, *, agent: str | Omitted | None = OMITTED) -> int:
        """Same as `clear`, but without blocking the event loop."""
        return await arun(self._engine.clear(self._scope(agent)))

    def __repr__(self) -> str:
        return f"SessionVariables({self._key.session_id!r}, user_id={self._key.user_id!r}, agent={self._agent!r})"

    def _scope(self, agent: str | Omitted | None) -> VariableScope:
        self._check_open()
        chosen = check_id_or_omitted("agent", agent)
        return self._engine.scope(self._key.user_id, self._key.session_id, self._agent if chosen is OMITTED else chosen)
