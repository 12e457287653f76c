"""Memory for LangChain and LangGraph that plugs in with no glue."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from langchain_agentmem.arguments.retention import Retention
from langchain_agentmem.checkpointing.face import AgentMemSaver
from langchain_agentmem.checkpointing.models import ThreadInfo
from langchain_agentmem.compression.summaries import SessionSummary
from langchain_agentmem.errors import (
    AgentMemError,
    BudgetError,
    ConfigurationError,
    ConflictError,
    DamagedDataError,
    EmbeddingDimensionsError,
    EmbeddingError,
    EmbeddingsChangedError,
    ExistingDataWarning,
    InvalidInputError,
    InvalidTypeError,
    InvalidVectorsError,
    StorageBusyError,
    StorageClosedError,
    StorageError,
    ThreadInUseError,
    UnknownCollectionError,
    UnsupportedValueError,
)
from langchain_agentmem.history.face import AgentMemHistory
from langchain_agentmem.history.models import SessionInfo
from langchain_agentmem.knowledge.facts.facts import Fact, Facts
from langchain_agentmem.knowledge.facts.schema import UserProfile
from langchain_agentmem.lifecycle.reindexing import Reindexed
from langchain_agentmem.lifecycle.summaries import ConversationSummary
from langchain_agentmem.memory import AgentMemory
from langchain_agentmem.messages.models import FoundMessage, FoundMessages, StoredMessage
from langchain_agentmem.store.face import AgentMemStore

if TYPE_CHECKING:
    from langchain_agentmem.compression.compressor import CompressionEvent, MemoryCompressor
    from langchain_agentmem.knowledge.collections import KnowledgeEntry
    from langchain_agentmem.knowledge.entities.changes import EntityChanges
    from langchain_agentmem.knowledge.entities.models import Entity, EntityGraph, Relation
    from langchain_agentmem.knowledge.extraction.face import ProfileExtractor
    from langchain_agentmem.knowledge.extraction.results import Extraction
    from langchain_agentmem.knowledge.facts.face import Profiles
    from langchain_agentmem.knowledge.memories import SavedMemory

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
    "ConversationSummary",
    "DamagedDataError",
    "EmbeddingDimensionsError",
    "EmbeddingError",
    "EmbeddingsChangedError",
    "Entity",
    "EntityChanges",
    "EntityGraph",
    "ExistingDataWarning",
    "Extraction",
    "Fact",
    "Facts",
    "FoundMessage",
    "FoundMessages",
    "InvalidInputError",
    "InvalidTypeError",
    "InvalidVectorsError",
    "KnowledgeEntry",
    "MemoryCompressor",
    "ProfileExtractor",
    "Profiles",
    "Reindexed",
    "Relation",
    "Retention",
    "SavedMemory",
    "SessionInfo",
    "SessionSummary",
    "StorageBusyError",
    "StorageClosedError",
    "StorageError",
    "StoredMessage",
    "ThreadInUseError",
    "ThreadInfo",
    "UnknownCollectionError",
    "UnsupportedValueError",
    "UserProfile",
]

_LATER = {
    "CompressionEvent": "compression.compressor",
    "Entity": "knowledge.entities.models",
    "EntityChanges": "knowledge.entities.changes",
    "EntityGraph": "knowledge.entities.models",
    "Extraction": "knowledge.extraction.results",
    "KnowledgeEntry": "knowledge.collections",
    "MemoryCompressor": "compression.compressor",
    "ProfileExtractor": "knowledge.extraction.face",
    "Profiles": "knowledge.facts.face",
    "Relation": "knowledge.entities.models",
    "SavedMemory": "knowledge.memories",
}
"""Names whose modules are imported when they are first used: who needs none of them does not wait for them."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
