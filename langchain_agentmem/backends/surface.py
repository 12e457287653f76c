"""What the surfaces (history, store, checkpointer) have in common: how they are made, set up, closed, and used in `with`.

The classes of other packages come in pairs, one for synchronous and one for asynchronous code, and are made by
`from_conn_string`, a context manager. Ours do the same work under the same names, as one class.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from types import TracebackType
from typing import Any, TypeVar

from typing_extensions import Self

from langchain_agentmem.arguments.values import check_count
from langchain_agentmem.backends import adopt, connect
from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.errors import ConfigurationError, InvalidTypeError
from langchain_agentmem.programs import Program, Read, arun, run, storage_program

S = TypeVar("S", bound="Surface")

_URL = re.compile(r"(sqlite|postgres|postgresql|redis|rediss|unix)(\+\w+)?://")


class Work(Coroutine[Any, Any, None]):
    """Work that may be awaited. It is done then, or was done before.

    Unlike a coroutine it need not be awaited.

    Args:
        start: Makes an awaitable that does the work. None for work that was done before.

    Example:
        >>> import asyncio
        >>> from langchain_agentmem.backends.surface import Work
        >>> asyncio.run(Work(None))
    """

    def __init__(self, start: Callable[[], Awaitable[Any]] | None = None) -> None:
        self._start = start
        self._going: Generator[Any, Any, None] | None = None

    def __await__(self) -> Generator[Any, Any, None]:
        if self._start is not None:
            yield from self._start().__await__()

    def __repr__(self) -> str:
        return "done" if self._start is None else "to be awaited"

    def send(self, value: Any) -> Any:
        """Go on, as a coroutine does."""
        if self._going is None:
            self._going = self.__await__()
        return self._going.send(value)

    def throw(self, *error: Any) -> Any:
        """Raise an error in the work, as in a coroutine."""
        if self._going is None:
            self._going = self.__await__()
        return self._going.throw(*error)

    def close(self) -> None:
        """Break the work off, as a coroutine is."""
        if self._going is not None:
            self._going.close()


class Surface:
    """The base of the surfaces."""

    _backend: Backend
    _stands_alone: bool
    """Whether the database belongs to this object, not to an `AgentMemory`."""

    def setup(self) -> Work:
        """Make the tables, or bring them up to date, unless they are.

        Nobody has to call it: the first use of the database does the same. It is here because LangGraph's own classes have
        it. `saver.setup()` and `await saver.setup()` both work. Where an event loop is running, nothing is done before it
        is awaited, so that the loop does not wait.

        Raises:
            ConfigurationError: The database cannot be used.
        """
        if _runs_loop():
            return Work(self.asetup)
        run(self._setup())
        return Work()

    async def asetup(self) -> Work:
        """Same as `setup`, but without blocking the event loop."""
        await arun(self._setup())
        return Work()

    def close(self) -> None:
        """Close the database of an object that stands alone."""
        self._backend.close()

    async def aclose(self) -> None:
        """Same as `close`, but without blocking the event loop."""
        await self._backend.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._stands_alone:
            self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._stands_alone:
            await self.aclose()

    def _setup(self) -> Program[None]:
        yield from Read(self._backend, _nothing())


def alone(surface: S) -> S:
    """Say that the database of a surface belongs to it."""
    surface._stands_alone = True
    return surface


def backend_of(given: Any, call: str) -> tuple[Backend, bool]:
    """The backend that a constructor is given, and whether it was made for it.

    Args:
        given: A backend, a URL, or a pool, connection or client of the application.
        call: How the constructor is called with a URL, for the message.

    Raises:
        InvalidTypeError: It is none of them.
        ConfigurationError: The URL cannot be used.
    """
    if isinstance(given, Backend):
        return given, False
    if isinstance(given, str):
        return connect(given), True
    try:
        return adopt(given), True
    except InvalidTypeError as error:
        msg = f"{error} Pass a URL: {call}."
        raise InvalidTypeError(msg) from None


def pool_size_of(pool_config: Mapping[str, Any] | None) -> int | None:
    """The most connections that a `PoolConfig` of LangGraph asks for; None if it does not say.

    Raises:
        InvalidTypeError: It is not a mapping, or a size is not a whole number.
        ConfigurationError: One of its entries has no meaning here.
    """
    if pool_config is None:
        return None
    if not isinstance(pool_config, Mapping):
        kind = type(pool_config).__name__
        msg = f"pool_config must be a mapping such as {{'max_size': 20}}, got {kind}: {pool_config!r:.100}."
        raise InvalidTypeError(msg)
    unknown = [name for name, value in pool_config.items() if name not in ("min_size", "max_size") and value]
    if unknown:
        msg = (
            f"pool_config has an entry {unknown[0]!r} that has no meaning here. Known entries are min_size and max_size. "
            f"Write options of the connections into the URL, or make a pool and pass it to from_connection."
        )
        raise ConfigurationError(msg)
    sizes = {name: pool_config.get(name) for name in ("min_size", "max_size")}
    for name, size in sizes.items():
        if size is not None:
            check_count(f"pool_config[{name!r}]", size, least=0 if name == "min_size" else 1)
    return sizes["max_size"]


def is_url(text: Any) -> bool:
    """Whether something is the URL of a database."""
    return isinstance(text, str) and _URL.match(text) is not None


@storage_program
def _nothing() -> Program[None]:
    """Do nothing: whoever runs it prepares the database first."""
    return
    yield


def _runs_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
