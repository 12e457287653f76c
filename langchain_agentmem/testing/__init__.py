"""For tests and demonstrations: a chat model that answers from a script, so that nothing needs a network or a key."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import PrivateAttr

from langchain_agentmem.errors import AgentMemError


class ScriptEndedError(AgentMemError):
    """A scripted model was asked more often than its script has answers."""


class ScriptedChatModel(BaseChatModel):
    """A chat model that gives the answers of a script, one after the other.

    Args:
        script: The answers: texts, messages, or errors to raise.

    Example:
        >>> from langchain_agentmem.testing import ScriptedChatModel
        >>> model = ScriptedChatModel(["Hello!", "Goodbye."])
        >>> model.invoke("Hi").content
        'Hello!'
        >>> model.requests[0][0].content
        'Hi'
    """

    _answers: list[AIMessage | Exception] = PrivateAttr(default_factory=list)
    _requests: list[list[BaseMessage]] = PrivateAttr(default_factory=list)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    def __init__(self, script: Iterable[str | AIMessage | Exception] = (), **options: Any) -> None:
        super().__init__(**options)
        self._answers = [AIMessage(answer) if isinstance(answer, str) else answer for answer in script]

    @property
    def requests(self) -> list[list[BaseMessage]]:
        """The requests to the model: one list of messages for each call."""
        return self._requests

    def bind_tools(self, tools: Any, **options: Any) -> ScriptedChatModel:
        """The model itself: its script says which tools it calls."""
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **options: Any,
    ) -> ChatResult:
        with self._lock:
            at = len(self._requests)
            self._requests.append(list(messages))
        if at >= len(self._answers):
            msg = f"The script has {len(self._answers)} answers, and the model was asked once more."
            raise ScriptEndedError(msg)
        answer = self._answers[at]
        if isinstance(answer, Exception):
            raise answer
        return ChatResult(generations=[ChatGeneration(message=answer.model_copy(deep=True))])

    @property
    def _llm_type(self) -> str:
        return "scripted"
