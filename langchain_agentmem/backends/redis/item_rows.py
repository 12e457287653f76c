"""Items as bytes: the arguments and results of the item table's scripts."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from langchain_agentmem.backends.contract import ItemPut, ItemRow, ItemText, Namespace
from langchain_agentmem.backends.namespaces import decode_namespace, encode_namespace
from langchain_agentmem.backends.redis.scripts import optional
from langchain_agentmem.errors import DamagedDataError
from langchain_agentmem.text.vectors import different_dimensions
from langchain_agentmem.text.words import checked_words, pack_words

_HEAD = struct.Struct(">6d")
_STAMP, _LENGTH = struct.Struct(">d"), struct.Struct(">I")
_ENTRY_HEAD = struct.Struct("<dI")
_MARK = struct.Struct("<d")

ItemKey = tuple[Namespace, str]


class ItemId(NamedTuple):
    """The ID of a candidate."""

    stamp: int
    tenant: str
    namespace: bytes
    key: bytes


class ScanRecord(NamedTuple):
    """An item that a scan examined. The namespace, key and item are empty if the item did not pass."""

    stamp: int
    namespace: bytes
    key: bytes
    item: bytes


def flat_keys(keys: Iterable[ItemKey]) -> list[bytes | str]:
    """Return the namespace and the key of each item, as scripts take them."""
    return [one for namespace, key in keys for one in (encode_namespace(namespace), key)]


def put_arguments(put: ItemPut) -> tuple[Any, ...]:
    """Return an item to store, as scripts take it."""
    words = b"" if put.text is None else pack_words(put.text.split())
    width = len(put.vectors[0]) if put.vectors else 0 if put.text is not None else -1
    key = (encode_namespace(put.namespace), put.key)
    return (*key, put.value, optional(put.ttl), words, b"".join(put.vectors), width, put.paths or "")


def item_row(namespace: Namespace, key: str, item: bytes) -> ItemRow:
    """Return the row of a stored item.

    Raises:
        DamagedDataError: The item was damaged or altered.
    """
    try:
        _, created_at, updated_at, ttl, stamp, _ = _HEAD.unpack_from(item)
        value = item[_HEAD.size :].decode()
    except (struct.error, UnicodeDecodeError) as error:
        msg = f"The item {key!r} in {namespace!r} cannot be read: it was damaged or altered ({error})."
        raise DamagedDataError(msg) from error
    return ItemRow(namespace, key, value, created_at, updated_at, ttl or None, int(stamp))


def scan_records(part: bytes) -> Iterator[ScanRecord]:
    """Yield the records in a part of the answer to a scan."""
    at = 0
    while at < len(part):
        (stamp,) = _STAMP.unpack_from(part, at)
        at += _STAMP.size
        fields = []
        for _ in range(3):
            (length,) = _LENGTH.unpack_from(part, at)
            fields.append(part[at + _LENGTH.size : at + _LENGTH.size + length])
            at += _LENGTH.size + length
        yield ScanRecord(int(stamp), *fields)


def unstamped(tenant: str, namespace: bytes, key: bytes) -> ItemId:
    """Return the ID of an item that stays when the item changes."""
    return ItemId(0, tenant, namespace, key)


def parts_of_member(member: bytes) -> tuple[bytes, bytes]:
    """Return the namespace and the key in a member of the index of expiring items."""
    (length,) = _LENGTH.unpack_from(member)
    end = _LENGTH.size + length
    return member[_LENGTH.size : end], member[end:]


class SearchIndex(NamedTuple):
    """The search entries of a namespace, as scripts return them."""

    keys: list[bytes]
    heads: bytes
    lengths: list[int]
    """The number of bytes of the words of each item; -1 for an item that searches do not find."""
    words: bytes
    expired: Collection[bytes] = ()
    """The keys of expired items, which are omitted."""

    @classmethod
    def of(cls, columns: Sequence[bytes], expired: Collection[bytes] = ()) -> SearchIndex:
        """Return the entries in the answer of a script.

        Args:
            columns: The keys, each followed by a zero byte; stamps and widths; lengths of words; words.
            expired: The keys of expired items. Default: none.
        """
        keys, heads, lengths, words = columns
        return cls(keys.split(b"\x00")[:-1], heads, list(map(int, lengths.split())), words, expired)

    @classmethod
    def joined(cls, parts: Sequence[SearchIndex]) -> SearchIndex:
        """Return the entries of several parts of a namespace."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            [key for part in parts for key in part.keys],
            b"".join(part.heads for part in parts),
            [length for part in parts for length in part.lengths],
            b"".join(part.words for part in parts),
            {key for part in parts for key in part.expired},
        )

    @property
    def missing(self) -> list[bytes]:
        """The keys of items that searches do not find."""
        return [key for key, length in zip(self.keys, self.lengths, strict=True) if length < 0]


def search_entries(tenant: str, namespace: bytes, index: SearchIndex) -> Iterator[tuple[ItemId, int, bytes]]:
    """Yield the search entries of a namespace: the ID of each item, the width of its vectors, and its words."""
    ends = list(accumulate(max(0, length) for length in index.lengths))
    entries = zip(index.keys, _ENTRY_HEAD.iter_unpack(index.heads), index.lengths, [0, *ends], ends, strict=False)
    return (
        (ItemId(int(stamp), tenant, namespace, key), width, index.words[start:end])
        for key, (stamp, width), length, start, end in entries
        if length >= 0 and key not in index.expired
    )


def item_texts(tenant: str, namespace: bytes, index: SearchIndex, log: bytes, width: int | None) -> Iterator[ItemText]:
    """Yield the search entries of a namespace with the vectors in a log.

    Args:
        tenant: The tenant.
        namespace: The namespace.
        index: The entries.
        log: A log of vectors of this width, or the end of it.
        width: The number of bytes of a vector; None for no vectors.

    Raises:
        StorageError: An item has vectors of another width.
    """
    vectors: dict[int, list[bytes]] = {}
    if width:
        for at in range(0, len(log), _MARK.size + width):
            (stamp,) = _MARK.unpack_from(log, at)
            vectors.setdefault(int(stamp), []).append(log[at + _MARK.size : at + _MARK.size + width])
    labels = decode_namespace(namespace)
    for id_, width_of_item, words in search_entries(tenant, namespace, index):
        if width and width_of_item not in (0, width):
            raise different_dimensions(width, width_of_item)
        found = vectors.get(id_.stamp, ()) if width_of_item else ()
        yield ItemText(
            id_._replace(stamp=0), labels, id_.key.decode(), id_.stamp / 1e6, None, checked_words(words), found
        )


def similarities(log: bytes, query: bytes) -> Iterable[tuple[float, float]]:
    """Return the stamp and the cosine similarity of each vector in a log.

    Args:
        log: The log. Its vectors have the width of the query, and length 1.
        query: The query's vector, of length 1.
    """
    import numpy as np

    records = np.frombuffer(log, dtype="<f4").reshape(-1, 2 + len(query) // 4)
    stamps = np.ascontiguousarray(records[:, :2]).view("<f8").ravel()
    return zip(stamps.tolist(), (records[:, 2:] @ np.frombuffer(query, dtype="<f4")).tolist(), strict=True)
