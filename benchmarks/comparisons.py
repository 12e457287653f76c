"""All comparisons of `python -m benchmarks`, with their sizes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.shared import BACKENDS, Databases, Findings

SIZES = ("quick", "short", "full")
"""Seconds; at most 12 minutes on a quiet machine with two cores; about an hour."""


@dataclass(frozen=True)
class Comparison:
    """A comparison.

    Attributes:
        title: The heading of the comparison.
        run: Function that measures a backend. It is called once, with an empty backend, if `backends` is empty.
        backends: The backends that are measured.
        sizes: The arguments of `run`, by size.
    """

    title: str
    run: Callable[..., Findings]
    backends: tuple[str, ...]
    sizes: Mapping[str, Mapping[str, Any]]


def chats(databases: Databases, backend: str, **size: Any) -> Findings:
    """Compare concurrent chats."""
    from benchmarks import threads

    return Findings(threads.chat_figures(backend, databases, **size))


def thread(databases: Databases, backend: str, **size: Any) -> Findings:
    """Compare a long thread."""
    from benchmarks import threads

    return Findings(*threads.long_figures(backend, databases, **size))


def histories(databases: Databases, backend: str, **size: Any) -> Findings:
    """Compare a turn of a history."""
    from benchmarks import histories as program

    return Findings(program.figures(backend, databases, **size))


def stores(databases: Databases, backend: str, **size: Any) -> Findings:
    """Compare items."""
    from benchmarks import stores as program

    return Findings(program.figures(backend, databases, **size))


def bursts(databases: Databases, backend: str, **size: Any) -> Findings:
    """Compare operations of one tick."""
    from benchmarks import bursts as program

    return Findings(asyncio.run(program.figures(backend, databases, **size)))


def cache(databases: Databases, backend: str, **size: Any) -> Findings:
    """Compare the cache of nodes."""
    from benchmarks import node_cache

    return Findings(node_cache.figures(backend, databases, **size))


def imports(databases: Databases, backend: str, **size: Any) -> Findings:  # noqa: ARG001
    """Compare the import."""
    from benchmarks import import_time

    return Findings(import_time.figures(**size))


def compression(databases: Databases, backend: str, **size: Any) -> Findings:  # noqa: ARG001
    """Compare compression."""
    from benchmarks import compression as program

    return Findings(program.comparison(**size))


def profiles(databases: Databases, backend: str, **size: Any) -> Findings:  # noqa: ARG001
    """Compare the extraction of profiles."""
    from benchmarks import profiles as program

    return Findings(program.figures(**size))


def curves(databases: Databases, backend: str, **size: Any) -> Findings:
    """Measure calls by the amount of stored data."""
    from benchmarks import curves as program

    return Findings(points=list(program.points(backend, databases, **size)))


def _sizes(quick: dict[str, Any], short: dict[str, Any], full: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return dict(zip(SIZES, (quick, short, full), strict=True))


COMPARISONS: dict[str, Comparison] = {
    "imports": Comparison("Import", imports, (), _sizes({"rounds": 1}, {"rounds": 9}, {"rounds": 21})),
    "histories": Comparison(
        "Chat histories",
        histories,
        BACKENDS,
        _sizes(
            {"messages": 100, "rounds": 2, "calls": 2},
            {"messages": 10_000, "rounds": 10, "calls": 20},
            {"messages": 10_000, "rounds": 30, "calls": 20},
        ),
    ),
    "chats": Comparison(
        "Many short threads at once",
        chats,
        BACKENDS,
        _sizes(
            {"chats": 4, "turns": 2, "rounds": 1},
            {"chats": 64, "turns": 10, "rounds": 3},
            {"chats": 64, "turns": 20, "rounds": 5},
        ),
    ),
    "thread": Comparison(
        "One long thread",
        thread,
        BACKENDS,
        _sizes(
            {"turns": 12, "plain": 6, "colds": 1},
            {"turns": 225, "plain": 225, "colds": 5},
            {"turns": 1_025, "plain": 400, "colds": 9},
        ),
    ),
    "stores": Comparison(
        "Stores",
        stores,
        BACKENDS,
        _sizes({"items": 200, "rounds": 1}, {"items": 10_000, "rounds": 15}, {"items": 100_000, "rounds": 40}),
    ),
    "bursts": Comparison(
        "Many operations of an event loop at once",
        bursts,
        ("sqlite", "postgres"),
        _sizes({"count": 120, "rounds": 1}, {"count": 6_000, "rounds": 3}, {"count": 20_000, "rounds": 5}),
    ),
    "cache": Comparison(
        "Cache of nodes",
        cache,
        ("sqlite", "redis"),
        _sizes({"calls": 2, "rounds": 1}, {"calls": 10, "rounds": 15}, {"calls": 20, "rounds": 40}),
    ),
    "compression": Comparison("Compression", compression, (), _sizes({"turns": 10}, {"turns": 200}, {"turns": 1_000})),
    "profiles": Comparison("Profiles", profiles, (), _sizes({"turns": 5}, {"turns": 100}, {"turns": 300})),
    "curves": Comparison(
        "Cost by the amount of data",
        curves,
        BACKENDS,
        _sizes({"largest": 10}, {"largest": 10_000}, {"largest": 100_000}),
    ),
}
