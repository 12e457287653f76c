"""Pairs of calls and results: a result belongs to the call with its ID, by position if several calls have one ID."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from langchain_agentmem.messages.call_types import (
    CALLS,
    FUNCTION,
    RESULTS,
    id_of_call,
    id_of_result,
    is_call,
    is_result,
    kind_of,
    opened,
    renamed,
)

Key = tuple[str, str]
"""The kind of a call (see `call_types.CALLS`) and its ID, which may be empty."""

_COMPUTER = "computer_call"
_APPROVAL = "mcp_approval_request"
_CUSTOM = "custom_tool_call"


class _Result(NamedTuple):
    """The result of a call."""

    message: BaseMessage
    block: Any
    """The block of the message that has the result; None if the message is the result."""


def calls_in(message: AIMessage) -> list[Key]:
    """Return the keys of the calls that the application answers, each call once."""
    keys: list[Key] = [(FUNCTION, call.get("id") or "") for call in (*message.tool_calls, *message.invalid_tool_calls)]
    if isinstance(message.content, list):
        known = Counter(keys)
        for block in message.content:
            if is_call(block):
                key = key_of_call(block)
                known[key] -= 1
                if known[key] < 0:
                    keys.append(key)
    return keys


def key_of_call(block: Any) -> Key:
    """Return the key of a block with a call."""
    return CALLS[str(kind_of(block))], str(id_of_call(block))


def results_of(message: BaseMessage) -> list[Key]:
    """Return the keys of the calls that a message answers."""
    return [key for key, _ in _results_in(message)]


def _results_in(message: BaseMessage) -> list[tuple[Key, _Result]]:
    if isinstance(message, ToolMessage):
        kind = _COMPUTER if _is_screenshot(message) else FUNCTION
        return [((kind, message.tool_call_id or ""), _Result(message, None))]
    if not isinstance(message, HumanMessage) or isinstance(message.content, str):
        return []
    return [
        ((RESULTS[str(kind_of(block))], str(id_of_result(block))), _Result(message, block))
        for block in message.content
        if is_result(block)
    ]


def _is_screenshot(message: ToolMessage) -> bool:
    """Return true if `langchain_openai` sends a tool message as the output of a computer call."""
    is_marked = message.additional_kwargs.get("type") == "computer_call_output"
    if isinstance(message.content, str):
        return is_marked
    return any(
        kind_of(block) == "computer_call_output" or (is_marked and kind_of(block) == "input_image")
        for block in message.content
    )


class Pairing:
    """The calls of one message and their results.

    Args:
        call: The message with the calls.
        messages: The messages with results, in order.
    """

    def __init__(self, call: AIMessage, messages: Sequence[BaseMessage]) -> None:
        self._calls = calls_in(call)
        self._custom = {
            id_of_call(block)
            for block in (call.content if isinstance(call.content, list) else ())
            if kind_of(block) == _CUSTOM
        }
        number = Counter(self._calls)
        self._results: list[tuple[Key, int, _Result]] = []
        found: Counter[Key] = Counter()
        for message in messages:
            for key, result in _results_in(message):
                if found[key] < number[key]:
                    self._results.append((key, found[key], result))
                    found[key] += 1
        self._kept = found
        self._names: dict[tuple[Key, int], str] = {}

    def name_calls(self, used: Iterable[str], *, is_open: bool) -> set[str]:
        """Give each call an ID that no other call has, and return the IDs.

        Args:
            used: The IDs of other calls.
            is_open: If true, all calls stay, with their own IDs, because results may still follow.
        """
        if is_open:
            self._kept = Counter(self._calls)
            return {id_ for _, id_ in self._calls}
        taken = set(used)
        own: set[str] = set()
        seen: Counter[Key] = Counter()
        for key in self._calls:
            at = seen[key]
            seen[key] += 1
            kind, given = key
            if at >= self._kept[key] or kind == _APPROVAL:
                continue
            name, count = given, 1
            while not name or name in taken or name in own:
                count += 1
                name = f"{given or 'call'}_{count}"
            own.add(name)
            if name != given:
                self._names[key, at] = name
        return own

    @property
    def has_open_calls(self) -> bool:
        """True if a call has no result."""
        return self._kept != Counter(self._calls)

    @property
    def is_unchanged(self) -> bool:
        """True if all calls stay, with their IDs."""
        return not self._names and self._kept == Counter(self._calls)

    def keeps(self, key: Key, at: int) -> bool:
        """Return true if the request contains a call: the one at an index among the calls with its key."""
        return at < self._kept[key]

    def name(self, key: Key, at: int) -> str:
        """Return the ID of such a call in the request."""
        return self._names.get((key, at), key[1])

    def results(self) -> list[BaseMessage]:
        """Return the messages with results, for a request: tool messages first."""
        tools: list[BaseMessage] = [self._tool_message(*one) for one in self._results if self._is_tool_message(one[2])]
        blocks = [one for one in self._results if not self._is_tool_message(one[2])]
        if not blocks:
            return tools
        content = [
            renamed(result.block, self._names[key, at]) if (key, at) in self._names else result.block
            for key, at, result in blocks
        ]
        first = blocks[0][2].message
        return [*tools, first if content == first.content else first.model_copy(update={"content": content})]

    @staticmethod
    def _is_tool_message(result: _Result) -> bool:
        return result.block is None or kind_of(result.block) in ("function_call_output", "custom_tool_call_output")

    def _tool_message(self, key: Key, at: int, result: _Result) -> ToolMessage:
        name = self._names.get((key, at))
        message = result.message
        if not isinstance(message, ToolMessage):  # `langchain_openai` sends such a block only from a tool message
            output = opened(result.block).get("output") or ""
            message = ToolMessage(output, tool_call_id=key[1])
        update: dict[str, Any] = {} if name is None else {"tool_call_id": name}
        content = message.content
        if name is not None and isinstance(content, list):
            content = [
                renamed(one, name) if isinstance(one, dict) and id_of_result(one) == key[1] else one for one in content
            ]
        if key[1] in self._custom and key[0] == FUNCTION and not _is_custom(content):
            content = [{"type": "custom_tool_call_output", "output": str(message.text) or " "}]
        if content is not message.content:
            update["content"] = content
        return message.model_copy(update=update) if update else message


def _is_custom(content: Any) -> bool:
    return isinstance(content, list) and any(kind_of(block) == "custom_tool_call_output" for block in content)
