"""The quoted text of recalled items, within a budget of tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from langchain_agentmem.prompting.recall.results import RecalledItem
from langchain_agentmem.text.quoting import ABOUT_QUOTED, quoted

BEGIN = f"What is known, and may help. {ABOUT_QUOTED}\n"
"""The sentences before the quoted data."""

LONGEST = 2_000
"""Maximum number of characters of one quoted item. A longer text is shortened."""

_SHORTER = (500, 125)
"""The same, if not even the most relevant item fits in the budget."""

_SEPARATOR = 2
"""Tokens of the JSON syntax around an item."""

TURNS = "earlier conversations"
"""Title of the turns of earlier sessions."""

_TITLES = {"fact": "facts", "memory": "memories", "entity": "entities", "turn": TURNS}


def clipped(text: str, longest: int = LONGEST) -> str:
    """Return the beginning of a text that is longer than `longest` characters, with an ellipsis.

    Example:
        >>> from langchain_agentmem.prompting.recall.text import clipped
        >>> clipped("Allergic to peanuts", 10)
        'Allergic …'
    """
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def recalled_text(items: Sequence[RecalledItem], budget: int | None, count: Callable[[str], int]) -> str:
    """Return items as quoted text; an empty text if there are none or nothing fits.

    Args:
        items: The items, the most relevant first. The least relevant are left out first.
        budget: Upper bound of the tokens; None for no bound.
        count: Returns the number of tokens of a text.
    """
    if budget is None:
        return _text(items, LONGEST)
    for longest in (LONGEST, *_SHORTER):
        kept = list(items[: _fitting(items, longest, budget, count)])
        # The parts of a text may have fewer tokens than the text.
        while kept and count(_text(kept, longest)) > budget:
            kept.pop()
        if kept:
            return _text(kept, longest)
    return ""


def _fitting(items: Sequence[RecalledItem], longest: int, budget: int, count: Callable[[str], int]) -> int:
    """Return the number of items that fit, by the tokens of each item alone."""
    left = budget - count(f"{BEGIN}{quoted({})}")
    for number, item in enumerate(items):
        left -= count(quoted(_shown(item, longest))) - count(quoted("")) + _SEPARATOR
        if left < 0:
            return number
    return len(items)


def _text(items: Sequence[RecalledItem], longest: int) -> str:
    shown: dict[str, list[Any]] = {}
    for item in items:
        title = _TITLES.get(item.kind) or f"knowledge: {item.source['collection']}"
        shown.setdefault(title, []).append(_shown(item, longest))
    return f"{BEGIN}{quoted(shown)}" if shown else ""


def _shown(item: RecalledItem, longest: int) -> Any:
    text = clipped(item.text, longest)
    return {"date": f"{item.time:%Y-%m-%d}", "text": text} if item.kind == "turn" and item.time else text
