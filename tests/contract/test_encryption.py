"""A memory under a key: what the database holds, and which keys open it."""

from __future__ import annotations

import base64
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from conftest import new_url
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.messages import AIMessage, ChatMessage, HumanMessage, SystemMessage
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from test_forget import dump

from langchain_agentmem import (
    AgentMemError,
    AgentMemHistory,
    AgentMemory,
    AgentMemSaver,
    AgentMemStore,
    ConfigurationError,
    IgnoredKeyWarning,
    InvalidInputError,
    InvalidTypeError,
    TamperedDataError,
    WrongKeyError,
    new_key,
)
from langchain_agentmem.backends.traces import _base64
from langchain_agentmem.settings import AgentMemSettings
from langchain_agentmem.testing import ScriptedChatModel

MASTER, OTHER = bytes(range(32)), bytes(range(1, 33))
MARK = "Zqxjkvwpthn"
USER, SESSION, AGENT = f"{MARK}.user@example.com", f"{MARK}/session", f"{MARK} agent"


@pytest.fixture(params=["sqlite-file", "postgres", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return new_url(request.param, tmp_path)


def traces_of(url: str, *texts: str) -> list[str]:
    """The parts of a database that hold a text as it is, in any case, in base64 or in hexadecimal digits."""
    found = []
    for name, data in dump(url).items():
        lowered = data.lower()
        for text in texts:
            plain = text.lower().encode()
            encoded = [one.lower().encode() for one in _base64(text.encode())]
            if any(form in lowered for form in (plain, plain.hex().encode(), *encoded)):
                found.append(f"{name}: {text}")
    return found


async def fill(memory: AgentMemory, call: Any) -> None:
    """Store marked texts in each place of a history."""
    named = {"user_id": USER}
    history = memory.history(SESSION, agent=AGENT, **named)
    turn = [
        SystemMessage(f"{MARK} rules"),
        HumanMessage(f"{MARK} question", id=f"{MARK} id"),
        ChatMessage(role=f"{MARK} role", content=f"{MARK} said"),
        AIMessage(f"{MARK} answer"),
    ]
    await call(history.add_messages, turn, metadata={MARK: MARK})
    await call(history.replace, f"{MARK} id", HumanMessage(f"{MARK} better question"))
    await call(memory.sessions.rename, SESSION, f"{MARK} title", **named)
    await call(memory.summary, SESSION, model=ScriptedChatModel([json.dumps({"summary": f"{MARK} summary"})]), **named)
    await call(memory.variables.set, f"{MARK} name", f"{MARK} value", session_id=SESSION, **named)
    await call(memory.variables.set, f"{MARK} name", f"{MARK} value", agent=AGENT, ttl=1e9, **named)
    for session in ({"session_id": SESSION}, {}):
        await call(memory.records.save, AGENT, {MARK: MARK}, status=f"{MARK} status", **session, **named)
    opened = memory.session(f"{SESSION}/2", metadata={MARK: MARK}, context={f"{MARK} name": MARK}, **named)
    with opened as session:
        session.history().add_user_message(f"{MARK} open")


@pytest.mark.parametrize("searchable", [False, True])
async def test_a_dump_contains_no_plaintext(url, call, searchable):
    options = {"embeddings": DeterministicFakeEmbedding(size=4), "searchable": searchable}
    with AgentMemory.from_url(url, key=MASTER, **options) as memory:
        await fill(memory, call)
        assert traces_of(url, MARK) == []
        found = await call(memory.search_history, f"{MARK} answer", user_id=USER)
        assert f"{MARK} answer" in [one.message.content for one in found]
        assert found[0].agent in {AGENT, None}
    with AgentMemory.from_url(url, key=MASTER) as memory:
        (session, other) = sorted(await call(memory.sessions.list, user_id=USER), key=lambda one: one.session_id)
        assert (session.session_id, session.title, session.user_id) == (SESSION, f"{MARK} title", USER)
        assert other.metadata == {MARK: MARK}
        stored = await call(memory.history(SESSION, user_id=USER).stored)
        assert [one.message.type for one in stored] == ["system", "human", "chat", "ai"]
        assert {one.agent for one in stored} == {AGENT}
        assert stored[1].metadata == {MARK: MARK}
        assert stored[1].message.content == f"{MARK} better question"
        assert await call(memory.variables.all, user_id=USER, session_id=SESSION) == {f"{MARK} name": f"{MARK} value"}
        records = await call(memory.records.query, user_id=USER, agent=AGENT, status=f"{MARK} status")
        assert [one.record for one in records] == [{MARK: MARK}] * 2
        assert await call(memory.users) == [USER]
        receipt = await call(memory.forget, USER)
        assert receipt.deleted["messages"] == 5
        assert await call(memory.users) == []


async def test_a_wrong_key_is_refused_before_anything_is_read_or_written(url, call):
    with AgentMemory.from_url(url, key=MASTER) as memory:
        await call(memory.history("trip").add_messages, [HumanMessage("Hello")])
    before = dump(url)
    for given in ({"key": OTHER}, {"key": [OTHER, bytes(32)]}, {}):
        with AgentMemory.from_url(url, **given) as memory:
            history = memory.history("trip")
            calls = ((history.add_messages, [AIMessage("Hi")]), (history.search, "x"), (memory.store.search, ("a",)))
            for use, argument in calls:
                with pytest.raises(WrongKeyError, match=r"Tenant 'default' is encrypted.*Nothing was read or written"):
                    await call(use, argument)
    assert dump(url).keys() == before.keys()
    with AgentMemory.from_url(url, key=MASTER) as memory:
        assert await call(memory.history("trip").count) == 1


async def test_data_that_is_not_encrypted_is_not_opened_with_a_key(url, call):
    with AgentMemory.from_url(url) as memory:
        await call(memory.history("trip").add_messages, [HumanMessage("Hello")])
    with (
        AgentMemory.from_url(url, key=MASTER) as memory,
        pytest.raises(WrongKeyError, match="data that is not encrypted"),
    ):
        await call(memory.history("trip").count)
    with AgentMemory.from_url(url, key=MASTER, tenant="other") as memory:
        await call(memory.history("trip").add_messages, [HumanMessage("Hello")])
    with AgentMemory.from_url(url) as memory:
        assert await call(memory.history("trip").count) == 1


async def test_a_key_may_come_from_a_function_and_in_a_list(url, call):
    asked: list[str] = []

    def fetch() -> bytes:
        asked.append("sync")
        return MASTER

    async def afetch() -> str:
        asked.append("async")
        return base64.b64encode(MASTER).decode()

    with AgentMemory.from_url(url, key=afetch if twin(call) == "async" else fetch) as memory:
        await call(memory.history("trip").add_messages, [HumanMessage("Hello")])
        await call(memory.variables.set, "a", 1, session_id="trip")
        assert len(asked) == 1
    for key in ([OTHER, MASTER], base64.urlsafe_b64encode(MASTER).decode(), [lambda: [OTHER, MASTER]]):
        with AgentMemory.from_url(url, key=key) as memory:
            assert await call(memory.history("trip").count) == 1


def twin(call: Any) -> str:
    return str(call.__closure__[0].cell_contents.param)


async def test_a_key_function_does_not_block_the_event_loop():
    threads: list[bool] = []

    def fetch() -> bytes:
        threads.append(threading.current_thread() is threading.main_thread())
        return MASTER

    async with AgentMemory.from_url("sqlite:///:memory:", key=fetch) as memory:
        await memory.store.aput(("notes",), "a", {"text": "a"})
    assert threads == [False]


async def test_a_callable_object_may_return_a_coroutine(call):
    class Service:
        async def __call__(self) -> bytes:
            return MASTER

    with AgentMemory.from_url("sqlite:///:memory:", key=Service()) as memory:
        if twin(call) == "async":
            await call(memory.store.put, ("notes",), "a", {"text": "a"})
            return
        with pytest.raises(InvalidTypeError, match="coroutine function: use the method with the prefix `a`"):
            await call(memory.store.put, ("notes",), "a", {"text": "a"})


async def test_a_cleanup_keeps_the_stored_keys(url, call):
    with AgentMemory.from_url(url, key=MASTER) as memory:
        await call(memory.history("trip").add_messages, [HumanMessage("Hello")])
        await call(memory.cleanup, older_than=1e-6)
        assert await call(memory.sessions.list) == []
    with AgentMemory.from_url(url, key=OTHER) as memory, pytest.raises(WrongKeyError):
        await call(memory.history("trip").count)
    with AgentMemory.from_url(url, key=MASTER) as memory:
        assert await call(memory.history("trip").count) == 0


async def test_each_surface_alone_takes_a_key(url, call):
    history = AgentMemHistory.from_url(url, "trip", key=MASTER)
    await call(history.add_messages, [HumanMessage(f"{MARK} Hello")])
    history.close()
    for other in (AgentMemStore.from_url(url), AgentMemSaver.from_url(url), AgentMemHistory.from_url(url, "trip")):
        with pytest.raises(WrongKeyError):
            await call(first_use(other))
        other.close()
    with AgentMemory.from_url(url, key=MASTER) as memory:
        assert await call(memory.history("trip").count) == 1
    assert traces_of(url, MARK) == []


def first_use(surface: Any) -> Any:
    return getattr(surface, "threads", None) or getattr(surface, "list_namespaces", None) or surface.count


def test_arguments_are_checked():
    url = "sqlite:///:memory:"
    serde = EncryptedSerializer.from_pycryptodome_aes(JsonPlusSerializer(), key=MASTER)
    for surface in (AgentMemory, AgentMemSaver):
        with pytest.raises(ConfigurationError, match="cannot be combined with serde=EncryptedSerializer"):
            surface.from_url(url, key=MASTER, serde=serde)
    for key in (b"short", bytes(33), "", "aGVsbG8=", "not base64!", []):
        with pytest.raises(InvalidInputError, match="key"):
            AgentMemory.from_url(url, key=key)
    for key in (5, [MASTER, 5], {"key": MASTER}):
        with pytest.raises(InvalidTypeError, match="key"):
            AgentMemory.from_url(url, key=key)
    with pytest.raises(InvalidInputError, match="searchable=True needs a key"):
        AgentMemory.from_url(url, searchable=True)
    with AgentMemory.from_url(url, key=lambda: b"short") as memory, pytest.raises(InvalidInputError, match="function"):
        memory.history("a").count()
    with AgentMemory.from_url(url, key=list) as memory, pytest.raises(InvalidInputError, match="an empty list"):
        memory.history("a").count()
    with AgentMemory.from_url(url, key=MASTER) as memory:
        with pytest.raises(InvalidInputError, match=r"session .* 601 bytes long"):
            memory.history("x" * 601).add_user_message("Hello")
        assert repr(memory).startswith("AgentMemory(EncryptedBackend(SqliteBackend(':memory:'))")
        assert memory.history("x" * 600).count() == 0


def test_no_error_and_no_repr_shows_a_key():
    key = new_key()
    with pytest.raises(AgentMemError) as raised:
        AgentMemory.from_url("sqlite:///:memory:", key=key[:-8])
    assert key[:8] not in str(raised.value)
    with AgentMemory.from_url("sqlite:///:memory:", key=[key]) as memory:
        memory.history("a").add_user_message("Hello")
        secrets = memory.backend.ring.secrets
        shown = repr(secrets)
        for one in (secrets.id_key, secrets.place_key, *secrets.data_keys.values()):
            assert repr(one)[2:12] not in shown
            assert one.hex()[:10] not in shown
        assert key not in f"{memory!r}{memory._repr_html_()}{memory.backend.source!r}{memory.backend!r}"


def test_the_key_is_a_setting(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    key = new_key()
    monkeypatch.setenv("AGENTMEM_KEY", f"{key}, {new_key()}")
    monkeypatch.setenv("AGENTMEM_URL", "sqlite:///memory.db")
    assert key not in repr(AgentMemSettings())
    with AgentMemory.from_settings() as memory:
        memory.history("trip").add_user_message("Hello")
    with AgentMemory.from_url("sqlite:///memory.db", key=key) as memory:
        assert memory.history("trip").count() == 1
    with AgentMemory() as memory:
        assert memory.history("trip").count() == 1


@pytest.mark.parametrize(
    "create",
    [
        AgentMemory,
        AgentMemory.from_url,
        AgentMemory.from_conn_string,
        AgentMemStore.from_url,
        lambda url: AgentMemHistory(url, "trip"),
        lambda url: AgentMemHistory.from_url(url, "trip"),
    ],
)
def test_a_url_without_a_key_warns_if_the_environment_has_one(create, monkeypatch, recwarn):
    url = "sqlite:///:memory:"
    create(url).close()
    monkeypatch.setenv("AGENTMEM_KEY", new_key())
    monkeypatch.setenv("AGENTMEM_URL", url)
    AgentMemory.from_url(url, key=None).close()
    AgentMemory.from_url(url, key=MASTER).close()
    AgentMemory().close()
    AgentMemory.from_settings(AgentMemSettings(url=url)).close()
    assert [str(one.message) for one in recwarn] == []
    with pytest.warns(IgnoredKeyWarning, match="AGENTMEM_KEY is set, but a URL was passed without key=") as found:
        create(url).close()
    (warning,) = found
    assert warning.filename == __file__


def test_altered_stored_keys_are_refused(sqlite_url):
    import sqlite3

    with AgentMemory.from_url(sqlite_url, key=MASTER) as memory:
        memory.history("trip").add_user_message("Hello")
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as connection:
        ((value,),) = connection.execute("SELECT value FROM agentmem_items WHERE key = 'keys'").fetchall()
        secrets = json.loads(value)["secrets"]
        changed = value.replace(secrets, ("A" if secrets[0] != "A" else "B") + secrets[1:])
        connection.execute("UPDATE agentmem_items SET value = ? WHERE key = 'keys'", (changed,))
    with AgentMemory.from_url(sqlite_url, key=MASTER) as memory, pytest.raises(TamperedDataError, match="stored keys"):
        memory.history("trip").count()
