"""What all tests share: a memory on every backend, and one way to call a method and its async twin.

`matrix.py` says which combinations of backend, twin and parameters run by default, and why. `--full-matrix` runs all of them.
"""

from __future__ import annotations

import atexit
import functools
import gc
import itertools
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import hypothesis
import psycopg
import pytest
import redis
from hypothesis.configuration import set_hypothesis_home_dir

from langchain_agentmem import AgentMemory
from langchain_agentmem.backends import connect

sys.path.insert(0, str(Path(__file__).parent))

import examples
import matrix
from loops import guarded
from matrix import BACKENDS
from processes import Team
from servers import DATABASES, PostgresServer, RedisCluster, RedisServer

LASTING = tuple(backend for backend in BACKENDS if backend != "sqlite-memory")
"""Those whose data outlives the object that uses it."""

_numbers = itertools.count()


OFFERS = {"url": BACKENDS, "lasting_url": LASTING, "any_redis_url": ("redis", "redis-cluster")}
"""The fixtures with a parameter for each backend."""

# The processes that tests start use the bytecode that the first process compiles.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


_UNSELECTED = pytest.StashKey[set[str]]()
"""The test functions of which no test is selected."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the flags that select tests."""
    parser.addoption("--full-matrix", action="store_true", help="run every test on every backend, sync and async")
    parser.addoption("--core", action="store_true", help="run every test function once, on one backend")


def pytest_configure(config: pytest.Config) -> None:
    """Set how many examples Hypothesis tries, and where it keeps what it needs while the tests run."""
    config.stash[_UNSELECTED] = set()
    full = config.getoption("--full-matrix")
    examples.SHARE = 1.0 if full else 0.25
    hypothesis.settings.register_profile(
        "ours",
        max_examples=examples.examples(100),
        database=None,
        deadline=None,  # on a busy machine an example may take any time
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
    hypothesis.settings.load_profile("ours")
    folder = tempfile.mkdtemp(prefix="agentmem-hypothesis-")
    set_hypothesis_home_dir(folder)
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make tests for those backends only that their file may run on."""
    marks = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    own = {name for given in marks for name in (given.split(",") if isinstance(given, str) else given)}
    for name, offered in OFFERS.items():
        if name in metafunc.fixturenames and name not in own and not hasattr(metafunc.module, name):
            full = metafunc.config.getoption("--full-matrix")
            chosen = matrix.backends(Path(metafunc.module.__file__).name, offered, full=full)
            metafunc.parametrize(name, chosen, indirect=True)


@pytest.hookimpl(specname="pytest_generate_tests", wrapper=True)
def pytest_select_tests(metafunc: pytest.Metafunc) -> Iterator[None]:
    """Keep the tests of a function that `matrix.py` selects. The others are not even made, which takes a while."""
    yield
    if not metafunc.config.getoption("--full-matrix"):
        _select(metafunc)


def _select(metafunc: pytest.Metafunc) -> None:
    core = metafunc.config.getoption("--core")
    selects = matrix.in_core if core else matrix.in_default
    path, kind = metafunc.definition.path, metafunc.cls
    # The folder of a backend holds tests of its driver, which run whole.
    offered = () if path.parent.name in {"sqlite", "postgres", "redis"} else (*OFFERS,)
    numbers: dict[tuple[Any, ...], int] = {}
    every: dict[int, list[Any]] = {}
    kept: dict[int, list[Any]] = {}
    for call in metafunc._calls or [None]:
        chosen: dict[str, Any] = call.params if call else {}
        # The same objects come with each backend and twin.
        given = tuple(sorted((name, id(value)) for name, value in chosen.items() if name not in {*OFFERS, "call"}))
        case = matrix.Case(
            path.name,
            metafunc.definition.name,
            next((chosen[name] for name in offered if chosen.get(name) in BACKENDS), None),
            chosen["call"] if chosen.get("call") in matrix.TWINS else _twin_of_class(kind, metafunc.module),
            numbers.setdefault(given, len(numbers)),
        )
        every.setdefault(case.number, []).append(call)
        if selects(case):
            kept.setdefault(case.number, []).append(call)
    if not core:  # a function that has few backends may have none of those that are selected
        kept = {number: kept.get(number) or calls[:1] for number, calls in every.items()}
    if kept:
        metafunc._calls[:] = [call for calls in kept.values() for call in calls if call is not None]
    else:
        metafunc.config.stash[_UNSELECTED].add(metafunc.definition.nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[Any]:
    """Keep the garbage collector from what collection makes: modules and tests live to the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)  # plugins look at fewer tests then
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the functions of which `matrix.py` selects nothing; refuse ids that differ from process to process."""
    today = f"datetime.datetime({datetime.now():%Y, %-m, %-d}, "
    for item in items:
        if today in item.nodeid:
            msg = f"The id of a test holds the present time, which differs from process to process: {item.nodeid:.300}"
            raise pytest.UsageError(msg)
        if " at 0x" in item.nodeid:
            msg = f"The id of a test holds an address, and pytest-xdist needs the same ids in each process: {item.nodeid:.300}"
            raise pytest.UsageError(msg)
        values = item.callspec.params.values() if hasattr(item, "callspec") else ()
        sets = [value for value in values if isinstance(value, (set, frozenset)) and len(value) > 1]
        if any(str(value) in item.nodeid and not all(isinstance(one, int) for one in value) for value in sets):
            msg = f"The id of a test holds a set, whose order differs from process to process: {item.nodeid:.300}"
            raise pytest.UsageError(msg)
    unselected = config.stash[_UNSELECTED]
    left_out = [item for item in items if item.nodeid.partition("[")[0] in unselected]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item.nodeid.partition("[")[0] not in unselected]


def _twin_of_class(kind: type | None, module: Any) -> str | None:
    """The twin that a class of the shipped contract suites tests: it has a twin with the same name and `Async`."""
    if kind is None:
        return None
    if kind.__name__.endswith("Async"):
        return "async"
    return "sync" if hasattr(module, f"{kind.__name__}Async") else None


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    return new_url(request.param, tmp_path)


@pytest.fixture
def lasting_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database that outlives the object that uses it."""
    return new_url(request.param, tmp_path)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a SQLite file that does not exist yet, for what only SQLite has."""
    return f"sqlite:///{tmp_path / f'memory-{next(_numbers)}.db'}"


@pytest.fixture
def postgres_url(tmp_path: Path) -> str:
    """The URL of an empty schema in Postgres, for what only Postgres has."""
    return new_url("postgres", tmp_path)


@pytest.fixture
def redis_url(tmp_path: Path) -> str:
    """The URL of an empty database on the Redis server, for what only Redis has."""
    return new_url("redis", tmp_path)


@pytest.fixture
def any_redis_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty Redis, on one server or on three."""
    return new_url(request.param, tmp_path)


@pytest.fixture
def postgres_database() -> Iterator[str]:
    """The URL of an empty database on the Postgres server."""
    schemas = _schemas()
    name = f"agentmem_test_{os.getpid()}"
    with psycopg.connect(schemas.base, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield urlsplit(schemas.base)._replace(path=f"/{name}").geturl()
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def new_url(backend: str, folder: Path) -> str:
    """The URL of another empty database of a backend."""
    if backend == "sqlite-memory":
        return "sqlite:///:memory:"
    if backend == "postgres":
        return _schemas().take()
    if backend == "redis":
        return _redis().take()
    if backend == "redis-cluster":
        return _redis_cluster().take()
    path = folder / f"memory-{next(_numbers)}.db"
    shutil.copyfile(_sqlite_tables(), path)
    return f"sqlite:///{path}"


@functools.cache
def _sqlite_tables() -> Path:
    """A SQLite file with our tables. Copying it is faster than making them."""
    folder = Path(tempfile.mkdtemp(prefix="agentmem-tables-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "memory.db"
    backend = connect(f"sqlite:///{path}")  # without the key of the test that needs the file first
    backend.read(backend.messages.users("default", 0.0))
    backend.close()
    return path


class Schemas:
    """Schemas with our tables in one Postgres server, emptied and used again, which is faster than making them."""

    def __init__(self) -> None:
        given = os.environ.get("AGENTMEM_TEST_POSTGRES_URL")
        self.server = None if given else PostgresServer()
        self.base = given or self.server.url
        self._prefix = f"agentmem_test_{os.getpid()}_"
        self._made = 0
        self._free: list[str] = []
        self._taken: list[str] = []
        self._admin: psycopg.Connection[Any] | None = None
        with psycopg.connect(self.base, autocommit=True) as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(1)")  # the server may be shared
            connection.execute(MAKE_EMPTY)

    def take(self) -> str:
        if not self._free:
            self._made += 1
            self._free.append(f"{self._prefix}{self._made}")
        schema = self._free.pop()
        self._taken.append(schema)
        return f"{self.base}{'&' if '?' in self.base else '?'}schema={schema}"

    def release(self) -> None:
        """Empty the schemas that were taken; one that a test added something to is made anew."""
        if not self._taken:
            return
        if self._admin is None or self._admin.closed:
            self._admin = psycopg.connect(self.base, autocommit=True, prepare_threshold=0)
        for schema in self._taken:
            if schema.startswith(self._prefix):
                try:
                    ((usable,),) = self._admin.execute(EMPTY, (schema, sorted(TABLES))).fetchall()
                except psycopg.OperationalError:  # a test broke all connections
                    self._admin = psycopg.connect(self.base, autocommit=True, prepare_threshold=0)
                    ((usable,),) = self._admin.execute(EMPTY, (schema, sorted(TABLES))).fetchall()
                if usable:
                    self._free.append(schema)
        self._taken.clear()

    def close(self) -> None:
        if self._admin is not None:
            self._admin.close()
        if self.server is not None:
            self.server.close()


TABLES = {
    "agentmem_cache",
    "agentmem_channel_values",
    "agentmem_elements",
    "agentmem_item_paths",
    "agentmem_item_texts",
    "agentmem_item_ttls",
    "agentmem_messages",
    "agentmem_records",
    "agentmem_schema",
    "agentmem_sessions",
    "agentmem_summaries",
    "agentmem_thread_users",
    "agentmem_threads",
    "agentmem_tokens",
    "agentmem_unanalyzed_items",
    "agentmem_variables",
    "checkpoint_blobs",
    "checkpoint_writes",
    "checkpoints",
    "store",
}

MAKE_EMPTY = """
CREATE OR REPLACE FUNCTION public.agentmem_test_empty(schema_ text, tables_ text[]) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    found_ text[];
    language_ text;
    table_ text;
    sequence_ text;
BEGIN
    SELECT array_agg(tablename::text ORDER BY tablename) INTO found_ FROM pg_tables
    WHERE schemaname = schema_ AND tablename NOT LIKE '%migrations';
    IF found_ = tables_ THEN
        EXECUTE format('SELECT language FROM %I.agentmem_schema', schema_) INTO language_;
    END IF;
    IF language_ IS DISTINCT FROM 'english' THEN
        EXECUTE format('DROP SCHEMA IF EXISTS %I CASCADE', schema_);
        RETURN false;
    END IF;
    FOREACH table_ IN ARRAY tables_ LOOP
        IF pg_relation_size(format('%I.%I', schema_, table_)) > 200000 THEN
            EXECUTE format('TRUNCATE %I.%I CASCADE', schema_, table_);
        ELSIF table_ <> 'agentmem_schema' THEN
            EXECUTE format('DELETE FROM %I.%I', schema_, table_);
        END IF;
    END LOOP;
    FOR sequence_ IN SELECT sequencename FROM pg_sequences WHERE schemaname = schema_ LOOP
        PERFORM setval(format('%I.%I', schema_, sequence_), 1, false);
    END LOOP;
    RETURN true;
END $$
"""
"""Emptying row by row: for the few rows of a test that is much faster than TRUNCATE."""

EMPTY = "SELECT public.agentmem_test_empty(%s, %s)"


class RedisDatabases:
    """The databases of one Redis server, emptied and used again."""

    def __init__(self) -> None:
        self.base = os.environ.get("AGENTMEM_TEST_REDIS_URL")
        self.server = None if self.base else RedisServer()
        self._free = list(range(DATABASES))
        if self.base:
            worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
            self._free = self._free[2 * worker : 2 * worker + 2]
        self._taken: list[int] = []

    def url(self, number: int) -> str:
        return urlsplit(self.base or self.server.url)._replace(path=f"/{number}").geturl()

    def take(self) -> str:
        self._taken.append(self._free.pop())
        return self.url(self._taken[-1])

    def release(self) -> None:
        for number in self._taken:
            with redis.Redis.from_url(self.url(number)) as client:
                client.flushdb()
        self._free += self._taken
        self._taken.clear()

    def close(self) -> None:
        if self.server is not None:
            self.server.close()


class RedisClusterDatabase:
    """The one database of a Redis cluster."""

    def __init__(self) -> None:
        self.cluster = RedisCluster()
        self._taken = False

    def take(self) -> str:
        assert not self._taken, "a cluster has one database"
        self._taken = True
        return self.cluster.url

    def release(self) -> None:
        if self._taken:
            for node in self.cluster.nodes:
                with redis.Redis(port=node.port) as client:
                    client.flushall()
        self._taken = False

    def close(self) -> None:
        self.cluster.close()


@functools.cache
def _schemas() -> Schemas:
    return _kept(Schemas())


@functools.cache
def _redis() -> RedisDatabases:
    return _kept(RedisDatabases())


@functools.cache
def _redis_cluster() -> RedisClusterDatabase:
    return _kept(RedisClusterDatabase())


_started: list[Any] = []


def _kept(server: Any) -> Any:
    """Run a server as long as the tests."""
    _started.append(server)
    atexit.register(server.close)
    return server


@pytest.fixture(autouse=True)
def _empty_again() -> Iterator[None]:
    yield
    for server in _started:
        server.release()


@pytest.fixture(scope="session", autouse=True)
def _event_loops_go_on() -> Iterator[None]:
    """No asynchronous method blocks an event loop."""
    with guarded():
        yield


@pytest.fixture(scope="session")
def processes() -> Iterator[Team]:
    """Eight processes that can begin a job at the same moment."""
    team = Team()
    yield team
    team.close()


@pytest.fixture
def memory(url: str) -> Iterator[AgentMemory]:
    """An empty memory."""
    with AgentMemory.from_url(url) as opened:
        yield opened


@pytest.fixture
def sqlite_memory(sqlite_url: str) -> Iterator[AgentMemory]:
    """A memory on SQLite, for what does not depend on the backend."""
    with AgentMemory.from_url(sqlite_url) as opened:
        yield opened


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`await call(store.put, …)` calls the method, or its async twin; iterators come back as lists."""

    async def call_twin(method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if request.param == "sync":
            result = method(*args, **kwargs)
            return list(result) if isinstance(result, Iterator) else result
        twin = getattr(method.__self__, f"a{method.__name__}")
        result = twin(*args, **kwargs)
        if hasattr(result, "__aiter__"):
            return [one async for one in result]
        return await result

    return call_twin


@pytest.fixture(params=[1_000, 30_000])
def recursion_limit(request: pytest.FixtureRequest) -> Iterator[None]:
    """The recursion limit of a program, which may be any: bounds of depth are the package's own."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(request.param)
    yield
    sys.setrecursionlimit(before)


@pytest.fixture
def stored(sqlite_url: str) -> str:
    """The URL of a memory with sessions of two users and of nobody, a thread, and facts."""
    from commands import fill

    fill(sqlite_url)
    return sqlite_url


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that succeeds; return what it prints on stdout."""
    from langchain_agentmem.__main__ import main

    def run(*arguments: str, code: int = 0) -> str:
        capsys.readouterr()
        assert main([*arguments]) == code
        return capsys.readouterr().out

    return run


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of a memory with every kind of data."""
    from everything import Words, fill

    folder = tmp_path_factory.mktemp("exported")
    with AgentMemory.from_url(f"sqlite:///{folder / 'memory.db'}", embeddings=Words()) as memory:
        fill(memory)
        memory.export(folder / "export.jsonl")
    return folder / "export.jsonl"
