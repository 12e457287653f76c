"""JSON as small models write it.

Beside JSON, these are read: comments, trailing commas, line breaks in strings, quotation marks of other kinds, quotation
marks within a string that are not escaped, names without quotation marks, and Python's literals. A value must be complete:
nothing is added at the end of a text that was cut off.
"""

from __future__ import annotations

import json
import re
from typing import Any

from langchain_agentmem.arguments.nesting import MAX_ANSWER_DEPTH, check_json_depth

_MAX_QUOTINGS = 5
"""Upper bound of the number of strings around an object: a string may encode a string that encodes an object."""

_SPACE = re.compile(r"(?:\s+|//[^\n]*|/\*.*?\*/|#[^\n]*)*", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.])")
_WORD = re.compile(r"[A-Za-z_$][\w$]*")
_LITERALS = {"true": True, "false": False, "null": None, "none": None, "undefined": None}
_CLOSING = {'"': '"', "'": "'", "`": "`", "“": '”“"', "”": '”“"', "„": '“”"', "‘": "’‘'", "’": "’‘'", "«": "»"}
_AFTER_STRING = re.compile(r"\s*(?:[,:}\])]|//|/\*|#|$)")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2})|(\r?\n|.))", re.DOTALL)
_ESCAPED = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "b": "\b",
    "f": "\f",
    "v": "\v",
    "a": "\a",
    "0": "\0",
    "\n": "",
    "\r\n": "",
}
_PLAIN = "\"'`/\\“”„‘’«»"


class LooseJSONError(ValueError):
    """A text holds no value at a position.

    Args:
        started: True if the text holds the first part of a value there, and the value is damaged or cut off.
        is_too_deep: True if the value is nested deeper than `MAX_ANSWER_DEPTH` levels. Default: False.
    """

    def __init__(self, *, started: bool, is_too_deep: bool = False) -> None:
        super().__init__("no JSON")
        self.started = started
        self.is_too_deep = is_too_deep


def decoded_at(text: str, start: int) -> tuple[Any, int]:
    """Return the value that begins at a position of a text, and the position after it.

    Raises:
        LooseJSONError: There is no complete value.
    """
    try:
        check_json_depth(text, MAX_ANSWER_DEPTH, start)
        return json.JSONDecoder(strict=False, parse_constant=_refuse).raw_decode(text, start)
    except ValueError:
        reader = _Reader(text)
        try:
            return reader.value(start, 0)
        except (ValueError, IndexError, OverflowError) as error:
            is_too_deep = isinstance(error, LooseJSONError) and error.is_too_deep
            raise LooseJSONError(started=reader.values > 0 or is_too_deep, is_too_deep=is_too_deep) from None


def decoded(text: str) -> Any:
    """Return the value that a whole text holds.

    Raises:
        LooseJSONError: The text holds none, or something else too.

    Example:
        >>> from langchain_agentmem.knowledge.extraction.loose_json import decoded
        >>> decoded("{'fact': None, topics: ['tea',], /* new */}")
        {'fact': None, 'topics': ['tea']}
    """
    value, end = decoded_at(text, _after_space(text, 0))
    if _after_space(text, end) != len(text):
        raise LooseJSONError(started=True)
    return value


def from_string(value: Any) -> Any:
    """Return the object or list that a string encodes; every other value unchanged."""
    inner = value
    for _ in range(_MAX_QUOTINGS):
        if not isinstance(inner, str) or inner.strip()[:1] not in ("{", "[", '"', "`"):
            break
        text = re.sub(r"\A\s*`{3,}\w*\s*|\s*`{3,}\s*\Z", "", inner)
        try:
            inner = decoded(text)
        except LooseJSONError:
            break
    return inner


def _refuse(constant: str) -> None:
    msg = f"{constant} is not JSON"
    raise ValueError(msg)


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


class _Reader:
    """Reads values of a text. A method returns what it read and the position after it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.values = 0
        """Number of complete values within lists and objects so far."""

    def value(self, at: int, depth: int) -> tuple[Any, int]:
        text = self._text
        first = text[at]
        if depth > MAX_ANSWER_DEPTH:
            raise LooseJSONError(started=True, is_too_deep=True)
        if first == "{":
            return self._object(at + 1, depth)
        if first in "[(":
            return self._list(at + 1, "]" if first == "[" else ")", depth)
        if first in "uU" and text[at + 1 : at + 2] in ('"', "'"):
            return self._string(at + 1)
        if first in _CLOSING:
            return self._string(at)
        if number := _NUMBER.match(text, at):
            plain = number[0].lstrip("+")
            return (int(plain) if plain.lstrip("-").isdigit() else float(plain)), number.end()
        word = _WORD.match(text, at)
        if word and word[0].casefold() in _LITERALS:
            return _LITERALS[word[0].casefold()], word.end()
        raise LooseJSONError(started=False)

    def _object(self, at: int, depth: int) -> tuple[Any, int]:
        text = self._text
        result: dict[str, Any] = {}
        elements: list[Any] = []
        while text[at := _after_space(text, at)] != "}":
            name: Any
            word = _WORD.match(text, at)
            if word and text[_after_space(text, word.end())] == ":":
                name, at = word[0], word.end()
            else:
                name, at = self.value(at, depth + 1)
            at = _after_space(text, at)
            if text[at] == ":":
                result[str(name)], at = self.value(_after_space(text, at + 1), depth + 1)
            else:  # a set of Python
                elements.append(name)
            self.values += 1
            at = self._after_element(at, "}")
        if result and elements:
            raise LooseJSONError(started=True)
        return (elements or result), at + 1

    def _list(self, at: int, end: str, depth: int) -> tuple[list[Any], int]:
        text = self._text
        result = []
        while text[at := _after_space(text, at)] != end:
            value, at = self.value(at, depth + 1)
            result.append(value)
            self.values += 1
            at = self._after_element(at, end)
        return result, at + 1

    def _after_element(self, at: int, end: str) -> int:
        text = self._text
        after = at = _after_space(text, at)
        while text[after] == ",":
            after = _after_space(text, after + 1)
        # Between two objects in a list, a comma may be missing.
        if after > at or text[at] == end or (text[at] == "{" and end != "}" and text[:at].rstrip().endswith("}")):
            return after
        raise LooseJSONError(started=True)

    def _string(self, at: int) -> tuple[str, int]:
        """Read a string. A quotation mark ends it only before a comma, a colon, a closing bracket or a comment."""
        text = self._text
        opening = text[at]
        triple = opening * 3
        if opening in "\"'" and text.startswith(triple, at):
            end = text.index(triple, at + 3)
            return _unescaped(text[at + 3 : end]), end + 3
        closing, position = _CLOSING[opening], at + 1
        while text[position] not in closing or not _AFTER_STRING.match(text, position + 1):
            position += 2 if text[position] == "\\" else 1
        return _unescaped(text[at + 1 : position]), position + 1


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text

    def plain(found: re.Match[str]) -> str:
        if code := found[1] or found[2] or found[3]:
            return chr(int(code, 16))
        character = found[4]
        return _ESCAPED.get(character, character if character in _PLAIN else found[0])

    joined = _ESCAPE.sub(plain, text)
    return joined.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
