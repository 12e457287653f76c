"""The statements of this backend, with the schema that its tables lie in, and what their parameters may be besides."""

from __future__ import annotations

from functools import lru_cache

from langchain_agentmem.backends.statements import load_statements


class Floats(bytes):
    """Numbers as little-endian float32, for a parameter of type `real[]`."""


def array_of(floats: Floats, oid: int) -> bytes:
    """Numbers as Postgres' binary array of one dimension.

    Args:
        floats: The numbers.
        oid: The type of an element.
    """
    import numpy as np

    numbers = np.frombuffer(floats, dtype="<f4")
    # One dimension, no NULLs, the type of the elements; the number of elements, counted from 1; each with its length.
    header = np.array([1, 0, oid, len(numbers), 1], dtype=">i4")
    body = np.empty(len(numbers), dtype=[("length", ">i4"), ("number", ">f4")])
    body["length"], body["number"] = 4, numbers
    return header.tobytes() + body.tobytes() if len(numbers) else np.array([0, 0, oid], dtype=">i4").tobytes()


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
