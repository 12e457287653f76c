"""Opening a memory: what cannot be opened is a clear error, first use may happen anywhere and at once."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from database import database
from identity import without_ids
from langchain_core.messages import HumanMessage
from patience import PATIENCE

from langchain_agentmem import (
    AgentMemory,
    AgentMemStore,
    ConfigurationError,
    DamagedDataError,
    InvalidTypeError,
    StorageBusyError,
    StorageError,
)
from langchain_agentmem.backends.statements import load_statements


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mysql://localhost/db", "mysql"),
        ("postgresql://localhost/db?pool_size=0", "pool_size"),
        ("postgresql://localhost/db?pool_size=many", "pool_size"),
        ("postgresql://localhost/db?timeout=soon", "timeout"),
        ("postgresql://localhost/db?prepare=yes", "prepare"),
        ("postgresql://localhost/db?schema=", "schema"),
        ("sqlite3:///a.db", "sqlite3"),
        (
            "agentmem.db",
            r"begins with a scheme and a colon; got 'agentmem.db'\. For this file, pass 'sqlite:///agentmem.db'",
        ),
        ("", "begins with a scheme and a colon; got ''"),
        ("ann:hunter2@localhost/app", "^Unknown URL scheme 'ann' in the database URL. Use "),
        ("ann hunter2@localhost", r"begins with a scheme and a colon\. Use"),
        ("sqlite://", "contains no path"),
        ("sqlite:///", "contains no path"),
        ("sqlite://host/a.db", "contains no path"),
        ("sqlite:a.db", "contains no path"),
        ("sqlite:///a.db?speed=high", "speed"),
        ("sqlite:///a.db?timeout=soon", "timeout"),
        ("sqlite:///a.db?timeout=nan", "timeout"),
        ("sqlite:///a.db?timeout=-1", "timeout"),
        ("sqlite:///a.db?synchronous=off", "synchronous"),
    ],
)
def test_a_url_that_cannot_be_used_is_a_configuration_error(url, reason):
    with pytest.raises(ConfigurationError, match=reason):
        AgentMemory.from_url(url)
    with pytest.raises(ConfigurationError, match=reason):
        AgentMemStore.from_url(url)


@pytest.mark.parametrize("url", [None, 7, b"sqlite:///a.db"])
def test_a_url_that_is_no_string_is_refused(url):
    with pytest.raises(InvalidTypeError, match="URL must be a string"):
        AgentMemory.from_url(url)


def test_an_argument_that_is_not_known_is_refused(lasting_url):
    with pytest.raises(TypeError, match="speed"):
        AgentMemory.from_url(lasting_url, speed="high")


async def test_making_a_memory_touches_nothing(tmp_path, call):
    memory = AgentMemory.from_url(f"sqlite:///{tmp_path / 'unused.db'}")
    memory.history("s")
    await call(memory.close)
    assert list(tmp_path.iterdir()) == []


async def test_a_folder_that_does_not_exist_is_named(tmp_path, call):
    memory = AgentMemory.from_url(f"sqlite:///{tmp_path / 'nowhere' / 'a.db'}")
    with pytest.raises(ConfigurationError, match=r"nowhere does not exist"):
        await call(memory.history("s").count)
    (tmp_path / "nowhere").mkdir()
    assert await call(memory.history("s").count) == 0
    await call(memory.close)


async def test_a_folder_in_place_of_the_file_is_a_configuration_error(tmp_path, call):
    memory = AgentMemory.from_url(f"sqlite:///{tmp_path}")
    with pytest.raises(ConfigurationError, match="Cannot open"):
        await call(memory.history("s").add_messages, [HumanMessage("a")])
    await call(memory.close)


@pytest.mark.parametrize(
    "content", [b"This is a text, not a database.", b"\x00" * 10_000, b"SQLite format 3\x00" + b"x" * 5_000]
)
async def test_a_file_that_is_no_database_is_reported_and_left_as_it_is(tmp_path, call, content):
    file = tmp_path / "a.db"
    file.write_bytes(content)
    memory = AgentMemory.from_url(f"sqlite:///{file}")
    for method, *arguments in (
        (memory.history("s").count,),
        (memory.history("s").add_messages, [HumanMessage("a")]),
        (memory.store.get, ("a",), "k"),
    ):
        with pytest.raises(DamagedDataError, match=r"a\.db is not a SQLite database"):
            await call(method, *arguments)
    await call(memory.close)
    assert file.read_bytes() == content


async def test_an_empty_file_is_an_empty_database(tmp_path, call):
    (tmp_path / "a.db").write_bytes(b"")
    with AgentMemory.from_url(f"sqlite:///{tmp_path / 'a.db'}") as memory:
        await call(memory.history("s").add_messages, [HumanMessage("a")])
        assert await call(memory.history("s").count) == 1


async def test_our_tables_live_next_to_the_applications_own(tmp_path, call):
    connection = sqlite3.connect(tmp_path / "app.db")
    connection.execute("CREATE TABLE messages (text)")
    connection.execute("INSERT INTO messages VALUES ('mine')")
    connection.commit()
    with AgentMemory.from_url(f"sqlite:///{tmp_path / 'app.db'}") as memory:
        await call(memory.history("s").add_messages, [HumanMessage("a")])
    assert connection.execute("SELECT text FROM messages").fetchall() == [("mine",)]
    connection.close()


async def test_tables_of_another_version_are_refused_and_left_as_they_are(lasting_url, tmp_path, call):
    with AgentMemory.from_url(lasting_url) as memory:
        await call(memory.history("s").add_messages, [HumanMessage("a")])
    with database(lasting_url) as opened:
        version = opened.version()
        opened.set_version(999)
        with AgentMemory.from_url(lasting_url) as memory, pytest.raises(ConfigurationError, match="version 999"):
            await call(memory.history("s").add_messages, [HumanMessage("b")])
        assert opened.count("messages") == 1
        opened.set_version(version)  # the tables may be used again


async def test_file_names_may_hold_anything(tmp_path, call):
    for name in ("with space.db", "ü€😀.db", "it's.db", 'a"b.db', "a%20b.db", "a;b.db", "a&b=c.db", "[a].db"):
        quoted = name.replace("%", "%25")
        with AgentMemory.from_url(f"sqlite:///{tmp_path}/{quoted}") as memory:
            await call(memory.history("s").add_messages, [HumanMessage(name)])
        assert (tmp_path / name).is_file()


async def test_a_question_mark_and_a_hash_in_a_file_name_are_quoted(tmp_path, call):
    with AgentMemory.from_url(f"sqlite:///{tmp_path}/a%3Fb%23c.db") as memory:
        await call(memory.history("s").add_messages, [HumanMessage("a")])
    assert (tmp_path / "a?b#c.db").is_file()


async def test_an_unquoted_hash_never_leads_to_another_file(tmp_path, call):
    try:
        memory = AgentMemory.from_url(f"sqlite:///{tmp_path}/a#b.db")
    except ConfigurationError:
        return
    await call(memory.history("s").add_messages, [HumanMessage("a")])
    await call(memory.close)
    assert [file.name for file in tmp_path.iterdir()] == ["a#b.db"]


async def test_a_database_held_by_another_writer_is_a_clear_error_and_nothing_is_written(sqlite_url, call):
    with AgentMemory.from_url(f"{sqlite_url}?timeout=0.05") as memory:
        await call(memory.history("s").add_messages, [HumanMessage("a")])
        other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageBusyError, match="another writer"):
            await call(memory.history("s").add_messages, [HumanMessage("b")])
        assert without_ids(await call(memory.history("s").get_recent)) == [HumanMessage("a")]
        other.execute("ROLLBACK")
        await call(memory.history("s").add_messages, [HumanMessage("c")])
        assert without_ids(await call(memory.history("s").get_recent)) == [HumanMessage("a"), HumanMessage("c")]
        other.close()


async def test_a_database_that_may_not_be_written_can_be_read(sqlite_url, call):
    with AgentMemory.from_url(sqlite_url) as memory:
        await call(memory.history("s").add_messages, [HumanMessage("a")])
    connection = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), check_same_thread=False)
    connection.execute("PRAGMA query_only = ON")
    with AgentMemory.from_connection(connection) as memory:
        assert without_ids(await call(memory.history("s").get_recent)) == [HumanMessage("a")]
        with pytest.raises(StorageError, match="Cannot write to"):
            await call(memory.history("s").add_messages, [HumanMessage("b")])
        assert without_ids(await call(memory.history("s").get_recent)) == [HumanMessage("a")]
    connection.close()


async def test_a_database_that_was_never_written_can_be_read_first(memory, call):
    assert await call(memory.history("s").get_recent) == []
    assert await call(memory.sessions.list) == []
    assert await call(memory.store.search, ()) == []


@pytest.mark.parametrize("first_use", ["read", "write"])
def test_many_threads_may_use_a_new_database_first(url, first_use):
    barrier = threading.Barrier(6, timeout=PATIENCE)
    with AgentMemory.from_url(url) as memory:

        def use(number: int) -> int:
            barrier.wait()
            if first_use == "write":
                memory.history(f"s{number}").add_messages([HumanMessage("a")])
            return memory.history(f"s{number}").count()

        with ThreadPoolExecutor(6) as pool:
            assert list(pool.map(use, range(6))) == [int(first_use == "write")] * 6


def test_several_memories_of_one_process_may_use_a_new_database_first(lasting_url):
    barrier = threading.Barrier(6, timeout=PATIENCE)

    def use(number: int) -> None:
        with AgentMemory.from_url(lasting_url) as memory:
            barrier.wait()
            memory.history("s").add_messages([HumanMessage(str(number))])

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(use, range(6)))
    with AgentMemory.from_url(lasting_url) as memory:
        assert sorted(message.content for message in memory.history("s").get_recent()) == list("012345")


# Event loops


def test_one_memory_serves_several_event_loops_one_after_the_other(url):
    with AgentMemory.from_url(url) as memory:

        async def turn(number: int) -> int:
            await memory.history("s").aadd_messages([HumanMessage(str(number))])
            await memory.store.aput(("a",), str(number), {"n": number})
            return await memory.history("s").acount()

        assert [asyncio.run(turn(number)) for number in range(5)] == [1, 2, 3, 4, 5]
        assert memory.history("s").count() == 5
        assert len(memory.store.search(("a",))) == 5


def test_one_memory_serves_several_event_loops_at_once(url):
    barrier = threading.Barrier(4, timeout=PATIENCE)
    with AgentMemory.from_url(url) as memory:

        async def turns(number: int) -> None:
            await asyncio.gather(
                *(memory.history("s").aadd_messages([HumanMessage(f"{number}-{n}")]) for n in range(10))
            )
            assert await memory.history("s").acount() >= 10

        def run(number: int) -> None:
            barrier.wait()
            asyncio.run(turns(number))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(run, range(4)))
        stored = [message.content for message in memory.history("s").get_recent(100)]
        assert sorted(stored) == sorted(f"{number}-{n}" for number in range(4) for n in range(10))


async def test_sync_calls_work_inside_a_running_event_loop(memory):
    async def mixed(number: int) -> None:
        await memory.history("s").aadd_messages([HumanMessage("a")])
        memory.history("s").add_messages([HumanMessage("b")])
        await memory.history("s").acount()

    await asyncio.gather(*(mixed(number) for number in range(20)))
    assert memory.history("s").count() == 40


async def test_a_cancelled_write_is_stored_whole_or_not_at_all_and_the_memory_goes_on(sqlite_url):
    with AgentMemory.from_url(sqlite_url) as memory:
        history = memory.history("s")
        await history.aadd_messages([HumanMessage("before")])
        other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        task = asyncio.ensure_future(history.aadd_messages([HumanMessage("a"), HumanMessage("b")]))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        other.execute("ROLLBACK")
        other.close()
        await history.aadd_messages([HumanMessage("after")])
        stored = [message.content for message in await history.aget_recent()]
        assert stored in (["before", "after"], ["before", "a", "b", "after"], ["before", "after", "a", "b"])


MIGRATIONS = load_statements("langchain_agentmem.backends.sqlite", "migrations.sql")


async def test_a_file_of_the_first_version_is_brought_up_to_date_and_searched(sqlite_url, call):
    with AgentMemory.from_url(sqlite_url) as memory:
        await call(memory.history("s").add_messages, [HumanMessage("An old dog")])
    connection = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
    made = re.compile(r"(?:CREATE (\w+) (\w+)|ALTER TABLE (\w+) ADD COLUMN (\w+))")
    for statement in reversed(MIGRATIONS.values()):
        for kind, name, table, column in made.findall(statement)[:1]:
            if kind:
                connection.execute(f"DROP {kind} IF EXISTS {name}")  # a trigger was dropped with its table
            else:
                connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    connection.execute("UPDATE agentmem_schema SET version = 1")
    connection.commit()
    connection.close()
    with AgentMemory.from_url(sqlite_url) as memory:
        await call(memory.history("s").add_messages, [HumanMessage("A new dog")])
        found = await call(memory.history("s").search, "dogs")
        assert {one.message.content for one in found} == {"An old dog", "A new dog"}
        await call(memory.store.put, ("a",), "k", {"text": "pizza", "n": 1}, ["text"])
