"""Messages as a request to Anthropic's API."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, SystemMessage, ToolMessage

from langchain_agentmem.arguments.values import reason_of, shown
from langchain_agentmem.errors import UnsupportedValueError
from langchain_agentmem.messages.blocks import calls_of
from langchain_agentmem.messages.call_types import (
    CALLS,
    FUNCTION,
    SERVER_ITEMS,
    THOUGHTS,
    dict_of_json,
    id_of_call,
    is_call,
    is_server_call,
    is_server_result,
    kind_of,
    opened,
)
from langchain_agentmem.messages.openings import OPENING
from langchain_agentmem.messages.serializable import check_serializable

_ID = re.compile(r"[a-zA-Z0-9_-]+")
_DATA_URL = re.compile(r"data:([^;,]+);base64,(.+)", re.DOTALL)
_NATIVE = ("document", "search_result", "container_upload", "compaction")
"""The types of Anthropic's own blocks that are sent unchanged, apart from LangChain's fields in them."""
_SERVER_CALLS = ("server_tool_use", "mcp_tool_use")
_LANGCHAINS = ("index", "extras", "partial_json")
"""Fields of blocks that LangChain adds, and the API refuses."""
_ABOUT_FILES = ("cache_control", "citations", "title", "context")


def anthropic_request(messages: Sequence[BaseMessage]) -> dict[str, Any]:
    """Return messages as `system` and `messages` of a request to Anthropic's API.

    Without a system message, there is no `system`. Before an answer at the beginning, there is an opening of the user.

    Args:
        messages: The messages, as a window returns them.

    Raises:
        UnsupportedValueError: Anthropic has no form for a content block, such as a recording, or a value is no JSON.

    Example:
        >>> from langchain_core.messages import HumanMessage, SystemMessage
        >>> from langchain_agentmem.messages.anthropic import anthropic_request
        >>> anthropic_request([SystemMessage("Be brief."), HumanMessage("Hi")])
        {'system': 'Be brief.', 'messages': [{'role': 'user', 'content': 'Hi'}]}
    """
    systems: list[Any] = []
    sent: list[dict[str, Any]] = []
    for at, message in enumerate(messages):
        content = _content_of(message, f"messages[{at}]")
        if isinstance(message, SystemMessage):
            systems.append(content)
        elif content:
            role = "assistant" if isinstance(message, AIMessage) else "user"
            if _is_result_of_same_answer(content, sent):
                sent[-1] = {"role": role, "content": [*sent[-1]["content"], *content]}
            else:
                sent.append({"role": role, "content": content})
    if sent and sent[0]["role"] == "assistant":
        sent.insert(0, {"role": "user", "content": OPENING})
    if sent and sent[-1]["role"] == "assistant":
        sent[-1]["content"] = _stripped(sent[-1]["content"])
    if not systems:
        return {"messages": sent}
    return {"system": systems[0] if len(systems) == 1 else _joined(systems), "messages": sent}


def _content_of(message: BaseMessage, where: str) -> Any:
    try:
        content = _Blocks(message, where).content()
    except UnsupportedValueError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        msg = f"{where} cannot be sent to Anthropic: {shown(message.content)}. Cause: {reason_of(error)}."
        raise UnsupportedValueError(msg) from error
    check_serializable({"content": content}, where, "be sent to Anthropic")
    return content


class _Blocks:
    """The content of one message in Anthropic's form.

    Args:
        message: The message.
        where: Its name, for errors.
    """

    def __init__(self, message: BaseMessage, where: str) -> None:
        self._message = message
        self._where = where
        self._is_anthropics = message.response_metadata.get("model_provider") == "anthropic"
        self._calls = {
            id_: {"type": "tool_use", "id": _id(id_), "name": call["name"], "input": dict_of_json(call["args"]) or {}}
            for call in calls_of(message)
            if (id_ := call["id"] or "")
        }
        """The calls that the blocks so far do not contain, by ID."""

    def content(self) -> Any:
        """Return the content: a text or blocks."""
        message = self._message
        if isinstance(message, ToolMessage):
            return [self._result(message)]
        if isinstance(message.content, str):
            if not self._calls:
                return message.content
            text = [{"type": "text", "text": message.content}] if message.content.strip() else []
            return [*text, *self._calls.values()]
        blocks = [*self._all(message.content, self._where), *self._calls.values()]
        if isinstance(message, SystemMessage) and any(block["type"] != "text" for block in blocks):
            msg = f"{self._where} cannot be sent to Anthropic: a system message has text only, got {shown(message.content)}."
            raise UnsupportedValueError(msg)
        return blocks

    def _result(self, message: ToolMessage) -> dict[str, Any]:
        result: dict[str, Any] = {
            "type": "tool_result",
            "tool_use_id": _id(message.tool_call_id),
            "content": message.content,
            "is_error": message.status == "error",
        }
        if isinstance(message.content, list):
            blocks = list(self._all(message.content, self._where))
            marks = [block.pop("cache_control") for block in blocks if "cache_control" in block]
            result["content"] = blocks or ""
            if marks:  # the API accepts it beside the result only
                result["cache_control"] = marks[-1]
        return result

    def _all(self, content: Sequence[Any], where: str) -> Iterator[dict[str, Any]]:
        for at, block in enumerate(content):
            found = self._block(block, f"{where}.content[{at}]")
            if found:
                yield found

    def _block(self, given: Any, where: str) -> dict[str, Any] | None:
        """Return a block in Anthropic's form; None for one that is not sent."""
        given = {"type": "text", "text": given} if isinstance(given, str) else given
        block, kind = opened(given), str(kind_of(given))
        if kind in ("text", "refusal"):
            return _text(block, where)
        if kind in THOUGHTS:
            return _thinking(block, kind)
        if is_call(given):
            return self._call(given, kind, where)
        if kind == "tool_result":
            return self._nested(block, where)
        if kind in SERVER_ITEMS or is_server_call(given) or is_server_result(given):
            return self._of_server(block, kind)
        return _file(block, kind, where)

    def _call(self, block: Any, kind: str, where: str) -> dict[str, Any] | None:
        if CALLS[kind] != FUNCTION:
            raise _unsupported(where, kind)
        return self._calls.pop(id_of_call(block), None)

    def _of_server(self, block: Mapping[str, Any], kind: str) -> dict[str, Any] | None:
        """Return a call of Anthropic's own tools, or its result; None for those of other providers."""
        if kind == "server_tool_call" and self._is_anthropics:
            return {"type": "server_tool_use", **_only(block, "id", "name"), "input": block.get("args", {})}
        if kind == "server_tool_result" and self._is_anthropics:
            own = block.get("extras", {}).get("block_type", kind)
            return {"type": own, "tool_use_id": block.get("tool_call_id"), "content": block.get("output")}
        return (
            _bare(block) if kind in _SERVER_CALLS or (kind.endswith("_tool_result") and kind[:6] != "server") else None
        )

    def _nested(self, block: Mapping[str, Any], where: str) -> dict[str, Any]:
        content = block.get("content") or ""
        sent = {"is_error": False, **block, "tool_use_id": _id(block.get("tool_use_id"))}
        return {**sent, "content": content if isinstance(content, str) else list(self._all(content, where))}


def _text(block: Mapping[str, Any], where: str) -> dict[str, Any] | None:
    text = block.get("text") or block.get("refusal") or ""
    if not isinstance(text, str):
        msg = f"{where} cannot be sent to Anthropic: its text must be a string, got {shown(text)}. Replace the message."
        raise UnsupportedValueError(msg)
    more = _only(block, "cache_control", "citations") if block.get("citations") else _only(block, "cache_control")
    return {"type": "text", "text": text, **more} if text.strip() else None


def _bare(block: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in block.items() if key not in _LANGCHAINS}


def _thinking(block: Mapping[str, Any], kind: str) -> dict[str, Any] | None:
    """Return a model's reasoning if Anthropic signed it; None for that of other providers, which the API refuses."""
    if kind == "redacted_thinking":
        return _only(block, "type", "data", "cache_control")
    signature = block.get("signature") or block.get("extras", {}).get("signature")
    if not signature or kind == "reasoning_content":
        return None
    return {"type": "thinking", "thinking": block.get("thinking", block.get("reasoning", "")), "signature": signature}


def _file(block: Mapping[str, Any], kind: str, where: str) -> dict[str, Any]:
    """Return the block of an image or a document, in the form of OpenAI or of LangChain."""
    if kind in _NATIVE or "source" in block:
        return _bare(block)
    inner = block.get("image_url") if kind == "image_url" else block.get("file", block)
    inner = {"url": inner} if isinstance(inner, str) else inner
    if kind not in ("image_url", "image", "file", "text-plain") or not isinstance(inner, Mapping):
        raise _unsupported(where, kind)
    is_image = kind in ("image_url", "image")
    url = str(inner.get("url") or inner.get("file_data") or "")
    data = _DATA_URL.fullmatch(url)
    source: dict[str, Any]
    if data is not None:
        source = {"type": "base64", "media_type": data[1], "data": data[2]}
    elif url.startswith(("https://", "http://")):
        source = {"type": "url", "url": url}
    elif inner.get("base64") or (inner.get("source_type") == "base64" and inner.get("data")):
        kind_of_data = inner.get("mime_type") or ("image/png" if is_image else "application/pdf")
        source = {"type": "base64", "media_type": kind_of_data, "data": inner.get("base64") or inner["data"]}
    elif isinstance(inner.get("text"), str):
        source = {"type": "text", "media_type": inner.get("mime_type") or "text/plain", "data": inner["text"]}
    elif inner.get("file_id") and inner is block:
        source = {"type": "file", "file_id": inner["file_id"]}
    else:
        raise _unsupported(where, kind)
    about = {**block.get("extras", {}), **block}
    return {"type": "image" if is_image else "document", "source": source, **_only(about, *_ABOUT_FILES)}


def _unsupported(where: str, kind: str) -> UnsupportedValueError:
    msg = (
        f"{where} cannot be sent to Anthropic: the API has no form for this block of type {kind!r}. Replace the message, or "
        f"use history.messages with the API that gave it."
    )
    return UnsupportedValueError(msg)


def _only(block: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: block[name] for name in names if name in block}


def _id(given: Any) -> str:
    """Return the ID of a call. One that Anthropic refuses is replaced, in the call and in its result alike."""
    id_ = str(given or "")
    if not id_ or _ID.fullmatch(id_):
        return id_
    return f"toolu_{hashlib.sha256(id_.encode()).hexdigest()[:24]}"


def _is_result_of_same_answer(content: Any, sent: Sequence[Mapping[str, Any]]) -> bool:
    """Return true if results belong into the message before them: the API wants all results of an answer in one message."""
    if not sent or sent[-1]["role"] != "user" or isinstance(content, str) or content[0]["type"] != "tool_result":
        return False
    before = sent[-1]["content"]
    return isinstance(before, list) and before[-1]["type"] == "tool_result"


def _stripped(content: Any) -> Any:
    """Return the content of a final answer without blanks at its end, which the API refuses."""
    if isinstance(content, str):
        return content.rstrip()
    last = content[-1]
    return [*content[:-1], {**last, "text": last["text"].rstrip()}] if last["type"] == "text" else content


def _joined(systems: Sequence[Any]) -> list[dict[str, Any]]:
    return [
        block
        for content in systems
        for block in ([{"type": "text", "text": content}] if isinstance(content, str) else content)
    ]
