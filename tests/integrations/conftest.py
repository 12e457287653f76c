"""What the tests of commands share."""

from __future__ import annotations

import pytest
from commands import Run, fill

from langchain_agentmem.__main__ import main


@pytest.fixture
def stored(sqlite_url: str) -> str:
    """The URL of a memory with sessions of two users and of nobody, a thread, and facts."""
    fill(sqlite_url)
    return sqlite_url


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command that succeeds; return what it prints on stdout."""

    def run(*arguments: str, code: int = 0) -> str:
        capsys.readouterr()
        assert main([*arguments]) == code
        return capsys.readouterr().out

    return run
