"""The roles of messages, as `role=` of a search names them."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import BaseMessage

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError

ROLES = {
    "human": frozenset(("human", "HumanMessageChunk")),
    "ai": frozenset(("ai", "AIMessageChunk")),
    "system": frozenset(("system", "SystemMessageChunk")),
    "tool": frozenset(("tool", "ToolMessageChunk")),
    "function": frozenset(("function", "FunctionMessageChunk")),
    "chat": frozenset(("chat", "ChatMessageChunk")),
    "remove": frozenset(("remove",)),
}
"""Each role with the values of `BaseMessage.type` that have it."""

_ROLE_OF_TYPE = {type_: role for role, types in ROLES.items() for type_ in types}

_OTHER_NAMES = {"user": "human", "assistant": "ai", "developer": "system"}


def types_of_role(role: Any) -> frozenset[str] | None:
    """Return the values of `BaseMessage.type` that have a role; None (any) for None.

    Raises:
        InvalidTypeError: The role is not a string.
        InvalidInputError: LangChain has no such role.

    Example:
        >>> from langchain_agentmem.messages.roles import types_of_role
        >>> sorted(types_of_role("ai"))
        ['AIMessageChunk', 'ai']
    """
    if role is None:
        return None
    if not isinstance(role, str):
        msg = f"role must be a string, got {type(role).__name__}: {shown(role)}."
        raise InvalidTypeError(msg)
    if role not in ROLES:
        other = _OTHER_NAMES.get(role)
        hint = "" if other is None else f" LangChain calls it {other!r}."
        msg = f"Unknown role {shown(role)}.{hint} Use one of {', '.join(ROLES)}."
        raise InvalidInputError(msg)
    return ROLES[role]


def role_of(message: BaseMessage) -> str:
    """Return the role of a message. A chunk of a streamed answer has the role of the answer.

    Example:
        >>> from langchain_core.messages import AIMessageChunk
        >>> from langchain_agentmem.messages.roles import role_of
        >>> role_of(AIMessageChunk("Hel"))
        'ai'
    """
    return _ROLE_OF_TYPE.get(message.type, message.type)
