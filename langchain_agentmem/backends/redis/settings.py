"""Settings of a connection to Redis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from langchain_agentmem.arguments.urls import shown_url
from langchain_agentmem.backends.credentials import Credentials


class Settings(NamedTuple):
    """How a driver connects, and how it uses the server."""

    url: str = ""
    """URL for redis-py. With sentinels, it describes the connections to any master."""
    kind: str = "single"
    """`"single"`, `"cluster"` or `"sentinel"`."""
    sentinels: Sequence[tuple[str, int]] = ()
    """Hosts and ports of the sentinels."""
    service: str = ""
    """Name of the master that the sentinels watch."""
    timeout: float = 30.0
    """Seconds that an operation may take, including connecting and all attempts."""
    pool_size: int = 10
    """Maximum number of connections to each server: one pool for threads, and one for each event loop."""
    retries: int | None = None
    """Maximum number of further attempts after a server was lost. None: until the time limit."""
    allow_eviction: bool = False
    """If true, accept a server that may evict stored data."""
    language: str = "english"
    """Language of the texts, for full-text search."""
    sentinel_options: Mapping[str, Any] = MappingProxyType({})
    """redis-py's options for connections to sentinels."""
    credentials: Credentials | None = None
    """Returns the credentials of each new connection to a server; None for those in the URL."""

    def __repr__(self) -> str:
        # The URL and the options may contain passwords.
        return f"Settings(url={shown_url(self.url)!r}, kind={self.kind!r}, service={self.service!r})"
