"""Export, import and copy: everything that a memory stores moves between any two backends, unchanged."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import threading
import tracemalloc
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from conftest import new_url
from everything import ALICE, BOB, LONG, Words, asking_graph, chat_graph, config, delta_graph, fill
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.types import Command

from langchain_agentmem import AgentMemory, DamagedDataError, InvalidInputError, InvalidTypeError
from langchain_agentmem.backends.contract import SessionKey
from langchain_agentmem.lifecycle.transfer import exporting
from langchain_agentmem.lifecycle.transfer import lines as forms
from langchain_agentmem.lifecycle.transfer.files import Seal
from langchain_agentmem.lifecycle.transfer.lines import LINES_OF_USERS

PAIRS = [
    ("sqlite-file", "postgres"),
    ("sqlite-file", "redis"),
    ("postgres", "sqlite-file"),
    ("postgres", "redis"),
    ("redis", "sqlite-file"),
    ("redis", "postgres"),
]


def opened(backend: str, folder: Path, **options: Any) -> AgentMemory:
    """An empty memory of a backend, with an embedding model."""
    return AgentMemory.from_url(new_url(backend, folder), **{"embeddings": Words(), **options})


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def contents(path: Path) -> list[str]:
    """The lines of an export in any order, without checksums."""
    return sorted(json.dumps({**line, "sum": ""}, sort_keys=True) for line in lines_of(path))


def is_empty(memory: AgentMemory) -> bool:
    file = io.StringIO()
    memory.export(file)
    return {json.loads(line)["kind"] for line in file.getvalue().splitlines()} <= {"header", "embeddings", "end"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """An export of a memory with every kind of data."""
    folder = tmp_path_factory.mktemp("exported")
    with AgentMemory.from_url(f"sqlite:///{folder / 'memory.db'}", embeddings=Words()) as memory:
        fill(memory)
        memory.export(folder / "export.jsonl")
    return folder / "export.jsonl"


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


# What is stored already


async def test_a_different_object_stops_an_import_before_it_writes(url, call, exported):
    with AgentMemory.from_url(url, embeddings=Words()) as memory:
        await call(memory.store.put, ("docs",), "ttl", {"text": "mine"})
        before = io.StringIO()
        memory.export(before)
        with pytest.raises(InvalidInputError, match=r"Item 'ttl' in \('docs',\) is stored already, and differs"):
            await call(memory.import_from, exported)
        after = io.StringIO()
        memory.export(after)
        assert after.getvalue() == before.getvalue()
        with pytest.raises(InvalidInputError, match='existing must be "error", "keep" or "replace"'):
            await call(memory.import_from, exported, existing="merge")


@pytest.mark.parametrize("existing", ["keep", "replace"])
async def test_different_objects_are_kept_or_replaced(url, existing, call, exported, tmp_path):
    with AgentMemory.from_url(url, embeddings=Words()) as memory:
        await call(memory.history("chat", user_id=ALICE).add_messages, [HumanMessage("mine"), AIMessage("yours")])
        await call(memory.store.put, ("docs",), "ttl", {"text": "mine"})
        await call(memory.variables.set, "tone", "mine", user_id=ALICE)
        chat_graph(memory.checkpointer).invoke({"messages": [HumanMessage("mine")]}, config("of alice"))
        result = await call(memory.import_from, exported, existing=existing)
        await call(memory.export, tmp_path / "after.jsonl")
        if existing == "replace":
            assert result.kept == {}
            assert (tmp_path / "after.jsonl").read_bytes() == exported.read_bytes()
            assert (await call(memory.import_from, exported)).counts == {}
        else:
            assert {
                name: result.kept[name] for name in ("sessions", "messages", "items", "threads", "checkpoints")
            } == {
                "sessions": 1,
                "messages": 7,
                "items": 1,
                "threads": 1,
                "checkpoints": 9,
            }
            assert [message.text for message in memory.history("chat", user_id=ALICE).messages] == ["mine", "yours"]
            assert await call(memory.variables.get, "tone", user_id=ALICE) == "mine"
            state = chat_graph(memory.checkpointer).get_state(config("of alice"))
            assert len(state.values["messages"]) == 2


async def test_an_edited_message_differs(url, call, exported, tmp_path):
    with AgentMemory.from_url(url, embeddings=Words()) as memory:
        await call(memory.import_from, exported)
        history = memory.history("brief", user_id=BOB, agent="critic")
        await call(history.replace, history.messages[0].id, HumanMessage("edited"))
        with pytest.raises(InvalidInputError, match=r"Message 2 of session 'brief' of user .* differs"):
            await call(memory.import_from, exported)
        assert (await call(memory.import_from, exported, existing="keep")).kept == {"messages": 1}
        assert history.messages[0].text == "edited"
        assert (await call(memory.import_from, exported, existing="replace")).counts == {"messages": 1}
        assert history.messages[0].text == "note 2"
        await call(memory.export, tmp_path / "after.jsonl")
        assert (tmp_path / "after.jsonl").read_bytes() == exported.read_bytes()


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("session", {"title": "half \ud800"}),
        ("session", {"next_position": -1}),
        ("session", {"title_position": -1}),
        ("session", {"kind": ["session"]}),
        ("message", {"position": -1}),
        ("item", {"ttl": -5}),
        ("thread", {"ttl": 0}),
    ],
)
def test_a_value_that_no_memory_writes_is_refused(kind, change, exported, tmp_path):
    lines = [{name: value for name, value in line.items() if name != "sum"} for line in lines_of(exported)]
    at = next(at for at, line in enumerate(lines) if line["kind"] == kind)
    lines[at] |= change
    seal = Seal()
    (tmp_path / "forged.jsonl").write_bytes(b"".join(map(seal.text, lines)))
    with opened("sqlite-memory", tmp_path) as memory:
        with pytest.raises(DamagedDataError, match=rf"Line {at + 1} .* cannot be imported"):
            memory.import_from(tmp_path / "forged.jsonl")
        assert is_empty(memory)


def test_two_exports_to_one_path_do_not_mix(exported, tmp_path):
    path = tmp_path / "export.jsonl"
    with opened("sqlite-memory", tmp_path) as memory:
        memory.import_from(exported)
        inner: list[Any] = []

        def export_too(_: Any) -> None:
            if not inner:
                inner.append(memory.export(path))
                assert path.read_bytes() == exported.read_bytes()

        memory.export(path, progress=export_too)
        assert inner
        assert path.read_bytes() == exported.read_bytes()
        assert list(tmp_path.iterdir()) == [path]


async def test_a_path_that_cannot_be_written_is_refused_at_once(call, tmp_path):
    with opened("sqlite-memory", tmp_path) as memory:
        for path in (tmp_path, f"{tmp_path}/a\0b", f"{tmp_path}/\ud800"):
            with pytest.raises(
                InvalidInputError, match=r"path_or_file (is a directory|has a character that no path has)"
            ):
                await call(memory.export, path, progress=pytest.fail)
        with pytest.raises(InvalidInputError, match='Open it with encoding="utf-8"'):
            await call(memory.export, io.TextIOWrapper(io.BytesIO(), encoding="latin-1"))
        with pytest.raises(InvalidInputError, match="source has a character that no path has"):
            await call(memory.import_from, f"{tmp_path}/a\0b")


async def test_vectors_of_an_archive_belong_to_its_model(url, call, tmp_path, monkeypatch, caplog):
    import time

    class Other(Words):
        model = "other"

    archive, key = tmp_path / "archive.jsonl", SessionKey("default", None, "chat")
    real = time.time
    with AgentMemory.from_url(url, embeddings=Words()) as memory:
        await call(memory.history("chat").add_messages, [HumanMessage("Hello")])
        await call(memory.store.put, ("docs",), "a", {"text": "Hello"})
        monkeypatch.setattr(time, "time", lambda: real() + timedelta(days=30).total_seconds())
        await call(memory.cleanup, timedelta(days=1), archive=archive)
        monkeypatch.setattr(time, "time", real)
        assert (await call(memory.import_from, archive)).without_vectors == 0
        (row,) = memory.backend.read(memory.backend.transfer.messages(key, -1, 1, real()))
        assert row.vector is not None
    with opened("sqlite-memory", tmp_path, embeddings=Other()) as other:
        other.history("other").add_messages([HumanMessage("Hello")])
        assert (await call(other.import_from, archive)).without_vectors == 2
        (row,) = other.backend.read(other.backend.transfer.messages(key, -1, 1, real()))
        assert row.vector is None
        assert caplog.text.count("but this memory uses") == 1


@pytest.mark.parametrize(
    ("kind", "change"), [("message", {"vector": "AAAA"}), ("item", {"vectors": ["AAAA"]})], ids=["message", "item"]
)
def test_a_vector_of_another_width_is_refused(kind, change, exported, tmp_path):
    lines = [{name: value for name, value in line.items() if name != "sum"} for line in lines_of(exported)]
    at = next(at for at, line in enumerate(lines) if line["kind"] == kind and ("vector" in line or "vectors" in line))
    lines[at] |= change
    seal = Seal()
    (tmp_path / "forged.jsonl").write_bytes(b"".join(map(seal.text, lines)))
    with opened("sqlite-memory", tmp_path) as memory:
        with pytest.raises(DamagedDataError, match=rf"Line {at + 1} .*a vector of 3 bytes instead of 32"):
            memory.import_from(tmp_path / "forged.jsonl")
        assert is_empty(memory)


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


async def test_a_message_with_another_id_is_not_replaced(url, call, exported, tmp_path):
    with AgentMemory.from_url(url, embeddings=Words()) as memory:
        await call(memory.import_from, exported)
        lines = lines_of(exported)
        message, *_ = [
            one for one in lines if one["kind"] == "message" and one["position"] == 2 and one["session_id"] == "brief"
        ]
        message["message"]["data"] |= {"id": "another", "content": "another"}
        changed = tmp_path / "changed.jsonl"
        seal = Seal()
        changed.write_bytes(b"".join(seal.text({k: v for k, v in one.items() if k != "sum"}) for one in lines))
        with pytest.raises(InvalidInputError, match="Delete the session, and import again"):
            await call(memory.import_from, changed, existing="replace")


async def test_an_interrupted_copy_continues(url, call, exported, tmp_path):
    class Stopped(Exception):
        pass

    with (
        AgentMemory.from_url(url, embeddings=Words()) as memory,
        opened("sqlite-memory", tmp_path) as source,
    ):
        source.import_from(exported)
        random = Random(int.from_bytes(os.urandom(4)))
        for _ in range(3):
            left = random.randrange(1, 40)

            def stop(_: Any) -> None:
                nonlocal left
                left -= 1
                if not left:
                    raise Stopped

            with pytest.raises(Stopped):
                await call(source.copy_to, memory, progress=stop)
        await call(source.copy_to, memory)
        await call(memory.export, tmp_path / "after.jsonl")
        assert lines_of(tmp_path / "after.jsonl") == lines_of(exported)


async def test_what_has_expired_since_the_export_stays_away(url, call, tmp_path, monkeypatch):
    with AgentMemory.from_url(url) as memory, opened("sqlite-memory", tmp_path, embeddings=None) as source:
        fill(source)
        source.export(tmp_path / "export.jsonl")
        import time

        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + timedelta(days=30).total_seconds())
        result = await call(memory.import_from, tmp_path / "export.jsonl")
        assert (result.expired["sessions"], result.expired["messages"], result.expired["items"]) == (3, 3, 1)
        assert (result.expired["threads"], result.expired["checkpoints"]) == (1, 3)
        assert len(await call(memory.sessions.list)) == 9


async def test_vectors_of_another_model_are_left_out(url, call, exported, caplog):
    class Other(Words):
        model = "other"

    with AgentMemory.from_url(url, embeddings=Other()) as memory:
        result = await call(memory.import_from, exported)
        assert "Call memory.reindex() to embed them." in caplog.text
        embedded = await call(memory.reindex)
        assert result.without_vectors == embedded.items + embedded.messages > 50
        assert "k" in [item.key for item in await call(memory.store.search, ("docs",), query="pizza")]


async def test_vectors_move_without_calling_the_model(url, call, exported, tmp_path):
    def refuse(texts: list[str]) -> list[list[float]]:
        raise AssertionError(texts)

    model = Words()
    model.embed_documents = refuse  # type: ignore[method-assign]
    with AgentMemory.from_url(url, embeddings=model) as memory:
        assert (await call(memory.import_from, exported)).without_vectors == 0
        await call(memory.export, tmp_path / "again.jsonl")
        assert (tmp_path / "again.jsonl").read_bytes() == exported.read_bytes()


# Interruptions

KILLED = """
import os, random, signal, sys, threading
from everything import Words
from langchain_agentmem import AgentMemory
from langchain_agentmem.programs import steps

url, path, after, delay = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
perform, count = steps.Write.perform, 0

def counted(step):
    global count
    count += 1
    if count == after:
        threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
    return perform(step)

steps.Write.perform = counted
with AgentMemory.from_url(url, embeddings=Words()) as memory:
    memory.import_from(path)
    print("complete", count)
"""


def run_killed(url: str, path: Path, after: int, delay: float) -> subprocess.CompletedProcess[str]:
    folder = str(Path(__file__).parents[1])
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([folder, str(Path(folder).parent)])}
    command = [sys.executable, "-c", KILLED, url, str(path), str(after), str(delay)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_an_import_that_is_killed_continues(lasting_url, exported, tmp_path):
    random = Random(int.from_bytes(os.urandom(4)))
    killed = 0
    for _ in range(4):
        done = run_killed(lasting_url, exported, random.randrange(1, 25), random.random() * 0.01)
        killed += done.returncode == -9
        assert done.returncode in (0, -9), done.stderr
    assert killed
    with AgentMemory.from_url(lasting_url, embeddings=Words()) as memory:
        memory.import_from(exported)
        memory.export(tmp_path / "after.jsonl")
    assert lines_of(tmp_path / "after.jsonl") == lines_of(exported)


# Damage


@settings(max_examples=examples(200))
@given(data=st.data())
def test_damaged_bytes_are_refused(exported, data):
    content = bytearray(exported.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    change = data.draw(st.sampled_from(["replace", "remove", "insert"]))
    byte = data.draw(st.integers(0, 255))
    if change == "replace":
        if content[at] == byte:
            return
        content[at] = byte
    elif change == "remove":
        del content[at]
    else:
        content.insert(at, byte)
    if bytes(content) == exported.read_bytes():  # an equal byte was inserted or removed beside it
        return
    with AgentMemory.from_url("sqlite:///:memory:") as memory:
        with pytest.raises((DamagedDataError, InvalidInputError), match=r"[Ll]ine \d+"):
            memory.import_from(io.BytesIO(content))
        assert is_empty(memory)


def test_a_truncated_file_is_refused_at_each_line(exported, sqlite_memory):
    lines = exported.read_bytes().splitlines(keepends=True)
    for number in range(1, len(lines)):
        with pytest.raises(DamagedDataError, match=f"truncated: line {number + 1} is missing"):
            sqlite_memory.import_from(io.BytesIO(b"".join(lines[:number])))
        half = lines[number][: len(lines[number]) // 2]
        with pytest.raises(DamagedDataError, match=f"Line {number + 1} .*incomplete"):
            sqlite_memory.import_from(io.BytesIO(b"".join([*lines[:number], half])))
    assert is_empty(sqlite_memory)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=examples(100))
@given(data=st.data())
def test_a_forged_line_with_a_right_checksum_is_refused_or_stored(exported, data):
    lines = [json.loads(line) for line in exported.read_bytes().splitlines()]
    line = lines[data.draw(st.integers(1, len(lines) - 2))]
    name = data.draw(st.sampled_from([name for name in line if name not in ("kind", "sum")]))
    if data.draw(st.booleans()):
        line[name] = data.draw(JSON)
    else:
        del line[name]
    seal = Seal()
    try:
        content = b"".join(seal.text({key: value for key, value in one.items() if key != "sum"}) for one in lines)
    except ValueError:  # JSON knows no NaN
        return
    with AgentMemory.from_url("sqlite:///:memory:") as memory:
        try:
            memory.import_from(io.BytesIO(content))
        except (DamagedDataError, InvalidInputError) as error:
            assert re.search(r"^Line \d+|is repeated|differs", str(error)), error  # noqa: PT017
            assert is_empty(memory)
        else:
            memory.export(io.BytesIO())


def test_a_thread_without_a_secret_field_is_refused(exported, sqlite_memory):
    lines = [json.loads(line) for line in exported.read_bytes().splitlines()]
    number = next(number for number, line in enumerate(lines, 1) if line["kind"] == "thread")
    del lines[number - 1]["secret"]
    seal = Seal()
    content = b"".join(seal.text({key: value for key, value in one.items() if key != "sum"}) for one in lines)
    with pytest.raises(DamagedDataError, match=f"Line {number} "):
        sqlite_memory.import_from(io.BytesIO(content))
    assert is_empty(sqlite_memory)


def test_moved_repeated_and_missing_lines_are_refused(exported, sqlite_memory):
    lines = exported.read_bytes().splitlines(keepends=True)
    for changed in (
        [*lines[:3], lines[4], lines[3], *lines[5:]],
        [*lines[:4], lines[3], *lines[4:]],
        [*lines[:3], *lines[4:]],
    ):
        with pytest.raises(DamagedDataError, match=r"Line [45] .* checksum"):
            sqlite_memory.import_from(io.BytesIO(b"".join(changed)))
    with pytest.raises(DamagedDataError, match="follows the end"):
        sqlite_memory.import_from(io.BytesIO(b"".join(lines) * 2))
    assert is_empty(sqlite_memory)


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"My notes\n", b"\x00" * 20_000, b'{"kind":"header"}\n', b"[" * 5_000, b'{"a": 1}\n{"b": 2}\n'],
)
def test_a_foreign_file_is_refused(content, sqlite_memory, tmp_path):
    path = tmp_path / "foreign"
    path.write_bytes(content)
    for source in (path, str(path), io.BytesIO(content)):
        with pytest.raises(InvalidInputError, match="line 1 is not the header"):
            sqlite_memory.import_from(source)


def test_a_newer_version_is_refused(exported, sqlite_memory):
    text = Seal().text({"kind": "header", "format": "langchain-agentmem", "version": 9, "content": "export"})
    with pytest.raises(InvalidInputError, match="has version 9, but this release reads version 1"):
        sqlite_memory.import_from(io.BytesIO(text))
    with pytest.raises(InvalidTypeError, match="must be a path or a file"):
        sqlite_memory.import_from(7)
    with pytest.raises(FileNotFoundError):
        sqlite_memory.import_from("missing.jsonl")
    with pytest.raises(InvalidInputError, match="'table' is an option of other formats"):
        sqlite_memory.import_from(exported, table="x")


def test_an_interrupted_export_leaves_the_former_file(sqlite_memory, tmp_path):
    fill(sqlite_memory)
    path = tmp_path / "export.jsonl"
    path.write_text("former", encoding="utf-8")

    def stop(_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sqlite_memory.export(path, progress=stop)
    assert [one.name for one in tmp_path.iterdir() if "jsonl" in one.name] == ["export.jsonl"]
    assert path.read_text(encoding="utf-8") == "former"


# Files that are read once


class Once(io.RawIOBase):
    """A stream that can be read only once, like a pipe."""

    def __init__(self, content: bytes) -> None:
        self._inner = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readline(self, size: int | None = -1) -> bytes:
        return self._inner.readline(size)


async def test_a_stream_is_taken_line_by_line(url, call, exported, tmp_path):
    with AgentMemory.from_url(url, embeddings=Words()) as memory:
        await call(memory.import_from, Once(exported.read_bytes()))
        file = io.BytesIO()
        await call(memory.export, file)
        assert file.getvalue() == exported.read_bytes()


async def test_a_damaged_stream_names_the_last_line_that_was_taken(url, call, exported):
    lines = exported.read_bytes().splitlines(keepends=True)
    damaged = 30
    lines[damaged] = lines[damaged].replace(b'"created_at":1', b'"created_at":2')
    with AgentMemory.from_url(url, embeddings=Words()) as memory:
        with pytest.raises(DamagedDataError, match=f"Line {damaged + 1} .*The lines up to line {damaged} were stored"):
            await call(memory.import_from, Once(b"".join(lines)))
        expected = [json.loads(line)["kind"] for line in lines[:damaged]].count("message")
        assert memory.export(io.BytesIO()).counts["messages"] == expected
        await call(memory.import_from, exported)
        file = io.BytesIO()
        memory.export(file)
        assert file.getvalue() == exported.read_bytes()


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
    small, large = peak(1_000), peak(4_000)
    assert large < 1.3 * small + 1_000_000


def test_results_show_what_happened(exported, sqlite_memory):
    seen: list[str] = []
    result = sqlite_memory.import_from(exported, progress=lambda done: seen.append(done.description))
    assert seen[0].startswith("Checked ")
    assert seen[-1].startswith("Imported 12 sessions")
    assert "<table" in result._repr_html_()
    exported_again = sqlite_memory.export(io.StringIO())
    assert exported_again.description.startswith("Exported 12 sessions")
    assert "<table" in exported_again._repr_html_()
