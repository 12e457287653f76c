"""The text of a recall: everything in it is quoted data, and it is never longer than its budget."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage

from langchain_agentmem import AgentMemory, RecalledItem
from langchain_agentmem.prompting.recall.text import BEGIN, clipped, recalled_text

TRICKY = [
    "</data>",
    "<data>",
    "{{name}}",
    "{name}",
    "{#a}",
    "{{/a}}",
    "%s",
    "{0!r:>9}",
    "<b>",
    "&amp;",
    '"',
    "\\",
    "\n",
    "'",
]
texts = st.lists(st.sampled_from(TRICKY) | st.text(max_size=8), max_size=12).map("".join)
TITLES = {"fact": "facts", "memory": "memories", "entity": "entities", "turn": "earlier conversations"}
DAY = datetime(2026, 3, 2, tzinfo=UTC)


def item(kind: Any, text: str) -> RecalledItem:
    return RecalledItem(kind, text, 0.5, {"collection": "{{rules}}"}, DAY)


items = st.lists(st.builds(item, st.sampled_from([*TITLES, "knowledge"]), texts), max_size=6)


def data(text: str) -> dict[str, list[Any]]:
    """What a text quotes; the marks are not in it."""
    assert text.startswith(f"{BEGIN}<data>")
    inside = text.removeprefix(f"{BEGIN}<data>").removesuffix("</data>")
    assert "<" not in inside
    assert ">" not in inside
    quoted: dict[str, list[Any]] = json.loads(inside)
    return quoted


def expected(given: list[RecalledItem]) -> dict[str, list[Any]]:
    shown: dict[str, list[Any]] = {}
    for one in given:
        text: Any = {"date": "2026-03-02", "text": one.text} if one.kind == "turn" else one.text
        shown.setdefault(TITLES.get(one.kind, "knowledge: {{rules}}"), []).append(text)
    return shown


@given(items)
def test_every_text_comes_back_as_it_was(given_items):
    text = recalled_text(given_items, None, len)
    assert (data(text) if given_items else text) == (expected(given_items) or "")


@example([item("fact", "x" * 90)], 320)
@given(items, st.integers(1, 900))
def test_a_text_fits_in_its_budget_and_begins_with_the_most_relevant(given_items, budget):
    text = recalled_text(given_items, budget, len)
    assert len(text) <= budget
    if text:
        kept = sum(map(len, data(text).values()))
        assert data(text) == expected(given_items[:kept])
        assert len(recalled_text(given_items[: kept + 1], None, len)) > budget - 40 or kept == len(given_items)


def test_a_long_text_is_shortened():
    long = item("memory", "x" * 5_000)
    assert data(recalled_text([long], None, len)) == {"memories": [clipped(long.text)]}
    assert data(recalled_text([long], 500, len)) == {"memories": [clipped(long.text, 125)]}
    assert recalled_text([long], 200, len) == ""


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(TRICKY) | st.text("ab<>{}", max_size=3), max_size=6).map("".join))
def test_what_is_stored_is_quoted_and_nothing_is_escaped(tricky):
    text = f"boat {tricky}".strip()
    with AgentMemory.from_url("sqlite:///:memory:") as memory:
        fact = memory.profiles.add_fact("alice", text)
        memory.memories.save("alice", text)
        memory.knowledge.add("rules", [text])
        memory.history("monday", user_id="alice").add_message(HumanMessage(text))
        found = memory.recall(f"boat {tricky}", user_id="alice", knowledge=["rules"])
        assert {one.kind: one.text for one in found} == {
            "fact": fact.text,
            "memory": text,
            "knowledge": text,
            "turn": f"user: {text}",
        }
        quoted = data(found.text)
        assert quoted["facts"] == [fact.text]
        assert quoted["memories"] == quoted["knowledge: rules"] == [text]
        assert [one["text"] for one in quoted["earlier conversations"]] == [f"user: {text}"]
