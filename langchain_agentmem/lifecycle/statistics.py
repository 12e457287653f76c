"""The statistics of a memory: what it contains, what expires, how large it is, and how the read cache is used."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from langchain_agentmem.backends.contract import Backend, Statistics, StatisticsQuery
from langchain_agentmem.backends.contract.statistics import ALIASES, OTHER, PERIODS, SHARED
from langchain_agentmem.backends.reads import ReadCacheInfo
from langchain_agentmem.knowledge.entities.values import ALIAS, RELATED
from langchain_agentmem.knowledge.namespaces import (
    ENTITIES,
    FACTS,
    FORGOTTEN,
    LABELS,
    MEMORIES,
    PROFILE,
    RELATIONS,
    SEEN,
    USER,
)
from langchain_agentmem.knowledge.namespaces import SHARED as SHARED_ROOT
from langchain_agentmem.programs import Program, Read
from langchain_agentmem.text.charts import bar_chart, stacked_chart
from langchain_agentmem.text.tables import html_table

_MARKERS = (SEEN, FORGOTTEN)
_PERIOD_NAMES = ("within an hour", "within a day", "within a week", "later", "never")
_EXPIRY_NAMES = {"items": "all_items"}
"""Names of the kinds in `Stats.expiries` that differ from those of a backend: `items` in `entries` are the application's."""
_LAST = ("threads", "checkpoints", "pending_writes", "variables", "cache_entries", "records")
"""The last counts of a backend in `Stats.entries`."""
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class Stats(Mapping[str, Any]):
    """The statistics of one tenant. Expired data does not count.

    It is a mapping of its fields, too: `dict(stats)`. A notebook shows it as tables and charts.

    Example:
        >>> from langchain_agentmem import AgentMemory
        >>> with AgentMemory.from_url("sqlite:///:memory:", ttl=1800) as memory:
        ...     memory.history("session-1", user_id="alice").add_user_message("Hello")
        ...     stats = memory.stats()
        >>> stats.entries["messages"], stats.users, stats.expiries["sessions"]["hour"]
        (1, 1, 1)
    """

    backend: str
    tenant: str
    taken_at: datetime
    entries: Mapping[str, int]
    """The numbers of sessions, messages, summaries, items, profiles, facts, memories, entities, relations, knowledge,
    markers, threads, checkpoints, pending_writes, variables, cache_entries and records.

    `items` are those of the application. `facts` include earlier ones, and `knowledge` is the shared one. `markers` say which
    messages were read, which facts were forgotten, and which other names an entity has."""
    users: int
    """The number of users with a session, a thread, knowledge, variables or records."""
    agents: int
    """The number of agents that wrote messages, variables or records."""
    expiries: Mapping[str, Mapping[str, int]]
    """The numbers of sessions, all_items, threads, variables and cache_entries by the period in which they expire: within an
    hour, a day, a week, later, or never.

    The periods do not overlap. `all_items` are the items of the application, knowledge and markers."""
    bytes: int | None
    """The size of the database with all its tenants; None if the server does not tell it.

    On SQLite it is the size of the file, on Postgres that of the tables with their indexes, and on Redis the memory of all
    servers."""
    bytes_by_table: Mapping[str, int]
    """The sizes of tables with their indexes (Postgres); empty on other backends."""
    cache: ReadCacheInfo
    """The hits and misses of the read cache of this process."""

    def as_dict(self) -> dict[str, Any]:
        """Return the statistics as a dict of JSON values."""
        plain = {name: dict(value) if isinstance(value, Mapping) else value for name, value in self.items()}
        expiries = {kind: dict(numbers) for kind, numbers in self.expiries.items()}
        return {**plain, "taken_at": self.taken_at.isoformat(), "expiries": expiries, "cache": self.cache._asdict()}

    def __getitem__(self, name: str) -> Any:
        if name not in self.__dataclass_fields__:
            raise KeyError(name)
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.__dataclass_fields__)

    def __len__(self) -> int:
        return len(self.__dataclass_fields__)

    def _repr_html_(self) -> str:
        rows: list[tuple[str, object]] = [
            ("backend", self.backend),
            ("tenant", self.tenant),
            ("users", self.users),
            ("agents", self.agents),
            ("size", None if self.bytes is None else readable_size(self.bytes)),
            ("read cache", f"{self.cache.hits:,} hits, {self.cache.misses:,} misses"),
        ]
        caption = f"Statistics of {self.taken_at:%Y-%m-%d %H:%M} UTC"
        parts = [
            html_table(rows, caption=caption, row_headers=True),
            bar_chart([(name.replace("_", " "), number) for name, number in self.entries.items()], caption="Entries"),
            stacked_chart(
                [
                    (kind.replace("_", " "), [numbers[period] for period in PERIODS])
                    for kind, numbers in self.expiries.items()
                ],
                series=_PERIOD_NAMES,
                caption="Expiry",
            ),
        ]
        if self.bytes_by_table:
            largest = sorted(self.bytes_by_table.items(), key=lambda one: -one[1])
            parts.append(bar_chart(largest, caption="Size of tables", label=readable_size))
        return "".join(parts)


def statistics(backend: Backend, tenant: str, cache: ReadCacheInfo) -> Program[Stats]:
    """Return the statistics of a tenant.

    Args:
        backend: The backend.
        tenant: The tenant.
        cache: The use of the read cache.
    """
    query = StatisticsQuery(
        tenant,
        time.time(),
        user_root=USER,
        shared_root=SHARED_ROOT,
        kinds=LABELS,
        alias=(ENTITIES, ALIAS),
        nested=(RELATIONS, RELATED),
    )
    found = yield from Read(backend, backend.statistics.count(query))
    return Stats(
        backend=backend.name,
        tenant=tenant,
        taken_at=datetime.fromtimestamp(query.now, UTC),
        entries=_entries(found),
        users=found.counts["users"],
        agents=found.counts["agents"],
        expiries={
            _EXPIRY_NAMES.get(kind, kind): dict(zip(PERIODS, numbers, strict=True))
            for kind, numbers in found.expiries.items()
        },
        bytes=found.bytes,
        bytes_by_table=dict(found.bytes_by_table),
        cache=cache,
    )


def _entries(found: Statistics) -> dict[str, int]:
    counts, items = found.counts, found.items
    return {
        **{name: counts[name] for name in ("sessions", "messages", "summaries")},
        "items": items.get(OTHER, 0),
        "profiles": items.get(PROFILE, 0),
        **{kind: items.get(kind, 0) for kind in (FACTS, MEMORIES, ENTITIES, RELATIONS)},
        "knowledge": items.get(SHARED, 0),
        "markers": sum(items.get(kind, 0) for kind in (*_MARKERS, ALIASES)),
        **{name: counts[name] for name in _LAST},
    }


def readable_size(size: float) -> str:
    """Return a number of bytes as text.

    Example:
        >>> from langchain_agentmem.lifecycle.statistics import readable_size
        >>> readable_size(512), readable_size(1_480_000)
        ('512 bytes', '1.5 MB')
    """
    unit = 0
    while size >= 1_000 and unit < len(_UNITS) - 1:
        size, unit = size / 1_000, unit + 1
    return f"{size:.1f} {_UNITS[unit]}" if unit else f"{size:.0f} {_UNITS[0]}"
