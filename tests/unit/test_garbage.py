"""Garbage collection while callers wait for a connection."""

from __future__ import annotations

import gc
import time

from langchain_agentmem.backends import garbage


def test_a_slow_collection_is_not_repeated_by_each_waiting_caller(monkeypatch):
    clock = [1_000.0]
    collected: list[float] = []

    def collect() -> None:
        collected.append(clock[0])
        clock[0] += 3.0

    monkeypatch.setattr(garbage, "_next", float("-inf"))
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(gc, "collect", collect)
    for _ in range(100):
        garbage.collect_garbage(0.0)
    assert collected == [1_000.0]
    clock[0] += garbage._SHARE * 3.0
    garbage.collect_garbage(0.0)
    assert len(collected) == 2


def test_nothing_is_collected_while_callers_progress(monkeypatch):
    monkeypatch.setattr(garbage, "_next", float("-inf"))
    monkeypatch.setattr(gc, "collect", lambda: 1 / 0)
    garbage.collect_garbage(time.monotonic())
