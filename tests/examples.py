"""Examples for tests: how many Hypothesis tries, and an object of an unknown type."""

from __future__ import annotations

SHARE = 1.0
"""The part of the examples that is tried; `conftest.py` sets it before tests are imported."""


def examples(count: int) -> int:
    """The number of examples for a test that tries `count` of them in the full matrix."""
    return max(round(count * SHARE), min(count, 10))


def repetitions(count: int, least: int = 1) -> int:
    """How often a test repeats what it does: `count` times in the full matrix, otherwise a quarter of that, but not below `least`."""
    return max(round(count * SHARE), least)


def stride() -> int:
    """The distance of the lines at which a call is broken off: each line in the full matrix, every third otherwise."""
    return 1 if SHARE == 1.0 else 3


class Thing:
    """An object that nothing accepts. Its `repr` has no address, so that the id of a test is the same in every process."""

    def __repr__(self) -> str:
        return "Thing()"
