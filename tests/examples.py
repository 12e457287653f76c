"""How many examples Hypothesis tries."""

from __future__ import annotations

SHARE = 1.0
"""The part of them that is tried; `conftest.py` sets it before tests are imported."""


def examples(count: int) -> int:
    """The number of examples for a test that tries `count` of them in the full matrix."""
    return max(round(count * SHARE), min(count, 10))
