"""Files that are damaged, forged or foreign, paths that cannot be written, and streams."""

from __future__ import annotations

import io
import json
import os
import re
import threading
from typing import Any

import pytest
from everything import Words, fill
from examples import examples
from exports import is_empty, lines_of, opened
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_agentmem import AgentMemory, DamagedDataError, InvalidInputError, InvalidTypeError
from langchain_agentmem.lifecycle.transfer.files import Seal


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("session", {"title": "half \ud800"}),
        ("session", {"next_position": -1}),
        ("session", {"title_position": -1}),
        ("session", {"kind": ["session"]}),
        ("message", {"position": -1}),
        ("item", {"ttl": -5}),
        ("item", {"ttl": 1e14}),
        ("item", {"updated_at": 1e14}),
        ("message", {"created_at": -1e11}),
        ("message", {"role": "a\0b"}),
        ("message", {"role": "half \ud800"}),
        ("record", {"started_at": 1e14}),
        ("thread", {"ttl": 0}),
        ("thread", {"users": {"alice": 1e14}}),
        ("value", {"form": "a\0b"}),
        ("value", {"digest": "half \ud800"}),
        ("element", {"data": ["a\0b", ""]}),
        ("write", {"form": "half \ud800"}),
        ("write", {"index": 2**31}),
        ("note", {"thread_id": "half \ud800"}),
        ("embeddings", {"model": {"a": 1}}),
        ("embeddings", {"dimensions": 0}),
        ("embeddings", {"dimensions": 2**40}),
    ],
)
def test_a_value_that_no_memory_writes_is_refused(kind, change, exported, tmp_path):
    lines = [{name: value for name, value in line.items() if name != "sum"} for line in lines_of(exported)]
    at = next(at for at, line in enumerate(lines) if line["kind"] == kind and change.keys() <= line.keys())
    lines[at] |= change
    seal = Seal()
    (tmp_path / "forged.jsonl").write_bytes(b"".join(map(seal.text, lines)))
    with opened("sqlite-memory", tmp_path) as memory:
        with pytest.raises(DamagedDataError, match=rf"Line {at + 1} .* cannot be imported"):
            memory.import_from(tmp_path / "forged.jsonl")
        assert is_empty(memory)


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
        with pytest.raises(InvalidInputError, match="source is an empty path"):
            await call(memory.import_from, "")
        with pytest.raises(InvalidInputError, match="source has a character that no path has"):
            await call(memory.import_from, f"{tmp_path}/a\0b")


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


def test_a_file_that_is_closed_or_open_for_the_other_direction_is_refused(sqlite_memory, tmp_path):
    path = tmp_path / "file.jsonl"
    path.touch()
    for mode in ("rb", "r"):
        with path.open(mode) as file, pytest.raises(InvalidTypeError, match="a file that is open for writing"):
            sqlite_memory.export(file)
    for mode in ("ab", "a"):
        with path.open(mode) as file, pytest.raises(InvalidTypeError, match="a file that is open for reading"):
            sqlite_memory.import_from(file)
    with pytest.raises(InvalidTypeError, match="a file that is open for reading"):
        sqlite_memory.import_from(file)
    with pytest.raises(InvalidTypeError, match="a file that is open for writing"):
        sqlite_memory.export(file)


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


def test_the_path_of_a_pipe_is_read_once(exported, sqlite_memory, tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=[exported.read_bytes()])
    writer.start()
    sqlite_memory.import_from(path)
    writer.join()
    file = io.BytesIO()
    sqlite_memory.export(file)
    assert file.getvalue().count(b'"kind":"message"') == exported.read_bytes().count(b'"kind":"message"')


def test_an_empty_file_is_named_so(sqlite_memory, tmp_path):
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(InvalidInputError, match=r"'.*empty\.jsonl' cannot be imported: .* It is empty"):
        sqlite_memory.import_from(tmp_path / "empty.jsonl")


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
