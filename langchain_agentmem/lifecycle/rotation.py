"""`memory.rotate_key()`: replace the key of an encrypted memory, while other processes use it.

The key of the user encrypts only the stored secrets of the tenant, which contain the data keys. A rotation has three phases.
The stored secrets record them, so a call after an interruption continues:

1. A new data key is stored beside the former ones, and the secrets are encrypted with the new key of the user. Other
   processes read the secrets every `MAX_AGE` seconds, and encrypt with the new data key from then on.
2. Every stored value is encrypted with the new data key, a bounded number in each transaction, until a pass over the
   database finds none. The last pass begins `WAIT_SECONDS` after the first phase, when no process uses a former data key. A
   process whose write takes longer encrypts its values again by itself; see `EncryptedBackend.write`.
3. The former data keys are removed from the secrets.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.backends.encrypted import EncryptedBackend
from langchain_agentmem.backends.encrypted.backend import MAX_AGE
from langchain_agentmem.backends.encrypted.opening import KEYS, notes_of_keys
from langchain_agentmem.backends.encrypted.resealing import Resealed, reseal
from langchain_agentmem.backends.notes import Note
from langchain_agentmem.encoding.encryption import Key, KeySource, Secrets, id_of_key
from langchain_agentmem.errors import ConfigurationError, ConflictError, InvalidInputError, WrongKeyError
from langchain_agentmem.programs import Call, Program, Read, Sleep, Write
from langchain_agentmem.text.progress import Report, reporting
from langchain_agentmem.text.tables import html_table

_log = logging.getLogger(__name__)

WAIT_SECONDS = MAX_AGE + 35.0
"""Seconds after which no process writes with a former data key: it has read the secrets, and its transactions have ended. The
default time limit of an operation is 30 seconds."""


@dataclass(frozen=True)
class Rotated:
    """The result of `rotate_key`."""

    values: int = 0
    """The number of values that were encrypted again."""
    passes: int = 0
    """The number of passes over the database. The last one found no value under a former key."""
    damaged: int = 0
    """The number of cells of the database with a value that was altered. It stays as it is: no key decrypts it."""
    waiting: bool = False
    """True while the rotation waits for other processes."""

    @property
    def description(self) -> str:
        """The text beside the progress bar."""
        waits = ", waiting for other processes" if self.waiting else ""
        return f"Encrypted {self.values:,} values again{waits}"

    def _repr_html_(self) -> str:
        return html_table([(self.values, self.passes)], header=("values", "passes"), caption="Key rotation")


def rotate_key(
    backend: Backend, old: Key, new: Key, progress: bool | Callable[[Rotated], Any] = False
) -> Program[Rotated]:
    """Replace the key of an encrypted memory; see `AgentMemory.rotate_key`.

    Args:
        backend: The encrypted backend.
        old: The former key.
        new: The new key.
        progress: Reports the progress; see `reporting`. Default: False.
    """
    if not isinstance(backend, EncryptedBackend):
        msg = (
            "This memory has no key to rotate: it is not encrypted. Open it with key=, or copy it to an encrypted one: "
            "memory.copy_to(other)."
        )
        raise ConfigurationError(msg)
    source = KeySource(new)
    (new_key, *others), (old_key, *_) = (yield from source.keys()), (yield from KeySource(old).keys())
    if others:
        msg = "new must be one key, or a function that returns one."
        raise InvalidInputError(msg)
    if new_key == old_key:
        msg = "old and new are the same key. Create another one with new_key()."
        raise InvalidInputError(msg)
    with reporting(progress) as report:
        return (yield from _Rotation(backend, old_key, new_key, report).program(source))


class _Rotation:
    """One call of `rotate_key`."""

    def __init__(self, backend: EncryptedBackend, old: bytes, new: bytes, report: Report) -> None:
        self._backend = backend
        self._inner = backend.inner
        self._tenant = backend.tenant
        self._notes = notes_of_keys(backend.inner, backend.tenant)
        self._old = old
        self._new = new
        self._report = report
        self._rotated = Rotated()

    def program(self, source: KeySource) -> Program[Rotated]:
        """Run all phases that are left."""
        secrets = yield from self._begin()
        began = time.monotonic()
        # From now on, this process needs the new key, also if the rotation is interrupted.
        self._backend.source = KeySource([self._new, self._old])
        self._backend.use(time.monotonic(), secrets)
        if len(secrets.data_keys) > 1:
            yield from self._encrypt(secrets)
            left = began + WAIT_SECONDS - time.monotonic()  # the clock of an interrupted rotation may be another one
            if left > 0:
                self._rotated = replace(self._rotated, waiting=True)
                yield from Call(self._report, self._rotated)
                yield from Sleep(left)
            yield from self._encrypt(secrets)
            yield from self._end(secrets)
        self._backend.source = source
        if self._rotated.damaged:
            _log.warning(
                "%d cells of the database hold values that were altered. They were not encrypted again.",
                self._rotated.damaged,
            )
        return replace(self._rotated, waiting=False)

    def _begin(self) -> Program[Secrets]:
        """Store the new data key, unless an earlier call did; return the secrets."""
        note = yield from self._note()
        key = note.value.get("key")
        if key not in (id_of_key(self._old), id_of_key(self._new)):
            msg = (
                f"Cannot rotate the key of tenant {self._tenant!r}: it is encrypted with neither `old` nor `new`, but with "
                f"the key with the ID {key!s:.20}. Nothing was changed."
            )
            raise WrongKeyError(msg)
        secrets = Secrets.unwrapped(note.value, [self._old, self._new], self._tenant)
        if key == id_of_key(self._old):
            secrets = secrets.with_new_key()
            yield from self._store(secrets, note)
        return secrets

    def _note(self) -> Program[Note]:
        note = yield from Read(self._inner, self._notes.get(KEYS, time.time()))
        if note is None:
            msg = f"Tenant {self._tenant!r} has no stored keys: nothing was encrypted yet, or they were deleted."
            raise WrongKeyError(msg)
        return note

    def _store(self, secrets: Secrets, note: Note) -> Program[None]:
        value: Mapping[str, Any] = secrets.wrapped(self._new, self._tenant)
        if not (yield from Write(self._inner, self._notes.swap(KEYS, value, note.revision, time.time()))):
            msg = (
                f"Another process rotates the key of tenant {self._tenant!r}. Call rotate_key again when it has ended."
            )
            raise ConflictError(msg)

    def _encrypt(self, secrets: Secrets) -> Program[None]:
        """Pass over the database until a pass finds no value under a former data key."""
        before = self._rotated

        def report(done: Resealed) -> Any:
            values, passes = before.values + done.values, before.passes + done.passes
            self._rotated = replace(before, values=values, passes=passes, damaged=done.damaged, waiting=False)
            return self._report(self._rotated)

        yield from Call(report, (yield from reseal(self._inner, secrets, report)))

    def _end(self, secrets: Secrets) -> Program[None]:
        """Remove the former data keys."""
        note = yield from self._note()
        stored = Secrets.unwrapped(note.value, [self._new], self._tenant)
        if stored.current == secrets.current and len(stored.data_keys) > 1:
            yield from self._store(stored.without_old_keys(), note)
        self._backend.use(time.monotonic(), stored.without_old_keys())
