"""Encrypting the stored values of a tenant again, with its current data key."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, NamedTuple

from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.backends.rewriting import CellChange
from langchain_agentmem.encoding.encryption import Secrets
from langchain_agentmem.encoding.sealing import MARK, Sealer
from langchain_agentmem.programs import Call, Program, Write


class Resealed(NamedTuple):
    """The progress of `reseal`."""

    values: int = 0
    """The number of values that were encrypted again."""
    passes: int = 0
    """The number of passes over the database."""
    damaged: int = 0
    """The number of cells in the last pass with a value that was altered, so that it cannot be decrypted."""


def reseal(inner: Backend, secrets: Secrets, report: Callable[[Resealed], Any] | None = None) -> Program[Resealed]:
    """Pass over the database until a pass finds no value under a former data key. Altered values stay as they are.

    Args:
        inner: The backend that stores the encrypted data.
        secrets: The data keys: the current one, and the former ones.
        report: Receives the progress after each transaction. Default: None.
    """
    sealer = Sealer(secrets.data_keys, secrets.current, secrets.place_key)
    marks = [MARK + id_ for id_ in secrets.data_keys if id_ != secrets.current]
    # The last digit of the base64 form also depends on the next byte.
    needles = [*marks, *(base64.b64encode(mark)[:10] for mark in marks)]
    damaged = 0

    def changed(cell: bytes) -> bytes | None:
        nonlocal damaged
        new = sealer.resealed(cell)
        left = cell if new is None else new
        damaged += any(needle in left for needle in needles)
        return new

    change = CellChange(needles, changed)
    total, found = Resealed(), True
    while found:
        found, damaged, after = False, 0, None
        while True:
            done = yield from Write(inner, inner.rewrite(change, after))
            found = found or bool(done.changed or done.missed)
            total = total._replace(values=total.values + done.changed, damaged=damaged)
            if report is not None:
                yield from Call(report, total)
            after = done.after
            if after is None:
                break
        total = total._replace(passes=total.passes + 1)
    return total
