"""Threads that come between two steps of closing a memory, or of a fork."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

from langchain_agentmem import AgentMemStore
from langchain_agentmem.backends.sqlite import forks


class Taken(list[Any]):
    """Connections of which another call takes the last one just before they are taken."""

    def __bool__(self) -> bool:
        return True


class Growing(weakref.WeakSet[Any]):
    """Drivers to which another thread adds one while they are listed the first time."""

    grown = False

    def __iter__(self) -> Iterator[Any]:
        for driver in super().__iter__():
            if not self.grown:
                self.grown, self.added = True, AgentMemStore.from_url("sqlite:///:memory:")
            yield driver


def test_calls_that_end_together_after_a_close_close_each_connection_once(sqlite_url):
    store = AgentMemStore.from_url(sqlite_url)
    store.put(("a",), "k", {"n": 1})
    driver = store.engine.backend.driver
    driver._idle = Taken(driver._idle)
    store.close()
    assert list.__len__(driver._idle) == 0


def test_a_driver_that_is_made_during_a_fork_does_not_stop_it(sqlite_url, monkeypatch):
    with AgentMemStore.from_url(sqlite_url) as store:
        store.put(("a",), "k", {"n": 1})
        drivers = Growing(forks._drivers)
        monkeypatch.setattr(forks, "_drivers", drivers)
        try:
            forks._before()
            assert store.engine.backend.driver._idle == []
        finally:
            forks._after_in_parent()
        assert store.get(("a",), "k").value == {"n": 1}
        drivers.added.close()
