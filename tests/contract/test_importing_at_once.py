"""Imports and moves of threads at the same time as other writers: each message is stored once, and no item is missing."""

from __future__ import annotations

import asyncio
import inspect
import io
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import foreign
import pytest
from everything import Words
from foreign import SESSIONS
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.store.memory import InMemoryStore

from langchain_agentmem import AgentMemory, ConflictError
from langchain_agentmem.backends.encrypted.transfer import EncryptedTransfer
from langchain_agentmem.lifecycle.importers import rows as importer_rows
from langchain_agentmem.lifecycle.importers import sessions as importer_sessions

KEYS = (None, bytes(range(32)))
TOTAL = sum(map(len, SESSIONS.values()))
BEFORE = "There is something already."
LONG = [HumanMessage(f"{at}", id=f"own-{at}") if at % 3 else AIMessage(f"{at}") for at in range(20)]


def is_async(call: Any) -> bool:
    return bool(inspect.getclosurevars(call).nonlocals["request"].param == "async")


def in_its_way(call: Any, action: Callable[[], Any]) -> Callable[..., Any]:
    """A function for `progress=` that performs an action, which awaits `call`."""

    async def awaited(_: Any) -> None:
        await action()

    def run(_: Any) -> None:
        with pytest.raises(StopIteration):  # nothing in it waits
            action().send(None)

    return awaited if is_async(call) else run


@pytest.fixture(params=KEYS, ids=["plain", "encrypted"])
def opened(url, request):
    with AgentMemory.from_url(url, key=request.param) as memory:
        yield memory


@pytest.fixture
def history(tmp_path, monkeypatch):
    monkeypatch.setattr(importer_rows, "PAGE_ROWS", 6)
    history = foreign.sql_history(f"sqlite:///{tmp_path / 'old.db'}", "long")
    history.add_messages(LONG)
    return history


async def texts(memory: AgentMemory, call: Any, session: str = "long") -> list[str]:
    return [message.text for page in await call(memory.history(session).pages, 100) for message in page]


@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.parametrize("moment", [1, 4, 5, 6])
async def test_another_import_between_two_pages(opened, call, history, begun, moment):
    if begun:
        await call(opened.history("long").add_messages, [HumanMessage(BEFORE)])
    calls, others = [], []

    async def interrupt() -> None:
        calls.append(1)
        if len(calls) == moment:  # the first 4 calls are those of the check
            others.append(await call(opened.import_from, history))

    done = await call(opened.import_from, history, progress=in_its_way(call, interrupt))
    assert await texts(opened, call) == [BEFORE] * begun + [one.text for one in LONG]
    (other,) = others
    stored = Counter(done.counts) + Counter(other.counts)
    assert (stored["messages"], stored["sessions"]) == (len(LONG), not begun)
    assert done.counts.get("messages", 0) + done.unchanged.get("messages", 0) == len(LONG)
    again = await call(opened.import_from, history)
    assert (again.counts, again.unchanged["messages"]) == ({}, len(LONG))


async def test_a_turn_between_two_pages(opened, call, history):
    calls: list[int] = []

    async def interrupt() -> None:
        calls.append(1)
        if len(calls) == 6:
            await call(opened.history("long").add_messages, [HumanMessage("A turn")])

    done = await call(opened.import_from, history, progress=in_its_way(call, interrupt))
    assert done.counts == {"messages": len(LONG), "sessions": 1}
    found = await texts(opened, call)
    assert [one for one in found if one != "A turn"] == [one.text for one in LONG]
    assert found.index("A turn") == 12


async def test_a_session_that_is_deleted_between_two_pages(opened, call, history):
    calls: list[int] = []

    async def interrupt() -> None:
        calls.append(1)
        if len(calls) == 6:
            await call(opened.sessions.delete, "long")

    with pytest.raises(ConflictError, match="Session 'long' was deleted by another process"):
        await call(opened.import_from, history, progress=in_its_way(call, interrupt))
    assert (await call(opened.import_from, history)).counts["messages"] == len(LONG)
    assert await texts(opened, call) == [one.text for one in LONG]


async def test_imports_in_threads_and_tasks_at_once(opened, call, tmp_path, monkeypatch):
    monkeypatch.setattr(importer_rows, "PAGE_ROWS", 3)
    url = foreign.sql_histories(tmp_path / "old.db")
    for session in SESSIONS:
        await call(opened.history(session).add_messages, [HumanMessage(BEFORE)])
    if is_async(call):
        done = await asyncio.gather(*(opened.aimport_from(url, format="sql-history") for _ in range(3)))
    else:
        barrier = threading.Barrier(3)

        def work(_: int) -> Any:
            barrier.wait()
            return opened.import_from(url, format="sql-history")

        with ThreadPoolExecutor(3) as pool:
            done = list(pool.map(work, range(3)))
    assert sum(one.counts.get("messages", 0) for one in done) == TOTAL
    for session, messages in SESSIONS.items():
        assert await texts(opened, call, session) == [BEFORE, *(one.text for one in messages)]


async def test_a_session_that_never_rests(sqlite_memory, call, history, monkeypatch):
    monkeypatch.setattr(importer_sessions, "_ATTEMPTS", 3)
    await call(sqlite_memory.history("long").add_messages, [HumanMessage(BEFORE)])
    engine = sqlite_memory._histories.engine
    importing = engine.import_messages

    def after_a_turn(*args: Any, **kwargs: Any) -> Any:
        sqlite_memory.history("long").add_user_message("A turn")
        return importing(*args, **kwargs)

    monkeypatch.setattr(type(engine), "import_messages", staticmethod(after_a_turn))
    with pytest.raises(ConflictError, match="Session 'long' gets messages from other processes all the time"):
        await call(sqlite_memory.import_from, history)
    assert await texts(sqlite_memory, call) == [BEFORE, *["A turn"] * 3]


# Threads


class Interrupted(DeterministicFakeEmbedding):
    """Runs an action when the first texts are embedded: after a call has read the session, and before it writes."""

    action: Any = None

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        action, self.action = self.action, None
        if action is not None:
            action(None)
        return super().embed_documents(texts)

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        action, self.action = self.action, None
        if action is not None:
            await action(None)
        return super().embed_documents(texts)


def chatted(memory: AgentMemory) -> None:
    builder = StateGraph(MessagesState).add_node("reply", lambda state: {"messages": [AIMessage("Hello", id="a")]})
    graph = builder.add_edge(START, "reply").compile(checkpointer=memory.checkpointer)
    graph.invoke({"messages": [HumanMessage("Hi", id="h")]}, {"configurable": {"thread_id": "long"}})


@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.parametrize("key", KEYS, ids=["plain", "encrypted"])
async def test_a_thread_is_moved_while_another_call_moves_it(url, call, begun, key):
    embeddings = Interrupted(size=4)
    with AgentMemory.from_url(url, key=key, embeddings=embeddings) as memory:
        chatted(memory)
        if begun:
            await call(memory.history("long").add_messages, [HumanMessage(BEFORE)])
        others: list[Any] = []

        async def interrupt() -> None:
            others.append(await call(memory.from_thread, "long"))
            await call(memory.history("long").add_messages, [HumanMessage("A turn")])

        embeddings.action = in_its_way(call, interrupt)
        done = await call(memory.from_thread, "long")
        assert (done.messages, others[0].messages) == (0, 2)
        assert await texts(memory, call) == [BEFORE] * begun + ["Hi", "Hello", "A turn"]


# Items


@pytest.mark.parametrize("key", KEYS, ids=["plain", "encrypted"])
async def test_a_replaced_item_is_never_missing(url, call, key):
    stores = [InMemoryStore(), InMemoryStore()]
    for value, store in enumerate(stores):
        store.put(("docs",), "a", {"value": f"number {value}"})
    stopped = threading.Event()
    with AgentMemory.from_url(url, key=key) as memory:
        memory.import_from(stores[0])

        replaced: list[Any] = []

        def replace() -> None:
            while not stopped.is_set():
                done = memory.import_from(stores[(len(replaced) + 1) % 2], existing="replace")
                assert done.counts == {"items": 1}
                replaced.append(done)

        with ThreadPoolExecutor(1) as pool:
            work, found = pool.submit(replace), []
            try:
                while len(replaced) < 25 and not work.done():
                    found.append(await call(memory.store.get, ("docs",), "a"))
            finally:
                stopped.set()
            work.result()
        assert {one and one.value["value"] for one in found} <= {"number 0", "number 1"}
        (hit,) = await call(memory.store.search, ("docs",), query="number")
        assert hit.value in ({"value": "number 0"}, {"value": "number 1"})


@pytest.mark.parametrize("key", KEYS, ids=["plain", "encrypted"])
async def test_exports_are_imported_at_once(url, call, key, exported):
    with AgentMemory.from_url(url, key=key, embeddings=Words()) as memory:
        if is_async(call):
            done = await asyncio.gather(*(memory.aimport_from(exported) for _ in range(3)))
        else:
            with ThreadPoolExecutor(3) as pool:
                done = list(pool.map(lambda _: memory.import_from(exported), range(3)))
        file = io.BytesIO()
        total = (await call(memory.export, file)).counts
        if key is None:  # IDs of an encrypted memory have another order
            assert file.getvalue() == exported.read_bytes()
        for one in done:
            assert {kind: one.counts.get(kind, 0) + one.unchanged.get(kind, 0) for kind in total} == total
        assert memory.import_from(exported).counts == {}


async def test_an_import_that_ends_before_the_first_head_of_a_session_continues(url, call, exported, monkeypatch):
    """In Redis, a session is stored before the data that authenticates its messages."""
    with AgentMemory.from_url(url, key=KEYS[1], embeddings=Words()) as memory:
        with monkeypatch.context() as patched:
            patched.setattr(EncryptedTransfer, "_swap", lambda *_: Interruption.now())
            with pytest.raises(Interruption):
                await call(memory.import_from, exported)
        done = await call(memory.import_from, exported)
        total = (await call(memory.export, io.BytesIO())).counts
        assert {kind: done.counts.get(kind, 0) + done.unchanged.get(kind, 0) for kind in total} == total


class Interruption(Exception):
    @classmethod
    def now(cls) -> None:
        raise cls
