"""Steps that call a checkpointer of any package: its synchronous methods, or under `arun` their async twins.

Some savers are synchronous only, such as `SqliteSaver`. Under `arun`, a thread of their own calls them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple

from langchain_agentmem.errors import ConfigurationError
from langchain_agentmem.programs import OuterStep
from langchain_agentmem.programs.workers import finished

T = TypeVar("T")

Saver = BaseCheckpointSaver[Any]

Ids = dict[Any, dict[str, list[str]]]
"""The checkpoint IDs of threads by thread and namespace, in the order of the listing."""


def thread_config(thread_id: Any, namespace: str | None = None, checkpoint_id: str | None = None) -> RunnableConfig:
    """Return the config of a thread, of one of its namespaces, or of a checkpoint."""
    parts = {"thread_id": thread_id, "checkpoint_ns": namespace, "checkpoint_id": checkpoint_id}
    return {"configurable": {name: value for name, value in parts.items() if value is not None}}


class SaverStep(OuterStep[T]):
    """Outer step: use a saver, synchronously or asynchronously.

    Args:
        saver: The saver.
    """

    __slots__ = ("saver",)

    def __init__(self, saver: Saver) -> None:
        self.saver = saver

    def perform(self) -> T:
        check_loop(self.saver)
        return self.work()

    async def aperform(self) -> T:
        try:
            return await self.awork()
        except NotImplementedError:
            return await finished(asyncio.ensure_future(asyncio.to_thread(self.work)))

    def work(self) -> T:
        """Use the saver's synchronous methods."""
        raise NotImplementedError

    async def awork(self) -> T:
        """Use the saver's asynchronous methods."""
        raise NotImplementedError


class SaverCall(SaverStep[T]):
    """Outer step: call one method of a saver.

    Args:
        saver: The saver.
        method: The name of the synchronous method.
        *arguments: Its positional arguments.
        **options: Its keyword arguments.
    """

    __slots__ = ("arguments", "method", "options")

    def __init__(self, saver: Saver, method: str, *arguments: Any, **options: Any) -> None:
        super().__init__(saver)
        self.method = method
        self.arguments = arguments
        self.options = options

    def work(self) -> T:
        call: Callable[..., T] = getattr(self.saver, self.method)
        return call(*self.arguments, **self.options)

    async def awork(self) -> T:
        call: Callable[..., Awaitable[T]] = getattr(self.saver, f"a{self.method}")
        return await call(*self.arguments, **self.options)


class SaverPage(SaverStep[list[CheckpointTuple]]):
    """Outer step: list some checkpoints of one namespace of a thread, newest first.

    Args:
        saver: The saver.
        thread_id: The thread.
        namespace: The namespace.
        before: Only checkpoints older than this one; None for the newest.
        limit: The maximum number of checkpoints.
    """

    __slots__ = ("arguments", "config")

    def __init__(self, saver: Saver, thread_id: Any, namespace: str, before: str | None, limit: int) -> None:
        super().__init__(saver)
        older = None if before is None else thread_config(thread_id, namespace, before)
        self.config = thread_config(thread_id, namespace)
        self.arguments: dict[str, Any] = {"before": older, "limit": limit}

    def work(self) -> list[CheckpointTuple]:
        return list(self.saver.list(self.config, **self.arguments))

    async def awork(self) -> list[CheckpointTuple]:
        return [found async for found in self.saver.alist(self.config, **self.arguments)]


class SaverIds(SaverStep[Ids]):
    """Outer step: list checkpoints, and return their IDs only. The checkpoints are read one after the other.

    Args:
        saver: The saver.
        config: The config of a thread, or None for all threads.
    """

    __slots__ = ("config",)

    def __init__(self, saver: Saver, config: RunnableConfig | None) -> None:
        super().__init__(saver)
        self.config = config

    def work(self) -> Ids:
        ids: Ids = {}
        for found in self.saver.list(self.config):
            _add(ids, found)
        return ids

    async def awork(self) -> Ids:
        ids: Ids = {}
        async for found in self.saver.alist(self.config):
            _add(ids, found)
        return ids


def _add(ids: Ids, found: CheckpointTuple) -> None:
    named = found.config["configurable"]
    namespaces = ids.setdefault(named["thread_id"], {})
    namespaces.setdefault(named.get("checkpoint_ns", ""), []).append(found.checkpoint["id"])


class SaverRows(SaverStep[list[tuple[Any, ...]]]):
    """Outer step: run a query on the database of one of LangGraph's own savers, without reading any channel value.

    Args:
        saver: A `PostgresSaver`, a `SqliteSaver`, or one of their asynchronous twins.
        statement: The statement, with `{}` for each parameter.
        parameters: The parameters.
    """

    __slots__ = ("parameters", "statement")

    def __init__(self, saver: Any, statement: str, parameters: tuple[Any, ...] = ()) -> None:
        super().__init__(saver)
        mark = "%s" if is_kind(saver, "postgres") else "?"
        self.statement = statement.replace("{}", mark)
        self.parameters = parameters

    def work(self) -> list[tuple[Any, ...]]:
        saver: Any = self.saver
        loop = getattr(saver, "loop", None)
        if loop is not None:
            return asyncio.run_coroutine_threadsafe(self.awork(), loop).result()
        cursor = saver._cursor() if is_kind(saver, "postgres") else saver.cursor(transaction=False)
        with cursor as open_cursor:
            open_cursor.execute(self.statement, self.parameters)
            return _rows(open_cursor.fetchall())

    async def awork(self) -> list[tuple[Any, ...]]:
        saver: Any = self.saver
        if not hasattr(saver, "loop"):
            raise NotImplementedError  # a synchronous saver
        if is_kind(saver, "postgres"):
            async with saver._cursor() as cursor:
                await cursor.execute(self.statement, self.parameters)
                return _rows(await cursor.fetchall())
        await saver.setup()
        async with saver.lock, saver.conn.execute(self.statement, self.parameters) as cursor:
            return _rows(await cursor.fetchall())


def _rows(found: Any) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) if isinstance(row, dict) else tuple(row) for row in found]


class ValkeyNamespaces(SaverStep[dict[str, list[str]]]):
    """Outer step: return the namespaces of each thread of a `ValkeySaver`, whose `list` needs both.

    Args:
        saver: A `ValkeySaver` or an `AsyncValkeySaver`.
    """

    __slots__ = ()
    _BEGINNING = "thread:{"

    def work(self) -> dict[str, list[str]]:
        saver: Any = self.saver
        return self._sorted(list(saver.client.scan_iter(match=f"{self._BEGINNING}*", count=1_000)))

    async def awork(self) -> dict[str, list[str]]:
        saver: Any = self.saver
        if not type(saver).__name__.startswith("Async"):
            raise NotImplementedError  # a synchronous saver
        keys = saver.client.scan_iter(match=f"{self._BEGINNING}*", count=1_000)
        return self._sorted([key async for key in keys])

    def _sorted(self, keys: list[Any]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for key in dict.fromkeys(keys):
            name = key.decode() if isinstance(key, bytes) else key
            thread_id, _, namespace = name.removeprefix(self._BEGINNING).rpartition("}:")
            found.setdefault(thread_id, []).append(namespace)
        return found


_KINDS = {
    "postgres": ("langgraph.checkpoint.postgres", ("PostgresSaver", "AsyncPostgresSaver")),
    "sqlite": ("langgraph.checkpoint.sqlite", ("SqliteSaver", "AsyncSqliteSaver")),
    "memory": ("langgraph.checkpoint.memory", ("InMemorySaver",)),
    "valkey": ("langgraph_checkpoint_aws.checkpoint.valkey", ("ValkeySaver", "AsyncValkeySaver")),
}


def is_kind(saver: Any, kind: str) -> bool:
    """Return true if a saver is of one of the packages whose storage this module knows, or derived from it.

    Args:
        saver: The saver.
        kind: `"postgres"`, `"sqlite"`, `"memory"` or `"valkey"`.
    """
    package, names = _KINDS[kind]
    return any(one.__module__.startswith(package) and one.__name__ in names for one in type(saver).__mro__)


def check_loop(saver: Saver) -> None:
    """Check that a saver's synchronous methods can be called here.

    Raises:
        ConfigurationError: The saver is asynchronous, and its event loop is not running, or is that of the caller.
    """
    name, loop = type(saver).__name__, getattr(saver, "loop", None)
    try:
        here: Any = asyncio.get_running_loop()
    except RuntimeError:
        here = None
    if isinstance(loop, asyncio.AbstractEventLoop):
        usable = loop is not here and loop.is_running()
    else:
        usable = not (is_kind(saver, "valkey") and name.startswith("Async"))
    if not usable:
        msg = f"{name} is asynchronous: use `await checkpointer.acopy_from(saver)` or `acopy_to` in its event loop."
        raise ConfigurationError(msg)
