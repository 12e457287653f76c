"""Embedding models as they are configured: their dimensions, asynchronous ones, and their names."""

from __future__ import annotations

import asyncio
import functools
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables.history import RunnableWithMessageHistory
from langgraph.store.base import PutOp, SearchOp, ensure_embeddings

from langchain_agentmem import (
    AgentMemory,
    AgentMemStore,
    ConfigurationError,
    EmbeddingDimensionsError,
    InvalidInputError,
    InvalidVectorsError,
)

NS = ("a",)


def three(texts: list[str]) -> list[list[float]]:
    return [[1.0, 2.0, float(len(text))] for text in texts]


async def athree(texts: list[str]) -> list[list[float]]:
    await asyncio.sleep(0)
    return three(texts)


class AsyncOnly(Embeddings):
    """A model that offers asynchronous methods alone, as some clients do."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        raise NotImplementedError

    def embed_query(self, text: str) -> list[float]:
        raise NotImplementedError

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        return await athree(texts)

    async def aembed_query(self, text: str) -> list[float]:
        return (await athree([text]))[0]


class AsyncCallable:
    async def __call__(self, texts: list[str]) -> list[list[float]]:
        return await athree(texts)


ASYNCHRONOUS: dict[str, Any] = {
    "coroutine function": athree,
    "partial": functools.partial(athree),
    "callable": AsyncCallable(),
    "lambda": lambda texts: athree(texts),
    "class": AsyncOnly(),
    "wrapped by LangGraph": ensure_embeddings(athree),
}


@pytest.fixture
def stores(url: str) -> Iterator[Any]:
    opened: list[AgentMemStore] = []

    def make(embed: Any, dims: Any = 4) -> AgentMemStore:
        opened.append(AgentMemStore.from_url(url, index={"embed": embed, "dims": dims, "fields": ["text"]}))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


async def test_vectors_of_other_dimensions_than_configured_are_refused_and_nothing_is_written(stores, call):
    store = stores(three)
    with pytest.raises(EmbeddingDimensionsError, match=r"3 dimensions.* is 4"):
        await call(store.put, NS, "k", {"text": "x"})
    with pytest.raises(EmbeddingDimensionsError):
        await call(store.batch, [PutOp(NS, "plain", {"n": 1}, index=False), PutOp(NS, "k", {"text": "x"})])
    with pytest.raises(EmbeddingDimensionsError):
        await call(store.update, NS, "k", lambda value: {"text": "x"})
    assert await call(store.search, NS) == []
    with pytest.raises(EmbeddingDimensionsError):
        await call(store.search, NS, query="x")
    with pytest.raises(EmbeddingDimensionsError):
        await call(store.batch, [SearchOp(NS, query="x")])


GIVEN: dict[str, Any] = {
    "nothing": None,
    "no list": 5,
    "a text": "abc",
    "no vectors": [],
    "an empty vector": [[]],
    "a vector that is None": [None],
    "too many": [[1.0, 2.0]] * 3,
    "not a number": [[float("nan"), 1.0]],
    "infinite": [[float("inf"), 1.0]],
    "texts": [["a", "b"]],
}


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
@pytest.mark.parametrize("is_async", [False, True], ids=["function", "coroutine"])
async def test_a_model_which_returns_no_vectors_is_named_and_nothing_is_written(url, call, given, is_async):
    def careless(texts: list[str]) -> Any:
        return given

    async def acareless(texts: list[str]) -> Any:
        return given

    with AgentMemory.from_url(url, embeddings=acareless if is_async else careless) as memory:
        for method, *arguments in (
            (memory.store.put, NS, "k", {"text": "x"}),
            (memory.store.batch, [PutOp(NS, "plain", {"n": 1}, index=False), PutOp(NS, "k", {"text": "x"})]),
            (memory.store.update, NS, "k", lambda value: {"text": "x"}),
            (memory.history("s").add_messages, [HumanMessage("hello")]),
        ):
            with pytest.raises(
                InvalidVectorsError, match=r"embedding model '\w*\.?.*careless' must return .*(got|gave) "
            ):
                await call(method, *arguments)
        assert await call(memory.store.search, NS) == []
        assert await call(memory.history("s").count) == 0
        with pytest.raises(InvalidVectorsError, match="careless"):
            await call(memory.store.search, NS, query="x")
        await call(memory.close)


@pytest.mark.parametrize("distance", ["l2", "inner_product", "x" * 2_000_000], ids=["l2", "inner_product", "long"])
def test_another_distance_than_the_cosine_is_refused(sqlite_url, distance):
    index: Any = {"embed": three, "dims": 3, "distance_type": distance}
    with pytest.raises(InvalidInputError, match=r"distance_type.*'cosine'") as caught:
        AgentMemStore.from_url(sqlite_url, index=index)
    assert len(str(caught.value)) < 300
    AgentMemStore.from_url(sqlite_url, index={**index, "distance_type": "cosine"}).close()


async def test_items_without_text_are_stored_whatever_the_dimensions(stores, call):
    store = stores(three)
    await call(store.put, NS, "k", {"n": 1})
    await call(store.put, NS, "l", {"text": "x"}, index=False)
    assert len(await call(store.search, NS)) == 2


async def test_callers_of_one_burst_fail_for_their_own_texts_alone(stores):
    store = stores(three)
    results = await asyncio.gather(
        store.aput(NS, "plain", {"n": 1}), store.aput(NS, "k", {"text": "x"}), return_exceptions=True
    )
    assert results[0] is None
    assert isinstance(results[1], EmbeddingDimensionsError)


async def test_the_right_dimensions_are_accepted(stores, call):
    store = stores(three, 3)
    await call(store.put, NS, "k", {"text": "x"})
    assert [item.key for item in await call(store.search, NS, query="y")] == ["k"]


@pytest.mark.parametrize("dims", [0, -1, 2.5, "4", True], ids=repr)
def test_dimensions_that_are_no_positive_number_are_refused(sqlite_url, dims):
    with pytest.raises((ValueError, TypeError), match="dims"):
        AgentMemStore.from_url(sqlite_url, index={"embed": three, "dims": dims})


async def test_reindexing_says_so_too(lasting_url, call):
    with AgentMemory.from_url(lasting_url, embeddings=three, index={"dims": 3, "fields": ["text"]}) as memory:
        await call(memory.store.put, NS, "k", {"text": "x"})
    with (
        AgentMemory.from_url(lasting_url, embeddings=three, index={"dims": 4, "fields": ["text"]}) as memory,
        pytest.raises(EmbeddingDimensionsError),
    ):
        await call(memory.reindex)
    with AgentMemory.from_url(lasting_url, embeddings=three, index={"dims": 3, "fields": ["text"]}) as memory:
        assert [item.key for item in await call(memory.store.search, NS, query="zebra")] == ["k"]


async def test_messages_are_refused_too(url, call):
    with AgentMemory.from_url(url, embeddings=three, index={"dims": 4}) as memory:
        history = memory.history("s")
        with pytest.raises(EmbeddingDimensionsError):
            await call(history.add_messages, [HumanMessage("hello")])
        assert await call(history.count) == 0


def test_a_chain_which_would_lose_the_turn_stores_it_with_a_warning(url, caplog):
    with AgentMemory.from_url(url, embeddings=three, index={"dims": 4}) as memory:
        model = GenericFakeChatModel(messages=iter([AIMessage("hi")]))
        chain = RunnableWithMessageHistory(model, memory.get_session_history)
        with caplog.at_level(logging.WARNING):
            chain.invoke([HumanMessage("hello")], {"configurable": {"session_id": "s"}})
        assert [message.text for message in memory.history("s").messages] == ["hello", "hi"]
    assert "without vectors" in caplog.text


@pytest.mark.parametrize("model", ASYNCHRONOUS.values(), ids=ASYNCHRONOUS)
async def test_an_asynchronous_model_serves_synchronous_calls_on_an_event_loop_too(stores, call, model, caplog):
    store = stores(model, 3)
    await call(store.put, NS, "k", {"text": "x"})
    await call(store.batch, [PutOp(NS, "l", {"text": "xx"})])
    # No word of the query is in the items: only vectors find them.
    assert {item.key for item in await call(store.search, NS, query="zebra")} == {"k", "l"}
    assert caplog.text == ""


def test_an_asynchronous_model_serves_synchronous_calls_without_an_event_loop(sqlite_url):
    for name, model in ASYNCHRONOUS.items():
        store = AgentMemStore.from_url(sqlite_url, index={"embed": model, "dims": 3, "fields": ["text"]}, tenant=name)
        store.put(NS, "k", {"text": "x"})
        assert [item.key for item in store.search(NS, query="zebra")] == ["k"]
        store.close()


def test_an_asynchronous_model_that_fails_leaves_the_item_without_a_vector(sqlite_url, caplog):
    async def fails(texts: list[str]) -> list[list[float]]:
        raise RuntimeError("no model today")

    store = AgentMemStore.from_url(sqlite_url, index={"embed": fails, "dims": 3, "fields": ["text"]})
    store.put(NS, "k", {"text": "x"})
    assert store.get(NS, "k").value == {"text": "x"}
    assert "no model today" in caplog.text
    store.close()


@pytest.mark.parametrize(
    "name", ["openai:text-embedding-3-small", "nobody:knows", "no-provider", "", ":", "openai:", "a:b:c"], ids=repr
)
def test_a_name_for_which_no_model_can_be_made_is_a_configuration_error(monkeypatch, name):
    monkeypatch.setitem(sys.modules, "langchain_openai", None)  # it is not installed
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    for make in (
        lambda: AgentMemStore.from_url("sqlite:///:memory:", index={"embed": name, "dims": 3}),
        lambda: AgentMemory.from_url("sqlite:///:memory:", embeddings=name),
    ):
        with pytest.raises(ConfigurationError, match="provider") as raised:
            make()
        assert repr(name) in str(raised.value)
        assert not isinstance(raised.value, InvalidInputError)


def test_a_name_says_how_to_go_on_without_langchain(monkeypatch):
    from langgraph.store.base import embed

    monkeypatch.setattr(embed, "_get_init_embeddings", lambda: None)
    with pytest.raises(ConfigurationError, match="install langchain"):
        AgentMemStore.from_url("sqlite:///:memory:", index={"embed": "openai:text-embedding-3-small", "dims": 3})
