"""The statements of this backend, and the types of parameters that are arrays."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from struct import Struct

from langchain_agentmem.backends.statements import load_statements


class Floats(bytes):
    """Numbers as little-endian float32: a parameter of type `real[]`."""


class Texts(tuple[str, ...]):
    """Texts: a parameter of type `text[]`. psycopg would convert each text of a list by itself."""

    __slots__ = ()


class Blobs(tuple[bytes, ...]):
    """Byte strings: a parameter of type `bytea[]`."""

    __slots__ = ()


def array_of_bytes(elements: Sequence[bytes], oid: int) -> bytes:
    """Return byte strings in Postgres' binary format of an array with one dimension.

    Args:
        elements: The byte strings, or encoded texts.
        oid: The OID of the element type.
    """
    if not elements:
        return _EMPTY.pack(0, 0, oid)
    # One dimension, no NULLs, the element type, the number of elements, the first index; then each element with its length.
    parts = [_HEADER.pack(1, 0, oid, len(elements), 1)]
    for one in elements:
        parts += (_LENGTH.pack(len(one)), one)
    return b"".join(parts)


def array_of(floats: Floats, oid: int) -> bytes:
    """Return numbers in Postgres' binary format of an array with one dimension.

    Args:
        floats: The numbers.
        oid: The OID of the element type.
    """
    import numpy as np

    numbers = np.frombuffer(floats, dtype="<f4")
    # One dimension, no NULLs, the element type, the number of elements, the first index; then each element with its length.
    header = np.array([1, 0, oid, len(numbers), 1], dtype=">i4")
    body = np.empty(len(numbers), dtype=[("length", ">i4"), ("number", ">f4")])
    body["length"], body["number"] = 4, numbers
    return header.tobytes() + body.tobytes() if len(numbers) else np.array([0, 0, oid], dtype=">i4").tobytes()


def floats_in(array: bytes) -> bytes:
    """Return the numbers in Postgres' binary format of an array: the inverse of `array_of`."""
    import numpy as np

    body = np.frombuffer(array[_ARRAY_HEADER:], dtype=[("length", ">i4"), ("number", ">f4")])
    return body["number"].astype("<f4").tobytes()


_EMPTY, _HEADER, _LENGTH = Struct(">iii"), Struct(">iiiii"), Struct(">i")

_ARRAY_HEADER = 20
"""The number of bytes before the elements of an array with one dimension."""

_PACKAGE = "langchain_agentmem.backends.postgres"
_COMMENTS = re.compile(r"\A(--.*\n)+")


@lru_cache(maxsize=64)
def statements(file: str, schema: str | None) -> dict[str, str]:
    """Return the statements of a file by name, without their descriptions, which the server would have to read each time.

    Args:
        file: The name of the file.
        schema: The schema of the tables; None for the first schema of the connection's search path.
    """
    return {
        name: _COMMENTS.sub("", text).replace("{schema}", qualifier(schema))
        for name, text in load_statements(_PACKAGE, file).items()
    }


def qualifier(schema: str | None) -> str:
    """Return the text before the name of a table or function: the quoted schema and a dot, or nothing."""
    return "" if schema is None else '"' + schema.replace('"', '""').replace("%", "%%") + '".'
