"""Role dictionaries: what a message of each kind becomes, and that it comes back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from examples import Thing, examples
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, SystemMessage, ToolMessage

from langchain_agentmem import InvalidInputError, InvalidTypeError
from langchain_agentmem.messages.conversion import as_message, as_messages
from langchain_agentmem.messages.role_dicts import role_dicts_of

said = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
id_ = st.none() | said
plain = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | said
)
mapping = st.dictionaries(
    said, plain | st.lists(plain, max_size=2) | st.dictionaries(said, plain, max_size=2), max_size=3
)
call = st.builds(
    lambda name, args, id_: {"name": name, "args": args, "id": id_, "type": "tool_call"}, said, mapping, said
)
invalid = st.builds(
    lambda name, id_: {"name": name, "args": '{"a": ', "id": id_, "error": None, "type": "invalid_tool_call"},
    said,
    said,
)
image = st.sampled_from(["https://a.b/c.png", "http://a.b/d.jpg", "data:image/png;base64,iVBO"])
anything = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | said | mapping
block = st.one_of(
    st.builds(lambda t: {"type": "text", "text": t}, said),
    st.builds(lambda url: {"type": "image_url", "image_url": {"url": url}}, image),
    st.builds(lambda t: {"type": "thinking", "thinking": t, "signature": "c2ln"}, said),
    st.builds(
        lambda t: {"type": "file", "base64": "AAAA", "mime_type": "application/pdf", "extras": {"title": t}}, said
    ),
)
content = said | st.just("") | st.lists(block, max_size=3)
agent_calls = st.lists(
    st.builds(lambda name, request: {"agent_name": name, "request": request}, said, anything), min_size=1, max_size=2
)
more = st.fixed_dictionaries({}, optional={"agent_calls": agent_calls, "structured_data": mapping})
message = st.one_of(
    st.builds(HumanMessage, content=content, name=id_, id=id_, additional_kwargs=more),
    st.builds(SystemMessage, content=content, name=id_, id=id_),
    st.builds(ToolMessage, content=content, name=id_, id=id_, tool_call_id=said),
    st.builds(
        AIMessage,
        content=content,
        name=id_,
        id=id_,
        tool_calls=st.lists(call, max_size=2),
        invalid_tool_calls=st.lists(invalid, max_size=1),
        additional_kwargs=more,
    ),
)


@settings(deadline=None, max_examples=examples(300))
@given(st.lists(message, max_size=4))
def test_messages_come_back_from_role_dictionaries(messages):
    dicts = json.loads(json.dumps(role_dicts_of(messages)))
    assert as_messages(dicts) == messages


structured = st.fixed_dictionaries(
    {"thought": said, "next_action": st.sampled_from(["call_tool", "invoke_agent", "final_response"])},
    optional={"action_input": mapping},
)
role_call = st.builds(
    lambda id_, call_id, name, args: {
        "id": id_ or call_id,
        "call_id": call_id,
        "type": "function",
        "name": name,
        "arguments": json.dumps(args, ensure_ascii=False),
    },
    id_,
    said,
    said,
    mapping,
)
answer = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": said | structured},
    optional={
        "message_id": said,
        "name": said,
        "tool_calls": st.lists(role_call, min_size=1, max_size=2, unique_by=lambda one: one["call_id"]),
        "agent_calls": agent_calls,
        "structured_data": mapping,
    },
)
question = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant"]), "content": said | st.none()},
    optional={"message_id": said},
).flatmap(
    lambda one: st.lists(image | st.sampled_from(["a.png", "/tmp/b.jpg"]), min_size=1, max_size=3).map(
        lambda images: {**one, "images": images}
    )
)
data_only = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.none(), "structured_data": mapping},
    optional={"agent_calls": agent_calls},
)
calls_only = st.fixed_dictionaries({"role": st.just("assistant"), "content": st.none(), "agent_calls": agent_calls})


@settings(deadline=None, max_examples=examples(300))
@given(st.lists(answer | question | data_only | calls_only, max_size=4))
def test_role_dictionaries_come_back_from_messages(dicts):
    assert role_dicts_of(as_messages(dicts)) == dicts


def test_a_model_sees_the_content_that_is_no_text():
    thought = {"thought": "I need data", "next_action": "invoke_agent", "action_input": {"agent_name": "Analyst"}}
    messages = as_messages(
        [
            {"role": "assistant", "content": thought},
            {"role": "assistant", "structured_data": {"results": [1]}},
            {"role": "assistant", "agent_calls": [{"agent_name": "Analyst", "request": "Go"}]},
        ]
    )
    assert [json.loads(one.text) for one in messages] == [
        thought,
        {"results": [1]},
        {"agent_calls": [{"agent_name": "Analyst", "request": "Go"}]},
    ]


def test_images_are_content_blocks_and_paths_are_kept_beside_them():
    given = {"role": "user", "content": "See", "images": ["a.png", "https://a.b/c.png", "data:image/png;base64,AAAA"]}
    message = as_message("message", given)
    assert message.content == [
        {"type": "text", "text": "See"},
        {"type": "image", "url": "https://a.b/c.png"},
        {"type": "image", "base64": "AAAA", "mime_type": "image/png"},
    ]
    assert message.additional_kwargs == {"images": given["images"]}
    assert role_dicts_of([message]) == [given]


def test_the_result_of_a_call_refers_to_its_call_id():
    call = {"id": "fc_1", "call_id": "call_1", "type": "function", "name": "search", "arguments": '{"q": 1}'}
    message = as_message("message", {"role": "assistant", "content": "", "tool_calls": [call]})
    assert isinstance(message, AIMessage)
    assert message.tool_calls == [{"name": "search", "args": {"q": 1}, "id": "call_1", "type": "tool_call"}]
    assert role_dicts_of([message])[0]["tool_calls"] == [call]


@pytest.mark.parametrize("form", ["flat", "nested"])
def test_a_call_with_arguments_that_are_no_json_becomes_an_invalid_call(form):
    function = {"name": "search", "arguments": '{"q": '}
    call = {"id": "1", "type": "function", **(function if form == "flat" else {"function": function})}
    message = as_message("message", {"role": "assistant", "content": None, "tool_calls": [call]})
    assert isinstance(message, AIMessage)
    assert message.tool_calls == []
    assert [(one["name"], one["args"], one["id"]) for one in message.invalid_tool_calls] == [("search", '{"q": ', "1")]


def test_messages_that_delete_others_have_no_role_dictionary():
    assert role_dicts_of([RemoveMessage(id="1")]) == []


def test_absent_values_may_be_none():
    names = ("name", "tool_calls", "agent_calls", "structured_data", "images", "tool_call_id")
    message = as_message("message", {"role": "user", "content": "Hi", **dict.fromkeys(names)})
    assert message == HumanMessage("Hi")


def test_results_of_anthropic_become_tool_messages():
    content = [
        {"type": "tool_result", "tool_use_id": "1", "content": "42"},
        {"type": "tool_result", "tool_use_id": "2", "content": "no", "is_error": True},
        {"type": "text", "text": "And?"},
    ]
    assert as_messages([{"role": "user", "content": content}]) == [
        ToolMessage("42", tool_call_id="1"),
        ToolMessage("no", tool_call_id="2", status="error"),
        HumanMessage("And?"),
    ]
    with pytest.raises(InvalidInputError, match="holds 3 messages"):
        as_message("message", {"role": "user", "content": content})


class Silent:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


DEEP = nested(3_000)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (
            {"agent_calls": [{"request": "Go"}]},
            r"messages\[1\].agent_calls must be a list of mappings with 'agent_name'",
        ),
        ({"agent_calls": "Go"}, r"messages\[1\].agent_calls"),
        ({"images": "a.png"}, r"messages\[1\].images must be a list"),
        ({"images": [1]}, r"messages\[1\].images"),
        ({"tool_calls": ["search"]}, r"messages\[1\].tool_calls\[0\] must be a mapping"),
        ({"tool_calls": [{"id": "1", "function": "search"}]}, r"messages\[1\].tool_calls\[0\].function"),
        (
            {"tool_calls": [{"call_id": ["1"], "function": {"name": "f", "arguments": "{}"}}]},
            r"messages\[1\].tool_calls\[0\].call_id must be a string, got list",
        ),
        (
            {"tool_calls": [{"id": {"a": 1}, "call_id": "1", "function": {"name": "f", "arguments": "{}"}}]},
            r"messages\[1\].tool_calls\[0\].id must be a string",
        ),
        ({"content": [Silent()]}, r"messages\[1\] is not a message"),
        ({"content": Silent()}, r"messages\[1\] is not a message.*whose repr failed"),
        ({"content": {"thought": Thing()}}, r"messages\[1\].content must consist of JSON values"),
        ({"content": None, "structured_data": {"a": Thing()}}, r"messages\[1\].structured_data must consist of JSON"),
        ({"role": "judge"}, r"messages\[1\] is not a message"),
        ({"role": 5}, r"messages\[1\] is not a message"),
        ({"role": "tool", "tool_call_id": "1", "content": DEEP}, r"messages\[1\] is nested deeper than 200 levels"),
    ],
)
def test_a_malformed_role_dictionary_is_refused_with_its_path(wrong: dict[str, Any], problem: str):
    with pytest.raises((InvalidInputError, InvalidTypeError), match=problem):
        as_messages(["Hi", {"role": "assistant", "content": "Hello", **wrong}])


junk = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "a", "text", "tool_use", "tool_result", "{"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["type", "text", "id", "tool_use_id", "content", "function", "arguments", "name"]), inner
        )
    ),
    max_leaves=6,
)
KEYS = (
    *(
        "role",
        "content",
        "tool_calls",
        "agent_calls",
        "structured_data",
        "images",
        "message_id",
        "name",
        "tool_call_id",
    ),
    *("additional_kwargs", "refusal", "cache_control"),
)


@settings(deadline=None, max_examples=examples(1_000))
@given(st.dictionaries(st.sampled_from(KEYS), junk), st.sampled_from(["user", "assistant", "tool", "system"]))
def test_any_json_object_is_converted_or_refused_with_an_error_of_ours(given_, role):
    try:
        messages = as_messages([{"content": "Hi", **given_, "role": role}])
    except (InvalidInputError, InvalidTypeError) as error:
        assert "messages[0]" in str(error)  # noqa: PT017 (the other outcome is none)
    else:
        json.dumps(role_dicts_of(messages))
