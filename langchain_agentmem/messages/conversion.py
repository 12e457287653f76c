"""Conversion of messages from the forms that langchain-core accepts, such as dicts and tuples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import BaseMessage, convert_to_messages

from langchain_agentmem.arguments.values import reason_of, shown
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError


def as_messages(given: Sequence[Any]) -> list[BaseMessage]:
    """Convert a list to messages.

    Args:
        given: Messages, or the values from which langchain-core makes messages.

    Raises:
        InvalidInputError: A value cannot be converted.
        InvalidTypeError: A value has a type that cannot be converted.

    Example:
        >>> from langchain_agentmem.messages.conversion import as_messages
        >>> as_messages([("user", "Hello")])
        [HumanMessage(content='Hello', additional_kwargs={}, response_metadata={})]
    """
    messages: list[BaseMessage] = []
    for position, value in enumerate(given):
        try:
            messages += convert_to_messages([value])
        except (NotImplementedError, ValueError, TypeError, LookupError) as error:
            msg = (
                f"messages[{position}] is not a message, got {type(value).__name__}: {shown(value)}. "
                f"Cause: {reason_of(error)}."
            )
            kind = InvalidTypeError if isinstance(error, (NotImplementedError, TypeError)) else InvalidInputError
            raise kind(msg) from error
    return messages
