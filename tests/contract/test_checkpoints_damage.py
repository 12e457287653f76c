"""A damaged, replaced or unavailable database is an error: it never looks like a new conversation."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph

from langchain_agentmem import (
    AgentMemError,
    AgentMemory,
    AgentMemSaver,
    ConfigurationError,
    DamagedDataError,
    StorageBusyError,
    StorageClosedError,
    StorageError,
)

BIG = "a text that is long enough to be stored as an element of its own, not within the checkpoint. " * 4
CONFIG: Any = {"configurable": {"thread_id": "1"}}
PAGE = 4096


def conversation(saver: Any) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("reply", lambda state: {"messages": [AIMessage(f"{len(state['messages'])} {BIG}")]})
    builder.add_edge(START, "reply")
    return builder.compile(checkpointer=saver)


def file_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a conversation of nine turns, and all of it in one file."""
    path = tmp_path_factory.mktemp("original") / "memory.db"
    with AgentMemory.from_url(f"sqlite:///{path}") as memory:
        for turn in range(9):
            conversation(memory.checkpointer).invoke({"messages": [HumanMessage(f"{turn} {BIG}")]}, CONFIG)
    assert path.stat().st_size > 20 * PAGE
    return path


@pytest.fixture
def path(original: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copy(original, tmp_path / "memory.db"))


@pytest.fixture
def whole(original: Path) -> Iterator[Any]:
    with AgentMemory.from_url(f"sqlite:///{original}") as memory:
        yield list(memory.checkpointer.list(CONFIG))


async def seen(saver: AgentMemSaver, call: Any) -> Any:
    """What a reader of the thread sees, or the error."""
    try:
        latest = await call(saver.get_tuple, CONFIG)
        listed = await call(saver.list, CONFIG)
        history = await call(saver.get_delta_channel_history, config=CONFIG, channels=["messages"])
    except AgentMemError as error:
        return error
    return latest, listed, history


DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "garbage": lambda page, source: source.randbytes(len(page)),
    "zeros": lambda page, source: bytes(len(page)),
    "ones": lambda page, source: b"\xff" * len(page),
    "another part of the file": lambda page, source: page[::-1],
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_every_page_that_is_damaged_is_an_error_or_not_needed(original, whole, tmp_path, call, damage):
    source = random.Random(7)
    content = original.read_bytes()
    errors = 0
    for at in range(0, len(content), PAGE):
        path = tmp_path / f"damaged-{at}.db"
        page = DAMAGES[damage](content[at : at + PAGE], source)
        path.write_bytes(content[:at] + page + content[at + PAGE :])
        with AgentMemory.from_url(f"sqlite:///{path}") as memory:
            found = await seen(memory.checkpointer, call)
        if isinstance(found, AgentMemError):
            assert isinstance(found, StorageError)
            assert str(path) in str(found) or isinstance(found, DamagedDataError)
            errors += 1
        else:
            assert found[0] == whole[0]
            assert found[1] == whole
    assert errors > 5


async def test_garbage_in_the_middle_of_the_file_is_an_error(path, call):
    with path.open("r+b") as file:
        file.seek(2 * PAGE)
        file.write(random.Random(3).randbytes(path.stat().st_size - 4 * PAGE))
    with AgentMemory.from_url(f"sqlite:///{path}") as memory:
        graph = conversation(memory.checkpointer)
        for _ in range(2):
            with pytest.raises(DamagedDataError, match="damaged"):
                await call(memory.checkpointer.get_tuple, CONFIG)
            with pytest.raises(DamagedDataError, match="damaged"):
                await call(memory.checkpointer.list, CONFIG)
            with pytest.raises(DamagedDataError):
                await call(graph.invoke, {"messages": [HumanMessage("hi")]}, CONFIG)
            with pytest.raises(StorageError):
                await call(memory.checkpointer.delete_thread, "1")


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
async def test_a_file_that_was_cut_off_is_an_error(path, call, keep):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with AgentMemory.from_url(f"sqlite:///{path}") as memory:
        assert isinstance(await seen(memory.checkpointer, call), StorageError)


@pytest.mark.parametrize(
    "content", [b"not a database", b"\x00" * 10_000, b"PK\x03\x04" * 3000, random.Random(1).randbytes(50_000)]
)
async def test_another_file_in_place_of_the_database_is_an_error(path, call, content):
    path.write_bytes(content)
    with AgentMemory.from_url(f"sqlite:///{path}") as memory:
        for _ in range(2):
            with pytest.raises(DamagedDataError):
                await call(memory.checkpointer.get_tuple, CONFIG)
        with pytest.raises(DamagedDataError):
            await call(memory.checkpointer.list, None)
    assert path.read_bytes() == content


def overwritten(path: Path) -> None:
    path.write_bytes(b"overwritten " * 10_000)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:9000])


def replaced(path: Path) -> None:
    other = path.with_name("other.db")
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE numbers (n)")
    connection.commit()
    connection.close()
    other.replace(path)


def copied_over(path: Path) -> None:
    other = path.with_name("other.db")
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE numbers (n)")
    connection.executemany("INSERT INTO numbers VALUES (?)", [(BIG,)] * 500)
    connection.commit()
    connection.close()
    shutil.copyfile(other, path)


def removed(path: Path) -> None:
    for file in path.parent.glob("memory.db*"):
        file.unlink()


@pytest.mark.parametrize(
    "happening", [overwritten, emptied, cut_off, replaced, copied_over, removed], ids=lambda one: one.__name__
)
async def test_what_happens_to_the_file_while_it_is_open_never_looks_like_a_new_conversation(
    path, whole, call, happening
):
    with AgentMemory.from_url(f"sqlite:///{path}") as memory:
        assert await call(memory.checkpointer.list, CONFIG) == whole
        happening(path)
        for saver in (memory.checkpointer, AgentMemSaver(memory.backend)):
            for _ in range(2):
                found = await seen(saver, call)
                if isinstance(found, Exception):
                    assert isinstance(found, (StorageError, ConfigurationError))
                else:
                    assert found[1] == whole


@pytest.mark.parametrize("table", ["threads", "checkpoints", "channel_values", "elements", "writes"])
async def test_a_table_that_is_missing_is_an_error(path, call, table):
    connection = sqlite3.connect(path)
    connection.execute(f"DROP TABLE agentmem_{table}")
    connection.commit()
    connection.close()
    with AgentMemory.from_url(f"sqlite:///{path}") as memory:
        with pytest.raises(StorageError, match=f"agentmem_{table}"):
            await call(memory.checkpointer.get_tuple, CONFIG)
        with pytest.raises(StorageError, match=f"agentmem_{table}"):
            await call(conversation(memory.checkpointer).invoke, {"messages": [HumanMessage("hi")]}, CONFIG)


ROWS = {
    "no elements": "DELETE FROM agentmem_elements",
    "an element is missing": "DELETE FROM agentmem_elements WHERE id = (SELECT max(id) FROM agentmem_elements)",
    "an element has other bytes": "UPDATE agentmem_elements SET data = zeroblob(length(data))",
    "an element is empty": "UPDATE agentmem_elements SET data = x''",
    "an element is of an unknown type": "UPDATE agentmem_elements SET type = 'pickle'",
    "an element is a null": "UPDATE agentmem_elements SET type = 'null'",
    "the elements took each other's place": (
        "UPDATE agentmem_elements SET data = (SELECT data FROM agentmem_elements AS other WHERE other.id <> agentmem_elements.id "
        "AND other.type = agentmem_elements.type LIMIT 1)"
    ),
    "no values": "DELETE FROM agentmem_channel_values",
    "half of the values are missing": "DELETE FROM agentmem_channel_values WHERE number % 2 = 0",
    "values without references": "UPDATE agentmem_channel_values SET data = x'' WHERE kind <> 'plain'",
    "values with other references": "UPDATE agentmem_channel_values SET data = zeroblob(length(data)) WHERE kind <> 'plain'",
    "values with half a reference": "UPDATE agentmem_channel_values SET data = substr(data, 1, 8) WHERE kind <> 'plain'",
    "values of an unknown kind": "UPDATE agentmem_channel_values SET kind = 'tree'",
    "values with another head": "UPDATE agentmem_channel_values SET head = head - 1 WHERE head > 0",
    "values with a tail": "UPDATE agentmem_channel_values SET tail = 1 WHERE base_version IS NOT NULL",
    "values in a circle": (
        "UPDATE agentmem_channel_values SET base_namespace = namespace, base_channel = channel, base_version = version"
    ),
    "documents with other bytes": "UPDATE agentmem_checkpoints SET document = zeroblob(length(document))",
    "empty documents": "UPDATE agentmem_checkpoints SET document = x''",
    "documents that are text": "UPDATE agentmem_checkpoints SET document = 'text'",
    "documents cut off": "UPDATE agentmem_checkpoints SET document = substr(document, 1, length(document) - 9)",
}


@pytest.mark.parametrize("damage", ROWS)
async def test_rows_that_were_altered_are_an_error(path, call, damage):
    connection = sqlite3.connect(path)
    changed = connection.execute(ROWS[damage]).rowcount
    connection.commit()
    connection.close()
    assert changed > 0
    with AgentMemory.from_url(f"sqlite:///{path}") as memory:
        with pytest.raises(DamagedDataError):
            await call(memory.checkpointer.get_tuple, CONFIG)
        with pytest.raises(DamagedDataError):
            await call(memory.checkpointer.list, CONFIG)
        with pytest.raises(DamagedDataError):
            await call(conversation(memory.checkpointer).invoke, {"messages": [HumanMessage("hi")]}, CONFIG)


async def test_a_damaged_thread_does_not_keep_others_from_their_work(path, call):
    with AgentMemory.from_url(f"sqlite:///{path}") as memory:
        graph = conversation(memory.checkpointer)
        other: Any = {"configurable": {"thread_id": "2"}}
        await call(graph.invoke, {"messages": [HumanMessage("hi")]}, other)
        connection = sqlite3.connect(path)
        connection.execute("UPDATE agentmem_elements SET data = x'00' WHERE thread = 1")
        connection.commit()
        connection.close()
        with pytest.raises(DamagedDataError):
            await call(memory.checkpointer.get_tuple, CONFIG)
        result = await call(graph.invoke, {"messages": [HumanMessage("hi")]}, other)
        assert len(result["messages"]) == 4
        await call(memory.checkpointer.delete_thread, "1")
        assert await call(memory.checkpointer.get_tuple, CONFIG) is None
        result = await call(graph.invoke, {"messages": [HumanMessage("hi")]}, CONFIG)
        assert len(result["messages"]) == 2


async def test_a_write_that_fails_leaves_no_trace(path, whole, call):
    with AgentMemory.from_url(f"sqlite:///{path}?timeout=0.05") as memory:
        saver = memory.checkpointer
        assert await call(saver.list, CONFIG) == whole
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        graph = conversation(saver)
        for action in (
            lambda: call(graph.invoke, {"messages": [HumanMessage("hi")]}, CONFIG),
            lambda: call(saver.put_writes, whole[0].config, [("a", 1)], "task"),
            lambda: call(saver.prune, ["1"]),
            lambda: call(saver.delete_thread, "1"),
            lambda: call(saver.copy_thread, "1", "2"),
            lambda: call(saver.set_ttl, "1", 5),
        ):
            with pytest.raises(StorageBusyError, match=r"0\.05 seconds"):
                await action()
        assert await call(saver.list, CONFIG) == whole
        connection.execute("ROLLBACK")
        connection.close()
        assert await call(saver.list, CONFIG) == whole
    with AgentMemory.from_url(f"sqlite:///{path}") as memory:
        graph = conversation(memory.checkpointer)
        assert len((await call(graph.invoke, {"messages": [HumanMessage("hi")]}, CONFIG))["messages"]) == 20


async def test_a_saver_recovers_when_the_database_is_back(path, whole, call):
    content = path.read_bytes()
    with AgentMemory.from_url(f"sqlite:///{path}") as memory:
        path.write_bytes(b"out of order " * 1000)
        for _ in range(3):
            with pytest.raises(DamagedDataError):
                await call(memory.checkpointer.get_tuple, CONFIG)
        path.write_bytes(content)
        assert await call(memory.checkpointer.list, CONFIG) == whole


async def test_a_closed_saver_says_so(lasting_url, call):
    saver = AgentMemSaver.from_url(lasting_url)
    given: Any = {"v": 4, "id": "1", "ts": "", "channel_values": {}, "channel_versions": {}, "versions_seen": {}}
    config = await call(saver.put, CONFIG, given, {}, {})
    await call(saver.close)
    await call(saver.close)
    for method, *arguments in (
        (saver.get_tuple, CONFIG),
        (saver.list, CONFIG),
        (saver.put, CONFIG, given, {}, {}),
        (saver.put_writes, config, [("a", 1)], "task"),
        (saver.delete_thread, "1"),
        (saver.prune, ["1"]),
        (saver.threads,),
    ):
        with pytest.raises(StorageClosedError, match="closed"):
            await call(method, *arguments)
    with AgentMemory.from_url(lasting_url) as memory:
        assert (await call(memory.checkpointer.get_tuple, CONFIG)).checkpoint == given
