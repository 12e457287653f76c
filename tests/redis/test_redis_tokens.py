"""The tokens by which repeated changes are recognised on Redis."""

from __future__ import annotations

import pytest
import redis
from langchain_core.messages import HumanMessage

from langchain_agentmem import AgentMemory


@pytest.fixture
def client(redis_url):
    with redis.Redis.from_url(redis_url) as opened:
        yield opened


def test_of_many_tokens_the_older_half_goes(redis_url, client):
    with AgentMemory.from_url(redis_url) as memory:
        memory.store.update(("n",), "k", lambda _: {"n": 0})
        (tokens,) = client.scan_iter("*:tokens")
        (first,) = client.hkeys(tokens)
        for round_ in range(3):
            client.hset(tokens, mapping={f"{round_} {number}": 1 for number in range(10_000)})
            memory.store.update(("n",), "k", lambda _: {"n": 1})
            assert client.hlen(tokens) == 1
            assert client.hexists(f"{tokens.decode()}:old", first) == (round_ == 0)
            assert client.hlen(f"{tokens.decode()}:old") <= 10_002


def test_tokens_expire_and_outlive_their_session(redis_url, client):
    with AgentMemory.from_url(redis_url) as memory:
        memory.store.update(("n",), "k", lambda _: {"n": 0})
        history = memory.history("s")
        for number in range(501):
            history.add_messages([HumanMessage(str(number))])
        logs = [*client.scan_iter("*:tokens"), *client.scan_iter("*:tokens:old")]
        assert len(logs) == 3
        assert all(0 < client.ttl(log) <= 600 for log in logs)
        memory.sessions.delete("s")
        assert not list(client.scan_iter("*:messages"))
        logs = [*client.scan_iter("*:tokens"), *client.scan_iter("*:tokens:old")]
        assert all(0 < client.ttl(log) <= 600 for log in logs)
