"""Conversations, as a run hands them over for extraction, and the roles in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from langchain_core.messages import BaseMessage, ChatMessage, RemoveMessage

from langchain_agentmem.messages import roles
from langchain_agentmem.messages.content import without_results
from langchain_agentmem.messages.pairing import results_of

USER, ASSISTANT = "user", "assistant"
_ROLES = {"human": USER, "user": USER, "ai": ASSISTANT, "assistant": ASSISTANT}

_SUMMARIZATION = "summarization"
"""The mark of summaries that a middleware puts into the messages: LangChain's, that of Deep Agents, and ours."""

_SUMMARY = "Here is a summary of the conversation to date:"
"""The start of the summaries of LangChain 1.0, which have no mark."""


@dataclass(frozen=True)
class Conversation:
    """Messages of one user in one thread."""

    user_id: str
    thread: str
    messages: Sequence[BaseMessage]
    now: float
    """Time at which the run handed them over, in Unix seconds."""
    of_thread: bool = False
    """True if the thread is one of a graph, in which several users may take part."""
    agent: str | None = None
    """Agent of the run."""

    def preceded_by(self, earlier: Conversation) -> Conversation:
        """Return this conversation with those messages of an earlier hand-over that it lacks in front.

        Two runs often hand over the same messages. A message with an ID is the same if the ID is, another one if its
        type and text are.

        Args:
            earlier: The same conversation, handed over before.
        """
        ids = {message.id for message in self.messages if message.id is not None}
        texts = {(message.type, str(message.text)) for message in self.messages if message.id is None}
        missing = [
            message
            for message in earlier.messages
            if (message.id not in ids if message.id is not None else (message.type, str(message.text)) not in texts)
        ]
        return replace(self, messages=[*missing, *self.messages])


def role_of(message: BaseMessage) -> str | None:
    """Return the writer of a message: `USER`, `ASSISTANT`, or None for neither.

    A summary of earlier messages has no author, nor has a message that only answers a call, such as an approval.
    """
    if message.additional_kwargs.get("lc_source") == _SUMMARIZATION or str(message.text).startswith(_SUMMARY):
        return None
    if results_of(message) and without_results(message) is None:
        return None
    return _ROLES.get(message.role.lower() if isinstance(message, ChatMessage) else roles.role_of(message))


def storable(text: str) -> str:
    """Return a text without halves of surrogate pairs, which cannot be stored."""
    return text.encode(errors="replace").decode()


def without_removals(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return messages without `RemoveMessage`s."""
    return [message for message in messages if not isinstance(message, RemoveMessage)]
