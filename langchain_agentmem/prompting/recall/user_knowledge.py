"""A user's profile, facts, memories and entities as a bounded and quoted text for the prompts of an agent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from langgraph.store.base import GetOp, Item, SearchOp

from langchain_agentmem.history.engine import HistoryEngine
from langchain_agentmem.knowledge.collections import CollectionEngine
from langchain_agentmem.knowledge.entities.engine import EntityEngine, relevant_searches
from langchain_agentmem.knowledge.facts.fields import Fields
from langchain_agentmem.knowledge.facts.schema import Schema
from langchain_agentmem.knowledge.items import read_batch, readable
from langchain_agentmem.knowledge.namespaces import FACTS, MEMORIES, profile_key, shared_namespace, user_namespace
from langchain_agentmem.knowledge.retrievers import Passages, checked_knowledge
from langchain_agentmem.programs import Program
from langchain_agentmem.prompting.recall.engine import query_of
from langchain_agentmem.prompting.recall.text import BEGIN, TURNS, clipped
from langchain_agentmem.prompting.recall.turns import EarlierTurns, unless_damaged
from langchain_agentmem.search.messages import Address
from langchain_agentmem.store.engine import StoreEngine
from langchain_agentmem.text.quoting import quoted

_MAX_TEXT = 500
"""Maximum number of characters of one recalled text. A longer text is shortened."""

_MAX_PASSAGES = 100
"""Maximum number of passages of one retriever or vector store that stay valid in a thread."""

ENTITY_ITEMS = "entity items"
"""The kind of the items from which entities and relations are described."""


class Recalled(NamedTuple):
    """The stored knowledge about a user that matches a question."""

    known: dict[str, Any]
    """The profile, and the texts of each other kind."""
    valid: dict[str, list[Any]]
    """The texts of each kind that are still stored, among those of `known` and of the former turns."""
    references: dict[str, tuple[tuple[tuple[str, ...], str], ...]]
    """Namespace and key of the items of each kind."""
    turns: Mapping[Address, str] = MappingProxyType({})
    """The texts of the turns of earlier sessions, by session and position of a message."""
    passages: Mapping[str, list[str]] = MappingProxyType({})
    """The texts of retrievers and vector stores, by kind. They cannot be read again, and stay valid."""


class UserKnowledge:
    """Reads a user's knowledge, and shared knowledge, for a question.

    Args:
        store: The engine of the store.
        schema: The schema of the profile.
        facts: The maximum number of facts.
        memories: The maximum number of memories.
        entities: The maximum number of entities, with their relations.
        knowledge: The collections of shared knowledge, retrievers and vector stores; see `AgentMemory.middleware`.
        max_characters: The maximum number of characters of the text.
        turns: The maximum number of turns of earlier sessions. Default: 0.
        history: The histories, which are read for `turns`. Default: None.
    """

    def __init__(
        self,
        store: StoreEngine,
        schema: Schema,
        facts: int,
        memories: int,
        entities: int,
        knowledge: Any,
        max_characters: int,
        turns: int = 0,
        history: HistoryEngine | None = None,
    ) -> None:
        self._store = store
        self._schema = schema
        self._facts = facts
        self._memories = memories
        self._entities = entities
        self._knowledge = checked_knowledge(knowledge)
        self._shared = CollectionEngine(store)
        self._earlier = EarlierTurns(history) if history is not None and turns else None
        self._most_turns = turns
        self.max_characters = max_characters

    def known(
        self, user_id: str, question: str, told: Recalled | None = None, session_id: str | None = None
    ) -> Program[Recalled]:
        """Return the profile, and of each other kind the best matches of a question and the most recent ones.

        Args:
            user_id: The user.
            question: The question.
            told: The knowledge recalled in former turns: its items are read too. Default: None.
            session_id: The current session, whose messages are left out. Default: None (all sessions are searched).

        Raises:
            UnknownCollectionError: A collection of shared knowledge does not exist.
        """
        query = query_of(question) or None
        kinds: list[tuple[str, tuple[str, ...], dict[str, Any] | None, int]] = []
        if self._facts and self._schema.has_facts:
            kinds.append(("facts", user_namespace(user_id, FACTS), {"valid_to": None}, self._facts))
        if self._memories:
            kinds.append(("memories", user_namespace(user_id, MEMORIES), None, self._memories))
        searches = [
            search
            for _, space, only, most in kinds
            for search in (SearchOp(space, only, (most + 1) // 2, 0, query), SearchOp(space, only, most, 0, None))
        ]
        searches += [
            SearchOp(shared_namespace(name), None, self._facts or 5, 0, query) for name in self._knowledge.names
        ]
        about = relevant_searches(user_id, query, self._entities) if self._entities else []
        reads = self._read(user_id, [*searches, *about], told)
        (profile, found, earlier), others = yield from self._knowledge.beside(reads, query, self._facts or 5)
        lists: dict[str, list[Item]] = {}
        for number, (name, _, _, most) in enumerate(kinds):
            # Full-text search finds little, so the most recent items are always included.
            both = {one.key: one for one in [*found[2 * number], *found[2 * number + 1]]}
            lists[name] = list(both.values())[:most]
        for name, items in zip(self._knowledge.names, found[2 * len(kinds) : len(searches)], strict=True):
            lists[f"knowledge: {name}"] = items
            yield from self._shared.require_unfound([name], [name] if items else ())
        spoken_of = {one.key: one for items in found[len(searches) :] for one in items}
        lists[ENTITY_ITEMS] = list(spoken_of.values())[: self._entities]
        recalled = _with_passages((yield from self._recalled(user_id, profile, lists, earlier)), others, told)
        return (yield from self._with_turns(recalled, user_id, query, session_id, told))

    def still_known(self, user_id: str, told: Recalled) -> Program[Recalled]:
        """Return the formerly recalled knowledge that is still stored. Nothing is searched.

        Args:
            user_id: The user.
            told: The knowledge recalled in former turns.
        """
        profile, _, earlier = yield from self._read(user_id, [], told)
        recalled = _with_passages((yield from self._recalled(user_id, profile, {}, earlier)), (), told)
        return (yield from self._with_turns(recalled, user_id, None, None, told))

    def text(self, known: Mapping[str, Any], share: float = 1.0, taken: int = 0) -> str:
        """Return the text for a prompt; `""` if nothing is known or nothing fits.

        Args:
            known: The knowledge for the text.
            share: The share of `max_characters` that the text may have. Default: 1.0.
            taken: The number of these characters that another text uses already. Default: 0.
        """
        kept = self.bounded(known, share, taken)
        return f"{BEGIN}{quoted(kept)}" if kept else ""

    def bounded(self, known: Mapping[str, Any], share: float = 1.0, taken: int = 0) -> dict[str, Any]:
        """Return the part of `known` that `text` contains."""
        return _bounded(known, int(self.max_characters * share) - taken - len(BEGIN) - len(quoted({})))

    def _read(
        self, user_id: str, searches: Sequence[SearchOp], told: Recalled | None
    ) -> Program[tuple[dict[str, Any], list[Any], dict[str, list[Item]]]]:
        """Read the profile, the results of searches, and the items that the model has been told, by kind."""
        references = [] if told is None else [(kind, *one) for kind, ones in told.references.items() for one in ones]
        gets = [GetOp(namespace, key) for _, namespace, key in references]
        key = profile_key(user_id, self._schema.name)
        item, *found = yield from read_batch(self._store, [GetOp(*key), *searches, *gets])
        document = readable([item] if item else [], lambda one: Fields(user_id, one.value).document)
        earlier: dict[str, list[Item]] = {}
        for (kind, _, _), read in zip(references, found[len(searches) :], strict=True):
            if read is not None and read.value.get("valid_to") is None:
                earlier.setdefault(kind, []).append(read)
        return next(document, {}), found[: len(searches)], earlier

    def _with_turns(
        self, recalled: Recalled, user_id: str, query: str | None, session_id: str | None, told: Recalled | None
    ) -> Program[Recalled]:
        """Add the turns of earlier sessions that answer a query, and keep those of former turns that are still stored."""
        if self._earlier is None:
            return recalled
        turns: dict[Address, str] = {}
        if query is not None:
            for item in (yield from self._earlier.found(query, user_id, session_id, self._most_turns)):
                address = item.source["session_id"], item.source["position"]
                turns[address] = clipped(f"{item.time:%Y-%m-%d} {item.text}", _MAX_TEXT)
        former = {} if told is None else told.turns
        stored = yield from unless_damaged(self._earlier.stored(user_id, former.keys() - turns.keys()))
        valid = {address: text for address, text in former.items() if address in (stored or ())} | turns
        known = {**recalled.known, TURNS: list(turns.values())} if turns else recalled.known
        return recalled._replace(known=known, valid={**recalled.valid, TURNS: list(valid.values())}, turns=valid)

    def _recalled(
        self,
        user_id: str,
        profile: dict[str, Any],
        lists: dict[str, list[Item]],
        earlier: dict[str, list[Item]],
    ) -> Program[Recalled]:
        known: dict[str, Any] = {"profile": profile}
        valid: dict[str, list[Any]] = {}
        for name in dict.fromkeys([*lists, *earlier]):
            if name != ENTITY_ITEMS:
                known[name] = _texts(lists.get(name, ()))
                valid[name] = _texts([*earlier.get(name, ()), *lists.get(name, ())])
        entities = [*earlier.get(ENTITY_ITEMS, ()), *lists.get(ENTITY_ITEMS, ())]
        count = self._entities + len(earlier.get(ENTITY_ITEMS, ()))
        described = yield from EntityEngine(self._store).described(
            user_id, entities, count, self.max_characters // 3, datetime.now(UTC)
        )
        valid |= described
        known |= described
        references = {
            name: tuple(
                dict.fromkeys((tuple(one.namespace), one.key) for one in (*earlier.get(name, ()), *lists.get(name, ())))
            )
            for name in dict.fromkeys([*lists, *earlier])
        }
        return Recalled({name: value for name, value in known.items() if value}, valid, references)


def _with_passages(recalled: Recalled, others: Iterable[Passages], told: Recalled | None) -> Recalled:
    """Add the passages of retrievers and vector stores, and keep those of former turns."""
    former = {} if told is None else told.passages
    found = {f"knowledge: {one.source.name}": [clipped(two.text, _MAX_TEXT) for two in one.found] for one in others}
    passages = {
        kind: list(dict.fromkeys([*found.get(kind, ()), *former.get(kind, ())]))[:_MAX_PASSAGES]
        for kind in dict.fromkeys([*former, *found])
    }
    known = {**recalled.known, **{kind: texts for kind, texts in found.items() if texts}}
    return recalled._replace(known=known, valid={**recalled.valid, **passages}, passages=passages)


def _texts(items: Sequence[Any]) -> list[str]:
    return [clipped(text, _MAX_TEXT) for one in items if isinstance(text := one.value.get("text"), str)]


def _length(value: Any) -> int:
    """Return the number of characters of a value in a prompt, with the separator after it."""
    return len(quoted(value)) - len("<data></data>") + len(", ")


def _name_length(name: str) -> int:
    """Return the number of characters of a name in a prompt, with the colon after it."""
    return _length(name) - len(", ") + len(": ")


def _bounded(known: Mapping[str, Any], most: int) -> dict[str, Any]:
    """Return the part that fits in `most` characters: the profile, then the best items of each kind in turn.

    The profile leaves half of the characters to the others if they need them.
    """
    kept: dict[str, Any] = {}
    lists = {name: list(texts) for name, texts in known.items() if texts and name != "profile"}
    needed = sum(_name_length(name) + _length(texts) for name, texts in lists.items())
    room = most - min(most // 2, needed)
    profile = _part(known.get("profile", {}), room - _name_length("profile"))
    left = most
    if profile:
        kept["profile"] = profile
        left -= _name_length("profile") + _length(profile)
    while any(lists.values()):
        for name, texts in lists.items():
            if texts:
                text = texts.pop(0)
                length = _length(text) + (0 if name in kept else _name_length(name) + _length([]))
                if length <= left:
                    kept.setdefault(name, []).append(text)
                    left -= length
    return kept


def _part(value: Any, room: int) -> Any:
    """Return the part of a value that has at most `room` characters; None if no part fits.

    Short entries take precedence, then those that were set last.
    """
    if _length(value) <= room:
        return value
    if isinstance(value, str):
        short = clipped(value, _MAX_TEXT)
        return short if _length(short) <= room else None
    if not isinstance(value, (dict, list)):
        return None
    entries = dict(value if isinstance(value, dict) else enumerate(value))
    kept: dict[Any, Any] = {}
    left = room - _length({})
    newest_first = list(entries)[::-1]
    for name in sorted(newest_first, key=lambda one: _length(entries[one])):
        frame = _name_length(name) if isinstance(value, dict) else 0
        part = _part(entries[name], left - frame)
        if part is not None:
            kept[name] = part
            left -= frame + _length(part)
    within = {name: kept[name] for name in entries if name in kept}
    return (within if isinstance(value, dict) else list(within.values())) or None
