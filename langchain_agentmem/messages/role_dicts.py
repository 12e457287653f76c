"""Role dictionaries: messages as agent frameworks store them, with calls of tools and agents, structured data and images.

    {
        "role": "assistant",
        "content": {"thought": "…", "next_action": "call_tool", "action_input": {…}},
        "message_id": "…",
        "name": "…",
        "tool_calls": [{"id": "1", "call_id": "1", "type": "function", "name": "search", "arguments": "{…}"}],
        "agent_calls": [{"agent_name": "…", "request": …}],
        "structured_data": {…},
        "images": ["https://…"],
        "tool_call_id": "…",
    }

LangChain's messages have no fields for agent calls, structured data, and images that are paths. They are stored in
`additional_kwargs` under the same names. So that a model and a search see them, `content` has JSON text of a mapping, of the
structured data or of the agent calls if the dictionary has no text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage, SystemMessage, ToolMessage

from langchain_agentmem.arguments.nesting import load_bounded_json
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidInputError
from langchain_agentmem.messages.blocks import as_json, blocks_of
from langchain_agentmem.messages.call_types import is_call
from langchain_agentmem.messages.forms import as_plain
from langchain_agentmem.messages.serializable import check_serializable

CONTENT_FORMAT = "content_format"
"""The key in `additional_kwargs` that says what `content` was: a mapping (`"json"`), or nothing (`"none"`)."""

_CALL_IDS = "tool_call_ids"
"""The key in `additional_kwargs` with the `id` of each call whose `call_id` differs, by `call_id`."""

_OPTIONAL = (
    "name",
    "tool_calls",
    "tool_call_id",
    "images",
    "agent_calls",
    "structured_data",
    "refusal",
    "audio",
    "function_call",
)
"""Keys whose value None means that there is none."""

_CONTENTS = ("tool_calls", "images", "agent_calls", "structured_data", "refusal", "audio", "function_call")
"""Keys of a message that needs no content."""

_ROLES: dict[type[BaseMessage], str] = {
    HumanMessage: "user",
    AIMessage: "assistant",
    SystemMessage: "system",
    ToolMessage: "tool",
}
_AS_ROLE_DICT = "be a role dictionary"
_DATA_URL = re.compile(r"data:(image/[\w.+-]+);base64,([A-Za-z0-9+/=_-]+)")


class RoleFields:
    """The fields of a message in a role dictionary, as langchain-core's conversion takes them.

    Args:
        where: The name of the dictionary, for errors.
        given: The dictionary.

    Raises:
        InvalidInputError: A value is malformed. The error has its path.
    """

    def __init__(self, where: str, given: Mapping[str, Any]) -> None:
        self._where = where
        self.invalid_tool_calls: list[dict[str, Any]] = []
        self.fields = {key: value for key, value in given.items() if value is not None or key not in _OPTIONAL}
        more: dict[str, Any] = {}
        if "message_id" in self.fields:
            message_id = self.fields.pop("message_id")
            self.fields.setdefault("id", message_id)
        if not _are_agent_calls(self.fields.get("agent_calls", [])):
            msg = (
                f"{where}.agent_calls must be a list of mappings with 'agent_name', got "
                f"{shown(self.fields['agent_calls'])}."
            )
            raise InvalidInputError(msg)
        if isinstance(self.fields.get("tool_calls"), (list, tuple)):
            self._take_calls(more)
        self._take_content(more)
        if "images" in self.fields:
            self._take_images(more)
        others = self.fields.get("additional_kwargs") or {}
        if more and isinstance(others, Mapping):
            self.fields["additional_kwargs"] = {**others, **more}

    def _take_calls(self, more: dict[str, Any]) -> None:
        calls, names = [], {}
        for at, call in enumerate(self.fields["tool_calls"]):
            where = f"{self._where}.tool_calls[{at}]"
            if not isinstance(call, Mapping):
                msg = f"{where} must be a mapping, got {type(call).__name__}: {shown(call)}."
                raise InvalidInputError(msg)
            function = call.get("function", call)
            if not isinstance(function, Mapping) or ("arguments" not in function and function is not call):
                msg = f"{where}.function must be a mapping with 'name' and 'arguments', got {shown(function)}."
                raise InvalidInputError(msg)
            if "arguments" not in function:  # LangChain's own form
                calls.append(dict(call))
                continue
            for key in ("call_id", "id"):
                if not isinstance(call.get(key), (str, type(None))):
                    msg = f"{where}.{key} must be a string, got {type(call[key]).__name__}: {shown(call[key])}."
                    raise InvalidInputError(msg)
            id_ = call.get("call_id") or call.get("id")
            if call.get("id") not in (None, id_):
                names[id_] = call["id"]
            named = {"name": function.get("name"), "id": id_}
            args = _args_of(function["arguments"])
            if args is None or not isinstance(named["name"], str):
                self.invalid_tool_calls.append(
                    {**named, "args": as_json(function["arguments"]), "error": None, "type": "invalid_tool_call"}
                )
            else:
                calls.append({**named, "args": args, "type": "tool_call"})
        self.fields["tool_calls"] = calls
        if names:
            more[_CALL_IDS] = names

    def _take_content(self, more: dict[str, Any]) -> None:
        content = self.fields.get("content")
        if isinstance(content, Mapping):
            more[CONTENT_FORMAT] = "json"
            self.fields["content"] = _dumped(content, f"{self._where}.content")
        elif content is None and any(key in self.fields for key in _CONTENTS):
            text = _text_of(self.fields, self._where)
            if text or "images" in self.fields:
                more[CONTENT_FORMAT] = "none"
            self.fields["content"] = text

    def _take_images(self, more: dict[str, Any]) -> None:
        images = self.fields.pop("images")
        if not _are_texts(images):
            msg = f"{self._where}.images must be a list of URLs and paths, got {shown(images)}."
            raise InvalidInputError(msg)
        if not images:
            return
        blocks = [_image_block(one) for one in images]
        if None in blocks:
            more["images"] = images
        content = self.fields.get("content")
        before = [{"type": "text", "text": content}] if isinstance(content, str) and content else content or []
        if not isinstance(before, list):
            return  # langchain-core refuses the content
        found = [block for block in blocks if block is not None]
        if found:
            self.fields["content"] = [*before, *found]


def role_dict_of(message: BaseMessage, where: str = "message") -> dict[str, Any] | None:
    """Return a message as a role dictionary; None for a message that deletes another one.

    Args:
        message: The message.
        where: Its name, for errors. Default: `"message"`.

    Raises:
        UnsupportedValueError: A value of the message is no JSON value, such as bytes in the arguments of a call.

    Example:
        >>> from langchain_core.messages import HumanMessage
        >>> from langchain_agentmem.messages.role_dicts import role_dict_of
        >>> role_dict_of(HumanMessage("Hello", id="1"))
        {'role': 'user', 'content': 'Hello', 'message_id': '1'}
    """
    plain = as_plain(message)
    if isinstance(plain, RemoveMessage):
        return None
    more = plain.additional_kwargs
    result: dict[str, Any] = {"role": _ROLES[type(plain)], "content": plain.content}
    if plain.id:
        result["message_id"] = plain.id
    if plain.name is not None:
        result["name"] = plain.name
    if isinstance(plain, ToolMessage):
        result["tool_call_id"] = plain.tool_call_id
    if isinstance(plain, AIMessage):
        check_serializable({"tool_calls": plain.tool_calls}, where, _AS_ROLE_DICT)
        calls = _calls_of(plain)
        if calls or any(map(is_call, blocks_of(plain))):  # an empty list: calls in the content are blocks only
            result["tool_calls"] = calls
    if more.get("structured_data") is not None:
        result["structured_data"] = more["structured_data"]
    if _are_agent_calls(more.get("agent_calls")):
        result["agent_calls"] = more["agent_calls"]
    check_serializable(result, where, _AS_ROLE_DICT)
    _give_images(result, more.get("images"))
    _give_content(result, more.get(CONTENT_FORMAT))
    return result


def _give_images(result: dict[str, Any], paths: Any) -> None:
    """Move images from the content, at whose end they are, to a list of their own."""
    content = result["content"]
    images: list[str] = []
    if isinstance(content, list):
        rest = list(content)
        while rest and (url := _url_of(rest[-1])) is not None:
            images.insert(0, url)
            rest.pop()
        if images and (not rest or (len(rest) == 1 and _is_plain_text(rest[0]))):
            result["content"] = rest[0]["text"] if rest else None
        else:
            images = []
    if _are_texts(paths) and [one for one in paths if _image_block(one) is not None] == images:
        images = paths
    if images:
        result["images"] = images


def _give_content(result: dict[str, Any], format_: Any) -> None:
    """Undo what `RoleFields` made of a content that is no text."""
    content = result["content"]
    if format_ == "json" and isinstance(content, str):
        try:
            value = load_bounded_json(content)
        except ValueError:
            return
        if isinstance(value, dict) and json.dumps(value, ensure_ascii=False) == content:
            result["content"] = value
    elif format_ == "none" and (content or "") == _text_of(result, "message"):
        result["content"] = None


def _calls_of(message: AIMessage) -> list[dict[str, Any]]:
    ids = message.additional_kwargs.get(_CALL_IDS)
    named: Mapping[Any, Any] = ids if isinstance(ids, Mapping) else {}
    return [
        {
            "id": named.get(call["id"], call["id"]),
            "call_id": call["id"],
            "type": "function",
            "name": call["name"],
            "arguments": call["args"] if isinstance(call["args"], str) else as_json(call["args"] or {}),
        }
        for call in (*message.tool_calls, *message.invalid_tool_calls)
    ]


def _args_of(arguments: Any) -> dict[str, Any] | None:
    """Return the arguments of a call; None if they are no JSON object."""
    if isinstance(arguments, str):
        try:
            arguments = load_bounded_json(arguments, strict=False)
        except ValueError:
            return None
    return dict(arguments) if isinstance(arguments, Mapping) else None


def _are_texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(one, str) for one in values)


def _are_agent_calls(values: Any) -> bool:
    return isinstance(values, list) and all(
        isinstance(one, Mapping) and isinstance(one.get("agent_name"), str) for one in values
    )


def _text_of(fields: Mapping[str, Any], where: str) -> str:
    """Return the text of a message without content: its structured data or its agent calls as JSON."""
    if fields.get("structured_data") is not None:
        return _dumped(fields["structured_data"], f"{where}.structured_data")
    if fields.get("agent_calls") and not fields.get("tool_calls"):
        return _dumped({"agent_calls": fields["agent_calls"]}, f"{where}.agent_calls")
    return ""


def _dumped(value: Any, where: str) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        msg = f"{where} must consist of JSON values, got {shown(value)}."
        raise InvalidInputError(msg) from error


def _image_block(image: str) -> dict[str, Any] | None:
    """Return the content block of an image; None for a path, because a model cannot read it."""
    data = _DATA_URL.fullmatch(image)
    if data is not None:
        return {"type": "image", "base64": data[2], "mime_type": data[1]}
    return {"type": "image", "url": image} if image.startswith(("https://", "http://")) else None


def _url_of(block: Any) -> str | None:
    """Return the URL of an image; None for a block that `_image_block` does not return."""
    if not isinstance(block, dict) or block.get("type") != "image":
        return None
    url = block.get("url") if "url" in block else f"data:{block.get('mime_type')};base64,{block.get('base64')}"
    return url if isinstance(url, str) and _image_block(url) == block else None


def _is_plain_text(block: Any) -> bool:
    return isinstance(block, dict) and block.keys() == {"type", "text"} and bool(block["text"])


def role_dicts_of(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """Return messages as role dictionaries."""
    found = (role_dict_of(message, f"messages[{at}]") for at, message in enumerate(messages))
    return [one for one in found if one is not None]
