"""The digests of stored facts. `memory.reindex()` updates them if the rule of comparison or the language has changed.

A note of the tenant states the version of the rule, and the language. A call that is interrupted starts again.
"""

from __future__ import annotations

import time

from langchain_agentmem.backends.notes import Notes
from langchain_agentmem.knowledge.facts.normalization import RULE_VERSION
from langchain_agentmem.knowledge.facts.rekeying import rekey_facts
from langchain_agentmem.knowledge.namespaces import FACTS, user_in
from langchain_agentmem.programs import Program, Read, Write
from langchain_agentmem.store.engine import StoreEngine

_NOTE = "digests"
_PAGE = 1_000
"""Number of users that one read asks for first."""


def update_digests(store: StoreEngine, *, everything: bool) -> Program[None]:
    """Move facts with outdated digests, unless the note states this version and language.

    Args:
        store: The engine of the store.
        everything: If true, ignore the note.
    """
    notes = Notes(store.backend, store.tenant, "facts")
    value = {"version": RULE_VERSION, "language": store.language}
    note = yield from Read(store.backend, notes.get(_NOTE, time.time()))
    if note is not None and note.value == value and not everything:
        return
    for user_id in (yield from _users(store)):
        yield from rekey_facts(store, user_id)
    yield from Write(store.backend, notes.put(_NOTE, value, time.time()))


def _users(store: StoreEngine) -> Program[list[str]]:
    """Return the IDs of the users with facts."""
    limit = _PAGE
    while True:
        found = yield from store.list_namespaces(suffix=(FACTS,), limit=limit)
        if len(found) < limit:
            return [user for one in found if len(one) == 2 and (user := user_in(one)) is not None]
        limit *= 4
