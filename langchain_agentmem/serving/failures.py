"""Unexpected errors in the log of a server."""

from __future__ import annotations

import traceback

_FRAMES = 8
"""The number of places that the log names."""


def places_of(error: BaseException) -> list[str]:
    """Return the places in the code at which an exception was raised, for the log: files, lines and functions.

    The place that raised it is the last one. The text of an exception may quote stored data, so the log leaves it out.

    Args:
        error: The exception.
    """
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
