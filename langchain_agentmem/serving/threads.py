"""Which threads a caller may access."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence

from langchain_agentmem.arguments.omitted import OMITTED, Omitted
from langchain_agentmem.memory import AgentMemory
from langchain_agentmem.programs import Program, Read, arun
from langchain_agentmem.serving.callers import Caller


def is_own(caller: Caller, users: Collection[str]) -> bool:
    """Return true if a caller may access a thread with these users.

    A key that is bound to users needs a thread of no other user.

    Args:
        caller: The caller.
        users: All users of the thread.
    """
    allowed = caller.access.users
    return allowed is None or (bool(users) and all(one in allowed for one in users))


async def own_threads(caller: Caller, thread_ids: Sequence[str]) -> set[str]:
    """Return those of some threads that a caller may access.

    Args:
        caller: The caller.
        thread_ids: The threads.
    """
    users = await arun(_users(caller.memory, thread_ids))
    return {one for one in thread_ids if one in users and is_own(caller, users[one])}


async def may_access(caller: Caller, thread_id: str, user: str | Omitted | None) -> bool:
    """Return true if a caller may access a thread, and the user of the request, if there is one, has a turn in it.

    It is false for a thread that does not exist, except if a caller of all users names no user.

    Args:
        caller: The caller.
        thread_id: The thread.
        user: The user of the request; None or `OMITTED` for none.
    """
    if not caller.is_bound and (user is None or user is OMITTED):
        return True
    users = (await arun(_users(caller.memory, [thread_id]))).get(thread_id, ())
    return user in users and is_own(caller, users)


def _users(memory: AgentMemory, thread_ids: Sequence[str]) -> Program[Mapping[str, Collection[str]]]:
    """Return the users of the threads that exist."""
    engine = memory.checkpointer.engine
    table = engine.backend.transfer
    found = yield from Read(engine.backend, table.threads(engine.tenant, thread_ids, time.time()))
    return {one.key.thread_id: one.users for one in found if one is not None}
