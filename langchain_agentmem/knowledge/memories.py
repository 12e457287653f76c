"""What users, or agents for them, asked to remember: short texts, each user's in a space of their own."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from langgraph.store.base import SearchOp

from langchain_agentmem.arguments.ids import check_id, check_name
from langchain_agentmem.arguments.values import check_count, shown
from langchain_agentmem.errors import DamagedDataError
from langchain_agentmem.knowledge.names import checked_content, said, text_id
from langchain_agentmem.knowledge.namespaces import MEMORIES, user_namespace
from langchain_agentmem.knowledge.reading import answers, readable, reading
from langchain_agentmem.programs import Program, Twin, arun, run
from langchain_agentmem.store.face import AgentMemStore

LONGEST_MEMORY = 2_000
"""The most characters of a memory, unless said otherwise."""

_INDEX = ["text"]


@dataclass(frozen=True)
class SavedMemory:
    """One memory of a user."""

    id: str
    """By what it is forgotten."""
    text: str
    times: int
    """How often it was saved."""
    created_at: datetime
    updated_at: datetime
    score: float | None = None
    """How well it answers the query, from 0 to 1; None where nothing was asked."""


class SavedMemories(list[SavedMemory]):
    """Memories; a notebook shows them as a table."""

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(one.id)}</td><td style='text-align:left'>{html.escape(one.text)}</td><td>{one.times}</td>"
            f"<td>{one.created_at:%Y-%m-%d %H:%M}</td><td>{'' if one.score is None else f'{one.score:.2f}'}</td></tr>"
            for one in self
        )
        heads = "".join(f"<th>{head}</th>" for head in ("id", "memory", "times saved", "first", "score"))
        return f"<table><tr>{heads}</tr>{rows}</table>"


class Memories:
    """The memories of users. It hangs on `AgentMemory.memories`; every method has an async twin with the prefix `a`.

    Two texts are the same memory when they differ in case, compatibility forms of characters, spaces, and full stops or
    exclamation marks around them only. Saving one again keeps it as it was first written, and counts.

    Args:
        store: Where they are.

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
        self._store = store

    def save(self, user_id: str, text: str, *, max_length: int = LONGEST_MEMORY) -> SavedMemory:
        """Remember a text.

        Args:
            user_id: Whose memory it is.
            text: What to remember.
            max_length: The most characters of it. Default: `LONGEST_MEMORY`.

        Returns:
            The memory; `times` is more than 1 when it was known already.

        Raises:
            InvalidInputError: The text is empty or too long; nothing was stored.
        """
        return run(self.saving(user_id, text, max_length))

    async def asave(self, user_id: str, text: str, *, max_length: int = LONGEST_MEMORY) -> SavedMemory:
        """Same as `save`, but without blocking the event loop."""
        return await arun(self.saving(user_id, text, max_length))

    def search(self, user_id: str, query: str, k: int = 5) -> SavedMemories:
        """The memories that answer a query best.

        Args:
            user_id: Whose.
            query: What to look for; see `AgentMemStore.search`.
            k: The most memories. Default: 5.
        """
        return run(self.searching(user_id, query, k))

    async def asearch(self, user_id: str, query: str, k: int = 5) -> SavedMemories:
        """Same as `search`, but without blocking the event loop."""
        return await arun(self.searching(user_id, query, k))

    def list(self, user_id: str, *, limit: int = 100, offset: int = 0) -> SavedMemories:
        """A user's memories, the last saved first.

        Args:
            user_id: Whose.
            limit: The most memories. Default: 100.
            offset: How many to skip. Default: 0.
        """
        return run(self._list(user_id, limit, offset))

    async def alist(self, user_id: str, *, limit: int = 100, offset: int = 0) -> SavedMemories:
        """Same as `list`, but without blocking the event loop."""
        return await arun(self._list(user_id, limit, offset))

    def forget(self, user_id: str, memory_id: str) -> bool:
        """Forget a memory.

        Args:
            user_id: Whose.
            memory_id: Which one.

        Returns:
            Whether there was such a memory.
        """
        return run(self.forgetting(user_id, memory_id))

    async def aforget(self, user_id: str, memory_id: str) -> bool:
        """Same as `forget`, but without blocking the event loop."""
        return await arun(self.forgetting(user_id, memory_id))

    # Programs

    def saving(self, user_id: str, text: str, max_length: int) -> Program[SavedMemory]:
        """The program of `save`."""
        space = user_namespace(user_id, MEMORIES)
        content = checked_content("The memory", text, max_length)
        key = text_id(said(content))

        now = datetime.now(timezone.utc).isoformat()

        def saved(value: dict[str, Any] | None) -> dict[str, Any]:
            if value is not None:
                _memory(key, value)
            known = value or {"text": content, "times": 0, "created_at": now}
            return {**known, "times": known["times"] + 1, "updated_at": now}

        value = yield from Twin(self._store.update, space, key, saved, index=_INDEX)
        return _memory(key, value)

    def searching(self, user_id: str, query: str, k: int) -> Program[SavedMemories]:
        """The program of `search`."""
        check_name("query", query)
        return (
            yield from self._found(SearchOp(user_namespace(user_id, MEMORIES), None, check_count("k", k), 0, query))
        )

    def forgetting(self, user_id: str, memory_id: str) -> Program[bool]:
        """The program of `forget`."""
        space = user_namespace(user_id, MEMORIES)
        try:
            item = yield from Twin(self._store.get, space, check_id("memory_id", memory_id), refresh_ttl=False)
        except DamagedDataError:
            pass
        else:
            if item is None:
                return False
        yield from Twin(self._store.delete, space, memory_id)
        return True

    def _list(self, user_id: str, limit: int, offset: int) -> Program[SavedMemories]:
        check_count("limit", limit)
        check_count("offset", offset, least=0)
        return (yield from self._found(SearchOp(user_namespace(user_id, MEMORIES), None, limit, offset)))

    def _found(self, search: SearchOp) -> Program[SavedMemories]:
        (items,) = yield from answers(self._store, [search])
        return SavedMemories(readable(items, lambda item: _memory(item.key, item.value, item.score)))


def _memory(key: str, value: Mapping[str, Any], score: float | None = None) -> SavedMemory:
    with reading(f"The memory {shown(key)}"):
        first, last = (datetime.fromisoformat(value[name]) for name in ("created_at", "updated_at"))
        text, times = value["text"], value["times"]
        if not isinstance(text, str) or not isinstance(times, int):
            msg = f"its text is {shown(text, 60)}, and it was saved {shown(times, 60)} times"
            raise TypeError(msg)
    return SavedMemory(key, text, times, first, last, score)
