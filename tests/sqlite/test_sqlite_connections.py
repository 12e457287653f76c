"""The application's own connection, whatever its settings are; and waiting for others."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import threading
import time
import weakref
from collections import namedtuple
from decimal import Decimal
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory
from patience import PATIENCE
from surfaces import assert_used, use

from langchain_agentmem import (
    AgentMemory,
    ConfigurationError,
    StorageBusyError,
    StorageClosedError,
    StorageError,
)


def dicts(cursor: Any, row: Any) -> Any:
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}


def namedtuples(cursor: Any, row: Any) -> Any:
    return namedtuple("Row", [column[0] for column in cursor.description], rename=True)(*row)


def nothing(cursor: Any, row: Any) -> Any:
    return None


class Wrapped(sqlite3.Connection):
    """A connection whose cursors and statements are not what they are elsewhere."""

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    def execute(self, *args: Any) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize("row_factory", [None, sqlite3.Row, dicts, namedtuples, nothing])
@pytest.mark.parametrize("text_factory", [str, bytes, lambda data: data.decode("latin-1"), bytearray])
@pytest.mark.parametrize("place", ["file", "memory"])
async def test_every_row_and_text_factory_serves(tmp_path, call, row_factory, text_factory, place):
    path = tmp_path / "a.db" if place == "file" else ":memory:"
    connection = sqlite3.connect(path, check_same_thread=False)
    connection.row_factory, connection.text_factory = row_factory, text_factory
    with AgentMemory.from_connection(connection) as memory:
        for number in range(2):
            await use(memory, call, number)
            assert (connection.row_factory, connection.text_factory) == (row_factory, text_factory)
        await assert_used(memory, call, 2)
        assert [one.title for one in await call(memory.sessions.list)] == ["0"]
        await call(memory.store.put, ("é",), "ü", {"text": "crème"})
        assert (await call(memory.store.search, ("é",), query="creme"))[0].key == "ü"
    connection.row_factory = None
    assert connection.execute("SELECT 'a'").fetchone() == (text_factory(b"a") if text_factory is not str else "a",)
    connection.close()


@pytest.mark.parametrize("options", [
    {"detect_types": sqlite3.PARSE_DECLTYPES | sqlite3.PARSE_COLNAMES},
    {"isolation_level": None},
    {"isolation_level": "EXCLUSIVE"},
    {"cached_statements": 0},
    {"factory": Wrapped},
])  # fmt: skip
async def test_a_connection_may_be_made_in_any_way(tmp_path, call, options):
    connection = sqlite3.connect(tmp_path / "a.db", check_same_thread=False, **options)
    before = connection.isolation_level
    with AgentMemory.from_connection(connection) as memory:
        await use(memory, call, 0)
        await assert_used(memory, call, 1)
    assert connection.isolation_level == before
    connection.close()


@pytest.mark.parametrize("kind", ["INTEGER", "TEXT", "REAL", "BLOB"])
async def test_converters_for_our_types_are_refused_at_first_use(tmp_path, call, kind):
    connection = sqlite3.connect(tmp_path / "a.db", check_same_thread=False, detect_types=sqlite3.PARSE_DECLTYPES)
    sqlite3.register_converter(kind, lambda data: Decimal(len(data)))
    try:
        memory = AgentMemory.from_connection(connection)
        with pytest.raises(ConfigurationError, match="without detect_types"):
            await call(memory.store.put, ("a",), "k", {"n": 1})
    finally:
        sqlite3.converters.pop(kind)
    connection.close()


async def test_a_transaction_of_the_application_is_left_alone(tmp_path, call):
    connection = sqlite3.connect(tmp_path / "a.db", check_same_thread=False)
    with AgentMemory.from_connection(connection) as memory:
        for first in (True, False):
            connection.execute("CREATE TABLE IF NOT EXISTS mine (n)")
            connection.execute("INSERT INTO mine VALUES (1)")
            assert connection.in_transaction
            with pytest.raises(StorageError, match="in a transaction of the application"):
                await call(memory.store.put, ("a",), "k", {"n": 1})
            assert connection.in_transaction
            connection.commit()
            await call(memory.store.put, ("a",), "k", {"first": first})
    assert connection.execute("SELECT count(*) FROM mine").fetchone() == (2,)
    connection.close()


async def test_a_connection_that_the_application_closed_is_named(tmp_path, call):
    connection = sqlite3.connect(tmp_path / "a.db", check_same_thread=False)
    with AgentMemory.from_connection(connection) as memory:
        await call(memory.store.put, ("a",), "k", {"n": 1})
        connection.close()
        with pytest.raises(StorageClosedError, match="application closed the connection"):
            await call(memory.store.get, ("a",), "k")


def test_a_connection_bound_to_a_thread_is_named(tmp_path):
    connection = sqlite3.connect(tmp_path / "a.db")
    with (
        AgentMemory.from_connection(connection) as memory,
        pytest.raises(ConfigurationError, match="check_same_thread"),
    ):
        asyncio.run(memory.store.aput(("a",), "k", {"n": 1}))
    connection.close()


# Waiting


@pytest.mark.parametrize("one_session", [True, False])
async def test_a_thousand_turns_at_once(sqlite_url, one_session):
    with AgentMemory.from_url(f"{sqlite_url}?timeout=5&synchronous=normal") as memory:
        await memory.asetup()  # the first callers would wait for the one that makes the tables
        ids = ["s" if one_session else f"s{number}" for number in range(1_000)]
        turns = [
            memory.history(session).aadd_messages([HumanMessage(f"q{n}"), AIMessage(f"a{n}")])
            for n, session in enumerate(ids)
        ]
        await asyncio.gather(*turns)
        counts = [await memory.history(session).acount() for session in dict.fromkeys(ids)]
        assert sum(counts) == 2_000
        assert len(counts) == (1 if one_session else 1_000)


async def test_a_thousand_turns_of_chains_at_once(sqlite_url):
    with AgentMemory.from_url(f"{sqlite_url}?timeout=5&synchronous=normal") as memory:
        await memory.asetup()  # the first callers would wait for the one that makes the tables
        chain = RunnableWithMessageHistory(
            RunnableLambda(lambda given: AIMessage("ok")),
            memory.get_session_history,
            input_messages_key="question",
            history_messages_key="before",
        )
        await asyncio.gather(
            *(
                chain.ainvoke({"question": f"q{n}"}, {"configurable": {"session_id": f"s{n % 100}"}})
                for n in range(1_000)
            )
        )
        assert sum([await memory.history(f"s{n}").acount() for n in range(100)]) == 2_000


def test_a_caller_waits_as_long_as_those_ahead_finish(sqlite_url):
    """Each writer takes a quarter of the time limit, so the last of six waits longer than the limit."""
    with AgentMemory.from_url(f"{sqlite_url}?timeout=2") as memory:
        memory.store.put(("a",), "0", {})
        gate, failed = threading.Event(), []

        def program():
            gate.wait(0.5)
            yield from ()

        def write() -> None:
            try:
                memory.backend.write(program())
            except StorageBusyError as error:
                failed.append(error)

        threads = [threading.Thread(target=write) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert failed == []


def test_a_caller_gives_up_when_nobody_ahead_finishes(sqlite_url):
    with AgentMemory.from_url(f"{sqlite_url}?timeout=0.1") as memory:
        memory.store.put(("a",), "0", {})
        holds, end = threading.Event(), threading.Event()

        def program():
            holds.set()
            end.wait(PATIENCE)
            yield from ()

        thread = threading.Thread(target=memory.backend.write, args=(program(),))
        thread.start()
        assert holds.wait(PATIENCE)
        with pytest.raises(StorageBusyError, match=r"more than 0\.1 seconds"):
            memory.store.put(("a",), "1", {})
        end.set()
        thread.join(PATIENCE)
        memory.store.put(("a",), "2", {})
        assert sorted(item.key for item in memory.store.search(("a",))) == ["0", "2"]


@pytest.mark.parametrize("place", ["file", "memory"])
def test_a_call_within_a_call_of_the_same_thread_does_not_wait_for_it(sqlite_url, place):
    with AgentMemory.from_url(sqlite_url if place == "file" else "sqlite:///:memory:") as memory:
        memory.store.put(("a",), "k", {"n": 1})

        def program():
            with pytest.raises(StorageBusyError, match="within another call of the same thread"):
                memory.store.put(("a",), "k", {"n": 2})
            if place == "memory":
                with pytest.raises(StorageBusyError, match="within another call of the same thread"):
                    memory.store.get(("a",), "k")
            yield from ()

        began = time.monotonic()
        memory.backend.write(program())
        assert time.monotonic() - began < 10
        assert memory.store.get(("a",), "k").value == {"n": 1}


def test_another_process_that_keeps_writing_counts_as_progress(sqlite_url):
    path = sqlite_url.removeprefix("sqlite:///")
    with AgentMemory.from_url(f"{sqlite_url}?timeout=2") as memory:
        memory.store.put(("a",), "0", {})
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("CREATE TABLE others (n)")
        other.execute("BEGIN IMMEDIATE")
        done = threading.Event()
        writing = threading.Thread(target=lambda: (memory.store.put(("a",), "1", {}), done.set()))
        writing.start()
        pause = threading.Event()
        for _ in range(6):  # each holds the file for a quarter of the time limit
            pause.wait(0.5)
            other.execute("INSERT INTO others VALUES (1)")
            other.execute("COMMIT")
            try:
                other.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                break
        if other.in_transaction:
            other.execute("COMMIT")
        writing.join(PATIENCE)
        assert done.is_set()
        other.close()


async def test_a_read_only_connection_is_named_by_its_file(tmp_path, call):
    path = tmp_path / "existing.db"
    sqlite3.connect(path).close()
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, check_same_thread=False)
    with AgentMemory.from_connection(connection) as memory:
        for method, *arguments in (
            (memory.store.put, ("a",), "k", {"n": 1}),
            (memory.history("s").add_messages, [HumanMessage("hello")]),
            (memory.checkpointer.get, {"configurable": {"thread_id": "1"}}),
        ):
            with pytest.raises(StorageError, match=r"Cannot write to .*existing\.db"):
                await call(method, *arguments)
    connection.close()


async def test_a_connection_keeps_nothing_of_calls_that_are_over(sqlite_url, call):
    """Python's connection has a list of weak references to its cursors."""
    with AgentMemory.from_url(sqlite_url) as memory:
        history = memory.history("s")
        await call(history.add_messages, ["first"])
        before = dead_references()
        for number in range(450):
            await call(history.add_messages, [str(number)])
        assert dead_references() < before + 400  # it is cleared every 200 cursors


def dead_references() -> int:
    gc.collect()
    return sum(type(one) is weakref.ref and one() is None for one in gc.get_objects())


def test_transactions_leave_no_reference_cycles(tmp_path):
    with AgentMemory.from_url(f"sqlite:///{tmp_path}/a.db") as memory:
        for read in (lambda: memory.variables.all(user_id="a"), lambda: memory.variables.set("name", 1, user_id="a")):
            read()
            gc.collect()
            gc.disable()
            try:
                for _ in range(20):
                    read()
                assert gc.collect() == 0
            finally:
                gc.enable()
