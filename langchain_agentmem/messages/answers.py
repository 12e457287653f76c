"""A model's answers in a request: without orphaned calls, and without the reasoning that belongs to them.

OpenAI refuses a reasoning item without the item that follows it, and an item without its reasoning. Therefore the reasoning
right before a call leaves with the call, and the items after that reasoning lose their IDs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage

from langchain_agentmem.messages.call_types import (
    FUNCTION,
    SERVER_ITEMS,
    THOUGHTS,
    dict_of_json,
    id_of_call,
    id_of_result,
    is_call,
    is_server_call,
    is_server_result,
    kind_of,
    opened,
    renamed,
)
from langchain_agentmem.messages.content import is_said
from langchain_agentmem.messages.pairing import Key, Pairing, calls_in, key_of_call

_SIGNATURES = "function_call_signature"
"""The type of Gemini's blocks with the signature of a call; its index counts `tool_calls`."""
_MAPS = ("__gemini_function_call_thought_signatures__", "__openai_function_call_ids__")
"""Keys of `additional_kwargs` with dicts by the ID of a call."""


def requested(message: AIMessage, pairing: Pairing, *, is_open: bool) -> AIMessage | None:
    """Return an answer as a request contains it; None if nothing of it is left, the message itself if nothing changes.

    Args:
        message: The answer.
        pairing: Its calls and their results.
        is_open: If true, the answer may still continue: calls of the provider's own tools stay without results.
    """
    if isinstance(message.content, str) and not calls_in(message):
        return message if is_said(message.content) else None
    calls = _calls(message, pairing, is_open=is_open)
    content: Any = message.content
    if isinstance(content, list):
        in_tool_calls = Counter(call["id"] or "" for call in calls["tool_calls"] + calls["invalid_tool_calls"])
        content = _blocks(content, pairing, in_tool_calls, is_open=is_open)
        content = _with_signatures(content, message, calls["tool_calls"], pairing)
    elif content.isspace():  # Anthropic refuses it beside calls
        content = ""
    changed = {name: found for name, found in calls.items() if found != getattr(message, name)}
    if content != message.content:
        changed["content"] = content
    if not calls["tool_calls"] and not calls["invalid_tool_calls"] and not is_said(content):
        return None
    if not changed:
        return message
    return message.model_copy(update={**changed, "additional_kwargs": _more(message, pairing)})


def continues(first: AIMessage, second: AIMessage) -> bool:
    """Return true if a message has results of the calls of the provider's own tools in the message before it."""
    return not calls_in(first) and bool(_open_server_calls(first) & _server_results(second))


def continued(first: AIMessage, second: AIMessage) -> AIMessage:
    """Return two messages of a model that follow each other as one."""
    one, two = first.content, second.content
    content: Any
    if isinstance(one, str) and isinstance(two, str):
        content = f"{one}\n\n{two}" if one and two else one or two
    else:
        content = [
            *([one] if isinstance(one, str) and one else [] if isinstance(one, str) else one),
            *([two] if isinstance(two, str) and two else [] if isinstance(two, str) else two),
        ]
        content = [{"type": "text", "text": part} if isinstance(part, str) else part for part in content]
    update = {
        "content": content,
        "tool_calls": [*first.tool_calls, *second.tool_calls],
        "invalid_tool_calls": [*first.invalid_tool_calls, *second.invalid_tool_calls],
        "additional_kwargs": {**first.additional_kwargs, **second.additional_kwargs},
    }
    return second.model_copy(update=update)


def joined(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return messages with answers joined to a call that follows them: Gemini refuses a call after an answer.

    Args:
        messages: The messages of a request.
    """
    result: list[BaseMessage] = []
    for message in messages:
        one = message
        while isinstance(one, AIMessage) and one.tool_calls and result and isinstance(before := result[-1], AIMessage):
            one = continued(before, one)
            del result[-1]
        result.append(one)
    return result


def _open_server_calls(message: AIMessage) -> set[str]:
    blocks = message.content if isinstance(message.content, list) else []
    answered = {str(id_of_result(block)) for block in blocks if is_server_result(block)}
    return {str(id_of_call(block)) for block in blocks if is_server_call(block)} - answered


def _server_results(message: AIMessage) -> set[str]:
    blocks = message.content if isinstance(message.content, list) else []
    own = {str(id_of_call(block)) for block in blocks if is_server_call(block)}
    return {str(id_of_result(block)) for block in blocks if is_server_result(block)} - own


def _calls(message: AIMessage, pairing: Pairing, *, is_open: bool) -> dict[str, list[Any]]:
    """Return the `tool_calls` and `invalid_tool_calls` that stay. An invalid call that was answered becomes a valid one."""
    found: dict[str, list[Any]] = {"tool_calls": [], "invalid_tool_calls": []}
    seen: Counter[Key] = Counter()
    for call in message.tool_calls:
        key = (FUNCTION, call.get("id") or "")
        if pairing.keeps(key, seen[key]):
            name = pairing.name(key, seen[key])
            found["tool_calls"].append(call if name == key[1] else {**call, "id": name})
        seen[key] += 1
    for invalid in message.invalid_tool_calls:
        key = (FUNCTION, invalid.get("id") or "")
        if pairing.keeps(key, seen[key]):
            if is_open:
                found["invalid_tool_calls"].append(invalid)
            else:
                found["tool_calls"].append(_valid(invalid, pairing.name(key, seen[key])))
        seen[key] += 1
    return found


def _valid(call: Any, name: str) -> dict[str, Any]:
    args = dict_of_json(call.get("args"))
    return {
        "name": call.get("name") or "unknown",
        "args": {"invalid_json": call.get("args")} if args is None else args,
        "id": name,
        "type": "tool_call",
    }


def _blocks(blocks: Sequence[Any], pairing: Pairing, calls: Counter[str], *, is_open: bool) -> list[Any]:
    """Return the blocks that stay."""
    kept: list[Any] = []
    seen: Counter[Key] = Counter()
    is_answered = _server_pairs(blocks, is_open=is_open)
    has_lost_reasoning = False
    sent: Counter[str] = Counter()
    for block in blocks:
        if kind_of(block) in THOUGHTS:
            has_lost_reasoning = has_lost_reasoning and bool(kept) and kind_of(kept[-1]) in THOUGHTS
            kept.append(block)
            continue
        found: Any = block if is_answered(block) else None
        if is_call(block):
            key = key_of_call(block)
            name = pairing.name(key, seen[key])
            found = None
            if pairing.keeps(key, seen[key]):
                sent[name] += 1
                found = block if name == key[1] else renamed(block, name)
            seen[key] += 1
        if found is not None and has_lost_reasoning:
            found = _without_item_id(found)
        if found is not None:
            kept.append(found)
        elif kept and kind_of(kept[-1]) in THOUGHTS:
            _drop_thoughts(kept)
            has_lost_reasoning = True
    if not calls - sent:
        _drop_thoughts(kept)  # nothing follows them
    return kept


def _drop_thoughts(blocks: list[Any]) -> None:
    while blocks and kind_of(blocks[-1]) in THOUGHTS:
        del blocks[-1]


def _server_pairs(blocks: Sequence[Any], *, is_open: bool) -> Callable[[Any], bool]:
    """Return a function that is true for a block unless it is a provider's call without its result, or the reverse."""
    calls = Counter(str(id_of_call(block)) for block in blocks if is_server_call(block))
    results = Counter(str(id_of_result(block)) for block in blocks if is_server_result(block))
    if not calls and not results:
        return lambda _: True
    has_nameless_results = bool(results[""])

    def is_answered(block: Any) -> bool:
        if is_server_call(block):
            return is_open or has_nameless_results or bool(results[str(id_of_call(block))])
        if is_server_result(block):
            return bool(calls[str(id_of_result(block))]) or (not id_of_result(block) and bool(calls))
        return True

    return is_answered


def without_item_ids(content: Any) -> Any:
    """Return a message's content whose items do not depend on reasoning that was left out."""
    if isinstance(content, str):
        return content
    return [kept for block in content if (kept := _without_item_id(block)) is not None]


def _without_item_id(block: Any) -> Any:
    """Return a block without the ID of its item; None if OpenAI requires the ID."""
    inner = opened(block)
    if not isinstance(inner, dict) or "id" not in inner:
        return block
    kind = inner.get("type")
    if kind in SERVER_ITEMS:
        return None
    if kind in ("text", "output_text", "refusal") or inner.get("call_id"):
        bare = {key: value for key, value in inner.items() if key != "id"}
        return bare if inner is block else {**block, "value": bare}
    return block


def _with_signatures(content: list[Any], message: AIMessage, calls: Sequence[Any], pairing: Pairing) -> list[Any]:
    """Return the content with Gemini's signatures of the calls that stay."""
    if pairing.is_unchanged or not any(kind_of(block) == _SIGNATURES for block in content):
        return content
    seen: Counter[Key] = Counter()
    indexes: dict[int, int] = {}
    for at, call in enumerate(message.tool_calls):
        key = (FUNCTION, call.get("id") or "")
        if pairing.keeps(key, seen[key]):
            indexes[at] = len(indexes)
        seen[key] += 1
    kept: list[Any] = []
    ordinal = 0
    for block in content:
        if kind_of(block) != _SIGNATURES:
            kept.append(block)
            continue
        at = block.get("index", ordinal)
        ordinal += 1
        if calls and at in indexes:
            kept.append({**block, "index": indexes[at]})
    return kept


def _more(message: AIMessage, pairing: Pairing) -> dict[str, Any]:
    """Return `additional_kwargs` without a copy of the calls, which a changed message does not match."""
    more = {
        key: value for key, value in message.additional_kwargs.items() if key not in ("tool_calls", "function_call")
    }
    for name in _MAPS:
        if isinstance(more.get(name), dict):
            new = {
                (pairing.name((FUNCTION, id_), 0) if pairing.keeps((FUNCTION, id_), 0) else id_): one
                for id_, one in more[name].items()
            }
            more[name] = new
    return more
