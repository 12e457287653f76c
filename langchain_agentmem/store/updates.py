"""Changing items so that no concurrent change is lost: read, decide, store if none of them changed meanwhile; else again."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.contract import Backend, ItemPut, ItemRow, Swap
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.errors import ConflictError, InvalidInputError, InvalidTypeError
from langchain_agentmem.programs import Program, Read, Sleep, Write
from langchain_agentmem.store.batches import Place, Value, checked_key, own_namespace, text_key, value_of

UPDATE_SECONDS = 30.0
"""How long an update is tried again while others keep changing the items."""

Values = dict[Place, Value | None]
Rows = Mapping[Place, ItemRow | None]
Decide = Callable[[Values], Program[Mapping[Any, Any]]]
"""An outer program: from the values of the items (None: there is none) to those that they are to have (None: none)."""
Prepare = Callable[[Mapping[Place, Any], Rows], Program[list[ItemPut]]]
"""An outer program: what is stored for values, in place of items as they were read."""


def updated(
    backend: Backend, tenant: str, keys: Iterable[Place], decide: Decide, prepare: Prepare
) -> Program[dict[Place, Any]]:
    """Change items together: all of the changes are stored, or none.

    Args:
        backend: Where they are.
        tenant: Whose.
        keys: Which are read. One that `decide` adds must be new, or is read too, and it decides again.
        decide: What they are to become. It is asked again when another writer was faster.
        prepare: What is stored for that.

    Returns:
        The values of all of them afterwards; None where there is no item.

    Raises:
        ConflictError: Others kept changing the items for `UPDATE_SECONDS`.
        InvalidInputError: The keys lie below different root labels.
    """
    asked = checked_places(keys)
    deadline = time.monotonic() + UPDATE_SECONDS
    longest = 0.001
    while True:
        with reading(f"One of the items {shown(asked, 200)}"):
            read = yield from Read(backend, backend.items.get(tenant, asked, time.time(), paths=True))
        rows: dict[Place, ItemRow | None] = dict(zip(asked, read, strict=True))
        decided = yield from decide({place: value_of(row) if row else None for place, row in rows.items()})
        changes = _checked_changes(decided)
        places = checked_places([*asked, *changes])
        puts = yield from prepare({place: value for place, value in changes.items() if value is not None}, rows)
        by_place = {(put.namespace, put.key): put for put in puts}
        swaps = [_swap(place, rows.get(place), by_place.get(place), changed=place in changes) for place in places]
        if all(swap.keep for swap in swaps) or (
            yield from Write(backend, backend.items.swap(tenant, swaps, time.time(), secrets.randbits(53)))
        ):
            kept = {place: value_of(row) if row else None for place, row in rows.items() if place not in changes}
            return {**kept, **changes}
        if time.monotonic() > deadline:
            first = ", ".join(shown(place, 200) for place in places[:3])
            more = f" and {len(places) - 3} more" if len(places) > 3 else ""
            msg = f"Others kept changing {first}{more} for {UPDATE_SECONDS:g} seconds; nothing was written."
            raise ConflictError(msg)
        asked = places
        # Wait a random time, twice as long each time, so that many writers do not meet again and again.
        yield from Sleep(random.uniform(0, longest))
        longest = min(0.064, longest * 2)


def _swap(place: Place, row: ItemRow | None, put: ItemPut | None, *, changed: bool) -> Swap:
    expected = row.revision if row else None
    return Swap(*place, expected, put, keep=put is None and (row is None or not changed))


def checked_places(keys: Iterable[Any]) -> list[Place]:
    """The keys of items that can change together, each once.

    Raises:
        InvalidInputError: One is not accepted, or they lie below different root labels.
        InvalidTypeError: One is no pair of a namespace and a key.
    """
    places = list(dict.fromkeys(_place(one) for one in keys))
    roots = list(dict.fromkeys(namespace[0] for namespace, _ in places))
    if len(roots) > 1:
        msg = (
            f"Items change together only below one root label, which on a Redis cluster lies on one server; these lie below "
            f"{shown(roots[0], 80)} and {shown(roots[1], 80)}. Change them one root after the other."
        )
        raise InvalidInputError(msg)
    return places


def _place(given: Any) -> Place:
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        msg = f"An item's key is a pair such as (('users', 'alice'), 'food'), got {shown(given, 200)}."
        raise InvalidTypeError(msg)
    return own_namespace(given[0]), checked_key(text_key(given[1]))


def _checked_changes(changes: Any) -> dict[Place, Any]:
    if not isinstance(changes, Mapping):
        msg = f"The function must return a dict of the values to store, by key; it returned {shown(changes)}."
        raise InvalidTypeError(msg)
    return {_place(key): value for key, value in changes.items()}
