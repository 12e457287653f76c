"""Conversations as atoms: what may be kept or left out only as a whole, and what of it a request may hold.

A request is refused by model providers when a tool's result has no call before it, or a call no result after it. So a
call and all its results are one atom, parallel ones too, and what is orphaned in the conversation itself is left out of
a request. It is shown to a summariser all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage, SystemMessage, ToolMessage

CALLS = {"tool_use", "tool_call", "function_call", "server_tool_call"}
"""The types of content blocks that stand for tool calls."""


class Atom(NamedTuple):
    """Messages that lie next to each other and stay together."""

    originals: tuple[BaseMessage, ...]
    """As they are in the conversation."""
    request: tuple[BaseMessage, ...]
    """As a request may hold them."""
    is_human: bool
    """Whether a request may begin with it, after the system messages."""


def atoms_of(messages: Sequence[BaseMessage]) -> list[Atom]:
    """A conversation without system messages, in atoms.

    Args:
        messages: The conversation.

    Example:
        >>> from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
        >>> from langchain_agentmem.compression.atoms import atoms_of
        >>> call = {"name": "add", "args": {}, "id": "1"}
        >>> [len(atom.originals) for atom in atoms_of([HumanMessage("2+3?"), AIMessage("", tool_calls=[call]),
        ...     ToolMessage("5", tool_call_id="1"), AIMessage("5")])]
        [1, 2, 1]
    """
    atoms: list[Atom] = []
    at = 0
    while at < len(messages):
        message = messages[at]
        end = at + 1
        if isinstance(message, AIMessage) and _calls_of(message):
            end = _end_of_results(messages, at)
            atoms.append(_answered(messages[at:end]))
        elif isinstance(message, (ToolMessage, RemoveMessage)):
            atoms.append(Atom((message,), (), False))
        else:
            atoms.append(Atom((message,), (message,), isinstance(message, HumanMessage)))
        at = end
    return atoms


def hoisted(messages: Sequence[BaseMessage]) -> tuple[list[BaseMessage], list[BaseMessage]]:
    """The system messages of a conversation, and the others."""
    systems: list[BaseMessage] = [message for message in messages if isinstance(message, SystemMessage)]
    if not systems:
        return [], list(messages)
    return systems, [message for message in messages if not isinstance(message, SystemMessage)]


def _calls_of(message: AIMessage) -> list[Any]:
    return [*message.tool_calls, *message.invalid_tool_calls]


def _end_of_results(messages: Sequence[BaseMessage], start: int) -> int:
    """Where the results of a message's calls end: the last of them before the model speaks again."""
    call = messages[start]
    assert isinstance(call, AIMessage)
    wanted = {one["id"] for one in _calls_of(call)}
    end = start + 1
    for at in range(start + 1, len(messages)):
        message = messages[at]
        if isinstance(message, AIMessage):
            break
        if isinstance(message, ToolMessage) and message.tool_call_id in wanted:
            end = at + 1
    return end


def _answered(group: Sequence[BaseMessage]) -> Atom:
    """A message with tool calls and what follows up to the last result."""
    call = group[0]
    assert isinstance(call, AIMessage)
    results: dict[str, ToolMessage] = {}
    others: list[BaseMessage] = []
    for message in group[1:]:
        if not isinstance(message, ToolMessage):
            others.append(message)
        elif message.tool_call_id not in results and any(message.tool_call_id == one["id"] for one in _calls_of(call)):
            results[message.tool_call_id] = message
    unanswered = {one["id"] for one in _calls_of(call)} - results.keys()
    kept = _without_calls(call, unanswered) if unanswered else call
    request = (*([kept] if kept else []), *(results.values()), *others)
    return Atom(tuple(group), request, False)


def _without_calls(message: AIMessage, ids: Iterable[str | None]) -> AIMessage | None:
    """A copy of a message without some of its tool calls; None if nothing is left of it."""
    gone = set(ids)
    content: Any = message.content
    if isinstance(content, list):
        content = [
            block
            for block in content
            if not (
                isinstance(block, dict)
                and block.get("type") in CALLS
                and {block.get("id"), block.get("call_id")} & gone
            )
        ]
    calls = [call for call in message.tool_calls if call["id"] not in gone]
    invalid = [call for call in message.invalid_tool_calls if call["id"] not in gone]
    more = {
        key: value for key, value in message.additional_kwargs.items() if key not in ("tool_calls", "function_call")
    }
    copy = message.model_copy(
        update={"content": content, "tool_calls": calls, "invalid_tool_calls": invalid, "additional_kwargs": more}
    )
    return copy if calls or invalid or content else None
