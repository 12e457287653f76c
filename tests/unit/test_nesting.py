"""The depth of values that others wrote is bounded by the package, whatever the interpreter's recursion limit is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langchain_agentmem import AgentMemory
from langchain_agentmem.arguments.nesting import NestingError, check_json_depth, is_deeper, load_bounded_json
from langchain_agentmem.knowledge.extraction.loose_json import from_string
from langchain_agentmem.knowledge.facts.equality import same_scalar
from langchain_agentmem.messages.blocks import with_strings
from langchain_agentmem.messages.call_types import dict_of_json

DEEP = '{"a": ' * 600 + "1" + "}" * 600


def test_a_value_that_contains_itself_is_too_deep():
    value: list[Any] = []
    value.append(value)
    assert is_deeper(value, 10_000)
    assert not is_deeper([[1], {"a": (2,)}, "[[["], 3)
    assert is_deeper([[1], {"a": (2,)}], 2)


@pytest.mark.parametrize(
    ("text", "depth"),
    [("1", 0), ('"[["', 0), ("[]", 1), ('{"[\\"[": [1, {}]} [[[[', 3), ('["[[[[', 1), ("]][", 0)],
)
def test_brackets_of_the_first_value_are_counted(text, depth):
    check_json_depth(text, depth)
    if depth:
        with pytest.raises(NestingError, match=f"deeper than {depth - 1} levels"):
            check_json_depth(text, depth - 1)


def test_text_that_is_nested_too_deep_is_no_json(recursion_limit):
    with pytest.raises(NestingError):
        load_bounded_json(DEEP)
    assert dict_of_json(DEEP) is None
    assert with_strings(DEEP, str.upper) == DEEP.upper()
    assert from_string(DEEP) == DEEP
    assert not same_scalar("[" * 3_000, 7)
    assert json.loads(load_bounded_json(json.dumps("[" * 300 + "]" * 300)))


def test_a_long_text_is_checked_soon():
    check_json_depth("[" + '\\"' * 200_000)
    check_json_depth("[" + "[], " * 100_000)
    assert not is_deeper([[]] * 100_000, 2)


def test_the_arguments_of_tools_are_stored_as_text(sqlite_memory: AgentMemory, recursion_limit):
    history = sqlite_memory.history("s")
    call = {"name": "f", "args": DEEP, "id": "1", "error": None}
    history.add_messages([HumanMessage("Hi"), AIMessage("", invalid_tool_calls=[call])])
    assert history.messages[-1].invalid_tool_calls[0]["args"] == DEEP
    assert history.to_dict()["messages"]
