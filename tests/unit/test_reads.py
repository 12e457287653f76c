"""The cache of reads: what it answers, and what makes a result invalid."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from langchain_agentmem.arguments.caching import ReadCache
from langchain_agentmem.backends import reads
from langchain_agentmem.backends.reads import CachedReads
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError
from langchain_agentmem.programs import Call, run


class Source:
    """Data that a program reads: a number for each read."""

    def __init__(self, cache: CachedReads) -> None:
        self.cache = cache
        self.numbers = itertools.count()
        self.during = lambda: None

    def _program(self):
        number = yield from Call(next, self.numbers)
        self.during()
        return number

    def read(self, key="key", groups=("a",), ends_at=None):
        return run(self.cache.through(key, groups, self._program, ends_at))


@pytest.fixture
def source():
    return Source(CachedReads(ReadCache(size=2, max_age=30)))


class Stop(BaseException):
    pass


def test_a_result_is_kept_for_its_maximum_age(source, monkeypatch):
    assert [source.read(), source.read()] == [0, 0]
    began = reads.time.monotonic()
    source.cache.clock = lambda: began + 29
    assert source.read() == 0
    source.cache.clock = lambda: began + 31
    assert [source.read(), source.read()] == [1, 1]


def test_a_result_is_not_used_after_the_data_expires(source, monkeypatch):
    assert source.read(ends_at=lambda value: reads.time.time() + 100) == 0
    assert source.read() == 0
    later = reads.time.time() + 101
    monkeypatch.setattr(reads.time, "time", lambda: later)
    assert source.read() == 1


def test_a_write_invalidates_the_results_of_its_groups_only(source):
    assert source.read("1", ["a", "b"]) == 0
    assert source.read("2", ["c"]) == 1
    with source.cache.writing(["b", "d"]):
        pass
    assert [source.read("1", ["a", "b"]), source.read("2", ["c"])] == [2, 1]


def test_a_read_that_overlaps_a_write_is_not_kept(source):
    def write():
        with source.cache.writing(["a"]):
            pass

    source.during = write
    assert source.read() == 0
    source.during = lambda: None
    assert [source.read(), source.read()] == [1, 1]


def test_a_read_during_a_write_is_not_kept(source):
    with source.cache.writing(["a"]):
        assert [source.read(), source.read()] == [0, 1]
    assert [source.read(), source.read()] == [2, 2]


@pytest.mark.parametrize("error", [ValueError, Stop])
def test_nothing_is_kept_for_a_while_after_a_failed_write(source, monkeypatch, error):
    assert source.read() == 0
    with pytest.raises(error), source.cache.writing(["a"]):
        raise error
    assert [source.read(), source.read()] == [1, 2]
    assert [source.read("2", ["b"]), source.read("2", ["b"])] == [3, 3]
    began = reads.time.monotonic()
    source.cache.clock = lambda: began + 61
    assert [source.read(), source.read()] == [4, 4]


def test_a_clear_also_concerns_running_reads(source):
    source.during = source.cache.clear
    assert source.read() == 0
    source.during = lambda: None
    assert [source.read(), source.read()] == [1, 1]
    source.cache.clear()
    assert source.cache.info().entries == 0
    assert source.read() == 2


def test_a_failed_read_is_not_kept(source):
    def fail():
        raise ValueError("the read failed")

    source.during = fail
    with pytest.raises(ValueError, match="read failed"):
        source.read()
    source.during = lambda: None
    assert source.read() == 1


def test_the_number_of_results_is_bounded_and_hits_are_counted(source):
    for key in ("1", "2", "3", "3", "2", "1"):
        source.read(key)
    assert source.cache.info() == (2, 4, 2, 2)
    assert "hits=2, misses=4, entries=2, size=2" in repr(source.cache)
    assert "<th>hits</th><td>2</td>" in source.cache._repr_html_()


def test_without_settings_nothing_is_kept():
    source = Source(CachedReads())
    assert [source.read(), source.read()] == [0, 1]
    with source.cache.writing(["a"]):
        pass
    assert source.cache.info() == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"size": 0}, InvalidInputError),
        ({"size": 1.5}, InvalidTypeError),
        ({"max_age": 0}, InvalidInputError),
        ({"max_age": timedelta(seconds=-1)}, InvalidInputError),
        ({"max_age": None}, InvalidTypeError),
    ],
)
def test_wrong_settings_are_refused(options, error):
    with pytest.raises(error, match=r"ReadCache\."):
        ReadCache(**options)


class Epochs(Source):
    """A source with an epoch, and a clock that a test moves."""

    def __init__(self) -> None:
        super().__init__(CachedReads(ReadCache(max_age=3600), self._epoch_read))
        self.now, self.epoch, self.checks = 0.0, "first", 0
        self.cache.clock = lambda: self.now

    def _epoch_read(self):
        self.checks += 1
        yield from ()
        if isinstance(self.epoch, Exception):
            raise self.epoch
        return self.epoch


def test_a_changed_epoch_removes_all_results():
    source = Epochs()
    assert [source.read("a"), source.read("b"), source.checks] == [0, 1, 1]
    source.epoch = "second"
    source.now = 0.99
    assert [source.read("a"), source.checks] == [0, 1]
    source.now = 1.0
    assert [source.read("a"), source.read("b"), source.read("a"), source.checks] == [2, 3, 2, 2]


def test_a_read_during_which_the_epoch_changes_is_not_kept():
    source = Epochs()
    source.read("other")

    def change():
        source.during = lambda: None
        source.epoch, source.now = "second", 1.0
        source.read("other")

    source.during = change
    assert source.read() == 1
    assert source.read() == 3


def test_a_caller_does_not_rely_on_a_check_that_has_not_ended():
    source = Epochs()
    assert source.read("a") == 0
    source.epoch, source.now = "second", 1.0
    reading, read_during_check = source._epoch_read, []

    def slow_reading():
        source.cache._read_epoch = reading
        read_during_check.append(source.read("a"))
        return (yield from reading())

    source.cache._read_epoch = slow_reading
    source.read("b")
    assert read_during_check == [1]


def test_a_result_is_not_returned_if_the_epoch_cannot_be_read():
    source = Epochs()
    assert source.read() == 0
    source.epoch, source.now = ConnectionError("gone"), 1.0
    for _ in range(2):
        with pytest.raises(ConnectionError):
            source.read()
    source.epoch = "first"
    assert source.read() == 0


def test_without_a_cache_no_epoch_is_read():
    source = Epochs()
    source.cache = CachedReads(None, source._epoch_read)
    assert [source.read(), source.read(), source.checks] == [0, 1, 0]
