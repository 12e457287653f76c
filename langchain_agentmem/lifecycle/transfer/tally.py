"""What an import does with an object that is stored already, and the counts of its result."""

from __future__ import annotations

from collections import Counter
from typing import Any

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidInputError
from langchain_agentmem.lifecycle.transfer.results import Imported, nonzero

ERROR, KEEP, REPLACE = "error", "keep", "replace"
"""What is done with a stored object that differs from the one to import."""


def check_existing(existing: Any) -> None:
    """Check the argument `existing`.

    Raises:
        InvalidInputError: It is none of the known words.
    """
    if existing not in (ERROR, KEEP, REPLACE):
        msg = f'existing must be "{ERROR}", "{KEEP}" or "{REPLACE}"; got {shown(existing)}.'
        raise InvalidInputError(msg)


class Tally:
    """Counts objects by kind: messages, items and so on.

    Args:
        existing: What is done with a stored object that differs: `ERROR`, `KEEP` or `REPLACE`.
    """

    def __init__(self, existing: str) -> None:
        self._existing = existing
        self.stored: Counter[str] = Counter()
        """The objects that were stored, or would be."""
        self.unchanged: Counter[str] = Counter()
        """The objects that were stored already."""
        self.kept: Counter[str] = Counter()
        """The objects that were left out because a different one is stored."""
        self.expired: Counter[str] = Counter()
        """The objects that were left out because they have expired."""
        self.without_vectors = 0
        """The number of objects whose vectors were left out."""

    def result(self) -> Imported:
        """Return the counts so far."""
        return Imported(
            nonzero(self.stored),
            nonzero(self.unchanged),
            nonzero(self.kept),
            nonzero(self.expired),
            without_vectors=self.without_vectors,
        )

    def replaces(self, kind: str | None, what: str, *, equal: bool) -> bool:
        """Return true if a stored object is to be replaced. Count one that stays.

        Args:
            kind: The kind of the object; None if it is not counted.
            what: Names the object in the error.
            equal: True if the stored object and the one to import are equal.

        Raises:
            InvalidInputError: They differ, and `existing` is `ERROR`.
        """
        counted = [] if kind is None else [kind]
        if equal:
            self.unchanged.update(counted)
        elif self.differs(what):
            return True
        else:
            self.kept.update(counted)
        return False

    def differs(self, what: str) -> bool:
        """Return true if a stored object that differs is to be replaced.

        Raises:
            InvalidInputError: `existing` is `ERROR`.
        """
        if self._existing == ERROR:
            msg = (
                f'{what} is stored already, and differs from the one to import. Pass existing="keep" to keep the stored '
                f'objects, or existing="replace" to replace them.'
            )
            raise InvalidInputError(msg)
        return self._existing == REPLACE
