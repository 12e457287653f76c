"""One call with more parts than a statement or a command of the backend may have."""

from __future__ import annotations

import pytest
from langchain_core.messages import HumanMessage
from langgraph.store.base import GetOp, PutOp

from langchain_agentmem import AgentMemory

PLACE = ("large", "calls")


@pytest.mark.parametrize(
    ("lasting_url", "many"),
    [("sqlite-file", 33_000), ("postgres", 66_000), ("redis", 21_000)],
    indirect=["lasting_url"],
)
def test_one_call_may_have_more_parts_than_a_statement_has_parameters(lasting_url, many):
    with AgentMemory.from_url(lasting_url) as memory:
        memory.store.batch([PutOp(PLACE, str(at), {"n": at}, index=False) for at in range(many)])
        found = memory.store.batch([GetOp(PLACE, str(at)) for at in range(many)])
        assert [item.value["n"] for item in found] == list(range(many))
        history = memory.history("s")
        history.add_messages([HumanMessage("m")] * many)
        assert history.count() == many
