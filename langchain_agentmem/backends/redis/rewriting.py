"""Rewriting the values of a Redis database; see `Backend.rewrite`."""

from __future__ import annotations

from typing import Any

from langchain_agentmem.backends.redis.scripts import Invoke, InvokeAll, ScanKeys, load_scripts
from langchain_agentmem.backends.rewriting import CellChange, Rewritten
from langchain_agentmem.programs import Program, storage_program

LUA = load_scripts("rewriting.lua", "a key")

_PREFIX = b"agentmem:{"


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
            arguments = [one for triple in new if triple[2] is not None for one in triple]
            if arguments:
                done = yield from Invoke(LUA["rewrite"], (key,), (kind, *arguments))
                changed += done
                missed += len(arguments) // 3 - done
            if cursor != b"":
                following[key] = cursor
        pending = following
    return Rewritten(changed, missed, cursors or None)
