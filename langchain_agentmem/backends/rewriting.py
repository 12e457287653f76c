"""Rewriting stored cells in place, as key rotation does: what all backends share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

OWN_TABLES = frozenset({"store", "checkpoints", "checkpoint_blobs", "checkpoint_writes"})
"""The tables of LangGraph that this package writes to."""


class CellChange(NamedTuple):
    """A change of stored cells."""

    needles: Sequence[bytes]
    """A cell is changed only if it contains one of these."""
    function: Callable[[bytes], bytes | None]
    """Returns the new cell, of the same length; None to leave it."""

    def of(self, cell: Any) -> Any:
        """Return the new form of a cell that is a text or bytes; None to leave it."""
        if not isinstance(cell, (str, bytes)):
            return None
        stored = cell.encode() if isinstance(cell, str) else cell
        if not any(needle in stored for needle in self.needles):
            return None
        changed = self.function(stored)
        return changed.decode() if changed is not None and isinstance(cell, str) else changed


class Rewritten(NamedTuple):
    """The result of a step of `Backend.rewrite`."""

    changed: int
    """The number of changed cells."""
    missed: int
    """The number of cells that another writer changed first."""
    after: Any
    """The continuation, of the backend's own type; None at the end."""


def is_own_table(name: str) -> bool:
    """Return true if this package writes to a table."""
    return name.startswith("agentmem_") or name in OWN_TABLES
