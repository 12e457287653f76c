"""Budgets of memory variables: values are shortened until they, and the whole prompt, fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, NamedTuple

from langchain_agentmem.errors import BudgetError
from langchain_agentmem.prompting.templates.rendering import as_text

_MARK = "…"
"""End of a text that was shortened."""

_ROUNDS = 3
"""Attempts to shorten one value before its text is left out: a value may occur several times in a prompt."""

Count = Callable[[str], int]
"""Returns the number of tokens of a text."""


class Ranked(NamedTuple):
    """A value for a prompt."""

    value: Any
    """The value, as JSON has it."""
    rank: int
    """How specific it is: 0 for a global variable, more for those of an agent, a user and a session. Values of a lower rank
    are shortened first."""


def shortened(value: Any, tokens: int, count: Count) -> Any:
    """Return as much of a value as has at most a number of tokens in a prompt.

    A list or an object loses its last elements. A text loses its end, and gets a mark. If nothing fits, the result
    is an empty text.

    Args:
        value: The value.
        tokens: The maximum number of tokens.
        count: Counts the tokens of a text.

    Example:
        >>> from langchain_agentmem.prompting.templates.budgets import shortened
        >>> shortened(["one", "two", "three"], 10, len)
        ['one']
    """
    if count(as_text(value)) <= tokens:
        return value
    if isinstance(value, list):
        size = _largest(len(value), lambda size: count(as_text(value[:size])) <= tokens)
        return value[:size] or ""
    if isinstance(value, dict):
        size = _largest(len(value), lambda size: count(as_text(dict(islice(value.items(), size)))) <= tokens)
        return dict(islice(value.items(), size)) or ""
    if isinstance(value, str):
        size = _largest(len(value), lambda size: count(_beginning(value, size)) <= tokens)
        return _beginning(value, size) if size else ""
    return ""


def limited(values: Mapping[str, Ranked], limits: Mapping[str, int], count: Count) -> dict[str, Ranked]:
    """Return values of which each is within the limit of its variable.

    Args:
        values: The values by name.
        limits: The maximum number of tokens by name. Variables without a limit are not shortened.
        count: Counts the tokens of a text.
    """
    return {
        name: one._replace(value=shortened(one.value, limits[name], count)) if name in limits else one
        for name, one in values.items()
    }


def within(
    values: Mapping[str, Ranked], max_tokens: int, count: Count, size_of: Callable[[Mapping[str, Ranked]], int]
) -> dict[str, Ranked]:
    """Return values with which a prompt fits a budget.

    The least specific values are shortened first. Of equally specific values, the last one is shortened first.

    Args:
        values: The values by name, in the order of the template.
        max_tokens: The budget of the whole prompt.
        count: Counts the tokens of a text.
        size_of: Counts the tokens of the prompt with values.

    Raises:
        BudgetError: The prompt does not fit even without any value.
    """
    kept = dict(values)
    size = size_of(kept)
    most_specific_first = sorted(kept, key=lambda one: kept[one].rank, reverse=True)
    for name in reversed(most_specific_first):
        for attempt in range(_ROUNDS + 1):
            if size <= max_tokens:
                return kept
            one = kept[name]
            if one.value is None or one.value == "":
                break
            room = count(as_text(one.value)) - (size - max_tokens) if attempt < _ROUNDS else 0
            kept[name] = one._replace(value=shortened(one.value, max(0, room), count))
            size = size_of(kept)
    if size > max_tokens:
        msg = (
            f"The prompt has {size:,} tokens without any memory variable, which is more than max_tokens={max_tokens:,}. "
            f"Raise max_tokens, or pass less input."
        )
        raise BudgetError(msg)
    return kept


def _beginning(text: str, size: int) -> str:
    return text[:size].rstrip() + _MARK


def _largest(most: int, fits: Callable[[int], bool]) -> int:
    """Return the largest number below `most` that fits; 0 if none does."""
    low, high = 0, most - 1
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low
