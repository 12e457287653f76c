"""The list of threads, as `AgentMemSaver.threads` returns it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class ThreadInfo:
    """One thread in a list of threads."""

    thread_id: str
    user_id: str | None
    """The user of the thread's last turn; None if no turn named a user."""
    checkpoint_count: int
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None = None
    users: Mapping[str, datetime] = field(default_factory=dict, compare=False)
    """Every user of the thread, with the time of that user's last turn, in UTC."""
