"""Caches of recent values: their bound, and their state after an exception that interrupts a change of them."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import cachetools
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.messages import HumanMessage
from pydantic import BaseModel, create_model

from langchain_agentmem.backends.contract import ThreadKey
from langchain_agentmem.checkpointing import known
from langchain_agentmem.checkpointing.known import KnownValues
from langchain_agentmem.encoding.layout import Known, ValueKey
from langchain_agentmem.knowledge.facts.json_schemas import schema_of
from langchain_agentmem.messages import tokens
from langchain_agentmem.messages.tokens import TokenCounter
from langchain_agentmem.programs import caches, run
from langchain_agentmem.programs.caches import RecentValues
from langchain_agentmem.search import embeddings
from langchain_agentmem.search.embeddings import Embedder
from langchain_agentmem.text import words

FILES = {caches.__file__, cachetools.__file__}
"""The modules that change the contents of a cache."""


class Stop(Exception):
    """An exception that a signal handler raises."""


def interrupted(call: Callable[[], Any], at: int) -> bool:
    """Raise `Stop` at one of the lines that a call executes in a cache; return false if there are fewer lines."""
    passed = 0

    def at_line(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal passed
        # Python handles no signal between the end of a `with` block and the release of its lock.
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        if event == "line" and not line.startswith("with "):
            passed += 1
            if passed > at:
                raise Stop
        return at_line

    former = sys.gettrace()
    sys.settrace(lambda frame, event, arg: at_line if frame.f_code.co_filename in FILES else None)
    try:
        call()
    except Stop:
        return True
    finally:
        sys.settrace(former)
    return False


def test_the_least_recently_used_value_is_evicted() -> None:
    cache = RecentValues[str, int](2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert [cache.get(key) for key in "abc"] == [1, None, 3]
    cache.put("a", 4)
    cache.put("d", 5)
    assert [cache.get(key) for key in "acd"] == [4, None, 5]
    cache.discard("a")
    cache.discard("missing")
    assert (cache.get("a"), len(cache)) == (None, 1)
    cache.clear()
    assert len(cache) == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda cache: cache.put("new", 1),
        lambda cache: cache.put("1", 1),
        lambda cache: cache.get("1"),
        lambda cache: cache.discard("1"),
        lambda cache: cache.clear(),
    ],
)
def test_a_cache_works_after_an_exception_at_any_line_of_a_change(change) -> None:
    for at in range(100):
        cache = RecentValues[str, int](3)
        for key in "012":
            cache.put(key, int(key))
        was_interrupted = interrupted(lambda: change(cache), at)  # noqa: B023
        for key in "abcdef":
            cache.put(key, ord(key))
            assert cache.get(key) == ord(key)
            assert len(cache) <= 3
        assert [cache.get(key) for key in "cdef"] == [None, *map(ord, "def")]
        if not was_interrupted:
            break
    assert 1 <= at < 99


def test_texts_get_vectors_after_an_exception_at_any_line_of_the_cache(monkeypatch) -> None:
    monkeypatch.setattr(embeddings, "CACHED_VECTORS", 3)
    for at in range(200):
        embedder = Embedder(DeterministicFakeEmbedding(size=4))
        run(embedder.documents(["a", "b", "c"]))
        was_interrupted = interrupted(lambda: embedder._keep("document", {"d": b"1234567890123456"}), at)  # noqa: B023
        for texts in (["e"], ["f", "g"], ["a", "h"], ["d"]):
            assert sorted(run(embedder.documents(texts))) == sorted(texts)
        if not was_interrupted:
            break
    assert 1 <= at < 199


def test_an_error_of_the_cache_is_not_an_error_of_the_model(monkeypatch) -> None:
    def broken(*_: Any) -> None:
        raise KeyError("a")

    monkeypatch.setattr(RecentValues, "put", broken)
    with pytest.raises(KeyError):
        run(Embedder(DeterministicFakeEmbedding(size=4)).documents(["a"]))


def test_messages_are_counted_after_an_exception_at_any_line_of_the_cache(monkeypatch) -> None:
    monkeypatch.setattr(tokens, "CACHED_MESSAGES", 3)
    for at in range(200):
        counter = TokenCounter()
        for text in "abc":
            counter.message(HumanMessage(text))
        was_interrupted = interrupted(lambda: counter.message(HumanMessage("d")), at)  # noqa: B023
        assert counter.messages([HumanMessage(text) for text in "efdgha"]) == counter.base + 6 * 5
        if not was_interrupted:
            break
    assert 1 <= at < 199


def test_channels_are_recalled_after_an_exception_at_any_line_of_the_cache(monkeypatch) -> None:
    monkeypatch.setattr(known, "_MAX_BYTES", 1_000)
    monkeypatch.setattr(known, "_MAX_VALUES", 3)
    value = Known(ValueKey("", "messages", "1"), "list", b"", "digest")
    for at in range(200):
        values = KnownValues()
        threads = [ThreadKey("default", str(number)) for number in range(12)]
        for thread in threads[:3]:
            values.learn(thread, value)
        was_interrupted = interrupted(lambda: values.learn(threads[3], value), at)  # noqa: B023
        for thread in threads[4:]:
            values.learn(thread, value)
        # The change that finds an inconsistent cache empties it.
        values.learn(threads[-1], value)
        assert values.recall(threads[-1], "", "messages") == value
        if not was_interrupted:
            break
    assert 1 <= at < 199


def test_only_the_cache_of_channels_is_bounded_by_cachetools() -> None:
    """Other caches use `RecentValues`: an interrupted eviction of an `LRUCache` lets later calls fail."""
    package = Path(caches.__file__).parent.parent
    users = [path for path in package.rglob("*.py") if "cachetools" in path.read_text(encoding="utf-8")]
    assert [path.relative_to(package).as_posix() for path in users] == ["checkpointing/known.py"]


def test_a_cache_is_bounded_in_bytes() -> None:
    cache = RecentValues[str, bytes](5, len, 100)
    for key in "abc":
        cache.put(key, b"x" * 30)
    cache.put("d", b"x" * 60)
    assert [cache.get(key) is None for key in "abcd"] == [True, True, False, False]
    cache.put("e", b"x" * 101)
    assert len(cache) == 0


def test_the_cache_of_stems_holds_no_long_words():
    words._stem.cache_clear()
    long = "supercalifragilistic" * 1_000
    assert words.words_of(f"dogs {long}") == ["dog", long[:500]]
    assert words._stem.cache_info().currsize == 1


def test_the_schema_of_a_model_is_made_once_until_the_model_is_rebuilt():
    model = create_model("Profile", inner=(dict[str, int], {}))
    assert schema_of(model) is schema_of(model)
    before = schema_of(model)
    model.model_rebuild(force=True)
    assert schema_of(model) == before
    assert schema_of(model) is not before


def test_the_schema_of_a_model_follows_its_rebuilt_form():
    class Later(BaseModel):
        word: str = ""

    first = schema_of(Later)
    Later.model_fields["word"].description = "A word."
    Later.model_rebuild(force=True)
    assert schema_of(Later)["properties"]["word"] == {**first["properties"]["word"], "description": "A word."}
