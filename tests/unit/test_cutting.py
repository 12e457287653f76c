"""What a request may hold of messages in providers' own forms, how they are cut, and what a summariser is shown of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

from langchain_agentmem import MemoryCompressor
from langchain_agentmem.compression.transcript import transcribed
from langchain_agentmem.messages.atoms import atoms_of
from langchain_agentmem.messages.budgets import messages_of
from langchain_agentmem.messages.tokens import TokenCounter
from langchain_agentmem.messages.truncation import truncated

COUNTER = TokenCounter()
LONG = "begin " + "word " * 2_000 + "end"
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "abc"}
USE = {"type": "tool_use", "id": "1", "name": "look", "input": {"q": "x"}}


def request(*messages: BaseMessage) -> list[BaseMessage]:
    return messages_of(atoms_of(messages))


@pytest.mark.parametrize(
    "thought",
    [THOUGHT, {"type": "reasoning", "summary": []}, {"type": "redacted_thinking", "data": "abc"}],
    ids=lambda thought: thought["type"],
)
def test_thoughts_without_the_call_that_they_led_to_are_in_no_request(thought):
    call = AIMessage([thought, USE], tool_calls=[{"id": "1", "name": "look", "args": {"q": "x"}}])
    assert request(HumanMessage("a"), call, HumanMessage("b")) == [HumanMessage("a"), HumanMessage("b")]
    said = AIMessage([thought, {"type": "text", "text": "Let me see."}, USE])
    (_, kept, _) = request(HumanMessage("a"), said, HumanMessage("b"))
    assert kept.content == said.content[:2]


@pytest.mark.parametrize(
    "block",
    [USE, {"type": "function_call", "call_id": "1", "id": "fc_7", "name": "look", "arguments": "{}"}],
    ids=lambda block: block["type"],
)
def test_calls_that_stand_only_in_the_content_are_calls(block):
    call, result = AIMessage([block]), ToolMessage("found", tool_call_id="1")
    assert request(HumanMessage("a"), call, result) == [HumanMessage("a"), call, result]
    assert request(HumanMessage("a"), call, HumanMessage("b")) == [HumanMessage("a"), HumanMessage("b")]


def test_results_may_stand_in_the_users_message():
    result = HumanMessage([{"type": "tool_result", "tool_use_id": "1", "content": "found"}])
    conversation = [HumanMessage("a"), AIMessage([USE]), result]
    assert request(*conversation) == conversation
    assert [len(atom.originals) for atom in atoms_of(conversation)] == [1, 2]


def test_messages_that_only_say_what_to_remove_are_in_no_request_and_not_shown():
    conversation = [HumanMessage("a"), RemoveMessage(id="1"), AIMessage("b")]
    assert request(*conversation) == [conversation[0], conversation[2]]
    assert MemoryCompressor(max_messages=6).invoke(conversation) == [conversation[0], conversation[2]]
    assert transcribed(conversation[1]) == ""


def test_a_chat_message_of_the_user_begins_a_turn():
    assert [atom.is_human for atom in atoms_of([ChatMessage("a", role="user"), ChatMessage("b", role="critic")])] == [
        True,
        False,
    ]
    assert transcribed(ChatMessage("a", role="critic")) == "critic: a"


BLOCKS: list[Any] = [
    {"text": LONG},
    {"type": "input_text", "text": LONG},
    {"type": "text-plain", "text": LONG, "mime_type": "text/plain"},
    {"type": "tool_result", "tool_use_id": "1", "content": LONG},
    {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": LONG}]},
    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": LONG}},
    {"type": "tool_use", "id": "1", "name": "look", "input": {"q": LONG}},
    {"type": "function_call", "call_id": "1", "name": "look", "arguments": json.dumps({"q": LONG})},
]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.get('type')}-{list(block)[-1]}")
def test_the_text_of_every_block_is_shown_and_can_be_cut(block):
    message = AIMessage([block])
    assert LONG in transcribed(message)
    short = truncated(message, 200, COUNTER)
    assert 100 < COUNTER.message(short) <= 200
    assert "tokens left out" in transcribed(short)
    (kept,) = short.content
    assert {key: kept.get(key) for key in ("type", "id", "call_id", "tool_use_id", "name", "mime_type")} == {
        key: block.get(key) for key in ("type", "id", "call_id", "tool_use_id", "name", "mime_type")
    }
    assert LONG in transcribed(message)
    if "arguments" in block:
        assert json.loads(kept["arguments"])["q"].startswith("begin")


def test_thoughts_and_sealed_content_are_not_shown():
    assert transcribed(AIMessage([THOUGHT, "Yes."])) == "ai: Yes."
    reasoning = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Rome is warm."}]}
    assert transcribed(AIMessage([reasoning, "Yes."])) == "ai: Yes."
    page = {"type": "web_search_result", "title": "Tower", "encrypted_content": "EqgfCioI" * 90}
    assert transcribed(AIMessage([{"type": "web_search_tool_result", "tool_use_id": "1", "content": [page]}])) == (
        'ai: [web_search_tool_result {"content": [{"type": "web_search_result", "title": "Tower"}]}]'
    )


def test_files_and_images_are_shown_by_their_kind():
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "QUJD" * 200}}
    file = {"type": "file", "base64": "QUJD" * 200, "mime_type": "application/pdf"}
    assert transcribed(HumanMessage(["See", image, file])) == "human: See [image_url] [file]"
    captioned = {"type": "image", "url": "https://example.com/a.png", "caption": "The tower"}
    assert "The tower" in transcribed(HumanMessage([captioned]))


@pytest.mark.parametrize("valid", [True, False], ids=["valid", "invalid"])
def test_arguments_are_cut_wherever_they_stand(valid):
    block = {"type": "tool_use", "id": "1", "name": "look", "input": {"q": LONG}}
    call = {"id": "1", "name": "look", "args": {"q": LONG}}
    invalid = {"id": "1", "name": "look", "args": LONG, "error": None}
    message = AIMessage([block], tool_calls=[call] if valid else [], invalid_tool_calls=[] if valid else [invalid])
    short = truncated(message, 150, COUNTER)
    assert COUNTER.message(short) <= 150
    assert len(str(short.content)) < 1_000
    function = AIMessage(
        "", additional_kwargs={"function_call": {"name": "look", "arguments": json.dumps({"q": LONG})}}
    )
    assert COUNTER.message(truncated(function, 150, COUNTER)) <= 150


def test_a_providers_own_call_and_its_result_are_left_out_together():
    server = [
        {"type": "server_tool_call", "id": "s", "name": "web_search", "args": {"query": "x" * 50}},
        {
            "type": "server_tool_result",
            "tool_call_id": "s",
            "status": "success",
            "output": [{"n": at} for at in range(500)],
        },
    ]
    message = AIMessage([*server, {"type": "text", "text": "Found."}])
    short = truncated(message, 60, COUNTER)
    assert [block["type"] for block in short.content] == ["text", "text", "text"]
    assert short.content[2]["text"] == "Found."
    assert truncated(message, 10_000, COUNTER).content == message.content


def test_thoughts_are_kept_as_they_are_or_not_at_all():
    thought = {"type": "thinking", "thinking": "word " * 100, "signature": "abc"}
    message = AIMessage([thought, {"type": "text", "text": LONG}])
    assert truncated(message, 400, COUNTER).content[0] == thought
    assert [block["type"] for block in truncated(message, 60, COUNTER).content] == ["text"]


def test_a_large_result_is_counted_a_few_times_only():
    counted: list[int] = []

    def count(text: str) -> int:
        counted.append(len(text))
        return len(text) // 4

    result = ToolMessage("0123456789 " * 100_000, tool_call_id="1")
    short = truncated(result, 1_000, TokenCounter(count))
    assert 900 < TokenCounter(count).message(short) <= 1_000
    assert sum(counted) < 200_000


def test_what_is_tried_is_not_remembered():
    counter = TokenCounter()
    truncated(HumanMessage(LONG), 200, counter)
    assert not counter._counts


def test_of_several_large_messages_one_makes_up_for_another_that_cannot_be_cut():
    many = [{"type": "text", "text": "a"}] * 150
    conversation = [SystemMessage("Be kind."), HumanMessage(many), AIMessage(LONG), HumanMessage(LONG)]
    result = MemoryCompressor(max_tokens=400).invoke(conversation)
    assert TokenCounter().messages(result) <= 400


SEAL = "EqgfCioIARgBIiQ3" + "YTAwMmRk" * 100
SEALED: list[list[Any]] = [
    [{"type": "web_search_tool_result", "tool_use_id": "1", "content": [{"title": LONG, "encrypted_content": SEAL}]}],
    [{"type": "text", "text": LONG, "citations": [{"title": "Tower", "encrypted_index": SEAL}]}],
    [{"type": "text", "text": LONG, "extras": {"signature": SEAL}}],
    [{"type": "compaction", "id": "cmp_1", "encrypted_content": SEAL}, {"type": "text", "text": LONG}],
    [{"type": "non_standard", "value": {"type": "x", "inner": [{"thought_signature": SEAL, "text": LONG}]}}],
]


def seals_in(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value] if value.startswith("Eqgf") else []
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [seal for one in inner for seal in seals_in(one)]


@pytest.mark.parametrize("content", SEALED, ids=lambda content: content[0]["type"])
def test_sealed_content_stays_whole_at_any_depth_or_its_block_goes(content):
    message = AIMessage(content)
    for tokens in range(40, 900, 40):
        assert set(seals_in(truncated(message, tokens, COUNTER).content)) <= {SEAL}
    assert "YTAwMmRk" not in transcribed(message)
    assert seals_in(truncated(message, 100, COUNTER).content) == []


PICTURE = "iVBORw0KGgoAAAANSUhEUgAA" + "Zk9h" * 20_000
PICTURES: list[dict[str, Any]] = [
    {"type": "image_generation_call", "id": "ig_1", "status": "completed", "output_format": "png", "result": PICTURE},
    {"type": "non_standard", "value": {"type": "image_generation_call", "id": "ig_1", "result": PICTURE}},
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}},
    {"type": "image", "base64": PICTURE, "mime_type": "image/png"},
    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}},
    {"type": "computer_call_output", "call_id": "1", "output": {"type": "computer_screenshot", "image_url": PICTURE}},
    {"type": "media", "mime_type": "image/png", "data": PICTURE},
    {"image": {"format": "png", "source": {"bytes": b"x" * 60_000}}},
]


@pytest.mark.parametrize("block", PICTURES, ids=lambda block: block.get("type", "bedrock"))
def test_a_picture_counts_as_a_picture_and_is_shown_in_a_line(block):
    message = AIMessage([block, {"type": "text", "text": "Here it is."}])
    assert 1_445 < COUNTER.message(message) < 1_520
    assert len(transcribed(message)) < 150
    assert truncated(message, 1_600, COUNTER).content[0] == block


def test_the_reasoning_before_a_removed_call_goes_and_the_ids_that_depend_on_it():
    content = [
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "function_call", "id": "fc_1", "call_id": "1", "name": "look", "arguments": "{}"},
        {"type": "text", "text": "Wait.", "id": "msg_1"},
        {"type": "reasoning", "id": "rs_2", "summary": []},
        {"type": "text", "text": "Now.", "id": "msg_2"},
    ]
    (_, kept, _) = request(HumanMessage("a"), AIMessage(content), HumanMessage("b"))
    assert kept.content == [{"type": "text", "text": "Wait."}, *content[3:]]
