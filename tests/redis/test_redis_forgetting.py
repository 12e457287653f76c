"""`memory.forget` and `memory.find_traces` on Redis: indexes of data that is gone, and keys of other applications."""

from __future__ import annotations

import pytest
import redis
from langchain_core.messages import HumanMessage

from langchain_agentmem import AgentMemory, Retention
from langchain_agentmem.backends.contract import SessionKey
from langchain_agentmem.backends.redis.session_keys import session_slot

ALICE = "alice@example.com"


@pytest.fixture
def client(any_redis_url):
    cluster = "cluster" in any_redis_url
    url = f"redis://{any_redis_url.partition('://')[2]}"
    client = redis.RedisCluster.from_url(url) if cluster else redis.Redis.from_url(url)
    yield client
    client.close()


@pytest.fixture
def memory(any_redis_url):
    with AgentMemory.from_url(any_redis_url) as memory:
        yield memory


def test_a_session_that_the_server_has_deleted_leaves_nothing_in_indexes(memory, client):
    for session in ("1", f"{ALICE}/2"):
        history = memory.history(session, user_id=ALICE, retention=Retention(ttl=1e6))
        history.add_messages([HumanMessage("Hello")])
        memory.variables.set("v", 1, user_id=ALICE, session_id=session, ttl=1e5)
        memory.records.save("writer", {"n": 1}, user_id=ALICE, session_id=session)
        with memory.session(session, user_id=ALICE, timeout=1e6):
            prefix = session_slot(SessionKey("default", ALICE, session))
            for key in [*client.scan_iter(f"{prefix}*")]:
                client.delete(key)
    assert memory.find_traces(ALICE) != []
    memory.forget(ALICE)
    assert memory.find_traces(ALICE) == []
    assert memory.users() == []


def test_keys_of_other_applications_are_searched(memory, client):
    client.set(f"session-{ALICE}", "x")
    client.rpush("list", *(f"{number} {ALICE}" for number in range(1_200)))
    client.sadd("{set}", ALICE, "bob")
    client.zadd("zset", {f"of {ALICE}": 1})
    client.hset("hash", mapping={ALICE: "1", "other": f"user:{ALICE}"})
    client.xadd("stream", {"user": ALICE})
    client.set("text", "x" * 3_000_000 + f" {ALICE} " + "x" * 3_000)
    client.set(b"\xff", f"\n{ALICE}\n")
    client.set("alike", f"m{ALICE}")
    found = {(one.where, one.form): one.count for one in memory.find_traces(ALICE)}
    assert found == {
        (f"session-{ALICE} (key)", "text"): 1,
        ("list", "text"): 1_200,
        ("{set}", "id"): 1,
        ("zset", "text"): 1,
        ("hash", "id"): 1,
        ("hash", "text"): 1,
        ("stream", "id"): 1,
        ("text", "text"): 1,
        ("\\xff", "text"): 1,
    }
    memory.forget(ALICE)
    assert client.llen("list") == 1_200


def test_a_swap_that_fails_loses_no_root(memory):
    memory.store.put(("a",), "k", {"n": 1})

    def delete_first(value):
        if value is not None:
            memory.store.delete(("a",), "k")
            return {"n": 2}
        return {"n": 3}

    assert memory.store.update(("a",), "k", delete_first) == {"n": 3}
    assert memory.store.get(("a",), "k").value == {"n": 3}
    assert [item.key for item in memory.store.search(())] == ["k"]
