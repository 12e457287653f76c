"""The caller of a request, and the errors that it is told about."""

from __future__ import annotations

import logging
from typing import NamedTuple

from langchain_agentmem.errors import AgentMemError, InvalidInputError, InvalidTypeError
from langchain_agentmem.memory import AgentMemory
from langchain_agentmem.serving.failures import places_of

_log = logging.getLogger("langchain_agentmem.serving.mcp")

UNAVAILABLE = "The memory is not available at the moment. Try again later."
"""What a remote client is told about errors that its request did not cause."""


class Caller(NamedTuple):
    """The user of a request, and the memory of the user's tenant."""

    memory: AgentMemory
    user_id: str
    is_local: bool = False
    """If true, the client started the server itself, and is told about errors of the database."""


def told(error: Exception, caller: Caller) -> str:
    """Return what a client is told about an error. Errors that the request did not cause are logged.

    Args:
        error: The error.
        caller: The caller of the request.
    """
    if isinstance(error, (InvalidInputError, InvalidTypeError)):
        return str(error)
    known = isinstance(error, AgentMemError)
    _log.error("%s%s, at %s", type(error).__name__, f": {error}" if known else "", ", ".join(places_of(error)))
    if known and caller.is_local:
        return str(error)
    return UNAVAILABLE
