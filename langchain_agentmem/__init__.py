"""Memory for LangChain and LangGraph that plugs in with no glue."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from langchain_agentmem.checkpointer import AgentMemSaver
from langchain_agentmem.compression.summaries import SessionSummary
from langchain_agentmem.errors import (
    AgentMemError,
    BudgetError,
    ConfigurationError,
    ConflictError,
    DamagedDataError,
    EmbeddingError,
    EmbeddingsChangedError,
    InvalidInputError,
    InvalidTypeError,
    StorageBusyError,
    StorageClosedError,
    StorageError,
    ThreadInUseError,
    UnsupportedValueError,
)
from langchain_agentmem.history import AgentMemHistory
from langchain_agentmem.lifecycle.reindexing import Reindexed
from langchain_agentmem.memory import AgentMemory
from langchain_agentmem.models import FoundMessage, FoundMessages, Retention, SessionInfo, StoredMessage, ThreadInfo
from langchain_agentmem.store import AgentMemStore

if TYPE_CHECKING:
    from langchain_agentmem.compression.compressor import CompressionEvent, MemoryCompressor

__all__ = [
    "AgentMemError",
    "AgentMemHistory",
    "AgentMemSaver",
    "AgentMemStore",
    "AgentMemory",
    "BudgetError",
    "CompressionEvent",
    "ConfigurationError",
    "ConflictError",
    "DamagedDataError",
    "EmbeddingError",
    "EmbeddingsChangedError",
    "FoundMessage",
    "FoundMessages",
    "InvalidInputError",
    "InvalidTypeError",
    "MemoryCompressor",
    "Reindexed",
    "Retention",
    "SessionInfo",
    "SessionSummary",
    "StorageBusyError",
    "StorageClosedError",
    "StorageError",
    "StoredMessage",
    "ThreadInUseError",
    "ThreadInfo",
    "UnsupportedValueError",
]

_LATER = {
    "CompressionEvent": "langchain_agentmem.compression.compressor",
    "MemoryCompressor": "langchain_agentmem.compression.compressor",
}
"""What is imported when it is asked for, since what it derives from takes long to import."""


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
