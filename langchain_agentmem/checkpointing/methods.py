"""The methods of `AgentMemSaver` that measure threads, copy them from and to other checkpointers, and rewrite them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from langchain_agentmem.checkpointing.engine import CheckpointEngine
from langchain_agentmem.checkpointing.migration.rewriting import migrate_threads
from langchain_agentmem.checkpointing.migration.values import Migrate
from langchain_agentmem.checkpointing.models import CopiedThreads, MigratedThreads
from langchain_agentmem.checkpointing.sizes import CheckpointSizes, checkpoint_sizes
from langchain_agentmem.checkpointing.transfer.copying import copy_threads
from langchain_agentmem.programs import arun, run


class ThreadMethods:
    """Copies of threads between checkpointers, and threads in another shape."""

    if TYPE_CHECKING:

        @property
        def engine(self) -> CheckpointEngine: ...

    def sizes(self, thread_id: str, *, limit: int = 50, before: str | None = None) -> CheckpointSizes:
        """Return the newest checkpoints of a thread with their sizes, newest first.

        Args:
            thread_id: The thread.
            limit: The maximum number of checkpoints. Default: 50.
            before: Only checkpoints older than the one of this ID. Default: None.

        Example:
            >>> from langgraph.graph import START, MessagesState, StateGraph
            >>> from langchain_agentmem import AgentMemory
            >>> builder = StateGraph(MessagesState)
            >>> _ = builder.add_node("reply", lambda state: {"messages": [("ai", "Hello")]}).add_edge(START, "reply")
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     graph = builder.compile(checkpointer=memory.checkpointer)
            ...     _ = graph.invoke({"messages": [("user", "Hi")]}, {"configurable": {"thread_id": "1"}})
            ...     [(one.step, one.source, one.bytes > 0) for one in memory.checkpointer.sizes("1")]
            [(1, 'loop', True), (0, 'loop', True), (-1, 'input', True)]
        """
        return run(checkpoint_sizes(self.engine, thread_id, limit, before))

    async def asizes(self, thread_id: str, *, limit: int = 50, before: str | None = None) -> CheckpointSizes:
        """Same as `sizes`, but without blocking the event loop."""
        return await arun(checkpoint_sizes(self.engine, thread_id, limit, before))

    def copy_from(
        self,
        saver: BaseCheckpointSaver[Any],
        *,
        thread_ids: Sequence[str] | None = None,
        progress: bool | Callable[[CopiedThreads], Any] = False,
    ) -> CopiedThreads:
        """Copy threads from any LangGraph checkpointer, with their whole history, subgraphs and pending writes.

        An interrupted thread resumes here as it would have there. A checkpoint that is here already is skipped, so a call
        after an interruption continues, and a later call copies what is new. Expiry starts now.

        Args:
            saver: The checkpointer to read, such as a `PostgresSaver`, `SqliteSaver`, `InMemorySaver` or `AgentMemSaver`. An
                asynchronous one needs `acopy_from`.
            thread_ids: The threads. Default: None (all).
            progress: If true, show a progress bar; a function is called with the result so far. Default: False.

        Raises:
            InvalidInputError: The saver cannot list its threads; pass `thread_ids`.
            ThreadInUseError: A thread of the same ID continued here, or is another one. Threads before it were copied.

        Example:
            >>> from langgraph.checkpoint.memory import InMemorySaver
            >>> from langgraph.graph import START, MessagesState, StateGraph
            >>> from langchain_agentmem import AgentMemory
            >>> builder = StateGraph(MessagesState)
            >>> _ = builder.add_node("reply", lambda state: {"messages": [("ai", "Hello")]}).add_edge(START, "reply")
            >>> former, config = InMemorySaver(), {"configurable": {"thread_id": "1"}}
            >>> _ = builder.compile(checkpointer=former).invoke({"messages": [("user", "Hi")]}, config)
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     copied = memory.checkpointer.copy_from(former)
            ...     graph = builder.compile(checkpointer=memory.checkpointer)
            ...     copied.threads, len(graph.get_state(config).values["messages"])
            (1, 2)
        """
        return run(copy_threads(saver, self, thread_ids, progress))

    async def acopy_from(
        self,
        saver: BaseCheckpointSaver[Any],
        *,
        thread_ids: Sequence[str] | None = None,
        progress: bool | Callable[[CopiedThreads], Any] = False,
    ) -> CopiedThreads:
        """Same as `copy_from`, but without blocking the event loop."""
        return await arun(copy_threads(saver, self, thread_ids, progress))

    def copy_to(
        self,
        saver: BaseCheckpointSaver[Any],
        *,
        thread_ids: Sequence[str] | None = None,
        progress: bool | Callable[[CopiedThreads], Any] = False,
    ) -> CopiedThreads:
        """Copy threads to any LangGraph checkpointer; the reverse of `copy_from`.

        Args:
            saver: The checkpointer to write. Call its `setup()` first if it has one.
            thread_ids: The threads. Default: None (all).
            progress: If true, show a progress bar; a function is called with the result so far. Default: False.

        Raises:
            ThreadInUseError: A thread of the same ID continued there, or is another one. Threads before it were copied.

        Example:
            >>> from langgraph.checkpoint.memory import InMemorySaver
            >>> from langchain_agentmem import AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     memory.checkpointer.copy_to(InMemorySaver()).threads
            0
        """
        return run(copy_threads(self, saver, thread_ids, progress))

    async def acopy_to(
        self,
        saver: BaseCheckpointSaver[Any],
        *,
        thread_ids: Sequence[str] | None = None,
        progress: bool | Callable[[CopiedThreads], Any] = False,
    ) -> CopiedThreads:
        """Same as `copy_to`, but without blocking the event loop."""
        return await arun(copy_threads(self, saver, thread_ids, progress))

    def migrate(
        self,
        function: Migrate | None = None,
        *,
        dry_run: bool = False,
        thread_ids: Sequence[str] | None = None,
        progress: bool | Callable[[MigratedThreads], Any] = False,
    ) -> MigratedThreads:
        """Rewrite stored threads in today's shape of your state, beside running graphs.

        Each checkpoint is replaced in a transaction of its own. Those that have today's shape are left unchanged, so a call
        after an interruption continues.

        Args:
            function: The function, as for `AgentMemSaver(migrate=…)`. Default: None (that of the checkpointer).
            dry_run: If true, write nothing, and count what would change. Default: False.
            thread_ids: The threads. Default: None (all).
            progress: If true, show a progress bar; a function is called with the result so far. Default: False.

        Raises:
            MissingClassError: The function left a value whose class does not exist. Checkpoints before it were rewritten.
            MigrationError: The function failed. Checkpoints before it were rewritten.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> def rename(values, metadata):
            ...     values.rename("msgs", "messages")
            ...     return values, metadata
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     memory.checkpointer.migrate(rename, dry_run=True).checkpoints
            0
        """
        return run(migrate_threads(self.engine, function, thread_ids, dry_run, progress))

    async def amigrate(
        self,
        function: Migrate | None = None,
        *,
        dry_run: bool = False,
        thread_ids: Sequence[str] | None = None,
        progress: bool | Callable[[MigratedThreads], Any] = False,
    ) -> MigratedThreads:
        """Same as `migrate`, but without blocking the event loop."""
        return await arun(migrate_threads(self.engine, function, thread_ids, dry_run, progress))
