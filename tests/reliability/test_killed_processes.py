"""Writers and servers that are killed under load, and calls that are broken off."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import psycopg
import pytest
from harness import Load

from langchain_agentmem import AgentMemory


def backend_of(url: str) -> str:
    return url.partition(":")[0]


def test_killed_writers_lose_nothing(lasting_url, tmp_path, table, rounds, chance):
    load = Load(lasting_url, tmp_path)
    for _ in range(rounds):
        with load:
            load.advance(20)
            time.sleep(chance.uniform(0, 0.1))
            load.kill()
    load.check(table, "writers killed", "SIGKILL to 3 processes at a random moment", backend_of(lasting_url))


def test_a_paused_writer_holds_up_nobody_for_good(lasting_url, tmp_path, table, rounds, chance):
    load = Load(lasting_url, tmp_path)
    with load:
        load.advance()
        for _ in range(rounds):
            load.survive(lambda: paused(load.processes[0].pid, chance.uniform(0.1, 1.0)))
    load.check(table, "writer paused", "SIGSTOP to 1 of 3 processes, SIGCONT up to 1 s later", backend_of(lasting_url))


def paused(process: int, seconds: float) -> None:
    os.kill(process, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(process, signal.SIGCONT)


@pytest.mark.parametrize("tasks", [0, 8])
def test_a_killed_redis_server_loses_nothing(crashing_redis, tmp_path, table, rounds, tasks):
    load = Load(crashing_redis.url.replace("/0", f"/{tasks}"), tmp_path, tasks=tasks)
    with load:
        load.advance()
        for _ in range(rounds):
            load.survive(lambda: restarted(crashing_redis, signal.SIGKILL))
    made = f"SIGKILL to the server, start; 3 processes{' of 8 tasks' if tasks else ''}; appendfsync always"
    load.check(table, "server killed", made, "redis")


@pytest.mark.parametrize("tasks", [0, 8])
def test_a_killed_postgres_server_loses_nothing(crashing_postgres, tmp_path, table, rounds, tasks):
    load = Load(f"{crashing_postgres.url}?schema=killed{tasks}", tmp_path, tasks=tasks)
    with load:
        load.advance()
        for _ in range(rounds):
            load.survive(lambda: restarted(crashing_postgres, signal.SIGQUIT))
    made = f"SIGQUIT to the server (a crash), start; 3 processes{' of 8 tasks' if tasks else ''}"
    load.check(table, "server killed", made, "postgresql")


def restarted(server: Any, how: signal.Signals) -> None:
    server.stop(how)
    server.start()


def test_a_killed_process_of_the_postgres_server_loses_nothing(crashing_postgres, tmp_path, table, rounds):
    """Postgres breaks all connections and recovers when one of its processes dies."""
    load = Load(f"{crashing_postgres.url}?schema=one_killed", tmp_path)
    with load:
        load.advance()
        for _ in range(rounds):
            load.survive(lambda: killed_one(crashing_postgres.url))
    load.check(table, "process of the server killed", "SIGKILL to one process of Postgres", "postgresql")


def killed_one(url: str) -> None:
    with psycopg.connect(url) as connection:
        (found,) = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() LIMIT 1"
        )
    os.kill(found[0], signal.SIGKILL)


def test_calls_broken_off_by_signals_store_whole_writes(lasting_url, tmp_path, table, rounds):
    load = Load(lasting_url, tmp_path, breaks_off=True)
    with load:
        load.advance(100 * rounds)
    load.tries = interrupted(load)
    assert load.tries
    made = "an exception from a timer's signal, 0 to 30 ms after each call began"
    load.check(table, "calls broken off", made, backend_of(lasting_url))


def test_cancelled_tasks_store_whole_writes(lasting_url, tmp_path, table, rounds):
    with AgentMemory.from_url(lasting_url) as memory:
        memory.store.get(("first",), "call")  # it creates the tables, which takes longer than the calls below may
    load = Load(lasting_url, tmp_path, tasks=8, breaks_off=True)
    with load:
        load.advance(100 * rounds)
    load.tries = interrupted(load)
    assert load.tries
    made = "3 processes of 8 tasks, each call cancelled after 1 to 200 ms"
    load.check(table, "tasks cancelled", made, backend_of(lasting_url))


def interrupted(load: Load) -> int:
    return sum(entry.state == "unknown" for entry in load.entries())
