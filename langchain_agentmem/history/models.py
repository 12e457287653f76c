"""The list of sessions, as `AgentMemory.sessions` returns it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from langchain_agentmem.text.tables import FieldTable

if TYPE_CHECKING:
    from langchain_agentmem.compression.summaries import SessionSummary


@dataclass(frozen=True)
class SessionInfo(FieldTable):
    """One session in a list of sessions."""

    session_id: str
    user_id: str | None
    title: str | None
    """The title that `rename` set, or the beginning of the first human message; None if no message is stored.

    When that message is deleted, the next human message that is added gives the title.
    """
    message_count: int
    created_at: datetime
    """Time at which the session was created, by its first message, record, variable or opening, in UTC."""
    updated_at: datetime
    """Time at which the session was last used, in UTC."""
    expires_at: datetime | None = None
    summary: SessionSummary | None = None
    """The running summary that a compressor stored, as `AgentMemory.summary` returns it; None if there is none."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """The metadata that `AgentMemory.session` stored."""
