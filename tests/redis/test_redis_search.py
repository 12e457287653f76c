"""Search on Redis: what is read and how much at once, and the vectors that lie in one string."""

from __future__ import annotations

import re
import time
import warnings
from typing import Any

import numpy as np
import pytest
import redis
from langchain_core.embeddings import Embeddings
from langchain_core.messages import HumanMessage
from langgraph.store.base import PutOp

from langchain_agentmem import AgentMemory, AgentMemStore, Retention
from langchain_agentmem.backends.redis import store as redis_store
from langchain_agentmem.search.weights import EXACT


class Numbers(Embeddings):
    """A text is a number, and its vector points in the direction of that number."""

    def __init__(self, dimensions: int = 8) -> None:
        self.dimensions = dimensions

    def embed_query(self, text: str) -> list[float]:
        return np.random.default_rng(int(re.findall(r"\d+", f"0 {text}")[-1])).normal(size=self.dimensions).tolist()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


def put(namespace: tuple[str, ...], number: int) -> PutOp:
    return PutOp(namespace, str(number), {"text": f"item {number}"})


@pytest.mark.parametrize("embeddings", [None, Numbers()], ids=["words", "vectors"])
async def test_past_what_is_read_at_once_everything_is_found_and_a_warning_says_so(
    any_redis_url, call, monkeypatch, embeddings
):
    with AgentMemory.from_url(any_redis_url, embeddings=embeddings) as memory:
        await call(memory.store.batch, [put(("a", str(number % 7)), number) for number in range(400)])
        await call(memory.store.batch, [put(("a", "large"), number) for number in range(400, 1000)])
        await call(memory.store.batch, [put(("b",), number) for number in range(1000, 1100)])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            whole = await call(memory.store.search, (), query="item 7", limit=2000)
        monkeypatch.setattr(redis_store, "SEARCHED_AT_ONCE", 100)
        monkeypatch.setattr(redis_store, "BYTES_AT_ONCE", 1000)
        with (
            AgentMemory.from_url(any_redis_url, embeddings=embeddings) as other,
            pytest.warns(RuntimeWarning, match=r"took .* round trips"),
        ):
            parts = await call(other.store.search, (), query="item 7", limit=2000)
        with pytest.warns(RuntimeWarning):
            large = await call(memory.store.search, ("a", "large"), query="item 7", limit=2000)
        assert len(whole) == len(parts) == 1100
        assert len(large) == 600
        assert [(item.namespace, item.key) for item in parts] == [(item.namespace, item.key) for item in whole]
        assert whole[0].key == "7"
        await call(memory.close)


async def test_items_that_are_put_again_and_again_leave_no_vectors_behind(redis_url, call):
    with AgentMemory.from_url(redis_url, embeddings=Numbers()) as memory, redis.Redis.from_url(redis_url) as client:
        for turn in range(60):
            await call(
                memory.store.batch,
                [PutOp(("a",), str(number), {"text": f"turn {turn} {number}"}) for number in range(20)],
            )
        await call(memory.store.batch, [PutOp(("a",), str(number), None) for number in range(15)])
        found = await call(memory.store.search, ("a",), query="turn 17", limit=100)
        assert found[0].key == "17"
        assert {item.key for item in found} == {"15", "16", "17", "18", "19"}
        (log,) = client.scan_iter("*:vectors:*")
        assert client.strlen(log) <= (2 * 20 + 200 + 20) * (8 + 4 * 8)
        await call(memory.store.batch, [PutOp(("a",), str(number), None) for number in range(20)])
        assert not list(client.scan_iter("*:vectors:*")) + list(client.scan_iter("*:logs:*"))
        await call(memory.close)


async def test_an_item_with_several_texts_is_found_by_each(any_redis_url, call):
    index: Any = {"dims": 8, "embed": Numbers(), "fields": ["texts[*]"]}
    store = AgentMemStore.from_url(any_redis_url, index=index)
    for number in range(5):
        texts = [f"item {10 * number + at}" for at in range(number + 1)]
        await call(store.put, ("a",), str(number), {"texts": texts})
    for number in range(5):
        for at in range(number + 1):
            (first, *_) = await call(store.search, ("a",), query=f"item {10 * number + at}")
            assert first.key == str(number)
    await call(store.close)


async def test_vectors_that_are_gone_through_while_they_are_read_are_read_anew(redis_url, call, monkeypatch):
    """Between two parts of a search, others put items until the vectors are gone through."""
    with AgentMemory.from_url(redis_url, embeddings=Numbers()) as memory:
        await call(memory.store.batch, [put(("a",), number) for number in range(150)])
        monkeypatch.setattr(redis_store, "BYTES_AT_ONCE", 2000)
        invoke = redis_store._invoke
        asked = 0

        def interrupted(name: str, *args: Any) -> Any:
            nonlocal asked
            asked += name == "find"
            if name == "find" and asked == 3:
                with AgentMemory.from_url(redis_url, embeddings=Numbers()) as other:
                    for _ in range(3):
                        other.store.batch([put(("a",), number) for number in range(100)])
            return invoke(name, *args)

        monkeypatch.setattr(redis_store, "_invoke", interrupted)
        with pytest.warns(RuntimeWarning):
            found = await call(memory.store.search, ("a",), query="item 120", limit=500)
        assert len(found) == 150
        assert found[0].key == "120"
        assert found[0].score >= EXACT  # it contains the words of the query in order
        assert found[0].similarity == pytest.approx(1.0)
        await call(memory.close)


async def test_the_vectors_of_a_former_model_are_freed(redis_url, call):
    with AgentMemory.from_url(redis_url, embeddings=Numbers()) as memory, redis.Redis.from_url(redis_url) as client:
        await call(memory.store.batch, [put(("a", str(number % 3)), number) for number in range(2500)])
        await call(memory.history("s", user_id="alice").add_messages, [HumanMessage("item 1")])
        widths = {int(key.split(b":")[3]) for key in client.scan_iter("*:vectors:*")}
        assert widths == {4 * 8}
        changed = AgentMemory(memory.backend, embeddings=Numbers(9))
        await call(changed.reindex, batch_size=1000)
        logs = list(client.scan_iter("*:vectors:*"))
        assert {int(key.split(b":")[3]) for key in logs} == {4 * 9}
        assert sum(client.strlen(key) for key in logs) == 2501 * (8 + 4 * 9)
        assert (await call(changed.store.search, ("a",), query="item 2017", limit=1))[0].key == "2017"
        await call(memory.close)


async def test_users_without_sessions_are_listed_no_more(redis_url, call, monkeypatch):
    with AgentMemory.from_url(redis_url) as memory, redis.Redis.from_url(redis_url) as client:
        for user_id in ("alice", "bob", "carol"):
            for session_id in ("one", "two"):
                retention = Retention(ttl=1 if user_id == "carol" else 1000)
                history = memory.history(session_id, user_id=user_id, retention=retention)
                await call(history.add_messages, [HumanMessage("hi")])
        (owners,) = client.scan_iter("*}:owners")
        assert set(client.zrange(owners, 0, -1)) == {b"alice", b"bob", b"carol"}
        await call(memory.sessions.delete, "one", user_id="alice")
        assert client.zscore(owners, "alice") is not None
        await call(memory.sessions.delete, "two", user_id="alice")
        later = time.time() + 100
        monkeypatch.setattr(time, "time", lambda: later)
        await call(memory.sweep)
        assert set(client.zrange(owners, 0, -1)) == {b"bob"}
        await call(memory.close)
