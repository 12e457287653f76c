"""Assembling the middleware for agents from its parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from langchain_agentmem.arguments.values import check_count, check_flag, shown
from langchain_agentmem.compression.compressor import MemoryCompressor
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError
from langchain_agentmem.history.engine import HistoryEngine
from langchain_agentmem.knowledge.extraction.face import ProfileExtractor, check_when
from langchain_agentmem.knowledge.facts.schema import Schema, UserProfile
from langchain_agentmem.messages.limits import input_limit
from langchain_agentmem.prompting.recall.user_knowledge import UserKnowledge
from langchain_agentmem.store.engine import StoreEngine

if TYPE_CHECKING:
    from pydantic import BaseModel

    from langchain_agentmem.knowledge.retrievers import KnowledgeOrigin

DEFAULT_TOKENS = 16_000
"""The budget of a request if the model's limit is unknown."""

_SHARE_OF_LIMIT = 0.75
_RECALLED_ENTITIES = 8


class MiddlewareSettings(NamedTuple):
    """The arguments of `AgentMemory.middleware` except the model."""

    max_tokens: int | None
    facts: int
    memories: int
    turns: int
    knowledge: Sequence[KnowledgeOrigin]
    max_characters: int
    schema: type[BaseModel] | Mapping[str, Any] | None
    entities: bool
    when: Literal["turn", "background", "debounce"]
    learn: bool
    tools: bool
    context_tools: bool
    compressor: MemoryCompressor | None
    extractor: ProfileExtractor | None

    def check(self) -> None:
        """Check the arguments and their combinations.

        Raises:
            InvalidInputError: A value is not accepted, or two arguments contradict each other.
            InvalidTypeError: An argument has the wrong type.
        """
        check_when(self.when)
        for name, kind in (("compressor", MemoryCompressor), ("extractor", ProfileExtractor)):
            given = getattr(self, name)
            if given is not None and not isinstance(given, kind):
                msg = f"{name} must be a {kind.__name__}, got {type(given).__name__}: {shown(given)}."
                raise InvalidTypeError(msg)
        if self.max_tokens is not None and self.compressor is not None:
            msg = (
                f"max_tokens={shown(self.max_tokens, 40)} has no effect beside compressor, which has a budget of its own. "
                "Pass one of the two."
            )
            raise InvalidInputError(msg)
        if self.extractor is not None and self.when != "background":
            msg = (
                f"when={shown(self.when, 40)} has no effect beside extractor, which has a setting of its own. "
                "Pass one of the two."
            )
            raise InvalidInputError(msg)
        for name in ("entities", "learn", "tools", "context_tools"):
            check_flag(name, getattr(self, name))
        if self.extractor is not None and not self.learn:
            msg = "learn=False cannot be combined with extractor: an extractor extracts from every turn. Pass one of the two."
            raise InvalidInputError(msg)

    def token_budget(self, model: Any) -> int:
        """Return the maximum number of tokens of a request."""
        if self.max_tokens is not None:
            return self.max_tokens
        limit = input_limit(model)
        return DEFAULT_TOKENS if limit is None else int(limit * _SHARE_OF_LIMIT)

    def recall(self, store: StoreEngine, history: HistoryEngine) -> UserKnowledge:
        """Return the object that reads a user's profile, facts and memories for a request."""
        return UserKnowledge(
            store,
            Schema(UserProfile if self.schema is None else self.schema),
            check_count("facts", self.facts, least=0),
            check_count("memories", self.memories, least=0),
            _RECALLED_ENTITIES if self.entities else 0,
            self.knowledge,
            check_count("max_characters", self.max_characters),
            check_count("turns", self.turns, least=0),
            history,
        )
