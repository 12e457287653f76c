"""A summariser and conversations for tests of compression."""

from __future__ import annotations

import threading
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from patience import PATIENCE
from pydantic import PrivateAttr


class Noting(BaseChatModel):
    """A summariser that notes what it is shown, and answers with the first words of it."""

    _shown: list[str] = PrivateAttr(default_factory=list)
    _gate: threading.Event | None = PrivateAttr(default=None)
    _begun: threading.Event = PrivateAttr(default_factory=threading.Event)

    def __init__(self, gate: threading.Event | None = None) -> None:
        super().__init__()
        self._gate = gate

    @property
    def shown(self) -> list[str]:
        return self._shown

    @property
    def begun(self) -> threading.Event:
        return self._begun

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **options: Any) -> Any:
        self._shown.append(str(messages[-1].content))
        self._begun.set()
        if self._gate is not None:
            assert self._gate.wait(PATIENCE)
        text = f"Summary {len(self._shown)}."
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])

    @property
    def _llm_type(self) -> str:
        return "noting"


def talk(first: int, last: int) -> list[BaseMessage]:
    return [one for at in range(first, last) for one in (HumanMessage(f"fact {at} is {at}"), AIMessage(f"noted {at}"))]


def texts(messages: list[BaseMessage]) -> list[str]:
    return [str(message.text) for message in messages]
