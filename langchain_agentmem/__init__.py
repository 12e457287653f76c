"""Memory for LangChain and LangGraph that plugs in with no glue."""

from typing import TYPE_CHECKING, Any

from langchain_agentmem.checkpointer import AgentMemSaver
from langchain_agentmem.errors import (
    AgentMemError,
    ConfigurationError,
    ConflictError,
    DamagedDataError,
    InvalidInputError,
    InvalidTypeError,
    StorageBusyError,
    StorageClosedError,
    StorageError,
    ThreadInUseError,
    UnsupportedValueError,
)
from langchain_agentmem.history import AgentMemHistory
from langchain_agentmem.knowledge.extraction import Extraction
from langchain_agentmem.knowledge.facts import Fact, Facts
from langchain_agentmem.knowledge.profiles import Profiles
from langchain_agentmem.knowledge.schema import UserProfile
from langchain_agentmem.memory import AgentMemory
from langchain_agentmem.models import FoundMessage, FoundMessages, Retention, SessionInfo, StoredMessage, ThreadInfo
from langchain_agentmem.store import AgentMemStore

if TYPE_CHECKING:
    from langchain_agentmem.knowledge.extractor import ProfileExtractor

__all__ = [
    "AgentMemError",
    "AgentMemHistory",
    "AgentMemSaver",
    "AgentMemStore",
    "AgentMemory",
    "ConfigurationError",
    "ConflictError",
    "DamagedDataError",
    "Extraction",
    "Fact",
    "Facts",
    "FoundMessage",
    "FoundMessages",
    "InvalidInputError",
    "InvalidTypeError",
    "ProfileExtractor",
    "Profiles",
    "Retention",
    "SessionInfo",
    "StorageBusyError",
    "StorageClosedError",
    "StorageError",
    "StoredMessage",
    "ThreadInUseError",
    "ThreadInfo",
    "UnsupportedValueError",
    "UserProfile",
]

_RUNNABLES = {"ProfileExtractor": "langchain_agentmem.knowledge.extractor"}
"""What derives from LangChain's `Runnable`, whose import takes longer than all else here together: loaded when it is used."""


def __getattr__(name: str) -> Any:
    if name in _RUNNABLES:
        from importlib import import_module

        return getattr(import_module(_RUNNABLES[name]), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
