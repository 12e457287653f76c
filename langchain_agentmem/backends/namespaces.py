"""Namespaces as bytes, so that those below a prefix lie next to each other."""

from __future__ import annotations


def encode_namespace(namespace: tuple[str, ...]) -> bytes:
    """A namespace as its labels in UTF-8, each followed by a zero byte, which no label holds.

    Example:
        >>> from langchain_agentmem.backends.namespaces import decode_namespace, encode_namespace
        >>> decode_namespace(encode_namespace(("users", "alice")))
        ('users', 'alice')
    """
    return b"".join(label.encode() + b"\x00" for label in namespace)


def decode_namespace(namespace: bytes) -> tuple[str, ...]:
    """The inverse of `encode_namespace`."""
    return tuple(label.decode() for label in namespace.split(b"\x00")[:-1])
