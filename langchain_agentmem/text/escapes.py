"""Escapes of characters that a terminal would interpret instead of showing them."""

from __future__ import annotations

import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's categories of control characters, format characters, surrogates, and separators of lines and paragraphs."""

_JOINERS = "\u200c\u200d"
"""Format characters within words and emoji: the zero-width non-joiner and joiner."""


def visible(text: str, *, lines: bool = False) -> str:
    r"""Return a text in which control characters, escape sequences and bidirectional controls are shown as escapes.

    Args:
        text: The text.
        lines: If true, line breaks and tabs stay. Default: False (they are escaped, too).

    Example:
        >>> from langchain_agentmem.text.escapes import visible
        >>> print(visible("red: \x1b[31m, reversed: \u202eabc"))
        red: \x1b[31m, reversed: \u202eabc
        >>> visible("two\nlines", lines=True)
        'two\nlines'
    """
    if text.isprintable():
        return text
    kept = f"{_JOINERS}\n\t" if lines else _JOINERS
    text = text.replace("\r\n", "\n")
    return "".join(one if one in kept or unicodedata.category(one) not in _HIDDEN else _escape(one) for one in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
