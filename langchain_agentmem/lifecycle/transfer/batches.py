"""Lines in batches, and as rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from langchain_agentmem.arguments.values import reason_of, shown
from langchain_agentmem.errors import DamagedDataError
from langchain_agentmem.lifecycle.transfer.files import NumberedLine
from langchain_agentmem.lifecycle.transfer.lines import Line

T = TypeVar("T")

LINES = 200
"""The maximum number of lines in a batch."""

_BYTES = 2_000_000
"""About the maximum size of a batch."""

_LOG = "log"
ROWS_OF_THREAD = {"element", "value", "checkpoint", "write"}
"""The kinds of lines that follow that of a thread."""


def batches(lines: Iterable[NumberedLine]) -> Iterator[list[NumberedLine]]:
    """Yield lines in batches that an `Importer` takes: the lines of a batch can be stored in one transaction."""
    batch: list[NumberedLine] = []
    total, group = 0, None
    for one in lines:
        own = _group_of(one.line)
        if batch and (own != group or len(batch) == LINES or total > _BYTES):
            yield batch
            batch, total = [], 0
        batch.append(one)
        total, group = total + one.size, own
    if batch:
        yield batch


def _group_of(line: Line) -> Any:
    """Return a value that is equal for lines that may be in one batch."""
    kind = line.get("kind")
    if not isinstance(kind, str):  # the importer refuses it
        return None
    if kind in ("session", "message"):
        return _LOG
    if kind in ROWS_OF_THREAD or kind == "note":
        return "note" if kind == "note" else "rows", line.get("thread_id")
    if kind == "item":
        labels = line.get("namespace")
        return kind, labels[0] if isinstance(labels, list) and labels else None
    return kind, line.get("user_id") if kind == "variable" else None


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
