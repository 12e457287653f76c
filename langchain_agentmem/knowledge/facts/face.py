"""`Profiles`: read and change the profiles and facts of users, without a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar, overload

from pydantic import BaseModel

from langchain_agentmem.knowledge.face import KnowledgeFace
from langchain_agentmem.knowledge.facts.context import MAX_TOKENS
from langchain_agentmem.knowledge.facts.engine import ProfileEngine
from langchain_agentmem.knowledge.facts.facts import Fact, Facts
from langchain_agentmem.knowledge.facts.schema import Schema, UserProfile
from langchain_agentmem.knowledge.facts.statements import given_statement, given_statements
from langchain_agentmem.knowledge.times import now
from langchain_agentmem.messages.tokens import TokenCounter
from langchain_agentmem.programs import arun, run
from langchain_agentmem.store.face import AgentMemStore

Model = TypeVar("Model", bound=BaseModel)
SchemaLike = type[BaseModel] | Mapping[str, Any]
"""A Pydantic model, or a JSON schema of an object."""
Moment = datetime | str
"""A `datetime` or an ISO 8601 string; without a time zone it is taken as UTC."""


class Profiles(KnowledgeFace[ProfileEngine]):
    """Profiles of users: their fields and facts. Available as `AgentMemory.profiles`.

    Everything known about a user is stored below the namespace `("user:<user_id>",)` of the store, and never expires.
    Changes made here count as later than everything that was stated in messages. Each method has an async twin with the
    prefix `a`.

    Args:
        store: The store.

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
        super().__init__(ProfileEngine(store.engine))

    # Reading

    @overload
    def get(self, user_id: str, *, as_of: Moment | None = None) -> UserProfile: ...

    @overload
    def get(self, user_id: str, *, as_of: Moment | None = None, schema: type[Model]) -> Model | None: ...

    @overload
    def get(self, user_id: str, *, as_of: Moment | None = None, schema: Mapping[str, Any]) -> dict[str, Any] | None: ...

    def get(
        self, user_id: str, *, as_of: Moment | None = None, schema: SchemaLike = UserProfile
    ) -> BaseModel | dict[str, Any] | None:
        """Return the profile of a user. The profile of an unknown user is empty.

        A damaged item is left out, and a warning in the log names it.

        Args:
            user_id: ID of the user.
            as_of: Return the profile as it was at this time: a `datetime` or an ISO 8601 string; without a time zone it
                is taken as UTC. Default: None (now).
            schema: Form of the profile: a Pydantic model or a JSON schema. Default: `UserProfile`.

        Returns:
            An instance of the model, or a dict for a JSON schema; None if a required field is not known yet.

        Raises:
            InvalidInputError: An argument is not valid.
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
        return run(self.engine.get(user_id, as_of, Schema(schema)))

    @overload
    async def aget(self, user_id: str, *, as_of: Moment | None = None) -> UserProfile: ...

    @overload
    async def aget(self, user_id: str, *, as_of: Moment | None = None, schema: type[Model]) -> Model | None: ...

    @overload
    async def aget(
        self, user_id: str, *, as_of: Moment | None = None, schema: Mapping[str, Any]
    ) -> dict[str, Any] | None: ...

    async def aget(
        self, user_id: str, *, as_of: Moment | None = None, schema: SchemaLike = UserProfile
    ) -> BaseModel | dict[str, Any] | None:
        """Same as `get`, without blocking the event loop."""
        return await arun(self.engine.get(user_id, as_of, Schema(schema)))

    def context(
        self,
        user_id: str,
        *,
        query: str | None = None,
        max_tokens: int = MAX_TOKENS,
        as_of: Moment | None = None,
        schema: SchemaLike = UserProfile,
        token_counter: Any = None,
    ) -> str:
        """Return the part of a prompt with the knowledge about a user. It quotes everything as data.

        Fields come first, then facts: those that answer the query best, then those that were stated last. What does not fit
        in the budget is left out.

        Args:
            user_id: ID of the user.
            query: Text that the most important facts answer, such as the user's message. Default: None.
            max_tokens: Budget of the text. Default: 1,000.
            as_of: Quote the profile as it was at this time, as in `get`. Default: None (now).
            schema: Schema of the profile, as in `get`. Default: `UserProfile`.
            token_counter: Counts tokens: the name of a model, a model, or a function. Default: None (approximately).

        Returns:
            The text; an empty string if nothing is known, or nothing fits.

        Raises:
            InvalidInputError: An argument is not valid.
            InvalidTypeError: An argument has the wrong type.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     memory.profiles.update_preference("alice", "language", "Greek")
            ...     fact = memory.profiles.add_fact("alice", "Lives in Athens")
            ...     print(memory.profiles.context("alice").splitlines()[1])
            <data>{"profile": {"preferences": {"language": "Greek"}}, "facts": ["Lives in Athens"]}</data>
        """
        counter = TokenCounter.of(token_counter)
        return run(self.engine.context(user_id, query, max_tokens, as_of, Schema(schema), counter))

    async def acontext(
        self,
        user_id: str,
        *,
        query: str | None = None,
        max_tokens: int = MAX_TOKENS,
        as_of: Moment | None = None,
        schema: SchemaLike = UserProfile,
        token_counter: Any = None,
    ) -> str:
        """Same as `context`, without blocking the event loop."""
        counter = TokenCounter.of(token_counter)
        return await arun(self.engine.context(user_id, query, max_tokens, as_of, Schema(schema), counter))

    def search(
        self,
        user_id: str,
        query: str,
        k: int = 10,
        *,
        past: bool = False,
        agent: str | None = None,
        filter: Mapping[str, Any] | None = None,
    ) -> Facts:
        """Return the facts about a user that answer a query best, by words and, with embeddings, by meaning.

        Args:
            user_id: ID of the user.
            query: Text to search for.
            k: Largest number of facts. Default: 10.
            past: If true, search ended facts too. Default: False.
            agent: Only facts that this agent saved. Default: None (all).
            filter: Filter of the metadata; see `langchain_agentmem.store.filters`. Default: None.
        """
        return run(self.engine.search(user_id, query, k, past=past, agent=agent, filter=filter))

    async def asearch(
        self,
        user_id: str,
        query: str,
        k: int = 10,
        *,
        past: bool = False,
        agent: str | None = None,
        filter: Mapping[str, Any] | None = None,
    ) -> Facts:
        """Same as `search`, without blocking the event loop."""
        return await arun(self.engine.search(user_id, query, k, past=past, agent=agent, filter=filter))

    def by_topic(
        self,
        user_id: str,
        topic: str,
        *,
        past: bool = False,
        agent: str | None = None,
        filter: Mapping[str, Any] | None = None,
    ) -> Facts:
        """Return the facts about a user on a topic, the oldest first.

        Args:
            user_id: ID of the user.
            topic: The topic, in capitals or not.
            past: If true, return ended facts too. Default: False.
            agent: Only facts that this agent saved. Default: None (all).
            filter: Filter of the metadata; see `langchain_agentmem.store.filters`. Default: None.
        """
        return run(self.engine.by_topic(user_id, topic, past=past, agent=agent, filter=filter))

    async def aby_topic(
        self,
        user_id: str,
        topic: str,
        *,
        past: bool = False,
        agent: str | None = None,
        filter: Mapping[str, Any] | None = None,
    ) -> Facts:
        """Same as `by_topic`, without blocking the event loop."""
        return await arun(self.engine.by_topic(user_id, topic, past=past, agent=agent, filter=filter))

    def timeline(self, user_id: str, *, agent: str | None = None, filter: Mapping[str, Any] | None = None) -> Facts:
        """Return all facts about a user, including ended ones, ordered by the start of their validity periods.

        Args:
            user_id: ID of the user.
            agent: Only facts that this agent saved. Default: None (all).
            filter: Filter of the metadata; see `langchain_agentmem.store.filters`. Default: None.
        """
        return run(self.engine.timeline(user_id, agent=agent, filter=filter))

    async def atimeline(
        self, user_id: str, *, agent: str | None = None, filter: Mapping[str, Any] | None = None
    ) -> Facts:
        """Same as `timeline`, without blocking the event loop."""
        return await arun(self.engine.timeline(user_id, agent=agent, filter=filter))

    # Changing

    def save(self, profile: BaseModel, *, user_id: str | None = None) -> None:
        """Store the changes of a profile that `get` returned, or a profile that the application created.

        Of a `UserProfile` from `get`, only the fields that changed since are stored; concurrent changes of other fields
        stay. Of any other model, all fields that are set are stored. Facts without an ID are added. No fact is removed:
        use `forget_fact` or `end_fact`.

        A field that was removed or set to None is forgotten: its former values are deleted too. So are elements that were
        removed from a list to which nothing was added.

        Args:
            profile: A `UserProfile`, or another model with a field `user_id`.
            user_id: ID of the user, for a `UserProfile` without one. Default: None (that of the profile).

        Raises:
            InvalidInputError: The profile has no `user_id`, or another one.

        Example:
            >>> from langchain_agentmem import AgentMemory, UserProfile
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     memory.profiles.save(UserProfile(facts=["Drinks tea"]), user_id="alice@example.com")
            ...     memory.profiles.get("alice@example.com").facts[0].text
            'Drinks tea'
        """
        run(self.engine.save(profile, user_id))

    async def asave(self, profile: BaseModel, *, user_id: str | None = None) -> None:
        """Same as `save`, without blocking the event loop."""
        await arun(self.engine.save(profile, user_id))

    def update_preference(self, user_id: str, key: str, value: Any, *, schema: SchemaLike = UserProfile) -> None:
        """Set or remove a preference.

        The former value of a changed preference stays in the history, which `get(as_of=…)` reads. A removed preference
        leaves no value in the history either.

        Args:
            user_id: ID of the user.
            key: Name of the preference.
            value: A JSON-serialisable value; None removes the preference and its history.
            schema: Schema of the profile to change, if the user has several. Default: `UserProfile`.
        """
        run(self.engine.update_preference(user_id, key, value, Schema(schema)))

    async def aupdate_preference(self, user_id: str, key: str, value: Any, *, schema: SchemaLike = UserProfile) -> None:
        """Same as `update_preference`, without blocking the event loop."""
        await arun(self.engine.update_preference(user_id, key, value, Schema(schema)))

    def add_fact(
        self,
        user_id: str,
        text: str,
        *,
        topics: Iterable[str] = (),
        sources: Iterable[str] = (),
        valid_from: Moment | None = None,
        confidence: float = 1.0,
        metadata: Mapping[str, Any] | None = None,
        agent: str | None = None,
        replaces: Fact | str | None = None,
    ) -> Fact:
        """Add a fact, or confirm the stored fact that says the same. A forgotten fact comes back.

        Args:
            user_id: ID of the user.
            text: One statement of at most 500 characters.
            topics: Topics of the fact. Default: none.
            sources: IDs of the messages that state it. Default: none.
            valid_from: Start of the validity period. Default: None (now).
            confidence: Confidence in the fact, from 0 to 1. Default: 1.
            metadata: JSON-serialisable metadata, by which facts can be filtered. If the fact is stored already, the keys are
                added to its metadata. Default: None.
            agent: Agent that saves the fact. A stored fact keeps its agent. Default: None.
            replaces: The fact that this one supersedes, or its ID. Default: None.

        Returns:
            The fact as it is stored.
        """
        statement = given_statement(now(), text, topics, sources, valid_from, confidence, metadata, agent)
        return run(self.engine.add(user_id, [statement], replaces))[0]

    async def aadd_fact(
        self,
        user_id: str,
        text: str,
        *,
        topics: Iterable[str] = (),
        sources: Iterable[str] = (),
        valid_from: Moment | None = None,
        confidence: float = 1.0,
        metadata: Mapping[str, Any] | None = None,
        agent: str | None = None,
        replaces: Fact | str | None = None,
    ) -> Fact:
        """Same as `add_fact`, without blocking the event loop."""
        statement = given_statement(now(), text, topics, sources, valid_from, confidence, metadata, agent)
        return (await arun(self.engine.add(user_id, [statement], replaces)))[0]

    def add_facts(self, user_id: str, facts: Iterable[Fact | Mapping[str, Any] | str]) -> Facts:
        """Add several facts in one transaction.

        Args:
            user_id: ID of the user.
            facts: The facts: each a text, a `Fact`, or a dict of the arguments of `add_fact`.

        Returns:
            The facts as they are stored.
        """
        return run(self.engine.add(user_id, given_statements(now(), facts)))

    async def aadd_facts(self, user_id: str, facts: Iterable[Fact | Mapping[str, Any] | str]) -> Facts:
        """Same as `add_facts`, without blocking the event loop."""
        return await arun(self.engine.add(user_id, given_statements(now(), facts)))

    def end_fact(self, user_id: str, fact: Fact | str, *, at: Moment | None = None) -> bool:
        """End the validity period of a fact. The fact stays in the timeline.

        Args:
            user_id: ID of the user.
            fact: The fact, or its ID.
            at: The end of the validity period. Default: None (now).

        Returns:
            True if the fact had not ended before.
        """
        return run(self.engine.end(user_id, fact, at))

    async def aend_fact(self, user_id: str, fact: Fact | str, *, at: Moment | None = None) -> bool:
        """Same as `end_fact`, without blocking the event loop."""
        return await arun(self.engine.end(user_id, fact, at))

    def forget_fact(self, user_id: str, fact: Fact | str) -> bool:
        """Delete a fact and the facts that it superseded. Only digests stay, so that old messages do not bring it back.

        Args:
            user_id: ID of the user.
            fact: The fact, or its ID.

        Returns:
            True if there was such a fact.
        """
        return run(self.engine.forget_fact(user_id, fact))

    async def aforget_fact(self, user_id: str, fact: Fact | str) -> bool:
        """Same as `forget_fact`, without blocking the event loop."""
        return await arun(self.engine.forget_fact(user_id, fact))

    def forget_value(
        self, user_id: str, field: str | Sequence[str], value: Any, *, schema: SchemaLike = UserProfile
    ) -> bool:
        """Delete one value of a field from the profile and from its history. Other values of the field stay.

        Only a digest stays, so that old messages do not bring the value back. `update_preference` with None forgets a
        preference with all its values.

        Args:
            user_id: ID of the user.
            field: Path of the field, such as `"name"` or `"preferences.diet"`, or a list of names.
            value: The present or former value, or an element of a list. Case and spaces of texts do not count.
            schema: Schema of the profile to change, if the user has several. Default: `UserProfile`.

        Returns:
            True if the field had the value.

        Raises:
            InvalidInputError: The schema does not have the field.

        Example:
            >>> from langchain_agentmem import AgentMemory, UserProfile
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     memory.profiles.save(UserProfile(user_id="alice@example.com", name="Al"))
            ...     memory.profiles.save(UserProfile(user_id="alice@example.com", name="Alice"))
            ...     memory.profiles.forget_value("alice@example.com", "name", "Al")
            True
        """
        return run(self.engine.forget_value(user_id, field, value, Schema(schema)))

    async def aforget_value(
        self, user_id: str, field: str | Sequence[str], value: Any, *, schema: SchemaLike = UserProfile
    ) -> bool:
        """Same as `forget_value`, without blocking the event loop."""
        return await arun(self.engine.forget_value(user_id, field, value, Schema(schema)))

    def forget(self, user_id: str) -> int:
        """Delete everything known about a user: profile, facts, memories and entities.

        The time and digests of the messages that were read stay, so that old messages do not bring the knowledge back.

        Args:
            user_id: ID of the user.

        Returns:
            The number of deleted objects; a relation is one object, and an alias is none.
        """
        return run(self.engine.forget(user_id))

    async def aforget(self, user_id: str) -> int:
        """Same as `forget`, without blocking the event loop."""
        return await arun(self.engine.forget(user_id))
