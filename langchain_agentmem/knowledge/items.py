"""Reading items of knowledge. Damaged items are logged and left out, and the others are returned.

An item is damaged if its row cannot be decoded, or if its value does not have the form that this package writes. Items that
the application stores in namespaces below are left out.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from langgraph.store.base import GetOp, Item, SearchItem, SearchOp

from langchain_agentmem.backends.contract import ItemRow
from langchain_agentmem.errors import DamagedDataError
from langchain_agentmem.knowledge.namespaces import Namespace
from langchain_agentmem.programs import Compute, Program, Read
from langchain_agentmem.programs.sizes import LARGE, is_long
from langchain_agentmem.store.engine import StoreEngine
from langchain_agentmem.store.filters import compile_filter
from langchain_agentmem.store.items import item_groups, search_item_of

T = TypeVar("T")
Stored = TypeVar("Stored", bound=Item | ItemRow)

_log = logging.getLogger(__name__)

PAGE = 1_000
"""Number of rows that one read asks for first."""


def read_batch(engine: StoreEngine, ops: Sequence[GetOp | SearchOp], *, cached: bool = False) -> Program[list[Any]]:
    """Return the results of several reads. Items with a damaged row are logged and left out.

    Args:
        engine: The store.
        ops: The reads. A search finds items of exactly its namespace, not of namespaces below.
        cached: If true, the cache of reads may answer. Default: False.
    """
    results: list[Any]
    try:
        results = yield from (engine.cached(ops) if cached else engine.batch(ops))
    except DamagedDataError:
        results = []
        for op in ops:
            results.append((yield from _answer(engine, op)))
    return [
        [item for item in result if item.namespace == op.namespace_prefix] if isinstance(op, SearchOp) else result
        for op, result in zip(ops, results, strict=True)
    ]


def _answer(engine: StoreEngine, op: GetOp | SearchOp) -> Program[Any]:
    try:
        return (yield from engine.one(op))
    except DamagedDataError as error:
        if isinstance(op, GetOp):
            report(op.namespace, op.key, error)
            return None
    # Ranking stops at a damaged row, so the newest items that can be read are returned instead of the best.
    items = yield from items_in(engine, op.namespace_prefix, op.filter)
    return items[op.offset : op.offset + op.limit]


def items_in(
    engine: StoreEngine, namespace: Namespace, condition: Mapping[str, Any] | None = None, *, cached: bool = False
) -> Program[list[SearchItem]]:
    """Return all items of exactly one namespace, the last updated first. Damaged items are logged and left out.

    Args:
        engine: The store.
        namespace: The namespace.
        condition: Filter of the values; see `langchain_agentmem.store.filters`. Default: None.
        cached: If true, the cache of reads may answer. Default: False.
    """
    passes = compile_filter(condition)
    if cached:
        key, groups = ("rows", namespace, repr(condition)), item_groups([namespace])
        rows = yield from engine.cache.through(key, groups, partial(rows_in, engine, namespace, condition))
    else:
        rows = yield from rows_in(engine, namespace, condition)

    def decoded() -> list[SearchItem]:
        return [item for item in readable(rows, lambda row: search_item_of(row, None)) if passes(item.value)]

    return (yield from Compute(is_long((row.value for row in rows), LARGE), decoded))


def rows_in(
    engine: StoreEngine, namespace: Namespace, condition: Mapping[str, Any] | None = None
) -> Program[list[ItemRow]]:
    """Return all rows of exactly one namespace, including damaged ones, the last updated first.

    Args:
        engine: The store.
        namespace: The namespace.
        condition: Filter of the values, which a backend may ignore. Default: None.
    """
    size = PAGE
    while True:
        scan = engine.backend.items.scan(engine.tenant, namespace, condition, size, None, time.time())
        rows, next_page = yield from Read(engine.backend, scan)
        if next_page is None:
            return [row for row in rows if row.namespace == namespace]
        size *= 4  # All rows in one read: an item that is updated between two pages would be missed.


def readable(items: Iterable[Stored], read: Callable[[Stored], T]) -> Iterator[T]:
    """Yield the result of a function for each item. Items for which it raises `DamagedDataError` are logged and left out.

    Args:
        items: The items, or their rows.
        read: The function.
    """
    for item in items:
        try:
            value = read(item)
        except DamagedDataError as error:
            report(item.namespace, item.key, error)
        else:
            yield value


def report(namespace: Namespace, key: str, error: Exception) -> None:
    """Log that an item is damaged and was left out."""
    _log.warning("The item %r in %r is damaged and was left out: %s", key, namespace, error)
