"""Stores the items of imported stores."""

from __future__ import annotations

import time
from collections.abc import Sequence

from langgraph.store.base import PutOp

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.contract import ItemKey
from langchain_agentmem.encoding.json_values import dump_json, load_json
from langchain_agentmem.lifecycle.importers.rows import Source, SourceItem, importing
from langchain_agentmem.lifecycle.importers.stores import has_expired
from langchain_agentmem.lifecycle.transfer.tally import ERROR, Tally
from langchain_agentmem.programs import OffLoop, Program, Read
from langchain_agentmem.store.engine import ItemImport, StoreEngine


class ItemsImport:
    """Checks and stores the items of one source. An item is recognised by its namespace and key.

    Args:
        engine: The engine of the store.
        source: The source.
        existing: See `Tally`.
        tally: Counts what is stored.
        stores: If false, only count what would be stored.
    """

    def __init__(self, engine: StoreEngine, source: Source, existing: str, tally: Tally, *, stores: bool) -> None:
        self._engine = engine
        self._source = source
        self._existing = existing
        self._tally = tally
        self._stores = stores

    def check(self, rows: Sequence[SourceItem]) -> Program[None]:
        """Check that items can be stored.

        Raises:
            InvalidInputError: An item cannot be stored, or another value is stored. Nothing was stored.
        """
        yield from OffLoop(large=True)
        alive = [row for row in rows if not has_expired(row)]
        for row in alive:
            with importing(f"item {shown(row.key)} of namespace {row.namespace} in {self._source.name}"):
                self._engine.batch_of([_op(row)])
        if self._existing == ERROR:
            yield from self._wanted(alive, Tally(ERROR))

    def store(self, rows: Sequence[SourceItem]) -> Program[None]:
        """Store the items that are not stored yet.

        Raises:
            InvalidInputError: Another process stored another value since the check. The pages before are stored.
        """
        yield from OffLoop(large=True)
        alive = [row for row in rows if not has_expired(row)]
        self._tally.expired["items"] += len(rows) - len(alive)
        wanted, replaced = yield from self._wanted(alive, self._tally)
        if not self._stores:
            self._tally.stored["items"] += len(wanted)
        elif wanted:
            imports = [ItemImport(_op(row), row.created_at, row.updated_at, row.expires_at) for row in wanted]
            self._tally.stored["items"] += yield from self._engine.import_items(imports, replaced)

    def _wanted(self, rows: Sequence[SourceItem], tally: Tally) -> Program[tuple[list[SourceItem], set[ItemKey]]]:
        """Return the items that are to be stored, and the keys of those that are replaced."""
        wanted: list[SourceItem] = []
        replaced: set[ItemKey] = set()
        for row, stored in (yield from self._with_values(rows)):
            if stored is None:
                wanted.append(row)
            elif tally.replaces("items", f"Item {shown(row.key)} in {row.namespace!r}", equal=stored == _plain(row)):
                wanted.append(row)
                replaced.add((row.namespace, row.key))
        return wanted, replaced

    def _with_values(self, rows: Sequence[SourceItem]) -> Program[list[tuple[SourceItem, object]]]:
        """Return the items, each with the value that is stored with its key; None if there is none."""
        engine = self._engine
        keys = [(row.namespace, row.key) for row in rows]
        found = yield from Read(engine.backend, engine.backend.items.get(engine.tenant, keys, time.time()))
        return [(row, None if one is None else load_json(one.value)) for row, one in zip(rows, found, strict=True)]


def _op(row: SourceItem) -> PutOp:
    return PutOp(row.namespace, row.key, row.value, None, None if row.ttl is None else row.ttl / 60)


def _plain(row: SourceItem) -> object:
    return load_json(dump_json(row.value, "value"))
