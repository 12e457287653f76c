"""A proxy between clients and a server that delays, loses and half-closes connections."""

from __future__ import annotations

import contextlib
import socket
import threading
import time


class FaultyProxy:
    """Passes bytes on between clients and a server on this machine.

    Args:
        port: The server's port.

    Attributes:
        delay: Seconds by which each answer is late.
        silent: If true, answers are dropped, and new connections get none.
    """

    def __init__(self, port: int) -> None:
        self._server = port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port = self._listener.getsockname()[1]
        self.delay = 0.0
        self.silent = False
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Close all connections, as a firewall does."""
        for pair in self._take():
            for one in pair:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def half_close(self) -> None:
        """Tell clients that the server sends nothing more; what they send still arrives."""
        for client, _ in self._take():
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)

    def forget(self) -> None:
        """Drop what servers say on the present connections, for ever, without closing them."""
        self.silent = True
        self._take()

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _take(self) -> list[tuple[socket.socket, socket.socket]]:
        with self._lock:
            taken, self._pairs = self._pairs, []
        return taken

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._server))
                except OSError:
                    client.close()
                    continue
                with self._lock:
                    self._pairs.append((client, server))
                threading.Thread(target=self._requests, args=(client, server), daemon=True).start()
                threading.Thread(target=self._answers, args=(client, server), daemon=True).start()

    @staticmethod
    def _requests(client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError), server:
            while data := client.recv(65_536):
                server.sendall(data)

    def _answers(self, client: socket.socket, server: socket.socket) -> None:
        dropped = False
        with contextlib.suppress(OSError), client:
            while data := server.recv(65_536):
                dropped = dropped or self.silent
                if not dropped:
                    if self.delay:
                        time.sleep(self.delay)
                    client.sendall(data)
