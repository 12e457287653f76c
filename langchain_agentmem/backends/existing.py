"""The warning that a database holds what another package stored there."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from langchain_agentmem.errors import ExistingDataWarning


def warn_of_existing(place: str, found: Sequence[str]) -> None:
    """Warn, when the tables of a memory are first made, that other data lies beside them.

    Args:
        place: The database, without its password.
        found: Whose data it is, and where; nothing is said if it is empty.
    """
    if found:
        msg = (
            f"{place} holds data that langchain-agentmem does not read: {'; '.join(found)}. The memory begins empty, and "
            f"this data stays as it is."
        )
        warnings.warn(msg, ExistingDataWarning, stacklevel=2)
