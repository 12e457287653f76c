"""Requests to OpenAI and Anthropic: the providers accept them, and messages come back from them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_anthropic.chat_models import _format_messages
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_openai.chat_models.base import _convert_message_to_dict
from provider_conversations import conversations, without_open_call
from provider_rules import anthropic_problems, openai_problems

from langchain_agentmem import InvalidInputError, UnsupportedValueError
from langchain_agentmem.history.turns import turn_of
from langchain_agentmem.messages.anthropic import anthropic_request
from langchain_agentmem.messages.forms import is_system
from langchain_agentmem.messages.openai import openai_request
from langchain_agentmem.messages.windows import newest

said = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).map(str.strip).filter(bool)
name = st.none() | st.from_regex(r"[A-Za-z0-9_-]{1,12}", fullmatch=True)
value = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | said,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(said, inner, max_size=3),
    max_leaves=6,
)
args = st.dictionaries(said, value, max_size=3)
URL = "https://example.com/a.png"
OPENAI_IMAGES = [
    {"type": "image_url", "image_url": {"url": URL, "detail": "low"}},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
]
ANTHROPIC_BLOCKS = [
    {"type": "image", "source": {"type": "url", "url": URL}},
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
    {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}, "title": "a"},
]


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


@st.composite
def talks(draw: st.DrawFn, blocks: list[dict[str, Any]], *, named: bool) -> list[BaseMessage]:
    """Well-formed conversations, in the form in which a request of the provider comes back."""
    names = name if named else st.none()
    question = said | st.tuples(said, st.sampled_from(blocks)).map(lambda pair: [text(pair[0]), pair[1]])
    messages: list[BaseMessage] = []
    if draw(st.booleans()):
        messages.append(SystemMessage(draw(said | said.map(lambda one: [text(one), text("!")])), name=draw(names)))
    for turn in range(draw(st.integers(1, 3))):
        messages.append(HumanMessage(draw(question), name=draw(names)))
        for step in range(draw(st.integers(0, 2))):
            ids = [f"call_{turn}_{step}_{at}" for at in range(draw(st.integers(1, 3)))]
            calls = [{"name": "f", "args": draw(args), "id": one, "type": "tool_call"} for one in ids]
            messages.append(AIMessage(draw(st.just("") | said), tool_calls=calls, name=draw(names)))
            status = st.just("success") if named else st.sampled_from(["success", "error"])
            messages += [ToolMessage(draw(said), tool_call_id=one, status=draw(status)) for one in ids]
        messages.append(AIMessage(draw(said), name=draw(names)))
    return messages


def window_of(messages: list[BaseMessage]) -> list[BaseMessage]:
    """The window, apart from an open call at its end."""
    window = newest(messages, None).messages
    systems = [one for one in window if is_system(one)]
    return [*systems, *without_open_call(window[len(systems) :])]


@settings(deadline=None, max_examples=examples(100))
@given(talks(OPENAI_IMAGES, named=True))
def test_messages_come_back_from_a_request_to_openai(messages):
    request = json.loads(json.dumps(openai_request(messages)))
    assert turn_of(request) == messages
    assert turn_of({"model": "gpt-5", "messages": request}) == messages
    assert not openai_problems(request)


@settings(deadline=None, max_examples=examples(100))
@given(talks(ANTHROPIC_BLOCKS, named=False))
def test_messages_come_back_from_a_request_to_anthropic(messages):
    request = json.loads(json.dumps(anthropic_request(messages)))
    assert turn_of({"model": "claude", **request}) == messages
    assert not anthropic_problems(request["messages"])


@settings(deadline=None, max_examples=examples(100))
@given(talks(OPENAI_IMAGES, named=True))
def test_a_request_to_openai_is_that_of_langchain_openai(messages):
    assert openai_request(messages) == [_convert_message_to_dict(one) for one in messages]


@settings(deadline=None, max_examples=examples(100))
@given(talks([*OPENAI_IMAGES, *ANTHROPIC_BLOCKS], named=True))
def test_a_request_to_anthropic_is_that_of_langchain_anthropic(messages):
    request = anthropic_request(messages)
    system, sent = _format_messages(messages, model="claude-sonnet-4-5")
    assert request.get("system") == system
    merged: list[dict[str, Any]] = []  # langchain-anthropic also merges a question with the results before it
    for one in request["messages"]:
        if merged and merged[-1]["role"] == one["role"] == "user":
            blocks = [
                [text(part)] if isinstance(part, str) else part for part in (merged[-1]["content"], one["content"])
            ]
            merged[-1] = {"role": "user", "content": [*blocks[0], *blocks[1]]}
        else:
            merged.append(one)
    assert merged == sent


@settings(deadline=None, max_examples=examples(200))
@given(conversations("openai") | conversations("anthropic"))
def test_openai_accepts_the_window_of_any_conversation(messages):
    request = openai_request(window_of(messages))
    assert not openai_problems(request)
    json.dumps(request)
    again = openai_request(turn_of(request))
    assert again == request


@settings(deadline=None, max_examples=examples(200))
@given(conversations("openai") | conversations("anthropic"))
def test_anthropic_accepts_the_window_of_any_conversation(messages):
    request = anthropic_request(window_of(messages))
    assert not anthropic_problems(request["messages"])
    json.dumps(request)
    again = anthropic_request(turn_of(request))
    assert again == request


def sent_or_refused(convert: Callable[[list[BaseMessage]], Any], window: list[BaseMessage]) -> Any:
    """The request, or the text of the error that refuses a block."""
    try:
        return convert(window)
    except UnsupportedValueError as error:
        return str(error)


@pytest.mark.parametrize("provider", ["responses", "gemini", "bedrock"])
def test_messages_of_another_provider_are_accepted_or_refused_with_the_block(provider):
    @settings(deadline=None, max_examples=examples(100))
    @given(conversations(provider))
    def check(messages):
        found = sent_or_refused(openai_request, window_of(messages))
        assert "messages[" in found if isinstance(found, str) else not openai_problems(found)
        found = sent_or_refused(anthropic_request, window_of(messages))
        assert "messages[" in found if isinstance(found, str) else not anthropic_problems(found["messages"])

    check()


def test_reasoning_and_calls_of_a_provider_s_own_tools_stay_with_it():
    answer = AIMessage(
        [
            {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
            {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}, "index": 1},
            {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []},
            {"type": "text", "text": "Sunny."},
        ]
    )
    assert openai_request([answer]) == [{"role": "assistant", "content": [text("Sunny.")]}]
    _, sent = anthropic_request([answer])["messages"]
    assert [block["type"] for block in sent["content"]] == [block["type"] for block in answer.content]
    reasoning = AIMessage([{"type": "reasoning", "id": "rs_1", "summary": []}, text("Sunny.")])
    assert anthropic_request([reasoning])["messages"][1:] == [{"role": "assistant", "content": [text("Sunny.")]}]


def test_a_standard_message_of_anthropic_is_sent_in_its_own_form():
    answer = AIMessage(
        [
            {"type": "reasoning", "reasoning": "Hm.", "extras": {"signature": "c2ln"}},
            {"type": "server_tool_call", "id": "s1", "name": "web_search", "args": {"q": 1}},
            {
                "type": "server_tool_result",
                "tool_call_id": "s1",
                "output": [],
                "extras": {"block_type": "web_search_tool_result"},
            },
            {"type": "text", "text": "Sunny.", "id": "lc_1"},
            {"type": "tool_call", "id": "t1", "name": "f", "args": {"a": 1}},
        ],
        tool_calls=[{"id": "t1", "name": "f", "args": {"a": 1}}],
        response_metadata={"output_version": "v1", "model_provider": "anthropic"},
    )
    _, sent = anthropic_request([answer])["messages"]
    assert sent["content"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"q": 1}},
        {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []},
        text("Sunny."),
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}},
    ]


@pytest.mark.parametrize(
    "block",
    [
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "audio", "base64": "AAAA", "mime_type": "audio/wav"},
        {"type": "image_url", "image_url": {"url": "ftp://a.b/c.png"}},
        {"type": "hologram", "data": "AAAA"},
    ],
)
def test_a_block_that_anthropic_does_not_know_is_refused_with_its_place(block):
    with pytest.raises(UnsupportedValueError, match=r"messages\[1\]\.content\[1\].*" + block["type"]):
        anthropic_request([HumanMessage("Hi"), HumanMessage([text("See"), block])])


def test_a_text_that_is_no_string_is_refused_with_its_place():
    with pytest.raises(UnsupportedValueError, match=r"messages\[0\]\.content\[1\].*must be a string, got True"):
        anthropic_request([HumanMessage([text("See"), {"type": "text", "text": True}])])


def test_the_url_of_a_document_is_refused_for_openai():
    message = HumanMessage([{"type": "file", "url": "https://a.b/c.pdf"}])
    with pytest.raises(UnsupportedValueError, match=r"messages\[0\] cannot be sent to OpenAI.*file URLs"):
        openai_request([message])


def test_names_and_ids_that_a_provider_refuses_are_replaced():
    messages: list[BaseMessage] = [
        HumanMessage("Hi", name="Ann Lee <ann@example.com>"),
        AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "functions.f:0"}]),
        ToolMessage("42", tool_call_id="functions.f:0", name="f"),
    ]
    assert openai_request(messages)[0]["name"] == "Ann_Lee_ann@example.com_"
    _, call, result = anthropic_request(messages)["messages"]
    assert call["content"][0]["id"] == result["content"][0]["tool_use_id"]
    assert call["content"][0]["id"].startswith("toolu_")


def test_a_request_without_a_message_of_the_user_comes_back_without_its_opening():
    greeting = AIMessage("Hello! How can I help?")
    request = anthropic_request([greeting])
    assert [one["role"] for one in request["messages"]] == ["user", "assistant"]
    assert turn_of(request) == [greeting]


def test_a_malformed_request_is_refused_with_the_place_of_the_message():
    with pytest.raises(InvalidInputError, match=r"messages\[1\]"):
        turn_of({"system": "Be brief.", "messages": [{"role": "judge", "content": "Hi"}]})
