"""The agents that the HTTP API serves: what they are given, and what they answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolCallChunk
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import Pregel
from langgraph.types import Command

from langchain_agentmem.arguments.ids import check_id
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError
from langchain_agentmem.lifecycle.handover.engine import thread_id_of
from langchain_agentmem.memory import AgentMemory
from langchain_agentmem.serving.problems import ProblemError

_TEXT_FIELDS = ("input", "question", "message", "query")
"""The fields that take the message, if an input has several required fields."""

_INTERRUPT = "__interrupt__"


@dataclass(frozen=True)
class Turn:
    """A turn of an agent.

    Args:
        message: The message of the user; None to resume.
        user_id: The user; None for nobody.
        session_id: The session.
        resume: The value with which an interrupted turn is resumed. Default: None.
    """

    message: str | None
    user_id: str | None
    session_id: str
    resume: Any = None


@dataclass
class Answered:
    """The answer of an agent.

    Args:
        content: The text.
        message_id: The ID of the message. Default: None.
        interrupts: What the graph waits for: the IDs and values of its interrupts.
    """

    content: str = ""
    message_id: str | None = None
    interrupts: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Part:
    """A part of a message that an agent streams.

    Args:
        text: The text.
        message_id: The ID of the message. Default: None.
        tool_calls: The parts of its tool calls. Default: none.
    """

    text: str
    message_id: str | None = None
    tool_calls: tuple[ToolCallChunk, ...] = ()


class ServedAgent:
    """An agent of one tenant.

    Args:
        name: The name.
        runnable: The graph, or another Runnable.
        memory: The memory of the tenant.

    Raises:
        InvalidInputError: The Runnable has several required fields, and none of them is known to take a message.
    """

    def __init__(self, name: str, runnable: Runnable[Any, Any], memory: AgentMemory) -> None:
        self.name = name
        self.is_graph = isinstance(runnable, Pregel)
        if isinstance(runnable, Pregel):
            missing: dict[str, Any] = {}
            if runnable.checkpointer is None:
                missing["checkpointer"] = memory.checkpointer
            if runnable.store is None:
                missing["store"] = memory.store
            runnable = runnable.copy(missing) if missing else runnable
        self._runnable = runnable
        self._input = _input_of(name, runnable)
        self._fields = set() if self.is_graph else {spec.id for spec in runnable.config_specs}

    @property
    def needs_user(self) -> bool:
        """True if the agent cannot run without a user."""
        return "user_id" in self._fields

    def thread_id(self, turn: Turn) -> str:
        """Return the thread of a turn. Different users, sessions and agents have different threads."""
        return thread_id_of(turn.session_id, turn.user_id, self.name)

    async def answer(self, turn: Turn) -> Answered:
        """Run a turn, and return the answer.

        Raises:
            ProblemError: The turn resumes a thread that has no interrupted turn.
        """
        config = self._config(turn)
        await self._check_resumable(turn, config)
        return _answered(await self._runnable.ainvoke(self._given(turn), config))

    async def stream(self, turn: Turn) -> AsyncIterator[Part | Answered]:
        """Run a turn. Yield the parts of messages, and at last the answer. Raises as `answer`."""
        given, config = self._given(turn), self._config(turn)
        await self._check_resumable(turn, config)
        if not self.is_graph:
            whole: Any = None
            async for part in self._runnable.astream(given, config):
                whole = part if whole is None else whole + part
                if streamed := _part(part):
                    yield streamed
            yield _answered(whole)
            return
        state: Any = None
        async for kind, part in self._runnable.astream(given, config, stream_mode=["messages", "values"]):
            if kind == "values":
                state = part if _INTERRUPT in part or not isinstance(state, dict) else {**state, **part}
            elif isinstance(part[0], AIMessage) and (streamed := _part(part[0])):
                yield streamed
        yield _answered(state)

    async def _check_resumable(self, turn: Turn, config: RunnableConfig) -> None:
        """Check that a thread has an interrupted turn, if the turn resumes one."""
        if turn.message is None and not await _is_interrupted(self._runnable, config):
            raise ProblemError(409, "The thread has no interrupted turn, so nothing can be resumed. Pass a message.")

    def _given(self, turn: Turn) -> Any:
        return Command(resume=turn.resume) if turn.message is None else self._input(turn.message)

    def _config(self, turn: Turn) -> RunnableConfig:
        thread_id = self.thread_id(turn)
        # A chain that knows no users keeps the session of each user apart by its ID.
        session_id = turn.session_id if self.is_graph or self.needs_user else thread_id
        configurable = {"thread_id": thread_id, "session_id": session_id, "agent": self.name}
        if turn.user_id is not None:
            configurable["user_id"] = turn.user_id
        return {"configurable": configurable}


class Agents:
    """The agents of an application.

    Args:
        agents: The agents by name: a Runnable, or a function of the memory of a tenant that returns one.
        memory: The memory of the application.
        others: The memories of the other tenants.

    Raises:
        InvalidInputError: The name of an agent is not accepted.
        InvalidTypeError: An agent has the wrong type.
    """

    def __init__(
        self, agents: Mapping[str, Any] | None, memory: AgentMemory, others: Mapping[str, AgentMemory]
    ) -> None:
        if agents is not None and not isinstance(agents, Mapping):
            msg = f"agents must be a mapping of names to agents, got {shown(agents)}."
            raise InvalidTypeError(msg)
        self._agents: dict[tuple[str, str], ServedAgent] = {}
        for name, given in (agents or {}).items():
            check_id("The name of an agent", name)
            if isinstance(given, Runnable):
                self._add(name, given, memory)
            elif callable(given):
                for one in (memory, *others.values()):
                    self._add(name, given(one), one)
            else:
                self._add(name, given, memory)

    def names(self, tenant: str) -> list[str]:
        """Return the names of the agents of a tenant."""
        return sorted(name for of_tenant, name in self._agents if of_tenant == tenant)

    def get(self, tenant: str, name: str) -> ServedAgent | None:
        """Return an agent of a tenant; None if there is none of that name."""
        return self._agents.get((tenant, name))

    def _add(self, name: str, runnable: Any, memory: AgentMemory) -> None:
        if not isinstance(runnable, Runnable):
            msg = (
                f"Agent {shown(name)} must be a compiled graph, another Runnable, or a function of a memory that returns "
                f"one, got {type(runnable).__name__}. Call compile() on the builder of a graph."
            )
            raise InvalidTypeError(msg)
        self._agents[memory.tenant, name] = ServedAgent(name, runnable, memory)


def _input_of(name: str, runnable: Runnable[Any, Any]) -> Callable[[str], Any]:
    """Return a function that makes the input of a Runnable from a message.

    Args:
        name: The name of the agent, for the error.
        runnable: The Runnable.
    """
    if isinstance(runnable, CompiledStateGraph):
        graph = runnable.builder
        if "messages" in graph.schemas[graph.input_schema]:  # the JSON schema of messages takes much longer
            return _as_messages
    schema = runnable.get_input_jsonschema()
    fields = schema.get("properties", {})
    if "messages" in fields:
        return _as_messages
    if not fields:
        return lambda message: [HumanMessage(message)]
    required = schema.get("required") or list(fields)
    field = required[0] if len(required) == 1 else next((one for one in _TEXT_FIELDS if one in fields), None)
    if field is None:
        msg = (
            f"The input of agent {shown(name)} has the fields {', '.join(fields)}; a message cannot fill all of them. Put a "
            f"RunnableLambda before it that makes the input from a list of messages."
        )
        raise InvalidInputError(msg)
    return lambda message: {field: message}


def _as_messages(message: str) -> dict[str, list[HumanMessage]]:
    return {"messages": [HumanMessage(message)]}


async def _is_interrupted(runnable: Runnable[Any, Any], config: RunnableConfig) -> bool:
    """Return true if a thread of a graph waits at an interrupt or a breakpoint. A turn that failed does not wait."""
    if not isinstance(runnable, Pregel) or not runnable.checkpointer:
        return False
    tasks = (await runnable.aget_state(config)).tasks
    return any(one.interrupts for one in tasks) or (bool(tasks) and not any(one.error for one in tasks))


def _part(output: Any) -> Part | None:
    """Return what a Runnable streams as a part of a message; None if it has neither text nor tool calls."""
    answered = _answered(output)
    calls: list[ToolCallChunk] = []
    if isinstance(output, AIMessageChunk):
        calls = output.tool_call_chunks
    elif isinstance(output, AIMessage):
        calls = [
            tool_call_chunk(
                name=call["name"],
                args=json.dumps(call["args"], default=str, ensure_ascii=False),
                id=call["id"],
                index=at,
            )
            for at, call in enumerate(output.tool_calls)
        ]
    return Part(answered.content, answered.message_id, tuple(calls)) if answered.content or calls else None


def _answered(output: Any) -> Answered:
    """Return the answer in the output of a Runnable."""
    if isinstance(output, Mapping):
        interrupts = tuple((one.id, one.value) for one in output.get(_INTERRUPT, ()))
        messages = output.get("messages")
        if isinstance(messages, list) and messages:
            last = messages[-1]
            content = _answered(last) if isinstance(last, AIMessage) or not interrupts else Answered()
            return Answered(content.content, content.message_id, interrupts)
        if interrupts:
            return Answered(interrupts=interrupts)
        if "output" in output:
            return _answered(output["output"])
        return Answered(json.dumps(dict(output), default=str, ensure_ascii=False))
    if isinstance(output, BaseMessage):
        return Answered(str(output.text), output.id)
    return Answered("" if output is None else str(output))
