"""A memory with a cache of variables and profiles always reads its own writes."""

from __future__ import annotations

import asyncio
import threading

import pytest
from counting import Costs
from langchain_core.messages import HumanMessage

from langchain_agentmem import AgentMemory, ReadCache, Retention, StorageError, UserProfile
from langchain_agentmem.backends import reads
from langchain_agentmem.errors import InvalidTypeError

USER, SESSION, AGENT = "alice@example.com", "trip", "writer"
WIDEST = {"user_id": USER, "session_id": SESSION, "agent": AGENT}
SCOPES = [
    WIDEST,
    {"user_id": USER, "session_id": SESSION},
    {"user_id": USER, "agent": AGENT},
    {"user_id": USER},
    {"agent": AGENT},
    {},
]


@pytest.fixture
def cached(url):
    with AgentMemory.from_url(url, read_cache=ReadCache(size=100, max_age=3600)) as memory:
        memory.read_cache.clock = lambda: 0.0  # the cache looks for deletions of others once a second
        yield memory


async def test_variables_are_read_once(cached, call, monkeypatch):
    await call(cached.variables.set, "a", {"list": [1]}, **WIDEST)
    await call(cached.variables.all)  # Redis learns the script
    before = cached.read_cache.info()
    costs = Costs(cached, monkeypatch)
    first = await call(cached.variables.all, **WIDEST)
    first["a"]["list"].append("changed by the caller")
    assert await call(cached.variables.all, **WIDEST) == {"a": {"list": [1]}}
    assert await call(cached.variables.get, "a", **WIDEST) == {"list": [1]}
    assert await call(cached.variables.get, "missing", 7, **WIDEST) == 7
    assert len(await call(cached.variables.search, "list", **WIDEST)) == 1
    assert costs.reset() == [("read", 1)]
    after = cached.read_cache.info()
    assert (after.hits - before.hits, after.misses - before.misses, after.entries) == (4, 1, 2)


@pytest.mark.parametrize("number", range(len(SCOPES)))
async def test_a_memory_reads_its_own_writes_of_variables(cached, call, number):
    scope, variables = SCOPES[number], cached.variables
    assert await call(variables.all, **WIDEST) == {}
    await call(variables.set, "a", 1, **scope)
    assert await call(variables.all, **WIDEST) == {"a": 1}
    await call(variables.set_many, {"a": 2, "b": 3}, **scope)
    assert await call(variables.all, **WIDEST) == {"a": 2, "b": 3}
    await call(variables.delete, "a", **scope)
    assert await call(variables.all, **WIDEST) == {"b": 3}
    await call(variables.clear, **scope)
    assert await call(variables.all, **WIDEST) == {}


async def test_prompts_read_variables_and_profiles_through_the_cache(cached, call, monkeypatch):
    prompt = cached.prompt("{{tone}}, {{user_name}}: {{session_context}}", **WIDEST)

    async def text():
        return (await call(prompt.invoke, {})).messages[0].content

    await call(cached.variables.set, "tone", "formal", user_id=USER)
    assert await text() == "formal, : "
    costs = Costs(cached, monkeypatch)
    assert await text() == "formal, : "
    assert await call(cached.variables.get, "tone", **WIDEST) == "formal"
    assert costs.reset() == []
    await call(cached.variables.set, "tone", "brief", **WIDEST)
    await call(cached.profiles.save, UserProfile(user_id=USER, name="Alice"))
    costs.reset()
    assert await text() == "brief, Alice: - tone: brief"
    assert len(costs.reset()) == 1
    await call(cached.profiles.forget, USER)
    await call(cached.sessions.delete, SESSION, user_id=USER)
    assert await text() == "formal, : "


async def test_a_prompt_with_a_cache_still_reads_messages(cached, call):
    prompt = cached.prompt("{{recent_context}} {{tone}}", user_id=USER, session_id=SESSION)
    history = cached.history(SESSION, user_id=USER)
    for number in range(3):
        await call(history.add_messages, [HumanMessage(str(number))])
        expected = "\n".join(f"User: {one}" for one in range(number + 1)) + " "
        assert (await call(prompt.invoke, {})).messages[0].content == expected


@pytest.mark.parametrize("end", ["end", "delete"])
async def test_the_end_of_a_session_is_seen(cached, call, end):
    await call(cached.variables.set, "a", 1, **WIDEST)
    assert await call(cached.variables.all, **WIDEST) == {"a": 1}
    await call(getattr(cached.sessions, end), SESSION, user_id=USER)
    assert await call(cached.variables.all, **WIDEST) == {}


async def test_what_expires_is_not_answered_by_the_cache(url, call, monkeypatch):
    kept = Retention(ttl=100)
    with AgentMemory.from_url(url, read_cache=ReadCache(max_age=3600), retention=kept) as cached:
        await call(cached.variables.set, "own", 1, ttl=10)
        await call(cached.variables.set, "of the session", 1, **WIDEST)
        assert len(await call(cached.variables.all, **WIDEST)) == 2
        now = reads.time.time()
        monkeypatch.setattr(reads.time, "time", lambda: now + 11)
        assert await call(cached.variables.all, **WIDEST) == {"of the session": 1}
        monkeypatch.setattr(reads.time, "time", lambda: now + 101)
        assert await call(cached.variables.all, **WIDEST) == {}


async def test_writes_of_another_memory_are_seen_after_the_maximum_age(lasting_url, call, monkeypatch):
    with (
        AgentMemory.from_url(lasting_url, read_cache=ReadCache(max_age=30)) as cached,
        AgentMemory.from_url(lasting_url) as other,
    ):
        await call(cached.variables.set, "a", 1)
        assert await call(cached.variables.get, "a") == 1
        await call(other.variables.set, "a", 2)
        assert await call(cached.variables.get, "a") == 1
        began = reads.time.monotonic()
        cached.read_cache.clock = lambda: began + 31
        assert await call(cached.variables.get, "a") == 2


async def test_a_profile_is_read_once(cached, call, monkeypatch):
    await call(cached.profiles.update_preference, USER, "tone", "formal")
    await call(cached.profiles.add_fact, USER, "She lives in Malta")
    first = await call(cached.profiles.get, USER)
    text = await call(cached.profiles.context, USER, query="Where does she live?")
    costs = Costs(cached, monkeypatch)
    first.preferences["tone"] = "changed by the caller"
    first.facts.clear()
    again = await call(cached.profiles.get, USER)
    assert (again.preferences, [fact.text for fact in again.facts]) == ({"tone": "formal"}, ["She lives in Malta"])
    assert await call(cached.profiles.context, USER, query="Where does she live?") == text
    assert costs.reset() == []


async def test_a_memory_reads_its_own_writes_of_profiles(cached, call):
    async def known() -> tuple[object, list[str], str]:
        profile = await call(cached.profiles.get, USER)
        text = await call(cached.profiles.context, USER, query="tea")
        if profile is None:
            return None, [], text
        return profile.preferences, [fact.text for fact in profile.facts], text

    empty = await known()
    await call(cached.profiles.update_preference, USER, "tone", "formal")
    assert (await known())[0] == {"tone": "formal"}
    (fact,) = await call(cached.profiles.add_facts, USER, ["She drinks tea"])
    assert (await known())[1] == ["She drinks tea"]
    assert "tea" in (await known())[2]
    profile = await call(cached.profiles.get, USER)
    profile.name = "Alice"
    await call(cached.profiles.save, profile)
    assert (await call(cached.profiles.get, USER)).name == "Alice"
    await call(cached.profiles.forget_fact, USER, fact)
    assert (await known())[1] == []
    ((namespace, key),) = [
        (item.namespace, item.key) for item in await call(cached.store.search, (f"user:{USER}", "profile"))
    ]
    await call(cached.store.delete, namespace, key)
    assert (await known())[0] in (None, {})
    await call(cached.profiles.add_fact, USER, "She likes Malta")
    assert (await known())[1] == ["She likes Malta"]
    await call(cached.profiles.forget, USER)
    assert await known() == empty


async def test_a_burst_of_writes_to_the_store_is_seen(cached):
    await cached.profiles.aadd_fact(USER, "She drinks tea")
    assert len((await cached.profiles.aget(USER)).facts) == 1
    items = await cached.store.asearch((f"user:{USER}", "facts"))
    await asyncio.gather(*(cached.store.adelete(item.namespace, item.key) for item in items))
    profile = await cached.profiles.aget(USER)
    assert profile is None or profile.facts == []


async def test_a_write_that_failed_but_was_stored_is_seen(cached, call, monkeypatch):
    await call(cached.variables.set, "a", 1)
    assert await call(cached.variables.get, "a") == 1
    for name in ("write", "awrite"):
        original = getattr(cached.backend, name)

        def lose(program, original=original):
            original(program)
            raise StorageError("The answer was lost.")

        async def alose(program, original=original):
            await original(program)
            raise StorageError("The answer was lost.")

        monkeypatch.setattr(cached.backend, name, alose if name == "awrite" else lose)
    with pytest.raises(StorageError):
        await call(cached.variables.set, "a", 2)
    assert await call(cached.variables.get, "a") == 2


async def test_a_cancelled_write_that_is_stored_later_is_seen(cached, monkeypatch):
    await cached.variables.aset("a", 1)
    assert await cached.variables.aget("a") == 1
    begun, proceed = asyncio.Event(), asyncio.Event()
    original = cached.backend.awrite
    later = []

    async def slow(program):
        async def finish():
            await proceed.wait()
            return await original(program)

        begun.set()
        later.append(asyncio.ensure_future(finish()))
        return await asyncio.shield(later[0])

    monkeypatch.setattr(cached.backend, "awrite", slow)
    writing = asyncio.ensure_future(cached.variables.aset("a", 2))
    await begun.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await cached.variables.aget("a") == 1
    proceed.set()
    await later[0]
    assert await cached.variables.aget("a") == 2


async def test_writers_in_threads_and_tasks_always_read_their_own_write(cached):
    wrong = []

    def work(number: int) -> None:
        for round_ in range(15):
            cached.variables.set(f"own {number}", round_, **SCOPES[number % 6])
            seen = cached.variables.get(f"own {number}", **WIDEST)
            if seen != round_:
                wrong.append((number, round_, seen))

    async def awork(number: int) -> None:
        for round_ in range(15):
            await cached.variables.aset(f"own {number}", round_, **SCOPES[number % 6])
            seen = await cached.variables.aget(f"own {number}", **WIDEST)
            if seen != round_:
                wrong.append((number, round_, seen))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    await asyncio.gather(*map(awork, range(4, 8)))
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert wrong == []


async def test_messages_do_not_invalidate_variables(cached, call, monkeypatch):
    await call(cached.variables.set, "a", 1, **WIDEST)
    await call(cached.variables.all, **WIDEST)
    await call(cached.history(SESSION, user_id=USER).add_messages, [HumanMessage("Hi")])
    costs = Costs(cached, monkeypatch)
    assert await call(cached.variables.all, **WIDEST) == {"a": 1}
    assert costs.reset() == []


def test_without_settings_nothing_is_cached_and_wrong_settings_are_refused():
    with AgentMemory.from_url("sqlite:///:memory:") as memory:
        memory.variables.set("a", 1)
        assert [memory.variables.get("a") for _ in range(2)] == [1, 1]
        assert memory.read_cache.info() == (0, 0, 0, 0)
    with pytest.raises(InvalidTypeError, match=r"read_cache must be a ReadCache"):
        AgentMemory.from_url("sqlite:///:memory:", read_cache=True)
