"""What tests of profiles share: answers of a model, conversations, and what a profile says in short."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

ALICE = "alice@example.com"
START = datetime(2025, 1, 1, tzinfo=UTC)


class Clock:
    """Time that moves when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = START
        monkeypatch.setattr("time.time", lambda: self.now.timestamp())

    def tick(self, **span: float) -> datetime:
        self.now += timedelta(**span)
        return self.now


def answer(*changes: dict[str, Any]) -> str:
    """What a model says that proposes these changes."""
    return json.dumps({"changes": list(changes)})


def add(text: str, **more: Any) -> dict[str, Any]:
    return {"action": "add", "text": text, **more}


def config(user_id: str | None = ALICE, thread: str = "t", **more: Any) -> dict[str, Any]:
    """The config of a run."""
    return {"configurable": {**({} if user_id is None else {"user_id": user_id}), "thread_id": thread, **more}}


def human(text: str, id: str | None = None, day: float | None = None) -> HumanMessage:
    """A message, written on a day counted from `START`."""
    more = {} if day is None else {"created_at": (START + timedelta(days=day)).isoformat()}
    return HumanMessage(text, id=id, additional_kwargs=more)


def assistant(text: str, id: str | None = None) -> AIMessage:
    return AIMessage(text, id=id)


def texts(facts: Any) -> list[str]:
    return [fact.text for fact in facts]


def shown(request: list[BaseMessage]) -> dict[str, Any]:
    """What a model was shown as data: what is known, and the new messages."""
    text = str(request[1].text)
    known, said, *_ = (part.partition("</data>")[0] for part in text.split("<data>")[1:])
    return {**json.loads(known), "messages": json.loads(said)}


def taking_turns() -> Any:
    """Calls a method and, every other time, its async twin: each works on what the other has stored."""
    turn = itertools.cycle((False, True))

    async def call(method: Any, *args: Any, **kwargs: Any) -> Any:
        if next(turn):
            return await getattr(method.__self__, f"a{method.__name__}")(*args, **kwargs)
        return method(*args, **kwargs)

    return call
