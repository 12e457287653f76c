"""The list of all users' sessions, which Redis merges from one index for each user."""

from __future__ import annotations

import time

import pytest
from langchain_core.messages import HumanMessage

from langchain_agentmem import AgentMemory, Retention
from langchain_agentmem.backends.redis import indexes


@pytest.mark.parametrize("limit", [None, 1, 4, 7, 100])
async def test_pages_of_the_merged_list_are_complete(any_redis_url, call, monkeypatch, limit):
    monkeypatch.setattr(indexes, "_CHUNK", 3)
    names = [(f"s{number:02}", f"user-{number % 2 if number < 20 else 2}") for number in range(40)]
    with AgentMemory.from_url(any_redis_url) as memory:
        for session_id, user_id in names:
            # Of the newest fifteen sessions, only one has not expired when they are listed.
            retention = Retention(ttl=100 if session_id in {f"s{number}" for number in range(25, 39)} else None)
            history = memory.history(session_id, user_id=user_id, retention=retention)
            await call(history.add_messages, [HumanMessage("a")])
        later = time.time() + 200
        monkeypatch.setattr(time, "time", lambda: later)
        expected = [names[39], *names[24::-1]]
        listed = await call(memory.sessions.list, limit=limit)
        assert [(info.session_id, info.user_id) for info in listed] == expected[:limit]
        await call(memory.close)
