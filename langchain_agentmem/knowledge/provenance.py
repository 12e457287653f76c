"""Metadata of facts and memories, the agent that saved them, and filters by both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_agentmem.arguments.ids import check_id
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.encoding.json_values import check_json, plain_json
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError, UnsupportedValueError
from langchain_agentmem.store.filters import compile_filter

AGENT, METADATA = "agent", "metadata"
"""Keys in the stored values."""


def checked_metadata(metadata: Any) -> dict[str, Any]:
    """Return metadata as a dict that is independent of the given mapping; an empty one for None.

    Raises:
        InvalidTypeError: It is not a mapping.
        InvalidInputError: It is not JSON-serialisable.

    Example:
        >>> from langchain_agentmem.knowledge.provenance import checked_metadata
        >>> checked_metadata({"channel": "phone"})
        {'channel': 'phone'}
    """
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        msg = f"metadata must be a mapping; got {type(metadata).__name__}: {shown(metadata)}."
        raise InvalidTypeError(msg)
    try:
        check_json(metadata, METADATA)
    except UnsupportedValueError as error:
        msg = f"metadata must be JSON-serialisable; got {shown(metadata)}. Cause: {error}"
        raise InvalidInputError(msg) from None
    return dict(plain_json(metadata, METADATA))


def condition_of(agent: Any, filter: Any) -> dict[str, Any]:
    """Return the condition on stored values of the arguments `agent` and `filter` of a search.

    Args:
        agent: The agent that saved the items; None for all.
        filter: Filter of the metadata, see `langchain_agentmem.store.filters`; None for all.

    Raises:
        InvalidTypeError: An argument has the wrong type.
        InvalidInputError: An argument is not valid.

    Example:
        >>> from langchain_agentmem.knowledge.provenance import condition_of
        >>> condition_of("travel", {"rating": {"$gt": 3}})
        {'agent': 'travel', 'metadata.rating': {'$gt': 3}}
    """
    condition: dict[str, Any] = {}
    if agent is not None:
        condition[AGENT] = check_id(AGENT, agent)
    if filter is not None:
        compile_filter(filter)
        # One path for each field: a missing field equals None in items without metadata too.
        condition |= {f"{METADATA}.{field}": expected for field, expected in filter.items()}
    return condition
