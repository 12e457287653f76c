"""Conversations as atoms: groups of messages that a request contains as a whole or not at all.

Model providers refuse a request with a tool result without its call, or a call without its result. Therefore a message with
tool calls and all results of these calls are one atom. Calls and results that are orphaned in the conversation itself are
left out of requests, but a summary includes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage, BaseMessage, RemoveMessage, ToolMessage

from langchain_agentmem.messages.blocks import THOUGHTS, calls_of, id_of_call, is_call, is_from_human, results_in


class Atom(NamedTuple):
    """Consecutive messages that are kept or left out together."""

    originals: tuple[BaseMessage, ...]
    """The messages of the conversation."""
    request: tuple[BaseMessage, ...]
    """The messages for a request, without orphaned calls and results."""
    is_human: bool
    """True if a request may begin with this atom, after the system messages."""


def atoms_of(messages: Sequence[BaseMessage]) -> list[Atom]:
    """Split a conversation into atoms.

    Args:
        messages: The conversation, without system messages.

    Example:
        >>> from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
        >>> from langchain_agentmem.messages.atoms import atoms_of
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
        if isinstance(message, AIMessage) and _ids_in(message):
            end = _end_of_results(messages, at)
            atoms.append(_answered(messages[at:end]))
        elif isinstance(message, (ToolMessage, RemoveMessage)):
            atoms.append(Atom((message,), (), False))
        else:
            # Tool results in a human message do not begin the user's turn.
            atoms.append(Atom((message,), (message,), is_from_human(message) and not results_in(message)))
        at = end
    return atoms


def _ids_in(message: BaseMessage) -> list[Any]:
    """Return the IDs of a message's calls. Legacy function calls have none and need no result."""
    return [call["id"] for call in calls_of(message) if call["id"] is not None]


def _answers(message: BaseMessage) -> set[str]:
    """Return the IDs of the calls whose results a message contains."""
    return {message.tool_call_id} if isinstance(message, ToolMessage) else results_in(message)


def _end_of_results(messages: Sequence[BaseMessage], start: int) -> int:
    """Return the end of a message's results: the index after the last result before the model's next message."""
    wanted = set(_ids_in(messages[start]))
    end = start + 1
    for at in range(start + 1, len(messages)):
        if isinstance(messages[at], AIMessage):
            break
        if wanted & _answers(messages[at]):
            end = at + 1
    return end


def _answered(group: Sequence[BaseMessage]) -> Atom:
    """Return the atom of a message with tool calls and the messages up to its last result."""
    call = group[0]
    assert isinstance(call, AIMessage)
    ids = set(_ids_in(call))
    results: dict[str, ToolMessage] = {}
    others: list[BaseMessage] = []
    answered: set[str] = set()
    for message in group[1:]:
        if isinstance(message, ToolMessage):
            if message.tool_call_id in ids:
                results.setdefault(message.tool_call_id, message)
        elif not isinstance(message, RemoveMessage):
            others.append(message)
            answered |= results_in(message)
    unanswered = ids - results.keys() - answered
    kept = _without_calls(call, unanswered) if unanswered else call
    request = (*([kept] if kept else []), *(results.values()), *others)
    return Atom(tuple(group), request, False)


def _without_calls(message: AIMessage, ids: Iterable[str | None]) -> AIMessage | None:
    """Return a copy of a message without some of its tool calls, or None if the copy would be empty."""
    removed = set(ids)
    content: Any = message.content
    if isinstance(content, list):
        content = [block for block in content if not (is_call(block) and id_of_call(block) in removed)]
    calls = [call for call in message.tool_calls if call["id"] not in removed]
    invalid = [call for call in message.invalid_tool_calls if call["id"] not in removed]
    more = {
        key: value for key, value in message.additional_kwargs.items() if key not in ("tool_calls", "function_call")
    }
    copy = message.model_copy(
        update={"content": content, "tool_calls": calls, "invalid_tool_calls": invalid, "additional_kwargs": more}
    )
    return copy if calls_of(copy) or _has_content(content) else None


def _has_content(content: Any) -> bool:
    """Return true if providers accept a message without calls that has this content: more than reasoning."""
    if isinstance(content, str):
        return bool(content.strip())
    return any(
        bool(block.strip())
        if isinstance(block, str)
        else block.get("type") not in THOUGHTS and (block.get("type") != "text" or bool(block.get("text")))
        for block in content
    )
