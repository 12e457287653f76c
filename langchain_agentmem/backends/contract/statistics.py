"""The statistics of a backend: how many entries a tenant has, and when they expire."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from langchain_agentmem.backends.digests import digest_of_ids
from langchain_agentmem.programs import Program

PERIODS = ("hour", "day", "week", "later", "never")
"""The periods in which entries expire. They do not overlap: `"day"` begins after the first hour."""

_EXPIRING = ("sessions", "items", "threads", "variables", "cache_entries")

_ENDS = (3_600.0, 86_400.0, 604_800.0)

OTHER, SHARED, ALIASES = "", "shared", "aliases"
"""Keys of `Statistics.items`: for items of the application, items below the root of shared items, and aliases."""


class StatisticsQuery(NamedTuple):
    """The tenant to count, and the periods of expiry."""

    tenant: str
    now: float
    user_root: str
    """The beginning of the first label of a user's namespaces. The rest of the label is the user's ID."""
    shared_root: str
    """The first label of the namespaces of shared items."""
    kinds: Sequence[str]
    """The second labels below the root of a user that are counted separately."""

    alias: tuple[str, str]
    """A kind and a field. Items of this kind whose value begins with this field are aliases of other items."""
    nested: tuple[str, str]
    """A kind and a field that holds an object. In place of the items of this kind, the different keys of these objects are
    counted, for each user."""
    omitted: str = ""
    """A second label, and a name. Items with this label and variables with this name are not counted."""

    @property
    def ends(self) -> list[float]:
        """The ends of the first three periods, in seconds since 1970."""
        return [self.now + seconds for seconds in _ENDS]

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of SQL statements."""
        hour, day, week = self.ends
        (alias_kind, alias_field), (nested_kind, nested_field) = self.alias, self.nested
        return {
            "tenant": self.tenant,
            "now": self.now,
            "hour": hour,
            "day": day,
            "week": week,
            "user_root": self.user_root,
            "shared_root": self.shared_root,
            "alias_kind": alias_kind,
            "alias_field": alias_field,
            "nested_kind": nested_kind,
            "nested_field": nested_field,
            "omitted": self.omitted,
        }


class Statistics(NamedTuple):
    """The numbers of a tenant's entries that have not expired."""

    counts: Mapping[str, int]
    """By name: sessions, messages, summaries, threads, checkpoints, pending_writes, variables, cache_entries, records, users,
    agents."""
    items: Mapping[str, int]
    """The items by kind: those of `StatisticsQuery`, `OTHER`, `SHARED` and `ALIASES`."""
    expiries: Mapping[str, Sequence[int]]
    """The numbers of sessions, items, threads, variables and cache entries that expire in each of `PERIODS`."""
    bytes: int | None = None
    """The size of the database, with all tenants; None if the server does not tell it."""
    bytes_by_table: Mapping[str, int] = {}
    """The sizes of tables, with their indexes; empty if the backend does not know them."""


class StatisticsTable(Protocol):
    """Counts the entries of all tables."""

    def count(self, query: StatisticsQuery) -> Program[Statistics]:
        """Return the statistics of a tenant. Expired rows do not count."""


class Tally:
    """Counts the entries of a backend that reads them in pages.

    It holds a short digest of each user and of each agent, and numbers.

    Example:
        >>> from langchain_agentmem.backends.contract.statistics import Tally
        >>> tally = Tally()
        >>> tally.add("sessions", 2)
        >>> tally.use(users=["alice", "alice", None])
        >>> result = tally.result()
        >>> result.counts["sessions"], result.counts["users"], result.counts["threads"]
        (2, 1, 0)
    """

    def __init__(self) -> None:
        self.items: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._expiries = {name: [0] * len(PERIODS) for name in _EXPIRING}
        self._users: set[bytes] = set()
        self._agents: set[bytes] = set()

    def add(self, name: str, number: int = 1) -> None:
        """Add to the number of entries of a name."""
        self._counts[name] += number

    def expire(self, name: str, numbers: Sequence[int]) -> None:
        """Add to the numbers of entries that expire in each of `PERIODS`."""
        self._expiries[name] = [known + added for known, added in zip(self._expiries[name], numbers, strict=True)]

    def use(self, *, users: Iterable[str | None] = (), agents: Iterable[str | None] = ()) -> None:
        """Count users and agents, each once. None and the empty string are nobody."""
        self._users.update(digest_of_ids(user, size=12) for user in users if user)
        self._agents.update(digest_of_ids(agent, size=12) for agent in agents if agent)

    def result(self, bytes_: int | None = None) -> Statistics:
        """Return the statistics."""
        names = (
            "sessions",
            "messages",
            "summaries",
            "threads",
            "checkpoints",
            "pending_writes",
            "variables",
            "cache_entries",
            "records",
        )
        counts = {name: self._counts[name] for name in names}
        counts |= {"users": len(self._users), "agents": len(self._agents)}
        return Statistics(counts, dict(self.items), self._expiries, bytes_)


def one_in(period: int) -> list[int]:
    """Return the numbers for one entry that expires in a period.

    Args:
        period: The number of the period, from 1.

    Example:
        >>> from langchain_agentmem.backends.contract.statistics import one_in
        >>> one_in(2)
        [0, 1, 0, 0, 0]
    """
    return [int(period == number) for number in range(1, len(PERIODS) + 1)]


def disjoint(cumulative: Sequence[int]) -> list[int]:
    """Return the numbers of entries in each of `PERIODS`.

    Args:
        cumulative: The numbers of entries that expire within an hour, a day and a week, at any time, and of all entries.

    Example:
        >>> from langchain_agentmem.backends.contract.statistics import disjoint
        >>> disjoint([1, 1, 3, 3, 10])
        [1, 0, 2, 0, 7]
    """
    return [number - before for before, number in zip((0, *cumulative), cumulative, strict=False)]


def statistics_of(query: StatisticsQuery, rows: Mapping[str, Sequence[Sequence[Any]]]) -> Statistics:
    """Return the statistics in the rows of SQL statements.

    Args:
        query: The query.
        rows: The rows by name. Those of entries that expire contain numbers as `disjoint` takes them: for sessions followed
            by the number of messages, for items after the kind. Other names have one number.
    """
    counts = {name: found[0][0] for name, found in rows.items() if name != "items"}
    periods = {name: disjoint(rows[name][0][:5]) for name in _EXPIRING if name != "items"}
    counts |= {name: sum(numbers) for name, numbers in periods.items()}
    counts["messages"] = rows["sessions"][0][5]
    kinds = {kind: disjoint(numbers) for kind, *numbers in rows["items"]}
    periods["items"] = [sum(numbers) for numbers in zip([0] * len(PERIODS), *kinds.values(), strict=True)]
    items = {kind: sum(numbers) for kind, numbers in kinds.items()} | {query.nested[0]: counts.pop("nested")}
    return Statistics(counts, items, periods)
