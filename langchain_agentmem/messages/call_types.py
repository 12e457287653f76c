"""Types of calls and results: one table for the content blocks of all providers.

The types are those of the clients' packages: `langchain_openai` (`_construct_responses_api_input`) and
`openai.types.responses`, `langchain_anthropic` (`_format_messages`), `langchain_google_genai` (`_convert_to_parts`),
`langchain_aws` (`_lc_content_to_bedrock`), and langchain-core's standard blocks. `tests/unit/test_call_types.py` compares the
table with the installed packages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from langchain_agentmem.arguments.nesting import load_bounded_json

FUNCTION = "function"
"""The kind of a call of the application's function: an entry of `tool_calls`, or one of its forms as a block."""

CALLS: dict[str, str] = {
    "tool_use": FUNCTION,
    "tool_call": FUNCTION,
    "function_call": FUNCTION,
    "invalid_tool_call": FUNCTION,
    "custom_tool_call": FUNCTION,
    "computer_call": "computer_call",
    "local_shell_call": "local_shell_call",
    "shell_call": "shell_call",
    "apply_patch_call": "apply_patch_call",
    "mcp_approval_request": "mcp_approval_request",
}
"""The types of blocks that the application answers, and the kind of each."""

RESULTS: dict[str, str] = {
    "tool_result": FUNCTION,
    "function_call_output": FUNCTION,
    "custom_tool_call_output": FUNCTION,
    "computer_call_output": "computer_call",
    "local_shell_call_output": "local_shell_call",
    "shell_call_output": "shell_call",
    "apply_patch_call_output": "apply_patch_call",
    "mcp_approval_response": "mcp_approval_request",
}
"""The types of blocks that answer a call, and the kind of the call."""

SERVER_CALLS = {"server_tool_use", "mcp_tool_use", "server_tool_call", "executable_code", "tool_search_call"}
"""The types of blocks with calls that the provider answers itself. A paused answer has the result in the next message."""

_SERVER_RESULTS = {"server_tool_result", "code_execution_result", "tool_search_output"}
_SERVER_RESULT = "_tool_result"
"""The end of the types of Anthropic's results, such as `web_search_tool_result`."""

THOUGHTS = {"thinking", "redacted_thinking", "reasoning", "reasoning_content"}
"""The types of blocks that contain a model's reasoning. Providers accept them unchanged or not at all."""

SERVER_ITEMS = {
    "web_search_call", "file_search_call", "code_interpreter_call", "mcp_call", "mcp_list_tools", "image_generation_call",
}  # fmt: skip
"""The types of blocks that contain a call of a provider's own tool and its result."""

_ID_FIELDS = ("call_id", "id")
_RESULT_ID_FIELDS = ("tool_use_id", "tool_call_id", "call_id", "approval_request_id")


def opened(block: Any) -> Any:
    """Return the block inside a `non_standard` block, which langchain-core wraps around a provider's own; else the block."""
    if isinstance(block, dict) and block.get("type") == "non_standard" and isinstance(block.get("value"), dict):
        return block["value"]
    return block


def kind_of(block: Any) -> Any:
    """Return the type of a block; None for a text."""
    block = opened(block)
    kind = block.get("type") if isinstance(block, dict) else None
    return kind if isinstance(kind, str) else None


def is_call(block: Any) -> TypeGuard[dict[str, Any]]:
    """Return true if a content block is a call that the application answers."""
    return kind_of(block) in CALLS


def is_result(block: Any) -> bool:
    """Return true if a content block answers a call of the application's tools, an approval or a patch."""
    return kind_of(block) in RESULTS


def is_server_call(block: Any) -> bool:
    """Return true if a content block is a call that the provider answers."""
    return kind_of(block) in SERVER_CALLS


def is_server_result(block: Any) -> bool:
    """Return true if a content block is the provider's answer to its own call."""
    kind = kind_of(block)
    return kind is not None and (kind in _SERVER_RESULTS or kind.endswith(_SERVER_RESULT))


def id_of_call(block: Any) -> Any:
    """Return the ID by which a result refers to a call; an empty string if it has none."""
    return _first(opened(block), _ID_FIELDS)


def id_of_result(block: Any) -> Any:
    """Return the ID of the call that a result answers; an empty string if it has none."""
    return _first(opened(block), _RESULT_ID_FIELDS)


def name_of_call(block: Mapping[str, Any]) -> Any:
    """Return the name of the tool that a block calls: the type of the block if it states none."""
    block = opened(block)
    return block.get("name") or block.get("type")


def args_of(block: Mapping[str, Any]) -> Any:
    """Return the arguments of a call: a dict, or a text such as JSON."""
    block = opened(block)
    return next((block[name] for name in ("input", "args", "arguments", "action", "operation") if name in block), {})


def renamed(block: dict[str, Any], new: str) -> dict[str, Any]:
    """Return a copy of a call or a result with another ID of the call."""
    inner = opened(block)
    fields = _RESULT_ID_FIELDS if kind_of(block) in RESULTS else _ID_FIELDS
    field = next((name for name in fields if inner.get(name)), fields[-1] if "input" in inner else fields[0])
    changed = {**inner, field: new}
    return {**block, "value": changed} if inner is not block else changed


def _first(block: Mapping[str, Any], fields: tuple[str, ...]) -> Any:
    return next((block[name] for name in fields if block.get(name)), "")


def dict_of_json(args: Any) -> dict[str, Any] | None:
    """Return the arguments of a call, a dict or JSON text, as a dict; None if they are neither."""
    if isinstance(args, str) and args.strip():
        try:
            args = load_bounded_json(args)
        except ValueError:
            return None
    return dict(args) if isinstance(args, Mapping) else {} if not args else None
