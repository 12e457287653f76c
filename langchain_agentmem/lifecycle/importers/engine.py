"""The import of one source: all rows are checked, then they are stored page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any, Protocol

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.checkpointing.face import AgentMemSaver
from langchain_agentmem.errors import InvalidInputError
from langchain_agentmem.history.methods import Histories
from langchain_agentmem.lifecycle.importers.arguments import Options
from langchain_agentmem.lifecycle.importers.items import ItemsImport
from langchain_agentmem.lifecycle.importers.knowledge import MemoriesImport, ProfilesImport
from langchain_agentmem.lifecycle.importers.registry import source_for
from langchain_agentmem.lifecycle.importers.rows import (
    Pages,
    Source,
    SourceItem,
    SourceMemory,
    SourceMessage,
    SourceProfile,
)
from langchain_agentmem.lifecycle.importers.sessions import MessageImport, Owner
from langchain_agentmem.lifecycle.importers.threads import has_threads, import_threads
from langchain_agentmem.lifecycle.progress import Report, reporting
from langchain_agentmem.lifecycle.transfer.results import Imported
from langchain_agentmem.lifecycle.transfer.tally import Tally, check_existing
from langchain_agentmem.programs import Call, Program
from langchain_agentmem.store.face import AgentMemStore


class Target(Protocol):
    """The parts of a memory that an import writes."""

    _histories: Histories
    store: AgentMemStore
    checkpointer: AgentMemSaver


class Importer(Protocol):
    """Checks and stores rows of one kind."""

    def check(self, rows: Sequence[Any]) -> Program[None]:
        """Check that rows can be stored."""

    def store(self, rows: Sequence[Any]) -> Program[None]:
        """Store the rows that are not stored yet."""


def import_foreign(
    memory: Target,
    source: Any,
    *,
    format: str | None = None,
    existing: str = "error",
    progress: bool | Callable[[Imported], Any] = False,
    dry_run: bool = False,
    **options: Any,
) -> Program[Imported]:
    """Import the data of another package; see `AgentMemory.import_from` and `docs/importing.md`.

    Args:
        memory: The memory.
        source: The original object, a path, or a URL.
        format: The format of a path or a URL. Default: None (recognised by the class of the object).
        existing: What happens to an item of a store that is stored with another value. Default: `"error"`.
        progress: Reports the progress; see `reporting`. Default: False.
        dry_run: If true, store nothing, and count what would be stored. Default: False.
        **options: See `Options`.

    Raises:
        ConfigurationError: A package that reads the source is missing.
        InvalidInputError: A row cannot be stored, or an argument is not accepted. Nothing was stored.
        InvalidTypeError: The source or an argument has the wrong type.
    """
    check_existing(existing)
    chosen = Options.of(options)
    if has_threads(source, format):
        saver = memory.checkpointer
        return (yield from import_threads(saver, source, chosen, existing, progress, dry_run=dry_run))
    chosen.refuse("thread_ids", "the source is no checkpointer")
    opened = source_for(source, format, chosen)
    if chosen.session_id is not None and not opened.single:
        msg = (
            f"session_id={shown(chosen.session_id, 60)} has no effect: {opened.name} has several sessions. Pass "
            f"sessions=…, a function that returns (user_id, session_id) for each of them."
        )
        raise InvalidInputError(msg)
    work = Import(memory, opened, chosen, existing, stores=not dry_run)
    with reporting(progress) as report:
        yield from work.check(report)
        return (yield from work.store(report))


class Import:
    """One import.

    Args:
        memory: The memory.
        source: The source.
        options: The options.
        existing: See `import_foreign`.
        stores: If false, only count what would be stored.
    """

    def __init__(self, memory: Target, source: Source, options: Options, existing: str, *, stores: bool) -> None:
        store, histories = memory.store.engine, memory._histories
        owner = Owner(options.sessions, options.user_id, options.session_id, options.agent)
        self._source = source
        self._tally = tally = Tally(existing)
        retention = histories.retention_of(options.agent)
        self._importers: dict[type, Importer] = {
            SourceMessage: MessageImport(histories.engine, source, owner, retention, tally, stores=stores),
            SourceItem: ItemsImport(store, source, existing, tally, stores=stores),
            SourceMemory: MemoriesImport(store, source, options.agent, tally, stores=stores),
            SourceProfile: ProfilesImport(store, source, tally, stores=stores),
        }

    def check(self, report: Report) -> Program[None]:
        """Read all rows, and check that they can be stored."""
        checked = 0
        pages = Pages(self._source)
        try:
            while page := (yield from pages.next()):
                for importer, rows in self._by_importer(page):
                    yield from importer.check(rows)
                checked += len(page)
                yield from Call(report, Imported(checked=checked))
        finally:
            yield from pages.close()

    def store(self, report: Report) -> Program[Imported]:
        """Read all rows again, and store them."""
        pages = Pages(self._source)
        try:
            while page := (yield from pages.next()):
                for importer, rows in self._by_importer(page):
                    yield from importer.store(rows)
                yield from Call(report, self._tally.result())
        finally:
            yield from pages.close()
        return self._tally.result()

    def _by_importer(self, page: Sequence[Any]) -> Iterator[tuple[Importer, Sequence[Any]]]:
        """Group adjacent rows of one kind."""
        for kind, rows in groupby(page, type):
            yield self._importers[kind], list(rows)
