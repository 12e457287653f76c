"""The statistics of Redis. Each table counts its own keys, in pages."""

from __future__ import annotations

from langchain_agentmem.backends.contract import Statistics, StatisticsQuery, Tally
from langchain_agentmem.backends.redis.cache import RedisCache
from langchain_agentmem.backends.redis.checkpoints import RedisCheckpoints
from langchain_agentmem.backends.redis.history import RedisMessages
from langchain_agentmem.backends.redis.inspection import info_of
from langchain_agentmem.backends.redis.records import RedisRecords
from langchain_agentmem.backends.redis.scripts import AskServers
from langchain_agentmem.backends.redis.store import RedisItems
from langchain_agentmem.backends.redis.variables import RedisVariables
from langchain_agentmem.programs import Program, storage_program

_Table = RedisMessages | RedisItems | RedisCheckpoints | RedisRecords | RedisVariables | RedisCache


class RedisStatistics:
    """See `langchain_agentmem.backends.contract.StatisticsTable`.

    A row that another process writes during the count may be missing from it.

    Args:
        *tables: The tables.
    """

    def __init__(self, *tables: _Table) -> None:
        self._tables = tables

    @storage_program
    def count(self, query: StatisticsQuery) -> Program[Statistics]:
        tally = Tally()
        for table in self._tables:
            yield from table.tally(query, tally)
        used = [info_of(answer).get("used_memory") for answer in (yield from AskServers(("INFO", "memory")))]
        return tally.result(sum(map(int, filter(None, used))) if all(used) else None)
