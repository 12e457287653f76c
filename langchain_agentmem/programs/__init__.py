"""Programs and the only two runners.

An operation is a *program*: a plain generator that yields the steps it wants done and is sent their results. It holds
the whole logic of the operation, once. `run` drives it synchronously, `arun` asynchronously; neither knows what a step
does, because every step can perform itself both ways.

There are two kinds of program. A *storage program* yields statements (`Fetch`, `Execute`, `ExecuteMany`), owns one
connection and is one transaction: all of it is stored, or none of it. An *outer program* yields `Read` and `Write` (run a
storage program in a transaction of its own) and whatever must not happen inside a transaction: asking a
model, calling a user's function, waiting. Both kinds may yield `Compute` and
`OffLoop`, which keep heavy work off the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import inspect
import os
import queue
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar, cast

from typing_extensions import ParamSpec

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings
    from langchain_core.runnables import Runnable, RunnableConfig

    from langchain_agentmem.backends.contract import Backend

T = TypeVar("T")
P = ParamSpec("P")
Program = Generator[Any, Any, T]
"""A generator that yields steps, is sent their results, and returns a `T`."""


_WORKERS = 4
"""Threads for heavy work: as they all need the interpreter's lock, more of them would do no more."""


class StorageProgram(Generic[T]):
    """A storage program that can be begun anew: a backend does so when the connection was lost.

    `run`, `arun` and `yield from` take it as they take a generator. It is made by `storage_program` and `one_statement`.
    """

    __slots__ = ("__name__", "_begin", "single")

    def __init__(self, name: str, begin: Callable[[], Program[T]], *, single: bool) -> None:
        self.__name__ = name
        self._begin = begin
        self.single = single
        """Whether it is one statement, which needs no transaction around it."""

    def __iter__(self) -> Program[T]:
        return self._begin()


def storage_program(function: Callable[P, Program[T]]) -> Callable[P, Program[T]]:
    """Decorates a function that makes storage programs: what it returns can be begun anew.

    Doing the program twice must be the same as doing it once, as far as it matters to who asked for it.

    Example:
        >>> from langchain_agentmem.programs import Fetch, run, storage_program
        >>> @storage_program
        ... def count():
        ...     ((number,),) = yield Fetch("SELECT count(*) FROM items")
        ...     return number
        >>> program = count()
        >>> [run(program, lambda step: [(7,)]), run(program, lambda step: [(7,)])]
        [7, 7]
    """
    return _decorated(function, single=False)


def one_statement(function: Callable[P, Program[T]]) -> Callable[P, Program[T]]:
    """Same as `storage_program`, for a program of exactly one statement: it needs one round trip where others need more."""
    return _decorated(function, single=True)


def _decorated(function: Callable[P, Program[T]], *, single: bool) -> Callable[P, Program[T]]:
    @wraps(function)
    def make(*args: P.args, **kwargs: P.kwargs) -> Program[T]:
        # To who composes programs it is a generator: `yield from` begins it.
        return cast("Program[T]", StorageProgram(function.__name__, lambda: function(*args, **kwargs), single=single))

    return make


class Step(Protocol):
    """One thing that an outer program wants done."""

    def perform(self) -> Any:
        """Do it and return its result."""

    async def aperform(self) -> Any:
        """Do it without blocking the event loop, and return its result."""


def _perform(step: Step) -> Any:
    return step.perform()


async def _aperform(step: Step) -> Any:
    return await step.aperform()


def run(program: Program[T], perform: Callable[[Any], Any] = _perform) -> T:
    """Drive a program to its end.

    Args:
        program: The program. It is closed afterwards, whatever happens.
        perform: What does one step; by default the step does itself.

    Returns:
        What the program returns.

    Raises:
        BaseException: What a step raised and the program did not handle. An exception that breaks off a step (Ctrl-C, a
            cancelled task) is raised in the program too, which may clean up with further steps.

    Example:
        >>> from langchain_agentmem.programs import Call, run
        >>> def shout(text):
        ...     upper = yield Call(str.upper, text)
        ...     return upper + "!"
        >>> run(shout("hello"))
        'HELLO!'
    """
    program = iter(program)
    result: Any = None
    error: BaseException | None = None
    try:
        while True:
            try:
                while True:
                    step = program.send(result) if error is None else program.throw(error)
                    error = None
                    result = step.perform() if isinstance(step, (Compute, OffLoop)) else perform(step)
            except BaseException as raised:
                if _is_running(program):
                    error = raised
                elif isinstance(raised, StopIteration):
                    value: T = raised.value
                    return value
                else:
                    raise
    finally:
        error = None  # its traceback refers to this frame
        program.close()


async def arun(program: Program[T], perform: Callable[[Any], Awaitable[Any]] = _aperform) -> T:
    """Same as `run`, but waits for each step without blocking the event loop."""
    program = iter(program)
    result: Any = None
    error: BaseException | None = None
    off_loop = False
    try:
        while True:
            try:
                while True:
                    if off_loop:
                        off_loop = False
                        step = await _advanced(program, result, error)
                    else:
                        step = program.send(result) if error is None else program.throw(error)
                    error = None
                    if isinstance(step, OffLoop):
                        off_loop, result = step.large, None
                    else:
                        result = await (step.aperform() if isinstance(step, Compute) else perform(step))
            except BaseException as raised:
                if isinstance(raised, _Ended):
                    ended: T = raised.value
                    return ended
                if _is_running(program):
                    error = raised
                elif isinstance(raised, StopIteration):
                    value: T = raised.value
                    return value
                else:
                    raise
    finally:
        error = None  # its traceback refers to this frame
        program.close()


class _Ended(BaseException):
    """A program ended in a worker thread: a `StopIteration` cannot leave one."""

    def __init__(self, value: Any) -> None:
        self.value = value


async def _advanced(program: Program[Any], result: Any, error: BaseException | None) -> Any:
    """The next step of a program, computed in a worker thread."""

    def advance() -> Any:
        try:
            return program.send(result) if error is None else program.throw(error)
        except StopIteration as ended:
            return _Ended(ended.value)

    working = in_worker(advance)
    try:
        step = await asyncio.shield(working)
    except asyncio.CancelledError:
        # The thread cannot be stopped, and the program cannot be closed before the thread is done with it.
        await _settled(working)
        raise
    if isinstance(step, _Ended):
        raise step
    return step


def in_worker(function: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
    """Call a function that only computes, in a worker thread of the package, with the caller's context.

    Not in the threads of the event loop's own executor: all of those may be waiting for what is computed here.
    """
    work = functools.partial(contextvars.copy_context().run, function, *arguments)
    loop = asyncio.get_running_loop()
    try:
        return loop.run_in_executor(_workers(os.getpid()), work)
    except RuntimeError:  # no thread can be started while the interpreter ends
        done = loop.create_future()
        try:
            done.set_result(work())
        except Exception as error:
            done.set_exception(error)
        return done


@functools.lru_cache(maxsize=1)
def _workers(process: int) -> ThreadPoolExecutor:  # noqa: ARG001 (a forked process has none of the threads)
    return ThreadPoolExecutor(_WORKERS, thread_name_prefix="agentmem-compute")


async def _settled(working: asyncio.Future[Any]) -> None:
    """Wait until a future is done, whatever it gives and however often the task is cancelled in the meantime."""
    while not working.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({working})
    if not working.cancelled():
        working.exception()


def _is_running(program: Program[Any]) -> bool:
    """Whether a program can still handle what is raised: it has not ended."""
    return cast("Any", program).gi_frame is not None


class Compute:
    """Step of any program: call a function that takes long when there is much to do, and touches no database.

    Args:
        large: Whether there is much to do. Then `arun` calls the function in a worker thread, so that the event loop goes on.
        function: The function. It must not wait for anything.
        *arguments: Its arguments.

    Example:
        >>> from langchain_agentmem.programs import Compute, run
        >>> def total(numbers):
        ...     return (yield Compute(len(numbers) > 100_000, sum, numbers))
        >>> run(total([1, 2, 3]))
        6
    """

    __slots__ = ("arguments", "function", "large")

    def __init__(self, large: bool, function: Callable[..., Any], *arguments: Any) -> None:
        self.large = large
        self.function = function
        self.arguments = arguments

    def perform(self) -> Any:
        return self.function(*self.arguments)

    async def aperform(self) -> Any:
        if self.large:
            return await in_worker(self.function, *self.arguments)
        return self.function(*self.arguments)


class OffLoop(NamedTuple):
    """Step of any program: under `arun`, what the program computes until its next step is done in a worker thread.

    With `large` False it is done on the event loop, as if there were no such step.

    Example:
        >>> from langchain_agentmem.programs import OffLoop, run
        >>> def total(numbers):
        ...     yield OffLoop(len(numbers) > 100_000)
        ...     return sum(numbers)
        >>> run(total([1, 2, 3]))
        6
    """

    large: bool

    def perform(self) -> None:
        return None


def off_loop(program: Program[T], large: bool) -> Program[T]:
    """A program all of which is computed in a worker thread, if `large`; its steps are done on the event loop as ever.

    Where the program yields `OffLoop(False)`, what follows until its next step is computed on the event loop.
    """
    if not large:
        return (yield from program)
    program = iter(program)
    given: Any = None
    error: BaseException | None = None
    moved = False
    try:
        while True:
            if not moved:
                yield OffLoop(large=True)
            try:
                step = program.send(given) if error is None else program.throw(error)
            except StopIteration as ended:
                value: T = ended.value
                return value
            moved, error = isinstance(step, OffLoop), None
            try:
                given = yield step
            except GeneratorExit:
                raise
            except BaseException as raised:
                error = raised
    finally:
        error = None  # its traceback refers to this frame
        program.close()


class Fetch(NamedTuple):
    """Storage step: run one statement; the result is the list of its rows."""

    statement: str
    parameters: Sequence[Any] | dict[str, Any] = ()


class Execute(NamedTuple):
    """Storage step: run one statement; the result is the number of rows it changed."""

    statement: str
    parameters: Sequence[Any] | dict[str, Any] = ()


class ExecuteMany(NamedTuple):
    """Storage step: run one statement for each of `rows`; the result is the number of rows changed."""

    statement: str
    rows: Sequence[Sequence[Any]]


class Read(NamedTuple):
    """Outer step: run a storage program on one consistent view of the database."""

    backend: Backend
    program: Program[Any]

    def perform(self) -> Any:
        return self.backend.read(self.program)

    async def aperform(self) -> Any:
        return await self.backend.aread(self.program)


class Write(NamedTuple):
    """Outer step: run a storage program as one transaction."""

    backend: Backend
    program: Program[Any]

    def perform(self) -> Any:
        return self.backend.write(self.program)

    async def aperform(self) -> Any:
        return await self.backend.awrite(self.program)


class EmbedDocuments(NamedTuple):
    """Outer step: the vectors of some texts, in one call to the embedding model."""

    embeddings: Embeddings
    texts: list[str]

    def perform(self) -> Any:
        return _embedded(self.embeddings, "embed_documents", self.texts)

    async def aperform(self) -> Any:
        return await _aembedded(self.embeddings, "embed_documents", self.texts)


class EmbedQuery(NamedTuple):
    """Outer step: the vector of a query."""

    embeddings: Embeddings
    text: str

    def perform(self) -> Any:
        return _embedded(self.embeddings, "embed_query", self.text)

    async def aperform(self) -> Any:
        return await _aembedded(self.embeddings, "embed_query", self.text)


def _embedded(model: Embeddings, method: str, given: Any) -> Any:
    """What a model gives. One that is asynchronous only is run in an event loop of its own, in a thread of its own."""
    if (
        getattr(model, "afunc", None) is not None and getattr(model, "func", None) is None
    ):  # LangGraph's EmbeddingsLambda
        return _waited_for(getattr(model, f"a{method}")(given))
    try:
        vectors = getattr(model, method)(given)
    except NotImplementedError:
        if getattr(type(model), f"a{method}") is getattr(_embeddings_class(), f"a{method}"):
            raise
        vectors = getattr(model, f"a{method}")(given)
    return _waited_for(vectors) if inspect.isawaitable(vectors) else vectors


async def _aembedded(model: Embeddings, method: str, given: Any) -> Any:
    try:
        vectors = await getattr(model, f"a{method}")(given)
    except NotImplementedError:
        vectors = await asyncio.to_thread(getattr(model, method), given)
    return await vectors if inspect.isawaitable(vectors) else vectors


def _embeddings_class() -> type[Embeddings]:
    from langchain_core.embeddings import Embeddings

    return Embeddings


def _waited_for(awaitable: Awaitable[T]) -> T:
    """The result of an awaitable, for a caller that may itself be on an event loop."""

    async def wait() -> T:
        return await awaitable

    context = contextvars.copy_context()
    with ThreadPoolExecutor(1, thread_name_prefix="agentmem-embedding") as thread:
        return thread.submit(context.run, asyncio.run, wait()).result()


class Call:
    """Outer step: call a function with arguments. Under `arun` the function may be a coroutine function."""

    __slots__ = ("arguments", "function")

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function = function
        self.arguments = arguments

    def perform(self) -> Any:
        result = self.function(*self.arguments)
        if inspect.isawaitable(result):
            if inspect.iscoroutine(result):
                result.close()
            msg = f"{self.function!r} is a coroutine function: use the method with the prefix `a` and await it."
            raise TypeError(msg)
        return result

    async def aperform(self) -> Any:
        result = self.function(*self.arguments)
        return await result if inspect.isawaitable(result) else result


class Twin:
    """Outer step: call a method, or under `arun` its async twin, which has the prefix `a`."""

    __slots__ = ("arguments", "method", "options")

    def __init__(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        self.method = method
        self.arguments = arguments
        self.options = options

    def perform(self) -> Any:
        return self.method(*self.arguments, **self.options)

    async def aperform(self) -> Any:
        method: Any = self.method
        return await getattr(method.__self__, f"a{method.__name__}")(*self.arguments, **self.options)


class Ask(NamedTuple):
    """Outer step: invoke a chat model, or another runnable."""

    runnable: Runnable[Any, Any]
    input: Any
    config: RunnableConfig | None = None

    def perform(self) -> Any:
        return self.runnable.invoke(self.input, self.config)

    async def aperform(self) -> Any:
        return await self.runnable.ainvoke(self.input, self.config)


class Within(NamedTuple):
    """Outer step: do another step, but wait for it so many seconds only.

    Raises:
        TimeoutError: It took longer. Without an event loop it goes on in a thread, and what it gives is lost.
    """

    step: Step
    seconds: float

    def perform(self) -> Any:
        done: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()
        context = contextvars.copy_context()

        def work() -> None:
            try:
                done.put((True, context.run(self.step.perform)))
            except BaseException as error:
                done.put((False, error))

        try:
            threading.Thread(target=work, daemon=True).start()
        except RuntimeError:  # no thread can be started while the interpreter ends: the step is done without a limit
            return self.step.perform()
        try:
            succeeded, result = done.get(timeout=self.seconds)
        except queue.Empty:
            raise self._late() from None
        if not succeeded:
            raise result
        return result

    async def aperform(self) -> Any:
        try:
            return await asyncio.wait_for(self.step.aperform(), self.seconds)
        except asyncio.TimeoutError:
            raise self._late() from None

    def _late(self) -> TimeoutError:
        return TimeoutError(f"It took longer than {self.seconds:g} seconds.")


class Sleep(NamedTuple):
    """Outer step: wait for some seconds."""

    seconds: float

    def perform(self) -> None:
        time.sleep(self.seconds)

    async def aperform(self) -> None:
        await asyncio.sleep(self.seconds)
