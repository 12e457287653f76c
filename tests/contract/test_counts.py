"""Limits and offsets of any size: those that databases cannot hold are refused, and `sys.maxsize` means all."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from langchain_agentmem import InvalidInputError, InvalidTypeError, Retention

SPACE = ("notes",)


async def counted(memory: Any, call: Any, count: Any) -> list[int]:
    """How many things each call finds that takes a number."""
    history = memory.history("s")
    found: list[Any] = [
        await call(memory.store.search, SPACE, limit=count),
        await call(memory.store.search, SPACE, query="pizza", limit=count),
        await call(memory.store.list_namespaces, limit=count),
        await call(memory.store.list_namespaces, max_depth=count),
        await call(history.get_recent, count),
        await call(history.stored, count),
        await call(history.search, "pizza", count),
        await call(history.search, "pizza", 1, around=count),
        *(await call(history.pages, count)),
        await call(memory.search_history, "pizza", user_id=None, k=count),
        memory.history("s", max_messages=count).messages,
        memory.history("s", max_tokens=count).messages,
        await call(memory.sessions.list, limit=count),
        await call(memory.checkpointer.threads, limit=count),
        await call(memory.checkpointer.list, None, limit=count),
    ]
    return [len(one) for one in found]


async def fill(memory: Any, call: Any) -> None:
    await call(memory.history("s").add_messages, [HumanMessage("pizza"), HumanMessage("more pizza")])
    await call(memory.store.put, SPACE, "k", {"text": "pizza"})
    checkpoint: Any = {"v": 4, "id": "1", "ts": "", "channel_values": {}, "channel_versions": {}, "versions_seen": {}}
    await call(memory.checkpointer.put, {"configurable": {"thread_id": "1"}}, checkpoint, {}, {})


async def test_the_largest_number_of_a_machine_means_all(memory, call):
    await fill(memory, call)
    few = await counted(memory, call, 100)
    assert all(few)
    assert await counted(memory, call, sys.maxsize) == few


OFFSETS = ["search", "search by words", "namespaces", "sessions", "threads"]


def with_offset(memory: Any, name: str, offset: Any) -> tuple[Any, ...]:
    return {
        "search": (memory.store.search, SPACE, {"offset": offset}),
        "search by words": (memory.store.search, SPACE, {"query": "pizza", "offset": offset}),
        "namespaces": (memory.store.list_namespaces, {"offset": offset}),
        "sessions": (memory.sessions.list, {"offset": offset}),
        "threads": (memory.checkpointer.threads, {"offset": offset}),
    }[name]


@pytest.mark.parametrize("name", OFFSETS)
async def test_a_large_offset_finds_nothing(memory, call, name):
    await fill(memory, call)
    method, *arguments, options = with_offset(memory, name, sys.maxsize)
    assert await call(method, *arguments, **options) == []


METHODS: dict[str, Any] = {
    **{f"offset of {name}": lambda m, n, name=name: with_offset(m, name, n) for name in OFFSETS},
    "search": lambda m, n: (m.store.search, SPACE, {"limit": n}),
    "search by words": lambda m, n: (m.store.search, SPACE, {"query": "pizza", "limit": n}),
    "namespaces": lambda m, n: (m.store.list_namespaces, {"limit": n}),
    "depth of namespaces": lambda m, n: (m.store.list_namespaces, {"max_depth": n}),
    "recent": lambda m, n: (m.history("s").get_recent, n, {}),
    "stored": lambda m, n: (m.history("s").stored, n, {}),
    "history search": lambda m, n: (m.history("s").search, "pizza", n, {}),
    "around": lambda m, n: (m.history("s").search, "pizza", {"around": n}),
    "pages": lambda m, n: (m.history("s").pages, n, {}),
    "search of all": lambda m, n: (m.search_history, "pizza", {"user_id": None, "k": n}),
    "sessions": lambda m, n: (m.sessions.list, {"limit": n}),
    "threads": lambda m, n: (m.checkpointer.threads, {"limit": n}),
    "checkpoints": lambda m, n: (m.checkpointer.list, None, {"limit": n}),
    "facts": lambda m, n: (m.profiles.search, "alice", "pizza", n, {}),
}


@pytest.mark.parametrize("name", METHODS)
async def test_a_number_that_no_database_holds_is_refused(sqlite_memory, call, name):
    for wrong in (2**63, 10**30, 10**5000, -1, -(10**5000)):
        method, *arguments, options = METHODS[name](sqlite_memory, wrong)
        with pytest.raises(InvalidInputError, match=r"must be at (most|least)"):
            await call(method, *arguments, **options)
    for wrong in ("5", 1.5, True):
        method, *arguments, options = METHODS[name](sqlite_memory, wrong)
        with pytest.raises(InvalidTypeError, match="whole number"):
            await call(method, *arguments, **options)


def test_windows_and_retention_check_their_numbers(sqlite_memory):
    for wrong in (2**63, 10**5000):
        for make in (
            lambda n: sqlite_memory.history("s", max_messages=n),
            lambda n: sqlite_memory.history("s", max_tokens=n),
            lambda n: Retention(max_messages=n),
        ):
            with pytest.raises(InvalidInputError, match="must be at most"):
                make(wrong)


NAMESPACES = [(), "abc", None, 5, ("",), (1,), ("a", None), b"ab"]


@pytest.mark.parametrize("namespace", NAMESPACES, ids=repr)
async def test_an_item_of_no_namespace_is_refused(memory, call, namespace):
    store = memory.store
    for method, *arguments in (
        (store.get, namespace, "k"),
        (store.put, namespace, "k", {"a": 1}),
        (store.delete, namespace, "k"),
        (store.update, namespace, "k", dict),
    ):
        with pytest.raises((InvalidInputError, InvalidTypeError), match=r"(?i)namespace"):
            await call(method, *arguments)
    if namespace != ():
        with pytest.raises((InvalidInputError, InvalidTypeError), match=r"(?i)namespace"):
            await call(store.search, namespace)
    assert await call(store.list_namespaces) == []
