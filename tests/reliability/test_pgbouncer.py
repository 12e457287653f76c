"""PgBouncer in transaction mode: more clients than connections, and a pooler that is killed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psycopg
import pytest
from harness import Load
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.messages import HumanMessage
from langgraph.store.base import PutOp
from pooler import CONNECTIONS, PgBouncer

from langchain_agentmem import AgentMemory

pytestmark = pytest.mark.pgbouncer
MADE = f"transaction mode with {CONNECTIONS} connections"


@pytest.fixture
def pooler(postgres_url: str) -> Iterator[PgBouncer]:
    """A pooler before an empty database."""
    pooler = PgBouncer(postgres_url)
    yield pooler
    pooler.close()


@pytest.mark.parametrize("tasks", [0, 8])
def test_a_pooler_that_is_killed_loses_nothing(pooler, tmp_path, table, rounds, tasks):
    load = Load(pooler.url, tmp_path, tasks=tasks)
    with load:
        load.advance()
        for _ in range(rounds):
            load.survive(pooler.restart)
    processes = f"3 processes{' of 8 tasks' if tasks else ''}"
    load.check(table, "PgBouncer killed", f"`SIGKILL` to PgBouncer, start; {MADE}; {processes}", "postgresql")


def test_connections_to_the_server_that_break_lose_nothing(pooler, postgres_url, tmp_path, table, rounds):
    load = Load(pooler.url, tmp_path, tasks=8)
    with load:
        load.advance()
        for _ in range(rounds):
            load.survive(lambda: terminate(postgres_url))
    made = f"Postgres ends PgBouncer's connections; {MADE}; 3 processes of 8 tasks"
    load.check(table, "connections behind PgBouncer broken", made, "postgresql")


def terminate(url: str) -> None:
    with psycopg.connect(url.partition("?")[0], autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )


async def test_all_surfaces_share_few_connections(pooler):
    """Statements of different clients meet on the same connection, so none may rely on its own earlier statements."""
    embeddings = DeterministicFakeEmbedding(size=8)
    memories = [AgentMemory.from_url(pooler.url, embeddings=embeddings) for _ in range(3)]

    async def use(memory: AgentMemory, number: int) -> None:
        user = f"user-{number}"
        history = memory.history(f"session-{number}", user_id=user)
        await history.aadd_messages([HumanMessage(f"I live in town {number}.")])
        await memory.store.abatch([PutOp(("notes", user), str(one), {"text": f"note {one}"}) for one in range(5)])
        await memory.variables.aset("town", number, user_id=user)
        await memory.profiles.aadd_fact(user, f"Lives in town {number}")
        assert [message.content for message in await history.aget_recent(5)] == [f"I live in town {number}."]
        assert len(await memory.store.asearch(("notes", user), query="note", limit=10)) == 5
        assert await memory.variables.aget("town", user_id=user) == number
        found = await memory.asearch_history("which town", user_id=user)
        assert [one.message.content for one in found] == [f"I live in town {number}."]

    try:
        await asyncio.gather(*[use(memories[number % 3], number) for number in range(30)])
    finally:
        for memory in memories:
            await memory.aclose()
