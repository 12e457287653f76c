"""Credentials from a function of the application, for passwords and tokens that expire."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from langchain_agentmem.arguments.urls import has_password
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import ConfigurationError, InvalidTypeError, StorageError
from langchain_agentmem.programs import OuterStep, Within

Answer = str | tuple[str, str]
"""A password, or a user name and a password."""

CredentialsFunction = Callable[[], Answer | Awaitable[Answer]]


class Login(NamedTuple):
    """The credentials that a function returned."""

    user: str | None
    """The user name; None for that of the URL."""
    password: str

    def __repr__(self) -> str:
        return f"Login(user={self.user!r})"  # without the password


@dataclass(frozen=True, repr=False)
class Credentials(OuterStep[Login]):
    """Calls a function of the application for each new connection. It is also a step of a program.

    Args:
        function: Returns a password, or a user name and a password. A worker thread calls it, unless it is a coroutine
            function.
        seconds: The time limit of a call, in seconds. Default: 30, the default timeout of an operation.

    Raises:
        InvalidTypeError: `function` is not callable.
    """

    function: CredentialsFunction
    seconds: float = 30.0

    def __post_init__(self) -> None:
        if not callable(self.function):
            msg = (
                f"credentials must be a function that returns a password, or a user name and a password, got "
                f"{type(self.function).__name__}."
            )
            raise InvalidTypeError(msg)

    def within(self, seconds: float) -> Credentials:
        """Return the same function with another time limit."""
        return replace(self, seconds=seconds)

    def perform(self) -> Login:
        """Call the function.

        Raises:
            ConfigurationError: The function is a coroutine function, or returns something else.
            StorageError: The function failed, or took longer than the time limit.
        """
        try:
            return _login(Within(_Call(self.function), self.seconds).perform())
        except TimeoutError as error:
            raise self._late() from error

    async def aperform(self) -> Login:
        """Same as `perform`, but without blocking the event loop; the function may be a coroutine function."""
        try:
            return _login(await Within(_Call(self.function), self.seconds).aperform())
        except TimeoutError as error:
            raise self._late() from error

    def _late(self) -> StorageError:
        return StorageError(
            f"Could not open a connection: the function credentials took longer than {self.seconds:.3g} seconds, the time "
            f"limit of the operation. Nothing was stored. Give the function a shorter limit, or raise ?timeout= in the URL."
        )


@dataclass(frozen=True)
class _Call(OuterStep[Any]):
    """Calls the function, and raises `StorageError` if it fails."""

    function: CredentialsFunction

    def perform(self) -> Any:
        try:
            answer = self.function()
        except Exception as error:
            raise _failed(error) from error
        if inspect.isawaitable(answer):
            if inspect.iscoroutine(answer):
                answer.close()
            msg = "credentials is a coroutine function, which synchronous methods cannot call. Pass a function."
            raise ConfigurationError(msg)
        return answer

    async def aperform(self) -> Any:
        try:
            if inspect.iscoroutinefunction(self.function):
                return await self.function()
            answer = await _in_thread(self.function)
            return await answer if inspect.isawaitable(answer) else answer
        except Exception as error:
            raise _failed(error) from error


async def _in_thread(function: Callable[[], Any]) -> Any:
    """Call a function in a daemon thread of its own.

    `asyncio.run` waits at its end for the threads of the event loop's executor, and so for a function that never returns.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def settle(answer: Any, error: BaseException | None) -> None:
        if future.done():  # the time limit was over
            return
        if error is None:
            future.set_result(answer)
        else:
            future.set_exception(error)

    def work() -> None:
        answer, problem = None, None
        try:
            answer = context.run(function)
        except BaseException as error:
            problem = error
        with suppress(RuntimeError):  # the event loop is closed
            loop.call_soon_threadsafe(settle, answer, problem)

    threading.Thread(target=work, daemon=True).start()
    return await future


def credentials_of(function: Any, url: str) -> Credentials | None:
    """Return the credentials for a URL; None without a function.

    Raises:
        ConfigurationError: The URL contains a password too.
        InvalidTypeError: `function` is not callable.
    """
    if function is None:
        return None
    credentials = Credentials(function)
    if has_password(url):
        msg = "The URL contains a password, and credentials= is passed too. Remove the password from the URL."
        raise ConfigurationError(msg)
    return credentials


def _login(answer: Any) -> Login:
    if isinstance(answer, str):
        return Login(None, answer)
    if isinstance(answer, tuple) and len(answer) == 2 and all(isinstance(one, str) for one in answer):
        return Login(*answer)
    kind = type(answer).__name__  # the value may be a secret
    msg = (
        f"The function credentials must return a password, or a tuple of user name and password; it returned a {kind}."
    )
    raise ConfigurationError(msg)


def _failed(error: Exception) -> StorageError:
    return StorageError(
        f"Could not open a connection: the function credentials raised {shown(type(error).__name__)}. Nothing was stored."
    )
