"""The private attributes of redis-py and asyncio that the Redis backend uses: where, and whether they do their job."""

from __future__ import annotations

import ast
import asyncio
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import redis
from packaging.specifiers import SpecifierSet
from patience import PATIENCE

from langchain_agentmem.backends.redis import internals

FOLDER = Path(internals.__file__).parent
NAMED_TUPLES = {"_replace", "_asdict", "_fields", "_make"}
"""Names that begin with an underscore and are public."""


def private_attributes(path: Path) -> set[str]:
    """The private attributes of other objects that a module uses."""
    used = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        own = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
        name = node.attr if isinstance(node, ast.Attribute) else ""
        if name.startswith("_") and not name.startswith("__") and name not in NAMED_TUPLES and not own:
            used.add(name)
    return used


def test_one_module_uses_private_attributes():
    users = {path.name for path in FOLDER.glob("*.py") if private_attributes(path)}
    assert users == {"internals.py"}


def test_the_tested_versions_are_those_that_the_package_requires():
    project = Path(__file__).parents[2].joinpath("pyproject.toml").read_text(encoding="utf-8")
    assert f'redis = ["redis{internals.TESTED_VERSIONS}"]' in project
    assert version("redis") in SpecifierSet(internals.TESTED_VERSIONS)


def test_a_timeout_bounds_the_wait_of_a_synchronous_connection(redis_url):
    with redis.Redis.from_url(redis_url, retry=None, protocol=2, socket_timeout=None) as client:
        connection = client.connection_pool.get_connection()
        internals.set_timeout(connection, 0.05)
        began = time.monotonic()
        with pytest.raises(redis.exceptions.TimeoutError):
            connection.read_response()
        assert time.monotonic() - began > 0.04
        internals.set_timeout(connection, 1.0)  # of a closed connection
        client.connection_pool.release(connection)


async def connected(url: str) -> Any:
    pool = redis.asyncio.ConnectionPool.from_url(url, protocol=2)
    connection = await pool.get_connection()
    await connection.send_command("CLIENT", "ID")
    return connection, await connection.read_response()


async def test_an_unread_answer_and_the_end_of_a_connection_are_noticed(redis_url):
    connection, number = await connected(redis_url)
    assert internals.is_clean(connection)
    await connection.send_command("ECHO", "unread")
    deadline = time.monotonic() + PATIENCE
    while internals.is_clean(connection):
        assert time.monotonic() < deadline
        await asyncio.sleep(0)
    await connection.read_response()
    assert internals.is_clean(connection)
    with redis.Redis.from_url(redis_url) as client:
        client.execute_command("CLIENT", "KILL", "ID", number)
    assert not internals.is_clean(connection)  # before the loop has polled
    internals.abort(connection)
    assert not internals.is_clean(connection)


async def test_an_interrupted_connection_fails_the_task_that_waits(redis_url):
    connection, _ = await connected(redis_url)
    waiting = asyncio.ensure_future(connection.read_response())
    await asyncio.sleep(0)
    internals.interrupt(connection)
    with pytest.raises(redis.exceptions.ConnectionError):
        await asyncio.wait_for(waiting, PATIENCE)
    internals.interrupt(connection)  # which is closed


@pytest.mark.parametrize("loop_is", ["closed", "running"])
def test_a_discarded_connection_is_closed_at_the_server(redis_url, loop_is):
    loop = asyncio.new_event_loop()
    connection, number = loop.run_until_complete(connected(redis_url))
    with redis.Redis.from_url(redis_url) as client:
        assert number in {int(one["id"]) for one in client.client_list()}
        if loop_is == "closed":
            loop.close()
            internals.discard(loop, [connection])
        else:
            loop.call_soon(internals.discard, loop, [connection])
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()
        deadline = time.monotonic() + PATIENCE
        while number in {int(one["id"]) for one in client.client_list()}:
            assert time.monotonic() < deadline
    internals.discard(loop, [connection])
