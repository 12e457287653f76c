"""The statistics of Postgres."""

from __future__ import annotations

from langchain_agentmem.backends.contract import Statistics, StatisticsQuery
from langchain_agentmem.backends.contract.statistics import statistics_of
from langchain_agentmem.backends.postgres.prefixes import below
from langchain_agentmem.backends.postgres.statements import statements
from langchain_agentmem.programs import All, Fetch, Program, storage_program


class PostgresStatistics:
    """Implements `langchain_agentmem.backends.contract.StatisticsTable`."""

    def __init__(self, schema: str | None) -> None:
        self._sql = statements("statistics.sql", schema)

    @storage_program
    def count(self, query: StatisticsQuery) -> Program[Statistics]:
        own, first, last = below(query.tenant, ())
        # The prefix of an item begins with the tenant, except the default tenant's.
        level = 1 if own is None and not first else 2
        within = {"own": own, "first": first, "last": last, "level": level}
        given = {**query.parameters, **within, "kinds": list(query.kinds)}
        rows = yield from All([Fetch(statement, given) for statement in self._sql.values()])
        found = dict(zip(self._sql, rows, strict=True))
        sizes = {name: int(size) for name, size in found.pop("bytes")}
        return statistics_of(query, found)._replace(bytes=sum(sizes.values()), bytes_by_table=sizes)
