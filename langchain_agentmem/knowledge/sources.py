"""Sources of knowledge: IDs of the messages that state it."""

from __future__ import annotations

from typing import Any

from langchain_agentmem.arguments.ids import check_id
from langchain_agentmem.arguments.values import check_list


def source_ids(sources: Any) -> list[str]:
    """Return validated IDs of messages.

    Args:
        sources: The IDs.

    Raises:
        InvalidTypeError: The argument is not a list of strings.
        InvalidInputError: An ID is empty or too long.
    """
    return [check_id("A source", one) for one in check_list("sources", sources, "ids of messages")]
