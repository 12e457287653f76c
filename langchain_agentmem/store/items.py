"""LangGraph's items, decoded from the rows of a backend."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from langgraph.store.base import Item, SearchItem

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.contract import ItemRow
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.encoding.json_values import load_json

Value = dict[str, Any]


def item_groups(namespaces: Iterable[Sequence[str]]) -> set[Hashable]:
    """Return the groups of items in the cache of reads: one for each root label."""
    return {("items", *namespace[:1]) for namespace in namespaces}


def item_name(namespace: Sequence[str], key: str) -> str:
    """Return the name of an item, for errors about its row."""
    return f"Item {shown(key)} of namespace {shown(tuple(namespace), 200)}"


def value_of(row: ItemRow) -> Value:
    """Decode the value of an item.

    Raises:
        DamagedDataError: The row cannot be decoded. The error names the item.
    """
    with reading(partial(item_name, row.namespace, row.key)):
        return load_json(row.value)


def item_of(row: ItemRow) -> Item:
    """Decode an item. Raises as `value_of`."""
    with reading(partial(item_name, row.namespace, row.key)):
        return Item(
            value=load_json(row.value),
            key=row.key,
            namespace=row.namespace,
            created_at=datetime.fromtimestamp(row.created_at, UTC),
            updated_at=datetime.fromtimestamp(row.updated_at, UTC),
        )


def search_item_of(row: ItemRow, score: float | None) -> SearchItem:
    """Decode an item that a search found. Raises as `value_of`."""
    item = item_of(row)
    return SearchItem(item.namespace, item.key, item.value, item.created_at, item.updated_at, score)
