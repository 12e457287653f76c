"""Messages of all types with values of all kinds, as hypothesis builds them, and an exact comparison."""

from __future__ import annotations

from datetime import UTC

from hypothesis import strategies as st
from identity import without_ids
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    ChatMessageChunk,
    FunctionMessage,
    FunctionMessageChunk,
    HumanMessage,
    HumanMessageChunk,
    RemoveMessage,
    SystemMessage,
    SystemMessageChunk,
    ToolMessage,
    ToolMessageChunk,
)
from langchain_core.messages.tool import invalid_tool_call, tool_call, tool_call_chunk

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
name = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
agent_name = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=12)
number = st.integers() | st.integers(-(2**70), 2**70) | st.sampled_from([2**63, 2**64, -(2**63) - 1, 10**40])
plain = st.none() | st.booleans() | number | st.floats(allow_nan=False) | text
json = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=6
)
mapping = st.dictionaries(text, json, max_size=3)
identifier = st.none() | name
moment = st.datetimes() | st.datetimes(timezones=st.just(UTC))
hashable = (
    st.integers(-(2**63), 2**63 - 1)
    | text
    | st.booleans()
    | st.binary(max_size=5)
    | st.uuids()
    | st.decimals(allow_nan=False)
    | moment
)
artifact = st.recursive(
    plain | st.binary(max_size=8) | moment | st.dates() | st.uuids() | st.decimals(allow_nan=False) | st.timedeltas()
    | st.sets(hashable, max_size=3) | st.frozensets(hashable, max_size=3),
    lambda inner: st.lists(inner, max_size=3)
    | st.lists(inner, max_size=3).map(tuple)
    | st.dictionaries(text | st.integers(-(2**63), 2**64 - 1) | st.booleans(), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip

block = st.one_of(
    st.builds(lambda t: {"type": "text", "text": t}, text),
    st.builds(lambda t, extra: {"type": "text", "text": t, "cache_control": extra}, text, mapping),
    st.builds(lambda url: {"type": "image_url", "image_url": {"url": url, "detail": "low"}}, text),
    st.builds(lambda t: {"type": "reasoning", "reasoning": t, "id": "rs_1"}, text),
    st.builds(lambda t: {"type": "thinking", "thinking": t, "signature": "c2ln"}, text),
    st.builds(lambda data: {"type": "image", "base64": data, "mime_type": "image/png"}, text),
    st.builds(lambda url: {"type": "file", "url": url, "extras": {"title": "a"}}, text),
    st.builds(lambda t: {"type": "audio", "file_id": t}, text),
    st.builds(lambda args: {"type": "tool_use", "id": "t1", "name": "f", "input": args}, mapping),
    st.builds(lambda value: {"type": "non_standard", "value": value}, mapping),
    st.builds(
        lambda t: {"type": "text", "text": t, "annotations": [{"type": "citation", "url": t, "start_index": 0}]}, text
    ),
    mapping,
    text,
)
content = text | st.lists(block, max_size=4)
common = {"content": content, "id": identifier, "additional_kwargs": mapping, "response_metadata": mapping}
named = {**common, "name": identifier, "extra_field": json, "example_of": json}
call = st.builds(tool_call, name=text, args=mapping, id=identifier)
usage = st.builds(
    lambda i, o, cached: {
        "input_tokens": i,
        "output_tokens": o,
        "total_tokens": i + o,
        "input_token_details": {"cache_read": cached},
        "output_token_details": {"reasoning": o},
    },
    st.integers(0, 2**40),
    st.integers(0, 2**40),
    st.integers(0, 9),
)
spoken = {
    **named,
    "tool_calls": st.lists(call, max_size=3),
    "invalid_tool_calls": st.lists(
        st.builds(invalid_tool_call, name=identifier, args=identifier, id=identifier, error=identifier), max_size=2
    ),
    "usage_metadata": st.none() | usage,
}
standard = st.builds(
    lambda blocks, calls: AIMessage(
        content_blocks=[*blocks, *({"type": "tool_call", **c} for c in calls)],
        response_metadata={"output_version": "v1", "model_provider": "anthropic"},
    ),
    st.lists(
        st.one_of(
            st.builds(lambda t: {"type": "text", "text": t}, text),
            st.builds(lambda t: {"type": "reasoning", "reasoning": t}, text),
            st.builds(lambda t: {"type": "image", "base64": t, "mime_type": "image/png"}, text),
        ),
        max_size=3,
    ),
    st.lists(st.builds(lambda n, a, i: {"name": n, "args": a, "id": i}, text, mapping, name), max_size=2),
)
chunk_call = st.builds(
    tool_call_chunk, name=identifier, args=identifier, id=identifier, index=st.none() | st.integers(0, 3)
)
result = {"tool_call_id": text, "artifact": artifact, "status": st.sampled_from(["success", "error"])}
message = st.one_of(
    st.builds(HumanMessage, **named),
    st.builds(AIMessage, **spoken),
    standard,
    st.builds(SystemMessage, **named),
    st.builds(ToolMessage, **named, **result),
    st.builds(FunctionMessage, **{**common, "name": text}),
    st.builds(ChatMessage, role=text, **named),
    name.map(lambda i: RemoveMessage(id=i)),
    st.builds(HumanMessageChunk, **named),
    st.builds(
        AIMessageChunk,
        **{**named, "content": text},
        tool_call_chunks=st.lists(chunk_call, max_size=2),
        usage_metadata=st.none() | usage,
        chunk_position=st.none() | st.just("last"),
    ),
    st.builds(SystemMessageChunk, **named),
    st.builds(ToolMessageChunk, **named, **result),
    st.builds(FunctionMessageChunk, **{**common, "name": text}),
    st.builds(ChatMessageChunk, role=text, **named),
)
ALL_TYPES = {
    AIMessage, AIMessageChunk, ChatMessage, ChatMessageChunk, FunctionMessage, FunctionMessageChunk, HumanMessage,
    HumanMessageChunk, RemoveMessage, SystemMessage, SystemMessageChunk, ToolMessage, ToolMessageChunk,
}  # fmt: skip


def assert_equal(restored: list[BaseMessage], messages: list[BaseMessage]) -> None:
    restored = [one if other.id else without_ids(one) for one, other in zip(restored, messages, strict=True)]
    assert restored == messages
    assert [type(one) for one in restored] == [type(one) for one in messages]
    for one, other in zip(restored, messages, strict=True):
        # Python's == takes 1, 1.0 and True for the same; a set's repr has no fixed order.
        assert repr({**one.__dict__, "artifact": None}) == repr({**other.__dict__, "artifact": None})
        assert one.__pydantic_extra__ == other.__pydantic_extra__
        assert type(getattr(one, "artifact", None)) is type(getattr(other, "artifact", None))
        assert one.text == other.text
