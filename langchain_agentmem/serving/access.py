"""Who may access what: API keys, and the rules for requests without a key."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from langchain_agentmem.arguments.ids import check_id, check_tenant
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError

MISSING_KEY = "Send an API key in the header X-API-Key, or as Authorization: Bearer."
"""The error for a request without a key."""

UNKNOWN_KEY = "The API key is unknown."
"""The error for a request with an unknown key."""

CHALLENGE = {"WWW-Authenticate": "Bearer"}
"""The header of responses with the status 401."""

_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
"""The headers that reverse proxies add."""


@dataclass(frozen=True)
class Access:
    """What an API key may access.

    Args:
        tenant: The tenant. Default: None (that of the memory).
        users: The users whose data the key may read and change. Such a key cannot list users, read statistics, or export,
            import and change what belongs to others or to nobody. Default: None (all users of the tenant).

    Example:
        >>> from langchain_agentmem.serving import Access
        >>> Access(tenant="shop", users=["alice@example.com"]).users
        frozenset({'alice@example.com'})
    """

    tenant: str | None = None
    users: Collection[str] | None = None

    def __post_init__(self) -> None:
        if self.tenant is not None:
            check_tenant(self.tenant)
        if self.users is None:
            return
        if isinstance(self.users, str) or not isinstance(self.users, Collection):
            msg = (
                f"users must be a list of user IDs, got {shown(self.users)}. For one user, pass [{shown(self.users)}]."
            )
            raise InvalidTypeError(msg)
        if not self.users:
            msg = "users must not be empty. Leave it out for all users of the tenant."
            raise InvalidInputError(msg)
        object.__setattr__(self, "users", frozenset(check_id("users", one) for one in self.users))


class ApiKeys:
    """API keys, kept as digests.

    Args:
        keys: What each key may access.

    Raises:
        InvalidInputError: There is no key, or a key is empty or not printable ASCII.
        InvalidTypeError: An argument has the wrong type.
    """

    def __init__(self, keys: Mapping[str, Access]) -> None:
        if not isinstance(keys, Mapping):
            msg = f"api_keys must be a mapping of keys to Access, got {type(keys).__name__}."
            raise InvalidTypeError(msg)
        if not keys:
            msg = "api_keys must not be empty. Leave it out to accept clients on this machine only, without a key."
            raise InvalidInputError(msg)
        for number, (key, access) in enumerate(keys.items(), 1):
            _check_key(key, number)
            if not isinstance(access, Access):
                msg = f"api_keys must map each key to an Access, got {type(access).__name__} for key {number}."
                raise InvalidTypeError(msg)
        self._accesses = [(_digest(key), access) for key, access in keys.items()]

    def number(self, key: str | None) -> int | None:
        """Return the index of a key; None for an unknown key. The time does not depend on the known keys.

        Args:
            key: The key of a request.

        Example:
            >>> from langchain_agentmem.serving.access import Access, ApiKeys
            >>> keys = ApiKeys({"a-long-random-key": Access()})
            >>> keys.number("a-long-random-key"), keys.number("another"), keys[0]
            (0, None, Access(tenant=None, users=None))
        """
        given = _digest(key or "")
        found = None
        for number, (digest, _) in enumerate(self._accesses):
            if hmac.compare_digest(digest, given):
                found = number
        return found

    def __getitem__(self, number: int) -> Access:
        return self._accesses[number][1]


def api_key_in(headers: Mapping[str, str]) -> str | None:
    """Return the API key of a request: the header `X-API-Key`, else the token of `Authorization: Bearer`; None without both.

    Args:
        headers: The headers of the request, whose names are not case-sensitive.

    Example:
        >>> from starlette.datastructures import Headers
        >>> from langchain_agentmem.serving.access import api_key_in
        >>> api_key_in(Headers({"Authorization": "Bearer a-long-random-key"}))
        'a-long-random-key'
    """
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return headers.get("x-api-key") or (token.strip() if scheme.lower() == "bearer" else "") or None


def refusal_without_key(client: str | None, headers: Mapping[str, str]) -> str | None:
    """Return why a request without a key is refused; None if it comes from this machine.

    A proxy on this machine makes all clients look local, so a request that one forwarded is refused. So is a request of a web
    page: one of another origin, or one that reached this machine by a foreign host name (DNS rebinding).

    Args:
        client: The address of the client.
        headers: The headers of the request.

    Example:
        >>> from langchain_agentmem.serving.access import refusal_without_key
        >>> refusal_without_key("127.0.0.1", {"host": "localhost:7777"})
        >>> refusal_without_key("192.0.2.1", {"host": "localhost:7777"})
        'Only clients on the same machine are accepted without API keys.'
    """
    if client is None or not _is_loopback(client):
        return "Only clients on the same machine are accepted without API keys."
    if any(name in headers for name in _FORWARDED):
        return "Requests that a proxy forwards are not accepted without API keys."
    if not _is_local_name(headers.get("host", "")):
        return "The Host header must name the same machine, such as localhost."
    origin = headers.get("origin")
    if origin is not None and not _is_local_name(origin.partition("://")[2]):
        return "Requests of web pages of other origins are not accepted without API keys."
    if headers.get("sec-fetch-site") == "cross-site":  # such as an image, for which browsers send no origin
        return "Requests of web pages of other origins are not accepted without API keys."
    return None


def _is_loopback(address: str) -> bool:
    try:
        found: Any = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return bool((getattr(found, "ipv4_mapped", None) or found).is_loopback)


def _is_local_name(host: str) -> bool:
    """Return true if the host of a URL, which may have a port, is a name of this machine."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.lower().rstrip(".") == "localhost" or _is_loopback(name)


def _check_key(key: Any, number: int) -> None:
    """Check a key. The error does not show it."""
    if not isinstance(key, str):
        msg = f"Key {number} of api_keys must be a string, got {type(key).__name__}."
        raise InvalidTypeError(msg)
    if not key or not key.isascii() or not key.isprintable() or key != key.strip():
        msg = f"Key {number} of api_keys must be printable ASCII text without spaces at its ends, which a header can carry."
        raise InvalidInputError(msg)


def _digest(key: str) -> bytes:
    return sha256(key.encode(errors="surrogateescape")).digest()
