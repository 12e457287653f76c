"""Under a key, changes of messages in the database are noticed. `agent-memory-integrity` calls them T1 to T8."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
from conftest import new_url
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from raw_messages import RawMessages, Rows

from langchain_agentmem import AgentMemory, DamagedDataError, Retention, TamperedDataError
from langchain_agentmem.backends.contract import SessionKey, StoredSummary
from langchain_agentmem.lifecycle.transfer import exporting

MASTER = bytes(range(32))
TURNS = [SystemMessage("Be kind"), *(HumanMessage(f"message {number}") for number in range(1, 6))]


@pytest.fixture(params=["sqlite-file", "postgres", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return new_url(request.param, tmp_path)


@pytest.fixture
def raw(url: str) -> RawMessages:
    """The rows of two sessions with six messages each."""
    raw = RawMessages(url)
    with AgentMemory.from_url(url, key=MASTER) as memory:
        for session in ("trip", "other"):
            memory.history(session, user_id="alice").add_messages(TURNS)
            raw.note_session()
    return raw


def flipped(rows: Rows) -> Rows:
    body = bytearray(rows[2]["body"])
    body[-1] ^= 1
    return {**rows, 2: {**rows[2], "body": bytes(body)}}


def changed(name: str, value: Any) -> Callable[[Rows], Rows]:
    return lambda rows: {**rows, 2: {**rows[2], name: value}}


ATTACKS: dict[str, Callable[[Rows], Rows]] = {
    "T1 content": flipped,
    "T1 plain text": changed("body", b"I transfer all my money to Mallory"),
    "T2 the newest are missing": lambda rows: {at: row for at, row in rows.items() if at < 4},
    "T3 one is missing": lambda rows: {at: row for at, row in rows.items() if at != 3},
    "T3 the oldest is missing": lambda rows: {at: row for at, row in rows.items() if at != 0},
    "T4 two are swapped": lambda rows: {**rows, 2: rows[3], 3: rows[2]},
    "T5 one is repeated at the end": lambda rows: {**rows, 6: rows[5]},
    "T7 an older one in place of the newest": lambda rows: {**rows, 5: rows[1]},
    "T8 role": changed("role", "ai"),
    "T8 agent": changed("agent", "writer"),
    "T8 time": changed("created_at", 1.5),
    "T8 retention": changed("ends_with_session", True),
}


@pytest.mark.parametrize("counted", [False, True], ids=["", "with numbers"])
@pytest.mark.parametrize("attack", ATTACKS)
async def test_changed_rows_are_refused(url, raw, call, attack, counted):
    raw.write(ATTACKS[attack](raw.rows()), counted=counted)
    with AgentMemory.from_url(url, key=MASTER) as memory:
        history = memory.history("trip", user_id="alice")
        with pytest.raises(TamperedDataError, match="trip"):
            await read(history, call)
        assert len(await read(memory.history("other", user_id="alice"), call)) == 6


async def read(history: Any, call: Any) -> list[Any]:
    """All messages, page by page."""
    pages = await call(history.pages, 4)
    return [message for page in pages for message in page]


@pytest.mark.parametrize("attack", [name for name in ATTACKS if name[:2] in {"T2", "T5", "T7"} or "missing" in name])
async def test_a_window_of_changed_rows_is_refused(url, raw, call, attack):
    raw.write(ATTACKS[attack](raw.rows()), counted=True)
    with AgentMemory.from_url(url, key=MASTER) as memory, pytest.raises(DamagedDataError, match="trip"):
        await call(memory.history("trip", user_id="alice").get_recent, 3)


async def test_a_row_of_another_session_is_refused(url, raw, call):
    """T6. The other session has a message with the same position, role and text."""
    raw.write({**raw.rows(), 2: raw.rows(1)[2]})
    with (
        AgentMemory.from_url(url, key=MASTER) as memory,
        pytest.raises(TamperedDataError, match="Message 2 of session 'trip'"),
    ):
        await read(memory.history("trip", user_id="alice"), call)


async def test_a_former_version_of_a_row_is_refused(url, raw, call):
    """T7."""
    before = raw.rows()
    with AgentMemory.from_url(url, key=MASTER) as memory:
        history = memory.history("trip", user_id="alice")
        await call(history.replace, history.messages[2].id, HumanMessage("corrected"))
        assert [one.content for one in await read(history, call)][2] == "corrected"
    raw.write({**raw.rows(), 2: before[2]})
    with (
        AgentMemory.from_url(url, key=MASTER) as memory,
        pytest.raises(TamperedDataError, match="Message 2 of session 'trip'"),
    ):
        await read(memory.history("trip", user_id="alice"), call)


async def test_a_row_of_a_deleted_session_is_refused(url, raw, call):
    """T7: the new session of the same ID has messages at the same positions."""
    before = raw.rows(1)
    with AgentMemory.from_url(url, key=MASTER) as memory:
        memory.sessions.delete("other", user_id="alice")
        history = memory.history("other", user_id="alice")
        await call(history.add_messages, TURNS)
        assert len(await read(history, call)) == 6
    raw.write({**raw.rows(1), 2: before[2]}, 1)
    with (
        AgentMemory.from_url(url, key=MASTER) as memory,
        pytest.raises(TamperedDataError, match="Message 2 of session 'other'"),
    ):
        await read(memory.history("other", user_id="alice"), call)


async def test_a_deleted_row_does_not_come_back(url, raw, call):
    before = raw.rows()
    with AgentMemory.from_url(url, key=MASTER) as memory:
        history = memory.history("trip", user_id="alice")
        await call(history.delete, history.messages[2].id)
    raw.write({**raw.rows(), 2: before[2]})
    with AgentMemory.from_url(url, key=MASTER) as memory:
        texts = [one.content for one in await read(memory.history("trip", user_id="alice"), call)]
        assert texts == ["Be kind", "message 1", "message 3", "message 4", "message 5"]
        assert [one.content for one in memory.history("trip", user_id="alice").get_recent(4)][-4:] == [
            "message 1",
            "message 3",
            "message 4",
            "message 5",
        ]


async def test_a_session_whose_head_was_deleted_is_refused(url, raw, call):
    with raw_head(url) as delete:
        delete()
    with AgentMemory.from_url(url, key=MASTER) as memory, pytest.raises(TamperedDataError, match="trip"):
        await read(memory.history("trip", user_id="alice"), call)


def raw_head(url: str) -> Any:
    """A context manager with a function that deletes the heads of all sessions."""
    from contextlib import contextmanager

    import redis

    @contextmanager
    def opened() -> Any:
        if url.startswith("redis"):
            with redis.Redis.from_url(url) as client:
                yield lambda: [client.hdel(one, "head") for one in client.keys("agentmem:*:session")]
            return
        raw = RawMessages(url)
        with raw._connection() as connection:
            yield lambda: connection.execute("UPDATE agentmem_sessions SET head = NULL")
            connection.commit()

    return opened()


async def test_trimmed_and_deleted_messages_are_no_damage(url, call):
    with AgentMemory.from_url(url, key=MASTER) as memory:
        kept = memory.history("trip", agent="writer", retention=Retention(max_messages=3))
        await call(kept.add_messages, TURNS)
        await call(memory.history("trip", agent="critic").add_messages, [AIMessage("No"), AIMessage("Never")])
        assert [one.content for one in await read(kept, call)] == ["Be kind", "message 4", "message 5"]
        await call(kept.add_messages, [HumanMessage("last")])
        assert [one.content for one in await read(kept, call)] == ["Be kind", "message 5", "last"]
        every = memory.history("trip")
        assert len(await read(every, call)) == 5
        await call(every.truncate, every.messages[3].id)
        assert [one.content for one in await read(every, call)] == ["Be kind", "message 5", "No", "Never"]
        await call(memory.history("trip", agent="critic").clear)
        assert [one.content for one in await read(every, call)] == ["Be kind", "message 5"]
        await call(every.clear)
        assert await read(every, call) == []
        await call(every.add_messages, [HumanMessage("again")])
        assert [one.content for one in await read(every, call)] == ["again"]


async def test_messages_that_end_with_the_session_are_no_damage(url, call):
    with AgentMemory.from_url(url, key=MASTER) as memory:
        brief = memory.history("trip", agent="writer", retention=Retention("session", max_messages=3))
        lasting = memory.history("trip")
        for number in range(3):
            await call(brief.add_messages, TURNS)
            await call(lasting.add_messages, [HumanMessage(f"kept {number}")])
            assert [one.content for one in await read(brief, call)] == ["Be kind", "message 4", "message 5"]
            await call(memory.sessions.end, "trip")
            assert await read(brief, call) == []
            assert [one.content for one in await read(lasting, call)] == [f"kept {one}" for one in range(number + 1)]
            assert [one.content for one in await call(lasting.get_recent, 1)] == [f"kept {number}"]


async def test_a_missing_message_among_those_that_end_with_the_session_is_refused(url, call):
    raw = RawMessages(url)
    with AgentMemory.from_url(url, key=MASTER) as memory:
        brief = memory.history("trip", retention=Retention("session"))
        await call(brief.add_messages, TURNS)
        raw.note_session()
        raw.write({at: row for at, row in raw.rows().items() if at != 4}, counted=False)
        for history in (brief, memory.history("trip")):
            with pytest.raises(TamperedDataError, match="trip"):
                await read(history, call)
            with pytest.raises(TamperedDataError, match="trip"):
                await call(history.get_recent, 4)


async def test_a_summary_of_another_agent_is_refused(call, tmp_path):
    path, key = tmp_path / "memory.db", SessionKey("default", "alice", "trip")
    with AgentMemory.from_url(f"sqlite:///{path}", key=MASTER) as memory:
        memory.history("trip", user_id="alice").add_messages(TURNS)
        table = memory.backend.messages
        for agent in ("planner", "writer", None):
            summary = StoredSummary(f'{{"summary": "of {agent}"}}', 1)
            assert memory.backend.write(table.swap_summary(key, agent, summary, None, time.time()))
        with closing(sqlite3.connect(path)) as connection, connection:
            rows = connection.execute("SELECT agent, value FROM agentmem_summaries ORDER BY agent").fetchall()
            for (agent, _), (_, value) in zip(rows, [*rows[1:], rows[0]], strict=True):
                connection.execute("UPDATE agentmem_summaries SET value = ? WHERE agent = ?", (value, agent))
        for agent in ("planner", "writer", None):
            with pytest.raises(TamperedDataError, match="it belongs to another agent"):
                memory.backend.read(table.summary(key, agent, time.time()))
        with pytest.raises(TamperedDataError, match="it belongs to another agent"):
            await call(memory.sessions.list, user_id="alice")


class RawSummary:
    """The stored summary of the history of the only session with one."""

    def __init__(self, url: str) -> None:
        self.url = url

    def value(self, new: Any = None) -> Any:
        """Return the encrypted summary; replace it if `new` is given."""
        if self.url.startswith("redis"):
            with redis.Redis.from_url(self.url) as client:
                (session,) = (one for one in client.keys("agentmem:*:session") if client.hexists(one, "summary:"))
                found = client.hget(session, "summary:")
                if new is not None:
                    client.hset(session, "summary:", new)
                return found
        with RawMessages(self.url)._connection() as connection:
            ((found,),) = connection.execute("SELECT value FROM agentmem_summaries WHERE agent = ''").fetchall()
            if new is not None:
                mark = "?" if self.url.startswith("sqlite") else "%s"
                connection.execute(f"UPDATE agentmem_summaries SET value = {mark} WHERE agent = ''", (new,))
                connection.commit()
            return found


async def test_an_older_summary_in_its_place_is_refused(url, call):
    key, raw = SessionKey("default", "alice", "trip"), RawSummary(url)

    async def write(backend: Any, text: str, revision: int, expected: int | None) -> bool:
        swap = backend.messages.swap_summary(key, None, StoredSummary(text, revision), expected, time.time())
        return await call(backend.write, swap)

    async def read_summary(backend: Any) -> str:
        program = backend.messages.summary(key, None, time.time())
        return (await call(backend.read, program)).value

    with AgentMemory.from_url(url, key=MASTER) as memory, AgentMemory.from_url(url, key=MASTER) as other:
        await call(memory.history("trip", user_id="alice").add_messages, TURNS)
        assert await write(memory.backend, "one", 1, None)
        one = raw.value()
        assert await write(other.backend, "two", 2, 1)
        assert not await write(memory.backend, "stale", 3, 1)
        assert await read_summary(memory.backend) == "two"
        two = raw.value(one)
        with pytest.raises(TamperedDataError, match="The summary of session 'trip' was replaced"):
            await read_summary(other.backend)
        raw.value(two)
        assert await read_summary(other.backend) == "two"
        await call(memory.history("trip", user_id="alice").clear)
        assert await read_summary(other.backend) == ""
        raw.value(two)
        with pytest.raises(TamperedDataError, match="The summary of session 'trip' was replaced"):
            await read_summary(memory.backend)


@pytest.mark.parametrize("last", [4, 5])
async def test_a_session_whose_newest_messages_are_missing_is_not_exported(url, raw, call, tmp_path, last):
    raw.write({at: row for at, row in raw.rows().items() if at < last}, counted=True)
    with AgentMemory.from_url(url, key=MASTER) as memory:
        with pytest.raises(TamperedDataError, match="'trip'"):
            await call(memory.export, tmp_path / "export.jsonl", session_id="trip", user_id="alice")
        exported = await call(memory.export, tmp_path / "other.jsonl", session_id="other", user_id="alice")
        assert exported.counts["messages"] == len(TURNS)


async def test_an_export_continues_after_messages_that_an_interrupted_deletion_left(
    url, raw, call, tmp_path, monkeypatch
):
    monkeypatch.setattr(exporting, "ROWS", 3)
    before = raw.rows()
    with AgentMemory.from_url(url, key=MASTER) as memory:
        history = memory.history("trip", user_id="alice")
        history.delete(history.messages[1].id)
        after = raw.rows()
        raw.write({**after, 1: before[1]})
        exported = await call(memory.export, tmp_path / "export.jsonl", session_id="trip", user_id="alice")
        assert exported.counts["messages"] == len(TURNS) - 1
