"""`memory.reindex()` analyses the words of stored texts again, on every backend."""

from __future__ import annotations

import time
from typing import Any

from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.messages import HumanMessage

from langchain_agentmem import AgentMemory, Reindexed
from langchain_agentmem.text.words import pack_words

NS = ("facts",)


def replace_words(memory: AgentMemory, word: str) -> None:
    """Replace all words in the indexes by one, as if an earlier release had analysed them in another way."""
    backend, tenant, now = memory.backend, memory.tenant, time.time()
    items, _ = backend.read(backend.items.unembedded(tenant, None, None, 1000, now))
    backend.write(backend.items.set_words(tenant, [(row, word) for row, _ in items]))
    messages, _ = backend.read(backend.messages.unembedded(tenant, None, None, 1000, now))
    changed = [(key, row._replace(words=pack_words([word]))) for key, row in messages]
    backend.write(backend.messages.set_words(tenant, [type(messages[0])(*one) for one in changed]))


async def keys(memory: AgentMemory, call: Any, query: str) -> set[str]:
    found = {item.key for item in await call(memory.store.search, NS, query=query)}
    return found | {one.session_id for one in await call(memory.search_history, query, user_id="alice")}


async def test_words_of_an_earlier_release_are_analysed_again(memory, call):
    put = memory.store.put
    await call(put, NS, "whole", {"text": "서울에서 살아요", "tag": "Straße"})
    await call(put, NS, "part", {"text": "हिन्दी", "tag": "Straße"}, ["text"])
    await call(put, NS, "hidden", {"text": "서울 हिन्दी Straße"}, False)
    for number in range(5):
        await call(memory.history(f"s{number}", user_id="alice").add_messages, [HumanMessage(f"서울은 {number}")])
    expected = {"서울": {"whole", *(f"s{number}" for number in range(5))}, "हिन्दी": {"part"}, "strasse": {"whole"}}
    replace_words(memory, "former")
    assert await keys(memory, call, "서울") == await keys(memory, call, "strasse") == set()
    assert await keys(memory, call, "former") == {"whole", "part", *(f"s{number}" for number in range(5))}
    assert await call(memory.reindex, batch_size=2) == Reindexed()
    for query, found in expected.items():
        assert await keys(memory, call, query) == found
    assert await keys(memory, call, "former") == set()
    # The words have the version of this release now, so the next call leaves them unchanged.
    replace_words(memory, "former")
    await call(memory.reindex)
    assert await keys(memory, call, "서울") == set()
    await call(memory.reindex, everything=True)
    assert await keys(memory, call, "서울") == expected["서울"]


async def test_vectors_stay_with_words_that_are_analysed_again(memory, call):
    embedded = AgentMemory(memory.backend, embeddings=DeterministicFakeEmbedding(size=8))
    await call(embedded.store.put, NS, "k", {"text": "서울에서"})
    await call(embedded.history("s", user_id="alice").add_messages, [HumanMessage("서울에서")])
    replace_words(memory, "former")
    assert await call(embedded.reindex) == Reindexed()
    assert await keys(memory, call, "서울") == {"k", "s"}
    backend, now = memory.backend, time.time()
    assert backend.read(backend.items.unembedded(memory.tenant, 8, None, 10, now))[0] == []
    assert backend.read(backend.messages.unembedded(memory.tenant, 8, None, 10, now))[0] == []


async def test_words_of_an_item_that_was_changed_since_it_was_read_stay(memory, call):
    backend = memory.backend
    await call(memory.store.put, NS, "k", {"text": "former"})
    await call(memory.store.put, NS, "deleted", {"text": "former"})
    read, _ = backend.read(backend.items.unembedded(memory.tenant, None, None, 10, time.time()))
    await call(memory.store.put, NS, "k", {"text": "newer"})
    await call(memory.store.delete, NS, "deleted")
    backend.write(backend.items.set_words(memory.tenant, [(row, "stale") for row, _ in read]))
    assert await keys(memory, call, "stale") == set()
    assert await keys(memory, call, "newer") == {"k"}
