"""Requests and role dictionaries of any conversation: JSON that comes back, or an error that names the message and the value."""

from __future__ import annotations

import json
from typing import Any

import pytest
from any_messages import artifact, message, name, text
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage, SystemMessage, ToolMessage

from langchain_agentmem import InvalidInputError, UnsupportedValueError
from langchain_agentmem.messages.anthropic import anthropic_request
from langchain_agentmem.messages.conversion import as_messages
from langchain_agentmem.messages.forms import as_plain
from langchain_agentmem.messages.openai import openai_request
from langchain_agentmem.messages.role_dicts import role_dicts_of

FORMS = {"openai": openai_request, "anthropic": anthropic_request, "roles": role_dicts_of}

mapping = st.dictionaries(text, artifact, max_size=2)
kind = st.sampled_from(["text", "refusal", "reasoning", "thinking", "file", "audio", "server_tool_use", "document"])
block = st.one_of(
    st.builds(lambda of, value: {"type": of, "text": value, "extras": value}, kind, artifact),
    st.builds(lambda value: {"type": "text", "text": "a", "cache_control": value}, artifact),
    st.builds(lambda value: {"type": "image", "base64": value, "mime_type": "image/png"}, artifact),
    st.builds(lambda value: {"type": "image", "source": {"type": "base64", "data": value}}, artifact),
    st.builds(lambda value: {"type": "image_url", "image_url": value}, artifact),
    st.builds(lambda value: {"type": "document", "source": value, "title": value}, artifact),
    st.builds(lambda value: {"type": "tool_use", "id": "t1", "name": "f", "input": value}, mapping),
    st.builds(lambda value: {"type": "tool_result", "tool_use_id": "t1", "content": value}, artifact),
    mapping,
)
call = st.builds(lambda args, id_: {"name": "f", "args": args, "id": id_}, mapping, name)
blocks = st.lists(block, max_size=2)
own = st.builds(lambda value: {"structured_data": value, "agent_calls": value, "images": value}, artifact)
odd = st.one_of(
    st.builds(HumanMessage, content=blocks, additional_kwargs=own),
    st.builds(AIMessage, content=blocks, additional_kwargs=mapping, tool_calls=st.lists(call, max_size=1)),
    st.builds(lambda value: AIMessage("a", additional_kwargs={"audio": {"id": value}, "refusal": value}), artifact),
    st.builds(lambda v: AIMessage("a", additional_kwargs={"function_call": {"name": "f", "arguments": v}}), artifact),
    st.builds(ToolMessage, content=blocks, tool_call_id=name, artifact=artifact),
    st.builds(SystemMessage, content=blocks),
)


def formed(form: str, messages: list[BaseMessage]) -> Any:
    """Messages in a form, as JSON; None after the error for a value that is no JSON."""
    try:
        found = FORMS[form]([as_plain(one) for one in messages if not isinstance(one, RemoveMessage)])
    except (UnsupportedValueError, InvalidInputError) as error:
        assert "messages[" in str(error)  # noqa: PT017
        return None
    return json.loads(json.dumps(found, allow_nan=False))


def has_results(messages: list[BaseMessage]) -> bool:
    """True if a user's message has results of tools, which come back as messages of tools."""
    return any(
        isinstance(one, dict) and one.get("type") == "tool_result"
        for message in messages
        for one in (message.content if isinstance(message.content, list) else [])
    )


@pytest.mark.parametrize("form", FORMS)
@settings(deadline=None, max_examples=examples(40))
@given(st.lists(odd | message, min_size=1, max_size=3))
def test_any_conversation_is_json_or_refused_with_the_message(form, messages):
    formed(form, messages)


@settings(deadline=None, max_examples=examples(40))
@given(st.lists(odd | message, min_size=1, max_size=3))
def test_any_conversation_comes_back_from_role_dictionaries(messages):
    found = formed("roles", messages)
    if found is not None and not has_results(messages):
        assert formed("roles", as_messages(found)) == found


@pytest.mark.parametrize(
    ("given", "path"),
    [
        (
            AIMessage("", tool_calls=[{"name": "f", "args": {"a": [1, b"x"]}, "id": "1"}]),
            r"tool_calls\[0\].args.a\[1\]",
        ),
        (AIMessage("", tool_calls=[{"name": "f", "args": {"a": float("nan")}, "id": "1"}]), r"tool_calls\[0\].args.a"),
        (AIMessage("", tool_calls=[{"name": "f", "args": {"a": {1: "x"}}, "id": "1"}]), r"tool_calls\[0\].args.a key"),
    ],
)
@pytest.mark.parametrize("form", ["openai", "roles"])
def test_an_error_names_the_message_and_the_field(form, given, path):
    with pytest.raises(
        UnsupportedValueError, match=rf"messages\[1\] cannot .*: its {path} is \w+ instead of a JSON value"
    ):
        FORMS[form]([HumanMessage("a"), given])


def test_an_error_names_the_field_of_a_request_to_anthropic():
    messages = [HumanMessage([{"type": "image", "source": {"type": "base64", "data": b"x"}}])]
    with pytest.raises(
        UnsupportedValueError, match=r"messages\[0\] .*: its content\[0\].source.data is bytes instead of a JSON value"
    ):
        anthropic_request(messages)
    with pytest.raises(UnsupportedValueError, match=r"messages\[0\] cannot be sent to Anthropic"):
        anthropic_request([HumanMessage([{"type": "reasoning", "extras": None}])])


def test_values_that_are_no_agent_calls_and_images_are_left_out():
    message = HumanMessage(
        "a", additional_kwargs={"agent_calls": [None], "images": [None], "structured_data": {"a": 1}}
    )
    assert role_dicts_of([message]) == [{"role": "user", "content": "a", "structured_data": {"a": 1}}]
