"""Two writers of an encrypted session: its head always fits the messages, whatever the order of the writes."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from conftest import new_url
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from langchain_agentmem import AgentMemory, Retention

MASTER = bytes(range(32))
KINDS = (HumanMessage, HumanMessage, AIMessage, SystemMessage)


@pytest.fixture(params=["sqlite-file", "postgres", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return new_url(request.param, tmp_path)


@pytest.mark.parametrize("seed", range(4))
async def test_two_writers_in_any_order_store_what_one_stores_without_a_key(url, call, seed):
    writers = [AgentMemory.from_url(url, key=MASTER) for _ in range(2)]
    plain = AgentMemory.from_url("sqlite:///:memory:")
    chance = random.Random(seed)

    async def both(agent: str | None, name: str, *args: Any) -> None:
        retention = Retention(max_messages=6) if agent == "trimmed" else Retention()
        for memory in (chance.choice(writers), plain):
            history = memory.history("trip", user_id="alice", agent=agent, retention=retention)
            await call(getattr(history, name), *args)

    for number in range(60):
        agent = chance.choice([None, "writer", "trimmed"])
        stored = await messages(plain, call)
        action = chance.randrange(12)
        if action < 7 or not stored:
            added = [
                chance.choice(KINDS)(f"{number} {at}", id=f"{number}-{at}") for at in range(chance.randrange(1, 4))
            ]
            await both(agent, "add_messages", added)
        elif action < 9:
            await both(None, "delete", chance.choice(stored).id)
        elif action < 10:
            old = chance.choice(stored)
            await both(None, "replace", old.id, type(old)(f"replaced {number}", id=old.id))
        elif action < 11:
            await both(None, "truncate", chance.choice(stored).id)
        else:
            await both(agent, "clear")
        if number % 5 == 0:
            found = [await messages(memory, call) for memory in (*writers, plain)]
            assert found[0] == found[1] == found[2]
            recent = [await call(one.history("trip", user_id="alice").get_recent, 4) for one in (*writers, plain)]
            assert recent[0] == recent[1] == recent[2]
    for memory in (*writers, plain):
        await call(memory.close)


async def messages(memory: AgentMemory, call: Any) -> list[Any]:
    return list(await call(memory.history("trip", user_id="alice").get_recent))
