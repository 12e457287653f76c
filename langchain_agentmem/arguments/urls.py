"""Database URLs without passwords, for errors and representations."""

from __future__ import annotations

import re

_HIDDEN = "***"
_SECRET = re.compile(r"(^|&)\w*(password|passwd|secret|token)=", re.IGNORECASE)


def shown_url(url: str) -> str:
    """Return a URL without user name, password and options.

    Args:
        url: The URL; it may be malformed.

    Example:
        >>> from langchain_agentmem.arguments.urls import shown_url
        >>> shown_url("redis://:secret@localhost:6379/0?timeout=3")
        'redis://localhost:6379/0'
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        before, colon, _ = url.partition(":")
        return before if colon and "=" not in before else _HIDDEN
    if scheme == "sqlite" and "@" not in rest.partition("/")[0]:  # a path
        return url.partition("?")[0] if _SECRET.search(rest.partition("?")[2]) else url
    location, _, query = rest.partition("?")
    if "@" in query and ("@" in location or ":" in location.partition("/")[0]) and not _SECRET.search(query):
        return f"{scheme}://{_HIDDEN}"  # the question mark may be part of a password
    return f"{scheme}://{location.rpartition('@')[2]}"


def has_password(url: str) -> bool:
    """Return true if a URL contains a password.

    Example:
        >>> from langchain_agentmem.arguments.urls import has_password
        >>> has_password("redis://:secret@localhost:6379/0"), has_password("postgresql://ann@localhost/app")
        (True, False)
    """
    _, _, rest = url.partition("://")
    location, _, query = rest.partition("?")
    credentials, at, _ = location.rpartition("@")
    return bool(at and ":" in credentials) or _SECRET.search(query) is not None


def masked_url(url: str) -> str:
    """Return a URL with `***` in place of each password.

    Args:
        url: The URL; it may be malformed.

    Example:
        >>> from langchain_agentmem.arguments.urls import masked_url
        >>> masked_url("postgresql://ann:secret@localhost/app?sslmode=require")
        'postgresql://ann:***@localhost/app?sslmode=require'
    """
    shown = shown_url(url)
    scheme, separator, rest = url.partition("://")
    if shown == url or not separator or shown.endswith(f"://{_HIDDEN}"):
        return shown
    location, _, query = rest.partition("?")
    credentials, at, _ = location.rpartition("@")
    user, colon, _ = credentials.partition(":")
    options = [_masked(pair) for pair in query.split("&") if pair]
    where = f"{scheme}://{user}{colon and ':' + _HIDDEN}{at}{shown.partition('://')[2]}"
    return f"{where}?{'&'.join(options)}" if options else where


def _masked(pair: str) -> str:
    return f"{pair.partition('=')[0]}={_HIDDEN}" if _SECRET.match(pair) else pair
