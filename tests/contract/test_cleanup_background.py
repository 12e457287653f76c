"""Cleanups in the background: regular, by one thread at a time, and ended with the memory."""

from __future__ import annotations

import gc
import logging
import queue
import threading
import time
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from patience import PATIENCE
from test_forks import in_child

from langchain_agentmem import AgentMemory, CleanupPolicy, InvalidInputError, InvalidTypeError
from langchain_agentmem.lifecycle.cleaning import background

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


def cleaners() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "agentmem-cleanup"}


def store_old(memory: AgentMemory, monkeypatch: Any, session_id: str) -> None:
    now = time.time()
    with monkeypatch.context() as patch:
        patch.setattr("time.time", lambda: now - 7_200)
        memory.history(session_id).add_messages([HumanMessage("Hello")])


@pytest.fixture
def results() -> queue.SimpleQueue[Any]:
    return queue.SimpleQueue()


async def test_old_data_is_deleted_regularly(lasting_url, call, monkeypatch, results):
    with AgentMemory.from_url(lasting_url) as memory:
        store_old(memory, monkeypatch, "first")
    policy = CleanupPolicy(3_600, interval=0.05, on_cleanup=results.put)
    memory = AgentMemory.from_url(lasting_url, cleanup=policy)
    try:
        assert results.get(timeout=PATIENCE).sessions == 1
        store_old(memory, monkeypatch, "second")
        while not results.get(timeout=PATIENCE).sessions:
            pass
        assert await call(memory.sessions.list) == []
        assert len(cleaners()) == 1
    finally:
        await call(memory.close)
    assert not cleaners()
    await call(memory.close)


def test_one_thread_at_a_time_cleans_up_and_the_interval_counts_for_all(lasting_url, monkeypatch, results):
    monkeypatch.setattr(background, "FIRST_SECONDS", 0.0)
    held, entered = threading.Event(), threading.Event()

    def first(result: Any) -> None:
        results.put("first")

    with AgentMemory.from_url(lasting_url) as memory:
        store_old(memory, monkeypatch, "s")

    cleanup = AgentMemory.cleanup

    def slow(self: AgentMemory, *arguments: Any, **options: Any) -> Any:
        entered.set()
        assert held.wait(PATIENCE)
        return cleanup(self, *arguments, **options)

    monkeypatch.setattr(AgentMemory, "cleanup", slow)
    with AgentMemory.from_url(lasting_url, cleanup=CleanupPolicy(3_600, on_cleanup=first)) as one:
        assert entered.wait(PATIENCE)
        claim = background._Claim(one)
        from langchain_agentmem.programs import run

        assert run(claim.take(86_400.0)) > 0  # another thread cleans up
        held.set()
        assert results.get(timeout=PATIENCE) == "first"
        assert 86_000 < run(claim.take(86_400.0)) <= 86_400  # the interval counts for all
        assert run(claim.take(1e-9)) == 0
        run(claim.release(done=False))


def test_a_failure_is_logged_and_tried_again(lasting_url, monkeypatch, caplog, results, tmp_path):
    folder = tmp_path / "archives"
    policy = CleanupPolicy(3_600, interval=0.05, archive=folder / "archive.jsonl", on_cleanup=results.put)
    logged = threading.Event()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "cleanup in the background failed" in record.getMessage():
                logged.set()

    handler = Handler()
    logging.getLogger(background.__name__).addHandler(handler)
    try:
        with AgentMemory.from_url(lasting_url, cleanup=policy):
            assert logged.wait(PATIENCE)
            folder.mkdir()
            assert results.get(timeout=PATIENCE).archived == str(folder / "archive.jsonl")
    finally:
        logging.getLogger(background.__name__).removeHandler(handler)


def test_closing_stops_after_the_current_batch(lasting_url, monkeypatch):
    with AgentMemory.from_url(lasting_url) as memory:
        for number in range(210):
            store_old(memory, monkeypatch, f"s{number}")
    monkeypatch.setattr(background, "FIRST_SECONDS", 0.0)
    began, closing = threading.Event(), threading.Event()
    extend = background._Claim.extend

    def wait(claim: Any) -> Any:
        began.set()
        assert closing.wait(PATIENCE)
        return (yield from extend(claim))

    monkeypatch.setattr(background._Claim, "extend", wait)
    memory = AgentMemory.from_url(lasting_url, cleanup=CleanupPolicy(3_600, kinds=("sessions",)))
    assert began.wait(PATIENCE)
    memory._cleaner._stop.set()
    closing.set()
    memory.close()
    assert not cleaners()
    with AgentMemory.from_url(lasting_url) as memory:
        assert 0 < len(memory.sessions.list(limit=1_000)) < 210


def test_a_memory_that_is_garbage_has_no_thread(lasting_url):
    memory = AgentMemory.from_url(lasting_url, cleanup=CleanupPolicy(3_600))
    (thread,) = cleaners()
    del memory
    gc.collect()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_forked_child_has_no_thread_and_closes(lasting_url):
    with AgentMemory.from_url(lasting_url, cleanup=CleanupPolicy(3_600)) as memory:
        memory.history("s").add_messages([HumanMessage("Hello")])

        def work() -> str:
            number = memory.history("s").count()
            memory.close()
            return f"{number} {len(cleaners())}"

        assert in_child(work) == "1 0"
        assert memory.history("s").count() == 1
        assert len(cleaners()) == 1


def test_a_policy_is_checked():
    for wrong in ({"older_than": 0}, {"older_than": 5, "interval": -1}, {"older_than": 5, "kinds": ("all",)}):
        with pytest.raises(InvalidInputError):
            CleanupPolicy(**wrong)
    for wrong in ({"older_than": "5"}, {"older_than": 5, "archive": 7}, {"older_than": 5, "on_cleanup": 7}):
        with pytest.raises(InvalidTypeError):
            CleanupPolicy(**wrong)
    with pytest.raises(InvalidTypeError, match="CleanupPolicy"):
        AgentMemory.from_url("sqlite:///:memory:", cleanup=3_600)
