"""Making vectors anew on Postgres, where all in one table have as many dimensions."""

from __future__ import annotations

import asyncio
import time
import zlib
from typing import Any

import numpy as np
import pytest
from database import database
from langchain_core.embeddings import Embeddings
from langchain_core.messages import HumanMessage
from langgraph.store.base import PutOp

from langchain_agentmem import AgentMemory, ConfigurationError, Reindexed, StorageError
from langchain_agentmem.backends.notes import Notes

NS = ("facts",)


class Noise(Embeddings):
    """A vector of its own for every text."""

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions

    def embed_query(self, text: str) -> list[float]:
        return np.random.default_rng(zlib.crc32(text.encode())).normal(size=self.dimensions).tolist()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


def column(url: str) -> tuple[str, list[str]]:
    """The type of the vectors, and how they are indexed."""
    with database(url) as opened:
        ((type_,),) = opened.execute(
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'store_vectors'::regclass "
            "AND attname = 'embedding'"
        )
        kinds = opened.execute("SELECT indexdef FROM pg_indexes WHERE indexname = 'store_vectors_embedding_idx'")
    return type_.rpartition(".")[2], [definition.partition("USING ")[2].partition(" ")[0] for (definition,) in kinds]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (16, 24, ("vector(24)", ["hnsw"])),
        (16, 2500, ("halfvec(2500)", ["hnsw"])),
        (2500, 16, ("vector(16)", ["hnsw"])),
        (16, 4500, ("halfvec(4500)", [])),
    ],
)
async def test_the_table_of_vectors_takes_the_new_dimensions(postgres_url, call, before, after, expected):
    with AgentMemory.from_url(postgres_url, embeddings=Noise(before)) as memory:
        await call(memory.store.batch, [PutOp(NS, str(n), {"text": f"fact {n}"}, ["text"]) for n in range(30)])
        changed = AgentMemory(memory.backend, embeddings=Noise(after))
        assert await call(changed.reindex, batch_size=20) == Reindexed(items=30)
        assert column(postgres_url) == expected
        await call(changed.store.put, NS, "new", {"text": "fact 30"}, ["text"])
        assert (await call(changed.store.search, NS, query="fact 3", limit=1))[0].key == "3"
        await call(memory.close)


async def test_vectors_of_other_tenants_are_not_lost(postgres_url, call):
    with AgentMemory.from_url(postgres_url, embeddings=Noise(16)) as memory:
        backend = memory.backend
        other = AgentMemory(backend, embeddings=Noise(16), tenant="other")
        for one in (memory, other):
            await call(one.store.put, NS, "k", {"text": "a fact"}, ["text"])
        changed = AgentMemory(backend, embeddings=Noise(24))
        with pytest.raises(ConfigurationError, match=r"16 dimensions for other tenants.*TRUNCATE store_vectors"):
            await call(changed.reindex)
        # Nothing was changed: both go on as before.
        for one in (memory, other):
            (found,) = await call(one.store.search, NS, query="a fact")
            assert found.similarity == pytest.approx(1.0, abs=1e-5)
            await call(one.store.put, NS, "k", {"text": "a fact"}, ["text"])
        with database(postgres_url) as opened:
            opened.execute("TRUNCATE store_vectors")
        changed_other = AgentMemory(backend, embeddings=Noise(24), tenant="other")
        for one in (changed, changed_other):
            assert await call(one.reindex) == Reindexed(items=1)
        assert column(postgres_url)[0] == "vector(24)"
        for one in (changed, changed_other):
            assert [item.key for item in await call(one.store.search, NS, query="something")] == ["k"]
        await call(memory.close)


async def test_a_table_of_other_dimensions_is_noticed_before_a_model_is_written_down(postgres_url, call):
    with AgentMemory.from_url(postgres_url, embeddings=Noise(16)) as memory:
        await call(memory.store.put, NS, "k", {"text": "a fact"}, ["text"])
        # As LangGraph's own store leaves it, which writes down no model.
        notes = Notes(memory.backend, "default", "embeddings")
        await asyncio.to_thread(memory.backend.write, notes.clear(time.time()))
        changed = AgentMemory(memory.backend, embeddings=Noise(24))
        for _ in range(2):
            with pytest.raises(
                ConfigurationError, match=r"vectors of 16 dimensions.*vectors of 24.*memory\.reindex\(\)"
            ):
                await call(changed.store.put, NS, "l", {"text": "another fact"}, ["text"])
        await call(changed.history("s").add_messages, [HumanMessage("hello")])
        assert await call(changed.reindex) == Reindexed(items=1, messages=1)
        await call(changed.store.put, NS, "l", {"text": "another fact"}, ["text"])
        assert column(postgres_url)[0] == "vector(24)"
        assert (await call(changed.store.search, NS, query="another fact"))[0].key == "l"
        await call(memory.close)


async def test_a_table_that_another_tenant_made_meanwhile_is_named_by_errors_and_made_anew(postgres_url, call):
    with AgentMemory.from_url(postgres_url, embeddings=Noise(24)) as memory:
        await call(memory.history("s").add_messages, [HumanMessage("hello")])  # of which the table knows nothing
        other = AgentMemory(memory.backend, embeddings=Noise(16), tenant="other")
        await call(other.store.put, NS, "theirs", {"text": "a fact"}, ["text"])
        with pytest.raises(StorageError, match=r"memory\.reindex\(\)"):
            await call(memory.store.put, NS, "k", {"text": "a fact"}, ["text"])
        with pytest.raises(ConfigurationError, match=r"16 dimensions for other tenants"):
            await call(memory.reindex)
        await call(other.store.delete, NS, "theirs")
        assert await call(memory.reindex) == Reindexed(messages=1)
        await call(memory.store.put, NS, "k", {"text": "a fact"}, ["text"])
        assert column(postgres_url)[0] == "vector(24)"
        await call(memory.close)


async def test_more_dimensions_than_there_can_be_are_refused_before_anything_is_deleted(postgres_url, call):
    with AgentMemory.from_url(postgres_url, embeddings=Noise(16)) as memory:
        await call(memory.store.put, NS, "k", {"text": "a fact"}, ["text"])
        changed = AgentMemory(memory.backend, embeddings=Noise(16_001))
        with pytest.raises(ConfigurationError, match=r"16001 dimensions.*at most 16000"):
            await call(changed.reindex)
        (found,) = await call(memory.store.search, NS, query="a fact")
        assert found.similarity == pytest.approx(1.0, abs=1e-5)
        fresh = AgentMemory(memory.backend, embeddings=Noise(16_001), tenant="fresh")
        with pytest.raises(ConfigurationError, match="16001 dimensions"):
            await call(fresh.store.put, NS, "k", {"text": "a fact"}, ["text"])
        await call(memory.close)


def test_paths_of_an_item_that_langgraphs_own_store_changed_do_not_count(postgres_url):
    model: Any = Noise(16)
    with AgentMemory.from_url(postgres_url, embeddings=model, index={"fields": ["title"], "dims": 16}) as memory:
        memory.store.put(NS, "k", {"title": "pizza", "text": "tea"}, index=["text"])
        with database(postgres_url) as opened:
            opened.execute(
                'UPDATE store SET value = \'{"title": "cake", "text": "milk"}\', updated_at = now() WHERE key = \'k\''
            )
        assert memory.reindex(everything=True) == Reindexed(items=1)
        with database(postgres_url) as opened:
            ((stored,),) = opened.execute("SELECT embedding::text FROM store_vectors")
        expected = np.array(model.embed_query("cake"))
        assert np.allclose(np.fromstring(stored.strip("[]"), sep=","), expected / np.linalg.norm(expected), atol=1e-5)
