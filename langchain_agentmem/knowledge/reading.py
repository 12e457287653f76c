"""Reading a user's items so that a damaged one does not hide the others: it is logged, and the rest is returned.

An item is damaged when its row cannot be decoded, or when its value does not have the form that this package writes. Items of
the application below the same namespaces are left out.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from langgraph.store.base import GetOp, Item, SearchItem, SearchOp

from langchain_agentmem.backends.contract import ItemRow
from langchain_agentmem.encoding.json_values import load_json
from langchain_agentmem.errors import DamagedDataError
from langchain_agentmem.programs import Program, Read, Twin
from langchain_agentmem.store.engine import search_item
from langchain_agentmem.store.face import AgentMemStore
from langchain_agentmem.store.filters import compile_filter

T = TypeVar("T")

_log = logging.getLogger(__name__)

PAGE = 1_000
"""How many items are read at once."""


def answers(store: AgentMemStore, ops: Sequence[GetOp | SearchOp]) -> Program[list[Any]]:
    """The results of several reads. An item whose row is damaged is logged and left out.

    Args:
        store: Where the items are.
        ops: The reads. A search finds the items of exactly its namespace, not of those below.
    """
    try:
        results = yield from Twin(store.batch, list(ops))
    except DamagedDataError:
        results = []
        for op in ops:
            results.append((yield from _answer(store, op)))
    return [
        [item for item in result if item.namespace == op.namespace_prefix] if isinstance(op, SearchOp) else result
        for op, result in zip(ops, results, strict=True)
    ]


def _answer(store: AgentMemStore, op: GetOp | SearchOp) -> Program[Any]:
    try:
        (result,) = yield from Twin(store.batch, [op])
    except DamagedDataError as error:
        if isinstance(op, GetOp):
            report(op.namespace, op.key, error)
            return None
    else:
        return result
    # Ranking stops at the damaged row: the newest items that can be read take the place of the best.
    passes = compile_filter(op.filter)
    found: list[SearchItem] = []
    for row in (yield from rows_in(store, op.namespace_prefix)):
        try:
            if passes(load_json(row.value)):
                found.append(search_item(row, None))
        except DamagedDataError as error:
            report(row.namespace, row.key, error)
    return found[op.offset : op.offset + op.limit]


def rows_in(store: AgentMemStore, namespace: tuple[str, ...]) -> Program[list[ItemRow]]:
    """The rows of exactly one namespace, the last changed first, damaged ones too.

    Args:
        store: Where they are.
        namespace: The namespace.
    """
    backend, size = store.engine.backend, PAGE
    while True:
        scan = backend.items.scan(store.engine.tenant, namespace, None, size, None, time.time())
        rows, following = yield from Read(backend, scan)
        if following is None:
            return [row for row in rows if row.namespace == namespace]
        size *= 4  # all in one answer: an item that is changed between two pages would be missed


def readable(items: Iterable[Item], read: Callable[[Any], T]) -> Iterator[T]:
    """What `read` makes of items. An item for which it raises `DamagedDataError` is logged and left out.

    Args:
        items: The items.
        read: Makes something of an item.
    """
    for item in items:
        try:
            value = read(item)
        except DamagedDataError as error:
            report(item.namespace, item.key, error)
        else:
            yield value


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Around code that reads a stored value: whatever is wrong with the value is a `DamagedDataError`.

    Args:
        what: What is read, for the message.
    """
    try:
        yield
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
        if isinstance(error, DamagedDataError):
            raise
        msg = f"{what} cannot be read: the stored item was damaged or altered ({type(error).__name__}: {error!s:.200})."
        raise DamagedDataError(msg) from error


def report(namespace: tuple[str, ...], key: str, error: Exception) -> None:
    """Log that an item is damaged and was left out."""
    _log.warning("The item %r in %r is damaged and was left out: %s", key, namespace, error)
