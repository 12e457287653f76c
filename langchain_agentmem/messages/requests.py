"""Requests of providers as messages. In those of Anthropic, calls and results of tools are content blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_agentmem.messages.openings import OPENING

_CALL = {"type", "id", "name", "input"}


def split_roles(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a role dictionary with content blocks of Anthropic as dictionaries that langchain-core can convert.

    A user's message with results of tools becomes a message for each result, and one for the rest. The calls in an
    answer become its `tool_calls`.

    Args:
        message: The dictionary.
    """
    content = message.get("content")
    if not isinstance(content, (list, tuple)):
        return [dict(message)]
    if message.get("role") in ("user", "human") and any(map(_is_result, content)):
        return _split(message, content)
    if message.get("role") in ("assistant", "ai") and "tool_calls" not in message and any(map(_is_call, content)):
        return [_with_calls(message, content)]
    return [dict(message)]


def messages_of_request(request: Mapping[str, Any]) -> list[Any]:
    """Return the messages of a request: those under `messages`, after the text under `system`.

    Args:
        request: The request. Its other keys, such as `model`, are ignored.
    """
    system, messages = request.get("system"), list(request["messages"])
    if messages and isinstance(messages[0], Mapping) and messages[0].get("content") == OPENING:
        messages = messages[1:]
    return [{"role": "system", "content": system}, *messages] if system else messages


def _split(message: Mapping[str, Any], content: Sequence[Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    rest: list[Any] = []
    for block in [*content, None]:
        if block is not None and not _is_result(block):
            rest.append(block)
            continue
        if rest:
            found.append({**message, "content": _plain(rest)})
            rest = []
        if block is not None:
            found.append(_tool_message(block))
    return found


def _tool_message(block: Mapping[str, Any]) -> dict[str, Any]:
    content = block.get("content") or ""
    if block.get("cache_control") and isinstance(content, (str, list)):
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
        last = blocks[-1] if blocks and isinstance(blocks[-1], Mapping) else {"type": "text", "text": ""}
        content = [*blocks[:-1], {**last, "cache_control": block["cache_control"]}]
    status = "error" if block.get("is_error") else "success"
    return {"role": "tool", "content": content, "tool_call_id": block.get("tool_use_id"), "status": status}


def _with_calls(message: Mapping[str, Any], content: Sequence[Any]) -> dict[str, Any]:
    calls = [
        {"id": block.get("id"), "name": block.get("name"), "args": block.get("input") or {}, "type": "tool_call"}
        for block in content
        if _is_call(block)
    ]
    texts = content[: len(content) - len(calls)]
    is_simple = len(texts) <= 1 and all(map(_is_plain_call, content[len(texts) :])) and isinstance(_plain(texts), str)
    return {**message, "content": _plain(texts) if is_simple else list(content), "tool_calls": calls}


def _plain(blocks: Sequence[Any]) -> Any:
    """Return the text of a single text block, an empty string for no block, or the blocks."""
    if not blocks:
        return ""
    block = blocks[0]
    is_text = len(blocks) == 1 and isinstance(block, Mapping) and block.keys() == {"type", "text"}
    return block["text"] if is_text and isinstance(block["text"], str) else list(blocks)


def _is_result(block: Any) -> bool:
    return isinstance(block, Mapping) and block.get("type") == "tool_result"


def _is_call(block: Any) -> bool:
    return isinstance(block, Mapping) and block.get("type") == "tool_use"


def _is_plain_call(block: Any) -> bool:
    return _is_call(block) and block.keys() == _CALL
