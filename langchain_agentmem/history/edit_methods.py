"""The methods of `AgentMemHistory` that change stored messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from langchain_core.messages import MessageLikeRepresentation

from langchain_agentmem.arguments.omitted import OMITTED, Omitted
from langchain_agentmem.history.chains import TurnWindows
from langchain_agentmem.history.changes import Doomed, check_message_id
from langchain_agentmem.history.logs import Log
from langchain_agentmem.messages.conversion import as_message
from langchain_agentmem.programs import Program, arun, run


class EditMethods:
    """Delete, replace and truncate the messages of a history.

    The search index, the number of messages, and a title that was taken from a changed message follow. A stored summary that
    covers a changed message is deleted, also one that another process is writing. The next turn writes a new one.

    A history with `agent` changes only the messages of this agent.
    """

    _log: Log
    _windows: TurnWindows

    def delete(self, ids: str | Iterable[str] | None = None, *, before: datetime | float | None = None) -> int:
        """Delete messages by ID or by time.

        Args:
            ids: The ID of a message, or several. If several messages have the same ID, because the same object was added
                twice, all of them are deleted. IDs that no message has are ignored.
            before: Delete the messages that are older than this time: a datetime (UTC if it has no time zone), or a Unix
                time in seconds.

        Returns:
            The number of deleted messages.

        Raises:
            InvalidInputError: Neither `ids` nor `before` is given, or both are.
            InvalidTypeError: An argument has the wrong type.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     history = memory.history("session-1")
            ...     history.add_user_message("My password is hunter2")
            ...     (history.delete(history.messages[0].id), history.count())
            (1, 0)
        """
        return run(self._delete(ids, before))

    async def adelete(self, ids: str | Iterable[str] | None = None, *, before: datetime | float | None = None) -> int:
        """Same as `delete`, but without blocking the event loop."""
        return await arun(self._delete(ids, before))

    def replace(
        self,
        message_id: str,
        message: MessageLikeRepresentation,
        *,
        metadata: Mapping[str, Any] | Omitted | None = OMITTED,
    ) -> None:
        """Store a message in place of another one.

        The new message has the position, the agent and the ID of the old one, also if it has an ID of its own. It has the
        time of the old one, unless its `additional_kwargs["created_at"]` states another.

        Args:
            message_id: The ID of the old message. If several messages have it, each of them is replaced.
            message: The new message, or a value from which langchain-core makes one: a tuple, a dict, or a string for a human
                message. It is not changed.
            metadata: A JSON-serialisable mapping to store with the message; None for none. Default: that of the old message.

        Raises:
            UnknownMessageError: No message has the ID.
            InvalidTypeError: An argument has the wrong type.
            UnsupportedValueError: The message would not round-trip.
            InvalidInputError: The message is malformed or too large.

        Example:
            >>> from langchain_core.messages import HumanMessage
            >>> from langchain_agentmem import AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     history = memory.history("session-1")
            ...     history.add_user_message("I live in Bern")
            ...     history.replace(history.messages[0].id, HumanMessage("I live in Basel"))
            ...     history.messages[0].text
            'I live in Basel'
        """
        run(self._replace(message_id, message, metadata))

    async def areplace(
        self,
        message_id: str,
        message: MessageLikeRepresentation,
        *,
        metadata: Mapping[str, Any] | Omitted | None = OMITTED,
    ) -> None:
        """Same as `replace`, but without blocking the event loop."""
        await arun(self._replace(message_id, message, metadata))

    def truncate(self, after: str) -> int:
        """Delete all messages after a message, for example to generate an answer again.

        Args:
            after: The ID of the last message that is kept. If several messages have it, the newest of them counts.

        Returns:
            The number of deleted messages.

        Raises:
            UnknownMessageError: No message has the ID.
            InvalidTypeError: The ID is not a string.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     history = memory.history("session-1")
            ...     history.add_user_message("Tell me a joke")
            ...     history.add_ai_message("No.")
            ...     history.truncate(after=history.messages[0].id)
            1
        """
        return run(self._truncate(after))

    async def atruncate(self, after: str) -> int:
        """Same as `truncate`, but without blocking the event loop."""
        return await arun(self._truncate(after))

    def _delete(self, ids: Any, before: Any) -> Program[int]:
        doomed = Doomed.of(ids, before)
        self._windows.end()
        return (yield from self._log.delete(doomed))

    def _replace(
        self, message_id: str, message: MessageLikeRepresentation, metadata: Mapping[str, Any] | Omitted | None
    ) -> Program[None]:
        check_message_id("message_id", message_id)
        new = as_message("message", message)
        self._windows.end()
        yield from self._log.replace(message_id, new, metadata)

    def _truncate(self, after: str) -> Program[int]:
        check_message_id("after", after)
        self._windows.end()
        return (yield from self._log.truncate(after))
