"""Learning from a conversation: read what is new, ask the model once what changes, check it, and store it with the marker."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from langgraph.store.base import GetOp, SearchOp

from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.errors import AgentMemError, InvalidInputError
from langchain_agentmem.knowledge.entities.changes import EntityChanges
from langchain_agentmem.knowledge.entities.drafts import Draft
from langchain_agentmem.knowledge.extraction.conversations import Conversation
from langchain_agentmem.knowledge.extraction.entities import (
    changes_left,
    checked_entities,
    entity_searches,
    known_entities,
    places_of,
)
from langchain_agentmem.knowledge.extraction.markers import (
    ASSISTANT,
    MAX_FAILURES,
    USER,
    Marker,
    digests_of,
    readable_text,
    role_of,
)
from langchain_agentmem.knowledge.extraction.operations import Operation, Outcome, Said, checked_operations, do
from langchain_agentmem.knowledge.extraction.prompts import extraction_prompt, with_error
from langchain_agentmem.knowledge.extraction.proposals import RefusedError, UnusableAnswerError, proposals_in
from langchain_agentmem.knowledge.extraction.speakers import words_of_others
from langchain_agentmem.knowledge.facts.facts import Fact, Facts
from langchain_agentmem.knowledge.facts.fields import Fields, load_fields, save_fields
from langchain_agentmem.knowledge.facts.schema import Schema
from langchain_agentmem.knowledge.facts.stored import StoredFacts, keys_of_digest, keys_of_text
from langchain_agentmem.knowledge.namespaces import (
    FACTS,
    ItemKey,
    forgotten_user_key,
    marker_key,
    profile_key,
    user_namespace,
)
from langchain_agentmem.knowledge.reading import answers, readable
from langchain_agentmem.knowledge.times import utc
from langchain_agentmem.knowledge.unit import UnitOfWork, commit
from langchain_agentmem.messages.properties import time_of
from langchain_agentmem.programs import Ask, Program, Within
from langchain_agentmem.programs.signals import came_by_signal
from langchain_agentmem.store.face import AgentMemStore

if TYPE_CHECKING:
    from langchain_core.runnables import Runnable, RunnableConfig

_log = logging.getLogger(__name__)

_NOSTREAM = "nostream"
"""LangGraph's `TAG_NOSTREAM`: the tokens of a call with this tag are no part of what the user sees."""

MAX_FACTS, MAX_FACT_CHARACTERS = 20, 4_000
"""How many known facts the model is shown, and how long all of them may be."""

MAX_ENTITIES, MAX_ENTITY_CHARACTERS = 12, 3_000
"""How many known entities the model is shown, and how long they and their relations may be."""

MAX_FIELD_CHARACTERS = 4_000
"""How much of the fields the model is shown."""

MAX_MESSAGES, MAX_MESSAGE_CHARACTERS = 40, 12_000
"""How many new messages are read in one run, and how long all of them may be; the others are read in the next."""

_LONGEST = {USER: 6_000, ASSISTANT: 1_000}
_LONGEST_NAME = 100
_NOT_ACCEPTED = (400, 413, 422)
"""HTTP statuses of a provider that does not accept the messages, now or later: too long, filtered, not valid."""

_QUERY = 1_000


class _ModelFailedError(AgentMemError):
    """The model did not answer."""


@dataclass(frozen=True)
class Extraction:
    """What a run of an extractor did."""

    user_id: str
    messages: int = 0
    """How many new messages were read."""
    calls: int = 0
    """How often the model was asked."""
    added: Facts = field(default_factory=Facts)
    updated: Facts = field(default_factory=Facts)
    """Facts that superseded others."""
    ended: Facts = field(default_factory=Facts)
    forgotten: int = 0
    """How many facts were forgotten."""
    fields: tuple[str, ...] = ()
    """The fields that changed."""
    entities: tuple[str, ...] = ()
    """The names of the entities that are new, or were told of."""
    relations: int = 0
    """How many relations between them are new, were told of, or were removed."""
    forgotten_entities: int = 0
    """How many entities were forgotten."""
    error: str | None = None
    """Why nothing changed, when the model failed or its answer could not be used."""
    more: bool = False
    """Whether there are new messages that were too many for one run."""

    @property
    def changed(self) -> bool:
        """Whether anything changed."""
        facts = self.added or self.updated or self.ended or self.forgotten
        return bool(facts or self.fields or self.entities or self.relations or self.forgotten_entities)


class _Learned(NamedTuple):
    """What is to be stored."""

    operations: Sequence[Operation]
    entities: EntityChanges


_NOTHING = _Learned((), EntityChanges())


@dataclass(frozen=True)
class Reader:
    """Reads conversations.

    Args:
        model: What is asked.
        store: Where the profiles are.
        schema: What they look like.
        instructions: What the model is to do.
        tell: The JSON schema of an answer, where the prompt must say how to answer; else None.
        seconds: How long a call to the model may take.
        entities: Whether entities and their relations are looked for too. Default: False.
    """

    model: Runnable[Any, Any]
    store: AgentMemStore
    schema: Schema
    instructions: str
    tell: dict[str, Any] | None
    seconds: float
    entities: bool = False

    def words_of_others(self, conversation: Conversation) -> Program[frozenset[int]]:
        """Note for whom the messages of a conversation are read; returns the places of those that other users said.

        Args:
            conversation: The conversation, as soon as it is handed over.
        """
        if not conversation.of_thread:
            return frozenset()
        backend, tenant = self.store.engine.backend, self.store.engine.tenant
        thread, user_id = conversation.thread, conversation.user_id
        return (yield from words_of_others(backend, tenant, thread, user_id, conversation.messages))

    def read(self, conversation: Conversation, config: RunnableConfig | None) -> Program[Extraction]:
        """Learn from a conversation what is new in it.

        Args:
            conversation: The conversation.
            config: That of the run, for the model.

        Raises:
            StorageError: The database could not do what was asked.
        """
        user_id = conversation.user_id
        looked_for = (self.schema.name, self.instructions, "entities" if self.entities else "")
        places = [marker_key(user_id, conversation.thread, *looked_for), profile_key(user_id, self.schema.name)]
        items = yield from answers(self.store.engine, [GetOp(*place) for place in places])
        marker, fields = Marker(items[0] and items[0].value), Fields(user_id, items[1] and items[1].value)
        # Without thread and id nothing tells a message from the same words said again: it is read.
        digests = digests_of(conversation.messages, None if conversation.thread else str(conversation.now))
        start = marker.start(digests)
        others = yield from self.words_of_others(conversation)
        end, said = _portion(conversation, digests, start, others)
        count, more = end - start, end < len(digests)
        if not count:
            return Extraction(user_id)
        if not any(one.role == "user" for one in said):
            yield from self._store(conversation, digests[:end], said, _NOTHING, places)
            return Extraction(user_id, messages=count, more=more)
        facts, entities = yield from self._relevant(user_id, said)
        asked: list[int] = []
        try:
            learned = yield from self._ask(said, facts, entities, fields, config, asked)
            outcome = yield from self._store(conversation, digests[:end], said, learned, places)
        except _ModelFailedError as error:  # a limit, an outage, a timeout: the messages are read next time
            return self._reported(Extraction(user_id, count, len(asked), error=str(error), more=more))
        except (
            UnusableAnswerError,
            InvalidInputError,
        ) as error:  # the latter: it does not fit what others stored meanwhile
            yield from self._failed(user_id, places[0], digests[:end])
            return self._reported(Extraction(user_id, count, len(asked), error=str(error), more=more))
        return Extraction(
            user_id,
            count,
            len(asked),
            outcome.added,
            outcome.updated,
            outcome.ended,
            outcome.forgotten,
            tuple(outcome.fields),
            tuple(outcome.told.entities),
            outcome.told.relations,
            outcome.told.forgotten,
            more=more,
        )

    def _reported(self, extraction: Extraction) -> Extraction:
        _log.warning("Nothing was learned from %d messages: %s", extraction.messages, extraction.error)
        return extraction

    def _relevant(
        self, user_id: str, said: Sequence[Said]
    ) -> Program[tuple[list[tuple[str, dict[str, Any]]], dict[str, list[Any]] | None]]:
        """The facts and entities that the model is shown: those that answer to the new messages, then those noted last."""
        query = " ".join(one.text for one in said if one.role == "user")[-_QUERY:]
        where, only = user_namespace(user_id, FACTS), {"valid_to": None}
        searches: list[GetOp | SearchOp] = []
        if self.schema.has_facts:
            searches += [SearchOp(where, only, MAX_FACTS // 2, 0, query), SearchOp(where, only, MAX_FACTS, 0, None)]
        of_facts = len(searches)
        if self.entities:
            searches += entity_searches(user_id, query, MAX_ENTITIES)
        found = (yield from answers(self.store.engine, searches)) if searches else []
        entities = None
        if self.entities:
            items = [item for items in found[of_facts:] for item in items]
            entities = yield from known_entities(
                self.store.engine, user_id, items, MAX_ENTITIES, MAX_ENTITY_CHARACTERS, said[-1].at
            )
        shown: dict[str, dict[str, Any]] = {}
        left = MAX_FACT_CHARACTERS
        for fact in readable((item for items in found[:of_facts] for item in items), Fact.of_item):
            key = fact.id.rpartition("-")[0]
            length = len(fact.text) + sum(map(len, fact.topics)) + 20
            if key in shown or length > left or len(shown) == MAX_FACTS:
                continue
            left -= length
            shown[key] = {"id": fact.id, "text": fact.text, "topics": fact.topics}
        return [(one["id"], {"text": one["text"], "topics": one["topics"]}) for one in shown.values()], entities

    def _ask(
        self,
        said: Sequence[Said],
        facts: Sequence[tuple[str, dict[str, Any]]],
        entities: dict[str, list[Any]] | None,
        fields: Fields,
        config: RunnableConfig | None,
        asked: list[int],
    ) -> Program[_Learned]:
        """What the model proposes, in one call; in a second one, if it cannot be used, which shows what was wrong."""
        prompt = extraction_prompt(
            self.schema,
            self.instructions,
            _bounded(fields.document),
            [{"number": number, **fact} for number, (_, fact) in enumerate(facts, 1)],
            [_shown_message(number, one) for number, one in enumerate(said, 1)],
            said[-1].at,
            self.tell,
            entities,
        )
        quiet: RunnableConfig = {**(config or {}), "tags": [*((config or {}).get("tags") or ()), _NOSTREAM]}
        for call in (1, 2):
            answer: Any = None
            asked.append(call)
            try:
                try:
                    answer = yield from Within(Ask(self.model, prompt, quiet), self.seconds)
                except Exception as error:  # each provider raises its own
                    if came_by_signal(error):
                        raise
                    raise _failure(error) from error
                proposed = proposals_in(answer, entities=self.entities)
                shown = [id_ for id_, _ in facts]
                operations = checked_operations(proposed.changes, said, shown, self.schema, fields)
                return _Learned(operations, checked_entities(proposed.entities))
            except RefusedError:
                raise
            except UnusableAnswerError as error:
                if call == 2:
                    raise
                prompt = with_error(prompt, _shown(answer), str(error))
        raise AssertionError

    def _store(
        self,
        conversation: Conversation,
        digests: Sequence[str],
        said: Sequence[Said],
        learned: _Learned,
        places: Sequence[ItemKey],
    ) -> Program[Outcome]:
        """Store what was learned, and that these messages were read, together."""
        user_id, operations = conversation.user_id, learned.operations
        sources = [one.source for one in said if one.role == USER]
        fresh_if_unnamed = [one.place for one in said if one.role == USER]

        def edit(unit: UnitOfWork) -> Outcome:
            marker = Marker(unit[places[0]])
            since = unit[forgotten_user_key(user_id)]
            fresh = _said_since(_time_in(since), conversation, marker, said)
            fields = load_fields(unit, self.schema.name)
            # What another run has read meanwhile, it has learned too.
            start = marker.start(digests)
            left = [
                one
                for one in operations
                if max(one.read, default=len(digests) - 1) >= start and fresh.issuperset(one.read or fresh_if_unnamed)
            ]
            outcome = do(left, StoredFacts(unit), self.schema, fields)
            for one in said:
                if one.role == USER and one.place in fresh:
                    fields.record_interaction(one.at)
            if fresh:
                save_fields(unit, self.schema.name, fields)
            whole = len(digests) == len(conversation.messages)
            unit[places[0]] = marker.after(digests, conversation.now if whole else None)
            draft = Draft(unit, utc(conversation.now).isoformat())
            draft.apply(changes_left(learned.entities, said, start, len(digests), fresh), sources)
            outcome.told = draft.told()
            return outcome

        needed = [*places, forgotten_user_key(user_id), *places_of(user_id, learned.entities)]
        for one in operations:
            if one.statement is not None:
                needed += keys_of_text(user_id, one.statement.text, self.store.language)
            if one.fact is not None:
                needed += keys_of_digest(user_id, one.fact.rpartition("-")[0])
        return (yield from commit(self.store.engine, user_id, needed, edit))

    def _failed(self, user_id: str, place: ItemKey, digests: Sequence[str]) -> Program[None]:
        """Count a run that came to nothing; after several, the messages of the first of them are passed over."""

        def edit(unit: UnitOfWork) -> None:
            marker = Marker(unit[place])
            start = marker.start(digests)
            if marker.failures + 1 < MAX_FAILURES:
                unit[place] = marker.failed(len(digests) - start)
            else:
                _log.warning("Messages are passed over: no answer about them could be used.")
                unit[place] = marker.after(digests[: start + marker.failed_messages])

        yield from commit(self.store.engine, user_id, [place], edit)


def _time_in(since: Mapping[str, Any] | None) -> float | None:
    with reading("When all that was known of the user was forgotten"):
        return None if since is None else float(since["at"])


def _said_since(
    forgotten: float | None, conversation: Conversation, marker: Marker, said: Sequence[Said]
) -> frozenset[int]:
    """The places of the messages that were surely said after all that was known of the user was forgotten."""
    if forgotten is None:
        return frozenset(one.place for one in said)
    later = conversation.now > forgotten
    # What follows what was handed over since, was so too.
    known = later and marker.handed_over is not None and marker.handed_over > forgotten
    return frozenset(
        one.place for one in said if (one.at.timestamp() > forgotten if one.own else later and (known or one.timed))
    )


def _shown_message(number: int, one: Said) -> dict[str, Any]:
    return {"number": number, "role": one.role, **({"name": one.name} if one.name else {}), "text": one.text}


def _portion(
    conversation: Conversation, digests: Sequence[str], start: int, others: frozenset[int]
) -> tuple[int, list[Said]]:
    """The new messages that one run reads: the place after the last of them, and what is said in them.

    What other users say, and what the assistant answers to them, is left out.
    """
    messages = conversation.messages
    last_turn = max((at for at, message in enumerate(messages) if role_of(message) == USER), default=0)
    turn_of = -1
    said: list[Said] = []
    left = MAX_MESSAGE_CHARACTERS
    for at, message in enumerate(messages):
        role = role_of(message)
        turn_of = at if role == USER else turn_of
        if at < start or turn_of in others:
            continue
        text = _clipped(readable_text(str(message.text)).strip(), _LONGEST[role]) if role else ""
        if said and text and (len(text) > left or len(said) == MAX_MESSAGES):
            return at, said
        if role and text:
            left -= len(text)
            # A clock that is ahead would keep away what is said until it is right.
            moment = min(time_of(message, -1.0), conversation.now)
            own = moment >= 0
            timed = own or at >= last_turn
            said.append(
                Said(
                    at,
                    readable_text(message.id or digests[at]),
                    role,
                    text,
                    utc(moment if own else conversation.now),
                    timed,
                    _clipped(readable_text(message.name or ""), _LONGEST_NAME),
                    own,
                )
            )
    return len(messages), said


def _clipped(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest // 2]} … {text[-longest // 2 :]}"


def _bounded(document: dict[str, Any]) -> dict[str, Any]:
    """As much of a document as the model is shown: what was set last stays."""
    if len(json.dumps(document, ensure_ascii=False)) <= MAX_FIELD_CHARACTERS:
        return document
    share = MAX_FIELD_CHARACTERS // max(1, len(document))
    return {name: _within(value, share) for name, value in list(document.items())[-100:]}


def _within(value: Any, characters: int) -> Any:
    if isinstance(value, (dict, list)):
        entries = list(value.items()) if isinstance(value, dict) else list(value)
        while entries and len(json.dumps(entries, ensure_ascii=False)) > characters:
            entries = entries[len(entries) // 2 + 1 :]
        return dict(entries) if isinstance(value, dict) else entries
    return _clipped(value, max(20, characters)) if isinstance(value, str) else value


def _shown(answer: Any) -> str:
    message = answer["raw"] if isinstance(answer, dict) and "raw" in answer else answer
    calls = getattr(message, "tool_calls", None) or getattr(message, "invalid_tool_calls", None)
    if calls:
        try:
            return str([call.get("args") for call in calls])
        except RecursionError:
            return ""
    return str(getattr(message, "text", message) or "")


def _failure(error: Exception) -> AgentMemError:
    """What an error of the model's means: some clients raise for an answer that was cut off, or filtered."""
    name = type(error).__name__
    if "LengthFinishReason" in name or "OutputParser" in name:
        return UnusableAnswerError(
            "The answer was cut off, or could not be read. Propose fewer changes, in shorter words."
        )
    if "ContentFilter" in name or "Refusal" in name:
        return RefusedError(f"The model refused: {error!s:.300}")
    if _status(error) in _NOT_ACCEPTED:
        return RefusedError(f"The provider does not accept these messages: {name}: {error!s:.300}")
    return _ModelFailedError(f"{name}: {error!s:.500}")


def _status(error: Exception) -> Any:
    """The HTTP status of a provider's answer, where an error tells."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # as botocore has it
        return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    for holder in (error, response):
        for name in ("status_code", "status", "code"):
            if isinstance(found := getattr(holder, name, None), int):
                return found
    return None
