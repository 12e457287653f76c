"""`Variables`: set, read, delete and search variables."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from langchain_agentmem.errors import AgentMemError
from langchain_agentmem.programs import arun, run
from langchain_agentmem.prompting.variables.engine import VariableEngine
from langchain_agentmem.prompting.variables.models import FoundVariables
from langchain_agentmem.text.tables import html_table

_ROWS_SHOWN = 20


class Variables:
    """The variables of one tenant, as `AgentMemory.variables`. Every method has an async twin with the prefix `a`.

    A variable is a JSON value with a name. It belongs to a session, a user or everyone, and to one agent or all agents.
    `session_id` and `user_id` together name a session. Reading returns the most specific variable, in this order:

    1. session and agent
    2. session
    3. user and agent
    4. user
    5. agent
    6. global

    The variables of a session are deleted with it: by `sessions.delete`, `sessions.end`, and when it expires.

    Args:
        engine: The operations as programs.

    Example:
        >>> from langchain_agentmem import AgentMemory
        >>> memory = AgentMemory.from_url("sqlite:///:memory:")
        >>> memory.variables.set("tone", "friendly")
        >>> memory.variables.set("tone", "formal", user_id="alice@example.com")
        >>> memory.variables.set("topic", {"name": "travel"}, user_id="alice@example.com", session_id="trip")
        >>> memory.variables.get("tone"), memory.variables.get("tone", user_id="alice@example.com")
        ('friendly', 'formal')
        >>> memory.variables.all(user_id="alice@example.com", session_id="trip")
        {'tone': 'formal', 'topic': {'name': 'travel'}}
        >>> memory.close()
    """

    def __init__(self, engine: VariableEngine) -> None:
        self.engine = engine

    def set(
        self,
        name: str,
        value: Any,
        *,
        user_id: str | None = None,
        agent: str | None = None,
        session_id: str | None = None,
        ttl: timedelta | float | None = None,
    ) -> None:
        """Set a variable of one scope.

        A session that does not exist is created. Setting a variable is a use of the session, as adding a message is: it
        restarts a sliding TTL.

        Args:
            name: The name: any string of 1 to 1,024 bytes.
            value: A JSON value: a mapping with string keys, list, tuple (which comes back as a list), string, number, boolean
                or None.
            user_id: The user; with a session, the user of the session. Default: None (all users, or a session of nobody).
            agent: The agent. Default: None (all agents).
            session_id: The session. Default: None (all sessions).
            ttl: The time until the variable expires, as a `timedelta` or in seconds. Default: None (it lives as long as its
                session).

        Raises:
            UnsupportedValueError: The value is not a JSON value. Nothing was written.
            InvalidInputError: An argument is not accepted. Nothing was written.
            InvalidTypeError: An argument has the wrong type. Nothing was written.
        """
        return run(self.engine.set(self.engine.scope(user_id, session_id, agent), {name: value}, ttl))

    async def aset(
        self,
        name: str,
        value: Any,
        *,
        user_id: str | None = None,
        agent: str | None = None,
        session_id: str | None = None,
        ttl: timedelta | float | None = None,
    ) -> None:
        """Same as `set`, but without blocking the event loop."""
        return await arun(self.engine.set(self.engine.scope(user_id, session_id, agent), {name: value}, ttl))

    def set_many(
        self,
        values: Mapping[str, Any],
        *,
        user_id: str | None = None,
        agent: str | None = None,
        session_id: str | None = None,
        ttl: timedelta | float | None = None,
    ) -> None:
        """Set several variables of one scope in one transaction. See `set`.

        Args:
            values: The values by name.
            user_id: The user. Default: None.
            agent: The agent. Default: None.
            session_id: The session. Default: None.
            ttl: The time until the variables expire. Default: None.
        """
        return run(self.engine.set(self.engine.scope(user_id, session_id, agent), values, ttl))

    async def aset_many(
        self,
        values: Mapping[str, Any],
        *,
        user_id: str | None = None,
        agent: str | None = None,
        session_id: str | None = None,
        ttl: timedelta | float | None = None,
    ) -> None:
        """Same as `set_many`, but without blocking the event loop."""
        return await arun(self.engine.set(self.engine.scope(user_id, session_id, agent), values, ttl))

    def get(
        self,
        name: str,
        default: Any = None,
        *,
        user_id: str | None = None,
        agent: str | None = None,
        session_id: str | None = None,
    ) -> Any:
        """Return the value of the most specific variable with a name.

        Args:
            name: The name.
            default: The result if there is no such variable. Default: None.
            user_id: The user. Default: None.
            agent: The agent. Default: None.
            session_id: The session. Default: None.
        """
        return run(self.engine.get(self.engine.scope(user_id, session_id, agent), name, default))

    async def aget(
        self,
        name: str,
        default: Any = None,
        *,
        user_id: str | None = None,
        agent: str | None = None,
        session_id: str | None = None,
    ) -> Any:
        """Same as `get`, but without blocking the event loop."""
        return await arun(self.engine.get(self.engine.scope(user_id, session_id, agent), name, default))

    def all(
        self, *, user_id: str | None = None, agent: str | None = None, session_id: str | None = None
    ) -> dict[str, Any]:
        """Return the values of all variables that are visible in a scope, by name.

        Of several with one name, the most specific one counts. It takes one round trip to the database.

        Args:
            user_id: The user. Default: None.
            agent: The agent. Default: None.
            session_id: The session. Default: None.
        """
        return run(self.engine.all(self.engine.scope(user_id, session_id, agent)))

    async def aall(
        self, *, user_id: str | None = None, agent: str | None = None, session_id: str | None = None
    ) -> dict[str, Any]:
        """Same as `all`, but without blocking the event loop."""
        return await arun(self.engine.all(self.engine.scope(user_id, session_id, agent)))

    def delete(
        self, name: str, *, user_id: str | None = None, agent: str | None = None, session_id: str | None = None
    ) -> bool:
        """Delete a variable of exactly this scope. Variables with this name in other scopes stay.

        Args:
            name: The name.
            user_id: The user. Default: None.
            agent: The agent. Default: None.
            session_id: The session. Default: None.

        Returns:
            True if the variable existed.
        """
        return run(self.engine.delete(self.engine.scope(user_id, session_id, agent), name))

    async def adelete(
        self, name: str, *, user_id: str | None = None, agent: str | None = None, session_id: str | None = None
    ) -> bool:
        """Same as `delete`, but without blocking the event loop."""
        return await arun(self.engine.delete(self.engine.scope(user_id, session_id, agent), name))

    def clear(self, *, user_id: str | None = None, agent: str | None = None, session_id: str | None = None) -> int:
        """Delete all variables of exactly this scope. Without arguments, these are the global variables.

        Args:
            user_id: The user. Default: None.
            agent: The agent. Default: None.
            session_id: The session. Default: None.

        Returns:
            The number of deleted variables.
        """
        return run(self.engine.clear(self.engine.scope(user_id, session_id, agent)))

    async def aclear(
        self, *, user_id: str | None = None, agent: str | None = None, session_id: str | None = None
    ) -> int:
        """Same as `clear`, but without blocking the event loop."""
        return await arun(self.engine.clear(self.engine.scope(user_id, session_id, agent)))

    def search(
        self,
        query: str,
        k: int = 10,
        *,
        user_id: str | None = None,
        agent: str | None = None,
        session_id: str | None = None,
    ) -> FoundVariables:
        """Find variables whose name or value contains words of a query.

        It searches the variables that `all` returns. Words are compared without case and by their stems; see
        `AgentMemory.search_history`. In a nested value, keys and values at any depth count.

        Args:
            query: The words. A variable needs to contain one of them.
            k: The maximum number of variables. Default: 10.
            user_id: The user. Default: None.
            agent: The agent. Default: None.
            session_id: The session. Default: None.

        Returns:
            The variables with their scopes and times, the best first.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     memory.variables.set_many({"travel_plan": "Two weeks in Malta", "tone": "formal"}, user_id="alice")
            ...     [(one.name, one.scope) for one in memory.variables.search("plans", user_id="alice")]
            [('travel_plan', 'user')]
        """
        return run(self.engine.search(self.engine.scope(user_id, session_id, agent), query, k))

    async def asearch(
        self,
        query: str,
        k: int = 10,
        *,
        user_id: str | None = None,
        agent: str | None = None,
        session_id: str | None = None,
    ) -> FoundVariables:
        """Same as `search`, but without blocking the event loop."""
        return await arun(self.engine.search(self.engine.scope(user_id, session_id, agent), query, k))

    def __repr__(self) -> str:
        return f"Variables({self.engine.backend!r}, tenant={self.engine.tenant!r})"

    def _repr_html_(self) -> str:
        try:
            found = run(self.engine.listed(self.engine.scope()))
        except AgentMemError as error:  # of a closed memory, the caption shows the error
            return html_table([], caption=f"Variables: {error}")
        rows = [(one.name, str(one.value), one.updated_at, one.expires_at) for one in found[:_ROWS_SHOWN]]
        caption = f"Global variables, {len(rows)} of {len(found)}"
        return html_table(rows, header=("name", "value", "updated", "expires"), caption=caption)
