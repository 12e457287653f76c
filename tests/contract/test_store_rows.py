"""No search loses rows: as many come back as were asked for, whenever there are as many."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings
from langgraph.store.base import PutOp

from langchain_agentmem import AgentMemory
from langchain_agentmem.backends.postgres import store as postgres
from langchain_agentmem.backends.redis import store as redis

NAMESPACES, ITEMS = 8, 60


class Topics(Embeddings):
    """A text's vector lies near that of its first word, so that a namespace with one topic has all of the best, or none."""

    def embed_query(self, text: str) -> list[float]:
        parts = (text.split(maxsplit=1)[0], text)
        near, own = (np.random.default_rng(zlib.crc32(part.encode())).normal(size=24) for part in parts)
        return (near + 0.3 * own).tolist()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


@pytest.mark.parametrize("embeddings", [None, Topics()], ids=["words", "vectors"])
@pytest.mark.filterwarnings("ignore:A search below:RuntimeWarning")
async def test_as_many_rows_come_back_as_there_are(url, call, monkeypatch, embeddings):
    # Postgres asks its indexes, Redis reads in parts.
    monkeypatch.setattr(postgres, "EXACT_ITEMS", 20)
    monkeypatch.setattr(redis, "SEARCHED_AT_ONCE", 150)
    index: Any = None if embeddings is None else {"fields": ["text"], "dims": 24}
    with AgentMemory.from_url(url, embeddings=embeddings, index=index) as memory:
        for namespace in range(NAMESPACES):
            ops = [
                PutOp(
                    ("n", str(namespace)), str(n), {"text": f"topic{namespace} fact {n}", "rare": n % 3 == 0}, ["text"]
                )
                for n in range(ITEMS)
            ]
            await call(memory.store.batch, ops)
        for place in (("n", "0"), ("n", "7"), ("n",)):
            for query in ("topic3 fact 5", "fact"):
                for limit, condition in ((10, None), (20, {"rare": True}), (50, None), (ITEMS, None)):
                    found = await call(memory.store.search, place, query=query, limit=limit, filter=condition)
                    assert len({(item.namespace, item.key) for item in found}) == len(found) == limit
                    assert all(item.namespace[: len(place)] == place for item in found)
                    assert condition is None or all(item.value["rare"] for item in found)
                    assert [item.score for item in found] == sorted((item.score for item in found), reverse=True)
        await call(memory.close)
