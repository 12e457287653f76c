"""A summarising model that fails: it is called less and less often, per session, and requests stay stable in the meantime."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableLambda

from langchain_agentmem import AgentMemHistory


class Failing:
    """A summarising model that fails until it is mended, and counts its calls."""

    def __init__(self) -> None:
        self.calls = 0
        self.is_mended = False
        self.shown: list[str] = []
        self.model = RunnableLambda(self._answer)

    def _answer(self, request: list[BaseMessage]) -> str:
        self.calls += 1
        self.shown.append(str(request[-1].content))
        if not self.is_mended:
            msg = "overloaded"
            raise RuntimeError(msg)
        return "Everything so far."


class Window:
    """The messages of a history, read by a method with an async twin."""

    def __init__(self, history: AgentMemHistory) -> None:
        self._history = history

    def read(self) -> list[BaseMessage]:
        return self._history.messages

    async def aread(self) -> list[BaseMessage]:
        return await self._history.aget_messages()


def turn(number: int) -> list[BaseMessage]:
    return [HumanMessage(f"question #{number}# " + "word " * 20), AIMessage(f"answer #{number}# " + "word " * 20)]


async def prompts(memory: Any, call: Any, kind: str, compressor: Any, turns: range, session: str = "s") -> Any:
    """Add turns to a conversation, and return what the model is sent in each."""
    sent = []
    if kind == "session":
        history = memory.history(session, compressor=compressor)
        for number in turns:
            await call(history.add_messages, turn(number))
            sent.append(await call(Window(history).read))
        return sent
    conversation = [one for number in range(turns.start) for one in turn(number)]
    for number in turns:
        conversation += turn(number)
        sent.append(await call(compressor.invoke, list(conversation), {"configurable": {"thread_id": session}}))
    return sent


@pytest.mark.parametrize("kind", ["session", "list"])
@pytest.mark.parametrize("budget", [{"max_messages": 8}, {"max_tokens": 400}])
async def test_a_model_that_always_fails_is_called_rarely_and_prompts_stay_stable(memory, call, kind, budget):
    failing = Failing()
    compressor = memory.compressor(failing.model, **budget)
    sent = await prompts(memory, call, kind, compressor, range(40))
    assert 2 <= failing.calls <= 8
    changed = [former != latter[: len(former)] for former, latter in pairwise(sent)]
    assert sum(changed) <= 24
    assert all(one[-1].content == turn(number)[-1].content for number, one in enumerate(sent))
    assert all(compressor.budget.holds(one) for one in sent)


@pytest.mark.parametrize("kind", ["session", "list"])
async def test_the_next_turn_tries_again_after_one_failure(memory, call, kind):
    failing = Failing()
    compressor = memory.compressor(failing.model, max_messages=6)
    await prompts(memory, call, kind, compressor, range(4))
    assert failing.calls == 1
    failing.is_mended = True
    (sent,) = await prompts(memory, call, kind, compressor, range(4, 5))
    assert "Everything so far." in str(sent[0].content)


@pytest.mark.parametrize("kind", ["session", "list"])
async def test_a_mended_model_summarises_all_that_was_left_out(memory, call, kind):
    failing = Failing()
    # A compressor for each turn shares the failures of the memory's sessions.
    for number in range(20):
        compressor = memory.compressor(failing.model, max_messages=8)
        await prompts(memory, call, kind, compressor, range(number, number + 1))
    assert failing.calls <= 6
    failing.is_mended = True
    failing.shown.clear()
    sent = await prompts(memory, call, kind, compressor, range(20, 50))
    assert "Everything so far." in str(sent[-1][0].content)
    shown = " ".join(failing.shown)
    assert all(f"question #{number}#" in shown for number in range(40))


async def test_other_sessions_are_summarised_while_one_fails(memory, call):
    failing = Failing()
    compressor = memory.compressor(failing.model, max_messages=8)
    await prompts(memory, call, "list", compressor, range(20), "broken")
    failing.is_mended = True
    sent = await prompts(memory, call, "list", compressor, range(6), "other")
    assert "Everything so far." in str(sent[-1][0].content)


async def test_the_event_names_the_error_while_no_summary_is_tried(memory, call):
    compressor = memory.compressor(Failing().model, max_messages=8)
    await prompts(memory, call, "list", compressor, range(20))
    assert all("overloaded" in str(event.error) for event in compressor.events)
    assert 0 in {event.calls for event in compressor.events}
