"""Lines in batches, and as rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from langchain_agentmem.arguments.values import reason_of, shown
from langchain_agentmem.errors import DamagedDataError, InvalidInputError
from langchain_agentmem.lifecycle.transfer.files import NumberedLine
from langchain_agentmem.lifecycle.transfer.lines import Line, comparable
from langchain_agentmem.lifecycle.transfer.tally import ERROR

T = TypeVar("T")

LINES = 500
"""The maximum number of lines in a batch."""

BYTES = 2_000_000
"""The maximum size of a batch, apart from its last line."""

_LOG, _THREADS = "log", "threads"
ROWS_OF_THREAD = ("element", "value", "checkpoint", "write")
"""The kinds of lines with rows of a thread, which follow that of the thread."""

OF_THREADS = {"thread", "note", *ROWS_OF_THREAD}
"""The kinds of lines of threads."""


def batches(lines: Iterable[NumberedLine]) -> Iterator[list[NumberedLine]]:
    """Yield lines in batches that an `Importer` takes: the lines of a batch can be stored in one transaction.

    An archive may have several lines of one session or thread. They are in different batches.
    """
    batch: list[NumberedLine] = []
    total, group = 0, None
    heads: set[Any] = set()
    for one in lines:
        own, head = _group_of(one.line), head_of(one.line)
        if batch and (own != group or len(batch) == LINES or total > BYTES or head in heads):
            yield batch
            batch, total = [], 0
            heads.clear()
        batch.append(one)
        if head is not None:
            heads.add(head)
        total, group = total + one.size, own
    if batch:
        yield batch


def size_of(value: Any) -> int:
    """Return about the number of bytes of a line that was not read from a file, or of a part of one."""
    if isinstance(value, str):
        return len(value) + 10
    if isinstance(value, dict):
        return 10 * len(value) + sum(map(size_of, value.values()))
    return sum(map(size_of, value)) if isinstance(value, list) else 10


def _group_of(line: Line) -> Any:
    """Return a value that is equal for lines that may be in one batch."""
    kind = line.get("kind")
    if not isinstance(kind, str):  # the importer refuses it
        return None
    if kind in ("session", "message"):
        return _LOG
    if kind in OF_THREADS:
        return _THREADS
    if kind == "item":
        labels = line.get("namespace")
        return kind, labels[0] if isinstance(labels, list) and labels else None
    return kind, line.get("user_id") if kind == "variable" else None


def head_of(line: Line) -> Any:
    """Return the IDs in the line of a session or a thread; None for other lines."""
    kind = line.get("kind")
    names = ("user_id", "session_id") if kind == "session" else ("thread_id",) if kind == "thread" else ()
    ids = tuple(line.get(name) for name in names)
    return (kind, *ids) if names and all(one is None or isinstance(one, str) for one in ids) else None


def check_versions(batch: Iterable[NumberedLine], known: dict[int, int], existing: str, stored: str = "") -> None:
    """Check that an archive has one version of each session, and of each thread unless `existing` says which one stays.

    A cleanup that was interrupted may have written the same version twice.

    Args:
        batch: Lines of the archive.
        known: The hashes of the lines before, by those of the IDs in them. Those in the batch are added.
        existing: The argument of `import_from`.
        stored: Ends the message of the error: what was stored. Default: "".

    Raises:
        InvalidInputError: The archive has two versions of a session or thread, which was used again after a cleanup.
    """
    for one in batch:
        head = head_of(one.line)
        if head is None or (head[0] == "thread" and existing != ERROR):
            continue
        version = hash(comparable(one.line))
        if known.setdefault(hash(head), version) != version:
            kind, *_, id_ = head
            msg = (
                f"Line {one.number} has another version of {kind} {shown(id_)}, which was used again after it was archived. "
                f"Split the archive before a line of the kind 'header', and import one part. {stored}"
            )
            raise InvalidInputError(msg.rstrip())


def row_of(one: NumberedLine, parse: Callable[[Line], T]) -> T:
    """Return the row of a line.

    Raises:
        DamagedDataError: The line does not have the form of its kind.
    """
    try:
        return parse(one.line)
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError, DamagedDataError) as error:
        raise malformed(one, reason_of(error)) from error


def malformed(one: NumberedLine, reason: str) -> DamagedDataError:
    """Return the error for a line that does not have the form of its kind."""
    msg = f"Line {one.number} ({shown(one.line.get('kind'))}) cannot be imported: {reason}."
    return DamagedDataError(msg)
