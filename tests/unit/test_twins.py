"""Every public method and its async twin take the same arguments."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from langchain_agentmem import (
    AgentMemCache,
    AgentMemHistory,
    AgentMemory,
    AgentMemSaver,
    AgentMemStore,
    MemoryCompressor,
)
from langchain_agentmem.agents.middleware import MemoryMiddleware
from langchain_agentmem.knowledge.entities.face import Entities
from langchain_agentmem.knowledge.extraction.face import ProfileExtractor
from langchain_agentmem.knowledge.extraction.scheduler import Schedule
from langchain_agentmem.knowledge.facts.face import Profiles
from langchain_agentmem.knowledge.memories import Memories
from langchain_agentmem.knowledge.shared import SharedKnowledge
from langchain_agentmem.lifecycle.records import Records
from langchain_agentmem.lifecycle.session import Session
from langchain_agentmem.lifecycle.session_parts import SessionRecords, SessionVariables
from langchain_agentmem.lifecycle.sessions import Sessions
from langchain_agentmem.prompting.variables.face import Variables

CLASSES = (
    AgentMemCache,
    AgentMemory,
    AgentMemHistory,
    AgentMemSaver,
    AgentMemStore,
    Entities,
    Memories,
    MemoryCompressor,
    MemoryMiddleware,
    ProfileExtractor,
    Profiles,
    Records,
    Schedule,
    Session,
    SessionRecords,
    SessionVariables,
    Sessions,
    SharedKnowledge,
    Variables,
)

AWAITED = {
    (AgentMemStore, "update", "function"),
    (AgentMemStore, "update_many", "function"),
    (MemoryMiddleware, "wrap_model_call", "handler"),
}
"""Functions that the async twin awaits, so that only their annotations differ."""


def _is_ours(value: Any) -> bool:
    return (value if isinstance(value, type) else type(value)).__module__.startswith("langchain_agentmem")


def _pairs() -> list[Any]:
    """Each of our methods that has an async twin; methods that LangChain and LangGraph define are overridden by us."""
    return [
        pytest.param(kind, name, id=f"{kind.__name__}.{name}")
        for kind in CLASSES
        for name in sorted({name for one in kind.__mro__ if _is_ours(one) for name in vars(one)})
        if not name.startswith("_")
        if callable(getattr(kind, name)) and callable(getattr(kind, f"a{name}", None))
    ]


def _parameters(kind: type, name: str, method: str) -> list[tuple[Any, ...]]:
    signature = inspect.signature(getattr(kind, method))
    return [
        (one.name, one.kind, one.default, None if (kind, name, one.name) in AWAITED else one.annotation)
        for one in signature.parameters.values()
    ]


@pytest.mark.parametrize(("kind", "name"), _pairs())
def test_a_method_and_its_async_twin_have_the_same_signature(kind: type, name: str) -> None:
    assert _parameters(kind, name, name) == _parameters(kind, name, f"a{name}")
    returns, areturns = (inspect.signature(getattr(kind, method)).return_annotation for method in (name, f"a{name}"))
    assert areturns.removeprefix("Async") == returns


def _methods(kind: type) -> set[str]:
    """The public methods that a class of ours defines; programs are run by others."""
    return {
        name
        for one in kind.__mro__
        if _is_ours(one)
        for name, value in vars(one).items()
        if not name.startswith("_")
        and inspect.isfunction(value)
        and not str(inspect.signature(value).return_annotation).startswith("Program")
    }


WITHOUT_TWIN = {
    AgentMemory: {
        "for_tenant",
        "file_retriever",
        "as_retriever",
        "prompt",
        "compressor",
        "get_session_history",
        "history",
        "middleware",
        "profile_node",
        "session",
        "session_history",
        "tools",
    },
    AgentMemHistory: {"aget_messages"},  # the twin of the property `messages`
    AgentMemSaver: {"get_next_version", "with_allowlist"},
    AgentMemStore: {"start_ttl_sweeper", "stop_ttl_sweeper"},
    MemoryCompressor: {"as_middleware", "as_node", "as_pre_model_hook"},
    Schedule: {"forget", "forked", "submit", "waiting_of"},
    Session: {"history", "retention_of"},
}
"""Methods that touch no database, so that they need no async twin."""


@pytest.mark.parametrize("kind", CLASSES)
def test_every_public_method_has_an_async_twin(kind: type) -> None:
    methods = _methods(kind) - WITHOUT_TWIN.get(kind, set())
    twins = {f"a{name}" for name in methods if hasattr(kind, f"a{name}")}
    assert {name for name in methods - twins if not hasattr(kind, f"a{name}")} == set()


def test_every_class_that_belongs_to_a_memory_is_compared() -> None:
    with AgentMemory.from_url("sqlite:///:memory:") as memory:
        names = [name for name in dir(memory) if not name.startswith("_") and name not in {"backend", "read_cache"}]
        attributes = [getattr(memory, name) for name in names]
    assert {type(one) for one in attributes if _is_ours(one)} - {*CLASSES} == set()
