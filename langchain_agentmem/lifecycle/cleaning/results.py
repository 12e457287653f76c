"""The result of a cleanup."""

from __future__ import annotations

from dataclasses import dataclass, field

from langchain_agentmem.text.tables import html_table


@dataclass(frozen=True)
class Cleanup:
    """The counts of the data that `memory.cleanup` deleted, or would delete with `dry_run`."""

    sessions: int = 0
    messages: int = 0
    """The number of messages, including those of deleted sessions."""
    records: int = 0
    """The number of records. Without the kind `"records"`, those of deleted sessions are not counted."""
    threads: int = 0
    checkpoints: int = 0
    """The number of checkpoints of deleted threads."""
    items: int = 0
    variables: int = 0
    """The number of variables of users. Those of deleted sessions are not counted."""
    cache_entries: int = 0
    orphans: int = 0
    dry_run: bool = False
    archived: str | None = None
    """The path of the archive, or the name of the file; None if nothing was archived."""
    duration: float = field(default=0.0, repr=False, compare=False)
    """Seconds."""

    @property
    def description(self) -> str:
        """The text beside the progress bar."""
        counts = [f"{count:,} {name}" for name, count in self.counts.items() if count]
        return f"{'Found' if self.dry_run else 'Deleted'} {', '.join(counts) or 'nothing'}"

    @property
    def counts(self) -> dict[str, int]:
        """The counts by name."""
        names = ("sessions", "messages", "records", "threads", "checkpoints", "items", "variables")
        return {name: getattr(self, name) for name in (*names, "cache_entries", "orphans")}

    def _repr_html_(self) -> str:
        rows: list[tuple[str, object]] = [*self.counts.items()]
        rows += [("dry run", str(self.dry_run)), ("archived", self.archived), ("seconds", self.duration)]
        return html_table(rows, caption="Cleanup", row_headers=True)
