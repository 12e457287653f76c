"""Namespaces and keys of knowledge in the store, and the user of a run.

Everything known about a user is stored below one root label, which contains the user's ID. So it can be found, exported and
deleted as a whole, it is on one node of a Redis cluster, and no prefix of one user's namespace matches another user's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from langchain_core.runnables import RunnableConfig

from langchain_agentmem.arguments.ids import check_id
from langchain_agentmem.arguments.runs import context_of, user_named_by
from langchain_agentmem.backends.digests import digest_of_ids
from langchain_agentmem.errors import InvalidInputError

PROFILE, FACTS, MEMORIES, ENTITIES, RELATIONS = "profile", "facts", "memories", "entities", "relations"
"""Second labels of a user's namespaces: one for each kind of knowledge."""

FORGOTTEN = "forgotten"
"""Second label of the tombstones of forgotten facts."""

SEEN = "seen"
"""Second label of the markers of messages that were read."""

LABELS = (PROFILE, FACTS, FORGOTTEN, MEMORIES, ENTITIES, RELATIONS, SEEN)
"""Second labels of all namespaces of a user."""

SHARED = "shared"
"""Root label of the collections of shared knowledge."""

USER = "user:"
"""The beginning of a user's root label. The user's ID is the rest."""

Namespace = tuple[str, ...]
ItemKey = tuple[Namespace, str]
"""Identifies one item of the store: its namespace, and its key in the namespace."""

_INDEXED = {FACTS: ["text", "topics[*]"], ENTITIES: ["text"], MEMORIES: ["text"]}
"""Fields that search reads, by second label. Other items are not indexed."""


def user_namespace(user_id: str, *labels: str) -> Namespace:
    """Return a namespace of a user's knowledge.

    Args:
        user_id: ID of the user.
        *labels: Labels below the user's root label, for example `FACTS`. Default: none (everything about the user).

    Raises:
        InvalidInputError: The ID is empty, too long, or not a string.

    Example:
        >>> from langchain_agentmem.knowledge.namespaces import FACTS, user_namespace
        >>> user_namespace("alice@example.com", FACTS)
        ('user:alice@example.com', 'facts')
    """
    return (f"{USER}{check_id('user_id', user_id)}", *labels)


def user_in(namespace: Namespace) -> str | None:
    """Return the ID of the user whose knowledge a namespace holds; None if it is another namespace."""
    return namespace[0].removeprefix(USER) if namespace[0].startswith(USER) else None


def is_knowledge(namespace: Namespace) -> bool:
    """Return true if a namespace holds knowledge of this package, about a user or shared by all users."""
    return user_in(namespace) is not None or namespace[0] == SHARED


def shared_namespace(name: str) -> Namespace:
    """Return the namespace of a collection of shared knowledge.

    Args:
        name: Name of the collection.
    """
    return (SHARED, check_id("name", name))


def profile_key(user_id: str, schema: str) -> ItemKey:
    """Return the key of a profile's fields, by the name of the profile's schema."""
    return user_namespace(user_id, PROFILE), schema


def fact_key(user_id: str, key: str) -> ItemKey:
    """Return the key of a fact: `key` is the fact's digest for its latest period, and its ID for an earlier one."""
    return user_namespace(user_id, FACTS), key


def forgotten_fact_key(user_id: str, digest: str) -> ItemKey:
    """Return the key of the tombstone of a forgotten fact."""
    return user_namespace(user_id, FORGOTTEN), digest


def forgotten_user_key(user_id: str) -> ItemKey:
    """Return the key of the tombstone that earlier versions wrote for a forgotten user; see `knowledge.forgetting`."""
    return user_namespace(user_id, SEEN), "forgotten"


def marker_key(user_id: str, thread: str, *purpose: str) -> ItemKey:
    """Return the key of the marker that says which messages of a thread were read.

    Args:
        user_id: ID of the user.
        thread: ID of the thread.
        *purpose: Purpose of reading the messages. Each purpose has a marker of its own.
    """
    return user_namespace(user_id, SEEN), digest_of_ids(thread, *purpose).hex()


def indexed_fields(user_id: str) -> dict[Namespace, Literal[False] | list[str]]:
    """Return the fields that search reads of a user's items, by namespace; False for items that it does not find."""
    return {user_namespace(user_id, label): _INDEXED.get(label, False) for label in LABELS}


def user_of(config: RunnableConfig | None, state: Any = None, context: Any = None) -> str:
    """Return the ID of a run's user: from the config, else from the runtime's context, else from the graph's state.

    An empty ID names no user. Neither the model nor the messages can name the user.

    Args:
        config: Config of the run; its `configurable` may hold `user_id`.
        state: State of the graph, a mapping or an object. Default: None.
        context: Context of the runtime, a mapping or an object. Default: None (the context in the config, if any).

    Raises:
        InvalidInputError: None of them names a user, or the ID is not valid.

    Example:
        >>> from langchain_agentmem.knowledge.namespaces import user_of
        >>> user_of({"configurable": {"user_id": "alice@example.com"}})
        'alice@example.com'
    """
    configurable: Mapping[str, Any] = (config or {}).get("configurable") or {}
    if context is None:
        context = context_of(configurable)
    for source in (configurable, context, state):
        named = user_named_by(source)
        if named is not None:
            return check_id("user_id", named)
    msg = (
        "The run names no user, so nothing was read or written. Pass user_id in the config, as in "
        "{'configurable': {'user_id': 'alice@example.com'}}, in the runtime's context, or in the graph's state."
    )
    raise InvalidInputError(msg)
