"""The store's engine: its programs mean what the methods of `AgentMemStore` mean, and compose."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding

from langchain_agentmem import AgentMemStore, InvalidTypeError
from langchain_agentmem.programs import Call, Program, run

NS = ("notes",)


@pytest.fixture
def store() -> Iterator[AgentMemStore]:
    with AgentMemStore.from_url(
        "sqlite:///:memory:", ttl={"default_ttl": 5, "refresh_on_read": False}, index={"fields": ["text"]}
    ) as made:
        yield made


def stored_row(store: AgentMemStore, key: str) -> Any:
    engine = store.engine
    (row,) = engine.backend.read(engine.backend.items.get(engine.tenant, [(NS, key)], 0.0, paths=True))
    return row


def test_programs_of_the_engine_apply_the_defaults_of_the_store(store):
    def program() -> Program[Any]:
        yield from store.engine.put(NS, "a", {"text": "pizza", "note": "tea"})
        yield from store.engine.put(NS, "b", {"text": "tea"}, index=["note"], ttl=None)
        return (yield from store.engine.search(NS, query="tea"))

    assert run(program()) == []
    assert [stored_row(store, key).ttl for key in "ab"] == [300.0, None]
    assert [item.key for item in run(store.engine.search(NS, query="pizza"))] == ["a"]
    assert run(store.engine.list_namespaces(prefix=NS)) == [NS]
    assert not store.engine.get_op(NS, "a").refresh_ttl
    run(store.engine.delete(NS, "a"))
    assert run(store.engine.get(NS, "a")) is None


def test_the_function_of_an_update_may_be_a_program(store):
    def increase(value: dict[str, Any] | None) -> Program[dict[str, Any]]:
        before = yield from store.engine.get(NS, "other")
        return {"n": (value or {"n": 0})["n"] + before.value["n"]}

    def swap(values: dict[Any, Any]) -> Program[dict[Any, Any]]:
        one, two = yield from Call(lambda: list(values.values()))
        return dict(zip(values, (two, one), strict=True))

    store.put(NS, "other", {"n": 2})
    assert run(store.engine.update(NS, "k", increase)) == {"n": 2}
    assert run(store.engine.update(NS, "k", increase)) == {"n": 4}
    assert run(store.engine.update_many([(NS, "k"), (NS, "other")], swap)) == {
        (NS, "k"): {"n": 2},
        (NS, "other"): {"n": 4},
    }
    assert store.get(NS, "k").value == {"n": 2}


def test_a_generator_function_of_an_application_is_refused_not_run(store):
    ran = []

    def generate(value: Any) -> Iterator[Any]:
        ran.append(value)
        yield {"n": 1}

    with pytest.raises(InvalidTypeError, match="must be a mapping"):
        store.update(NS, "k", generate)
    with pytest.raises(InvalidTypeError, match="must return a dict"):
        store.update_many([(NS, "k")], generate)
    assert ran == []
    assert store.search(()) == []


def test_a_store_shows_its_state_but_nothing_stored(store):
    store.put(NS, "k", {"text": "secret"})
    assert repr(store) == ("AgentMemStore(SqliteBackend(':memory:'), tenant='default', fields=['text'], default_ttl=5)")
    table = store._repr_html_()
    assert "<th>fields</th>" in table
    assert "secret" not in table
    model = DeterministicFakeEmbedding(size=8)
    plain = AgentMemStore(store.engine.backend, tenant="<b>", index={"embed": model})
    assert repr(plain).endswith(", tenant='<b>', embeddings='DeterministicFakeEmbedding')")
    assert "<b>" not in plain._repr_html_()


@pytest.mark.parametrize("given", [timedelta(minutes=2), 2, 2.0])
def test_a_ttl_is_minutes_or_a_timedelta(store, given):
    store.put(NS, "a", {"n": 1}, ttl=given)
    store.update(NS, "b", lambda value: {"n": 1}, ttl=given)
    store.update_many([(NS, "c")], lambda values: {(NS, "c"): {"n": 1}}, ttl=given)
    with AgentMemStore.from_url("sqlite:///:memory:", ttl={"default_ttl": given}) as other:
        other.put(NS, "a", {"n": 1})
        assert stored_row(other, "a").ttl == 120.0
    assert [stored_row(store, key).ttl for key in "abc"] == [120.0] * 3
