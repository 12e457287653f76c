"""Threads copied from and to the checkpointers of other packages: the same states, and they resume in the same way."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sqlite3
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from conftest import new_url
from deepagents import create_deep_agent
from kept_threads import BIG, GRAPHS, USERS, chat, config, play, questions, resume, states, valkey_saver
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command
from processes import killed

from langchain_agentmem import (
    AgentMemory,
    AgentMemSaver,
    ConfigurationError,
    InvalidInputError,
    InvalidTypeError,
    ThreadInUseError,
)
from langchain_agentmem.testing import ScriptedChatModel

SAVERS = ("memory", "sqlite", "postgres", "valkey", "own")


@contextlib.asynccontextmanager
async def saver_of(kind: str, request: Any, tmp_path: Any) -> AsyncIterator[Any]:
    """A new saver of another package, or ours on SQLite."""
    if kind == "memory":
        yield InMemorySaver()
    elif kind == "sqlite":
        with SqliteSaver.from_conn_string(str(tmp_path / "theirs.db")) as saver:
            saver.setup()
            yield saver
    elif kind == "async-sqlite":
        async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "theirs.db")) as saver:
            await saver.setup()
            yield saver
    elif kind == "postgres":
        with PostgresSaver.from_conn_string(request.getfixturevalue("postgres_database")) as saver:
            saver.setup()
            yield saver
    elif kind == "async-postgres":
        async with AsyncPostgresSaver.from_conn_string(request.getfixturevalue("postgres_database")) as saver:
            await saver.setup()
            yield saver
    elif kind == "valkey":
        saver_class, client_class = valkey_saver()
        with client_class.from_url(new_url("redis", tmp_path)) as client:
            yield saver_class(client)
    elif kind == "async-valkey":
        saver_class, client_class = valkey_saver(asynchronous=True)
        async with client_class.from_url(new_url("redis", tmp_path)) as client:
            yield saver_class(client)
    else:
        with AgentMemSaver.from_url(f"sqlite:///{tmp_path / 'ours.db'}") as saver:
            yield saver


@pytest.mark.parametrize("kind", SAVERS)
async def test_threads_of_any_saver_are_the_same_here_and_resume(memory, call, kind, request, tmp_path):
    async with saver_of(kind, request, tmp_path) as saver:
        await play(saver)
        copied = await call(memory.checkpointer.copy_from, saver)
        assert (copied.threads, copied.skipped, copied.missing) == (len(GRAPHS), 0, ())
        before = await states(saver)
        assert await states(memory.checkpointer) == before
        assert await resume(memory.checkpointer) == await resume(saver)


@pytest.mark.parametrize("kind", ["async-sqlite", "async-postgres", "async-valkey"])
async def test_threads_of_asynchronous_savers_are_copied_in_their_loop(sqlite_memory, kind, request, tmp_path):
    async with saver_of(kind, request, tmp_path) as saver:
        await play(saver)
        with pytest.raises(ConfigurationError, match=r"asynchronous: use `await checkpointer\.acopy_from"):
            sqlite_memory.checkpointer.copy_from(saver)
        assert (await sqlite_memory.checkpointer.acopy_from(saver)).threads == len(GRAPHS)
        assert await states(sqlite_memory.checkpointer) == await states(saver)
        assert (await sqlite_memory.checkpointer.acopy_to(saver)).checkpoints == 0


@pytest.mark.parametrize("kind", SAVERS)
async def test_threads_are_copied_to_any_saver_and_resume_there(memory, call, kind, request, tmp_path):
    await play(memory.checkpointer)
    async with saver_of(kind, request, tmp_path) as saver:
        copied = await call(memory.checkpointer.copy_to, saver)
        assert copied.threads == len(GRAPHS)
        before = await states(memory.checkpointer)
        assert await states(saver) == before
        assert await call(memory.checkpointer.copy_to, saver) == type(copied)(skipped=copied.checkpoints)
        assert await resume(saver) == await resume(memory.checkpointer)


async def test_postgres_to_sqlite_to_memory_keeps_every_state(sqlite_memory, call, postgres_database):
    with PostgresSaver.from_conn_string(postgres_database) as source:
        source.setup()
        await play(source)
        await call(sqlite_memory.checkpointer.copy_from, source)
        last = InMemorySaver()
        await call(sqlite_memory.checkpointer.copy_to, last)
        assert await states(last) == await states(source)


async def test_a_copy_keeps_task_paths_and_indexes(sqlite_memory, call, tmp_path):
    """Tasks that were sent write in the order of their paths, which differs from that of their IDs."""
    with SqliteSaver.from_conn_string(str(tmp_path / "theirs.db")) as saver:
        await play(saver)
        await call(sqlite_memory.checkpointer.copy_from, saver)
        back = tmp_path / "back.db"
        with SqliteSaver.from_conn_string(str(back)) as copy:
            copy.setup()
            await call(sqlite_memory.checkpointer.copy_to, copy)
    query = "SELECT thread_id, checkpoint_ns, checkpoint_id, task_id, idx, task_path, channel FROM writes ORDER BY 1, 2, 3, 4, 5"
    rows = []
    for path in (tmp_path / "theirs.db", back):
        with contextlib.closing(sqlite3.connect(path)) as connection:
            rows.append(connection.execute(query).fetchall())
    assert rows[0] == rows[1]
    assert {path for *_, path, _ in rows[0]} != {""}


async def test_a_copy_keeps_the_users_and_the_times(memory, call):
    source = InMemorySaver()
    await play(source)
    await call(memory.checkpointer.copy_from, source)
    for name, user in USERS.items():
        (thread,) = await call(memory.checkpointer.threads, user_id=user)
        assert thread.thread_id == name
    first = min(one.checkpoint["ts"] for one in source.list(config("chat")))
    (thread,) = await call(memory.checkpointer.threads, user_id=USERS["chat"])
    assert thread.created_at.isoformat() == first


async def test_a_copy_between_ours_keeps_users_that_only_the_context_named(memory, call):
    with AgentMemory.from_url("sqlite:///:memory:") as former:
        graph = chat().compile(checkpointer=former.checkpointer)
        graph.invoke({"messages": [HumanMessage("a")]}, config("1"))
        former.checkpointer.put_writes(
            {"configurable": {**former.checkpointer.get_tuple(config("1")).config["configurable"], "user_id": "carol"}},
            [],
            "task",
        )
        await call(memory.checkpointer.copy_from, former.checkpointer)
        (source,), (copy,) = former.checkpointer.threads(), await call(memory.checkpointer.threads)
    assert list(copy.users) == ["carol"] == list(source.users)
    assert copy.users == source.users


async def test_some_threads_are_copied_and_unknown_ones_are_named(memory, call):
    source = InMemorySaver()
    await play(source)
    copied = await call(memory.checkpointer.copy_from, source, thread_ids=["chat", "nobody", "chat"])
    assert (copied.threads, copied.missing) == (1, ("nobody",))
    assert [one.thread_id for one in await call(memory.checkpointer.threads)] == ["chat"]


async def test_threads_whose_ids_are_numbers_are_copied_and_found(memory, call, tmp_path):
    source = InMemorySaver()
    chat().compile(checkpointer=source).invoke({"messages": [HumanMessage("a")]}, config(7))
    await call(memory.checkpointer.copy_from, source, thread_ids=[7])
    checkpoint = source.get_tuple(config("7")).checkpoint
    assert (await call(memory.checkpointer.get_tuple, config(7))).checkpoint == checkpoint
    with SqliteSaver.from_conn_string(str(tmp_path / "theirs.db")) as saver:
        saver.setup()
        assert (await call(memory.checkpointer.copy_to, saver, thread_ids=[7])).threads == 1
        assert saver.get_tuple(config("7")).checkpoint == checkpoint


async def test_threads_of_a_saver_with_a_migrate_function_are_copied_in_todays_shape(memory, call):
    def renamed(values: Any, metadata: Any) -> Any:
        values.rename("notes", "entries")
        return {name: value for name, value in values.items() if not name.startswith("branch:")}, metadata

    graph = questions().compile(checkpointer=memory.checkpointer)
    graph.invoke({"notes": ["begin"]}, config("questions"))
    today = AgentMemSaver(memory.backend, migrate=renamed)
    copy = InMemorySaver()
    await call(today.copy_to, copy)
    expected = today.get_tuple(config("questions"))
    assert copy.get_tuple(config("questions")).pending_writes == expected.pending_writes
    assert "entries" in copy.get_tuple(config("questions")).checkpoint["channel_values"]


async def test_our_own_threads_in_the_tables_of_postgres_saver_need_our_own_checkpointer(
    sqlite_memory, call, postgres_database
):
    with AgentMemSaver.from_url(postgres_database) as ours:
        chat().compile(checkpointer=ours).invoke({"messages": [HumanMessage(BIG)]}, config("1"))
        with (
            PostgresSaver.from_conn_string(postgres_database) as theirs,
            pytest.raises(
                InvalidInputError, match=r"thread '1', in a layout that PostgresSaver cannot read.*AgentMemSaver"
            ),
        ):
            await call(sqlite_memory.checkpointer.copy_from, theirs)
        assert (await call(sqlite_memory.checkpointer.copy_from, ours)).checkpoints == 3


class Stopped(Exception):
    pass


@pytest.mark.parametrize("after", [1, 7, 16])
async def test_a_copy_that_was_stopped_continues(memory, call, after):
    source = InMemorySaver()
    await play(source)
    calls = 0

    def count(done: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == after:
            raise Stopped

    with contextlib.suppress(Stopped):
        await call(memory.checkpointer.copy_from, source, progress=count)
    before = {name for name, _ in [(one.thread_id, 0) for one in await call(memory.checkpointer.threads)]}
    again = await call(memory.checkpointer.copy_from, source)
    assert again.skipped > 0
    assert before
    assert await states(memory.checkpointer) == await states(source)


async def test_a_later_copy_adds_what_is_new(memory, call):
    source = InMemorySaver()
    graph = questions().compile(checkpointer=source)
    graph.invoke({"notes": ["begin"]}, config("questions"), durability="sync")
    head = source.get_tuple(config("questions"))
    await call(memory.checkpointer.copy_from, source)
    source.put_writes(head.config, [("notes", ["late"])], "late task", "~late")
    assert (await call(memory.checkpointer.copy_from, source)).writes == 1
    stored = await call(memory.checkpointer.get_tuple, config("questions"))
    assert stored.pending_writes == source.get_tuple(config("questions")).pending_writes
    graph.update_state(config("questions"), {"notes": ["more"]}, as_node="look")
    assert (await call(memory.checkpointer.copy_from, source)).checkpoints == 1


async def test_a_thread_that_continued_here_is_refused(memory, call):
    source = InMemorySaver()
    await play(source)
    await call(memory.checkpointer.copy_from, source, thread_ids=["chat"])
    for saver in (memory.checkpointer, source):
        chat().compile(checkpointer=saver).invoke({"messages": [HumanMessage("on")]}, config("chat"))
    stored = await call(memory.checkpointer.list, config("chat"))
    with pytest.raises(
        ThreadInUseError, match="'chat': the target has a thread of this ID with checkpoints of its own"
    ):
        await call(memory.checkpointer.copy_from, source, thread_ids=["chat"])
    assert len(await call(memory.checkpointer.list, config("chat"))) == len(stored)


class Numbered(InMemorySaver):
    """A saver whose channel versions are integers, as those of a saver without a `get_next_version` of its own."""

    def get_next_version(self, current: Any, channel: Any) -> Any:
        return (current or 0) + 1


async def test_versions_that_are_numbers_become_text_and_the_thread_continues(memory, call):
    source = Numbered()
    await play(source)
    await call(memory.checkpointer.copy_from, source)
    assert await states(memory.checkpointer) == await states(source)
    assert await resume(memory.checkpointer) == await resume(source)


async def test_pending_sends_of_the_former_format_are_kept(memory, call, postgres_database):
    """Before version 4 of the format, sent tasks were writes of the parent."""
    with PostgresSaver.from_conn_string(postgres_database) as source:
        source.setup()
        first = {
            "v": 1,
            "id": "1ef4f797-8335-6428-8001-8a1503f9b875",
            "ts": "2024-07-31T20:14:19.804150+00:00",
            "channel_values": {"notes": ["a"]},
            "channel_versions": {"notes": 1},
            "versions_seen": {},
        }
        second = {**first, "id": "1ef4f797-8335-6428-8002-8a1503f9b875", "channel_versions": {"notes": 1}}
        one = source.put(config("old", checkpoint_ns=""), first, {"source": "loop"}, {"notes": "1"})
        source.put_writes(one, [("__pregel_tasks", {"node": "a"}), ("__pregel_tasks", {"node": "b"})], "task")
        source.put(one, second, {"source": "loop"}, {})
        expected = source.get_tuple(config("old")).checkpoint["channel_values"]
        assert expected["__pregel_tasks"] == [{"node": "a"}, {"node": "b"}]
        await call(memory.checkpointer.copy_from, source)
    stored = await call(memory.checkpointer.get_tuple, config("old"))
    assert stored.checkpoint["channel_values"] == expected
    assert stored.checkpoint["v"] == 1


class Silent(InMemorySaver):
    """A saver that does not list all threads."""

    def list(self, config: Any, **options: Any) -> Any:
        if config is None:
            raise ValueError("Runnable config must contain thread_id")
        return super().list(config, **options)


class Renamed(BaseCheckpointSaver[Any]):
    """Another package's saver: what it stores is known from its public methods only."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        for name in ("get_tuple", "list", "put", "put_writes", "get_next_version", "get_delta_channel_history"):
            setattr(self, name, getattr(inner, name))


async def test_a_saver_of_an_unknown_package_is_read_with_its_public_methods(memory, call):
    inner = Silent()
    await play(inner)
    with pytest.raises(InvalidInputError, match=r"Renamed cannot list its threads\. Pass their IDs.*Runnable config"):
        await call(memory.checkpointer.copy_from, Renamed(inner))
    await call(memory.checkpointer.copy_from, Renamed(inner), thread_ids=list(GRAPHS))
    assert await states(memory.checkpointer) == await states(inner)


async def test_a_context_manager_is_refused_with_its_use(memory, call):
    with pytest.raises(InvalidTypeError, match="Enter a context manager first"):
        await call(memory.checkpointer.copy_from, SqliteSaver.from_conn_string(":memory:"))
    with pytest.raises(InvalidInputError, match="copied to itself"):
        await call(memory.checkpointer.copy_from, memory.checkpointer)


async def test_a_long_thread_is_read_in_pages(sqlite_memory, call):
    source = Counting()
    graph = chat().compile(checkpointer=source)
    for turn in range(40):
        graph.invoke({"messages": [HumanMessage(f"{turn}")]}, config("long"))
    source.limits.clear()
    copied = await call(sqlite_memory.checkpointer.copy_from, source)
    assert copied.checkpoints == 120
    assert source.limits
    assert all(limit is not None and limit <= 16 for limit in source.limits)


class Counting(InMemorySaver):
    """A saver that records how many checkpoints a listing asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.limits: list[Any] = []

    def list(self, config: Any, *, filter: Any = None, before: Any = None, limit: Any = None) -> Any:
        self.limits.append(limit)
        return super().list(config, filter=filter, before=before, limit=limit)


def test_the_result_shows_as_a_table(sqlite_memory):
    shown = sqlite_memory.checkpointer.copy_from(InMemorySaver())._repr_html_()
    assert "<th>checkpoints</th>" in shown


@pytest.mark.parametrize("options", [{"key": bytes(32)}, {"compact": False}, {"ttl": 3600}])
async def test_a_memory_with_options_gets_the_same_threads(url, call, options):
    source = InMemorySaver()
    await play(source)
    with AgentMemory.from_url(url, **options) as memory:
        await call(memory.checkpointer.copy_from, source)
        assert await states(memory.checkpointer) == await states(source)
        (thread,) = await call(memory.checkpointer.threads, user_id=USERS["chat"])
        assert (thread.expires_at is not None) == ("ttl" in options)
        assert (await call(memory.checkpointer.copy_from, source)).checkpoints == 0
        assert await resume(memory.checkpointer) == await resume(source)


def agent(saver: Any, answers: list[Any]) -> Any:
    """An agent of deepagents, which waits for the approval of each written file."""
    model = ScriptedChatModel(answers)
    return create_deep_agent(model, checkpointer=saver, interrupt_on={"write_file": True})


def writes_file(number: int) -> AIMessage:
    arguments = {"file_path": f"/note-{number}.txt", "content": f"{number} {BIG}"}
    call: Any = {"name": "write_file", "args": arguments, "id": f"call-{number}", "type": "tool_call"}
    return AIMessage("", tool_calls=[call], id=f"a{number}")


async def test_an_agent_that_waits_for_approval_goes_on_after_the_copy(memory, call):
    """The messages of deepagents are a delta channel."""
    source = InMemorySaver()
    approve = Command(resume={"decisions": [{"type": "approve"}]})
    before = agent(source, [writes_file(1), writes_file(2)])
    before.invoke({"messages": [HumanMessage("Note this", id="h1")]}, config("agent"))
    before.invoke(approve, config("agent"))
    await call(memory.checkpointer.copy_from, source)
    results = []
    for saver in (source, memory.checkpointer):
        graph = agent(saver, [AIMessage("Done", id="a3")])
        results.append(await call(graph.invoke, approve, config("agent")))
        assert graph.get_state(config("agent")).next == ()
    # LangGraph gives the results of tools new IDs.
    first, second = ([(one.type, one.content) for one in result["messages"]] for result in results)
    assert first == second
    assert [one for one, _ in first] == ["human", "ai", "tool", "ai", "tool", "ai"]
    assert {name: file["content"] for name, file in results[1]["files"].items()} == {
        f"/note-{number}.txt": results[0]["files"][f"/note-{number}.txt"]["content"] for number in (1, 2)
    }


def copy_until_killed(path: str, url: str, sender: Any) -> None:
    done = iter(range(10_000))
    with SqliteSaver.from_conn_string(path) as source, AgentMemSaver.from_url(url) as target:
        target.copy_from(source, progress=lambda _: sender.send(next(done)))
        while True:
            sender.send(next(done))


@pytest.mark.parametrize("acknowledged", [1, 4])
async def test_a_copy_whose_process_was_killed_continues(lasting_url, call, tmp_path, acknowledged):
    path = str(tmp_path / "theirs.db")
    with SqliteSaver.from_conn_string(path) as source:
        await play(source)
        graph = chat().compile(checkpointer=source)
        for turn in range(20):
            graph.invoke({"messages": [HumanMessage(f"{turn}", id=f"more {turn}")]}, config("chat"))
        killed(functools.partial(copy_until_killed, path), lasting_url, acknowledged)
        with AgentMemSaver.from_url(lasting_url) as target:
            copied = await call(target.copy_from, source)
            assert copied.skipped > 0
            assert await states(target) == await states(source)
            assert await resume(target) == await resume(source)


async def test_a_cancelled_copy_waits_for_the_call_of_a_synchronous_saver():
    started, proceed, stored = threading.Event(), threading.Event(), []

    class Synchronous(InMemorySaver):
        async def aput(self, *_: Any, **__: Any) -> Any:
            raise NotImplementedError

        def put(self, *given: Any, **options: Any) -> Any:
            started.set()
            proceed.wait()
            result = super().put(*given, **options)
            stored.append(result)
            return result

    with AgentMemory.from_url("sqlite:///:memory:") as memory:
        builder = StateGraph(MessagesState).add_node("reply", lambda _: {"messages": [AIMessage("Hi")]})
        graph = builder.add_edge(START, "reply").compile(checkpointer=memory.checkpointer)
        graph.invoke({"messages": [HumanMessage("Hello")]}, {"configurable": {"thread_id": "t"}})
        copying = asyncio.ensure_future(memory.checkpointer.acopy_to(Synchronous()))
        await asyncio.to_thread(started.wait)
        copying.cancel()
        for _ in range(10):
            await asyncio.sleep(0)
        waited = not copying.done()
        proceed.set()
        with pytest.raises(asyncio.CancelledError):
            await copying
        assert waited
        assert len(stored) == 1
