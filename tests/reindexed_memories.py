"""Memories with items and messages of many users, before and after their vectors are made again."""

from __future__ import annotations

import time
from typing import Any

from embedding_models import NS, Model, message_vectors
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.store.base import PutOp

from langchain_agentmem import (
    AgentMemory,
)
from langchain_agentmem.backends.contract import Query
from langchain_agentmem.text.vectors import unit


def items_like(memory: AgentMemory, model: Model, text: str, prefix: tuple[str, ...] = ()) -> set[tuple[Any, str]]:
    """The items that have the vector that a model gives a text, whatever the text index says."""
    query = Query(prefix, ["fact", "pizza"], unit(model.embed_query(text)))
    found = memory.backend.read(memory.backend.items.find(memory.tenant, query, time.time()))
    ids = [one.id for one in found.candidates if one.dense is not None and one.dense > 0.99]
    rows = memory.backend.read(memory.backend.items.rows(ids))
    return {(row.namespace, row.key) for row in rows.values()}


async def fill(memory: AgentMemory, call: Any, count: int = 12) -> None:
    """Items in two namespaces; messages of two users and of nobody."""
    await call(memory.store.batch, [PutOp(NS, str(n), {"text": f"fact {n}"}, index=["text"]) for n in range(count)])
    await call(memory.store.put, ("other", "facts"), "pizza", {"text": "pizza"}, index=["text"])
    for user_id in ("alice", "bob", None):
        history = memory.history("s", user_id=user_id)
        await call(history.add_messages, [HumanMessage(f"{user_id} says {n}") for n in range(4)])
        await call(history.add_messages, [AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "1"}])])
        await call(history.add_messages, [ToolMessage(f"for {user_id}", tool_call_id="1")])


def check_whole(memory: AgentMemory, model: Model, count: int = 12) -> None:
    for number in range(count):
        assert items_like(memory, model, f"fact {number}") == {(NS, str(number))}
    assert items_like(memory, model, "pizza") == {(("other", "facts"), "pizza")}
    for user_id in ("alice", "bob", None):
        texts = [*(f"{user_id} says {n}" for n in range(4)), None, f"for {user_id}"]
        expected = {("s", at): text and unit(model.embed_query(text)) for at, text in enumerate(texts)}
        assert message_vectors(memory, user_id) == expected
