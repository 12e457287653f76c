"""The steps that programs yield."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import queue
import threading
import time
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from langchain_agentmem.errors import InvalidTypeError
from langchain_agentmem.programs.workers import in_worker

if TYPE_CHECKING:
    from langchain_core.runnables import Runnable, RunnableConfig

    from langchain_agentmem.backends.contract import Backend

T = TypeVar("T")
Row = tuple[Any, ...]
"""One row of a result: its columns have the types that the driver returns."""


class Step(Generic[T]):
    """One action that a program requests; `yield from step` returns its result, a `T`."""

    __slots__ = ()

    def __iter__(self) -> Generator[Step[T], T, T]:
        return (yield self)


Program = Generator[Step[Any], Any, T]
"""A generator that yields steps, receives their results, and returns a `T`."""


class OuterStep(Step[T]):
    """A step that performs itself, outside of any transaction."""

    __slots__ = ()

    @abstractmethod
    def perform(self) -> T:
        """Perform the step and return its result."""

    @abstractmethod
    async def aperform(self) -> T:
        """Perform the step without blocking the event loop, and return its result."""


class Compute(Step[T]):
    """Step of any program: call a function that only computes.

    Args:
        large: If true, `arun` calls the function in a worker thread, so that the event loop keeps running.
        function: The function. It must not wait for anything.
        *arguments: Its positional arguments.

    Example:
        >>> from langchain_agentmem.programs import Compute, run
        >>> def total(numbers):
        ...     return (yield from Compute(len(numbers) > 100_000, sum, numbers))
        >>> run(total([1, 2, 3]))
        6
    """

    __slots__ = ("arguments", "function", "large")

    def __init__(self, large: bool, function: Callable[..., T], *arguments: Any) -> None:
        self.large = large
        self.function = function
        self.arguments = arguments

    def perform(self) -> T:
        """Call the function."""
        return self.function(*self.arguments)

    async def aperform(self) -> T:
        """Call the function, in a worker thread if the work is large."""
        if self.large:
            return await in_worker(self.function, *self.arguments)
        return self.function(*self.arguments)


@dataclass(slots=True)
class OffLoop(Step[None]):
    """Step of any program: under `arun`, a worker thread runs the program until its next step.

    Args:
        large: If false, the step has no effect.

    Example:
        >>> from langchain_agentmem.programs import OffLoop, run
        >>> def total(numbers):
        ...     yield from OffLoop(len(numbers) > 100_000)
        ...     return sum(numbers)
        >>> run(total([1, 2, 3]))
        6
    """

    large: bool

    def perform(self) -> None:
        """Do nothing: a synchronous caller has no event loop."""


@dataclass(slots=True)
class Fetch(Step[list[Row]]):
    """Storage step: run one statement and return its rows."""

    statement: str
    parameters: Sequence[Any] | Mapping[str, Any] = ()


@dataclass(slots=True)
class Execute(Step[int]):
    """Storage step: run one statement and return the number of rows that it changed."""

    statement: str
    parameters: Sequence[Any] | Mapping[str, Any] = ()


@dataclass(slots=True)
class ExecuteMany(Step[int]):
    """Storage step: run one statement for each of `rows` and return the number of rows that it changed."""

    statement: str
    rows: Sequence[Sequence[Any]]


@dataclass(slots=True)
class All(Step[list[Any]]):
    """Storage step: perform several storage steps, one after the other in one round trip, and return their results."""

    steps: Sequence[Step[Any]]


def _check(backend: Backend, perform: Callable[[Program[None]], None]) -> None:
    """Run the checks that must succeed before a backend is used.

    Args:
        backend: The backend.
        perform: `Backend.read`; `Backend.write` before a write, because its errors say what was stored.
    """
    for name, check in backend.checks.items():
        perform(check())
        backend.checks = {one: other for one, other in backend.checks.items() if one != name}


async def _acheck(backend: Backend, perform: Callable[[Program[None]], Awaitable[None]]) -> None:
    """Same as `_check`, without blocking the event loop."""
    for name, check in backend.checks.items():
        await perform(check())
        backend.checks = {one: other for one, other in backend.checks.items() if one != name}


@dataclass(slots=True)
class Read(OuterStep[T]):
    """Outer step: run a storage program on one consistent view of the database."""

    backend: Backend
    program: Program[T]

    def perform(self) -> T:
        if self.backend.checks:
            _check(self.backend, self.backend.read)
        return self.backend.read(self.program)

    async def aperform(self) -> T:
        if self.backend.checks:
            await _acheck(self.backend, self.backend.aread)
        return await self.backend.aread(self.program)


@dataclass(slots=True)
class Write(OuterStep[T]):
    """Outer step: run a storage program as one transaction."""

    backend: Backend
    program: Program[T]

    def perform(self) -> T:
        if self.backend.checks:
            _check(self.backend, self.backend.write)
        return self.backend.write(self.program)

    async def aperform(self) -> T:
        if self.backend.checks:
            await _acheck(self.backend, self.backend.awrite)
        return await self.backend.awrite(self.program)


class Call(OuterStep[T]):
    """Outer step: call a function with arguments. Under `arun`, it may be a coroutine function."""

    __slots__ = ("arguments", "function")

    def __init__(self, function: Callable[..., T | Awaitable[T]], *arguments: Any) -> None:
        self.function = function
        self.arguments = arguments

    def perform(self) -> T:
        result = self.function(*self.arguments)
        if inspect.isawaitable(result):
            if inspect.iscoroutine(result):
                result.close()
            msg = f"{self.function!r} is a coroutine function: use the method with the prefix `a` and await it."
            raise InvalidTypeError(msg)
        return result

    async def aperform(self) -> T:
        result = self.function(*self.arguments)
        return await result if inspect.isawaitable(result) else result


class CallTwin(OuterStep[T]):
    """Outer step: call a function, or under `arun` its asynchronous twin, with the same arguments.

    Args:
        function: The function.
        twin: Its asynchronous twin.
        *arguments: The positional arguments of both.

    Example:
        >>> from langgraph.checkpoint.memory import InMemorySaver
        >>> from langchain_agentmem.programs import CallTwin, run
        >>> saver = InMemorySaver()
        >>> def latest(thread_id):
        ...     config = {"configurable": {"thread_id": thread_id}}
        ...     return (yield from CallTwin(saver.get_tuple, saver.aget_tuple, config))
        >>> run(latest("1")) is None
        True
    """

    __slots__ = ("arguments", "function", "twin")

    def __init__(self, function: Callable[..., T], twin: Callable[..., Awaitable[T]], *arguments: Any) -> None:
        self.function = function
        self.twin = twin
        self.arguments = arguments

    def perform(self) -> T:
        return self.function(*self.arguments)

    async def aperform(self) -> T:
        return await self.twin(*self.arguments)


@dataclass(slots=True)
class Ask(OuterStep[T]):
    """Outer step: invoke a chat model, or another runnable."""

    runnable: Runnable[Any, T]
    input: Any
    config: RunnableConfig | None = None

    def perform(self) -> T:
        return self.runnable.invoke(self.input, self.config)

    async def aperform(self) -> T:
        return await self.runnable.ainvoke(self.input, self.config)


@dataclass(slots=True)
class Within(OuterStep[T]):
    """Outer step: perform another step within a time limit.

    Args:
        step: The other step.
        seconds: The time limit in seconds.

    Raises:
        TimeoutError: The step took longer. A synchronous step continues in its thread, and its result is dropped.
    """

    step: OuterStep[T]
    seconds: float

    def perform(self) -> T:
        outcomes: queue.SimpleQueue[tuple[T, None] | tuple[None, BaseException]] = queue.SimpleQueue()
        context = contextvars.copy_context()

        def work() -> None:
            try:
                outcomes.put((context.run(self.step.perform), None))
            except BaseException as error:
                outcomes.put((None, error))

        try:
            threading.Thread(target=work, daemon=True).start()
        except RuntimeError:  # the interpreter is shutting down and starts no threads: there is no time limit
            return self.step.perform()
        try:
            result, error = outcomes.get(timeout=self.seconds)
        except queue.Empty:
            raise self._late() from None
        if error is not None:
            raise error
        return cast("T", result)

    async def aperform(self) -> T:
        try:
            return await asyncio.wait_for(self.step.aperform(), self.seconds)
        except TimeoutError:
            raise self._late() from None

    def _late(self) -> TimeoutError:
        return TimeoutError(f"It took longer than {self.seconds:g} seconds.")


@dataclass(slots=True)
class Sleep(OuterStep[None]):
    """Outer step: wait for a number of seconds."""

    seconds: float

    def perform(self) -> None:
        time.sleep(self.seconds)

    async def aperform(self) -> None:
        await asyncio.sleep(self.seconds)
