"""What type checkers must reject: each line with the code of its error, and nothing else."""

# ruff: noqa: B018

from __future__ import annotations

from langchain_core.language_models.fake_chat_models import FakeListChatModel
from pydantic import BaseModel

from langchain_agentmem import AgentMemHistory, AgentMemory, AgentMemSaver, AgentMemStore

URL = "sqlite:///:memory:"


class Traveller(BaseModel):
    user_id: str
    seat: str


def synchronous(memory: AgentMemory, model: FakeListChatModel) -> None:
    # Options that are not known
    AgentMemory.from_url(URL, tennant="app")  # E: call-arg
    AgentMemory.from_settings(max_message=40)  # E: call-arg
    AgentMemory.from_connection(None, colour="red")  # E: call-arg
    AgentMemory.from_client(None, colour="red")  # E: call-arg
    AgentMemStore.from_url(URL, embeddings=None)  # E: call-arg
    AgentMemSaver.from_url(URL, compakt=False)  # E: call-arg
    AgentMemHistory.from_url(URL, "s", user="alice")  # E: call-arg
    memory.compressor(model, max_token=4_000)  # E: call-arg
    memory.profile_node(model, Traveller, whenever="turn")  # E: call-arg
    memory.middleware(model, topics=["food"])  # E: call-arg

    # Options of the wrong type
    AgentMemory.from_url(URL, max_messages="40")  # E: arg-type
    AgentMemory.from_url(URL, compact=None)  # E: arg-type
    AgentMemSaver.from_url(URL, ttl="1 day")  # E: arg-type
    memory.compressor(model, max_tokens="4000")  # E: arg-type
    memory.profile_node(model, when="later")  # E: arg-type
    memory.profile_node(model, time_limit="60")  # E: arg-type
    memory.middleware(model, when="later")  # E: arg-type
    memory.middleware(model, compressor=model)  # E: arg-type
    memory.history("s", agent=["support"])  # E: arg-type
    memory.entities.list("alice", kind=5)  # E: arg-type
    memory.profiles.add_facts("alice", [5])  # E: list-item

    # What may be None, and what is not there
    memory.profiles.get("alice", schema=Traveller).seat  # E: union-attr
    memory.profiles.get("alice").seat  # E: attr-defined
    memory.profiles.get("alice", schema={"type": "object"})["seat"]  # E: index
    memory.summary("s").text  # E: union-attr
    memory.middleware(model).compresor  # E: attr-defined


async def asynchronous(memory: AgentMemory) -> None:
    await memory.profiles.aget("alice", schema=Traveller).seat  # E: attr-defined
    (await memory.profiles.aget("alice", schema=Traveller)).seat  # E: union-attr
