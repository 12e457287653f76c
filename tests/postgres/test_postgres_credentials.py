"""Credentials from a function: Postgres asks for them on each new connection."""

from __future__ import annotations

import asyncio
import threading

import psycopg
import pytest
from servers import postgres_server

from langchain_agentmem import AgentMemory, ConfigurationError, StorageError

HBA = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"


@pytest.fixture(scope="module")
def locked_server():
    """A server that asks the role `app` for a password."""
    with postgres_server() as server:
        (server.data / "pg_hba.conf").write_text(HBA)
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("CREATE ROLE app LOGIN PASSWORD 'first' SUPERUSER")
            connection.execute("SELECT pg_reload_conf()")
        yield server


def set_password(server, password):
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"ALTER ROLE app PASSWORD '{password}'")
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")


def url_of(server, user="app"):
    return f"postgresql://{user}@127.0.0.1:{server.port}/postgres"


@pytest.mark.parametrize("named", [False, True])
async def test_each_new_connection_asks_for_credentials(locked_server, call, named):
    tokens = ["first"]
    asked = []

    def credentials():
        asked.append(tokens[0])
        return ("app", tokens[0]) if named else tokens[0]

    set_password(locked_server, "first")
    url = url_of(locked_server, "nobody" if named else "app")
    with AgentMemory.from_url(url, credentials=credentials) as memory:
        assert await call(memory.history("s").count) >= 0
        tokens[0] = "second"
        set_password(locked_server, "second")  # and ends the connections, as an expiry does
        assert await call(memory.history("s").count) >= 0
        await call(memory.close)
    assert set(asked) == {"first", "second"}


def test_the_constructor_takes_credentials(locked_server, monkeypatch, tmp_path):
    set_password(locked_server, "first")
    url = url_of(locked_server)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENTMEM_URL", url)
    for given in (url, None):
        with AgentMemory(given, credentials=lambda: ("app", "first")) as memory:
            assert memory.history("s").count() >= 0
            assert asyncio.run(memory.history("s").acount()) >= 0


async def test_a_coroutine_function_serves_asynchronous_callers(locked_server):
    set_password(locked_server, "first")

    async def credentials():
        return "first"

    async with AgentMemory.from_url(url_of(locked_server), credentials=credentials) as memory:
        assert await memory.history("s").acount() >= 0
        with pytest.raises(ConfigurationError, match="coroutine function"):
            memory.history("s").count()


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (None, ConfigurationError, "must return a password"),
        (("a", "b", "c"), ConfigurationError, "returned a tuple"),
        (b"secret", ConfigurationError, "returned a bytes"),
        (RuntimeError("secret"), StorageError, "credentials raised 'RuntimeError'"),
        ("wrong-secret", StorageError, "password authentication failed"),
    ],
)
async def test_a_wrong_answer_is_an_error_without_the_secret(locked_server, call, answer, error, message):
    def credentials():
        if isinstance(answer, Exception):
            raise answer
        return answer

    with AgentMemory.from_url(url_of(locked_server), credentials=credentials) as memory:
        with pytest.raises(error, match=message) as raised:
            await call(memory.history("s").count)
        assert "secret" not in str(raised.value)
        assert "secret" not in repr(memory)


@pytest.mark.parametrize("url", ["postgresql://app:pw@h/d", "postgresql://h/d?password=pw"])
def test_a_password_in_the_url_is_refused(url):
    with pytest.raises(ConfigurationError, match="The URL contains a password"):
        AgentMemory.from_url(url, credentials=lambda: "x")


async def test_a_function_that_does_not_return_ends_with_the_operation(call):
    never = threading.Event()
    url = "postgresql://app@127.0.0.1:1/postgres?timeout=0.3"
    try:
        memory = AgentMemory.from_url(url, credentials=never.wait)
        with pytest.raises(StorageError, match=r"the function credentials took longer than 0.[23]"):
            await call(memory.history("s").count)
        await call(memory.close)
    finally:
        never.set()
