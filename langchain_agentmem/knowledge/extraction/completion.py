"""How a model's answer ended: completely, cut off, refused, or with a fault of the provider.

Each provider names the reason differently: `finish_reason`, `stopReason`, `done_reason` and so on, in one of the message's
dicts. Unknown reasons are those of a complete answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk

from langchain_agentmem.knowledge.extraction.loose_json import LooseJSONError, decoded
from langchain_agentmem.knowledge.extraction.proposals import RefusedError, UnusableAnswerError

_KEYS = frozenset(
    ("finishreason", "stopreason", "donereason", "completionreason", "nativefinishreason", "stoptype", "blockreason")
)
_MAX_DEPTH = 4
_STATES = frozenset(("incomplete", "in_progress", "failed", "cancelled", "queued"))
_REFUSED = re.compile(
    r"filter|safety|refus|recitation|blocklist|prohibited|spii|guardrail|toxic|sensitive|moderation|blocked|policy"
)
_CUT_OFF = re.compile(
    r"length|max|limit|incomplete|truncat|exceed|not_finished|budget|in_progress|queued|interrupt|partial|pause|max_len"
)
_FAILED = re.compile(r"error|malformed|cancel|abort|fail|unexpected|insufficient|time_?out|disconnect|missing|too_many")

CUT_OFF = "The answer was cut off because it was too long. Propose fewer changes, in shorter words."


def check_complete(message: AIMessage) -> None:
    """Check that a model finished its answer.

    Args:
        message: The answer.

    Raises:
        RefusedError: The model, or a filter of its provider, refused to answer.
        UnusableAnswerError: The answer was cut off, or the provider reports a fault.
    """
    refusal = message.additional_kwargs.get("refusal")
    if refusal:
        msg = f"The model refused: {refusal!s:.300}"
        raise RefusedError(msg)
    reasons = list(_reasons(message))
    for one in reasons:
        if _REFUSED.search(one):
            msg = f"The model, or a filter of its provider, refused: {one:.60}."
            raise RefusedError(msg)
    if any(_CUT_OFF.search(one) for one in reasons) or _is_closed_stream(message):
        raise UnusableAnswerError(CUT_OFF)
    for one in reasons:
        if _FAILED.search(one):
            msg = f"The model did not finish its answer: {one:.60}."
            raise UnusableAnswerError(msg)


def _reasons(message: AIMessage) -> Iterator[str]:
    yield from _reasons_in(message.response_metadata, 0)
    yield from _reasons_in(message.additional_kwargs, _MAX_DEPTH)
    for block in message.content:
        if isinstance(block, dict) and block.get("status") in _STATES:
            yield str(block["status"])


def _reasons_in(value: Any, depth: int) -> Iterator[str]:
    """Yield the reasons in a dict, and in the dicts and lists within it, in one spelling."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, list):
        for one in value:
            yield from _reasons_in(one, depth + 1)
    if not isinstance(value, Mapping):
        return
    for name, one in value.items():
        key = re.sub(r"[^a-z]", "", str(name).casefold())
        plain = _plain(one)
        if (key in _KEYS and plain is not None) or (key == "status" and plain in _STATES):
            yield plain
        elif key == "incompletedetails" and isinstance(one, Mapping):
            yield _plain(one.get("reason")) or "incomplete"
        elif (key == "done" and one is False) or (key in ("stoppedlimit", "incomplete") and one is True):
            yield "incomplete"
        elif key == "finishreason" and one == 2:
            yield "max_tokens"
        else:
            yield from _reasons_in(one, depth + 1)


def _plain(reason: Any) -> str | None:
    """Return a reason in lower case with underscores, without the name of its class; None if it is no text."""
    text = getattr(reason, "name", reason)
    if not isinstance(text, str):
        return None
    with_underscores = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text.rpartition(".")[2].strip())
    return re.sub(r"[^a-z0-9]+", "_", with_underscores.casefold())


def _is_closed_stream(message: AIMessage) -> bool:
    """Return true if a streamed message ends within the arguments of a tool call.

    LangChain completes such arguments, so `tool_calls` holds a part of a text as if it were all of it.
    """
    if not isinstance(message, AIMessageChunk):
        return False
    for chunk in message.tool_call_chunks:
        try:
            decoded(chunk["args"] or "{}")
        except LooseJSONError as error:
            return not error.is_too_deep
    return False
