"""Export, import and copy: everything that a memory stores moves between any two backends, unchanged."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path
from random import Random
from typing import Any

import pytest
from conftest import new_url
from counting import Costs
from everything import ALICE, BOB, LONG, Words, asking_graph, chat_graph, config, delta_graph, fill
from exports import contents, lines_of, opened
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.types import Command

from langchain_agentmem import AgentMemory, InvalidInputError, InvalidTypeError
from langchain_agentmem.lifecycle.transfer import exporting
from langchain_agentmem.lifecycle.transfer import lines as forms
from langchain_agentmem.lifecycle.transfer.lines import LINES_OF_USERS

PAIRS = [
    ("sqlite-file", "postgres"),
    ("sqlite-file", "redis"),
    ("postgres", "sqlite-file"),
    ("postgres", "redis"),
    ("redis", "sqlite-file"),
    ("redis", "postgres"),
]

# Everything moves


@pytest.mark.parametrize(("source", "target"), PAIRS)
async def test_everything_moves_between_any_two_backends(source, target, call, tmp_path):
    with opened(source, tmp_path) as memory, opened(target, tmp_path) as other:
        fill(memory)
        exported = await call(memory.export, tmp_path / "first.jsonl")
        imported = await call(other.import_from, tmp_path / "first.jsonl")
        assert imported.counts == exported.counts
        await call(other.export, tmp_path / "second.jsonl")
        assert lines_of(tmp_path / "second.jsonl") == lines_of(tmp_path / "first.jsonl")
        assert (tmp_path / "second.jsonl").read_bytes() == (tmp_path / "first.jsonl").read_bytes()
        again = await call(other.import_from, tmp_path / "first.jsonl")
        assert (again.counts, again.unchanged) == ({}, imported.counts)


async def test_a_moved_memory_works_as_before(url, call, exported):
    with AgentMemory.from_url(url, embeddings=Words()) as memory:
        await call(memory.import_from, exported)
        history = memory.history("chat", user_id=ALICE)
        assert [message.id for message in history.messages][1:4] == ["m-1", "m-2", "m-3"]
        assert history.messages[3].artifact == {"raw": (1, 2)}
        await call(history.add_messages, [HumanMessage("And tomorrow?")])
        assert await call(history.count) == 8
        found = await call(memory.search_history, "weather", user_id=ALICE)
        assert found[0].message.id == "m-1"
        (listed,) = [one for one in await call(memory.sessions.list, user_id=BOB) if one.session_id == "brief"]
        assert (listed.title, listed.message_count) == ("A title of my own", 3)
        assert await call(memory.variables.get, "tone", user_id=BOB, agent="writer") == "short"
        assert "k" in [item.key for item in await call(memory.store.search, ("docs",), query="pizza")]
        assert "Bergen" in (await call(memory.profiles.context, ALICE))
        state = await call(
            chat_graph(memory.checkpointer).invoke, {"messages": [HumanMessage("x")]}, config("of bob", BOB)
        )
        assert len(state["messages"]) == 4
        state = await call(asking_graph(memory.checkpointer).invoke, Command(resume="yes"), config("asking"))
        assert state["messages"][-1].content == "answered yes"
        state = await call(delta_graph(memory.checkpointer).invoke, {"log": []}, config("delta 🙂"))
        assert len(state["log"]) == 9
        await call(memory.sessions.delete, "chat", user_id=ALICE)
        assert await call(memory.records.query, session_id="chat", user_id=ALICE) == []


async def test_a_memory_is_copied_to_another_tenant(url, call, tmp_path):
    with AgentMemory.from_url(url, embeddings=Words()) as memory:
        fill(memory)
        other = AgentMemory(memory.backend, tenant="other", embeddings=Words())
        copied = await call(memory.copy_to, other)
        await call(memory.export, tmp_path / "first.jsonl")
        await call(other.export, tmp_path / "second.jsonl")
        assert (tmp_path / "second.jsonl").read_bytes() == (tmp_path / "first.jsonl").read_bytes()
        assert (await call(memory.copy_to, other)).unchanged == copied.counts
        with pytest.raises(InvalidInputError, match="this memory itself"):
            await call(memory.copy_to, memory)
        with pytest.raises(InvalidTypeError, match="must be an AgentMemory"):
            await call(memory.copy_to, "sqlite:///other.db")


async def test_threads_of_langgraphs_own_saver_move(postgres_url, call, tmp_path):
    with (
        AgentMemory.from_url(postgres_url, compact=False) as memory,
        opened("sqlite-file", tmp_path, embeddings=None) as other,
    ):
        for _ in range(2):
            chat_graph(memory.checkpointer).invoke({"messages": [HumanMessage(LONG)]}, config("plain"))
        await call(memory.copy_to, other)
        expected = chat_graph(memory.checkpointer).get_state(config("plain")).values
        assert chat_graph(other.checkpointer).get_state(config("plain")).values == expected
        assert len(expected["messages"]) == 4


@pytest.mark.parametrize("encryption", ["serde", "key"])
async def test_threads_of_an_encrypted_memory_continue_without_encryption(encryption, url, call, tmp_path):
    aes = EncryptedSerializer.from_pycryptodome_aes(key=b"0" * 32)
    options: dict[str, Any] = {"serde": aes} if encryption == "serde" else {"key": b"k" * 32}
    with AgentMemory.from_url(url, **options) as memory, opened("sqlite-file", tmp_path, embeddings=None) as other:
        for _ in range(3):
            chat_graph(memory.checkpointer).invoke({"messages": [HumanMessage(LONG)]}, config("t"))
        asking_graph(memory.checkpointer).invoke({"messages": [HumanMessage(LONG)]}, config("asking"))
        await call(memory.copy_to, other)
        assert (await call(memory.copy_to, other)).counts == {}
        expected = chat_graph(memory.checkpointer).get_state(config("t")).values["messages"]
        state = await call(chat_graph(other.checkpointer).invoke, {"messages": [HumanMessage("next")]}, config("t"))
        assert state["messages"][:-2] == expected
        assert chat_graph(other.checkpointer).get_state(config("t")).values == state
        state = await call(asking_graph(other.checkpointer).invoke, Command(resume="yes"), config("asking"))
        assert state["messages"][-1].content == "answered yes"
        every = [one.values for one in chat_graph(other.checkpointer).get_state_history(config("t"))]
        assert len(every) == 12
        with AgentMemory.from_url(new_url("sqlite-file", tmp_path), **options) as back:
            await call(other.copy_to, back)
            assert [one.values for one in chat_graph(back.checkpointer).get_state_history(config("t"))] == every
            state = chat_graph(back.checkpointer).invoke({"messages": [HumanMessage("again")]}, config("t"))
            assert len(state["messages"]) == 10


async def test_an_encrypting_serializer_moves_threads_to_and_from_plain_memories(url, call, exported, tmp_path):
    serde = EncryptedSerializer.from_pycryptodome_aes(key=b"0" * 32)
    with AgentMemory.from_url(url, embeddings=Words(), serde=serde) as memory:
        await call(memory.import_from, exported)
        state = await call(asking_graph(memory.checkpointer).invoke, Command(resume="yes"), config("asking"))
        assert state["messages"][-1].content == "answered yes"
        await call(memory.export, tmp_path / "encrypted.jsonl", thread_id="of alice")
        with opened("sqlite-memory", tmp_path) as other:
            other.import_from(tmp_path / "encrypted.jsonl")
            expected = chat_graph(memory.checkpointer).get_state(config("of alice")).values
            assert chat_graph(other.checkpointer).get_state(config("of alice")).values == expected
            assert len(expected["messages"]) == 6
            other.export(tmp_path / "plain.jsonl")
        assert (tmp_path / "plain.jsonl").read_bytes() == (tmp_path / "encrypted.jsonl").read_bytes()


async def test_everything_moves_to_and_from_a_memory_with_a_key(url, call, exported, tmp_path):
    with AgentMemory.from_url(url, embeddings=Words(), key=b"k" * 32) as memory:
        await call(memory.import_from, exported)
        assert (await call(memory.import_from, exported)).counts == {}
        await call(memory.export, tmp_path / "encrypted.jsonl")
        assert contents(tmp_path / "encrypted.jsonl") == contents(exported)
        with opened("sqlite-memory", tmp_path) as other:
            await call(memory.copy_to, other)
            other.export(tmp_path / "plain.jsonl")
        assert (tmp_path / "plain.jsonl").read_bytes() == exported.read_bytes()


# Selections


async def test_a_session_or_a_thread_is_exported_alone(url, call, tmp_path):
    with AgentMemory.from_url(url) as memory:
        fill(memory)
        path = tmp_path / "part.jsonl"
        part = await call(memory.export, path, session_id="chat", user_id=ALICE)
        assert part.counts == {"sessions": 1, "messages": 7, "summaries": 3, "variables": 2, "records": 1}
        assert {line.get("session_id", "chat") for line in lines_of(path)} == {"chat"}
        every = await call(memory.export, path, session_id="chat")
        assert every.counts["sessions"] == 3
        thread = await call(memory.export, path, thread_id="of alice")
        assert (thread.counts["threads"], thread.counts["checkpoints"]) == (1, 9)
        assert all(name.isidentifier() for name in thread.counts)
        assert thread.counts["pending_writes"]
        assert {line.get("thread_id", "of alice") for line in lines_of(path)} == {"of alice"}
        both = await call(memory.export, path, session_id="chat", user_id=ALICE, thread_id="of alice")
        assert (both.counts["sessions"], both.counts["threads"]) == (1, 1)


async def test_an_export_of_a_user_has_nothing_of_another(url, call, tmp_path):
    with AgentMemory.from_url(url) as memory:
        fill(memory)
        path = tmp_path / "alice.jsonl"
        exported = await call(memory.export, path, user_id=ALICE)
        assert exported.shared_threads == ("of both",)
        assert {line["user_id"] for line in lines_of(path) if line["kind"] in LINES_OF_USERS} == {ALICE}
        assert {line["namespace"][0] for line in lines_of(path) if line["kind"] == "item"} == {f"user:{ALICE}"}
        assert {line["thread_id"] for line in lines_of(path) if line["kind"] == "thread"} == {"of alice", "asking"}
        assert BOB not in path.read_text(encoding="utf-8")
        nobody = tmp_path / "nobody.jsonl"
        await call(memory.export, nobody, user_id=None)
        assert {line["user_id"] for line in lines_of(nobody) if line["kind"] in LINES_OF_USERS} == {None}
        assert {line["thread_id"] for line in lines_of(nobody) if line["kind"] == "thread"} == {"of nobody", "delta 🙂"}
        assert {line["namespace"][0] for line in lines_of(nobody) if line["kind"] == "item"} == {"docs", "shared"}
        assert ALICE not in nobody.read_text(encoding="utf-8")


# Interruptions

KILLED = """
import os, random, signal, sys, threading
from everything import Words
from langchain_agentmem import AgentMemory
from langchain_agentmem.programs import steps

url, path, after, delay = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
perform, count, timers = steps.Write.perform, 0, []

def counted(step):
    global count
    count += 1
    if count == after:
        timers.append(threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)))
        timers[0].start()
    return perform(step)

steps.Write.perform = counted
with AgentMemory.from_url(url, embeddings=Words()) as memory:
    memory.import_from(path)
    for timer in timers:  # the import was faster than the kill
        timer.join()
"""


def run_killed(url: str, path: Path, after: int, delay: float) -> subprocess.CompletedProcess[str]:
    folder = str(Path(__file__).parents[1])
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([folder, str(Path(folder).parent)])}
    command = [sys.executable, "-c", KILLED, url, str(path), str(after), str(delay)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_an_import_that_is_killed_continues(lasting_url, exported, tmp_path):
    random = Random(int.from_bytes(os.urandom(4)))
    killed = 0
    for most in (4, 4, 8, 16):
        done = run_killed(lasting_url, exported, random.randrange(1, most), random.random() * 0.01)
        killed += done.returncode == -9
        assert done.returncode in (0, -9), done.stderr
    assert killed
    with AgentMemory.from_url(lasting_url, embeddings=Words()) as memory:
        memory.import_from(exported)
        memory.export(tmp_path / "after.jsonl")
    assert lines_of(tmp_path / "after.jsonl") == lines_of(exported)


# Size


def test_memory_does_not_grow_with_the_number_of_messages(tmp_path):
    def peak(number: int) -> int:
        with (
            opened("sqlite-file", tmp_path, embeddings=None) as memory,
            opened("sqlite-file", tmp_path, embeddings=None) as other,
        ):
            history = memory.history("long")
            for start in range(0, number, 500):
                history.add_messages([HumanMessage(f"{at} {'x' * 200}") for at in range(start, start + 500)])
            tracemalloc.start()
            memory.export(tmp_path / "long.jsonl")
            other.import_from(tmp_path / "long.jsonl")
            memory.copy_to(AgentMemory(other.backend, tenant="copy"))
            _, highest = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert other.history("long").count() == number
            return highest

    peak(500)
    small, large = peak(500), peak(2_000)
    assert large < 1.3 * small + 1_000_000


def test_the_batches_of_a_copy_are_bounded_in_size(tmp_path):
    def peak(number: int) -> int:
        with (
            opened("sqlite-memory", tmp_path, embeddings=None) as memory,
            opened("sqlite-memory", tmp_path, embeddings=None) as other,
        ):
            history = memory.history("long")
            for at in range(number):
                history.add_user_message(f"{at} {'x' * 40_000}")
            tracemalloc.start()
            memory.copy_to(other)
            _, highest = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert other.history("long").count() == number
            return highest

    peak(5)
    assert peak(450) < 2 * peak(100)


@pytest.mark.parametrize("backend", ["postgres", "redis"])
def test_the_statements_of_an_import_do_not_grow_with_its_sessions_and_threads(backend, tmp_path, monkeypatch):
    counts = []
    for number in (2, 20):
        path = tmp_path / f"{number}.jsonl"
        with opened("sqlite-memory", tmp_path, embeddings=None) as memory:
            for at in range(number):
                memory.history(f"s{at}", user_id=f"user-{at % 3}").add_messages([HumanMessage("a"), HumanMessage("b")])
                memory.variables.set("tone", "kind", user_id=f"user-{at % 3}", session_id=f"s{at}")
                chat_graph(memory.checkpointer).invoke({"messages": [("human", "a")]}, config(f"t{at}"))
            memory.export(path)
        with opened(backend, tmp_path, embeddings=None) as memory:
            memory.sessions.list()
            costs = Costs(memory, monkeypatch)
            done = memory.import_from(path)
            assert (done.counts["sessions"], done.counts["threads"]) == (number, number)
            counts.append(costs.statements)
    assert counts[1] <= counts[0]  # on Redis, the first import also sends the scripts


def test_results_show_what_happened(exported, sqlite_memory):
    seen: list[str] = []
    result = sqlite_memory.import_from(exported, progress=lambda done: seen.append(done.description))
    assert seen[0].startswith("Checked ")
    assert seen[-1].startswith("Imported 12 sessions")
    assert "<table" in result._repr_html_()
    exported_again = sqlite_memory.export(io.StringIO())
    assert exported_again.description.startswith("Exported 12 sessions")
    assert "<table" in exported_again._repr_html_()


async def test_lines_are_computed_off_the_event_loop(exported, tmp_path, monkeypatch):
    threads: set[int] = set()

    def noting(own: Any) -> Any:
        def noted(*given: Any) -> Any:
            threads.add(threading.get_ident())
            return own(*given)

        return noted

    for module in (exporting, forms):
        for name in ("message_line", "item_line", "record_line", "variable_line", "checkpoint_line"):
            monkeypatch.setattr(module, name, noting(getattr(module, name)))
    with opened("sqlite-memory", tmp_path) as memory:
        memory.import_from(exported)
        threads.clear()
        await memory.aexport(tmp_path / "again.jsonl")
        assert (await memory.aimport_from(exported)).counts == {}
    assert threads
    assert threading.get_ident() not in threads
