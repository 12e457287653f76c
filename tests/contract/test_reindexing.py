"""`memory.reindex()` makes all vectors again, on every backend."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from typing import Any

import pytest
from embedding_models import NS, Model, having, message_vectors
from langchain_core.messages import HumanMessage
from langgraph.store.base import PutOp
from reindexed_memories import check_whole, fill, items_like

from langchain_agentmem import (
    AgentMemory,
    EmbeddingError,
    EmbeddingsChangedError,
    InvalidInputError,
    InvalidTypeError,
    InvalidVectorsError,
    Reindexed,
    Retention,
)
from langchain_agentmem.backends.notes import Notes
from langchain_agentmem.lifecycle import reindexing
from langchain_agentmem.search import fingerprint as indexing
from langchain_agentmem.text.vectors import unit


@pytest.fixture(autouse=True)
def short_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test wait longer than it must."""
    for module in (indexing, reindexing):
        monkeypatch.setattr(module, "GRACE_SECONDS", 0.02)


WHOLE = Reindexed(items=13, messages=15)


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
