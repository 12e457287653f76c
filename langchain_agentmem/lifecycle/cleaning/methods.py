"""The methods of `AgentMemory` that clean up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from langchain_agentmem.arguments.cleaning import DEFAULT_KINDS, CleanupPolicy, Target
from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.checkpointing.face import AgentMemSaver
from langchain_agentmem.history.methods import Histories
from langchain_agentmem.programs import Program, arun, run
from langchain_agentmem.store.face import AgentMemStore

if TYPE_CHECKING:
    from langchain_agentmem.lifecycle.cleaning.background import BackgroundCleanup
    from langchain_agentmem.lifecycle.cleaning.results import Cleanup


def cleaner_of(memory: CleaningMethods, policy: CleanupPolicy | None) -> BackgroundCleanup | None:
    """Start the cleanup of a memory in the background; None without a policy."""
    if policy is None:
        return None
    from langchain_agentmem.lifecycle.cleaning.background import BackgroundCleanup

    return BackgroundCleanup(memory, policy)


class CleaningMethods:
    """Delete data that was not used for a long time."""

    backend: Backend
    tenant: str

    store: AgentMemStore
    checkpointer: AgentMemSaver
    _histories: Histories
    _cleaner: BackgroundCleanup | None

    def cleanup(
        self,
        older_than: timedelta | float | datetime,
        *,
        dry_run: bool = False,
        archive: Target | None = None,
        kinds: Sequence[str] = DEFAULT_KINDS,
        progress: bool | Callable[[Cleanup], Any] = False,
    ) -> Cleanup:
        """Delete data that was not used for a long time.

        These kinds of data are deleted:

        * `"sessions"`: sessions that were not used since and are not open, with their messages, titles, summaries,
          variables and records.
        * `"messages"`: older messages in sessions that were used since. Without the kind `"sessions"`: in all sessions.
        * `"records"`: older records.
        * `"threads"`: threads that were not used since, with their checkpoints.
        * `"items"`: items of the store that were not updated since. Knowledge stays: profiles, facts, entities, memories and
          shared knowledge. `profiles.forget` and similar methods delete it.
        * `"variables"`: variables of users that were not updated since. Not deleted by default. Variables for all users stay.
        * `"cache"`: cache entries that were stored before. They are not archived.
        * `"orphans"`: summaries and TTLs of threads that do not exist, and that were not updated since.

        Expired data is deleted as well, as by `sweep`.

        Data is deleted in small batches, so that writers wait briefly. Data that is used again before its deletion stays. A
        call that was interrupted continues when you call it again.

        Args:
            older_than: The age, as a `timedelta` or in seconds; or a datetime with a time zone.
            dry_run: If true, delete nothing and return what would be deleted. Default: False.
            archive: A path, or an open text file. Deleted data is appended to it as JSON Lines, before it is deleted. An
                interrupted call may leave data in the archive that it did not delete. Default: None.
            kinds: The kinds of data. Default: all except `"variables"`.
            progress: True shows the progress in the terminal or notebook. A function is called after each batch with the
                result so far. Default: False.

        Returns:
            The number of deleted sessions, messages and so on.

        Raises:
            DamagedDataError: A thread that is to be archived cannot be read. It stays.
            InvalidInputError: A value is not accepted, or the archive is a file of another format.
            InvalidTypeError: An argument has the wrong type.
            OSError: The archive cannot be written. Data that was not archived stays.

        Example:
            >>> from datetime import UTC, datetime, timedelta
            >>> from langchain_agentmem import AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     memory.history("session-1").add_user_message("Hello")
            ...     kept = memory.cleanup(older_than=timedelta(days=30))
            ...     deleted = memory.cleanup(older_than=datetime.now(UTC), archive=None)
            ...     kept.sessions, deleted.sessions, deleted.messages
            (0, 1, 1)
        """
        return run(self._cleanup(older_than, dry_run, archive, kinds, progress))

    async def acleanup(
        self,
        older_than: timedelta | float | datetime,
        *,
        dry_run: bool = False,
        archive: Target | None = None,
        kinds: Sequence[str] = DEFAULT_KINDS,
        progress: bool | Callable[[Cleanup], Any] = False,
    ) -> Cleanup:
        """Same as `cleanup`, but without blocking the event loop; `progress` may be a coroutine function."""
        return await arun(self._cleanup(older_than, dry_run, archive, kinds, progress))

    def _cleanup(
        self,
        older_than: Any,
        dry_run: bool,
        archive: Target | None,
        kinds: Sequence[str],
        progress: bool | Callable[[Cleanup], Any],
    ) -> Program[Cleanup]:
        from langchain_agentmem.lifecycle.cleaning.engine import cleanup
        from langchain_agentmem.lifecycle.transfer.exporting import Engines

        engines = Engines(self._histories.engine, self.store.engine, self.checkpointer.engine)
        return cleanup(engines, older_than, dry_run=dry_run, archive=archive, kinds=kinds, progress=progress)
