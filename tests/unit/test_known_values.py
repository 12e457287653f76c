"""The cache of stored values: what it recalls, and how large it becomes."""

from __future__ import annotations

from langchain_agentmem.backends.contract import ThreadKey
from langchain_agentmem.checkpointing import known as module
from langchain_agentmem.checkpointing.known import KnownValues
from langchain_agentmem.encoding.layout import Known, ValueKey
from langchain_agentmem.encoding.references import Typed


def value(namespace: str = "", channel: str = "m", version: str = "1", size: int = 0) -> Known:
    return Known(ValueKey(namespace, channel, version), "list", b"", "digest", size=size)


def thread(number: int = 1) -> ThreadKey:
    return ThreadKey("default", str(number))


def test_a_channel_is_recalled_of_its_own_namespace_before_the_latest_of_another() -> None:
    known = KnownValues()
    assert known.recall(thread(), "", "m") is None
    known.learn(thread(), value("parent", version="1"))
    assert known.recall(thread(), "child", "m") == value("parent", version="1")
    known.learn(thread(), value("child", version="2"))
    known.learn(thread(), value("parent", version="3"))
    assert known.recall(thread(), "child", "m") == value("child", version="2")
    assert known.recall(thread(), "other", "m") == value("parent", version="3")
    assert known.recall(thread(2), "child", "m") is None


def test_a_forgotten_thread_is_not_recalled_and_others_are() -> None:
    known = KnownValues()
    for number in (1, 2):
        known.learn(thread(number), value())
        known.learn_secret(thread(number), Typed("bytes", b"secret"))
    known.forget(thread(1))
    assert (known.recall(thread(1), "", "m"), known.secret(thread(1))) == (None, None)
    assert (known.recall(thread(2), "", "m"), known.secret(thread(2))) == (value(), Typed("bytes", b"secret"))


def test_the_least_recently_used_values_leave_the_cache(monkeypatch) -> None:
    monkeypatch.setattr(module, "_MAX_BYTES", 1_000)
    monkeypatch.setattr(module, "_MAX_VALUES", 4)
    known = KnownValues()
    for number in range(4):
        known.learn(thread(number), value())
    assert known.recall(thread(0), "", "m") is not None
    known.learn(thread(4), value())
    assert [number for number in range(5) if known.recall(thread(number), "", "m")] == [0, 2, 3, 4]
    known.learn(thread(5), value(size=900))
    assert [number for number in range(6) if known.recall(thread(number), "", "m")] == [5]


def test_a_value_that_is_larger_than_the_cache_replaces_the_former_one_by_none(monkeypatch) -> None:
    monkeypatch.setattr(module, "_MAX_BYTES", 1_000)
    known = KnownValues()
    known.learn(thread(), value(version="1"))
    known.learn(thread(), value(version="2", size=1_001))
    assert known.recall(thread(), "", "m") is None


def test_a_cache_that_an_exception_left_inconsistent_is_emptied() -> None:
    known = KnownValues()
    known.learn(thread(), value())
    del known._values._LRUCache__order[thread(), "", "m"]  # type: ignore[attr-defined]
    known.forget(thread())
    assert known.recall(thread(), "", "m") is None
    known.learn(thread(), value())
    assert known.recall(thread(), "", "m") == value()
