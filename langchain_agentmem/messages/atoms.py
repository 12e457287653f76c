"""Conversations as atoms: what may be kept or left out only as a whole, and what of it a request may hold.

A request is refused by model providers when a tool's result has no call before it, or a call no result after it. So a
call and all its results are one atom, parallel ones too, and what is orphaned in the conversation itself is left out of
a request. It is shown to a summariser all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage, BaseMessage, RemoveMessage, ToolMessage

from langchain_agentmem.messages.blocks import THOUGHTS, calls_of, id_of_call, is_call, is_from_human, results_in


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
            # The user's turn begins with what the user says, not with results that go by the user's name.
            atoms.append(Atom((message,), (message,), is_from_human(message) and not results_in(message)))
        at = end
    return atoms


def _ids_in(message: BaseMessage) -> list[Any]:
    """The ids of a message's calls. The functions that came before tools have none, and need no answer of their own."""
    return [call["id"] for call in calls_of(message) if call["id"] is not None]


def _answers(message: BaseMessage) -> set[str]:
    """The ids of the calls whose results a message holds."""
    return {message.tool_call_id} if isinstance(message, ToolMessage) else results_in(message)


def _end_of_results(messages: Sequence[BaseMessage], start: int) -> int:
    """Where the results of a message's calls end: the last of them before the model speaks again."""
    wanted = set(_ids_in(messages[start]))
    end = start + 1
    for at in range(start + 1, len(messages)):
        if isinstance(messages[at], AIMessage):
            break
        if wanted & _answers(messages[at]):
            end = at + 1
    return end


def _answered(group: Sequence[BaseMessage]) -> Atom:
    """A message with tool calls and what follows up to the last result."""
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
    """A copy of a message without some of its tool calls; None if nothing is left of it."""
    gone = set(ids)
    content: Any = message.content
    if isinstance(content, list):
        content = [block for block in content if not (is_call(block) and id_of_call(block) in gone)]
    calls = [call for call in message.tool_calls if call["id"] not in gone]
    invalid = [call for call in message.invalid_tool_calls if call["id"] not in gone]
    more = {
        key: value for key, value in message.additional_kwargs.items() if key not in ("tool_calls", "function_call")
    }
    copy = message.model_copy(
        update={"content": content, "tool_calls": calls, "invalid_tool_calls": invalid, "additional_kwargs": more}
    )
    return copy if calls_of(copy) or _says_something(content) else None


def _says_something(content: Any) -> bool:
    """Whether a message with this content, and without calls, is one that providers accept: more than thoughts."""
    if isinstance(content, str):
        return bool(content.strip())
    return any(
        bool(block.strip())
        if isinstance(block, str)
        else block.get("type") not in THOUGHTS and (block.get("type") != "text" or bool(block.get("text")))
        for block in content
    )
