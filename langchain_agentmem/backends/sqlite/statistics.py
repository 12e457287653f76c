"""The statistics of SQLite."""

from __future__ import annotations

import json

from langchain_agentmem.backends.contract import Statistics, StatisticsQuery
from langchain_agentmem.backends.contract.statistics import statistics_of
from langchain_agentmem.backends.statements import load_statements
from langchain_agentmem.programs import All, Fetch, Program

SQL = load_statements("langchain_agentmem.backends.sqlite", "statistics.sql")


class SqliteStatistics:
    """See `langchain_agentmem.backends.contract.StatisticsTable`."""

    def count(self, query: StatisticsQuery) -> Program[Statistics]:
        given = {**query.parameters, "kinds": json.dumps(list(query.kinds))}
        rows = yield from All([Fetch(statement, given) for statement in SQL.values()])
        found = dict(zip(SQL, rows, strict=True))
        ((size,),) = found.pop("bytes")
        return statistics_of(query, found)._replace(bytes=size)
