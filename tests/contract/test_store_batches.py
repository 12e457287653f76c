"""The store: batches, callers at the same time, and LangGraph's own store as the reference."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from database import database
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langgraph.store.base import (
    GetOp,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchOp,
)
from langgraph.store.memory import InMemoryStore

from langchain_agentmem import (
    AgentMemory,
    AgentMemStore,
    InvalidInputError,
    StorageError,
)

NS = ("memories",)


@pytest.fixture
def store(memory) -> AgentMemStore:
    return memory.store


# Batches


async def test_in_a_batch_reads_see_the_state_before_and_results_come_in_order(store, call):
    await call(store.put, NS, "a", {"n": 1})
    results = await call(
        store.batch,
        [
            PutOp(NS, "a", {"n": 2}),
            GetOp(NS, "a"),
            SearchOp(NS),
            PutOp(("new",), "b", {"n": 3}),
            ListNamespacesOp(),
            GetOp(("new",), "b"),
            PutOp(NS, "a", None),
            GetOp(NS, "missing"),
        ],
    )
    assert results[0] is results[3] is results[5] is results[6] is results[7] is None
    assert results[1].value == {"n": 1}
    assert [item.value for item in results[2]] == [{"n": 1}]
    assert results[4] == [NS]
    assert await call(store.list_namespaces) == [("new",)]


async def test_in_a_batch_the_last_put_to_a_key_wins(store, call):
    await call(store.batch, [PutOp(NS, "a", {"n": n}) for n in range(5)])
    assert (await call(store.get, NS, "a")).value == {"n": 4}
    await call(store.batch, [PutOp(NS, "a", {"n": 5}), PutOp(NS, "a", None)])
    assert await call(store.get, NS, "a") is None
    await call(store.batch, [PutOp(NS, "a", None), PutOp(NS, "a", {"n": 6})])
    assert (await call(store.get, NS, "a")).value == {"n": 6}


async def test_an_empty_batch_does_nothing(store, call):
    assert await call(store.batch, []) == []
    assert await call(store.batch, iter([])) == []


async def test_a_large_batch_is_stored_whole(store, call):
    await call(store.batch, (PutOp(("n", str(n % 7)), str(n), {"n": n}) for n in range(2000)))
    items = await call(store.search, (), limit=5000)
    assert sorted(item.value["n"] for item in items) == list(range(2000))


BAD_OPS = {
    "surrogate": PutOp(NS, "bad", {"a": "\ud800"}),
    "no json": PutOp(NS, "bad", {"a": {1}}),
    "namespace": PutOp((), "bad", {"a": 1}),
    "key": PutOp(NS, "", {"a": 1}),
    "ttl": PutOp(NS, "bad", {"a": 1}, ttl=-1),
    "index": PutOp(NS, "bad", {"a": 1}, index="text"),
    "filter": SearchOp(NS, filter={"a": {"$near": 1}}),
    "limit": SearchOp(NS, limit=-1),
    "query": SearchOp(NS, query=7),
    "get": GetOp(("",), "a"),
    "list": ListNamespacesOp((MatchCondition("infix", ("a",)),)),
    "no operation": "put",
}


@pytest.mark.parametrize("bad", BAD_OPS.values(), ids=BAD_OPS)
@pytest.mark.parametrize("first", [True, False])
async def test_a_batch_with_an_operation_that_fails_writes_nothing(store, call, bad, first):
    await call(store.put, NS, "a", {"n": 1})
    good = [PutOp(NS, "a", {"n": 2}), PutOp(NS, "b", {"n": 3}), PutOp(NS, "a", None)]
    with pytest.raises((ValueError, TypeError)):
        await call(store.batch, [bad, *good] if first else [*good, bad])
    assert [(item.key, item.value) for item in await call(store.search, ())] == [("a", {"n": 1})]


async def test_a_batch_that_fails_in_the_database_writes_nothing(lasting_url, call):
    with AgentMemory.from_url(lasting_url) as memory, database(lasting_url) as opened:
        await call(memory.store.put, NS, "a", {"n": 1})
        opened.refuse()
        try:
            with pytest.raises(StorageError, match="no"):
                await call(memory.store.batch, [PutOp(NS, "a", {"n": 2}), PutOp(NS, "b", {}), PutOp(NS, "bad", {})])
        finally:
            opened.accept()
        assert [(item.key, item.value) for item in await call(memory.store.search, ())] == [("a", {"n": 1})]


async def test_a_caller_that_fails_does_not_harm_others_at_the_same_time(store):
    async def good(n: int) -> None:
        await store.aput(NS, str(n), {"n": n})

    async def bad() -> None:
        await store.abatch([PutOp(NS, "bad", {"n": 0}), SearchOp(NS, filter={"a": {"$near": 1}})])

    results = await asyncio.gather(*(good(n) if n % 2 else bad() for n in range(40)), return_exceptions=True)
    assert [type(result) for result in results[::2]] == [InvalidInputError] * 20
    assert results[1::2] == [None] * 20
    assert {item.key for item in await store.asearch(NS, limit=100)} == {str(n) for n in range(1, 40, 2)}


async def test_within_a_task_a_read_sees_the_write_that_was_awaited(store):
    async def task(name: str) -> None:
        for n in range(10):
            await store.aput(NS, name, {"n": n})
            assert (await store.aget(NS, name)).value == {"n": n}
            assert (name, {"n": n}) in [(item.key, item.value) for item in await store.asearch(NS, limit=100)]
        await store.adelete(NS, name)
        assert await store.aget(NS, name) is None

    await asyncio.gather(*(task(f"task-{n}") for n in range(16)))


async def test_sync_and_async_share_one_store(store):
    store.put(NS, "a", {"n": 1})
    await store.aput(NS, "b", {"n": 2})
    assert {item.key for item in store.search(NS)} == {item.key for item in await store.asearch(NS)} == {"a", "b"}


# Against LangGraph's own store, where that is right

label = st.sampled_from(["a", "b", "c", "a.b", "*"])
namespace = st.lists(label, min_size=1, max_size=3).map(tuple)
prefix = st.lists(label, max_size=3).map(tuple)
key = st.sampled_from(["k1", "k2", "k3"])
value = st.fixed_dictionaries(
    {"n": st.integers(0, 12), "color": st.sampled_from(["red", "blue"])},
    optional={
        "tags": st.lists(st.integers(0, 2), max_size=2),
        "shape": st.fixed_dictionaries({"corners": st.integers(3, 5)}),
    },
)


class Reference(InMemoryStore):
    """LangGraph's store without the namespaces that a read or a delete leaves behind."""

    def _handle_list_namespaces(self, op: ListNamespacesOp) -> list[tuple[str, ...]]:
        for empty in [one for one, items in self._data.items() if not items]:
            del self._data[empty]
        return super()._handle_list_namespaces(op)


condition = st.fixed_dictionaries(
    {},
    optional={
        "n": st.integers(0, 12)
        | st.dictionaries(
            st.sampled_from(["$gt", "$gte", "$lt", "$lte", "$eq", "$ne"]), st.integers(0, 12), min_size=1, max_size=2
        ),
        "color": st.sampled_from(["red", "blue", {"$eq": "red"}, {"$ne": "red"}]),
        "tags": st.lists(st.integers(0, 2), max_size=2),
        "shape": st.sampled_from([{"corners": 4}, {"corners": {"$ne": 4}}, None]),
        "missing": st.sampled_from([None, 1]),
    },
)


match = st.tuples(st.sampled_from(["prefix", "suffix"]), st.lists(label, min_size=1, max_size=3).map(tuple))


put = st.tuples(namespace, key, value).map(lambda one: PutOp(*one))


operation = st.one_of(
    put,
    put,
    st.tuples(namespace, key).map(lambda one: PutOp(*one, None)),
    st.tuples(namespace, key).map(lambda one: GetOp(*one)),
    st.tuples(prefix, st.none() | condition, st.sampled_from([3, 1000]), st.sampled_from([0, 0, 2])).map(
        lambda one: SearchOp(*one)
    ),
    st.tuples(
        st.none() | st.lists(match.map(lambda one: MatchCondition(*one)), max_size=2).map(tuple),
        st.none() | st.integers(1, 3),
        st.sampled_from([2, 100]),
        st.sampled_from([0, 0, 1]),
    ).map(lambda one: ListNamespacesOp(*one)),
)


def shown(op: Any, result: Any, everything: dict[Any, Any]) -> Any:
    """A result as far as both stores must agree."""
    if isinstance(op, GetOp):
        return result and (result.namespace, result.key, result.value)
    if isinstance(op, SearchOp):
        found = {(item.namespace, item.key): item.value for item in result}
        assert len(found) == len(result)
        assert all(everything[place] == one for place, one in found.items())
        # The two have different orders: on a page only the number of items is the same.
        return found if op.limit == 1000 and not op.offset else len(found)
    return result


@settings(deadline=None, max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(operation, min_size=1, max_size=5), max_size=8))
async def test_it_behaves_like_langgraphs_store_in_any_sequence_of_batches(store, call, batches):
    await call(
        store.batch, [PutOp(item.namespace, item.key, None) for item in await call(store.search, (), limit=10_000)]
    )
    reference = Reference()
    for ops in batches:
        before = {(item.namespace, item.key): item.value for item in reference.search((), limit=10_000)}
        expected = reference.batch(ops)
        results = await call(store.batch, ops)
        for op, ours, theirs in zip(ops, results, expected, strict=True):
            assert shown(op, ours, before) == shown(op, theirs, before)
    left = {(item.namespace, item.key): item.value for item in await call(store.search, (), limit=10_000)}
    assert left == {(item.namespace, item.key): item.value for item in reference.search((), limit=10_000)}
