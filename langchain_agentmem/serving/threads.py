"""Which threads a caller may access."""

from __future__ import annotations

from collections.abc import AsyncIterator

from langchain_agentmem.arguments.omitted import Omitted
from langchain_agentmem.checkpointing.models import ThreadInfo
from langchain_agentmem.serving.callers import Caller
from langchain_agentmem.serving.problems import ProblemError

_PAGE = 500


def is_own(caller: Caller, thread: ThreadInfo) -> bool:
    """Return true if a caller may access a thread: a key that is bound to users needs a thread of no other user.

    Args:
        caller: The caller.
        thread: The thread.
    """
    users = caller.access.users
    return users is None or (bool(thread.users) and all(one in users for one in thread.users))


async def own_threads(caller: Caller, owner: str | Omitted | None) -> dict[str, ThreadInfo]:
    """Return the threads of a user that a caller may access, by ID.

    Args:
        caller: The caller.
        owner: The user.
    """
    return {one.thread_id: one async for one in _threads(caller, owner) if is_own(caller, one)}


async def check_thread(caller: Caller, thread_id: str, user: str | None) -> None:
    """Check that a caller may access a thread.

    Args:
        caller: The caller.
        thread_id: The thread.
        user: The user of the request.

    Raises:
        ProblemError: The thread does not exist, or the caller may not access it. The error does not say which.
    """
    if not caller.is_bound:
        return
    async for thread in _threads(caller, user):
        if thread.thread_id == thread_id and is_own(caller, thread):
            return
    raise ProblemError(404, "The thread does not exist.")


async def _threads(caller: Caller, owner: str | Omitted | None) -> AsyncIterator[ThreadInfo]:
    offset = 0
    while True:
        found = await caller.memory.checkpointer.athreads(user_id=owner, limit=_PAGE, offset=offset)
        for one in found:
            yield one
        if len(found) < _PAGE:
            return
        offset += _PAGE
