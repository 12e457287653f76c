"""Rewriting the values of a Redis database; see `Backend.rewrite`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from langchain_agentmem.backends.redis.scripts import Invoke, InvokeAll, ScanKeys, load_scripts
from langchain_agentmem.backends.rewriting import CellChange, Rewritten
from langchain_agentmem.programs import Program, storage_program

LUA = load_scripts("rewriting.lua", "a key")

_PREFIX = b"agentmem:{"
_BYTES_AT_ONCE = 32 * 1024 * 1024


def _chunks(triples: Sequence[tuple[bytes, bytes, bytes]]) -> Iterator[list[bytes]]:
    """Yield the arguments for some of the values, up to a number of bytes."""
    chunk: list[bytes] = []
    size = 0
    for triple in triples:
        if chunk and size + len(triple[1]) > _BYTES_AT_ONCE:
            yield chunk
            chunk, size = [], 0
        chunk += triple
        size += len(triple[1])
    if chunk:
        yield chunk


@storage_program
def rewrite(change: CellChange, after: Any) -> Program[Rewritten]:
    """Rewrite the values of some keys. A value that another writer changes meanwhile is left to it."""
    keys, cursors = yield from ScanKeys(after)
    changed = missed = 0
    pending: dict[bytes, Any] = dict.fromkeys((key for key in keys if key.startswith(_PREFIX)), "")
    while pending:
        answers = yield from InvokeAll(
            [Invoke(LUA["cells"], (key,), (cursor, *change.needles)) for key, cursor in pending.items()]
        )
        following: dict[bytes, Any] = {}
        for key, (kind, cursor, *found) in zip(pending, answers, strict=True):
            new = [(name, old, change.of(old)) for name, old in zip(found[::2], found[1::2], strict=True)]
            for arguments in _chunks([triple for triple in new if triple[2] is not None]):
                done = yield from Invoke(LUA["rewrite"], (key,), (kind, *arguments))
                changed += done
                missed += len(arguments) // 3 - done
            if cursor != b"":
                following[key] = cursor
        pending = following
    return Rewritten(changed, missed, cursors or None)
