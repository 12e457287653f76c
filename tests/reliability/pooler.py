"""Debian's PgBouncer in transaction mode, in front of a Postgres server."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from patience import PATIENCE
from servers import NOBODY, free_port

CONNECTIONS = 4
"""The connections to the server that all clients share."""


class PgBouncer:
    """A pooler that gives each transaction one of a few connections.

    Args:
        url: URL of a database of the server.
    """

    def __init__(self, url: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="agentmem-pgbouncer-"))
        self.folder.chmod(0o755)
        self.port = free_port()
        self.url = url.replace(f":{urlsplit(url).port}/", f":{self.port}/")
        self.process: subprocess.Popen[bytes] | None = None
        lines = [
            "[databases]",
            f"* = host=127.0.0.1 port={urlsplit(url).port}",
            "[pgbouncer]",
            "listen_addr = 127.0.0.1",
            f"listen_port = {self.port}",
            "unix_socket_dir =",
            "auth_type = trust",
            f"auth_file = {self.folder / 'users'}",
            "pool_mode = transaction",
            f"default_pool_size = {CONNECTIONS}",
            "max_client_conn = 500",
            "server_reset_query_always = 0",
        ]
        (self.folder / "users").write_text(f'"{urlsplit(url).username}" ""\n')
        (self.folder / "settings.ini").write_text("\n".join(lines) + "\n")
        self.start()

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            raise RuntimeError("Install PgBouncer first: apt-get install pgbouncer")
        as_user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        self.process = subprocess.Popen(
            [program, "-q", str(self.folder / "settings.ini")], stderr=subprocess.DEVNULL, cwd=self.folder, **as_user
        )
        deadline = time.monotonic() + PATIENCE
        while not self._accepts():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PgBouncer did not start: exit code {self.process.poll()}")
            time.sleep(0.01)

    def _accepts(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def restart(self) -> None:
        """Kill it, and start it again: all connections break."""
        self.stop()
        self.start()

    def stop(self) -> None:
        """Kill it."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(PATIENCE)
            self.process = None

    def close(self) -> None:
        """Kill it, and remove its files."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
