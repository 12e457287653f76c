"""An error about a long argument shows only the beginning of it."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import pytest
from langchain_core.messages import HumanMessage

from langchain_agentmem import (
    AgentMemHistory,
    AgentMemory,
    AgentMemSaver,
    AgentMemStore,
    MemoryCompressor,
    ProfileExtractor,
    Retention,
)
from langchain_agentmem.settings import AgentMemSettings

URL = "sqlite:///:memory:"
LONGEST = 2_500
"""Characters of an error: an ID of 1,024 bytes may be in it whole."""

LONG: dict[str, Any] = {
    "text": "x" * 200_000,
    "list": ["x" * 1_000] * 200,
    "dict": {"x" * 200_000: "y" * 200_000},
    "integer": 10**5_000,
}

CONSTRUCTORS: tuple[Callable[..., Any], ...] = (
    AgentMemory,
    AgentMemory.from_url,
    AgentMemory.from_connection,
    AgentMemSettings,
    AgentMemHistory,
    AgentMemHistory.from_url,
    AgentMemSaver,
    AgentMemSaver.from_url,
    AgentMemSaver.from_conn_string,
    AgentMemStore,
    AgentMemStore.from_url,
    AgentMemStore.from_conn_string,
    MemoryCompressor,
    ProfileExtractor,
    Retention,
)

SURFACES: dict[str, Callable[[AgentMemory], Any]] = {
    "memory": lambda memory: memory,
    "history": lambda memory: memory.history("s"),
    "store": lambda memory: memory.store,
    "checkpointer": lambda memory: memory.checkpointer,
    "profiles": lambda memory: memory.profiles,
    "entities": lambda memory: memory.entities,
    "knowledge": lambda memory: memory.knowledge,
    "memories": lambda memory: memory.memories,
    "sessions": lambda memory: memory.sessions,
}

INHERITED = {"close", "aclose", "from_url", "from_connection", "from_client", "from_conn_string", "from_settings"}

OPTIONS = ("token_counter", "embeddings", "tenant", "index", "ttl", "retention", "max_messages", "nobody")
"""Values of `**options`."""

GIVEN: dict[str, Any] = {
    "url": URL,
    "session_id": "s",
    "user_id": "u",
    "thread_id": "t",
    "namespace": ("a",),
    "namespace_prefix": ("a",),
    "key": "k",
    "value": {"text": "v"},
    "messages": [HumanMessage("hello")],
    "query": "q",
    "config": {"configurable": {"thread_id": "t", "checkpoint_ns": ""}},
    "max_tokens": 1_000,
    "conn_string": ":memory:",
    "backend": URL,
    "path_or_file": io.StringIO(),
    "source": io.StringIO(),
}
"""Arguments that are accepted."""


class Case(NamedTuple):
    """One call with one long argument."""

    function: Callable[..., Any]
    parameter: str
    value: Any

    def __str__(self) -> str:
        return f"{getattr(self.function, '__qualname__', self.function)}({self.parameter}: {type(self.value).__name__})"

    def __call__(self) -> Any:
        positional: list[Any] = []
        named: dict[str, Any] = {}
        signature = inspect.signature(self.function)
        for one in signature.parameters.values():
            is_variable = one.kind in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
            if is_variable or (one.name != self.parameter and one.default is not one.empty):
                continue
            chosen = self.value if one.name == self.parameter else GIVEN.get(one.name, "a")
            if one.kind is one.POSITIONAL_ONLY:
                positional.append(chosen)
            else:
                named[one.name] = chosen
        if self.parameter not in signature.parameters:
            named[self.parameter] = self.value
        return self.function(*positional, **named)


def cases(functions: Iterable[Callable[..., Any]]) -> Iterator[Case]:
    """The calls of functions with each of their arguments in turn, and each long value."""
    for function in functions:
        for one in inspect.signature(function).parameters.values():
            if one.kind is not one.VAR_POSITIONAL and not one.name.startswith("_"):
                for name in OPTIONS if one.kind is one.VAR_KEYWORD else [one.name]:
                    for value in LONG.values():
                        yield Case(function, name, value)


def methods(surface: Any) -> list[Callable[..., Any]]:
    """The public methods that take arguments."""
    names = [name for name in dir(type(surface)) if not name.startswith("_") and name not in INHERITED]
    return [getattr(surface, name) for name in names if inspect.isfunction(inspect.getattr_static(type(surface), name))]


async def outcome(case: Case) -> str:
    """The text of the error that a call raises; empty if it raises none."""
    try:
        found = case()
        if inspect.isasyncgen(found):
            await anext(found, None)
        elif inspect.isawaitable(found):
            await found
        elif inspect.isgenerator(found):
            next(found, None)
    except Exception as error:  # the text of any error is looked at
        return str(error)
    return ""


async def faults(functions: Iterable[Callable[..., Any]]) -> list[str]:
    """The calls whose errors are too long."""
    found = []
    for case in cases(functions):
        said = await outcome(case)
        if len(said) > LONGEST or "Exceeds the limit" in said:
            found.append(f"{case}: {said:.120}")
    return found


@pytest.mark.parametrize("surface", SURFACES)
async def test_errors_of_methods_show_the_beginning_of_a_long_argument(surface: str):
    with AgentMemory.from_url(URL) as memory:
        assert await faults(methods(SURFACES[surface](memory))) == []


async def test_errors_of_constructors_show_the_beginning_of_a_long_argument():
    assert await faults(CONSTRUCTORS) == []
