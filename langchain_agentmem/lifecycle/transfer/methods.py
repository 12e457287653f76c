"""The methods of `AgentMemory` that export, import and copy."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, Literal, cast

from typing_extensions import Unpack

from langchain_agentmem.arguments.cleaning import Target
from langchain_agentmem.arguments.omitted import OMITTED, Omitted
from langchain_agentmem.arguments.values import check_flag, shown
from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.checkpointing.face import AgentMemSaver
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError
from langchain_agentmem.history.methods import Histories
from langchain_agentmem.programs import Program, arun, run
from langchain_agentmem.store.face import AgentMemStore

if TYPE_CHECKING:
    from langchain_agentmem.lifecycle.importers.arguments import ImportOptions
    from langchain_agentmem.lifecycle.transfer.exporting import Engines
    from langchain_agentmem.lifecycle.transfer.results import Exported, Imported

Existing = Literal["error", "keep", "replace"]


class TransferMethods:
    """Export a memory, import it, and copy it into another one."""

    backend: Backend
    tenant: str

    store: AgentMemStore
    checkpointer: AgentMemSaver
    _histories: Histories

    def export(
        self,
        path_or_file: Target | IO[bytes],
        *,
        session_id: str | None = None,
        user_id: str | Omitted | None = OMITTED,
        thread_id: str | None = None,
        progress: bool | Callable[[Exported], Any] = False,
    ) -> Exported:
        """Write what the memory stores to a file of JSON Lines, which `import_from` reads.

        Args:
            path_or_file: A path, or a text or binary file that is open for writing. A file is replaced when the export is
                complete, also one that a symbolic link leads to, and keeps its mode. Only the owner can read a new one. A
                pipe is written directly.
            session_id: Export this session only. Default: None (all).
            user_id: Export the data of this user only; None for the data that belongs to nobody. Default: all data. A thread
                in which other users have turns is left out of a user's export.
            thread_id: Export this thread only. Default: None (all). With `session_id`, export both.
            progress: True shows the progress in the terminal or notebook. A function is called after each batch with the
                result so far. Default: False.

        Returns:
            The number of exported objects by kind.

        Raises:
            DamagedDataError: A stored row cannot be read.
            InvalidInputError: An ID has a wrong value.
            InvalidTypeError: An argument has the wrong type.
            OSError: The file cannot be written.
            UnknownSelectionError: The session, the thread or the data of the user does not exist. The file is unchanged.

        Example:
            >>> import io
            >>> from langchain_agentmem import AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     memory.history("trip").add_user_message("Where to?")
            ...     memory.export(io.BytesIO()).counts
            {'sessions': 1, 'messages': 1}
        """
        return run(self._export(path_or_file, session_id, user_id, thread_id, progress))

    async def aexport(
        self,
        path_or_file: Target | IO[bytes],
        *,
        session_id: str | None = None,
        user_id: str | Omitted | None = OMITTED,
        thread_id: str | None = None,
        progress: bool | Callable[[Exported], Any] = False,
    ) -> Exported:
        """Same as `export`, but without blocking the event loop; `progress` may be a coroutine function."""
        return await arun(self._export(path_or_file, session_id, user_id, thread_id, progress))

    def import_from(
        self,
        source: Any,
        *,
        format: str | None = None,
        existing: Existing = "error",
        dry_run: bool = False,
        progress: bool | Callable[[Imported], Any] = False,
        **options: Unpack[ImportOptions],
    ) -> Imported:
        """Store what `export` or the archive of `cleanup` wrote, or the data of another package.

        Args:
            source: A path, or a text or binary file that is open for reading, of an export or archive. For data of another
                package: the original object, such as a chat history, a LangGraph store or a checkpointer, or with `format` a
                path or a URL.
            format: The format of the data of another package: `"postgres-history"`, `"sql-history"`, `"redis-history"`,
                `"redis-strings"`, `"messages"`, `"roles"`, `"store"`, `"saver"`, `"langmem"` or `"mem0"`. See
                `docs/importing.md`. Default: None (recognised from the object).
            existing: What to do with an object that is stored already and differs: `"error"` refuses the import before
                anything is written, `"keep"` keeps the stored one, `"replace"` replaces it. Default: `"error"`.
            dry_run: If true, check everything, store nothing, and return what would be stored. Default: False.
            progress: True shows the progress in the terminal or notebook. A function is called after each batch with the
                result so far. Default: False.
            **options: For data of another package: `user_id`, `session_id` and `agent` that it gets, `sessions`, a function
                from a session of the source to a pair of user and session, and `table`, `prefix`, `namespace` or
                `thread_ids`, the part of the source to read.

        Returns:
            The number of stored objects by kind.

        Raises:
            DamagedDataError: A line was damaged, or is missing. The error names it. Nothing was stored, unless the source can
                be read only once.
            InvalidInputError: An object cannot be stored, or a value is not accepted. The error names the object. Nothing was
                stored, unless the source can be read only once.
            InvalidTypeError: The source or an argument has the wrong type.
            ConfigurationError: A package that reads the source is missing.
            ThreadInUseError: A thread of another checkpointer continued here. Threads before it were copied.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> said = [{"role": "user", "content": "Where to?"}, {"role": "assistant", "content": "To Malta."}]
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     done = memory.import_from(said, format="roles", session_id="trip", user_id="alice@example.com")
            ...     done.counts["messages"], memory.history("trip", user_id="alice@example.com").count()
            (2, 2)
        """
        return run(
            self._import_from(source, format, existing, progress, cast("dict[str, Any]", options), dry_run=dry_run)
        )

    async def aimport_from(
        self,
        source: Any,
        *,
        format: str | None = None,
        existing: Existing = "error",
        dry_run: bool = False,
        progress: bool | Callable[[Imported], Any] = False,
        **options: Unpack[ImportOptions],
    ) -> Imported:
        """Same as `import_from`, but without blocking the event loop; `progress` may be a coroutine function."""
        return await arun(
            self._import_from(source, format, existing, progress, cast("dict[str, Any]", options), dry_run=dry_run)
        )

    def copy_to(
        self,
        other: TransferMethods,
        *,
        session_id: str | None = None,
        user_id: str | Omitted | None = OMITTED,
        thread_id: str | None = None,
        existing: Existing = "error",
        progress: bool | Callable[[Imported], Any] = False,
    ) -> Imported:
        """Copy what the memory stores into another memory: on another database, or of another tenant.

        A call that was interrupted continues when you call it again: equal objects are skipped.

        Args:
            other: The other memory.
            session_id: As in `export`.
            user_id: As in `export`.
            thread_id: As in `export`.
            existing: As in `import_from`. With `"error"`, objects before the one that differs are stored.
            progress: As in `import_from`.

        Returns:
            The number of stored objects by kind.

        Raises:
            DamagedDataError: A stored row cannot be read.
            InvalidInputError: A different object is stored, or a value is not accepted.
            InvalidTypeError: An argument has the wrong type.
            UnknownSelectionError: The session, the thread or the data of the user does not exist.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     other = AgentMemory(memory.backend, tenant="other")
            ...     memory.history("trip").add_user_message("Where to?")
            ...     memory.copy_to(other).counts
            {'sessions': 1, 'messages': 1}
        """
        return run(self._copy_to(other, session_id, user_id, thread_id, existing, progress))

    async def acopy_to(
        self,
        other: TransferMethods,
        *,
        session_id: str | None = None,
        user_id: str | Omitted | None = OMITTED,
        thread_id: str | None = None,
        existing: Existing = "error",
        progress: bool | Callable[[Imported], Any] = False,
    ) -> Imported:
        """Same as `copy_to`, but without blocking the event loop; `progress` may be a coroutine function."""
        return await arun(self._copy_to(other, session_id, user_id, thread_id, existing, progress))

    def _export(
        self,
        target: Any,
        session_id: str | None,
        user_id: str | Omitted | None,
        thread_id: str | None,
        progress: bool | Callable[[Exported], Any],
    ) -> Program[Exported]:
        from langchain_agentmem.lifecycle.transfer.engine import export, selected

        return export(self._engines(), target, selected(session_id, user_id, thread_id), progress)

    def _import_from(
        self,
        source: Any,
        format_: str | None,
        existing: str,
        progress: bool | Callable[[Imported], Any],
        options: dict[str, Any],
        *,
        dry_run: bool,
    ) -> Program[Imported]:
        from langchain_agentmem.lifecycle.importers.engine import import_foreign
        from langchain_agentmem.lifecycle.importers.registry import is_foreign
        from langchain_agentmem.lifecycle.transfer.engine import import_lines

        check_flag("dry_run", dry_run)
        if is_foreign(source, format_):
            return import_foreign(
                self, source, format=format_, existing=existing, progress=progress, dry_run=dry_run, **options
            )
        if options:
            msg = f"{next(iter(options))!r} is an option of other formats; got a file without format=."
            raise InvalidInputError(msg)
        return import_lines(self._engines(), source, existing, progress, dry_run=dry_run)

    def _copy_to(
        self,
        other: TransferMethods,
        session_id: str | None,
        user_id: str | Omitted | None,
        thread_id: str | None,
        existing: str,
        progress: bool | Callable[[Imported], Any],
    ) -> Program[Imported]:
        from langchain_agentmem.lifecycle.transfer.engine import copy, selected

        if not isinstance(other, TransferMethods):
            msg = f"other must be an AgentMemory, got {shown(other)}. For a file, call export."
            raise InvalidTypeError(msg)
        selection = selected(session_id, user_id, thread_id)
        return copy(self._engines(), other._engines(), selection, existing, progress)

    def _engines(self) -> Engines:
        from langchain_agentmem.lifecycle.transfer.exporting import Engines

        return Engines(self._histories.engine, self.store.engine, self.checkpointer.engine)
