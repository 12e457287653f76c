"""Storage that is full or read-only, servers without a free connection, clocks that go back, and newer versions of the tables."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from database import database
from harness import Load, Row
from processes import CONTEXT
from servers import NOBODY, postgres_server, redis_server

from langchain_agentmem import AgentMemory, ConfigurationError, StorageError
from langchain_agentmem.backends.redis.scripts import slot

LARGE = random.Random(1).randbytes(50_000).hex()


def backend_of(url: str) -> str:
    return url.partition(":")[0]


def in_child(job: Callable[..., Any], *arguments: Any) -> Any:
    """Run a job in a process of its own; return its result."""
    receiver, sender = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_send, args=(sender, job, arguments))
    process.start()
    sender.close()
    with receiver:
        result = receiver.recv()
    process.join()
    return result


def _send(sender: Any, job: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    sender.send(job(*arguments))


def fill_up(memory: AgentMemory) -> tuple[int, str]:
    """Put large items until one is refused; return the number that was stored, and the error."""
    for number in range(10_000):
        try:
            memory.store.put(("large",), str(number), {"text": LARGE}, index=False)
        except StorageError as error:
            return number, str(error)
    pytest.fail("nothing was refused")


def assert_whole(memory: AgentMemory, count: int) -> int:
    """All items are there that were acknowledged and no other, and the memory stores again. Returns the number lost."""
    items = memory.store.search(("large",), limit=10_000)
    assert all(item.value == {"text": LARGE} for item in items)
    assert {item.key for item in items} == set(map(str, range(count)))
    memory.history("after").add_user_message("I go on.")
    return count - len(items)


def fill_limited(url: str) -> tuple[int, str]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY))
    with AgentMemory.from_url(url) as memory:
        stored, error = fill_up(memory)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert_whole(memory, stored)
        return stored, error


def test_a_full_disk_loses_nothing_on_sqlite(sqlite_url, table):
    stored, error = in_child(fill_limited, sqlite_url)
    assert stored > 5
    with AgentMemory.from_url(sqlite_url) as memory:
        lost = assert_whole(memory, stored)
    table.rows.append(Row("full disk", "RLIMIT_FSIZE of the process: 2 MB", "sqlite", 1, stored, lost, 0))
    assert "Check its disk and the free space." in error


def test_a_full_database_loses_nothing_on_sqlite(sqlite_url, table):
    connection = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), check_same_thread=False)
    with contextlib.closing(connection), AgentMemory.from_connection(connection) as memory:
        memory.history("before").add_user_message("The tables exist.")
        connection.execute("PRAGMA max_page_count = 400")
        stored, error = fill_up(memory)
        connection.execute("PRAGMA max_page_count = 100000")
        lost = assert_whole(memory, stored)
    table.rows.append(Row("full database", "max_page_count 400, then raised", "sqlite", 1, stored, lost, 0))
    assert stored > 5
    assert "is full. Free some space." in error


def test_a_full_server_loses_nothing_on_redis(table):
    with redis_server(maxmemory="8mb", appendonly="yes") as server, AgentMemory.from_url(server.url) as memory:
        memory.history("before").add_user_message("The scripts are loaded.")
        stored, error = fill_up(memory)
        assert "maxmemory" in error
        with redis.Redis.from_url(server.url) as client:
            client.config_set("maxmemory", 0)
        lost = assert_whole(memory, stored)
    table.rows.append(Row("full server", "maxmemory 8 MB, then raised", "redis", 1, stored, lost, 0))
    assert stored > 5


@contextlib.contextmanager
def small_files() -> Iterator[None]:
    """Processes that are started in the block can write files of 17 MB: a segment of Postgres' log has 16."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (17_000_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_loses_nothing_on_postgres(table):
    with postgres_server() as server, AgentMemory.from_url(server.url) as memory:
        memory.history("before").add_user_message("The tables exist.")
        server.stop()
        with small_files():
            server.start()
        stored, error = fill_up(memory)
        server.stop()
        server.start()
        lost = assert_whole(memory, stored)
    table.rows.append(Row("full disk", "RLIMIT_FSIZE of the server: 17 MB", "postgresql", 1, stored, lost, 0))
    assert stored > 50
    assert "File too large" in error


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user of this machine can read."""
    folder = Path(tempfile.mkdtemp(prefix="agentmem-read-only-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def try_read_only(path: str) -> str:
    with AgentMemory.from_url("sqlite:///:memory:") as memory:
        memory.history("s").add_user_message("Another user cannot read the modules that this loads.")
    if os.geteuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    with AgentMemory.from_url(f"sqlite:///{path}") as memory:
        try:
            memory.history("s").add_user_message("Nobody reads this.")
        except StorageError as error:
            return str(error)
    return ""


def test_a_read_only_file_is_named(open_folder, table):
    path = open_folder / "memory.db"
    with AgentMemory.from_url(f"sqlite:///{path}") as memory:
        memory.history("s").add_user_message("before")
    path.chmod(0o444)
    open_folder.chmod(0o555)
    error = in_child(try_read_only, str(path))
    assert str(path) in error
    assert "read" in error or "permission" in error.lower(), error
    open_folder.chmod(0o755)
    with AgentMemory.from_url(f"sqlite:///{path}") as memory:
        texts = [message.content for message in memory.history("s").messages]
    table.rows.append(Row("read-only file", "mode 444 and another user", "sqlite", 1, 1, 1 - len(texts), 0))
    assert texts == ["before"]


def test_a_read_only_redis_server_is_a_clear_error(table):
    with redis_server() as server, AgentMemory.from_url(f"{server.url}?timeout=2") as memory:
        memory.history("s").add_user_message("before")
        with redis.Redis.from_url(server.url) as client:
            client.config_set("min-replicas-to-write", 1)
            with pytest.raises(StorageError, match="NOREPLICAS"):
                memory.history("s").add_user_message("refused")
            client.config_set("min-replicas-to-write", 0)
        memory.history("s").add_user_message("after")
        texts = [message.content for message in memory.history("s").messages]
    table.rows.append(Row("read-only server", "min-replicas-to-write 1", "redis", 1, 2, 2 - len(texts), 0))
    assert texts == ["before", "after"]


def test_a_postgres_server_without_a_free_connection_is_waited_for(tmp_path, table, rounds):
    with postgres_server("max_connections=12", "superuser_reserved_connections=0") as server:
        load = Load(f"{server.url}?pool_size=2", tmp_path)
        with load:
            load.advance()
            for _ in range(rounds):
                load.survive(lambda: take_all(server.url, load))
        load.check(table, "no free connection", "other clients hold all of max_connections", "postgresql")


def take_all(url: str, load: Load) -> None:
    """Take each free connection of the server, and break those of the writers, so that they need new ones."""
    taken: list[Any] = []
    try:
        while True:
            taken.append(psycopg.connect(url, autocommit=True))
    except psycopg.OperationalError:
        taken[0].execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND query LIKE '%agentmem%' AND pid <> pg_backend_pid()"
        )
    finally:
        for connection in taken:
            connection.close()


def test_a_redis_server_without_a_free_connection_is_waited_for(tmp_path, table, rounds):
    with redis_server() as server, redis.Redis.from_url(server.url) as client:
        load = Load(server.url, tmp_path)
        with load:
            load.advance()
            for _ in range(rounds):
                load.survive(lambda: refuse_all(client))
        load.check(table, "no free connection", "maxclients 1, all other clients killed, then raised", "redis")


def refuse_all(client: Any) -> None:
    client.config_set("maxclients", 1)
    client.client_kill_filter(_type="normal", skipme=True)
    client.config_set("maxclients", 1_000)


def test_a_clock_that_goes_back_reorders_and_loses_nothing(lasting_url, tmp_path, table, rounds):
    load = Load(lasting_url, tmp_path, sets_back=True)
    with load:
        load.advance(120 * rounds)
    load.tries = sum(entry.number % 10 == 5 for entry in load.acknowledged()) // 4
    made = "each process sets its time back an hour at every tenth write"
    load.check(table, "clock set back", made, backend_of(lasting_url))


def test_tables_of_a_newer_version_are_refused_and_left_alone(lasting_url, table):
    with AgentMemory.from_url(lasting_url) as memory:
        memory.history("s").add_user_message("before")
    version = add_to_version(lasting_url, 1)
    with AgentMemory.from_url(lasting_url) as memory:
        for _ in range(2):
            with pytest.raises(ConfigurationError, match=rf"version {version}.*[Uu]pgrade"):
                memory.history("s").add_user_message("refused")
            with pytest.raises(ConfigurationError, match=f"version {version}"):
                memory.history("s").get_recent()
    assert add_to_version(lasting_url, -1) == version - 1
    with AgentMemory.from_url(lasting_url) as memory:
        texts = [message.content for message in memory.history("s").messages]
    made = "the version of the tables is raised by one"
    table.rows.append(Row("newer tables", made, backend_of(lasting_url), 1, 1, 1 - len(texts), 0))
    assert texts == ["before"]


def add_to_version(url: str, change: int) -> int:
    """Change the stored version of the tables; return the new one."""
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as opened:
            opened.execute("UPDATE agentmem_schema SET version = version + ?", (change,))
            return int(opened.execute("SELECT version FROM agentmem_schema").fetchone()[0])
    if url.startswith("postgres"):
        with database(url) as opened:
            opened.execute(f"UPDATE agentmem_schema SET version = version + {change}")
            return int(opened.execute("SELECT version FROM agentmem_schema")[0][0])
    if url.startswith("redis+cluster"):
        with redis.RedisCluster.from_url(url.replace("redis+cluster", "redis")) as cluster:
            return int(cluster.incrby(f"{slot('schema')}schema", change))
    with redis.Redis.from_url(url) as client:
        return int(client.incrby(f"{slot('schema')}schema", change))
