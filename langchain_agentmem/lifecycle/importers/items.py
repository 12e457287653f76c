"""Stores the items of imported stores."""

from __future__ import annotations

import time
from collections.abc import Sequence

from langgraph.store.base import PutOp

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.encoding.json_values import dump_json, load_json
from langchain_agentmem.errors import InvalidInputError
from langchain_agentmem.lifecycle.importers.rows import Source, SourceItem, importing
from langchain_agentmem.lifecycle.importers.stores import has_expired
from langchain_agentmem.lifecycle.importers.tally import Tally
from langchain_agentmem.programs import OffLoop, Program, Read
from langchain_agentmem.store.engine import ItemImport, StoreEngine


class ItemsImport:
    """Checks and stores the items of one source. An item is recognised by its namespace and key.

    Args:
        engine: The engine of the store.
        source: The source.
        existing: What happens to an item that is stored with another value: `"error"`, `"keep"` or `"replace"`.
        tally: Counts what is stored.
    """

    def __init__(self, engine: StoreEngine, source: Source, existing: str, tally: Tally) -> None:
        self._engine = engine
        self._source = source
        self._existing = existing
        self._tally = tally

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
        if self._existing != "error":
            return
        for row, stored in (yield from self._stored(alive)):
            if stored is not None and stored != _plain(row):
                msg = (
                    f"Item {shown(row.key)} of namespace {row.namespace} is stored with another value. Nothing was imported. "
                    f'Pass existing="keep" or existing="replace".'
                )
                raise InvalidInputError(msg)

    def store(self, rows: Sequence[SourceItem]) -> Program[None]:
        """Store the items that are not stored yet."""
        yield from OffLoop(large=True)
        alive = [row for row in rows if not has_expired(row)]
        self._tally.expire("items", len(rows) - len(alive))
        new: list[SourceItem] = []
        replaced: list[SourceItem] = []
        for row, stored in (yield from self._stored(alive)):
            if stored is None:
                new.append(row)
            elif stored == _plain(row):
                self._tally.skip("items")
            elif self._existing == "replace":
                replaced.append(row)
            else:
                self._tally.keep("items")
        for row in replaced:
            yield from self._engine.delete(row.namespace, row.key)
        if new or replaced:
            imports = [
                ItemImport(_op(row), row.created_at, row.updated_at, row.expires_at) for row in (*new, *replaced)
            ]
            self._tally.add("items", (yield from self._engine.import_items(imports)))

    def _stored(self, rows: Sequence[SourceItem]) -> Program[list[tuple[SourceItem, object]]]:
        """Return the items, each with the value that is stored with its key; None if there is none."""
        engine = self._engine
        keys = [(row.namespace, row.key) for row in rows]
        found = yield from Read(engine.backend, engine.backend.items.get(engine.tenant, keys, time.time()))
        return [(row, None if one is None else load_json(one.value)) for row, one in zip(rows, found, strict=True)]


def _op(row: SourceItem) -> PutOp:
    return PutOp(row.namespace, row.key, row.value, None, None if row.ttl is None else row.ttl / 60)


def _plain(row: SourceItem) -> object:
    return load_json(dump_json(row.value, "value"))
