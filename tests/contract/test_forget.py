"""`memory.forget` and `memory.users`: nothing of a forgotten user is left, and nothing of another user is lost."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psycopg
import pytest
from database import database
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph
from patience import PATIENCE
from processes import killed

from langchain_agentmem import AgentMemory, InvalidInputError, ReadCache, Retention
from langchain_agentmem.knowledge.extraction import engine
from langchain_agentmem.testing import ScriptedChatModel

ALICE = "alice@example.com"
HOSTILE = 'al"ï\u2028\\ce.%_*{a}\x1a1:x'
ALIKE = ["alice", "alice@example.com.au", "Alice@example.com", "user:alice@example.com", "alice@example.co*", "%", "*"]
BRIEF = Retention(ttl=1e9)
SECRET = "zqxjkv"
"""The beginning of each planted text."""


def forms(text: str) -> set[bytes]:
    """The forms in which a database may hold a text."""
    label = text.replace("\x1a", "\x1a0").replace(".", "\x1a1")
    written = {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], label}
    twice = {json.dumps(one)[1:-1] for one in written}
    every = {one.encode() for one in written | twice}
    return every | {one.hex().encode() for one in every}


def dump(url: str) -> dict[str, bytes]:
    """Everything that a database holds: files, tables, or keys."""
    if url.startswith("sqlite"):
        path = Path(url.removeprefix("sqlite:///").partition("?")[0])
        return {file.name: file.read_bytes() for file in path.parent.glob(f"{path.name}*")}
    if url.startswith("redis"):
        with database(url) as opened:
            every = opened.everything()
        return {key: key.encode() + b"\n" + value for key, value in every.items()}
    parts = {}
    with database(url) as opened, psycopg.connect(url.partition("?")[0], autocommit=True) as connection:
        tables = opened.execute("SELECT tablename FROM pg_tables WHERE schemaname = ?", opened.schema)
        for (table,) in tables:
            with connection.cursor().copy(f'COPY "{opened.schema}"."{table}" TO STDOUT') as copy:
                # COPY doubles backslashes.
                parts[table] = b"".join(copy).replace(b"\\\\", b"\\")
    return parts


def left(url: str, *texts: str) -> list[str]:
    """The parts of a database that hold one of some texts."""
    wanted = {form for text in texts for form in forms(text)}
    return sorted(name for name, data in dump(url).items() if any(form in data for form in wanted))


def graph_on(memory: AgentMemory) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("reply", lambda state: {"messages": [AIMessage(f"{SECRET} answer")]})
    builder.add_edge(START, "reply")
    return builder.compile(checkpointer=memory.checkpointer)


def run_config(thread: str, user: str) -> Any:
    return {"configurable": {"thread_id": thread, "user_id": user}}


async def plant(memory: AgentMemory, call: Any, user: str, *, thread: str | None = None) -> None:
    """Store something about a user in each place."""
    named = {"user_id": user}
    for session in ("trip", f"{user}/2"):
        await call(
            memory.history(session, **named).add_messages, [HumanMessage(f"{SECRET} {session}"), AIMessage(user)]
        )
        await call(memory.variables.set, "v", [f"{SECRET} session", user], session_id=session, **named)
        await call(memory.records.save, "writer", {"text": f"{SECRET} {user}"}, session_id=session, **named)
    await call(
        memory.history("brief", agent="writer", retention=BRIEF, **named).add_messages,
        [HumanMessage(f"{SECRET} brief")],
    )
    await call(memory.sessions.rename, "trip", f"{SECRET} title of {user}", **named)
    await call(memory.summary, "trip", model=ScriptedChatModel([json.dumps({"summary": f"{SECRET} summary"})]), **named)
    with memory.session(
        "open", metadata={"who": f"{SECRET} {user}"}, context={"c": f"{SECRET} context"}, **named
    ) as open_:
        open_.history().add_user_message(f"{SECRET} open")
        memory.session("open-2", timeout=1e9, **named).__enter__()
    await call(memory.variables.set, "own", {"text": f"{SECRET} {user}"}, **named)
    await call(memory.variables.set, "own", f"{SECRET} agent", agent="writer", ttl=1e9, **named)
    await call(memory.records.save, "writer", {"text": f"{SECRET} own {user}"}, **named)
    await call(memory.profiles.update_preference, user, "drink", f"{SECRET} tea")
    await call(memory.profiles.update_preference, user, "drink", f"{SECRET} coffee")
    fact = await call(memory.profiles.add_fact, user, f"Lives in {SECRET}", topics=[SECRET])
    await call(memory.profiles.add_fact, user, f"Lives in other {SECRET}", replaces=fact)
    gone = await call(memory.profiles.add_fact, user, f"Has a {SECRET}")
    await call(memory.profiles.forget_fact, user, gone)
    await call(memory.memories.save, user, f"Likes {SECRET}.")
    await call(memory.entities.relate, user, f"Eve {SECRET}", "works at", f"Acme {SECRET}")
    for number in range(2):
        asked = {"messages": [HumanMessage(f"{SECRET} asked {number} by {user}")]}
        await call(graph_on(memory).invoke, asked, run_config(thread or f"thread of {user}", user))
    model = ScriptedChatModel(
        [json.dumps({"changes": [{"action": "add", "text": f"Reads {SECRET}", "messages": [1]}]})]
    )
    node = memory.profile_node(model)
    await call(node.invoke, [HumanMessage(f"I read {SECRET}.", id="m")], run_config(f"thread of {user}", user))


@pytest.fixture
def memory(url):
    with AgentMemory.from_url(url, embeddings=DeterministicFakeEmbedding(size=4), read_cache=ReadCache()) as memory:
        yield memory


@pytest.mark.parametrize("user", [ALICE, HOSTILE])
async def test_no_byte_of_a_forgotten_user_is_left(memory, call, url, user):
    await call(memory.store.put, ("kept",), "k", {"text": "Something that stays"})
    await plant(memory, call, user)
    assert left(url, SECRET)
    assert left(url, user)
    receipt = await call(memory.forget, user)
    assert left(url, SECRET, user) == []
    assert (await call(memory.store.search, ("kept",), query="stays"))[0].key == "k"
    assert await call(memory.users) == []
    assert receipt.kept == ()
    counts = dict(receipt.deleted)
    expected = {"sessions": 5, "messages": 6, "records": 3, "variables": 7, "threads": 1, "profiles": 1, "memories": 1}
    assert {name: counts.get(name) for name in expected} == expected
    assert (counts["facts"], counts["entities"], counts["relations"], counts["markers"]) == (3, 2, 1, 1)
    again = await call(memory.forget, user)
    assert set(again.deleted.values()) == {0}
    assert left(url, SECRET, user) == []


async def test_the_receipt_counts_objects_as_the_statistics_do_and_a_dry_run_counts_the_same(memory, call):
    await plant(memory, call, ALICE)
    await call(memory.entities.upsert, ALICE, f"Eve {SECRET}", aliases=["Evelyn"])
    await call(memory.store.put, ("user:" + ALICE, "own"), "k", {"text": "of the application"})
    await call(memory.cache.set, {(("nodes",), "key"): ({"text": SECRET}, None)})
    stats = (await call(memory.stats)).entries
    planned = await call(memory.forget, ALICE, dry_run=True)
    assert (await call(memory.stats)).entries == stats
    receipt = await call(memory.forget, ALICE)
    kinds = ("entities", "relations", "facts", "memories", "profiles", "sessions", "messages", "threads", "variables")
    assert {one: receipt.deleted[one] for one in kinds} == {one: stats[one] for one in kinds}
    assert receipt.deleted["entities"] == 2
    assert dict(planned.deleted) == dict(receipt.deleted)
    assert list(planned.deleted) == list(receipt.deleted)
    assert receipt.deleted["cache_entries"] == 1
    assert [(one.user_id, one.dry_run) for one in (planned, receipt)] == [(ALICE, True), (ALICE, False)]
    assert f"Forgotten(user_id={ALICE!r}, dry_run=True, deleted=" in repr(planned)
    assert ("nothing was deleted" in planned._repr_html_(), "nothing was" in receipt._repr_html_()) == (True, False)
    assert planned.kept == receipt.kept != ()


async def test_the_receipt_counts_variables_of_sessions_and_names_find_traces(memory, call):
    for session, agent in (("s", None), ("s", "writer"), ("t", None), (None, None)):
        await call(memory.variables.set, "w", 1, user_id=ALICE, session_id=session, agent=agent)
    await call(memory.variables.set, "w", 1, session_id="s")
    receipt = await call(memory.forget, ALICE)
    assert (receipt.deleted["variables"], receipt.deleted["sessions"]) == (4, 2)
    assert "memory.find_traces(user_id)" in repr(receipt)
    assert "memory.find_traces(user_id)" in receipt._repr_html_()


async def test_other_users_lose_nothing(memory, call, url):
    await plant(memory, call, ALICE)
    for user in ALIKE:
        await plant(memory, call, user)
    await call(memory.history("trip").add_messages, [HumanMessage("nobody")])
    listed = await call(memory.users)
    assert listed == sorted([ALICE, *ALIKE])
    assert await call(memory.users, limit=2, offset=1) == listed[1:3]

    async def known(user: str | None) -> Any:
        sessions = await call(memory.sessions.list, user_id=user)
        facts = [] if user is None else [one.text for one in await call(memory.profiles.timeline, user)]
        return (
            sorted((one.session_id, one.message_count, one.title) for one in sessions),
            facts,
            [] if user is None else [one.text for one in await call(memory.memories.list, user)],
            await call(memory.variables.all, user_id=user),
            len(await call(memory.records.query, user_id=user)),
            sorted(one.thread_id for one in await call(memory.checkpointer.threads, user_id=user)),
        )

    before = {user: await known(user) for user in [*ALIKE, None]}
    await call(memory.forget, ALICE)
    assert {user: await known(user) for user in [*ALIKE, None]} == before
    assert await call(memory.users) == sorted(ALIKE)
    assert (await known(ALICE))[:4] == ([], [], [], {})


async def test_the_same_user_of_another_tenant_loses_nothing(memory, call, url):
    with AgentMemory.from_url(url, tenant="other") as other:
        await plant(other, call, ALICE)
        await plant(memory, call, ALICE)
        await call(memory.forget, ALICE, shared="delete")
        assert (await call(memory.users), await call(other.users)) == ([], [ALICE])
        assert len(await call(other.sessions.list, user_id=ALICE)) == 5
        assert len(await call(other.records.query, user_id=ALICE)) == 3
        assert len(await call(other.checkpointer.threads, user_id=ALICE)) == 1
        assert len(await call(other.profiles.timeline, ALICE)) == 3
        await call(other.forget, ALICE)
    assert left(url, SECRET, ALICE) == []


@pytest.mark.parametrize("shared", ["keep", "delete"])
async def test_threads_of_several_users(memory, call, url, shared):
    graph = graph_on(memory)
    for thread, user in (("both", "bob"), ("both", ALICE), ("own", ALICE), ("bob's", "bob")):
        await call(graph.invoke, {"messages": [HumanMessage(f"Hello from {user}")]}, run_config(thread, user))
    receipt = await call(memory.forget, ALICE, shared=shared)
    threads = {one.thread_id: tuple(one.users) for one in await call(memory.checkpointer.threads)}
    if shared == "delete":
        assert threads == {"bob's": ("bob",)}
        assert receipt.kept == ()
        assert left(url, ALICE) == []
    else:
        assert threads == {"bob's": ("bob",), "both": ("bob",)}
        assert [(one.kind, one.name) for one in receipt.kept] == [("thread", "both")]
        state = await call(graph.get_state, run_config("both", "bob"))
        assert len(state.values["messages"]) == 4
        assert "both" in receipt._repr_html_()
    assert receipt.deleted["threads"] == (2 if shared == "delete" else 1)
    assert await call(memory.checkpointer.threads, user_id=ALICE) == []
    assert await call(memory.users) == ["bob"]


async def test_what_the_application_stored_is_kept_and_named(memory, call):
    namespaces = [(f"user:{ALICE}", "app"), (ALICE, "notes"), ("memories", ALICE), ("app", "notes", ALICE, "old")]
    for namespace in (*namespaces, ("app", "notes"), ("memories", f"{ALICE}2")):
        await call(memory.store.put, namespace, "k", {"text": "own"})
    await call(memory.memories.save, ALICE, "Likes tea.")
    receipt = await call(memory.forget, ALICE)
    assert {(one.kind, one.name) for one in receipt.kept} == {("namespace", "/".join(one)) for one in namespaces}
    for namespace in namespaces:
        assert await call(memory.store.get, namespace, "k") is not None
    assert await call(memory.memories.list, ALICE) == []


async def test_expired_data_is_forgotten_as_well(memory, call, url, monkeypatch):
    await call(
        memory.history("s", user_id=ALICE, retention=Retention(ttl=1e6)).add_messages,
        [HumanMessage(f"{SECRET} {ALICE}")],
    )
    await call(memory.variables.set, "v", SECRET, user_id=ALICE, ttl=1e6)
    await call(memory.records.save, "writer", {"text": SECRET}, user_id=ALICE, session_id="s")
    await call(graph_on(memory).invoke, {"messages": [HumanMessage(SECRET)]}, run_config("t", ALICE))
    await call(memory.checkpointer.set_ttl, "t", 1e6)
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + 2e6)
    assert await call(memory.users) == []
    assert left(url, SECRET)
    await call(memory.forget, ALICE)
    assert left(url, SECRET, ALICE) == []


async def test_caches_of_the_process_serve_nothing_that_was_forgotten(memory, call):
    await call(memory.variables.set, "v", SECRET, user_id=ALICE)
    await call(memory.profiles.add_fact, ALICE, f"Likes {SECRET}")
    for _ in range(2):
        assert await call(memory.variables.get, "v", user_id=ALICE) == SECRET
        assert SECRET in await call(memory.profiles.context, ALICE)
    await call(memory.forget, ALICE)
    assert await call(memory.variables.get, "v", user_id=ALICE) is None
    assert SECRET not in await call(memory.profiles.context, ALICE)


async def test_old_messages_do_not_bring_knowledge_back(memory, call, url):
    proposal = json.dumps({"changes": [{"action": "add", "text": f"Likes {SECRET}", "messages": [1]}]})
    graph = graph_on(memory)
    said = HumanMessage(f"I like {SECRET}.", id="m1")
    for user in (ALICE, "bob"):
        await call(graph.invoke, {"messages": [said]}, run_config("both", user))
    await call(memory.forget, ALICE)
    model = ScriptedChatModel([proposal] * 3)
    node = memory.profile_node(model)
    await call(
        node.invoke, [said, AIMessage("Noted.", id="m2"), HumanMessage("And?", id="m3")], run_config("both", ALICE)
    )
    assert [one.text for one in await call(memory.profiles.timeline, ALICE)] == []
    await call(memory.profiles.add_fact, ALICE, "Likes tea")
    assert [one.text for one in await call(memory.profiles.timeline, ALICE)] == ["Likes tea"]


async def test_an_interrupted_call_is_resumed(memory, call, url, monkeypatch):
    """Each transaction in turn is the last one of a call that is then interrupted."""

    class Interrupted(BaseException):
        pass

    await plant(memory, call, ALICE)
    backend, count = memory.backend, {"left": 0, "calls": 0}
    write, awrite = backend.write, backend.awrite

    def check() -> None:
        count["calls"] += 1
        if count["calls"] > count["left"]:
            raise Interrupted

    def limited(program: Any) -> Any:
        check()
        return write(program)

    async def alimited(program: Any) -> Any:
        check()
        return await awrite(program)

    monkeypatch.setattr(backend, "write", limited)
    monkeypatch.setattr(backend, "awrite", alimited)
    while True:
        count["left"], count["calls"] = count["left"] + 1, 0
        try:
            await call(memory.forget, ALICE)
        except Interrupted:
            continue
        break
    assert count["left"] > 5
    assert left(url, SECRET, ALICE) == []


async def test_a_wrong_argument_is_refused(memory, call):
    await call(memory.memories.save, ALICE, "Likes tea.")
    for wrong in ({"shared": "all"}, {"user_id": ""}, {"user_id": "a\x00b"}):
        with pytest.raises(InvalidInputError):
            await call(memory.forget, **{"user_id": ALICE, **wrong})
    assert await call(memory.users) == [ALICE]


PLACES = {
    "sqlite": {
        *("agentmem_sessions.user_id", "agentmem_sessions.session_id", "agentmem_sessions.title"),
        *(
            "agentmem_sessions.metadata",
            "agentmem_messages.body",
            "agentmem_records.user_id",
            "agentmem_records.record",
        ),
        *("agentmem_variables.user_id", "agentmem_variables.value", "agentmem_items.namespace"),
        *("agentmem_threads.thread_id", "agentmem_threads.user_id", "agentmem_thread_users.user_id"),
        "agentmem_elements.data",
    },
    "postgres": {
        *("agentmem_sessions.user_id", "agentmem_sessions.session_id", "agentmem_sessions.title"),
        *("agentmem_sessions.metadata", "agentmem_sessions.owner", "agentmem_messages.body"),
        *("agentmem_records.user_id", "agentmem_records.record", "agentmem_records.owner"),
        *("agentmem_variables.user_id", "agentmem_variables.value", "agentmem_variables.owner", "store.prefix"),
        *("agentmem_threads.thread_id", "agentmem_threads.user_id", "agentmem_thread_users.user_id"),
        *("checkpoints.thread_id", "agentmem_elements.data"),
    },
    "redis": {
        *("agentmem:*:owners", "agentmem:*:record-owners", "agentmem:*:variable-users", "agentmem:*:roots"),
        *("agentmem:*:session", "agentmem:*:messages", "agentmem:*:records", "agentmem:*:variables"),
        *("agentmem:*:sessions", "agentmem:*:sessions (key)", "agentmem:*:records (key)", "agentmem:*:variables (key)"),
        *("agentmem:*:threads (key)", "agentmem:*:item (key)", "agentmem:*:namespaces", "agentmem:*:thread"),
        *("agentmem:*:elements", "agentmem:*:threads"),
        *("agentmem:*:expiring-sessions", "agentmem:*:expiring-variables", "agentmem:*:open-sessions"),
    },
}
"""The places that hold an ID, at least."""


@pytest.mark.parametrize("user", [ALICE, HOSTILE])
async def test_traces_are_found_in_each_form_and_place(memory, call, user):
    await plant(memory, call, user)
    seen: list[Any] = []
    found = await call(memory.find_traces, user, progress=seen.append)
    assert PLACES[memory.backend.name] - {one.where for one in found} == set()
    assert {one.where for one in found if one.form == "id"}
    assert seen
    assert seen[-1].found == sum(one.count for one in found)
    assert all(one.example and one.count > 0 for one in found)
    assert found[0].where in found._repr_html_()
    await call(memory.forget, user)
    assert await call(memory.find_traces, user) == []


async def test_traces_of_another_user_are_not_those_of_a_shorter_id(memory, call):
    for user in ("joanna", "ann2", "2ann"):
        await plant(memory, call, user)
    assert await call(memory.find_traces, "ann") == []
    for user in ("joanna", "ann2", "2ann"):
        assert await call(memory.find_traces, user) != []


async def test_traces_after_forgetting_are_what_the_receipt_names(memory, call):
    graph = graph_on(memory)
    for user in (ALICE, "bob"):
        await call(graph.invoke, {"messages": [HumanMessage("Hello")]}, run_config("both", user))
    await call(memory.store.put, (f"user:{ALICE}", "app"), "k", {"text": "own"})
    await plant(memory, call, ALICE)
    receipt = await call(memory.forget, ALICE)
    assert {one.kind for one in receipt.kept} == {"thread", "namespace"}
    places = {one.where for one in await call(memory.find_traces, ALICE)}
    assert places
    await call(memory.checkpointer.delete_thread, "both")
    await call(memory.store.delete, (f"user:{ALICE}", "app"), "k")
    await call(memory.forget, ALICE)
    assert await call(memory.find_traces, ALICE) == []


async def test_traces_name_the_namespace_and_key_of_an_item(memory, call):
    await call(memory.store.put, ("a.b", ALICE), "k/1", {"text": "own"})
    await call(memory.store.put, ("notes",), "k/2", {"text": f"Ask {ALICE}"})
    await call(memory.forget, ALICE)
    examples = {one.example for one in await call(memory.find_traces, ALICE) if one.example.startswith("namespace=")}
    assert examples >= {f"namespace=('a.b', {ALICE!r}), key='k/1'", "namespace=('notes',), key='k/2'"}


async def test_traces_in_large_tables_are_all_found(memory, call):
    history = memory.history("s")
    for _ in range(3):
        await call(history.add_messages, [HumanMessage(f"{ALICE} {number}") for number in range(300)])
    found = await call(memory.find_traces, ALICE)
    assert [(one.form, one.count) for one in found] == [("text", 900), ("text", 1)]  # the messages, and the title


def _forget_slowly(url: str, sender: Connection) -> None:
    """Forget Alice, and report each transaction."""
    with AgentMemory.from_url(url) as memory:
        write, numbers = memory.backend.write, itertools.count()

        def reported(program: Any) -> Any:
            result = write(program)
            sender.send(next(numbers))
            return result

        memory.backend.write = reported  # type: ignore[method-assign]
        while True:
            memory.forget(ALICE)


@pytest.mark.parametrize("transactions", [3, 8, 12])
def test_a_killed_call_is_resumed(lasting_url, transactions):
    async def plain(method: Any, *args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs)

    with AgentMemory.from_url(lasting_url) as memory:
        for user in (ALICE, "bob"):
            asyncio.run(plant(memory, plain, user))
        sessions, threads = memory.sessions.list(user_id="bob"), memory.checkpointer.threads(user_id="bob")
        assert killed(_forget_slowly, lasting_url, transactions) >= transactions
        memory.forget(ALICE)
        assert memory.find_traces(ALICE) == []
        assert memory.users() == ["bob"]
        assert memory.sessions.list(user_id="bob") == sessions
        assert memory.checkpointer.threads(user_id="bob") == threads
        memory.forget("bob")
    assert left(lasting_url, SECRET, ALICE) == []


def test_a_writer_goes_on_during_the_call(lasting_url):
    """What is left of a concurrent writer's data is whole, and was written after the call began."""
    stop = threading.Event()
    failed: list[BaseException] = []
    with AgentMemory.from_url(lasting_url) as memory:

        def write() -> None:
            try:
                for number in itertools.count():
                    if stop.is_set():
                        return
                    memory.history("s", user_id=ALICE).add_messages(
                        [HumanMessage(f"{number} a"), AIMessage(f"{number} b")]
                    )
                    memory.memories.save(ALICE, f"Memory {number}.")
                    written.set()
            except BaseException as error:
                failed.append(error)
                written.set()

        for _ in range(3):
            written = threading.Event()
            thread = threading.Thread(target=write)
            thread.start()
            assert written.wait(PATIENCE)
            memory.forget(ALICE)
            stop.set()
            thread.join(PATIENCE)
            stop.clear()
            assert failed == []
            texts = [str(one.text) for one in memory.history("s", user_id=ALICE).messages]
            assert texts == [f"{one.split()[0]} {part}" for one in texts[::2] for part in "ab"]
            assert "0 a" not in texts
            assert "Memory 0." not in [one.text for one in memory.memories.list(ALICE)]
            memory.forget(ALICE)
            assert memory.users() == []
            assert memory.find_traces(ALICE) == []


@pytest.mark.parametrize("moment", ["model", "changes"])
async def test_an_extraction_that_runs_during_the_call_stores_nothing(memory, call, url, monkeypatch, moment):
    """The user is forgotten while the model answers, or right before the changes are stored."""
    proposal = json.dumps({"changes": [{"action": "add", "text": f"Likes {SECRET}", "messages": [1]}]})
    model = ScriptedChatModel([proposal] * 2)
    forgotten: list[Any] = []

    def forget() -> None:
        if not forgotten:
            forgotten.append(None)
            thread = threading.Thread(target=lambda: forgotten.append(memory.forget(ALICE)))
            thread.start()
            thread.join(PATIENCE)

    generate, change = ScriptedChatModel._generate, engine.change_facts
    if moment == "model":
        monkeypatch.setattr(ScriptedChatModel, "_generate", lambda *args, **kw: (forget(), generate(*args, **kw))[1])
    else:
        monkeypatch.setattr(engine, "change_facts", lambda *args: (change(*args), forget())[0])
    node = memory.profile_node(model)
    said = [HumanMessage(f"I like {SECRET}.", id="m1")]
    await asyncio.to_thread(node.invoke, said, run_config("t", ALICE))
    assert len(forgotten) == 2
    assert model.requests
    assert left(url, SECRET, ALICE) == []
    later = [*said, AIMessage("Ok."), HumanMessage("I do like it.", id="m2")]
    await call(node.invoke, later, run_config("t", ALICE))
    assert len(model.requests) == 2


async def test_pending_jobs_of_the_user_are_dropped(memory, call):
    proposal = json.dumps({"changes": [{"action": "add", "text": "Likes tea", "messages": [1]}]})
    node = memory.profile_node(ScriptedChatModel([proposal]), when="debounce", delay=3_600)
    for user in (ALICE, "bob"):
        await call(node.invoke, [HumanMessage("I like tea.", id=user)], run_config("t", user))
    assert (await call(memory.forget, ALICE, dry_run=True)).deleted["jobs"] == 1
    receipt = await call(memory.forget, ALICE)
    assert receipt.deleted["jobs"] == 1
    await call(node.flush)
    assert await call(memory.users) == ["bob"]
