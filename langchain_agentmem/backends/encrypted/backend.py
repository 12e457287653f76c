"""The encrypted backend: its tables, and the keys that they use."""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from langchain_agentmem.backends.contract import Backend, HeadChangedError
from langchain_agentmem.backends.encrypted.cache import EncryptedCache
from langchain_agentmem.backends.encrypted.checkpoints import EncryptedCheckpoints
from langchain_agentmem.backends.encrypted.items import EncryptedItems
from langchain_agentmem.backends.encrypted.message_rows import StaleHeadError
from langchain_agentmem.backends.encrypted.messages import EncryptedMessages
from langchain_agentmem.backends.encrypted.opening import KEYS, notes_of_keys, stored_secrets
from langchain_agentmem.backends.encrypted.openings import EncryptedOpenings
from langchain_agentmem.backends.encrypted.records import EncryptedRecords
from langchain_agentmem.backends.encrypted.resealing import reseal
from langchain_agentmem.backends.encrypted.stale import EncryptedStaleRows
from langchain_agentmem.backends.encrypted.statistics import EncryptedStatistics
from langchain_agentmem.backends.encrypted.transfer import EncryptedTransfer
from langchain_agentmem.backends.encrypted.variables import EncryptedVariables
from langchain_agentmem.backends.traces import TracesPage
from langchain_agentmem.encoding.encryption import KeyRing, KeySource, Secrets
from langchain_agentmem.encoding.sealing import UnknownDataKeyError
from langchain_agentmem.errors import ConfigurationError, ConflictError
from langchain_agentmem.programs import Program, StorageProgram, arun, run, storage_program

T = TypeVar("T")

ATTEMPTS = 500
"""The number of times that a storage program is run while other writers keep changing what it has read."""

_READS = 20
"""The number of these times for which messages may disagree with the head of their session. Then they were altered."""

_CHANGED = (HeadChangedError, StaleHeadError, UnknownDataKeyError)

MAX_AGE = 10.0
"""Seconds after which a process reads the stored keys again, so that it uses the data key of a rotation soon."""


LATE = 25.0
"""Seconds after which a write checks whether a key rotation has ended since it began; less than `rotation.WAIT_SECONDS`."""


class EncryptedBackend(Backend):
    """Encrypts one tenant of another backend.

    The first operation loads the keys of the tenant, and creates them if the tenant is empty.

    Args:
        inner: The backend that stores the encrypted data. It is closed together with this one.
        source: The keys of the user.
        tenant: The tenant.
        searchable: If true, the words and vectors of items are stored in a form that can be searched. Default: None (as the
            tenant was created; false for an empty one).

    Example:
        >>> from langchain_agentmem.backends import connect
        >>> from langchain_agentmem.backends.encrypted import EncryptedBackend
        >>> from langchain_agentmem.encoding.encryption import KeySource
        >>> EncryptedBackend(connect("sqlite:///:memory:"), KeySource(bytes(32)), "default")
        EncryptedBackend(SqliteBackend(':memory:'))
    """

    encrypts = True

    def __init__(self, inner: Backend, source: KeySource, tenant: str, *, searchable: bool | None = None) -> None:
        self.inner = inner
        """The backend that stores the encrypted data."""
        self.source = source
        self.tenant = tenant
        self.searchable = searchable
        self.ring = KeyRing()
        self.name = inner.name
        self.language = inner.language
        self._lock = threading.Lock()
        self._loaded_at = 0.0
        self._stored: Mapping[str, Any] | None = None
        """The encrypted form of the secrets in use."""
        self.messages = self.log = EncryptedMessages(inner.messages, self.ring, whole=inner.name != "redis")
        self.records = EncryptedRecords(inner.records, self.ring)
        self.variables = self.variable_table = EncryptedVariables(inner.variables, inner.transfer, self.ring)
        self.openings = EncryptedOpenings(inner.openings, self.ring, self.log, self.variable_table.guard)
        self.cache = EncryptedCache(inner.cache, self.ring)
        self.items = self.item_table = EncryptedItems(inner, self.ring)
        self.checkpoints = self.checkpoint_table = EncryptedCheckpoints(inner, self.ring)
        self.stale = EncryptedStaleRows(self)
        self.transfer = EncryptedTransfer(self)
        self.statistics = EncryptedStatistics(inner.statistics, self.ring)

    # Keys

    def load_keys(self) -> Program[None]:
        """Read the stored keys again. It is an outer program."""
        began = time.monotonic()
        secrets, stored = yield from stored_secrets(self.inner, self.tenant, self.source, self.searchable)
        self.use(began, secrets, stored)

    def use(self, read_at: float, secrets: Secrets, stored: Mapping[str, Any] | None = None) -> None:
        """Use secrets from now on, unless another thread has read them later.

        Args:
            read_at: The time before they were read, by `time.monotonic`.
            secrets: The secrets.
            stored: Their encrypted form. Default: None (a long write reads them again).
        """
        with self._lock:
            if not self.ring.is_loaded or read_at >= self._loaded_at:
                self.ring.load(secrets)
                self._loaded_at = read_at
                self._stored = stored

    def read(self, program: Program[T]) -> T:
        return self._run(self.inner.read, program)

    async def aread(self, program: Program[T]) -> T:
        return await self._arun(self.inner.aread, program)

    def write(self, program: Program[T]) -> T:
        if not self._is_fresh():
            run(self.load_keys())
        began, secrets = time.monotonic(), self.ring.secrets
        result = self._run(self.inner.write, self._current(program))
        if time.monotonic() - began > LATE and not self._can_restart(program):
            run(self._reseal_late(secrets))
        return result

    async def awrite(self, program: Program[T]) -> T:
        if not self._is_fresh():
            await arun(self.load_keys())
        began, secrets = time.monotonic(), self.ring.secrets
        result = await self._arun(self.inner.awrite, self._current(program))
        if time.monotonic() - began > LATE and not self._can_restart(program):
            await arun(self._reseal_late(secrets))
        return result

    def _current(self, program: Program[T]) -> Program[T]:
        """Let a long transaction check at its end that the stored keys have not changed since it began.

        Otherwise it starts again with the new ones: a key rotation may have made its last pass over the database.
        """
        if not self._can_restart(program):
            return program

        def begin() -> Program[T]:
            began, stored = time.monotonic(), self._stored
            result = yield from program
            if time.monotonic() - began > LATE:
                note = yield from notes_of_keys(self.inner, self.tenant).get(KEYS, time.time())
                if note is None or note.value != stored:
                    msg = (
                        f"The key of tenant {self.tenant!r} was rotated during a write of more than {LATE:g} seconds. "
                        f"Nothing was stored. Try again."
                    )
                    raise UnknownDataKeyError(msg)
            return result

        if isinstance(program, StorageProgram):
            return cast("Program[T]", StorageProgram(program.__name__, begin, single=False))
        return begin()

    def _can_restart(self, program: Program[Any]) -> bool:
        """Return true if a write is a transaction. A single statement, or a write to Redis, cannot be taken back."""
        return self.name != "redis" and not (isinstance(program, StorageProgram) and program.single)

    def _reseal_late(self, former: Secrets) -> Program[None]:
        """Encrypt values again that a long write has stored after a key rotation ended: only this process knows their key.

        Args:
            former: The secrets when the write began.
        """
        known = {**former.data_keys, **self.ring.secrets.data_keys}
        yield from self.load_keys()
        secrets = self.ring.secrets
        if not known.keys() <= secrets.data_keys.keys():
            yield from reseal(self.inner, secrets._replace(data_keys={**known, **secrets.data_keys}))

    def _run(self, perform: Callable[[Program[T]], T], program: Program[T]) -> T:
        """Run a storage program, and run it again if another process changed what it has read."""
        if not self._is_fresh():
            run(self.load_keys())
        for left in reversed(range(ATTEMPTS)):
            try:
                return perform(program)
            except _CHANGED as error:
                if not _may_run_again(program, error, left):
                    raise
                if isinstance(error, UnknownDataKeyError):
                    run(self.load_keys())
        raise _conflict()

    async def _arun(self, perform: Callable[[Program[T]], Awaitable[T]], program: Program[T]) -> T:
        """Same as `_run`, without blocking the event loop."""
        if not self._is_fresh():
            await arun(self.load_keys())
        for left in reversed(range(ATTEMPTS)):
            try:
                return await perform(program)
            except _CHANGED as error:
                if not _may_run_again(program, error, left):
                    raise
                if isinstance(error, UnknownDataKeyError):
                    await arun(self.load_keys())
        raise _conflict()

    def _is_fresh(self) -> bool:
        return self.ring.is_loaded and time.monotonic() - self._loaded_at < MAX_AGE

    # Everything else

    def never_create(self) -> None:
        self.inner.never_create()

    def index_fields(self, fields: Sequence[str]) -> None:
        msg = (
            f"index_fields={list(fields)} and key exclude one another: values are encrypted, so the database cannot index "
            f"them. Leave index_fields out."
        )
        raise ConfigurationError(msg)

    def use_vectors(self, config: Mapping[str, Any]) -> None:
        self.inner.use_vectors(config)

    @storage_program
    def purge(self, tenant: str, user_id: str, root: str, now: float) -> Program[None]:
        sealed = self.ring.label(root)
        yield from self.item_table.guard.remove(tenant, sealed, now)
        yield from self.inner.purge(tenant, self.ring.id("user", user_id), sealed, now)

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


def _may_run_again(program: Program[Any], error: Exception, left: int) -> bool:
    """Return true if a storage program may be run again after an error.

    Args:
        program: The program.
        error: The error.
        left: The number of attempts that are left.
    """
    if not isinstance(program, StorageProgram):
        return False
    if isinstance(error, HeadChangedError):
        return True
    return left > (ATTEMPTS - _READS if isinstance(error, StaleHeadError) else ATTEMPTS - 2)


def _conflict() -> ConflictError:
    return ConflictError("Other writers changed the session at every attempt. Nothing was stored. Try again later.")
