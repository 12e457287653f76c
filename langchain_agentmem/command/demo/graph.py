"""The graph that the command line plays: a model, its tools, and a node that stores the facts of the turn."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, BaseMessage
from langgraph.config import get_config
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime

from langchain_agentmem.command.demo.step import WINDOW, Step, model_reply, recorded_reply
from langchain_agentmem.memory import AgentMemory
from langchain_agentmem.messages.windows import newest


class Conversation(TypedDict):
    """The state of the graph."""

    messages: Annotated[list[BaseMessage], add_messages]


def build_graph(memory: AgentMemory) -> CompiledStateGraph[Any, Any, Any, Any]:
    """Build the graph. The context of a run is a `Step`.

    Args:
        memory: The memory that stores checkpoints and facts.
    """
    builder = StateGraph(Conversation, context_schema=Step)
    builder.add_node("model", _model)
    builder.add_node("tools", _tools)
    builder.add_node("remember", _remember)
    for node in (START, "model", "tools"):
        builder.add_conditional_edges(node, _route, ["model", "tools", "remember"])
    builder.add_edge("remember", END)
    return builder.compile(checkpointer=memory.checkpointer, store=memory.store)


def facts_namespace(user_id: str) -> tuple[str, str]:
    """Return the store's namespace for the facts about a user.

    Args:
        user_id: The user.

    Example:
        >>> from langchain_agentmem.command.demo.graph import facts_namespace
        >>> facts_namespace("alice@example.com")
        ('facts', 'alice@example.com')
    """
    return ("facts", user_id)


def _route(state: Conversation, runtime: Runtime[Step]) -> str:
    """Return the node that plays the next message of the turn."""
    step, messages = runtime.context, state["messages"]
    if messages and step.session.index(messages[-1]) is None:
        return "remember"
    recorded = step.answers_after(messages)
    if step.model_at(step.turn.end - len(recorded)) or (recorded and isinstance(recorded[0], AIMessage)):
        return "model"
    return "tools" if recorded else "remember"


def _model(state: Conversation, runtime: Runtime[Step]) -> dict[str, Any]:
    """Reply to the newest messages."""
    step, messages = runtime.context, state["messages"]
    recorded, window = step.answers_after(messages), newest(messages, WINDOW).messages
    model = step.model_at(step.turn.end - len(recorded))
    config = get_config()
    reply = model_reply(model, window, config) if model else recorded_reply(recorded[0], window, config)
    return {"messages": [reply]}


def _tools(state: Conversation, runtime: Runtime[Step]) -> dict[str, Any]:
    """Return the recorded tool results up to the assistant's next message."""
    results: list[BaseMessage] = []
    for recorded in runtime.context.answers_after(state["messages"]):
        if isinstance(recorded, AIMessage):
            break
        results.append(recorded)
    return {"messages": results}


def _remember(state: Conversation, runtime: Runtime[Step]) -> dict[str, Any]:  # noqa: ARG001  # LangGraph passes it
    """Store the facts of the turn."""
    session, store = runtime.context.session, runtime.store
    if store is not None:
        for key, fact in runtime.context.turn.facts.items():
            value = {"text": fact, "session_id": session.session_id}
            store.put(facts_namespace(session.user_id), key, value, index=["text"])
    return {}
