"""Rotating the key of an encrypted memory, while other processes use it, and after interruptions."""

from __future__ import annotations

import itertools
import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import new_url
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph
from processes import killed
from raw_checkpoints import RawItems
from test_forget import dump

from langchain_agentmem import AgentMemory, ConfigurationError, InvalidInputError, TamperedDataError, WrongKeyError
from langchain_agentmem.backends.contract import RecordQuery, SessionKey
from langchain_agentmem.backends.encrypted import backend as encrypted_backend
from langchain_agentmem.encoding.sealing import MARK
from langchain_agentmem.lifecycle import rotation
from langchain_agentmem.programs import storage_program
from langchain_agentmem.testing.cases import turn

KEY = SessionKey("default", "alice", "long")
OLD, NEW, OTHER = bytes(range(32)), bytes(range(1, 33)), bytes(range(2, 34))


@pytest.fixture(params=["sqlite-file", "postgres", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return new_url(request.param, tmp_path)


@pytest.fixture(autouse=True)
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every operation reads the stored keys, so a rotation need not wait."""
    monkeypatch.setattr(encrypted_backend, "MAX_AGE", 0.0)
    monkeypatch.setattr(rotation, "WAIT_SECONDS", 0.0)


def graph(memory: AgentMemory) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": [AIMessage(f"answer {len(state['messages'])} " * 20)]})
    builder.add_edge(START, "answer")
    return builder.compile(checkpointer=memory.checkpointer)


def talk(memory: AgentMemory, thread: str) -> int:
    config = {"configurable": {"thread_id": thread, "user_id": "alice"}}
    return len(graph(memory).invoke({"messages": [HumanMessage("question")]}, config)["messages"])


def fill(memory: AgentMemory) -> None:
    history = memory.history("trip", user_id="alice")
    history.add_messages([HumanMessage("Lisbon"), AIMessage("Nice")])
    history.add_messages([HumanMessage("Porto", id="p"), AIMessage("Nice too")])
    for number in range(20):
        memory.store.put(("notes", "alice"), str(number), {"text": f"note {number}"}, ttl=600)
    memory.variables.set("city", "Lisbon", user_id="alice")
    memory.records.save("planner", {"step": 1}, session_id="trip", user_id="alice")
    memory.profiles.add_fact("alice", "Alice likes custard tarts")
    for _ in range(3):
        talk(memory, "thread")


def seen(memory: AgentMemory) -> list[Any]:
    """What a memory returns that `fill` has filled."""
    state = graph(memory).get_state({"configurable": {"thread_id": "thread"}})
    return [
        [message.content for message in memory.history("trip", user_id="alice").messages],
        sorted((item.key, item.value["text"], item.updated_at) for item in memory.store.search(("notes",), limit=100)),
        memory.variables.all(user_id="alice"),
        [one.record for one in memory.records.query(session_id="trip", user_id="alice")],
        [fact.text for fact in memory.profiles.get("alice").facts] if memory.profiles.get("alice") else [],
        [message.content for message in state.values["messages"]],
        len(list(graph(memory).get_state_history({"configurable": {"thread_id": "thread"}}))),
    ]


def data_keys(url: str, key: Any) -> tuple[bytes, set[bytes]]:
    """The current data key of a memory, and all that the database knows."""
    with AgentMemory.from_url(url, key=key) as memory:
        memory.store.get(("any",), "key")
        secrets = memory.backend.ring.secrets
        return secrets.current, set(secrets.data_keys)


def cells_with(url: str, data_key: bytes) -> list[str]:
    """The parts of a database that hold values under a data key."""
    from base64 import b64encode

    needles = [MARK + data_key, (MARK + data_key).hex().encode(), b64encode(MARK + data_key)[:10]]
    return [name for name, data in dump(url).items() if any(needle in data for needle in needles)]


async def test_after_a_rotation_everything_is_under_the_new_key(url, call):
    with AgentMemory.from_url(url, key=OLD) as memory:
        fill(memory)
        before = seen(memory)
    former, _ = data_keys(url, OLD)
    assert cells_with(url, former)
    reports: list[Any] = []
    with AgentMemory.from_url(url, key=[NEW, OLD]) as memory:
        rotated = await call(memory.rotate_key, OLD, NEW, progress=reports.append)
        assert seen(memory) == before
        assert (await call(memory.rotate_key, OLD, NEW)).values == 0
    assert rotated.values > 40
    assert str(rotated.values) in rotated._repr_html_()
    assert reports[-1].values == rotated.values
    current, known = data_keys(url, NEW)
    assert known == {current}
    assert current != former
    assert cells_with(url, former) == []
    with AgentMemory.from_url(url, key=NEW) as memory:
        assert seen(memory) == before
        assert talk(memory, "thread") == 8
    with AgentMemory.from_url(url, key=OLD) as memory, pytest.raises(WrongKeyError, match="another key"):
        memory.store.get(("notes", "alice"), "1")


def test_an_interrupted_rotation_is_resumed(url):
    with AgentMemory.from_url(url, key=OLD) as memory:
        fill(memory)
        before = seen(memory)
    former, _ = data_keys(url, OLD)
    dice = random.Random(7)
    for _ in range(5):
        left = dice.randint(0, 12)

        def report(_: Any) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt

        with AgentMemory.from_url(url, key=[NEW, OLD]) as memory:
            try:
                memory.rotate_key(OLD, NEW, progress=report)
            except KeyboardInterrupt:
                assert seen(memory) == before
    with AgentMemory.from_url(url, key=[NEW, OLD]) as memory:
        memory.rotate_key(OLD, NEW)
    assert cells_with(url, former) == []
    with AgentMemory.from_url(url, key=NEW) as memory:
        assert seen(memory) == before


def rotating(url: str, sender: Any) -> None:
    """Rotate the key in a process of its own, which is killed."""
    encrypted_backend.MAX_AGE = rotation.WAIT_SECONDS = 0.0
    numbers = itertools.count()
    with AgentMemory.from_url(url, key=[NEW, OLD]) as memory:
        memory.rotate_key(OLD, NEW, progress=lambda _: sender.send(next(numbers)))
        while True:
            sender.send(next(numbers))


@pytest.mark.parametrize("reports", [1, 8])
def test_a_rotation_that_was_killed_is_resumed(url, reports):
    with AgentMemory.from_url(url, key=OLD) as memory:
        fill(memory)
        before = seen(memory)
    former, _ = data_keys(url, OLD)
    killed(rotating, url, reports)
    with AgentMemory.from_url(url, key=[NEW, OLD]) as memory:
        assert seen(memory) == before
        memory.rotate_key(OLD, NEW)
    assert cells_with(url, former) == []
    with AgentMemory.from_url(url, key=NEW) as memory:
        assert seen(memory) == before


def test_readers_and_writers_go_on_during_a_rotation(url):
    with AgentMemory.from_url(url, key=OLD) as memory:
        fill(memory)
    former, _ = data_keys(url, OLD)
    done, failures, talks = threading.Event(), list[BaseException](), [0]

    def work() -> None:
        try:
            with AgentMemory.from_url(url, key=[NEW, OLD]) as memory:
                while not done.is_set():
                    talks[0] += 1
                    assert talk(memory, "other") == 2 * talks[0]
                    memory.store.put(("notes", "alice"), "new", {"text": str(talks[0])})
                    memory.history("trip", user_id="alice").add_messages([HumanMessage("more")])
                    seen(memory)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    with AgentMemory.from_url(url, key=[NEW, OLD]) as memory:
        memory.rotate_key(OLD, NEW)
    done.set()
    thread.join()
    assert failures == []
    assert talks[0] > 0
    assert cells_with(url, former) == []
    with AgentMemory.from_url(url, key=NEW) as memory:
        assert memory.store.get(("notes", "alice"), "new").value == {"text": str(talks[0])}
        assert talk(memory, "other") == 2 * talks[0] + 2


async def test_wrong_keys_are_refused(url, call):
    with AgentMemory.from_url(url, key=OLD) as memory:
        memory.store.put(("a",), "b", {"c": 1})
        with pytest.raises(WrongKeyError, match="neither `old` nor `new`"):
            await call(memory.rotate_key, OTHER, NEW)
        with pytest.raises(InvalidInputError, match="the same key"):
            await call(memory.rotate_key, OLD, OLD)
        with pytest.raises(InvalidInputError, match="new must be one key"):
            await call(memory.rotate_key, OLD, [NEW, OTHER])
        assert memory.store.get(("a",), "b").value == {"c": 1}


async def test_a_memory_without_a_key_has_none_to_rotate(url, call):
    with AgentMemory.from_url(url) as memory, pytest.raises(ConfigurationError, match="not encrypted"):
        await call(memory.rotate_key, OLD, NEW)


async def test_a_write_that_ends_after_a_rotation_encrypts_its_values_again(url, call, monkeypatch):
    monkeypatch.setattr(encrypted_backend, "MAX_AGE", 1e9)
    monkeypatch.setattr(encrypted_backend, "LATE", 0.0)
    with AgentMemory.from_url(url, key=[OLD, NEW]) as late:
        fill(late)
        former = late.backend.ring.secrets.current
        with AgentMemory.from_url(url, key=[NEW, OLD]) as memory:
            await call(memory.rotate_key, OLD, NEW)
        assert late.backend.ring.secrets.current == former
        await call(late.store.put, ("late",), "item", {"text": "late"})
        await call(late.history("trip", user_id="alice").add_messages, [HumanMessage("late")])
    assert cells_with(url, former) == []
    with AgentMemory.from_url(url, key=NEW) as memory:
        assert memory.store.get(("late",), "item").value == {"text": "late"}
        assert memory.history("trip", user_id="alice").messages[-1].content == "late"


class Clock:
    """A clock that a test sets forward."""

    def __init__(self) -> None:
        self.ahead, self._real = 0.0, time.monotonic

    def monotonic(self) -> float:
        return self._real() + self.ahead

    def time(self) -> float:
        return time.time()


@pytest.mark.parametrize("seconds", [20.0, 30.0])
async def test_a_long_transaction_starts_again_with_the_new_key(url, call, monkeypatch, seconds):
    """It stores nothing under the former key, so that nothing is lost if its process is killed after it."""
    clock, resealed = Clock(), []
    monkeypatch.setattr(encrypted_backend, "time", clock)
    monkeypatch.setattr(encrypted_backend, "reseal", lambda *_: resealed.append(1) or iter(()))
    with AgentMemory.from_url(url, key=[OLD, NEW]) as late:
        fill(late)
        former = late.backend.ring.secrets.current
        monkeypatch.setattr(encrypted_backend, "MAX_AGE", 1e9)
        with AgentMemory.from_url(url, key=[NEW, OLD]) as memory:
            await call(memory.rotate_key, OLD, NEW)
        attempts = []

        @storage_program
        def slow() -> Any:
            attempts.append(late.backend.ring.secrets.current)
            yield from late.backend.messages.append(KEY, turn("late"))
            clock.ahead += seconds

        await call(late.backend.write, slow())
        assert attempts[0] == former
        if url.startswith("redis") or seconds < encrypted_backend.LATE:
            assert len(attempts) == 1  # Redis has no transactions: the process encrypts the values again
            assert bool(resealed) == (seconds > encrypted_backend.LATE)
        else:
            assert len(attempts) > 1
            assert former not in attempts[1:]
            assert resealed == []
            assert cells_with(url, former) == []
            with AgentMemory.from_url(url, key=NEW) as memory:
                found = memory.backend.read(memory.backend.messages.window(KEY, None, None, time.time()))
                assert [row.body for row in found] == [row.body for row in turn("late").rows]


async def test_an_altered_value_does_not_stop_a_rotation(url, call, caplog):
    with AgentMemory.from_url(url, key=OLD) as memory:
        memory.store.put(("notes",), "other", {"text": "other"})
        memory.store.put(("notes",), "altered", {"text": "altered"})
        assert [item.key for item in memory.store.search(("notes",))] == ["altered", "other"]
    raw = RawItems(url)
    row = next(row for row in raw.rows() if "agentmem:sealed" in str(row["value"]))
    value = row["value"] if isinstance(row["value"], bytes) else row["value"].encode()
    at = value.index(b"agM1") + 60
    value = value[:at] + (b"A" if value[at : at + 1] != b"A" else b"B") + value[at + 1 :]
    raw.write({**row, "value": value if isinstance(row["value"], bytes) else value.decode()})
    with AgentMemory.from_url(url, key=[NEW, OLD]) as memory:
        rotated = await call(memory.rotate_key, OLD, NEW)
        assert rotated.damaged == 1
        assert "1 cells of the database hold values that were altered" in caplog.text
        readable = 0
        for key in ("altered", "other"):
            try:
                readable += memory.store.get(("notes",), key).value == {"text": key}
            except TamperedDataError:
                continue
        assert readable == 1
    assert len(data_keys(url, NEW)[1]) == 1


async def test_an_interrupted_rotation_waits_whatever_the_clock_says(url, call, monkeypatch):
    def interrupt(_: Any) -> None:
        raise KeyboardInterrupt

    with AgentMemory.from_url(url, key=[OLD, NEW]) as memory:
        fill(memory)
        with pytest.raises(KeyboardInterrupt):
            memory.rotate_key(OLD, NEW, progress=interrupt)
    monkeypatch.setattr(rotation, "WAIT_SECONDS", 0.2)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600.0)
    reports: list[Any] = []
    with AgentMemory.from_url(url, key=[NEW, OLD]) as memory:
        began = time.monotonic()
        await call(memory.rotate_key, OLD, NEW, progress=reports.append)
        assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize("session_id", [None, "trip"])
def test_a_record_that_is_stored_again_after_a_rotation_is_stored_once(url, session_id):
    """As when a connection is lost, and the retry begins with the new data key."""
    with AgentMemory.from_url(url, key=[OLD, NEW]) as memory:
        memory.records.save("planner", {"step": 1}, session_id=session_id, user_id="alice")
        backend, now = memory.backend, time.time()
        (row,) = backend.read(backend.records.query(RecordQuery("default", "alice", session_id), now))
        memory.rotate_key(OLD, NEW)
        backend.write(backend.records.add("default", row, None, False, now))
        found = backend.read(backend.records.query(RecordQuery("default", "alice", session_id), now))
        assert found == [row]
        assert backend.read(backend.records.count("default", "alice")) == 1
