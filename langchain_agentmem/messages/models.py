"""Stored messages, as histories and searches return them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from langchain_core.messages import BaseMessage

from langchain_agentmem.messages.roles import role_of
from langchain_agentmem.text.tables import html_table


@dataclass(frozen=True)
class StoredMessage:
    """A message of a session, with its properties."""

    message: BaseMessage
    session_id: str
    position: int
    """The index of the message in its session: 0 for the first message ever added."""
    created_at: datetime
    """The message's `additional_kwargs["created_at"]` (ISO 8601), or the time when it was stored; in UTC."""
    user_id: str | None = None
    agent: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def role(self) -> str:
        """The role of the message, as `search(role=…)` names it: `"ai"` for a streamed answer too."""
        return role_of(self.message)

    def _repr_html_(self) -> str:
        text = ("text", str(self.message.text))
        rows = [(name, getattr(self, name)) for name in ("session_id", "position", "created_at", "user_id", "agent")]
        return html_table([("role", self.role), text, *rows], caption=type(self).__name__, row_headers=True)


@dataclass(frozen=True)
class FoundMessage(StoredMessage):
    """A message that a search found."""

    score: float = 0.0
    """Relevance to the query, from 0 to 1. Scores are comparable within one result only."""
    around: list[BaseMessage] = field(default_factory=list)
    """The message with its neighbours in the session, in order; empty unless the search asked for neighbours."""
    similarity: float | None = None
    """The cosine similarity of the message to the query, from -1 to 1; None without vectors. Comparable between searches."""
    matched: list[str] = field(default_factory=list)
    """The words of the query that the message itself contains, as the query writes them, in lower case."""
    passage: str | None = None
    """The part of the text that contains most of these words; a short text as it is. None if it contains none of them."""


class FoundMessages(list[FoundMessage]):
    """The messages that a search found, best first; a table in a notebook."""

    def _repr_html_(self) -> str:
        return html_table(
            ((one.score, one.session_id, one.created_at, one.role, str(one.message.text)) for one in self),
            header=("score", "session", "date", "role", "text"),
        )
