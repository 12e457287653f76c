"""What a search in the store says of each item, and thresholds."""

from __future__ import annotations

import pytest
from langchain_core.embeddings import Embeddings

from langchain_agentmem import AgentMemory, ConfigurationError, FoundItem, InvalidInputError, InvalidTypeError


class Pets(Embeddings):
    """One dimension for dogs, one for cats, one for all texts."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[float("dog" in text or "puppy" in text), float("cat" in text), 0.1] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


async def test_an_item_says_how_similar_it_is_and_what_matched(url, call):
    with AgentMemory.from_url(url, embeddings=Pets()) as memory:
        store = memory.store
        await call(store.put, ("pets",), "dog", {"text": "My dog sleeps"})
        await call(store.put, ("pets",), "cat", {"text": "A cat"})
        found = await call(store.search, ("pets",), query="Does a puppy sleep?")
        assert isinstance(found[0], FoundItem)
        assert (found[0].key, found[0].matched) == ("dog", ["sleep"])
        assert found[0].similarity == pytest.approx(1.0, abs=1e-5)
        assert found[1].similarity == pytest.approx(0.0099, abs=1e-3)
        assert found[1].matched == []
        least = await call(store.search, ("pets",), query="A puppy?", min_similarity=0.8)
        assert [item.key for item in least] == ["dog"]
        assert await call(store.search, ("pets",), query="Trains sleep", min_similarity=0.8) == []
        await call(memory.close)


async def test_without_a_query_or_vectors_an_item_has_no_similarity(memory, call):
    await call(memory.store.put, ("pets",), "dog", {"text": "My dog sleeps"})
    (found,) = await call(memory.store.search, ("pets",), query="dogs")
    assert (found.similarity, found.matched) == (None, ["dogs"])
    (found,) = await call(memory.store.search, ("pets",))
    assert (found.score, found.similarity, found.matched) == (None, None, [])


@pytest.mark.parametrize("prefix", [("pets",), ()])
def test_an_item_with_the_id_of_a_deleted_one_is_not_found_in_its_place(url, monkeypatch, prefix):
    with AgentMemory.from_url(url) as memory, AgentMemory.from_url(url, tenant="other") as other:
        memory.store.put(("pets",), "cat", {"text": "A cat"})
        memory.store.put(("pets",), "dog", {"text": "My dog sleeps"})
        table = type(memory.backend.items)
        rows = table.rows

        def replaced(*arguments):
            memory.store.delete(("pets",), "dog")
            other.store.put(("pets",), "dog", {"text": "secret"})
            other.store.put(("pets",), "owl", {"text": "secret"})
            return rows(*arguments)

        monkeypatch.setattr(table, "rows", replaced)
        assert memory.store.search(prefix, query="dogs") == []


async def test_a_recall_says_how_similar_items_are_and_leaves_out_others(url, call):
    with AgentMemory.from_url(url, embeddings=Pets()) as memory:
        await call(memory.profiles.add_fact, "alice", "Has a dog")
        await call(memory.memories.save, "alice", "Likes a cat")
        memory.history("s", user_id="alice").add_user_message("My dog sleeps")
        memory.entities.upsert("alice", "dog", "pet")
        found = await call(memory.recall, "A puppy", user_id="alice")
        assert {item.kind for item in found.items} == {"fact", "memory", "turn", "entity"}
        assert all(item.similarity is not None for item in found.items)
        similar = await call(memory.recall, "A puppy", user_id="alice", min_similarity=0.9)
        assert {item.kind for item in similar.items} == {"fact", "turn", "entity"}
        assert not await call(memory.recall, "A train", user_id="alice", min_similarity=0.9)
        documents = memory.as_retriever(user_id="alice", min_similarity=0.9).invoke("A puppy")
        assert len(documents) == 3
        assert all(document.metadata["similarity"] >= 0.9 for document in documents)
        await call(memory.close)


async def test_a_least_similarity_is_checked(memory, call):
    for least, error in ((0.5, ConfigurationError), (2, InvalidInputError), ("high", InvalidTypeError)):
        with pytest.raises(error, match="min_similarity"):
            await call(memory.store.search, ("pets",), query="dog", min_similarity=least)
        with pytest.raises(error, match="min_similarity"):
            await call(memory.recall, "dog", user_id="alice", min_similarity=least)
        with pytest.raises(error, match="min_similarity"):
            memory.as_retriever(user_id="alice", min_similarity=least)
