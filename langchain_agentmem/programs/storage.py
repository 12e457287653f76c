"""Storage programs that a backend can restart, for example after a lost connection."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Generic, TypeVar, cast

from typing_extensions import ParamSpec

from langchain_agentmem.programs.steps import Program

T = TypeVar("T")
P = ParamSpec("P")


class StorageProgram(Generic[T]):
    """A storage program that a backend can restart.

    `run`, `arun` and `yield from` accept it like a generator. `storage_program` and `one_statement` create it.
    """

    __slots__ = ("__name__", "_begin", "single")

    def __init__(self, name: str, begin: Callable[[], Program[T]], *, single: bool) -> None:
        self.__name__ = name
        self._begin = begin
        self.single = single
        """True if the program is one statement, which needs no explicit transaction."""

    def __iter__(self) -> Program[T]:
        return self._begin()


def storage_program(function: Callable[P, Program[T]]) -> Callable[P, Program[T]]:
    """Make the storage programs that a function returns restartable.

    Running such a program twice must have the same effect as running it once.

    Example:
        >>> from langchain_agentmem.programs import Fetch, run, storage_program
        >>> @storage_program
        ... def count():
        ...     ((number,),) = yield from Fetch("SELECT count(*) FROM items")
        ...     return number
        >>> program = count()
        >>> [run(program, lambda step: [(7,)]), run(program, lambda step: [(7,)])]
        [7, 7]
    """
    return _restartable(function, single=False)


def one_statement(function: Callable[P, Program[T]]) -> Callable[P, Program[T]]:
    """Same as `storage_program`, for programs of exactly one statement: a backend runs them in one round trip."""
    return _restartable(function, single=True)


def _restartable(function: Callable[P, Program[T]], *, single: bool) -> Callable[P, Program[T]]:
    @wraps(function)
    def make(*args: P.args, **kwargs: P.kwargs) -> Program[T]:
        # Callers compose it like a generator: `yield from` starts it.
        return cast("Program[T]", StorageProgram(function.__name__, lambda: function(*args, **kwargs), single=single))

    return make
