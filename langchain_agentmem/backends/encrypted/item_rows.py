"""Encryption of single items: their names, and their values, which are bound to their places."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import NamedTuple

import ormsgpack

from langchain_agentmem.arguments.ids import MAX_ADDRESS_BYTES
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.contract import ItemRow, Namespace
from langchain_agentmem.backends.encrypted.item_heads import DIGEST_BYTES, HEADS, LONGEST_NAME, TAG_BYTES
from langchain_agentmem.encoding.encryption import KeyRing
from langchain_agentmem.errors import InvalidInputError, TamperedDataError
from langchain_agentmem.programs.caches import RecentValues
from langchain_agentmem.text.words import pack_words

_SEALED = "agentmem:sealed"
"""The key of the JSON object that contains an encrypted value."""
_MAX_NAMESPACES = 1_000
_WORD_BYTES = 6
"""The length of the digest of a word."""
_SECONDS = 0.001
"""The accuracy of the times that all backends store."""

ItemKey = tuple[Namespace, str]


class Content(NamedTuple):
    """The encrypted content of an item."""

    value: str
    """JSON text."""
    at: float
    """The time of the write, which is the row's `updated_at`."""
    ttl: float | None
    paths: str | None = None
    words: bytes | None = None
    """The result of `packed_words`; None if the item is not indexed, or the database stores the words."""
    vectors: Sequence[bytes] = ()
    updated_at: float | None = None
    """The time of the item's last update, if a later write changed only its words or vectors."""
    tag: bytes = b""
    """The random tag of the row; see `langchain_agentmem.backends.encrypted.item_heads`."""


class ItemSeal:
    """Encrypts and decrypts the names and values of items.

    Args:
        ring: The keys.
    """

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring
        self._plain_namespaces: RecentValues[Namespace, Namespace] = RecentValues(_MAX_NAMESPACES)

    def namespace(self, namespace: Namespace) -> Namespace:
        """Encrypt the labels of a namespace."""
        return tuple(map(self._ring.label, namespace))

    def plain_namespace(self, namespace: Namespace) -> Namespace:
        """Decrypt the labels of a namespace."""
        plain = self._plain_namespaces.get(namespace)
        if plain is None:
            plain = tuple(map(self._ring.plain_label, namespace))
            self._plain_namespaces.put(namespace, plain)
        return plain

    def key(self, key: ItemKey) -> ItemKey:
        """Encrypt the namespace and the key of an item."""
        return self.namespace(key[0]), self._ring.id("key", key[1])

    def checked_key(self, key: ItemKey) -> ItemKey:
        """Same as `key`, for an item to store.

        Raises:
            InvalidInputError: The encrypted names are too long.
        """
        sealed = self.key(key)
        length = sum(map(len, sealed[0])) + max(len(sealed[1]), len(HEADS) + LONGEST_NAME)
        if length > MAX_ADDRESS_BYTES:
            msg = (
                f"The namespace and key of item {shown(key, 200)} take {length:,} bytes in encrypted form; at most "
                f"{MAX_ADDRESS_BYTES:,} are accepted. Use shorter labels, or fewer."
            )
            raise InvalidInputError(msg)
        return sealed

    def value(self, tenant: str, key: ItemKey, content: Content) -> str:
        """Return the encrypted value of an item as JSON text.

        Args:
            tenant: The tenant.
            key: The namespace and key, not encrypted.
            content: The value.
        """
        return self.json(ormsgpack.packb(tuple(content)), *_place(tenant, key))

    def json(self, data: bytes, *place: str) -> str:
        """Encrypt bytes for a place. Return them as JSON text."""
        return json.dumps({_SEALED: base64.b64encode(self._ring.sealer.seal(data, *place)).decode()})

    def opened(self, text: str, *place: str) -> bytes:
        """Decrypt the result of `json`.

        Raises:
            TamperedDataError: It is not encrypted, was altered, or belongs to another place.
        """
        try:
            sealed = base64.b64decode(json.loads(text)[_SEALED], validate=True)
        except (KeyError, TypeError, ValueError):
            sealed = b""
        return self._ring.sealer.open(sealed, *place)

    def content(self, tenant: str, key: ItemKey, row: ItemRow) -> Content:
        """Decrypt the value of an item.

        Raises:
            TamperedDataError: It is not encrypted, was altered, or belongs to another item, time or TTL.
        """
        content = Content(*ormsgpack.unpackb(self.opened(row.value, *_place(tenant, key))))
        ttl = content.ttl
        changed_ttl = (ttl is None) != (row.ttl is None) or abs((ttl or 0.0) - (row.ttl or 0.0)) > _SECONDS
        if changed_ttl or abs(content.at - row.updated_at) > _SECONDS:
            what = "TTL" if changed_ttl else "time"
            msg = f"The {what} of item {shown(key[1])} was altered."
            raise TamperedDataError(msg)
        return content

    def row(self, tenant: str, row: ItemRow) -> tuple[ItemRow, Content]:
        """Decrypt an item. The row has no `paths`."""
        key = (self.plain_namespace(row.namespace), self._ring.plain_id("key", row.key))
        content = self.content(tenant, key, row)
        updated_at = row.updated_at if content.updated_at is None else content.updated_at
        plain = ItemRow(*key, content.value, row.created_at, updated_at, row.ttl, row.revision)
        return plain, content

    def digest(self, key: str) -> bytes:
        """Return the digest of a key in the head of its namespace."""
        return self._ring.digest("item", key, size=DIGEST_BYTES)

    def restored_tag(self, tenant: str, key: ItemKey, content: Content) -> bytes:
        """Return the tag of a restored row. It is the same when the row is restored again."""
        names = (*_place(tenant, key), content.value, repr(content.at), repr(content.ttl))
        return self._ring.digest("restored item", *names, size=TAG_BYTES)

    def words(self, text: str | None) -> str | None:
        """Return the keyed digests of the words in `ItemPut.text`."""
        return None if text is None else " ".join(map(self.word, text.split()))

    def word(self, word: str) -> str:
        """Return the keyed digest of a word."""
        return "w" + self._ring.digest("word", word, size=_WORD_BYTES).hex()


def packed_words(text: str | None) -> bytes | None:
    """Return the words of `ItemPut.text` for `Content.words`."""
    return None if text is None else pack_words(text.split())


def _place(tenant: str, key: ItemKey) -> tuple[str, ...]:
    return "item", tenant, key[1], *key[0]
