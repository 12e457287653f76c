"""Chat history: what a chain is given is bounded, fit to be sent to a provider, and what is stored is not touched."""

from __future__ import annotations

import uuid
from typing import Any

from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from identity import without_ids
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_agentmem import AgentMemHistory, AgentMemory


class Window:
    """`messages` and `aget_messages` as a pair of methods, for `call`."""

    def __init__(self, history: AgentMemHistory) -> None:
        self.history = history

    def read(self) -> list[BaseMessage]:
        return self.history.messages

    async def aread(self) -> list[BaseMessage]:
        return await self.history.aget_messages()


def calling(*ids: str, content: str = "") -> AIMessage:
    return AIMessage(content, tool_calls=[{"name": "f", "args": {}, "id": one} for one in ids])


@st.composite
def conversations(draw: Any) -> list[BaseMessage]:
    messages: list[BaseMessage] = []
    for turn in range(draw(st.integers(1, 8))):
        if draw(st.integers(0, 4)) == 0:
            messages.append(SystemMessage(f"system {turn}"))
        messages.append(HumanMessage(f"question {turn}"))
        for round_ in range(draw(st.integers(0, 2))):
            ids = [f"{turn}-{round_}-{n}" for n in range(draw(st.integers(1, 3)))]
            messages.append(calling(*ids))
            messages.extend(ToolMessage("result", tool_call_id=one) for one in draw(st.permutations(ids)))
        messages.append(AIMessage(f"answer {turn}"))
    return messages


@settings(deadline=None, max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(conversation=conversations(), data=st.data())
async def test_a_window_holds_the_newest_messages_that_fit_and_make_a_valid_request(memory, call, conversation, data):
    n = data.draw(st.integers(1, len(conversation) + 2), label="max_messages")
    session = str(uuid.uuid4())
    history = memory.history(session, max_messages=n)
    await call(history.add_messages, conversation)
    window = without_ids(await call(Window(history).read))

    assert len(window) <= n
    systems = [message for message in conversation if isinstance(message, SystemMessage)]
    number = sum(isinstance(message, SystemMessage) for message in window)
    kept = window[number:]
    assert all(isinstance(message, SystemMessage) for message in window[:number])
    assert not systems or window[number - 1] == systems[-1]
    assert not kept or isinstance(kept[0], HumanMessage)
    places = [conversation.index(message) for message in kept]
    assert places == sorted(places)
    called: set[str] = set()
    for message in kept:
        if isinstance(message, ToolMessage):
            called.remove(message.tool_call_id)
            continue
        assert not called
        if isinstance(message, AIMessage):
            called.update(one["id"] for one in message.tool_calls)
    assert not called
    last = max(at for at, message in enumerate(conversation) if isinstance(message, HumanMessage))
    assert number == n or conversation[last] in kept
    if len(conversation) <= n:
        assert len(window) == len(conversation)

    assert await call(history.count) == len(conversation)
    assert without_ids(await call(memory.history(session).get_recent, 1000)) == conversation


async def test_a_window_without_a_limit_is_the_whole_conversation(memory, call):
    conversation = [HumanMessage(str(n)) for n in range(500)]
    history = memory.history("s")
    await call(history.add_messages, conversation)
    assert without_ids(await call(Window(history).read)) == conversation


async def test_a_call_that_is_cut_off_takes_all_its_results_with_it(memory, call):
    conversation = [
        HumanMessage("q"),
        calling("1", "2"),
        ToolMessage("b", tool_call_id="2"),
        ToolMessage("a", tool_call_id="1"),
        AIMessage("answer"),
    ]
    await call(memory.history("s").add_messages, conversation)
    for n, expected in ((5, conversation), (4, [conversation[0], conversation[-1]]), (1, conversation[:1])):
        assert without_ids(await call(Window(memory.history("s", max_messages=n)).read)) == expected


async def test_calls_with_invalid_arguments_keep_their_results(memory, call):
    invalid = AIMessage("", invalid_tool_calls=[{"name": "f", "args": "{", "id": "1", "error": "bad"}])
    result = ToolMessage("error", tool_call_id="1", status="error")
    await call(memory.history("s").add_messages, [invalid, result])
    asked, answered = await call(Window(memory.history("s", max_messages=2)).read)
    assert asked.tool_calls == [{"name": "f", "args": {"invalid_json": "{"}, "id": "1", "type": "tool_call"}]
    assert without_ids(answered) == result


async def test_the_newest_system_message_stays_however_old_it_is(memory, call):
    system = SystemMessage("new rules")
    conversation = [SystemMessage("old rules"), HumanMessage("a"), system, *(AIMessage(str(n)) for n in range(100))]
    await call(memory.history("s").add_messages, conversation)
    assert without_ids(await call(Window(memory.history("s", max_messages=3)).read)) == [
        system,
        HumanMessage("a"),
        conversation[-1],
    ]
    assert without_ids(await call(Window(memory.history("s", max_messages=1)).read)) == [system]


async def test_a_question_far_before_the_window_is_found_and_a_session_without_one_stays(memory, call):
    steps = [one for n in range(60) for one in (calling(str(n)), ToolMessage("r", tool_call_id=str(n)))]
    conversation = [HumanMessage("older"), AIMessage("a"), HumanMessage("q"), *steps]
    await call(memory.history("s").add_messages, conversation)
    assert without_ids(await call(Window(memory.history("s", max_messages=7)).read)) == [
        conversation[2],
        *conversation[-6:],
    ]
    short = without_ids(await call(Window(memory.history("s", max_tokens=100)).read))
    assert (short[0], short[-1]) == (conversation[2], conversation[-1])
    await call(memory.history("drafts").add_messages, [AIMessage(str(n)) for n in range(9)])
    drafts = await call(Window(memory.history("drafts", max_messages=2)).read)
    assert without_ids(drafts) == [AIMessage("7"), AIMessage("8")]


async def test_the_windows_size_can_be_set_for_the_memory_and_for_one_history(url, call):
    with AgentMemory.from_url(url, max_messages=2) as memory:
        conversation = [HumanMessage(str(n)) for n in range(5)]
        await call(memory.history("s").add_messages, conversation)
        assert without_ids(await call(Window(memory.history("s")).read)) == conversation[-2:]
        assert without_ids(await call(Window(memory.get_session_history("s")).read)) == conversation[-2:]
        assert without_ids(await call(Window(memory.history("s", max_messages=4)).read)) == conversation[-4:]
        assert without_ids(await call(Window(memory.session_history(max_messages=3)("s")).read)) == conversation[-3:]
        assert without_ids(await call(memory.history("s").get_recent, 5)) == conversation


async def test_the_window_of_an_agent_counts_its_own_messages_only(memory, call):
    rules = SystemMessage("rules for the writer")
    await call(memory.history("s", agent="writer").add_messages, [rules, HumanMessage("w1")])
    await call(memory.history("s", agent="critic").add_messages, [SystemMessage("rules for the critic")])
    for n in range(10):
        await call(memory.history("s", agent="critic").add_messages, [HumanMessage(f"c{n}")])
    await call(memory.history("s", agent="writer").add_messages, [HumanMessage("w2"), HumanMessage("w3")])
    writer = memory.history("s", agent="writer", max_messages=3)
    assert without_ids(await call(Window(writer).read)) == [rules, HumanMessage("w2"), HumanMessage("w3")]


async def test_what_a_turn_was_given_stays_the_same_until_the_turn_is_stored(memory, call):
    turn = memory.get_session_history("s")
    assert await call(Window(turn).read) == []
    await call(memory.history("s").add_messages, [HumanMessage("other")])
    assert await call(Window(turn).read) == []
    await call(turn.add_messages, [HumanMessage("mine")])
    assert without_ids(await call(Window(turn).read)) == [HumanMessage("other"), HumanMessage("mine")]


async def test_a_streamed_answer_is_the_assistants(memory, call):
    history = memory.history("s")
    await call(
        history.add_messages, [HumanMessage("Where is the bird?"), AIMessageChunk("The parrot sits in the tree.")]
    )
    assert [entry.role for entry in await call(history.stored)] == ["human", "ai"]
    assert [entry.position for entry in await call(history.search, "parrot", role="ai")] == [1]
    assert [message.type for message in await call(Window(history).read)] == ["human", "ai"]
