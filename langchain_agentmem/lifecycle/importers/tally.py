"""Counts of what an import stored and skipped."""

from __future__ import annotations

from collections import Counter

from langchain_agentmem.lifecycle.transfer.results import Imported


class Tally:
    """Counts by kind: messages, items and so on."""

    def __init__(self) -> None:
        self._stored: Counter[str] = Counter()
        self._unchanged: Counter[str] = Counter()
        self._kept: Counter[str] = Counter()
        self._expired: Counter[str] = Counter()

    def add(self, kind: str, number: int = 1) -> None:
        """Count stored objects."""
        self._stored[kind] += number

    def skip(self, kind: str, number: int = 1) -> None:
        """Count objects that were stored already."""
        self._unchanged[kind] += number

    def keep(self, kind: str, number: int = 1) -> None:
        """Count objects that were left out because a different one is stored."""
        self._kept[kind] += number

    def expire(self, kind: str, number: int = 1) -> None:
        """Count objects that were left out because they have expired."""
        self._expired[kind] += number

    def result(self) -> Imported:
        """Return the counts so far."""
        return Imported(dict(+self._stored), dict(+self._unchanged), dict(+self._kept), dict(+self._expired))
