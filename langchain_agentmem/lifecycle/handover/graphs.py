"""The threads of a compiled graph, as a handover reads and writes them: the messages in one channel of the state."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple

from langchain_agentmem.arguments.ids import check_name
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError, ThreadInUseError
from langchain_agentmem.messages.conversion import as_message
from langchain_agentmem.programs import CallTwin, Program

if TYPE_CHECKING:
    from langgraph.types import StateSnapshot

_log = logging.getLogger(__name__)

SESSION, AGENT, THROUGH = "agentmem_session", "agentmem_agent", "agentmem_through"
"""Keys in the metadata of a checkpoint that holds a session: its ID, the agent, and the position of the last message."""

_PAGE = 20
"""Number of checkpoints that are read together."""

_MOST_UPDATES = 100
"""Maximum number of checkpoints among which the newest one that holds a session is looked for."""


class ThreadState(NamedTuple):
    """The state of a thread at one checkpoint."""

    messages: list[BaseMessage]
    metadata: Mapping[str, Any]
    created_at: float
    """The time of the checkpoint, in Unix seconds."""
    is_waiting: bool
    """True if nodes are still to run, such as after an interrupt."""


class GraphThreads:
    """Reads and writes the messages in the threads of a compiled graph. Its methods are programs.

    Args:
        graph: The graph.
        messages_key: The channel of its messages.

    Raises:
        InvalidTypeError: The argument is not a compiled graph.
        InvalidInputError: The graph has no checkpointer, or no channel of this name that keeps a list.
    """

    def __init__(self, graph: Any, messages_key: str) -> None:
        from langgraph.channels import BinaryOperatorAggregate, DeltaChannel, LastValue
        from langgraph.pregel import Pregel

        check_name("messages_key", messages_key)
        if not isinstance(graph, Pregel):
            msg = (
                f"graph must be a compiled LangGraph graph, got {type(graph).__name__}: {shown(graph)}. Pass the result of "
                f"create_agent(…, checkpointer=…) or builder.compile(checkpointer=…)."
            )
            raise InvalidTypeError(msg)
        if not isinstance(graph.checkpointer, BaseCheckpointSaver):
            msg = "The graph has no checkpointer, so it stores no threads. Compile it with checkpointer=memory.checkpointer."
            raise InvalidInputError(msg)
        channel = graph.channels.get(messages_key)
        if not isinstance(channel, (BinaryOperatorAggregate, DeltaChannel, LastValue)):
            names = ", ".join(repr(name) for name in graph.stream_channels_list)
            msg = (
                f"The graph's state has no list of messages {shown(messages_key)}; it has: {names}. Pass messages_key."
            )
            raise InvalidInputError(msg)
        self._graph: Any = graph
        self._saver: BaseCheckpointSaver[Any] = graph.checkpointer
        self._key = messages_key
        self._replaces = isinstance(channel, LastValue)

    @classmethod
    def reading(cls, saver: BaseCheckpointSaver[Any], messages_key: str) -> GraphThreads:
        """Return the threads of a checkpointer, of whatever graph. Their messages can be read only."""
        from langgraph.channels.delta import DeltaChannel
        from langgraph.graph import START, StateGraph
        from langgraph.graph.message import _messages_delta_reducer
        from typing_extensions import TypedDict

        check_name("messages_key", messages_key)
        # A delta channel also reads the values of other channels.
        field = Annotated[list[Any], DeltaChannel(_messages_delta_reducer)]
        state: Any = TypedDict  # its fields are known only now
        builder = StateGraph(state("State", {messages_key: field}))
        builder.add_node("read", lambda state: state)
        builder.add_edge(START, "read")
        return cls(builder.compile(checkpointer=saver), messages_key)

    def state(self, config: RunnableConfig) -> Program[ThreadState | None]:
        """Return the state at the checkpoint that a config names, or the latest one; None if the thread does not exist."""
        snapshot = yield from CallTwin(self._graph.get_state, self._graph.aget_state, config)
        return None if snapshot.created_at is None else self._state(snapshot)

    def page(
        self, config: RunnableConfig, before: RunnableConfig | None
    ) -> Program[tuple[list[ThreadState], RunnableConfig | None]]:
        """Return a page of the states of a thread, the newest first, and the config to continue before (None: no more).

        Args:
            config: The config of the thread.
            before: The config to continue before; None for the first page.
        """
        found = yield from CallTwin(self._snapshots, self._asnapshots, config, before)
        return [self._state(one) for one in found], found[-1].config if len(found) == _PAGE else None

    def moved(
        self, config: RunnableConfig, session_id: str | None = None
    ) -> Program[tuple[RunnableConfig, Mapping[str, Any]] | None]:
        """Return config and metadata of the newest checkpoint that holds a session; None if there is none.

        Args:
            config: The config of the thread.
            session_id: The session. Default: None (any session).
        """
        wanted = {"source": "update"} if session_id is None else {SESSION: session_id}
        found = yield from CallTwin(self._listed, self._alisted, config, wanted)
        return next(((one.config, one.metadata) for one in found if isinstance(one.metadata.get(SESSION), str)), None)

    def add(
        self,
        config: RunnableConfig,
        state: ThreadState | None,
        messages: Sequence[BaseMessage],
        metadata: Mapping[str, Any],
        as_node: str | None,
    ) -> Program[ThreadState]:
        """Add messages to the state of a thread, and return the state after it. The next run begins at the start.

        Args:
            config: The config of the thread.
            state: The state before; None if the thread does not exist.
            messages: The messages. None of their IDs is in the state.
            metadata: Entries for the metadata of the checkpoint.
            as_node: The node that the update counts as; None to choose one.

        Raises:
            InvalidInputError: The graph has no such node, or the node does not write messages.
            ThreadInUseError: Nodes of the thread are still to run.
        """
        from langgraph.constants import END

        if state is not None and state.is_waiting:
            msg = (
                f"Thread {config['configurable']['thread_id']!r} has not finished: it waits for input or was interrupted. "
                f"Nothing was changed. Resume it first, or pass another thread_id."
            )
            raise ThreadInUseError(msg)
        node = self._node(as_node)
        before = state.messages if state is not None and self._replaces else []
        noted: RunnableConfig = {**config, "metadata": {**config.get("metadata", {}), **metadata}}
        yield from self._update(noted, {self._key: [*before, *messages]}, node)
        after = yield from self.state(config)
        if after is not None and after.is_waiting:  # edges of the node lead to others
            yield from self._update(noted, None, END)
            after = yield from self.state(config)
        found = set() if after is None else {message.id for message in after.messages}
        lost = [message.id for message in messages if message.id not in found]
        thread_id = config["configurable"]["thread_id"]
        if after is None or len(lost) == len(messages):
            msg = (
                f"The graph ignored the messages when the state of thread {thread_id!r} was updated as node {node!r}. The "
                f"session is unchanged. Pass as_node= the name of a node that writes {self._key!r}."
            )
            raise InvalidInputError(msg)
        if lost:  # a reducer of the application, which keeps the newest messages for example
            _log.warning(
                "The graph kept %d of %d messages in thread %r.", len(messages) - len(lost), len(messages), thread_id
            )
        return after

    def _update(self, config: RunnableConfig, values: Any, node: str) -> Program[Any]:
        return CallTwin(self._graph.update_state, self._graph.aupdate_state, config, values, node).__iter__()

    def _node(self, as_node: str | None) -> str:
        """Return the node that an update counts as: if possible one whose only edge leads to the end."""
        from langgraph.constants import END, START

        nodes = [name for name in self._graph.nodes if name != START]
        if as_node is not None:
            if as_node not in self._graph.nodes:
                msg = f"as_node must be a node of the graph ({', '.join(nodes)}), got {shown(as_node)}."
                raise InvalidInputError(msg)
            return as_node
        builder = getattr(self._graph, "builder", None)
        if builder is None:
            return next(iter(nodes), START)
        joined = {name for starts, _ in builder.waiting_edges for name in starts}
        for name in nodes:
            ends = [end for start, end in builder.edges if start == name]
            if ends == [END] and name not in joined and not builder.branches.get(name):
                return str(name)
        return START

    def _state(self, snapshot: StateSnapshot) -> ThreadState:
        values = snapshot.values
        given = values.get(self._key, []) if isinstance(values, Mapping) else getattr(values, self._key, [])
        given = [] if given is None else given if isinstance(given, list) else [given]
        messages = [as_message(f"{self._key}[{at}]", one) for at, one in enumerate(given)]
        time = datetime.fromisoformat(str(snapshot.created_at)).timestamp()
        return ThreadState(messages, snapshot.metadata or {}, time, bool(snapshot.next))

    def _snapshots(self, config: RunnableConfig, before: RunnableConfig | None) -> list[StateSnapshot]:
        return list(self._graph.get_state_history(config, before=before, limit=_PAGE))

    async def _asnapshots(self, config: RunnableConfig, before: RunnableConfig | None) -> list[StateSnapshot]:
        return [one async for one in self._graph.aget_state_history(config, before=before, limit=_PAGE)]

    def _listed(self, config: RunnableConfig, wanted: dict[str, Any]) -> list[CheckpointTuple]:
        return list(self._saver.list(_root(config), filter=wanted, limit=_MOST_UPDATES))

    async def _alisted(self, config: RunnableConfig, wanted: dict[str, Any]) -> list[CheckpointTuple]:
        return [one async for one in self._saver.alist(_root(config), filter=wanted, limit=_MOST_UPDATES)]


def _root(config: RunnableConfig) -> RunnableConfig:
    """Return the config of a thread's checkpoints outside of subgraphs."""
    return {"configurable": {"thread_id": config["configurable"]["thread_id"], "checkpoint_ns": ""}}
