"""Namespaces as bytes whose order keeps all namespaces below a prefix adjacent."""

from __future__ import annotations


def encode_namespace(namespace: tuple[str, ...]) -> bytes:
    """Return the labels of a namespace in UTF-8, each followed by a zero byte, which no label contains.

    Example:
        >>> from langchain_agentmem.backends.namespaces import decode_namespace, encode_namespace
        >>> decode_namespace(encode_namespace(("users", "alice")))
        ('users', 'alice')
    """
    return b"".join(label.encode() + b"\x00" for label in namespace)


def decode_namespace(namespace: bytes) -> tuple[str, ...]:
    """Return the namespace that `encode_namespace` encoded."""
    return tuple(label.decode() for label in namespace.split(b"\x00")[:-1])
