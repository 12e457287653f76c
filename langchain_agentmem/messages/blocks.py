"""Content blocks: the texts, tool calls, images and files in a message, in the formats of all providers.

Providers add new formats every few months. A block that is not recognised as an image, a file or a call is read as text.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage, BaseMessage

from langchain_agentmem.arguments.nesting import load_bounded_json
from langchain_agentmem.messages.call_types import (
    THOUGHTS,
    args_of,
    id_of_call,
    is_call,
    is_result,
    kind_of,
    name_of_call,
    opened,
)

_IMAGES = {"image", "image_url", "input_image", "computer_screenshot", "image_generation_call"}
_IMAGE_FIELDS = {
    "type", "image", "image_url", "source", "source_type", "url", "data", "base64", "bytes", "detail", "format", "id",
    "index", "file_id", "media_type", "mime_type", "cache_control", "result", "status", "output_format", "quality", "size",
    "background", "partial_image_b64", "partial_image_index", "b64_json", "action",
}  # fmt: skip
_PICTURE = frozenset(_IMAGE_FIELDS)
_SEALED = {
    "signature", "encrypted_content", "encrypted_index", "encrypted_stdout", "thought_signature", "thoughtSignature",
    "redacted_content", "redactedContent",
}  # fmt: skip
"""Fields with encrypted or signed content, at any depth. Providers accept them unchanged or not at all."""
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
_FILES = {"data", "base64", "file_data", "bytes", "blob", "b64_json", "result", "partial_image_b64"}
_URLS = {"url", "uri", "image_url", "file_url"}
_BASE64 = re.compile(r"[A-Za-z0-9+/=_\r\n-]+")
_SOUNDS = {"wav", "mp3", "flac", "opus", "pcm16", "aac", "ogg", "m4a", "webm"}
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

    @property
    def is_image(self) -> bool:
        """True if it is an image."""
        return self.kind in ("image", "small image") or self.kind.startswith("image/")


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
    known = Counter(call["id"] or "" for call in calls)
    for block in message.content if isinstance(message.content, list) else ():
        if is_call(block):
            known[id_of_call(block)] -= 1
            if known[id_of_call(block)] < 0:
                calls.append({"id": id_of_call(block), "name": name_of_call(block), "args": args_of(block)})
    function = message.additional_kwargs.get("function_call")
    if not calls and isinstance(function, Mapping):
        calls.append({"id": None, "name": function.get("name"), "args": function.get("arguments")})
    return calls


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

    block = opened(block)
    kind = block.get("type")
    content = _changed(block, str, left_out)
    if not isinstance(content, dict):  # an image
        return ""
    rest = {key: value for key, value in content.items() if key not in _METADATA}
    if kind in THOUGHTS or kind == "text" or len(rest) == 1:
        for name in ("text", "thinking", "reasoning"):
            if isinstance(rest.get(name), str):
                return rest[name]
    if rest and all(value == "[file]" or not value for value in rest.values()):
        return ""
    return rest


def file_in(block: Any) -> File | None:
    """Return the file or the image that a block consists of; None if the block is text, reasoning, a call or a result."""
    files: list[File] = []
    if isinstance(block, str) or is_call(block) or is_result(block) or kind_of(block) in THOUGHTS:
        return None
    is_file = not content_of_block(block, files) and len(files) == 1
    return files[0] if is_file and files[0].kind != "sealed" else None


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


def is_sealed(key: str) -> bool:
    """Return true if a field holds encrypted or signed content, which providers accept unchanged or not at all."""
    return key in _SEALED


def is_file(text: str, key: str, owner: Mapping[str, Any]) -> bool:
    """Return true if a text is a file, or the address that contains it.

    Args:
        text: The text.
        key: Its name in `owner`.
        owner: The object that contains it.

    Example:
        >>> from langchain_agentmem.messages.blocks import is_file
        >>> is_file("data:image/png;base64,iVBO", "url", {}), is_file("https://example.com", "url", {})
        (True, False)
    """
    return (key in _URLS and text.startswith("data:")) or _file(text, key, owner) is not None


def unread_fields(block: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the fields that describe a picture; none if the block is no picture."""
    return _PICTURE if _is_image(block) else frozenset()


def with_strings(value: Any, change: Change) -> Any:
    """Return a copy of a call's arguments, a dict or JSON text, with changed texts."""
    if isinstance(value, str):
        try:
            found = load_bounded_json(value)
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
    if key in _SEALED:
        if leave_out is not None and isinstance(value, (str, bytes)):
            leave_out(File(len(value), "sealed"))
        return value
    if isinstance(value, str):
        return _changed_text(value, change, leave_out, owner or {}, key)
    if isinstance(value, (bytes, bytearray)):
        return value if leave_out is None else leave_out(File(len(value) * 4 // 3, _kind(owner or {})))
    if isinstance(value, Mapping):
        return _changed_object(value, change, leave_out)
    if isinstance(value, (list, tuple)):
        return [_changed(inner, change, leave_out, owner, key) for inner in value]
    return value


def _changed_text(
    text: str, change: Change, leave_out: Callable[[File], str] | None, owner: Mapping[str, Any], key: str
) -> str:
    file = _file(text, key, owner)
    if leave_out is None:
        return text if file is not None or key in _URLS else change(text)
    return change(text) if file is None else leave_out(file)


def _changed_object(value: Mapping[str, Any], change: Change, leave_out: Callable[[File], str] | None) -> Any:
    image = _is_image(value)
    rest = {name: inner for name, inner in value.items() if not image or name not in _IMAGE_FIELDS}
    mark = leave_out(File(0, _size(value))) if image and leave_out is not None else None
    if mark is not None and not rest:
        return mark
    found = {name: _changed(inner, change, leave_out, value, name) for name, inner in rest.items()}
    if leave_out is not None:
        found = {name: inner for name, inner in found.items() if name not in _SEALED}
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
    sound = owner.get("format")
    kind = owner.get("media_type") or owner.get("mime_type") or owner.get("mimeType")
    return str(kind or (f"audio/{sound}" if sound in _SOUNDS else ""))


def blocks_of(message: BaseMessage) -> Sequence[Any]:
    """Return the content blocks of a message; a plain string is one block."""
    return [message.content] if isinstance(message.content, str) else message.content
