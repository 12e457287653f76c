"""The graph that the demo plays: a model, its tools, and a node that stores the facts of the turn and learns."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, BaseMessage
from langgraph.config import get_config
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime

from langchain_agentmem.command.demo.lessons import recorded_model
from langchain_agentmem.command.demo.step import WINDOW, Step, model_reply, recorded_reply
from langchain_agentmem.command.demo.turns import Session, Turn
from langchain_agentmem.errors import InvalidInputError
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
    builder.add_node("remember", lambda _, runtime: _remember(memory, runtime))
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


def _remember(memory: AgentMemory, runtime: Runtime[Step]) -> dict[str, Any]:
    """Store the facts of the turn, and learn from its messages."""
    session, store = runtime.context.session, runtime.store
    if store is not None:
        for key, fact in runtime.context.turn.facts.items():
            value = {"text": fact, "session_id": session.session_id}
            store.put(facts_namespace(session.user_id), key, value, index=["text"])
    _learn(memory, session, runtime.context.turn)
    return {}


def _learn(memory: AgentMemory, session: Session, turn: Turn) -> None:
    """Learn from the messages of a turn: facts and fields of the user's profile. Messages that were read are skipped."""
    if not turn.lessons:
        return
    # A known time: after --restart, statements of unknown time do not bring forgotten values back.
    time = {"created_at": datetime.now(UTC).isoformat()}
    done = memory.learn(
        [session.messages[at].model_copy(update={"additional_kwargs": time}) for at in turn.lessons],
        user_id=session.user_id,
        session_id=session.session_id,
        model=recorded_model(list(turn.lessons.values())),
    )
    if done.error or done.refused:
        msg = f"Turn {turn.number} of {session.session_id!r} cannot be learned: {done.error or done.refused[0]}"
        raise InvalidInputError(msg)
