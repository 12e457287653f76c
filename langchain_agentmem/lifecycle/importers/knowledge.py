"""Stores the memories and profiles of imported sources."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import cast

from langchain_agentmem.arguments.ids import check_id
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError
from langchain_agentmem.knowledge.facts.engine import ProfileEngine
from langchain_agentmem.knowledge.facts.schema import Schema, UserProfile
from langchain_agentmem.knowledge.facts.statements import Statement
from langchain_agentmem.knowledge.memories import MemoryEngine, MemoryImport
from langchain_agentmem.knowledge.names import folded_sentence
from langchain_agentmem.knowledge.namespaces import MEMORIES, user_namespace
from langchain_agentmem.knowledge.times import now, utc
from langchain_agentmem.lifecycle.importers.rows import Source, SourceMemory, SourceProfile, importing
from langchain_agentmem.lifecycle.transfer.tally import Tally
from langchain_agentmem.programs import OffLoop, Program
from langchain_agentmem.store.engine import StoreEngine


class MemoriesImport:
    """Checks and stores memories. Two equal texts of a user are one memory, as in `Memories`.

    Args:
        store: The engine of the store.
        source: The source.
        agent: The agent of memories that have none; None for no agent.
        tally: Counts what is stored.
        stores: If false, only count what would be stored.
    """

    def __init__(self, store: StoreEngine, source: Source, agent: str | None, tally: Tally, *, stores: bool) -> None:
        self._stores = stores
        self._engine = MemoryEngine(store)
        self._source = source
        self._agent = agent
        self._tally = tally

    def check(self, rows: Sequence[SourceMemory]) -> Program[None]:
        """Check that memories can be stored.

        Raises:
            InvalidInputError: A memory cannot be stored. Nothing was stored.
        """
        yield from OffLoop(large=True)
        store = self._engine.store
        for user_id, imports in self._by_user(rows).items():
            for row, one in imports:
                with importing(f"{row.row} in {self._source.name}"):
                    store.batch_of([store.put_op(user_namespace(user_id, MEMORIES), one.key, one.value)])

    def store(self, rows: Sequence[SourceMemory]) -> Program[None]:
        """Store memories. Those that are stored already get the metadata that they lack."""
        yield from OffLoop(large=True)
        by_user = self._by_user(rows)
        self._tally.expired["memories"] += len(rows) - sum(map(len, by_user.values()))
        for user_id, imports in by_user.items():
            every = [one for _, one in imports]
            program = self._engine.import_memories if self._stores else self._engine.count_new
            new = yield from program(user_id, every)
            self._tally.stored["memories"] += new
            self._tally.unchanged["memories"] += len(imports) - new

    def _by_user(self, rows: Sequence[SourceMemory]) -> dict[str, list[tuple[SourceMemory, MemoryImport]]]:
        by_user: dict[str, list[tuple[SourceMemory, MemoryImport]]] = {}
        for row in rows:
            if row.expired:
                continue
            with importing(f"{row.row} in {self._source.name}"):
                user_id = _user(row.user)
                created_at = utc(time.time() if row.created_at is None else row.created_at, "created_at")
                updated_at = created_at if row.updated_at is None else utc(row.updated_at, "updated_at")
                one = MemoryImport.of(row.text, created_at, updated_at, row.metadata, row.agent or self._agent)
            by_user.setdefault(user_id, []).append((row, one))
        return by_user


class ProfilesImport:
    """Checks and stores profiles. What the user's profile has already stays: only missing fields and facts are added.

    Args:
        store: The engine of the store.
        source: The source.
        tally: Counts what is stored.
        stores: If false, only count what would be stored.
    """

    def __init__(self, store: StoreEngine, source: Source, tally: Tally, *, stores: bool) -> None:
        self._stores = stores
        self._engine = ProfileEngine(store)
        self._source = source
        self._tally = tally

    def check(self, rows: Sequence[SourceProfile]) -> Program[None]:
        """Check that profiles can be stored.

        Raises:
            InvalidInputError: A profile cannot be stored. Nothing was stored.
        """
        yield from OffLoop(large=True)
        store = self._engine.store
        for row in rows:
            with importing(f"{row.row} in {self._source.name}"):
                profile = _profile(row)
                document = profile.model_dump(mode="json")
                store.batch_of([store.put_op(user_namespace(profile.user_id), "profile", document)])

    def store(self, rows: Sequence[SourceProfile]) -> Program[None]:
        """Add what is missing to the users' profiles."""
        for row in rows:
            given = _profile(row)
            stored = cast("UserProfile", (yield from self._engine.get(given.user_id, None, Schema())))
            known = {folded_sentence(fact.text) for fact in (*stored.facts, *stored.past)}
            facts = [fact for fact in given.facts if folded_sentence(fact.text) not in known]
            preferences = {name: value for name, value in given.preferences.items() if name not in stored.preferences}
            named = stored.name is None and given.name is not None
            if not facts and not preferences and not named:
                self._tally.unchanged["profiles"] += 1
                continue
            stored.name = given.name if named else stored.name
            stored.preferences.update(preferences)
            stored.facts.extend(facts)
            if self._stores:
                yield from self._engine.save(stored)
            self._tally.stored["profiles"] += 1


def _profile(row: SourceProfile) -> UserProfile:
    facts = [] if row.facts is None else row.facts
    if not isinstance(facts, list):
        msg = f"facts must be a list, got {shown(facts)}"
        raise InvalidTypeError(msg)
    profile = UserProfile(
        user_id=_user(row.user), name=row.name, preferences=row.preferences or {}, facts=list(dict.fromkeys(facts))
    )
    for fact in profile.facts:
        Statement.checked(fact.text, now())
    return profile


def _user(user_id: object) -> str:
    if user_id is None:
        msg = "it names no user. Pass user_id=…"
        raise InvalidInputError(msg)
    return check_id("user_id", user_id)
