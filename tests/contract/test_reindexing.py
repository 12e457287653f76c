"""Changing the embedding model is noticed, and `memory.reindex()` makes all vectors anew, on every backend."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import time
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from counting import Costs
from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.store.base import PutOp, SearchOp
from patience import PATIENCE

from langchain_agentmem import (
    AgentMemory,
    ConfigurationError,
    EmbeddingError,
    EmbeddingsChangedError,
    InvalidInputError,
    InvalidTypeError,
    InvalidVectorsError,
    Reindexed,
    Retention,
)
from langchain_agentmem.backends.contract import HistoryScope, Query
from langchain_agentmem.backends.notes import Notes
from langchain_agentmem.lifecycle import reindexing
from langchain_agentmem.programs import run
from langchain_agentmem.search import fingerprint as indexing
from langchain_agentmem.search.embeddings import name_of
from langchain_agentmem.search.fingerprint import CLEARING, Fingerprint
from langchain_agentmem.text.vectors import unit

NS = ("facts",)


@pytest.fixture(autouse=True)
def short_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test wait longer than it must."""
    for module in (indexing, reindexing):
        monkeypatch.setattr(module, "GRACE_SECONDS", 0.02)


class Model(Embeddings):
    """A vector of its own for every text, and others than another model's; it may fail after some calls."""

    def __init__(self, model: str = "old", dimensions: int = 16, calls: int | None = None) -> None:
        self.model, self.dimensions, self.calls = model, dimensions, calls
        self.asked: list[list[str]] = []
        self.salt = ""
        self.meanwhile: Callable[[list[str]], Any] = lambda _: None

    def embed_query(self, text: str) -> list[float]:
        seed = zlib.crc32(f"{self.model}{self.salt} {text}".encode())
        return np.random.default_rng(seed).normal(size=self.dimensions).tolist()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        if self.calls is not None and len(self.asked) >= self.calls:
            raise TimeoutError("the model is away")
        self.asked.append(texts)
        vectors = [self.embed_query(text) for text in texts]
        self.meanwhile(texts)
        return vectors

    @property
    def texts(self) -> list[str]:
        """What it embedded, but for what `reindex` asks to know its dimensions."""
        return [text for texts in self.asked for text in texts if text != "How many dimensions?"]


def having(memory: AgentMemory, model: Model, **options: Any) -> AgentMemory:
    """Another memory on the same database, as another process has it."""
    return AgentMemory(memory.backend, embeddings=model, **options)


def items_like(memory: AgentMemory, model: Model, text: str, prefix: tuple[str, ...] = ()) -> set[tuple[Any, str]]:
    """The items that have the vector that a model gives a text, whatever the text index says."""
    query = Query(prefix, ["fact", "pizza"], unit(model.embed_query(text)))
    found = memory.backend.read(memory.backend.items.find(memory.tenant, query, time.time()))
    ids = [one.id for one in found.candidates if one.dense is not None and one.dense > 0.99]
    rows = memory.backend.read(memory.backend.items.rows(ids))
    return {(row.namespace, row.key) for row in rows.values()}


def message_vectors(memory: AgentMemory, user_id: str | None) -> dict[tuple[str, int], bytes | None]:
    scope = HistoryScope(memory.tenant, user_id)
    entries = memory.backend.read(memory.backend.messages.index(scope, time.time(), vectors=True))
    return {(entry.session_id, entry.position): entry.vector for entry in entries}


# The fingerprint


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


# Making the vectors anew


async def fill(memory: AgentMemory, call: Any, count: int = 12) -> None:
    """Items in two namespaces; messages of two users and of nobody."""
    await call(memory.store.batch, [PutOp(NS, str(n), {"text": f"fact {n}"}, index=["text"]) for n in range(count)])
    await call(memory.store.put, ("other", "facts"), "pizza", {"text": "pizza"}, index=["text"])
    for user_id in ("alice", "bob", None):
        history = memory.history("s", user_id=user_id)
        await call(history.add_messages, [HumanMessage(f"{user_id} says {n}") for n in range(4)])
        await call(history.add_messages, [AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "1"}])])
        await call(history.add_messages, [ToolMessage(f"for {user_id}", tool_call_id="1")])


WHOLE = Reindexed(items=13, messages=15)


def check_whole(memory: AgentMemory, model: Model, count: int = 12) -> None:
    for number in range(count):
        assert items_like(memory, model, f"fact {number}") == {(NS, str(number))}
    assert items_like(memory, model, "pizza") == {(("other", "facts"), "pizza")}
    for user_id in ("alice", "bob", None):
        texts = [*(f"{user_id} says {n}" for n in range(4)), None, f"for {user_id}"]
        expected = {("s", at): text and unit(model.embed_query(text)) for at, text in enumerate(texts)}
        assert message_vectors(memory, user_id) == expected


@pytest.mark.parametrize(("name", "dimensions"), [("new", 16), ("old", 24)], ids=["name", "dimensions"])
async def test_all_items_and_messages_are_embedded_anew(url, call, name, dimensions):
    with AgentMemory.from_url(url, embeddings=Model()) as memory:
        await fill(memory, call)
        # Of another tenant nothing is touched; in Postgres all in one table have as many dimensions.
        neighbour = having(memory, Model(dimensions=16), tenant="neighbour", embed_history=True)
        await call(neighbour.history("s", user_id="alice").add_messages, [HumanMessage("hello")])
        if dimensions == 16 or not url.startswith("postgres"):
            await call(neighbour.store.put, NS, "theirs", {"text": "fact 1"}, index=["text"])
        model = Model(name, dimensions)
        changed = having(memory, model)
        assert await call(changed.reindex, batch_size=5) == WHOLE
        check_whole(changed, model)
        assert max(map(len, model.asked)) == 5
        assert len(model.texts) == len(set(model.texts)) == 28
        assert [item.key for item in await call(changed.store.search, NS, query="fact 7", limit=1)] == ["7"]
        assert (await call(changed.search_history, "bob says 2", user_id="bob"))[0].position == 2
        await call(changed.store.put, NS, "more", {"text": "more"}, index=["text"])
        assert items_like(changed, model, "more") == {(NS, "more")}
        assert message_vectors(neighbour, "alice") == {("s", 0): unit(Model().embed_query("hello"))}
        if dimensions == 16:
            assert items_like(neighbour, Model(), "fact 1") == {(NS, "theirs")}
        with pytest.raises(EmbeddingsChangedError):
            await call(having(memory, Model()).store.put, NS, "x", {"text": "x"})
        assert await call(changed.reindex) == Reindexed()
        await call(memory.close)


async def test_what_broke_off_goes_on_where_it_was(url, call, caplog):
    with AgentMemory.from_url(url, embeddings=Model()) as memory:
        await fill(memory, call)
        embedded: list[str] = []
        for calls in (3, 2, 4):
            model = Model("new", 24, calls)
            with pytest.raises(EmbeddingError, match=r"the model is away.*reindex\(\) again") as raised:
                await call(having(memory, model).reindex, batch_size=3)
            assert isinstance(raised.value.__cause__, TimeoutError)
            embedded += model.texts
            # Meanwhile no two models are compared: searches go by words, and the former model is refused.
            for one in (Model("new", 24), Model()):
                half = having(memory, one)
                if one.model == "old":
                    with pytest.raises(EmbeddingsChangedError, match="belong to Model:new with 24 dimensions"):
                        await call(half.store.search, NS, query="7")
                    continue
                caplog.clear()
                with caplog.at_level(logging.WARNING):
                    assert [item.key for item in await call(half.store.search, NS, query="7")] == ["7"]
                    assert (await call(half.search_history, "says 3", user_id="bob", k=1))[0].position == 3
                assert "this search ranks by words only" in caplog.text
        model = Model("new", 24)
        rest = await call(having(memory, model).reindex, batch_size=3)
        embedded += model.texts
        assert (rest.items, rest.messages) == (0, 12)  # 2, 1 and 3 batches before, the last of items held one
        assert sorted(embedded) == sorted(set(embedded))
        assert len(embedded) == 28
        check_whole(having(memory, model), model)
        await call(memory.close)


async def test_a_model_that_never_answers_changes_nothing(url, call):
    with AgentMemory.from_url(url, embeddings=Model()) as memory:
        await fill(memory, call)
        with pytest.raises(EmbeddingError, match="the model is away"):
            await call(having(memory, Model("new", calls=0)).reindex)
        assert len(await call(memory.store.search, NS, query="zzz", limit=50)) == 12  # all of them, by meaning
        check_whole(memory, Model())
        await call(memory.close)


async def test_what_others_change_meanwhile_keeps_what_they_stored(url, call):
    with AgentMemory.from_url(url, embeddings=Model()) as memory:
        await fill(memory, call)
        model = Model("new", 24)
        changed, beside = having(memory, model), having(memory, Model("new", 24))
        lost = having(memory, Model("new", 24, calls=0))

        def write(texts: list[str]) -> None:
            if "fact 11" in texts:
                beside.store.put(NS, "11", {"text": "a newer fact"}, index=["text"])
                beside.store.update(NS, "10", lambda _: {"text": "an updated fact"}, index=["text"])
                beside.store.put(NS, "9", {"text": "fact 9"}, index=False)
                beside.store.delete(NS, "8")
                lost.store.put(NS, "7", {"text": "a fact without vectors"}, index=["text"])
                beside.history("s", user_id="alice").add_messages([HumanMessage("one more")])
                beside.history("first", user_id="carol").add_messages([HumanMessage("hello")])
                beside.sessions.delete("s", user_id="bob")
                beside.history("s", user_id="bob").add_messages([HumanMessage("bob says other things")])

        model.meanwhile = write
        await call(changed.reindex)
        assert items_like(changed, model, "a newer fact") == {(NS, "11")}
        assert items_like(changed, model, "an updated fact") == {(NS, "10")}
        assert items_like(changed, model, "a fact without vectors") == {(NS, "7")}
        for number in range(7, 12):
            assert items_like(changed, model, f"fact {number}") == set()
        assert items_like(changed, model, "fact 6") == {(NS, "6")}
        assert message_vectors(changed, "alice")["s", 6] == unit(model.embed_query("one more"))
        assert message_vectors(changed, "carol") == {("first", 0): unit(model.embed_query("hello"))}
        assert message_vectors(changed, "bob") == {("s", 0): unit(model.embed_query("bob says other things"))}
        await call(memory.close)


async def test_what_is_stored_while_the_former_vectors_are_deleted_is_embedded_with_the_rest(url, call):
    with AgentMemory.from_url(url, embeddings=Model()) as memory:
        await fill(memory, call)
        model = Model("new", 24)
        changed = having(memory, model)
        assert changed.store.engine.indexer is not None
        indexer = changed.store.engine.indexer
        run(indexer.swap(run(indexer.state()), Fingerprint(indexer.embedder.name, 24), CLEARING))
        await call(changed.store.put, NS, "more", {"text": "more"}, index=["text"])
        await call(changed.history("more", user_id="dave").add_messages, [HumanMessage("more")])
        assert message_vectors(changed, "dave") == {("more", 0): None}
        assert await call(having(memory, model).reindex) == Reindexed(14, 16)
        check_whole(memory, model)
        assert items_like(memory, model, "more") == {(NS, "more")}
        await call(memory.close)


async def test_vectors_that_a_process_with_the_former_model_left_are_replaced(url, call):
    with AgentMemory.from_url(url, embeddings=Model()) as memory:
        await fill(memory, call)
        model = Model("new", 24)
        changed = having(memory, model)
        await call(changed.reindex)
        # As it may be for a minute, it has not noticed.
        if not url.startswith("postgres"):  # which has one table for all
            await call(memory.store.put, NS, "late", {"text": "late"}, index=["text"])
        await call(memory.history("late", user_id="dave").add_messages, [HumanMessage("late")])
        await call(memory.history("s", user_id="alice").add_messages, [HumanMessage("late")])
        again = await call(changed.reindex)
        assert again.items == (not url.startswith("postgres"))
        assert message_vectors(changed, "dave") == {("late", 0): unit(model.embed_query("late"))}
        assert message_vectors(changed, "alice")["s", 6] == unit(model.embed_query("late"))
        assert message_vectors(changed, "alice")["s", 1] == unit(model.embed_query("alice says 1"))
        assert (await call(changed.store.search, NS, query="fact 7", limit=1))[0].key == "7"
        await call(memory.close)


def asked_while(model: Model, happens: Callable[[], Any]) -> None:
    """Let something happen, once, while a model is asked."""

    def meanwhile(_: list[str]) -> None:
        model.meanwhile = lambda _: None
        happens()

    model.meanwhile = meanwhile


@pytest.mark.parametrize("everything", [False, True], ids=["another", "same"])
async def test_what_was_begun_before_and_is_stored_after_keeps_no_former_vectors(url, call, everything):
    old, new = Model(), Model("old" if everything else "new")
    with AgentMemory.from_url(url, embeddings=old) as memory:
        changed = having(memory, new)
        old.salt = "formerly"
        await call(memory.store.put, NS, "known", {"text": "known"}, ["text"])
        await call(memory.history("s").add_messages, [HumanMessage("known")])

        def reindex() -> None:
            old.salt = ""
            changed.reindex(everything=everything)

        operations: dict[str, tuple[Any, ...]] = {
            "put": (memory.store.put, NS, "put", {"text": "put"}, ["text"]),
            "updated": (memory.store.update, NS, "updated", lambda _: {"text": "updated"}),
        }
        # Two of a model, of which the first has known the note for some time.
        for key, (method, *arguments) in operations.items():
            old.salt = "formerly"
            asked_while(old, reindex)
            await call(method, *arguments, **({"index": ["text"]} if key == "updated" else {}))
            assert items_like(changed, old, key) | items_like(changed, new, key) == (
                {(NS, key)} if everything else set()
            )
            await call(changed.reindex)
            assert items_like(changed, new, key) == {(NS, key)}
            if not everything:
                await call(having(memory, old).reindex)
                await call(memory.store.search, NS, query="known")
        old.salt = "formerly"
        asked_while(old, reindex)
        await call(memory.history("s").add_messages, [HumanMessage("turn"), AIMessage("")])
        expected = {0: "known", 1: "turn" if everything else None, 2: None}
        vectors = {("s", at): text and unit(new.embed_query(text)) for at, text in expected.items()}
        assert message_vectors(changed, None) == vectors
        await call(changed.reindex)
        assert message_vectors(changed, None)["s", 1] == unit(new.embed_query("turn"))
        await call(memory.close)


async def test_what_was_left_without_vectors_for_reindex_and_is_stored_after_it_gets_its_own(url, call, monkeypatch):
    with AgentMemory.from_url(url, embeddings=Model()) as memory:
        await fill(memory, call)
        model = Model("new")
        changed, beside = having(memory, model), having(memory, Model("new"))
        assert changed.store.engine.indexer is not None
        indexer = changed.store.engine.indexer
        for key in ("item", "turn"):
            state = await asyncio.to_thread(lambda: run(indexer.state()))
            await asyncio.to_thread(run, indexer.swap(state, Fingerprint("Model:new", 16), CLEARING))
            table = memory.backend.items if key == "item" else memory.backend.messages
            method = "put" if key == "item" else "append"

            def late(*arguments: Any, patch: Any, table: Any = table, method: str = method) -> Any:
                patch.undo()
                beside.reindex()  # before the write reaches the database
                return getattr(table, method)(*arguments)

            with monkeypatch.context() as patch:
                patch.setattr(table, method, lambda *arguments, late=late, patch=patch: late(*arguments, patch=patch))
                if key == "item":
                    await call(changed.store.put, NS, "late", {"text": "late"}, ["text"])
                else:
                    await call(changed.history("late").add_messages, [HumanMessage("late")])
        assert items_like(memory, model, "late") == {(NS, "late")}
        assert message_vectors(memory, None)["late", 0] == unit(model.embed_query("late"))
        assert await call(changed.reindex) == Reindexed()
        await call(memory.close)


async def test_vectors_of_one_who_was_overtaken_while_it_stored_them_do_not_stay(url, call, monkeypatch):
    with AgentMemory.from_url(url) as memory:
        await fill(memory, call)
        first, second = having(memory, Model("first")), having(memory, Model("second"))

        for table in (memory.backend.items, memory.backend.messages):
            with monkeypatch.context() as patch:

                def late(*arguments: Any, original: Any = table.embed, patch: Any = patch) -> Any:
                    patch.undo()
                    second.reindex()
                    return original(*arguments)

                patch.setattr(table, "embed", late)
                with pytest.raises(EmbeddingsChangedError, match="second"):
                    await call(first.reindex, everything=True)
            await call(second.reindex)
            check_whole(memory, Model("second"))
        await call(memory.close)


async def test_two_may_do_it_at_once(lasting_url, call):
    with AgentMemory.from_url(lasting_url, embeddings=Model()) as memory:
        await fill(memory, call, 60)
        await call(memory.close)
    barrier = threading.Barrier(2)

    def begin() -> None:
        with AgentMemory.from_url(lasting_url, embeddings=Model("new", 24)) as one:
            barrier.wait(PATIENCE)
            asyncio.run(call(one.reindex, batch_size=7))

    threads = [threading.Thread(target=begin) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    with AgentMemory.from_url(lasting_url, embeddings=Model("new", 24)) as memory:
        check_whole(memory, Model("new", 24), 60)
        assert await call(memory.reindex) == Reindexed()
        assert (await call(memory.store.search, NS, query="fact 7", limit=1))[0].key == "7"
        await call(memory.close)


@pytest.mark.parametrize("wrong", [lambda rows: rows[1:], lambda rows: [[1.0], *rows[1:]]], ids=["few", "unlike"])
async def test_vectors_that_are_too_few_or_unlike_are_not_stored(memory, call, wrong):
    await fill(memory, call)
    model = Model()
    right = model.embed_documents
    changed = having(memory, model)
    model.embed_documents = lambda texts: wrong(right(texts)) if len(texts) > 1 else right(texts)  # type: ignore[method-assign]
    assert await call(changed.reindex) == WHOLE  # one by one
    check_whole(memory, model)


async def test_texts_that_the_model_does_not_take_are_left_out(url, call, caplog):
    model = Model()
    right = model.embed_documents

    def refusing(texts: list[str]) -> Any:
        if any(word in text for text in texts for word in ("fact 3", "alice says 2", "half")):
            msg = "too long"
            raise ValueError(msg)
        return right(texts)

    with AgentMemory.from_url(url) as memory:
        await fill(memory, call)
        await call(memory.store.put, NS, "two", {"a": "half of it", "b": "the rest"}, ["a", "b"])
        model.embed_documents = refusing  # type: ignore[method-assign]
        changed = having(memory, model)
        with caplog.at_level(logging.WARNING):
            assert await call(changed.reindex, batch_size=8) == Reindexed(13, 14, failed=2)
        assert "The embedding model refused a text" in caplog.text
        assert len(model.texts) == len(set(model.texts))
        assert items_like(changed, model, "the rest") == {(NS, "two")}
        assert items_like(changed, model, "fact 4") == {(NS, "4")}
        found = await call(changed.store.search, NS, query="fact 3")
        assert "3" in [item.key for item in found]
        assert message_vectors(changed, "alice")["s", 2] is None
        model.embed_documents = right  # type: ignore[method-assign]
        assert await call(changed.reindex) == Reindexed(1, 1)
        await call(memory.close)


async def test_what_was_stored_while_the_model_failed_gets_its_vectors(url, call):
    with AgentMemory.from_url(url, embeddings=Model(calls=0)) as memory:
        await fill(memory, call)
        await call(memory.store.put, NS, "marks", {"text": "?!"}, index=["text"])
        model = Model()
        again = having(memory, model)
        assert items_like(again, model, "fact 3") == set()
        assert await call(again.reindex) == Reindexed(14, 15)
        check_whole(again, model)
        assert items_like(again, model, "?!") == {(NS, "marks")}
        # And what fails now and then, without a change of the model: the others are left alone.
        broken = having(memory, Model(calls=0))
        await call(broken.store.put, NS, "late", {"text": "late"}, index=["text"])
        await call(broken.history("s").add_messages, [HumanMessage("late")])
        model.asked.clear()
        assert await call(again.reindex) == Reindexed(1, 1)
        assert set(model.texts) <= {"late"}
        assert items_like(again, model, "late") == {(NS, "late")}
        await call(memory.close)


async def test_what_was_stored_without_embeddings_gets_vectors(url, call):
    with AgentMemory.from_url(url) as memory:
        await fill(memory, call)
        model = Model()
        assert await call(having(memory, model).reindex) == WHOLE
        check_whole(memory, model)
        await call(memory.close)


async def test_the_fields_of_each_item_are_those_of_its_last_put(url, call):
    value = {"title": "pizza", "body": {"text": "tea"}, "notes": ["one", "two"]}

    def put(key: str, index: Any) -> PutOp:
        return PutOp(NS, key, {**value, "title": f"{key} pizza"}, index=index)

    index: Any = {"fields": ["title"]}
    with AgentMemory.from_url(url, embeddings=Model(), index=index) as memory:
        store = memory.store
        await call(store.batch, [put("default", None), put("body", ["body.text"]), put("notes", ["notes[*]"])])
        await call(store.batch, [put("unsearched", False), put("nothing", ["missing"])])
        for key in ("put", "updated", "batched", "moved", "hidden"):
            await call(store.put, NS, key, {**value, "title": f"{key} pizza"}, ["body.text"])
        await call(store.put, NS, "put", {**value, "title": "put pizza"})
        await call(store.update, NS, "updated", lambda given: given)
        await call(store.batch, [put("batched", None)])
        await call(store.delete, NS, "moved")
        await call(store.put, NS, "moved", {**value, "title": "moved pizza"})
        await call(store.put, NS, "hidden", {**value, "title": "hidden pizza"}, False)
        await call(store.put, NS, "again", {**value, "title": "again pizza"})
        await call(store.update, NS, "again", lambda given: given, index=["body.text"])
        await call(
            store.update_many,
            [(NS, "hidden again"), (NS, "unsearched")],
            lambda values: (
                values
                | {
                    (NS, "hidden again"): {"title": "hidden pizza"},
                    (NS, "unsearched"): {"title": "hidden pizza"},
                }
            ),
            index={NS: False},
        )
        await call(store.update_many, [(NS, "hidden again"), (NS, "notes")], lambda values: values)
        await call(store.update, NS, "unsearched", lambda given: given)
        model = Model("new", 24)
        changed = having(memory, model, index=index)
        assert await call(changed.reindex) == Reindexed(items=8)
        assert items_like(changed, model, "tea") == {(NS, "body"), (NS, "again"), (NS, "updated")}
        assert items_like(changed, model, "one") == items_like(changed, model, "two") == {(NS, "notes")}
        for key in ("default", "put", "batched", "moved"):
            assert items_like(changed, model, f"{key} pizza") == {(NS, key)}
        assert sorted(model.texts) == sorted(
            {"tea", "one", "two", *(f"{key} pizza" for key in ("default", "put", "batched", "moved"))}
        )
        found = {item.key for item in await call(changed.store.search, NS, query="pizza", limit=50)}
        assert found == {"default", "put", "batched", "moved", "body", "notes", "again", "updated"}
        await call(memory.close)


async def test_everything_can_be_embedded_anew_with_the_same_model(url, call):
    with AgentMemory.from_url(url, embeddings=Model()) as memory:
        await fill(memory, call)
        assert await call(memory.reindex) == Reindexed()
        model = Model()
        changed = having(memory, model)
        model.calls = 3
        with pytest.raises(EmbeddingError):
            await call(changed.reindex, everything=True, batch_size=4)
        model.calls = None
        rest = await call(changed.reindex, everything=True, batch_size=4)
        assert rest.items + rest.messages == 28 - 8
        check_whole(changed, model)
        await call(memory.close)


async def test_a_model_that_answers_otherwise_is_asked_anew(url, call):
    model = Model()
    with AgentMemory.from_url(url, embeddings=model) as memory:
        await fill(memory, call)
        model.salt = "since yesterday"
        assert await call(memory.reindex) == Reindexed()
        assert await call(memory.reindex, everything=True) == WHOLE
        check_whole(memory, model)
        await call(memory.close)


BROKEN = {"none": None, "empty": [], "nan": [float("nan")] * 16, "shorter": [1.0]}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
async def test_what_is_no_vector_is_never_stored(url, call, broken):
    model = Model()
    right, wrong = model.embed_documents, lambda texts: [broken for _ in texts]
    with AgentMemory.from_url(url, embeddings=model) as memory:
        if broken == [1.0]:  # which alone is as good as any other
            await call(memory.store.put, NS, "first", {"text": "a fact"}, ["text"])
        model.embed_documents = wrong  # type: ignore[method-assign]
        with pytest.raises(InvalidVectorsError, match="'Model:old' must return"):
            await call(memory.store.put, NS, "k", {"text": "another fact"}, ["text"])
        with pytest.raises(InvalidVectorsError, match="'Model:old' must return"):
            await call(memory.history("s").add_messages, [HumanMessage("another fact")])
        assert message_vectors(memory, None) == {}
        assert await call(memory.store.get, NS, "k") is None
        model.embed_documents = right  # type: ignore[method-assign]
        await call(memory.store.put, NS, "l", {"text": "another fact"}, ["text"])
        assert items_like(memory, model, "another fact") == {(NS, "l")}
        assert await call(memory.reindex) == Reindexed()
        await call(memory.close)


async def test_histories_that_are_not_embedded_keep_no_vectors_of_the_former_model(url, call):
    with AgentMemory.from_url(url, embeddings=Model()) as memory:
        await fill(memory, call)
        model = Model("new")
        changed = having(memory, model, embed_history=False)
        assert await call(changed.reindex) == Reindexed(items=13)
        assert set(message_vectors(changed, "alice").values()) == {None}
        assert await call(having(memory, model).reindex) == Reindexed(messages=15)
        check_whole(changed, model)
        await call(memory.close)


async def test_vectors_from_before_there_were_fingerprints_are_made_anew(url, call):
    with AgentMemory.from_url(url, embeddings=Model()) as memory:
        await fill(memory, call)
        await asyncio.to_thread(memory.backend.write, Notes(memory.backend, "default", "embeddings").clear(time.time()))
        model = Model("new", 24)
        assert await call(having(memory, model).reindex) == WHOLE
        check_whole(memory, model)
        await call(memory.close)


async def test_what_has_expired_is_not_embedded_and_what_will_expire_does(url, call, monkeypatch):
    start = time.time()
    monkeypatch.setattr(time, "time", lambda: start)
    with AgentMemory.from_url(url, embeddings=Model()) as memory:
        for minutes in (1, 1000):
            await call(memory.store.put, NS, str(minutes), {"text": f"fact {minutes}"}, ["text"], ttl=minutes)
            retention = Retention(ttl=60 * minutes)
            history = memory.history(str(minutes), retention=retention)
            await call(history.add_messages, [HumanMessage(f"fact {minutes}")])
        monkeypatch.setattr(time, "time", lambda: start + 61)
        model = Model("new", 24)
        changed = having(memory, model)
        assert await call(changed.reindex) == Reindexed(1, 1)
        assert items_like(changed, model, "fact 1000") == {(NS, "1000")}
        assert message_vectors(changed, None) == {("1000", 0): unit(model.embed_query("fact 1000"))}
        await call(memory.close)


async def test_another_model_that_begins_meanwhile_stops_this_one(url, call):
    with AgentMemory.from_url(url, embeddings=Model()) as memory:
        await fill(memory, call)
        model, third = Model("new"), Model("third", calls=2)
        changed = having(memory, model)

        def begin(texts: list[str]) -> None:
            if "fact 1" in texts:
                with pytest.raises(EmbeddingError):
                    having(memory, third).reindex(batch_size=5)

        model.meanwhile = begin
        with pytest.raises(EmbeddingsChangedError, match="third"):
            await call(changed.reindex)
        third.calls = None
        assert await call(having(memory, third).reindex, batch_size=5) == Reindexed(8, 15)
        check_whole(memory, third)
        await call(memory.close)


async def test_progress_is_reported_and_shown(memory, call, capsys):
    model = Model()
    await fill(memory, call)
    embedding = having(memory, model)
    reports: list[Reindexed] = []
    assert await call(embedding.reindex, batch_size=5, progress=reports.append) == WHOLE
    assert [one.items + one.messages for one in reports] == [5, 10, 13, 18, 23, 28]
    await call(embedding.reindex, everything=True, progress=True)
    assert re.search(r"Embedded 13 items, 15 messages", capsys.readouterr().out)
    assert "<td>13</td><td>15</td>" in WHOLE._repr_html_()


async def test_progress_may_be_a_coroutine_function(memory):
    await memory.store.aput(NS, "k", {"text": "a fact"})
    reports: list[Reindexed] = []

    async def report(done: Reindexed) -> None:
        reports.append(done)

    await having(memory, Model()).areindex(progress=report)
    assert reports == [Reindexed(1, 0)]


async def test_what_makes_no_sense_is_refused(memory, call):
    with pytest.raises(InvalidInputError, match="batch_size"):
        await call(having(memory, Model()).reindex, batch_size=0)
    await call(memory.store.put, NS, "k", {"text": "a fact"})
    for progress in ("yes", None, 1):
        model = Model()
        with pytest.raises(InvalidTypeError, match="progress"):
            await call(having(memory, model).reindex, progress=progress)
        assert model.asked == []
    for nonsense in (5, object(), Model):
        with pytest.raises(InvalidTypeError, match="embeddings must be"):
            AgentMemory(memory.backend, embeddings=nonsense)
