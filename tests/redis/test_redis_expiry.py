"""Time to live on Redis: its own expiry, all at once for what belongs together, and indexes that heal themselves."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
import redis
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.store.base import PutOp
from patience import PATIENCE
from test_redis_scripts import masters

from langchain_agentmem import AgentMemory, Retention

BIG = "long enough to be stored by reference " * 10
HOUR = 3600


def config(thread: str, user: str | None = None) -> Any:
    return {"configurable": {"thread_id": thread, **({"user_id": user} if user else {})}}


def graph_on(memory: AgentMemory) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("reply", lambda state: {"messages": [AIMessage(f"{len(state['messages'])} {BIG}")]})
    builder.add_edge(START, "reply")
    return builder.compile(checkpointer=memory.checkpointer)


class Keys:
    """The keys of all servers, by what they are."""

    def __init__(self, url: str) -> None:
        self.servers = masters(url)

    def names(self) -> dict[str, list[tuple[redis.Redis, bytes]]]:
        found: dict[str, list[tuple[redis.Redis, bytes]]] = {}
        for server in self.servers:
            for key in server.scan_iter():
                found.setdefault(key.decode().partition("}:")[2].partition(":")[0], []).append((server, key))
        return found

    def left(self, *names: str) -> list[int]:
        """The milliseconds that keys live; negative for ever."""
        return [server.pttl(key) for name in names for server, key in self.names().get(name, [])]

    def expire_together(self, names: tuple[str, ...], seconds: float) -> bool:
        """Whether the keys of each thread or session expire at one moment, that many seconds from its last change.

        Threads that changed at different times expire at different times, so each hash tag is looked at by itself. When a key
        expires is read between two readings of the server's clock, so a slow machine widens the bounds and fails nothing.
        """
        bounds: dict[bytes, list[tuple[float, float]]] = {}
        for name, places in self.names().items():
            for server, key in places if name in names else ():
                before, left, after = server.pipeline(transaction=True).time().pttl(key).time().execute()
                low, high = (1000 * second + micro / 1000 + left for second, micro in (before, after))
                if left <= 0 or low > 1000 * (time.time() + seconds):
                    return False
                bounds.setdefault(key.partition(b"}")[0], []).append((low, high))
        for tagged in bounds.values():
            earliest, latest = min(high for _, high in tagged), max(low for low, _ in tagged)
            if latest > earliest + 1 or earliest < 1000 * (time.time() + seconds - 60):
                return False
        return bool(bounds)

    def delete(self, *names: str) -> None:
        for name in names:
            for server, key in self.names().get(name, []):
                server.delete(key)

    def members(self, name: str) -> list[bytes]:
        return [member for server, key in self.names().get(name, []) for member in server.zrange(key, 0, -1)]

    def close(self) -> None:
        for server in self.servers:
            server.close()


@pytest.fixture
def keys(any_redis_url: str) -> Any:
    opened = Keys(any_redis_url)
    yield opened
    opened.close()


async def test_all_of_a_session_expires_at_once(any_redis_url, keys, call):
    retention = Retention(ttl=HOUR, max_messages=3)
    with AgentMemory.from_url(any_redis_url, retention=retention) as memory:
        history = memory.history("s", user_id="alice", agent="writer")
        for number in range(4):
            await call(history.add_messages, [HumanMessage(str(number)), AIMessage("b")])
        assert keys.expire_together(("session", "messages", "index"), HOUR)
        await call(memory.history("s", user_id="alice", agent="writer").clear)
        await call(history.add_messages, [HumanMessage("again")])
        assert keys.expire_together(("session", "messages", "index"), HOUR)
        await call(memory.close)


async def test_an_absolute_time_to_live_stays_where_it_was(redis_url, call):
    with AgentMemory.from_url(redis_url, retention=Retention(ttl=HOUR, sliding=False)) as memory:
        keys = Keys(redis_url)
        await call(memory.history("s").add_messages, [HumanMessage("a")])
        for server, key in keys.names()["session"]:
            first = server.hget(key, "at")
        await call(memory.history("s").add_messages, [HumanMessage("b")])
        assert keys.expire_together(("session", "messages"), HOUR)
        for server, key in keys.names()["session"]:
            assert server.hget(key, "at") == first
        keys.close()
        await call(memory.close)


async def test_all_of_a_thread_expires_at_once(any_redis_url, keys, call):
    thread = ("thread", "checkpoints", "order", "values", "elements", "writes", "runs")
    with AgentMemory.from_url(any_redis_url, ttl=HOUR) as memory:
        for _ in range(3):
            await call(graph_on(memory).invoke, {"messages": [HumanMessage(BIG)]}, config("1", "alice"))
        assert {*thread} <= keys.names().keys() | {"runs"}
        assert keys.expire_together(thread, HOUR)
        await call(memory.checkpointer.set_ttl, "1", 2 * HOUR)
        assert keys.expire_together(thread, 2 * HOUR)
        await call(memory.checkpointer.copy_thread, "1", "2")
        assert keys.expire_together(thread, 2 * HOUR)
        await call(memory.checkpointer.prune, ["1"])
        assert keys.expire_together(thread, 2 * HOUR)
        await call(memory.checkpointer.set_ttl, "1", None)
        await call(memory.checkpointer.delete_thread, "2")
        assert set(keys.left(*thread)) == {-1}
        await call(graph_on(memory).invoke, {"messages": [HumanMessage(BIG)]}, config("1", "alice"))
        assert set(keys.left(*thread)) == {-1}
        await call(memory.close)


async def test_indexes_of_items_live_at_least_as_long_as_the_items(any_redis_url, keys, call):
    indexes = ("namespaces", "clock", "expiring", "items", "words")
    with AgentMemory.from_url(any_redis_url) as memory:
        await call(memory.store.put, ("a",), "short", {"text": "b"}, ttl=10)
        await call(memory.store.put, ("a",), "long", {"text": "b"}, ttl=60)
        await call(memory.store.put, ("a",), "short", {"text": "c"}, ttl=5)
        assert sorted(round(left / 60_000) for left in keys.left("item")) == [5, 60]
        assert all(60 * 60_000 < left <= 125 * 60_000 for left in keys.left(*indexes))
        await call(memory.store.put, ("a",), "for ever", {"text": "c"})
        assert set(keys.left(*indexes)) == {-1}
        await call(memory.close)


async def test_what_redis_has_expired_is_gone_and_its_entries_too(any_redis_url, keys, call):
    with AgentMemory.from_url(any_redis_url, ttl=2) as memory:
        await call(memory.history("s", user_id="alice").add_messages, [HumanMessage("a")])
        await call(memory.store.put, ("a",), "k", {"text": "words"})
        await call(graph_on(memory).invoke, {"messages": [HumanMessage(BIG)]}, config("1", "alice"))
        assert await call(memory.checkpointer.threads, user_id="alice")
        deadline = time.monotonic() + PATIENCE
        while {"session", "item", "thread"} & keys.names().keys():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        assert await call(memory.history("s", user_id="alice").get_recent, 5) == []
        assert await call(memory.store.search, (), query="words") == []
        assert await call(memory.store.list_namespaces) == []
        assert await call(memory.checkpointer.get_tuple, config("1")) is None
        assert await call(memory.checkpointer.threads) == []
        assert await call(memory.sessions.list, user_id="alice") == []
        assert await call(memory.sweep) == 3
        assert keys.names().keys() <= {"schema", "language", "tokens", "clock", "edits"}
        await call(memory.close)


async def test_entries_of_what_is_gone_are_removed_when_they_are_come_across(any_redis_url, keys, call, monkeypatch):
    with AgentMemory.from_url(any_redis_url) as memory:
        for number in range(30):
            await call(memory.history(str(number), user_id="alice").add_messages, [HumanMessage("a")])
            await call(memory.store.put, (str(number),), "k", {"n": 1})
            given: Any = {
                "v": 4,
                "id": "1",
                "ts": "",
                "channel_values": {},
                "channel_versions": {},
                "versions_seen": {},
            }
            place = config(str(number), "alice")
            await call(
                memory.checkpointer.put, {"configurable": {**place["configurable"], "checkpoint_ns": ""}}, given, {}, {}
            )
        keys.delete("session", "messages", "thread", "checkpoints", "order", "items", "item", "namespaces")

        async def listed() -> list[Any]:
            return [
                *await call(memory.sessions.list, user_id="alice"),
                *await call(memory.checkpointer.threads),
                *await call(memory.checkpointer.threads, user_id="alice"),
                *await call(memory.store.list_namespaces),
            ]

        assert await listed() == []
        # Whoever wrote the entries may be about to write what they list.
        assert {len(keys.members(name)) for name in ("sessions", "roots")} == {30}
        later = time.time() + 2 * HOUR
        monkeypatch.setattr(time, "time", lambda: later)
        assert await listed() == []
        assert not {"sessions", "threads", "roots"} & keys.names().keys()
        await call(memory.history("7", user_id="alice").add_messages, [HumanMessage("a")])
        assert len(await listed()) == 1
        await call(memory.close)


async def test_a_thread_is_found_by_its_user_also_when_a_write_does_not_name_him(any_redis_url, call):
    with AgentMemory.from_url(any_redis_url, ttl=HOUR) as memory:
        for thread, user in (("1", "alice"), ("2", "alice"), ("1", None)):
            await call(graph_on(memory).invoke, {"messages": [HumanMessage(BIG)]}, config(thread, user))
        assert [one.thread_id for one in await call(memory.checkpointer.threads, user_id="alice")] == ["1", "2"]
        await call(memory.checkpointer.copy_thread, "1", "3")
        assert [one.thread_id for one in await call(memory.checkpointer.threads, user_id="alice")] == ["3", "1", "2"]
        for thread in "123":
            await call(memory.checkpointer.delete_thread, thread)
        assert await call(memory.checkpointer.threads, user_id="alice") == []
        await call(memory.close)


async def test_deleting_everything_leaves_nothing(any_redis_url, keys, call):
    with AgentMemory.from_url(any_redis_url, ttl=HOUR) as memory:
        await call(memory.history("s", user_id="alice", agent="a").add_messages, [HumanMessage("a")])
        await call(memory.store.batch, [PutOp(("a", str(n)), "k", {"text": "words"}) for n in range(5)])
        await call(graph_on(memory).invoke, {"messages": [HumanMessage(BIG)]}, config("1", "alice"))
        await call(memory.sessions.delete, "s", user_id="alice")
        await call(memory.store.batch, [PutOp(("a", str(n)), "k", None) for n in range(5)])
        await call(memory.checkpointer.delete_thread, "1")
        # The root's last stamp stays, so that none is ever given twice; the root is unlisted an hour later. The tokens expire.
        assert keys.names().keys() <= {"schema", "language", "tokens", "clock", "edits", "roots", "expiring-roots"}
        await call(memory.close)
