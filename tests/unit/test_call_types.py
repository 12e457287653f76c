"""The table of call types and the packages of the providers."""

from __future__ import annotations

import inspect
import re
import typing
from typing import Any

import anthropic.types
import langchain_anthropic.chat_models
import langchain_openai.chat_models.base
import pytest
from openai.types.responses.response_input_item_param import ResponseInputItemParam

from langchain_agentmem.messages.call_types import (
    CALLS,
    RESULTS,
    SERVER_CALLS,
    SERVER_ITEMS,
    THOUGHTS,
    args_of,
    id_of_call,
    id_of_result,
    is_call,
    is_result,
    is_server_call,
    is_server_result,
    name_of_call,
    renamed,
)


def types_of(param: Any) -> set[str]:
    """The values of `type` that a TypedDict accepts."""
    hint = typing.get_type_hints(param)["type"] if hasattr(param, "__annotations__") else None
    return {one for one in typing.get_args(hint) if isinstance(one, str)}


OPENAI = {kind for param in typing.get_args(ResponseInputItemParam) for kind in types_of(param)}


def test_each_call_of_openais_responses_that_needs_an_output_is_in_the_table():
    outputs = {kind for kind in OPENAI if kind.endswith("_call_output") or kind == "mcp_approval_response"}
    assert outputs
    for kind in outputs:
        assert is_result({"type": kind})
        assert is_call({"type": kind.removesuffix("_output").replace("approval_response", "approval_request")})


def test_each_call_of_openais_responses_is_known():
    known = CALLS.keys() | SERVER_CALLS | SERVER_ITEMS
    assert {kind for kind in OPENAI if kind.endswith(("_call", "_request"))} - known == set()


def test_each_type_that_langchain_openai_sends_is_known():
    source = inspect.getsource(langchain_openai.chat_models.base._construct_responses_api_input)
    sent = set(re.findall(r'"(\w+_call|\w+_call_output|mcp_approval_\w+)"', source))
    assert sent - (CALLS.keys() | RESULTS.keys() | SERVER_CALLS | SERVER_ITEMS) == set()


def test_each_call_and_result_of_anthropic_is_known():
    for name in dir(anthropic.types):
        if name.endswith("ToolResultBlockParam"):
            for kind in types_of(getattr(anthropic.types, name)):
                assert is_result({"type": kind}) or is_server_result({"type": kind})
        if name.endswith("ToolUseBlockParam"):
            for kind in types_of(getattr(anthropic.types, name)):
                assert is_call({"type": kind}) or is_server_call({"type": kind})
    source = inspect.getsource(langchain_anthropic.chat_models._format_messages)
    for kind in set(re.findall(r'"(\w*tool_result)"', source)):
        assert is_result({"type": kind}) or is_server_result({"type": kind})


@pytest.mark.parametrize("wrapped", [False, True])
def test_ids_names_and_arguments_are_read_in_every_form(wrapped):
    def block(**fields: Any) -> dict[str, Any]:
        return {"type": "non_standard", "value": fields} if wrapped else fields

    call = block(type="computer_call", id="cu_1", call_id="call_9", action={"type": "screenshot"})
    assert (id_of_call(call), name_of_call(call), args_of(call)) == ("call_9", "computer_call", {"type": "screenshot"})
    assert id_of_call(renamed(call, "x")) == "x"
    assert id_of_result(block(type="mcp_approval_response", approval_request_id="mcpr_1")) == "mcpr_1"
    assert id_of_result(renamed(block(type="tool_result", tool_use_id="1"), "x")) == "x"
    assert id_of_call(renamed(block(type="tool_use", id="", input={}), "x")) == "x"
    assert not is_call("text")
    assert not THOUGHTS & (CALLS.keys() | RESULTS.keys())
