"""The checkpointer and the store of LangGraph's agent server, as `langgraph.json` names them.

    {
      "checkpointer": {"path": "langchain_agentmem.serving.agent_server.checkpointer"},
      "store": {"path": "langchain_agentmem.serving.agent_server.store"}
    }

The environment (`AGENTMEM_URL` …) and `.env` configure the memory; see `langchain_agentmem.settings`. The server enters each
context manager once in each of its threads. All of them share one memory, which the last one closes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from langchain_agentmem.checkpointing.face import AgentMemSaver
from langchain_agentmem.memory import AgentMemory
from langchain_agentmem.programs import in_worker
from langchain_agentmem.programs.locks import forkable_lock
from langchain_agentmem.store.face import AgentMemStore


class _Shared(NamedTuple):
    """The open memory, and the number of its users."""

    memory: AgentMemory
    users: int


class _Holder:
    """Opens one memory for several users."""

    def __init__(self) -> None:
        self._lock = forkable_lock()
        self._shared: _Shared | None = None

    def enter(self) -> AgentMemory:
        """Return the open memory. Open it for the first user."""
        with self._lock:
            memory, users = self._shared or _Shared(AgentMemory.from_settings(), 0)
            self._shared = _Shared(memory, users + 1)
            return memory

    def leave(self) -> AgentMemory | None:
        """Return the memory after its last user left, for that user to close; None if others use it."""
        with self._lock:
            if self._shared is None:
                return None
            memory, users = self._shared
            self._shared = _Shared(memory, users - 1) if users > 1 else None
            return None if users > 1 else memory


_holder = _Holder()


@asynccontextmanager
async def memory() -> AsyncIterator[AgentMemory]:
    """Open the memory that the environment describes, for routes of your own beside the server's.

    Yields:
        The memory that `checkpointer` and `store` use, too.

    Raises:
        ConfigurationError: A variable of the environment is empty or has a wrong value.

    Example:
        >>> import asyncio, os
        >>> from langchain_agentmem.serving import agent_server
        >>> os.environ["AGENTMEM_URL"] = "sqlite:///:memory:"
        >>> async def count():
        ...     async with agent_server.memory() as memory, agent_server.store() as store:
        ...         await store.aput(("notes",), "1", {"text": "Hello"})
        ...         return len(await memory.store.asearch(("notes",)))
        >>> asyncio.run(count())
        1
        >>> del os.environ["AGENTMEM_URL"]
    """
    opened = await in_worker(_holder.enter)  # reads `.env`
    try:
        yield opened
    finally:
        last = _holder.leave()
        if last is not None:
            await last.aclose()


@asynccontextmanager
async def checkpointer() -> AsyncIterator[AgentMemSaver]:
    """Open the checkpointer of the memory that the environment describes. Raises as `memory`.

    Example:
        >>> import asyncio, os
        >>> from langchain_agentmem.serving.agent_server import checkpointer
        >>> os.environ["AGENTMEM_URL"] = "sqlite:///:memory:"
        >>> async def threads():
        ...     async with checkpointer() as saver:
        ...         return await saver.athreads()
        >>> asyncio.run(threads())
        []
        >>> del os.environ["AGENTMEM_URL"]
    """
    async with memory() as opened:
        yield opened.checkpointer


@asynccontextmanager
async def store() -> AsyncIterator[AgentMemStore]:
    """Open the store of the memory that the environment describes. Raises as `memory`; see there for an example."""
    async with memory() as opened:
        yield opened.store
