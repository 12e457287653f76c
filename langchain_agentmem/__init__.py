"""Memory for LangChain and LangGraph that plugs in with no glue."""

from langchain_agentmem.checkpointer import AgentMemSaver
from langchain_agentmem.errors import (
    AgentMemError,
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

__all__ = [
    "AgentMemError",
    "AgentMemHistory",
    "AgentMemSaver",
    "AgentMemStore",
    "AgentMemory",
    "ConfigurationError",
    "ConflictError",
    "DamagedDataError",
    "EmbeddingError",
    "EmbeddingsChangedError",
    "FoundMessage",
    "FoundMessages",
    "InvalidInputError",
    "InvalidTypeError",
    "Reindexed",
    "Retention",
    "SessionInfo",
    "StorageBusyError",
    "StorageClosedError",
    "StorageError",
    "StoredMessage",
    "ThreadInUseError",
    "ThreadInfo",
    "UnsupportedValueError",
]
