"""How an application wires the memory: a chain with history, and a graph with checkpoints and a store.

What they play is in a `Step`, which is passed along and never stored.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict, cast

from langchain_core._api.deprecation import LangChainDeprecationWarning
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.prompt_values import PromptValue
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableFieldSpec, Runnable, RunnableConfig, RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory
from langgraph.config import get_config
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime

from langchain_agentmem.command.turns import Session, Turn
from langchain_agentmem.errors import AgentMemError
from langchain_agentmem.memory import AgentMemory
from langchain_agentmem.messages.windows import newest
from langchain_agentmem.programs.signals import came_by_signal
from langchain_agentmem.testing import ScriptedChatModel

WINDOW = 40
"""The most messages of the history that a model is given."""


class ModelFailedError(AgentMemError):
    """A real model did not answer; what was played before is stored."""


@dataclass(frozen=True, slots=True)
class Step:
    """What the chain and the graph are told about the turn they play; it is not stored."""

    session: Session
    turn: Turn
    model: BaseChatModel | None

    def answers_after(self, messages: list[BaseMessage]) -> list[BaseMessage]:
        """What the file says after these messages of a session, up to the end of the turn."""
        if not messages:
            return list(self.turn.answers)
        last = self.session.index(messages[-1])
        return [] if last is None else self.turn.answers_from(last + 1)

    def model_at(self, position: int) -> BaseChatModel | None:
        """The real model, if it is to answer there: to a person, and not in the middle of recorded answers."""
        return self.model if self.turn.asked and position == self.turn.start + len(self.turn.questions) else None


class Conversation(TypedDict):
    """The state of the graph."""

    messages: Annotated[list[BaseMessage], add_messages]


def facts_of(user_id: str) -> tuple[str, str]:
    """The namespace of the store where the facts about a user are.

    Args:
        user_id: Who.

    Example:
        >>> from langchain_agentmem.command.wiring import facts_of
        >>> facts_of("alice@example.com")
        ('facts', 'alice@example.com')
    """
    return ("facts", user_id)


def _say(recorded: BaseMessage, messages: list[BaseMessage], config: RunnableConfig) -> BaseMessage:
    return ScriptedChatModel([cast("AIMessage", recorded)]).invoke(messages, config)


def _ask(model: BaseChatModel, messages: list[BaseMessage], config: RunnableConfig) -> BaseMessage:
    try:
        return model.invoke(messages, config)
    except Exception as error:  # each provider raises its own
        if came_by_signal(error):
            raise
        msg = f"The model failed ({type(error).__name__}: {error}). What was played before is stored."
        raise ModelFailedError(msg) from error


def build_chain(memory: AgentMemory) -> Runnable[Any, Any]:
    """The chain: `prompt | model` in `RunnableWithMessageHistory`, by user and session.

    It is given `{"input": [messages]}` and gives the list of messages that answer; the config's `configurable` holds
    `session_id`, `user_id`, the `step`, and the `position` in the session from which the turn is played.

    Args:
        memory: Where its history is.
    """

    def answer(prompt: PromptValue, config: RunnableConfig) -> list[BaseMessage]:
        step: Step = config["configurable"]["step"]
        position: int = config["configurable"]["position"]
        messages = prompt.to_messages()
        rest = step.turn.answers_from(position)
        if asked := step.model_at(step.turn.end - len(rest)):
            return [_ask(asked, messages, config)]
        given: list[BaseMessage] = []
        for recorded in rest:
            given.append(_say(recorded, [*messages, *given], config) if isinstance(recorded, AIMessage) else recorded)
        return given

    prompt = ChatPromptTemplate([("placeholder", "{history}"), ("placeholder", "{input}")])
    with warnings.catch_warnings():
        # Announced for langchain-core 2.0. It concerns who wires chains, not who runs this command.
        warnings.filterwarnings("ignore", ".*RunnableWithMessageHistory", LangChainDeprecationWarning)
        return RunnableWithMessageHistory(
            prompt | RunnableLambda(answer),
            memory.session_history(max_messages=WINDOW),
            input_messages_key="input",
            history_messages_key="history",
            history_factory_config=[
                ConfigurableFieldSpec(id="session_id", annotation=str, name="Session"),
                ConfigurableFieldSpec(id="user_id", annotation=str, name="User"),
            ],
        )


def build_graph(memory: AgentMemory) -> CompiledStateGraph[Any, Any, Any, Any]:
    """The graph: a model, its tools, and a node that puts the turn's facts into the store; the context is a `Step`.

    Args:
        memory: Where its checkpoints and its store are.
    """

    def route(state: Conversation, runtime: Runtime[Step]) -> str:
        step, messages = runtime.context, state["messages"]
        if messages and step.session.index(messages[-1]) is None:
            return "remember"
        rest = step.answers_after(messages)
        if step.model_at(step.turn.end - len(rest)) or (rest and isinstance(rest[0], AIMessage)):
            return "model"
        return "tools" if rest else "remember"

    def model(state: Conversation, runtime: Runtime[Step]) -> dict[str, Any]:
        step, messages = runtime.context, state["messages"]
        rest, window = step.answers_after(messages), newest(messages, WINDOW)
        asked = step.model_at(step.turn.end - len(rest))
        config = get_config()
        return {"messages": [_ask(asked, window, config) if asked else _say(rest[0], window, config)]}

    def tools(state: Conversation, runtime: Runtime[Step]) -> dict[str, Any]:
        results: list[BaseMessage] = []
        for recorded in runtime.context.answers_after(state["messages"]):
            if isinstance(recorded, AIMessage):
                break
            results.append(recorded)
        return {"messages": results}

    def remember(state: Conversation, runtime: Runtime[Step]) -> dict[str, Any]:  # noqa: ARG001  # LangGraph gives it
        session, store = runtime.context.session, runtime.store
        if store is not None:
            for key, fact in runtime.context.turn.facts.items():
                value = {"text": fact, "session_id": session.session_id}
                store.put(facts_of(session.user_id), key, value, index=["text"])
        return {}

    builder = StateGraph(Conversation, context_schema=Step)
    builder.add_node("model", model)
    builder.add_node("tools", tools)
    builder.add_node("remember", remember)
    for node in (START, "model", "tools"):
        builder.add_conditional_edges(node, route, ["model", "tools", "remember"])
    builder.add_edge("remember", END)
    return builder.compile(checkpointer=memory.checkpointer, store=memory.store)
