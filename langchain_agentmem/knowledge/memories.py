"""Memories: short texts that a user or an agent asked to keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import NoneType
from typing import Any, NamedTuple

from langgraph.store.base import GetOp, SearchOp

from langchain_agentmem.arguments.ids import check_id, check_name, check_optional_id
from langchain_agentmem.arguments.values import check_count, shown
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.errors import DamagedDataError
from langchain_agentmem.knowledge.face import KnowledgeFace
from langchain_agentmem.knowledge.items import read_batch, readable
from langchain_agentmem.knowledge.names import checked_content, folded_sentence, text_id
from langchain_agentmem.knowledge.namespaces import MEMORIES, user_namespace
from langchain_agentmem.knowledge.provenance import AGENT, METADATA, checked_metadata, condition_of
from langchain_agentmem.programs import Program, arun, run
from langchain_agentmem.store.engine import StoreEngine
from langchain_agentmem.store.face import AgentMemStore
from langchain_agentmem.text.tables import FieldTable, html_table

LONGEST_MEMORY = 2_000
"""Default of the longest memory, in characters."""

LONGEST_IMPORT = 100_000
"""The longest memory of another package, in characters."""

_INDEX = ["text"]


@dataclass(frozen=True)
class SavedMemory(FieldTable):
    """One memory of a user."""

    id: str
    """Identifies the memory among those of its user; `Memories.forget` takes it."""
    text: str
    times: int
    """Number of times that it was saved."""
    created_at: datetime
    updated_at: datetime
    score: float | None = None
    """Relevance to the query of a search, from 0 to 1; None if there was no query."""
    metadata: dict[str, Any] = field(default_factory=dict)
    agent: str | None = None
    """Agent that saved it first; None if it is unknown."""


class MemoryImport(NamedTuple):
    """A memory of another package, checked."""

    key: str
    value: dict[str, Any]
    """The value of the item."""

    @classmethod
    def of(
        cls, text: Any, created_at: datetime, updated_at: datetime, metadata: Any, agent: str | None
    ) -> MemoryImport:
        """Check the parts of a memory.

        Raises:
            InvalidTypeError: The text is not a string, or the metadata are not a mapping.
            InvalidInputError: The text is empty or too long, or the metadata are not JSON-serialisable.
        """
        content = checked_content("The memory", text, LONGEST_IMPORT)
        times = {
            "created_at": min(created_at, updated_at).isoformat(),
            "updated_at": max(created_at, updated_at).isoformat(),
        }
        own = {METADATA: checked_metadata(metadata), AGENT: check_optional_id(AGENT, agent)}
        return cls(text_id(folded_sentence(content)), {"text": content, "times": 1, **times, **own})


class SavedMemories(list[SavedMemory]):
    """Memories in order. A notebook shows them as a table."""

    def _repr_html_(self) -> str:
        rows = [(one.id, one.text, one.times, one.created_at, one.score) for one in self]
        return html_table(rows, header=("id", "memory", "times saved", "first", "score"))


class Memories(KnowledgeFace["MemoryEngine"]):
    """Memories of users. Available as `AgentMemory.memories`.

    Two texts are the same memory if they differ only in case, compatibility forms of characters, spaces, and the full stops
    or exclamation marks around them. Saving a memory again keeps its first wording and counts it. Each method has an async
    twin with the prefix `a`.

    Args:
        store: The store.

    Example:
        >>> from langchain_agentmem import AgentMemory
        >>> memory = AgentMemory.from_url("sqlite:///:memory:")
        >>> saved = memory.memories.save("alice@example.com", "She drinks tea, never coffee.")
        >>> [one.text for one in memory.memories.search("alice@example.com", "What does she drink?")]
        ['She drinks tea, never coffee.']
        >>> memory.memories.forget("alice@example.com", saved.id)
        True
        >>> memory.close()
    """

    def __init__(self, store: AgentMemStore) -> None:
        super().__init__(MemoryEngine(store.engine))

    def save(
        self,
        user_id: str,
        text: str,
        *,
        max_length: int = LONGEST_MEMORY,
        metadata: Mapping[str, Any] | None = None,
        agent: str | None = None,
    ) -> SavedMemory:
        """Save a memory.

        Args:
            user_id: ID of the user.
            text: Text of the memory.
            max_length: Longest accepted text, in characters. Default: `LONGEST_MEMORY`.
            metadata: JSON-serialisable metadata, by which memories can be filtered. If the memory was saved before, the keys
                are added to its metadata. Default: None.
            agent: Agent that saves the memory. A memory that was saved before keeps its agent. Default: None.

        Returns:
            The memory; its `times` is greater than 1 if it was saved before.

        Raises:
            InvalidInputError: The text is empty or too long, or the metadata are not JSON-serialisable; nothing was stored.
        """
        return run(self.engine.save(user_id, text, max_length, metadata, agent))

    async def asave(
        self,
        user_id: str,
        text: str,
        *,
        max_length: int = LONGEST_MEMORY,
        metadata: Mapping[str, Any] | None = None,
        agent: str | None = None,
    ) -> SavedMemory:
        """Same as `save`, without blocking the event loop."""
        return await arun(self.engine.save(user_id, text, max_length, metadata, agent))

    def search(
        self,
        user_id: str,
        query: str,
        k: int = 5,
        *,
        agent: str | None = None,
        filter: Mapping[str, Any] | None = None,
    ) -> SavedMemories:
        """Return the memories that answer a query best.

        Args:
            user_id: ID of the user.
            query: Text to search for; see `AgentMemStore.search`.
            k: Largest number of memories. Default: 5.
            agent: Only memories that this agent saved. Default: None (all).
            filter: Filter of the metadata; see `langchain_agentmem.store.filters`. Default: None.
        """
        return run(self.engine.search(user_id, query, k, agent, filter))

    async def asearch(
        self,
        user_id: str,
        query: str,
        k: int = 5,
        *,
        agent: str | None = None,
        filter: Mapping[str, Any] | None = None,
    ) -> SavedMemories:
        """Same as `search`, without blocking the event loop."""
        return await arun(self.engine.search(user_id, query, k, agent, filter))

    def list(
        self,
        user_id: str,
        *,
        limit: int = 100,
        offset: int = 0,
        agent: str | None = None,
        filter: Mapping[str, Any] | None = None,
    ) -> SavedMemories:
        """Return a user's memories, the last saved first.

        Args:
            user_id: ID of the user.
            limit: Largest number of memories. Default: 100.
            offset: Number of memories to skip. Default: 0.
            agent: Only memories that this agent saved. Default: None (all).
            filter: Filter of the metadata; see `langchain_agentmem.store.filters`. Default: None.
        """
        return run(self.engine.list(user_id, limit, offset, agent, filter))

    async def alist(
        self,
        user_id: str,
        *,
        limit: int = 100,
        offset: int = 0,
        agent: str | None = None,
        filter: Mapping[str, Any] | None = None,
    ) -> SavedMemories:
        """Same as `list`, without blocking the event loop."""
        return await arun(self.engine.list(user_id, limit, offset, agent, filter))

    def forget(self, user_id: str, memory_id: str) -> bool:
        """Delete a memory.

        Args:
            user_id: ID of the user.
            memory_id: ID of the memory.

        Returns:
            True if there was such a memory.
        """
        return run(self.engine.forget(user_id, memory_id))

    async def aforget(self, user_id: str, memory_id: str) -> bool:
        """Same as `forget`, without blocking the event loop."""
        return await arun(self.engine.forget(user_id, memory_id))


class MemoryEngine:
    """The operations of `Memories` as programs. See there for arguments, results and errors.

    Args:
        store: The store.
    """

    def __init__(self, store: StoreEngine) -> None:
        self.store = store

    def save(
        self,
        user_id: str,
        text: str,
        max_length: int = LONGEST_MEMORY,
        metadata: Any = None,
        agent: str | None = None,
    ) -> Program[SavedMemory]:
        """Save a memory."""
        namespace = user_namespace(user_id, MEMORIES)
        content = checked_content("The memory", text, max_length)
        key = text_id(folded_sentence(content))
        more, own_agent = checked_metadata(metadata), check_optional_id(AGENT, agent)
        now = datetime.now(UTC).isoformat()

        def saved(value: dict[str, Any] | None) -> dict[str, Any]:
            if value is not None:
                memory_of(key, value)
            known = value or {"text": content, "times": 0, "created_at": now}
            own = {METADATA: {**known.get(METADATA, {}), **more}, AGENT: known.get(AGENT) or own_agent}
            return {**known, **own, "times": known["times"] + 1, "updated_at": now}

        value = yield from self.store.update(namespace, key, saved, index=_INDEX)
        return memory_of(key, value)

    def import_memories(self, user_id: str, imports: Sequence[MemoryImport]) -> Program[int]:
        """Store memories of another package. A memory that is stored already gets the metadata that it lacks.

        Args:
            user_id: ID of the user.
            imports: The memories.

        Returns:
            The number of memories that were not stored before.
        """
        namespace = user_namespace(user_id, MEMORIES)
        new = 0

        def merged(stored: Mapping[Any, Any]) -> dict[Any, Any]:
            nonlocal new
            changes: dict[Any, Any] = {}
            new = 0
            for one in imports:
                key = (namespace, one.key)
                known = changes.get(key, stored[key])
                if known is None:
                    changes[key] = one.value
                    new += 1
                elif lacking := one.value[METADATA].keys() - known.get(METADATA, {}).keys():
                    more = {name: one.value[METADATA][name] for name in lacking}
                    changes[key] = {**known, METADATA: {**more, **known.get(METADATA, {})}}
            return changes

        keys = list(dict.fromkeys((namespace, one.key) for one in imports))
        yield from self.store.update_many(keys, merged, index=_INDEX)
        return new

    def count_new(self, user_id: str, imports: Sequence[MemoryImport]) -> Program[int]:
        """Return the number of memories that `import_memories` would store."""
        namespace = user_namespace(user_id, MEMORIES)
        keys = list(dict.fromkeys(one.key for one in imports))
        found = yield from self.store.batch([GetOp(namespace, key, refresh_ttl=False) for key in keys])
        return sum(one is None for one in found)

    def search(
        self, user_id: str, query: str, k: int, agent: str | None = None, filter: Any = None
    ) -> Program[SavedMemories]:
        """Return the memories that answer a query best."""
        check_name("query", query)
        condition = condition_of(agent, filter)
        search = SearchOp(user_namespace(user_id, MEMORIES), condition, check_count("k", k), 0, query)
        return (yield from self._found(search))

    def list(
        self, user_id: str, limit: int, offset: int, agent: str | None = None, filter: Any = None
    ) -> Program[SavedMemories]:
        """Return a user's memories, the last saved first."""
        check_count("limit", limit)
        check_count("offset", offset, least=0)
        return (
            yield from self._found(
                SearchOp(user_namespace(user_id, MEMORIES), condition_of(agent, filter), limit, offset)
            )
        )

    def forget(self, user_id: str, memory_id: str) -> Program[bool]:
        """Delete a memory, even a damaged one; return true if it existed."""
        namespace = user_namespace(user_id, MEMORIES)
        try:
            item = yield from self.store.get(namespace, check_id("memory_id", memory_id), refresh_ttl=False)
        except DamagedDataError:
            pass
        else:
            if item is None:
                return False
        yield from self.store.delete(namespace, memory_id)
        return True

    def _found(self, search: SearchOp) -> Program[SavedMemories]:
        (items,) = yield from read_batch(self.store, [search])
        return SavedMemories(readable(items, lambda item: memory_of(item.key, item.value, item.score)))


def memory_of(key: str, value: Mapping[str, Any], score: float | None = None) -> SavedMemory:
    """Return the memory in a stored value.

    Raises:
        DamagedDataError: The value does not hold a memory.
    """
    with reading(f"The memory {shown(key)}"):
        first, last = (datetime.fromisoformat(value[name]) for name in ("created_at", "updated_at"))
        text, times = value["text"], value["times"]
        metadata, agent = value.get(METADATA, {}), value.get(AGENT)
        if not isinstance(text, str) or not isinstance(times, int):
            msg = f"text is {shown(text, 60)} and times is {shown(times, 60)}"
            raise TypeError(msg)
        if not isinstance(metadata, dict) or not isinstance(agent, (str, NoneType)):
            msg = f"metadata is {shown(metadata, 60)} and agent is {shown(agent, 60)}"
            raise TypeError(msg)
    return SavedMemory(key, text, times, first, last, score, metadata, agent)
