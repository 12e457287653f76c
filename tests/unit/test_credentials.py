"""Credentials in the steps of programs, which tools may show: tracebacks with local variables, debuggers, logs."""

from __future__ import annotations

from typing import Any, cast

from langchain_agentmem.backends.credentials import Credentials, Login
from langchain_agentmem.backends.postgres.sources import _Connect
from langchain_agentmem.programs import run


def test_no_representation_shows_the_password():
    login = run(iter(Credentials(lambda: ("app", "hunter2"))))
    assert login == Login("app", "hunter2")
    nothing = cast("Any", None)
    connect = _Connect(nothing, nothing, nothing, {"password": login.password})
    for one in (login, [login], connect, Credentials(lambda: "hunter2")):
        assert "hunter2" not in repr(one)
        assert "hunter2" not in str(one)
