"""Reads the `.sql` files that hold a backend's statements.

A statement begins with a line `-- name --`; comment lines after it describe it.
"""

from __future__ import annotations

import re
from importlib.resources import files

_HEADING = re.compile(r"^-- (\w+) --$", re.MULTILINE)


def load_statements(package: str, file: str) -> dict[str, str]:
    """The statements of a file, by name.

    Args:
        package: The package that the file lies in, for example `"langchain_agentmem.backends.sqlite"`.
        file: The file's name.

    Example:
        >>> from langchain_agentmem.backends.statements import load_statements
        >>> "window" in load_statements("langchain_agentmem.backends.sqlite", "history.sql")
        True
    """
    text = files(package).joinpath(file).read_text(encoding="utf-8")
    _, *parts = _HEADING.split(text)
    return {name: statement.strip() for name, statement in zip(parts[::2], parts[1::2], strict=True)}
