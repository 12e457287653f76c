"""A call that an exception breaks off, at any line of the driver, harms no later call."""

from __future__ import annotations

import gc
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from examples import stride
from langchain_core.messages import HumanMessage
from patience import PATIENCE

import langchain_agentmem.backends.sqlite
from langchain_agentmem import AgentMemory
from langchain_agentmem.programs import Execute, Program

pytestmark = pytest.mark.filterwarnings(
    # Python 3.13 says so when a connection whose call was broken off is closed as garbage.
    "ignore:Exception ignored in.*sqlite3.Connection:pytest.PytestUnraisableExceptionWarning"
)

DRIVER = str(Path(langchain_agentmem.backends.sqlite.__file__).parent)


class Stop(BaseException):
    """What a signal handler raises."""


def tracer(line: int) -> Callable[..., Any]:
    """A trace function that raises `Stop` at a line of the driver, each counted when it first runs."""
    seen: set[Any] = set()

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        if not frame.f_code.co_filename.startswith(DRIVER):
            return None
        place = frame.f_code, frame.f_lineno
        if event == "line" and place not in seen:
            seen.add(place)
            if len(seen) == line:
                raise Stop
        return trace

    return trace


@contextmanager
def broken_off(line: int) -> Iterator[None]:
    """Raise `Stop` at a line of the driver. A finalizer that the garbage collector calls would swallow it."""
    before = sys.gettrace()
    gc.disable()
    sys.settrace(tracer(line))
    try:
        yield
    finally:
        sys.settrace(before)
        gc.enable()


def fail_and_break_off(memory: AgentMemory, line: int) -> None:
    """Raise an error in the middle of a transaction, and `Stop` while the driver handles it."""

    def program() -> Program[None]:
        yield from Execute("UPDATE agentmem_items SET value = '{}'")
        trace, frame = tracer(line), sys._getframe()
        while frame is not None:
            frame.f_trace = trace
            frame = frame.f_back
        sys.settrace(trace)
        raise ValueError

    before = sys.gettrace()
    try:
        memory.backend.write(program())
    finally:
        sys.settrace(before)


def each_line(call: Callable[[int], None]) -> list[Stop]:
    """Call with 1, 2, 3 … (see `stride`) as long as the call is broken off.

    Gives the exceptions, with tracebacks, as a notebook keeps them.
    """
    kept: list[Stop] = []
    while True:
        try:
            call(len(kept) * stride() + 1)
        except Stop as error:
            kept.append(error)
        else:
            return kept


def put(memory: AgentMemory, number: int) -> None:
    memory.store.put(("a",), "key", {"text": f"pizza {number}"})


def delete(memory: AgentMemory, number: int) -> None:
    memory.store.delete(("a",), str(number))


def read(memory: AgentMemory, number: int) -> None:
    memory.store.get(("a",), str(number))


def open_file(folder: Path) -> tuple[AgentMemory, Callable[[], None]]:
    return AgentMemory.from_url(f"sqlite:///{folder}/a.db?timeout=5&synchronous=normal"), lambda: None


def open_memory(folder: Path) -> tuple[AgentMemory, Callable[[], None]]:
    return AgentMemory.from_url("sqlite:///:memory:?timeout=5"), lambda: None


def open_adopted(folder: Path) -> tuple[AgentMemory, Callable[[], None]]:
    connection = sqlite3.connect(folder / "a.db", check_same_thread=False)
    connection.text_factory = bytes
    connection.row_factory = sqlite3.Row

    def close() -> None:
        assert connection.text_factory is bytes
        assert connection.row_factory is sqlite3.Row
        assert not connection.in_transaction
        connection.close()

    return AgentMemory.from_connection(connection), close


OPENED = [open_file, open_memory, open_adopted]


def assert_all_returned(memory: AgentMemory) -> None:
    driver = memory.backend.driver
    assert driver._free.served() == driver._writing.served() == []


def works(memory: AgentMemory, number: int) -> None:
    """Everything that was stored is there, and other calls go on at once."""
    assert memory.store.get(("a",), str(number)).value == {"n": number}
    after = number + stride()
    memory.store.put(("a",), str(after), {"n": after})
    assert {item.key for item in memory.store.search(("a",), limit=10_000)} >= {str(number), str(after)}


@pytest.mark.parametrize("opened", OPENED)
@pytest.mark.parametrize("operation", [put, delete, read])
def test_a_call_broken_off_at_any_line_harms_no_other(tmp_path, opened, operation):
    memory, close = opened(tmp_path)
    memory.store.put(("a",), "0", {"n": 0})

    def call(line: int) -> None:
        works(memory, line - 1)
        with broken_off(line):
            operation(memory, line - 1)

    assert len(each_line(call)) * stride() > 30
    assert_all_returned(memory)
    memory.close()
    close()
    if opened is not open_memory:
        with sqlite3.connect(tmp_path / "a.db", timeout=0) as other:
            other.execute("BEGIN IMMEDIATE")
        other.close()


@pytest.mark.parametrize("opened", OPENED)
def test_an_error_whose_handling_is_broken_off_harms_no_other(tmp_path, opened):
    memory, close = opened(tmp_path)
    memory.store.put(("a",), "0", {"n": 0})

    def call(line: int) -> None:
        works(memory, line - 1)
        with suppress(ValueError):
            fail_and_break_off(memory, line)

    assert len(each_line(call)) * stride() > 10
    assert_all_returned(memory)
    memory.close()
    close()


@pytest.mark.parametrize("opened", OPENED)
def test_a_first_use_broken_off_at_any_line_harms_no_other(tmp_path, opened):
    def call(line: int) -> None:
        folder = tmp_path / str(line)
        folder.mkdir()
        memory, close = opened(folder)
        try:
            with broken_off(line):
                memory.history("s").add_messages([HumanMessage("first")])
        finally:
            memory.history("s").add_messages([HumanMessage("second")])
            contents = [message.content for message in memory.history("s").get_recent()]
            assert contents in (["second"], ["first", "second"])
            memory.close()
            close()

    assert len(each_line(call)) * stride() > 60


def test_threads_go_on_when_one_is_broken_off(tmp_path):
    memory, _ = open_file(tmp_path)
    memory.store.put(("a",), "0", {"n": 0})
    stop, failed = threading.Event(), []

    def use(name: str) -> None:
        number = 0
        while not stop.is_set():
            try:
                memory.store.put((name,), "k", {"n": number})
                assert memory.store.get((name,), "k").value == {"n": number}
            except Exception as error:
                failed.append(error)
            number += 1

    threads = [threading.Thread(target=use, args=(name,)) for name in ("b", "c")]
    for thread in threads:
        thread.start()

    def call(line: int) -> None:
        with broken_off(line):
            put(memory, line)

    kept = each_line(call)
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(kept) * stride() > 30
    assert failed == []
    works(memory, 0)
    memory.close()


@pytest.mark.parametrize("opened", OPENED)
@pytest.mark.parametrize("kind", [KeyboardInterrupt, Stop, TimeoutError])
def test_signals_in_the_middle_of_calls_harm_no_other(tmp_path, opened, kind):
    memory, close = opened(tmp_path)
    memory.store.put(("a",), "0", {"n": 0})

    def interrupt(*_: Any) -> None:
        raise kind

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for number in range(150):
            try:
                signal.setitimer(signal.ITIMER_REAL, 2e-5 * (number % 40 + 1))
                while True:
                    put(memory, number)
            except kind:
                pass
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            works(memory, number * stride())
    finally:
        signal.signal(signal.SIGALRM, before)
    memory.close()
    close()
