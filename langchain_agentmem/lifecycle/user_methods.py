"""The methods of `AgentMemory` that list users, forget one, and find what is stored about one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from langchain_agentmem.arguments.values import check_flag
from langchain_agentmem.checkpointing.face import AgentMemSaver
from langchain_agentmem.history.methods import Histories
from langchain_agentmem.lifecycle.users import UserList, listed_users
from langchain_agentmem.programs import Program, arun, run
from langchain_agentmem.programs.snapshots import snapshot
from langchain_agentmem.store.face import AgentMemStore

if TYPE_CHECKING:
    import weakref

    from langchain_agentmem.knowledge.extraction.scheduler import Schedule
    from langchain_agentmem.lifecycle.forgetting import Forgotten, Shared
    from langchain_agentmem.lifecycle.traces import Search, Traces


class UserMethods:
    """List users, forget a user, and find what is stored about a user."""

    store: AgentMemStore
    checkpointer: AgentMemSaver
    _histories: Histories
    _schedules: weakref.WeakSet[Schedule]

    def users(self, *, limit: int | None = None, offset: int = 0) -> UserList:
        """List the IDs of all users, in the order of the IDs.

        A user has a session, a record, a variable, a thread, a profile, a fact, a memory or an entity.

        Args:
            limit: The maximum number of users. Default: None (all).
            offset: The number of users to skip. Default: 0.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     memory.history("trip", user_id="bob@example.com").add_user_message("Where shall we go?")
            ...     memory.profiles.update_preference("alice@example.com", "language", "Greek")
            ...     memory.users()
            ['alice@example.com', 'bob@example.com']
        """
        return run(self._users(limit, offset))

    async def ausers(self, *, limit: int | None = None, offset: int = 0) -> UserList:
        """Same as `users`, but without blocking the event loop."""
        return await arun(self._users(limit, offset))

    def _users(self, limit: int | None, offset: int) -> Program[UserList]:
        return listed_users(self.store.engine.backend, self.store.engine.tenant, limit, offset)

    def forget(self, user_id: str, *, shared: Shared = "keep", dry_run: bool = False) -> Forgotten:
        """Delete everything that is stored about a user.

        Deletes the user's sessions with their messages and summaries, records, variables, threads, profile, facts, memories,
        entities and relations, with their search indexes. Messages that were written before never bring the knowledge back.
        Clears the cache of the tenant, because a cached result may contain anything; nodes run again.
        If the call is interrupted, call it again. Data that other processes store for the user during the call may stay.

        Args:
            user_id: The user.
            shared: Threads with other users: `"keep"` removes the user from the list of their users and names them in the
                receipt, `"delete"` deletes them. Default: `"keep"`.
            dry_run: If true, delete nothing, and return the receipt with what would be deleted. Default: False.

        Returns:
            The receipt: what was deleted, and what was kept for which reason.

        Raises:
            InvalidInputError: The user's ID or `shared` is not accepted.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     memory.history("trip", user_id="alice@example.com").add_user_message("Where shall we go?")
            ...     receipt = memory.forget("alice@example.com")
            ...     receipt.deleted["sessions"], receipt.deleted["messages"], receipt.kept, memory.users()
            (1, 1, (), [])
        """
        return run(self._forget(user_id, shared, dry_run))

    async def aforget(self, user_id: str, *, shared: Shared = "keep", dry_run: bool = False) -> Forgotten:
        """Same as `forget`, but without blocking the event loop."""
        return await arun(self._forget(user_id, shared, dry_run))

    def find_traces(self, user_id: str, *, progress: bool | Callable[[Search], Any] = False) -> Traces:
        """Find the places in the database that hold a user's ID.

        Searches every table, or every key on Redis, of all tenants and of other applications in the same schema or database.
        After `forget`, it finds what the receipt names as kept, and texts of others that mention the user.

        Args:
            user_id: The user.
            progress: True shows the progress in the terminal or notebook. A function is called after each part of the
                search. Default: False.

        Returns:
            A list with the place, the form of the ID, the number of values and an example for each.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     memory.variables.set("tone", "short", user_id="alice@example.com")
            ...     found = [(one.where, one.form, one.count) for one in memory.find_traces("alice@example.com")]
            ...     _ = memory.forget("alice@example.com")
            ...     found, memory.find_traces("alice@example.com")
            ([('agentmem_variables.user_id', 'id', 1)], [])
        """
        return run(self._find_traces(user_id, progress))

    async def afind_traces(self, user_id: str, *, progress: bool | Callable[[Search], Any] = False) -> Traces:
        """Same as `find_traces`, but without blocking the event loop; `progress` may be a coroutine function."""
        return await arun(self._find_traces(user_id, progress))

    def _find_traces(self, user_id: str, progress: bool | Callable[[Search], Any]) -> Program[Traces]:
        from langchain_agentmem.lifecycle.traces import find_traces

        return find_traces(self.store.engine.backend, self.store.engine.tenant, user_id, progress)

    def _forget(self, user_id: str, shared: Shared, dry_run: bool) -> Program[Forgotten]:
        from langchain_agentmem.lifecycle.forgetting import Forgetting

        checkpoints = self.checkpointer.engine
        schedules = snapshot(self._schedules)
        work = Forgetting(self._histories.engine, self.store.engine, checkpoints, schedules, user_id, shared)
        return work.preview() if check_flag("dry_run", dry_run) else work.program()
