"""Collections that other threads change while they are read."""

from __future__ import annotations

import sys
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from langchain_agentmem.backends.postgres.slots import Slot, Slots, TimeLimit
from langchain_agentmem.programs import run
from langchain_agentmem.programs.snapshots import snapshot


class Element:
    """An element of a weak set."""


@pytest.fixture(autouse=True)
def frequent_switches() -> Iterator[None]:
    """Threads switch after nearly every instruction."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Changing(OrderedDict[str, int]):
    """A dictionary that changes during its first iteration, as if another thread had changed it."""

    changes = 1

    def __iter__(self) -> Iterator[str]:
        iterator = super().__iter__()
        if self.changes:
            self.changes -= 1
            self["new"] = 0
        return iterator


def test_a_collection_that_changes_is_read_again():
    changing = Changing(a=1, b=2)
    with pytest.raises(RuntimeError, match="mutated during iteration"):
        list(iter(Changing(a=1)))
    assert snapshot(changing) == ["a", "b", "new"]
    assert snapshot(changing, 2) == ["a", "b"]


def test_threads_change_a_weak_set():
    some: weakref.WeakSet[Element] = weakref.WeakSet()
    kept = [Element() for _ in range(50)]
    some.update(kept)

    def change() -> None:
        for _ in range(300):
            some.add(Element())

    found = _beside(change, lambda: snapshot(some))
    assert all(set(kept) <= set(each) for each in found)


def test_threads_take_and_leave_slots():
    slots = Slots(10)
    used, most = 0, 0
    lock = threading.Lock()

    def turn() -> None:
        nonlocal used, most
        for _ in range(300):
            slot = Slot(slots)
            run(slot.take(TimeLimit(60)))
            with lock:
                used += 1
                most = max(most, used)
            with lock:
                used -= 1
            slot.leave(answered=True)

    with ThreadPoolExecutor(30) as pool:
        for done in [pool.submit(turn) for _ in range(30)]:
            done.result()
    assert 1 <= most <= 10
    assert used == 0


def _beside(change: Callable[[], None], read: Callable[[], list[Element]]) -> list[list[Element]]:
    """Call `read` until four threads have called `change`."""
    with ThreadPoolExecutor(4) as pool:
        changing = [pool.submit(change) for _ in range(4)]
        found = [read()]
        while not all(one.done() for one in changing):
            found.append(read())
        for one in changing:
            one.result()
    return found
