"""Summaries live as long as their session or thread, and are read by no other."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from compressed import Noting, talk, texts
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from patience import PATIENCE

from langchain_agentmem import AgentMemory, Retention
from langchain_agentmem.backends.contract import SessionKey
from langchain_agentmem.compression.records import Record
from langchain_agentmem.compression.storage import SessionRecords
from langchain_agentmem.programs import run


def test_the_summary_outlives_the_process_and_is_extended_by_the_new_part_alone(lasting_url):
    for turn in range(3):
        model = Noting()
        with AgentMemory.from_url(lasting_url) as memory:
            history = memory.history("s", compressor=memory.compressor(model, max_messages=8))
            history.add_messages(talk(10 * turn, 10 * turn + 10))
            assert "Summary 1." in history.messages[0].text
        (shown,) = model.shown
        assert ("Summary so far" in shown) == (turn > 0)
        assert f"fact {10 * turn + 5} " in shown
        assert f"fact {10 * turn - 8} " not in shown


def test_a_session_that_is_cleared_deleted_or_ended_has_no_summary(memory):
    compressor = memory.compressor(Noting(), max_messages=6)
    for forget in ("clear", "delete", "end"):
        history = memory.history("s", compressor=compressor, retention=Retention("session"))
        history.add_messages(talk(0, 10))
        assert "Summary" in history.messages[0].text
        assert memory.summary("s") is not None
        if forget == "clear":
            history.clear()
        elif forget == "delete":
            memory.sessions.delete("s")
        else:
            memory.sessions.end("s")
        assert memory.summary("s") is None
        history.add_messages(talk(0, 1))
        assert texts(history.messages) == ["fact 0 is 0", "noted 0"]


def test_no_summary_of_cleared_messages_is_written_afterwards(memory):
    gate = threading.Event()
    model = Noting(gate)
    history = memory.history("s", compressor=memory.compressor(model, max_messages=6))
    history.add_messages(talk(0, 10))
    with ThreadPoolExecutor() as pool:
        running = pool.submit(lambda: history.messages)
        assert model.begun.wait(PATIENCE)
        memory.history("s").clear()
        gate.set()
        running.result(PATIENCE)
    history.add_messages(talk(50, 51))
    assert texts(history.messages) == ["fact 50 is 50", "noted 50"]
    assert "fact 0" not in str(memory.summary("s"))


def test_agents_and_users_have_summaries_of_their_own(memory):
    compressor = memory.compressor(Noting(), max_messages=6)
    for user, agent in (("u", "a"), ("u", "b"), ("v", "a")):
        memory.history("s", user_id=user, agent=agent, compressor=compressor).add_messages(talk(0, 10))
        assert "Summary" in memory.history("s", user_id=user, agent=agent, compressor=compressor).messages[0].text
    found = {
        memory.summary("s", user_id=user, agent=agent).text for user, agent in (("u", "a"), ("u", "b"), ("v", "a"))
    }
    assert found == {"Summary 1.", "Summary 2.", "Summary 3."}
    assert memory.summary("s", user_id="w") is None


def test_an_expired_session_that_begins_anew_has_no_summary(memory, monkeypatch):
    now = [1_000_000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    other = AgentMemory(memory.backend, ttl=60.0)
    history = other.history("s", compressor=other.compressor(Noting(), max_messages=6))
    history.add_messages(talk(0, 10))
    assert "Summary" in history.messages[0].text
    now[0] += 61
    assert history.messages == []
    history.add_messages(talk(20, 21))
    assert texts(history.messages) == ["fact 20 is 20", "noted 20"]


def test_the_summary_of_a_thread_goes_with_the_thread(memory):
    first, second = Noting(), Noting()
    config: Any = {"configurable": {"thread_id": "t"}}
    memory.compressor(first, max_messages=6).invoke(talk(0, 10), config)
    memory.compressor(second, max_messages=6).invoke(talk(0, 10), config)
    assert (len(first.shown), len(second.shown)) == (1, 0)
    memory.checkpointer.delete_thread("t")
    memory.compressor(second, max_messages=6).invoke(talk(0, 10), config)
    assert len(second.shown) == 1


def test_a_claim_of_a_process_that_was_killed_does_not_hold_for_long(lasting_url):
    with AgentMemory.from_url(lasting_url) as memory:
        history = memory.history("s", compressor=memory.compressor(Noting(), max_messages=6, time_limit=0.2))
        history.add_messages(talk(0, 10))
        storage = SessionRecords(memory.backend, SessionKey("default", None, "s"), None)
        now = time.time()
        assert run(storage.swap(Record(claim=1, until=now + 1.0), None, now))
        # The turn of the time goes on without a summary, and one after the claim has run out makes it.
        assert texts(history.messages) == texts(talk(7, 10))
        run(storage.swap(Record(claim=1, until=now - 1.0), run(storage.load(now))[1], now))
        assert "Summary 1." in history.messages[0].text


def test_ending_a_session_that_has_nothing_to_end_leaves_its_summary(memory):
    model = Noting()
    history = memory.history("s", compressor=memory.compressor(model, max_messages=6))
    history.add_messages(talk(0, 10))
    before = history.messages
    assert memory.sessions.end("s") == 0
    assert history.messages == before
    assert len(model.shown) == 1


def test_deleted_messages_are_not_shown_to_the_model_any_more(memory):
    history = memory.history("s")
    history.add_messages([HumanMessage(f"secret {at} " + "word " * 400) for at in range(20)])
    shown: list[Any] = []

    def summarise(request: list[BaseMessage]) -> str:
        shown.append(request)
        history.clear()
        return "ok"

    compressor = memory.compressor(summarise, max_tokens=1_000, input_tokens=1_000)
    memory.history("s", compressor=compressor).messages  # noqa: B018 (reading is what counts)
    assert len(shown) == 1
    assert memory.summary("s") is None


@pytest.mark.parametrize("what", ["thread", "session"])
def test_nothing_is_left_of_a_thread_or_session_that_is_deleted_while_it_is_summarised(memory, what):
    config: Any = {"configurable": {f"{what}_id": "x"}}
    memory.history("x").add_message(HumanMessage("hi"))

    def summarise(request: list[BaseMessage]) -> str:
        if what == "thread":
            memory.checkpointer.delete_thread("x")
        else:
            memory.sessions.delete("x")
        return "secret"

    compressor = memory.compressor(summarise, max_messages=6)
    assert texts(compressor.invoke(talk(0, 10), config)) == texts(talk(7, 10))
    assert memory.summary(**{f"{what}_id": "x"}) is None


def test_the_summary_of_a_list_goes_with_its_session(memory, monkeypatch):
    now = [1_000_000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    compressor = memory.compressor(Noting(), max_messages=6)
    config: Any = {"configurable": {"session_id": "s"}}
    memory.history("s", retention=Retention(ttl=60)).add_messages(talk(0, 10))
    compressor.invoke(talk(0, 10), config)
    assert memory.summary("s").text == "Summary 1."
    now[0] += 61
    memory.sweep()
    assert memory.summary("s") is None


def test_the_summary_of_a_thread_expires_with_it_and_lives_as_long_as_it_is_used(memory, monkeypatch):
    now = [1_000_000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    model = Noting()
    compressor = memory.compressor(model, max_messages=6)
    config: Any = {"configurable": {"thread_id": "t"}}
    memory.checkpointer.set_ttl("t", 60)
    compressor.invoke(talk(0, 10), config)
    for _ in range(4):
        now[0] += 40
        compressor.invoke(talk(0, 10), config)
    assert len(model.shown) == 1
    now[0] += 61
    assert memory.summary(thread_id="t") is None


def test_a_history_that_is_not_stored_leaves_no_summary_either(memory):
    compressor = memory.compressor(lambda request: "secret", max_messages=6)
    history = memory.history("s", compressor=compressor, retention=Retention("single_run"))
    history.add_messages(talk(0, 10))
    chain = RunnableLambda(lambda _: history.messages)
    assert "secret" in chain.invoke("x", {"configurable": {"session_id": "s"}})[0].text
    assert memory.summary("s") is None


def test_the_summary_of_an_encrypted_thread_is_encrypted(sqlite_url):
    serde = EncryptedSerializer.from_pycryptodome_aes(key=b"0123456789abcdef")
    config: Any = {"configurable": {"thread_id": "t"}}
    with AgentMemory.from_url(sqlite_url, serde=serde) as memory:
        memory.compressor(lambda request: "OLDSECRET", max_messages=6).invoke(talk(0, 10), config)
        assert memory.summary(thread_id="t").text == "OLDSECRET"
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    assert all(b"OLDSECRET" not in file.read_bytes() for file in path.parent.glob(f"{path.name}*"))
    with AgentMemory.from_url(sqlite_url) as memory:
        assert memory.summary(thread_id="t") is None
