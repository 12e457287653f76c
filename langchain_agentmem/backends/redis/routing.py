"""Which server a command goes to: the only one, the master that sentinels name, or the one of a cluster that has the slot."""

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
    """A server to connect to."""

    host: str = ""
    """Empty: the server that the URL or the client names."""
    port: int = 0
    sentinel: bool = False


HOME = Endpoint()

Ask = Callable[[Endpoint, Sequence[Any], TimeLimit], Program[Any]]
"""An outer program: one command to one server, tried once; its answer, or the error when the server cannot be reached."""


class UnreachableError(Exception):
    """No server says where the data is."""


class Route:
    """The route to the only server."""

    scattered = False
    """Whether keys of different slots may be on different servers."""
    moves = False
    """Whether another server may take the place of one."""

    def locate(self, slot: int, limit: TimeLimit) -> Program[Endpoint]:  # noqa: ARG002 (all slots are there)
        """The server of a slot."""
        yield from ()
        return HOME

    def every(self, limit: TimeLimit) -> Program[list[Endpoint]]:
        """All servers that take writes."""
        return [(yield from self.locate(0, limit))]

    def move(self, slot: int, endpoint: Endpoint) -> None:
        """Remember that a slot has moved."""

    def forget(self) -> None:
        """Ask again where the data is."""


class SentinelRoute(Route):
    """The route to the master that sentinels name.

    Args:
        sentinels: Where they are.
        service: The master's name.
        ask: How to ask one.
    """

    moves = True

    def __init__(self, sentinels: Sequence[tuple[str, int]], service: str, ask: Ask) -> None:
        self._sentinels = [Endpoint(host, port, sentinel=True) for host, port in sentinels]
        self._service, self._ask = service, ask
        self._master: Endpoint | None = None

    def locate(self, slot: int, limit: TimeLimit) -> Program[Endpoint]:  # noqa: ARG002 (all slots are there)
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
        raise UnreachableError(_said(f"no sentinel knows a master of the name {shown(self._service)}", found))


class ClusterRoute(Route):
    """The route to the servers of a cluster.

    Args:
        nodes: Some of them.
        ask: How to ask one.
        remap: What to connect to instead of an address that a server names. Default: None (that address).
    """

    scattered = moves = True

    def __init__(self, nodes: Sequence[tuple[str, int]], ask: Ask, remap: Any = None) -> None:
        self._nodes = [Endpoint(*node) for node in nodes]
        self._ask, self._remap = ask, remap
        self._table: tuple[list[int], list[Endpoint]] | None = None
        """The first slots of ranges, and the servers that have them."""
        self._moved: dict[int, Endpoint] = {}

    def locate(self, slot: int, limit: TimeLimit) -> Program[Endpoint]:
        firsts, owners = self._table or (yield from self._discover(limit))
        return self._moved.get(slot) or owners[max(0, bisect_right(firsts, slot) - 1)]

    def every(self, limit: TimeLimit) -> Program[list[Endpoint]]:
        _, owners = self._table or (yield from self._discover(limit))
        return list(dict.fromkeys(owners))

    def move(self, slot: int, endpoint: Endpoint) -> None:
        if len(self._moved) >= SLOTS // 16:
            self.forget()
        self._moved[slot] = self._mapped(endpoint)

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
                # The one that answered is asked first the next time.
                self._nodes = list(dict.fromkeys([node, *nodes]))
                return table
        raise UnreachableError(_said("no server of the cluster says where the data is", found))

    def _owner(self, described: Sequence[Any], asked: Endpoint) -> Endpoint:
        host, port = described[0], int(described[1])
        named = host.decode() if isinstance(host, bytes) else host
        return self._mapped(Endpoint(named or asked.host, port))

    def _mapped(self, endpoint: Endpoint) -> Endpoint:
        if self._remap is None:
            return endpoint
        host, port = self._remap((endpoint.host, endpoint.port))
        return Endpoint(host, port)


def _said(text: str, found: Any) -> str:
    return f"{text} ({found})" if isinstance(found, Exception) else text


def slot_of(key: str) -> int:
    """The slot of a key with a hash tag."""
    tag = key[key.index("{") + 1 : key.index("}")]
    return crc_hqx(tag.encode(), 0) % SLOTS
