"""Updates of items without lost changes: read, decide, then compare and swap. After a conflict, try again."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.contract import Backend, ItemPut, ItemRow, Swap
from langchain_agentmem.backends.reads import CachedReads
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.errors import ConflictError, InvalidTypeError
from langchain_agentmem.programs import Program, Read, Sleep, Write
from langchain_agentmem.store.arguments import ItemKey, check_item_key, check_item_keys
from langchain_agentmem.store.items import Value, item_groups, value_of

UPDATE_SECONDS = 30.0
"""Seconds for which a conflicting update is retried."""

_FIRST_WAIT, _LONGEST_WAIT = 0.001, 0.064
"""The bounds of the random time before the next attempt, in seconds. It doubles with each attempt."""

Values = dict[ItemKey, Value | None]
Rows = Mapping[ItemKey, ItemRow | None]
Decide = Callable[[Values], Program[Mapping[Any, Any]]]
"""An outer program from the values of items (None: there is no item) to the changed values (None: delete the item)."""
Prepare = Callable[[Mapping[ItemKey, Any], Rows], Program[list[ItemPut]]]
"""An outer program that encodes changed values; it also gets the rows as they were read."""


def updated(
    backend: Backend, tenant: str, keys: Iterable[ItemKey], decide: Decide, prepare: Prepare, cache: CachedReads
) -> Program[dict[ItemKey, Any]]:
    """Change items together: all changes are stored, or none.

    Args:
        backend: The backend that stores the items.
        tenant: The tenant.
        keys: The items to read. `decide` may change others too: if one of them exists, it is read and `decide` is called
            again.
        decide: Returns the changes. It is called again if another writer changed an item first.
        prepare: Encodes the changed values.
        cache: The cache of reads, which the change invalidates.

    Returns:
        The values of all items afterwards; None where there is no item.

    Raises:
        ConflictError: Other writers kept changing the items for `UPDATE_SECONDS`.
        InvalidInputError: The root labels of the items differ.
    """
    asked = check_item_keys(keys)
    deadline = time.monotonic() + UPDATE_SECONDS
    longest = _FIRST_WAIT
    while True:
        with reading(f"One of the items {shown(asked, 200)}"):
            read = yield from Read(backend, backend.items.get(tenant, asked, time.time(), paths=True))
        rows: dict[ItemKey, ItemRow | None] = dict(zip(asked, read, strict=True))
        changes = _check_changes((yield from decide({key: row and value_of(row) for key, row in rows.items()})))
        every = check_item_keys([*asked, *changes])
        puts = yield from prepare({key: value for key, value in changes.items() if value is not None}, rows)
        put_of = {(put.namespace, put.key): put for put in puts}
        swaps = [_swap(key, rows.get(key), put_of.get(key), changed=key in changes) for key in every]
        if all(swap.keep for swap in swaps) or (yield from _swapped(backend, tenant, swaps, cache)):
            kept = {key: row and value_of(row) for key, row in rows.items() if key not in changes}
            return {**kept, **changes}
        if time.monotonic() > deadline:
            raise _conflict(every)
        asked = every
        yield from Sleep(random.uniform(0, longest))
        longest = min(_LONGEST_WAIT, longest * 2)


def _swapped(backend: Backend, tenant: str, swaps: Sequence[Swap], cache: CachedReads) -> Program[bool]:
    with cache.writing(item_groups(swap.namespace for swap in swaps)):
        return (yield from Write(backend, backend.items.swap(tenant, swaps, time.time(), secrets.randbits(53))))


def _swap(key: ItemKey, row: ItemRow | None, put: ItemPut | None, *, changed: bool) -> Swap:
    expected = row.revision if row else None
    return Swap(*key, expected, put, keep=put is None and (row is None or not changed))


def _check_changes(changes: Any) -> dict[ItemKey, Any]:
    if not isinstance(changes, Mapping):
        msg = f"The function must return a dict of the changed values by key, got {shown(changes)}."
        raise InvalidTypeError(msg)
    return {check_item_key(key): value for key, value in changes.items()}


def _conflict(keys: list[ItemKey]) -> ConflictError:
    first = ", ".join(shown(key, 200) for key in keys[:3])
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return ConflictError(
        f"Other writers kept changing {first}{more} for {UPDATE_SECONDS:g} seconds. Nothing was written; try again later."
    )
