"""The changes in the items below a namespace in Postgres since the last search: the rows of `agentmem_changed_items`.

Each item has the ID of the transaction that changed its words or vectors last. The state that a reader knows is the snapshot
of its last call: it reads the items of transactions that were not visible in this snapshot.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from langchain_agentmem.backends.contract import ItemChanges, ItemText
from langchain_agentmem.backends.postgres.prefixes import decoded_prefix
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.text.vectors import different_dimensions
from langchain_agentmem.text.words import checked_words, pack_words

_DIGEST_BYTES = 8
_HEADER_BYTES = 4
"""The bytes before the numbers of a vector in the format of `vector_send`: the dimensions in the first two."""

_TOO_MANY, _WHOLE = 2, 1
_UNIT = 1e-4
"""The difference of a vector's length from 1 up to which it is not divided by its length."""

_LEXEME = re.compile(r"'((?:[^']|'')*)':([0-9A-D,]+)")


class Cursor(NamedTuple):
    """The state that a reader knows."""

    snapshot: str
    read_at: float
    """The time of the call, by the clock of the server."""


class ItemPlace:
    """The ID of an item in a corpus. Places are equal if the digests of namespace and key are.

    Args:
        digest: The digest.
        prefix: The encoded namespace; empty if only the digest is known.
        key: The key.
    """

    __slots__ = ("digest", "key", "prefix")

    def __init__(self, digest: bytes, prefix: str = "", key: str = "") -> None:
        self.digest, self.prefix, self.key = digest, prefix, key

    @classmethod
    def of(cls, prefix: str, key: str) -> ItemPlace:
        """Return the place of an item."""
        text = f"{len(prefix)}:{prefix}{key}".encode()
        return cls(hashlib.sha256(text).digest()[:_DIGEST_BYTES], prefix, key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ItemPlace) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


def changes_in(rows: Sequence[Sequence[Any]], width: int | None) -> ItemChanges:
    """Return what changed, from the rows of the statement `changed_items`.

    Args:
        rows: The rows, at least one.
        width: The number of bytes of a vector; None to return no vectors.

    Raises:
        StorageError: A vector has another width.
        DamagedDataError: The words of an item are damaged.
    """
    snapshot, read_at, state, gone, ended, *_ = rows[0]
    cursor = None if snapshot is None else Cursor(snapshot, read_at)
    places = gone or b""
    expired = [ItemPlace.of(prefix, key) for prefix, key in json.loads(ended or "[]")]
    vectors = iter(_vectors([row[10] for row in rows[1:] if row[10]], width))
    return ItemChanges(
        cursor,
        [_text(row[5:10], next(vectors) if row[10] else ()) for row in rows[1:]],
        [ItemPlace(places[at : at + _DIGEST_BYTES]) for at in range(0, len(places), _DIGEST_BYTES)],
        is_whole=state == _WHOLE,
        expired=expired,
        is_too_large=state == _TOO_MANY,
    )


def _text(row: Sequence[Any], vectors: Sequence[bytes]) -> ItemText:
    prefix, key, updated_at, numbers, lexemes = row
    with reading(f"The words of item {key!r}"):
        words = checked_words((numbers or b"") + (_numbers_in(lexemes) if lexemes else b""))
    return ItemText(ItemPlace.of(prefix, key), decoded_prefix(prefix), key, updated_at, None, words, vectors)


def _vectors(packed: Sequence[bytes], width: int | None) -> list[list[bytes]]:
    """Return the vectors of items, as little-endian float32 of length 1."""
    import numpy as np

    if width is None or not packed:
        return [[] for _ in packed]
    size = _HEADER_BYTES + width
    for one in packed:
        dimensions = int.from_bytes(one[:2], "big")
        if 4 * dimensions != width or len(one) % size:
            raise different_dimensions(4 * dimensions, width)
    every = np.frombuffer(b"".join(packed), dtype=[("header", "V4"), ("numbers", ">f4", (width // 4,))])["numbers"]
    found = every.astype("<f4")
    lengths = np.sqrt(np.einsum("ij,ij->i", found, found))
    other = (np.abs(lengths - 1) > _UNIT) & (lengths > 0)
    found[other] /= lengths[other, None]
    data = found.tobytes()
    result, at = [], 0
    for one in packed:
        count = len(one) // size
        result.append([data[start : start + width] for start in range(at, at + count * width, width)])
        at += count * width
    return result


def _numbers_in(lexemes: str) -> bytes:
    """Return the word numbers of texts that an earlier version stored: `tsvector`s, one on each line."""
    words: list[str] = []
    for part in lexemes.split("\n"):
        found = [
            (int(position.rstrip("ABCD")), word.replace("''", "'").replace("\\\\", "\\"))
            for word, positions in _LEXEME.findall(part)
            for position in positions.split(",")
        ]
        words += [word for _, word in sorted(found)]
    return pack_words(words)
