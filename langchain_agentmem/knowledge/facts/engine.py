"""Profiles as programs: read and change the knowledge about a user, without a model.

Changes by the application override: they count as stated later than everything stored, even than messages with later times.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from langgraph.store.base import GetOp, SearchOp
from pydantic import BaseModel

from langchain_agentmem.arguments.ids import check_id, check_name
from langchain_agentmem.arguments.values import check_count, check_flag, shown
from langchain_agentmem.errors import DamagedDataError, InvalidInputError, InvalidTypeError
from langchain_agentmem.knowledge.facts.context import entries_of, profile_data, profile_text
from langchain_agentmem.knowledge.facts.differences import (
    REMOVED,
    Change,
    changed_fields,
    removed_elements,
)
from langchain_agentmem.knowledge.facts.equality import matches
from langchain_agentmem.knowledge.facts.facts import Fact, Facts, in_order
from langchain_agentmem.knowledge.facts.fields import Fields, load_fields, save_fields
from langchain_agentmem.knowledge.facts.paths import path_of, value_at
from langchain_agentmem.knowledge.facts.schema import Schema, UserProfile, loaded_fields, record_loaded
from langchain_agentmem.knowledge.facts.statements import Statement, checked_fact_id, checked_topic, given_statements
from langchain_agentmem.knowledge.facts.stored import StoredFacts, keys_of_text
from langchain_agentmem.knowledge.forgetting import forget_knowledge
from langchain_agentmem.knowledge.guarding import guarded_statements
from langchain_agentmem.knowledge.items import items_in, read_batch, readable
from langchain_agentmem.knowledge.namespaces import FACTS, MEMORIES, SEEN, ItemKey, profile_key, user_namespace
from langchain_agentmem.knowledge.provenance import condition_of
from langchain_agentmem.knowledge.times import now, utc
from langchain_agentmem.knowledge.unit import UnitOfWork, commit
from langchain_agentmem.messages.tokens import TokenCounter
from langchain_agentmem.programs import Program
from langchain_agentmem.store.engine import StoreEngine

_BEST = 20
"""Number of facts that match a query and come before the newest ones in `context`."""


class ProfileEngine:
    """The operations of `Profiles` as programs. See there for arguments, results and errors.

    Args:
        store: The store.
    """

    def __init__(self, store: StoreEngine) -> None:
        self.store = store

    # Reading

    def get(
        self, user_id: str, as_of: datetime | str | None, schema: Schema
    ) -> Program[BaseModel | dict[str, Any] | None]:
        """Return a user's profile in the form of a schema."""
        moment = None if as_of is None else utc(as_of, "as_of")
        fields, changed = yield from self._fields_and_changes(user_id, schema)
        facts = (yield from self._facts(user_id, {}, cached=True)) if schema.has_facts else Facts()
        at = now() if moment is None else moment
        valid = [fact for fact in facts if fact.is_valid(at)]
        past = [fact for fact in facts if fact.valid_to is not None and fact.valid_to <= at]
        document = fields.document if moment is None else fields.as_of(moment)
        known = (*changed, *(fact.last_seen for fact in facts))
        last = max((one for one in known if one is not None and (moment is None or one <= moment)), default=None)
        return schema.build(user_id, document, valid, past, None if last is None else last.isoformat())

    def context(
        self,
        user_id: str,
        query: str | None,
        max_tokens: int,
        as_of: datetime | str | None,
        schema: Schema,
        counter: TokenCounter,
    ) -> Program[str]:
        """Return the part of a prompt that quotes a user's profile."""
        data = yield from self.quotable(user_id, query, max_tokens, as_of, schema, counter)
        return profile_text(data) if data else ""

    def quotable(
        self,
        user_id: str,
        query: str | None,
        max_tokens: int,
        as_of: datetime | str | None,
        schema: Schema,
        counter: TokenCounter,
    ) -> Program[dict[str, Any]]:
        """Return the part of a user's profile that `context` quotes, as data; it is empty if nothing is known or fits."""
        check_count("max_tokens", max_tokens)
        moment = None if as_of is None else utc(as_of, "as_of")
        at = now() if moment is None else moment
        yield from counter.prepare()
        fields = yield from self._fields(user_id, schema)
        facts: list[Fact] = []
        if schema.has_facts:
            found = (
                Facts()
                if query is None
                else (yield from self.search(user_id, query, _BEST, past=moment is not None, cached=True))
            )
            newest = sorted((yield from self._facts(user_id, {}, cached=True)), key=_last_stated, reverse=True)
            unique = {fact.id: fact for fact in (*found, *newest)}
            facts = [fact for fact in unique.values() if fact.is_valid(at)]
        document = fields.document if moment is None else fields.as_of(moment)
        return profile_data(entries_of(document, facts), max_tokens, counter.text)

    def _fields_and_changes(self, user_id: str, schema: Schema) -> Program[tuple[Fields, list[datetime]]]:
        """Return the fields of a user's profile, and the stored times of the user's interactions.

        An interaction that changes no field is recorded in the default profile, or by the newest memory.
        """
        if not schema.has_facts:
            return (yield from self._fields(user_id, schema)), []
        keys = dict.fromkeys(profile_key(user_id, name) for name in (schema.name, UserProfile.__name__))
        memories = SearchOp(user_namespace(user_id, MEMORIES), None, 1, refresh_ttl=False)
        *items, newest = yield from read_batch(self.store, [*(GetOp(*key) for key in keys), memories], cached=True)
        stored = [
            next(readable([item] if item else [], lambda one: Fields(user_id, one.value)), Fields(user_id, None))
            for item in items
        ]
        times = [datetime.fromisoformat(one.last_interaction) for one in stored if one.last_interaction]
        return stored[0], [*times, *(item.updated_at for item in newest)]

    def _fields(self, user_id: str, schema: Schema) -> Program[Fields]:
        """Return the fields of a user's profile; no fields if there are none, or if they are damaged."""
        items = yield from read_batch(self.store, [GetOp(*profile_key(user_id, schema.name))], cached=True)
        stored = readable([item for item in items if item], lambda item: Fields(user_id, item.value))
        return next(stored, Fields(user_id, None))

    def search(
        self,
        user_id: str,
        query: str,
        k: int,
        *,
        past: bool,
        agent: str | None = None,
        filter: Any = None,
        cached: bool = False,
    ) -> Program[Facts]:
        """Return the facts that answer a query best. With `cached`, the cache of reads may answer."""
        check_name("query", query)
        condition = _condition(past, agent, filter)
        search = SearchOp(user_namespace(user_id, FACTS), condition, check_count("k", k), 0, query)
        (items,) = yield from read_batch(self.store, [search], cached=cached)
        return Facts(readable(items, Fact.of_item))

    def by_topic(
        self, user_id: str, topic: str, *, past: bool, agent: str | None = None, filter: Any = None
    ) -> Program[Facts]:
        """Return the facts on a topic, the oldest first."""
        topics = {"topics": {"$contains": checked_topic(topic)}}
        return (yield from self._facts(user_id, {**topics, **_condition(past, agent, filter)}))

    def timeline(self, user_id: str, *, agent: str | None = None, filter: Any = None) -> Program[Facts]:
        """Return all facts, the oldest first."""
        return (yield from self._facts(user_id, condition_of(agent, filter)))

    def _facts(self, user_id: str, condition: dict[str, Any], *, cached: bool = False) -> Program[Facts]:
        items = yield from items_in(self.store, user_namespace(user_id, FACTS), condition, cached=cached)
        return Facts(in_order(readable(items, Fact.of_item)))

    # Changing

    def save(self, profile: BaseModel, of_user: str | None = None) -> Program[None]:
        """Store the fields and facts of a profile that the application changed or created.

        Args:
            profile: The profile.
            of_user: ID of the user, if the profile has none.
        """
        user_id = _user_of(profile, of_user)
        schema, at = Schema(type(profile)), now()
        loaded = loaded_fields(profile)
        document = schema.fields_of(profile)
        own = [((name,), value) for name, value in schema.set_fields(profile).items()]
        changes = own if loaded is None else changed_fields(loaded, document)
        facts: list[Any] = getattr(profile, "facts", []) if schema.has_facts else []
        new = [index for index, fact in enumerate(facts) if not getattr(fact, "id", "")]
        statements = guarded_statements(given_statements(at, [facts[index] for index in new]), self.store.guard)

        def edit(unit: UnitOfWork) -> list[Fact | None]:
            fields = load_fields(unit, schema.name)
            _apply(changes, fields, at)
            schema.check(fields.document, user_id)
            fields.record_interaction(at)
            save_fields(unit, schema.name, fields)
            return _add(unit, statements)

        keys = [profile_key(user_id, schema.name), *self._keys_of(user_id, statements)]
        stored = yield from commit(self.store, user_id, keys, edit)
        if isinstance(profile, UserProfile):
            profile.__dict__["user_id"] = user_id  # a subclass may be frozen
            record_loaded(profile, document)
            for index, fact in zip(new, stored, strict=True):
                facts[index] = fact or facts[index]

    def update_preference(self, user_id: str, key: str, value: Any, schema: Schema) -> Program[None]:
        """Set a preference; forget it if the value is None."""
        at, given = now(), path_of(["preferences", check_name("key", key)])
        path = (schema.field(given, {})[0], key)
        schema.check_user(check_id("user_id", user_id))

        def edit(unit: UnitOfWork) -> None:
            fields = load_fields(unit, schema.name)
            if value is None:
                fields.forget(path, at)
            else:
                before = copy.deepcopy(fields.document)
                fields.set(path, value, at, override=True)
                schema.check(fields.document, user_id, before)
            fields.record_interaction(at)
            save_fields(unit, schema.name, fields)

        yield from commit(self.store, user_id, [profile_key(user_id, schema.name)], edit)

    def add(self, user_id: str, statements: Sequence[Statement], replaces: Fact | str | None = None) -> Program[Facts]:
        """Add facts, or confirm those that are stored; supersede one fact if `replaces` names it."""
        check_id("user_id", user_id)
        statements = guarded_statements(statements, self.store.guard)
        superseded = None if replaces is None else checked_fact_id(replaces)

        def edit(unit: UnitOfWork) -> Facts:
            stored = _add(unit, statements) if superseded is None else _replace(unit, superseded, statements)
            return Facts(fact for fact in stored if fact is not None)

        return (yield from commit(self.store, user_id, self._keys_of(user_id, statements), edit))

    def end(self, user_id: str, fact: Fact | str, at: datetime | str | None) -> Program[bool]:
        """End the validity period of a fact; return true if the fact had not ended."""
        id_, moment = checked_fact_id(fact), now() if at is None else utc(at, "at")

        def edit(unit: UnitOfWork) -> bool:
            ended = StoredFacts(unit).end(id_, moment) is not None
            return _recorded(unit, ended)

        return (yield from commit(self.store, user_id, [], edit))

    def forget_fact(self, user_id: str, fact: Fact | str) -> Program[bool]:
        """Delete a fact and the facts that it superseded; return true if the fact existed."""
        id_, at = checked_fact_id(fact), now()
        return (
            yield from commit(self.store, user_id, [], lambda unit: _recorded(unit, StoredFacts(unit).forget(id_, at)))
        )

    def forget_value(self, user_id: str, field: str | Sequence[str], value: Any, schema: Schema) -> Program[bool]:
        """Delete a value of a field, present or former; return true if the field had it."""
        at, given = now(), path_of(field)
        schema.check_user(check_id("user_id", user_id))

        def edit(unit: UnitOfWork) -> bool:
            fields = load_fields(unit, schema.name)
            path = schema.field(given, fields.document)
            found = fields.forget_value(path, value, lambda stored: matches(value, stored), at)
            if found:
                fields.record_interaction(at)
                save_fields(unit, schema.name, fields)
            return found

        return (yield from commit(self.store, user_id, [profile_key(user_id, schema.name)], edit))

    def forget(self, user_id: str) -> Program[int]:
        """Delete everything known about a user; return the number of deleted objects."""
        counts = yield from forget_knowledge(self.store, check_id("user_id", user_id))
        return sum(number for label, number in counts.items() if label != SEEN)

    def _keys_of(self, user_id: str, statements: Sequence[Statement]) -> list[ItemKey]:
        return [key for one in statements for key in keys_of_text(user_id, one.text, self.store.language)]


def _condition(past: bool, agent: str | None, filter: Any) -> dict[str, Any]:
    """Return the condition of the arguments of a search."""
    valid: dict[str, Any] = {} if check_flag("past", past) else {"valid_to": None}
    return {**condition_of(agent, filter), **valid}


def _recorded(unit: UnitOfWork, changed: bool) -> bool:
    """Record an interaction in the default profile if a fact was changed; return `changed`."""
    if changed:
        with suppress(DamagedDataError):  # a fact can be ended and forgotten although the profile is damaged
            fields = load_fields(unit, UserProfile.__name__)
            fields.record_interaction(now())
            save_fields(unit, UserProfile.__name__, fields)
    return changed


def _last_stated(fact: Fact) -> datetime:
    return fact.last_seen or fact.valid_from or datetime.min.replace(tzinfo=UTC)


def _user_of(profile: Any, given: str | None) -> str:
    """Return the ID of the user that a profile is saved for.

    Raises:
        InvalidTypeError: The profile is no model with a field `user_id`, or an ID has the wrong type.
        InvalidInputError: No ID is given, or two different ones.
    """
    own = getattr(profile, "user_id", None)
    if not isinstance(profile, BaseModel) or own is None:
        msg = f"A profile must be a UserProfile or another model with a user_id; got {type(profile).__name__}."
        raise InvalidTypeError(msg)
    own = str(own) if type(own) in (int, UUID) else own  # a schema may hold the user's ID as a number or a UUID
    if own == "" and given is None:
        msg = f"The {type(profile).__name__} has no user_id. Pass it: save(profile, user_id=…)."
        raise InvalidInputError(msg)
    if given is not None and own not in ("", given):
        msg = f"The profile belongs to user {shown(own)}, and user_id is {shown(given)}. Pass one of the two."
        raise InvalidInputError(msg)
    return check_id("user_id", own if given is None else given)


def _apply(changes: Sequence[Change], fields: Fields, at: datetime) -> None:
    """Apply the application's changes. A field that it removed or set to None is forgotten with its history."""
    for path, value in changes:
        if value is REMOVED or value is None:
            fields.forget(path, at, keep_name=value is None)
            continue
        for element in removed_elements(value_at(fields.document, path), value):
            fields.forget_element(path, element, at)
        fields.set(path, value, at, override=True)


def _add(unit: UnitOfWork, statements: Sequence[Statement]) -> list[Fact | None]:
    stored = StoredFacts(unit)
    return [stored.add(statement, override=True) for statement in statements]


def _replace(unit: UnitOfWork, id_: str, statements: Sequence[Statement]) -> list[Fact | None]:
    stored = StoredFacts(unit)
    if stored.find(id_) is None:
        msg = f"replaces names the fact {shown(id_)}, which does not exist for this user. Pass the id of a stored fact."
        raise InvalidInputError(msg)
    return [stored.replace(id_, statement, override=True) for statement in statements]
