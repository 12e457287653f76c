"""The users of a thread: all who took a turn in it, however a run named them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages

from langchain_agentmem import AgentMemory, InvalidInputError

NOW = 1_800_000_000.0


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = NOW

    monkeypatch.setattr("time.time", lambda: Clock.now)
    return Clock


class State(TypedDict, total=False):
    messages: Annotated[list[Any], add_messages]
    user_id: Any


@dataclass
class Context:
    user_id: Any = None


def graph_on(memory: AgentMemory, *, nested: bool = False, context: Any = Context) -> Any:
    def built(**options: Any) -> Any:
        builder = StateGraph(State, context_schema=context)
        builder.add_node("reply", lambda state: {"messages": [("ai", "ok")]})
        builder.add_edge(START, "reply")
        return builder.compile(**options)

    if not nested:
        return built(checkpointer=memory.checkpointer)
    builder = StateGraph(State, context_schema=context)
    builder.add_node("inner", built(checkpointer=True))
    builder.add_edge(START, "inner")
    return builder.compile(checkpointer=memory.checkpointer)


def turn(thread_id: str = "1", user_id: Any = None) -> Any:
    named = {} if user_id is None else {"user_id": user_id}
    return {"configurable": {"thread_id": thread_id, **named}}


HI: Any = {"messages": [("user", "hi")]}


async def threads_of(memory: AgentMemory, call, user_id: str | None) -> list[str]:
    return [info.thread_id for info in await call(memory.checkpointer.threads, user_id=user_id)]


async def test_a_thread_belongs_to_all_who_took_a_turn(memory, call, clock):
    graph = graph_on(memory)
    for user in ("alice", "bob", "alice", None, "carol"):
        await call(graph.invoke, HI, turn(user_id=user))
        clock.now += 100
    await call(graph.invoke, HI, turn("2", "bob"))
    (info,) = await call(memory.checkpointer.threads, user_id="alice")
    assert (info.thread_id, info.user_id) == ("1", "carol")
    assert {user: at.timestamp() - NOW for user, at in info.users.items()} == {"alice": 200, "bob": 100, "carol": 400}
    assert await threads_of(memory, call, "bob") == ["2", "1"]
    assert await threads_of(memory, call, "carol") == ["1"]
    assert [info.thread_id for info in await call(memory.checkpointer.threads)] == ["2", "1"]
    assert await threads_of(memory, call, None) == []
    assert await threads_of(memory, call, "dave") == []


async def test_threads_of_a_user_are_listed_by_their_last_turn_and_in_pages(memory, call, clock):
    graph = graph_on(memory)
    for thread_id in "abc":
        await call(graph.invoke, HI, turn(thread_id, "alice"))
        clock.now += 1
    await call(graph.invoke, HI, turn("a", "bob"))
    assert await threads_of(memory, call, "alice") == ["a", "c", "b"]
    pages = [await call(memory.checkpointer.threads, user_id="alice", limit=1, offset=at) for at in range(4)]
    assert [[info.thread_id for info in page] for page in pages] == [["a"], ["c"], ["b"], []]


async def test_threads_without_a_user_are_listed_for_nobody_and_no_thread_is_lost(memory, call, clock):
    graph = graph_on(memory)
    for thread_id, user in (("a", None), ("b", "alice"), ("c", None), ("d", "bob"), ("e", None)):
        await call(graph.invoke, HI, turn(thread_id, user))
        clock.now += 7_200  # a Redis index forgets missing members after an hour
    assert await threads_of(memory, call, None) == ["e", "c", "a"]
    pages = [await call(memory.checkpointer.threads, user_id=None, limit=2, offset=at) for at in (0, 1, 2, 3)]
    assert [[info.thread_id for info in page] for page in pages] == [["e", "c"], ["c", "a"], ["a"], []]
    await call(graph.invoke, HI, turn("c", "carol"))
    assert await threads_of(memory, call, None) == ["e", "a"]
    assert [info.thread_id for info in await call(memory.checkpointer.threads)] == ["c", "e", "d", "b", "a"]
    assert [await threads_of(memory, call, user) for user in ("alice", "bob", "carol")] == [["b"], ["d"], ["c"]]


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_the_runtime_context_names_a_user(memory, call, nested, durability):
    graph = graph_on(memory, nested=nested)
    for user in ("alice", "bob"):
        await call(graph.invoke, HI, turn(), context=Context(user), durability=durability)
    await call(graph.invoke, HI, turn("2"), context=Context(), durability=durability)
    assert await threads_of(memory, call, "alice") == ["1"]
    assert await threads_of(memory, call, "bob") == ["1"]
    (info, _) = sorted(await call(memory.checkpointer.threads), key=lambda info: info.thread_id)
    assert (info.user_id, set(info.users)) == ("bob", {"alice", "bob"})


async def test_a_context_that_is_a_mapping_names_a_user(memory, call):
    class Given(TypedDict):
        user_id: str

    await call(graph_on(memory, context=Given).invoke, HI, turn(), context={"user_id": "alice"})
    assert await threads_of(memory, call, "alice") == ["1"]


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("durability", ["async", "exit"])
async def test_the_state_names_a_user(memory, call, nested, durability):
    graph = graph_on(memory, nested=nested)
    for user in ("alice", "bob"):
        await call(graph.invoke, {**HI, "user_id": user}, turn(), durability=durability)
    await call(graph.invoke, HI, turn(), durability=durability)
    assert await threads_of(memory, call, "alice") == ["1"]
    (info,) = await call(memory.checkpointer.threads, user_id="bob")
    assert info.user_id == "bob"


async def test_the_config_goes_before_the_context_and_that_before_the_state(memory, call):
    graph = graph_on(memory)
    await call(graph.invoke, {**HI, "user_id": "carol"}, turn("1", "alice"), context=Context("bob"))
    await call(graph.invoke, {**HI, "user_id": "carol"}, turn("2"), context=Context("bob"))
    await call(graph.invoke, {**HI, "user_id": "carol"}, turn("3", ""), context=Context(""))
    found = {info.thread_id: set(info.users) for info in await call(memory.checkpointer.threads)}
    assert found == {"1": {"alice"}, "2": {"bob"}, "3": {"carol"}}


@pytest.mark.parametrize("value", [None, "", {"id": "alice"}, 4.5, True, "x" * 2000, "a\x00b"], ids=repr)
async def test_a_channel_that_holds_no_id_names_no_user(memory, call, value):
    await call(graph_on(memory).invoke, {**HI, "user_id": value}, turn())
    (info,) = await call(memory.checkpointer.threads)
    assert (info.user_id, dict(info.users)) == (None, {})


async def test_a_context_with_an_id_that_cannot_be_stored_is_refused(memory, call):
    with pytest.raises(InvalidInputError, match="user_id"):
        await call(graph_on(memory).invoke, HI, turn(), context=Context("x" * 2000))


async def test_a_deleted_thread_is_nobodys(memory, call):
    graph = graph_on(memory)
    for user in ("alice", "bob"):
        for thread_id in ("1", "2"):
            await call(graph.invoke, HI, turn(thread_id, user))
    await call(memory.checkpointer.delete_thread, "1")
    await call(memory.checkpointer.prune, ["2"], strategy="delete")
    assert [await threads_of(memory, call, user) for user in ("alice", "bob")] == [[], []]
    await call(graph.invoke, HI, turn("1", "bob"))
    assert [await threads_of(memory, call, user) for user in ("alice", "bob")] == [[], ["1"]]
    (info,) = await call(memory.checkpointer.threads)
    assert set(info.users) == {"bob"}


async def test_pruning_and_deleting_runs_leave_a_threads_users(memory, call):
    graph = graph_on(memory)
    for user in ("alice", "bob"):
        await call(graph.invoke, HI, turn("1", user))
    await call(memory.checkpointer.prune, ["1"])
    assert [await threads_of(memory, call, user) for user in ("alice", "bob")] == [["1"], ["1"]]


async def test_a_copy_has_the_same_users(memory, call, clock):
    graph = graph_on(memory)
    for user in ("alice", "bob"):
        await call(graph.invoke, HI, turn("1", user))
        clock.now += 100
    await call(memory.checkpointer.copy_thread, "1", "2")
    await call(memory.checkpointer.delete_thread, "1")
    for user in ("alice", "bob"):
        (info,) = await call(memory.checkpointer.threads, user_id=user)
        assert info.thread_id == "2"
        assert info.users == {
            "alice": datetime.fromtimestamp(NOW, UTC),
            "bob": datetime.fromtimestamp(NOW + 100, UTC),
        }


async def test_an_expired_thread_is_nobodys(url, call, clock):
    with AgentMemory.from_url(url, ttl=60) as memory:
        graph = graph_on(memory)
        for user in ("alice", "bob"):
            await call(graph.invoke, HI, turn("1", user))
        clock.now += 60
        assert [await threads_of(memory, call, user) for user in ("alice", "bob")] == [[], []]
        await call(memory.sweep)
        await call(graph.invoke, HI, turn("1", "bob"))
        clock.now -= 60
        assert [await threads_of(memory, call, user) for user in ("alice", "bob")] == [[], ["1"]]
        await call(memory.close)


async def test_users_of_different_tenants_are_apart(url, call):
    with AgentMemory.from_url(url, tenant="a") as ours, AgentMemory(ours.backend, tenant="b") as theirs:
        await call(graph_on(ours).invoke, HI, turn("1", "alice"))
        await call(graph_on(theirs).invoke, HI, turn("1", "bob"))
        assert await threads_of(ours, call, "bob") == []
        assert await threads_of(theirs, call, "bob") == ["1"]
        await call(ours.close)
