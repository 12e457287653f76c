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
    return [as_message(f"messages[{position}]", value) for position, value in enumerate(given)]


def as_message(name: str, given: Any) -> BaseMessage:
    """Convert a value to a message.

    Args:
        name: The name of the value in an error.
        given: A message, or a value from which langchain-core makes one.

    Raises:
        InvalidInputError: The value cannot be converted.
        InvalidTypeError: The value has a type that cannot be converted.

    Example:
        >>> from langchain_agentmem.messages.conversion import as_message
        >>> as_message("message", "Hello")
        HumanMessage(content='Hello', additional_kwargs={}, response_metadata={})
    """
    try:
        (message,) = convert_to_messages([given])
    except (NotImplementedError, ValueError, TypeError, LookupError) as error:
        msg = f"{name} is not a message, got {type(given).__name__}: {shown(given)}. Cause: {reason_of(error)}."
        kind = InvalidTypeError if isinstance(error, (NotImplementedError, TypeError)) else InvalidInputError
        raise kind(msg) from error
    return message
