"""The list of threads that `AgentMemSaver.threads` returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from langchain_agentmem.text.tables import html_table


@dataclass(frozen=True)
class ThreadInfo:
    """A thread in a list of threads. All times are in UTC."""

    thread_id: str
    user_id: str | None
    """The user of the last turn; None if no turn named a user."""
    checkpoint_count: int
    created_at: datetime
    """Time at which the first checkpoint was stored."""
    updated_at: datetime
    """Time at which the newest checkpoint was stored."""
    expires_at: datetime | None = None
    """Time at which the thread expires unless it is used again; None if it does not expire."""
    users: Mapping[str, datetime] = field(default_factory=dict, compare=False)
    """Every user of the thread, with the time of the user's last turn."""

    def _repr_html_(self) -> str:
        return ThreadList([self])._repr_html_()


class ThreadList(list[ThreadInfo]):
    """A list of threads. A notebook shows it as a table."""

    def _repr_html_(self) -> str:
        rows = [(one.thread_id, one.user_id, one.checkpoint_count, one.created_at, one.updated_at) for one in self]
        return html_table(rows, header=("thread", "last user", "checkpoints", "created", "last used"))


@dataclass(frozen=True)
class MigratedThreads:
    """The result of `AgentMemSaver.migrate`: what was rewritten, or what would be."""

    threads: int = 0
    """The number of threads that changed."""
    checkpoints: int = 0
    """The number of checkpoints that changed."""
    writes: int = 0
    """The number of pending writes that changed."""
    unchanged: int = 0
    """The number of checkpoints that have today's shape already."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """The present names of renamed channels, by former name."""
    classes: Mapping[str, int] = field(default_factory=dict)
    """The classes that do not exist any more, with the number of their values that were converted."""
    dry_run: bool = False
    """If true, nothing was written."""

    @property
    def description(self) -> str:
        """The text beside the progress bar."""
        verb = "Would rewrite" if self.dry_run else "Rewrote"
        return f"{verb} {self.threads} threads, {self.checkpoints} checkpoints"

    def _repr_html_(self) -> str:
        rows = [(self.threads, self.checkpoints, self.writes, self.unchanged, self.dry_run)]
        return html_table(rows, header=("threads", "checkpoints", "pending writes", "unchanged", "dry run"))


@dataclass(frozen=True)
class CopiedThreads:
    """The result of `copy_from` and `copy_to`."""

    threads: int = 0
    """The number of threads that got something new."""
    checkpoints: int = 0
    """The number of checkpoints that were copied."""
    writes: int = 0
    """The number of pending writes that were copied."""
    skipped: int = 0
    """The number of checkpoints that the target had already."""
    missing: tuple[str, ...] = ()
    """The IDs in `thread_ids` of which the source has no checkpoint."""

    @property
    def description(self) -> str:
        """The text beside the progress bar."""
        return f"Copied {self.threads} threads, {self.checkpoints} checkpoints"

    def _repr_html_(self) -> str:
        rows = [(self.threads, self.checkpoints, self.writes, self.skipped, len(self.missing))]
        return html_table(rows, header=("threads", "checkpoints", "pending writes", "skipped", "missing"))
