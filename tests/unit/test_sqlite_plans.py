"""Pages of a whole tenant are read in the order of their ids, not sorted anew for each."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_agentmem import AgentMemory
from langchain_agentmem.backends.contract import RecordQuery
from langchain_agentmem.backends.sqlite import history, records, store
from langchain_agentmem.programs import Fetch

PAGE = {"tenant": "default", "bytes": 32, "after": 0, "limit": 100, "now": 0.0}
PAGES: dict[str, tuple[str, Any]] = {
    "items": (store.SQL["next_items"], ("default", 0, 1000)),
    "unembedded items": (store.SQL["unembedded"], PAGE),
    "sessions": (history.SQL["next_sessions"], ("default", 0, 100)),
    "unembedded messages": (history.SQL["unembedded"], PAGE),
}
RECORDS = {**RecordQuery("default", "alice", "s")._asdict(), "now": 0.0}
INDEXES = {
    "": "(tenant=? AND id>?",
    "_of_user": "by_user (tenant=? AND user_id=? AND id>?",
    "_of_session": "by_session (session=?",
}
PAGES |= {
    f"{order}{whose} records": (records.SQL[f"{order}{whose}"], RECORDS)
    for order in ("newest", "oldest")
    for whose in INDEXES
}


@pytest.mark.parametrize(("statement", "parameters"), PAGES.values(), ids=PAGES)
def test_a_page_is_not_sorted(statement, parameters):
    def explained():
        return (yield from Fetch(f"EXPLAIN QUERY PLAN {statement}", parameters))

    with AgentMemory.from_url("sqlite:///:memory:") as memory:
        plan = [row[3] for row in memory.backend.read(explained())]
        assert plan
        assert not any("TEMP B-TREE" in step for step in plan)


@pytest.mark.parametrize("whose", INDEXES)
def test_records_are_read_with_the_index_of_their_owner(whose):
    def explained():
        return (yield from Fetch(f"EXPLAIN QUERY PLAN {records.SQL[f'newest{whose}']}", RECORDS))

    with AgentMemory.from_url("sqlite:///:memory:") as memory:
        assert INDEXES[whose] in memory.backend.read(explained())[0][3]
