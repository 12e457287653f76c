"""How long tests wait for something that does happen."""

from __future__ import annotations

PATIENCE = 120.0
"""Seconds after which a test fails. Only a failing test waits for so long, even on a machine many times slower than ours."""
