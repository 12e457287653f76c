"""Programs and their two runners: the same program, run sync and async, does the same."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest

from langchain_agentmem.programs import Call, Fetch, Program, Sleep, arun, run

Drive = Callable[..., Any]


@pytest.fixture(params=["run", "arun"])
def drive(request: pytest.FixtureRequest) -> Drive:
    """Runs a program to its end: with `run`, or with `arun` in an event loop of its own."""
    return run if request.param == "run" else lambda program, *perform: asyncio.run(arun(program, *perform))


class Answer(NamedTuple):
    """A step that answers, or fails."""

    value: Any

    def perform(self) -> Any:
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value

    async def aperform(self) -> Any:
        await asyncio.sleep(0)
        return self.perform()


def test_a_program_is_sent_what_its_steps_give_and_returns_its_value(drive):
    def program() -> Program[list[int]]:
        first = yield Answer(1)
        second = yield Answer(first + 1)
        return [first, second]

    assert drive(program()) == [1, 2]


@pytest.mark.parametrize("value", [None, 0, [], StopAsyncIteration])
def test_a_program_without_steps_returns_its_value(drive, value):
    def program() -> Program[Any]:
        return value
        yield

    assert drive(program()) is value


def test_programs_call_programs(drive):
    def inner(number: int) -> Program[int]:
        return (yield Answer(number)) * 10

    def outer() -> Program[int]:
        first = yield from inner(1)
        second = yield from inner(2)
        return first + second

    assert drive(outer()) == 30


def test_an_error_of_a_step_is_thrown_into_the_program_which_may_handle_it(drive):
    def program() -> Program[str]:
        try:
            yield Answer(KeyError("gone"))
        except KeyError as error:
            instead = yield Answer("instead of ")
            return f"{instead}{error}"
        return "no error"

    assert drive(program()) == "instead of 'gone'"


def test_an_error_that_the_program_does_not_handle_is_raised_as_it_is(drive):
    error = KeyError("gone")

    def program() -> Program[None]:
        yield Answer(error)

    with pytest.raises(KeyError) as caught:
        drive(program())
    assert caught.value is error


def test_an_error_of_the_program_itself_is_raised(drive):
    def program() -> Program[None]:
        number = yield Answer(0)
        yield Answer(1 / number)

    with pytest.raises(ZeroDivisionError):
        drive(program())


def test_a_step_that_ends_an_iteration_does_not_end_the_program(drive):
    def program() -> Program[str]:
        try:
            yield from Call(next, iter(()))
        except (StopIteration, RuntimeError):  # Python turns it into a RuntimeError where it leaves a coroutine
            return "empty"
        return "not empty"

    assert drive(program()) == "empty"


@pytest.mark.parametrize("error", [None, KeyError("gone"), KeyboardInterrupt()])
def test_a_program_is_closed_whatever_happens(drive, error):
    left: list[str] = []

    def program() -> Program[None]:
        try:
            yield Answer(error)
        finally:
            left.append("left")

    running = program()
    if error is None:
        drive(running)
    else:
        with pytest.raises(type(error)):
            drive(running)
    assert left == ["left"]
    assert inspect.getgeneratorstate(running) == inspect.GEN_CLOSED


def test_a_program_runs_only_once(drive):
    def program() -> Program[int]:
        return (yield Answer(1))

    running = program()
    assert drive(running) == 1
    assert drive(running) is None


async def test_a_cancelled_program_is_closed():
    left: list[str] = []
    waiting = asyncio.Event()

    async def forever() -> None:
        waiting.set()
        await asyncio.Event().wait()

    def program() -> Program[None]:
        try:
            yield from Call(forever)
        finally:
            left.append("left")

    task = asyncio.create_task(arun(program()))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left == ["left"]


def test_a_program_may_be_run_by_a_performer_of_its_own():
    def program() -> Program[Any]:
        return (yield from Fetch("SELECT ?", (1,)))

    async def perform(step: Any) -> Any:
        return step

    assert run(program(), lambda step: step) == Fetch("SELECT ?", (1,))
    assert asyncio.run(arun(program(), perform)) == Fetch("SELECT ?", (1,))


def test_a_function_is_called_with_its_arguments(drive):
    def program() -> Program[int]:
        return (yield from Call(max, 3, 7, 5))

    assert drive(program()) == 7


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


@pytest.mark.parametrize("function", [double, partial(double), lambda number: double(number)])
async def test_a_coroutine_function_is_awaited_under_arun_and_refused_under_run(function):
    def program() -> Program[int]:
        return (yield from Call(function, 3))

    assert await arun(program()) == 6
    with pytest.raises(TypeError, match="is a coroutine function: use the method with the prefix `a`"):
        run(program())


def test_a_future_is_refused_under_run():
    async def outer() -> None:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def program() -> Program[int]:
            return (yield from Call(lambda: future))

        with pytest.raises(TypeError, match="coroutine function"):
            run(program())
        future.set_result(5)
        assert await arun(program()) == 5

    asyncio.run(outer())


def test_waiting_takes_its_time(drive):
    def program() -> Program[float]:
        start = time.monotonic()
        yield from Sleep(0.0)
        yield from Sleep(0.02)
        return time.monotonic() - start

    assert 0.015 < drive(program()) < 10


async def test_a_waiting_program_does_not_block_the_event_loop():
    order: list[str] = []
    second_ran = asyncio.Event()

    def first() -> Program[None]:
        yield from Call(second_ran.wait)
        order.append("first")

    def second() -> Program[None]:
        yield Answer(None)
        order.append("second")
        second_ran.set()

    await asyncio.gather(arun(first()), arun(second()))
    assert order == ["second", "first"]
