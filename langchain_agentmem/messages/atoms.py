"""Conversations as atoms: groups of messages that a request contains as a whole or not at all.

Windows, compressors and the middleware read conversations only through `atoms_of`. Model providers refuse a tool result
without its call, or a call without its result. Therefore a message with tool calls and all results of these calls are an
atom.
Requests leave out calls and results that are orphaned in the conversation itself; a summary includes them. A call at the very
end stays in the request, because its result may be the next message.

These messages are in no request: `RemoveMessage`s, and messages without content.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from langchain_core.messages import AIMessage, BaseMessage, FunctionMessage, HumanMessage, RemoveMessage, ToolMessage

from langchain_agentmem.messages.answers import continued, continues, requested
from langchain_agentmem.messages.call_types import CALLS, THOUGHTS, id_of_call
from langchain_agentmem.messages.content import is_said, without_results
from langchain_agentmem.messages.forms import as_plain, is_named_speaker
from langchain_agentmem.messages.pairing import Key, Pairing, calls_in, results_of

_USUAL = {"text", "tool_use", "function_call"} | THOUGHTS
_LATEST = 20
"""The maximum number of messages after a call in which its result is searched."""


class Atom(NamedTuple):
    """Consecutive messages that are kept or left out together."""

    originals: tuple[BaseMessage, ...]
    """The messages of the conversation."""
    request: tuple[BaseMessage, ...]
    """The messages for a request, without orphaned calls and results."""
    is_human: bool
    """True if a request may begin with this atom, after the system messages: it begins a turn, or it is a summary."""


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
    reading = _Reading(messages)
    at = 0
    while at < len(messages):
        message = messages[at]
        if _is_plain(message):
            atoms.append(Atom((message,), (message,), isinstance(message, HumanMessage)))
            at += 1
        else:
            atom = reading.atom(at)
            atoms.append(atom)
            at += len(atom.originals)
    return atoms


def from_human(atoms: Sequence[Atom]) -> Sequence[Atom]:
    """Return atoms from the first on with which a request may begin; all of them if there is none.

    Args:
        atoms: The atoms of a conversation.
    """
    return atoms[next((at for at, atom in enumerate(atoms) if atom.is_human), 0) :]


def is_plain(messages: Sequence[BaseMessage]) -> bool:
    """Return true if each message is a text of the user or the model, so that each is an atom and its own request."""
    return all(map(_is_plain, messages))


def _is_plain(message: BaseMessage) -> bool:
    kind = type(message)
    if kind is HumanMessage:
        return isinstance(message.content, str) and is_said(message.content)
    return (
        kind is AIMessage
        and isinstance(message.content, str)
        and is_said(message.content)
        and not message.tool_calls  # type: ignore[attr-defined]
        and not message.invalid_tool_calls  # type: ignore[attr-defined]
        and "function_call" not in message.additional_kwargs
    )


class _Reading:
    """Reads the messages of a conversation that are more than text.

    Args:
        messages: The conversation, without system messages.
    """

    def __init__(self, messages: Sequence[BaseMessage]) -> None:
        self._messages = messages
        self._used: set[str] = set()
        """The IDs that calls have in the request. An ID that a later message uses again is replaced."""
        self._last_ids: tuple[int, set[str]] | None = None

    def atom(self, at: int) -> Atom:
        """Return the atom that begins at an index."""
        return self._answered_call(at) or self._read(at)

    def _answered_call(self, at: int) -> Atom | None:
        """Return the atom of a call that needs no change: its results follow it, and no other call has its IDs."""
        call = self._messages[at]
        if type(call) is not AIMessage or not call.tool_calls or call.invalid_tool_calls:
            return None
        ids = {one["id"] or "" for one in call.tool_calls}
        end = at + 1 + len(call.tool_calls)
        results = self._messages[at + 1 : end]
        is_usual = (
            len(results) == len(ids)
            and "" not in ids
            and ids.isdisjoint(self._used)
            and all(type(one) is ToolMessage and not one.additional_kwargs for one in results)
            and {one.tool_call_id for one in results if isinstance(one, ToolMessage)} == ids
            and not (end < len(self._messages) and isinstance(self._messages[end], (ToolMessage, FunctionMessage)))
            and _has_usual_blocks(call, ids)
            and ids.isdisjoint(self._open_ids(at))
        )
        if not is_usual:
            return None
        self._used |= ids
        group = (call, *results)
        return Atom(group, group, False)

    def _read(self, at: int) -> Atom:
        message = as_plain(self._messages[at])
        if isinstance(message, AIMessage):
            answer, end = self._answer(message, at + 1)
            if calls_in(answer):
                return self._with_results(answer, at, end)
            originals = tuple(self._messages[at:end])
            kept = requested(answer, Pairing(answer, ()), is_open=end == len(self._messages))
            return Atom(originals, () if kept is None else (kept,), False)
        originals = (self._messages[at],)
        if isinstance(message, (ToolMessage, RemoveMessage)):
            return Atom(originals, (), False)
        own = without_results(message)
        if own is None:
            return Atom(originals, (), False)
        return Atom(originals, (own,), isinstance(own, HumanMessage) and not is_named_speaker(self._messages[at]))

    def _answer(self, message: AIMessage, end: int) -> tuple[AIMessage, int]:
        """Return a model's answer, with the messages in which it continues after a pause, and the index after it."""
        at = end
        while at < len(self._messages):
            following = as_plain(self._messages[at])
            at += 1
            if isinstance(following, RemoveMessage):
                continue
            if not (isinstance(following, AIMessage) and continues(message, following)):
                break
            message, end = continued(message, following), at
        return message, end

    def _with_results(self, call: AIMessage, start: int, first: int) -> Atom:
        """Return the atom of a message with calls and the messages up to its last result."""
        wanted = set(calls_in(call))
        group, end = self._up_to_last_result(wanted, first)
        pairing = Pairing(call, [one for one in group if results_of(one)])
        others = [kept for one in group if (kept := _requested_beside_results(one)) is not None]
        is_open = end == len(self._messages) and not others and pairing.has_open_calls
        self._used |= pairing.name_calls(self._used if is_open else self._used | self._open_ids(start), is_open=is_open)
        answer = requested(call, pairing, is_open=is_open)
        answers = () if answer is None else (answer,)
        return Atom(tuple(self._messages[start:end]), (*answers, *pairing.results(), *others), False)

    def _up_to_last_result(self, wanted: set[Key], first: int) -> tuple[list[BaseMessage], int]:
        """Return the messages after a call up to its last result, and the index after them."""
        group: list[BaseMessage] = []
        end = first
        for at in range(first, len(self._messages)):
            message = as_plain(self._messages[at])
            keys = results_of(message)
            if at >= first + _LATEST and not isinstance(message, ToolMessage):
                break
            if isinstance(message, AIMessage) and calls_in(message):
                break
            group.append(message)
            if any(key in wanted for key in keys):
                end = at + 1
        return group[: end - first], end

    def _open_ids(self, start: int) -> set[str]:
        """Return the IDs of the calls of the last answer if it comes after an index: results may still refer to them."""
        if self._last_ids is None:
            at = next(
                (at for at in range(len(self._messages) - 1, -1, -1) if not _is_result_or_removal(self._messages[at])),
                -1,
            )
            last = as_plain(self._messages[at])
            keys = calls_in(last) if isinstance(last, AIMessage) else []
            self._last_ids = at, {id_ for _, id_ in keys}
        at, ids = self._last_ids
        return ids if start < at else set()


def _has_usual_blocks(call: AIMessage, ids: set[str]) -> bool:
    """Return true if the content is text, or blocks of text, reasoning and the given calls that end with no reasoning."""
    if isinstance(call.content, str):
        return not call.content.isspace()
    for block in call.content:
        kind = block.get("type") if isinstance(block, dict) else "text"
        if kind not in _USUAL or (kind in CALLS and id_of_call(block) not in ids):
            return False
    return not call.content or not isinstance(last := call.content[-1], dict) or last.get("type") not in THOUGHTS


def _is_result_or_removal(message: BaseMessage) -> bool:
    return isinstance(message, (ToolMessage, RemoveMessage)) or bool(results_of(message))


def _requested_beside_results(message: BaseMessage) -> BaseMessage | None:
    """Return what a request contains of a message between a call and its last result, apart from the result."""
    if isinstance(message, (ToolMessage, RemoveMessage)):
        return None
    if isinstance(message, AIMessage):
        return requested(message, Pairing(message, ()), is_open=False)
    return without_results(message)
