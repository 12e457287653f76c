"""Items as bytes: the arguments and results of the item table's scripts."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from langchain_agentmem.backends.contract import ItemPut, ItemRow, Namespace
from langchain_agentmem.backends.namespaces import encode_namespace
from langchain_agentmem.backends.redis.scripts import optional
from langchain_agentmem.errors import DamagedDataError
from langchain_agentmem.text.words import pack_words

_HEAD = struct.Struct(">6d")
_STAMP, _LENGTH = struct.Struct(">d"), struct.Struct(">I")
_ENTRY_HEAD = struct.Struct("<dI")

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


def search_entries(
    tenant: str, namespace: bytes, index: Sequence[bytes], expired: Collection[bytes]
) -> Iterator[tuple[ItemId, int, bytes]]:
    """Yield the search entries of a namespace: the ID of each item, the width of its vectors, and its words.

    Args:
        tenant: The tenant.
        namespace: The namespace.
        index: The entries, as the script `find` returns them.
        expired: The keys of expired items, which are left out.
    """
    keys, heads, lengths, words = index
    ends = list(accumulate(map(int, lengths.split())))
    entries = zip(keys.split(b"\x00"), _ENTRY_HEAD.iter_unpack(heads), [0, *ends], ends, strict=False)
    return (
        (ItemId(int(stamp), tenant, namespace, key), width, words[start:end])
        for key, (stamp, width), start, end in entries
        if key not in expired
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
