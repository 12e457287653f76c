"""A memory with every kind of data: `fill(memory)`."""

from __future__ import annotations

import secrets
import time
import zlib
from typing import Annotated, Any

import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

from langchain_agentmem import AgentMemory, Retention
from langchain_agentmem.backends.contract import LIST_SUMMARY, SessionKey, StoredSummary
from langchain_agentmem.knowledge.extraction.speakers import speakers_of
from langchain_agentmem.knowledge.namespaces import SEEN, user_namespace

ALICE, BOB = "alice@example.com", "böb/*:%_'\"🙂"
"""Users. No ID may be interpreted."""

DAY = 86_400.0
LONG = "A text that is long enough to be stored as an element of its own, not within the checkpoint. " * 4

CALL = {"name": "weather", "args": {"city": "Oslo", "at": [1, 2.5, None]}, "id": "call-1", "type": "tool_call"}
TURN = [
    SystemMessage("Be kind."),
    HumanMessage([{"type": "text", "text": "What is the weather?"}], id="m-1"),
    AIMessage(
        "", tool_calls=[CALL], id="m-2", usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    ),
    ToolMessage("rain", tool_call_id="call-1", artifact={"raw": (1, 2)}, id="m-3"),
    AIMessage("It rains. ☔\u2028", additional_kwargs={"b": 1, "a": {"z": [1], "c": None}}, id="m-4"),
]


class Words(Embeddings):
    """An embedding model whose vector of a text is random, but always the same."""

    model = "words"

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [np.random.default_rng(zlib.crc32(text.encode())).normal(size=8).tolist() for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


def fill(memory: AgentMemory) -> None:
    """Store every kind of data, of two users and of nobody."""
    for user in (ALICE, BOB, None):
        fill_sessions(memory, user)
        fill_variables(memory, user)
        fill_records(memory, user)
    for user in (ALICE, BOB):
        fill_knowledge(memory, user)
    fill_items(memory)
    fill_threads(memory)


def fill_sessions(memory: AgentMemory, user: str | None) -> None:
    """Store sessions: with agents, retention, titles, summaries, metadata and an expiry."""
    memory.history("chat", user_id=user).add_messages(TURN, metadata={"source": "web", "n": [1.5, None]})
    memory.history("chat", user_id=user, agent="writer").add_messages([HumanMessage("draft"), AIMessage("done")])
    brief = memory.history("brief", user_id=user, agent="critic", retention=Retention("session", max_messages=3))
    brief.add_messages([HumanMessage(f"note {number}") for number in range(5)])
    expiring = memory.history("expiring 🙂 \\x00 'id'", user_id=user, retention=Retention(ttl=9 * DAY))
    expiring.add_user_message("I stay nine days.")
    memory.sessions.rename("brief", "A title of my own", user_id=user)
    with memory.session("open", user_id=user, metadata={"z": 1, "a": {"b": [True]}}) as session:
        session.history().add_user_message("hello")
        session.variables.set("step", 3)
    log, now = memory.backend.messages, time.time()
    key = SessionKey(memory.tenant, user, "chat")
    for number, agent in enumerate((None, "writer", LIST_SUMMARY)):
        known = memory.backend.read(log.summary(key, agent, now))
        summary = StoredSummary('{"text":"They talked.","messages":[2,1]}', secrets.randbits(50), number or None)
        assert memory.backend.write(log.swap_summary(key, agent, summary, known and known.revision, now))


def fill_variables(memory: AgentMemory, user: str | None) -> None:
    """Store variables of a user, a session and agents."""
    memory.variables.set("tone", {"b": 1, "a": ["kind", None]}, user_id=user)
    memory.variables.set("tone", "short", user_id=user, agent="writer")
    memory.variables.set("code", 7, user_id=user, ttl=DAY)
    memory.variables.set("topic", "rain", user_id=user, session_id="chat")
    memory.variables.set("draft", 1.5, user_id=user, session_id="chat", agent="writer", ttl=DAY)


def fill_records(memory: AgentMemory, user: str | None) -> None:
    """Store records of a session and of none."""
    memory.records.save("writer", {"step": 1, "b": {"z": 1, "a": 2}}, session_id="chat", user_id=user, duration=1.25)
    memory.records.save("writer", {"step": 2}, user_id=user, status="failed", started_at="2026-01-02T03:04:05+00:00")


def fill_knowledge(memory: AgentMemory, user: str) -> None:
    """Store a profile with superseded facts, entities, memories and markers of extraction."""
    memory.profiles.update_preference(user, "language", "English")
    memory.profiles.update_preference(user, "language", "German")
    fact = memory.profiles.add_fact(user, "Lives in Oslo", topics=["home"], sources=["m-1"])
    memory.profiles.add_fact(user, "Lives in Bergen", topics=["home"], replaces=fact, metadata={"b": 1, "a": 2})
    forgotten = memory.profiles.add_fact(user, "Likes rain")
    memory.profiles.forget_fact(user, forgotten.id)
    memory.entities.upsert(user, "Ann", "person", aliases=["Annie"], attributes={"age": 30})
    memory.entities.relate(user, "Ann", "knows", "Ben", valid_from="2025-01-01")
    memory.entities.relate(user, "Ann", "works at", "Acme", valid_from="2024-01-01", valid_to="2025-01-01")
    memory.memories.save(user, "Call me in the morning", metadata={"via": "phone"})
    memory.store.put(user_namespace(user, SEEN), "chat", {"messages": ["m-1", "m-2"]}, index=False)


def fill_items(memory: AgentMemory) -> None:
    """Store items of the application: with paths, TTLs, and unusual namespaces and keys."""
    memory.knowledge.add("handbook", ["Holidays: 25 days.", "Lunch is at noon."], metadata={"year": 2026})
    memory.store.put(("docs", "a"), "k", {"text": "pizza", "title": "food", "n": 1, "z": {"b": 1.0, "a": None}})
    memory.store.put(("docs", "a"), "part", {"text": "pasta", "title": "food"}, index=["title"])
    memory.store.put(("docs", "a"), "none", {"text": "hidden"}, index=False)
    memory.store.put(("docs",), "ttl", {"text": "soon gone"}, ttl=60 * 24 * 5)
    memory.store.put(("docs", "a!", "é", "🙂"), "K é 🙂 %_*", {"quote": "\"'\\", "empty": "", "list": [[], {}]})


class _Delta(TypedDict):
    log: Annotated[list[Any], DeltaChannel(lambda before, writes: [*before, *(one for w in writes for one in w)])]


def chat_graph(saver: Any) -> Any:
    """Return a graph that answers with a long text."""
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": [AIMessage(f"{len(state['messages'])} {LONG}")]})
    builder.add_edge(START, "answer")
    return builder.compile(checkpointer=saver)


def asking_graph(saver: Any) -> Any:
    """Return a graph whose subgraph asks for permission."""
    inner = StateGraph(MessagesState)
    inner.add_node("ask", lambda _: {"messages": [AIMessage(f"answered {interrupt({'question': 'May I?'})}")]})
    inner.add_edge(START, "ask")
    builder = StateGraph(MessagesState)
    builder.add_node("inner", inner.compile())
    builder.add_edge(START, "inner")
    return builder.compile(checkpointer=saver)


def delta_graph(saver: Any) -> Any:
    """Return a graph with a delta channel."""
    builder = StateGraph(_Delta)
    builder.add_node("note", lambda state: {"log": [f"{len(state['log'])} {LONG}"]})
    builder.add_edge(START, "note")
    return builder.compile(checkpointer=saver)


def config(thread_id: str, user: str | None = None) -> Any:
    """Return the config of a thread."""
    named = {"thread_id": thread_id} | ({} if user is None else {"user_id": user})
    return {"configurable": named}


def fill_threads(memory: AgentMemory) -> None:
    """Store threads: of one user, of two, of nobody; interrupted in a subgraph; with a delta channel, a TTL and notes."""
    saver = memory.checkpointer
    for thread_id, users in (
        ("of alice", [ALICE] * 3),
        ("of bob", [BOB]),
        ("of both", [ALICE, BOB]),
        ("of nobody", [None]),
    ):
        for user in users:
            chat_graph(saver).invoke({"messages": [HumanMessage(f"hi {LONG}")]}, config(thread_id, user))
    asking_graph(saver).invoke({"messages": [HumanMessage(LONG)]}, config("asking", ALICE))
    for _ in range(4):
        delta_graph(saver).invoke({"log": [LONG]}, config("delta 🙂"))
    saver.set_ttl("of bob", 9 * DAY)
    notes = speakers_of(memory.backend, memory.tenant, "of both")
    memory.backend.write(notes.put("speakers", {"users": ["a", "b"], "messages": {"x": 0}}, time.time()))
