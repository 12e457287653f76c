"""Keyword arguments that functions pass on to constructors, for type checkers and for checks at run time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidTypeError

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings
    from langgraph.checkpoint.serde.base import SerializerProtocol
    from langgraph.store.base import IndexConfig, TTLConfig

    from langchain_agentmem.arguments.caching import ReadCache
    from langchain_agentmem.arguments.cleaning import CleanupPolicy
    from langchain_agentmem.arguments.retention import Retention
    from langchain_agentmem.checkpointing.migration.values import Migrate
    from langchain_agentmem.compression.compressor import MemoryCompressor
    from langchain_agentmem.compression.events import CompressionEvent
    from langchain_agentmem.encoding.encryption import Key
    from langchain_agentmem.knowledge.extraction.results import Extraction
    from langchain_agentmem.text.guard import Guard


class MemoryOptions(TypedDict, total=False):
    """The keyword arguments of `AgentMemory`."""

    embeddings: Embeddings | Callable[..., Any] | str | None
    index: IndexConfig | None
    tenant: str
    ttl: timedelta | float | None
    max_messages: int | None
    max_tokens: int | None
    retention: Retention | Mapping[str | None, Retention] | None
    serde: SerializerProtocol | None
    compact: bool
    migrate: Migrate | None
    embed_history: bool
    read_cache: ReadCache | None
    cleanup: CleanupPolicy | None
    guard: Guard | None
    session_timeout: timedelta | float | None
    key: Key | None
    searchable: bool | None
    index_fields: Sequence[str] | None
    search_cache: float | None


class StoreOptions(TypedDict, total=False):
    """The keyword arguments of `AgentMemStore`."""

    index: IndexConfig | None
    ttl: TTLConfig | None
    tenant: str
    guard: Guard | None
    key: Key | None
    searchable: bool | None
    index_fields: Sequence[str] | None


class SaverOptions(TypedDict, total=False):
    """The keyword arguments of `AgentMemSaver`."""

    serde: SerializerProtocol | None
    migrate: Migrate | None
    ttl: timedelta | float | None
    tenant: str
    compact: bool
    guard: Guard | None
    key: Key | None
    searchable: bool | None


class CacheOptions(TypedDict, total=False):
    """The keyword arguments of `AgentMemCache`."""

    serde: SerializerProtocol | None
    ttl: timedelta | float | None
    tenant: str
    guard: Guard | None
    key: Key | None
    searchable: bool | None


class HistoryOptions(TypedDict, total=False):
    """The keyword arguments of `AgentMemHistory`."""

    user_id: str | None
    agent: str | None
    tenant: str
    max_messages: int | None
    max_tokens: int | None
    token_counter: Any
    compressor: MemoryCompressor | None
    retention: Retention | None
    embeddings: Embeddings | Callable[..., Any] | str | None
    turn: bool
    key: Key | None
    searchable: bool | None


class CompressorOptions(TypedDict, total=False):
    """The keyword arguments of `MemoryCompressor` that `AgentMemory.compressor` takes."""

    max_tokens: int | None
    max_messages: int | None
    keep_recent: int | None
    summary_tokens: int | None
    token_counter: Any
    tools: Sequence[Any]
    instructions: str
    structured: bool
    summary_role: str
    input_tokens: int | None
    time_limit: timedelta | float
    on_event: Callable[[CompressionEvent], None] | None
    language: str
    trigger: tuple[str, float] | list[tuple[str, float]] | None
    shrink: bool


class LearnOptions(TypedDict, total=False):
    """The keyword arguments of `ProfileExtractor` that `AgentMemory.learn` takes."""

    method: Literal["auto", "tools", "json_schema", "json"]
    entities: bool
    time_limit: timedelta | float
    instructions: str | None
    language: str | None
    from_assistant: bool
    on_extraction: Callable[[Extraction], Any] | None


class ExtractorOptions(LearnOptions, total=False):
    """The keyword arguments of `ProfileExtractor` that `AgentMemory.profile_node` takes."""

    when: Literal["turn", "background", "debounce"]
    delay: timedelta | float
    messages_key: str


def check_options(function: str, given: Mapping[str, object], known: type) -> None:
    """Check the names of keyword arguments.

    Args:
        function: The function's name, for the error.
        given: The keyword arguments.
        known: The `TypedDict` of the function's arguments.

    Raises:
        InvalidTypeError: The function has no argument of that name.
    """
    names = known.__annotations__
    unknown = next((name for name in given if name not in names), None)
    if unknown is not None:
        msg = f"{function} has no argument {shown(unknown)}: {shown(given[unknown])}. Known arguments: {', '.join(names)}."
        raise InvalidTypeError(msg)
