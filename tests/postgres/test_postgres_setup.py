"""Making the tables: by many at once, beside LangGraph's own, in a schema, in a language; and what the hot paths cost."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from counting import RoundTrips
from database import database
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.store.postgres import PostgresStore
from patience import PATIENCE
from processes import CONTEXT
from profiles import taking_turns
from psycopg.rows import dict_row

from langchain_agentmem import AgentMemory, ConfigurationError, InvalidInputError
from langchain_agentmem.backends.digests import digest_of_ids
from langchain_agentmem.backends.postgres import migrating
from langchain_agentmem.encoding.codec import Codec

LOCK = 0x6167656E746D656D
"""The advisory lock of whoever makes the tables."""

VECTOR_LOCK = 0x6167656E74766563
"""The advisory lock of the transaction that makes the table of vectors."""

CONFIG: Any = {"configurable": {"thread_id": "1"}}
BIG = "a text that is long enough to be stored as an element of its own, not within the checkpoint. " * 4


def talk(saver: Any) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("reply", lambda state: {"messages": [AIMessage(f"{len(state['messages'])} {BIG}")]})
    builder.add_edge(START, "reply")
    return builder.compile(checkpointer=saver)


def set_up_theirs(url: str) -> None:
    with database(url) as opened:
        schema = opened.schema
    with psycopg.connect(url.partition("?")[0], autocommit=True, prepare_threshold=0, row_factory=dict_row) as one:
        one.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
        one.execute(f'SET search_path = "{schema}", public')
        PostgresSaver(one).setup()
        PostgresStore(one).setup()


def begin(url: str, number: int, barrier: Any) -> None:
    with AgentMemory.from_url(url) as memory:
        barrier.wait(PATIENCE)
        memory.history("s").add_messages([HumanMessage(str(number))])
        memory.store.put(("a",), str(number), {"n": number})


@pytest.fixture
def fresh_url(postgres_url: str) -> str:
    """A schema that does not exist yet."""
    with database(postgres_url) as opened:
        opened.execute(f'DROP SCHEMA IF EXISTS "{opened.schema}" CASCADE')
    return postgres_url


def test_16_processes_may_be_the_first_at_once(fresh_url):
    barrier = CONTEXT.Barrier(16)
    processes = [CONTEXT.Process(target=begin, args=(fresh_url, number, barrier)) for number in range(16)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE)
    assert [process.exitcode for process in processes] == [0] * 16
    with AgentMemory.from_url(fresh_url) as memory:
        assert memory.history("s").count() == 16
        assert len(memory.store.search(("a",), limit=100)) == 16


@pytest.mark.parametrize("first", ["theirs", "ours"])
def test_langgraphs_own_setup_may_come_before_or_after(fresh_url, first):
    if first == "theirs":
        set_up_theirs(fresh_url)
    with AgentMemory.from_url(fresh_url) as memory:
        talk(memory.checkpointer).invoke({"messages": [HumanMessage("hi")]}, CONFIG)
    set_up_theirs(fresh_url)
    with AgentMemory.from_url(fresh_url) as memory:
        assert len(talk(memory.checkpointer).get_state(CONFIG).values["messages"]) == 2


@pytest.mark.parametrize("schema", ["named", "first of the search path"])
async def test_a_caller_that_comes_after_a_cancelled_one_finds_the_tables_of_others(fresh_url, schema):
    """The server's connection of the cancelled caller remembers that there were no tables."""
    base, _, name = fresh_url.partition("?schema=")
    url = fresh_url if schema == "named" else f"{base}?options=-csearch_path%3D{name}"
    where = url if schema != "named" else base
    placed = {"schema": name} if schema == "named" else {}
    with psycopg.connect(base, autocommit=True) as gate, psycopg.connect(base) as slow:
        gate.execute(f'CREATE SCHEMA "{name}"')
        idle = [psycopg.connect(base, autocommit=True) for _ in range(25)]  # as a server in use has them
        for connection in idle:
            connection.execute("SELECT to_regclass('agentmem_schema')")
        slow.execute(f'CREATE TABLE "{name}".checkpoint_migrations (v int)')
        kept = await psycopg.AsyncConnection.connect(where, autocommit=True)
        early = AgentMemory.from_connection(kept, **placed)
        async with kept, AgentMemory.from_url(url) as late:
            cancelled = asyncio.create_task(early.history("s").acount())
            await asyncio.wait({cancelled}, timeout=0.5)
            cancelled.cancel()
            await asyncio.gather(cancelled, return_exceptions=True)
            slow.rollback()
            gate.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
            turns = []
            for memory in (late, early):  # the first makes the tables
                turns.append(asyncio.create_task(memory.history("s").aadd_messages([HumanMessage("a")])))
                await asyncio.wait(turns, timeout=0.3)
            gate.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))
            await asyncio.gather(*turns)
            assert await early.history("s").acount() == 2
        for connection in idle:
            connection.close()


def migrate(url: str) -> None:
    with AgentMemory.from_url(url) as memory:
        driver: Any = memory.backend.driver
        driver.write(migrating.migrate(driver.settings.schema, "english"))


def test_a_caller_that_waited_while_the_tables_were_made_alters_nothing(postgres_url):
    def functions() -> list[Any]:
        with database(postgres_url) as opened:
            of_ours = "pronamespace = current_schema()::regnamespace"
            return opened.execute(f"SELECT oid, xmin::text FROM pg_proc WHERE {of_ours} ORDER BY oid")

    AgentMemory.from_url(postgres_url).history("s").count()
    before = functions()
    assert len(before) > 20
    migrate(postgres_url)
    assert functions() == before


def test_a_migration_and_the_first_vector_may_alter_the_same_function(fresh_url, monkeypatch):
    """They do so one after the other: Postgres refuses the second of two concurrent changes."""
    alter = "ALTER FUNCTION {name} SET search_path = {path}"
    with database(fresh_url) as storing, database(fresh_url) as other, ThreadPoolExecutor(1) as pool:
        AgentMemory.from_url(fresh_url).history("s").count()
        (name, path), *_ = storing.execute(
            "SELECT oid::regprocedure::text, current_schema() FROM pg_proc "
            "WHERE pronamespace = current_schema()::regnamespace AND proname = 'agentmem_put_items'"
        )
        storing.execute("BEGIN")
        storing.execute("SELECT pg_advisory_xact_lock(?)", VECTOR_LOCK)
        storing.execute(alter.format(name=name, path=path))
        monkeypatch.setattr(migrating, "VERSION", migrating.VERSION + 1)
        migrating_ = pool.submit(migrate, fresh_url)
        while not other.execute(
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'pg_advisory|ALTER'"
        ):
            assert not migrating_.done()
        storing.execute("COMMIT")
        migrating_.result()
        storing.execute("UPDATE agentmem_schema SET version = version - 1")  # later tests use the schema again


async def test_tables_that_somebody_makes_at_the_same_time_are_no_error(fresh_url, call):
    """LangGraph's `setup()` takes no lock: it may commit between our look and our CREATE TABLE."""
    base, _, schema = fresh_url.partition("?schema=")
    with psycopg.connect(base, autocommit=True) as connection, psycopg.connect(base) as theirs:
        connection.execute(f'CREATE SCHEMA "{schema}"')
        theirs.execute(f'CREATE TABLE "{schema}".checkpoint_migrations (v integer PRIMARY KEY)')
        with AgentMemory.from_url(fresh_url) as memory:
            counting = asyncio.create_task(asyncio.to_thread(memory.history("s").count))
            acounting = asyncio.create_task(memory.history("s").acount())
            await asyncio.wait({counting, acounting}, timeout=0.5)
            theirs.commit()
            assert await asyncio.gather(counting, acounting) == [0, 0]
            await call(memory.close)


def test_a_migration_that_fails_leaves_nothing(fresh_url):
    with pytest.raises(ConfigurationError, match="klingon"):
        AgentMemory.from_url(f"{fresh_url}&language=klingon").history("s").count()
    with database(fresh_url) as opened:
        assert opened.execute("SELECT 1 FROM pg_namespace WHERE nspname = ?", opened.schema) == []
    with AgentMemory.from_url(fresh_url) as memory:
        assert memory.history("s").count() == 0


def test_statements_by_key_are_planned_once(postgres_url):
    """Postgres plans them in every call otherwise, which takes longer than the statement."""
    with AgentMemory.from_url(postgres_url) as memory, database(postgres_url) as connection:
        memory.store.put(("a",), "k", {"n": 1})
        functions = connection.execute(
            "SELECT proname, proconfig FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace "
            "WHERE nspname = current_schema()"
        )
        settings = {name: settings for name, settings in functions if name in migrating._PLANNED_ONCE}
    assert sorted(settings) == sorted(migrating._PLANNED_ONCE)
    assert all("plan_cache_mode=force_generic_plan" in one for one in settings.values())


def test_schemas_are_apart(fresh_url):
    other = f"{fresh_url}_other"
    with AgentMemory.from_url(fresh_url) as one, AgentMemory.from_url(other) as two:
        one.history("s").add_messages([HumanMessage("one")])
        one.store.put(("a",), "k", {"n": 1})
        talk(one.checkpointer).invoke({"messages": [HumanMessage("hi")]}, CONFIG)
        assert two.history("s").count() == 0
        assert two.store.search(()) == []
        assert two.checkpointer.threads() == []
    with database(other) as opened:
        opened.execute(f'DROP SCHEMA "{opened.schema}" CASCADE')


def test_any_name_of_a_schema_is_taken_as_it_is(fresh_url):
    base = fresh_url.partition("?")[0]
    for name in ('we"ird', "UPPER lower", "50%25s", "ünï"):
        with AgentMemory.from_url(f"{base}?schema={name}") as memory:
            memory.history("s").add_messages([HumanMessage("a")])
            memory.store.put(("a",), "k", {"text": "pizza"})
            assert [item.key for item in memory.store.search((), query="pizzas")] == ["k"]
            talk(memory.checkpointer).invoke({"messages": [HumanMessage("hi")]}, CONFIG)
        with psycopg.connect(base, autocommit=True) as connection:
            quoted = name.replace('"', '""').replace("%25", "%")
            connection.execute(f'DROP SCHEMA "{quoted}" CASCADE')


def test_texts_are_searched_in_the_language_of_the_url(fresh_url):
    german = f"{fresh_url}&language=german"
    with AgentMemory.from_url(german) as memory:
        memory.store.put(("a",), "k", {"text": "Sie mag die großen Häuser"})
        assert [item.key for item in memory.store.search((), query="Haus")] == ["k"]
    with AgentMemory.from_url(fresh_url) as memory, pytest.raises(ConfigurationError, match="language=german"):
        memory.store.search((), query="Haus")


# What the hot paths cost


async def test_each_operation_is_one_round_trip(postgres_url, call, monkeypatch):
    trips = RoundTrips(monkeypatch)
    with AgentMemory.from_url(postgres_url) as memory:
        history, store, saver = memory.history("s", max_messages=4), memory.store, memory.checkpointer
        await call(talk(saver).invoke, {"messages": [HumanMessage(BIG)]}, CONFIG)
        latest = await call(saver.get_tuple, CONFIG)
        values, versions = latest.checkpoint["channel_values"], latest.checkpoint["channel_versions"]
        values = {**values, "messages": [*values["messages"], AIMessage(BIG)]}
        versions = {**versions, "messages": f"{versions['messages']}1"}
        given = {**latest.checkpoint, "id": "9", "channel_values": values, "channel_versions": versions}
        operations: dict[str, tuple[Any, ...]] = {
            "history write": (history.add_messages, [HumanMessage("a"), AIMessage("b")]),
            "history read": (history.get_recent,),
            "count": (history.count,),
            "clear": (history.clear,),
            "put": (store.put, ("a",), "k", {"text": "pizza"}),
            "get": (store.get, ("a",), "k"),
            "search": (store.search, ("a",)),
            "filter": (store.search, ("a",)),
            "delete": (store.delete, ("a",), "k"),
            "namespaces": (store.list_namespaces,),
            "checkpoint read": (saver.get_tuple, CONFIG),
            "checkpoint write": (saver.put, latest.config, given, {}, {"messages": versions["messages"]}),
            "pending writes": (saver.put_writes, latest.config, [("messages", [AIMessage(BIG)])], "task"),
            "copy": (saver.copy_thread, "1", "2"),
            "delete thread": (saver.delete_thread, "2"),
            "sessions": (memory.sessions.list,),
            "threads": (saver.threads,),
        }
        measured = {}
        for name, (method, *arguments) in operations.items():
            trips.reset()
            await call(method, *arguments)
            measured[name] = trips.reset()
        await call(memory.close)
    # What deletes messages or threads deletes the notes about them in the same transaction.
    deleting = {"clear", "delete thread"}
    assert {name: trips for name, trips in measured.items() if name not in deleting} == dict.fromkeys(
        operations.keys() - deleting, 1
    )
    assert all(measured[name] <= 5 for name in deleting)


def test_deleting_among_ten_thousand_checkpoints_scans_no_table(postgres_url):
    """The tables hold seven threads of the same kind, six of them copied on the server."""
    others = ("second", "third", "fourth", "fifth", "sixth", "seventh")
    config: Any = {"configurable": {"thread_id": "long", "checkpoint_ns": ""}}
    log: list[str] = []
    with AgentMemory.from_url(postgres_url) as memory, database(postgres_url) as opened:
        saver = memory.checkpointer
        for number in range(1_500):
            if number % 3 == 2:
                log = [*(log if len(log) < 40 else log[:20]), f"{number} {BIG}"]
            version = {"log": f"{number:08}.1"}
            given: Any = {
                "v": 4,
                "id": f"{number:08}",
                "ts": "",
                "versions_seen": {},
                "channel_values": {"log": log},
                "channel_versions": version,
            }
            config = saver.put(config, given, {"run_id": f"run {number // 50}"}, version)
        for other in others:
            saver.copy_thread("long", other)
        opened.execute("ANALYZE")

    def scanned() -> dict[str, int]:
        """The rows that sequential scans of our tables have read."""
        with database(postgres_url) as other:
            rows = other.execute(
                "SELECT relname, seq_tup_read FROM pg_stat_user_tables WHERE schemaname = ?", other.schema
            )
        return {name: read for name, read in rows if name not in ("agentmem_threads", "agentmem_schema")}

    before = scanned()  # a session's counts are there when it has ended
    with AgentMemory.from_url(postgres_url) as memory:
        saver = memory.checkpointer
        saver.delete_for_runs(["run 3"])
        saver.copy_thread("second", "copy")
        saver.delete_thread("copy")
        saver.prune(["second"])
    with database(postgres_url) as opened:
        while opened.execute(
            "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT%agentmem_delete%' AND pid <> pg_backend_pid()"
        ):
            pass
        assert scanned() == before
    with AgentMemory.from_url(postgres_url) as memory, database(postgres_url) as opened:
        saver = memory.checkpointer
        (kept,) = saver.list({"configurable": {"thread_id": "second"}})
        assert kept.checkpoint["channel_values"]["log"] == log
        left = list(saver.list({"configurable": {"thread_id": "long"}}, limit=120))
        assert left[0].checkpoint["channel_values"]["log"] == log
        assert all(one.checkpoint["channel_values"]["log"][-1].endswith(BIG) for one in left)
        assert {info.thread_id: info.checkpoint_count for info in saver.threads()} == {
            **dict.fromkeys(("long", *others), 1_450),
            "second": 1,
        }
        elements = dict(
            opened.execute(
                "SELECT t.name, count(*) FROM agentmem_elements AS e JOIN agentmem_threads AS t ON t.id = e.thread GROUP BY 1"
            )
        )
        # What the one checkpoint is spliced from may hold some more.
        assert len(log) <= elements["second"] < 100
        assert 500 - 17 <= elements["long"] == elements["third"] <= 500


# Limits


async def test_ten_megabytes_come_back_equal(postgres_url):
    call = taking_turns()
    text = ("abcdefg \x00 ü€😀 " * 700_000)[: 10 * 1024 * 1024]
    with AgentMemory.from_url(postgres_url) as memory:
        await call(memory.history("s").add_messages, [HumanMessage(text)])
        assert (await call(memory.history("s").get_recent))[0].content == text
        await call(memory.store.put, ("a",), "k", {"text": text})
        assert (await call(memory.store.get, ("a",), "k")).value == {"text": text}
        await call(talk(memory.checkpointer).invoke, {"messages": [HumanMessage(text)]}, CONFIG)
        state = await call(talk(memory.checkpointer).get_state, CONFIG)
        assert state.values["messages"][0].content == text
        await call(memory.close)


async def test_a_kilobyte_of_anything_is_an_id(postgres_url, call):
    import secrets

    long = secrets.token_hex(512)
    config: Any = {"configurable": {"thread_id": long}}
    with AgentMemory.from_url(postgres_url) as memory:
        await call(memory.history(long, user_id=long[::-1], agent=long).add_messages, [HumanMessage("a")])
        assert await call(memory.history(long, user_id=long[::-1], agent=long).count) == 1
        await call(memory.store.put, (long,), long, {"n": 1})
        assert (await call(memory.store.get, (long,), long)).value == {"n": 1}
        await call(talk(memory.checkpointer).invoke, {"messages": [HumanMessage("hi")]}, config)
        assert len((await call(talk(memory.checkpointer).get_state, config)).values["messages"]) == 2
        too_long = tuple(secrets.token_hex(512) for _ in range(4))
        with pytest.raises(InvalidInputError, match="Postgres' indexes hold no longer values"):
            await call(memory.store.put, too_long, long, {"n": 1})
        assert len(await call(memory.store.search, ())) == 1
        await call(memory.close)


async def test_tables_of_the_first_version_are_brought_up_to_date_and_searched(postgres_url, call, monkeypatch):
    with database(postgres_url) as opened:
        opened.execute(f'DROP SCHEMA IF EXISTS "{opened.schema}" CASCADE')
    with monkeypatch.context() as patched, AgentMemory.from_url(postgres_url) as memory:
        patched.setattr(migrating, "VERSION", 1)
        assert memory.history("s").count() == 0
    old = Codec().dump_message(HumanMessage("An old dog"))
    with database(postgres_url) as opened:
        opened.execute(
            "INSERT INTO agentmem_sessions (place, owner, tenant, user_id, session_id, message_count, next_position, "
            "created_at, updated_at) VALUES (?, ?, 'default', '', 's', 1, 1, 0, 0)",
            *(digest_of_ids("default", "", "s"), digest_of_ids("default", "")),
        )
        opened.execute(
            "INSERT INTO agentmem_messages SELECT id, 0, 'human', NULL, false, 0, NULL, ?, ?, 0 FROM agentmem_sessions",
            *old,
        )
    with AgentMemory.from_url(postgres_url) as memory:
        await call(memory.history("s").add_messages, [HumanMessage("A new dog")])
        found = await call(memory.history("s").search, "dogs")
        assert {one.message.content for one in found} == {"An old dog", "A new dog"}
        await call(memory.store.put, ("a",), "k", {"text": "pizza", "n": 1}, ["text"])
        await call(memory.close)
