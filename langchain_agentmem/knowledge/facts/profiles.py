"""Profiles by hand: what is known of users, read and written without a model.

What is written by hand counts as said after all else, whatever the times of messages are.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar, overload

from langgraph.store.base import GetOp, PutOp, SearchOp
from pydantic import BaseModel

from langchain_agentmem.arguments.ids import check_id, check_name
from langchain_agentmem.arguments.values import check_count, check_flag, check_list, shown
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError
from langchain_agentmem.knowledge.entities.changes import source_ids
from langchain_agentmem.knowledge.facts.facts import Fact, Facts, checked_topic, utc
from langchain_agentmem.knowledge.facts.fields import Fields, load_fields, path_of, save_fields, value_at
from langchain_agentmem.knowledge.facts.schema import Loaded, Schema, UserProfile
from langchain_agentmem.knowledge.facts.stored import Statement, StoredFacts, keys_of_text
from langchain_agentmem.knowledge.namespaces import (
    ENTITIES,
    FACTS,
    FORGOTTEN,
    MEMORIES,
    PROFILE,
    RELATIONS,
    ItemKey,
    forgotten_user_key,
    profile_key,
    user_namespace,
)
from langchain_agentmem.knowledge.reading import PAGE, answers, readable, rows_in
from langchain_agentmem.knowledge.unit import UnitOfWork, commit
from langchain_agentmem.programs import Program, Twin, arun, run
from langchain_agentmem.store.face import AgentMemStore

Model = TypeVar("Model", bound=BaseModel)


class Profiles:
    """What is known of users: usually `AgentMemory.profiles`. Every method has an async twin with the prefix `a`.

    All that is known of a user lies below `("user:<user_id>",)` of the store, and never expires by itself.

    Args:
        store: Where the profiles are.

    Example:
        >>> from langchain_agentmem import AgentMemory
        >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
        ...     memory.profiles.update_preference("alice@example.com", "language", "Greek")
        ...     fact = memory.profiles.add_fact("alice@example.com", "Lives in Athens", topics=["home"])
        ...     fact = memory.profiles.add_fact("alice@example.com", "Lives in Patras", replaces=fact)
        ...     [(fact.text, fact.valid_to is None) for fact in memory.profiles.timeline("alice@example.com")]
        [('Lives in Athens', False), ('Lives in Patras', True)]
    """

    def __init__(self, store: AgentMemStore) -> None:
        self._store = store

    # Reading

    @overload
    def get(self, user_id: str, *, as_of: datetime | str | None = None) -> UserProfile: ...

    @overload
    def get(self, user_id: str, *, as_of: datetime | str | None = None, schema: type[Model]) -> Model | None: ...

    @overload
    def get(
        self, user_id: str, *, as_of: datetime | str | None = None, schema: Mapping[str, Any]
    ) -> dict[str, Any] | None: ...

    def get(
        self,
        user_id: str,
        *,
        as_of: datetime | str | None = None,
        schema: type[BaseModel] | Mapping[str, Any] = UserProfile,
    ) -> BaseModel | dict[str, Any] | None:
        """What is known of a user; an empty profile of one who is not known.

        Args:
            user_id: Whose profile.
            as_of: At which time: a `datetime`, or ISO 8601; without a zone it is in UTC. Default: None (now).
            schema: In which form: a Pydantic model or a JSON schema. Default: `UserProfile`.

        Returns:
            An instance of the model, or a dict for a JSON schema; None where fields that it requires are not known yet. A
            stored item that is damaged is left out and named in a warning in the log.

        Raises:
            InvalidInputError: An argument is not accepted.
            InvalidTypeError: An argument has the wrong type.
            DamagedDataError: The stored fields do not fit the schema.

        Example:
            >>> from datetime import datetime, timezone
            >>> from langchain_agentmem import AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     memory.profiles.update_preference("alice", "language", "Greek")
            ...     before = datetime(2020, 1, 1, tzinfo=timezone.utc)
            ...     [memory.profiles.get("alice", as_of=at).preferences for at in (before, None)]
            [{}, {'language': 'Greek'}]
        """
        found: BaseModel | dict[str, Any] | None = run(self._get(user_id, as_of, Schema(schema)))
        return found

    @overload
    async def aget(self, user_id: str, *, as_of: datetime | str | None = None) -> UserProfile: ...

    @overload
    async def aget(self, user_id: str, *, as_of: datetime | str | None = None, schema: type[Model]) -> Model | None: ...

    @overload
    async def aget(
        self, user_id: str, *, as_of: datetime | str | None = None, schema: Mapping[str, Any]
    ) -> dict[str, Any] | None: ...

    async def aget(
        self,
        user_id: str,
        *,
        as_of: datetime | str | None = None,
        schema: type[BaseModel] | Mapping[str, Any] = UserProfile,
    ) -> BaseModel | dict[str, Any] | None:
        """Same as `get`, but without blocking the event loop."""
        found: BaseModel | dict[str, Any] | None = await arun(self._get(user_id, as_of, Schema(schema)))
        return found

    def search(self, user_id: str, query: str, k: int = 10, *, past: bool = False) -> Facts:
        """The facts about a user that answer a query best, by words and, with embeddings, by meaning.

        Args:
            user_id: Whose facts.
            query: What is looked for.
            k: The most facts. Default: 10.
            past: Whether those that ended are looked for too. Default: False.
        """
        return run(self._searched(user_id, query, k, past))

    async def asearch(self, user_id: str, query: str, k: int = 10, *, past: bool = False) -> Facts:
        """Same as `search`, but without blocking the event loop."""
        return await arun(self._searched(user_id, query, k, past))

    def by_topic(self, user_id: str, topic: str, *, past: bool = False) -> Facts:
        """The facts about a user on a topic, oldest first.

        Args:
            user_id: Whose facts.
            topic: The topic; capitals do not matter.
            past: Whether those that ended are given too. Default: False.
        """
        return run(self._by_topic(user_id, topic, past=past))

    async def aby_topic(self, user_id: str, topic: str, *, past: bool = False) -> Facts:
        """Same as `by_topic`, but without blocking the event loop."""
        return await arun(self._by_topic(user_id, topic, past=past))

    def timeline(self, user_id: str) -> Facts:
        """All facts about a user, those that ended too, by when they began; a notebook shows them as a table."""
        return run(self._found(user_id, None, None, {}, past=True))

    async def atimeline(self, user_id: str) -> Facts:
        """Same as `timeline`, but without blocking the event loop."""
        return await arun(self._found(user_id, None, None, {}, past=True))

    # Writing

    def save(self, profile: BaseModel) -> None:
        """Store a profile that was changed: what `get` gave, or one made by hand.

        Of a profile that `get` gave, the fields that were changed since are stored, and what others changed meanwhile stays.
        Of a model that does not derive from `UserProfile` all fields that are set are stored. Facts that are not known yet
        are added; none is removed: see `forget_fact` and `end_fact`.

        A field that was removed or set to None is forgotten: its former values are deleted too. So are elements that were
        removed from a list, where nothing was added to it.

        Args:
            profile: A `UserProfile`, or another model with a field `user_id`.
        """
        run(self._save(profile))

    async def asave(self, profile: BaseModel) -> None:
        """Same as `save`, but without blocking the event loop."""
        await arun(self._save(profile))

    def update_preference(
        self,
        user_id: str,
        key: str,
        value: Any,
        *,
        schema: type[BaseModel] | Mapping[str, Any] = UserProfile,
    ) -> None:
        """Set a preference, or remove it.

        A preference that gets another value keeps the former one in its history, which `get(as_of=…)` reads. A preference
        that is removed leaves no value behind, in its history either.

        Args:
            user_id: Whose.
            key: Its name.
            value: A value that is JSON-serialisable; None removes the preference and forgets all its values.
            schema: In which profile of the user, where there are several. Default: `UserProfile`.
        """
        run(self._update_preference(user_id, key, value, Schema(schema)))

    async def aupdate_preference(
        self,
        user_id: str,
        key: str,
        value: Any,
        *,
        schema: type[BaseModel] | Mapping[str, Any] = UserProfile,
    ) -> None:
        """Same as `update_preference`, but without blocking the event loop."""
        await arun(self._update_preference(user_id, key, value, Schema(schema)))

    def add_fact(
        self,
        user_id: str,
        text: str,
        *,
        topics: Iterable[str] = (),
        sources: Iterable[str] = (),
        valid_from: datetime | str | None = None,
        confidence: float = 1.0,
        replaces: Fact | str | None = None,
    ) -> Fact:
        """Add a fact, or confirm the one that says the same; one that was forgotten comes back.

        Args:
            user_id: About whom.
            text: One statement, at most 500 characters.
            topics: What it is about. Default: none.
            sources: The ids of messages that say so. Default: none.
            valid_from: Since when it is true. Default: now.
            confidence: How sure it is, from 0 to 1. Default: 1.
            replaces: A fact, or its id, that it supersedes. Default: None.

        Returns:
            The fact as it is stored.
        """
        fact = _fact(text, topics, sources, valid_from, confidence)
        return run(self._add(user_id, [fact], replaces))[0]

    async def aadd_fact(
        self,
        user_id: str,
        text: str,
        *,
        topics: Iterable[str] = (),
        sources: Iterable[str] = (),
        valid_from: datetime | str | None = None,
        confidence: float = 1.0,
        replaces: Fact | str | None = None,
    ) -> Fact:
        """Same as `add_fact`, but without blocking the event loop."""
        fact = _fact(text, topics, sources, valid_from, confidence)
        return (await arun(self._add(user_id, [fact], replaces)))[0]

    def add_facts(self, user_id: str, facts: Iterable[Fact | Mapping[str, Any] | str]) -> Facts:
        """Add several facts together: all of them are stored, or none.

        Args:
            user_id: About whom.
            facts: Each a text, a `Fact`, or a dict of the arguments of `add_fact`.

        Returns:
            The facts as they are stored.
        """
        return run(self._add(user_id, _all_given(facts), None))

    async def aadd_facts(self, user_id: str, facts: Iterable[Fact | Mapping[str, Any] | str]) -> Facts:
        """Same as `add_facts`, but without blocking the event loop."""
        return await arun(self._add(user_id, _all_given(facts), None))

    def end_fact(self, user_id: str, fact: Fact | str, *, at: datetime | str | None = None) -> bool:
        """Note that a fact is true no longer; it stays in the timeline.

        Args:
            user_id: About whom.
            fact: The fact, or its id.
            at: When it ended. Default: None (now).

        Returns:
            Whether it was true until then.
        """
        return run(self._end(user_id, fact, at))

    async def aend_fact(self, user_id: str, fact: Fact | str, *, at: datetime | str | None = None) -> bool:
        """Same as `end_fact`, but without blocking the event loop."""
        return await arun(self._end(user_id, fact, at))

    def forget_fact(self, user_id: str, fact: Fact | str) -> bool:
        """Delete a fact, and what it superseded. What is left are digests, so that it does not come back from old messages.

        Args:
            user_id: About whom.
            fact: The fact, or its id.

        Returns:
            Whether there was such a fact.
        """
        return run(self._forget_fact(user_id, fact))

    async def aforget_fact(self, user_id: str, fact: Fact | str) -> bool:
        """Same as `forget_fact`, but without blocking the event loop."""
        return await arun(self._forget_fact(user_id, fact))

    def forget(self, user_id: str) -> int:
        """Delete all that is known of a user: the profile, facts, memories and entities. What is left are digests of the
        messages that were read, and the time, so that it does not come back from what was said before.

        Args:
            user_id: Whose profile.

        Returns:
            How many items were deleted.
        """  # noqa: D205
        return run(self._forget(user_id))

    async def aforget(self, user_id: str) -> int:
        """Same as `forget`, but without blocking the event loop."""
        return await arun(self._forget(user_id))

    # Programs

    def _get(self, user_id: str, as_of: datetime | str | None, schema: Schema) -> Program[Any]:
        moment = None if as_of is None else utc(as_of, "as_of")
        items = yield from answers(self._store, [GetOp(*profile_key(user_id, schema.name))])
        read = readable([item for item in items if item], lambda item: Fields(user_id, item.value))
        fields = next(read, Fields(user_id, None))
        every = (yield from self._found(user_id, None, None, {}, past=True)) if schema.has_facts else Facts()
        at = utc(time.time()) if moment is None else moment
        valid = [fact for fact in every if fact.is_valid(at)]
        past = [fact for fact in every if fact.valid_to is not None and fact.valid_to <= at]
        document = fields.document if moment is None else fields.as_of(moment)
        last = fields.last_interaction
        if last is not None and moment is not None and datetime.fromisoformat(last) > moment:
            last = None
        return schema.build(user_id, document, valid, past, last)

    def _searched(self, user_id: str, query: str, k: int, past: bool) -> Program[Facts]:
        check_name("query", query)
        return (yield from self._found(user_id, query, check_count("k", k), {}, past=past))

    def _found(
        self, user_id: str, query: str | None, limit: int | None, condition: dict[str, Any], *, past: bool
    ) -> Program[Facts]:
        """Facts: the best for a query, else all by when they began."""
        where = user_namespace(user_id, FACTS)
        condition = condition if check_flag("past", past) else {**condition, "valid_to": None}
        size = limit or PAGE
        while True:
            search = SearchOp(where, condition or None, size, 0, query)
            (items,) = yield from answers(self._store, [search])
            if limit is not None or len(items) < size:
                break
            size *= 4  # all in one answer, so that none is missed that moves meanwhile
        found = readable(items, Fact.of_item)
        return Facts(found if query else sorted(found, key=lambda fact: (fact.valid_from, fact.first_seen, fact.id)))

    def _by_topic(self, user_id: str, topic: str, *, past: bool) -> Program[Facts]:
        condition = {"topics": {"$contains": checked_topic(topic)}}
        return (yield from self._found(user_id, None, None, condition, past=past))

    def _save(self, profile: BaseModel) -> Program[None]:
        user_id = getattr(profile, "user_id", None)
        if not isinstance(profile, BaseModel) or user_id is None:
            msg = f"A profile is a UserProfile, or another model with a field user_id, got {type(profile).__name__}."
            raise InvalidTypeError(msg)
        check_id("user_id", user_id)
        schema, now = Schema(type(profile)), utc(time.time())
        loaded = profile._loaded.fields if isinstance(profile, UserProfile) else None
        given = schema.fields_of(profile)
        changed = _differences(loaded, given) if loaded is not None else _set_fields(profile, given)
        facts: list[Any] = getattr(profile, "facts", []) if schema.has_facts else []
        new = [at for at, fact in enumerate(facts) if not getattr(fact, "id", "")]
        statements = [_statement(_given(facts[at]), now) for at in new]

        def edit(unit: UnitOfWork) -> list[Fact | None]:
            fields = load_fields(unit, schema.name)
            for path, value in changed:
                if value is _GONE or value is None:
                    fields.forget(path, now, left=value is None)
                    continue
                for element in _removed(value_at(fields.document, path), value):
                    fields.forget_element(path, element, now)
                fields.set(path, value, now, override=True)
            schema.check(fields.document)
            save_fields(unit, schema.name, fields)
            stored = StoredFacts(unit)
            return [stored.add(statement, override=True) for statement in statements]

        keys = [profile_key(user_id, schema.name), *self._keys_of(user_id, statements)]
        stored = yield from commit(self._store, user_id, keys, edit)
        if isinstance(profile, UserProfile):
            # What is changed from now on is stored by the next save.
            profile._loaded = Loaded(copy.deepcopy(given))
            for at, fact in zip(new, stored, strict=True):
                facts[at] = fact or facts[at]

    def _update_preference(self, user_id: str, key: str, value: Any, schema: Schema) -> Program[None]:
        path, now = path_of(["preferences", check_name("key", key)]), utc(time.time())
        schema.check_path(path)

        def edit(unit: UnitOfWork) -> None:
            fields = load_fields(unit, schema.name)
            if value is None:
                fields.forget(path, now)
            else:
                fields.set(path, value, now, override=True)
            save_fields(unit, schema.name, fields)

        yield from commit(self._store, user_id, [profile_key(user_id, schema.name)], edit)

    def _keys_of(self, user_id: str, statements: Iterable[Statement]) -> list[ItemKey]:
        check_id("user_id", user_id)
        return [key for one in statements for key in keys_of_text(user_id, one.text, self._store.language)]

    def _add(self, user_id: str, facts: list[Fact], replaces: Fact | str | None) -> Program[Facts]:
        now = utc(time.time())
        statements = [_statement(fact, now) for fact in facts]

        def edit(unit: UnitOfWork) -> Facts:
            known = StoredFacts(unit)
            if replaces is None:
                stored = [known.add(statement, override=True) for statement in statements]
            else:
                if known.find(_id(replaces)) is None:
                    msg = f"There is no fact {shown(_id(replaces))} about this user, so none can replace it."
                    raise InvalidInputError(msg)
                stored = [known.replace(_id(replaces), statement, override=True) for statement in statements]
            return Facts(fact for fact in stored if fact is not None)

        return (yield from commit(self._store, user_id, self._keys_of(user_id, statements), edit))

    def _end(self, user_id: str, fact: Fact | str, at: datetime | str | None) -> Program[bool]:
        moment = utc(time.time()) if at is None else utc(at, "at")
        id_ = _id(fact)
        ended = yield from commit(self._store, user_id, [], lambda unit: StoredFacts(unit).end(id_, moment))
        return ended is not None

    def _forget_fact(self, user_id: str, fact: Fact | str) -> Program[bool]:
        now, id_ = utc(time.time()), _id(fact)
        return (yield from commit(self._store, user_id, [], lambda unit: StoredFacts(unit).forget(id_, now)))

    def _forget(self, user_id: str) -> Program[int]:
        deleted, now = 0, time.time()
        tombstone = forgotten_user_key(user_id)

        def note(unit: UnitOfWork) -> None:
            unit[tombstone] = {"at": now}

        # First, so that what is stored meanwhile is either kept away by it, or deleted.
        yield from commit(self._store, user_id, [tombstone], note)
        for label in (PROFILE, FACTS, FORGOTTEN, MEMORIES, ENTITIES, RELATIONS):
            while rows := (yield from rows_in(self._store, user_namespace(user_id, label))):
                yield from Twin(self._store.batch, [PutOp(row.namespace, row.key, None) for row in rows])
                deleted += len(rows)
        return deleted


_GONE = object()


def _fact(
    text: Any,
    topics: Any = (),
    sources: Any = (),
    valid_from: datetime | str | None = None,
    confidence: float = 1.0,
) -> Fact:
    if isinstance(confidence, bool) or not isinstance(confidence, (int, float)) or not 0 <= confidence <= 1:
        msg = f"confidence must be a number from 0 to 1, got {shown(confidence, 60)}."
        raise InvalidInputError(msg)
    checked = Statement.checked(text, utc(0), topics)
    return Fact(
        text=checked.text,
        topics=list(checked.topics),
        sources=source_ids(sources),
        valid_from=None if valid_from is None else utc(valid_from, "valid_from"),
        confidence=confidence,
    )


def _all_given(facts: Any) -> list[Fact]:
    return [_given(one) for one in check_list("facts", facts, "texts, Facts or dicts")]


def _given(one: Any) -> Fact:
    if isinstance(one, Fact):
        return _fact(one.text, one.topics, one.sources, one.valid_from, one.confidence)
    if isinstance(one, Mapping):
        known = ("text", "topics", "sources", "valid_from", "confidence")
        unknown = [name for name in one if name not in known]
        if unknown or "text" not in one:
            msg = f"A fact as a dict has a text, and may have {', '.join(known[1:])}; got {shown(list(one), 200)}."
            raise InvalidInputError(msg)
        return _fact(**one)
    return _fact(one)


def _statement(fact: Fact, now: datetime) -> Statement:
    return Statement(
        fact.text,
        now,
        topics=fact.topics,
        sources=fact.sources,
        valid_from=fact.valid_from,
        confidence=fact.confidence,
    )


def _id(fact: Fact | str) -> str:
    return check_id("A fact's id", fact.id if isinstance(fact, Fact) else fact)


def _removed(before: Any, after: Any) -> list[Any]:
    """The elements that were removed from a list, where nothing else was changed in it."""
    if not isinstance(before, list) or not isinstance(after, list):
        return []
    left = iter(before)
    kept = all(any(one == other for other in left) for one in after)
    return [one for one in before if one not in after] if kept else []


def _set_fields(profile: BaseModel, given: Mapping[str, Any]) -> list[tuple[tuple[str, ...], Any]]:
    """What was set of a profile that was made by hand."""
    names = {
        info.alias or name for name, info in type(profile).model_fields.items() if name in profile.model_fields_set
    }
    return [((name,), value) for name, value in given.items() if name in names]


def _differences(
    before: Mapping[str, Any], after: Mapping[str, Any], path: tuple[str, ...] = ()
) -> list[tuple[tuple[str, ...], Any]]:
    """What was changed of a document, as deep as it goes."""
    found: list[tuple[tuple[str, ...], Any]] = [((*path, name), _GONE) for name in before.keys() - after.keys()]
    for name, value in after.items():
        old = before.get(name, _GONE)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            found += _differences(old, value, (*path, name))
        elif old is _GONE or old != value:
            found.append(((*path, name), value))
    return found
