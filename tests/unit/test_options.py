"""Keyword arguments that one function passes on to another: the same names and types, and no unknown ones."""

from __future__ import annotations

import inspect
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from langchain_agentmem import AgentMemHistory, AgentMemory, AgentMemSaver, AgentMemStore, MemoryCompressor, errors
from langchain_agentmem.arguments import options
from langchain_agentmem.knowledge.extraction.face import ProfileExtractor
from langchain_agentmem.testing import ScriptedChatModel

SQLITE = "sqlite:///:memory:"
INTERNAL = {"sweeper", "codec", "place_of", "cache"}
"""What only this package passes."""

OPTIONS = [
    (AgentMemory, options.MemoryOptions),
    (AgentMemStore, options.StoreOptions),
    (AgentMemSaver, options.SaverOptions),
    (AgentMemHistory, options.HistoryOptions),
    (MemoryCompressor, options.CompressorOptions),
    (ProfileExtractor, options.ExtractorOptions),
]


@pytest.mark.parametrize(("kind", "known"), OPTIONS)
def test_the_options_of_a_class_are_its_keyword_arguments(kind: type, known: type) -> None:
    parameters = inspect.signature(kind).parameters.values()
    own = {*INTERNAL, "credentials"}  # `from_url` has an argument of its own for them
    assert sorted(known.__annotations__) == sorted(
        one.name for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY and one.name not in own
    )


def memory() -> AgentMemory:
    return AgentMemory.from_url(SQLITE)


MISTAKES: list[tuple[str, Callable[..., Any]]] = [
    ("AgentMemory.from_url", lambda **more: AgentMemory.from_url(SQLITE, **more)),
    ("AgentMemory.from_settings", lambda **more: AgentMemory.from_settings(**more)),
    ("AgentMemory.from_connection", lambda **more: AgentMemory.from_connection(sqlite3.connect(":memory:"), **more)),
    ("AgentMemStore.from_url", lambda **more: AgentMemStore.from_url(SQLITE, **more)),
    ("AgentMemSaver.from_url", lambda **more: AgentMemSaver.from_url(SQLITE, **more)),
    ("AgentMemHistory.from_url", lambda **more: AgentMemHistory.from_url(SQLITE, "s", **more)),
    ("memory.compressor", lambda **more: memory().compressor(max_tokens=1000, **more)),
    ("memory.profile_node", lambda **more: memory().profile_node(ScriptedChatModel([]), **more)),
]


@pytest.mark.parametrize(("function", "call"), MISTAKES)
def test_an_unknown_option_is_refused_and_the_known_ones_are_named(function: str, call: Callable[..., Any]) -> None:
    with pytest.raises(errors.InvalidTypeError, match=f"{function} has no argument 'colour': 'red'.") as refused:
        call(colour="red")
    assert isinstance(refused.value, TypeError)
    assert "Known arguments: " in str(refused.value)
