"""`windows.newest` and `newest_within`: what part of a conversation a model is given."""

from __future__ import annotations

from typing import Any

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_agentmem.messages.tokens import TokenCounter
from langchain_agentmem.messages.windows import newest, newest_within


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
    places = [next(at for at, message in enumerate(messages) if message is one) for one in window]
    assert places == sorted(set(places))
    called: set[str] = set()
    for message in window:
        if isinstance(message, AIMessage):
            called.update(one["id"] for one in message.tool_calls)
        if isinstance(message, ToolMessage):
            assert message.tool_call_id in called


@settings(deadline=None, max_examples=examples(300))
@given(messages=any_messages(), limit=st.none() | st.integers(1, 30))
def test_a_window_leaves_out_nothing_that_fits(messages, limit):
    window = newest(messages, limit)
    systems = [message for message in messages if isinstance(message, SystemMessage)]
    assert not systems or any(message is systems[-1] for message in window)
    room = len(messages) if limit is None else min(limit, len(messages))
    if systems and not any(message is systems[-1] for message in messages[len(messages) - room :]):
        room -= 1
    recent = messages[len(messages) - room :]
    called: set[str] = set()
    for message in recent:
        called.update(one["id"] for one in getattr(message, "tool_calls", []))
        if not isinstance(message, ToolMessage) or message.tool_call_id in called:
            assert any(message is one for one in window)


@pytest.mark.parametrize("limit", [None, 1, 5])
def test_of_nothing_the_window_is_empty(limit):
    assert newest([], limit) == []


def test_the_newest_system_message_counts_and_comes_first():
    messages = [SystemMessage("a"), SystemMessage("b"), *(HumanMessage(str(n)) for n in range(5))]
    assert newest(messages, 3) == [SystemMessage("b"), HumanMessage("3"), HumanMessage("4")]
    assert newest(messages, 1) == [SystemMessage("b")]
    assert newest(messages, 6) == messages[1:]
    assert newest(messages, 7) == messages


def test_a_system_message_among_the_newest_stays_in_its_place():
    messages = [HumanMessage("a"), SystemMessage("rules"), HumanMessage("b")]
    assert newest(messages, 2) == messages[1:]
    assert newest(messages, 3) == messages


def test_parallel_results_whose_call_is_cut_off_all_go():
    messages = [calling("1", "2"), result("1"), result("2"), AIMessage("answer")]
    assert newest(messages, 4) == messages
    for limit in (1, 2, 3):
        assert newest(messages, limit) == [AIMessage("answer")]


def test_a_system_message_that_takes_the_calls_place_takes_its_results_along():
    messages = [SystemMessage("rules"), calling("1"), result("1"), HumanMessage("b")]
    assert newest(messages, 4) == messages
    assert newest(messages, 3) == [SystemMessage("rules"), HumanMessage("b")]


def test_a_result_before_its_call_has_no_call():
    messages = [result("1"), calling("1"), HumanMessage("a")]
    assert newest(messages, None) == messages[1:]


def test_calls_whose_arguments_were_invalid_are_calls():
    invalid = AIMessage("", invalid_tool_calls=[{"name": "f", "args": "{", "id": "1", "error": "e"}])
    assert newest([invalid, result("1")], 2) == [invalid, result("1")]


TEN_EACH = TokenCounter.of(lambda messages: sum(len(str(message.content)) + 10 for message in messages))


@settings(deadline=None, max_examples=examples(300))
@given(messages=any_messages(), limit=st.none() | st.integers(1, 30), most=st.integers(0, 300))
def test_a_window_of_tokens_is_never_over_its_budget(messages, limit, most):
    window, _ = newest_within(messages, limit, most, TEN_EACH)
    assert TEN_EACH.messages(window) <= most or not window
    assert limit is None or len(window) <= limit
    if most == 300:
        assert window == newest(messages, limit)


def test_a_system_message_that_does_not_fit_is_left_out():
    messages = [SystemMessage("rules " * 500), HumanMessage("a"), AIMessage("b")]
    assert newest_within(messages, None, 30, TEN_EACH) == (messages[1:], False)
    assert newest_within(messages, None, 11, TEN_EACH) == (messages[2:], True)
    assert newest_within(messages, None, 9, TEN_EACH) == ([], True)
    assert newest_within([SystemMessage("rules"), *messages[1:]], None, 26, TEN_EACH)[0] == [
        SystemMessage("rules"),
        AIMessage("b"),
    ]


def test_calls_that_stand_only_in_the_content_are_calls():
    call = AIMessage([{"type": "tool_use", "id": "1", "name": "f", "input": {}}])
    assert newest([call, result("1")], 2) == [call, result("1")]
