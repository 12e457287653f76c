"""What type checkers must accept, with the types that they must find."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, assert_type

from langchain_core.documents import Document
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from pydantic import BaseModel

from langchain_agentmem import AgentMemHistory, AgentMemory, AgentMemSaver, AgentMemStore, MemoryCompressor, UserProfile
from langchain_agentmem.compression.events import CompressionEvents
from langchain_agentmem.knowledge.extraction.face import ProfileExtractor
from langchain_agentmem.knowledge.facts.facts import Fact, Facts

URL = "sqlite:///:memory:"


class Traveller(BaseModel):
    user_id: str
    seat: str


class Customer(UserProfile):
    number: int


SCHEMA: dict[str, Any] = {"type": "object", "properties": {"seat": {"type": "string"}}}


def synchronous() -> None:
    memory = AgentMemory.from_url(URL, tenant="app", ttl=timedelta(days=1), max_messages=40, compact=False)
    assert_type(memory, AgentMemory)
    assert_type(AgentMemory.from_settings(tenant="app"), AgentMemory)
    assert_type(AgentMemStore.from_url(URL, ttl={"default_ttl": 5}, tenant="app"), AgentMemStore)
    assert_type(AgentMemSaver.from_url(URL, ttl=3600, compact=True), AgentMemSaver)
    assert_type(AgentMemHistory.from_url(URL, "s", user_id="alice", max_tokens=500), AgentMemHistory)
    assert_type(memory.history("s", user_id="alice"), AgentMemHistory)

    # Profiles have the type of their schema.
    assert_type(memory.profiles.get("alice"), UserProfile)
    assert_type(memory.profiles.get("alice", as_of="2026-01-01"), UserProfile)
    assert_type(memory.profiles.get("alice", schema=Traveller), Traveller | None)
    assert_type(memory.profiles.get("alice", schema=Customer), Customer | None)
    assert_type(memory.profiles.get("alice", schema=SCHEMA), dict[str, Any] | None)
    assert_type(memory.profiles.get("alice").facts, list[Fact])
    assert_type(memory.profiles.add_facts("alice", ["Likes tea", {"text": "Has a dog"}]), Facts)
    assert_type(memory.profiles.search("alice", "tea", agent="travel", filter={"rating": {"$gt": 3}}), Facts)
    assert_type(memory.recall("tea?", user_id="alice", knowledge=["rules"])[0].source, Mapping[str, Any])
    assert_type(memory.as_retriever(user_id="alice").invoke("tea?"), list[Document])


async def asynchronous(memory: AgentMemory) -> None:
    assert_type(await memory.profiles.aget("alice"), UserProfile)
    assert_type(await memory.profiles.aget("alice", schema=Traveller), Traveller | None)
    assert_type(await memory.profiles.aget("alice", schema=SCHEMA), dict[str, Any] | None)
    async with AgentMemory.from_url(URL) as opened:
        assert_type(opened, AgentMemory)


def documented(memory: AgentMemory, model: FakeListChatModel, errors: list[object]) -> None:
    # What the documents name of the middleware, the compressor and the node.
    middleware = memory.middleware(model, when="turn", entities=True, tools=True)
    assert_type(middleware.compressor, MemoryCompressor)
    assert_type(middleware.compressor.events, CompressionEvents)
    assert_type(middleware.compressor.events[-1].tokens_before, int)
    assert_type(middleware.extractor, ProfileExtractor)
    middleware.extractor.flush()
    node = memory.profile_node(
        model,
        Traveller,
        when="debounce",
        delay=60,
        time_limit=timedelta(minutes=1),
        on_extraction=lambda found: found.error,
    )
    assert_type(node, ProfileExtractor)
    compressor = memory.compressor(model, max_tokens=4_000, structured=True, on_event=errors.append, time_limit=30)
    assert_type(compressor, MemoryCompressor)


def as_upstream() -> None:
    with AgentMemSaver.from_conn_string("postgresql://host/database", pipeline=True) as saver:
        saver.setup()
        assert_type(saver, AgentMemSaver)
        assert_type(saver.threads()[0].users, Mapping[str, datetime])
    with AgentMemStore.from_conn_string(URL, ttl={"default_ttl": 60}, pool_config={"max_size": 20}) as store:
        store.setup()
        store.start_ttl_sweeper()
        assert_type(store, AgentMemStore)
    with AgentMemHistory(URL, "session-1") as history:
        assert_type(history, AgentMemHistory)


async def as_upstream_async() -> None:
    async with AgentMemSaver.from_conn_string(URL) as saver:
        await saver.setup()
        assert_type(saver, AgentMemSaver)
