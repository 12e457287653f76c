"""What was deleted or replaced is in no byte of the database's files, while the memory is open."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from patience import PATIENCE
from surfaces import CONFIG, talk

from langchain_agentmem import AgentMemory, Retention
from langchain_agentmem.testing import ScriptedChatModel

SECRET = "quetzalcoatl"
SAID = f"My {SECRET} lives in Zanzibar. " + "It is long. " * 2_000
KEPT = "Something that stays"
USER = "alice@example.com"


def left(url: str) -> list[str]:
    """The files of a database that hold the secret."""
    path = Path(url.removeprefix("sqlite:///").partition("?")[0])
    files = sorted(path.parent.glob(f"{path.name}*"))
    assert any(KEPT.encode() in file.read_bytes() for file in files)
    return [file.name for file in files if SECRET.encode() in file.read_bytes().lower()]


async def delete_item(memory: AgentMemory, call: Any) -> None:
    await call(memory.store.put, ("a",), "k", {"text": SAID})
    yield
    await call(memory.store.delete, ("a",), "k")


async def replace_item(memory: AgentMemory, call: Any) -> None:
    await call(memory.store.put, ("a",), "k", {"text": SAID})
    yield
    await call(memory.store.put, ("a",), "k", {"text": "other"})


async def replace_item_without_index(memory: AgentMemory, call: Any) -> None:
    await call(memory.store.put, ("a",), "k", {"text": SAID}, False)
    yield
    await call(memory.store.put, ("a",), "k", {"text": "other"}, False)


async def update_item(memory: AgentMemory, call: Any) -> None:
    await call(memory.store.put, ("a",), "k", {"text": SAID})
    yield
    await call(memory.store.update, ("a",), "k", lambda value: {"text": "other"})


async def delete_after_replacing(memory: AgentMemory, call: Any) -> None:
    for number in range(5):
        await call(memory.store.put, ("a",), "k", {"text": f"{SECRET}{number} {KEPT}"})
        await call(memory.store.put, ("a",), str(number), {"text": f"{SECRET} {number}"})
    yield
    for key in ("k", *"01234"):
        await call(memory.store.delete, ("a",), key)


async def clear_history(memory: AgentMemory, call: Any) -> None:
    await call(memory.history("s").add_messages, [HumanMessage(SAID), AIMessage(SECRET)])
    yield
    await call(memory.history("s").clear)


async def delete_messages(memory: AgentMemory, call: Any) -> None:
    await call(memory.history("s").add_messages, [HumanMessage(SAID, id="1"), AIMessage(SECRET, id="2")])
    yield
    await call(memory.history("s").delete, ["1", "2"])


async def delete_summarised_messages(memory: AgentMemory, call: Any) -> None:
    await call(memory.history("s").add_messages, [HumanMessage(SAID, id="1"), AIMessage("yes", id="2")])
    await call(memory.summary, "s", model=ScriptedChatModel([f"The {SECRET} lives in Zanzibar."] * 9))
    yield
    await call(memory.history("s").delete, before=time.time() + 10)


async def truncate_history(memory: AgentMemory, call: Any) -> None:
    await call(memory.history("s").add_messages, [HumanMessage("a", id="1"), HumanMessage(SAID), AIMessage(SECRET)])
    yield
    await call(memory.history("s").truncate, "1")


async def replace_message(memory: AgentMemory, call: Any) -> None:
    await call(memory.history("s").add_messages, [HumanMessage(SAID, id="1")])
    yield
    await call(memory.history("s").replace, "1", HumanMessage("other"))


async def delete_session(memory: AgentMemory, call: Any) -> None:
    await call(memory.history("s").add_messages, [HumanMessage(SAID), AIMessage(SECRET)])
    yield
    await call(memory.sessions.delete, "s")


async def end_session(memory: AgentMemory, call: Any) -> None:
    history = memory.history("s", retention=Retention("session"))
    await call(history.add_messages, [HumanMessage(SAID), AIMessage(SECRET)])
    yield
    await call(memory.sessions.end, "s")


async def rename_session(memory: AgentMemory, call: Any) -> None:
    await call(memory.history("s").add_messages, [HumanMessage("a")])
    await call(memory.sessions.rename, "s", SECRET)
    yield
    await call(memory.sessions.rename, "s", "other")


async def delete_thread(memory: AgentMemory, call: Any) -> None:
    await call(talk(memory).invoke, {"messages": [HumanMessage(SAID)]}, CONFIG)
    yield
    await call(memory.checkpointer.delete_thread, "1")


async def forget_fact(memory: AgentMemory, call: Any) -> None:
    fact = await call(memory.profiles.add_fact, USER, f"Keeps a {SECRET}")
    yield
    await call(memory.profiles.forget_fact, USER, fact.id)


async def forget_user(memory: AgentMemory, call: Any) -> None:
    await call(memory.profiles.add_fact, USER, f"Keeps a {SECRET}")
    await call(memory.profiles.update_preference, USER, "pet", SECRET)
    yield
    await call(memory.profiles.forget, USER)


async def unrelate(memory: AgentMemory, call: Any) -> None:
    await call(memory.entities.relate, USER, "Alice", f"keeps a {SECRET}", "Bob")
    yield
    await call(memory.entities.unrelate, USER, "Alice", f"keeps a {SECRET}", "Bob")


async def delete_variable(memory: AgentMemory, call: Any) -> None:
    await call(memory.variables.set, "pet", SECRET, user_id=USER)
    yield
    await call(memory.variables.delete, "pet", user_id=USER)


async def replace_variable(memory: AgentMemory, call: Any) -> None:
    await call(memory.variables.set, "pet", SAID, session_id="s")
    yield
    await call(memory.variables.set, "pet", "other", session_id="s")


async def end_session_of_variables(memory: AgentMemory, call: Any) -> None:
    await call(memory.variables.set, "pet", SAID, session_id="s", agent="writer")
    yield
    await call(memory.sessions.end, "s")


async def delete_session_of_variables(memory: AgentMemory, call: Any) -> None:
    await call(memory.variables.set, "pet", SAID, session_id="s")
    yield
    await call(memory.sessions.delete, "s")


OPERATIONS = [
    delete_item,
    replace_item,
    replace_item_without_index,
    update_item,
    delete_after_replacing,
    clear_history,
    delete_messages,
    delete_summarised_messages,
    truncate_history,
    replace_message,
    delete_session,
    end_session,
    rename_session,
    delete_thread,
    forget_fact,
    forget_user,
    unrelate,
    delete_variable,
    replace_variable,
    end_session_of_variables,
    delete_session_of_variables,
]


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_what_is_deleted_or_replaced_is_in_no_file(sqlite_url, call, operation):
    with AgentMemory.from_url(sqlite_url) as memory:
        await call(memory.store.put, ("kept",), "k", {"text": KEPT})
        steps = operation(memory, call)
        await anext(steps)
        assert left(sqlite_url)
        assert [one async for one in steps] == []
        assert left(sqlite_url) == []
        assert (await call(memory.store.search, ("kept",), query="stays"))[0].key == "k"


async def test_what_expired_is_in_no_file_after_a_sweep(sqlite_url, call, monkeypatch):
    with AgentMemory.from_url(sqlite_url, ttl=100) as memory:
        await call(memory.history("s").add_messages, [HumanMessage(SAID)])
        await call(memory.store.put, ("a",), "k", {"text": SAID})
        await call(talk(memory).invoke, {"messages": [HumanMessage(SAID)]}, CONFIG)
        await call(memory.store.put, ("kept",), "k", {"text": KEPT}, ttl=None)
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 200)
        assert left(sqlite_url)
        assert await call(memory.sweep) == 3
        assert left(sqlite_url) == []


async def test_a_retention_rule_leaves_nothing_for_more_than_about_a_second(sqlite_url, call, monkeypatch):
    with AgentMemory.from_url(sqlite_url) as memory:
        await call(memory.store.put, ("kept",), "k", {"text": KEPT})
        history = memory.history("s", retention=Retention(max_messages=2))
        await call(history.add_messages, [HumanMessage(SECRET)])
        await call(history.add_messages, [HumanMessage("b"), HumanMessage("c")])
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 2)
        await call(history.add_messages, [HumanMessage("d")])
        assert left(sqlite_url) == []
        await call(history.add_messages, [HumanMessage(SECRET)])
        await call(history.add_messages, [HumanMessage("e"), HumanMessage("f")])
    assert left(sqlite_url) == []


@pytest.mark.parametrize("mode", ["WAL", "DELETE", "TRUNCATE"])
async def test_the_applications_own_connection_keeps_nothing_either(sqlite_url, call, mode):
    connection = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), check_same_thread=False, timeout=7)
    connection.execute(f"PRAGMA journal_mode = {mode}")
    with AgentMemory.from_connection(connection) as memory:
        await call(memory.store.put, ("kept",), "k", {"text": KEPT})
        await call(memory.store.put, ("a",), "k", {"text": SAID})
        assert left(sqlite_url)
        await call(memory.store.delete, ("a",), "k")
        assert left(sqlite_url) == []
    assert connection.execute("PRAGMA busy_timeout").fetchone() == (7_000,)
    connection.close()


def test_a_reader_of_an_earlier_state_only_puts_it_off(sqlite_url):
    path = sqlite_url.removeprefix("sqlite:///")
    with AgentMemory.from_url(sqlite_url) as memory:
        memory.store.put(("kept",), "k", {"text": KEPT})
        memory.store.put(("a",), "k", {"text": SAID})
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM agentmem_items").fetchone()
        began = time.monotonic()
        memory.store.delete(("a",), "k")
        assert time.monotonic() - began < 20  # less than the time limit
        assert left(sqlite_url)
        reader.execute("COMMIT")
        reader.close()
        memory.store.put(("b",), "k", {"n": 1})
        assert left(sqlite_url) == []


def test_other_threads_that_read_and_write_do_not_keep_it(sqlite_url):
    with AgentMemory.from_url(f"{sqlite_url}?synchronous=normal") as memory:
        memory.store.put(("kept",), "k", {"text": KEPT})
        stop = threading.Event()

        def use(number: int) -> None:
            while not stop.is_set():
                memory.store.put((f"n{number}",), "k", {"n": number})
                memory.store.search((), query="stays")

        threads = [threading.Thread(target=use, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for number in range(10):
            memory.store.put(("a",), "k", {"text": f"{SECRET} {number}"})
            memory.store.delete(("a",), "k")
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)
        assert left(sqlite_url) == []


def test_forgetting_a_user_leaves_nothing_in_the_file(sqlite_url):
    with AgentMemory.from_url(sqlite_url) as memory:
        memory.store.put(("kept",), "k", {"text": KEPT})
        for number in range(4):
            memory.memories.save(USER, f"{SECRET} {number}")
            memory.store.put(("kept",), str(number), {"text": "other"})
            memory.store.delete(("kept",), str(number))
        memory.forget(USER)
        assert left(sqlite_url) == []
