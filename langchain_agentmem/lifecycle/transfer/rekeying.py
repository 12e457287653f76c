"""Threads of encrypted memories in memories without encryption."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_agentmem.backends.contract import StoredElement, ThreadRows, ThreadWrite
from langchain_agentmem.encoding.layout import PLAIN, VALUE, StoredValue, ValueKey, digest_of, resolve
from langchain_agentmem.encoding.references import each_reference, reference
from langchain_agentmem.errors import DamagedDataError


class Rekeying:
    """Replaces the references and digests of one thread, which are keyed with its secret, by plain ones.

    The elements of the thread come first, and its values before its checkpoints.
    """

    def __init__(self) -> None:
        self._plain: dict[bytes, bytes] = {}
        self._values: dict[ValueKey, StoredValue] = {}
        self._waiting: list[StoredValue] = []
        """Values that are spliced from a value that did not come yet."""

    def rows(self, rows: ThreadRows) -> ThreadRows:
        """Return rows of the thread with plain references. A value may come later than it was given."""
        elements = []
        for keyed, typed in rows.elements:
            self._plain[keyed] = reference(typed)
            elements.append(StoredElement(self._plain[keyed], typed))
        values = self._rekeyed(rows.values)
        if rows.checkpoints or rows.writes:  # the others need a value that is missing
            values += self._waiting
            self._waiting = []
        return ThreadRows(elements, values, rows.checkpoints, [self._write(one) for one in rows.writes])

    def _rekeyed(self, values: Sequence[StoredValue]) -> list[StoredValue]:
        found = []
        for value in values:
            if value.kind == PLAIN:
                found.append(value)
            else:
                self._values[value.key] = value._replace(data=self._replaced(value.data))
                self._waiting.append(self._values[value.key])
        waiting, self._waiting = self._waiting, []
        for value in waiting:
            try:
                _, known = resolve(value.key, self._values)
            except DamagedDataError:
                self._waiting.append(value)
            else:
                found.append(value._replace(digest=digest_of(value.type, known.references, b"")))
        return found

    def _write(self, one: ThreadWrite) -> ThreadWrite:
        if one.write.kind in (PLAIN, VALUE):
            return one
        return one._replace(write=one.write._replace(data=self._replaced(one.write.data)))

    def _replaced(self, references: bytes) -> bytes:
        return b"".join(self._plain.get(one, one) for one in each_reference(references))
