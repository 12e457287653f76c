"""The head of an encrypted namespace: which items it has, so that missing, added and older rows are noticed.

A namespace of items has a head, which is stored with the items of the same root label, below the label `HEADS`. It contains,
for each item, a digest of the key, the random tag of the stored row, the time of the write and the expiry.

* Up to 32 items, the head contains these entries itself. A larger namespace has parts: rows with the entries of some keys.
  The head then contains the random tag of each part, so that an older part is noticed. The number of parts grows with the
  namespace in three steps. A write changes the head and the parts of its keys only.
* Each write is a swap of the items together with the head and its parts, in one transaction. A swap is done only if all of
  them have the revisions that were read; otherwise the program starts again. So a write takes one read more, and the writers
  of a namespace take turns.
* A read of items by their keys reads the head and one part for each key in the same statement. An item must have the tag of
  its entry. An item without an entry was inserted. An entry without an item is a deletion, unless the item has expired.
* A listing reads the heads below its namespace, and compares each row. If they have at most `MAX_LISTED` rows, it also checks
  that no item within the page is missing; on Redis only if the page is the whole listing, because its order is that of the
  commits. If the head has changed since the rows were read, the listing starts again.
* A search that ranks in this process reads all heads. A search in the database checks the items that it returns.
* The head mirrors the expiry of each item: a touch changes it in the same transaction. The sweep needs no key. Entries of
  items that expired a minute ago are removed with the next write. The head outlives its last item by a minute.
* A restored item has a tag that depends on its content, and the head is stored first. So an interrupted import, which may
  leave entries without items on Redis, is continued by the same import.
* A rotation of the key encrypts heads and items again and changes neither tags nor entries.
* A namespace without items has no head: one that is missing as a whole, or was replaced by an older copy of all its rows, is
  accepted, as with sessions and threads. Nothing in the database tells which namespaces there must be.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import ormsgpack

HEADS = "~heads"
"""The second label of the namespaces with heads. No encrypted label contains the first character."""
HEAD = "head"
"""The key of a head."""
MAX_LISTED = 200
"""The number of rows of heads and parts up to which a listing checks that no item is missing."""

GRACE = 60.0
"""Seconds by which clocks may differ: the time before its expiry for which an item may be missing, and after it for which its
entry is kept."""
MARGIN = GRACE + 5.0
"""Seconds that a head outlives its last item."""

TAG_BYTES, DIGEST_BYTES = 6, 8
_ENTRY = struct.Struct(">8s6sddd")
_PART = struct.Struct(">6sd")
_STEPS = ((32, 1), (1_024, 32), (16_384, 256))
_MOST_PARTS = 2_048
"""The number of parts by the number of items: up to 32 items have one, which is the head itself."""
LONGEST_NAME = len("2048.2047")
"""The length of the longest key of a head or a part."""

NEVER = float("inf")


class Entry(NamedTuple):
    """The entry of an item."""

    tag: bytes
    at: float
    """The time of the write."""
    expires: float
    """The expiry; `NEVER` without TTL."""
    ttl: float = 0.0

    def is_alive(self, now: float) -> bool:
        """Return true if the item has not expired."""
        return self.expires > now

    def touched(self, now: float) -> Entry:
        """Return the entry after the TTL was restarted."""
        return self if self.expires == NEVER else self._replace(expires=max(self.expires, now + self.ttl))

    @classmethod
    def after(cls, former: Entry | None, tag: bytes, now: float, ttl: float | None) -> Entry:
        """Return the entry of an item that is stored.

        Args:
            former: The entry before, of an item that has not expired. A late clock does not bring its expiry forward.
            tag: The tag of the row.
            now: The current time.
            ttl: The TTL; None for none.
        """
        if ttl is None:
            return cls(tag, now, NEVER)
        used = now if former is None else max(now, former.at, former.expires - former.ttl if former.ttl else now)
        return cls(tag, now, used + ttl, ttl)


Entries = Mapping[bytes, Entry]
"""Entries by the digest of the key."""

Edits = Mapping[bytes, Entry | None]
"""Changes of entries by the digest of the key; None deletes an entry."""


class Head(NamedTuple):
    """The head of a namespace."""

    size: int = 0
    """The number of entries."""
    parts: tuple[tuple[bytes, float], ...] = ()
    """The tag and the expiry of each part; the tag of a part without entries is empty. Without parts, `entries` has all."""
    entries: Entries = MappingProxyType({})
    base: float = 0.0
    """The time from which the database counts the TTL of the head's row."""

    @property
    def expires(self) -> float:
        """The expiry of the last item."""
        if not self.parts:
            return last_expiry(self.entries)
        return max((expires for tag, expires in self.parts if tag), default=0.0)

    def packed(self) -> bytes:
        """Return the head as bytes."""
        parts = b"".join(_PART.pack(tag or bytes(TAG_BYTES), expires) for tag, expires in self.parts)
        return ormsgpack.packb([self.size, parts, packed_entries(self.entries), self.base])

    @classmethod
    def unpacked(cls, packed: bytes) -> Head:
        """Return the head in the result of `packed`."""
        size, parts, entries, base = ormsgpack.unpackb(packed)
        found = tuple((tag if any(tag) else b"", expires) for tag, expires in _PART.iter_unpack(parts))
        return cls(size, found, unpacked_entries(entries), base)


def parts_for(count: int) -> int:
    """Return the number of parts of a namespace with some items.

    Example:
        >>> from langchain_agentmem.backends.encrypted.item_heads import parts_for
        >>> [parts_for(count) for count in (0, 32, 33, 20_000)]
        [1, 1, 32, 2048]
    """
    return next((parts for most, parts in _STEPS if count <= most), _MOST_PARTS)


def part_of(digest: bytes, parts: int) -> int:
    """Return the number of the part with the entry of a key."""
    return int.from_bytes(digest[:4], "big") % parts


def name_of_part(parts: int, at: int) -> str:
    """Return the key of the row of a part."""
    return HEAD if parts == 1 else f"{parts}.{at}"


def new_tag() -> bytes:
    """Return the tag of a new row."""
    return os.urandom(TAG_BYTES)


def last_expiry(entries: Entries) -> float:
    """Return the expiry of the last item."""
    return max((entry.expires for entry in entries.values()), default=0.0)


def packed_entries(entries: Entries) -> bytes:
    """Return entries as bytes."""
    return b"".join(_ENTRY.pack(digest, *entry) for digest, entry in entries.items())


def unpacked_entries(packed: bytes) -> dict[bytes, Entry]:
    """Return the entries in the result of `packed_entries`."""
    return {digest: Entry(*rest) for digest, *rest in _ENTRY.iter_unpack(packed)}


def split(entries: Entries, parts: int) -> list[dict[bytes, Entry]]:
    """Return entries by part."""
    found: list[dict[bytes, Entry]] = [{} for _ in range(parts)]
    for digest, entry in entries.items():
        found[part_of(digest, parts)][digest] = entry
    return found


def edited(entries: Entries, edits: Edits, now: float) -> dict[bytes, Entry]:
    """Return the entries after some changes, without those of items that expired more than `GRACE` seconds ago."""
    changed = {digest: entry for digest, entry in entries.items() if entry.is_alive(now - GRACE)}
    for digest, edit in edits.items():
        changed.pop(digest, None)
        if edit is not None:
            changed[digest] = edit
    return changed


def merged(several: Iterable[Entries]) -> dict[bytes, Entry]:
    """Return the entries of several parts as one."""
    return {digest: entry for entries in several for digest, entry in entries.items()}
