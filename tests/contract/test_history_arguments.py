"""A wrong argument is refused with an error of ours that names it, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from examples import Thing
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage

from langchain_agentmem import (
    AgentMemHistory,
    AgentMemory,
    AgentMemSaver,
    AgentMemStore,
    InvalidInputError,
    InvalidTypeError,
    Retention,
)

ID: list[Any] = [["a"], {"a": 1}, 5, 1.5, True, b"a", Thing(), int, "\ud800", "a\x00b", "x" * 2000]
NO_ID: list[Any] = [*ID, ""]
COUNT: list[Any] = ["5", 1.5, True, -1, [1], 2**70, float("nan")]
MOMENT: list[Any] = ["2024-01-01", 5, 1.5, True]
ROLE: list[Any] = ["user", "assistant", "developer", "Human", "", ["human"], 5]
FLAG: list[Any] = ["yes", 1, []]
RETENTION: list[Any] = ["session", 7, {}, [], Retention]
TTL: list[Any] = ["60", -1, 0, True, float("nan"), float("inf")]

Call = Callable[[AgentMemory, Any], tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]]


def call_of(function: Callable[[AgentMemory], Any], name: str, *before: Any) -> Call:
    return lambda memory, value: (function(memory), before, {name: value})


def first(function: Callable[[AgentMemory], Any], *after: Any, **options: Any) -> Call:
    return lambda memory, value: (function(memory), (value, *after), options)


def search(memory: AgentMemory) -> Any:
    return memory.history("s").search


CALLS: dict[str, tuple[Call, list[Any]]] = {
    "get_recent n": (first(lambda m: m.history("s").get_recent), [*COUNT, 0, None]),
    "stored limit": (first(lambda m: m.history("s").stored), [*COUNT, 0]),
    "pages size": (first(lambda m: m.history("s").pages), [*COUNT, 0, None]),
    "search query": (first(search), [5, None, ["a"], "\ud800"]),
    "search k": (call_of(search, "k", "a"), [*COUNT, None]),
    "search role": (call_of(search, "role", "a"), ROLE),
    "search since": (call_of(search, "since", "a"), MOMENT),
    "search until": (call_of(search, "until", "a"), MOMENT),
    "search around": (call_of(search, "around", "a"), [*COUNT, None]),
    "search_history query": (first(lambda m: m.search_history), [5, None, "\ud800"]),
    "search_history k": (call_of(lambda m: m.search_history, "k", "a"), COUNT),
    "search_history user_id": (call_of(lambda m: m.search_history, "user_id", "a"), NO_ID),
    "search_history session_id": (call_of(lambda m: m.search_history, "session_id", "a"), NO_ID),
    "search_history agent": (call_of(lambda m: m.search_history, "agent", "a"), NO_ID),
    "search_history role": (call_of(lambda m: m.search_history, "role", "a"), ROLE),
    "search_history since": (call_of(lambda m: m.search_history, "since", "a"), MOMENT),
    "search_history until": (call_of(lambda m: m.search_history, "until", "a"), MOMENT),
    "search_history around": (call_of(lambda m: m.search_history, "around", "a"), COUNT),
    "add_messages messages": (
        first(lambda m: m.history("s").add_messages),
        ["hi", "", b"a", {}, None, 5, [5], [None]],
    ),
    "add_messages metadata": (
        call_of(lambda m: m.history("s").add_messages, "metadata", [HumanMessage("a")]),
        [[1], 5, "a", {5: 1}, {"a": Thing()}],
    ),
    "sessions.list user_id": (call_of(lambda m: m.sessions.list, "user_id"), NO_ID),
    "sessions.list limit": (call_of(lambda m: m.sessions.list, "limit"), [*COUNT, 0]),
    "sessions.list offset": (call_of(lambda m: m.sessions.list, "offset"), [*COUNT, None]),
    "sessions.rename session_id": (first(lambda m: m.sessions.rename, "title"), [*NO_ID, None]),
    "sessions.rename title": (call_of(lambda m: m.sessions.rename, "title", "s"), [5, None, b"a", "\ud800"]),
    "sessions.rename user_id": (call_of(lambda m: m.sessions.rename, "user_id", "s", "title"), NO_ID),
    "sessions.end session_id": (first(lambda m: m.sessions.end), [*NO_ID, None]),
    "sessions.end user_id": (call_of(lambda m: m.sessions.end, "user_id", "s"), NO_ID),
    "sessions.delete session_id": (first(lambda m: m.sessions.delete), [*NO_ID, None]),
    "sessions.delete user_id": (call_of(lambda m: m.sessions.delete, "user_id", "s"), NO_ID),
    "summary session_id": (first(lambda m: m.summary), [*NO_ID, None]),
    "summary user_id": (call_of(lambda m: m.summary, "user_id", "s"), NO_ID),
    "summary agent": (call_of(lambda m: m.summary, "agent", "s"), NO_ID),
    "threads user_id": (call_of(lambda m: m.checkpointer.threads, "user_id"), NO_ID),
    "threads limit": (call_of(lambda m: m.checkpointer.threads, "limit"), [*COUNT, 0]),
    "threads offset": (call_of(lambda m: m.checkpointer.threads, "offset"), [*COUNT, None]),
    "set_ttl thread_id": (first(lambda m: m.checkpointer.set_ttl, 60), [["a"], 1.5, "", None, "\ud800"]),
    "set_ttl ttl": (call_of(lambda m: m.checkpointer.set_ttl, "ttl", "1"), TTL),
    "copy_thread source": (first(lambda m: m.checkpointer.copy_thread, "2"), [["a"], 1.5, "", None]),
    "prune thread_ids": (first(lambda m: m.checkpointer.prune), ["1", None, 5, [None], [""]]),
    "expire_checkpoints older_than": (first(lambda m: m.checkpointer.expire_checkpoints), [*TTL]),
}


@pytest.mark.parametrize("name", CALLS)
async def test_a_method_refuses_a_wrong_argument(memory, call, name):
    await call(memory.history("s").add_messages, [HumanMessage("hello")])
    arguments, values = CALLS[name]
    for value in values:
        method, positional, named = arguments(memory, value)
        with pytest.raises((InvalidInputError, InvalidTypeError)) as caught:
            await call(method, *positional, **named)
        assert str(caught.value), value
    assert [one.content for one in await call(memory.history("s").get_recent)] == ["hello"]
    assert [(info.session_id, info.title) for info in await call(memory.sessions.list)] == [("s", "hello")]


HISTORIES: dict[str, list[Any]] = {
    "session_id": [*NO_ID, None],
    "user_id": NO_ID,
    "agent": NO_ID,
    "max_messages": [*COUNT, 0],
    "max_tokens": [*COUNT, 0],
    "token_counter": [5, ["a"], Thing()],
    "compressor": ["model", 5, Thing(), Retention()],
    "retention": RETENTION,
}


@pytest.mark.parametrize("name", HISTORIES)
def test_a_history_refuses_a_wrong_argument(name):
    with AgentMemory("sqlite:///:memory:") as memory:
        for value in HISTORIES[name]:
            options = {"session_id": "s", name: value}
            with pytest.raises((InvalidInputError, InvalidTypeError), match=name):
                memory.history(**options)
            with pytest.raises((InvalidInputError, InvalidTypeError), match=name):
                AgentMemHistory(memory.backend, **options)
            if name not in ("session_id", "user_id"):
                with pytest.raises((InvalidInputError, InvalidTypeError), match=name):
                    memory.session_history(**{name: value})
            elif value != "":  # in a run's config it means no user
                with pytest.raises((InvalidInputError, InvalidTypeError), match=name):
                    memory.get_session_history(**options)


@pytest.mark.parametrize(
    ("kind", "name", "values"),
    [
        (AgentMemHistory, "turn", FLAG),
        (AgentMemHistory, "tenant", [*NO_ID, None]),
        (AgentMemSaver, "compact", FLAG),
        (AgentMemSaver, "ttl", TTL),
        (AgentMemSaver, "tenant", [*NO_ID, None]),
        (AgentMemSaver, "serde", ["json", 5, Thing(), {}]),
        (AgentMemStore, "ttl", [60, "60", [60], {"default_tll": 60}, {"default_ttl": "60"}, {"default_ttl": 0}]),
        (AgentMemStore, "ttl", [{"refresh_on_read": "no"}, {"sweep_interval_minutes": -1}, {"omit_expired": 1}]),
        (AgentMemStore, "index", [5, "text", ["text"], Thing()]),
        (AgentMemStore, "tenant", [*NO_ID, None]),
        (AgentMemory, "ttl", TTL),
        (AgentMemory, "tenant", NO_ID),
        (AgentMemory, "max_messages", [*COUNT, 0]),
        (AgentMemory, "retention", [*RETENTION[:2], {5: Retention()}, {"": Retention()}, {"a": "session"}]),
        (AgentMemory, "embed_history", FLAG),
        (AgentMemory, "compact", FLAG),
        (AgentMemory, "serde", ["json", 5]),
    ],
    ids=str,
)
def test_a_constructor_refuses_a_wrong_argument(kind, name, values):
    for value in values:
        more = ("s",) if kind is AgentMemHistory else ()
        with pytest.raises((InvalidInputError, InvalidTypeError), match=name):
            kind("sqlite:///:memory:", *more, **{name: value})


@pytest.mark.parametrize("sliding", FLAG, ids=repr)
def test_a_retention_slides_or_not(sliding):
    with pytest.raises(InvalidTypeError, match=r"Retention\.sliding must be True or False"):
        Retention(ttl=60, sliding=sliding)


# Roles


async def test_a_role_that_others_call_differently_is_named(memory, call):
    with pytest.raises(
        InvalidInputError, match=r"Unknown role 'user'\. LangChain calls it 'human'\. Use one of human, ai"
    ):
        await call(memory.history("s").search, "a", role="user")
    with pytest.raises(InvalidInputError, match=r"Unknown role 'robot'\. Use one of human, ai, system, tool"):
        await call(memory.search_history, "a", role="robot")


async def test_a_role_finds_chunks_too(memory, call):
    history = memory.history("s")
    await call(history.add_messages, [HumanMessage("rain?"), AIMessage("rain"), AIMessageChunk("rain again")])
    found = await call(history.search, "rain", role="ai")
    assert {one.message.content for one in found} == {"rain", "rain again"}


async def test_moments_are_datetimes(memory, call):
    await call(memory.history("s").add_messages, [HumanMessage("rain")])
    assert await call(memory.history("s").search, "rain", since=datetime(2100, 1, 1)) == []


@pytest.mark.parametrize("given", [5, "x", ["a"]], ids=repr)
async def test_metadata_that_is_no_mapping_is_named(sqlite_memory, call, given):
    history = sqlite_memory.history("s")
    with pytest.raises(TypeError, match="metadata must be a mapping"):
        await call(history.add_messages, [HumanMessage("a")], metadata=given)
    assert history.count() == 0


@pytest.mark.parametrize(("source", "target"), [(None, "t"), ("t", None)])
async def test_the_thread_of_a_copy_that_is_missing_is_named(sqlite_memory, call, source, target):
    with pytest.raises(TypeError, match="source_thread_id" if source is None else "target_thread_id"):
        await call(sqlite_memory.checkpointer.copy_thread, source, target)
