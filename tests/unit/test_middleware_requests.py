"""The middleware sends requests that every provider accepts, within the budget, for any conversation."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from examples import examples
from hypothesis import event, given, settings
from hypothesis import strategies as st
from langchain.agents import create_agent
from langchain.agents.structured_output import AutoStrategy, ProviderStrategy, ToolStrategy
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, RemoveMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from provider_conversations import assert_accepted, conversations
from provider_rules import PROVIDERS
from pydantic import BaseModel, Field, PrivateAttr

from langchain_agentmem import AgentMemory
from langchain_agentmem.errors import BudgetError
from langchain_agentmem.messages.tokens import TokenCounter

COUNTER = TokenCounter()
USER = "alice@example.com"
FACTS = ("Owns a red bicycle", "Plays chess", "Studies Greek", "Looks for a flat", "Says yes. " * 40)
THREADS = itertools.count()
LEAST_ROOM = 1_500
"""Every conversation fits a budget of so many tokens: its texts are truncated, and its pictures become marks."""


class Report(BaseModel):
    """A report."""

    title: str = Field(description="What the report is about, in a few words")
    text: str = Field(description="The report in full sentences")


@tool
def f(n: int = 0, q: str = "") -> str:
    """Look something up."""
    return q * n


class Sent(NamedTuple):
    """A request that reached the model."""

    messages: list[BaseMessage]
    options: dict[str, Any]

    @property
    def tokens(self) -> int:
        schema = self.options.get("response_format")
        return (
            COUNTER.messages(self.messages)
            + COUNTER.tools(self.options.get("tools", []))
            + (COUNTER.text(json.dumps(schema)) if schema else 0)
        )


class Recorder(BaseChatModel):
    """A chat model that records its requests with the tools and the response format."""

    _sent: list[Sent] = PrivateAttr(default_factory=list)

    @property
    def sent(self) -> list[Sent]:
        return self._sent

    def bind_tools(self, tools: Any, **options: Any) -> Any:
        return self.bind(tools=tools, **options)

    def _generate(self, messages: list[BaseMessage], *_: Any, **options: Any) -> ChatResult:
        self._sent.append(Sent(list(messages), options))
        answer = AIMessage(Report(title="So", text="It is so.").model_dump_json())
        return ChatResult(generations=[ChatGeneration(message=answer)])

    @property
    def _llm_type(self) -> str:
        return "recorder"


class ChatAnthropic(Recorder):
    """A model whose middleware may mark the system message: what is known about the user is a message of its own."""


def failing(messages: Any) -> str:
    msg = "The summariser is down."
    raise RuntimeError(msg)


SUMMARISERS = {
    "none": None,
    "model": RunnableLambda(lambda messages: "They spoke about a tower, at length. " * 60),
    "failing": RunnableLambda(failing),
}
OPTIONS = st.fixed_dictionaries(
    {
        "summariser": st.sampled_from(sorted(SUMMARISERS)),
        "tokens": st.integers(700, 4_000),
        "trigger": st.none() | st.sampled_from([("tokens", 300), ("messages", 4), [("tokens", 900), ("messages", 9)]]),
        "shrink": st.booleans(),
        "summary_role": st.sampled_from(["human", "system"]),
        "format": st.none() | st.sampled_from([ToolStrategy, ProviderStrategy, AutoStrategy]),
        "system_prompt": st.none() | st.just("You help with towers."),
        "context_tools": st.booleans(),
        "knows": st.booleans(),
        "model": st.sampled_from([Recorder, ChatAnthropic]),
        "turns": st.integers(1, 3),
    }
)


@pytest.fixture(scope="module")
def knowing() -> Iterator[AgentMemory]:
    with AgentMemory.from_url("sqlite:///:memory:") as memory:
        memory.profiles.add_facts(USER, FACTS)
        yield memory


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def agent_of(memory: AgentMemory, model: Recorder, options: dict[str, Any]) -> Any:
    compressor = memory.compressor(
        SUMMARISERS[options["summariser"]],
        max_tokens=options["tokens"],
        trigger=options["trigger"],
        shrink=options["shrink"],
        summary_role=options["summary_role"],
        token_counter=COUNTER,
    )
    middleware = memory.middleware(
        compressor=compressor, context_tools=options["context_tools"], max_characters=1_000, facts=3
    )
    form = options["format"]
    return create_agent(
        model,
        [f],
        system_prompt=options["system_prompt"],
        response_format=None if form is None else form(Report),
        middleware=[middleware],
        checkpointer=InMemorySaver(),
    )


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_provider_accepts_every_request_of_the_middleware(provider, mode, knowing):
    def invoke(agent: Any, messages: list[BaseMessage], config: Any) -> None:
        given = {"messages": messages}
        if mode == "async":
            runner.run(agent.ainvoke(given, config))
        else:
            agent.invoke(given, config)

    @settings(deadline=None, max_examples=examples(60))
    @given(conversations(provider), OPTIONS)
    def check(messages, options):
        """Send a conversation in turns. The model's answers become part of it."""
        model = options["model"]()
        agent = agent_of(knowing, model, options)
        user_id = USER if options["knows"] else "nobody"
        config = {"configurable": {"user_id": user_id, "thread_id": f"thread-{next(THREADS)}"}}
        messages = [one for one in messages if not isinstance(one, RemoveMessage)]  # the state has none
        size = -(-len(messages) // options["turns"]) or 1
        for start in range(0, len(messages) or 1, size):
            given = [one.model_copy(deep=True) for one in messages[start : start + size]]
            try:
                invoke(agent, given, config)
            except BudgetError:
                event("BudgetError")
                assert options["tokens"] < LEAST_ROOM
                return
            sent = model.sent[-1]
            assert sent.tokens <= options["tokens"]
            assert_accepted(provider, sent.messages)

    with asyncio.Runner() as runner:
        check()
