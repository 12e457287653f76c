"""The epoch of a tenant: a random value that changes after a deletion that the caches of all processes must notice."""

from __future__ import annotations

import secrets
import time
from typing import Any

from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.backends.notes import Notes
from langchain_agentmem.programs import Program, Read, Write

_NOTE = "epoch"


def epoch_of(backend: Backend, tenant: str) -> Program[Any]:
    """Return the epoch of a tenant; None before the first change.

    Args:
        backend: The backend.
        tenant: The tenant.

    Example:
        >>> from langchain_agentmem.backends import connect
        >>> from langchain_agentmem.backends.epochs import change_epoch, epoch_of
        >>> from langchain_agentmem.programs import run
        >>> backend = connect("sqlite:///:memory:")
        >>> before = run(epoch_of(backend, "default"))
        >>> run(change_epoch(backend, "default"))
        >>> before is None, run(epoch_of(backend, "default")) == before
        (True, False)
        >>> backend.close()
    """
    note = yield from Read(backend, _notes(backend, tenant).get(_NOTE, time.time()))
    return None if note is None else note.value.get("value")


def change_epoch(backend: Backend, tenant: str) -> Program[None]:
    """Change the epoch of a tenant. Call it after data was deleted.

    Args:
        backend: The backend.
        tenant: The tenant.
    """
    yield from Write(backend, _notes(backend, tenant).put(_NOTE, {"value": secrets.token_hex(8)}, time.time()))


def _notes(backend: Backend, tenant: str) -> Notes:
    return Notes(backend, tenant, "reads")
