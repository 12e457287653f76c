"""What stands in a message: its texts, its tool calls, and its images and files, in whatever form of content blocks.

Providers have forms of their own, with new ones every few months. So nothing here depends on knowing a block's type: all that
is not recognised as an image, a file or a call is text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, HumanMessage

CALLS = {"tool_use", "tool_call", "function_call"}
"""The types of blocks that stand for calls of tools, which the application answers."""
THOUGHTS = {"thinking", "redacted_thinking", "reasoning", "reasoning_content"}
"""The types of blocks that hold what a model thought, which providers want back as they were or not at all."""

_IMAGES = {"image", "image_url", "input_image"}
_OF_IMAGES = {
    "type", "image", "image_url", "source", "source_type", "url", "data", "base64", "bytes", "detail", "format", "id",
    "index", "file_id", "media_type", "mime_type", "cache_control",
}  # fmt: skip
_SEALED = {"signature", "encrypted_content"}
_AROUND = _SEALED | {
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
"""What of a block says nothing to anybody who reads it."""
_FILES = {"data", "base64", "file_data", "bytes"}
_URLS = {"url", "uri", "image_url", "file_url"}
_BASE64 = re.compile(r"[A-Za-z0-9+/=_\r\n-]+")
_LEAST_FILE, _LOOKED_AT = 200, 2_000
"""Characters: what is shorter is text, and of what is longer so many are looked at."""

Change = Callable[[str], str]


class File(NamedTuple):
    """A file, a recording or an image in a block."""

    characters: int
    """Of its base64; 0 for an image."""
    kind: str
    """Its media type, where it is known; `"image"`, `"small image"`, or `"sealed"` for text that a provider encrypted."""


def calls_of(message: BaseMessage) -> list[dict[str, Any]]:
    """The tool calls of a message, valid or not, each once: `id`, `name` and `args`.

    They are read from the content too, where a message was made without its `tool_calls`.

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
    """Whether a content block stands for a tool call."""
    return isinstance(block, dict) and block.get("type") in CALLS


def id_of_call(block: Mapping[str, Any]) -> Any:
    """The id by which a call's result names it."""
    return block.get("call_id") or block.get("id")


def args_of(block: Mapping[str, Any]) -> Any:
    """The arguments of a call: an object, or its JSON."""
    return next((block[name] for name in ("input", "args", "arguments") if name in block), {})


def results_in(message: BaseMessage) -> set[str]:
    """The ids of the calls that blocks in a human message's content answer."""
    if not is_from_human(message) or isinstance(message.content, str):
        return set()
    blocks = (block for block in message.content if isinstance(block, dict) and block.get("type") == "tool_result")
    return {str(block["tool_use_id"]) for block in blocks if block.get("tool_use_id")}


def is_from_human(message: BaseMessage) -> bool:
    """Whether a message is the user's."""
    return isinstance(message, HumanMessage) or (
        isinstance(message, ChatMessage) and message.role.lower() in ("user", "human")
    )


def said_in(block: Any, files: list[File] | None = None) -> Any:
    """What a block says: a text, or, where it has more than one, an object; empty if it has none.

    Args:
        block: A block of a message's content.
        files: Is given the files and images in it. Default: None.
    """
    if isinstance(block, str):
        return block

    def left_out(file: File) -> str:
        if files is not None:
            files.append(file)
        return f"[{'file' if file.characters else 'image'}]"

    kind = block.get("type")
    said = _changed(block, str, left_out)
    if not isinstance(said, dict):  # an image
        return ""
    if files is not None:
        files += [File(len(block[key]), "sealed") for key in _SEALED & block.keys() if isinstance(block[key], str)]
    rest = {key: value for key, value in said.items() if key not in _AROUND}
    if kind in THOUGHTS or kind == "text" or len(rest) == 1:
        for name in ("text", "thinking", "reasoning"):
            if isinstance(rest.get(name), str):
                return rest[name]
    if rest and all(value == "[file]" or not value for value in rest.values()):
        return ""
    return rest


def with_texts(block: Any, change: Change) -> Any:
    """A copy of a block with the texts in it changed, and with its files, images, thoughts and calls as they are.

    Args:
        block: A block of a message's content.
        change: Gives a text instead of a text.
    """
    if isinstance(block, str):
        return change(block)
    if is_call(block) or block.get("type") in THOUGHTS:
        return block
    own = {key: value for key, value in block.items() if key in _AROUND}
    return {**_changed(block, change, None), **own}


def with_strings(value: Any, change: Change) -> Any:
    """A copy of a call's arguments with the texts in them changed, which may be JSON themselves."""
    if isinstance(value, str):
        try:
            found = json.loads(value)
        except ValueError:
            found = None
        return as_json(_each(found, change)) if isinstance(found, (dict, list)) else change(value)
    return _each(value, change)


def as_json(value: Any) -> str:
    """A value as JSON, and a text as it is."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):  # a key that is no text, a circle, or an integer of 5,000 digits
        pass
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
    """A value with its texts changed; files and images are left out, or stay."""
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
    rest = {name: inner for name, inner in value.items() if not image or name not in _OF_IMAGES}
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
    if (key not in _FILES and key not in _URLS) or len(text) < _LEAST_FILE:
        return None
    start, kind = 0, _kind(owner)
    if text.startswith("data:"):
        header = text[5:_LOOKED_AT].partition(",")[0]
        start, kind = 5 + len(header) + 1, header.partition(";")[0]
    elif key in _URLS:
        return None
    # The whole is looked at for spaces only, which is quick.
    if not text.isascii() or text.find(" ", start) >= 0:
        return None
    beginning = _BASE64.match(text, start, start + _LOOKED_AT)
    if beginning is None or beginning.end() < min(len(text), start + _LOOKED_AT):
        return None
    return File(len(text) - start, kind)


def _kind(owner: Mapping[str, Any]) -> str:
    if owner.get("type") == "redacted_thinking":
        return "sealed"
    return str(owner.get("media_type") or owner.get("mime_type") or "")


def blocks_of(message: BaseMessage) -> Sequence[Any]:
    """A message's content, block by block."""
    return [message.content] if isinstance(message.content, str) else message.content
