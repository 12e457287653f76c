"""Connections that the application set up in its own way are used all the same, and stay as they were."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from identity import without_ids
from langchain_core.messages import HumanMessage
from patience import PATIENCE
from psycopg import AsyncClientCursor, AsyncRawCursor, ClientCursor, RawCursor
from psycopg.rows import class_row, dict_row, namedtuple_row, scalar_row
from psycopg.types.json import set_json_loads
from psycopg.types.string import TextBinaryLoader
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from surfaces import assert_used, use

from langchain_agentmem import AgentMemory, ConfigurationError


def base_of(url: str) -> str:
    return url.partition("?")[0]


def schema_of(url: str) -> str:
    return url.rpartition("schema=")[2]


def broken_json(connection: Any) -> None:
    set_json_loads(lambda _: "not what was stored", connection)


class Shouting(TextBinaryLoader):
    """A loader of the application's for its own texts."""

    def load(self, data: Any) -> Any:
        return str(super().load(data)).upper()


def shouting(connection: Any) -> None:
    connection.adapters.register_loader("text", Shouting)


SETTINGS: dict[str, tuple[dict[str, Any], Callable[[Any], None] | None]] = {
    "client-cursor": ({"cursor_factory": ClientCursor}, None),
    "raw-cursor": ({"cursor_factory": RawCursor}, None),
    "dict-rows": ({"row_factory": dict_row}, None),
    "namedtuple-rows": ({"row_factory": namedtuple_row}, None),
    "scalar-rows": ({"row_factory": scalar_row}, None),
    "class-rows": ({"row_factory": class_row(dict)}, None),
    "prepared-at-once": ({"prepare_threshold": 0}, None),
    "never-prepared": ({"prepare_threshold": None}, None),
    "client-cursor-with-dict-rows": ({"cursor_factory": ClientCursor, "row_factory": dict_row}, None),
    "own-json": ({}, broken_json),
    "own-texts": ({}, shouting),
}
ASYNC = {ClientCursor: AsyncClientCursor, RawCursor: AsyncRawCursor}


@pytest.mark.parametrize("autocommit", [True, False])
@pytest.mark.parametrize("name", SETTINGS)
async def test_a_connection_is_used_whatever_its_settings_are(postgres_url, call, name, autocommit):
    settings, configure = SETTINGS[name]
    with psycopg.connect(base_of(postgres_url), autocommit=autocommit, **settings) as connection:
        if configure is not None:
            configure(connection)
        memory = AgentMemory.from_connection(connection, schema=schema_of(postgres_url))
        for number in range(2):
            await use(memory, call, number)
        await assert_used(memory, call, 2)
        assert connection.cursor_factory is settings.get("cursor_factory", psycopg.Cursor)
        assert not {"wait", "cancel_safe"} & vars(connection).keys()
    with AgentMemory.from_url(postgres_url) as memory:
        await assert_used(memory, call, 2)
        await call(memory.close)


@pytest.mark.parametrize("name", SETTINGS)
async def test_an_asynchronous_connection_is_used_whatever_its_settings_are(postgres_url, name):
    settings, configure = SETTINGS[name]
    given = dict(settings)
    if "cursor_factory" in given:
        given["cursor_factory"] = ASYNC[given["cursor_factory"]]
    async with await psycopg.AsyncConnection.connect(base_of(postgres_url), autocommit=True, **given) as connection:
        if configure is not None:
            configure(connection)
        memory = AgentMemory.from_connection(connection, schema=schema_of(postgres_url))
        await memory.history("s").aadd_messages([HumanMessage("a")])
        assert without_ids(await memory.history("s").aget_recent()) == [HumanMessage("a")]
        await memory.store.aput(("a",), "k", {"n": 1})
        assert [item.value for item in await memory.store.asearch(("a",), filter={"n": 1})] == [{"n": 1}]


@pytest.mark.parametrize("name", ["client-cursor", "raw-cursor", "dict-rows", "own-json"])
async def test_a_pool_is_used_whatever_its_connections_are_like(postgres_url, call, name):
    settings, configure = SETTINGS[name]
    options: Any = {"kwargs": settings, "min_size": 1, "open": True}
    with ConnectionPool(base_of(postgres_url), configure=configure, **options) as pool:
        memory = AgentMemory.from_connection(pool, schema=schema_of(postgres_url))
        await use(memory, call, 0)
        await assert_used(memory, call, 1)


async def test_an_asynchronous_pool_of_client_cursors_is_used(postgres_url):
    settings = {"cursor_factory": AsyncClientCursor, "row_factory": dict_row}
    async with AsyncConnectionPool(base_of(postgres_url), kwargs=settings, min_size=1, open=False) as pool:
        memory = AgentMemory.from_connection(pool, schema=schema_of(postgres_url))
        await memory.history("s").aadd_messages([HumanMessage("a")])
        assert await memory.history("s").acount() == 1


FORKED = """
import os, sys
import psycopg, psycopg_pool
from langchain_core.messages import HumanMessage
from langchain_agentmem import AgentMemory, ConfigurationError

base, schema, kind, opened = sys.argv[1:]
if kind == "pool":
    given = psycopg_pool.ConnectionPool(base, min_size=1, open=opened == "before")
else:
    given = psycopg.connect(base, autocommit=True)
memory = AgentMemory.from_connection(given, schema=schema)
if opened == "before":
    memory.history("s").add_messages([HumanMessage("parent")])
child = os.fork()
if child == 0:
    try:
        if opened == "after":
            given.open()
        memory.history("s").add_messages([HumanMessage("child")])
    except ConfigurationError as error:
        assert "forked" in str(error), error
        os._exit(7)
    os._exit(0)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
if opened == "after":
    given.open()
memory.history("s").add_messages([HumanMessage("parent")])
print(status, [message.content for message in memory.history("s").get_recent()])
given.close()
"""


@pytest.mark.parametrize(
    ("kind", "opened", "expected"),
    [
        ("pool", "before", "7 ['parent', 'parent']"),
        ("connection", "before", "7 ['parent', 'parent']"),
        ("pool", "after", "0 ['child', 'parent']"),
    ],
)
def test_what_the_application_opened_before_a_fork_is_refused_after_it(postgres_url, kind, opened, expected):
    arguments = [base_of(postgres_url), schema_of(postgres_url), kind, opened]
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKED, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env=os.environ,
    )
    assert (done.returncode, done.stdout.strip()) == (0, expected), done.stderr


def test_an_asynchronous_pool_refuses_synchronous_calls(postgres_url):
    pool = AsyncConnectionPool(base_of(postgres_url), open=False)
    with pytest.raises(ConfigurationError, match="prefix `a`"):
        AgentMemory.from_connection(pool, schema=schema_of(postgres_url)).history("s").count()
