"""Content blocks: the texts, tool calls, images and files in a message, in the formats of all providers.

Providers add new formats every few months. A block that is not recognised as an image, a file or a call is read as text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, HumanMessage

CALLS = {"tool_use", "tool_call", "function_call"}
"""The types of blocks that are tool calls, which the application answers."""
THOUGHTS = {"thinking", "redacted_thinking", "reasoning", "reasoning_content"}
"""The types of blocks that contain a model's reasoning. Providers accept them unchanged or not at all."""

_IMAGES = {"image", "image_url", "input_image"}
_IMAGE_FIELDS = {
    "type", "image", "image_url", "source", "source_type", "url", "data", "base64", "bytes", "detail", "format", "id",
    "index", "file_id", "media_type", "mime_type", "cache_control",
}  # fmt: skip
_SEALED = {"signature", "encrypted_content"}
"""Fields with encrypted content."""
_METADATA = _SEALED | {
    "type",
    "id",
    "call_id",
    "tool_use_id",
    "index",
    "cache_control",
    "status",
    "media_type",
    "mime_type",
}
"""Fields of a block that are not part of its text."""
_FILES = {"data", "base64", "file_data", "bytes"}
_URLS = {"url", "uri", "image_url", "file_url"}
_BASE64 = re.compile(r"[A-Za-z0-9+/=_\r\n-]+")
_SHORTEST_FILE = 200
"""A shorter string is text, in characters."""
_SAMPLE = 2_000
"""The number of characters by which base64 is recognised."""

Change = Callable[[str], str]
"""A function that returns a text in place of a text."""


class File(NamedTuple):
    """A file, a recording or an image in a block."""

    characters: int
    """The length of its base64; 0 for an image."""
    kind: str
    """Its media type if that is known, `"image"`, `"small image"`, or `"sealed"` for encrypted content."""


def calls_of(message: BaseMessage) -> list[dict[str, Any]]:
    """Return the tool calls of a message as dicts with `id`, `name` and `args`: valid and invalid ones, each once.

    Calls in content blocks are included, because some messages are constructed without `tool_calls`.

    Args:
        message: The message.
    """
    if not isinstance(message, AIMessage):
        return []
    calls: list[dict[str, Any]] = [
        {"id": call.get("id"), "name": call.get("name"), "args": call.get("args", {})}
        for group in (message.tool_calls, message.invalid_tool_calls)
        for call in (group if isinstance(group, list) else ())
        if isinstance(call, Mapping)
    ]
    known = {call["id"] for call in calls}
    for block in message.content if isinstance(message.content, list) else ():
        if is_call(block) and id_of_call(block) not in known:
            calls.append({"id": id_of_call(block), "name": block.get("name"), "args": args_of(block)})
            known.add(id_of_call(block))
    function = message.additional_kwargs.get("function_call")
    if not calls and isinstance(function, Mapping):
        calls.append({"id": None, "name": function.get("name"), "args": function.get("arguments")})
    return calls


def is_call(block: Any) -> TypeGuard[dict[str, Any]]:
    """Return true if a content block is a tool call."""
    return isinstance(block, dict) and block.get("type") in CALLS


def id_of_call(block: Mapping[str, Any]) -> Any:
    """Return the ID by which a tool result refers to a call."""
    return block.get("call_id") or block.get("id")


def args_of(block: Mapping[str, Any]) -> Any:
    """Return the arguments of a call: a dict, or JSON text."""
    return next((block[name] for name in ("input", "args", "arguments") if name in block), {})


def results_in(message: BaseMessage) -> set[str]:
    """Return the IDs of the calls whose results are blocks of a human message."""
    if not is_from_human(message) or isinstance(message.content, str):
        return set()
    blocks = (block for block in message.content if isinstance(block, dict) and block.get("type") == "tool_result")
    return {str(block["tool_use_id"]) for block in blocks if block.get("tool_use_id")}


def is_from_human(message: BaseMessage) -> bool:
    """Return true if a message is from the user."""
    return isinstance(message, HumanMessage) or (
        isinstance(message, ChatMessage) and message.role.lower() in ("user", "human")
    )


def content_of_block(block: Any, files: list[File] | None = None) -> Any:
    """Return the text of a block, or a dict of its texts if it has several; empty if it has none.

    Args:
        block: A block of a message's content.
        files: A list to which the block's files and images are appended. Default: None.
    """
    if isinstance(block, str):
        return block

    def left_out(file: File) -> str:
        if files is not None:
            files.append(file)
        return f"[{'file' if file.characters else 'image'}]"

    kind = block.get("type")
    content = _changed(block, str, left_out)
    if not isinstance(content, dict):  # an image
        return ""
    if files is not None:
        files += [File(len(block[key]), "sealed") for key in _SEALED & block.keys() if isinstance(block[key], str)]
    rest = {key: value for key, value in content.items() if key not in _METADATA}
    if kind in THOUGHTS or kind == "text" or len(rest) == 1:
        for name in ("text", "thinking", "reasoning"):
            if isinstance(rest.get(name), str):
                return rest[name]
    if rest and all(value == "[file]" or not value for value in rest.values()):
        return ""
    return rest


def with_texts(block: Any, change: Change) -> Any:
    """Return a copy of a block with changed texts. Its files, images, reasoning and calls stay unchanged.

    Args:
        block: A block of a message's content.
        change: The function that changes a text.
    """
    if isinstance(block, str):
        return change(block)
    if is_call(block) or block.get("type") in THOUGHTS:
        return block
    own = {key: value for key, value in block.items() if key in _METADATA}
    return {**_changed(block, change, None), **own}


def with_strings(value: Any, change: Change) -> Any:
    """Return a copy of a call's arguments, a dict or JSON text, with changed texts."""
    if isinstance(value, str):
        try:
            found = json.loads(value)
        except ValueError:
            found = None
        return as_json(_each(found, change)) if isinstance(found, (dict, list)) else change(value)
    return _each(value, change)


def as_json(value: Any) -> str:
    """Return a value as JSON, or its `repr` if JSON cannot express it. A text is returned unchanged."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):
        pass  # a key that is not a string, a cycle, or an integer of 5,000 digits
    try:
        return repr(value)
    except (ValueError, RecursionError):
        return f"[{type(value).__name__}]"


def _each(value: Any, change: Change) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _each(inner, change) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_each(inner, change) for inner in value]
    return value


def _changed(
    value: Any,
    change: Change,
    leave_out: Callable[[File], str] | None,
    owner: Mapping[str, Any] | None = None,
    key: str = "",
) -> Any:
    """Return a value with changed texts. Its files and images are left out by `leave_out`, or stay if that is None."""
    if isinstance(value, str):
        file = _file(value, key, owner or {})
        if leave_out is None:
            return value if file is not None or key in _URLS else change(value)
        return change(value) if file is None else leave_out(file)
    if isinstance(value, (bytes, bytearray)):
        return value if leave_out is None else leave_out(File(len(value) * 4 // 3, _kind(owner or {})))
    if isinstance(value, Mapping):
        return _changed_object(value, change, leave_out)
    if isinstance(value, (list, tuple)):
        return [_changed(inner, change, leave_out, owner, key) for inner in value]
    return value


def _changed_object(value: Mapping[str, Any], change: Change, leave_out: Callable[[File], str] | None) -> Any:
    image = _is_image(value)
    rest = {name: inner for name, inner in value.items() if not image or name not in _IMAGE_FIELDS}
    mark = leave_out(File(0, _size(value))) if image and leave_out is not None else None
    if mark is not None and not rest:
        return mark
    found = {name: _changed(inner, change, leave_out, value, name) for name, inner in rest.items()}
    return {**value, **found} if image and leave_out is None else found


def _is_image(block: Mapping[str, Any]) -> bool:
    return (
        block.get("type") in _IMAGES
        or isinstance(block.get("image"), Mapping)
        or (block.get("type") in ("media", "file") and _kind(block).startswith("image/"))
    )


def _size(image: Mapping[str, Any]) -> str:
    url = image.get("image_url")
    small = "low" in (image.get("detail"), url.get("detail") if isinstance(url, Mapping) else None)
    return "small image" if small else "image"


def _file(text: str, key: str, owner: Mapping[str, Any]) -> File | None:
    if (key not in _FILES and key not in _URLS) or len(text) < _SHORTEST_FILE:
        return None
    start, kind = 0, _kind(owner)
    if text.startswith("data:"):
        header = text[5:_SAMPLE].partition(",")[0]
        start, kind = 5 + len(header) + 1, header.partition(";")[0]
    elif key in _URLS:
        return None
    # Only the search for spaces reads the whole text; it is fast.
    if not text.isascii() or text.find(" ", start) >= 0:
        return None
    beginning = _BASE64.match(text, start, start + _SAMPLE)
    if beginning is None or beginning.end() < min(len(text), start + _SAMPLE):
        return None
    return File(len(text) - start, kind)


def _kind(owner: Mapping[str, Any]) -> str:
    if owner.get("type") == "redacted_thinking":
        return "sealed"
    return str(owner.get("media_type") or owner.get("mime_type") or "")


def blocks_of(message: BaseMessage) -> Sequence[Any]:
    """Return the content blocks of a message; a plain string is one block."""
    return [message.content] if isinstance(message.content, str) else message.content
