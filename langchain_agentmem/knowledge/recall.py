"""What is known and may help with a question, as a text for a prompt: bounded, quoted, and of one user alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langgraph.store.base import GetOp, Op, SearchOp

from langchain_agentmem.knowledge.changes import Edits
from langchain_agentmem.knowledge.fields import Fields
from langchain_agentmem.knowledge.schema import Schema
from langchain_agentmem.knowledge.spaces import FACTS, MEMORIES, shared_space, user_space
from langchain_agentmem.program import Program, Twin
from langchain_agentmem.quoting import ABOUT_QUOTED, quoted
from langchain_agentmem.store import AgentMemStore

_QUERY = 1_000
"""Characters: so much of the end of a question is looked for."""

_LONGEST = 500
"""Characters: so much of one text is given."""


class Recall:
    """Gives what is known of a user, and of what all may know, in so far as it may help with a question.

    Args:
        store: Where it is.
        schema: The form of the profile.
        facts: The most facts.
        memories: The most memories that agents saved with their tools.
        knowledge: The names of collections of shared knowledge.
        max_characters: The most characters of all of it together.
    """

    def __init__(
        self,
        store: AgentMemStore,
        schema: Schema,
        facts: int,
        memories: int,
        knowledge: Sequence[str],
        max_characters: int,
    ) -> None:
        self._store = store
        self._schema = schema
        self._facts = facts
        self._memories = memories
        self._knowledge = tuple(knowledge)
        self._most = max_characters

    def text(self, user_id: str, question: str) -> Program[str]:
        """What a prompt is to say; nothing if nothing is known.

        Args:
            user_id: Of whom.
            question: What is asked.
        """
        query = question.strip()[-_QUERY:] or None
        place = Edits(user_id, {}, self._store.language).profile_place(self._schema.name)
        searches: dict[str, Op] = {}
        if self._facts and self._schema.has_facts:
            searches["facts"] = SearchOp(user_space(user_id, FACTS), {"valid_to": None}, self._facts, 0, query)
        if self._memories:
            searches["memories"] = SearchOp(user_space(user_id, MEMORIES), None, self._memories, 0, query)
        for name in self._knowledge:
            searches[f"knowledge: {name}"] = SearchOp(shared_space(name), None, self._facts or 5, 0, query)
        item, *found = yield Twin(self._store.batch, [GetOp(*place), *searches.values()])
        document = Fields(user_id, item and item.value).document
        known: dict[str, Any] = {"profile": document} if document else {}
        known |= {
            name: texts
            for name, items in zip(searches, found, strict=True)
            if (texts := [str(one.value.get("text", ""))[:_LONGEST] for one in items])
        }
        if not known:
            return ""
        return f"What is known, and may help. {ABOUT_QUOTED}\n{quoted(_bounded(known, self._most))}"


def _bounded(known: Mapping[str, Any], most: int) -> dict[str, Any]:
    """As much of what is known as there is room for: the profile first, then the best of each kind in turn."""
    kept: dict[str, Any] = {}
    left = most
    for name, value in known.get("profile", {}).items():
        length = len(str(value)) + len(name)
        if length <= left:
            kept.setdefault("profile", {})[name] = value
            left -= length
    lists = {name: list(texts) for name, texts in known.items() if name != "profile"}
    while any(lists.values()):
        for name, texts in lists.items():
            if texts:
                text = texts.pop(0)
                if len(text) <= left:
                    kept.setdefault(name, []).append(text)
                    left -= len(text)
    return kept
