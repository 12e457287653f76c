"""Conversations that hypothesis builds, of all message types and providers' blocks, and what providers accept of them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    HumanMessageChunk,
    RemoveMessage,
    SystemMessage,
    SystemMessageChunk,
    ToolMessage,
)
from provider_rules import PROVIDERS

from langchain_agentmem.messages.pairing import calls_in, results_of

IDS = st.sampled_from(["a", "b", "call_0", "call_0", ""])
TEXTS = st.sampled_from(["Yes.", "I look for it. " * 40, "word " * 900, "", " "])


def calling(ids: list[str], content: Any = "", *, invalid: bool = False) -> AIMessage:
    if invalid:
        return AIMessage(
            content, invalid_tool_calls=[{"name": "f", "args": "{", "id": one, "error": "e"} for one in ids]
        )
    return AIMessage(content, tool_calls=[{"name": "f", "args": {"n": at}, "id": one} for at, one in enumerate(ids)])


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


TALK = st.one_of(
    st.builds(HumanMessage, TEXTS),
    st.builds(HumanMessage, TEXTS),
    st.builds(AIMessage, TEXTS),
    st.builds(lambda one: AIMessage([text(one)]), TEXTS),
    st.builds(lambda one: HumanMessage([text(one), text("?")]), TEXTS),
    st.sampled_from([HumanMessage([]), AIMessage([]), HumanMessageChunk("And?"), AIMessageChunk("So")]),
    st.sampled_from([SystemMessage("Be kind."), SystemMessageChunk("Be brief."), SystemMessage("")]),
    st.builds(ChatMessage, TEXTS, role=st.sampled_from(["user", "assistant", "system", "the critic"])),
    st.just(RemoveMessage(id="1")),
    st.builds(calling, st.lists(IDS, min_size=1, max_size=3), TEXTS, invalid=st.booleans()),
    st.builds(calling, st.lists(IDS, min_size=1, max_size=3)),
    st.builds(ToolMessage, TEXTS, tool_call_id=IDS),
    st.builds(ToolMessage, TEXTS, tool_call_id=IDS),
    st.just(AIMessage("", additional_kwargs={"function_call": {"name": "f", "arguments": "{}"}})),
    st.just(FunctionMessage("5", name="f")),
)


def server(id_: str) -> dict[str, Any]:
    return {"type": "server_tool_use", "id": id_, "name": "web_search", "input": {"query": "tower"}}


def found(id_: str) -> dict[str, Any]:
    page = {
        "type": "web_search_result",
        "url": "https://example.org",
        "title": "Tower",
        "encrypted_content": "Eqgf" * 50,
    }
    return {"type": "web_search_tool_result", "tool_use_id": id_, "content": [page]}


def use(id_: str) -> dict[str, Any]:
    return {"type": "tool_use", "id": id_, "name": "f", "input": {"q": "x"}}


NAMES = st.sampled_from(["a", "b"])
THINKING = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
ANTHROPIC = st.one_of(
    st.builds(lambda ids: AIMessage([THINKING, *map(use, ids)]), st.lists(NAMES, min_size=1, max_size=2)),
    st.builds(
        lambda ids, said: calling(ids, [THINKING, text(said), *map(use, ids)]),
        st.lists(NAMES, min_size=1, max_size=2),
        TEXTS,
    ),
    st.builds(
        lambda id_, said: HumanMessage(
            [text(said), {"type": "tool_result", "tool_use_id": id_, "content": said or "x"}]
        ),
        NAMES,
        TEXTS,
    ),
    st.builds(lambda id_: HumanMessage([{"type": "tool_result", "tool_use_id": id_, "content": "5"}]), NAMES),
    st.builds(lambda one: AIMessage([server(one)]), NAMES),
    st.builds(lambda one, said: AIMessage([server(one), found(one), text(said)]), NAMES, TEXTS),
    st.builds(lambda one: AIMessage([found(one), text("There.")]), NAMES),
    st.just(AIMessage([THINKING])),
)


def item(kind: str, id_: str) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "function_call": {"name": "f", "arguments": "{}"},
        "custom_tool_call": {"name": "f", "input": "x"},
        "computer_call": {"action": {"type": "screenshot"}, "pending_safety_checks": [], "status": "completed"},
        "apply_patch_call": {"status": "completed", "operation": {"type": "delete_file", "path": "a"}},
    }[kind]
    return {"type": kind, "id": f"x_{id_}", "call_id": id_, **fields}


def with_item(kind: str, id_: str, said: str, *, thinks: bool) -> AIMessage:
    reasoning = [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA" * 40}] if thinks else []
    content = [{"type": "text", "text": said, "id": "msg_1"}, *reasoning, item(kind, id_)]
    calls = [{"name": "f", "args": {}, "id": id_}] if kind in ("function_call", "custom_tool_call") else []
    return AIMessage(content, tool_calls=calls)


SCREEN = {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}
RESPONSES = st.one_of(
    st.builds(
        with_item,
        st.sampled_from(["function_call", "custom_tool_call", "computer_call", "apply_patch_call"]),
        NAMES,
        TEXTS,
        thinks=st.booleans(),
    ),
    st.builds(
        lambda id_: ToolMessage([SCREEN], tool_call_id=id_, additional_kwargs={"type": "computer_call_output"}), NAMES
    ),
    st.builds(
        lambda id_: HumanMessage([{"type": "apply_patch_call_output", "call_id": id_, "status": "completed"}]), NAMES
    ),
    st.builds(
        lambda id_: AIMessage(
            [{"type": "mcp_approval_request", "id": id_, "name": "f", "arguments": "{}", "server_label": "m"}]
        ),
        NAMES,
    ),
    st.builds(
        lambda id_: HumanMessage([{"type": "mcp_approval_response", "approval_request_id": id_, "approve": True}]),
        NAMES,
    ),
    st.just(AIMessage([{"type": "reasoning", "id": "rs_2", "summary": []}])),
    st.just(
        AIMessage([{"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "Zk9h" * 900}])
    ),
)
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
GEMINI = st.one_of(
    st.just(AIMessage([{"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}, text("So.")])),
    st.just(HumanMessage([text("See"), PICTURE])),
    st.builds(lambda id_: calling([id_], [text("Wait.")]), IDS),
)
BEDROCK = st.one_of(
    st.builds(lambda ids: calling(ids, [text("Wait."), *map(use, ids)]), st.lists(NAMES, min_size=1, max_size=2)),
    st.just(
        AIMessage(
            [{"type": "reasoning_content", "reasoning_content": {"text": "Hm.", "signature": "c2ln"}}, text("So.")]
        )
    ),
    st.just(HumanMessage([text("See"), PICTURE])),
)
FORMS = {
    "openai": st.just(HumanMessage([text("See"), PICTURE])),
    "responses": RESPONSES,
    "anthropic": ANTHROPIC,
    "gemini": GEMINI,
    "bedrock": BEDROCK,
}


def conversations(provider: str) -> st.SearchStrategy[list[BaseMessage]]:
    """Messages of all types in any order, and blocks in the provider's own form."""
    return st.lists(TALK | TALK | FORMS[provider], max_size=14)


def assert_accepted(provider: str, request: list[BaseMessage]) -> None:
    """Assert that a provider accepts a request, apart from an open call at its very end."""
    systems = [message for message in request if message.type == "system"]
    assert request[: len(systems)] == systems
    request = without_open_call(request[len(systems) :])
    problems = PROVIDERS[provider]([*systems, *request])
    assert not problems, (problems, request)


def without_open_call(request: list[BaseMessage]) -> list[BaseMessage]:
    """Drop a call at the very end whose results are not all there: they may be the next messages."""
    at = len(request) - 1
    while at >= 0 and (isinstance(request[at], ToolMessage) or results_of(request[at])):
        at -= 1
    last = request[at] if at >= 0 else None
    if not isinstance(last, AIMessage):
        return request
    answered = [key for message in request[at + 1 :] for key in results_of(message)]
    blocks = last.content if isinstance(last.content, list) else []
    is_paused = any(block["type"] == "server_tool_use" for block in blocks) and not found_in(blocks)
    return request[:at] if sorted(answered) != sorted(calls_in(last)) or is_paused else request


def found_in(blocks: list[Any]) -> bool:
    return any(block["type"] == "web_search_tool_result" for block in blocks)
