"""A proxy before a server, which can lose what the server answers."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit


class LosingProxy:
    """Passes bytes on between clients and a server, and loses an answer when it is told to.

    Args:
        url: The server's URL, which names its host and port.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        self._server = parts.hostname, parts.port
        self._listener = socket.create_server(("127.0.0.1", 0))
        credentials, at, _ = parts.netloc.rpartition("@")
        self.url = parts._replace(netloc=f"{credentials}{at}127.0.0.1:{self._listener.getsockname()[1]}").geturl()
        self._marker: bytes | None = None
        self._between: Callable[[], Any] = bool
        self.lost = 0
        self.error: BaseException | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    def lose(self, marker: bytes, between: Callable[[], Any]) -> None:
        """Lose the answer to the next request with a marker, after another writer did something."""
        self._between, self._marker = between, marker

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                losing = threading.Event()
                for work in (self._requests, self._answers):
                    threading.Thread(target=work, args=(client, server, losing), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket, losing: threading.Event) -> None:
        with contextlib.suppress(OSError), server:
            while data := client.recv(65536):
                if self._marker is not None and self._marker in data:
                    self._marker = None
                    losing.set()
                server.sendall(data)

    def _answers(self, client: socket.socket, server: socket.socket, losing: threading.Event) -> None:
        with contextlib.suppress(OSError), client:
            while data := server.recv(65536):
                if losing.is_set():
                    try:
                        self._between()
                    except BaseException as error:
                        self.error = error
                    self.lost += 1
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(data)
