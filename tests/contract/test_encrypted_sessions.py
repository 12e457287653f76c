"""Encrypted sessions: the head always fits, whatever the order of writes, and other titles, metadata and summaries are refused."""

from __future__ import annotations

import contextlib
import random
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import new_url
from counting import Costs
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from raw_checkpoints import RawDatabase

from langchain_agentmem import AgentMemory, Retention, TamperedDataError, UnknownMessageError
from langchain_agentmem.backends.contract import SessionKey, StoredSummary

MASTER = bytes(range(32))
KINDS = (HumanMessage, HumanMessage, AIMessage, SystemMessage)


@pytest.fixture(params=["sqlite-file", "postgres", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return new_url(request.param, tmp_path)


@pytest.mark.parametrize("seed", range(4))
async def test_two_writers_in_any_order_store_what_one_stores_without_a_key(url, call, seed):
    writers = [AgentMemory.from_url(url, key=MASTER) for _ in range(2)]
    plain = AgentMemory.from_url("sqlite:///:memory:")
    chance = random.Random(seed)

    async def listed(memory: AgentMemory) -> list[Any]:
        return [(one.title, one.metadata) for one in await call(memory.sessions.list, user_id="alice")]

    async def both(agent: str | None, name: str, *args: Any) -> None:
        retention = Retention(max_messages=6) if agent == "trimmed" else Retention()
        for memory in (chance.choice(writers), plain):
            history = memory.history("trip", user_id="alice", agent=agent, retention=retention)
            await call(getattr(history, name), *args)

    for number in range(60):
        agent = chance.choice([None, "writer", "trimmed"])
        stored = await messages(plain, call)
        action = chance.randrange(16)
        if action < 7 or not stored:
            added = [
                chance.choice(KINDS)(f"{number} {at}", id=f"{number}-{at}") for at in range(chance.randrange(1, 4))
            ]
            await both(agent, "add_messages", added)
        elif action < 9:
            await both(None, "delete", chance.choice(stored).id)
        elif action < 10:
            old = chance.choice(stored)
            await both(None, "replace", old.id, type(old)(f"replaced {number}", id=old.id))
        elif action < 11:
            await both(None, "truncate", chance.choice(stored).id)
        elif action < 12:
            await both(agent, "clear")
        else:
            for memory in (chance.choice(writers), plain):
                await change(call, memory, action, number)
        if number % 5 == 0:
            assert await listed(writers[0]) == await listed(writers[1]) == await listed(plain)
            found = [await messages(memory, call) for memory in (*writers, plain)]
            assert found[0] == found[1] == found[2]
            recent = [await call(one.history("trip", user_id="alice").get_recent, 4) for one in (*writers, plain)]
            assert recent[0] == recent[1] == recent[2]
    for memory in (*writers, plain):
        await call(memory.close)


async def change(call: Any, memory: AgentMemory, action: int, number: int) -> None:
    """Rename the session, open it with metadata, change these, or end it."""
    if action == 12:
        await call(memory.sessions.rename, "trip", f"title {number}", user_id="alice")
    elif action == 13:
        await call(memory.sessions.end, "trip", user_id="alice")
        brief = memory.history("trip", user_id="alice", agent="brief", retention=Retention("session"))
        await call(brief.add_messages, [HumanMessage(f"brief {number}", id=f"brief-{number}")])
    else:
        metadata = {"number": number} if action == 14 else None
        with memory.session("trip", user_id="alice", metadata=metadata) as session:
            session.update_metadata({"updated": number})


async def messages(memory: AgentMemory, call: Any) -> list[Any]:
    return list(await call(memory.history("trip", user_id="alice").get_recent))


class RawSession(RawDatabase):
    """The only session of a database: its title, metadata, head and running summary."""

    def values(self) -> dict[str, Any]:
        """The stored values; None for a missing one."""
        with self.connection() as connection:
            if self.is_redis:
                (key,) = connection.keys("agentmem:*:session")
                return {name: connection.hget(key, field) for name, field in _FIELDS.items()}
            query = "SELECT title, metadata, head, (SELECT value FROM agentmem_summaries WHERE agent = '')"
            (row,) = connection.execute(f"{query} FROM agentmem_sessions").fetchall()
            return dict(zip(_FIELDS, row, strict=True))

    def write(self, **values: Any) -> None:
        """Replace stored values; None deletes one."""
        with self.connection() as connection:
            for name, value in values.items():
                if self.is_redis:
                    (key,) = connection.keys("agentmem:*:session")
                    if value is None:
                        connection.hdel(key, _FIELDS[name])
                    else:
                        connection.hset(key, _FIELDS[name], value)
                elif name != "summary":
                    connection.execute(f"UPDATE agentmem_sessions SET {name} = ?", (value,))
                elif value is None:
                    connection.execute("DELETE FROM agentmem_summaries")
                elif not connection.execute("UPDATE agentmem_summaries SET value = ?", (value,)).rowcount:
                    query = "INSERT INTO agentmem_summaries (session, agent, value, revision) SELECT id, '', ?, 1"
                    connection.execute(f"{query} FROM agentmem_sessions", (value,))


_FIELDS = {"title": "title", "metadata": "metadata", "head": "head", "summary": "summary:"}


async def stored(url: str, call: Any) -> tuple[RawSession, list[dict[str, Any]]]:
    """A session, and its values before and after each of them was replaced."""
    raw, key, states = RawSession(url), SessionKey("default", "alice", "trip"), []
    with AgentMemory.from_url(url, key=MASTER) as memory:
        revision = None
        for number in range(2):
            await call(memory.history("trip", user_id="alice").add_messages, [HumanMessage(f"message {number}")])
            await change(call, memory, 12, number)
            await change(call, memory, 14, number)
            told = StoredSummary(f'"summary {number}"', number)
            swap = memory.backend.messages.swap_summary(key, None, told, revision, time.time())
            assert await call(memory.backend.write, swap)
            revision = number
            states.append(raw.values())
        assert await seen(memory, call) == [SEEN, SEEN, SUMMARY]
    return raw, states


SUMMARY = '"summary 1"'
SEEN = ("title 1", {"number": 1, "updated": 1})


async def seen(memory: AgentMemory, call: Any, kind: str = "") -> list[Any]:
    """The title and metadata in the list, those of the session, and the summary; only those that show a kind of value."""
    found: list[Any] = []
    if kind != "summary":
        (info,) = await call(memory.sessions.list, user_id="alice")
        one = await call(memory.sessions.get, "trip", user_id="alice")
        found += [(info.title, info.metadata), (one.title, one.metadata)]
    if kind in ("", "summary"):
        program = memory.backend.messages.summary(SessionKey("default", "alice", "trip"), None, time.time())
        told = await call(memory.backend.read, program)
        found.append("" if told is None else told.value)
    return found


@pytest.mark.parametrize("kind", ["title", "metadata", "summary"])
@pytest.mark.parametrize("attack", ["older", "missing", "moved", "without head", "older head"])
async def test_another_title_or_summary_or_other_metadata_are_refused(url, call, kind, attack):
    raw, (before, after) = await stored(url, call)
    if attack == "moved":
        raw.write(**{kind: after["metadata" if kind == "title" else "title"]})
    elif attack == "without head":
        raw.write(head=None)
    elif attack == "older head":
        raw.write(head=before["head"])
    else:
        raw.write(**{kind: before[kind] if attack == "older" else None})
    with AgentMemory.from_url(url, key=MASTER) as memory:
        with pytest.raises(TamperedDataError, match="ession 'trip'"):
            await seen(memory, call, kind)
        raw.write(**after)
        assert await seen(memory, call) == [SEEN, SEEN, SUMMARY]


async def test_an_opening_with_other_metadata_is_refused(url, call):
    raw, (before, _) = await stored(url, call)
    raw.write(metadata=before["metadata"])
    with AgentMemory.from_url(url, key=MASTER) as memory:
        with pytest.raises(TamperedDataError, match="The metadata of session 'trip'"):
            memory.session("trip", user_id="alice").__enter__()
        with pytest.raises(TamperedDataError, match="The metadata of session 'trip'"):
            memory.backend.write(
                memory.backend.openings.swap_metadata(SessionKey("default", "alice", "trip"), "{}", "{}", time.time())
            )


async def test_the_title_and_the_metadata_survive_an_export(url, call, tmp_path):
    raw, _ = await stored(url, call)
    with AgentMemory.from_url(url, key=MASTER) as memory:
        await call(memory.export, tmp_path / "export.jsonl")
        with AgentMemory.from_url("sqlite:///:memory:", key=MASTER) as other:
            for _ in range(2):
                await call(other.import_from, tmp_path / "export.jsonl")
                assert await seen(other, call) == [SEEN, SEEN, SUMMARY]
            await change(call, other, 12, 1)
            await change(call, other, 14, 1)
            assert await seen(other, call) == [SEEN, SEEN, SUMMARY]
        for name in ("title", "metadata", "summary"):
            raw.write(**{name: None})
            with pytest.raises(TamperedDataError):
                await call(memory.export, tmp_path / "altered.jsonl")


async def test_a_head_of_properties_costs_no_further_statement(url, monkeypatch):
    counts = {}
    for key in (None, MASTER):
        with AgentMemory.from_url(url, tenant="sealed" if key else "plain", key=key) as memory:
            memory.history("trip").add_messages([HumanMessage("first")])
            with memory.session("trip", metadata={"number": 0}):
                pass
            costs = Costs(memory, monkeypatch)
            memory.sessions.rename("trip", "title")
            memory.sessions.list()
            memory.sessions.get("trip")
            with memory.session("trip", metadata={"number": 1}):
                pass
            counts[key] = costs.reset()
    if url.startswith("sqlite"):  # the statements of one transaction take no round trips
        assert [kind for kind, _ in counts[None]] == [kind for kind, _ in counts[MASTER]]
    else:
        assert counts[None] == counts[MASTER]


ENDING = {"brief": Retention("session"), "short": Retention(max_messages=2)}


def apply(memory: AgentMemory, step: tuple[str, str | None, int, int, int]) -> None:
    """Change the session of a user. Changes of messages and sessions that do not exist do nothing."""
    action, agent, number, size, old = step
    history = memory.history("trip", user_id="alice", agent=agent)
    with contextlib.suppress(UnknownMessageError, KeyError):
        if action == "add":
            history.add_messages([KINDS[old % 4](f"{number} {at}", id=f"{number}-{at}") for at in range(size)])
        elif action == "clear":
            history.clear()
        elif action == "delete":
            history.delete(f"{old}-0")
        elif action == "replace":
            history.replace(f"{old}-0", HumanMessage(f"replaced {number}", id=f"{old}-0"))
        elif action == "truncate":
            history.truncate(after=f"{old}-0")
        elif action == "rename":
            memory.sessions.rename("trip", f"title {number}", user_id="alice")
        elif action == "end":
            memory.sessions.end("trip", user_id="alice")


def test_a_title_that_ended_with_its_session_is_no_damage(url):
    steps = [("add", "brief"), ("rename", None), ("end", None), ("add", None)]
    with AgentMemory.from_url(url, key=MASTER, retention=ENDING) as memory:
        for number, (action, agent) in enumerate(steps):
            apply(memory, (action, agent, number, 1, 0))
        assert [one.title for one in memory.sessions.list(user_id="alice")] == ["3 0"]


def test_sessions_of_many_agents_are_those_without_a_key():
    actions = ["add", "add", "add", "clear", "delete", "replace", "truncate", "rename", "end"]
    for seed in (*range(6), 22, 92, 111):  # the last three have titles that end with the session
        chance = random.Random(seed)
        made = [AgentMemory.from_url("sqlite:///:memory:", key=key, retention=ENDING) for key in (MASTER, None)]
        for number in range(25):
            agent = chance.choice([None, "brief", "short", "writer"])
            step = (chance.choice(actions), agent, number, chance.randint(1, 3), chance.randrange(13))
            found = []
            for memory in made:
                apply(memory, step)
                texts = [one.text for one in memory.history("trip", user_id="alice").messages]
                found.append((texts, [one.title for one in memory.sessions.list(user_id="alice")]))
            assert found[0] == found[1], (seed, step)
        for memory in made:
            memory.close()


async def test_an_interrupted_clear_leaves_the_session_readable(url, call, monkeypatch):
    with AgentMemory.from_url(url, key=MASTER) as memory:
        history = memory.history("trip", user_id="alice")
        history.add_messages([HumanMessage("Hello"), AIMessage("Hi")])
        backend, key = memory.backend, SessionKey("default", "alice", "trip")
        summary = StoredSummary("A greeting.", 1, 1)
        assert backend.write(backend.messages.swap_summary(key, None, summary, None, time.time()))
        with monkeypatch.context() as patched:

            def fail(*_: Any) -> Any:
                raise ConnectionError

            patched.setattr(backend.inner.messages, "clear", fail)
            with pytest.raises(ConnectionError):
                await call(history.clear)
        with AgentMemory.from_url(url, key=MASTER) as other:
            for one in (memory, other):
                assert len(await call(one.sessions.list, user_id="alice")) == 1
        await call(history.clear)
        (found,) = await call(memory.sessions.list, user_id="alice")
        assert found.summary is None


@pytest.mark.parametrize("is_new", [True, False])
def test_a_message_that_is_added_while_the_session_is_cleared_is_no_damage(tmp_path, monkeypatch, is_new):
    """Redis changes the head and clears the messages in two steps."""
    url = new_url("redis", tmp_path)
    with AgentMemory.from_url(url, key=MASTER) as memory, AgentMemory.from_url(url, key=MASTER) as other:
        history, written = memory.history("trip", user_id="alice"), []
        if not is_new:
            history.add_messages([HumanMessage("first")])
        log = memory.backend.inner.messages
        clear = log.clear

        def late(*args: Any) -> Any:
            if not written:
                written.append(HumanMessage("second"))
                other.history("trip", user_id="alice").add_messages(written)
            return clear(*args)

        monkeypatch.setattr(log, "clear", late)
        history.clear()
        history.add_messages([HumanMessage("third")])
        for one in (memory, other):
            assert [found.text for found in one.history("trip", user_id="alice").messages] == ["third"]
