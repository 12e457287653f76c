"""Connections that are cut, half-closed, slow and silent, under load."""

from __future__ import annotations

import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from harness import Load
from proxy import FaultyProxy


@pytest.fixture(params=["postgres_url", "redis_url"])
def server_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database on a server."""
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def proxy(server_url: str) -> Iterator[FaultyProxy]:
    """A proxy before the server."""
    proxy = FaultyProxy(urlsplit(server_url).port or 0)
    yield proxy
    proxy.close()


@pytest.fixture
def proxied(server_url: str, proxy: FaultyProxy) -> str:
    """The URL of the database behind the proxy; a call takes at most 10 seconds."""
    url = server_url.replace(f":{urlsplit(server_url).port}", f":{proxy.port}")
    return f"{url}{'&' if '?' in url else '?'}timeout=10"


def backend_of(url: str) -> str:
    return url.partition(":")[0]


@pytest.mark.parametrize("tasks", [0, 8])
def test_connections_that_are_cut_lose_nothing(proxied, proxy, tmp_path, table, rounds, tasks):
    load = Load(proxied, tmp_path, tasks=tasks)
    with load:
        load.advance()
        for _ in range(rounds):
            load.survive(proxy.cut)
    made = f"a proxy closes all connections; 3 processes{' of 8 tasks' if tasks else ''}"
    load.check(table, "connections cut", made, backend_of(proxied))


def test_half_closed_connections_lose_nothing(proxied, proxy, tmp_path, table, rounds):
    load = Load(proxied, tmp_path)
    with load:
        load.advance()
        for _ in range(rounds):
            load.survive(proxy.half_close)
    made = "a proxy ends the answers; requests still arrive"
    load.check(table, "connections half-closed", made, backend_of(proxied))


def test_a_slow_server_loses_nothing(proxied, proxy, tmp_path, table, rounds):
    load = Load(proxied, tmp_path, tasks=8)
    with load:
        load.advance()
        for _ in range(rounds):
            load.survive(lambda: slow(proxy, load))
    load.check(table, "slow server", "a proxy delays each answer by 50 ms; 3 processes of 8 tasks", backend_of(proxied))


def slow(proxy: FaultyProxy, load: Load) -> None:
    proxy.delay = 0.05
    load.advance(10)
    proxy.delay = 0.0


def test_a_silent_server_loses_nothing(proxied, proxy, tmp_path, table, rounds):
    """Answers are lost for ever, so a call ends with its time limit or is tried again."""
    load = Load(proxied.replace("timeout=10", "timeout=2"), tmp_path)
    with load:
        load.advance()
        for _ in range(rounds):
            load.survive(lambda: silent(proxy, 1.0))
    made = "a proxy drops all answers for 1 s, and those of the present connections for ever; time limit 2 s"
    load.check(table, "silent server", made, backend_of(proxied))


def silent(proxy: FaultyProxy, seconds: float) -> None:
    proxy.forget()
    time.sleep(seconds)
    proxy.silent = False
