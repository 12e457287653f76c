"""The two runners, which drive programs to their end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from langchain_agentmem.programs.steps import Compute, OffLoop, OuterStep, Program
from langchain_agentmem.programs.workers import in_worker, settled

T = TypeVar("T")


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
    """Same as `run`, without blocking the event loop."""
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


def _is_running(program: Program[Any]) -> bool:
    """Return true if the program has not ended: it can still handle an exception."""
    return cast("Any", program).gi_frame is not None
