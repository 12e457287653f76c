"""Forget everything known about a user. A tombstone keeps older messages from bringing the knowledge back.

The tombstone holds the time. It is a note, so no store reads it, and it is found by a digest of the user's ID.
"""

from __future__ import annotations

import time

from langchain_agentmem.backends.contract import ItemRow
from langchain_agentmem.backends.notes import Notes
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.knowledge.namespaces import LABELS, Namespace, user_namespace
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

    A concurrent extraction either reads the tombstone, or its changes are deleted.

    Args:
        store: The store.
        user_id: ID of the user.

    Returns:
        The number of deleted items by the second label of their namespace.
    """
    yield from write_tombstone(store, user_id)
    counts = {}
    for label in LABELS:
        counts[label] = yield from _delete_items(store, user_namespace(user_id, label))
    store.cache.clear()
    return counts


def _delete_items(store: StoreEngine, namespace: Namespace) -> Program[int]:
    """Delete the items of exactly one namespace, also damaged and expired ones. Return their number."""
    items, deleted = store.backend.items, 0
    for _ in range(_MAX_PASSES):
        before, found, following = deleted, list[ItemRow](), None
        while True:
            scan = items.scan(store.tenant, namespace, None, _ROWS_AT_ONCE, following, 0.0)
            found, following = yield from Read(store.backend, scan)
            keys = [(row.namespace, row.key) for row in found if row.namespace == namespace]
            if keys:
                yield from Write(store.backend, items.delete(store.tenant, keys))
            deleted += len(keys)
            if following is None:
                break
        if deleted == before:
            break
    return deleted


def _notes(store: StoreEngine, user_id: str) -> Notes:
    return Notes(store.backend, store.tenant, "forgotten", user_id)
