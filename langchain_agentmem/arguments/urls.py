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


def shown_location(location: str) -> str:
    """Return a URL or a path without password.

    Args:
        location: A URL, a path, or a text with a password, such as libpq's connection strings.

    Example:
        >>> from langchain_agentmem.arguments.urls import shown_location
        >>> shown_location("data/old.db"), shown_location("host=localhost password=secret")
        ('data/old.db', '***')
    """
    if "://" in location:
        return shown_url(location)
    is_secret = _SECRET.search(location.replace(" ", "&")) or ("@" in location and ":" in location)
    return _HIDDEN if is_secret else location


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
