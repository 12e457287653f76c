"""Two writers of an encrypted thread: the head of the thread always fits the rows, whatever the order of the writes."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from conftest import new_url
from langgraph.checkpoint.base import WRITES_IDX_MAP, empty_checkpoint

from langchain_agentmem import AgentMemSaver, TamperedDataError
from langchain_agentmem.backends.contract import CheckpointEntry, CheckpointKey
from langchain_agentmem.backends.encrypted import thread_heads
from langchain_agentmem.backends.encrypted.thread_heads import Head
from langchain_agentmem.encoding.references import Typed

MASTER = bytes(range(32))
CHANNELS = ("a", "b", "c", *WRITES_IDX_MAP)


@pytest.fixture(params=["sqlite-file", "postgres", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return new_url(request.param, tmp_path)


def place(namespace: str = "", **more: Any) -> Any:
    return {"configurable": {"thread_id": "thread", "checkpoint_ns": namespace, **more}}


def checkpoint(id_: str) -> Any:
    return {**empty_checkpoint(), "id": id_}


async def test_writes_that_are_stored_long_before_their_checkpoint(url, call):
    saver = AgentMemSaver.from_url(url, key=MASTER)
    await call(saver.put_writes, place(checkpoint_id="000"), [("a", 1)], "task")
    for number in range(1, 40):
        await call(saver.put, place(), checkpoint(f"{number:03}"), {}, {})
    await call(saver.put, place(), checkpoint("000"), {}, {})
    stored = await call(saver.get_tuple, place(checkpoint_id="000"))
    assert stored.pending_writes == [("task", "a", 1)]
    assert len(await call(saver.list, place())) == 40
    await call(saver.close)


@pytest.mark.parametrize("seed", range(4))
async def test_two_writers_in_any_order_store_what_one_stores_without_a_key(url, call, monkeypatch, seed):
    for name, bound in (("_MAX_CHECKPOINTS", 4), ("_MAX_TASKS", 3), ("_MAX_NAMESPACES", 2)):
        monkeypatch.setattr(thread_heads, name, bound)
    writers = [AgentMemSaver.from_url(url, key=MASTER) for _ in range(2)]
    plain = AgentMemSaver.from_url("sqlite:///:memory:")
    chance = random.Random(seed)

    async def both(name: str, *args: Any, **kwargs: Any) -> None:
        for saver in (chance.choice(writers), plain):
            await call(getattr(saver, name), *args, **kwargs)

    for _ in range(60):
        namespace, id_ = chance.choice(["", "", "one", "two"]), f"{chance.randrange(12):03}"
        action = chance.randrange(20)
        if action < 9:
            writes = [(channel, chance.random()) for channel in chance.sample(CHANNELS, 2)]
            await both("put_writes", place(namespace, checkpoint_id=id_), writes, f"task {chance.randrange(5)}")
        elif action < 17:
            await both("put", place(namespace), checkpoint(id_), {"step": chance.randrange(9)}, {})
        elif action < 18:
            await both("prune", ["thread"], strategy="keep_latest")
        elif action < 19:
            await both("delete_thread", "thread")
        else:
            await both("delete_thread", "copy")
            await both("copy_thread", "thread", "copy")
            await both("delete_thread", "thread")
            await both("copy_thread", "copy", "thread")
        assert await contents(writers[0], call) == await contents(writers[1], call) == await contents(plain, call)
    for saver in (*writers, plain):
        await call(saver.close)


async def contents(saver: AgentMemSaver, call: Any) -> list[Any]:
    listed = [await call(saver.list, place())]
    listed += [[await call(saver.get_tuple, one.config)] for one in listed[0]]
    for namespace in ("", "one", "two"):
        latest = await call(saver.get_tuple, place(namespace))
        listed.append([] if latest is None else [latest])
    return [
        [(one.config, one.checkpoint["id"], one.metadata, sorted(one.pending_writes or (), key=repr)) for one in some]
        for some in listed
    ]


def test_a_head_knows_the_writes_of_the_last_checkpoints_however_they_are_restored():
    head, keys = Head.new(Typed("", b"")), [CheckpointKey("", f"{number:03}") for number in range(100)]
    entries = [CheckpointEntry(key, None, None, 0.0) for key in keys]
    tags = {key: key.checkpoint_id.encode() for key in keys}
    for _ in range(2):  # a page that is restored again changes nothing
        head = Head.unpacked(head.with_restored(entries, tags).packed())
        for key in keys:
            head = head.with_writes(key, [("task", 0, b"tag")])
        for key in keys:
            head.check_writes(key, [("task", 0, b"tag")])
        for key in keys[-32:]:
            with pytest.raises(TamperedDataError, match="are missing"):
                head.check_writes(key, [])
    assert head.latest == {"": ("099", b"099")}
