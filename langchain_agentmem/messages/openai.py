"""Messages as a request to OpenAI's chat completions."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any, Literal

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage, convert_to_openai_messages

from langchain_agentmem.arguments.values import reason_of, shown
from langchain_agentmem.errors import UnsupportedValueError
from langchain_agentmem.messages.blocks import as_json, calls_of
from langchain_agentmem.messages.call_types import (
    CALLS,
    FUNCTION,
    RESULTS,
    SERVER_ITEMS,
    THOUGHTS,
    id_of_result,
    is_call,
    is_result,
    is_server_call,
    is_server_result,
    kind_of,
    opened,
)
from langchain_agentmem.messages.content import is_said
from langchain_agentmem.messages.serializable import check_serializable

_NO_NAME = re.compile(r"[\s<|\\/>]+")
"""Characters that OpenAI refuses in a name."""
_MAX_NAME = 64

_TEXTS = ("text", "refusal")
"""The types of content blocks that OpenAI accepts in messages that are not the user's."""


def openai_request(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """Return messages as the `messages` of a request to OpenAI's chat completions.

    Args:
        messages: The messages, as a window returns them.

    Raises:
        UnsupportedValueError: OpenAI has no form for a content block, such as the URL of a document, or a value is no JSON.

    Example:
        >>> from langchain_core.messages import AIMessage, HumanMessage
        >>> from langchain_agentmem.messages.openai import openai_request
        >>> openai_request([HumanMessage("Hi"), AIMessage("Hello")])
        [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Hello'}]
    """
    return [
        found
        for at, message in enumerate(messages)
        for part in _parts(message)
        if (found := _converted(part, at)) is not None
    ]


def _parts(message: BaseMessage) -> list[BaseMessage]:
    """Return a user's message with results of tools in its content as one message for each result, and one for the rest."""
    content = message.content
    if not isinstance(message, HumanMessage) or isinstance(content, str) or not any(map(is_result, content)):
        return [message]
    results: list[BaseMessage] = [
        ToolMessage(result.get("content") or result.get("output") or "", tool_call_id=str(id_of_result(block)))
        for block in content
        if is_result(block) and (result := opened(block)) and RESULTS[str(kind_of(block))] == FUNCTION
    ]
    rest = [block for block in content if not is_result(block)]
    return [*results, message.model_copy(update={"content": rest})] if rest else results


def _converted(message: BaseMessage, at: int) -> dict[str, Any] | None:
    """Return a message as a dictionary; None if nothing of it can be sent."""
    content: Any = message.content
    if isinstance(content, list):
        _check_calls(content, at)
        content = [block for block in content if not _is_left_out(block)]
        content = content if isinstance(message, HumanMessage) else [_text_block(block) for block in content]
    form: Literal["string", "block"] = "string" if isinstance(content, str) else "block"
    result: dict[str, Any]
    bare = message.model_copy(update={"content": content})
    if isinstance(bare, AIMessage):
        bare.tool_calls = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a file without a name gets one
            (result,) = convert_to_openai_messages([bare], text_format=form, pass_through_unknown_blocks=False)
    except (ValueError, TypeError, LookupError) as error:
        msg = f"messages[{at}] cannot be sent to OpenAI: {shown(message.content)}. Cause: {reason_of(error)}."
        raise UnsupportedValueError(msg) from error
    name = result.pop("name", None)
    if name and not isinstance(message, ToolMessage):
        result = {"role": result.pop("role"), "name": _NO_NAME.sub("_", name)[:_MAX_NAME], **result}
    if isinstance(message, AIMessage):
        _complete(result, message, at)
        if not is_said(result["content"] or "") and not result.keys() & {"tool_calls", "refusal", "audio"}:
            return None
    check_serializable(result, f"messages[{at}]", "be sent to OpenAI")
    return result


def _complete(result: dict[str, Any], message: AIMessage, at: int) -> None:
    """Add the calls of an answer, and the recording that it refers to."""
    check_serializable({"tool_calls": calls_of(message)}, f"messages[{at}]", "be sent to OpenAI")
    calls = [
        {
            "type": "function",
            "id": call["id"],
            "function": {"name": call["name"], "arguments": as_json(call["args"] or {})},
        }
        for call in calls_of(message)
    ]
    if calls:
        result["tool_calls"] = calls
        result["content"] = result["content"] or None
    audio = message.additional_kwargs.get("audio")
    if isinstance(audio, dict) and "id" in audio:
        result["audio"] = {"id": audio["id"]}


def _check_calls(content: Sequence[Any], at: int) -> None:
    """Refuse calls and results that only other APIs have, such as those of a computer's screen."""
    for number, block in enumerate(content):
        kind = str(kind_of(block))
        if {**CALLS, **RESULTS}.get(kind, FUNCTION) != FUNCTION:
            msg = (
                f"messages[{at}].content[{number}] cannot be sent to OpenAI's chat completions: they have no {kind!r}. Use "
                f"history.messages with the API that gave it."
            )
            raise UnsupportedValueError(msg)


def _is_left_out(block: Any) -> bool:
    """Return true for reasoning, and for calls, which are in `tool_calls` or are not those of the application."""
    kind = kind_of(block)
    return (
        kind in THOUGHTS or kind in SERVER_ITEMS or is_call(block) or is_server_call(block) or is_server_result(block)
    )


def _text_block(block: Any) -> Any:
    """Return a block as OpenAI accepts it outside of the user's messages: a text, or a mark in its place."""
    kind = kind_of(block)
    if isinstance(block, str) or kind in _TEXTS:
        return block
    return {"type": "text", "text": f"[{kind or 'content'}]"}
