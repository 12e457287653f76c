"""Truncation of messages: the middle of each long text is replaced by a visible mark."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage

from langchain_agentmem.messages.answers import without_item_ids
from langchain_agentmem.messages.blocks import as_json, with_strings, with_texts
from langchain_agentmem.messages.call_types import THOUGHTS, args_of, id_of_call, is_call, is_result, kind_of
from langchain_agentmem.messages.tokens import TokenCounter

_SHORTEST = 8
"""No text is truncated to fewer characters."""
_CHARACTERS_PER_TOKEN = 8
"""An upper bound, which limits the search for the length of a text."""
_PRECISION = 50
"""The search ends when the length is at most this fraction below the optimum; each step counts the message."""
_SAMPLE = 2_000
"""The number of characters from which the tokens of the removed text are estimated."""

Change = Callable[[str], str]


def truncated(message: BaseMessage, tokens: int, counter: TokenCounter) -> BaseMessage:
    """Return a copy of a message with at most a number of tokens.

    Args:
        message: The message.
        tokens: The maximum number of tokens. A message that would have to lose all its text stays larger.
        counter: Counts tokens.
    """

    def count(characters: int) -> int:
        return counter.message(_shortened(message, characters, counter), remember=False)

    if not isinstance(message.content, str) and count(_SHORTEST) > tokens:
        message = message.model_copy(update={"content": _described(message)})
    longest = max(map(len, _texts(message)), default=0)
    # However large the message is, the search never counts copies much larger than the result.
    low, high = _SHORTEST, min(longest, max(_SHORTEST, tokens * _CHARACTERS_PER_TOKEN))
    while low < high - high // _PRECISION:
        middle = (low + high + 1) // 2
        if count(middle) <= tokens:
            low = middle
        else:
            high = middle - 1
    return _shortened(message, low, counter)


def _shortened(message: BaseMessage, characters: int, counter: TokenCounter) -> BaseMessage:
    """Return a copy of a message in which each text keeps at most `characters` characters."""

    def shorten(text: str) -> str:
        return _without_middle(text, characters, counter)

    return with_message_texts(message, shorten)


def _without_middle(text: str, characters: int, counter: TokenCounter) -> str:
    """Return the ends of a text, `characters` characters in total; the text itself if the mark makes it no shorter."""
    if len(text) <= characters:
        return text
    head = characters * 2 // 3
    tail = characters - head
    removed = len(text) - characters
    sample = text[head : head + min(_SAMPLE, removed)]
    tokens = counter.text(sample) * removed // len(sample)
    short = f"{text[:head]} [… about {tokens:,} tokens left out …] {text[len(text) - tail :] if tail else ''}".rstrip()
    return short if len(short) < len(text) else text


def with_message_texts(message: BaseMessage, change: Change) -> BaseMessage:
    """Return a copy of a message with changed texts: those of its content, and those in the arguments of its calls.

    Args:
        message: The message.
        change: The function that changes a text.
    """
    content: Any = message.content
    if not isinstance(message, AIMessage):
        update = {
            "content": change(content) if isinstance(content, str) else [with_texts(one, change) for one in content]
        }
        return message.model_copy(update=update)
    calls = [{**call, "args": with_strings(call["args"], change)} for call in message.tool_calls]
    invalid = [{**call, "args": change(call["args"] or "")} for call in message.invalid_tool_calls]
    args = {call["id"]: call["args"] for call in (*calls, *invalid)}
    if isinstance(content, str):
        content = change(content)
    else:
        content = [_changed_call(one, args, change) if is_call(one) else with_texts(one, change) for one in content]
    # `tool_calls` of the provider are left out: they repeat the arguments in full.
    more = {
        key: value for key, value in message.additional_kwargs.items() if key != "tool_calls" or not (calls or invalid)
    }
    function = more.get("function_call")
    if isinstance(function, Mapping):
        more["function_call"] = {**function, "arguments": with_strings(function.get("arguments"), change)}
    return message.model_copy(
        update={"content": content, "tool_calls": calls, "invalid_tool_calls": invalid, "additional_kwargs": more}
    )


def _changed_call(block: Mapping[str, Any], args: Mapping[Any, Any], change: Change) -> dict[str, Any]:
    """Return a content block of a call with the changed arguments of the message's call."""
    found = args.get(id_of_call(block))
    if found is None:
        found = with_strings(args_of(block), change)
    changed = {key: value for key, value in block.items() if key != "partial_json"}
    for name in ("input", "args", "arguments"):
        if name in block:
            changed[name] = as_json(found) if isinstance(block[name], str) else found
    return changed


def _described(message: BaseMessage) -> list[Any]:
    """Return the content of a message with marks in place of blocks that cannot be truncated. Reasoning leaves no mark.

    The call of a provider's own tool and its result are both replaced.
    """
    content = [_mark(block) for block in message.content if kind_of(block) not in THOUGHTS]
    has_reasoning = len(content) < len(message.content)
    return without_item_ids(content) if has_reasoning else content


def _mark(block: Any) -> Any:
    if isinstance(block, str) or is_call(block) or kind_of(block) == "computer_call_output":
        return block
    if isinstance(block.get("text"), str):  # without citations and signatures
        return {name: block[name] for name in ("type", "text", "id") if name in block}
    for name in ("content", "output"):
        if is_result(block) and name in block:  # the call before it requires it
            return {**block, name: "[left out]"}
    return block if is_result(block) else {"type": "text", "text": f"[{kind_of(block) or 'content'} left out]"}


def _texts(message: BaseMessage) -> list[str]:
    found: list[str] = []

    def collect(text: str) -> str:
        found.append(text)
        return text

    with_message_texts(message, collect)
    return found
