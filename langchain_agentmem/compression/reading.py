"""Reading back: what requests shorten or summarise, from the transcript in a thread's state."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import ToolException
from langchain_core.tools.base import TOOL_MESSAGE_BLOCK_TYPES

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.compression.excerpts import CONVERSATION, READ_TOOL, result_id
from langchain_agentmem.compression.transcript import transcribed
from langchain_agentmem.messages.blocks import as_json, content_of_block, file_in
from langchain_agentmem.messages.call_types import kind_of
from langchain_agentmem.text.words import split_words

PAGE = 20_000
"""The number of characters that one call returns."""
_PASSAGE = 600
"""The maximum number of characters of a passage."""
_PASSAGES = 8
"""The maximum number of passages that one call returns."""


def stored_result(state: Any, wanted: str, offset: int = 0, find: str = "") -> str | list[Any]:
    """Return a tool result of a thread in full, or all messages before the current question, or a page or passages of them.

    The thread's state contains all messages: requests are shortened, the transcript is not.

    Args:
        state: The state of the thread.
        wanted: The ID of the result, or `CONVERSATION`.
        offset: The number of characters to skip. Default: 0. The first page contains pictures and files too.
        find: Return the passages that contain the rarest of these words. Default: `""` (pages of the whole text).

    Raises:
        ToolException: The thread has no such result, or no passage has any of the words.
    """
    messages = state.get("messages", ()) if isinstance(state, dict) else getattr(state, "messages", ())
    question = next((at for at in range(len(messages) - 1, -1, -1) if isinstance(messages[at], HumanMessage)), None)
    others = [one for at, one in enumerate(messages) if at != question]
    text, files = _content(others, wanted.strip())
    if find:
        return passages(text, find)
    rest = len(text) - offset - PAGE
    more = f"\n[{rest:,} more characters: offset={offset + PAGE}]" if rest > 0 else ""
    page = text[offset : offset + PAGE] + more
    return [*([{"type": "text", "text": page}] if page else []), *files] if files and not offset else page


def passages(text: str, find: str) -> str:
    r"""Return the passages of a text that contain the rarest of some words, in their order.

    Args:
        text: The text.
        find: The words. Longer words that begin with them match too.

    Raises:
        ToolException: No passage has any of the words.

    Example:
        >>> from langchain_agentmem.compression.reading import passages
        >>> passages("human: The code is K-4711.\nai: Thank you.", "code")
        'human: The code is K-4711.'
    """
    pieces = re.findall(rf".{{1,{_PASSAGE}}}(?:\s|$)|.{{{_PASSAGE}}}", text)
    starts = [0, *accumulate(map(len, pieces))]
    joined = "".join(pieces)
    scores: dict[int, float] = {}
    for word in {*split_words(find.lower())}:
        pattern = re.compile(rf"(?<!\w){re.escape(word)}", re.IGNORECASE)
        matches = {bisect_right(starts, match.start()) - 1 for match in pattern.finditer(joined)}
        for at in matches:
            scores[at] = scores.get(at, 0.0) + 1 / len(matches)
    best = sorted(scores, key=lambda at: (-scores[at], -at))[:_PASSAGES]
    if not best:
        msg = f"No passage contains any word of {shown(find, 80)}. Try other words."
        raise ToolException(msg)
    return "\n[…]\n".join(pieces[at].strip() for at in sorted(best))


def _content(messages: Sequence[BaseMessage], wanted: str) -> tuple[str, list[Any]]:
    """Return the text of a result, and its pictures and files; or the transcript of the conversation."""
    if wanted == CONVERSATION:
        return "\n".join(map(transcribed, filter(_is_told, messages))), []
    for message in reversed(messages):
        if isinstance(message, ToolMessage) and result_id(message) == wanted:
            blocks = [message.content] if isinstance(message.content, str) else message.content
            files = [
                block for block in blocks if file_in(block) is not None and kind_of(block) in TOOL_MESSAGE_BLOCK_TYPES
            ]
            return "\n".join(as_json(content_of_block(block)) for block in blocks if block not in files), files
    msg = f"There is no stored result with the ID {shown(wanted, 40)}. Use the ID in the mark of a shortened result."
    raise ToolException(msg)


def _is_told(message: BaseMessage) -> bool:
    """Return true if a message is part of what was said, and not the reading of it."""
    if isinstance(message, AIMessage):
        return all(call["name"] != READ_TOOL for call in message.tool_calls)
    return not isinstance(message, SystemMessage) and message.name != READ_TOOL
