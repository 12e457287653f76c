"""Parts that all comparisons use: databases, clocks, sides that take turns, and the figures."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import redis

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from servers import PostgresServer, RedisServer

WORDS = (Path(__file__).parent / "words.txt").read_text(encoding="utf-8").split()
BACKENDS = ("sqlite", "postgres", "redis")


# Databases


class Database(NamedTuple):
    """An empty database."""

    url: str
    pid: int | None
    """The server, whose CPU time counts."""
    size: Callable[[], int]
    """Returns the bytes that are stored."""


def cpu_of(pid: int | None) -> float:
    """Return the CPU seconds of a process and its children, the former ones included."""
    if pid is None:
        return 0.0
    ticks = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(entry.name) == pid:
                    ticks += sum(map(int, fields[11:15]))
                elif int(fields[1]) == pid:
                    ticks += sum(map(int, fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def file_size(path: Path) -> int:
    """Return the size of a database file, after its log was folded in."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    return path.stat().st_size


def column_bytes(url: str) -> int:
    """Return the bytes of all columns of all tables: what is stored, without the pages' free space and the indexes."""
    with psycopg.connect(url, autocommit=True) as connection:
        names = [
            name
            for (name,) in connection.execute(
                "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            )
        ]
        return sum(
            connection.execute(f'SELECT coalesce(sum(pg_column_size(saved.*)), 0) FROM "{name}" AS saved').fetchone()[0]
            for name in names
            if name.startswith(("checkpoint", "agentmem_"))
        )


class Databases:
    """Makes databases. The servers are started at the first use, and stopped with the stack.

    Args:
        stack: The stack that stops the servers.
    """

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self._postgres: PostgresServer | None = None
        self._made = 0

    def new(self, backend: str) -> Database:
        """Return a new database."""
        self._made += 1
        if backend == "sqlite":
            path = self._folder / f"{self._made}.db"
            return Database(f"sqlite:///{path}", None, lambda: file_size(path))
        if backend == "redis":
            server = RedisServer()
            self._stack.callback(server.close)
            client = redis.Redis(port=server.port)
            empty = client.info("memory")["used_memory"]
            return Database(server.url, server.process.pid, lambda: client.info("memory")["used_memory"] - empty)
        if self._postgres is None:
            self._postgres = PostgresServer("shared_buffers=512MB")
            self._stack.callback(self._postgres.close)
        with psycopg.connect(self._postgres.url, autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE made{self._made}")
        url = f"{self._postgres.url.rpartition('/')[0]}/made{self._made}"
        return Database(url, self._postgres.process.pid, lambda: column_bytes(url))


@contextlib.contextmanager
def database_servers() -> Iterator[Databases]:
    """Provide databases, and stop their servers."""
    with contextlib.ExitStack() as stack:
        yield Databases(stack)


# Times


class Clock:
    """Measures a block: elapsed and CPU time."""

    def __init__(self, pid: int | None) -> None:
        self._pid = pid

    def __enter__(self) -> Clock:
        self._server, self._client, self._begun = cpu_of(self._pid), time.process_time(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._begun
        self.client = time.process_time() - self._client
        self.server = cpu_of(self._pid) - self._server


def seconds_of(action: Callable[[], Any]) -> float:
    """Return the elapsed seconds of a call."""
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def take_turns(
    sides: Mapping[str, Callable[[], Any]], rounds: int, calls: int = 1, less: Mapping[str, int] | None = None
) -> dict[str, list[float]]:
    """Return the median milliseconds of a call in each round. The sides take turns, so that all meet the same load.

    Args:
        sides: The actions, by name.
        rounds: The number of rounds.
        calls: The calls of each side in a round. Default: 1.
        less: Other numbers of calls, by name, for slow sides.
    """
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in sides if number % 2 else reversed(sides):
            count = (less or {}).get(name, calls)
            found[name].append(1e3 * statistics.median([seconds_of(sides[name]) for _ in range(count)]))
    return found


# Figures


@dataclass(frozen=True)
class Figure:
    """A comparison of this package with a peer: medians, and the ratio in each round.

    Attributes:
        what: The work.
        backend: The database.
        peer: The other side.
        unit: The unit of `ours` and `theirs`.
        ours: Median of this package.
        theirs: Median of the peer.
        ratios: Ours divided by theirs, by round.
        higher: True if a higher ratio is better. Default: False.
    """

    what: str
    backend: str
    peer: str
    unit: str
    ours: float
    theirs: float
    ratios: tuple[float, ...]
    higher: bool = False

    @classmethod
    def of(
        cls, what: str, backend: str, peer: str, unit: str, ours: Sequence[float], theirs: Sequence[float], **more: Any
    ) -> Figure:
        """Return the figure of two sides with the same number of rounds."""
        ratios = tuple(mine / other for mine, other in zip(ours, theirs, strict=True) if other)
        return cls(what, backend, peer, unit, statistics.median(ours), statistics.median(theirs), ratios, **more)

    @property
    def ratio(self) -> float:
        """The median of the ratios."""
        return statistics.median(self.ratios)

    @property
    def is_better(self) -> bool:
        """True if this package is ahead."""
        return self.ratio > 1 if self.higher else self.ratio < 1


@dataclass(frozen=True)
class Point:
    """A point of a curve.

    Attributes:
        curve: The title of the plot.
        axis: What `size` counts.
        side: The database, or the side of a comparison.
        size: The number of messages, threads, items or users that are stored.
        value: The measured value.
        unit: Its unit.
    """

    curve: str
    axis: str
    side: str
    size: int
    value: float
    unit: str


@dataclass
class Findings:
    """The results of a comparison."""

    figures: list[Figure] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)


def figures_of(
    what: str, backend: str, times: Mapping[str, Sequence[float]], unit: str = "ms", **more: Any
) -> list[Figure]:
    """Return the figures of several sides, the first of which is this package.

    Args:
        what: The work.
        backend: The database.
        times: The values of each side by round, from `take_turns`.
        unit: The unit of the values. Default: `"ms"`.
        **more: Other fields of `Figure`.
    """
    mine, *others = times
    return [Figure.of(what, backend, one, unit, times[mine], times[one], **more) for one in others]
