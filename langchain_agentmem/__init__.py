"""Memory for LangChain and LangGraph that plugs in with no glue."""

from langchain_agentmem.checkpointer import AgentMemSaver
from langchain_agentmem.compression.compressor import CompressionEvent, MemoryCompressor
from langchain_agentmem.compression.summaries import SessionSummary
from langchain_agentmem.errors import (
    AgentMemError,
    BudgetError,
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
from langchain_agentmem.memory import AgentMemory
from langchain_agentmem.models import FoundMessage, FoundMessages, Retention, SessionInfo, StoredMessage, ThreadInfo
from langchain_agentmem.store import AgentMemStore

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
    "FoundMessage",
    "FoundMessages",
    "InvalidInputError",
    "InvalidTypeError",
    "MemoryCompressor",
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
