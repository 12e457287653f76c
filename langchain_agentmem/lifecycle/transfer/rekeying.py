"""Threads of encrypted memories in memories without encryption."""

from __future__ import annotations

from langchain_agentmem.backends.contract import StoredElement, ThreadRows
from langchain_agentmem.encoding.layout import PLAIN, VALUE
from langchain_agentmem.encoding.references import each_reference, reference


class Rekeying:
    """Replaces the references of one thread, which are keyed with its secret, by plain ones.

    The elements of the thread come first. Digests of values are keyed as well, and are left out.
    """

    def __init__(self) -> None:
        self._plain: dict[bytes, bytes] = {}

    def rows(self, rows: ThreadRows) -> ThreadRows:
        """Return rows of the thread with plain references."""
        elements = []
        for keyed, typed in rows.elements:
            self._plain[keyed] = reference(typed)
            elements.append(StoredElement(self._plain[keyed], typed))
        values = [
            value if value.kind == PLAIN else value._replace(data=self._replaced(value.data), digest="")
            for value in rows.values
        ]
        writes = [
            one
            if one.write.kind in (PLAIN, VALUE)
            else one._replace(write=one.write._replace(data=self._replaced(one.write.data)))
            for one in rows.writes
        ]
        return ThreadRows(elements, values, rows.checkpoints, writes)

    def _replaced(self, references: bytes) -> bytes:
        return b"".join(self._plain.get(one, one) for one in each_reference(references))
