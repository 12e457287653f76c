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
from langchain_agentmem.search.queries import Query
from langchain_agentmem.text.tables import html_table
from langchain_agentmem.text.words import numbers_of, texts_in

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


class FoundItem(SearchItem):
    """An item that a search found, as `store.search` returns it."""

    __slots__ = ("_query", "similarity")

    similarity: float | None
    """The cosine similarity of the item to the query, from -1 to 1; None without vectors. Comparable between searches."""

    def __init__(
        self, item: Item, score: float | None = None, similarity: float | None = None, query: Query | None = None
    ) -> None:
        """Create the result of a search.

        Args:
            item: The item.
            score: Relevance from 0 to 1. Default: None (the search had no query).
            similarity: The cosine similarity to the query. Default: None.
            query: The query. Default: None.
        """
        super().__init__(item.namespace, item.key, item.value, item.created_at, item.updated_at, score)
        self.similarity = similarity
        self._query = query

    @property
    def matched(self) -> list[str]:
        """The words of the query that the value contains, as the query writes them, in lower case."""
        query = self._query
        if query is None:
            return []
        texts = texts_in(self.value)
        return query.matched({number for text in texts for number in numbers_of(text, query.language)})

    def _repr_html_(self) -> str:
        shown = {**self.dict(), "similarity": self.similarity, "matched": ", ".join(self.matched)}
        return html_table(shown.items(), caption=type(self).__name__, row_headers=True)


def search_item_of(
    row: ItemRow, score: float | None, similarity: float | None = None, query: Query | None = None
) -> FoundItem:
    """Decode an item that a search found; see `FoundItem` for the arguments. Raises as `value_of`."""
    return FoundItem(item_of(row), score, similarity, query)
