"""The constructors that the public classes share."""

from __future__ import annotations

import asyncio
import gc
import inspect
import sqlite3
import weakref
from pathlib import Path

import pytest

from langchain_agentmem import (
    AgentMemCache,
    AgentMemHistory,
    AgentMemory,
    AgentMemSaver,
    AgentMemStore,
    InvalidInputError,
    InvalidTypeError,
)

CONSTRUCTORS = ["from_url", "from_conn_string", "from_connection", "from_client"]


@pytest.mark.parametrize("name", ["from_url", "from_conn_string"])
def test_the_session_may_be_a_keyword(name):
    history = getattr(AgentMemHistory, name)("sqlite:///:memory:", session_id="s", user_id="alice")
    assert (history.session_id, history.user_id) == ("s", "alice")
    history.close()


@pytest.mark.parametrize("name", CONSTRUCTORS)
@pytest.mark.parametrize("kind", [AgentMemory, AgentMemHistory, AgentMemStore, AgentMemSaver, AgentMemCache])
def test_a_signature_at_run_time_names_the_arguments(kind, name):
    parameters = inspect.signature(getattr(kind, name)).parameters
    assert ("session_id" in parameters) == (kind is AgentMemHistory)
    assert "tenant" in parameters
    assert not {"arguments", "options"} & parameters.keys()


@pytest.mark.parametrize("kind", [AgentMemory, AgentMemStore, AgentMemSaver, AgentMemCache])
def test_connections_of_a_dropped_object_are_closed_at_once(kind, tmp_path: Path):
    gc.collect()
    gc.disable()
    try:
        dropped = kind.from_url(f"sqlite:///{tmp_path}/a.db")
        dropped.setup()
        backend = weakref.ref(dropped._backend)
        del dropped
        assert backend() is None
    finally:
        gc.enable()


def test_a_store_keeps_no_closed_event_loop():
    async def put(store: AgentMemStore) -> weakref.ref[asyncio.AbstractEventLoop]:
        await store.aput(("n",), "k", {"n": 1})
        return weakref.ref(asyncio.get_running_loop())

    with AgentMemStore.from_url("sqlite:///:memory:") as store:
        loops = [asyncio.run(put(store)) for _ in range(3)]
        gc.collect()
        assert [loop() for loop in loops[:2]] == [None, None]


def test_an_option_of_another_database_is_refused():
    with sqlite3.connect(":memory:", check_same_thread=False) as connection:
        with pytest.raises(InvalidInputError, match=r"schema='s' needs a connection of Postgres"):
            AgentMemory.from_connection(connection, schema="s")
        with pytest.raises(InvalidInputError, match="allow_eviction=True needs a client of Redis"):
            AgentMemory.from_client(connection, allow_eviction=True)
        with pytest.raises(InvalidTypeError, match="allow_eviction"):
            AgentMemory.from_client(connection, allow_eviction="yes")
    connection.close()


def test_settings_of_another_type_are_refused():
    with pytest.raises(InvalidTypeError, match="settings must be an AgentMemSettings, got 3"):
        AgentMemory.from_settings(3)


async def plus_one(value: dict[str, int] | None) -> dict[str, int]:
    return {"n": 1}


def test_a_synchronous_update_refuses_a_coroutine_function():
    with (
        AgentMemStore.from_url("sqlite:///:memory:") as store,
        pytest.raises(InvalidTypeError, match="use the method with the prefix `a`"),
    ):
        store.update(("n",), "k", plus_one)
