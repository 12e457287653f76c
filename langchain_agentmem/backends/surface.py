"""Common parts of the public classes: constructors, setup, closing, and context managers.

LangGraph's classes exist twice, synchronous and asynchronous, and `from_conn_string` returns a context manager. Each class
here serves both kinds of caller under the same method names.
"""

from __future__ import annotations

import asyncio
import os
import re
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from functools import wraps
from inspect import Parameter, Signature, signature
from types import TracebackType
from typing import Any, ClassVar, Self

from langchain_agentmem.arguments.options import check_options
from langchain_agentmem.arguments.values import check_count, check_flag, shown
from langchain_agentmem.backends import adopt, connect, connect_string
from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.backends.encrypted import EncryptedBackend, require_unencrypted
from langchain_agentmem.encoding.encryption import Key, KeySource
from langchain_agentmem.errors import ConfigurationError, IgnoredKeyWarning, InvalidInputError, InvalidTypeError
from langchain_agentmem.programs import Program, Read, arun, run, storage_program

_URL = re.compile(r"(sqlite|postgres|postgresql|redis|rediss|unix)(\+\w+)?://")


class Work(Coroutine[Any, Any, None]):
    """Result of a method that both synchronous and asynchronous callers use: awaiting it is allowed, not required.

    Args:
        start: Function that starts the work and returns an awaitable. None if the work is done already.

    Example:
        >>> import asyncio
        >>> from langchain_agentmem.backends.surface import Work
        >>> asyncio.run(Work(None))
    """

    def __init__(self, start: Callable[[], Awaitable[Any]] | None = None) -> None:
        self._start = start
        self._running: Generator[Any, Any, None] | None = None

    def __await__(self) -> Generator[Any, Any, None]:
        if self._start is not None:
            yield from self._start().__await__()

    def __repr__(self) -> str:
        return "done" if self._start is None else "to be awaited"

    def send(self, value: Any) -> Any:
        """Resume the work, as `Coroutine.send` does."""
        if self._running is None:
            self._running = self.__await__()
        return self._running.send(value)

    def throw(self, *error: Any) -> Any:
        """Raise an error in the work, as `Coroutine.throw` does."""
        if self._running is None:
            self._running = self.__await__()
        return self._running.throw(*error)

    def close(self) -> None:
        """Stop the work, as `Coroutine.close` does."""
        if self._running is not None:
            self._running.close()


class Surface:
    """Base class of `AgentMemory`, the history, the store, the checkpointer and the cache.

    A subclass declares the constructors again under `TYPE_CHECKING`, with its own options, so that type checkers know them.
    """

    _options: ClassVar[type]
    """The `TypedDict` of the keyword arguments that the constructors accept."""
    _required: ClassVar[tuple[str, ...]] = ()
    """The constructors' required arguments after the database."""
    _backend: Backend
    _stands_alone: bool
    """If true, the object owns its backend: leaving a `with` block closes it."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if "_options" in cls.__dict__:
            for name, own in _OWN_OPTIONS.items():
                setattr(cls, name, _constructor(cls, name, own))

    @classmethod
    def from_url(cls, url: str, *arguments: Any, **options: Any) -> Self:
        """Create the object for the database at a URL. No connection is opened until it is used.

        Args:
            url: The database, such as `sqlite:///agentmem.db`; see `langchain_agentmem.backends.connect`.
            *arguments: `session_id`, for a history.
            **options: The keyword arguments of the class, and `credentials`: for Postgres and Redis, a function that is
                called for each new connection and returns a password, or a tuple of user name and password. For
                asynchronous callers, it may be a coroutine function. Default: None (those of the URL).

        Raises:
            ConfigurationError: The URL's scheme or one of its options is unknown, or it contains a password beside
                `credentials`.
            InvalidTypeError: A keyword argument is unknown.
        """
        given = cls._split("from_url", options, "credentials")
        if "key" not in options:
            warn_of_ignored_key(None)
        return cls._alone(connect(url, **given), arguments, options)

    @classmethod
    def from_conn_string(cls, conn_string: str, *arguments: Any, **options: Any) -> Self:
        """Create the object for a connection string, as `PostgresSaver.from_conn_string` and its siblings do.

        The object is also a context manager: `with` and `async with` close it.

        Args:
            conn_string: A URL, a connection string of libpq, or the path of a SQLite file; see
                `langchain_agentmem.backends.connect_string`.
            *arguments: `session_id`, for a history.
            **options: The keyword arguments of the class, and these two.
                `pool_config`: LangGraph's `PoolConfig`. `max_size` is the maximum number of connections; `min_size` has no
                effect, because connections are opened on demand. Default: None (10 connections).
                `pipeline`: accepted for compatibility with LangGraph's classes, without effect, because each operation
                already takes one round trip. Default: False.

        Raises:
            ConfigurationError: The connection string or an entry of `pool_config` is not supported.
            InvalidTypeError: A keyword argument is unknown.

        Example:
            >>> from langchain_agentmem import AgentMemSaver
            >>> with AgentMemSaver.from_conn_string(":memory:") as saver:
            ...     _ = saver.setup()
            ...     saver.threads()
            []
        """
        given = cls._split("from_conn_string", options, "pipeline", "pool_config")
        check_flag("pipeline", given.get("pipeline", False))
        if "key" not in options:
            warn_of_ignored_key(None)
        backend = connect_string(conn_string, pool_size=pool_size_of(given.get("pool_config")))
        return cls._alone(backend, arguments, options)

    @classmethod
    def from_connection(cls, connection: Any, *arguments: Any, **options: Any) -> Self:
        """Create the object on a connection or pool of the application, which stays open when the object is closed.

        Args:
            connection: The connection or pool; see `langchain_agentmem.backends.adopt`.
            *arguments: `session_id`, for a history.
            **options: The keyword arguments of the class, and these two.
                `schema`: the Postgres schema of the tables. Default: None (the first of the search path).
                `language`: the language of the texts, for full-text search. Default: None (English).

        Raises:
            InvalidTypeError: The connection's type is not supported, or a keyword argument is unknown.
        """
        given = cls._split("from_connection", options, "schema", "language")
        return cls._alone(adopt(connection, **given), arguments, options)

    @classmethod
    def from_client(cls, client: Any, *arguments: Any, **options: Any) -> Self:
        """Create the object on a redis-py client of the application, which stays open when the object is closed.

        Args:
            client: A `redis.Redis` or `redis.RedisCluster`, or one of `redis.asyncio` (for async methods only).
            *arguments: `session_id`, for a history.
            **options: The keyword arguments of the class, and `allow_eviction`: if true, accept a server that may evict
                stored data. Default: False.

        Raises:
            InvalidTypeError: The client's type is not supported, or a keyword argument is unknown.
        """
        given = cls._split("from_client", options, "allow_eviction")
        return cls._alone(adopt(client, **given), arguments, options)

    @classmethod
    def _split(cls, constructor: str, options: dict[str, Any], *own: str) -> dict[str, Any]:
        """Remove a constructor's own arguments from `options`, check the others, and return the removed ones."""
        given = {name: options.pop(name) for name in own if name in options}
        others = {name: value for name, value in options.items() if name not in cls._required}
        check_options(f"{cls.__name__}.{constructor}", others, cls._options)
        return given

    @classmethod
    def _alone(cls, backend: Backend, arguments: tuple[Any, ...], options: Mapping[str, Any]) -> Self:
        """Create an object that owns its backend."""
        created = cls(backend, *arguments, **options)  # type: ignore[call-arg]  # each subclass takes a backend first
        created._stands_alone = True
        return created

    def setup(self) -> Work:
        """Create or migrate the tables. Calling it is optional, because the first operation does the same.

        LangGraph's classes have this method, so both `saver.setup()` and `await saver.setup()` work. On an event loop the
        work starts when the result is awaited, so that the loop is never blocked.

        Raises:
            ConfigurationError: The database cannot be used.
        """
        if _is_on_event_loop():
            return Work(self.asetup)
        run(self._setup())
        return Work()

    async def asetup(self) -> Work:
        """Same as `setup`, but without blocking the event loop."""
        await arun(self._setup())
        return Work()

    def close(self) -> None:
        """Close the backend's connections."""
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


_OWN_OPTIONS = {
    "from_url": ("credentials",),
    "from_conn_string": ("pool_config", "pipeline"),
    "from_connection": ("schema", "language"),
    "from_client": ("allow_eviction",),
}
"""The constructors, each with its own keyword arguments."""


def _constructor(owner: type[Surface], name: str, own: tuple[str, ...]) -> Any:
    """Return a constructor of `Surface` whose signature at run time names the arguments of a subclass."""
    function = Surface.__dict__[name].__func__

    @wraps(function)
    def construct(cls: Any, *arguments: Any, **options: Any) -> Any:
        return function(cls, *arguments, **options)

    kind, only = Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY
    first, second, *_ = signature(function).parameters.values()
    keywords = [*owner._options.__annotations__, *own]
    parameters = [first, second, *(Parameter(one, kind) for one in owner._required)]
    parameters += [Parameter(one, only, default=...) for one in dict.fromkeys(keywords)]
    construct.__signature__ = Signature(parameters)  # type: ignore[attr-defined]  # `inspect.signature` reads it
    return classmethod(construct)


def warn_of_ignored_key(key: Key | None) -> None:
    """Warn if `AGENTMEM_KEY` is set, and a constructor is given a URL without a key.

    Args:
        key: The argument `key`.
    """
    if key is None and os.environ.get("AGENTMEM_KEY"):
        msg = (
            "AGENTMEM_KEY is set, but a URL was passed without key=, so nothing is encrypted: the environment describes only "
            "AgentMemory() and AgentMemory.from_settings(). Pass key=…, or set AGENTMEM_URL and call AgentMemory(). "
            "key=None in from_url says that encryption is not wanted."
        )
        warnings.warn(msg, IgnoredKeyWarning, stacklevel=4)


def backend_of(given: Any, call: str, key: Key | None) -> tuple[Backend, bool]:
    """Return the backend for the first argument of a constructor, and true if the constructed object owns it.

    Args:
        given: A backend, a URL, or a pool, connection or client of the application.
        call: An example call with a URL, for the error.
        key: The argument `key`.

    Raises:
        InvalidTypeError: `given` has another type.
        ConfigurationError: The URL cannot be used.
    """
    if isinstance(given, Backend):
        return given, False
    if isinstance(given, str):
        warn_of_ignored_key(key)
        return connect(given), True
    try:
        return adopt(given), True
    except InvalidTypeError as error:
        msg = f"{error} Pass a URL: {call}."
        raise InvalidTypeError(msg) from None


def protected_backend(backend: Backend, tenant: str, key: Key | None, searchable: bool | None) -> Backend:
    """Return a backend that encrypts a tenant, if there is a key. Otherwise let its first operation require that nothing is.

    Args:
        backend: The backend. One that encrypts already encrypts another tenant with the same key.
        tenant: The tenant.
        key: The argument `key`.
        searchable: The argument `searchable`.

    Raises:
        InvalidInputError: `searchable` is given without a key, or the backend encrypts with another one.
        InvalidTypeError: `key` or `searchable` has the wrong type.
        ConfigurationError: The package that encrypts is not installed.
    """
    if searchable is not None:
        check_flag("searchable", searchable)
    if isinstance(backend, EncryptedBackend):
        if key is not None:
            msg = f"{backend!r} has a key already. Leave key out, or pass the backend that it encrypts: backend.inner."
            raise InvalidInputError(msg)
        if backend.tenant == tenant:
            return backend
        return EncryptedBackend(backend.inner, backend.source, tenant, searchable=backend.searchable)
    if key is not None:
        return EncryptedBackend(backend, KeySource(key), tenant, searchable=searchable)
    if searchable:
        msg = "searchable=True needs a key: without one, everything is searchable. Leave it out, or pass key=."
        raise InvalidInputError(msg)
    require_unencrypted(backend, tenant)
    return backend


def check_one_of_key_and_serde(key: object, serde: object) -> None:
    """Refuse a key beside a serializer.

    Args:
        key: The argument `key`.
        serde: The argument `serde`.

    Raises:
        ConfigurationError: Both are given.
    """
    if key is not None and serde is not None:
        msg = (
            f"key= encrypts checkpoints too, so it cannot be combined with serde={type(serde).__name__}. Leave serde out, or "
            f"leave key out and encrypt the checkpoints alone."
        )
        raise ConfigurationError(msg)


def pool_size_of(pool_config: Mapping[str, Any] | None) -> int | None:
    """Return the maximum number of connections that a LangGraph `PoolConfig` sets; None if it sets none.

    Raises:
        InvalidTypeError: `pool_config` is not a mapping, or a size is not a whole number.
        ConfigurationError: One of its entries is not supported.
    """
    if pool_config is None:
        return None
    if not isinstance(pool_config, Mapping):
        kind = type(pool_config).__name__
        msg = f"pool_config must be a mapping such as {{'max_size': 20}}, got {kind}: {shown(pool_config)}."
        raise InvalidTypeError(msg)
    unknown = [name for name, value in pool_config.items() if name not in ("min_size", "max_size") and value]
    if unknown:
        msg = (
            f"Unknown entry {shown(unknown[0])} in pool_config. Known entries are min_size "
            f"and max_size. "
            f"Write options of the connections into the URL, or create a pool and pass it to from_connection."
        )
        raise ConfigurationError(msg)
    sizes = {name: pool_config.get(name) for name in ("min_size", "max_size")}
    for name, size in sizes.items():
        if size is not None:
            check_count(f"pool_config[{shown(name)}]", size, least=0 if name == "min_size" else 1)
    return sizes["max_size"]


def is_url(text: Any) -> bool:
    """Return true if a value is the URL of a database."""
    return isinstance(text, str) and _URL.match(text) is not None


@storage_program
def _nothing() -> Program[None]:
    """Run no statement; the backend prepares the database before any program."""
    return
    yield


def _is_on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
