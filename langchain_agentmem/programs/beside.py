"""Outer steps that run concurrently with a program, such as searches in other databases."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Sequence
from typing import Any, Generic, TypeVar, cast

from langchain_agentmem.programs.steps import OuterStep, Program

T = TypeVar("T")
R = TypeVar("R")


def beside(steps: Sequence[OuterStep[R]], program: Program[T]) -> Program[tuple[T, list[R]]]:
    """Run a program and perform steps concurrently. Return the program's result, and the results of the steps in order.

    `run` performs each step in a thread of its own, `arun` in a task. If the program or a step raises an error, the results
    of the other steps are dropped.

    Args:
        steps: The steps.
        program: The program.

    Example:
        >>> from langchain_agentmem.programs import Call, beside, run
        >>> def greeting():
        ...     return (yield from Call(str.upper, "hello"))
        >>> run(beside([Call(len, "one"), Call(len, "three")], greeting()))
        ('HELLO', [3, 5])
    """
    running: list[_Running[R]] = []
    try:
        for step in steps:
            running.append((yield from _Start(step)))  # noqa: PERF401 (a step is requested in each iteration)
        result = yield from program
        results = []
        for one in running:
            results.append((yield from _Finish(one)))  # noqa: PERF401
        return result, results
    finally:
        program.close()
        for one in running:
            one.cancel()


class _Running(Generic[R]):
    """A step that is being performed in a thread or in a task."""

    def __init__(self, step: OuterStep[R]) -> None:
        self._step = step
        self._outcomes: queue.SimpleQueue[tuple[R, None] | tuple[None, BaseException]] = queue.SimpleQueue()
        self._task: asyncio.Task[R] | None = None

    def start(self) -> None:
        """Perform the step in a thread."""
        work = contextvars.copy_context().run
        try:
            threading.Thread(target=work, args=(self._work,), name="agentmem-beside", daemon=True).start()
        except RuntimeError:  # the interpreter is shutting down and starts no threads
            self._work()

    def start_task(self) -> None:
        """Perform the step in a task of the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._step.aperform())

    def result(self) -> R:
        """Wait for the thread."""
        result, error = self._outcomes.get()
        if error is not None:
            raise error
        return cast("R", result)

    async def aresult(self) -> R:
        """Wait for the task."""
        return await cast("asyncio.Task[R]", self._task)

    def cancel(self) -> None:
        """Cancel the task if it is still running. A thread continues, and its result is dropped."""
        if self._task is None:
            return
        self._task.cancel()
        self._task.add_done_callback(_retrieved)

    def _work(self) -> None:
        try:
            self._outcomes.put((self._step.perform(), None))
        except BaseException as error:
            self._outcomes.put((None, error))


def _retrieved(task: asyncio.Task[Any]) -> None:
    """Read a dropped error, which asyncio would log otherwise."""
    if not task.cancelled():
        task.exception()


class _Start(OuterStep["_Running[R]"]):
    __slots__ = ("step",)

    def __init__(self, step: OuterStep[R]) -> None:
        self.step = step

    def perform(self) -> _Running[R]:
        running = _Running(self.step)
        running.start()
        return running

    async def aperform(self) -> _Running[R]:
        running = _Running(self.step)
        running.start_task()
        return running


class _Finish(OuterStep[R]):
    __slots__ = ("running",)

    def __init__(self, running: _Running[R]) -> None:
        self.running = running

    def perform(self) -> R:
        return self.running.result()

    async def aperform(self) -> R:
        return await self.running.aresult()
