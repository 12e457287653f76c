"""Writers of the same items on Postgres wait for each other in one order, never in a circle."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
from langgraph.store.base import GetOp, PutOp

from langchain_agentmem import AgentMemory
from langchain_agentmem.backends.postgres import driver


def test_writers_of_the_same_items_never_wait_in_a_circle(postgres_url, monkeypatch):
    broken: list[psycopg.Error] = []
    decide = driver._may_try_again

    def noted(error: psycopg.Error) -> bool:
        broken.append(error)
        return decide(error)

    monkeypatch.setattr(driver, "_may_try_again", noted)
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
