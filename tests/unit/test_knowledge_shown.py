"""Representations and tables of knowledge name its store, and contain no secret and no markup of a user."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_agentmem import AgentMemory, Extraction, UserProfile
from langchain_agentmem.testing import ScriptedChatModel

ALICE = "alice@example.com"


@pytest.fixture
def memory():
    with AgentMemory.from_url("sqlite:///:memory:", tenant="shop") as memory:
        yield memory


@pytest.mark.parametrize("name", ["profiles", "entities", "memories", "knowledge"])
def test_a_repr_names_the_store_and_no_content(memory: AgentMemory, name: str) -> None:
    memory.profiles.add_fact(ALICE, "Likes tea")
    surface: Any = getattr(memory, name)
    assert repr(surface) == f"{type(surface).__name__}({memory.backend!r}, tenant='shop')"
    assert f"<caption>{type(surface).__name__}</caption>" in surface._repr_html_()
    assert "shop" in surface._repr_html_()


def test_tables_escape_what_users_write(memory: AgentMemory) -> None:
    text = "Likes <b>tea</b>"
    memory.profiles.add_fact(ALICE, text)
    memory.profiles.update_preference(ALICE, "<i>", text)
    memory.memories.save(ALICE, text)
    memory.knowledge.add("<u>", [text], {"<s>": "<s>"})
    entity = memory.entities.upsert(ALICE, text, "<i>", description="<u>", attributes={"<s>": "<s>"})
    relation = memory.entities.relate(ALICE, text, "<i>", "<u>", sources=["<s>"])
    shown = [
        memory.profiles.get(ALICE),
        memory.profiles.timeline(ALICE),
        memory.memories.list(ALICE),
        memory.memories.search(ALICE, "tea"),
        memory.knowledge.search("tea"),
        entity,
        relation,
        Extraction(ALICE, added=memory.profiles.timeline(ALICE), fields=("<i>",), entities=("<u>",), error="<s>"),
    ]
    for table in (one._repr_html_() for one in shown):
        assert "&lt;b&gt;tea&lt;/b&gt;" in table
        assert not [tag for tag in ("<b>", "<i>", "<u>", "<s>") if tag in table]


def test_a_profile_shows_its_fields_and_a_timeline(memory: AgentMemory) -> None:
    memory.profiles.save(UserProfile(user_id=ALICE, name="Alice"))
    athens = memory.profiles.add_fact(ALICE, "Lives in Athens")
    memory.profiles.add_fact(ALICE, "Lives in Patras", replaces=athens)
    shown = memory.profiles.get(ALICE)._repr_html_()
    assert "<th>name</th><td style='text-align:left'>Alice</td>" in shown
    assert "<s>Lives in Athens</s><br><small>then: Lives in Patras</small>" in shown
    assert shown.index("Lives in Athens") < shown.rindex("Lives in Patras")


def test_an_extractor_shows_what_it_does_and_what_is_pending(memory: AgentMemory) -> None:
    turn = memory.profile_node(ScriptedChatModel())
    assert repr(turn) == "ProfileExtractor(schema='UserProfile', when='turn', entities=False)"
    later = memory.profile_node(ScriptedChatModel(['{"changes": []}']), when="debounce", delay=1000, entities=True)
    later.invoke([("human", "Likes <b>tea</b>")], {"configurable": {"user_id": ALICE}})
    assert repr(later) == "ProfileExtractor(schema='UserProfile', when='debounce', entities=True, pending=1)"
    assert "<caption>ProfileExtractor</caption>" in later._repr_html_()
    assert "tea" not in later._repr_html_()
    later.flush()
    assert repr(later).endswith("pending=0)")
