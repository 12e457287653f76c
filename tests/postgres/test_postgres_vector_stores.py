"""A collection of `langchain_postgres` as shared knowledge: the real `PGVectorStore`, in the same database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_postgres import PGEngine, PGVectorStore
from profiles import ALICE, config
from sqlalchemy.ext.asyncio import create_async_engine

from langchain_agentmem import AgentMemory, KnowledgeSource
from langchain_agentmem.testing import ScriptedChatModel

pytestmark = pytest.mark.filterwarnings("ignore::langchain_agentmem.ExistingDataWarning")  # it names the collection

SIZE = 64
EMBEDDINGS = DeterministicFakeEmbedding(size=SIZE)
REFUNDS = "Refunds take five days."
TEXTS = [REFUNDS, "We ship to Malta.", "Never promise a date."]
IDS = [f"00000000-0000-4000-8000-00000000000{number}" for number in range(3)]


def sqlalchemy_url(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


@pytest.fixture
async def collection(postgres_database: str) -> AsyncIterator[PGVectorStore]:
    """A collection that an application has already."""
    engine = PGEngine.from_connection_string(sqlalchemy_url(postgres_database))
    await engine.ainit_vectorstore_table("handbook", SIZE)
    store = await PGVectorStore.create(engine, EMBEDDINGS, "handbook")
    await store.aadd_texts(TEXTS, metadatas=[{"page": at} for at in range(3)], ids=IDS)
    yield store
    await engine.close()


@pytest.fixture
def memory(postgres_database: str) -> Any:
    with AgentMemory.from_url(postgres_database) as opened:
        yield opened


async def test_recall_searches_the_collection_and_the_memory_beside_it(memory, collection, call):
    await call(memory.knowledge.add, "guidelines", ["A refund is paid in euros."])
    await call(memory.profiles.add_fact, ALICE, "Waits for a refund")
    handbook = KnowledgeSource(collection, "handbook")
    found = await call(memory.recall, REFUNDS, user_id=ALICE, knowledge=["guidelines", handbook])
    assert {one.text for one in found} == {*TEXTS, "A refund is paid in euros.", "Waits for a refund"}
    (best,) = (one for one in found if one.text == REFUNDS)
    assert best.source == {"collection": "handbook", "key": IDS[0]}
    assert best.metadata["page"] == 0
    assert best == found[0]
    assert best.score == pytest.approx(1, abs=1e-3)


async def test_the_scores_are_those_of_the_collection(memory, collection, call):
    found = await call(memory.recall, "zzz", user_id=ALICE, knowledge=[collection], k=2)
    given = await collection.asimilarity_search_with_score("zzz", k=2)
    assert [one.text for one in found] == [document.page_content for document, _ in given]
    assert [one.score for one in found] == pytest.approx([max(0, 1 - distance) for _, distance in given])


async def test_a_retriever_of_the_collection_keeps_its_own_filter(memory, collection, call):
    retriever = collection.as_retriever(search_kwargs={"k": 3, "filter": {"page": {"$gte": 1}}})
    found = await call(memory.recall, REFUNDS, user_id=ALICE, knowledge=[retriever])
    assert {one.text for one in found} == set(TEXTS[1:])


async def test_tools_and_middleware_search_the_collection(memory, collection, call):
    handbook = KnowledgeSource(collection, "handbook")
    (tool,) = memory.tools(include=[], k=1, knowledge=[handbook])
    assert f'{{"text": "{REFUNDS}", "collection": "handbook"' in await call(tool.invoke, {"query": REFUNDS})
    model = ScriptedChatModel(["Five days."])
    agent = create_agent(model, [], middleware=[memory.middleware(knowledge=[handbook])])
    await call(agent.invoke, {"messages": [("user", REFUNDS)]}, config())
    assert f'"knowledge: handbook": ["{REFUNDS}"' in model.requests[0][0].text


async def test_a_collection_without_a_thread_of_its_own_is_awaited_on_the_event_loop(
    memory, postgres_database, collection
):
    pool = create_async_engine(sqlalchemy_url(postgres_database))
    store = await PGVectorStore.create(PGEngine.from_engine(pool), EMBEDDINGS, "handbook")
    try:
        found = await memory.arecall(REFUNDS, user_id=ALICE, knowledge=[store])
        assert found[0].text == REFUNDS
    finally:
        await pool.dispose()


async def test_a_table_that_is_gone_does_not_break_the_turn(memory, collection, call, caplog):
    await collection._engine.adrop_table("handbook")
    await call(memory.profiles.add_fact, ALICE, "Waits for a refund")
    found = await call(memory.recall, "refund", user_id=ALICE, knowledge=[KnowledgeSource(collection, "handbook")])
    assert [one.text for one in found] == ["Waits for a refund"]
    assert "'handbook' could not be searched" in caplog.text
