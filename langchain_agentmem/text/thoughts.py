"""Thoughts that reasoning models write into their text, such as `<think>…</think>`. They are no part of an answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

_NAMES = (
    "think|thinking|thinking_process|thought|thoughts|reasoning|reason|reflection|scratchpad|analysis|inner_monologue"
)
_TAG = re.compile(
    rf"(?:<|&lt;|◁)\s*\|?\s*(?P<end>/?)\s*(?:[\w.-]+:)?(?:{_NAMES})(?:\s[^<>]{{0,200}}?)?\|?\s*(?P<empty>/?)\s*(?:>|&gt;|▷)"
    r"|\[(?P<end2>/?)THINK\]"
    r"|<\|(?:START_|begin_of_|END_|end_of_)(?:THINKING|THOUGHT)\|>"
    r"|<\|channel\|>\s*(?P<channel>\w+)[^<]{0,80}(?:<\|constrain\|>\w+)?<\|message\|>",
    re.IGNORECASE,
)


class ThoughtTag(NamedTuple):
    """A tag at which a thought begins or ends."""

    start: int
    end: int
    kind: Literal["begin", "end", "answer"]
    """`"answer"` begins an answer, and ends all thoughts before it."""


def thought_tags(text: str, start: int = 0) -> Iterator[ThoughtTag]:
    """Yield the tags in a text at which thoughts begin and end.

    Args:
        text: The text.
        start: Position from which on tags are searched. Default: 0.
    """
    for found in _TAG.finditer(text, start):
        if found["channel"]:
            yield ThoughtTag(
                found.start(), found.end(), "begin" if found["channel"].casefold() == "analysis" else "answer"
            )
        elif not found["empty"]:
            ends = found["end"] or found["end2"] or found[0].casefold().startswith("<|end")
            yield ThoughtTag(found.start(), found.end(), "end" if ends else "begin")


def without_thoughts(text: str) -> str:
    """Return a text without the thoughts in it.

    A thought that does not end reaches to the end of the text. One that does not begin reaches back to the start.

    Example:
        >>> from langchain_agentmem.text.thoughts import without_thoughts
        >>> without_thoughts("<think>Tea? <THINK>No.</THINK></think> Coffee.")
        ' Coffee.'
    """
    parts: list[str] = []
    depth = position = 0
    for tag in thought_tags(text):
        if depth == 0:
            parts.append(text[position : tag.start])
        if tag.kind == "begin":
            depth += 1
        elif tag.kind == "answer":
            depth = 0
        elif depth:
            depth -= 1
        else:
            parts.clear()
        position = tag.end
    return "".join(parts) if depth else "".join([*parts, text[position:]])
