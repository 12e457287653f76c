"""Routes to servers: the only server, the master that sentinels name, or the server of a cluster that owns a slot."""

from __future__ import annotations

from binascii import crc_hqx
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.redis.limits import TimeLimit
from langchain_agentmem.programs import Program

SLOTS = 16384


class Endpoint(NamedTuple):
    """The address of a server."""

    host: str = ""
    """The host; empty for the server that the URL or the client names."""
    port: int = 0
    sentinel: bool = False


HOME = Endpoint()

Ask = Callable[[Endpoint, Sequence[Any], TimeLimit], Program[Any]]
"""Sends one command to one server, once. Its program returns the answer, or the error if the server is unreachable."""


class UnreachableError(Exception):
    """The server that holds the data is unknown: no server names it."""


class Route:
    """The route to the only server."""

    scattered = False
    """True if keys of different slots may be on different servers."""
    moves = False
    """True if the data may move to another server."""

    def locate(self, key: str | None, limit: TimeLimit) -> Program[Endpoint]:  # noqa: ARG002 (it has all keys)
        """Return the server of a key."""
        yield from ()
        return HOME

    def every(self, limit: TimeLimit) -> Program[list[Endpoint]]:
        """Return all servers that accept writes."""
        return [(yield from self.locate(None, limit))]

    def move(self, key: str, endpoint: Endpoint) -> None:
        """Record that the slot of a key has moved."""

    def forget(self) -> None:
        """Discard the known addresses, and ask for them when they are needed next."""


class SentinelRoute(Route):
    """The route to the master that sentinels name.

    Args:
        sentinels: The hosts and ports of the sentinels.
        service: The name of the master.
        ask: Sends a command to a sentinel.
    """

    moves = True

    def __init__(self, sentinels: Sequence[tuple[str, int]], service: str, ask: Ask) -> None:
        self._sentinels = [Endpoint(host, port, sentinel=True) for host, port in sentinels]
        self._service, self._ask = service, ask
        self._master: Endpoint | None = None

    def locate(self, key: str | None, limit: TimeLimit) -> Program[Endpoint]:  # noqa: ARG002 (the master has all keys)
        known = self._master
        if known is None:
            known = self._master = yield from self._discover(limit)
        return known

    def forget(self) -> None:
        self._master = None

    def _discover(self, limit: TimeLimit) -> Program[Endpoint]:
        question = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
        found: Any = None
        for at, sentinel in enumerate(self._sentinels):
            found = yield from self._ask(sentinel, question, limit.share(len(self._sentinels) - at))
            if isinstance(found, (list, tuple)):
                host, port = found
                return Endpoint(host.decode(), int(port))
        raise UnreachableError(_with_cause(f"no sentinel knows a master named {shown(self._service)}", found))


class ClusterRoute(Route):
    """The route to the servers of a cluster.

    Args:
        nodes: The hosts and ports of some servers.
        ask: Sends a command to a server.
        remap: Returns the address to use in place of an address that a server names. Default: None (no change).
    """

    scattered = moves = True

    def __init__(
        self,
        nodes: Sequence[tuple[str, int]],
        ask: Ask,
        remap: Callable[[tuple[str, int]], tuple[str, int]] | None = None,
    ) -> None:
        self._nodes = [Endpoint(*node) for node in nodes]
        self._ask, self._remap = ask, remap
        self._table: tuple[list[int], list[Endpoint]] | None = None
        """The first slots of ranges, and the owners of these ranges."""
        self._moved: dict[int, Endpoint] = {}

    def locate(self, key: str | None, limit: TimeLimit) -> Program[Endpoint]:
        firsts, owners = self._table or (yield from self._discover(limit))
        slot = 0 if key is None else _slot_of(key)
        return self._moved.get(slot) or owners[max(0, bisect_right(firsts, slot) - 1)]

    def every(self, limit: TimeLimit) -> Program[list[Endpoint]]:
        _, owners = self._table or (yield from self._discover(limit))
        return list(dict.fromkeys(owners))

    def move(self, key: str, endpoint: Endpoint) -> None:
        if len(self._moved) >= SLOTS // 16:
            self.forget()
        self._moved[_slot_of(key)] = self._mapped(endpoint)

    def forget(self) -> None:
        known, self._table = self._table, None
        if known is not None:
            self._nodes = list(dict.fromkeys([*self._nodes, *known[1]]))
        self._moved = {}

    def _discover(self, limit: TimeLimit) -> Program[tuple[list[int], list[Endpoint]]]:
        nodes = self._nodes
        found: Any = None
        for at, node in enumerate(nodes):
            found = yield from self._ask(node, ("CLUSTER", "SLOTS"), limit.share(len(nodes) - at))
            if isinstance(found, (list, tuple)) and found:
                ranges = sorted((int(one[0]), self._owner(one[2], node)) for one in found)
                table = [first for first, _ in ranges], [owner for _, owner in ranges]
                self._table = table
                # Ask the server that answered first the next time.
                self._nodes = list(dict.fromkeys([node, *nodes]))
                return table
        raise UnreachableError(_with_cause("no server of the cluster lists the owners of the slots", found))

    def _owner(self, described: Sequence[Any], asked: Endpoint) -> Endpoint:
        host, port = described[0], int(described[1])
        named = host.decode() if isinstance(host, bytes) else host
        return self._mapped(Endpoint(named or asked.host, port))

    def _mapped(self, endpoint: Endpoint) -> Endpoint:
        if self._remap is None:
            return endpoint
        host, port = self._remap((endpoint.host, endpoint.port))
        return Endpoint(host, port)


def _with_cause(text: str, found: Any) -> str:
    """Append the last error to a text, if there was one."""
    return f"{text} (last error: {found})" if isinstance(found, Exception) else text


def _slot_of(key: str | bytes) -> int:
    """Return the slot of a key: that of its hash tag, or of the whole key if it has none."""
    data = key.encode() if isinstance(key, str) else key
    tag = data.partition(b"{")[2]
    end = tag.find(b"}")
    return crc_hqx(tag[:end] if end > 0 else data, 0) % SLOTS
