"""The inputs that a compressor accepts: messages, a prompt, or a state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.prompt_values import PromptValue

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidTypeError
from langchain_agentmem.messages.conversion import as_messages


def messages_in(given: Any) -> Sequence[BaseMessage]:
    """Return the messages of an input.

    In a list that begins and ends with messages, other objects may remain: a long conversation is given at every turn, so its
    messages are checked only when they are read.

    Args:
        given: Messages or what langchain-core converts to messages, a prompt, or a state with messages.

    Raises:
        InvalidTypeError: The input has no messages.
    """
    if isinstance(given, PromptValue):
        return given.to_messages()
    if isinstance(given, Mapping) and "messages" in given:
        given = given["messages"]
    elif not isinstance(given, (str, Sequence)) and hasattr(given, "messages"):
        given = given.messages
    if isinstance(given, (list, tuple)):
        if all(isinstance(one, BaseMessage) for one in (*given[:1], *given[-1:])):
            return given
        return as_messages(given)
    if isinstance(given, str):
        return [HumanMessage(given)]
    msg = (
        f"A compressor takes messages, a prompt, or a state with messages, got {type(given).__name__}: {shown(given)}."
    )
    raise InvalidTypeError(msg)
