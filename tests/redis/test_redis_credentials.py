"""Credentials from a function: Redis is given them on each new connection."""

from __future__ import annotations

import asyncio
import threading

import pytest
import redis
from servers import redis_server

from langchain_agentmem import AgentMemory, AgentMemStore, ConfigurationError, InvalidTypeError, StorageError


@pytest.fixture(scope="module")
def locked_server():
    """A server that asks the user `app` for a password."""
    with redis_server() as server:
        yield server


def set_password(server, password):
    with redis.Redis(port=server.port) as client:
        client.execute_command("ACL", "SETUSER", "app", "reset", "on", f">{password}", "~*", "&*", "+@all")
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


@pytest.mark.parametrize("named", [False, True])
async def test_each_new_connection_asks_for_credentials(locked_server, call, named):
    tokens, asked = ["first"], []

    def credentials():
        asked.append(tokens[0])
        return ("app", tokens[0]) if named else tokens[0]

    set_password(locked_server, "first")
    user = "" if named else "app@"
    with AgentMemory.from_url(f"redis://{user}127.0.0.1:{locked_server.port}/0", credentials=credentials) as memory:
        assert await call(memory.history("s").count) == 0
        tokens[0] = "second"
        set_password(locked_server, "second")
        assert await call(memory.history("s").count) == 0
        await call(memory.close)
    assert set(asked) == {"first", "second"}


def test_the_constructor_takes_credentials(locked_server, monkeypatch, tmp_path):
    set_password(locked_server, "first")
    url = f"redis://127.0.0.1:{locked_server.port}/0"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENTMEM_URL", url)
    for given in (url, None):
        with AgentMemory(given, credentials=lambda: ("app", "first")) as memory:
            assert memory.history("s").count() >= 0
            assert asyncio.run(memory.history("s").acount()) >= 0


async def test_a_coroutine_function_serves_asynchronous_callers(locked_server):
    set_password(locked_server, "first")

    async def credentials():
        return "app", "first"

    async with AgentMemory.from_url(f"redis://127.0.0.1:{locked_server.port}/0", credentials=credentials) as memory:
        assert await memory.history("s").acount() == 0
        with pytest.raises(ConfigurationError, match="coroutine function"):
            memory.history("s").count()


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (3, ConfigurationError, "must return a password"),
        (RuntimeError("secret"), StorageError, "credentials raised 'RuntimeError'"),
        (("app", "wrong-secret"), ConfigurationError, "credentials|password"),
    ],
)
async def test_a_wrong_answer_is_an_error_without_the_secret(locked_server, call, answer, error, message):
    set_password(locked_server, "first")

    def credentials():
        if isinstance(answer, Exception):
            raise answer
        return answer

    with AgentMemory.from_url(f"redis://127.0.0.1:{locked_server.port}/0?retries=0", credentials=credentials) as memory:
        with pytest.raises(error, match=message) as raised:
            await call(memory.history("s").count)
        assert "secret" not in str(raised.value)


def test_wrong_uses_are_refused():
    with pytest.raises(ConfigurationError, match="The URL contains a password"):
        AgentMemory.from_url("redis://:pw@h/0", credentials=lambda: "x")
    with pytest.raises(InvalidTypeError, match="credentials must be a function"):
        AgentMemStore.from_url("redis://h/0", credentials="token")
    with pytest.raises(ConfigurationError, match="credentials is for Postgres and Redis only"):
        AgentMemory.from_url("sqlite:///:memory:", credentials=lambda: "x")


async def test_a_function_that_does_not_return_ends_with_the_operation(locked_server, call):
    never = threading.Event()
    url = f"redis://127.0.0.1:{locked_server.port}/0?timeout=0.3"
    try:
        memory = AgentMemory.from_url(url, credentials=never.wait)
        with pytest.raises(StorageError, match=r"the function credentials took longer than 0.3 seconds"):
            await call(memory.history("s").count)
        await call(memory.close)
    finally:
        never.set()
