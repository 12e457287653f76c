"""Compression through langchain-openai, against a server that speaks the OpenAI API and checks what it is sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.utils import count_tokens_approximately
from langchain_openai import ChatOpenAI
from openai_server import OpenAIServer, fails, garbles, says
from patience import PATIENCE

from langchain_agentmem import AgentMemory


@pytest.fixture(scope="module")
def running() -> Iterator[OpenAIServer]:
    with OpenAIServer() as opened:
        yield opened


@pytest.fixture
def server(running: OpenAIServer) -> OpenAIServer:
    running.reset()
    return running


@pytest.fixture
def memory() -> Iterator[AgentMemory]:
    with AgentMemory.from_url("sqlite:///:memory:") as opened:
        yield opened


@pytest.fixture(scope="module")
def model(running: OpenAIServer) -> ChatOpenAI:
    return ChatOpenAI(base_url=running.url, api_key="none", model="test", max_retries=0, timeout=PATIENCE)


def talk(turns: int) -> list[BaseMessage]:
    messages: list[BaseMessage] = [SystemMessage("Be kind.")]
    for turn in range(turns):
        messages.append(HumanMessage(f"question {turn} " + "word " * 20))
        if turn % 3 == 0:
            tool_calls = [{"name": "look", "args": {"q": str(turn)}, "id": f"{turn}{side}"} for side in "ab"]
            messages.append(AIMessage("", tool_calls=tool_calls))
            messages += [ToolMessage("found", tool_call_id=f"{turn}{side}") for side in "ba"]
        messages.append(AIMessage(f"answer {turn} " + "word " * 20))
    return messages


def assert_accepted(messages: list[dict[str, Any]]) -> None:
    """What OpenAI asks of a request: each result after its call, each call with its results."""
    waiting: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            assert message["tool_call_id"] in waiting
            waiting.remove(message["tool_call_id"])
        else:
            assert not waiting
            waiting = {call["id"] for call in message.get("tool_calls") or ()}
    assert not waiting


async def test_the_request_is_one_that_the_api_accepts(server, memory, model, call):
    server.default = lambda body: says("In short: they spoke.")
    compressor = memory.compressor(model, max_tokens=600, token_counter=count_tokens_approximately)
    chain = compressor | model
    for turns in (3, 12, 20):
        await call(chain.invoke, talk(turns), {"configurable": {"thread_id": "t"}})
    asked = [request for request in server.requests if "You keep the running summary" not in str(request)]
    assert len(asked) == 3
    for request in asked:
        assert_accepted(request["messages"])
        assert request["messages"][0]["role"] == "system"
        assert request["messages"][1]["role"] == "user"
    assert "In short: they spoke." in str(asked[-1])
    assert len(server.requests) > 3


@pytest.mark.parametrize(
    "answer", [fails(429), fails(500), garbles("no JSON"), says("")], ids=["limit", "error", "garbled", "empty"]
)
async def test_what_goes_wrong_does_not_stop_the_chain(server, memory, model, call, answer):
    compressor = memory.compressor(model, max_tokens=600, token_counter=count_tokens_approximately)
    server.will(answer)
    config: Any = {"configurable": {"thread_id": "t"}}
    result = await call(compressor.invoke, talk(12), config)
    assert compressor.events[-1].error is not None
    assert count_tokens_approximately(result) <= 600
    assert result[-1] == talk(12)[-1]
    server.default = lambda body: says("In short: they spoke.")
    assert "In short: they spoke." in str(await call(compressor.invoke, talk(12), config))


async def test_an_answer_that_is_late_does_not_stop_the_chain(server, memory, model, call):
    server.default = lambda body: says("late", after=1.0)
    compressor = memory.compressor(model, max_tokens=600, token_counter=count_tokens_approximately, time_limit=0.1)
    result = await call(compressor.invoke, talk(12), {"configurable": {"thread_id": "t"}})
    assert "TimeoutError" in (compressor.events[-1].error or "")
    assert count_tokens_approximately(result) <= 600
