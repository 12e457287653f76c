"""Items under a key: the head of a namespace always fits its items, and missing, older and added items are refused."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import new_url
from examples import repetitions
from raw_checkpoints import RawItems

from langchain_agentmem import AgentMemory, AgentMemStore, TamperedDataError
from langchain_agentmem.backends.contract import ItemPut
from langchain_agentmem.backends.encrypted import item_heads
from langchain_agentmem.backends.encrypted.item_heads import HEAD, NEVER, Entry, Head, new_tag

MASTER = bytes(range(32))
NOTES = ("notes", "alice")


@pytest.fixture(params=["sqlite-file", "postgres", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return new_url(request.param, tmp_path)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A namespace has parts from five items on."""
    monkeypatch.setattr(item_heads, "_STEPS", ((4, 1), (8, 3)))
    monkeypatch.setattr(item_heads, "_MOST_PARTS", 5)


class Items(RawItems):
    """The rows without those of the notes of this package."""

    def rows(self) -> list[dict[str, Any]]:
        return [row for row in super().rows() if not (self.is_redis and row["id"].endswith(b"\0keys"))]


def is_head(row: dict[str, Any]) -> bool:
    owner = row["owner"]
    return item_heads.HEADS in (owner.decode("latin-1") if isinstance(owner, bytes) else owner)


# Writers


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("searchable", [False, True])
@pytest.mark.parametrize("seed", range(repetitions(3)))
async def test_two_writers_in_any_order_store_what_one_stores_without_a_key(url, call, seed, searchable):
    writers = [AgentMemStore.from_url(url, key=MASTER, searchable=searchable) for _ in range(2)]
    plain = AgentMemStore.from_url("sqlite:///:memory:")
    chance = random.Random(seed)
    spaces = [("notes",), NOTES, ("notes", "bob", "x"), ("other",)]

    async def both(name: str, *args: Any, **kwargs: Any) -> None:
        for store in (chance.choice(writers), plain):
            await call(getattr(store, name), *args, **kwargs)

    for number in range(80):
        space, key = chance.choice(spaces), str(chance.randrange(9))
        if chance.random() < (0.7 if number % 40 < 20 else 0.3):
            ttl = chance.choice([None, None, 60.0])
            await both("put", space, key, {"text": f"pizza {number}"}, ttl=ttl)
        elif chance.random() < 0.3:
            await both("update", space, key, lambda value: {**(value or {"text": "pizza"}), "more": 1})
        else:
            await both("delete", space, key)
        if number % 16:
            continue
        found = [await contents(store, call, spaces) for store in (*writers, plain)]
        assert found[0] == found[1] == found[2]
    for store in (*writers, plain):
        for space in spaces:
            for key in range(9):
                await call(store.delete, space, str(key))
        assert await call(store.list_namespaces) == []
    assert Items(url).rows() == []
    for store in (*writers, plain):
        await call(store.close)


async def contents(store: AgentMemStore, call: Any, spaces: list[tuple[str, ...]]) -> list[Any]:
    listed = [await call(store.search, space, limit=100) for space in (*spaces, ())]
    listed.append(await call(store.search, ("notes",), query="pizza", limit=100))
    found = [{(item.namespace, item.key): item.value for item in items} for items in listed]
    for items in listed[:-2]:
        for item in items:
            assert (await call(store.get, item.namespace, item.key)).value == item.value
    return [*found, await call(store.list_namespaces)]


@pytest.mark.usefixtures("small_parts")
async def test_16_tasks_write_to_one_namespace_while_others_list_it(url):
    stores = [AgentMemStore.from_url(url, key=MASTER) for _ in range(2)]

    async def write(number: int) -> None:
        for at in range(4):
            await stores[number % 2].aput(NOTES, str(number), {"text": f"pizza {at}"})
        if number % 2:
            await stores[0].adelete(NOTES, str(number))

    async def read() -> None:
        for _ in range(10):
            await stores[1].asearch(NOTES, limit=5)
            await stores[1].asearch(NOTES[:1], query="pizza")
            await stores[1].aget(NOTES, "3")

    await asyncio.gather(*(write(number) for number in range(16)), read(), read())
    assert {item.key for item in await stores[0].asearch(NOTES, limit=50)} == {str(at) for at in range(0, 16, 2)}
    for store in stores:
        await store.aclose()


def write_8(url: str, name: str) -> None:
    with AgentMemory.from_url(url, key=MASTER) as memory:
        for at in range(8):
            memory.store.put(NOTES, f"{name} {at}", {"text": "pizza"})
            memory.store.update(NOTES, "sum", lambda value: {"sum": (value or {"sum": 0})["sum"] + 1})


def test_8_processes_write_to_one_namespace(url, processes):
    processes.together(write_8, url)
    with AgentMemory.from_url(url, key=MASTER) as memory:
        assert memory.store.get(NOTES, "sum").value == {"sum": 64}
        assert len(memory.store.search(NOTES, limit=100)) == 65


# Expiry


async def test_a_namespace_ends_with_its_last_item_and_a_read_extends_both(url, call):
    with AgentMemory.from_url(url, key=MASTER) as memory:
        backend, now = memory.backend, time.time()
        put = ItemPut(NOTES, "short", '{"text": "pizza"}', 100.0, None)
        backend.write(backend.items.put("default", [put, put._replace(key="long", ttl=200.0)], now))
        assert backend.read(backend.items.get("default", [(NOTES, "short")], now + 150)) == [None]
        backend.write(backend.items.touch("default", [(NOTES, "long")], now + 150))
        (row,) = backend.read(backend.items.get("default", [(NOTES, "long")], now + 340))
        assert row is not None
        page, _ = backend.read(backend.items.scan("default", NOTES, None, 10, None, now + 340))
        assert [one.key for one in page] == ["long"]
        assert backend.read(backend.items.roots("default", now + 360)) == []
        assert backend.read(backend.items.get("default", [(NOTES, "long")], now + 360)) == [None]
        backend.write(backend.items.put("default", [put], now + 360))
        assert backend.read(backend.items.get("default", [(NOTES, "long"), (NOTES, "short")], now + 361))[1] is not None


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("number", [1, 12])
async def test_a_reader_with_an_earlier_clock_accepts_an_expired_item(url, call, number):
    with AgentMemory.from_url(url, key=MASTER) as memory:
        backend, now = memory.backend, time.time()
        keys = [(NOTES, str(at)) for at in range(number)]
        backend.write(backend.items.put("default", [ItemPut(*key, "{}", 100.0, None) for key in keys], now))
        for later in (102.0, 108.0, 130.0):  # the head was stored again after the first items expired
            backend.write(backend.items.put("default", [ItemPut(NOTES, "new", "{}", None, None)], now + later))
            found = backend.read(backend.items.get("default", keys, now + 98))
            assert [row.key for row in found if row is not None] == [key for _, key in keys]
            page, _ = backend.read(backend.items.scan("default", NOTES, None, 100, None, now + 98))
            assert len(page) == number + 1


async def test_deletions_leave_an_item_with_a_ttl(url, call):
    with AgentMemory.from_url(url, key=MASTER) as memory:
        for key, ttl in (("a", None), ("b", None), ("c", 60.0)):
            await call(memory.store.put, NOTES, key, {}, ttl=ttl)
        for key in "ab":
            await call(memory.store.delete, NOTES, key)
        assert [item.key for item in await call(memory.store.search, NOTES)] == ["c"]
        assert await call(memory.store.list_namespaces) == [NOTES]


# Edits of the database


def flipped(raw: RawItems, row: dict[str, Any]) -> None:
    value = row["value"]
    middle = len(value) // 2
    other = value[:middle] + ((b"A" if isinstance(value, bytes) else "A") * 2) + value[middle + 2 :]
    raw.write({**row, "value": other})


EDITS: dict[str, Callable[[RawItems, dict[str, Any], dict[str, Any]], None]] = {
    "it is deleted": lambda raw, old, new: raw.delete(new),
    "it is replaced by an older one": lambda raw, old, new: raw.write(old),
    "it is altered": lambda raw, old, new: flipped(raw, new),
}


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("searchable", [False, True])
@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("number", [3, 12])
async def test_every_read_refuses_an_edit(url, call, edit, number, searchable):
    with AgentMemory.from_url(url, key=MASTER, searchable=searchable) as memory:
        store, raw = memory.store, Items(url)
        await call(store.put, NOTES, "1", {"text": "pizza with ham"})
        (old,) = (row for row in raw.rows() if not is_head(row))
        for at in range(number):
            await call(store.put, NOTES, str(at), {"text": f"pizza {at}"})
        (new,) = (row for row in raw.rows() if (row["owner"], row["id"]) == (old["owner"], old["id"]))
        EDITS[edit](raw, old, new)
        with pytest.raises(TamperedDataError):
            await call(store.get, NOTES, "1")
        for space in (NOTES, NOTES[:1]):
            with pytest.raises(TamperedDataError):
                await call(store.search, space, limit=50)
        if not (searchable and edit == "it is deleted"):  # the database searches, and does not find it
            with pytest.raises(TamperedDataError):
                await call(store.search, NOTES, query="pizza with", limit=50)
        await call(store.put, NOTES, "1", {"text": "pizza again"})
        assert (await call(store.get, NOTES, "1")).value == {"text": "pizza again"}
        assert len(await call(store.search, NOTES, limit=50)) == number


@pytest.mark.usefixtures("small_parts")
async def test_a_deleted_item_that_is_written_back_is_refused(url, call):
    with AgentMemory.from_url(url, key=MASTER) as memory:
        raw = Items(url)
        for at in range(6):
            await call(memory.store.put, NOTES, str(at), {"text": "pizza"})
        rows = [row for row in raw.rows() if not is_head(row)]
        await call(memory.store.delete, NOTES, "2")
        left = [row["id"] for row in raw.rows()]
        (gone,) = (row for row in rows if row["id"] not in left)
        raw.write(gone)
        for read in ((memory.store.get, NOTES, "2"), (memory.store.search, NOTES)):
            with pytest.raises(TamperedDataError, match="was inserted"):
                await call(*read)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("number", [3, 12])
@pytest.mark.parametrize("edit", ["deleted", "older"])
async def test_a_head_or_a_part_that_is_deleted_or_older_is_refused(url, call, number, edit):
    with AgentMemory.from_url(url, key=MASTER) as memory:
        raw = Items(url)
        for at in range(number):
            await call(memory.store.put, NOTES, str(at), {"text": "pizza"})
        before = [row for row in raw.rows() if is_head(row)]
        for at in range(number):
            await call(memory.store.put, NOTES, str(at), {"text": "pasta"})
        after = [row for row in raw.rows() if is_head(row)]
        assert len(before) == len(after) > (1 if number > 4 else 0)
        for old, new in zip(before, after, strict=True):
            raw.delete(new) if edit == "deleted" else raw.write(old)
            with pytest.raises(TamperedDataError):
                await call(memory.store.search, NOTES, limit=50)
            raw.write(new)
        assert len(await call(memory.store.search, NOTES, limit=50)) == number


# Export and import


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("number", [3, 12])
async def test_an_export_refuses_missing_items(url, call, number, tmp_path):
    with AgentMemory.from_url(url, key=MASTER) as memory:
        raw = Items(url)
        for at in range(number):
            await call(memory.store.put, NOTES, str(at), {"text": "pizza"}, ttl=None if at else 3600.0)
        exported = await call(memory.export, tmp_path / "whole.jsonl")
        assert exported.counts["items"] == number
        raw.delete(next(row for row in raw.rows() if not is_head(row)))
        with pytest.raises(TamperedDataError, match="1 items are missing"):
            await call(memory.export, tmp_path / "other.jsonl")


async def test_an_import_that_is_interrupted_before_the_items_is_continued(url, call, tmp_path, monkeypatch):
    path = tmp_path / "export.jsonl"
    with AgentMemory.from_url("sqlite:///:memory:") as source:
        for at in range(40):
            source.store.put(NOTES, str(at), {"text": "pizza"})
        source.export(path)
    with AgentMemory.from_url(url, key=MASTER) as memory:
        await call(memory.store.put, ("other",), "1", {})
        transfer = memory.backend.inner.transfer

        def interrupted(*_: Any) -> Any:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(type(transfer), "restore_items", interrupted)
            with pytest.raises(KeyboardInterrupt):
                await call(memory.import_from, path)
        await call(memory.import_from, path)
        assert len(await call(memory.store.search, NOTES, limit=100)) == 40
        await call(memory.import_from, path)
        assert len(await call(memory.store.search, NOTES, limit=100)) == 40


def test_heads_come_back_equal():
    entries = {b"12345678": Entry(new_tag(), 1.0, NEVER), b"87654321": Entry(new_tag(), 2.0, 12.0, 10.0)}
    for head in (Head(2, (), entries, 3.0), Head(9, ((new_tag(), NEVER), (b"", 0.0)), {}, 3.0)):
        assert Head.unpacked(head.packed()) == head
    assert item_heads.name_of_part(1, 0) == HEAD
    assert len(item_heads.name_of_part(2_048, 2_047)) == item_heads.LONGEST_NAME
    assert [len(one) for one in item_heads.split(entries, 32)].count(1) == 2
