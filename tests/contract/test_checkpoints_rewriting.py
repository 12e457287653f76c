"""Stored threads are rewritten in today's shape: the same states without a function, beside writers, and once."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from database import database
from former_app import former_app
from langchain_core.messages import AIMessage
from langgraph.types import Command
from test_checkpoints_migration import BIG, CONFIG, convert, popped, renamed, reopened, store, talk

from langchain_agentmem import (
    AgentMemory,
    AgentMemSaver,
    ConfigurationError,
    InvalidTypeError,
    MigrationError,
    MissingClassError,
)


def played(memory: Any, *, delta: bool = False, turns: int = 3) -> list[Any]:
    """A thread of several turns that waits for an answer; returns its history."""
    graph = talk(memory.checkpointer, "msgs", delta=delta)
    for _ in range(turns):
        graph.invoke({"msgs": ["begin"]}, CONFIG)
        graph.invoke(Command(resume="42"), CONFIG)
    graph.invoke({"msgs": ["begin"]}, CONFIG)
    return [comparable(state, "msgs") for state in graph.get_state_history(CONFIG)]


def comparable(state: Any, name: str) -> Any:
    ids = [where and where["configurable"]["checkpoint_id"] for where in (state.config, state.parent_config)]
    results = [one.result and one.result.get(name) for one in state.tasks]
    tasks = [(one.id, one.name, one.interrupts) for one in state.tasks]
    return state.values.get(name), state.next, ids, state.created_at, tasks, results


@pytest.mark.parametrize("delta", [False, True])
@pytest.mark.parametrize("compact", [True, False])
async def test_a_rewritten_thread_is_read_and_resumed_without_a_function(url, call, delta, compact):
    with AgentMemory.from_url(url, compact=compact) as memory:
        before = played(memory, delta=delta)
        (thread,) = memory.checkpointer.threads()
        done = await call(memory.checkpointer.migrate, renamed)
        assert (done.threads, done.renamed, done.dry_run) == (1, {"msgs": "messages"}, False)
        assert done.checkpoints + done.unchanged == len(before)
        assert done.writes > 0
        (after,) = memory.checkpointer.threads()
        assert (after, after.users) == (thread, thread.users)
        graph = talk(memory.checkpointer, "messages", delta=delta)
        assert [comparable(state, "messages") for state in graph.get_state_history(CONFIG)] == before
        again = await call(memory.checkpointer.migrate, renamed)
        assert (again.threads, again.checkpoints, again.writes, again.unchanged) == (0, 0, 0, len(before))
        result = await call(graph.invoke, Command(resume="43"), CONFIG)
        assert result["messages"][: len(before[0][0])] == before[0][0]
        assert result["messages"][-4:] == ["answer: 43", "looked", BIG, f"{len(before[0][0]) + 3} entries"]


async def test_a_dry_run_counts_what_would_change_and_writes_nothing(memory, call):
    played(memory)
    before = list(memory.checkpointer.list(None))
    would = await call(memory.checkpointer.migrate, popped, dry_run=True)
    assert list(memory.checkpointer.list(None)) == before
    done = await call(memory.checkpointer.migrate, popped)
    assert would == type(done)(**{**vars(done), "dry_run": True})
    assert would.description == f"Would rewrite 1 threads, {done.checkpoints} checkpoints"
    assert "<th>pending writes</th>" in would._repr_html_()


@pytest.mark.parametrize("compact", [True, False])
async def test_values_of_classes_that_are_gone_are_rewritten(url, call, compact):
    with AgentMemory.from_url(url, compact=compact) as memory:
        with former_app() as app:
            where = store(memory, [AIMessage(BIG), app.Note(text=BIG), app.CardMessage(BIG, card="x")])
            memory.checkpointer.put_writes(where, [("notes", [app.Note(text="a")]), ("notes", ["b"])], "task")
        done = await call(memory.checkpointer.migrate, convert)
        assert done.classes == {"former_app_models.Note": 2, "former_app_models.CardMessage": 1}
        assert (done.checkpoints, done.writes) == (1, 1)
        found = await call(AgentMemSaver(memory.backend).get_tuple, CONFIG)
        note = {"was": "former_app_models.Note", "text": BIG}
        assert found.checkpoint["channel_values"] == {
            "notes": [AIMessage(BIG), note, AIMessage(BIG, additional_kwargs={"card": "x"})]
        }
        assert found.pending_writes == [("task", "notes", [{**note, "text": "a"}]), ("task", "notes", ["b"])]
        assert (await call(memory.checkpointer.migrate, convert)).checkpoints == 0


async def test_postgres_saver_reads_what_was_rewritten_for_it(postgres_database, call):
    from langgraph.checkpoint.postgres import PostgresSaver

    with AgentMemory.from_url(postgres_database, compact=False) as memory:
        with former_app() as app:
            store(memory, [app.Note(text=BIG)])
        await call(memory.checkpointer.migrate, convert)
    with PostgresSaver.from_conn_string(postgres_database) as theirs:
        found = theirs.get_tuple(CONFIG)
    assert found.checkpoint["channel_values"] == {"notes": [{"was": "former_app_models.Note", "text": BIG}]}


async def test_former_values_do_not_stay_in_the_database(lasting_url, call):
    with AgentMemory.from_url(lasting_url) as memory:
        played(memory, turns=6)
        with database(lasting_url) as opened:
            before = {place: len(opened.stored(place)) for place in ("values", "elements", "documents", "writes")}
        await call(memory.checkpointer.migrate, renamed)
        with database(lasting_url) as opened:
            after = {place: opened.stored(place) for place in before}
        assert not [one for one in after["values"] if "msgs" in str(one.key)]
        assert {place: len(rows) for place, rows in after.items()} == before


class Stopped(Exception):
    pass


@pytest.mark.parametrize("after", [1, 5])
async def test_a_rewriting_that_was_stopped_continues(memory, call, after):
    before = played(memory)
    calls = 0

    def count(done: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == after:
            raise Stopped

    with pytest.raises(Stopped):
        await call(memory.checkpointer.migrate, renamed, progress=count)
    graph = talk(reopened(memory, migrate=renamed), "messages")
    assert [comparable(state, "messages") for state in graph.get_state_history(CONFIG)] == before
    done = await call(memory.checkpointer.migrate, renamed)
    assert done.unchanged >= after
    graph = talk(memory.checkpointer, "messages")
    assert [comparable(state, "messages") for state in graph.get_state_history(CONFIG)] == before


class Twins:
    """Records which twin `call` calls."""

    def __init__(self, called: list[Any]) -> None:
        self._called = called

    def name(self) -> None:
        self._called.append("sync")

    async def aname(self) -> None:
        self._called.append("async")


async def test_a_thread_that_is_used_at_the_same_time_keeps_what_was_written(memory, call):
    """Between two checkpoints of the rewriting, the former version of the application goes on and a checkpoint is deleted."""
    played(memory, turns=1)
    former = talk(AgentMemSaver(memory.backend), "msgs")
    given = iter([Command(resume="late"), {"msgs": ["later"]}])
    twins: list[Any] = []
    await call(Twins(twins).name)
    invoke = former.ainvoke if twins == ["async"] else former.invoke

    def use(done: Any) -> Any:
        step = next(given, None)
        return None if step is None else invoke(step, CONFIG)

    await call(memory.checkpointer.migrate, renamed, progress=use)
    await call(memory.checkpointer.migrate, renamed)
    graph = talk(memory.checkpointer, "messages")
    result = await call(graph.invoke, Command(resume="44"), CONFIG)
    expected = talk(AgentMemSaver("sqlite:///:memory:"), "messages")
    for given in ("begin", "42", "begin", "late", "later", "44"):
        told: Any = Command(resume=given) if given in ("42", "late", "44") else {"messages": [given]}
        wanted = expected.invoke(told, CONFIG)
    assert result == wanted


async def test_a_thread_that_is_deleted_at_the_same_time_does_not_come_back(memory, call):
    played(memory)

    def delete(done: Any) -> None:
        memory.checkpointer.delete_thread("1")

    await call(memory.checkpointer.migrate, renamed, progress=delete)
    assert await call(memory.checkpointer.threads) == []
    assert await call(memory.checkpointer.get_tuple, CONFIG) is None


async def test_some_threads_are_rewritten_with_the_function_of_the_checkpointer(memory, call):
    played(memory)
    saver = reopened(memory, migrate=renamed)
    assert (await call(saver.migrate, thread_ids=["2"])).checkpoints == 0
    assert (await call(saver.migrate, thread_ids=["1"])).threads == 1


async def test_errors_name_the_checkpoint_and_leave_it_unchanged(memory, call):
    with former_app() as app:
        store(memory, [app.Note(text="a")])
    with pytest.raises(MissingClassError, match=r"Thread '1', checkpoint 'c1'.*left it unconverted"):
        await call(memory.checkpointer.migrate, renamed)
    with pytest.raises(MigrationError, match=r"Thread '1', checkpoint 'c1'.*KeyError"):
        await call(memory.checkpointer.migrate, lambda values, metadata: (values["nothing"], metadata))
    with pytest.raises(ConfigurationError, match="migrate needs a function"):
        await call(memory.checkpointer.migrate)
    with pytest.raises(InvalidTypeError, match="function must be a function"):
        await call(memory.checkpointer.migrate, "renamed")
    with former_app() as app, contextlib.suppress(MissingClassError):
        found = memory.checkpointer.get_tuple(CONFIG)
        assert found.checkpoint["channel_values"] == {"notes": [app.Note(text="a")]}


async def test_an_encrypted_thread_is_rewritten(url, call):
    with AgentMemory.from_url(url, key=bytes(32)) as memory:
        before = played(memory)
        await call(memory.checkpointer.migrate, renamed)
        graph = talk(memory.checkpointer, "messages")
        assert [comparable(state, "messages") for state in graph.get_state_history(CONFIG)] == before
        assert (await call(memory.checkpointer.migrate, renamed)).checkpoints == 0
