"""Vectors on Postgres: kinds of index, and searches that lose no rows."""

from __future__ import annotations

import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import psycopg
import pytest
from database import database
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langgraph.store.base import PutOp

from langchain_agentmem import AgentMemory, AgentMemStore, ConfigurationError
from langchain_agentmem.backends.postgres import migrating
from langchain_agentmem.backends.postgres import store as items

SIZE = 32


class Noise(Embeddings):
    """A vector of its own for every text."""

    def embed_query(self, text: str) -> list[float]:
        return np.random.default_rng(zlib.crc32(text.encode())).normal(size=SIZE).tolist()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


def store_at(url: str, **settings: Any) -> AgentMemStore:
    index: Any = {"dims": SIZE, "embed": Noise(), "fields": ["text"], "ann_index_config": settings}
    return AgentMemStore.from_url(url, index=index)


KINDS: list[dict[str, Any]] = [
    {},
    {"kind": "hnsw", "vector_type": "halfvec", "m": 8, "ef_construction": 32},
    {"kind": "ivfflat", "nlist": 4},
    {"kind": "ivfflat", "vector_type": "halfvec"},
    {"kind": "flat"},
]


@pytest.mark.parametrize("settings", KINDS, ids=lambda settings: "-".join(map(str, settings.values())) or "default")
async def test_neither_a_namespace_nor_a_filter_makes_a_search_lose_rows(postgres_url, call, monkeypatch, settings):
    """Also where only the indexes are asked: a namespace of 60 of 600 items counts as a large one here."""
    monkeypatch.setattr(items, "EXACT_ITEMS", 20)
    monkeypatch.setattr(items, "MOST_KEPT", 20)
    store = store_at(postgres_url, **settings)
    for namespace in range(10):
        ops = [
            PutOp(("n", str(namespace)), str(n), {"text": f"text {namespace} {n}", "rare": n % 20 == 0})
            for n in range(60)
        ]
        await call(store.batch, ops)
    with database(postgres_url) as opened:
        opened.execute("ANALYZE")
    for namespace in range(10):
        place = ("n", str(namespace))
        found = await call(store.search, place, query=f"text {namespace} 7", limit=40)
        assert len({item.key for item in found}) == 40
        assert found[0].key == "7"
        assert [item.score for item in found] == sorted((item.score for item in found), reverse=True)
        rare = await call(store.search, place, query="something else", filter={"rare": True}, limit=10)
        assert {item.key for item in rare} == {"0", "20", "40"}
    everything = await call(store.search, ("n",), query="something else", limit=1_000)
    assert len({(item.namespace, item.key) for item in everything}) == 600
    pages = [await call(store.search, ("n",), query="something else", limit=70, offset=at) for at in range(0, 700, 70)]
    assert len({(item.namespace, item.key) for page in pages for item in page}) == 600
    await call(store.close)


@pytest.mark.parametrize("type_", ["vector", "halfvec"])
def test_the_best_by_vector_are_those_of_an_exact_comparison(postgres_url, monkeypatch, type_):
    monkeypatch.setattr(items, "EXACT_ITEMS", 20)
    monkeypatch.setattr(items, "MOST_KEPT", 20)
    store = store_at(postgres_url, vector_type=type_)
    texts = [f"text {n}" for n in range(400)]
    store.batch([PutOp(("n",), text, {"text": text}) for text in texts])
    matrix = np.array(Noise().embed_documents(texts))
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    found = 0
    for number in range(20):
        wanted = np.array(Noise().embed_query(f"zz{number}"))
        exact = {texts[at] for at in np.argsort(-(matrix @ wanted))[:10]}
        found += len(exact & {item.key for item in store.search(("n",), query=f"zz{number}", limit=10)})
    assert found >= 0.99 * 200
    store.close()


def test_many_may_store_the_first_vector_at_once(postgres_url):
    store = store_at(postgres_url)

    def put(number: int) -> None:
        store.put(("n",), str(number), {"text": f"text {number}"})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(8)))
    assert {item.key for item in store.search(("n",), query="text 3")} == set("01234567")
    with database(postgres_url) as opened:
        assert opened.execute("SELECT count(*) FROM store_vectors") == [(8,)]
    store.close()


def test_a_vector_that_is_too_long_for_an_index_is_stored_without_one(postgres_url):
    class Long(Noise):
        def embed_query(self, text: str) -> list[float]:
            return super().embed_query(text) * 157  # 5,024 dimensions

    index: Any = {"dims": 5024, "embed": Long(), "fields": ["text"]}
    store = AgentMemStore.from_url(postgres_url, index=index)
    store.put(("n",), "k", {"text": "a"})
    assert store.search(("n",), query="b")[0].key == "k"
    store.close()


@pytest.mark.parametrize(
    "settings",
    [{"kind": "tree"}, {"vector_type": "bit"}, {"m": 0}, {"kind": "flat", "m": 4}, {"m": "1); DROP TABLE store"}],
)
def test_settings_that_are_not_known_are_refused(postgres_url, settings):
    with pytest.raises(ConfigurationError):
        store_at(postgres_url, **settings)


@pytest.mark.parametrize("home", [None, "public", "some_extensions"])
def test_the_extension_may_be_anywhere_and_outlives_a_schema(postgres_database, home):
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        if home is not None:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {home}")
            connection.execute(f"CREATE EXTENSION vector SCHEMA {home}")
        stores = [store_at(f"{postgres_database}?schema={name}") for name in ("one", "two")]
        for store in stores:
            store.put(("n",), "k", {"text": "a"})
            assert store.search(("n",), query="b")[0].key == "k"
        stores[0].close()
        connection.execute("DROP SCHEMA one CASCADE")
        stores[1].put(("n",), "l", {"text": "b"})
        assert {item.key for item in stores[1].search(("n",), query="b")} == {"k", "l"}
        stores[1].close()


async def test_vectors_are_stored_after_older_tables_were_brought_up_to_date(postgres_url, call, monkeypatch):
    with database(postgres_url) as opened:
        opened.execute(f'DROP SCHEMA IF EXISTS "{opened.schema}" CASCADE')
    with monkeypatch.context() as patched, AgentMemory.from_url(postgres_url) as memory:
        patched.setattr(migrating, "VERSION", 3)
        assert memory.history("s").count() == 0
    with database(postgres_url) as opened:
        opened.execute("SELECT agentmem_make_vectors(4, 'vector', 'hnsw', '')")
        home = opened.execute("SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'vector'")[0][
            0
        ]
    with AgentMemory.from_url(postgres_url, embeddings=DeterministicFakeEmbedding(size=4)) as memory:
        await call(memory.store.put, ("a",), "k", {"text": "pizza"})
        assert [item.key for item in await call(memory.store.search, ("a",), query="something else")] == ["k"]
        await call(memory.close)
    with database(postgres_url) as opened:
        ((settings,),) = opened.execute(
            "SELECT setting FROM pg_proc CROSS JOIN unnest(proconfig) AS setting "
            "WHERE oid = 'agentmem_put_items'::regproc AND setting ~ '^search_path='"
        )
    assert home in settings
