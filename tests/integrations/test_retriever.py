"""LangChain's standard tests for retrievers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_tests.integration_tests import RetrieversIntegrationTests
from profiles import ALICE

from langchain_agentmem import AgentMemory
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
