"""Writers of the same items on Postgres wait for each other in one order, never in a circle."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
from langgraph.store.base import GetOp, PutOp

from langchain_agentmem import AgentMemory
from langchain_agentmem.backends.contract import ItemPut
from langchain_agentmem.backends.postgres import driver


def test_writers_of_the_same_items_never_wait_in_a_circle(postgres_url, monkeypatch):
    broken: list[psycopg.Error] = []
    decide = driver.may_try_again

    def noted(error: psycopg.Error) -> bool:
        broken.append(error)
        return decide(error)

    monkeypatch.setattr(driver, "may_try_again", noted)
    keys = [(("r", str(number % 2)), str(number)) for number in range(6)]
    with AgentMemory.from_url(postgres_url) as memory:

        def write(seed: int) -> None:
            source = random.Random(seed)
            for _ in range(8):
                some = source.sample(keys, 4)
                value: Any = {"n": source.random()}
                puts = [PutOp(*key, source.choice([None, value]), ttl=source.choice([None, 10.0])) for key in some[:3]]
                memory.store.batch([GetOp(*some[3], refresh_ttl=True), *puts])
                memory.store.update_many(
                    some, lambda values, some=some, value=value: {some[0]: None, some[1]: value, some[2]: value}
                )

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(write, range(8)))
    assert broken == []


def test_a_batch_touches_only_items_that_it_locked(postgres_url):
    """An item that another writer creates after the lock would be locked out of order: that is how two writers deadlock."""
    with AgentMemory.from_url(postgres_url) as memory:
        memory.store.put(("n",), "there", {"n": 1}, ttl=10.0)
        items = memory.store.engine.backend.items
        puts = [ItemPut(("n",), "new", '{"n": 2}', None, None, (), None)]

        def batch():
            program = iter(items.change("default", puts, [], [(("n",), "there"), (("n",), "later")], time.time()))
            lock = program.send(None)
            locked = yield lock
            step = program.send(locked)
            touched.append(step.parameters)
            while True:
                try:
                    step = program.send((yield step))
                except StopIteration:
                    return

        touched: list[Any] = []
        memory.store.engine.backend.write(batch())
        assert memory.store.get(("n",), "new").value == {"n": 2}
    assert [list(columns) for columns in touched[0][:2]] == [["n"], ["there"]]
