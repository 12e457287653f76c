"""`windows.newest` and `newest_within`: what part of a conversation a model is given."""

from __future__ import annotations

from typing import Any

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_agentmem.messages import windows
from langchain_agentmem.messages.tokens import TokenCounter


def newest(messages: list[BaseMessage], limit: int | None) -> list[BaseMessage]:
    return windows.newest(messages, limit).messages


def calling(*ids: str) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": one} for one in ids])


def result(call_id: str) -> ToolMessage:
    return ToolMessage("r", tool_call_id=call_id)


@st.composite
def any_messages(draw: Any) -> list[BaseMessage]:
    """Messages in any order, fit for a provider or not."""
    kinds = draw(st.lists(st.sampled_from(["human", "ai", "system", "call", "calls", "result"]), max_size=25))
    messages: list[BaseMessage] = []
    for at, kind in enumerate(kinds):
        if kind == "human":
            messages.append(HumanMessage(str(at)))
        elif kind == "ai":
            messages.append(AIMessage(str(at)))
        elif kind == "system":
            messages.append(SystemMessage(str(at)))
        elif kind == "call":
            messages.append(calling(f"{draw(st.integers(0, 3))}"))
        elif kind == "calls":
            messages.append(calling("1", "2"))
        else:
            messages.append(ToolMessage(str(at), tool_call_id=str(draw(st.integers(0, 3)))))
    return messages


@settings(deadline=None, max_examples=examples(300))
@given(messages=any_messages(), limit=st.none() | st.integers(1, 30))
def test_a_window_is_bounded_ordered_and_holds_no_result_without_its_call(messages, limit):
    before = list(messages)
    window = newest(messages, limit)
    assert messages == before
    assert limit is None or len(window) <= limit
    number = sum(isinstance(message, SystemMessage) for message in window)
    assert all(isinstance(message, SystemMessage) for message in window[:number])
    called: list[str] = []
    for message in window[number:]:
        if isinstance(message, ToolMessage):
            called.remove(message.tool_call_id)
        elif isinstance(message, AIMessage):
            called = [one["id"] for one in message.tool_calls]


@settings(deadline=None, max_examples=examples(300))
@given(messages=any_messages(), limit=st.none() | st.integers(1, 30))
def test_a_window_leaves_out_no_text_of_its_turns(messages, limit):
    window = newest(messages, limit)
    systems = [message for message in messages if isinstance(message, SystemMessage)]
    assert not systems or any(message is systems[-1] for message in window)
    rest = [message for message in messages if not isinstance(message, SystemMessage)]
    first = next((at for at, one in enumerate(rest) if isinstance(one, HumanMessage)), None)
    if limit is None and first is not None and not any(isinstance(one, AIMessage) for one in rest[:first]):
        texts = [message.text for message in window]
        assert all(one.text in texts for one in rest[first:] if isinstance(one, HumanMessage))


@pytest.mark.parametrize("limit", [None, 1, 5])
def test_of_nothing_the_window_is_empty(limit):
    assert newest([], limit) == []


def test_the_newest_system_message_counts_and_comes_first():
    messages = [SystemMessage("a"), SystemMessage("b"), *(HumanMessage(str(n)) for n in range(5))]
    assert newest(messages, 3) == [SystemMessage("b"), HumanMessage("3"), HumanMessage("4")]
    assert newest(messages, 1) == [SystemMessage("b")]
    assert newest(messages, 6) == messages[1:]
    assert newest(messages, 7) == messages


def test_system_messages_come_first():
    messages = [HumanMessage("a"), SystemMessage("rules"), HumanMessage("b")]
    assert newest(messages, 2) == messages[1:]
    assert newest(messages, 3) == [messages[1], messages[0], messages[2]]


def test_parallel_results_whose_call_is_cut_off_all_go():
    messages = [HumanMessage("a"), calling("1", "2"), result("1"), result("2"), AIMessage("answer")]
    assert newest(messages, 5) == messages
    for limit in (2, 3, 4):
        assert newest(messages, limit) == [messages[0], AIMessage("answer")]


def test_a_system_message_that_takes_the_calls_place_takes_its_results_along():
    messages = [SystemMessage("rules"), HumanMessage("a"), calling("1"), result("1"), HumanMessage("b")]
    assert newest(messages, 5) == messages
    assert newest(messages, 3) == [SystemMessage("rules"), HumanMessage("b")]


def test_a_result_before_its_call_has_no_call():
    messages = [result("1"), calling("1"), HumanMessage("a")]
    assert newest(messages, None) == messages[2:]


def test_an_invalid_call_that_was_answered_becomes_valid():
    invalid = AIMessage("", invalid_tool_calls=[{"name": "f", "args": "{", "id": "1", "error": "e"}])
    call, answer = newest([invalid, result("1")], 2)
    assert call.tool_calls[0]["args"] == {"invalid_json": "{"}
    assert (call.invalid_tool_calls, answer) == ([], result("1"))


def test_an_open_call_at_the_end_stays():
    messages = [HumanMessage("a"), calling("1", "2"), result("1")]
    assert newest(messages, None) == messages
    assert newest([*messages, HumanMessage("b")], None)[1].tool_calls == calling("1").tool_calls


TEN_EACH = TokenCounter.of(lambda messages: sum(len(str(message.content)) + 10 for message in messages))


@settings(deadline=None, max_examples=examples(300))
@given(messages=any_messages(), limit=st.none() | st.integers(1, 30), most=st.integers(0, 300))
def test_a_window_of_tokens_is_never_over_its_budget(messages, limit, most):
    window = windows.newest_within(messages, limit, most, TEN_EACH).messages
    assert TEN_EACH.messages(window) <= most or not window
    assert limit is None or len(window) <= limit
    if most == 300 and TEN_EACH.messages(newest(messages, None)) < 150:
        assert window == newest(messages, limit)


def within(messages: list[BaseMessage], tokens: int) -> list[str]:
    return [message.text for message in windows.newest_within(messages, None, tokens, TEN_EACH).messages]


def test_a_system_message_that_does_not_fit_is_left_out():
    messages = [SystemMessage("rules " * 500), HumanMessage("a"), AIMessage("b")]
    assert within(messages, 30) == ["a", "b"]
    assert within(messages, 11) == ["a"]
    assert within(messages, 9) == []
    assert within([SystemMessage("rules"), *messages[1:]], 37) == ["rules", "a", "b"]


@pytest.mark.parametrize("at", [1, 3])
def test_a_message_larger_than_the_budget_is_truncated_and_hides_no_older_one(at):
    messages = [HumanMessage("I am Anna"), AIMessage("Hello"), HumanMessage("Who am I?"), AIMessage("Anna")]
    messages[at] = AIMessage("Once upon a time. " * 2000)
    texts = within(messages, 500)
    assert [text[:9] for text in texts] == [message.text[:9] for message in messages]
    assert "tokens left out" in texts[at]


def test_a_long_turn_keeps_its_question_and_its_newest_messages():
    messages = [HumanMessage("q"), *[one for n in range(9) for one in (calling(str(n)), result(str(n)))]]
    assert newest(messages, 5) == [messages[0], *messages[-4:]]
    assert newest(messages, 4) == [messages[0], *messages[-2:]]


def test_calls_with_equal_or_empty_ids_get_their_own():
    messages = [
        HumanMessage("q"),
        calling("x", "x", ""),
        result("x"),
        result("x"),
        ToolMessage("e", tool_call_id=""),
        calling("x"),
        result("x"),
    ]
    window = newest(messages, None)
    ids = [call["id"] for message in window if isinstance(message, AIMessage) for call in message.tool_calls]
    assert len({*ids, ""}) == 5
    assert [message.tool_call_id for message in window if isinstance(message, ToolMessage)] == ids
    assert [message.content for message in window] == [message.content for message in messages]


def test_calls_that_stand_only_in_the_content_are_calls():
    call = AIMessage([{"type": "tool_use", "id": "1", "name": "f", "input": {}}])
    assert newest([call, result("1")], 2) == [call, result("1")]


def test_signatures_of_gemini_follow_their_calls():
    call = calling("x", "y", "x")
    call = call.model_copy(update={"additional_kwargs": {"__gemini_function_call_thought_signatures__": {"y": "sig"}}})
    answer = newest([HumanMessage("q"), call, result("x"), result("y"), HumanMessage("b")], None)[1]
    assert [one["id"] for one in answer.tool_calls] == ["x", "y"]
    assert answer.additional_kwargs["__gemini_function_call_thought_signatures__"] == {"y": "sig"}
