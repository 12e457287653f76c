"""Rules of model providers: each function returns the problems of a request, an empty list if the provider accepts it.

Each provider's own client package converts the messages; what it raises is a problem. The rules on the converted request are
the documented ones of the provider's API:

* OpenAI, chat completions: https://platform.openai.com/docs/api-reference/chat/create
* OpenAI, responses: https://platform.openai.com/docs/api-reference/responses/create
* Anthropic: https://platform.claude.com/docs/en/api/messages
* Gemini: https://ai.google.dev/gemini-api/docs/function-calling
* Bedrock: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_anthropic.chat_models import _format_messages
from langchain_aws.chat_models.bedrock_converse import _messages_to_bedrock
from langchain_core.messages import BaseMessage
from langchain_google_genai.chat_models import _parse_chat_history
from langchain_openai.chat_models.base import _construct_responses_api_input, _convert_message_to_dict

RESPONSES_CALLS = {
    "function_call": "function_call_output",
    "custom_tool_call": "custom_tool_call_output",
    "computer_call": "computer_call_output",
    "local_shell_call": "local_shell_call_output",
    "shell_call": "shell_call_output",
    "apply_patch_call": "apply_patch_call_output",
    "mcp_approval_request": "mcp_approval_response",
}
"""Items of the Responses API that must be answered, and what answers them."""


def _converted(convert: Callable[[list[BaseMessage]], Any], messages: Sequence[BaseMessage]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return convert([copy.deepcopy(message) for message in messages])


def _called(function: Callable[..., Any], messages: list[BaseMessage], **options: Any) -> Any:
    """Call a converter with those options that its version has."""
    known = inspect.signature(function).parameters
    return function(messages, **{name: value for name, value in options.items() if name in known})


def openai(messages: Sequence[BaseMessage], *, open_end: bool = False) -> list[str]:
    """Problems of a request to OpenAI's chat completions; `open_end` allows an open call at the very end."""
    try:
        sent = _converted(lambda given: [_convert_message_to_dict(message) for message in given], messages)
    except Exception as error:
        return [f"conversion: {error!r}"]
    return openai_problems(sent, open_end=open_end)


def openai_problems(sent: Sequence[Mapping[str, Any]], *, open_end: bool = False) -> list[str]:
    """Problems of the `messages` of a request to OpenAI's chat completions."""
    problems: list[str] = []
    waiting: list[str] = []
    for at, one in enumerate(sent):
        if one["role"] == "tool":
            if one["tool_call_id"] in waiting:
                waiting.remove(one["tool_call_id"])
            else:
                problems.append(f"{at}: a tool result without its call ({one['tool_call_id']!r})")
            continue
        if waiting:
            problems.append(f"{at}: no result for {waiting}")
        waiting = [call["id"] for call in one.get("tool_calls") or ()]
        if len(set(waiting)) < len(waiting) or not all(waiting):
            problems.append(f"{at}: calls with equal or empty IDs {waiting}")
        if one["content"] in (None, []) and not waiting:
            problems.append(f"{at}: no content")
    if waiting and not open_end:
        problems.append(f"the end: no result for {waiting}")
    return problems


def responses(messages: Sequence[BaseMessage], *, open_end: bool = False) -> list[str]:
    """Problems of a request to OpenAI's Responses API."""
    try:
        sent = _converted(_construct_responses_api_input, messages)
    except Exception as error:
        return [f"conversion: {error!r}"]
    problems: list[str] = []
    calls: dict[tuple[str, str], int] = {}
    for at, one in enumerate(sent):
        kind = one.get("type", "message")
        id_ = one.get("call_id") or one.get("approval_request_id") or one.get("id") or ""
        if kind in RESPONSES_CALLS:
            if (RESPONSES_CALLS[kind], id_) in calls:
                problems.append(f"{at}: two calls {kind} {id_!r}")
            calls[RESPONSES_CALLS[kind], id_] = at
        elif kind in RESPONSES_CALLS.values() and calls.pop((kind, id_), None) is None:
            problems.append(f"{at}: {kind} {id_!r} without its call")
        if kind == "reasoning" and (at + 1 == len(sent) or sent[at + 1].get("role") in ("user", "system")):
            problems.append(f"{at}: reasoning without the item that follows it")
    late = [] if open_end else list(calls)
    if open_end:
        last = max((at for at, one in enumerate(sent) if one.get("role") in ("user", "system")), default=-1)
        late = [call for call, at in calls.items() if at < last]
    return problems + [f"no {kind} for {id_!r}" for kind, id_ in late]


def anthropic(messages: Sequence[BaseMessage], *, open_end: bool = False) -> list[str]:
    """Problems of a request to Anthropic's API."""
    try:
        _, sent = _converted(lambda given: _called(_format_messages, given, model="claude-sonnet-4-5"), messages)
    except Exception as error:
        return [f"conversion: {error!r}"]
    return anthropic_problems(sent, open_end=open_end)


def anthropic_problems(sent: Sequence[Mapping[str, Any]], *, open_end: bool = False) -> list[str]:
    """Problems of the `messages` of a request to Anthropic's API."""
    problems = [] if not sent or sent[0]["role"] == "user" else ["the first message is not the user's"]
    waiting: list[str] = []
    for at, one in enumerate(sent):
        blocks = [{"type": "text", "text": one["content"]}] if isinstance(one["content"], str) else one["content"]
        if not blocks or any(block["type"] == "text" and not block["text"].strip() for block in blocks):
            problems.append(f"{at}: empty content")
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        if sorted(results) != sorted(waiting):
            problems.append(f"{at}: results {results} for calls {waiting}")
        kinds = [block["type"] == "tool_result" for block in blocks]
        if kinds != sorted(kinds, reverse=True):
            problems.append(f"{at}: tool results come after other content")
        waiting = [block["id"] for block in blocks if block["type"] == "tool_use"]
        if len(set(waiting)) < len(waiting) or not all(waiting):
            problems.append(f"{at}: calls with equal or empty IDs {waiting}")
        server = {block["id"] for block in blocks if block["type"] == "server_tool_use"}
        answered = {block["tool_use_id"] for block in blocks if block["type"].endswith("_tool_result")}
        if answered - server:
            problems.append(f"{at}: results {answered - server} of server tools without their calls")
    if waiting and not open_end:
        problems.append(f"the end: no result for {waiting}")
    return problems


def gemini(messages: Sequence[BaseMessage], *, open_end: bool = False) -> list[str]:
    """Problems of a request to Gemini."""
    try:
        _, sent = _converted(lambda given: _called(_parse_chat_history, given, model="gemini-2.5-flash"), messages)
    except Exception as error:
        return [f"conversion: {error!r}"]
    problems = [] if not sent or sent[0].role == "user" else ["the first content is not the user's"]
    waiting = 0
    before = None
    for at, one in enumerate(sent):
        if not one.parts:
            problems.append(f"{at}: no parts")
            continue
        calls = sum(part.function_call is not None for part in one.parts)
        results = sum(part.function_response is not None for part in one.parts)
        if results != waiting:
            problems.append(f"{at}: {results} function responses for {waiting} calls")
        if calls and before != "user":
            problems.append(f"{at}: a function call does not come right after the user or a function response")
        waiting, before = calls, one.role
    if waiting and not open_end:
        problems.append("the end: a function call without its response")
    return problems


def bedrock(messages: Sequence[BaseMessage], *, open_end: bool = False) -> list[str]:
    """Problems of a request to Bedrock's Converse API."""
    try:
        sent, _ = _converted(lambda given: _called(_messages_to_bedrock, given, provider="anthropic"), messages)
    except Exception as error:
        return [f"conversion: {error!r}"]
    problems = [] if not sent or sent[0]["role"] == "user" else ["the first message is not the user's"]
    waiting: list[str] = []
    for at, one in enumerate(sent):
        if at and sent[at - 1]["role"] == one["role"]:
            problems.append(f"{at}: two messages of the role {one['role']}")
        if not one["content"] or any("text" in block and not block["text"].strip() for block in one["content"]):
            problems.append(f"{at}: empty content")
        results = [block["toolResult"]["toolUseId"] for block in one["content"] if "toolResult" in block]
        if sorted(results) != sorted(waiting):
            problems.append(f"{at}: results {results} for calls {waiting}")
        waiting = [block["toolUse"]["toolUseId"] for block in one["content"] if "toolUse" in block]
        if len(set(waiting)) < len(waiting) or not all(waiting):
            problems.append(f"{at}: calls with equal or empty IDs {waiting}")
    if waiting and not open_end:
        problems.append(f"the end: no result for {waiting}")
    return problems


PROVIDERS = {
    "openai": openai,
    "responses": responses,
    "anthropic": anthropic,
    "gemini": gemini,
    "bedrock": bedrock,
}
"""The function of each provider."""
