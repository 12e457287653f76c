"""What is known and may help with a question, as a text for a prompt: bounded, quoted, and of one user alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from langgraph.store.base import GetOp, SearchOp

from langchain_agentmem.knowledge.changes import Edits
from langchain_agentmem.knowledge.entity_learning import entity_searches, known_entities
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

_ABOUT = f"What is known, and may help. {ABOUT_QUOTED}\n"


class Recall:
    """Gives what is known of a user, and of what all may know, in so far as it may help with a question.

    Args:
        store: Where it is.
        schema: The form of the profile.
        facts: The most facts.
        memories: The most memories that agents saved with their tools.
        entities: The most people, places and things that the user spoke of, with their relations.
        knowledge: The names of collections of shared knowledge.
        max_characters: The most characters of all of it together.
    """

    def __init__(
        self,
        store: AgentMemStore,
        schema: Schema,
        facts: int,
        memories: int,
        entities: int,
        knowledge: Sequence[str],
        max_characters: int,
    ) -> None:
        self._store = store
        self._schema = schema
        self._facts = facts
        self._memories = memories
        self._entities = entities
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
        searches: list[tuple[str, SearchOp]] = []
        # What the question has no words in common with may matter to it: then the newest are given.
        for asked in dict.fromkeys((query, None)):
            if self._facts and self._schema.has_facts:
                space = user_space(user_id, FACTS)
                searches.append(("facts", SearchOp(space, {"valid_to": None}, self._facts, 0, asked)))
            if self._memories:
                space = user_space(user_id, MEMORIES)
                searches.append(("memories", SearchOp(space, None, self._memories, 0, asked)))
        searches += [
            (f"knowledge: {name}", SearchOp(shared_space(name), None, self._facts or 5, 0, query))
            for name in self._knowledge
        ]
        if self._entities:
            searches += [("entities", one) for one in entity_searches(user_id, query, self._entities)]
        item, *found = yield Twin(self._store.batch, [GetOp(*place), *(search for _, search in searches)])
        items: dict[str, dict[str, Any]] = {}
        for (name, search), results in zip(searches, found, strict=True):
            known = items.setdefault(name, {})
            for one in results:
                if len(known) < search.limit:
                    known.setdefault(one.key, one)
        entities = list(items.pop("entities", {}).values())
        lists: dict[str, list[Any]] = {
            name: [str(one.value.get("text", ""))[:_LONGEST] for one in known.values()] for name, known in items.items()
        }
        now, room = datetime.now(timezone.utc), self._most // 3
        lists |= yield from known_entities(self._store, user_id, entities, self._entities, room, now)
        return _told(Fields(user_id, item and item.value).document, lists, self._most)


def _told(profile: Mapping[str, Any], lists: Mapping[str, list[Any]], most: int) -> str:
    """As much of what is known as there is room for: the profile first, then the best of each kind in turn."""
    kept: dict[str, Any] = {}
    left = most - len(f"{_ABOUT}{quoted(kept)}")

    def fits(value: Any, name: str, *, is_first: bool) -> bool:
        nonlocal left
        size = _size(value) + (_size(name) + len(": {}, ") if is_first else 0)
        if size > left:
            return False
        left -= size
        return True

    for name, value in profile.items():
        if fits({name: value}, "profile", is_first="profile" not in kept):
            kept.setdefault("profile", {})[name] = value
    waiting = {name: list(values) for name, values in lists.items()}
    while any(waiting.values()):
        for name, values in waiting.items():
            if values and fits(value := values.pop(0), name, is_first=name not in kept):
                kept.setdefault(name, []).append(value)
    return f"{_ABOUT}{quoted(kept)}" if kept else ""


def _size(value: Any) -> int:
    """How many characters a value takes within what is quoted."""
    return len(quoted(value)) - len(quoted({})) + len("{}, ")
