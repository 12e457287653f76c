"""Digests of several IDs."""

from __future__ import annotations

from hashlib import blake2b


def digest_of_ids(*ids: str, size: int = 16) -> bytes:
    """Return a digest of several IDs. Different lists of IDs have different digests.

    Args:
        *ids: The IDs.
        size: The length of the digest in bytes. Default: 16.

    Example:
        >>> from langchain_agentmem.backends.digests import digest_of_ids
        >>> digest_of_ids("a", "bc") == digest_of_ids("ab", "c")
        False
    """
    digest = blake2b(digest_size=size)
    for one in ids:
        encoded = one.encode()
        digest.update(len(encoded).to_bytes(4, "big") + encoded)
    return digest.digest()
