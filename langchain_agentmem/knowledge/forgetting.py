"""Forget everything known about a user. A tombstone keeps older messages from bringing the knowledge back.

The tombstone holds the time. It is a note, so no store reads it, and it is found by a digest of the user's ID.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from langchain_agentmem.backends.contract import ItemRow
from langchain_agentmem.backends.epochs import change_epoch
from langchain_agentmem.backends.notes import Notes
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.encoding.json_values import load_json
from langchain_agentmem.knowledge.entities.values import RELATED, is_alias
from langchain_agentmem.knowledge.namespaces import ENTITIES, LABELS, RELATIONS, SEEN, Namespace, user_namespace
from langchain_agentmem.programs import Program, Read, Write
from langchain_agentmem.store.engine import StoreEngine

_TOMBSTONE = "tombstone"
_ROWS_AT_ONCE = 500
_MAX_PASSES = 20
"""Upper bound of the passes over a namespace: other writers may change its items during each pass."""


def forgotten_at(store: StoreEngine, user_id: str) -> Program[float | None]:
    """Return when a user was forgotten last, in Unix seconds; None if never."""
    note = yield from Read(store.backend, _notes(store, user_id).get(_TOMBSTONE, time.time()))
    with reading("The tombstone of a forgotten user"):
        return None if note is None else float(note.value["at"])


def write_tombstone(store: StoreEngine, user_id: str) -> Program[None]:
    """Store the current time as the time at which a user was forgotten."""
    now = time.time()
    yield from Write(store.backend, _notes(store, user_id).put(_TOMBSTONE, {"at": now}, now))


def forget_knowledge(store: StoreEngine, user_id: str) -> Program[dict[str, int]]:
    """Delete everything known about a user, and write the tombstone first.

    A concurrent extraction either reads the tombstone, or its changes are deleted. Caches of reads in other processes are
    emptied within a second of their use.

    Args:
        store: The store.
        user_id: ID of the user.

    Returns:
        The number of deleted objects by the second label of their namespace. As in `statistics`, an alias of an entity is a
        marker, and a relation is one object, although both of its names have it.
    """
    yield from write_tombstone(store, user_id)
    counts = yield from _counted(store, user_id, deletes=True)
    yield from change_epoch(store.backend, store.tenant)
    store.cache.clear()
    return counts


def count_knowledge(store: StoreEngine, user_id: str) -> Program[dict[str, int]]:
    """Return what `forget_knowledge` would return. Nothing is deleted."""
    return (yield from _counted(store, user_id, deletes=False))


def _counted(store: StoreEngine, user_id: str, *, deletes: bool) -> Program[dict[str, int]]:
    counts = dict.fromkeys(LABELS, 0)
    relations: set[str] = set()
    for label in LABELS:

        def count(row: ItemRow, label: str = label) -> None:
            value = _value_of(row) if label in (ENTITIES, RELATIONS) else {}
            if label == RELATIONS:
                relations.update(value.get(RELATED) or ())
            else:
                counts[SEEN if label == ENTITIES and is_alias(value) else label] += 1

        yield from _each_item(store, user_namespace(user_id, label), count, deletes=deletes)
    return counts | {RELATIONS: len(relations)}


def _value_of(row: ItemRow) -> dict[str, Any]:
    """Return the value of an item; an empty one if it was damaged: it is deleted all the same."""
    try:
        value = load_json(row.value)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _each_item(
    store: StoreEngine, namespace: Namespace, count: Callable[[ItemRow], None], *, deletes: bool
) -> Program[None]:
    """Delete or only count the items of exactly one namespace, also damaged and expired ones."""
    items, deleted = store.backend.items, 0
    for _ in range(_MAX_PASSES):
        before, found, following = deleted, list[ItemRow](), None
        while True:
            scan = items.scan(store.tenant, namespace, None, _ROWS_AT_ONCE, following, 0.0)
            found, following = yield from Read(store.backend, scan)
            keys = [(row.namespace, row.key) for row in found if row.namespace == namespace]
            if keys and deletes:
                yield from Write(store.backend, items.delete(store.tenant, keys))
                deleted += len(keys)
            for row in found:
                if row.namespace == namespace:
                    count(row)
            if following is None:
                break
        if deleted == before:
            break


def _notes(store: StoreEngine, user_id: str) -> Notes:
    return Notes(store.backend, store.tenant, "forgotten", user_id)
