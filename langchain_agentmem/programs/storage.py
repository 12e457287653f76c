"""Storage programs that a backend can restart, for example after a lost connection."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Generic, TypeVar, cast

from typing_extensions import ParamSpec

from langchain_agentmem.programs.steps import Program

T = TypeVar("T")
P = ParamSpec("P")


class StorageProgram(Generic[T]):
    """A storage program that a backend can restart.

    `run`, `arun` and `yield from` accept it like a generator. `storage_program` and `one_statement` create it.
    """

    __slots__ = ("__name__", "_begin", "shares", "single")

    def __init__(self, name: str, begin: Callable[[], Program[T]], *, single: bool, shares: bool = False) -> None:
        self.__name__ = name
        self._begin = begin
        self.single = single
        """True if the program is one statement, which needs no explicit transaction."""
        self.shares = shares
        """True if the program is a short write, which may share its transaction with others."""

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


def short_write(function: Callable[P, Program[T]]) -> Callable[P, Program[T]]:
    """Same as `one_statement`, for short writes whose transaction may include other writes.

    The first parameter of the statement names what it locks.
    """
    return _restartable(function, single=True, shares=True)


def in_own_transaction(program: Program[T]) -> Program[T]:
    """Return a storage program that does the same, and whose transaction includes no other writes.

    Example:
        >>> from langchain_agentmem.programs import Fetch, in_own_transaction, short_write
        >>> @short_write
        ... def touch(name):
        ...     yield from Fetch("SELECT touch(%s)", (name,))
        >>> in_own_transaction(touch("a")).shares
        False
    """
    if not isinstance(program, StorageProgram) or not program.shares:
        return program
    return cast("Program[T]", StorageProgram(program.__name__, program.__iter__, single=program.single))


def _restartable(function: Callable[P, Program[T]], *, single: bool, shares: bool = False) -> Callable[P, Program[T]]:
    @wraps(function)
    def make(*args: P.args, **kwargs: P.kwargs) -> Program[T]:
        # Callers compose it like a generator: `yield from` starts it.
        begin = partial(function, *args, **kwargs)
        return cast("Program[T]", StorageProgram(function.__name__, begin, single=single, shares=shares))

    return make
