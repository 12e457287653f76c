"""Files that a memory writes: exports, archives and saved histories."""

from __future__ import annotations

import errno
import os
import stat
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from langchain_agentmem import AgentMemory, UnknownSelectionError

ALICE = "alice@example.com"
KINDS = ("export", "save", "archive")


@pytest.fixture
def memory(sqlite_memory):
    sqlite_memory.history("trip").add_user_message("Where to?")
    sqlite_memory.history("trip", user_id=ALICE).add_user_message("To Malta.")
    return sqlite_memory


async def write(memory: AgentMemory, call: Any, kind: str, path: Any) -> None:
    if kind == "export":
        await call(memory.export, path)
    elif kind == "save":
        await call(memory.history("trip").save, path)
    else:
        await call(memory.cleanup, timedelta(microseconds=1), archive=path)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_symbolic_link_stays_and_its_file_is_written(memory, call, kind, tmp_path):
    target = tmp_path / "elsewhere" / "data"
    target.parent.mkdir()
    link = tmp_path / "link"
    link.symlink_to(target)
    await write(memory, call, kind, link)
    assert link.is_symlink()
    assert "Where to?" in target.read_text(encoding="utf-8")
    assert mode(target) == 0o600
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_pipe_is_written_and_stays(memory, call, kind, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    await write(memory, call, kind, pipe)
    reader.join(30)
    assert pipe.is_fifo()
    assert b"Where to?" in read[0]


@pytest.mark.parametrize("kind", ["export", "save"])
async def test_the_descriptor_of_a_pipe_is_written(memory, call, kind):
    reading, writing = os.pipe()
    try:
        await write(memory, call, kind, f"/dev/fd/{writing}")
        assert b"Where to?" in os.read(reading, 100_000)
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("kind", ["export", "save"])
async def test_a_file_keeps_its_mode_and_a_new_one_is_of_its_owner_only(memory, call, kind, tmp_path):
    path = tmp_path / "data"
    await write(memory, call, kind, path)
    assert mode(path) == 0o600
    path.chmod(0o640)
    await write(memory, call, kind, path)
    assert mode(path) == 0o640


async def test_an_archive_keeps_its_mode(memory, call, tmp_path):
    path = tmp_path / "archive.jsonl"
    await write(memory, call, "archive", path)
    assert mode(path) == 0o600
    path.chmod(0o640)
    memory.history("more").add_user_message("Again")
    await write(memory, call, "archive", path)
    assert mode(path) == 0o640
    assert "Again" in path.read_text(encoding="utf-8")


async def test_an_error_names_the_path_that_was_given(memory, call, tmp_path):
    path = tmp_path / "nodir" / "x.jsonl"
    with pytest.raises(FileNotFoundError) as caught:
        await call(memory.export, path)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOENT, str(path))


@pytest.mark.parametrize(
    ("selection", "problem"),
    [
        ({"session_id": "typo"}, r"There is no session 'typo'\."),
        ({"session_id": "trip", "user_id": "bob"}, "There is no session 'trip' of user 'bob'"),
        ({"session_id": "typo", "user_id": None}, "There is no session 'typo' of no user"),
        ({"thread_id": "typo"}, "There is no thread 'typo'"),
        ({"session_id": "trip", "thread_id": "typo"}, "There is no thread 'typo'"),
        ({"user_id": "typo"}, "Nothing is stored about user 'typo'"),
    ],
)
async def test_an_export_of_an_object_that_does_not_exist_keeps_the_file(memory, call, selection, problem, tmp_path):
    path = tmp_path / "keep.jsonl"
    path.write_text("former", encoding="utf-8")
    with pytest.raises(UnknownSelectionError, match=problem):
        await call(memory.export, path, **selection)
    assert path.read_text(encoding="utf-8") == "former"
    assert list(tmp_path.glob("*.jsonl")) + list(tmp_path.glob(".agentmem*")) == [path]
    other = AgentMemory(memory.backend, tenant="other")
    with pytest.raises(UnknownSelectionError, match=problem):
        await call(memory.copy_to, other, **selection)


async def test_an_open_file_gets_nothing_of_an_object_that_does_not_exist(memory, call, tmp_path):
    with (tmp_path / "open").open("wb") as file:
        with pytest.raises(UnknownSelectionError):
            await call(memory.export, file, session_id="typo")
        assert file.tell() == 0
