"""A turn as the chain and the graph receive it, and the replies of the file and of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig

from langchain_agentmem.command.demo.turns import Session, Turn
from langchain_agentmem.errors import AgentMemError
from langchain_agentmem.programs.signals import came_by_signal
from langchain_agentmem.testing import ScriptedChatModel

WINDOW = 40
"""The maximum number of messages of the history that a model receives."""


class ModelFailedError(AgentMemError):
    """The model of `--model` did not answer. The turns before are stored."""


@dataclass(frozen=True, slots=True)
class Step:
    """A turn to play. It is passed to the chain and the graph, and never stored."""

    session: Session
    turn: Turn
    model: BaseChatModel | None
    """Answers instead of the file; None to play the recorded answers."""

    def answers_after(self, messages: list[BaseMessage]) -> list[BaseMessage]:
        """Return the recorded answers after these messages of the session, up to the end of the turn."""
        if not messages:
            return list(self.turn.answers)
        last = self.session.index(messages[-1])
        return [] if last is None else self.turn.answers_from(last + 1)

    def model_at(self, position: int) -> BaseChatModel | None:
        """Return the model if it answers at this position: after a human message, and before any recorded answer."""
        return self.model if self.turn.asked and position == self.turn.start + len(self.turn.questions) else None


def recorded_reply(recorded: BaseMessage, messages: list[BaseMessage], config: RunnableConfig) -> BaseMessage:
    """Return a recorded answer as the output of a scripted model, so that callbacks and streams see a model call."""
    return ScriptedChatModel([cast("AIMessage", recorded)]).invoke(messages, config)


def model_reply(model: BaseChatModel, messages: list[BaseMessage], config: RunnableConfig) -> BaseMessage:
    """Return the answer of a model.

    Raises:
        ModelFailedError: The model raised an error.
    """
    try:
        return model.invoke(messages, config)
    except Exception as error:  # each provider raises errors of its own
        if came_by_signal(error):
            raise
        msg = f"The model failed ({type(error).__name__}: {error}). What was played before is stored."
        raise ModelFailedError(msg) from error
