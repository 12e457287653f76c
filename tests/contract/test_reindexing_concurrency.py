"""Writers that run while `memory.reindex()` makes the vectors again, on every backend."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from embedding_models import NS, Model, having, message_vectors
from langchain_core.messages import AIMessage, HumanMessage
from patience import PATIENCE
from reindexed_memories import check_whole, fill, items_like

from langchain_agentmem import (
    AgentMemory,
    EmbeddingError,
    EmbeddingsChangedError,
    Reindexed,
)
from langchain_agentmem.lifecycle import reindexing
from langchain_agentmem.programs import run
from langchain_agentmem.search import fingerprint as indexing
from langchain_agentmem.search.fingerprint import CLEARING, Fingerprint
from langchain_agentmem.text.vectors import unit


@pytest.fixture(autouse=True)
def short_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test wait longer than it must."""
    for module in (indexing, reindexing):
        monkeypatch.setattr(module, "GRACE_SECONDS", 0.02)


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
