"""The short and the long form of these tests, and the table of what they found.

`pytest -n0 tests/reliability --long` tries each fault more often, prints the table, and writes it to `build/reliability.json`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import COLUMNS, Table
from processes import Team
from servers import PostgresServer, RedisServer

TABLE = pytest.StashKey[Table]()
FILE = Path(__file__).parents[2] / "build" / "reliability.json"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the flag of the long form."""
    parser.addoption("--long", action="store_true", help="try each fault many times, and write a table of the results")


def is_long(config: pytest.Config) -> bool:
    # A run of all tests reads this file too late for its flag.
    return bool(config.getoption("--long", default=False))


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    """How often a test makes its fault."""
    return 20 if is_long(request.config) else 1


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Random numbers, the same in each run of a test."""
    return random.Random(request.node.nodeid)


@pytest.fixture
def table(request: pytest.FixtureRequest) -> Table:
    """The table of results."""
    return request.config.stash.setdefault(TABLE, Table())


@pytest.fixture(scope="session")
def crashing_redis() -> Iterator[RedisServer]:
    """A Redis server that keeps what it acknowledged when it crashes."""
    server = RedisServer(appendonly="yes", appendfsync="always")
    yield server
    server.close()


@pytest.fixture(scope="session")
def crashing_postgres() -> Iterator[PostgresServer]:
    """A Postgres server for tests that kill it."""
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture
def processes() -> Iterator[Team]:
    """Sixteen processes that can begin a job at the same moment."""
    team = Team(16)
    yield team
    team.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table of the long form, and write it."""
    rows = config.stash.get(TABLE, Table()).rows
    if not rows or not is_long(config):
        return
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps([row.as_dict() for row in rows], indent=2) + "\n", encoding="utf-8")
    terminalreporter.section(f"reliability, also in {FILE}")
    terminalreporter.write_line(" | ".join(COLUMNS))
    for row in rows:
        terminalreporter.write_line(" | ".join(map(str, row.as_dict().values())))
