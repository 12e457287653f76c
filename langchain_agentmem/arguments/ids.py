"""Checks of IDs, names and texts.

IDs of users, sessions, threads, agents and tenants are opaque strings: no part of the package interprets them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError

MAX_ID_BYTES = 1024
"""The maximum length of an ID or a key, in bytes of UTF-8, on every backend."""

MAX_LABEL_BYTES = MAX_ID_BYTES + 16
"""The maximum length of a namespace label: an ID and the prefix that the package adds, such as `user:`."""

MAX_ADDRESS_BYTES = 2_600
"""The maximum length of an item's tenant, namespace and key together; the tenant `default` does not count.

Postgres' indexes hold no longer values. All backends refuse an item that one of them cannot store.
"""

MAX_CHECKPOINT_BYTES = 2_400
"""The maximum length of a tenant, a thread ID, a checkpoint ID and a task ID together, for the same reason."""

TENANT_OF_NOTES = "\x1fnotes\x1f"
"""The prefix of the tenants under which the package stores its own notes; see `langchain_agentmem.backends.notes`."""

_DEFAULT_TENANT = "default"
_ESCAPED = (".", "\x1a")


def check_id(what: str, value: Any, *, most: int = MAX_ID_BYTES) -> str:
    """Return an ID that every backend can store.

    Args:
        what: The name of the argument, for the error.
        value: The ID.
        most: The maximum length in bytes. Default: `MAX_ID_BYTES`.

    Raises:
        InvalidTypeError: The ID is not a string.
        InvalidInputError: The ID is empty, too long, or contains a NUL character or half of a surrogate pair.
    """
    if type(value) is str and value.isascii() and 0 < len(value) <= most and "\x00" not in value:
        return value
    name = check_name(what, value)
    if not name:
        msg = f"{what} must not be empty."
        raise InvalidInputError(msg)
    check_length(what, name, most)
    return name


def check_optional_id(what: str, value: Any) -> str | None:
    """Same as `check_id`, but accept None."""
    return None if value is None else check_id(what, value)


def check_tenant(tenant: Any) -> str:
    """Same as `check_id`, but refuse the tenants of `langchain_agentmem.backends.notes`."""
    name = check_id("tenant", tenant)
    if name.startswith(TENANT_OF_NOTES):
        msg = f"tenant {shown(name)} begins with {TENANT_OF_NOTES!r}, which is reserved. Use another name."
        raise InvalidInputError(msg)
    return name


def check_name(what: str, value: Any) -> str:
    """Same as `check_id`, but accept an empty string and any length, as LangGraph does for parts of a graph."""
    if not isinstance(value, str):
        msg = f"{what} must be a string, got {type(value).__name__}: {shown(value)}."
        raise InvalidTypeError(msg)
    check_text(what, value)
    if "\x00" in value:
        msg = f"{what} {shown(value)} contains a NUL character, which databases cannot index."
        raise InvalidInputError(msg)
    name: str = value
    return name


def check_content(what: str, value: Any) -> str:
    """Same as `check_name`, but refuse text without any visible character."""
    content = check_name(what, value)
    if not content.strip():
        msg = f"{what} must not be empty, got {shown(content)}."
        raise InvalidInputError(msg)
    return content


def check_length(what: str, name: str, most: int = MAX_ID_BYTES) -> None:
    """Check the length of a name.

    Args:
        what: The name of the argument, for the error.
        name: The name.
        most: The maximum length in bytes. Default: `MAX_ID_BYTES`.

    Raises:
        InvalidInputError: The name is longer.
    """
    length = len(name.encode(errors="replace"))
    if length > most:
        msg = f"{what} {shown(name[:40])}… is {length:,} bytes long; at most {most:,} are accepted."
        raise InvalidInputError(msg)


def check_together(what: str, tenant: str, names: Iterable[str], most: int) -> None:
    """Check the total length of the names that one index of a database holds.

    Args:
        what: The plural name of the arguments, for the error.
        tenant: The tenant; `default` does not count.
        names: The names. A dot counts as two bytes, because it is stored escaped.
        most: The maximum length in bytes.

    Raises:
        InvalidInputError: The names are longer.
    """
    every = [*names] if tenant == _DEFAULT_TENANT else [tenant, *names]
    if 5 * sum(map(len, every)) <= most:
        return
    length = sum(len(name.encode()) + sum(name.count(one) for one in _ESCAPED) for name in every)
    if length > most:
        msg = (
            f"{what} are {length:,} bytes long together; at most {most:,} are accepted, because Postgres' indexes hold "
            f"no longer values. Use shorter ones."
        )
        raise InvalidInputError(msg)


def check_text(what: str, text: str) -> None:
    """Check that a text can be encoded as UTF-8.

    Args:
        what: The name of the argument, for the error.
        text: The text.

    Raises:
        InvalidInputError: The text contains half of a surrogate pair.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        around = ascii(text[max(0, error.start - 10) : error.start + 10])
        msg = (
            f"{what} contains half of a surrogate pair at character {error.start} ({around}), which is not text. "
            f"Replace it first, for example with text.encode(errors='replace').decode()."
        )
        raise InvalidInputError(msg) from None
