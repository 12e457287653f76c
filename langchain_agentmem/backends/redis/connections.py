"""The parts of redis-py's connections that this package uses, as types."""

from __future__ import annotations

from typing import Any, Protocol


class SyncConnection(Protocol):
    """A synchronous connection of redis-py."""

    def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def can_read(self) -> bool: ...

    def send_packed_command(self, command: list[bytes]) -> None: ...

    def read_response(self, *, disable_decoding: bool) -> Any: ...


class AsyncConnection(Protocol):
    """An asynchronous connection of redis-py."""

    socket_timeout: float | None

    async def connect(self) -> None: ...

    async def disconnect(self) -> None: ...

    async def send_packed_command(self, command: list[bytes]) -> None: ...

    async def read_response(self, *, disable_decoding: bool) -> Any: ...
