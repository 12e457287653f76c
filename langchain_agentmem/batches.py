"""A batch of store operations: checked before anything is written, and sorted by kind."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal
from uuid import UUID

from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    Op,
    PutOp,
    SearchOp,
    get_text_at_path,
    tokenize_path,
)

from langchain_agentmem.backends.contract import ItemPut, ItemRow
from langchain_agentmem.codec import dump_json, load_json
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError
from langchain_agentmem.filters import compile_filter
from langchain_agentmem.indexing import Embedded
from langchain_agentmem.models import check_count, check_id, check_text, seconds
from langchain_agentmem.words import spaced

Value = dict[str, Any]
Place = tuple[tuple[str, ...], str]
"""An item's namespace and key."""

Fields = list[tuple[str, Any]]
"""Paths of fields, each as it was written and as LangGraph's tokens."""


class NamespaceError(InvalidInputError, InvalidNamespaceError):
    """A namespace that the store does not accept; nothing was written."""


class Batch:
    """A batch, checked and sorted by kind; each read under its place among the results, each put under its item's place."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.gets: dict[int, GetOp] = {}
        self.searches: dict[int, SearchOp] = {}
        self.listings: dict[int, ListNamespacesOp] = {}
        self.puts: dict[Place, tuple[str, float | None]] = {}
        """The JSON and the seconds to live of what is to be stored."""
        self.deletes: list[Place] = []
        self.texts: dict[Place, list[str]] = {}
        """What is to be embedded of each put."""
        self.words: dict[Place, str] = {}
        """What full-text search finds each put by."""
        self.paths: dict[Place, str] = {}
        """Which fields these are, as JSON, of each put that says so itself."""
        self.embedded = Embedded()
        """The vectors of these texts."""
        self.queries: dict[str, bytes] = {}
        """The vectors of the queries."""

    @classmethod
    def of(cls, ops: Sequence[Op], fields: Fields, *, embedding: bool) -> Batch:
        """Check operations and sort them.

        Args:
            ops: The operations.
            fields: What is indexed of an item that does not say so itself.
            embedding: Whether there is an embedding model.

        Raises:
            NamespaceError: A namespace is not accepted.
            InvalidInputError: Another argument is not accepted.
        """
        work = cls(len(ops))
        last_puts: dict[Place, PutOp] = {}
        for at, op in enumerate(ops):
            if isinstance(op, GetOp):
                work.gets[at] = op._replace(namespace=checked_namespace(op.namespace), key=checked_key(op.key))
            elif isinstance(op, SearchOp):
                work.searches[at] = _checked_search(op)
            elif isinstance(op, ListNamespacesOp):
                work.listings[at] = _checked_listing(op)
            elif isinstance(op, PutOp):
                namespace = checked_namespace(op.namespace, writing=op.value is not None)
                last_puts[namespace, checked_key(op.key)] = op
            else:
                msg = f"Unknown operation type: {type(op)}"
                raise InvalidTypeError(msg)
        for place, op in last_puts.items():
            work._add(place, op, fields, embedding)
        return work

    def _add(self, place: Place, op: PutOp, fields: Fields, embedding: bool) -> None:
        if op.value is None:
            self.deletes.append(place)
            return
        text = dump_json(op.value)
        self.puts[place] = (text, _ttl_seconds(op.ttl))
        if op.index is False:
            self.paths[place] = dump_paths([])
            return
        paths = fields
        if op.index is not None:
            paths = field_paths(op.index)
            self.paths[place] = dump_paths(paths)
        value = load_json(text)
        pieces = embedded_texts(value, paths)
        said = (piece for path, tokens in paths for piece in (_words(value) if path == "$" else _pieces(value, tokens)))
        self.words[place] = spaced("\n".join(said), characters=True)
        if embedding and pieces:
            self.texts[place] = pieces

    def item_puts(self) -> list[ItemPut]:
        """The items to store."""
        return [
            ItemPut(*place, text, ttl, self.words.get(place), self.vectors(place), self.paths.get(place))
            for place, (text, ttl) in self.puts.items()
        ]

    def vectors(self, place: Place) -> list[bytes]:
        """The vectors of an item."""
        vectors = self.embedded.vectors
        return [vectors[text] for text in self.texts.get(place, ()) if text in vectors]

    def all_texts(self) -> list[str]:
        """What is to be embedded of all puts."""
        return [text for pieces in self.texts.values() for text in pieces]


def checked_namespace(namespace: Any, *, writing: bool = False) -> tuple[str, ...]:
    """Refuse a namespace that cannot be stored everywhere; `writing` is stricter, as in LangGraph."""
    if not isinstance(namespace, (tuple, list)):
        msg = f"A namespace must be a tuple of strings such as ('users', 'alice'), got {type(namespace).__name__}."
        raise NamespaceError(msg)
    for label in namespace:
        try:
            check_id("A namespace's label", label)
        except (InvalidInputError, InvalidTypeError) as error:
            msg = f"{error} The namespace was {tuple(namespace)!r:.200}."
            raise NamespaceError(msg) from None
    if writing and not namespace:
        msg = "Namespace cannot be empty: use at least one label, such as ('memories',)."
        raise NamespaceError(msg)
    if writing and namespace[0] == "langgraph":
        msg = f'Root label for namespace cannot be "langgraph", which LangGraph keeps for itself. Got: {namespace}'
        raise NamespaceError(msg)
    return tuple(namespace)


def checked_key(key: Any) -> str:
    """Refuse a key that cannot be stored everywhere."""
    return check_id("key", key)


def _checked_search(op: SearchOp) -> SearchOp:
    compile_filter(op.filter)
    check_count("limit", op.limit, least=0)
    check_count("offset", op.offset, least=0)
    if op.query is not None and not isinstance(op.query, str):
        msg = f"query must be a string, got {type(op.query).__name__}: {op.query!r:.100}."
        raise InvalidTypeError(msg)
    check_text("query", op.query or "")
    return op._replace(namespace_prefix=checked_namespace(op.namespace_prefix))


def _checked_listing(op: ListNamespacesOp) -> ListNamespacesOp:
    check_count("limit", op.limit, least=0)
    check_count("offset", op.offset, least=0)
    if op.max_depth is not None:
        check_count("max_depth", op.max_depth)
    for condition in op.match_conditions or ():
        checked_namespace(condition.path)
        if condition.match_type not in ("prefix", "suffix"):
            msg = f"Unsupported match type: {condition.match_type}. Use prefix or suffix."
            raise InvalidInputError(msg)
    return op


def _ttl_seconds(minutes: float | None) -> float | None:
    if minutes is None:
        return None
    if isinstance(minutes, bool) or not isinstance(minutes, (int, float)):
        msg = f"ttl must be a number of minutes or None, got {type(minutes).__name__}: {minutes!r:.100}."
        raise InvalidTypeError(msg)
    return seconds("ttl", minutes * 60)


def field_paths(fields: Any) -> Fields:
    """The paths of an index configuration or an `index` argument."""
    if not isinstance(fields, (list, tuple)) or not all(isinstance(path, str) for path in fields):
        msg = f"index must be False, None or a list of paths such as ['text'], got {fields!r:.100}."
        raise InvalidTypeError(msg)
    return [(path, path if path == "$" else tokenize_path(path)) for path in fields]


def dump_paths(fields: Fields) -> str:
    """Paths of fields as they are stored with an item."""
    return json.dumps([path for path, _ in fields])


def load_paths(text: str) -> Fields:
    """The inverse of `dump_paths`."""
    return field_paths(json.loads(text))


def index_of(row: ItemRow) -> Literal[False] | list[str] | None:
    """What an item is found by, as its put said it."""
    return None if row.paths is None else json.loads(row.paths) or False


def embedded_texts(value: Value, fields: Fields) -> list[str]:
    """What is embedded of a value: the texts at some paths, each once."""
    return list(dict.fromkeys(piece for _, tokens in fields for piece in _pieces(value, tokens)))


def _pieces(value: Value, tokens: Any) -> list[str]:
    """The texts at a path; the whole value as JSON for `$`, as LangGraph embeds it."""
    return [text for text in get_text_at_path(value, tokens) if text]


def _words(value: Any) -> Iterable[str]:
    """All that a value says, for full-text search: its keys and what they hold."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _words(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _words(inner)
    elif value is not None:
        yield str(value)


def text_key(key: Any) -> str:
    """A key as a string: LangGraph's stores accept numbers and UUIDs too."""
    return str(key) if isinstance(key, (int, UUID)) and not isinstance(key, bool) else key
