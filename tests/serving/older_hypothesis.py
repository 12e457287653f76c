"""`many.more()`, which hypothesis-jsonschema 0.23 calls and which Hypothesis 6.170 has replaced by iteration.

Schemathesis 4.28 no longer needs hypothesis-jsonschema, but needs jsonschema-rs 0.57, and langgraph-api refuses 0.45 and later.
Remove this module when langgraph-api accepts it.
"""

from __future__ import annotations

from typing import Any

from hypothesis.internal.conjecture import utils

_END = object()


def _more(self: Any) -> bool:
    if not hasattr(self, "_steps"):
        self._steps = iter(self.__enter__())
    goes_on = next(self._steps, _END) is not _END
    if not goes_on:
        self.__exit__(None)
    return goes_on


def support() -> None:
    """Add `more` to `many` if it is missing."""
    if not hasattr(utils.many, "more"):
        utils.many.more = _more
