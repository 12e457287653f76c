"""The part of a prompt that quotes a profile, within a budget of tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from langchain_agentmem.knowledge.facts.facts import Fact
from langchain_agentmem.knowledge.facts.paths import Path, set_field
from langchain_agentmem.text.quoting import ABOUT_QUOTED, quoted

MAX_TOKENS = 1_000
"""Default budget."""

_FACTS = "facts"
_SEPARATOR = 2
"""Tokens of the JSON syntax around a value."""

_MISSES = 50
"""The search for values that fit ends after this number of values that do not fit."""

Entry = tuple[Path, Any]
"""A value that the text may contain: the path of a field with its value, or `("facts",)` with the text of a fact."""


def entries_of(document: Mapping[str, Any], facts: Iterable[Fact]) -> list[Entry]:
    """Return the values that a text may contain, the more important first: fields, then facts.

    Args:
        document: The fields of the profile.
        facts: The facts, the more important ones first.
    """
    fields = [(("profile", *path), value) for path, value in _fields_in(document)]
    return [*fields, *(((_FACTS,), fact.text) for fact in facts)]


def profile_data(entries: Sequence[Entry], budget: int, count: Callable[[str], int]) -> dict[str, Any]:
    """Return the knowledge that fits in a budget: `profile` and `facts`, each only if something of it is known and fits.

    Args:
        entries: Values that it may contain, the more important first.
        budget: Upper bound of the tokens of its text.
        count: Returns the number of tokens of a text.
    """
    kept: list[Entry] = []
    left, misses = budget - count(profile_text({})), 0
    for path, value in entries:
        size = count(quoted([*path[1:], value])) - count(quoted([])) + _SEPARATOR
        if size <= left:
            kept.append((path, value))
            left -= size
        elif (misses := misses + 1) == _MISSES:
            break
    # The parts of a text may have fewer tokens than the text.
    while kept and count(profile_text(_shown(kept))) > budget:
        kept.pop()
    return _shown(kept)


def profile_text(data: Mapping[str, Any]) -> str:
    """Return the part of a prompt that quotes what `profile_data` returned."""
    return f"{ABOUT_QUOTED}\n{quoted(data)}"


def _shown(entries: Iterable[Entry]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for path, value in entries:
        if path == (_FACTS,):
            shown.setdefault(_FACTS, []).append(value)
        else:
            set_field(shown, path, value)
    return shown


def _fields_in(document: Mapping[str, Any]) -> Iterator[Entry]:
    """Yield the fields that have a value. The entries of an object are fields of their own."""
    for name, value in document.items():
        if isinstance(value, Mapping):
            yield from (((name, key), one) for key, one in value.items() if _is_known(one))
        elif _is_known(value):
            yield (name,), value


def _is_known(value: Any) -> bool:
    return value not in (None, "", [], {})
