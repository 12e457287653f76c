"""The statistics of an encrypted tenant."""

from __future__ import annotations

from langchain_agentmem.backends.contract import Statistics, StatisticsQuery, StatisticsTable
from langchain_agentmem.backends.encrypted.item_heads import HEADS
from langchain_agentmem.backends.encrypted.tables import EncryptedTable, as_inner
from langchain_agentmem.programs import Program

_NONE = "-"
"""A label that no encrypted item has."""


class EncryptedStatistics(EncryptedTable[StatisticsTable]):
    """Implements `langchain_agentmem.backends.contract.StatisticsTable`.

    The database cannot read values, so aliases are counted as items of their kind, and nested objects as one each.
    """

    @as_inner
    def count(self, query: StatisticsQuery) -> Program[Statistics]:
        labels = {self._ring.label(kind): kind for kind in query.kinds}
        sealed = query._replace(
            shared_root=self._ring.label(query.shared_root),
            kinds=list(labels),
            alias=(_NONE, query.alias[1]),
            nested=(_NONE, query.nested[1]),
            omitted=HEADS,
        )
        found = yield from self._inner.count(sealed)
        items = {labels.get(kind, kind): number for kind, number in found.items.items() if kind != _NONE}
        return found._replace(items=items)
