"""Reads the `.sql` and `.lua` files that hold a backend's statements.

A statement begins with a line `-- name --`. The comment lines after it describe it and its parameters.

A file `fragments.sql` in the same package holds parts of statements, such as the condition that a row has not expired.
`{name}` in a statement is replaced by that fragment. `{name:alias}` also replaces `{table}` in the fragment by the
alias and a dot.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files

_HEADING = re.compile(r"^-- (\w+) --$", re.MULTILINE)
_FRAGMENT = re.compile(r"\{(\w+)(?::(\w+))?\}")
_COMMENT = re.compile(r"^--.*\n", re.MULTILINE)


def load_statements(package: str, file: str) -> dict[str, str]:
    """Return the statements of a file by name.

    Args:
        package: The package of the file, for example `"langchain_agentmem.backends.sqlite"`.
        file: The file's name.

    Example:
        >>> from langchain_agentmem.backends.statements import load_statements
        >>> "window" in load_statements("langchain_agentmem.backends.sqlite", "history.sql")
        True
    """
    folder = files(package)
    statements = _read(folder.joinpath(file).read_text(encoding="utf-8"))
    fragments = folder.joinpath("fragments.sql")
    if not fragments.is_file():
        return statements
    known = {name: _COMMENT.sub("", text) for name, text in _read(fragments.read_text(encoding="utf-8")).items()}
    return {name: _expanded(text, known) for name, text in statements.items()}


def _read(text: str) -> dict[str, str]:
    _, *parts = _HEADING.split(text)
    return {name: statement.strip() for name, statement in zip(parts[::2], parts[1::2], strict=True)}


def _expanded(text: str, fragments: Mapping[str, str]) -> str:
    """Return a statement with its fragments inserted. Other names in braces stay unchanged."""

    def replace(found: re.Match[str]) -> str:
        fragment = fragments.get(found[1])
        if fragment is None:
            return found[0]
        return _expanded(fragment.replace("{table}", f"{found[2]}." if found[2] else ""), fragments)

    return _FRAGMENT.sub(replace, text)
