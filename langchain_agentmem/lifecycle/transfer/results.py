"""The results of `export`, `import_from` and `copy_to`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from langchain_agentmem.text.tables import html_table


@dataclass(frozen=True)
class Exported:
    """The result of `export`."""

    counts: Mapping[str, int] = field(default_factory=dict)
    """The number of exported objects by kind: sessions, messages, items and so on."""
    target: str | None = None
    """The path or the name of the file."""
    shared_threads: tuple[str, ...] = ()
    """IDs of threads that were left out of a user's export, because other users have turns in them."""

    @property
    def description(self) -> str:
        """The text beside the progress bar."""
        return f"Exported {described(self.counts)}"

    def _repr_html_(self) -> str:
        rows = [(kind.replace("_", " "), number) for kind, number in self.counts.items() if number]
        if self.shared_threads:
            rows.append(("threads left out: they have other users", len(self.shared_threads)))
        return html_table(rows, header=("kind", "exported"), caption=f"Export to {self.target}")


@dataclass(frozen=True)
class Imported:
    """The result of `import_from` and `copy_to`."""

    counts: Mapping[str, int] = field(default_factory=dict)
    """The number of stored objects by kind: sessions, messages, items and so on."""
    unchanged: Mapping[str, int] = field(default_factory=dict)
    """The number of objects that were stored already and are equal, by kind."""
    kept: Mapping[str, int] = field(default_factory=dict)
    """With `existing="keep"`: the number of objects that were left out because a different one is stored, by kind."""
    expired: Mapping[str, int] = field(default_factory=dict)
    """The number of objects that were left out because they have expired since the export, by kind."""
    checked: int = 0
    """During the check that precedes the import: the number of lines or rows that were checked."""
    without_vectors: int = 0
    """The number of messages and items that were stored without their vectors, because the memory has another embedding
    model. `memory.reindex()` embeds them."""
    missing_threads: tuple[str, ...] = ()
    """The IDs in `thread_ids` of which the source has no checkpoint."""

    @property
    def description(self) -> str:
        """The text beside the progress bar."""
        if not self.counts and self.checked:
            return f"Checked {self.checked:,} rows"
        return f"Imported {described(self.counts)}"

    def _repr_html_(self) -> str:
        columns = (self.counts, self.unchanged, self.kept, self.expired)
        kinds = dict.fromkeys(kind for column in columns for kind in column)
        rows = [(kind.replace("_", " "), *(column.get(kind, 0) for column in columns)) for kind in kinds]
        caption = "Import"
        if self.without_vectors:
            caption += f". {self.without_vectors} without vectors: call memory.reindex()"
        return html_table(rows, header=("kind", "stored", "unchanged", "kept", "expired"), caption=caption)


def nonzero(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the counts that are not zero."""
    return {kind: number for kind, number in counts.items() if number}


def described(counts: Mapping[str, int]) -> str:
    """Return counts as text.

    Example:
        >>> from langchain_agentmem.lifecycle.transfer.results import described
        >>> described({"sessions": 1, "messages": 2_000, "items": 0})
        '1 sessions, 2,000 messages'
    """
    return (
        ", ".join(f"{number:,} {kind.replace('_', ' ')}" for kind, number in counts.items() if number) or "nothing yet"
    )
