"""Credentials in the steps of programs, which tools may show: tracebacks with local variables, debuggers, logs."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, cast

import pytest

from langchain_agentmem.backends.credentials import Credentials, Login
from langchain_agentmem.backends.postgres.sources import _Connect
from langchain_agentmem.errors import StorageError
from langchain_agentmem.programs import arun, run


def test_no_representation_shows_the_password():
    login = run(iter(Credentials(lambda: ("app", "hunter2"))))
    assert login == Login("app", "hunter2")
    nothing = cast("Any", None)
    connect = _Connect(nothing, nothing, nothing, {"password": login.password})
    for one in (login, [login], connect, Credentials(lambda: "hunter2")):
        assert "hunter2" not in repr(one)
        assert "hunter2" not in str(one)


LATE = r"the function credentials took longer than 0.05 seconds, the time limit of the operation. Nothing was stored"


@pytest.fixture
def never():
    """An event that a function waits for, set when the test is over."""
    event = threading.Event()
    yield event
    event.set()


def test_a_function_that_does_not_return_ends_with_the_time_limit(never):
    with pytest.raises(StorageError, match=LATE):
        run(iter(Credentials(never.wait).within(0.05)))


async def test_an_asynchronous_caller_waits_no_longer(never):
    async def credentials() -> str:
        await asyncio.Event().wait()
        return "hunter2"

    for function in (credentials, never.wait):
        with pytest.raises(StorageError, match=LATE):
            await arun(iter(Credentials(function).within(0.05)))


def test_a_time_limit_of_the_function_itself_is_its_failure():
    def credentials() -> str:
        raise TimeoutError

    with pytest.raises(StorageError, match="the function credentials raised 'TimeoutError'"):
        run(iter(Credentials(credentials)))
