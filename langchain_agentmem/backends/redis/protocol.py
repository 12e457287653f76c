"""Commands in the protocol of Redis (RESP).

redis-py packs commands too, but takes several times as long for the many short arguments of the scripts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Words = Sequence[Any]
"""A command and its arguments: bytes, text or numbers."""


class Packed(bytes):
    """Several words of a command, packed already."""

    words: int
    """The number of words."""


def pack_words(words: Words) -> Packed:
    """Pack words that begin many commands.

    Args:
        words: The words.
    """
    every = [word if isinstance(word, bytes) else _encoded(word) for word in words]
    found = Packed(b"".join([b"$%d\r\n%b\r\n" % (len(data), data) for data in every]))
    found.words = len(every)
    return found


_LONG = 50_000
"""The number of bytes from which an argument is not copied."""


def packed(commands: Sequence[Words]) -> list[bytes]:
    r"""Return commands as the bytes to send to a server.

    Args:
        commands: The commands.

    Example:
        >>> from langchain_agentmem.backends.redis.protocol import packed
        >>> packed([("GET", "key")])
        [b'*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n']
    """
    chunks: list[bytes] = []
    short: list[bytes] = []
    for words in commands:
        first = words[0]
        if type(first) is Packed:
            short.append(b"*%d\r\n%b" % (len(words) - 1 + first.words, first))
        else:
            short.append(b"*%d\r\n" % len(words))
        for word in words[1:] if type(first) is Packed else words:
            data = word if isinstance(word, bytes) else _encoded(word)
            size = len(data)
            if size < _LONG:
                short.append(b"$%d\r\n%b\r\n" % (size, data))
            else:
                chunks += (b"".join((*short, b"$%d\r\n" % len(data))), data)
                short = [b"\r\n"]
    return [*chunks, b"".join(short)]


def _encoded(word: Any) -> bytes:
    return (
        word.encode()
        if isinstance(word, str)
        else repr(word).encode()
        if isinstance(word, (int, float))
        else bytes(word)
    )
