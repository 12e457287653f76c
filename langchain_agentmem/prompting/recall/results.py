"""The result of a recall: the stored knowledge that answers a message."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from langchain_agentmem.text.tables import FieldTable, html_table

Kind = Literal["fact", "memory", "entity", "turn", "knowledge"]
"""The kind of a recalled item; `"turn"` is one of an earlier session, and `"knowledge"` an entry of a shared collection."""


@dataclass(frozen=True)
class RecalledItem(FieldTable):
    """One stored item that answers a message."""

    kind: Kind
    text: str
    score: float
    """Relevance to the message, from 0 to 1. Scores are comparable within one result only."""
    source: Mapping[str, Any] = field(default_factory=dict)
    """IDs of what is stored: `fact_id`, `memory_id`, `entity`, `session_id` with `position` and `message_id`, or `collection`
    with `key`; also `message_ids`, the messages that state a fact or an entity, and `agent`, which saved it."""
    time: datetime | None = None
    """When it was last stated, saved, updated or sent."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    similarity: float | None = None
    """The cosine similarity to the message, from -1 to 1; None without vectors, and for passages of retrievers."""


@dataclass(frozen=True, repr=False)
class Recall:
    """The stored knowledge that answers a message, the most relevant first. It is false if nothing was found.

    Example:
        >>> from langchain_agentmem import AgentMemory
        >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
        ...     fact = memory.profiles.add_fact("alice@example.com", "Allergic to peanuts")
        ...     found = memory.recall("Are there peanuts in it?", user_id="alice@example.com")
        ...     [(item.kind, item.text) for item in found]
        [('fact', 'Allergic to peanuts')]
    """

    query: str
    items: tuple[RecalledItem, ...] = ()
    text: str = ""
    """The items, quoted as data for a prompt. With `max_tokens`, the least relevant items are left out of it."""

    def __bool__(self) -> bool:
        return bool(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[RecalledItem]:
        return iter(self.items)

    def __getitem__(self, index: int) -> RecalledItem:
        return self.items[index]

    def __repr__(self) -> str:
        counts = Counter(item.kind for item in self.items)
        kinds = ", ".join(f"{kind}: {count}" for kind, count in counts.items())
        return f"Recall({len(self.items)} items{f' ({kinds})' if kinds else ''}, {len(self.text)} characters of text)"

    def _repr_html_(self) -> str:
        rows = [(one.kind, one.score, one.text, one.time, _named(one.source)) for one in self.items]
        return html_table(rows, header=("kind", "score", "text", "time", "source"), caption="Recall")


def _named(source: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}: {one}" for name, one in source.items())
