"""The methods of `AgentMemory` that move conversations between sessions of chat history and LangGraph threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_agentmem.arguments.omitted import OMITTED, Omitted
from langchain_agentmem.checkpointing.face import AgentMemSaver
from langchain_agentmem.history.methods import Histories
from langchain_agentmem.programs import arun, run

if TYPE_CHECKING:
    from langchain_agentmem.lifecycle.handover.engine import Handover, MovedConversation


class HandoverMethods:
    """Store a session as a thread, and a thread as a session."""

    checkpointer: AgentMemSaver
    _histories: Histories

    def to_thread(
        self,
        session_id: str,
        graph: Any,
        *,
        user_id: str | None = None,
        agent: str | None = None,
        thread_id: str | None = None,
        messages_key: str = "messages",
        as_node: str | None = None,
    ) -> MovedConversation:
        """Store the messages of a session in the state of a LangGraph thread, so that a graph or an agent continues it.

        The messages keep their IDs, order, names, tool calls and content blocks. Their times, agents and metadata, and the
        session's title and metadata, are stored with them in `additional_kwargs["agentmem"]`; `from_thread` restores them.
        The stored summary goes along, so the compressor and the middleware continue it. The session stays unchanged. A
        repeated call adds only messages that the session got since.

        Args:
            session_id: The session.
            graph: The compiled graph: of `create_agent`, or of any graph whose state has messages. Its checkpointer stores
                the thread.
            user_id: The user of the session. Default: None (nobody).
            agent: Only the messages of this agent. Default: None (all).
            thread_id: The thread. Default: None (the session's ID if it belongs to nobody, otherwise both IDs:
                `"alice@example.com/trip"`).
            messages_key: The key of the messages in the graph's state. Default: `"messages"`.
            as_node: The node of the graph that the update counts as. Default: None (one whose only edge leads to the end, if
                there is one; no edge is followed).

        Returns:
            The number of messages that were stored, and the `config` with which a run continues the conversation.

        Raises:
            InvalidInputError: The session has no messages, or the graph has no checkpointer or no such key.
            InvalidTypeError: The graph is not compiled, or another argument has the wrong type.
            ThreadInUseError: The thread has another conversation, or has not finished; nothing was changed.

        Example:
            >>> from langchain.agents import create_agent
            >>> from langchain_agentmem import AgentMemory
            >>> from langchain_agentmem.testing import ScriptedChatModel
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     memory.history("trip", user_id="alice@example.com").add_user_message("I am off to Malta.")
            ...     agent = create_agent(ScriptedChatModel(["To Malta."]), [], checkpointer=memory.checkpointer)
            ...     moved = memory.to_thread("trip", agent, user_id="alice@example.com")
            ...     answer = agent.invoke({"messages": [("user", "Where am I going?")]}, moved.config)
            ...     moved.thread_id, [message.text for message in answer["messages"]]
            ('alice@example.com/trip', ['I am off to Malta.', 'Where am I going?', 'To Malta.'])
        """
        return run(self._handover.to_thread(session_id, graph, user_id, agent, thread_id, messages_key, as_node))

    async def ato_thread(
        self,
        session_id: str,
        graph: Any,
        *,
        user_id: str | None = None,
        agent: str | None = None,
        thread_id: str | None = None,
        messages_key: str = "messages",
        as_node: str | None = None,
    ) -> MovedConversation:
        """Same as `to_thread`, but without blocking the event loop."""
        program = self._handover.to_thread(session_id, graph, user_id, agent, thread_id, messages_key, as_node)
        return await arun(program)

    def from_thread(
        self,
        thread_id: str,
        graph: Any = None,
        *,
        session_id: str | None = None,
        user_id: str | Omitted | None = OMITTED,
        agent: str | None = None,
        messages_key: str = "messages",
        all_checkpoints: bool = False,
    ) -> MovedConversation:
        """Store the messages of a LangGraph thread in a session of chat history: all of them in one transaction, or none.

        Messages that `to_thread` moved get their former times, agents and metadata. Other messages get the time in
        `additional_kwargs["created_at"]`, or that of the checkpoint. A new session gets the title and the metadata of the
        session that the thread comes from. The stored summary goes along. The thread stays unchanged. Messages whose IDs the
        session has already are not stored again.

        Args:
            thread_id: The thread.
            graph: The compiled graph whose checkpointer stores the thread. Default: None (the memory's checkpointer).
            session_id: The session. Default: None (the one that the thread comes from, else `session_id` in the config of the
                thread's last run, else the thread's ID).
            user_id: The user of the session; None for nobody. Default: the user of the session that the thread comes from,
                else of the thread's last run.
            agent: The agent of messages that did not come from a session. Default: None.
            messages_key: The key of the messages in the state. Default: `"messages"`.
            all_checkpoints: If true, also store the messages that the graph has removed from its state since, such as those
                that a summary replaced. Each is stored in its newest form. Default: False (those in the latest state).

        Returns:
            The session, and the number of messages that were stored.

        Raises:
            InvalidInputError: There is no such thread, it has no messages, or it has turns of several users and `user_id` is
                omitted.
            UnsupportedValueError: A message would not come back equal; nothing was stored.
            ConflictError: Other processes added messages to the session at every attempt; nothing was stored.

        Example:
            >>> from langchain.agents import create_agent
            >>> from langchain_agentmem import AgentMemory
            >>> from langchain_agentmem.testing import ScriptedChatModel
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     agent = create_agent(ScriptedChatModel(["Hi!"]), [], checkpointer=memory.checkpointer)
            ...     answer = agent.invoke({"messages": [("user", "Hello")]}, {"configurable": {"thread_id": "thread-1"}})
            ...     moved = memory.from_thread("thread-1", session_id="session-1")
            ...     moved.messages, [message.text for message in memory.history("session-1").messages]
            (2, ['Hello', 'Hi!'])
        """
        return run(
            self._handover.from_thread(
                thread_id, graph, session_id, user_id, agent, messages_key, all_checkpoints=all_checkpoints
            )
        )

    async def afrom_thread(
        self,
        thread_id: str,
        graph: Any = None,
        *,
        session_id: str | None = None,
        user_id: str | Omitted | None = OMITTED,
        agent: str | None = None,
        messages_key: str = "messages",
        all_checkpoints: bool = False,
    ) -> MovedConversation:
        """Same as `from_thread`, but without blocking the event loop."""
        return await arun(
            self._handover.from_thread(
                thread_id, graph, session_id, user_id, agent, messages_key, all_checkpoints=all_checkpoints
            )
        )

    @property
    def _handover(self) -> Handover:
        from langchain_agentmem.lifecycle.handover.engine import Handover

        return Handover(self._histories, self.checkpointer)
