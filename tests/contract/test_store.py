"""The store: LangGraph's contract, one operation at a time."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from langgraph.store.base import (
    BaseStore,
    GetOp,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
)

from langchain_agentmem import (
    AgentMemory,
    AgentMemStore,
    FoundItem,
    InvalidInputError,
    InvalidTypeError,
    StorageClosedError,
)

NS = ("memories",)


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def time(self) -> float:
        return self.now

    def moment(self) -> datetime:
        return datetime.fromtimestamp(self.now, UTC)


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.time", clock.time)
    return clock


@pytest.fixture
def store(memory) -> AgentMemStore:
    return memory.store


async def test_an_item_comes_back_with_all_that_belongs_to_it(store, call, clock):
    await call(store.put, ("users", "alice@example.com"), "food", {"likes": "pizza"})
    item = await call(store.get, ("users", "alice@example.com"), "food")
    assert type(item) is Item
    assert item == Item(
        namespace=("users", "alice@example.com"),
        key="food",
        value={"likes": "pizza"},
        created_at=clock.moment(),
        updated_at=clock.moment(),
    )
    (found,) = await call(store.search, ("users",))
    assert type(found) is FoundItem
    assert (found.namespace, found.key, found.value, found.score) == (item.namespace, "food", {"likes": "pizza"}, None)


async def test_it_is_a_store_of_langgraph(store):
    assert isinstance(store, BaseStore)
    assert store.supports_ttl


async def test_what_was_not_stored_is_none(store, call):
    assert await call(store.get, NS, "k") is None
    await call(store.put, NS, "k", {"a": 1})
    assert await call(store.get, NS, "K") is None
    assert await call(store.get, ("memories", "x"), "k") is None
    assert await call(store.get, ("memorie",), "k") is None


async def test_a_second_put_replaces_the_whole_value(store, call):
    await call(store.put, NS, "k", {"a": 1, "b": 2})
    await call(store.put, NS, "k", {"c": 3})
    assert (await call(store.get, NS, "k")).value == {"c": 3}
    assert len(await call(store.search, NS)) == 1


async def test_created_at_survives_an_update_and_updated_at_moves(store, call, clock):
    await call(store.put, NS, "k", {"n": 1})
    created = clock.moment()
    clock.now += 100
    await call(store.put, NS, "k", {"n": 2})
    item = await call(store.get, NS, "k")
    assert (item.created_at, item.updated_at) == (created, clock.moment())
    clock.now += 100
    await call(store.get, NS, "k")
    await call(store.search, NS)
    assert (await call(store.get, NS, "k")).updated_at == item.updated_at


async def test_an_item_stored_again_after_it_was_deleted_is_new(store, call, clock):
    await call(store.put, NS, "k", {"n": 1})
    clock.now += 100
    await call(store.delete, NS, "k")
    await call(store.put, NS, "k", {"n": 2})
    assert (await call(store.get, NS, "k")).created_at == clock.moment()


async def test_deleting_deletes_one_item(store, call):
    for key in ("a", "b"):
        await call(store.put, NS, key, {"n": 1})
    await call(store.delete, NS, "a")
    await call(store.delete, NS, "a")
    await call(store.delete, ("nowhere",), "a")
    assert await call(store.get, NS, "a") is None
    assert [item.key for item in await call(store.search, NS)] == ["b"]


async def test_storing_none_is_refused(store, call):
    with pytest.raises(InvalidTypeError, match="Use delete"):
        await call(store.put, NS, "k", None)


async def test_keys_may_be_numbers_and_uuids_as_in_langgraphs_stores(store, call):
    unique = UUID(int=7)
    await call(store.put, NS, 5, {"a": 1})
    await call(store.put, NS, unique, {"a": 2})
    assert (await call(store.get, NS, "5")).key == "5"
    assert (await call(store.get, NS, 5)).value == {"a": 1}
    assert (await call(store.get, NS, str(unique))).value == {"a": 2}
    await call(store.delete, NS, 5)
    assert await call(store.get, NS, 5) is None


KEYS = [
    "a",
    "A",
    "a.b",
    "a/b:c*?[x]%_",
    "ü€😀",
    "x" * 1024,
    "it's",
    '"',
    "'; DROP TABLE agentmem_items; --",
    "a\nb",
    " ",
    "*",
]


async def test_keys_and_labels_are_arbitrary_and_isolated_from_each_other(store, call):
    places = [((label,), key) for label in KEYS for key in KEYS]
    await call(store.batch, [PutOp(namespace, key, {"n": n}) for n, (namespace, key) in enumerate(places)])
    found = await call(store.batch, [GetOp(namespace, key) for namespace, key in places])
    assert [item.value for item in found] == [{"n": n} for n in range(len(places))]
    assert await call(store.list_namespaces) == sorted((label,) for label in KEYS)
    for label in KEYS:
        assert {item.key for item in await call(store.search, (label,), limit=100)} == set(KEYS)
    await call(store.delete, ("*",), "*")
    assert len(await call(store.search, (), limit=1000)) == len(places) - 1


async def test_labels_do_not_run_into_each_other(store, call):
    for number, namespace in enumerate(
        [("a", "b"), ("ab",), ("a", "b", "c"), ("a", "bc"), ("a.b",), ("a", "b.c"), ("a/b",)]
    ):
        await call(store.put, namespace, "k", {"n": number})
        assert (await call(store.get, namespace, "k")).value == {"n": number}
    assert {item.namespace for item in await call(store.search, ("a", "b"))} == {("a", "b"), ("a", "b", "c")}
    assert {item.namespace for item in await call(store.search, ("a.b",))} == {("a.b",)}


async def test_a_prefix_matches_whole_labels(store, call):
    for user in ("1", "10", "11", "1.0"):
        await call(store.put, ("users", user), "k", {"user": user})
    assert [item.namespace for item in await call(store.search, ("users", "1"))] == [("users", "1")]
    assert await call(store.list_namespaces, prefix=("users", "1")) == [("users", "1")]
    assert await call(store.search, ("user",)) == []


async def test_a_star_is_a_wildcard_in_lists_only(store, call):
    for user in ("*", "a"):
        await call(store.put, ("users", user), "k", {"user": user})
    assert [item.value for item in await call(store.search, ("users", "*"))] == [{"user": "*"}]
    assert await call(store.list_namespaces, prefix=("users", "*")) == [("users", "*"), ("users", "a")]


async def test_deep_namespaces_work(store, call):
    deep = tuple(f"level-{n}" for n in range(100))
    await call(store.put, deep, "k", {"a": 1})
    assert (await call(store.get, deep, "k")).namespace == deep
    assert await call(store.list_namespaces) == [deep]
    assert [item.namespace for item in await call(store.search, deep[:50])] == [deep]


async def test_a_namespace_may_be_given_as_a_list(store, call):
    await call(store.put, ["a", "b"], "k", {"n": 1})
    assert (await call(store.get, ("a", "b"), "k")).namespace == ("a", "b")
    assert await call(store.list_namespaces, prefix=["a"], suffix=["b"]) == [("a", "b")]


@pytest.mark.parametrize(
    "namespace",
    [
        (),
        ("",),
        ("a", ""),
        (1,),
        ("a", None),
        ("a", 2.5),
        "abc",
        None,
        ("\x00",),
        ("\ud800",),
    ],
    ids=ascii,
)
async def test_a_namespace_that_is_not_accepted_is_refused_and_nothing_is_written(store, call, namespace):
    with pytest.raises(InvalidNamespaceError):
        await call(store.put, namespace, "k", {"a": 1})
    with pytest.raises(InvalidNamespaceError):
        await call(store.batch, [PutOp(("fine",), "k", {"a": 1}), PutOp(namespace, "k", {"a": 1})])
    assert await call(store.search, ()) == []


@pytest.mark.parametrize("namespace", [("",), ("a", ""), (1,), ("a", None), "abc"], ids=repr)
async def test_reads_check_namespaces_too(store, call, namespace):
    for method, arguments, named in (
        (store.get, (namespace, "k"), {}),
        (store.search, (namespace,), {}),
        (store.delete, (namespace, "k"), {}),
        (store.list_namespaces, (), {"prefix": namespace}),
        (store.list_namespaces, (), {"suffix": namespace}),
    ):
        with pytest.raises(InvalidNamespaceError):
            await call(method, *arguments, **named)


@pytest.mark.parametrize("namespace", [("langgraph",), ("langgraph", "a"), ["langgraph"]], ids=repr)
async def test_put_refuses_the_root_label_of_langgraph_and_a_batch_takes_it(store, call, namespace):
    with pytest.raises(InvalidNamespaceError, match="langgraph"):
        await call(store.put, namespace, "k", {"a": 1})
    assert await call(store.search, ()) == []
    await call(store.batch, [PutOp(namespace, "k", {"a": 1})])
    assert (await call(store.get, namespace, "k")).value == {"a": 1}
    await call(store.delete, namespace, "k")
    assert await call(store.get, namespace, "k") is None


async def test_langgraph_is_refused_as_the_root_label_only(store, call):
    await call(store.put, ("a", "langgraph"), "k", {"n": 1})
    await call(store.put, ("langgraph2",), "k", {"n": 1})
    assert await call(store.search, ("langgraph",)) == []


@pytest.mark.parametrize(
    "key", ["", "x" * 1025, "\x00", "\ud800", None, b"k", 1.5, True, ("k",)], ids=lambda one: ascii(one)[:20]
)
async def test_a_key_that_cannot_be_stored_is_named(store, call, key):
    for method, *arguments in ((store.put, NS, key, {"a": 1}), (store.get, NS, key), (store.delete, NS, key)):
        with pytest.raises((InvalidInputError, InvalidTypeError), match="key"):
            await call(method, *arguments)
    assert await call(store.search, ()) == []


@pytest.mark.parametrize(
    "page", [{"limit": -1}, {"offset": -1}, {"limit": "3"}, {"offset": 1.5}, {"limit": None}], ids=repr
)
async def test_a_page_that_makes_no_sense_is_refused(store, call, page):
    with pytest.raises((InvalidInputError, InvalidTypeError), match=next(iter(page))):
        await call(store.search, NS, **page)
    with pytest.raises((InvalidInputError, InvalidTypeError), match=next(iter(page))):
        await call(store.list_namespaces, **page)


async def test_a_page_beyond_the_end_is_empty(store, call):
    await call(store.put, NS, "k", {"a": "pizza"})
    for more in ({}, {"query": "pizza"}, {"filter": {"a": "pizza"}}):
        assert await call(store.search, NS, offset=1, **more) == []
        assert await call(store.search, NS, limit=0, **more) == []
        assert len(await call(store.search, NS, limit=10**6, **more)) == 1
    assert await call(store.list_namespaces, offset=1) == []
    assert await call(store.list_namespaces, limit=0) == []


async def test_without_a_query_the_most_recently_updated_come_first(store, call, clock):
    for key in ("a", "b", "c", "a"):
        clock.now += 1
        await call(store.put, NS, key, {"n": clock.now})
    assert [item.key for item in await call(store.search, NS)] == ["a", "c", "b"]
    assert [item.key for item in await call(store.search, ())] == ["a", "c", "b"]
    assert [item.key for item in await call(store.search, NS, limit=2)] == ["a", "c"]
    assert [item.key for item in await call(store.search, NS, limit=2, offset=1)] == ["c", "b"]


async def test_reading_leaves_no_trace(store, call):
    assert await call(store.get, ("phantom",), "k") is None
    assert await call(store.search, ("phantom",)) == []
    await call(store.delete, ("phantom",), "k")
    assert await call(store.list_namespaces) == []
    await call(store.put, ("real",), "k", {"a": 1})
    await call(store.delete, ("real",), "k")
    assert await call(store.list_namespaces) == []


async def test_namespaces_are_listed_by_prefix_suffix_depth_and_page(store, call):
    for namespace in (
        ("a", "b", "c"),
        ("a", "b", "d", "e"),
        ("a", "b", "d", "i"),
        ("a", "b", "f"),
        ("a", "c", "f"),
        ("x",),
    ):
        await call(store.put, namespace, "k", {"n": 1})
    listed = store.list_namespaces
    assert await call(listed, prefix=("a", "b"), max_depth=3) == [("a", "b", "c"), ("a", "b", "d"), ("a", "b", "f")]
    assert await call(listed, suffix=("f",)) == [("a", "b", "f"), ("a", "c", "f")]
    assert await call(listed, prefix=("a",), suffix=("f",)) == [("a", "b", "f"), ("a", "c", "f")]
    assert await call(listed, prefix=("a", "*", "f")) == [("a", "b", "f"), ("a", "c", "f")]
    assert await call(listed, suffix=("*", "d", "*")) == [("a", "b", "d", "e"), ("a", "b", "d", "i")]
    assert await call(listed, max_depth=1) == [("a",), ("x",)]
    assert await call(listed, max_depth=1, offset=1) == [("x",)]
    assert await call(listed, limit=2, offset=1) == [("a", "b", "d", "e"), ("a", "b", "d", "i")]
    assert await call(listed, prefix=("a", "b", "d", "e", "z")) == []
    assert await call(listed, prefix=("b",)) == []


async def test_a_condition_with_an_empty_path_fits_every_namespace(store, call):
    await call(store.put, ("a", "b"), "k", {"n": 1})
    for kind in ("prefix", "suffix"):
        (found,) = await call(store.batch, [ListNamespacesOp((MatchCondition(kind, ()),))])
        assert found == [("a", "b")]
        assert await call(store.list_namespaces, **{kind: ()}) == [("a", "b")]


async def test_tenants_do_not_see_each_others_items(lasting_url, call):
    with AgentMemory.from_url(lasting_url, tenant="a") as a, AgentMemory.from_url(lasting_url, tenant="b") as b:
        await call(a.store.put, NS, "k", {"text": "pizza of a"})
        assert await call(b.store.get, NS, "k") is None
        assert await call(b.store.search, ()) == []
        assert await call(b.store.search, (), query="pizza") == []
        assert await call(b.store.list_namespaces) == []
        await call(b.store.put, NS, "k", {"text": "pizza of b"})
        await call(b.store.delete, NS, "k")
        assert (await call(a.store.get, NS, "k")).value == {"text": "pizza of a"}


async def test_another_store_on_the_database_sees_what_was_written(lasting_url, call):
    first, second = AgentMemStore.from_url(lasting_url), AgentMemStore.from_url(lasting_url)
    await call(first.put, NS, "k", {"text": "pizza"})
    assert (await call(second.get, NS, "k")).value == {"text": "pizza"}
    assert [item.key for item in await call(second.search, NS, query="pizzas")] == ["k"]
    await call(first.close)
    await call(second.close)
    third = AgentMemStore.from_url(lasting_url)
    assert (await call(third.get, NS, "k")).value == {"text": "pizza"}
    await call(third.close)


async def test_a_closed_store_says_so(url, call):
    store = AgentMemStore.from_url(url)
    await call(store.put, NS, "k", {"a": 1})
    await call(store.close)
    for method, *arguments in (
        (store.put, NS, "k", {"a": 1}),
        (store.get, NS, "k"),
        (store.delete, NS, "k"),
        (store.search, NS),
        (store.list_namespaces,),
        (store.batch, [GetOp(NS, "k")]),
        (store.update, NS, "k", lambda value: {"a": 2}),
        (store.sweep_ttl,),
    ):
        with pytest.raises(StorageClosedError):
            await call(method, *arguments)


@pytest.mark.parametrize("given", [None, 5, "x", {"a": 1}, [("get", "k")]], ids=repr)
async def test_a_batch_of_anything_but_operations_is_refused(sqlite_memory, call, given):
    with pytest.raises(InvalidTypeError, match="ops must be"):
        await call(sqlite_memory.store.batch, given)


@pytest.mark.parametrize("given", [None, "abc", 5], ids=repr)
async def test_an_update_by_anything_but_a_function_is_refused(sqlite_memory, call, given):
    for method, where in (
        (sqlite_memory.store.update, (("a",), "k")),
        (sqlite_memory.store.update_many, ([(("a",), "k")],)),
    ):
        with pytest.raises(InvalidTypeError, match="function must be a function"):
            await call(method, *where, given)


@pytest.mark.parametrize("given", [None, "abc", 5], ids=repr)
async def test_an_update_of_anything_but_a_list_of_keys_is_refused(sqlite_memory, call, given):
    with pytest.raises(InvalidTypeError, match="keys must be a list"):
        await call(sqlite_memory.store.update_many, given, lambda values: {})


@pytest.mark.parametrize("given", ["yes", 1, object()], ids=lambda one: type(one).__name__)
async def test_a_refresh_that_is_neither_true_nor_false_is_refused(sqlite_memory, call, given):
    with pytest.raises(InvalidTypeError, match="refresh_ttl must be True or False"):
        await call(sqlite_memory.store.get, ("a",), "k", refresh_ttl=given)


async def test_a_wrong_time_to_live_is_named_in_minutes(sqlite_memory, call):
    with pytest.raises(InvalidInputError, match=r"ttl must be more than 0 minutes .* got -1"):
        await call(sqlite_memory.store.put, ("a",), "k", {"v": 1}, ttl=-1)


def test_an_unknown_name_in_the_index_is_refused():
    with pytest.raises(InvalidInputError, match="unknown entry 'dimensions'"):
        AgentMemStore.from_url(
            "sqlite:///:memory:", index={"embed": lambda texts: [[1.0] for _ in texts], "dimensions": 1}
        )
