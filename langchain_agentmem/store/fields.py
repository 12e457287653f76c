"""The indexed fields of items: which texts of a value are embedded, and which words full-text search finds."""

from __future__ import annotations

import json
from typing import Any, Literal

from langgraph.store.base import get_text_at_path, tokenize_path

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.contract import ItemRow
from langchain_agentmem.errors import InvalidTypeError
from langchain_agentmem.text.words import searched, texts_in, words_of

Index = Literal[False] | list[str] | None
"""The `index` argument of a put: paths of fields, False for none, None for the configured ones."""
Fields = list[tuple[str, Any]]
"""Paths of fields, each with LangGraph's tokens of the path."""

_WHOLE = "$"
"""The path of the whole value."""


def field_paths(paths: Any) -> Fields:
    """Return the fields of an index configuration or an `index` argument.

    Raises:
        InvalidTypeError: The value is not a list of strings.
    """
    if not isinstance(paths, (list, tuple)) or not all(isinstance(path, str) for path in paths):
        msg = f"index must be False, None or a list of paths such as ['text'], got {shown(paths)}."
        raise InvalidTypeError(msg)
    return [(path, path if path == _WHOLE else tokenize_path(path)) for path in paths]


def dump_paths(fields: Fields) -> str:
    """Return the paths of fields in the form that is stored with an item."""
    return json.dumps([path for path, _ in fields])


def load_paths(text: str) -> Fields:
    """Return the fields that `dump_paths` wrote."""
    return field_paths(json.loads(text))


def index_of(row: ItemRow) -> Index:
    """Return the `index` argument of the put that stored an item."""
    return None if row.paths is None else json.loads(row.paths) or False


def embedded_texts(value: dict[str, Any], fields: Fields) -> list[str]:
    """Return the texts of a value that are embedded, without duplicates.

    Example:
        >>> from langchain_agentmem.store.fields import embedded_texts, field_paths
        >>> embedded_texts({"text": "pizza", "tags": ["food", "food"]}, field_paths(["text", "tags[*]"]))
        ['pizza', 'food']
    """
    return list(dict.fromkeys(text for _, tokens in fields for text in _texts_at(value, tokens)))


def indexed_words(value: dict[str, Any], fields: Fields, language: str) -> str:
    """Return the words of a value that full-text search finds, as `words_of` returns them, separated by spaces."""
    texts = (
        text for path, tokens in fields for text in (texts_in(value) if path == _WHOLE else _texts_at(value, tokens))
    )
    return " ".join(words_of(searched("\n".join(texts)), language, characters=True))


def _texts_at(value: dict[str, Any], tokens: Any) -> list[str]:
    """Return the texts at a path. For the whole value it is one JSON text, as LangGraph embeds it."""
    return [text for text in get_text_at_path(value, tokens) if text]
