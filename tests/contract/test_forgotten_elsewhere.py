"""A cache of this process does not return data that another process has forgotten."""

from __future__ import annotations

import pytest
from counting import Costs
from kept_threads import Log
from langchain.agents import create_agent
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.messages import HumanMessage
from langgraph.graph import START, StateGraph
from processes import elsewhere

from langchain_agentmem import AgentMemory, ReadCache, UserProfile
from langchain_agentmem.testing import ScriptedChatModel

USER, OTHER, SECRET = "alice@example.com", "bob@example.com", "marzipan"
KEY = b"k" * 32


class Clock:
    """The clock of a cache: it moves only when a test moves it."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=[None, KEY], ids=["plain", "encrypted"])
def key(request):
    return request.param


@pytest.fixture
def cached(lasting_url, key):
    with AgentMemory.from_url(lasting_url, key=key, read_cache=ReadCache(max_age=3600)) as memory:
        memory.read_cache.clock = Clock()
        yield memory


def forget(url: str, key: bytes | None, name: str) -> None:
    with AgentMemory.from_url(url, key=key) as memory:
        (memory.forget if name == "forget" else memory.profiles.forget)(USER)


async def plant(memory, call):
    await call(memory.variables.set, "treat", SECRET, user_id=USER)
    await call(memory.profiles.save, UserProfile(user_id=USER, name=SECRET, preferences={"treat": SECRET}))
    await call(memory.profiles.add_fact, USER, f"Likes {SECRET}")


async def shown(memory, call):
    """Everything that the cache of reads answers about the user."""
    prompt = memory.prompt("{{treat}} {{user_name}} {{preferences}}", user_id=USER)
    profile = await call(memory.profiles.get, USER)
    return (
        await call(memory.variables.get, "treat", user_id=USER),
        profile and profile.name,
        await call(memory.profiles.context, USER, query="What does she like?"),
        (await call(prompt.invoke, {})).to_string(),
    )


@pytest.mark.parametrize("name", ["forget", "profiles.forget"])
async def test_cached_reads_end_a_second_after_another_process_has_forgotten(
    cached, lasting_url, key, call, monkeypatch, name
):
    await plant(cached, call)
    await call(cached.variables.set, "treat", "fudge", user_id=OTHER)
    before = await shown(cached, call)
    assert all(SECRET in str(one) for one in before)
    elsewhere(forget, lasting_url, key, name)
    costs = Costs(cached, monkeypatch)
    cached.read_cache.clock.now += 0.9
    assert await shown(cached, call) == before
    assert costs.reset() == []
    cached.read_cache.clock.now += 0.1
    variable, *knowledge = await shown(cached, call)
    assert (variable is None) == (name == "forget")
    assert SECRET not in str(knowledge[:2])
    assert await call(cached.variables.get, "treat", user_id=OTHER) == "fudge"


async def test_the_check_is_one_small_read_a_second(cached, call, monkeypatch):
    await plant(cached, call)
    before = await shown(cached, call)
    costs = Costs(cached, monkeypatch)
    for _ in range(3):
        cached.read_cache.clock.now += 1
        for _ in range(5):
            assert await shown(cached, call) == before
        assert [kind for kind, _ in costs.reset()] == ["read"]


async def test_searches_threads_and_agents_do_not_return_what_another_process_has_forgotten(lasting_url, call):
    model = ScriptedChatModel(["ok", "ok"])
    with AgentMemory.from_url(lasting_url, embeddings=DeterministicFakeEmbedding(size=4)) as memory:
        await plant(memory, call)
        await call(memory.memories.save, USER, f"Her cat is called {SECRET}.")
        await call(memory.history("trip", user_id=USER).add_messages, [HumanMessage(f"I bought {SECRET}.")])
        await call(memory.store.put, ("shops",), "1", {"text": "a shop"})
        config = {"configurable": {"thread_id": "1", "user_id": USER}}
        builder = StateGraph(Log).add_node("note", lambda state: {"log": [SECRET]}).add_edge(START, "note")
        graph = builder.compile(checkpointer=memory.checkpointer)
        agent = create_agent(model, [], middleware=[memory.middleware()], checkpointer=memory.checkpointer)
        own = {"configurable": {"thread_id": "2", "user_id": USER}}

        async def found():
            return [
                await call(memory.search_history, SECRET, user_id=USER),
                await call(memory.memories.search, USER, SECRET),
                await call(memory.profiles.search, USER, SECRET),
                (await call(memory.recall, SECRET, user_id=USER)).text,
                await call(memory.history("trip", user_id=USER).get_recent, 5),
                (await call(graph.get_state, config)).values.get("log"),
            ]

        for _ in range(4):
            await call(graph.invoke, {"log": ["asked"]}, config)
        await call(agent.invoke, {"messages": [("human", f"What about {SECRET}?")]}, own)
        assert SECRET in str(model.requests[-1][0].content)
        assert all(SECRET in str(one) for one in await found())
        elsewhere(forget, lasting_url, None, "forget")
        assert SECRET not in str(await found())
        await call(agent.invoke, {"messages": [("human", "What do I like?")]}, own)
        assert SECRET not in str(model.requests[-1])
