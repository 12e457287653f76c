"""The warning that a database contains data of other packages."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from langchain_agentmem.errors import ExistingDataWarning


def warn_of_existing(database: str, found: Sequence[str]) -> None:
    """Warn that a database contains data of other packages. A driver calls this once, after it created the tables.

    Args:
        database: The name of the database, without its password.
        found: Descriptions of the data. If there are none, no warning is issued.
    """
    if found:
        msg = (
            f"{database} contains data that langchain-agentmem does not read: {'; '.join(found)}. The memory begins "
            f"empty, and this data stays unchanged."
        )
        warnings.warn(msg, ExistingDataWarning, stacklevel=2)
