"""The encrypted backend: its tables, and the keys that they use."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, TypeVar

from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.backends.encrypted.opening import load_keys
from langchain_agentmem.backends.traces import TracesPage
from langchain_agentmem.encoding.encryption import KeyRing, KeySource
from langchain_agentmem.encoding.sealing import UnknownDataKeyError
from langchain_agentmem.programs import Program, StorageProgram, arun, run

T = TypeVar("T")

MAX_AGE = 60.0
"""Seconds after which a process reads the stored keys again, so that it uses the data key of a rotation soon."""


class EncryptedBackend(Backend):
    """Encrypts one tenant of another backend.

    The first operation loads the keys of the tenant, and creates them if the tenant is empty.

    Args:
        inner: The backend that stores the encrypted data. It is closed together with this one.
        source: The keys of the user.
        tenant: The tenant.
        searchable: If true, the words and vectors of messages and items are stored in a form that can be searched.
            Default: False.

    Example:
        >>> from langchain_agentmem.backends import connect
        >>> from langchain_agentmem.backends.encrypted import EncryptedBackend
        >>> from langchain_agentmem.encoding.encryption import KeySource
        >>> EncryptedBackend(connect("sqlite:///:memory:"), KeySource(bytes(32)), "default")
        EncryptedBackend(SqliteBackend(':memory:'))
    """

    def __init__(self, inner: Backend, source: KeySource, tenant: str, *, searchable: bool = False) -> None:
        self.inner = inner
        """The backend that stores the encrypted data."""
        self.source = source
        self.tenant = tenant
        self.searchable = searchable
        self.ring = KeyRing()
        self.name = inner.name
        self.language = inner.language
        self._loaded_at = 0.0

    # Keys

    def load_keys(self) -> Program[None]:
        """Read the stored keys again. It is an outer program."""
        began = time.monotonic()
        yield from load_keys(self.inner, self.tenant, self.source, self.ring)
        self._loaded_at = began

    def read(self, program: Program[T]) -> T:
        self._prepare()
        try:
            return self.inner.read(program)
        except UnknownDataKeyError:
            if not isinstance(program, StorageProgram):
                raise
            run(self.load_keys())  # another process has rotated the key
            return self.inner.read(program)

    async def aread(self, program: Program[T]) -> T:
        await self._aprepare()
        try:
            return await self.inner.aread(program)
        except UnknownDataKeyError:
            if not isinstance(program, StorageProgram):
                raise
            await arun(self.load_keys())
            return await self.inner.aread(program)

    def write(self, program: Program[T]) -> T:
        self._prepare()
        try:
            return self.inner.write(program)
        except UnknownDataKeyError:
            if not isinstance(program, StorageProgram):
                raise
            run(self.load_keys())
            return self.inner.write(program)

    async def awrite(self, program: Program[T]) -> T:
        await self._aprepare()
        try:
            return await self.inner.awrite(program)
        except UnknownDataKeyError:
            if not isinstance(program, StorageProgram):
                raise
            await arun(self.load_keys())
            return await self.inner.awrite(program)

    def _prepare(self) -> None:
        if not self._is_fresh():
            run(self.load_keys())

    async def _aprepare(self) -> None:
        if not self._is_fresh():
            await arun(self.load_keys())

    def _is_fresh(self) -> bool:
        return self.ring.is_loaded and time.monotonic() - self._loaded_at < MAX_AGE

    # Everything else

    def use_vectors(self, config: Mapping[str, Any]) -> None:
        self.inner.use_vectors(config)

    def purge(self, tenant: str, user_id: str, root: str, now: float) -> Program[None]:
        yield from self.inner.purge(tenant, self.ring.id("user", user_id), self.ring.label(root), now)

    def traces(self, tenant: str, user_id: str, root: str, after: Any) -> Program[TracesPage]:
        sealed = self.ring.id("user", user_id)
        return (yield from self.inner.traces(tenant, sealed, self.ring.label(root), after))

    @property
    def closed(self) -> bool:
        return self.inner.closed

    def close(self) -> None:
        self.inner.close()

    async def aclose(self) -> None:
        await self.inner.aclose()

    def __repr__(self) -> str:
        return f"EncryptedBackend({self.inner!r})"
