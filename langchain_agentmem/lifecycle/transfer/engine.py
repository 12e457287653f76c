"""The programs of `export`, `import_from` and `copy_to`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from typing import Any

from langchain_agentmem.arguments.ids import check_optional_id
from langchain_agentmem.arguments.omitted import Omitted, check_id_or_omitted
from langchain_agentmem.errors import AgentMemError, InvalidInputError
from langchain_agentmem.lifecycle.progress import Report, reporting
from langchain_agentmem.lifecycle.transfer.batches import BYTES, LINES, batches, check_versions, size_of
from langchain_agentmem.lifecycle.transfer.exporting import Engines, Exporter, Selection
from langchain_agentmem.lifecycle.transfer.files import LineReader, LineWriter, NumberedLine
from langchain_agentmem.lifecycle.transfer.importing import Importer
from langchain_agentmem.lifecycle.transfer.lines import ARCHIVE, Line
from langchain_agentmem.lifecycle.transfer.results import Exported, Imported, nonzero
from langchain_agentmem.lifecycle.transfer.tally import check_existing
from langchain_agentmem.programs import Call, Compute, Program

_LATE = {"message", "record"}
"""The kinds of lines in an archive that are stored after the sessions that they belong to."""

_EMBEDDINGS = "embeddings"
"""The kind of the line that says which model the vectors after it belong to. Each cleanup appends its own."""


def selected(session_id: Any, user_id: str | Omitted | None, thread_id: Any) -> Selection:
    """Return the selection that the arguments describe.

    Raises:
        InvalidInputError: An ID has a wrong value.
        InvalidTypeError: An ID is not a string.
    """
    return Selection(
        check_optional_id("session_id", session_id),
        check_id_or_omitted("user_id", user_id),
        check_optional_id("thread_id", thread_id),
    )


def export(engines: Engines, target: Any, selection: Selection, progress: bool | Report) -> Program[Exported]:
    """Write lines to a file; see `AgentMemory.export`."""
    with ExitStack() as stack:
        report = stack.enter_context(reporting(progress))
        writer = yield from Compute(True, LineWriter.open, target)
        stack.callback(writer.close)
        before: list[Line] = []

        def sink(lines: list[Line]) -> Program[None]:
            # The first row is the proof that the selection exists: before it, nothing is written.
            before.extend(lines)
            if any(line["kind"] != _EMBEDDINGS for line in lines):
                yield from Compute(True, writer.write, tuple(before))
                before.clear()

        def done() -> Exported:
            return Exported(nonzero(exporter.counts), writer.name, tuple(exporter.shared))

        exporter = Exporter(engines, selection, sink, lambda: report(done()))
        yield from exporter.program()
        yield from Compute(True, writer.write, tuple(before))
        yield from Compute(True, writer.finish, dict(sorted(nonzero(exporter.counts).items())))
        return done()


def import_lines(
    engines: Engines, source: Any, existing: str, progress: bool | Report, *, dry_run: bool = False
) -> Program[Imported]:
    """Store the lines of a file; see `AgentMemory.import_from`."""
    check_existing(existing)
    with ExitStack() as stack:
        report = stack.enter_context(reporting(progress))
        stack.callback(clear_reads, engines)
        reader = yield from Compute(True, LineReader, source)
        stack.callback(reader.close)
        importer = Importer(engines, existing, stores=not dry_run)
        if dry_run:
            yield from _check(reader, importer, existing, report)
        elif not reader.is_seekable:
            yield from _import_once(reader, importer, existing, report)
        else:
            yield from _check(reader, Importer(engines, existing, stores=False), existing, report)
            for late in (False, True) if reader.content == ARCHIVE else (None,):
                reader.rewind()
                yield from _take((one for one in reader.lines() if _is_due(one.line, late)), importer, report)
        return importer.done


def copy(
    source: Engines, target: Engines, selection: Selection, existing: str, progress: bool | Report
) -> Program[Imported]:
    """Copy the rows of a memory into another one; see `AgentMemory.copy_to`."""
    check_existing(existing)
    if source.backend is target.backend and source.tenant == target.tenant:
        msg = "other is this memory itself. Pass a memory on another database or of another tenant."
        raise InvalidInputError(msg)
    importer = Importer(target, existing, stores=True)
    with ExitStack() as stack:
        report = stack.enter_context(reporting(progress))
        stack.callback(clear_reads, target)

        pending: list[NumberedLine] = []

        def sink(lines: list[Line]) -> Program[None]:
            pending.extend(NumberedLine(0, line, size_of(line)) for line in lines)
            if len(pending) > LINES or sum(one.size for one in pending) > BYTES:
                *complete, rest = batches(pending)
                for batch in complete:
                    yield from importer.take(batch)
                pending[:] = rest

        yield from Exporter(source, selection, sink, lambda: report(importer.done)).program()
        for batch in batches(pending):
            yield from importer.take(batch)
        yield from Call(report, importer.done)
    return importer.done


def clear_reads(engines: Engines) -> None:
    """Clear the cache of reads after rows were stored."""
    engines.history.cache.clear()
    engines.store.cache.clear()


def _check(reader: LineReader, checker: Importer, existing: str, report: Report) -> Program[None]:
    """Check all lines, and compare them with the stored rows."""
    pending = batches(reader.lines())
    known: dict[int, int] = {}
    while batch := (yield from Compute(True, next, pending, None)):
        if reader.content == ARCHIVE:
            check_versions(batch, known, existing, "Nothing was written.")
        yield from checker.take(batch)
        yield from Call(report, Imported(checked=batch[-1].number))


def _is_due(line: Line, late: bool | None) -> bool:
    """Return true if a pass stores a line: the pass of the late lines of an archive, that of the others, or the only one."""
    return late is None or line["kind"] == _EMBEDDINGS or (line["kind"] in _LATE) == late


def _take(lines: Iterator[NumberedLine], importer: Importer, report: Report) -> Program[None]:
    pending = batches(lines)
    while batch := (yield from Compute(True, next, pending, None)):
        yield from importer.take(batch)
        yield from Call(report, importer.done)


def _import_once(reader: LineReader, importer: Importer, existing: str, report: Report) -> Program[None]:
    """Store the lines of a file that can be read only once.

    Raises:
        AgentMemError: A line is wrong. The lines before it are stored, and the error names the last of them.
    """
    last = 0
    lines = reader.lines()
    failure: AgentMemError | None = None
    known: dict[int, int] = {}
    try:
        while failure is None:
            batch, failure = yield from Compute(True, _next_lines, lines)
            if not batch:
                break
            for part in batches(batch):
                if reader.content == ARCHIVE:
                    check_versions(part, known, existing)
                yield from importer.take(part)
                last = part[-1].number
            yield from Call(report, importer.done)
    except AgentMemError as error:
        failure = error
    if failure is not None:
        stored = f"The lines up to line {last} were stored" if last else "Nothing was stored"
        msg = f"{failure} {stored}; {reader.name!r} can be read only once, so it was not checked before."
        raise type(failure)(msg) from failure


def _next_lines(lines: Iterator[NumberedLine]) -> tuple[list[NumberedLine], AgentMemError | None]:
    """Return the next lines, and the error of the line after them."""
    found: list[NumberedLine] = []
    try:
        found.extend(islice(lines, 100))
    except AgentMemError as error:
        return found, error
    return found, None
