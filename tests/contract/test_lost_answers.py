"""A change is stored, its answer is lost with the connection, another writer comes, and then the change is tried again.

It is made once: what the other writer stored stays. SQLite has no connection to lose. An error of later work, such as the
deletion of expired data, does not deny a write that was stored.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import new_url
from identity import without_ids
from langchain_core.messages import HumanMessage
from proxies import LosingProxy

from langchain_agentmem import AgentMemory, Retention, StorageError
from langchain_agentmem.backends.contract import SessionKey, StoredSummary
from langchain_agentmem.programs import Write

COUNTERS = ("counters",)
A, B, C = ((COUNTERS, key) for key in "abc")


class Losing:
    """A memory whose next swap is stored, and its answer lost."""

    def __init__(self, backend: str, url: str) -> None:
        self.backend = backend
        self.proxy = LosingProxy(url)
        self.memory = AgentMemory.from_url(self.proxy.url)
        self.other = AgentMemory.from_url(url)

    def next_swap(self, between: Callable[[AgentMemory], Any], name: str = "swap") -> None:
        if self.backend == "redis":
            from langchain_agentmem.backends.redis import session_keys, store

            script = (store.LUA if name == "swap" else session_keys.LUA)[name]
            marker = script.digest.encode()
        else:
            marker = b"agentmem_swap_items" if name == "swap" else f"agentmem_{name}".encode()
        self.proxy.lose(marker, lambda: between(self.other))

    def check(self) -> None:
        assert self.proxy.error is None
        assert self.proxy.lost == 1


@pytest.fixture(params=["postgres", "redis"])
def losing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Losing]:
    made = Losing(request.param, new_url(request.param, tmp_path))
    # From here on scripts are known and connections are open.
    for memory in (made.memory, made.other):
        memory.store.update(COUNTERS, "first", lambda _: {"n": 0})
    yield made
    made.memory.close()
    made.other.close()
    made.proxy.close()


def added(number: int) -> Callable[[Any], dict[str, Any]]:
    return lambda value: {"n": (value or {"n": 0})["n"] + number}


async def test_an_update_is_made_once(losing, call):
    await call(losing.memory.store.update, *A, lambda _: {"n": 0})
    losing.next_swap(lambda other: other.store.update(*A, added(10)))
    assert await call(losing.memory.store.update, *A, added(1)) == {"n": 1}
    losing.check()
    assert losing.other.store.get(*A).value == {"n": 11}
    await call(losing.memory.close)


async def test_an_update_that_makes_an_item_is_made_once(losing, call):
    await call(losing.memory.store.get, *A)
    losing.next_swap(lambda other: other.store.delete(*A))
    assert await call(losing.memory.store.update, *A, added(1), index=["n"]) == {"n": 1}
    losing.check()
    assert losing.other.store.get(*A) is None
    await call(losing.memory.close)


async def test_an_update_of_several_is_made_once(losing, call):
    store = losing.memory.store
    await call(store.update_many, [A, B], lambda _: {A: {"n": 0}, B: {"n": 0}})

    def change(other: AgentMemory) -> None:
        other.store.update(*A, added(10))
        other.store.put(*B, {"n": 5})
        other.store.delete(*C)

    losing.next_swap(change)
    await call(store.update_many, [A, B], lambda now: {A: added(1)(now[A]), B: None, C: {"n": 1}})
    losing.check()
    assert {item.key: item.value["n"] for item in losing.other.store.search(COUNTERS) if item.key != "first"} == {
        "a": 11,
        "b": 5,
    }
    await call(losing.memory.close)


async def test_a_deletion_is_made_once(losing, call):
    await call(losing.memory.store.put, *A, {"n": 0})
    losing.next_swap(lambda other: other.store.put(*A, {"n": 5}))
    await call(losing.memory.store.update_many, [A], lambda _: {A: None})
    losing.check()
    assert losing.other.store.get(*A).value == {"n": 5}
    await call(losing.memory.close)


async def test_many_changes_may_come_between(losing, call):
    await call(losing.memory.store.update, *A, lambda _: {"n": 0})

    def change(other: AgentMemory) -> None:
        for _ in range(40):
            other.store.update(*A, added(10))

    losing.next_swap(change)
    await call(losing.memory.store.update, *A, added(1))
    losing.check()
    assert losing.other.store.get(*A).value == {"n": 401}
    await call(losing.memory.close)


async def test_a_preference_is_set_once(losing, call):
    await call(losing.memory.profiles.update_preference, "alice", "colour", "red")
    losing.next_swap(lambda other: other.profiles.update_preference("alice", "colour", "green"))
    await call(losing.memory.profiles.update_preference, "alice", "colour", "blue")
    losing.check()
    assert losing.other.profiles.get("alice").preferences == {"colour": "green"}
    await call(losing.memory.close)


async def test_an_entity_is_changed_once(losing, call):
    await call(losing.memory.entities.upsert, "alice", "Ines", attributes={"city": "Rome"})
    losing.next_swap(lambda other: other.entities.upsert("alice", "Ines", attributes={"city": "Oslo"}))
    await call(losing.memory.entities.upsert, "alice", "Ines", attributes={"city": "Lima"})
    losing.check()
    (entity,) = losing.other.entities.list("alice")
    assert entity.attributes["city"] == "Oslo"
    await call(losing.memory.close)


@pytest.mark.parametrize("how", ["sync", "async"])
async def test_a_summary_is_written_once(losing, how):
    """A session's summary, and the claim in it."""
    key, now = SessionKey("default", None, "s"), time.time()
    losing.memory.history("s").add_messages([HumanMessage("a")])

    async def swap(memory: AgentMemory, text: str, revision: int, expected: int | None) -> bool:
        step = Write(
            memory.backend,
            memory.backend.messages.swap_summary(key, None, StoredSummary(text, revision), expected, now),
        )
        return step.perform() if how == "sync" else await step.aperform()

    def written_by_another(other: AgentMemory) -> None:
        program = other.backend.messages.swap_summary(key, None, StoredSummary('"other"', 3), 2, now)
        assert other.backend.write(program)

    assert await swap(losing.memory, '"first"', 1, None)
    losing.next_swap(written_by_another, "swap_summary")
    assert await swap(losing.memory, '"mine"', 2, 1)
    losing.check()
    assert not await swap(losing.memory, '"late"', 4, 2)
    assert losing.other.backend.read(losing.other.backend.messages.summary(key, None, now)).value == '"other"'
    if how == "async":
        await losing.memory.aclose()


@pytest.mark.parametrize("count", [1, 300])
async def test_a_turn_is_added_once_however_many_messages_come_between(losing, call, count):
    history = losing.memory.history("s")
    await call(history.add_messages, [HumanMessage("first")])
    others = [HumanMessage(f"other {number}") for number in range(count)]
    losing.next_swap(lambda other: other.history("s").add_messages(others), "append")
    await call(history.add_messages, [HumanMessage("mine")])
    losing.check()
    assert without_ids(losing.other.history("s").messages) == [HumanMessage("first"), HumanMessage("mine"), *others]
    await call(losing.memory.close)


REMOVALS: dict[str, Callable[[AgentMemory], Any]] = {
    "clear": lambda other: other.history("s").clear(),
    "clear and add": lambda other: (
        other.history("s").clear(),
        other.history("s").add_messages([HumanMessage("other")]),
    ),
    "delete": lambda other: other.sessions.delete("s"),
    "delete and add": lambda other: (
        other.sessions.delete("s"),
        other.history("s").add_messages([HumanMessage("other")]),
    ),
    "trim": lambda other: other.history("s", max_messages=1).add_messages([HumanMessage("other")]),
    "trim by retention": lambda other: other.history("s", retention=Retention(max_messages=1)).add_messages(
        [HumanMessage("other")]
    ),
}


@pytest.mark.parametrize("is_new", [False, True], ids=["a session with messages", "a new session"])
@pytest.mark.parametrize("removal", REMOVALS)
async def test_a_turn_that_another_writer_removed_is_not_added_again(losing, call, removal, is_new):
    history = losing.memory.history("s")
    if not is_new:
        await call(history.add_messages, [HumanMessage("first")])
    losing.next_swap(REMOVALS[removal], "append")
    await call(history.add_messages, [HumanMessage("mine")])
    losing.check()
    texts = [message.content for message in losing.other.history("s").messages]
    if removal == "trim":  # a window that deletes nothing
        assert texts == [*([] if is_new else ["first"]), "mine", "other"]
    else:
        assert texts == (["other"] if removal not in ("clear", "delete") else [])
    if removal == "delete":
        assert losing.other.sessions.list() == []
    await call(losing.memory.close)


@pytest.mark.parametrize("session_id", ["s", None])
async def test_a_record_is_saved_once(losing, call, session_id):
    await call(losing.memory.records.save, "writer", {"step": 0}, session_id=session_id)
    marker = b"agentmem_add_record"
    if losing.backend == "redis":
        from langchain_agentmem.backends.redis import records, session_keys

        script = session_keys.LUA["add_record"] if session_id else records.LUA["refer"]
        marker = script.digest.encode()
    losing.proxy.lose(marker, lambda: None)
    saved = await call(losing.memory.records.save, "writer", {"step": 1}, session_id=session_id)
    losing.check()
    assert [(one.id, one.record["step"]) for one in losing.other.records.query(limit=1)] == [(saved, 1)]
    assert len(losing.other.records.query()) == 2
    await call(losing.memory.close)


@pytest.mark.parametrize("session_id", ["s", None])
async def test_a_variable_is_set_after_a_lost_answer(losing, call, session_id):
    await call(losing.memory.variables.set, "a", 0, session_id=session_id, user_id="alice")
    marker = b"agentmem_set_variables"
    if losing.backend == "redis":
        from langchain_agentmem.backends.redis import session_keys, variables

        script = session_keys.LUA["set_variables"] if session_id else variables.LUA["set"]
        marker = script.digest.encode()
    losing.proxy.lose(marker, lambda: None)
    await call(losing.memory.variables.set_many, {"a": 1, "b": 2}, session_id=session_id, user_id="alice")
    losing.check()
    found = losing.other.variables.search("a 1 b 2", session_id=session_id, user_id="alice")
    assert {one.name: one.value for one in found} == {"a": 1, "b": 2}
    assert len(losing.other.sessions.list()) == bool(session_id)
    await call(losing.memory.close)


@pytest.mark.parametrize("change", ["delete", "truncate", "replace"])
async def test_a_message_is_changed_once(losing, call, change):
    history = losing.memory.history("s")
    await call(history.add_messages, [HumanMessage(text, id=text) for text in "abcd"])
    # Redis knows the scripts from here on.
    history.truncate("c")
    history.replace("c", HumanMessage("c"))

    def written_by_another(other: AgentMemory) -> None:
        if change == "replace":
            other.history("s").replace("a", HumanMessage("other"))
        else:
            other.history("s").add_messages([HumanMessage("other", id="b")])

    changes: dict[str, tuple[Any, ...]] = {
        "delete": (history.delete, ["b", "c"]),
        "truncate": (history.truncate, "a"),
        "replace": (history.replace, "a", HumanMessage("mine")),
    }
    losing.next_swap(written_by_another, changes_of(losing, change))
    result = await call(*changes[change])
    losing.check()
    texts = [message.text for message in losing.other.history("s").messages]
    if change == "replace":
        assert texts == ["other", "b", "c"]
    else:
        assert (result, texts) == (2, ["a", "other"])
    await call(losing.memory.close)


def changes_of(losing: Losing, change: str) -> str:
    """The name of the function or the script that makes a change."""
    if change == "replace":
        return "replace" if losing.backend == "redis" else "replace_message"
    return "remove_messages"


@pytest.mark.parametrize("what", ["open", "close"])
async def test_a_session_is_opened_and_closed_once(losing, call, what):
    def opened(memory: AgentMemory) -> Any:
        return memory.session("s", retention=Retention("session"), context={"goal": "launch"})

    async def enter(session: Any) -> None:
        await call(_Block(session).enter)

    outer, inner = opened(losing.other), opened(losing.memory)
    await enter(outer)
    await call(outer.history(agent="writer").add_messages, [HumanMessage("a")])
    marker = f"agentmem_{what}_session".encode()
    if losing.backend == "redis":
        from langchain_agentmem.backends.redis import session_keys

        marker = session_keys.LUA[what].digest.encode()
    if what == "open":
        losing.proxy.lose(marker, lambda: None)
    await enter(inner)
    if what == "close":
        losing.proxy.lose(marker, lambda: None)
    await call(inner.end)
    losing.check()
    assert losing.other.history("s").count() == 1
    await call(outer.end)
    assert losing.other.sessions.get("s") is None
    await call(losing.memory.close)


class _Block:
    """`with` and `async with` as a pair of methods, for `call`."""

    def __init__(self, session: Any) -> None:
        self.session = session

    def enter(self) -> Any:
        return self.session.__enter__()

    async def aenter(self) -> Any:
        return await self.session.__aenter__()


def each_write(
    memory: AgentMemory, monkeypatch: pytest.MonkeyPatch, change: Callable[[Any, Callable[[], Any]], Any]
) -> None:
    """Pass each storage program that writes to a function, with what runs it."""
    write, awrite = memory.backend.write, memory.backend.awrite

    async def changed(program: Any) -> Any:
        found = change(program, lambda: awrite(program))
        return await found if inspect.isawaitable(found) else found

    monkeypatch.setattr(memory.backend, "write", lambda program: change(program, lambda: write(program)))
    monkeypatch.setattr(memory.backend, "awrite", changed)


async def test_a_checkpoint_whose_answers_are_lost_twice_is_stored(memory, call, monkeypatch):
    """Connections break while the first form of a checkpoint is stored, and again while the second is."""
    place: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
    value = {"v": 4, "id": "1", "ts": "", "channel_values": {"a": ["x" * 200] * 3}, "versions_seen": {}}
    versions = {"a": "1"}
    repeated: list[str] = []

    def change(program: Any, run: Callable[[], Any]) -> Any:
        if program.__name__ != "put" or len(repeated) == 2:
            return run()
        repeated.append(program.__name__)
        first = run()

        async def again() -> Any:
            await first
            return await run()

        return again() if inspect.isawaitable(first) else run()

    each_write(memory, monkeypatch, change)
    await call(memory.checkpointer.put, place, {**value, "channel_versions": versions}, {}, versions)
    assert repeated
    found = await call(memory.checkpointer.get_tuple, place)
    assert found.checkpoint["channel_values"] == value["channel_values"]


async def test_a_failed_deletion_of_expired_data_does_not_fail_the_write_before_it(memory, call, monkeypatch, caplog):
    sweeper = memory.store.engine.sweeper

    def change(program: Any, run: Callable[[], Any]) -> Any:
        if program.__name__ == "_batch":
            raise StorageError("The connection was lost. Nothing was stored.")
        return run()

    each_write(memory, monkeypatch, change)
    history = memory.history("s")
    for method, *arguments in (
        (memory.store.put, ("notes",), "a", {"n": 1}),
        (history.add_messages, [HumanMessage("Hi")]),
        (memory.variables.set, "town", "Paris"),
    ):
        sweeper._last = float("-inf")
        await call(method, *arguments)
    assert caplog.text.count("Expired data was not deleted after a write") == 3
    assert (await call(memory.store.get, ("notes",), "a")).value == {"n": 1}
    assert await call(history.count) == 1
    assert time.monotonic() - sweeper._last > sweeper._interval / 2
