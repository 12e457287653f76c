"""LangGraph's cache on every backend: its own tests in our words, graphs, tasks, TTLs, damage, and what `forget` does."""

from __future__ import annotations

import logging
import operator
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, TypedDict

import pytest
from conftest import new_url
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.cache.base import BaseCache
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import CachePolicy, Command, Send, interrupt

from langchain_agentmem import (
    AgentMemCache,
    AgentMemory,
    Guard,
    InvalidInputError,
    InvalidTypeError,
    StorageClosedError,
    StorageError,
    UnsupportedValueError,
    new_key,
)
from langchain_agentmem.backends.contract import CacheKey, CachePut
from langchain_agentmem.encoding.references import Typed

NODE, OTHER = ("graph", "node"), ("graph", "other")


class Clock:
    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """The clock of the cache, which a test can move."""
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    return clock


# LangGraph's own cases


@pytest.mark.parametrize(
    "value",
    [{"result": 42}, None, [("messages", AIMessage("Hi"))], {"list": list(range(1_000)), "text": "x" * 100_000}],
    ids=["dict", "none", "writes", "large"],
)
async def test_a_value_comes_back_as_from_langgraphs_cache(memory, call, value):
    expected = InMemoryCache()
    expected.set({(NODE, "k"): (value, None)})
    assert await call(memory.cache.set, {(NODE, "k"): (value, None)}) is None
    assert await call(memory.cache.get, [(NODE, "k")]) == expected.get([(NODE, "k")])


async def test_many_values_are_set_and_read_at_once(memory, call):
    keys = [(NODE, "a"), (OTHER, "a"), (("elsewhere",), "c"), ((), "no namespace"), (("a:b", "c-d"), "e_f")]
    await call(memory.cache.set, {key: (number, 60 if number % 2 else None) for number, key in enumerate(keys)})
    assert await call(memory.cache.get, [*keys, (NODE, "missing")]) == {key: at for at, key in enumerate(keys)}
    assert await call(memory.cache.get, tuple(keys[:1] * 3)) == {keys[0]: 0}


async def test_no_keys_and_no_values(memory, call):
    assert await call(memory.cache.get, []) == {}
    await call(memory.cache.set, {})
    await call(memory.cache.clear, [])
    await call(memory.cache.clear)


async def test_a_value_lives_as_long_as_its_ttl(memory, call, clock):
    keys = [(NODE, name) for name in ("short", "long", "ever", "delta", "none", "past")]
    ttls = (10, 20.5, None, timedelta(seconds=15), 0, -5)
    await call(memory.cache.set, {key: ("v", ttl) for key, ttl in zip(keys, ttls, strict=True)})
    assert [key for _, key in await call(memory.cache.get, keys)] == ["short", "long", "ever", "delta"]
    clock.now += 12
    assert [key for _, key in await call(memory.cache.get, keys)] == ["long", "ever", "delta"]
    await call(memory.cache.set, {keys[0]: ("again", None)})
    clock.now += 10
    assert [key for _, key in await call(memory.cache.get, keys)] == ["short", "ever"]
    assert await call(memory.sweep) == 4
    assert (await call(memory.stats)).entries["cache_entries"] == 2


async def test_namespaces_are_cleared(memory, call):
    keys = [(NODE, "a"), (OTHER, "a"), ((*NODE, "inner"), "a"), (NODE[:1], "a")]
    await call(memory.cache.set, dict.fromkeys(keys, (1, None)))
    await call(memory.cache.clear, [NODE, OTHER])
    assert [*await call(memory.cache.get, keys)] == keys[2:]
    await call(memory.cache.clear)
    assert await call(memory.cache.get, keys) == {}


# Graphs


class State(TypedDict):
    number: int
    log: Annotated[list[str], operator.add]


def counting_graph(cache: Any, policy: CachePolicy, calls: list[int], **options: Any) -> Any:
    def double(state: State) -> dict[str, Any]:
        calls.append(state["number"])
        return {"number": 2 * state["number"], "log": [f"doubled {state['number']}"]}

    builder = StateGraph(State)
    builder.add_node("double", double, cache_policy=policy)
    builder.add_node("note", lambda state: {"log": [f"noted {state['number']}"]})
    builder.add_edge(START, "double")
    builder.add_edge("double", "note")
    return builder.compile(cache=cache, **options)


@pytest.fixture
def invoke(call) -> Callable[..., Any]:
    async def invoked(graph: Any, given: Any, config: Any = None) -> Any:
        return await call(graph.invoke, given, config)

    return invoked


async def test_a_node_runs_once_for_an_input(memory, call, invoke):
    calls: list[int] = []
    graph = counting_graph(memory.cache, CachePolicy(), calls, checkpointer=memory.checkpointer, store=memory.store)
    expected = counting_graph(InMemoryCache(), CachePolicy(), []).invoke({"number": 3, "log": []})
    for thread in ("1", "2"):
        result = await invoke(graph, {"number": 3, "log": []}, {"configurable": {"thread_id": thread}})
        assert result == expected == {"number": 6, "log": ["doubled 3", "noted 6"]}
    parts = await call(graph.stream, {"number": 3, "log": []}, {"configurable": {"thread_id": "3"}})
    assert parts[0]["__metadata__"] == {"cached": True}
    assert calls == [3]
    await invoke(graph, {"number": 4, "log": []}, {"configurable": {"thread_id": "1"}})
    assert calls == [3, 4]


async def test_a_cached_node_runs_again_after_its_ttl_or_clear_cache(memory, call, invoke, clock):
    calls: list[int] = []
    graph = counting_graph(memory.cache, CachePolicy(ttl=60), calls)
    for _ in range(2):
        await invoke(graph, {"number": 1, "log": []})
    assert calls == [1]
    clock.now += 61
    for _ in range(2):
        await invoke(graph, {"number": 1, "log": []})
    assert calls == [1, 1]
    await call(graph.clear_cache, ["note"])
    await invoke(graph, {"number": 1, "log": []})
    assert calls == [1, 1]
    await call(graph.clear_cache)
    await invoke(graph, {"number": 1, "log": []})
    assert calls == [1, 1, 1]


async def test_a_key_function_chooses_the_input_that_counts(memory, invoke):
    calls: list[int] = []
    policy = CachePolicy(key_func=lambda state: f"{state['number'] % 10}\x00anything")
    graph = counting_graph(memory.cache, policy, calls)
    assert (await invoke(graph, {"number": 3, "log": []}))["number"] == 6
    assert (await invoke(graph, {"number": 13, "log": []}))["number"] == 6
    assert calls == [3]


async def test_tasks_are_cached_across_interrupts(memory, call, invoke):
    """The case of LangGraph's own tests: each value is computed once, in all runs."""
    calls: list[int] = []

    @task(cache_policy=CachePolicy(ttl=600))
    def double(number: int) -> int:
        calls.append(number)
        return 2 * number

    @entrypoint(checkpointer=memory.checkpointer, cache=memory.cache)
    def graph(_: dict) -> dict:
        values: list[Any] = []
        for number in (1, 1, 2):
            values += [double(number).result(), interrupt("go on?")]
        return {"values": values}

    async def run(thread: str) -> Any:
        config = {"configurable": {"thread_id": thread}}
        result = await invoke(graph, {}, config)
        for answer in "abc":
            result = await invoke(graph, Command(resume=answer), config)
        return result

    for thread in ("1", "2"):
        assert await run(thread) == {"values": [2, "a", 2, "b", 4, "c"]}
    assert calls == [1, 2]
    await call(double.clear_cache, memory.cache)
    await run("3")
    assert calls == [1, 2, 1, 2]


async def test_parallel_tasks_are_cached_one_by_one(memory, invoke):
    calls: list[int] = []

    def work(given: dict[str, int]) -> dict[str, Any]:
        calls.append(given["number"])
        return {"log": [f"worked {given['number']}"]}

    builder = StateGraph(State)
    builder.add_node("work", work, cache_policy=CachePolicy())
    builder.add_conditional_edges(START, lambda state: [Send("work", {"number": at}) for at in range(state["number"])])
    graph = builder.compile(cache=memory.cache)
    for number in (3, 5):
        result = await invoke(graph, {"number": number, "log": []})
        assert result["log"] == [f"worked {at}" for at in range(number)]
    assert sorted(calls) == [0, 1, 2, 3, 4]


async def test_messages_of_a_cached_node_come_back(memory, invoke):
    calls: list[int] = []

    def reply(state: MessagesState) -> dict[str, Any]:
        calls.append(1)
        return {"messages": [AIMessage(f"{len(calls)}", id="answer")]}

    builder = StateGraph(MessagesState)
    builder.add_node("reply", reply, cache_policy=CachePolicy(ttl=60)).add_edge(START, "reply")
    graph = builder.compile(cache=memory.cache)
    results = [await invoke(graph, {"messages": [HumanMessage("Hi", id="question")]}) for _ in range(2)]
    assert results[0] == results[1]
    assert len(calls) == 1


# The database


async def test_tenants_have_caches_of_their_own(memory, call):
    other = AgentMemory(memory.backend, tenant="other")
    for number, one in enumerate((memory, other)):
        await call(one.cache.set, {(NODE, "k"): (number, None)})
    await call(memory.cache.clear)
    assert await call(memory.cache.get, [(NODE, "k")]) == {}
    assert await call(other.cache.get, [(NODE, "k")]) == {(NODE, "k"): 1}


async def test_a_cache_stands_alone(lasting_url, call):
    with AgentMemCache.from_url(lasting_url, ttl=3_600) as cache:
        assert isinstance(cache, BaseCache)
        await call(cache.set, {(NODE, "k"): ("v", None)})
    with pytest.raises(StorageClosedError):
        await call(cache.get, [(NODE, "k")])
    with pytest.raises(StorageClosedError):
        await call(cache.set, {(NODE, "k"): ("v", None)})
    async with AgentMemCache(lasting_url) as again:
        await again.setup()
        assert await call(again.get, [(NODE, "k")]) == {(NODE, "k"): "v"}
    assert repr(cache).endswith("tenant='default', ttl=3600)")
    assert "3600" in cache._repr_html_() or "3,600" in cache._repr_html_()


async def test_the_ttl_of_a_memory_is_that_of_entries_without_one(url, call, clock):
    with AgentMemory.from_url(url, ttl=timedelta(hours=1)) as memory:
        await call(memory.cache.set, {(NODE, "default"): (1, None), (NODE, "own"): (2, 7_200)})
        clock.now += 3_601
        assert await call(memory.cache.get, [(NODE, "default"), (NODE, "own")]) == {(NODE, "own"): 2}


async def test_cleanup_deletes_old_entries(memory, call, clock):
    await call(memory.cache.set, {(NODE, str(number)): (number, None) for number in range(150)})
    clock.now += 10
    await call(memory.cache.set, {(NODE, "new"): ("new", None)})
    for dry_run in (True, False):
        assert (await call(memory.cleanup, 5, dry_run=dry_run)).cache_entries == 150
    assert (await call(memory.cleanup, 5)).cache_entries == 0
    assert await call(memory.cache.get, [(NODE, "new"), (NODE, "0")]) == {(NODE, "new"): "new"}
    assert (await call(memory.cleanup, 5, kinds=["sessions"])).cache_entries == 0


async def test_forget_clears_the_cache(memory, call):
    await call(memory.cache.set, {(NODE, "k"): ([("answer", "Ask alice@example.com about it")], None)})
    (found,) = await call(memory.find_traces, "alice@example.com")
    assert (found.form, found.count) == ("text", 1)
    receipt = await call(memory.forget, "alice@example.com")
    assert receipt.deleted["cache_entries"] == 1
    assert await call(memory.find_traces, "alice@example.com") == []
    assert await call(memory.cache.get, [(NODE, "k")]) == {}


async def test_an_export_has_no_cache(memory, call, tmp_path):
    await call(memory.cache.set, {(NODE, "k"): ("a cached secret", None)})
    await call(memory.export, tmp_path / "out.jsonl")
    assert "secret" not in (tmp_path / "out.jsonl").read_text(encoding="utf-8")


async def test_nothing_of_an_encrypted_cache_is_readable(url, call, clock):
    with AgentMemory.from_url(url, key=new_key()) as memory:
        await call(memory.cache.set, {(("secret label",), "secret key"): ("secret value", 60)})
        assert await call(memory.cache.get, [(("secret label",), "secret key")]) == {
            (("secret label",), "secret key"): "secret value"
        }
        assert await call(AgentMemory(memory.backend.inner, tenant="probe").find_traces, "secret") == []
        clock.now += 61
        assert await call(memory.cache.get, [(("secret label",), "secret key")]) == {}


async def test_an_entry_is_moved_or_prolonged_by_nobody(url, call, clock, caplog):
    with AgentMemory.from_url(url, key=new_key()) as memory:
        await call(memory.cache.set, {(NODE, "a"): (1, 60), (NODE, "b"): (2, 60)})
        own, inner = memory.backend.cache, memory.backend.inner
        first, second = (own._address(CacheKey(NODE, name)) for name in "ab")
        stored, _ = inner.read(inner.cache.get("default", [first, second], clock.now))
        inner.write(inner.cache.set("default", [CachePut(second, stored), CachePut(first, stored)], clock.now))
        with caplog.at_level(logging.WARNING, "langchain_agentmem"):
            assert await call(memory.cache.get, [(NODE, "a"), (NODE, "b")]) == {(NODE, "a"): 1}
        assert "altered" in caplog.text
        clock.now += 61
        assert await call(memory.cache.get, [(NODE, "a")]) == {}


async def test_a_rotated_key_keeps_the_entries(url, call, monkeypatch):
    monkeypatch.setattr("langchain_agentmem.lifecycle.rotation.WAIT_SECONDS", 0.0)
    old, new = new_key(), new_key()
    key = (NODE, "k")
    with AgentMemory.from_url(url, key=old) as memory:
        inner = memory.backend.inner

        def stored() -> bytes:
            (row,) = inner.read(
                inner.cache.get("default", [memory.backend.cache._address(CacheKey(*key))], time.time())
            )
            return bytes(row.data)

        await call(memory.cache.set, {key: ("v" * 500, 600)})
        before = stored()
        await call(memory.rotate_key, old, new)
        assert stored() != before
        assert await call(memory.cache.get, [key]) == {key: "v" * 500}


async def test_an_entry_under_an_unknown_data_key_is_a_miss(url, call, clock, caplog):
    with AgentMemory.from_url(url, key=new_key()) as memory:
        await call(memory.cache.set, {(NODE, "a"): (1, 60)})
        own, inner = memory.backend.cache, memory.backend.inner
        address = own._address(CacheKey(NODE, "a"))
        ((type_, data),) = inner.read(inner.cache.get("default", [address], clock.now))
        data = data[:3] + bytes(5) + data[8:]
        inner.write(inner.cache.set("default", [CachePut(address, Typed(type_, data))], clock.now))
        with caplog.at_level(logging.WARNING, "langchain_agentmem"):
            for _ in range(2):
                assert await call(memory.cache.get, [(NODE, "a")]) == {}
        assert "its data key is not known" in caplog.text


# Faults


@dataclass
class Point:
    x: int


async def test_an_entry_that_cannot_be_read_is_a_miss(memory, call, invoke, caplog, monkeypatch):
    await call(memory.cache.set, {(NODE, "good"): ("v", None), (NODE, "gone"): (Point(1), None)})
    assert await call(memory.cache.get, [(NODE, "gone")]) == {(NODE, "gone"): Point(1)}
    broken = [Typed("msgpack", b"\xc1"), Typed("unknown", b""), Typed("json", b"{")]
    keys = [CacheKey(NODE, str(number)) for number in range(3)]
    puts = [CachePut(*pair) for pair in zip(keys, broken, strict=True)]
    memory.backend.write(memory.backend.cache.set("default", puts, time.time()))
    monkeypatch.delattr(f"{__name__}.Point")
    with caplog.at_level(logging.WARNING, "langchain_agentmem"):
        found = await call(memory.cache.get, [*keys, (NODE, "good"), (NODE, "gone")])
    assert found == {(NODE, "good"): "v"}
    assert caplog.text.count("cannot be read") == 3
    assert "class that does not exist any more" in caplog.text


@pytest.mark.parametrize("url", ["postgresql://u@127.0.0.1:9/x?timeout=0.2", "redis://127.0.0.1:9?timeout=0.2"])
async def test_a_database_that_cannot_be_reached_is_a_miss(url, call, invoke, caplog):
    calls: list[int] = []
    with AgentMemCache.from_url(url) as cache:
        graph = counting_graph(cache, CachePolicy(), calls)
        with caplog.at_level(logging.WARNING, "langchain_agentmem.caching"):
            for _ in range(2):
                assert (await invoke(graph, {"number": 1, "log": []}))["number"] == 2
        assert calls == [1, 1]
        assert "The cache cannot be read" in caplog.text
        assert "The cache cannot be written" in caplog.text
        with pytest.raises(StorageError, match=r"127\.0\.0\.1"):
            await call(cache.clear)


@pytest.mark.parametrize(
    ("method", "given", "error", "message"),
    [
        ("get", "ab", InvalidTypeError, "keys must be a list"),
        ("get", ["ab"], InvalidTypeError, "A cache key must be a pair"),
        ("get", [("ns", "k")], InvalidTypeError, "A cache namespace must be a tuple of strings"),
        ("get", [(("ns", 1), "k")], InvalidTypeError, "A label of a cache namespace must be a string"),
        ("get", [(NODE, "k\x00")], InvalidInputError, "NUL"),
        ("get", [(NODE, None)], InvalidTypeError, "A cache key must be a string"),
        ("set", [1], InvalidTypeError, "must be a mapping"),
        ("set", {(NODE, "k"): 1}, InvalidTypeError, "must be a pair of a value and a TTL"),
        ("set", {(NODE, "k"): (1, "60")}, InvalidTypeError, "The TTL of a cache entry must be"),
        ("set", {(NODE, "k"): (1, True)}, InvalidTypeError, "The TTL of a cache entry must be"),
        ("set", {(NODE, "k"): (1, float("nan"))}, InvalidInputError, "less than 3,000 years"),
        ("set", {(NODE, "k"): (1, None), (NODE, "l"): (object(), None)}, UnsupportedValueError, "cannot be stored"),
        ("clear", "graph", InvalidTypeError, "namespaces must be a list"),
        ("clear", ["graph"], InvalidTypeError, "A cache namespace must be a tuple of strings"),
    ],
)
async def test_other_arguments_are_refused(sqlite_memory, call, method, given, error, message):
    with pytest.raises(error, match=message):
        await call(getattr(sqlite_memory.cache, method), given)
    assert sqlite_memory.stats().entries["cache_entries"] == 0


async def test_a_result_with_a_credential_is_not_cached(sqlite_url, call, invoke):
    secret = "hf_abcdefghijklmnopqrstuvwxyz0123456789"
    calls: list[int] = []

    def reply(state: MessagesState) -> dict[str, Any]:
        calls.append(1)
        return {"messages": [AIMessage(f"{state['messages'][-1].text} {len(calls)}", id="answer")]}

    builder = StateGraph(MessagesState)
    builder.add_node("reply", reply, cache_policy=CachePolicy()).add_edge(START, "reply")
    for action in ("reject", "redact"):
        with AgentMemory.from_url(sqlite_url, guard=Guard(action)) as memory:
            graph = builder.compile(cache=memory.cache)
            for text, runs in (("Hello", 1), (secret, 2)):
                calls.clear()
                await call(memory.cache.clear)
                for _ in range(2):
                    result = await invoke(graph, {"messages": [HumanMessage(text, id="question")]})
                    assert result["messages"][0].text == text
                assert len(calls) == runs


async def test_the_serializer_is_the_given_one(sqlite_url, call):
    class Recording(JsonPlusSerializer):
        def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
            return "mine", repr(obj).encode()

        def loads_typed(self, data: tuple[str, bytes]) -> Any:
            assert data[0] == "mine"
            return f"read {data[1].decode()}"

    with AgentMemCache.from_url(sqlite_url, serde=Recording()) as cache:
        await call(cache.set, {(NODE, "k"): (1, None)})
        assert await call(cache.get, [(NODE, "k")]) == {(NODE, "k"): "read 1"}
    with pytest.raises(InvalidTypeError, match="dumps_typed"):
        AgentMemCache(sqlite_url, serde=5)


def fill(url: str, name: str) -> int:
    """In a process: run a graph whose node all processes cache, and write entries of its own."""
    with AgentMemCache.from_url(url) as cache:
        for number in range(20):
            pairs = {(("shared",), str(at)): (at, 60) for at in range(5)} | {(("own", name), str(number)): (name, None)}
            cache.set(pairs)
            assert cache.get([(("own", name), str(number))]) == {(("own", name), str(number)): name}
        return len(cache.get([(("shared",), str(at)) for at in range(5)]))


@pytest.mark.parametrize("backend", ["sqlite-file", "postgres", "redis"])
def test_processes_share_a_cache(backend, processes, tmp_path):
    url = new_url(backend, tmp_path)
    assert processes.together(fill, url) == [5] * 8
    with AgentMemCache.from_url(url) as cache:
        assert (
            cache.engine.backend.read(cache.engine.backend.cache.count("default", time.time() + 1, time.time())) == 165
        )
