"""Serialized values and their references."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

REFERENCE_BYTES = 16
"""The length of an element's reference (a BLAKE2b digest), in bytes."""


class Typed(NamedTuple):
    """A serialized value: the name of its format, and its bytes."""

    type: str
    data: bytes


def reference(identity: Typed, key: bytes = b"") -> bytes:
    """Return the reference of an element: a digest of its plain form.

    Args:
        identity: The plain form, from `Codec.identify`.
        key: A secret of at most 64 bytes, with which the digest reveals nothing about the value. Default: none.

    Returns:
        `REFERENCE_BYTES` bytes (BLAKE2b, RFC 7693).
    """
    return blake2b(identity.data, digest_size=REFERENCE_BYTES, key=key, person=_format_mark(identity.type)).digest()


def each_reference(references: bytes) -> Iterable[bytes]:
    """Return the single references in concatenated references, in order."""
    return (references[at : at + REFERENCE_BYTES] for at in range(0, len(references), REFERENCE_BYTES))


@lru_cache(maxsize=1024)
def _format_mark(type_: str) -> bytes:
    """Return the mark by which equal bytes in different formats have different digests."""
    return blake2b(type_.encode(), digest_size=blake2b.PERSON_SIZE).digest()
