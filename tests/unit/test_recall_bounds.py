"""What the middleware tells an agent of its user: bounded whatever is stored, and never a reason to fail."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from profiles import ALICE, config

from langchain_agentmem import AgentMemory, BudgetError
from langchain_agentmem.knowledge.facts.schema import Schema, UserProfile
from langchain_agentmem.programs import run
from langchain_agentmem.prompting.recall.user_knowledge import UserKnowledge
from langchain_agentmem.testing import ScriptedChatModel

_texts = st.text('<>"\\a\nß…', max_size=300)
_documents = st.dictionaries(_texts, _texts | st.lists(_texts) | st.dictionaries(_texts, _texts) | st.integers())


@pytest.fixture
def memory(sqlite_url) -> Any:
    with AgentMemory.from_url(sqlite_url) as opened:
        yield opened


async def told(memory: AgentMemory, call: Any, question: str, **options: Any) -> str:
    """What the model is told besides the question."""
    model = ScriptedChatModel(["Well."])
    agent = create_agent(model, [], middleware=[memory.middleware(**options)])
    await call(agent.invoke, {"messages": [("user", question)]}, config())
    first = model.requests[0][0]
    return str(first.text) if first.type == "system" else ""


def data(text: str) -> dict[str, Any]:
    """What is quoted in what the model is told."""
    found: dict[str, Any] = json.loads(text.rpartition("<data>")[2].partition("</data>")[0])
    return found


COMMA = len(", ")
"""How much longer each part is taken to be than it is beside others."""


def length(known: dict[str, Any]) -> int:
    """How long the text is that tells all of this."""
    return len(UserKnowledge(None, Schema(UserProfile), 5, 5, 0, (), 10**9).text(known))


def narrow(known: dict[str, Any]) -> int:
    """The least number of characters in which everything fits."""
    return length({name: value for name, value in known.items() if value}) + COMMA * (len(known.get("facts", ())) + 1)


ONE_FACT, WITH_PROFILE = {"facts": [""]}, {"profile": {"a": "<b>"}, "facts": [""]}
PROFILE_ALONE = {"profile": {"a": "<b>"}, "facts": []}


@example(ONE_FACT, narrow(ONE_FACT))
@example(WITH_PROFILE, narrow(WITH_PROFILE))
@example(PROFILE_ALONE, narrow(PROFILE_ALONE))
@settings(deadline=None)
@given(st.fixed_dictionaries({}, optional={"profile": _documents, "facts": st.lists(_texts)}), st.integers(0, 3000))
def test_it_is_as_long_as_it_may_be_and_no_longer(known, most):
    recall = UserKnowledge(None, Schema(UserProfile), 5, 5, 0, (), most)
    text = recall.text(known)
    assert len(text) <= most
    kept = data(text) if text else {}
    facts, profile = list(kept.get("facts", ())), kept.get("profile", {})
    left = list(known.get("facts", ()))
    for fact in facts:
        left.remove(fact)  # raises for what is not known
    assert profile.keys() <= known.get("profile", {}).keys()
    # No fact that is left out has room, but for the commas.
    commas = COMMA * (len(facts) + 2)
    assert all(length({**kept, "facts": [*facts, fact]}) > most - commas for fact in left)
    whole = {name: value for name, value in known.items() if value}
    if length(whole) <= most - COMMA * (len(known.get("facts", ())) + 1):
        assert kept == whole


async def test_characters_that_quoting_makes_longer_count_as_what_they_become(memory, call):
    for number in range(8):
        memory.profiles.add_fact(ALICE, f"tag {number} " + "<>" * 240)
    text = await told(memory, call, "tag?", max_tokens=100_000)
    assert "tag" in text
    assert len(text) <= 4_000


async def test_what_has_no_room_in_the_request_is_left_out(memory, call, caplog):
    for number in range(8):
        memory.profiles.add_fact(ALICE, f"tag {number} " + "wide " * 90)
    memory.profiles.add_fact(ALICE, "Allergic to peanuts")
    text = await told(memory, call, "tag?", max_tokens=500)
    assert "Allergic to peanuts" in text
    assert "no room for all known data about the user" in caplog.text
    assert await told(memory, call, "tag?", max_tokens=100) == ""
    agent = create_agent(
        ScriptedChatModel(), [], system_prompt="long " * 500, middleware=[memory.middleware(max_tokens=100)]
    )
    with pytest.raises(BudgetError):  # here it is not what is known that has no room
        await call(agent.invoke, {"messages": [("user", "tag?")]}, config())


async def test_of_a_long_field_it_tells_what_was_set_last(memory, call):
    memory.profiles.save(UserProfile(user_id=ALICE, name="Alice"))
    for number in range(60):
        memory.profiles.update_preference(ALICE, f"preference {number}", "x" * 70)
    memory.profiles.add_fact(ALICE, "Sails")
    known = data(await told(memory, call, "Hello"))
    assert known["facts"] == ["Sails"]
    assert known["profile"]["name"] == "Alice"
    assert 10 < len(known["profile"]["preferences"]) < 60
    assert "preference 59" in known["profile"]["preferences"]


async def test_a_text_that_was_cut_says_so(memory, call):
    memory.memories.save(ALICE, "zebra " * 90 + "at the end")
    memory.memories.save(ALICE, "a short one")
    (short, long) = sorted(data(await told(memory, call, "zebra?"))["memories"], key=len)
    assert short == "a short one"
    assert len(long) == 500
    assert long.endswith("…")


async def test_half_of_a_surrogate_pair_in_a_question_is_no_reason_to_fail(memory, call):
    memory.profiles.add_fact(ALICE, "Sails")
    assert data(await told(memory, call, "I sail \ud83d"))["facts"] == ["Sails"]


@pytest.mark.parametrize("named", [{"checkpoint_ns": None}, {"checkpoint_ns": ""}, {}])
def test_a_thread_without_a_checkpoint_namespace_keeps_its_text(memory, named):
    prefixes = memory.middleware(ScriptedChatModel())._prefixes
    memory.profiles.add_fact("alice", "likes pizza")
    messages = [HumanMessage("What do I like?")]
    first = run(prefixes.told("alice", messages, {"configurable": {"thread_id": "1"}}))
    assert first.prefix["facts"]
    assert run(prefixes.told("alice", messages, {"configurable": {"thread_id": "1", **named}})).prefix == first.prefix
    assert len(prefixes._told) == 1
