"""The method of `AgentMemory` that creates compressors."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from typing_extensions import Unpack

from langchain_agentmem.arguments.options import CompressorOptions, check_options
from langchain_agentmem.checkpointing.face import AgentMemSaver

if TYPE_CHECKING:
    from langchain_core.runnables import Runnable

    from langchain_agentmem.compression.backoff import Backoff
    from langchain_agentmem.compression.compressor import MemoryCompressor


class CompressionMethods:
    """Create compressors whose summaries are stored in the memory."""

    checkpointer: AgentMemSaver

    def compressor(
        self, model: Runnable[Any, Any] | str | None = None, **options: Unpack[CompressorOptions]
    ) -> MemoryCompressor:
        """Return a compressor that stores its summaries with the thread or the session that a run's config names.

        Args:
            model: A model that writes summaries. Default: None (a summary quotes sentences of the conversation).
            **options: The keyword arguments of `MemoryCompressor`, such as `max_tokens`.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     history = memory.history("session-1", compressor=memory.compressor(max_messages=4))
            ...     for number in range(10):
            ...         history.add_user_message(f"The budget of project {number} is {number} euros.")
            ...     len(history.messages), history.count()
            (3, 10)
        """
        from langchain_agentmem.compression.compressor import MemoryCompressor
        from langchain_agentmem.compression.storage import storage_of_run

        check_options("memory.compressor", options, CompressorOptions)
        compressor = MemoryCompressor(
            model, place_of=lambda config: storage_of_run(self.checkpointer.engine, config), **options
        )
        compressor.engine.backoff = self._backoff
        return compressor

    @cached_property
    def _backoff(self) -> Backoff:
        """The failures of the memory's conversations: an application may create a compressor for each turn."""
        from langchain_agentmem.compression.backoff import Backoff

        return Backoff()
