"""The requests that an agent's middleware sends to a model: within the budget, with a stable beginning, and repeatable."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import wrap_model_call
from langchain.agents.structured_output import AutoStrategy, ProviderStrategy, ToolStrategy
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field, create_model

from langchain_agentmem import InvalidInputError, InvalidTypeError
from langchain_agentmem.messages.tokens import TokenCounter
from langchain_agentmem.testing import ScriptedChatModel

FIELDS = {
    f"field_{n}": (str, Field(description=f"Everything about subject number {n}, in full sentences")) for n in range(40)
}
Report: Any = create_model("Report", **FIELDS)  # type: ignore[call-overload]


class Continued(ScriptedChatModel):
    """A model whose script can be continued."""

    def then(self, *answers: str | AIMessage | Exception) -> None:
        """Add answers to the script."""
        self._answers += [AIMessage(one) if isinstance(one, str) else one for one in answers]


def talk(turns: int) -> list[BaseMessage]:
    return [
        one
        for number in range(turns)
        for one in (
            HumanMessage(f"Question {number}: " + "what of it? " * 8),
            AIMessage(f"Answer {number}: " + "so. " * 8),
        )
    ]


@pytest.mark.parametrize("strategy", [ToolStrategy, ProviderStrategy, AutoStrategy, lambda schema: schema])
async def test_schemas_of_the_response_format_count_in_the_budget(memory, call, strategy):
    counter, budget = TokenCounter(), 3_000
    answer = AIMessage("", tool_calls=[{"name": "Report", "args": dict.fromkeys(FIELDS, "x"), "id": "1"}])
    if strategy is ProviderStrategy:
        answer = AIMessage(Report(**dict.fromkeys(FIELDS, "x")).model_dump_json())
    model = Continued([answer])
    compressor = memory.compressor(max_tokens=budget)
    agent = create_agent(model, [], response_format=strategy(Report), middleware=[compressor.as_middleware()])
    given = {"messages": [*talk(60), HumanMessage("Report, please")]}
    state = await call(agent.invoke, given)
    schema = counter.tools([convert_to_openai_tool(Report)])
    assert 1_000 < schema < budget
    assert counter.messages(model.requests[0]) + schema <= budget
    assert isinstance(state["structured_response"], Report)


# The beginning of a request


def config(thread: str = "t", user: str = "alice") -> Any:
    return {"configurable": {"user_id": user, "thread_id": thread}}


async def ask(call: Any, agent: Any, question: str, **names: str) -> Any:
    return await call(agent.invoke, {"messages": [HumanMessage(question)]}, config(**names))


def told(request: list[BaseMessage]) -> str:
    return "\n".join(str(message.text) for message in request)


async def test_the_text_after_the_system_message_stays_the_same_within_a_thread(memory, call):
    for fact in ("Hikes in the Alps", "Cooks pasta on Fridays", "Owns a red bicycle", "Plays chess", "Studies Greek"):
        await call(memory.profiles.add_fact, "alice", fact)
    model = ScriptedChatModel(["Yes."] * 4)
    middleware = memory.middleware(facts=2)
    agent = create_agent(model, [], system_prompt="Help.", checkpointer=memory.checkpointer, middleware=[middleware])
    for question in ("Where to go?", "Which bicycle?"):
        await ask(call, agent, question)
    await call(memory.profiles.add_fact, "alice", "Paints the fence")
    state = await ask(call, agent, "What of the fence?")
    first, second, third = model.requests
    assert first[0] == second[0] == third[0]
    assert "Studies Greek" in first[0].text
    assert "red bicycle" not in str(second[0].text)
    assert "red bicycle" in str(second[-1].text)
    assert "Paints the fence" in str(third[-1].text)
    # Earlier turns are sent as they are in the transcript.
    assert [message.text for message in third[1:5]] == [message.text for message in state["messages"][:4]]
    assert "What is known" not in told(state["messages"])


async def test_what_was_forgotten_is_told_in_no_later_turn(memory, call):
    old = await call(memory.profiles.add_fact, "alice", "Lives in Ghent")
    saved = await call(memory.memories.save, "alice", "Wants short answers")
    await call(memory.profiles.update_preference, "alice", "colour", "blue")
    model = ScriptedChatModel(["Yes."] * 3)
    agent = create_agent(model, [], checkpointer=memory.checkpointer, middleware=[memory.middleware()])
    await ask(call, agent, "Hello?")
    assert all(one in told(model.requests[0]) for one in ("Ghent", "short answers", "blue"))
    await call(memory.profiles.forget_fact, "alice", old.id)
    await call(memory.memories.forget, "alice", saved.id)
    await call(memory.profiles.update_preference, "alice", "colour", "green")
    await ask(call, agent, "Hello again?")
    assert not any(one in told(model.requests[1]) for one in ("Ghent", "short answers", "blue"))
    assert "green" in told(model.requests[1])


async def test_threads_and_users_are_told_their_own(memory, call):
    await call(memory.profiles.add_fact, "alice", "Plays chess")
    await call(memory.profiles.add_fact, "bob", "Sails")
    model = ScriptedChatModel(["Yes."] * 3)
    agent = create_agent(model, [], middleware=[memory.middleware()])
    for thread, user in (("1", "alice"), ("1", "bob"), ("2", "alice")):
        await ask(call, agent, "Hello?", thread=thread, user=user)
    assert [("chess" in told(one), "Sails" in told(one)) for one in model.requests] == [
        (True, False),
        (False, True),
        (True, False),
    ]


# Shortened results


LONG = "begin " + "word " * 600 + "needle " + "word " * 600 + "end"


@tool
def look(query: str) -> str:
    """Look something up."""
    return f"{query}: {LONG}"


def calling(name: str, number: int, **args: Any) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": f"{name}{number}"}])


async def looked_up(memory: Any, call: Any, middleware: Any, turns: int, *further: Any) -> tuple[Any, Any]:
    answers = [
        one for number in range(turns) for one in (calling("look", number, query=f"q{number}"), f"Found {number}.")
    ]
    model = Continued([*answers, *further])
    agent = create_agent(model, [look], checkpointer=memory.checkpointer, middleware=[middleware])
    for number in range(turns):
        await ask(call, agent, f"Look up {number}.")
    return model, agent


@pytest.mark.parametrize("kind", ["compressor", "middleware"])
async def test_old_results_are_shortened_before_anything_is_summarised(memory, call, kind):
    summaries = ScriptedChatModel(["A summary."] * 5)
    compressor = memory.compressor(summaries, max_tokens=5_000)
    own = compressor.as_middleware() if kind == "compressor" else memory.middleware(compressor=compressor)
    model, agent = await looked_up(memory, call, own, 6)
    assert summaries.requests == []
    last = model.requests[-1]
    assert compressor.counter.messages(last) <= 5_000
    results = [str(one.text) for one in last if isinstance(one, ToolMessage)]
    assert len(results) == 6
    assert [len(one) < 1_000 for one in results] == [True] * 3 + [False] * 3  # since the request outgrew its budget
    assert all(one.endswith("end") for one in results)
    stored = (await call(agent.get_state, config())).values["messages"]
    assert [str(one.text).count("needle") for one in stored if isinstance(one, ToolMessage)] == [1] * 6


async def test_the_beginning_of_requests_stays_the_same_for_several_turns(memory, call):
    compressor = memory.compressor(ScriptedChatModel(["A summary."]), max_tokens=9_000)
    model, _ = await looked_up(memory, call, compressor.as_middleware(), 12)
    changes = 0
    for former, latter in pairwise(model.requests):
        changes += [one.text for one in former] != [one.text for one in latter[: len(former)]]
    assert 0 < changes <= 4


async def test_a_shortened_result_is_read_back(memory, call):
    middleware = memory.middleware(max_tokens=6_000, context_tools=True)
    assert {"read_stored_result", "compact_conversation"} <= {one.name for one in middleware.tools}
    model, agent = await looked_up(memory, call, middleware, 6, "Wait.")
    await ask(call, agent, "Wait.")
    first = next(one for one in model.requests[-1] if isinstance(one, ToolMessage))
    (found,) = re.findall(r'read_stored_result\("(\w+)"\)', str(first.text))
    model.then(calling("read_stored_result", 1, result_id=found), "It is a needle.")
    await ask(call, agent, "What is in the first one?")
    read = model.requests[-1][-1]
    assert isinstance(read, ToolMessage)
    assert read.text == f"q0: {LONG}"


async def test_summarised_messages_are_found_by_their_words(memory, call):
    compressor = memory.compressor(ScriptedChatModel(["They spoke."] * 9), max_tokens=2_000)
    model = Continued(["Noted."] * 12)
    middleware = memory.middleware(compressor=compressor, context_tools=True)
    agent = create_agent(model, [], checkpointer=memory.checkpointer, middleware=[middleware])
    for number in range(12):
        await ask(call, agent, f"The code of item {number} is K-{number}11. " + "So it is. " * 60)
    assert "K-311" not in told(model.requests[-1])
    assert 'read_stored_result("conversation", find="…")' in told(model.requests[-1])
    find = {"result_id": "conversation", "find": "code of item 3"}
    model.then(calling("read_stored_result", 1, **find), "K-311.")
    await ask(call, agent, "What is the code of item 3?")
    assert "The code of item 3 is K-311." in str(model.requests[-1][-1].text)
    assert len(str(model.requests[-1][-1].text)) < 6_000
    model.then(calling("read_stored_result", 2, result_id="conversation", find="zebra"), "Nothing.")
    await ask(call, agent, "What of the zebra?")
    assert "Try other words" in str(model.requests[-1][-1].text)
    model.then(calling("read_stored_result", 3, result_id="conversation"), "All.")
    await ask(call, agent, "Read all of it.")
    assert str(model.requests[-1][-1].text).startswith("human: The code of item 0 is K-011.")


async def test_a_picture_in_an_old_result_is_described_in_one_line_and_read_back(memory, call):
    picture = {"type": "image", "base64": "iVBORw0KGgo=" * 900, "mime_type": "image/png"}

    @tool
    def photograph(query: str) -> list[Any]:
        """Take a photograph."""
        return [{"type": "text", "text": f"Taken: {query}"}, picture]

    middleware = memory.middleware(max_tokens=5_000, context_tools=True)
    answers = [one for number in range(4) for one in (calling("photograph", number, query=f"q{number}"), "Taken.")]
    model = Continued([*answers, "Wait."])
    agent = create_agent(model, [photograph], checkpointer=memory.checkpointer, middleware=[middleware])
    for question in ("One.", "Two.", "Three.", "Four.", "Wait."):
        await ask(call, agent, question)
    first, *_, last = [one.content for one in model.requests[-1] if isinstance(one, ToolMessage)]
    assert last[1] == picture
    assert first[0]["text"] == "Taken: q0"
    (found,) = re.findall(r'^\[image left out; read_stored_result\("(\w+)"\) returns it in full\]$', first[1]["text"])
    model.then(calling("read_stored_result", 1, result_id=found), "It is a tower.")
    await ask(call, agent, "What is in the first one?")
    assert model.requests[-1][-1].content == [{"type": "text", "text": "Taken: q0"}, picture]


async def test_an_unknown_result_is_reported_to_the_model(memory, call):
    model = Continued([calling("read_stored_result", 1, result_id="nothing"), "There is none."])
    agent = create_agent(model, [], middleware=[memory.compressor(max_tokens=5_000).as_middleware(tools=True)])
    await ask(call, agent, "Read it.")
    assert "no stored result" in str(model.requests[1][-1].text)


@pytest.mark.parametrize("signed", [False, True])
async def test_long_arguments_are_shortened_unless_the_provider_verifies_the_message(memory, call, signed):
    block = {"type": "tool_use", "id": "1", "name": "look", "input": {"query": LONG, "n": 3}}
    content: Any = [{"type": "thinking", "thinking": "Hm.", "signature": "s"}, block] if signed else [block]
    turn = [
        HumanMessage("Go."),
        AIMessage(content, tool_calls=[{"name": "look", "args": {"query": LONG, "n": 3}, "id": "1"}]),
        ToolMessage("ok", tool_call_id="1"),
        AIMessage("Done."),
    ]
    summaries = ScriptedChatModel(["A summary."] * 9)
    compressor = memory.compressor(summaries, max_tokens=7_000)
    sent = await call(compressor.invoke, turn * 8)
    assert compressor.counter.messages(sent) <= 7_000
    assert bool(summaries.requests) is signed
    found = [one for one in sent if isinstance(one, AIMessage) and one.tool_calls]
    queries = [one.tool_calls[0]["args"]["query"] for one in found]
    assert [one.content[-1]["input"]["query"] for one in found] == queries
    assert all(one.tool_calls[0]["args"]["n"] == 3 for one in found)
    assert ("left out" in queries[0]) is not signed
    assert queries[-1] == LONG


# Compaction


async def test_the_agent_compacts_the_conversation(memory, call):
    summaries = ScriptedChatModel(["Alice likes pizza."])
    compressor = memory.compressor(summaries, max_tokens=20_000)
    model = Continued(["One.", "Two.", calling("compact_conversation", 1), "Done.", "Yes."])
    middleware = compressor.as_middleware(tools=True)
    agent = create_agent(model, [], checkpointer=memory.checkpointer, middleware=[middleware])
    for question in ("I like pizza.", "And pasta.", "Now compact.", "What do I like?"):
        state = await ask(call, agent, question)
    assert len(summaries.requests) == 1
    compacted, later = model.requests[3:]
    for request in (compacted, later):
        assert "Alice likes pizza." in str(request[0].text)
        assert "And pasta." not in told(request[1:])
    assert [one.type for one in compacted] == ["human", "human", "ai", "tool"]
    assert later[-1].text == "What do I like?"
    assert state["messages"][0].text == "I like pizza."


OVERFLOW = ContextOverflowError("prompt is too long")


async def test_a_refused_request_is_compacted_and_sent_once_more(memory, call):
    summaries = ScriptedChatModel(["A summary."] * 3)
    compressor = memory.compressor(summaries, max_tokens=50_000)
    model = Continued([OVERFLOW, "Yes.", "Again."])
    agent = create_agent(model, [], checkpointer=memory.checkpointer, middleware=[compressor.as_middleware()])
    given = {"messages": [*talk(60), HumanMessage("Well?")]}
    state = await call(agent.invoke, given, config())
    refused, accepted = model.requests
    count = compressor.counter.messages
    assert count(accepted) <= count(refused) // 2
    assert "A summary." in str(accepted[0].text)
    assert len(state["messages"]) == 122
    # The thread keeps the smaller limit, and the summary is not written again.
    await ask(call, agent, "And now?")
    assert count(model.requests[2]) <= count(refused) // 2
    assert len(summaries.requests) == 1


async def test_a_run_without_a_thread_keeps_no_smaller_limit(memory, call):
    compressor = memory.compressor(max_tokens=50_000)
    model = Continued([OVERFLOW, "Yes.", "Again."])
    agent = create_agent(model, [], middleware=[compressor.as_middleware()])
    given = {"messages": [*talk(60), HumanMessage("Well?")]}
    for _ in range(2):
        await call(agent.invoke, given)
    refused, accepted, later = map(compressor.counter.messages, model.requests)
    assert accepted <= refused // 2
    assert later == refused


class Named(Continued):
    """A model of a name."""

    model_name: str = "large"


async def test_the_smaller_limit_of_a_thread_is_that_of_one_model(memory, call):
    small, large = Named([OVERFLOW, "Yes.", "Again."], model_name="small"), Named(["Yes."])
    chosen: list[Named] = []

    @wrap_model_call
    async def choose(request, handler):
        return await handler(request.override(model=chosen[-1]))

    compressor = memory.compressor(max_tokens=50_000)
    agent = create_agent(small, [], middleware=[choose, compressor.as_middleware()])
    given = {"messages": [*talk(60), HumanMessage("Well?")]}
    for model in (small, large, small):
        chosen.append(model)
        await agent.ainvoke(given, config())
    refused, accepted, later = map(compressor.counter.messages, small.requests)
    (request,) = map(compressor.counter.messages, large.requests)
    assert max(accepted, later) <= refused // 2
    assert request == refused


async def test_a_second_refusal_and_other_errors_are_raised(memory, call):
    agent_of = lambda model: create_agent(  # noqa: E731
        model, [], middleware=[memory.compressor(max_tokens=50_000).as_middleware()]
    )
    model = Continued([OVERFLOW, OVERFLOW])
    with pytest.raises(ContextOverflowError):
        await call(agent_of(model).invoke, {"messages": talk(60)}, config())
    assert len(model.requests) == 2
    model = Continued([ValueError("other")])
    with pytest.raises(ValueError, match="other"):
        await call(agent_of(model).invoke, {"messages": talk(60)}, config())
    assert len(model.requests) == 1


@pytest.mark.parametrize(
    "trigger", [("tokens", 1_000), ("messages", 12), ("fraction", 0.25), [("messages", 90), ("tokens", 1_000)]]
)
@pytest.mark.parametrize("budget", [{}, {"max_tokens": 3_500}])
async def test_compaction_begins_at_the_trigger(memory, call, trigger, budget):
    model = ScriptedChatModel(["A summary."] * 5, profile={"max_input_tokens": 4_000})
    compressor = memory.compressor(model, trigger=trigger, **budget)
    messages = await call(compressor.invoke, talk(4))
    assert (len(messages), len(model.requests)) == (8, 0)
    messages = await call(compressor.invoke, talk(40))
    assert "A summary." in str(messages[0].text)
    assert len(messages) < 20
    assert compressor.counter.messages(messages) <= 1_000


@pytest.mark.parametrize(
    ("trigger", "match"),
    [
        (("tokens", 1), "trigger tokens"),
        (("words", 100), "unit of a trigger"),
        (("fraction", 2), "fraction of a trigger"),
        (("fraction", 0.5), "max_input_tokens"),
        ("tokens", "must be a pair"),
    ],
)
def test_triggers_are_checked(memory, trigger, match):
    with pytest.raises((InvalidInputError, InvalidTypeError), match=match):
        memory.compressor(max_tokens=1_000, trigger=trigger)
