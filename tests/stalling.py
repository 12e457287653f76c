"""A proxy between a client and a server that can stop to pass anything on, as a server does that hangs."""

from __future__ import annotations

import contextlib
import select
import socket
import threading


class StallingProxy:
    """Passes on what comes to a port of its own.

    Args:
        port: The server's port.
    """

    def __init__(self, port: int) -> None:
        self._server = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._questions, self._answers = threading.Event(), threading.Event()
        self._closed = threading.Event()
        self.resume()
        threading.Thread(target=self._accept, daemon=True).start()

    def stall(self, *, answers_only: bool = False) -> None:
        """Pass nothing on; or what clients say, but no answer."""
        self._answers.clear()
        if not answers_only:
            self._questions.clear()

    def resume(self) -> None:
        """Pass everything on, what came in the meantime too."""
        self._questions.set()
        self._answers.set()

    def close(self) -> None:
        self._closed.set()
        self.resume()
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._server))
                except OSError:
                    client.close()
                    continue
                for source, target, gate in ((client, server, self._questions), (server, client, self._answers)):
                    threading.Thread(target=self._pass_on, args=(source, target, gate), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, gate: threading.Event) -> None:
        with contextlib.suppress(OSError, ValueError):
            while not self._closed.is_set():
                if select.select([source], [], [], 0.5)[0]:
                    data = source.recv(65_536)
                    gate.wait()
                    if not data:
                        break
                    target.sendall(data)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
