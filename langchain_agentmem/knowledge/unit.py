"""How a user's knowledge is stored: what search finds it by, and several changes together.

It never expires by itself, whatever the store's time to live is: half of a profile would be worse than none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, TypeVar

from langchain_agentmem.knowledge.entities.drafts import MissingItemsError, index_of
from langchain_agentmem.knowledge.extraction.markers import SEEN
from langchain_agentmem.knowledge.facts.changes import FORGOTTEN, Edits, Place, UnreadError, Value
from langchain_agentmem.knowledge.namespaces import FACTS, PROFILE, user_space
from langchain_agentmem.programs import Program, Twin
from langchain_agentmem.store.face import AgentMemStore

T = TypeVar("T")


def edited(store: AgentMemStore, user_id: str, places: Iterable[Place], edit: Callable[[Edits], T]) -> Program[T]:
    """Change a user's items together, so that no concurrent change is lost.

    Args:
        store: Where they are.
        user_id: Whose.
        places: Those that are read first; others are read when they are needed.
        edit: Makes the changes. It may be called several times.

    Returns:
        What `edit` returned for the changes that were stored.
    """
    needed = list(places)
    results: list[T] = []

    def change(values: Mapping[Place, Value | None]) -> dict[Place, Value | None]:
        edits = Edits(user_id, values, store.language)
        results.append(edit(edits))
        return edits.changes

    facts: dict[tuple[str, ...], Literal[False] | list[str]] = {user_space(user_id, FACTS): ["text", "topics[*]"]}
    unindexed: dict[tuple[str, ...], Literal[False]] = dict.fromkeys(
        (user_space(user_id, label) for label in (PROFILE, FORGOTTEN, SEEN)), False
    )
    index = {**facts, **unindexed, **index_of(user_id)}
    while True:
        try:
            yield from Twin(store.update_many, needed, change, index=index, ttl=None)
        except UnreadError as unread:
            needed.append(unread.place)
        except MissingItemsError as missing:
            needed += missing.places
        else:
            return results[-1]
