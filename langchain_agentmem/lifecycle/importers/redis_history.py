"""Chat histories in Redis: the lists of langchain-community, and strings that hold whole conversations.

`RedisChatMessageHistory` keeps a list of JSON texts at `message_store:<session>`, the newest first. Applications that keep
LangChain's dictionaries of a whole conversation themselves often use one string at `memory:<session>`, and a string with the
profile of a user at `user_profile:<user>`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from functools import partial
from typing import Any

from langchain_agentmem.arguments.urls import shown_url
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidTypeError, missing_extra
from langchain_agentmem.lifecycle.importers.arguments import Options
from langchain_agentmem.lifecycle.importers.rows import (
    PAGE_ROWS,
    Source,
    SourceMessage,
    SourceProfile,
    document_of,
    importing,
)

LISTS, STRINGS = "redis-history", "redis-strings"
"""The formats."""

LIST_PREFIX, STRING_PREFIX, PROFILE_PREFIX = "message_store:", "memory:", "user_profile:"


def lists_of(given: Any, options: Options) -> Source:
    """Return the source of one history, or of all histories whose keys have a prefix.

    Args:
        given: A history, a client, or a URL.
        options: With `prefix`, unless it is `message_store:` or a history is given.
    """
    if hasattr(given, "redis_client"):
        options.refuse("prefix", "the history has its key")
        rows = partial(_list_messages, given.redis_client, given.key, given.session_id)
        name = f"RedisChatMessageHistory (key {shown(given.key)})"
        return Source(name, f"{LISTS} {given.key_prefix}", rows, single=True, session=given.session_id)
    prefix = options.prefix or LIST_PREFIX

    def rows_of_all() -> Iterator[SourceMessage]:
        with _client(given) as client:
            for key in _keys(client, prefix):
                yield from _list_messages(client, key, key.removeprefix(prefix))

    return Source(_name(given, prefix), f"{LISTS} {prefix}", rows_of_all)


def strings_of(given: Any, options: Options) -> Source:
    """Return the source of all conversations that are kept in strings, and of the profiles beside them.

    Args:
        given: A client or a URL.
        options: With `prefix`, unless it is `memory:`.
    """
    prefix = options.prefix or STRING_PREFIX

    def rows() -> Iterator[SourceMessage | SourceProfile]:
        with _client(given) as client:
            for key in _keys(client, prefix):
                yield from _string_messages(client, key, key.removeprefix(prefix))
            for key in _keys(client, PROFILE_PREFIX):
                yield from _profile(client, key, options.user_id)

    return Source(_name(given, prefix), f"{STRINGS} {prefix}", rows)


def _name(given: Any, prefix: str) -> str:
    place = f" at {shown_url(given)}" if isinstance(given, str) else ""
    return f"the keys {prefix}…{place}"


def _client(given: Any) -> AbstractContextManager[Any]:
    if not isinstance(given, str):
        if any(one.__module__.startswith("redis.asyncio") for one in type(given).__mro__):
            msg = f"Redis is read through a synchronous client or a URL, got {type(given).__name__} of redis.asyncio."
            raise InvalidTypeError(msg)
        return nullcontext(given)
    try:
        import redis
    except ImportError:
        raise missing_extra(what="Redis", extra="redis") from None
    scheme, _, rest = given.partition("://")
    make: Callable[[str], Any]
    if "+cluster" in scheme or "-cluster" in scheme:
        make = redis.RedisCluster.from_url
        given = f"{scheme.replace('+cluster', '').replace('-cluster', '')}://{rest}"
    else:
        make = redis.Redis.from_url
    return closing(make(given))


def _keys(client: Any, prefix: str) -> Iterator[str]:
    """Return the keys with a prefix, each once or more, without loading all of them."""
    pattern = "".join(f"\\{one}" if one in "*?[]\\^-" else one for one in prefix) + "*"
    for key in client.scan_iter(match=pattern, count=1_000):
        yield _text(key)


def _list_messages(client: Any, key: str, session: str) -> Iterator[SourceMessage]:
    """Return the messages of a list, whose end holds the oldest. New ones do not change the indexes from the end."""
    expires_at = _expiry(client, key)
    read = 0
    while page := client.lrange(key, -read - PAGE_ROWS, -read - 1):
        for text in reversed(page):
            yield SourceMessage(session, read, text, None, expires_at)
            read += 1


def _string_messages(client: Any, key: str, session: str) -> Iterator[SourceMessage]:
    text = client.get(key)
    if text is None:  # it has expired
        return
    with importing(f"session {shown(session)} (key {shown(key)})"):
        messages = document_of(text)
        if not isinstance(messages, list):
            msg = f"the string must hold a JSON list of messages, got {shown(messages)}"
            raise TypeError(msg)
    expires_at = _expiry(client, key)
    for index, message in enumerate(messages):
        yield SourceMessage(session, index, message, None, expires_at)


def _profile(client: Any, key: str, user_id: str | None) -> Iterator[SourceProfile]:
    text = client.get(key)
    if text is None:
        return
    with importing(f"the profile at {shown(key)}"):
        document = document_of(text)
        if not isinstance(document, Mapping):
            msg = f"the string must hold a JSON object, got {shown(document)}"
            raise TypeError(msg)
        user = key.removeprefix(PROFILE_PREFIX)
        for other, what in ((document.get("user_id"), "its user_id"), (user_id, "the argument user_id")):
            if other not in (None, user):
                msg = (
                    f"the key names the user {shown(user)}, but {what} is {shown(other)}. Profiles keep their users: correct "
                    f"the key, or import sessions with sessions=… instead of user_id"
                )
                raise ValueError(msg)
    yield SourceProfile(key, user, document.get("name"), document.get("preferences"), document.get("facts"))


def _expiry(client: Any, key: str) -> float | None:
    left = client.pttl(key)
    return time.time() + left / 1000 if left > 0 else None


def _text(key: Any) -> str:
    return key.decode() if isinstance(key, bytes) else str(key)
