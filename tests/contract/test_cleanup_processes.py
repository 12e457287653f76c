"""A cleanup next to writers, in bounded memory, and one that is killed."""

from __future__ import annotations

import json
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from processes import killed

from langchain_agentmem import AgentMemory

AGE = 3_600.0


def fill(memory: AgentMemory, monkeypatch: Any, sessions: int, text: str = "Hello") -> None:
    """Store sessions, threads, items and records, long ago."""
    now = time.time()
    with monkeypatch.context() as patch:
        patch.setattr("time.time", lambda: now - 2 * AGE)
        for number in range(sessions):
            history = memory.history(f"s{number}", user_id=f"user-{number % 7}")
            history.add_messages([HumanMessage(f"{text} {number}"), AIMessage(text)])
            memory.records.save("agent", {"number": number}, session_id=f"s{number}", user_id=f"user-{number % 7}")
            memory.store.put(("docs", str(number % 5)), str(number), {"text": text}, index=False)
        for number in range(sessions // 10):
            put_checkpoint(memory, f"t{number}", text)


def put_checkpoint(memory: AgentMemory, thread_id: str, text: str) -> None:
    config: Any = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
    checkpoint = {**empty_checkpoint(), "channel_values": {"a": text}, "channel_versions": {"a": 1}}
    memory.checkpointer.put(config, checkpoint, {}, {"a": 1})


def state(memory: AgentMemory) -> tuple[set[str], set[str], set[str], set[Any]]:
    sessions = {one.session_id for one in memory.sessions.list(limit=10_000)}
    threads = {one.thread_id for one in memory.checkpointer.threads()}
    items = {one.key for one in memory.store.search((), limit=10_000)}
    return sessions, threads, items, {one.record["number"] for one in memory.records.query(limit=None)}


def clean_slowly(url: str, sender: Connection) -> None:
    """Clean up, and report each batch before the next begins."""
    number = 0

    def report(_: Any) -> None:
        nonlocal number
        sender.send(number)
        number += 1

    with AgentMemory.from_url(url.partition("#")[0]) as memory:
        memory.cleanup(AGE, archive=url.partition("#")[2], progress=report)
        while True:  # until it is killed
            report(None)


def test_a_killed_cleanup_is_continued_and_nothing_is_lost(lasting_url, tmp_path, monkeypatch):
    path = tmp_path / "archive.jsonl"
    with AgentMemory.from_url(lasting_url) as memory:
        fill(memory, monkeypatch, 130)
        memory.history("living").add_user_message("Recent")
    for batches in (1, 2):
        killed(clean_slowly, f"{lasting_url}#{path}", batches)
    with AgentMemory.from_url(lasting_url) as memory:
        memory.cleanup(AGE, archive=path)
        assert state(memory) == ({"living"}, set(), set(), set())
        assert not any(memory.cleanup(AGE).counts.values())
    archived: dict[str, set[Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        found = json.loads(line)
        name = next((found[key] for key in ("thread_id", "key", "session_id", "tenant") if key in found), None)
        archived.setdefault(found["kind"], set()).add((name, found.get("position"), str(found.get("record"))))
    numbers = range(130)
    assert {name for name, *_ in archived["session"]} == {f"s{number}" for number in numbers}
    assert {one[:2] for one in archived["message"]} == {(f"s{number}", at) for number in numbers for at in (0, 1)}
    assert {one[2] for one in archived["record"]} == {str({"number": number}) for number in numbers}
    assert {name for name, *_ in archived["item"]} == {str(number) for number in numbers}
    assert {name for name, *_ in archived["checkpoint"]} == {f"t{number}" for number in range(13)}


def test_writers_go_on_and_lose_nothing(memory, monkeypatch, tmp_path):
    """During a cleanup, writers use old sessions again, continue new ones, and update old items and threads."""
    fill(memory, monkeypatch, 200)
    reports: list[Any] = []
    written: list[tuple[str, str]] = []
    used = [f"s{number}" for number in range(0, 200, 10)]

    def write() -> None:
        for session_id in used:
            number = int(session_id[1:])
            memory.history(session_id, user_id=f"user-{number % 7}").add_user_message(f"again {number}")
            memory.history("new", user_id="writer").add_user_message(f"new {number}")
            memory.store.put(("docs", str(number % 5)), str(number), {"text": "again"}, index=False)
            put_checkpoint(memory, f"t{number // 10}", "again")
            written.append((session_id, f"again {number}"))

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        memory.cleanup(AGE, archive=tmp_path / "archive.jsonl", progress=reports.append)
        writing.result()
    assert len(written) == len(used)
    assert len(reports) > 3
    for session_id, text in written:
        history = memory.history(session_id, user_id=f"user-{int(session_id[1:]) % 7}")
        contents = [message.text for message in history.messages]
        # The session was used before it was deleted (then only its older messages went), or it is a new one.
        assert contents == [text]
        (info,) = [
            one for one in memory.sessions.list(user_id=history.user_id, limit=100) if one.session_id == session_id
        ]
        assert info.message_count == 1
    assert [one.text for one in memory.history("new", user_id="writer").messages] == [f"new {one[1:]}" for one in used]
    sessions, threads, items, _ = state(memory)
    assert sessions == {*used, "new"}
    assert items == {one[1:] for one in used}
    assert threads == {f"t{int(one[1:]) // 10}" for one in used}
    for thread in threads:
        latest = memory.checkpointer.get_tuple({"configurable": {"thread_id": thread}})
        assert latest.checkpoint["channel_values"] == {"a": "again"}


def test_memory_is_bounded(memory, monkeypatch, tmp_path):
    """120 sessions of 100 kB each and as many items of 50 kB are cleaned within 12 MB."""
    text = "x" * 50_000
    fill(memory, monkeypatch, 120, text)
    memory.cleanup(AGE, dry_run=True)  # loads modules
    path = Path(tmp_path) / "archive.jsonl"
    tracemalloc.start()
    try:
        result = memory.cleanup(AGE, archive=path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (result.sessions, result.messages, result.threads) == (120, 240, 12)
    assert path.stat().st_size > 18_000_000
    assert peak < 12_000_000, peak
