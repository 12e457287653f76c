"""Where in the store a user's knowledge lies, and how a running graph says who the user is.

All that is known of a user lies below one root label of the store, which holds the user's id. So it is found, exported and
deleted as a whole, lies together on one node of a Redis cluster, and no prefix of one user's space reaches another's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig

from langchain_agentmem.arguments.models import check_id, context_of, user_named_by
from langchain_agentmem.errors import InvalidInputError

PROFILE, FACTS, MEMORIES, ENTITIES, RELATIONS = "profile", "facts", "memories", "entities", "relations"
"""The second labels: what of a user's knowledge lies below."""


def user_space(user_id: str, *labels: str) -> tuple[str, ...]:
    """The namespace of a user's knowledge.

    Args:
        user_id: Whose.
        *labels: Which part of it. Default: all.

    Raises:
        InvalidInputError: The id is empty, too long, or not text.

    Example:
        >>> from langchain_agentmem.knowledge.namespaces import FACTS, user_space
        >>> user_space("alice@example.com", FACTS)
        ('user:alice@example.com', 'facts')
    """
    return (f"user:{check_id('user_id', user_id)}", *labels)


def shared_space(name: str) -> tuple[str, ...]:
    """The namespace of knowledge that all users read and none writes.

    Args:
        name: Which collection of it.
    """
    return ("shared", check_id("name", name))


def user_of(config: RunnableConfig | None, state: Any = None, context: Any = None) -> str:
    """Who the user of a run is: what the config says, else the runtime's context, else the state.

    An empty ID names no user. The model has no say in it, nor has anything in the conversation.

    Args:
        config: The run's config; its `configurable` may hold `user_id`.
        state: The graph's state, a mapping or an object. Default: None.
        context: The runtime's context, a mapping or an object. Default: that of the run in the config, if there is one.

    Raises:
        InvalidInputError: None of them says who the user is, or the id is not accepted.

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
        "Nobody said who the user is, and without that nothing is read or written, so that no profile is shared by accident. "
        "Give user_id in the config, as in {'configurable': {'user_id': 'alice@example.com'}}, in the runtime's context, or "
        "in the graph's state."
    )
    raise InvalidInputError(msg)
