"""LangChain's standard tests for retrievers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_tests.integration_tests import RetrieversIntegrationTests
from profiles import ALICE

from langchain_agentmem import AgentMemory, InvalidInputError
from langchain_agentmem.messages.tokens import TokenCounter
from langchain_agentmem.prompting.recall.retriever import MemoryRetriever


class TestMemoryRetriever(RetrieversIntegrationTests):
    memory: AgentMemory

    @pytest.fixture(autouse=True)
    def _filled(self, sqlite_memory: AgentMemory) -> Iterator[None]:
        sqlite_memory.profiles.add_facts(ALICE, ["Sails a boat", "Has a red boat", "Paints boats"])
        sqlite_memory.memories.save(ALICE, "The boat is called Argo")
        type(self).memory = sqlite_memory
        yield
        del type(self).memory

    @property
    def retriever_constructor(self) -> Any:
        return lambda **options: self.memory.as_retriever(**options)

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"user_id": ALICE}

    @property
    def retriever_query_example(self) -> str:
        return "Which boat?"

    def test_its_type(self) -> None:
        assert isinstance(self.memory.as_retriever(user_id=ALICE), MemoryRetriever)

    def test_a_budget_leaves_out_the_least_relevant_documents(self) -> None:
        every = self.memory.as_retriever(user_id=ALICE).invoke("Which boat?")
        budget = sum(TokenCounter().text(one.page_content) for one in every[:2])
        for tokens, number in ((budget, 2), (budget - 1, 1), (1, 0)):
            retriever = self.memory.as_retriever(user_id=ALICE, max_tokens=tokens)
            assert retriever.invoke("Which boat?") == every[:number]
            assert asyncio.run(retriever.ainvoke("Which boat?")) == every[:number]
        assert retriever.invoke("Which boat?", max_tokens=budget) == every[:2]
        for options in ({"max_tokens": 0}, {"max_tokens": -1}):
            with pytest.raises(InvalidInputError, match="max_tokens must be at least 1"):
                self.memory.as_retriever(user_id=ALICE, **options)
