"""A change of the embedding model is noticed, on every backend."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest
from counting import Costs
from embedding_models import NS, Model, having, message_vectors
from langchain_core.embeddings import Embeddings
from langchain_core.messages import HumanMessage
from langgraph.store.base import PutOp, SearchOp
from patience import PATIENCE

from langchain_agentmem import (
    AgentMemory,
    ConfigurationError,
    EmbeddingsChangedError,
)
from langchain_agentmem.lifecycle import reindexing
from langchain_agentmem.search import fingerprint as indexing
from langchain_agentmem.search.embeddings import name_of
from langchain_agentmem.text.vectors import unit


@pytest.fixture(autouse=True)
def short_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test wait longer than it must."""
    for module in (indexing, reindexing):
        monkeypatch.setattr(module, "GRACE_SECONDS", 0.02)


OTHERS = [Model("new"), Model("old", 8)]


@pytest.mark.parametrize("other", OTHERS, ids=["name", "dimensions"])
async def test_another_model_is_refused_before_anything_is_written(url, call, caplog, other):
    with AgentMemory.from_url(url, embeddings=Model()) as memory:
        await call(memory.store.put, NS, "k", {"text": "a fact"})
        await call(memory.history("s").add_messages, [HumanMessage("a fact")])
        changed = having(memory, other)
        put, history = PutOp(NS, "new", {"text": "another fact"}), changed.history("s")
        attempts: list[tuple[Any, ...]] = [
            (changed.store.put, NS, "new", {"text": "another fact"}),
            (changed.store.batch, [put, PutOp(NS, "unsearched", {}, index=False)]),
            (changed.store.update, NS, "k", lambda _: {"text": "another fact"}),
            (changed.store.batch, [put, SearchOp(NS, query="fact")]),
            (changed.store.search, NS),
            (history.search, "which fact?"),
            (changed.search_history, "which fact?"),
        ]
        for method, *arguments in attempts:
            options = {"query": "which fact?"} if method == changed.store.search else {}
            with pytest.raises(
                EmbeddingsChangedError, match=r"belong to Model:old with 16 dimensions.*reindex\(\)"
            ) as raised:
                await call(method, *arguments, **options)
            assert other.model in str(raised.value)
            assert isinstance(raised.value, ConfigurationError)
        assert [item.key for item in await call(changed.store.search, NS)] == ["k"]
        assert (await call(changed.store.get, NS, "k")).value == {"text": "a fact"}
        # But for a turn of a conversation, which is stored without vectors.
        with caplog.at_level(logging.WARNING):
            await call(history.add_messages, [HumanMessage("another fact")])
        assert "stored without vectors. The embedding model was changed" in caplog.text
        assert message_vectors(memory, None) == {("s", 0): unit(Model().embed_query("a fact")), ("s", 1): None}
        # What needs no vectors goes on, and the former model too.
        await call(changed.store.put, NS, "unsearched", {"n": 1}, index=False)
        await call(having(memory, other, embed_history=False).history("s").add_messages, [HumanMessage("unembedded")])
        back = having(memory, Model())
        await call(back.store.put, NS, "l", {"text": "one more fact"})
        assert {item.key for item in await call(back.store.search, NS, query="fact")} == {"k", "l"}
        await call(memory.close)


async def test_a_model_is_refused_by_its_name_though_it_fails(url, call):
    with AgentMemory.from_url(url, embeddings=Model()) as memory:
        await call(memory.store.put, NS, "k", {"text": "a fact"})
        with pytest.raises(EmbeddingsChangedError):
            await call(having(memory, Model("new", calls=0)).store.put, NS, "l", {"text": "another fact"})
        assert [item.key for item in await call(memory.store.search, NS)] == ["k"]
        await call(memory.close)


async def test_each_tenant_has_a_model_of_its_own(url, call):
    with AgentMemory.from_url(url, embeddings=Model()) as memory:
        await call(memory.store.put, NS, "k", {"text": "a fact"})
        other = having(memory, Model("new"), tenant="other")
        await call(other.store.put, NS, "k", {"text": "a fact"})
        assert [item.key for item in await call(other.store.search, NS, query="fact")] == ["k"]
        await call(memory.close)


async def test_of_two_models_that_begin_at_once_one_wins(lasting_url, call):
    barrier = threading.Barrier(2)
    models = Model("one"), Model("two")
    for model in models:
        model.meanwhile = lambda _: barrier.wait(PATIENCE)
    outcome: dict[str, Any] = {}

    def begin(model: Model) -> None:
        with AgentMemory.from_url(lasting_url, embeddings=model) as memory:
            try:
                asyncio.run(call(memory.store.put, NS, model.model, {"text": "a fact"}))
            except EmbeddingsChangedError as error:
                outcome[model.model] = error
            else:
                outcome[model.model] = None

    threads = [threading.Thread(target=begin, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    (winner,) = [name for name, error in outcome.items() if error is None]
    with AgentMemory.from_url(lasting_url) as memory:
        assert [item.key for item in await call(memory.store.search, ())] == [winner]
        await call(memory.close)


async def test_the_model_is_looked_at_once(url, call, monkeypatch):
    with AgentMemory.from_url(url, embeddings=Model()) as memory, AgentMemory.from_url(url) as plain:
        monkeypatch.setattr(indexing, "GRACE_SECONDS", 60.0)
        costs: dict[bool, list[Any]] = {}
        for one in (plain, memory):
            await call(one.store.put, NS, "a", {"text": "fact 0"})
            await call(one.history("s").add_messages, [HumanMessage("fact 0")])
            with monkeypatch.context() as patch:
                counted = Costs(one, patch)
                await call(one.store.put, NS, "b", {"text": "fact 1"})
                await call(one.store.search, NS, query="which fact?")
                await call(one.history("s").add_messages, [HumanMessage("fact 1")])
                await call(one.history("t").search, "which fact?")
                costs[one is memory] = [kind for kind, _ in counted.reset()]
        assert costs[True] == costs[False]
        await call(plain.close)
        await call(memory.close)


def test_what_a_model_is_called():
    class Plain(Embeddings):
        embed_documents = embed_query = None  # type: ignore[assignment]

    class Cached(Plain):
        underlying_embeddings = Model("small")

    def function(texts: list[str]) -> list[list[float]]:
        return [[1.0] for _ in texts]

    here = "test_what_a_model_is_called.<locals>."
    assert name_of("openai:text-embedding-3-small") == "openai:text-embedding-3-small"
    assert name_of(Model("small")) == name_of(Cached()) == "Model:small"
    assert name_of(Plain()) == f"{here}Plain"
    assert name_of(function) == f"{here}function"
    memory = AgentMemory.from_url("sqlite:///:memory:", embeddings=function)
    assert memory.store.engine.indexer is not None
    assert memory.store.engine.indexer.embedder.name == f"{here}function"
    memory.close()
