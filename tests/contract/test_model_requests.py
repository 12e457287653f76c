"""The requests that an agent's middleware sends to a model: within the budget, with a stable beginning, and repeatable."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import AutoStrategy, ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field, create_model

from langchain_agentmem.messages.tokens import TokenCounter
from langchain_agentmem.testing import ScriptedChatModel

FIELDS = {
    f"field_{n}": (str, Field(description=f"Everything about subject number {n}, in full sentences")) for n in range(40)
}
Report: Any = create_model("Report", **FIELDS)  # type: ignore[call-overload]


class Bound(ScriptedChatModel):
    """Accepts tools."""

    def bind_tools(self, tools: Any, **options: Any) -> Any:
        return self


def talk(turns: int) -> list[BaseMessage]:
    return [
        one
        for number in range(turns)
        for one in (
            HumanMessage(f"Question {number}: " + "what of it? " * 8),
            AIMessage(f"Answer {number}: " + "so. " * 8),
        )
    ]


@pytest.mark.parametrize("strategy", [ToolStrategy, ProviderStrategy, AutoStrategy, lambda schema: schema])
async def test_schemas_of_the_response_format_count_in_the_budget(memory, call, strategy):
    counter, budget = TokenCounter(), 3_000
    answer = AIMessage("", tool_calls=[{"name": "Report", "args": dict.fromkeys(FIELDS, "x"), "id": "1"}])
    if strategy is ProviderStrategy:
        answer = AIMessage(Report(**dict.fromkeys(FIELDS, "x")).model_dump_json())
    model = Bound([answer])
    compressor = memory.compressor(max_tokens=budget)
    agent = create_agent(model, [], response_format=strategy(Report), middleware=[compressor.as_middleware()])
    given = {"messages": [*talk(60), HumanMessage("Report, please")]}
    state = await call(agent.invoke, given)
    schema = counter.tools([convert_to_openai_tool(Report)])
    assert 1_000 < schema < budget
    assert counter.messages(model.requests[0]) + schema <= budget
    assert isinstance(state["structured_response"], Report)
