"""Counts what a memory asks of its database: transactions, statements, rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg.waiting import Wait

from langchain_agentmem import AgentMemory
from langchain_agentmem.backends.postgres import transactions
from langchain_agentmem.backends.redis import exchange as redis
from langchain_agentmem.backends.sqlite import driver as sqlite
from langchain_agentmem.programs import Compute


class Costs:
    """The transactions of a memory since the last `reset`, and what they did."""

    def __init__(self, memory: AgentMemory, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reset()
        self._watch_sqlite(monkeypatch)
        self._watch_postgres(monkeypatch)
        self._watch_redis(monkeypatch)
        for name, kind in (("read", "read"), ("aread", "read"), ("write", "write"), ("awrite", "write")):
            monkeypatch.setattr(memory.backend, name, self._begun(kind, getattr(memory.backend, name)))

    def reset(self) -> list[tuple[str, int]]:
        """Start anew; returns the transactions so far, each with the number of its statements."""
        taken = list(zip(getattr(self, "transactions", []), getattr(self, "sizes", []), strict=True))
        self.transactions: list[str] = []
        self.sizes: list[int] = []
        self.rows = 0
        return taken

    @property
    def statements(self) -> int:
        return sum(self.sizes)

    def _begun(self, kind: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def begin(program: Any) -> Any:
            self.transactions.append(kind)
            self.sizes.append(0)
            return method(program)

        return begin

    def _count(self, result: Any) -> Any:
        if self.sizes:
            self.sizes[-1] += 1
            self.rows += len(result) if isinstance(result, list) else 0
        return result

    def _watch_sqlite(self, monkeypatch: pytest.MonkeyPatch) -> None:
        original = sqlite.SqliteDriver._performer

        def performer(*arguments: Any) -> Any:
            perform = original(*arguments)
            return lambda step: perform(step) if isinstance(step, Compute) else self._count(perform(step))

        monkeypatch.setattr(sqlite.SqliteDriver, "_performer", performer)

    def _watch_postgres(self, monkeypatch: pytest.MonkeyPatch) -> None:
        answer = transactions._answer

        def counted(cursor: Any, step: Any) -> Any:
            result = yield from answer(cursor, step)
            return result if isinstance(step, Compute) else self._count(result)

        monkeypatch.setattr(transactions, "_answer", counted)

    def _watch_redis(self, monkeypatch: pytest.MonkeyPatch) -> None:
        perform, aperform = redis.Exchange.perform, redis.Exchange.aperform

        async def acounted(step: Any) -> Any:
            return self._count(await aperform(step))

        monkeypatch.setattr(redis.Exchange, "perform", lambda step: self._count(perform(step)))
        monkeypatch.setattr(redis.Exchange, "aperform", acounted)


class RoundTrips:
    """Counts how often psycopg sends something to the server and waits for the answer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        wait, await_ = psycopg.Connection.wait, psycopg.AsyncConnection.wait

        def counted(connection: Any, program: Any, *args: Any, **kwargs: Any) -> Any:
            return wait(connection, self._watched(program), *args, **kwargs)

        async def acounted(connection: Any, program: Any, *args: Any, **kwargs: Any) -> Any:
            return await await_(connection, self._watched(program), *args, **kwargs)

        monkeypatch.setattr(psycopg.Connection, "wait", counted)
        monkeypatch.setattr(psycopg.AsyncConnection, "wait", acounted)

    def reset(self) -> int:
        """Start anew; returns the number so far."""
        taken, self.count = self.count, 0
        return taken

    def _watched(self, program: Any) -> Any:
        """The same generator; one that never waits for an answer of the server is not counted."""
        waits = False
        try:
            wanted = next(program)
            while True:
                self.count += wanted == Wait.R and not waits
                waits = waits or wanted == Wait.R
                wanted = program.send((yield wanted))
        except StopIteration as done:
            return done.value
