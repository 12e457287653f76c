"""Opening an encrypted tenant: its stored keys, and the check that a tenant is encrypted or not as the caller expects."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from langchain_agentmem.arguments.omitted import OMITTED
from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.backends.notes import Notes
from langchain_agentmem.encoding.encryption import KeySource, Secrets
from langchain_agentmem.errors import ConfigurationError, WrongKeyError
from langchain_agentmem.programs import Program, Read, Write, storage_program

KEYS = "keys"
"""The name of the note with the encrypted keys of a tenant."""

_TENANT_OF_KEYS = "\x1fkeys\x1f"
"""The prefix of the tenants of these notes. A cleanup reads all notes of the tenant itself, and cannot decrypt these."""

HINT = (
    "Pass key=… with the key that the memory was created with. AGENTMEM_KEY is the key of the commands, of AgentMemory() and "
    "of AgentMemory.from_settings()."
)


def notes_of_keys(backend: Backend, tenant: str) -> Notes:
    """Return the notes with the encrypted keys of a tenant.

    Args:
        backend: The backend that stores the tenant, not the encrypted one.
        tenant: The tenant.
    """
    return Notes(backend, _TENANT_OF_KEYS + tenant, "encryption")


def stored_secrets(
    backend: Backend, tenant: str, source: KeySource, searchable: bool | None = None
) -> Program[tuple[Secrets, Mapping[str, Any]]]:
    """Return the keys of a tenant, and their encrypted form as it is stored. Create the keys of an empty tenant.

    Args:
        backend: The backend that stores the tenant.
        tenant: The tenant.
        source: The keys of the user.
        searchable: The argument `searchable`. Default: None (as stored; false for an empty tenant).

    Raises:
        WrongKeyError: None of the keys fits, or the tenant has data that is not encrypted.
        ConfigurationError: The tenant was created with the other value of `searchable`.
    """
    keys = yield from source.keys()
    notes = notes_of_keys(backend, tenant)
    note = yield from Read(backend, notes.get(KEYS, time.time()))
    if note is None:
        is_used = yield from Read(backend, holds_data(backend, tenant))
        if is_used:  # another process may have created the keys and stored data since
            note = yield from Read(backend, notes.get(KEYS, time.time()))
    if note is None:
        if is_used:
            msg = (
                f"Tenant {tenant!r} has data that is not encrypted, so it cannot be opened with a key. Nothing was read or "
                f"written. Open it without key= and AGENTMEM_KEY, or copy it to an encrypted tenant with "
                f"memory.copy_to(other) or agentmem copy."
            )
            raise WrongKeyError(msg)
        created = Secrets.new(searchable=bool(searchable)).wrapped(keys[0], tenant)
        yield from Write(backend, notes.swap(KEYS, created, None, time.time()))
        note = yield from Read(backend, notes.get(KEYS, time.time()))
        if note is None:
            msg = f"The keys of tenant {tenant!r} were deleted just now. Open the memory again."
            raise WrongKeyError(msg)
    secrets = Secrets.unwrapped(note.value, keys, tenant)
    if searchable is not None and searchable != secrets.searchable:
        msg = (
            f"Tenant {tenant!r} was created with searchable={secrets.searchable}; got searchable={searchable}. Nothing was "
            f"read or written. Leave out searchable= and AGENTMEM_SEARCHABLE, or copy the memory to a new one with "
            f"searchable={searchable}: memory.copy_to(other)."
        )
        raise ConfigurationError(msg)
    return secrets, note.value


@storage_program
def holds_data(backend: Backend, tenant: str) -> Program[bool]:
    """Return true if a tenant has sessions, items, threads, records, or variables of users."""
    now = time.time()
    return (
        bool((yield from backend.messages.sessions(tenant, OMITTED, 1, 0, now)))
        or bool((yield from backend.items.roots(tenant, now)))
        or bool((yield from backend.checkpoints.threads(tenant, OMITTED, 1, 0, now)))
        or bool((yield from backend.variables.users(tenant, now)))
        or bool((yield from backend.records.count(tenant, OMITTED)))
    )


def require_unencrypted(backend: Backend, tenant: str) -> None:
    """Let the first operation on a backend check that a tenant is not encrypted.

    Args:
        backend: The backend.
        tenant: The tenant.
    """

    def check() -> Program[None]:
        note = yield from notes_of_keys(backend, tenant).get(KEYS, time.time())
        if note is not None:
            msg = f"Tenant {tenant!r} is encrypted, and no key was given. Nothing was read or written. {HINT}"
            raise WrongKeyError(msg)

    backend.check_before_use(("unencrypted", tenant), storage_program(check))
