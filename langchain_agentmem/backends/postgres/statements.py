"""The statements of this backend, with the schema that its tables lie in, and what their parameters may be besides."""

from __future__ import annotations

from functools import lru_cache

from langchain_agentmem.backends.statements import load_statements


class Floats(bytes):
    """Numbers as little-endian float32, for a parameter of type `real[]`."""


_PACKAGE = "langchain_agentmem.backends.postgres"


@lru_cache(maxsize=64)
def statements(file: str, schema: str | None) -> dict[str, str]:
    """The statements of a file, by name.

    Args:
        file: The file's name.
        schema: The schema of the tables; None for what the connection's search path finds.
    """
    return {name: text.replace("{schema}", qualifier(schema)) for name, text in load_statements(_PACKAGE, file).items()}


def qualifier(schema: str | None) -> str:
    """What comes before the name of a table or function: the quoted schema and a dot, or nothing."""
    return "" if schema is None else '"' + schema.replace('"', '""').replace("%", "%%") + '".'
