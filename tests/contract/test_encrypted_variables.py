"""Variables under a key: missing, older, added and moved variables are refused, and heads always fit."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import new_url
from counting import Costs
from raw_variables import RawVariables

from langchain_agentmem import AgentMemory, TamperedDataError
from langchain_agentmem.backends.contract import VariableScope
from langchain_agentmem.backends.encrypted.item_heads import HEADS

MASTER = bytes(range(32))
SCOPES: list[dict[str, Any]] = [
    {},
    {"user_id": "alice"},
    {"user_id": "alice", "agent": "writer"},
    {"user_id": "alice", "session_id": "trip"},
]


@pytest.fixture(params=["sqlite-file", "postgres", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return new_url(request.param, tmp_path)


Rows = dict[tuple[Any, str], tuple[Any, ...]]


class Stored:
    """A scope with the variables city and tone, as they are stored, and as they were stored before."""

    def __init__(self, raw: RawVariables, memory: AgentMemory, scope: dict[str, Any]) -> None:
        self.raw, self.memory, self.scope = raw, memory, scope
        others = raw.rows()
        memory.variables.set_many({"gone": 1, "city": "Bern"}, **scope)
        self.former = {key: row for key, row in raw.rows().items() if key not in others}
        memory.variables.set("tone", "formal", **scope)
        (self.tone,) = (key for key in raw.rows() if key not in others and key not in self.former)
        memory.variables.set("city", "Basel", **scope)
        self.rows = {key: row for key, row in raw.rows().items() if key not in others}
        (self.city,) = (key for key in self.former if key[1] != HEADS and self.former[key] != self.rows[key])
        memory.variables.delete("gone", **scope)
        (self.gone,) = (key for key in self.former if key not in raw.rows())
        self.rows = {key: row for key, row in raw.rows().items() if key not in others}

    def write(self, key: tuple[Any, str], row: tuple[Any, ...] | None) -> None:
        self.raw.write(*key, row)


ATTACKS: dict[str, Callable[[Stored], None]] = {
    "T1 content": lambda it: it.write(it.city, (flipped(it.rows[it.city][0]), *it.rows[it.city][1:])),
    "T1 plain text": lambda it: it.write(it.city, ('"Geneva"', *it.rows[it.city][1:])),
    "T3 one is missing": lambda it: it.write(it.city, None),
    "T4 two are swapped": lambda it: [it.write(it.city, it.rows[it.tone]), it.write(it.tone, it.rows[it.city])],
    "T5 a deleted one is back": lambda it: it.write(it.gone, it.former[it.gone]),
    "T7 an older one": lambda it: it.write(it.city, it.former[it.city]),
    "T7 an older value": lambda it: it.write(it.city, (it.former[it.city][0], *it.rows[it.city][1:])),
    "T8 time": lambda it: it.write(it.city, (*it.rows[it.city][:2], it.rows[it.city][2] - 3600, 0.0)),
    "the head is missing": lambda it: it.write((it.city[0], HEADS), None),
    "an older head": lambda it: it.write((it.city[0], HEADS), it.former[it.city[0], HEADS]),
}


def flipped(text: str) -> str:
    return text[:-6] + ("A" if text[-6] != "A" else "B") + text[-5:]


@pytest.mark.parametrize("scope", SCOPES, ids=["all", "user", "agent", "session"])
@pytest.mark.parametrize("attack", ATTACKS)
async def test_changed_variables_are_refused(url, call, attack, scope):
    with AgentMemory.from_url(url, key=MASTER) as memory:
        memory.variables.set("city", "Chur", user_id="bob")
        stored = Stored(RawVariables(url), memory, scope)
        assert memory.variables.all(**scope) == {"city": "Basel", "tone": "formal"}
        ATTACKS[attack](stored)
    with AgentMemory.from_url(url, key=MASTER) as memory:
        with pytest.raises(TamperedDataError):
            await call(memory.variables.all, **scope)
        name = "gone" if "deleted" in attack else "city"
        with pytest.raises(TamperedDataError):
            await call(memory.variables.get, name, **scope)
        if scope:
            assert await call(memory.variables.all, user_id="bob") == {"city": "Chur"}


async def test_a_variable_of_another_scope_is_refused(url, call):
    raw = RawVariables(url)
    with AgentMemory.from_url(url, key=MASTER) as memory:
        for user in ("alice", "bob"):
            memory.variables.set("city", "Bern", user_id=user)
    (one, row), (other, _) = [(key, row) for key, row in raw.rows().items() if key[1] != HEADS]
    raw.write(*other, row)
    with AgentMemory.from_url(url, key=MASTER) as memory:
        refused = 0
        for user in ("alice", "bob"):
            try:
                assert await call(memory.variables.all, user_id=user) == {"city": "Bern"}
            except TamperedDataError as error:
                refused += "Variable 'city'" in str(error)
        assert refused == 1
    assert one != other


async def test_a_prolonged_variable_is_refused(url, call, monkeypatch):
    raw = RawVariables(url)
    with AgentMemory.from_url(url, key=MASTER) as memory:
        memory.variables.set("city", "Bern", user_id="alice", ttl=60)
        for (scope, name), row in raw.rows().items():
            raw.write(scope, name, (*row[:3], row[3] + 3600))
        now = time.time() + 70
        monkeypatch.setattr(time, "time", lambda: now)
        with pytest.raises(TamperedDataError, match="'city' of user 'alice' has another time or expiry"):
            await call(memory.variables.all, user_id="alice")


async def test_expired_and_deleted_variables_are_no_damage(url, call, monkeypatch):
    began, shift = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: began() + shift[0])
    scope = {"user_id": "alice", "session_id": "trip"}
    with AgentMemory.from_url(url, key=MASTER) as memory:
        await call(memory.variables.set, "short", 1, ttl=100, **scope)
        await call(memory.variables.set, "long", 2, ttl=1_000, **scope)
        await call(memory.variables.set, "short", 3, ttl=100, **scope)
        shift[0] = 500.0
        assert await call(memory.variables.all, **scope) == {"long": 2}
        assert memory.backend.write(memory.backend.variables.sweep("default", time.time(), 10)) == 1
        assert await call(memory.variables.all, **scope) == {"long": 2}
        await call(memory.variables.set, "short", 4, ttl=1_000, **scope)
        assert await call(memory.variables.all, **scope) == {"long": 2, "short": 4}
        assert await call(memory.variables.clear, **scope) == 2
        assert await call(memory.variables.all, **scope) == {}
        await call(memory.variables.set, "last", 5, ttl=10, **scope)
        shift[0] = 2_000.0
        assert await call(memory.variables.all, **scope) == {}
        assert (await call(memory.stats)).entries["variables"] == 0
        await call(memory.variables.set, "new", 6, **scope)
        memory.sessions.delete("trip", user_id="alice")
        assert await call(memory.variables.all, **scope) == {}
        await call(memory.variables.set, "newer", 7, **scope)
        assert await call(memory.variables.all, **scope) == {"newer": 7}
        assert (await call(memory.stats)).entries["variables"] == 1


async def test_writers_in_any_order_store_what_one_stores_without_a_key(url, call):
    writers = [AgentMemory.from_url(url, key=MASTER) for _ in range(2)]
    plain, chance = AgentMemory.from_url("sqlite:///:memory:"), random.Random(5)
    for _ in range(60):
        writer, scope, name = chance.choice(writers), chance.choice(SCOPES), chance.choice("abc")
        action = chance.choice(["set", "set", "set_many", "delete", "clear"])
        for memory in (writer, plain):
            if action == "set":
                await call(memory.variables.set, name, action, **scope)
            elif action == "set_many":
                await call(memory.variables.set_many, {name: 1, "d": 2}, ttl=1_000, **scope)
            elif action == "delete":
                await call(memory.variables.delete, name, **scope)
            else:
                await call(memory.variables.clear, **scope)
        for one in SCOPES:
            assert await call(writers[0].variables.all, **one) == plain.variables.all(**one)
    for memory in (*writers, plain):
        memory.close()


async def test_many_writers_of_a_scope_lose_nothing(url):
    async with AgentMemory.from_url(url, key=MASTER) as one, AgentMemory.from_url(url, key=MASTER) as other:
        await asyncio.gather(
            *(
                memory.variables.aset(f"{number} {at}", number, user_id="alice")
                for at, memory in enumerate((one, other))
                for number in range(12)
            )
        )
        assert len(await other.variables.aall(user_id="alice")) == 24


async def test_an_export_and_a_copy_keep_variables(url, call, tmp_path):
    with AgentMemory.from_url(url, key=MASTER) as memory, AgentMemory.from_url("sqlite:///:memory:", key=MASTER) as new:
        for scope in SCOPES:
            memory.variables.set_many({"city": "Bern", "tone": "formal"}, **scope)
        exported = await call(memory.export, tmp_path / "all.jsonl")
        assert exported.counts["variables"] == 8
        for _ in range(2):  # a repeated import changes nothing
            await call(new.import_from, tmp_path / "all.jsonl")
            for scope in SCOPES:
                assert new.variables.all(**scope) == {"city": "Bern", "tone": "formal"}
        new.variables.set("city", "Basel", user_id="alice")
        assert new.variables.all(user_id="alice") == {"city": "Basel", "tone": "formal"}
        assert memory.forget("alice").deleted["variables"] == 6


async def test_a_cleanup_deletes_old_variables(url, call, monkeypatch):
    began, shift = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: began() + shift[0])
    with AgentMemory.from_url(url, key=MASTER) as memory:
        memory.variables.set("old", 1, user_id="alice")
        shift[0] = 10 * 86_400.0
        memory.variables.set("new", 2, user_id="alice")
        await call(memory.cleanup, older_than=5 * 86_400, kinds=["variables"])
        assert memory.variables.all(user_id="alice") == {"new": 2}


async def test_a_head_costs_no_further_statement(url, monkeypatch):
    """A read and a write take as many statements as without a key, from the first read or write of the process on."""
    counts = {}
    for key in (None, MASTER):
        with AgentMemory.from_url(url, tenant="sealed" if key else "plain", key=key) as memory:
            memory.variables.set("city", "Bern", user_id="alice")
            costs = Costs(memory, monkeypatch)
            memory.variables.set("city", "Basel", user_id="alice")
            memory.variables.set("tone", "formal", user_id="alice")
            memory.variables.all(user_id="alice")
            memory.variables.get("tone", user_id="alice")
            memory.variables.delete("tone", user_id="alice")
            counts[key] = costs.reset()
        if key is None:
            continue
        with AgentMemory.from_url(url, tenant="sealed" if key else "plain", key=key) as memory:
            memory.variables.all(user_id="alice")
            costs = Costs(memory, monkeypatch)
            memory.variables.set("city", "Chur", user_id="alice")
            assert costs.reset() == counts[key][:1]
    if url.startswith("sqlite"):  # three statements that change the head, in the same transaction
        assert [kind for kind, _ in counts[None]] == [kind for kind, _ in counts[MASTER]]
    else:
        assert counts[None] == counts[MASTER]


async def test_a_deletion_after_an_early_read_keeps_the_scope_readable(url, call):
    """A process that has read an empty scope deletes a variable that another one has set since."""
    async with AgentMemory.from_url(url, key=MASTER) as one, AgentMemory.from_url(url, key=MASTER) as other:
        for scope in SCOPES:
            assert await call(one.variables.get, "city", **scope) is None
            await call(other.variables.set_many, {"city": "Bern", "tone": "formal"}, **scope)
            assert await call(one.variables.delete, "city", **scope)
            for memory in (one, other):
                assert await call(memory.variables.all, **scope) == {"tone": "formal"}
            await call(other.variables.clear, **scope)


def test_readers_in_other_threads_do_not_disturb_a_deletion(url):
    broken = []
    with AgentMemory.from_url(url, key=MASTER) as memory:
        for number in range(15):
            user, stopped = f"user {number}", threading.Event()

            def read(user: str = user, stopped: threading.Event = stopped) -> None:
                while not stopped.is_set():
                    memory.variables.get("city", user_id=user)

            with ThreadPoolExecutor(2) as pool:
                readers = [pool.submit(read) for _ in range(2)]
                memory.variables.set("city", "Bern", user_id=user)
                memory.variables.delete("city", user_id=user)
                stopped.set()
            broken += [reader.exception() for reader in readers if reader.exception()]
            assert memory.variables.all(user_id=user) == {}
    assert not broken


async def test_a_user_with_an_expired_variable_is_forgotten(url, call, monkeypatch):
    began, shift = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: began() + shift[0])
    scope = {"user_id": "alice", "session_id": "trip"}
    with AgentMemory.from_url(url, key=MASTER) as memory:
        await call(memory.variables.set, "short", 1, ttl=10, **scope)
        shift[0] = 200.0
        await call(memory.variables.set, "long", 2, **scope)
        counted = await call(memory.forget, "alice", dry_run=True)
        assert (await call(memory.forget, "alice")).deleted == counted.deleted
        assert counted.deleted["sessions"] == 1
        assert await call(memory.variables.all, **scope) == {}


async def test_a_reader_with_an_earlier_clock_accepts_an_expired_variable(url, call, monkeypatch):
    began, shift = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: began() + shift[0])
    with AgentMemory.from_url(url, key=MASTER) as memory:
        for name in ("city", "tone"):
            await call(memory.variables.set, name, 1, user_id="alice", ttl=10)
        early = time.time()
        for shift[0] in (12.0, 18.0, 40.0):  # the head was stored again after the first two expired
            await call(memory.variables.set, "new", 2, user_id="alice")
            rows = memory.backend.read(memory.backend.variables.read(VariableScope("default", "alice"), None, early))
            assert sorted(row.name for row in rows) == ["city", "new", "tone"]


async def test_an_interrupted_import_of_variables_is_continued(url, call, tmp_path, monkeypatch):
    path = tmp_path / "variables.jsonl"
    with AgentMemory.from_url("sqlite:///:memory:") as source:
        source.variables.set_many({"city": "Bern", "tone": "formal"}, user_id="alice")
        source.export(path)
    with AgentMemory.from_url(url, key=MASTER) as memory:
        with monkeypatch.context() as patched:

            def fail(*_: Any) -> Any:
                raise ConnectionError

            patched.setattr(memory.backend.inner.transfer, "restore_variables", fail)
            with pytest.raises(ConnectionError):
                await call(memory.import_from, path)
        assert await call(memory.variables.all, user_id="alice") == {}
        await call(memory.import_from, path)
        assert await call(memory.variables.all, user_id="alice") == {"city": "Bern", "tone": "formal"}
