"""Threads of other checkpointers, imported from their databases: the same states, and they resume in the same way."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shlex
import sqlite3
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import redis
from commands import Run, failure
from conftest import new_url
from kept_threads import GRAPHS, chat, config, play, resume, states, valkey_saver
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver
from pydantic import BaseModel

from langchain_agentmem import AgentMemory, ExistingDataWarning
from langchain_agentmem.__main__ import main
from langchain_agentmem.errors import ConfigurationError, InvalidInputError, MissingClassError, ThreadInUseError

KINDS = ("sqlite", "postgres", "valkey")


@contextlib.contextmanager
def saver_at(kind: str, request: Any, tmp_path: Path) -> Any:
    """A saver of another package, and the URL of its database."""
    if kind == "sqlite":
        with SqliteSaver.from_conn_string(str(tmp_path / "theirs.db")) as saver:
            saver.setup()
            yield saver, f"sqlite:///{tmp_path / 'theirs.db'}"
    elif kind == "postgres":
        url = request.getfixturevalue("postgres_database")
        with PostgresSaver.from_conn_string(url) as saver:
            saver.setup()
            yield saver, url
    else:
        saver_class, client_class = valkey_saver()
        url = new_url("redis", tmp_path)
        with client_class.from_url(url) as client:
            yield saver_class(client), url


def chatted(saver: Any, thread_id: str = "chat") -> Any:
    return chat().compile(checkpointer=saver).invoke({"messages": [HumanMessage("Hi", id="h")]}, config(thread_id))


@pytest.mark.parametrize("kind", KINDS)
async def test_threads_at_a_url_are_the_same_here_and_resume(memory, call, kind, request, tmp_path):
    with saver_at(kind, request, tmp_path) as (saver, url):
        await play(saver)
        before = await states(saver)
        expected = await call(memory.import_from, url, format="saver", dry_run=True)
        assert (expected.counts["threads"], expected.unchanged) == (len(GRAPHS), {})
        assert await call(memory.checkpointer.threads) == []
        told: list[Any] = []
        done = await call(memory.import_from, url, format="saver", progress=told.append)
        assert (done.counts, told[-1]) == (expected.counts, done)
        assert await states(memory.checkpointer) == before == await states(saver)
        again = await call(memory.import_from, url, format="saver")
        assert (again.counts, again.unchanged) == ({}, {"checkpoints": done.counts["checkpoints"]})
        assert await resume(memory.checkpointer) == await resume(saver)


async def test_a_saver_is_copied_as_by_copy_from(memory, call):
    saver = InMemorySaver()
    await play(saver)
    done = await call(memory.import_from, saver, thread_ids=["chat", "nobody"])
    assert (done.counts["threads"], done.missing_threads) == (1, ("nobody",))
    assert [one.thread_id for one in await call(memory.checkpointer.threads)] == ["chat"]
    done = await call(memory.import_from, saver)
    assert (done.counts["threads"], done.missing_threads) == (len(GRAPHS) - 1, ())
    assert await states(memory.checkpointer) == await states(saver)


async def test_a_sqlite_file_stays_unchanged_and_may_be_old(sqlite_memory, call, tmp_path):
    path = tmp_path / "theirs.db"
    with SqliteSaver.from_conn_string(str(path)) as saver:
        await play(saver)
        expected = saver.get_tuple(config("chat")).checkpoint
        saver.conn.executescript("PRAGMA journal_mode=DELETE; ALTER TABLE writes DROP COLUMN task_path")
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    for source in (path, str(path), f"sqlite:///{path}"):
        done = await call(sqlite_memory.import_from, source, format="saver")
    assert done.counts == {}
    assert sqlite_memory.checkpointer.get_tuple(config("chat")).checkpoint == expected
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith("theirs")] == ["theirs.db"]


async def test_the_file_of_the_memory_itself(sqlite_url, call):
    """The warning names this call: the threads of a `SqliteSaver` are in tables that ours are beside."""
    path = sqlite_url.removeprefix("sqlite:///")
    with SqliteSaver.from_conn_string(path) as saver:
        chatted(saver)
    with AgentMemory.from_url(sqlite_url) as memory:
        with pytest.warns(ExistingDataWarning, match="--format saver"):
            done = await call(memory.import_from, sqlite_url, format="saver")
        assert done.counts["threads"] == 1
        assert len(await call(memory.checkpointer.threads)) == 1


async def test_a_thread_that_continued_here_is_refused(memory, call, tmp_path):
    path = tmp_path / "theirs.db"
    with SqliteSaver.from_conn_string(str(path)) as saver:
        chatted(saver)
        await call(memory.import_from, path, format="saver")
        chatted(memory.checkpointer)
        chatted(saver)
    for dry_run in (True, False):
        with pytest.raises(ThreadInUseError, match="Cannot copy thread 'chat'"):
            await call(memory.import_from, path, format="saver", dry_run=dry_run)


class Note(BaseModel):
    text: str


def store_note(saver: Any) -> None:
    """A thread with a value of a class in a module of the application."""
    module = types.ModuleType("application_notes")
    module.Note = Note
    Note.__module__, Note.__qualname__ = "application_notes", "Note"
    sys.modules["application_notes"] = module
    try:
        chatted(saver)
        checkpoint = saver.get_tuple(config("chat")).checkpoint
        checkpoint["channel_values"]["note"] = Note(text="Water the plants")
        checkpoint["channel_versions"]["note"] = "1"
        saver.put(config("notes", checkpoint_ns=""), checkpoint, {}, {"note": "1"})
    finally:
        del sys.modules["application_notes"]


async def test_a_value_whose_class_cannot_be_read_is_refused(sqlite_memory, call, tmp_path):
    path = tmp_path / "theirs.db"
    with SqliteSaver.from_conn_string(str(path)) as saver:
        store_note(saver)
    with pytest.raises(
        MissingClassError, match=r"'notes'.*'note' has a value of the class application_notes\.Note.*modules"
    ):
        await call(sqlite_memory.import_from, path, format="saver")
    assert [one.thread_id for one in await call(sqlite_memory.checkpointer.threads)] == ["chat"]
    strict = AgentMemory(sqlite_memory.backend, tenant="strict", serde=JsonPlusSerializer(allowed_msgpack_modules=None))
    with pytest.raises(MissingClassError, match="application_notes"):
        await call(strict.import_from, path, format="saver", thread_ids=["notes"])


async def test_values_that_the_former_checkpointer_encrypted(tmp_path, call):
    serde = EncryptedSerializer.from_pycryptodome_aes(key=b"1234567890123456")
    with SqliteSaver.from_conn_string(str(tmp_path / "theirs.db")) as saver:
        saver.serde = serde
        expected = chatted(saver)
    with (
        AgentMemory.from_url(f"sqlite:///{tmp_path / 'ours.db'}") as memory,
        pytest.raises(InvalidInputError, match=r"Could not read the threads at .*theirs\.db"),
    ):
        await call(memory.import_from, tmp_path / "theirs.db", format="saver")
    with AgentMemory.from_url(f"sqlite:///{tmp_path / 'ours.db'}", serde=serde) as memory:
        await call(memory.import_from, tmp_path / "theirs.db", format="saver")
        assert (
            memory.checkpointer.get_tuple(config("chat")).checkpoint["channel_values"]["messages"]
            == expected["messages"]
        )


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        ("theirs.db", {"user_id": "alice"}, "user_id='alice' has no effect: threads are copied as they are"),
        ("theirs.db", {"table": "a"}, "table='a' has no effect"),
        ("theirs.db", {"existing": "keep"}, "existing='keep' has no effect: a thread that continued here"),
        ("missing.db", {}, "there is no such file"),
        ("mysql://localhost/a", {}, "must begin with postgresql://, redis:// or sqlite:///"),
        ("other.db", {}, r"Could not read the threads at .*other\.db: .*no such table"),
        ("notes.txt", {}, r"Could not read the threads at .*notes\.txt: .*not a database"),
        (
            "postgresql://user:secret@127.0.0.1:1/a?connect_timeout=2",
            {},
            r"threads at postgresql://127\.0\.0\.1:1/a: .*Check the source",
        ),
        ("redis://127.0.0.1:1/0", {}, "Could not read the threads at redis://127"),
    ],
)
async def test_what_cannot_be_imported(sqlite_memory, call, tmp_path, monkeypatch, source, options, said):
    valkey_saver()
    monkeypatch.chdir(tmp_path)
    with SqliteSaver.from_conn_string("theirs.db") as saver:
        saver.setup()
    with contextlib.closing(sqlite3.connect("other.db")) as connection:
        connection.execute("CREATE TABLE notes (text)")
    Path("notes.txt").write_text("no database, but long enough to be read as the header of one. " * 3)
    with pytest.raises(InvalidInputError, match=said) as failed:
        await call(sqlite_memory.import_from, source, format="saver", **options)
    assert "secret" not in str(failed.value)


async def test_keys_of_langgraphs_redis_saver_are_named(sqlite_memory, call, tmp_path):
    valkey_saver()
    url = new_url("redis", tmp_path)
    with redis.Redis.from_url(url) as client:
        client.set("checkpoint:1:__empty__:1ef", "{}")
    with pytest.raises(
        InvalidInputError, match=r"langgraph-checkpoint-redis\. Call memory\.checkpointer\.copy_from\(saver\)"
    ):
        await call(sqlite_memory.import_from, url, format="saver")


@pytest.mark.parametrize(
    ("module", "source", "package"),
    [
        ("langgraph.checkpoint.sqlite", "theirs.db", "langgraph-checkpoint-sqlite"),
        ("langgraph.checkpoint.postgres", "postgresql://localhost/a", "langgraph-checkpoint-postgres"),
        ("langgraph_checkpoint_aws.checkpoint.valkey.saver", "redis://localhost", "langgraph-checkpoint-aws"),
    ],
)
async def test_a_missing_package_is_named(sqlite_memory, call, monkeypatch, module, source, package):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError, match=f"Run pip install '?{package}"):
        await call(sqlite_memory.import_from, source, format="saver")


async def test_threads_are_an_option_of_checkpointers_only(sqlite_memory, call):
    with pytest.raises(InvalidInputError, match=r"thread_ids=.* has no effect: the source is no checkpointer"):
        await call(sqlite_memory.import_from, [], format="roles", session_id="s", thread_ids=["1"])
    with pytest.raises(InvalidInputError, match="thread_ids"):
        await call(sqlite_memory.import_from, InMemorySaver(), thread_ids=[""])


def test_the_command(sqlite_url: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "theirs.db")
    with SqliteSaver.from_conn_string(path) as saver:
        for thread_id in ("a", "b", "c"):
            chatted(saver, thread_id)
    arguments = ("import", path, "--format", "saver", "--url", sqlite_url)
    done = json.loads(run(*arguments, "--dry-run", "--json"))
    assert (done["stored"]["threads"], Path(sqlite_url.removeprefix("sqlite:///")).exists()) == (3, False)
    assert "\nwould store threads\t3\n" in "\n" + run(*arguments, "--dry-run")
    assert "stored threads\t2\n" in run(*arguments, "--thread", "a", "--thread", "b")
    done = json.loads(run(*arguments, "--thread", "c", "--thread", "d", "--json"))
    assert (done["stored"]["threads"], done["missing_threads"]) == (1, ["d"])
    assert "unchanged checkpoints" in run(*arguments)
    capsys.readouterr()
    assert main([*arguments, "--thread", "d"]) == 0
    assert "The source has no threads of these IDs: 'd'" in capsys.readouterr().err
    assert (
        "--thread has no effect with --format roles"
        in failure(capsys, "import", path, "--format", "roles", "--thread", "a", "--url", sqlite_url)[1]
    )
    code, shown = failure(capsys, *arguments, "--existing", "keep")
    assert (code, "--existing keep has no effect" in shown) == (1, True)
    code, shown = failure(capsys, *arguments, "--user", "alice")
    assert (code, "--user" in shown) == (1, True)


def test_the_command_of_the_warning_imports_into_the_memory_that_warned(run: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'theirs.db'}"
    with SqliteSaver.from_conn_string(str(tmp_path / "theirs.db")) as saver:
        chatted(saver, "a")
    with AgentMemory.from_url(url) as memory:
        with pytest.warns(ExistingDataWarning) as warned:
            assert memory.checkpointer.threads() == []
        program, *arguments = shlex.split(str(warned[0].message).split("`")[1])
        assert program == "agentmem"
        assert "stored threads\t1\n" in run(*arguments)
        assert [one.thread_id for one in memory.checkpointer.threads()] == ["a"]


def test_the_command_reads_classes_in_its_folder(sqlite_url: str, tmp_path: Path) -> None:
    with SqliteSaver.from_conn_string(str(tmp_path / "theirs.db")) as saver:
        store_note(saver)
    command = [
        sys.executable,
        "-m",
        "langchain_agentmem",
        "import",
        "theirs.db",
        "--format",
        "saver",
        "--url",
        sqlite_url,
    ]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (run.returncode, "application_notes.Note" in run.stderr) == (1, True)
    (tmp_path / "application_notes.py").write_text(
        "import pydantic\n\n\nclass Note(pydantic.BaseModel):\n    text: str\n"
    )
    command[1:3] = [
        "-c",
        "import sys; sys.path.remove(''); from langchain_agentmem.__main__ import main; sys.exit(main())",
    ]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (run.returncode, "stored threads\t1" in run.stdout) == (0, True), run.stderr


def test_a_dry_run_of_an_export(stored: str, run: Run, tmp_path: Path) -> None:
    file, target = str(tmp_path / "all.jsonl"), f"sqlite:///{tmp_path / 'new.db'}"
    run("export", file, "--url", stored)
    expected = json.loads(run("import", file, "--url", target, "--dry-run", "--json"))
    assert not (tmp_path / "new.db").exists()
    assert json.loads(run("import", file, "--url", target, "--json")) == expected
    assert "unchanged messages\t4\n" in run("import", file, "--url", target, "--dry-run")
