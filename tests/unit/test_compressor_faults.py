"""What a compressor does when things go wrong, or are odd."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool

from langchain_agentmem import AgentMemory, BudgetError, InvalidInputError, InvalidTypeError, MemoryCompressor
from langchain_agentmem.compression import claims
from langchain_agentmem.compression.records import Record
from langchain_agentmem.messages.tokens import TokenCounter


def turns(number: int, first: int = 0) -> list[BaseMessage]:
    spoken = range(first, first + number)
    return [one for at in spoken for one in (HumanMessage(f"question {at}"), AIMessage(f"answer {at}"))]


async def test_more_conversations_at_once_than_are_remembered():
    calls: list[int] = []

    async def summarise(request: list[BaseMessage]) -> str:
        calls.append(1)
        await asyncio.sleep(0.01)
        return "ok"

    compressor = MemoryCompressor(RunnableLambda(lambda request: "ok", summarise), max_messages=6)
    conversations = [[HumanMessage(f"conversation {number}"), *turns(5)] for number in range(1_200)]
    found = await compressor.abatch(conversations)
    assert all("ok" in one[0].text for one in found)
    assert len(calls) == 1_200


@pytest.mark.parametrize("thread", [{}, {"thread_id": "thread-1"}])
def test_a_conversation_that_fits_without_its_opening_is_summarised_once(thread):
    calls: list[int] = []
    counter = TokenCounter()
    answers: list[BaseMessage] = [AIMessage(f"answer {number} " * 9) for number in range(6)]
    with AgentMemory.from_url("sqlite:///:memory:") as memory:
        compressor = memory.compressor(
            lambda request: calls.append(1) or "ok", max_tokens=counter.messages(answers), token_counter=counter
        )
        for _ in range(2):
            request = compressor.invoke(answers, {"configurable": thread})
            assert "ok" in request[0].text
            assert len(calls) == 1


def test_a_conversation_without_a_message_of_the_user_begins_with_one_in_its_place():
    answers: list[BaseMessage] = [AIMessage("Hello! How can I help?"), AIMessage("I wait.")]
    compressor = MemoryCompressor(max_tokens=2_000)
    request = compressor.invoke([SystemMessage("Be kind."), *answers])
    assert [one.type for one in request] == ["system", "human", "ai", "ai"]
    assert request[2:] == answers
    assert compressor.invoke(request) == request


def test_a_trigger_below_the_tokens_of_the_tools_compacts_every_request():
    @tool
    def look_up(query: str) -> str:
        """Look up orders, customers, deliveries, invoices and reminders of all departments."""
        return query

    calls: list[int] = []
    compressor = MemoryCompressor(
        lambda request: calls.append(1) or "ok", max_tokens=2_000, trigger=("tokens", 32), tools=[look_up]
    )
    assert [one.text for one in compressor.invoke(turns(3))[1:]] == ["question 2", "answer 2"]
    assert calls == [1]


def test_conversations_that_begin_alike_pay_once_each():
    calls: list[int] = []
    compressor = MemoryCompressor(lambda request: calls.append(1) or "ok", max_messages=8)
    spoken = {user: [HumanMessage("Hi"), AIMessage("Hello!")] for user in "abcdefgh"}
    for turn in range(12):
        for user, conversation in spoken.items():
            conversation += [HumanMessage(f"{user} says {turn}"), AIMessage("yes")]
            compressor.invoke(conversation)
    assert len(calls) <= 8 * 5


@pytest.mark.parametrize("character", ["<", '"', "\\", "a\n", "字"])
def test_nothing_is_lost_when_the_summary_is_longer_in_quotes(character):
    shown: list[str] = []

    def summarise(request: list[BaseMessage]) -> str:
        shown.append(str(request[-1].content))
        return character * 5_000

    compressor = MemoryCompressor(
        summarise, max_tokens=2_000, keep_recent=1_400, token_counter=count_tokens_approximately
    )
    conversation: list[BaseMessage] = []
    for turn in range(120):
        conversation += [HumanMessage(f"#{turn}# " + "word " * 30), AIMessage(f"answer #{turn}a# " + "word " * 30)]
        result = compressor.invoke(conversation)
        assert count_tokens_approximately(result) <= 2_000
        kept = " ".join(str(message.content) for message in result)
        told = " ".join(shown)
        assert all(f"#{at}# " in told or f"#{at}# " in kept for at in range(turn + 1))
    assert all(event.error is None for event in compressor.events)
    assert len(shown) <= 40


def fails(shown: list[Any]) -> Any:
    """A model that notes what it is shown, and then fails."""

    def model(request: list[BaseMessage]) -> str:
        shown.append(request)
        msg = "overloaded"
        raise RuntimeError(msg)

    return model


def test_a_summary_of_a_larger_budget_is_cut_for_a_smaller_one():
    processes = MemoryCompressor(lambda request: "A long story. " * 200, max_tokens=4_000, summary_tokens=1_900)
    conversation = [one for at in range(200) for one in (HumanMessage(f"q {at} " + "w " * 40), AIMessage("a"))]
    processes.invoke(conversation)
    assert processes.invoke(conversation)[0].text.count("A long story.") > 190
    shown = []
    small = MemoryCompressor(fails(shown), max_tokens=500)
    small.engine.in_process, small.engine.coverage = processes.engine.in_process, processes.engine.coverage
    result = small.invoke(conversation)  # what is left out is not summarised now, so the summary stays the former one
    assert len(shown) == 1
    assert small.counter.messages(result) <= 500
    assert 5 < result[0].text.count("A long story.") < 50
    assert result[0].text.endswith(' […]"</data>')
    assert [message.text for message in result[-2:]] == [message.text for message in conversation[-2:]]


def test_a_counter_that_counts_more_for_all_than_for_each():
    def count(messages: list[BaseMessage]) -> int:
        return sum(len(str(message.content)) for message in messages) // 4

    compressor = MemoryCompressor(lambda request: "ok", max_tokens=60, token_counter=count)
    conversation = [one for _ in range(30) for one in (HumanMessage("1234567"), AIMessage("1234567"))]
    assert count(compressor.invoke(conversation)) <= 60


@pytest.mark.parametrize("answer", ["{}", "[1]", '{"topics": ["x"]}', '```json\n{"summary": ""}\n```', ""])
def test_an_answer_without_a_summary_changes_nothing(answer, caplog):
    answers = iter(["A fact.", answer])
    compressor = MemoryCompressor(lambda request: next(answers), max_messages=6, structured=True)
    compressor.invoke(turns(10))
    with caplog.at_level(logging.WARNING):
        result = compressor.invoke(turns(20))
    assert "A fact." in result[0].text
    assert "holds no summary" in (compressor.events[-1].error or "")


def test_odd_arguments_of_calls_and_odd_answers_cost_one_call():
    calls: list[int] = []
    compressor = MemoryCompressor(lambda request: calls.append(1) or "half \ud800 a pair", max_messages=6)
    odd = AIMessage("", tool_calls=[{"name": "f", "args": {"x": {1: 2, "a": 3, (4, 5): {6}}}, "id": "1"}])
    conversation = [HumanMessage("hi"), odd, ToolMessage("ok", tool_call_id="1"), *turns(10)]
    for _ in range(3):
        assert "half" in compressor.invoke(conversation)[0].text
    assert len(calls) == 1


def test_messages_among_others_in_the_middle_of_a_list():
    result = MemoryCompressor(max_messages=6).invoke([HumanMessage("a"), ("ai", "b"), HumanMessage("c")])
    assert [message.text for message in result] == ["a", "b", "c"]
    long = [*turns(10), ("human", "in the middle"), {"role": "assistant", "content": "yes"}, *turns(1, 10)]
    assert all(isinstance(message, BaseMessage) for message in MemoryCompressor(max_messages=6).invoke(long))


def test_a_past_in_many_parts_survives_single_failures():
    calls: list[int] = []

    def summarise(request: list[BaseMessage]) -> str:
        calls.append(1)
        if len(calls) % 3 == 0:
            raise RuntimeError("overloaded")
        return "ok"

    compressor = MemoryCompressor(
        summarise, max_tokens=1_000, input_tokens=500, token_counter=count_tokens_approximately
    )
    result = compressor.invoke([HumanMessage("word " * 20_000), *turns(3)])
    assert '"ok"' in result[0].text
    assert compressor.events[-1].error is None


def test_a_turn_begins_no_call_after_its_time_and_the_next_goes_on(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(claims.time, "monotonic", lambda: clock[0])
    shown: list[str] = []

    def summarise(request: list[BaseMessage]) -> str:
        shown.append(str(request[-1].content))
        clock[0] += 10
        return "ok"

    compressor = MemoryCompressor(
        summarise, max_tokens=1_000, input_tokens=500, time_limit=25, token_counter=count_tokens_approximately
    )
    conversation = [HumanMessage(f"#{at}# " + "word " * 100) for at in range(60)]
    compressor.invoke(conversation)
    assert len(shown) == 3
    assert "The next turn continues it" in (compressor.events[-1].error or "")
    for _ in range(8):
        compressor.invoke(conversation)
    assert all(" ".join(shown).count(f"#{at}# ") == 1 for at in range(40))


def test_a_claim_is_believed_until_it_was_abandoned_here():
    record = Record(claim=7, until=2e10)
    assert claims.is_claimed(record)
    assert not claims.is_claimed(record._replace(until=1.0))
    claims._abandoned.append(7)
    assert not claims.is_claimed(record)
    claims._abandoned.clear()


def test_what_is_told_may_fail(caplog):
    def broken(event: Any) -> None:
        raise ZeroDivisionError

    compressor = MemoryCompressor(lambda request: "ok", max_messages=6, on_event=broken)
    with caplog.at_level(logging.ERROR):
        assert "ok" in compressor.invoke(turns(10))[0].text
    assert "on_event failed" in caplog.text


def test_tools_that_leave_no_room_are_named():
    @tool
    def look(query: str) -> str:
        """Look something up. It has a very long description that counts many tokens, as those of tools often do."""
        return query

    with pytest.raises(BudgetError, match="Tools and other parts of the request"):
        MemoryCompressor(max_tokens=40, tools=[look] * 5).invoke([HumanMessage("hi")])


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"summary_tokens": 0}, InvalidInputError, "summary_tokens"),
        ({"summary_tokens": "x"}, InvalidTypeError, "summary_tokens"),
        ({"max_tokens": 100, "summary_tokens": 90}, InvalidInputError, "more than half"),
        ({"keep_recent": 8}, InvalidInputError, "leaves no room"),
        ({"time_limit": 0}, InvalidInputError, "time_limit"),
        ({"time_limit": float("inf")}, InvalidInputError, "time_limit"),
        ({"time_limit": "60"}, InvalidTypeError, "time_limit"),
        ({"instructions": 5}, InvalidTypeError, "instructions"),
        ({"language": "klingon"}, Exception, "klingon"),
        ({"model": 42}, InvalidTypeError, "model must be"),
        ({"input_tokens": 0}, InvalidInputError, "input_tokens"),
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments, error, match):
    with pytest.raises(error, match=match):
        MemoryCompressor(**{"max_messages": 8, **arguments})


def test_a_long_conversation_at_once_is_not_slow_for_its_length():
    compressor = MemoryCompressor(lambda request: "ok", max_tokens=4_000, token_counter=count_tokens_approximately)
    conversation = [SystemMessage("rules"), *turns(5_000)]
    result = compressor.invoke(conversation)
    assert result[0].text == "rules"
    assert count_tokens_approximately(result) <= 4_000
    assert compressor.events[-1].folded > 9_000


def test_json_is_read_among_other_words():
    said = {"summary": "A trip.", "topics": ["x" * 60, 3, None, {"a": 1}], "decisions": "none"}
    compressor = MemoryCompressor(lambda request: f"Here: {json.dumps(said)} Done.", max_messages=6, structured=True)
    text = compressor.invoke(turns(10))[0].text
    assert "A trip." in text
    assert "xxx" in text


class Streaming(BaseChatModel):
    """Answers only asynchronously."""

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    @property
    def _llm_type(self) -> str:
        return "streaming"


def test_an_error_of_the_model_is_not_lost():
    compressor = MemoryCompressor(Streaming(), max_messages=6)
    compressor.invoke(turns(10))
    assert "NotImplementedError" in (compressor.events[-1].error or "")
