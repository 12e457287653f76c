"""Checks of namespaces, keys, operations and configurations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, cast
from uuid import UUID

from langgraph.store.base import GetOp, IndexConfig, InvalidNamespaceError, ListNamespacesOp, Op, SearchOp, TTLConfig

from langchain_agentmem.arguments.durations import minutes
from langchain_agentmem.arguments.ids import MAX_ID_BYTES, MAX_LABEL_BYTES, check_id, check_text
from langchain_agentmem.arguments.values import check_count, check_flag, check_list, shown
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError
from langchain_agentmem.store.filters import compile_filter

Namespace = tuple[str, ...]
ItemKey = tuple[Namespace, str]
"""The namespace and the key of an item."""

_INDEX_ENTRIES = ("embed", "dims", "fields", "ann_index_config", "distance_type")
"""The entries that LangGraph's stores accept in an index configuration."""


class NamespaceError(InvalidInputError, InvalidNamespaceError):
    """A namespace is not valid. Nothing was written."""


def check_namespace(namespace: Any, *, least: int = 0) -> Namespace:
    """Return a namespace that every backend can store.

    Args:
        namespace: The namespace.
        least: The minimum number of labels. Default: 0.

    Raises:
        NamespaceError: The namespace is too short or not a tuple of strings, or a label is empty or too long.
    """
    if type(namespace) is tuple and len(namespace) >= least:
        for label in namespace:  # faster than a generator expression
            if type(label) is not str:
                break
        else:
            return _check_tuple(namespace)
    return _check_labels(namespace, least)


@lru_cache(maxsize=10_000)
def _check_tuple(namespace: Namespace) -> Namespace:
    return _check_labels(namespace, 0)


def _check_labels(namespace: Any, least: int) -> Namespace:
    if not isinstance(namespace, (tuple, list)):
        msg = f"A namespace must be a tuple of strings such as ('users', 'alice'), got {type(namespace).__name__}."
        raise NamespaceError(msg)
    for label in namespace:
        try:
            check_id("A namespace's label", label, most=MAX_LABEL_BYTES)
        except (InvalidInputError, InvalidTypeError) as error:
            msg = f"{error} The namespace was {shown(tuple(namespace), 200)}."
            raise NamespaceError(msg) from None
    if len(namespace) < least:
        msg = "A namespace must not be empty. Use at least one label, such as ('memories',)."
        raise NamespaceError(msg)
    return tuple(namespace)


def check_item_namespace(namespace: Any) -> Namespace:
    """Same as `check_namespace`, for an item: it has a label, and the first is not `langgraph`.

    As in LangGraph's stores, `put` refuses this root label and `batch` accepts it.
    """
    checked = check_namespace(namespace, least=1)
    if checked[0] == "langgraph":
        msg = f'The root label "langgraph" is reserved by LangGraph; got {shown(checked)}. Use another root label.'
        raise NamespaceError(msg)
    return checked


def check_key(key: Any) -> str:
    """Return the key of an item, which must be a string that every backend can store."""
    return check_id("key", key)


def text_key(key: Any) -> str:
    """Return a key as a string: LangGraph's stores also accept integers and UUIDs."""
    if type(key) is str:
        return key
    if isinstance(key, int) and not isinstance(key, bool) and key.bit_length() > 8 * MAX_ID_BYTES:
        msg = f"key must have at most {MAX_ID_BYTES:,} bytes, got {shown(key)}."
        raise InvalidInputError(msg)
    return str(key) if isinstance(key, (int, UUID)) and not isinstance(key, bool) else key


def check_item_key(pair: Any) -> ItemKey:
    """Return a pair of a namespace and a key.

    Raises:
        InvalidTypeError: The value is not such a pair.
        InvalidInputError: The store does not accept the namespace or the key.
    """
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        msg = f"An item must be named by a pair such as (('users', 'alice'), 'food'), got {shown(pair, 200)}."
        raise InvalidTypeError(msg)
    return check_item_namespace(pair[0]), check_key(text_key(pair[1]))


def check_item_keys(pairs: Iterable[Any]) -> list[ItemKey]:
    """Return the keys of items that can change together, without duplicates.

    Raises:
        InvalidTypeError: An item is not named by a pair of a namespace and a key.
        InvalidInputError: A namespace or key is not accepted, or the root labels differ.
    """
    keys = list(dict.fromkeys(map(check_item_key, pairs)))
    roots = list(dict.fromkeys(namespace[0] for namespace, _ in keys))
    if len(roots) > 1:
        msg = (
            f"Items that change together must have one root label, because a Redis cluster stores each root on one server; "
            f"got {shown(roots[0], 80)} and {shown(roots[1], 80)}. Change the items of each root separately."
        )
        raise InvalidInputError(msg)
    return keys


def check_ops(ops: Any) -> list[Op]:
    """Return the operations of a batch.

    Raises:
        InvalidTypeError: The value is not a list.
    """
    return check_list("ops", ops, "operations")


def check_get(op: GetOp) -> GetOp:
    """Return a get with checked arguments."""
    namespace, key = check_namespace(op.namespace, least=1), check_key(op.key)
    return op if type(op.namespace) is tuple else GetOp(namespace, key, op.refresh_ttl)


def check_search(op: SearchOp) -> SearchOp:
    """Return a search with checked arguments."""
    if op.filter is not None:
        compile_filter(op.filter)
    if op.query is not None:
        if not isinstance(op.query, str):
            msg = f"query must be a string, got {type(op.query).__name__}: {shown(op.query)}."
            raise InvalidTypeError(msg)
        check_text("query", op.query)
    prefix = check_namespace(op.namespace_prefix)
    limit, offset = check_count("limit", op.limit, least=0), check_count("offset", op.offset, least=0)
    if (prefix, limit, offset) == (op.namespace_prefix, op.limit, op.offset):
        return op
    return op._replace(namespace_prefix=prefix, limit=limit, offset=offset)


def check_listing(op: ListNamespacesOp) -> ListNamespacesOp:
    """Return a listing of namespaces with checked arguments."""
    if op.max_depth is not None:
        check_count("max_depth", op.max_depth)
    for condition in op.match_conditions or ():
        check_namespace(condition.path)
        if condition.match_type not in ("prefix", "suffix"):
            msg = f"A match type must be 'prefix' or 'suffix', got {shown(condition.match_type)}."
            raise InvalidInputError(msg)
    limit, offset = check_count("limit", op.limit, least=0), check_count("offset", op.offset, least=0)
    return op if (limit, offset) == (op.limit, op.offset) else op._replace(limit=limit, offset=offset)


def ttl_seconds(ttl: Any) -> float | None:
    """Return the TTL of a put in seconds.

    Args:
        ttl: A number of minutes, a `timedelta`, or None.

    Example:
        >>> from datetime import timedelta
        >>> from langchain_agentmem.store.arguments import ttl_seconds
        >>> ttl_seconds(2), ttl_seconds(timedelta(hours=1)), ttl_seconds(None)
        (120.0, 3600.0, None)
    """
    checked = minutes("ttl", ttl)
    return None if checked is None else checked * 60


def check_ttl_config(config: Any) -> TTLConfig | None:
    """Return LangGraph's TTL configuration. Its durations are minutes or `timedelta`s.

    Raises:
        InvalidTypeError: The configuration is not a mapping, or an entry has the wrong type.
        InvalidInputError: An entry is unknown, or a duration is not positive.
    """
    if config is None:
        return None
    if not isinstance(config, Mapping):
        msg = f"ttl must be a mapping such as {{'default_ttl': 60}}, in minutes; got {shown(config)}."
        raise InvalidTypeError(msg)
    for name, value in config.items():
        if name not in TTLConfig.__annotations__:
            known = ", ".join(TTLConfig.__annotations__)
            msg = f"ttl has an unknown entry {shown(name)}. Known entries are {known}."
            raise InvalidInputError(msg)
        if name in ("refresh_on_read", "omit_expired"):
            check_flag(f"ttl[{shown(name)}]", value)
        else:
            minutes(f"ttl[{shown(name)}]", value)
    return cast("TTLConfig", config)


def check_index_config(config: Any) -> IndexConfig | None:
    """Return LangGraph's index configuration.

    Raises:
        InvalidTypeError: The configuration is not a mapping.
        InvalidInputError: An entry is unknown, or the distance is not the cosine distance.
    """
    if config is not None and not isinstance(config, Mapping):
        msg = f"index must be a mapping such as {{'embed': model, 'dims': 1536}}, got {shown(config)}."
        raise InvalidTypeError(msg)
    unknown = [name for name in config or () if name not in _INDEX_ENTRIES and not str(name).startswith("__")]
    if unknown:
        msg = f"index has an unknown entry {shown(unknown[0])}. Known entries are {', '.join(_INDEX_ENTRIES)}."
        raise InvalidInputError(msg)
    distance = (config or {}).get("distance_type") or "cosine"
    if distance != "cosine":
        msg = f"index['distance_type'] must be 'cosine', the only supported distance; got {shown(distance)}."
        raise InvalidInputError(msg)
    return cast("IndexConfig | None", config)
