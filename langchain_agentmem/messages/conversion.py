"""Conversion of messages from the forms that langchain-core accepts, such as tuples and dicts of several providers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, convert_to_messages

from langchain_agentmem.arguments.nesting import check_depth
from langchain_agentmem.arguments.values import reason_of, shown
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError
from langchain_agentmem.messages.requests import split_roles
from langchain_agentmem.messages.role_dicts import RoleFields


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
    return [one for at, value in enumerate(given) for one in _converted(f"messages[{at}]", value)]


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
    found = _converted(name, given)
    if len(found) != 1:
        msg = f"{name} holds {len(found)} messages, because it has results of tools. Pass one message: {shown(given)}."
        raise InvalidInputError(msg)
    return found[0]


def _converted(name: str, given: Any) -> list[BaseMessage]:
    check_depth(name, given)
    if not isinstance(given, Mapping) or "role" not in given:
        return [_of_core(name, given)]
    return [_of_roles(name, one) for one in split_roles(given)]


def _of_roles(name: str, given: Mapping[str, Any]) -> BaseMessage:
    parts = RoleFields(name, given)
    message = _of_core(name, parts.fields)
    if parts.fields.get("content") == []:
        message.content = []  # langchain-core makes an empty text of it
    if parts.invalid_tool_calls and isinstance(message, AIMessage):
        message.invalid_tool_calls = parts.invalid_tool_calls  # type: ignore[assignment]  # dicts of this type
    return message


def _of_core(name: str, given: Any) -> BaseMessage:
    try:
        (message,) = convert_to_messages([given])
    except (NotImplementedError, RecursionError, ValueError, TypeError, LookupError, AttributeError) as error:
        msg = f"{name} is not a message, got {type(given).__name__}: {shown(given)}. Cause: {reason_of(error)}."
        kind = (
            InvalidTypeError
            if isinstance(error, (NotImplementedError, TypeError, AttributeError))
            else InvalidInputError
        )
        raise kind(msg) from error
    return message
