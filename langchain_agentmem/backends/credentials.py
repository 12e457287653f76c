"""Credentials from a function of the application, for passwords and tokens that expire."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from langchain_agentmem.arguments.urls import has_password
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import ConfigurationError, InvalidTypeError, StorageError
from langchain_agentmem.programs import OuterStep

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
        function: Returns a password, or a user name and a password. Under `arun`, a worker thread calls it, unless it is a
            coroutine function.

    Raises:
        InvalidTypeError: `function` is not callable.
    """

    function: CredentialsFunction

    def __post_init__(self) -> None:
        if not callable(self.function):
            msg = (
                f"credentials must be a function that returns a password, or a user name and a password, got "
                f"{type(self.function).__name__}."
            )
            raise InvalidTypeError(msg)

    def perform(self) -> Login:
        """Call the function.

        Raises:
            ConfigurationError: The function is a coroutine function, or returns something else.
            StorageError: The function failed.
        """
        try:
            answer = self.function()
        except Exception as error:
            raise _failed(error) from error
        if inspect.isawaitable(answer):
            if inspect.iscoroutine(answer):
                answer.close()
            msg = "credentials is a coroutine function, which synchronous methods cannot call. Pass a function."
            raise ConfigurationError(msg)
        return _login(answer)

    async def aperform(self) -> Login:
        """Same as `perform`, but without blocking the event loop; the function may be a coroutine function."""
        try:
            if inspect.iscoroutinefunction(self.function):
                answer: Any = await self.function()
            else:
                answer = await asyncio.to_thread(self.function)
                if inspect.isawaitable(answer):
                    answer = await answer
        except Exception as error:
            raise _failed(error) from error
        return _login(answer)


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
