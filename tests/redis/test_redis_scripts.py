"""How the Redis backend talks to its servers: scripts, round trips, slots, and nothing but core commands."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from importlib.resources import files
from itertools import takewhile
from typing import Any

import pytest
import redis
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.store.base import GetOp, PutOp
from redis.crc import key_slot

from langchain_agentmem import AgentMemory
from langchain_agentmem.backends.redis.protocol import packed
from langchain_agentmem.backends.redis.session_keys import LUA
from langchain_agentmem.backends.statements import load_statements

BIG = "long enough to be stored by reference " * 10
CONFIG: Any = {"configurable": {"thread_id": "1", "user_id": "alice"}}

CORE_COMMANDS = {
    *("get", "set", "append", "strlen", "getrange", "setrange", "exists", "unlink", "dump", "restore"),
    *("pttl", "pexpire", "pexpireat", "persist", "time", "rename"),
    *("hget", "hset", "hsetnx", "hmget", "hdel", "hlen", "hkeys", "hvals", "hgetall", "hexists", "hincrby", "hscan"),
    *("zadd", "zrem", "zscore", "zrange", "zrevrange", "zrangebyscore", "zrevrangebyscore", "zcard"),
    *("zrangebylex", "zrevrangebylex", "zlexcount", "zremrangebyscore"),
    *("sadd", "sismember", "spop"),
    *("xadd", "xdel", "xlen", "xrange", "xrevrange"),
    *("eval", "evalsha", "script", "multi", "exec"),
    "scan",  # once, when the memory is made: a thousand keys of each server
    *("info", "hello", "client", "ping", "auth", "select", "command", "cluster", "config", "flushall"),
}
"""What the scripts use, and what clients say when they connect."""


def masters(url: str) -> list[redis.Redis]:
    """A client for each server."""
    scheme, _, rest = url.partition("://")
    if "cluster" not in scheme:
        return [redis.Redis.from_url(url)]
    with redis.RedisCluster.from_url(f"redis://{rest}") as cluster:
        return [redis.Redis(host=node.host, port=node.port) for node in cluster.get_primaries()]


@pytest.fixture
def servers(any_redis_url: str) -> Iterator[list[redis.Redis]]:
    clients = masters(any_redis_url)
    yield clients
    for client in clients:
        client.close()


class Trips:
    """Counts how often redis-py sends something to a server."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        for kind in (redis.connection.AbstractConnection, redis.asyncio.connection.AbstractConnection):
            monkeypatch.setattr(kind, "send_packed_command", self._counted(kind.send_packed_command))

    def _counted(self, send: Any) -> Any:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            return send(*args, **kwargs)

        return counted

    def of(self, action: Any) -> int:
        before = self.count
        result = action()
        if asyncio.iscoroutine(result):
            raise TypeError("use aof")
        return self.count - before

    async def aof(self, action: Any) -> int:
        before = self.count
        await action()
        return self.count - before


def graph_on(memory: AgentMemory) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("reply", lambda state: {"messages": [AIMessage(f"{len(state['messages'])} {BIG}")]})
    builder.add_edge(START, "reply")
    return builder.compile(checkpointer=memory.checkpointer, store=memory.store)


async def use_everything(memory: AgentMemory, call: Any) -> None:
    """Every operation of every surface, at least once."""
    history = memory.history("s", user_id="alice", agent="writer")
    await call(history.add_messages, [HumanMessage("hello"), AIMessage("there")])
    assert await call(history.count) == 2
    assert len(await call(history.get_recent, 5)) == 2
    assert len(await call(memory.sessions.list, user_id="alice")) == 1
    await call(memory.sessions.rename, "s", "title", user_id="alice")
    await call(history.clear)
    store = memory.store
    await call(store.batch, [PutOp((root, "x"), "k", {"text": f"the {root} runs", "n": 1}) for root in ("a", "b", "c")])
    await call(store.put, ("a", "x"), "ttl", {"n": 2}, ttl=5)
    assert len(await call(store.batch, [GetOp(("a", "x"), "k"), GetOp(("b", "x"), "k")])) == 2
    assert len(await call(store.search, (), query="running")) == 3
    assert len(await call(store.search, ("a",), filter={"n": 2})) == 1
    assert len(await call(store.list_namespaces)) == 3
    await call(store.update, ("a", "x"), "k", lambda value: {**value, "n": 3})
    await call(store.delete, ("c", "x"), "k")
    graph, saver = graph_on(memory), memory.checkpointer
    for _ in range(3):
        await call(graph.invoke, {"messages": [HumanMessage(BIG)]}, CONFIG)
    assert len(await call(saver.list, None)) == 9
    assert [one.thread_id for one in await call(saver.threads, user_id="alice")] == ["1"]
    await call(saver.copy_thread, "1", "2")
    await call(saver.prune, ["2"])
    assert len((await call(graph.get_state, CONFIG)).values["messages"]) == 6
    await call(saver.delete_for_runs, ["no such run"])
    await call(saver.set_ttl, "2", 100)
    await call(saver.delete_thread, "2")
    await call(memory.sessions.delete, "s", user_id="alice")
    await call(memory.sweep)


async def test_only_core_commands_are_used_and_none_that_looks_at_all_keys(any_redis_url, servers, call):
    for server in servers:
        server.config_resetstat()
    with AgentMemory.from_url(any_redis_url) as memory:
        await use_everything(memory, call)
        await call(memory.close)
    used: Counter[str] = Counter()
    for server in servers:
        for name, told in server.info("commandstats").items():
            used[name.removeprefix("cmdstat_").partition("|")[0]] += told["calls"]
    assert {"evalsha", "zadd", "xadd", "hget"} <= used.keys()
    # One page of a new database's keys is looked at, for what other packages have stored.
    assert used.pop("scan", 0) <= len(servers)
    assert used.keys() <= CORE_COMMANDS


async def test_scripts_that_the_server_forgot_are_sent_again(any_redis_url, servers, call, monkeypatch):
    from langchain_agentmem.backends.redis.exchange import Exchange

    forgotten = 0
    perform, aperform = Exchange.perform, Exchange.aperform

    def forget(step: Any) -> None:
        nonlocal forgotten
        if not any(command[0] == "EVAL" for part in step.parts for command in part.commands):
            forgotten += 1
            for server in servers:
                server.script_flush()

    def flushed(step: Any) -> Any:
        forget(step)
        return perform(step)

    async def aflushed(step: Any) -> Any:
        await asyncio.to_thread(forget, step)  # which blocks
        return await aperform(step)

    monkeypatch.setattr(Exchange, "perform", flushed)
    monkeypatch.setattr(Exchange, "aperform", aflushed)
    with AgentMemory.from_url(any_redis_url) as memory:
        await use_everything(memory, call)
        await call(memory.close)
    assert forgotten > 60


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_each_operation_is_one_round_trip(redis_url, monkeypatch, kind):
    trips = Trips(monkeypatch)

    async def cost(method: Any, *args: Any, **kwargs: Any) -> int:
        if kind == "sync":
            return trips.of(lambda: method(*args, **kwargs))
        twin = getattr(method.__self__, f"a{method.__name__}")
        return await trips.aof(lambda: twin(*args, **kwargs))

    with AgentMemory.from_url(redis_url, ttl=1000) as memory:
        history = memory.history("s", user_id="alice", max_messages=40)
        store, saver, graph = memory.store, memory.checkpointer, graph_on(memory)
        read = history.aget_messages if kind == "async" else lambda: history.messages
        await use_everything(memory, _caller(kind))  # from here on the scripts are known, and connections are open
        memory.sweep()
        assert await cost(history.add_messages, [HumanMessage("a"), AIMessage("b")]) == 1
        assert (await trips.aof(read) if kind == "async" else trips.of(read)) == 1
        assert await cost(store.put, ("a",), "k", {"text": "words"}, ttl=None) == 1
        assert await cost(store.get, ("a",), "k") == 1
        assert await cost(store.delete, ("a",), "k") == 1
        assert await cost(store.batch, [PutOp((root,), "k", {"n": 1}, ttl=None) for root in "abcdefgh"]) == 1
        assert await cost(store.batch, [GetOp((root,), "k") for root in "abcdefgh"]) == 1
        latest = saver.get_tuple(CONFIG)
        assert latest is not None
        assert await cost(saver.get_tuple, CONFIG) == 1
        checkpoint: Any = {**latest.checkpoint, "id": "ff"}
        place: Any = {"configurable": {**latest.config["configurable"], "user_id": "alice"}}
        assert await cost(saver.put, place, checkpoint, {}, {}) == 1
        assert await cost(saver.put_writes, place, [("messages", [HumanMessage(BIG)])], "task") == 1
        assert len(graph.get_state(CONFIG).values["messages"]) == 6
        if kind == "async":
            await memory.aclose()


def _caller(kind: str) -> Any:
    async def call(method: Any, *args: Any, **kwargs: Any) -> Any:
        if kind == "sync":
            result = method(*args, **kwargs)
            return list(result) if isinstance(result, Iterator) else result
        result = getattr(method.__self__, f"a{method.__name__}")(*args, **kwargs)
        return [one async for one in result] if hasattr(result, "__aiter__") else await result

    return call


async def test_what_belongs_together_lies_in_one_slot_and_the_rest_is_spread(any_redis_url, servers, call):
    with AgentMemory.from_url(any_redis_url) as memory:
        for number in range(20):
            await call(memory.history(str(number)).add_messages, [HumanMessage("a")])
            await call(memory.store.put, (f"root {number}", "x"), "k", {"text": "a"})
            await call(
                graph_on(memory).invoke,
                {"messages": [HumanMessage(BIG)]},
                {"configurable": {"thread_id": str(number)}},
            )
        await call(memory.close)
    keys = [key for server in servers for key in server.scan_iter()]
    assert all(key.startswith(b"agentmem:{") for key in keys)
    by_tag: dict[bytes, set[bytes]] = {}
    for key in keys:
        tag, _, name = key.removeprefix(b"agentmem:{").partition(b"}:")
        by_tag.setdefault(tag, set()).add(name.partition(b":")[0])
    assert sum(names >= {b"session", b"messages"} for names in by_tag.values()) == 20
    assert sum(names >= {b"namespaces", b"items", b"item"} for names in by_tag.values()) == 20
    assert sum(names >= {b"thread", b"checkpoints", b"order", b"elements"} for names in by_tag.values()) == 20
    assert len({key_slot(tag) for tag in by_tag}) > 50


async def test_a_batch_over_several_roots_is_stored_whole_or_not_at_all(redis_url, call):
    with AgentMemory.from_url(redis_url) as memory, redis.Redis.from_url(redis_url) as client:
        await call(memory.store.put, ("a",), "k", {"n": 1})
        client.config_set("maxmemory", 1)
        try:
            with pytest.raises(Exception, match="Nothing was stored"):
                await call(memory.store.batch, [PutOp((root,), "k", {"n": 2}) for root in "abc"])
        finally:
            client.config_set("maxmemory", 0)
        assert [item.value for item in await call(memory.store.search, ())] == [{"n": 1}]
        await call(memory.close)


SCRIPTS = sorted(one.name for one in files("langchain_agentmem.backends.redis").iterdir() if one.name.endswith(".lua"))


@pytest.mark.parametrize("file", [name for name in SCRIPTS if name != "common.lua"])
def test_each_script_states_its_purpose_its_keys_and_its_arguments(file):
    for name, script in load_statements("langchain_agentmem.backends.redis", file).items():
        comment = "\n".join(takewhile(lambda line: line.startswith("--"), script.splitlines()))
        assert name == "shared" or re.match(r"-- [A-Z](?:.*\n--){0,3}.*\.\n-- KEYS: .+\n-- ARGV: .+", comment), (
            name,
            comment,
        )


def test_one_function_decides_what_is_alive():
    sources = {
        file: files("langchain_agentmem.backends.redis").joinpath(f"{file}.lua").read_text(encoding="utf-8")
        for file in ("common", "checkpoints", "history", "indexes", "store")
    }
    comparisons = [
        (file, line) for file, text in sources.items() for line in text.splitlines() if re.search(r"[<>]=? now\b", line)
    ]
    assert comparisons == [("common", "  return at == 0 or at > now")]


@pytest.mark.parametrize("length", [0, 1, 49_999, 50_000, 200_000])
def test_commands_are_packed_as_redis_py_packs_them(length):
    commands = [("EVALSHA", "é", 3, b"\x00" * length, 0.1, -7, "", b"end"), ("MULTI",), ("GET", "k" * length)]
    expected = b"".join(redis.connection.Connection().pack_commands(commands))
    assert b"".join(packed(commands)) == expected
    assert len(packed(commands)) == (1 if length < 50_000 else 5)


def test_a_script_contains_the_functions_that_it_calls_and_no_others():
    for script in LUA.values():
        defined = re.findall(r"^local function (\w+)", script.source, re.MULTILINE)
        assert all(len(re.findall(rf"\b{name}\b", script.source)) > 1 for name in defined)
    assert "local function record(" in LUA["window"].source
    assert "local function compact(" not in LUA["window"].source
