"""Memory for LangChain and LangGraph: chat history, store, checkpointer and knowledge about users on one database.

    from langchain_agentmem import AgentMemory

    memory = AgentMemory.from_url("sqlite:///agentmem.db")  # or postgresql://…, redis://…

`memory.history`, `memory.store` and `memory.checkpointer` implement LangChain's and LangGraph's interfaces. Every method has
an async twin with the prefix `a`. Run `python -m langchain_agentmem` for a demo.

Classes:
    AgentMemory: The memory of an application.
    AgentMemHistory: LangChain's chat history of one session.
    AgentMemStore: LangGraph's store.
    AgentMemSaver: LangGraph's checkpointer.
    AgentMemCache: LangGraph's cache of node and task results.
    MemoryCompressor: Fits a conversation into a budget with a running summary; see `memory.compressor`.
    MemoryPrompt: A chat prompt template that memory fills in; see `memory.prompt`.
    RecentContext: How much of a session a prompt quotes; see `recent=` of `memory.prompt`.
    ProfileExtractor: Extracts profiles, facts and entities from conversations; see `memory.profile_node`.
    Profiles: Profiles of users and facts about them; see `memory.profiles`.
    CleanupPolicy: The rules of the cleanup in the background; see `cleanup=`.
    ReadCache: The settings of a cache of variables and profiles; see `read_cache=`.
    Retention: The retention policy of sessions.
    KnowledgeSource: A retriever or vector store as shared knowledge, with a name; see `knowledge=`.
    Guard: Rules for what must not be stored, such as credentials; see `guard=`.
    TokenCounter: Counts the tokens of messages, with a price for images; see `token_counter=`.
    UserProfile: The default schema of a profile.

Results:
    SessionInfo: One session in `memory.sessions.list()`.
    ThreadInfo: One thread in `memory.checkpointer.threads()`.
    MissingClass: A stored value whose class does not exist any more, as `migrate=` is given it.
    MigratedThreads: The result of `memory.checkpointer.migrate(function)`.
    CopiedThreads: The result of `memory.checkpointer.copy_from(saver)`.
    StoredMessage: A message of a session with its position, time, agent and metadata.
    Forgotten: The receipt of `memory.forget()`.
    FoundItem: An item that a search found, with its score and similarity.
    FoundMessage: A message that a search found, with its score.
    FoundMessages: The result of a search for messages.
    SessionSummary: The summary of a session or thread.
    ConversationSummary: One session or thread in `memory.summaries()`.
    CompressionEvent: One compression of a conversation.
    Fact: A statement about a user, with its sources and validity period.
    Facts: A list of facts.
    Entity: A node of a user's knowledge graph.
    Relation: An edge of a user's knowledge graph.
    EntityGraph: Entities with their relations.
    EntityChanges: Proposed changes of entities and relations, as a model returns them.
    Extraction: The result of one extraction, for `on_extraction`.
    Record: One record of an agent; see `memory.records`.
    Session: A session as a context manager; see `memory.session`.
    SessionOverview: The contents of a session in numbers, as `Session.summary` returns them.
    SavedMemory: A text that a user or an agent asked to keep.
    KnowledgeEntry: A text in a collection of shared knowledge.
    Recall: The stored knowledge that answers a message; see `memory.recall`.
    RecalledItem: One item of it.
    MovedConversation: The result of `memory.to_thread()` and `memory.from_thread()`.
    Reindexed: The result of `memory.reindex()`.
    Rotated: The result of `memory.rotate_key()`.
    Stats: The result of `memory.stats()`.
    Cleanup: The result of `memory.cleanup()`.
    Variable: A variable that `memory.variables.search` found.

Functions:
    new_key: Returns a new key for `key=`, which encrypts the memory.

Errors:
    AgentMemError: Base class of all errors of this package.
    InvalidInputError: An argument has a wrong value.
    SecretFoundError: A text contains a credential, which the guard refuses.
    InvalidTypeError: An argument has a wrong type.
    UnsupportedValueError: A value would not come back equal.
    BudgetError: A message does not fit a budget.
    UnknownCollectionError: No collection of shared knowledge has this name.
    UnknownMessageError: No message of the history has this ID.
    UnknownSelectionError: No session, user or thread to export or copy has this ID.
    ConfigurationError: A URL, a setting or an installed package is wrong.
    WrongKeyError: A memory's key does not fit its database.
    EmbeddingsChangedError: The stored vectors belong to another embedding model.
    InvalidVectorsError: The embedding model returns no usable vectors.
    EmbeddingDimensionsError: The embedding model returns other dimensions than configured.
    EmbeddingError: The embedding model failed.
    ThreadInUseError: Checkpoints of a thread are still needed.
    StorageError: The database failed.
    StorageBusyError: Another writer held a lock for too long.
    StorageClosedError: The memory is closed.
    ConflictError: Concurrent writers kept changing the same data.
    MissingClassError: A stored checkpoint has a value whose class does not exist any more.
    MigrationError: The function `migrate=` failed.
    DamagedDataError: Stored data cannot be read.
    TamperedDataError: Encrypted data was altered.
    IgnoredKeyWarning: `AGENTMEM_KEY` is set, but does not apply.
    ExistingDataWarning: The database has data of another package, which the memory does not read.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
    IgnoredKeyWarning,
    InvalidInputError,
    InvalidTypeError,
    InvalidVectorsError,
    MigrationError,
    MissingClassError,
    SecretFoundError,
    StorageBusyError,
    StorageClosedError,
    StorageError,
    TamperedDataError,
    ThreadInUseError,
    UnknownCollectionError,
    UnknownMessageError,
    UnknownSelectionError,
    UnsupportedValueError,
    WrongKeyError,
)

if TYPE_CHECKING:
    from langchain_agentmem.arguments.caching import ReadCache
    from langchain_agentmem.arguments.cleaning import CleanupPolicy
    from langchain_agentmem.arguments.retention import Retention
    from langchain_agentmem.caching.face import AgentMemCache
    from langchain_agentmem.checkpointing.face import AgentMemSaver
    from langchain_agentmem.checkpointing.models import CopiedThreads, MigratedThreads, ThreadInfo
    from langchain_agentmem.compression.compressor import MemoryCompressor
    from langchain_agentmem.compression.events import CompressionEvent
    from langchain_agentmem.compression.summaries import SessionSummary
    from langchain_agentmem.encoding.encryption import new_key
    from langchain_agentmem.encoding.missing import MissingClass
    from langchain_agentmem.history.face import AgentMemHistory
    from langchain_agentmem.history.models import SessionInfo
    from langchain_agentmem.knowledge.collections import KnowledgeEntry
    from langchain_agentmem.knowledge.entities.changes import EntityChanges
    from langchain_agentmem.knowledge.entities.models import Entity, EntityGraph, Relation
    from langchain_agentmem.knowledge.extraction.face import ProfileExtractor
    from langchain_agentmem.knowledge.extraction.results import Extraction
    from langchain_agentmem.knowledge.facts.face import Profiles
    from langchain_agentmem.knowledge.facts.facts import Fact, Facts
    from langchain_agentmem.knowledge.facts.schema import UserProfile
    from langchain_agentmem.knowledge.memories import SavedMemory
    from langchain_agentmem.knowledge.retrievers import KnowledgeSource
    from langchain_agentmem.lifecycle.cleaning.results import Cleanup
    from langchain_agentmem.lifecycle.forgetting import Forgotten
    from langchain_agentmem.lifecycle.handover.engine import MovedConversation
    from langchain_agentmem.lifecycle.records import Record
    from langchain_agentmem.lifecycle.reindexing import Reindexed
    from langchain_agentmem.lifecycle.rotation import Rotated
    from langchain_agentmem.lifecycle.session import Session, SessionOverview
    from langchain_agentmem.lifecycle.statistics import Stats
    from langchain_agentmem.lifecycle.summaries import ConversationSummary
    from langchain_agentmem.memory import AgentMemory
    from langchain_agentmem.messages.models import FoundMessage, FoundMessages, StoredMessage
    from langchain_agentmem.messages.tokens import TokenCounter
    from langchain_agentmem.prompting.prompt import MemoryPrompt
    from langchain_agentmem.prompting.recall.results import Recall, RecalledItem
    from langchain_agentmem.prompting.values import RecentContext
    from langchain_agentmem.prompting.variables.models import Variable
    from langchain_agentmem.store.face import AgentMemStore
    from langchain_agentmem.store.items import FoundItem
    from langchain_agentmem.text.guard import Guard

__all__ = [
    "AgentMemCache",
    "AgentMemError",
    "AgentMemHistory",
    "AgentMemSaver",
    "AgentMemStore",
    "AgentMemory",
    "BudgetError",
    "Cleanup",
    "CleanupPolicy",
    "CompressionEvent",
    "ConfigurationError",
    "ConflictError",
    "ConversationSummary",
    "CopiedThreads",
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
    "Forgotten",
    "FoundItem",
    "FoundMessage",
    "FoundMessages",
    "Guard",
    "IgnoredKeyWarning",
    "InvalidInputError",
    "InvalidTypeError",
    "InvalidVectorsError",
    "KnowledgeEntry",
    "KnowledgeSource",
    "MemoryCompressor",
    "MemoryPrompt",
    "MigratedThreads",
    "MigrationError",
    "MissingClass",
    "MissingClassError",
    "MovedConversation",
    "ProfileExtractor",
    "Profiles",
    "ReadCache",
    "Recall",
    "RecalledItem",
    "RecentContext",
    "Record",
    "Reindexed",
    "Relation",
    "Retention",
    "Rotated",
    "SavedMemory",
    "SecretFoundError",
    "Session",
    "SessionInfo",
    "SessionOverview",
    "SessionSummary",
    "Stats",
    "StorageBusyError",
    "StorageClosedError",
    "StorageError",
    "StoredMessage",
    "TamperedDataError",
    "ThreadInUseError",
    "ThreadInfo",
    "TokenCounter",
    "UnknownCollectionError",
    "UnknownMessageError",
    "UnknownSelectionError",
    "UnsupportedValueError",
    "UserProfile",
    "Variable",
    "WrongKeyError",
    "new_key",
]

_LATER = {
    "AgentMemCache": "caching.face",
    "AgentMemHistory": "history.face",
    "AgentMemSaver": "checkpointing.face",
    "AgentMemStore": "store.face",
    "AgentMemory": "memory",
    "CompressionEvent": "compression.events",
    "ConversationSummary": "lifecycle.summaries",
    "CopiedThreads": "checkpointing.models",
    "Entity": "knowledge.entities.models",
    "EntityChanges": "knowledge.entities.changes",
    "EntityGraph": "knowledge.entities.models",
    "Extraction": "knowledge.extraction.results",
    "Fact": "knowledge.facts.facts",
    "Facts": "knowledge.facts.facts",
    "Forgotten": "lifecycle.forgetting",
    "FoundItem": "store.items",
    "FoundMessage": "messages.models",
    "FoundMessages": "messages.models",
    "Guard": "text.guard",
    "KnowledgeEntry": "knowledge.collections",
    "KnowledgeSource": "knowledge.retrievers",
    "MemoryCompressor": "compression.compressor",
    "MemoryPrompt": "prompting.prompt",
    "MigratedThreads": "checkpointing.models",
    "MissingClass": "encoding.missing",
    "MovedConversation": "lifecycle.handover.engine",
    "ProfileExtractor": "knowledge.extraction.face",
    "Profiles": "knowledge.facts.face",
    "ReadCache": "arguments.caching",
    "Recall": "prompting.recall.results",
    "RecalledItem": "prompting.recall.results",
    "RecentContext": "prompting.values",
    "Record": "lifecycle.records",
    "Cleanup": "lifecycle.cleaning.results",
    "CleanupPolicy": "arguments.cleaning",
    "Reindexed": "lifecycle.reindexing",
    "Rotated": "lifecycle.rotation",
    "Relation": "knowledge.entities.models",
    "Retention": "arguments.retention",
    "SavedMemory": "knowledge.memories",
    "Session": "lifecycle.session",
    "SessionInfo": "history.models",
    "SessionOverview": "lifecycle.session",
    "SessionSummary": "compression.summaries",
    "Stats": "lifecycle.statistics",
    "StoredMessage": "messages.models",
    "ThreadInfo": "checkpointing.models",
    "TokenCounter": "messages.tokens",
    "UserProfile": "knowledge.facts.schema",
    "Variable": "prompting.variables.models",
    "new_key": "encoding.encryption",
}
"""The modules of the names that are imported on first use, so that importing the package stays fast."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("langchain-agentmem")
    if name not in _LATER:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__all__", "__doc__", "__file__", "__name__", "__path__", "__version__"]
