"""The two runners, which drive programs to their end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from sys import _getframe, modules
from types import FrameType
from typing import Any, TypeVar, cast

from langchain_agentmem.programs.steps import Compute, OffLoop, OuterStep, Program
from langchain_agentmem.programs.workers import in_worker, settled

T = TypeVar("T")

_TRACE, _PROVIDER = "opentelemetry.trace", "_TRACER_PROVIDER"
"""The module of OpenTelemetry, and its attribute that is None until a tracer provider is configured."""


def _perform(step: OuterStep[Any]) -> Any:
    return step.perform()


async def _aperform(step: OuterStep[Any]) -> Any:
    return await step.aperform()


def run(program: Program[T], perform: Callable[[Any], Any] = _perform) -> T:
    """Drive a program to its end.

    Args:
        program: The program. The runner always closes it.
        perform: Function that performs one step; by default the step performs itself.

    Returns:
        The return value of the program.

    Raises:
        BaseException: A step raised it and the program did not handle it. The program also receives exceptions that
            interrupt a step (Ctrl-C, a cancelled task), and may clean up with further steps.

    Example:
        >>> from langchain_agentmem.programs import Call, run
        >>> def shout(text):
        ...     upper = yield from Call(str.upper, text)
        ...     return upper + "!"
        >>> run(shout("hello"))
        'HELLO!'
    """
    if perform is _perform and _TRACE in modules and getattr(modules[_TRACE], _PROVIDER, True) is not None:
        return _run_traced(program, _getframe(1))
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


async def arun(  # noqa: PLR0912 (two nested loops)
    program: Program[T], perform: Callable[[Any], Awaitable[Any]] = _aperform
) -> T:
    """Same as `run`, without blocking the event loop."""
    if perform is _aperform and _TRACE in modules and getattr(modules[_TRACE], _PROVIDER, True) is not None:
        return await _arun_traced(program, _getframe(1))
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


def _run_traced(program: Program[T], caller: FrameType) -> T:
    """Run a program within the span of its operation, if the caller is a public method."""
    from langchain_agentmem.programs.tracing import operation

    with operation(caller, is_async=False) as running:
        if running is None:
            return run(program, lambda step: step.perform())
        return running.count(run(program, running.perform))


async def _arun_traced(program: Program[T], caller: FrameType) -> T:
    """Same as `_run_traced`, without blocking the event loop."""
    from langchain_agentmem.programs.tracing import operation

    with operation(caller, is_async=True) as running:
        if running is None:
            return await arun(program, lambda step: step.aperform())
        return running.count(await arun(program, running.aperform))


def is_traced() -> bool:
    """Return true if a tracer provider is configured."""
    return _TRACE in modules and getattr(modules[_TRACE], _PROVIDER, True) is not None


async def traced(caller: FrameType, work: Awaitable[T]) -> T:
    """Wait for work that is not a program of its own, within the span of an operation.

    Args:
        caller: The frame of the public method.
        work: The work.
    """
    from langchain_agentmem.programs.tracing import operation

    with operation(caller, is_async=True) as running:
        result = await work
        return result if running is None else running.count(result)


class _Ended(BaseException):
    """A program ended in a worker thread: a `StopIteration` cannot leave one."""

    def __init__(self, value: Any) -> None:
        self.value = value


async def _advanced(program: Program[Any], result: Any, error: BaseException | None) -> Any:
    """Run a program in a worker thread until its next step, and return that step."""

    def advance() -> Any:
        try:
            return program.send(result) if error is None else program.throw(error)
        except StopIteration as ended:
            return _Ended(ended.value)

    working = in_worker(advance)
    try:
        step = await asyncio.shield(working)
    except asyncio.CancelledError:
        # A running thread cannot be stopped. The program can be closed only after the thread has left it.
        await settled(working)
        raise
    if isinstance(step, _Ended):
        raise step
    return step


def off_loop(program: Program[T], large: bool) -> Program[T]:
    """Run all computation of a program in worker threads; the event loop still performs its steps.

    After a step `OffLoop(False)`, the event loop runs the program until its next step.

    Args:
        program: The program.
        large: If false, the program runs unchanged.
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
                yield from OffLoop(large=True)
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


class Nested(OuterStep[T]):
    """Outer step: run a program as an operation of its own, which has its own span.

    Args:
        name: The name of the operation: a surface and a method.
        program: The program.
    """

    __slots__ = ("name", "program")

    def __init__(self, name: str, program: Program[T]) -> None:
        self.name = name
        self.program = program

    def perform(self) -> T:
        return run(self.program)

    async def aperform(self) -> T:
        return await arun(self.program)


def _is_running(program: Program[Any]) -> bool:
    """Return true if the program has not ended: it can still handle an exception."""
    return cast("Any", program).gi_frame is not None
