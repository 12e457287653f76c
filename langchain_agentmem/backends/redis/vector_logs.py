"""The vectors of some items in large logs, which an export reads page by page.

A log has no index. The first page reads the stamp of each record, and later pages read only the records of their items.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from langchain_agentmem.backends.redis.scripts import Invoke, Script, slot
from langchain_agentmem.programs import Program
from langchain_agentmem.programs.caches import RecentValues

if TYPE_CHECKING:
    from collections.abc import Mapping

STAMP = 8
"""The number of bytes of a stamp."""

_LOGS = 4


class _Stamps:
    """The stamps of the first records of a log, as bytes in the order of the records."""

    def __init__(self, stamps: bytes = b"") -> None:
        self.stamps = stamps

    @cached_property
    def _sorted(self) -> tuple[Any, Any]:
        import numpy as np

        values = np.frombuffer(self.stamps, "<u8")
        order = np.argsort(values, kind="stable")
        return values[order], order

    def numbers(self, stamps: Sequence[bytes]) -> list[list[int]]:
        """Return the numbers of the records of each stamp, ascending."""
        import numpy as np

        values, order = self._sorted
        wanted = np.frombuffer(b"".join(stamps), "<u8")
        bounds = zip(np.searchsorted(values, wanted), np.searchsorted(values, wanted, "right"), strict=True)
        return [order[low:high].tolist() for low, high in bounds]


class VectorLogs:
    """Finds vectors in the logs of namespaces.

    Args:
        scripts: The scripts `stamps` and `records` of `transfer_items.lua`.
    """

    def __init__(self, scripts: Mapping[str, Script]) -> None:
        self._scripts = scripts
        self._known: RecentValues[tuple[str, bytes | str, int], _Stamps] = RecentValues(_LOGS)

    def vectors(
        self, tenant: str, root: str, namespace: bytes | str, width: int, stamps: Sequence[bytes]
    ) -> Program[dict[bytes, bytes]]:
        """Return the vectors of each stamp, one after the other.

        Args:
            tenant: The tenant.
            root: The first label of the namespace.
            namespace: The namespace, as scripts take it.
            width: The number of bytes of a vector.
            stamps: The stamps.
        """
        prefix = slot("root", tenant, root)
        key = (prefix, namespace, width)
        known = self._known.get(key) or _Stamps()
        found: dict[bytes, bytes] = {}
        # Records move when the log is compacted, so each is compared with its stamp. The second attempt reads all stamps.
        for attempt in range(2):
            numbers = known.numbers(stamps)
            if not all(numbers):
                known = yield from self._extended(prefix, namespace, width, known)
                numbers = known.numbers(stamps)
            wanted = [(stamp, number) for stamp, own in zip(stamps, numbers, strict=True) for number in own]
            arguments = (namespace, width, *(number for _, number in wanted))
            data = (yield from self._invoke("records", prefix, arguments)) if wanted else b""
            records = [data[at : at + STAMP + width] for at in range(0, len(data), STAMP + width)]
            fits = [one[:STAMP] for one in records] == [stamp for stamp, _ in wanted]
            if (fits and all(numbers)) or attempt:
                break
            known = _Stamps()
        self._known.put(key, known)
        for record in records:
            found[record[:STAMP]] = found.get(record[:STAMP], b"") + record[STAMP:]
        return found

    def _extended(self, prefix: str, namespace: bytes | str, width: int, known: _Stamps) -> Program[_Stamps]:
        """Return the stamps of all records of a log, of which the first ones are known."""
        parts = [known.stamps]
        count = len(known.stamps) // STAMP
        while part := (yield from self._invoke("stamps", prefix, (namespace, width, count))):
            parts.append(part)
            count += len(part) // STAMP
        return _Stamps(b"".join(parts))

    def _invoke(self, name: str, prefix: str, arguments: Sequence[Any]) -> Program[bytes]:
        found: bytes = yield from Invoke(self._scripts[name], (prefix + "namespaces",), tuple(arguments))
        return found
