"""The forms in which a database may hold a user's ID, and their recognition in stored values."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from typing import Any, NamedTuple

from langchain_agentmem.backends.digests import digest_of_ids

ID, TEXT, JSON, LABEL, BASE64, DIGEST = "id", "text", "json", "label", "base64", "digest"
"""The forms of an ID: a value is the ID; it contains the ID as it is, escaped as in JSON or in labels, or in base64; or it
contains a digest of the ID."""

_ESCAPED_DOT, _ESCAPED_ESCAPE, _ESCAPED_TENANT = "\x1a1", "\x1a0", "\x1a2"
_LABELS = str.maketrans({"\x1a": _ESCAPED_ESCAPE, ".": _ESCAPED_DOT, "\U0010ffff": _ESCAPED_TENANT})
_WORD = re.compile(r"[^\W_]")
_AFTER_ESCAPE = r"(?<=\\[bfnrt])|(?<=\\u[0-9a-fA-F]{4})"
"""The end of an escape sequence of JSON, whose last character is a letter or digit."""


class FoundTrace(NamedTuple):
    """A stored value that contains a user's ID."""

    where: str
    """The table and column, or the kind of key."""
    form: str
    """One of the forms of this module."""
    example: str
    """The row or key; of a store item, its namespace and key."""


TracesPage = tuple[list[FoundTrace], str, Any]
"""The values that contain an ID, the name of the part that was searched, and a continuation; see `Backend.traces`."""


class TraceForms:
    r"""The forms of one ID.

    Args:
        user_id: The ID.
        *digests: Digests that a backend stores in place of the ID. Default: none.

    Example:
        >>> from langchain_agentmem.backends.traces import TraceForms
        >>> forms = TraceForms("ann")
        >>> [forms.form_of(one) for one in ("ann", "Ask ann.", b"\xa3ann\x01", "anna", b"joanna")]
        ['id', 'text', 'id', None, None]
    """

    def __init__(self, user_id: str, *digests: bytes) -> None:
        self._id = user_id
        self._encoded = user_id.encode()
        label = user_id.translate(_LABELS)
        texts = {user_id: TEXT}
        if label != user_id:
            texts[label] = LABEL
        for text in (user_id, label):
            for escaped in (text, *_escaped(text)):
                texts.setdefault(escaped, JSON)
                for twice in _escaped(escaped):
                    texts.setdefault(twice, JSON)
        self._patterns = {text: (form, _pattern(text)) for text, form in texts.items()}
        self._opaque = dict.fromkeys(_base64(self._encoded), BASE64)
        self._opaque[digest_of_ids(user_id, size=9).hex()] = DIGEST  # of the notes of earlier versions
        self._digests = digests

    @property
    def texts(self) -> list[str]:
        """The texts to search for. A value that contains none of them, and no digest, has no form of the ID."""
        return [*self._patterns, *self._opaque]

    @property
    def needles(self) -> list[bytes]:
        """The byte strings to search for: the texts and the digests."""
        return [*(text.encode() for text in self.texts), *self._digests]

    def form_of(self, value: str | bytes) -> str | None:
        """Return the form in which a value contains the ID, or None."""
        if isinstance(value, bytes):
            if any(one in value for one in self._digests):
                return DIGEST
            try:
                text = value.decode()
            except UnicodeDecodeError:
                return self._form_in_binary(value)
            return self._form_in_text(text)
        return self._form_in_text(value)

    def _form_in_text(self, value: str) -> str | None:
        if value == self._id:
            return ID
        for text, (form, pattern) in self._patterns.items():
            if text in value and pattern.search(value):
                return form
        return next((form for text, form in self._opaque.items() if text in value), None)

    def _form_in_binary(self, value: bytes) -> str | None:
        for text, (form, _) in self._patterns.items():
            needle = text.encode()
            for at in _positions(value, needle):
                if _is_whole(value, needle, at):
                    return ID if form == TEXT else form
                if _begins(value, needle, at) and _ends(value, needle, at):
                    return form
        return next((form for text, form in self._opaque.items() if text.encode() in value), None)


def item_shown(namespace: tuple[str, ...], key: str) -> str:
    """Return the namespace and key of a store item as an example of a trace.

    Example:
        >>> from langchain_agentmem.backends.traces import item_shown
        >>> item_shown(("tickets", "ann"), "1")
        "namespace=('tickets', 'ann'), key='1'"
    """
    return f"namespace={namespace!r}, key={key!r}"


def _escaped(text: str) -> tuple[str, str]:
    return json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]


def _pattern(text: str) -> re.Pattern[str]:
    """Return a pattern that finds a text, unless it is a part of a longer word."""
    before = rf"(?:(?<![^\W_])|{_AFTER_ESCAPE})" if _WORD.match(text[0]) else ""
    after = r"(?![^\W_])" if _WORD.match(text[-1]) else ""
    return re.compile(before + re.escape(text) + after)


def _base64(data: bytes) -> list[str]:
    """Return the parts of the base64 code of any data that contains `data` which do not depend on the rest."""
    found = []
    for shift in range(3):
        encoded = b64encode(bytes(shift) + data).decode()
        end = (shift + len(data)) // 3 * 4  # the last group contains other data as well
        part = encoded[(0, 4, 4)[shift] : end]
        if len(part) >= 8:
            found.append(part)
    return found


def _positions(value: bytes, needle: bytes) -> Iterator[int]:
    at = value.find(needle)
    while at >= 0:
        yield at
        at = value.find(needle, at + 1)


def _is_whole(value: bytes, needle: bytes, at: int) -> bool:
    """Return true if the needle is a whole string of MessagePack."""
    length, before = len(needle), value[max(0, at - 3) : at]
    headers = [bytes([0xDA, *length.to_bytes(2, "big")])]
    if length < 256:
        headers.append(bytes([0xD9, length]))
    if length < 32:
        headers.append(bytes([0xA0 | length]))
    return before.endswith(tuple(headers))


def _begins(value: bytes, needle: bytes, at: int) -> bool:
    """Return true if no letter or digit precedes: a byte before the needle may be the length of a string."""
    if at == 0 or not (_is_alphanumeric(needle[0]) and _is_alphanumeric(value[at - 1])):
        return True
    has_length = value[max(0, at - 2) : at - 1] in (b"\xd9", b"\xc4") or value[max(0, at - 3) : max(0, at - 2)] in (
        b"\xda",
        b"\xc5",
    )
    return has_length or value[max(0, at - 4) : max(0, at - 2)] == b"\0\0"


def _ends(value: bytes, needle: bytes, at: int) -> bool:
    end = at + len(needle)
    return end == len(value) or not (_is_alphanumeric(needle[-1]) and _is_alphanumeric(value[end]))


def _is_alphanumeric(byte: int) -> bool:
    return byte < 128 and chr(byte).isalnum()
