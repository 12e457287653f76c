"""Forked processes: nothing is lost, whatever the parent and the child do, and when."""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import sqlite3
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from patience import PATIENCE

from langchain_agentmem import AgentMemory, StorageError
from langchain_agentmem.backends.sqlite import driver

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


def fork(child: Callable[[], Any], forks: Callable[[], int] = os.fork) -> Callable[[], str]:
    """Run a function in a child; what is returned waits for it and gives its result or error as text."""
    reading, writing = os.pipe()
    pid = forks()
    if pid == 0:
        os.close(reading)
        try:
            said = str(child())
        except BaseException:
            said = traceback.format_exc()
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)

    def wait() -> str:
        with os.fdopen(reading) as pipe:
            said = pipe.read()
        os.waitpid(pid, 0)
        return said

    return wait


def append(memory: AgentMemory, name: str, count: int = 30) -> str:
    for number in range(count):
        memory.history("s").add_messages([HumanMessage(f"{name}:{number}")])
    return "done"


def stored(url: str, *names: str, count: int = 30) -> bool:
    """Whether each of these wrote all of its messages, in order, and nothing else is there."""
    with AgentMemory.from_url(url) as memory:
        contents = [message.content for message in memory.history("s").get_recent(100_000)]
    by_writer = {name: [text for text in contents if text.startswith(f"{name}:")] for name in names}
    assert by_writer == {name: [f"{name}:{number}" for number in range(count)] for name in names}
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    return len(contents) == len(names) * count


@pytest.mark.parametrize("parent_closes", ["at once", "after the child", "never"])
def test_a_child_of_a_used_memory_loses_nothing(sqlite_url, parent_closes):
    memory = AgentMemory.from_url(sqlite_url)
    append(memory, "before")
    waiting = [fork(lambda name=name: append(memory, name)) for name in ("one", "two")]
    if parent_closes == "at once":
        memory.close()
        names = ["before", "one", "two"]
    else:
        append(memory, "parent")
        names = ["before", "one", "two", "parent"]
    assert [wait() for wait in waiting] == ["done", "done"]
    if parent_closes == "after the child":
        memory.close()
    assert stored(sqlite_url, *names)
    memory.close()


def test_a_daemon_loses_nothing(sqlite_url):
    memory = AgentMemory.from_url(sqlite_url)
    append(memory, "before")
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        append(memory, "middle", 5)
        if os.fork() == 0:
            append(memory, "daemon")
            memory.close()
            os.write(writing, b"done")
        os._exit(0)
    os.waitpid(pid, 0)
    memory.close()
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read() == "done"
    with AgentMemory.from_url(sqlite_url) as again:
        assert again.history("s").count() == 65


def test_forks_while_other_threads_are_in_the_middle_of_transactions(sqlite_url):
    memory = AgentMemory.from_url(f"{sqlite_url}?synchronous=normal")
    append(memory, "before")
    stop, counts, failed = threading.Event(), {}, []

    def use(name: str) -> None:
        counts[name] = 0
        try:
            while not stop.is_set():
                memory.history(name).add_messages([HumanMessage(str(counts[name]))])
                counts[name] += 1
                assert memory.history(name).count() == counts[name]
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=use, args=(f"thread{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    while len(counts) < 4 or not all(counts.values()):
        time.sleep(0.001)
    names = [f"child{number}" for number in range(6)]
    said = [fork(lambda name=name: append(memory, name, 10))() for name in names]
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)
    memory.close()
    assert (said, failed) == (["done"] * 6, [])
    with AgentMemory.from_url(sqlite_url) as again:
        assert {name: again.history(name).count() for name in counts} == counts
        again.history("s").clear()
    assert stored(sqlite_url)


def test_a_fork_waits_for_a_transaction_and_holds_others_off(sqlite_url, monkeypatch):
    memory = AgentMemory.from_url(sqlite_url)
    memory.store.put(("a",), "0", {})
    runs, end, events = threading.Event(), threading.Event(), []

    def program():
        runs.set()
        end.wait(PATIENCE)
        events.append("transaction ends")
        yield from ()

    running = threading.Thread(target=memory.backend.write, args=(program(),))
    running.start()
    assert runs.wait(PATIENCE)
    forking, before_fork = threading.Event(), driver.SqliteDriver.before_fork

    def waiting(self: Any, deadline: float) -> None:
        forking.set()
        before_fork(self, deadline)

    monkeypatch.setattr(driver.SqliteDriver, "before_fork", waiting)

    def later() -> None:
        assert forking.wait(PATIENCE)
        reading = threading.Thread(target=lambda: (memory.store.get(("a",), "0"), events.append("read")))
        reading.start()
        end.set()
        reading.join(PATIENCE)

    helper = threading.Thread(target=later)
    helper.start()
    wait = fork(lambda: [*events, memory.store.get(("a",), "0").key])
    assert wait() == "['transaction ends', '0']"
    helper.join(PATIENCE)
    running.join(PATIENCE)
    assert events == ["transaction ends", "read"]
    memory.close()


def test_multiprocessing_by_fork(sqlite_url):
    memory = AgentMemory.from_url(sqlite_url)
    append(memory, "before")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=append, args=(memory, name)) for name in ("one", "two", "three")]
    for process in processes:
        process.start()
    append(memory, "parent")
    for process in processes:
        process.join(PATIENCE)
    memory.close()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert stored(sqlite_url, "before", "one", "two", "three", "parent")


def test_a_child_uses_event_loops_after_its_parent_did(sqlite_url):
    memory = AgentMemory.from_url(sqlite_url)

    async def turns(name: str) -> str:
        await asyncio.gather(*(memory.history(name).aadd_messages([HumanMessage(f"{n}")]) for n in range(20)))
        return str(await memory.history(name).acount())

    assert asyncio.run(turns("parent")) == "20"
    assert fork(lambda: asyncio.run(turns("child")))() == "20"
    assert asyncio.run(turns("parent")) == "40"
    assert memory.history("child").count() == 20
    memory.close()


def test_a_memory_made_from_another_in_the_child(sqlite_url):
    memory = AgentMemory.from_url(sqlite_url)
    append(memory, "before")

    def child() -> str:
        with AgentMemory.from_url(sqlite_url) as own:
            return append(own, "child")

    wait = fork(child)
    memory.close()
    assert wait() == "done"
    assert stored(sqlite_url, "before", "child")


@pytest.mark.parametrize("adopted", [False, True])
def test_a_child_has_a_copy_of_a_database_in_memory(adopted):
    if adopted:
        connection = sqlite3.connect(":memory:", check_same_thread=False)
        memory = AgentMemory.from_connection(connection)
    else:
        memory = AgentMemory.from_url("sqlite:///:memory:")
    memory.store.put(("a",), "before", {})

    def child() -> list[str]:
        memory.store.put(("a",), "child", {})
        return sorted(item.key for item in memory.store.search(("a",)))

    assert fork(child)() == "['before', 'child']"
    memory.store.put(("a",), "parent", {})
    assert sorted(item.key for item in memory.store.search(("a",))) == ["before", "parent"]
    memory.close()


@pytest.mark.parametrize("used", [True, False])
def test_a_child_cannot_use_the_applications_connection_to_a_file(sqlite_url, used):
    connection = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), check_same_thread=False)
    memory = AgentMemory.from_connection(connection)
    if used:
        memory.store.put(("a",), "before", {})
    said = fork(lambda: memory.store.put(("a",), "child", {}))()
    assert "StorageError: This process was forked after the application opened its connection" in said
    memory.store.put(("a",), "parent", {})
    assert sorted(item.key for item in memory.store.search(("a",))) == [*(["before"] if used else []), "parent"]
    connection.close()


@pytest.mark.parametrize("how", ["within a call", "unknown to Python", "too long a transaction"])
def test_a_child_that_shares_an_open_file_refuses_it(sqlite_url, how, monkeypatch):
    memory = AgentMemory.from_url(sqlite_url)
    append(memory, "before")
    again = AgentMemory.from_url(sqlite_url)

    def child() -> None:
        for one in (memory, again, AgentMemory.from_url(sqlite_url)):
            with pytest.raises(StorageError, match="forked while its parent was using"):
                one.history("s").add_messages([HumanMessage("child")])

    if how == "within a call":

        def program():
            said.append(fork(child)())
            yield from ()

        said: list[str] = []
        memory.backend.write(program())
    elif how == "unknown to Python":
        said = [fork(child, ctypes.PyDLL(None).fork)()]
    else:
        monkeypatch.setattr(driver.forks, "WAIT_SECONDS", 0.05)
        runs, end = threading.Event(), threading.Event()

        def program():
            runs.set()
            end.wait(PATIENCE)
            yield from ()

        thread = threading.Thread(target=memory.backend.write, args=(program(),))
        thread.start()
        assert runs.wait(PATIENCE)
        said = [fork(child)()]
        end.set()
        thread.join(PATIENCE)
    assert said == ["None"]
    append(memory, "parent")
    memory.close()
    assert stored(sqlite_url, "before", "parent")
    again.close()


def test_a_transaction_that_a_child_goes_on_with_is_refused_there(sqlite_url):
    memory = AgentMemory.from_url(sqlite_url)
    append(memory, "before", 1)
    reading, writing = os.pipe()
    pids = []

    def program():
        pids.append(os.fork())
        yield driver.Execute("UPDATE agentmem_items SET key = key")

    try:
        memory.backend.write(program())
        said = b"stored"
    except StorageError as error:
        said = str(error).encode()
    if pids == [0]:
        os.write(writing, said)
        os._exit(0)
    assert said == b"stored"
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert "was forked while its parent was using" in pipe.read()
    os.waitpid(pids[0], 0)
    memory.close()
