"""What a place that has several ids is found by."""

from __future__ import annotations

from hashlib import blake2b


def digest_of_ids(*ids: str, size: int = 16) -> bytes:
    """A digest of several ids, none of which can be taken for a part of another.

    Args:
        *ids: Any strings.
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
