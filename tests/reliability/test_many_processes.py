"""16 processes of 16 tasks on one session, one profile and one thread, in a database that is empty at first."""

from __future__ import annotations

import asyncio
import functools
import time
from typing import Any

from harness import Row, operations, read

from langchain_agentmem import AgentMemory


def write_at_once(tasks: int, url: str, name: str) -> None:
    asyncio.run(_write(tasks, url, name))


async def _write(tasks: int, url: str, name: str) -> None:
    async with AgentMemory.from_url(url) as memory:
        await asyncio.gather(*(_round(memory, f"{name}.{task}") for task in range(tasks)))


async def _round(memory: AgentMemory, name: str) -> None:
    for method, *arguments in operations(memory, name, 0).values():
        twin: Any = getattr(method.__self__, f"a{method.__name__}")
        await twin(*arguments)


def test_tasks_of_16_processes_begin_with_an_empty_database(lasting_url, processes, table, rounds):
    tasks = min(rounds + 1, 16)
    began = time.monotonic()
    processes.together(functools.partial(write_at_once, tasks), lasting_url)
    took = time.monotonic() - began
    wrong: list[str] = []
    with AgentMemory.from_url(lasting_url) as memory:
        stored = read(memory, wrong)
    count = tasks * processes.count
    lost = sum(count - len(stored[surface]) for surface in ("turn", "item", "checkpoint", "preference"))
    made = (
        f"{processes.count} processes of {tasks} tasks on one session, profile and thread; all done after {took:.0f} s"
    )
    table.rows.append(Row("first start", made, lasting_url.partition(":")[0], 1, 4 * count, lost, len(wrong)))
    assert (lost, wrong) == (0, [])
