"""Connections to Redis: URLs, the application's own clients, servers that go away, and what is left when all is closed."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from langchain_core.messages import HumanMessage
from patience import PATIENCE
from servers import RedisCluster, RedisServer, free_port, redis_program, redis_server
from surfaces import CONFIG, assert_used, use

from langchain_agentmem import (
    AgentMemError,
    AgentMemHistory,
    AgentMemory,
    AgentMemSaver,
    AgentMemStore,
    ConfigurationError,
    StorageClosedError,
    StorageError,
)
from langchain_agentmem.backends import connect
from langchain_agentmem.backends.redis import dispatcher, limits
from langchain_agentmem.backends.redis.internals import discard
from langchain_agentmem.programs import OuterStep


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server of the test's own."""
    with redis_server() as started:
        yield started


# URLs


async def test_a_memory_on_a_socket(server, call):
    async def on(url: str, times: int) -> None:
        with AgentMemory.from_url(url) as memory:
            await use(memory, call, times - 1)
            await assert_used(memory, call, times)
            await call(memory.close)

    await on(f"unix://{server.socket}", 1)
    await on(f"unix://{server.socket}?db=0", 2)
    await on(f"redis://localhost:{server.port}", 3)


async def test_the_databases_of_a_server_are_apart(server, call):
    for number in (0, 5):
        with AgentMemory.from_url(f"redis://127.0.0.1:{server.port}/{number}") as memory:
            await use(memory, call, 0)
            await assert_used(memory, call, 1)
            await call(memory.close)


async def test_a_memory_behind_sentinels_follows_the_master(server, call):
    """Two sentinels; the first that is named is not there."""
    folder = server.folder
    ports = [free_port(), free_port()]
    sentinels = []
    for port in ports:
        file = folder / f"sentinel-{port}.conf"
        file.write_text(f"port {port}\nbind 127.0.0.1\nsentinel monitor memories 127.0.0.1 {server.port} 1\n")
        sentinels.append(
            subprocess.Popen([str(redis_program()), str(file), "--sentinel"], stdout=subprocess.DEVNULL, cwd=folder)
        )
    try:
        for port in ports:
            deadline = time.monotonic() + PATIENCE
            while not _knows_a_master(port):
                assert time.monotonic() < deadline
                time.sleep(0.02)
        hosts = ",".join(f"127.0.0.1:{port}" for port in (free_port(), *ports))
        with AgentMemory.from_url(f"redis+sentinel://{hosts}/memories") as memory:
            await use(memory, call, 0)
            await assert_used(memory, call, 1)
            assert "memories" in repr(memory)
            await call(memory.close)
        with (
            AgentMemory.from_url(f"redis+sentinel://127.0.0.1:{ports[0]}/others?retries=0") as memory,
            pytest.raises(StorageError, match="others"),
        ):
            await call(memory.history("s").count)
        await call(memory.close)
    finally:
        for sentinel in sentinels:
            sentinel.kill()
            sentinel.wait()


def _knows_a_master(port: int) -> bool:
    try:
        with redis.Redis(port=port, retry=None, protocol=2) as client:
            return client.sentinel_get_master_addr_by_name("memories") is not None
    except redis.exceptions.ConnectionError:
        return False


def test_a_url_with_tls_asks_for_tls(server):
    """The server knows no TLS, so the first thing that is sent is not understood by it."""
    with (
        AgentMemory.from_url(f"rediss://127.0.0.1:{server.port}/0?timeout=1") as memory,
        pytest.raises(StorageError),
    ):
        memory.history("s").count()


BAD_URLS = [
    ("redis://localhost:6379/0?colour=red", "Unknown option 'colour'"),
    ("redis://localhost:6379/0?timeout=soon", "timeout must be a number of seconds"),
    ("redis://localhost:6379/0?timeout=0", "timeout"),
    ("redis://localhost:6379/0?pool_size=0", "pool_size"),
    ("redis://localhost:6379/0?retries=-1", "retries"),
    ("redis://localhost:6379/0?allow_eviction=yes", "allow_eviction must be true or false"),
    ("redis://localhost:6379/zero", "database"),
    ("redis://localhost:port/0", "port"),
    ("redis:///0", "names no server"),
    ("unix://", "names no server"),
    ("redis+cluster://", "names no server"),
    ("redis+sentinel://", "names no service"),
    ("redis+sentinel://localhost:26379", "names no service"),
    ("redis+sentinel://localhost:port/service", "port"),
    ("redis+sentinel://localhost/service/zero", "names no service"),
    ("redis+cluster://localhost:7000/1", "database"),
    ("redis+unknown://localhost", "Unknown URL scheme"),
]


@pytest.mark.parametrize(("url", "message"), BAD_URLS)
def test_a_url_that_says_nothing_sensible_is_refused(url, message):
    with pytest.raises(ConfigurationError, match=message):
        connect(url)


def test_passwords_are_shown_nowhere(server):
    url = f"redis://me:s3cret@127.0.0.1:{server.port}/0"
    with AgentMemory.from_url(url) as memory:
        assert "s3cret" not in repr(memory)
        with pytest.raises(ConfigurationError) as caught:
            memory.history("s").count()
        assert "s3cret" not in str(caught.value)
    with pytest.raises(ConfigurationError) as caught:
        connect(f"{url}?colour=red")
    assert "s3cret" not in str(caught.value)


# Servers that lose what they are given


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_a_server_that_may_delete_what_is_stored_is_refused(call, policy):
    with redis_server(maxmemory="100mb", maxmemory_policy=policy) as server:
        with AgentMemory.from_url(server.url) as memory:
            with pytest.raises(ConfigurationError, match=rf"maxmemory-policy is '{policy}'.*allow_eviction=true"):
                await call(memory.history("s").add_messages, [HumanMessage("a")])
            await call(memory.close)
        with redis.Redis(port=server.port) as client:
            assert client.dbsize() == 0
            with AgentMemory.from_client(client, allow_eviction=True) as memory:
                await use(memory, call, 0)
            with AgentMemory.from_client(client) as memory, pytest.raises(ConfigurationError, match="allow_eviction"):
                await call(memory.history("s").count)
        with AgentMemory.from_url(f"{server.url}?allow_eviction=true") as memory:
            await assert_used(memory, call, 1)
            await call(memory.close)


async def test_a_policy_that_cannot_matter_is_accepted(call):
    with redis_server(maxmemory_policy="allkeys-lru") as server, AgentMemory.from_url(server.url) as memory:
        await use(memory, call, 0)
        await call(memory.close)


async def test_a_user_who_may_not_ask_for_the_servers_state_can_use_the_memory(server, call):
    with redis.Redis(port=server.port) as admin:
        admin.acl_setuser(
            "app", enabled=True, passwords=["+word"], keys=["agentmem:*"], commands=["+@all", "-@dangerous", "+restore"]
        )
    with AgentMemory.from_url(f"redis://app:word@127.0.0.1:{server.port}/0") as memory:
        await use(memory, call, 0)
        await assert_used(memory, call, 1)
        await call(memory.checkpointer.copy_thread, "1", "2")
        await call(memory.close)


async def test_what_was_acknowledged_survives_a_crash_of_the_server(call):
    """With `appendfsync always`, which docs/redis.md names for it."""
    with (
        redis_server(appendonly="yes", appendfsync="always") as server,
        AgentMemory.from_url(server.url, ttl=1000) as memory,
    ):
        for number in range(3):
            await use(memory, call, number)
            server.stop(signal.SIGKILL)
            server.start()
            await assert_used(memory, call, number + 1)
        await call(memory.close)


@pytest.fixture
def pauses(monkeypatch) -> Pauses:
    """The pauses between attempts. They take no time, but the clock of time limits moves on."""
    made = Pauses()
    monkeypatch.setattr(limits, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + sum(made)))
    monkeypatch.setattr(dispatcher, "Sleep", lambda seconds: Pause(made, seconds))
    return made


class Pauses(list[float]):
    """The seconds of each pause.

    Attributes:
        at: The number of the pause that does something. Default: 0 (none).
        action: What that pause does.
    """

    at = 0
    action = staticmethod(lambda: None)


@dataclass
class Pause(OuterStep[None]):
    """One of the pauses between attempts."""

    pauses: Pauses
    seconds: float

    def perform(self) -> None:
        self.pauses.append(self.seconds)
        if len(self.pauses) == self.pauses.at:
            self.pauses.action()

    async def aperform(self) -> None:
        await asyncio.to_thread(self.perform)


async def test_operations_ride_out_a_restart(call, pauses):
    """The server starts while a call pauses after its twelfth failure."""
    with redis_server(appendonly="yes") as server, AgentMemory.from_url(server.url) as memory:
        await use(memory, call, 0)
        server.stop()
        pauses.at, pauses.action = 12, server.start
        await use(memory, call, 1)
        assert len(pauses) == 12
        assert max(pauses) <= 1
        await assert_used(memory, call, 2)
        await call(memory.close)


async def test_operations_ride_out_a_restart_of_a_cluster(call):
    """It needs about two seconds after its servers have started."""
    cluster = RedisCluster()
    try:
        with AgentMemory.from_url(cluster.url) as memory:
            await use(memory, call, 0)
            for node in cluster.nodes:
                node.stop()
            for node in cluster.nodes:
                node.start()
            for number in range(10):
                await call(memory.history(f"s{number}").add_messages, [HumanMessage("a")])
            await call(memory.close)
    finally:
        cluster.close()


async def test_a_call_waits_for_a_server_until_the_time_limit(server, call, pauses):
    with AgentMemory.from_url(f"{server.url}?timeout=1000") as memory:
        await call(memory.history("s").count)
        server.stop()
        with pytest.raises(StorageError, match="Cannot reach Redis"):
            await call(memory.history("s").count)
        assert 900 < sum(pauses) < 1000
        await call(memory.close)


async def test_a_server_that_was_never_reached_is_an_error_at_once(call, pauses):
    for options, attempts in ("", 1), ("?retries=3", 4):
        pauses.clear()
        with AgentMemory.from_url(f"redis://127.0.0.1:{free_port()}/0{options}") as memory:
            with pytest.raises(StorageError, match=r"Cannot reach Redis.*Nothing was stored\.$"):
                await call(memory.history("s").add_messages, [HumanMessage("a")])
            assert len(pauses) == attempts - 1
            await call(memory.close)


async def test_the_pauses_of_a_long_wait_stay_within_a_second(call, pauses):
    """A limit of a day allows more than a thousand attempts."""
    with redis_server(appendonly="yes") as server, AgentMemory.from_url(f"{server.url}?timeout=86400") as memory:
        await use(memory, call, 0)
        server.stop()
        pauses.at, pauses.action = 1100, server.start
        await use(memory, call, 1)
        assert len(pauses) == 1100
        assert max(pauses) <= 1
        await call(memory.close)


async def test_a_server_that_is_not_there_is_an_error_and_the_memory_goes_on_when_it_is(server, call):
    with AgentMemory.from_url(f"{server.url}?retries=1") as memory:
        await use(memory, call, 0)
        server.stop()
        for _ in range(2):
            with pytest.raises(StorageError, match="Cannot reach Redis"):
                await call(memory.history("s").count)
        server.start()
        assert await call(memory.history("s").count) == 0
        await call(memory.close)


# The application's own clients


def sync_clients(url: str) -> Iterator[Any]:
    scheme, _, rest = url.partition("://")
    kind = redis.RedisCluster if "cluster" in scheme else redis.Redis
    yield kind.from_url(f"redis://{rest}")
    yield kind.from_url(f"redis://{rest}", decode_responses=True)
    yield kind.from_url(f"redis://{rest}", protocol=3)


async def test_a_client_of_the_applications_own(any_redis_url, call):
    for number, client in enumerate(sync_clients(any_redis_url)):
        memory = AgentMemory.from_client(client)
        await use(memory, call, number)
        await assert_used(memory, call, number + 1)
        await call(memory.close)
        with pytest.raises(StorageClosedError):
            await call(memory.history("s").count)
        assert client.ping()
        client.close()


async def test_an_asynchronous_client_of_the_applications_own(any_redis_url):
    async def call(method: Any, *args: Any, **kwargs: Any) -> Any:
        return await getattr(method.__self__, f"a{method.__name__}")(*args, **kwargs)

    scheme, _, rest = any_redis_url.partition("://")
    kind = redis.asyncio.RedisCluster if "cluster" in scheme else redis.asyncio.Redis
    for number, options in enumerate(({}, {"decode_responses": True}, {"protocol": 3})):
        client = kind.from_url(f"redis://{rest}", **options)
        memory = AgentMemory.from_connection(client)
        await use(memory, call, number)
        await assert_used(memory, call, number + 1)
        with pytest.raises(ConfigurationError, match="prefix `a`"):
            memory.history("s").count()
        await memory.aclose()
        assert await client.ping()
        await client.aclose()
        if "cluster" in scheme:  # what redis-py leaves open
            nodes = [*client.nodes_manager.nodes_cache.values(), *client.nodes_manager.startup_nodes.values()]
            nodes += client.startup_nodes
            discard(asyncio.get_running_loop(), [one for node in nodes for one in node._connections])


async def test_each_surface_stands_alone_on_a_client(redis_url, call):
    with redis.Redis.from_url(redis_url) as client:
        history = AgentMemHistory.from_client(client, "s", user_id="alice")
        await call(history.add_messages, [HumanMessage("a")])
        assert await call(history.count) == 1
        store = AgentMemStore.from_client(client)
        await call(store.put, ("a",), "k", {"n": 1})
        saver = AgentMemSaver.from_client(client, ttl=50)
        assert await call(saver.get_tuple, CONFIG) is None


# Many at once, and what is left


async def test_more_callers_than_connections_wait_for_each_other(redis_url, call):
    with redis.Redis.from_url(redis_url) as client:
        before = {one["id"] for one in client.client_list()}
    with AgentMemory.from_url(f"{redis_url}?pool_size=2") as memory:

        def add(number: int) -> None:
            memory.store.put(("a",), str(number), {"n": number})

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(add, range(100)))
        await asyncio.gather(*(memory.store.aput(("b",), str(number), {"n": number}) for number in range(100)))
        assert len(memory.store.search((), limit=300)) == 200
        with redis.Redis.from_url(redis_url) as client:
            assert len([one for one in client.client_list() if one["id"] not in before]) <= 5
        await call(memory.close)


def test_event_loops_that_are_over_leave_no_connection_behind(any_redis_url):
    async def once(memory: AgentMemory, number: int) -> None:
        await memory.history("s").aadd_messages([HumanMessage(str(number))])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        memory = AgentMemory.from_url(any_redis_url)
        for number in range(12):
            asyncio.run(once(memory, number))
        gc.collect()
        assert memory.history("s").count() == 12
        assert len(memory.backend.driver.servers.loops) == 1
        memory.close()
        del memory
        gc.collect()


def test_a_memory_closed_from_another_thread_closes_the_connections_of_a_running_loop(redis_url):
    with redis.Redis.from_url(redis_url) as client:
        before = {one["id"] for one in client.client_list()}
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    memory = AgentMemory.from_url(redis_url)
    asyncio.run_coroutine_threadsafe(memory.history("s").aadd_messages([HumanMessage("a")]), loop).result(PATIENCE)
    memory.close()
    with redis.Redis.from_url(redis_url, client_name="watcher") as client:
        deadline = time.monotonic() + PATIENCE
        while [one for one in client.client_list() if one["name"] != "watcher" and one["id"] not in before]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_a_memory_that_is_forgotten_is_collected(redis_url):
    memory = AgentMemory.from_url(redis_url)
    memory.history("s").add_messages([HumanMessage("a")])
    asyncio.run(memory.history("s").aget_messages())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del memory
        gc.collect()


def test_a_forked_process_has_connections_of_its_own(redis_url):
    program = """
import os, sys
from langchain_core.messages import HumanMessage
from langchain_agentmem import AgentMemory
memory = AgentMemory.from_url(sys.argv[1])
memory.history("s").add_messages([HumanMessage("parent")])
children = []
for number in range(4):
    pid = os.fork()
    if not pid:
        for turn in range(20):
            memory.history("s").add_messages([HumanMessage(f"{number} {turn}")])
        os._exit(0)
    children.append(pid)
assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
print(memory.history("s").count())
"""
    done = subprocess.run([sys.executable, "-c", program, redis_url], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("81\n", "")


def test_a_missing_package_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("langchain_agentmem.backends.redis")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigurationError, match=r"langchain-agentmem\[redis\]"):
        connect("redis://localhost:6379/0")


def test_every_error_is_one_of_ours(server):
    """A key of another type where one of ours belongs."""
    with AgentMemory.from_url(server.url) as memory, redis.Redis(port=server.port) as client:
        memory.history("s").add_messages([HumanMessage("a")])
        (key,) = client.scan_iter("*:messages")
        client.delete(key)
        client.set(key, "something else")
        with pytest.raises(AgentMemError, match=r"WRONGTYPE|wrong kind"):
            memory.history("s").get_recent(5)
