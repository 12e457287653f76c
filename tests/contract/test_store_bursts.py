"""Many store operations in one tick of an event loop: merged, and still each caller's own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langgraph.store.base import GetOp, PutOp, SearchOp

from langchain_agentmem import AgentMemory, AgentMemStore, InvalidInputError, StorageError
from langchain_agentmem.errors import StorageBusyError
from langchain_agentmem.programs import storage_program

PLACE = ("burst", "here")


@pytest.fixture
def store(memory: AgentMemory) -> AgentMemStore:
    return memory.store


def failing(
    store: AgentMemStore, monkeypatch: pytest.MonkeyPatch, is_bad: Callable[[Any], bool], error: Exception
) -> None:
    """Let each transaction fail that reads or writes an item with a bad key."""
    items = store.engine.backend.items
    put, get = items.put, items.get

    @storage_program
    def put_or_fail(tenant: str, puts: Any, now: float) -> Iterator[Any]:
        if any(is_bad(one.key) for one in puts):
            raise error
        return (yield from put(tenant, puts, now))

    @storage_program
    def get_or_fail(tenant: str, keys: Any, now: float, **options: Any) -> Iterator[Any]:
        if any(is_bad(key) for _, key in keys):
            raise error
        return (yield from get(tenant, keys, now, **options))

    monkeypatch.setattr(items, "put", put_or_fail)
    monkeypatch.setattr(items, "get", get_or_fail)


def counted(store: AgentMemStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list of the transactions, which grows with each."""
    done: list[str] = []
    for name in ("aread", "awrite"):
        method = getattr(store.engine.backend, name)

        async def counting(program: Any, name: str = name, method: Any = method) -> Any:
            done.append(name)
            return await method(program)

        monkeypatch.setattr(store.engine.backend, name, counting)
    return done


def others() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() - {asyncio.current_task()}


async def test_a_burst_of_thousands_of_operations_succeeds(store):
    """As LangGraph's own test of large batches has it."""
    burst = []
    for many in range(2):
        for one in range(1_000):
            namespace, key, value = ("test", "foo", str(many % 2)), f"key{one}", {"foo": f"bar{one}"}
            burst.append(store.aput(namespace, key, value))
            burst.append(store.aget(namespace, key))
            burst.append(store.alist_namespaces(prefix=None, max_depth=many + 1))
            burst.append(store.asearch(("test",)))
            burst.append(store.aput(namespace, key, value))
            burst.append(store.adelete(namespace, key))
    assert len(await asyncio.gather(*burst)) == 12_000
    assert await store.asearch(("test",)) == []


async def test_thousands_of_concurrent_puts_are_stored(store):
    await asyncio.gather(*(store.aput((*PLACE, str(at % 3)), str(at), {"n": at}) for at in range(5_000)))
    found = await asyncio.gather(*(store.aget((*PLACE, str(at % 3)), str(at)) for at in range(5_000)))
    assert [item.value["n"] for item in found] == list(range(5_000))


async def test_operations_of_one_tick_share_transactions(store, monkeypatch):
    await store.aput(PLACE, "first", {"n": 1})
    done = counted(store, monkeypatch)
    await asyncio.gather(*(store.aput(PLACE, str(at), {"n": at}) for at in range(100)))
    assert done == ["awrite"]
    done.clear()
    await asyncio.gather(*(store.aget(PLACE, str(at)) for at in range(100)))
    assert done == ["aread"]
    done.clear()
    await asyncio.gather(*(store.asearch(PLACE, filter={"n": 5}, limit=3) for _ in range(100)))
    alone = len(done)
    await store.asearch(PLACE, filter={"n": 5}, limit=3)
    assert len(done) == 2 * alone


async def test_the_last_of_several_writes_to_a_key_counts(store):
    await asyncio.gather(*(store.aput(PLACE, "k", {"n": at}) for at in range(10)))
    assert (await store.aget(PLACE, "k")).value == {"n": 9}
    await asyncio.gather(store.aput(PLACE, "k", {"n": 10}), store.adelete(PLACE, "k"))
    assert await store.aget(PLACE, "k") is None
    await asyncio.gather(store.adelete(PLACE, "k"), store.aput(PLACE, "k", {"n": 11}))
    assert (await store.aget(PLACE, "k")).value == {"n": 11}


async def test_writes_to_a_key_that_nobody_waited_for_are_done_in_order(store):
    tasks = []
    for at in range(30):
        tasks.append(asyncio.create_task(store.aput(PLACE, "k", {"n": at})))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert (await store.aget(PLACE, "k")).value == {"n": 29}


async def test_a_task_reads_what_it_wrote(store):
    async def work(number: int) -> None:
        for step in range(10):
            await store.aput(PLACE, f"own-{number}", {"step": step})
            assert (await store.aget(PLACE, f"own-{number}")).value == {"step": step}
            found = await store.asearch(PLACE, filter={"step": step}, limit=50)
            assert f"own-{number}" in [item.key for item in found]
            assert PLACE in await store.alist_namespaces(prefix=("burst",))
        await store.adelete(PLACE, f"own-{number}")
        assert await store.aget(PLACE, f"own-{number}") is None

    await asyncio.gather(*(work(number) for number in range(20)))


async def test_no_caller_gets_a_value_that_another_may_change(store):
    await store.aput(PLACE, "k", {"list": [1]})
    first, second, *_ = await asyncio.gather(*(store.aget(PLACE, "k") for _ in range(3)))
    first.value["list"].append(2)
    assert second.value == {"list": [1]}
    (one,), (two,) = await asyncio.gather(store.asearch(PLACE), store.asearch(PLACE))
    one.value["list"].append(2)
    assert two.value == {"list": [1]}
    some, more = await asyncio.gather(store.alist_namespaces(), store.alist_namespaces())
    some.clear()
    assert more == [PLACE]
    own = await store.abatch([GetOp(PLACE, "k"), GetOp(PLACE, "k")])
    own[0].value["list"].append(2)
    assert own[1].value == {"list": [1]}


async def test_an_empty_filter_is_no_filter(store):
    await store.aput(("filters",), "k", {"n": 1})
    results = await asyncio.gather(*(store.asearch(("filters",), filter=one) for one in ({}, None, {})))
    assert [[item.key for item in found] for found in results] == [["k"]] * 3


async def test_searches_that_differ_are_not_taken_for_the_same(store):
    await store.aput(PLACE, "one", {"n": 1, "flag": True, "text": "1"})
    filters = [
        {"n": 1},
        {"n": "1"},
        {"n": 2},
        {"flag": True},
        {"text": "1"},
        {"text": 1},
        {"n": {"$gt": 0}},
        {"n": {"$gt": 1}},
    ]
    found = await asyncio.gather(*(store.asearch(PLACE, filter=condition) for condition in filters))
    alone = [await store.asearch(PLACE, filter=condition) for condition in filters]
    assert found == alone


async def test_a_wrong_argument_fails_its_own_caller_alone(store):
    burst = [store.aput(PLACE, str(at), {"n": at}) for at in range(20)]
    burst += [
        store.aput(PLACE, "bad", {"n": object()}),
        store.aput((), "bad", {"n": 1}),
        store.aget(PLACE, ""),
        store.asearch(PLACE, filter={"n": {"$what": 1}}),
        store.abatch([PutOp(PLACE, "bad", {"n": 1}), PutOp(PLACE, "worse", {"n": {1}})]),
    ]
    results = await asyncio.gather(*burst, return_exceptions=True)
    assert results[:20] == [None] * 20
    assert all(isinstance(one, (ValueError, TypeError)) for one in results[20:])
    assert len(await store.asearch(PLACE, limit=100)) == 20


@pytest.mark.parametrize(
    "error", [InvalidInputError("too long"), StorageError("cannot"), ZeroDivisionError()], ids=repr
)
async def test_an_operation_that_the_database_refuses_fails_its_own_caller_alone(store, monkeypatch, error):
    failing(store, monkeypatch, lambda key: key == "bad", error)
    keys = [str(at) for at in range(200)]
    keys.insert(137, "bad")
    results = await asyncio.gather(*(store.aput(PLACE, key, {"n": 1}) for key in keys), return_exceptions=True)
    assert [key for key, one in zip(keys, results, strict=True) if one is not None] == ["bad"]
    assert type(results[137]) is type(error)
    found = await asyncio.gather(*(store.aget(PLACE, key) for key in keys), return_exceptions=True)
    assert [key for key, one in zip(keys, found, strict=True) if isinstance(one, Exception)] == ["bad"]
    assert others() == set()


async def test_what_a_refused_write_was_to_replace_is_stored(store, monkeypatch):
    items = store.engine.backend.items
    put = items.put

    @storage_program
    def put_or_fail(tenant, puts, now):
        if any("bad" in one.value for one in puts):
            raise InvalidInputError("too long")
        return (yield from put(tenant, puts, now))

    monkeypatch.setattr(items, "put", put_or_fail)
    results = await asyncio.gather(
        store.aput(PLACE, "k", {"is": "good"}), store.aput(PLACE, "k", {"is": "bad"}), return_exceptions=True
    )
    assert results[0] is None
    assert isinstance(results[1], InvalidInputError)
    assert (await store.aget(PLACE, "k")).value == {"is": "good"}


async def test_a_database_that_is_busy_is_not_asked_for_each_caller(store, monkeypatch):
    await store.aput(PLACE, "first", {"n": 1})
    failing(store, monkeypatch, lambda key: True, StorageBusyError("busy"))
    done = counted(store, monkeypatch)
    results = await asyncio.gather(*(store.aput(PLACE, str(at), {"n": 1}) for at in range(50)), return_exceptions=True)
    assert {type(one) for one in results} == {StorageBusyError}
    assert len({id(one) for one in results}) == 50
    assert done == ["awrite"]


async def test_a_database_that_cannot_be_reached_is_asked_a_few_times_only(store, monkeypatch):
    await store.aput(PLACE, "first", {"n": 1})
    failing(store, monkeypatch, lambda key: True, StorageError("unreachable"))
    done = counted(store, monkeypatch)
    results = await asyncio.gather(*(store.aput(PLACE, str(at), {"n": 1}) for at in range(500)), return_exceptions=True)
    assert {type(one) for one in results} == {StorageError}
    assert len(done) < 10


async def test_a_batch_of_one_caller_is_stored_whole_or_not_at_all(store, monkeypatch):
    items = store.engine.backend.items
    change = items.change

    @storage_program
    def change_and_fail(tenant, puts, deletes, touches, now):
        yield from change(tenant, puts, deletes, touches, now)
        if any(one.key == "bad" for one in puts):
            raise InvalidInputError("too long")

    await store.aput(PLACE, "gone", {"n": 1})
    monkeypatch.setattr(items, "change", change_and_fail)
    bad = store.abatch(
        [PutOp(PLACE, "good", {"n": 1}), PutOp(PLACE, "gone", None), SearchOp(PLACE), PutOp(PLACE, "bad", {"n": 1})]
    )
    good = store.abatch([PutOp(PLACE, "other", {"n": 1}), GetOp(PLACE, "other")])
    failed, done = await asyncio.gather(bad, good, return_exceptions=True)
    assert isinstance(failed, InvalidInputError)
    assert done == [None, None]
    if not str(store).startswith("AgentMemStore(RedisBackend"):  # there a program has one step that writes
        assert await store.aget(PLACE, "good") is None
        assert (await store.aget(PLACE, "gone")).value == {"n": 1}
    assert (await store.aget(PLACE, "other")).value == {"n": 1}


async def test_reads_of_a_batch_see_the_state_before_it_amid_a_burst(store):
    await store.aput(PLACE, "k", {"n": 0})
    # The other puts may be stored first: the page holds all of them.
    own = [PutOp(PLACE, "k", {"n": 1}), GetOp(PLACE, "k"), SearchOp(PLACE, limit=100)]
    results, *_ = await asyncio.gather(store.abatch(own), *(store.aput(PLACE, str(at), {"n": at}) for at in range(10)))
    assert results[1].value == {"n": 0}
    assert {item.key: item.value for item in results[2]}["k"] == {"n": 0}


async def test_cancelling_callers_leaves_the_others_alone(store):
    tasks = [asyncio.create_task(store.aput(PLACE, str(at), {"n": at})) for at in range(30)]
    tasks[3].cancel()  # before it begins
    await asyncio.sleep(0)
    tasks[4].cancel()  # while it waits for the end of the tick
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    tasks[5].cancel()  # while it is being done
    results = await asyncio.gather(*tasks, return_exceptions=True)
    cancelled = [at for at, one in enumerate(results) if isinstance(one, asyncio.CancelledError)]
    assert cancelled == [3, 4, 5]
    assert [one for at, one in enumerate(results) if at not in cancelled] == [None] * 27
    stored = {item.key for item in await store.asearch(PLACE, limit=100)}
    assert stored >= {str(at) for at in range(30) if at not in cancelled}
    assert "3" not in stored
    assert others() == set()


async def test_nothing_goes_on_once_all_callers_are_cancelled(store):
    await store.aput(PLACE, "first", {"n": 1})
    for turns in range(8):
        tasks = [asyncio.create_task(store.aput(PLACE, f"{turns}-{at}", {"n": at})) for at in range(5)]
        tasks += [asyncio.create_task(store.asearch(PLACE)), asyncio.create_task(store.aget(PLACE, "first"))]
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert others() == set()
    await store.aput(PLACE, "last", {"n": 1})
    assert (await store.aget(PLACE, "last")).value == {"n": 1}


async def test_many_event_loops_use_one_store(store):
    errors: list[BaseException] = []

    async def burst(number: int) -> None:
        for _ in range(3):
            await asyncio.gather(*(store.aput(("loops", str(number)), str(at), {"n": at}) for at in range(50)))
        assert len(await store.asearch(("loops", str(number)), limit=100)) == 50
        assert others() == set()

    def work(number: int) -> None:
        try:
            asyncio.run(burst(number))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    await asyncio.to_thread(lambda: [thread.join() for thread in threads])
    assert errors == []
    assert len(await store.alist_namespaces(prefix=("loops",))) == 4


async def test_one_text_that_the_embedding_model_refuses_costs_its_own_item_the_vector_alone(url):
    calls: list[int] = []

    async def embed(texts: list[str]) -> list[list[float]]:
        calls.append(len(texts))
        if any("poison" in text for text in texts):
            raise RuntimeError("this text is refused")
        return [[1.0, float(len(text))] for text in texts]

    store = AgentMemStore.from_url(url, index={"embed": embed, "dims": 2, "fields": ["text"]})
    try:
        texts = {str(at): f"text {at}" for at in range(40)} | {"bad": "poison"}
        await asyncio.gather(*(store.aput(PLACE, key, {"text": text}) for key, text in texts.items()))
        assert max(calls) == 41
        found = await store.asearch(PLACE, query="nothing of that", limit=100)
        assert {item.key for item in found} == texts.keys() - {"bad"}
        assert (await store.aget(PLACE, "bad")).value == {"text": "poison"}
    finally:
        await store.aclose()
