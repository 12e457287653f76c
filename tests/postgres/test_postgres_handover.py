"""Sessions that become threads of LangGraph's own checkpointers, and come back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from profiles import ALICE

from langchain_agentmem import AgentMemory

TALK = [HumanMessage("Shall we go to Malta?", id="1"), AIMessage("By ferry.", id="2")]


def graph_on(saver: Any) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda _: {"messages": [AIMessage("Well.")]})
    builder.add_edge(START, "answer")
    return builder.compile(checkpointer=saver)


@pytest.fixture
def memory() -> Any:
    with AgentMemory.from_url("sqlite:///:memory:") as opened:
        history = opened.history("trip", user_id=ALICE)
        history.add_messages(TALK, metadata={"channel": "web"})
        yield opened


def contents(memory: AgentMemory) -> list[Any]:
    stored = memory.history("trip", user_id=ALICE).stored()
    return [(one.message, one.created_at, one.metadata) for one in stored]


@pytest.mark.parametrize("kind", [SqliteSaver, PostgresSaver])
def test_a_synchronous_checkpointer_takes_a_session_and_gives_it_back(memory, postgres_database, tmp_path: Path, kind):
    place = str(tmp_path / "threads.db") if kind is SqliteSaver else postgres_database
    before = contents(memory)
    with kind.from_conn_string(place) as saver:
        saver.setup()
        graph = graph_on(saver)
        moved = memory.to_thread("trip", graph, user_id=ALICE)
        assert memory.to_thread("trip", graph, user_id=ALICE).messages == 0
        answer = graph.invoke({"messages": "And back?"}, moved.config)
        assert [one.text for one in answer["messages"]] == ["Shall we go to Malta?", "By ferry.", "And back?", "Well."]
        memory.sessions.delete("trip", user_id=ALICE)
        back = memory.from_thread(moved.thread_id, graph=graph, all_checkpoints=True)
        assert (back.session_id, back.user_id, back.messages) == ("trip", ALICE, 4)
        assert contents(memory)[:2] == before


@pytest.fixture(params=[AsyncSqliteSaver, AsyncPostgresSaver])
async def saver(request: Any, postgres_database: str, tmp_path: Path) -> AsyncIterator[Any]:
    place = str(tmp_path / "threads.db") if request.param is AsyncSqliteSaver else postgres_database
    async with request.param.from_conn_string(place) as opened:
        await opened.setup()
        yield opened


async def test_an_asynchronous_checkpointer_takes_a_session_and_gives_it_back(memory, saver):
    before = contents(memory)
    graph = graph_on(saver)
    moved = await memory.ato_thread("trip", graph, user_id=ALICE)
    assert (await memory.ato_thread("trip", graph, user_id=ALICE)).messages == 0
    await graph.ainvoke({"messages": "And back?"}, moved.config)
    await memory.sessions.adelete("trip", user_id=ALICE)
    back = await memory.afrom_thread(moved.thread_id, graph=graph, all_checkpoints=True)
    assert (back.session_id, back.user_id, back.messages) == ("trip", ALICE, 4)
    assert contents(memory)[:2] == before
