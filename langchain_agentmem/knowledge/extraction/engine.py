"""Extraction as a program: select new messages, ask the model once, check its proposals, and store them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from langgraph.store.base import GetOp

from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.errors import InvalidInputError
from langchain_agentmem.knowledge.entities.changes import EntityChanges
from langchain_agentmem.knowledge.entities.stored import GraphChanges, StoredGraph
from langchain_agentmem.knowledge.extraction.answers import proposals_in
from langchain_agentmem.knowledge.extraction.checks import ProposalChecker, check_entities
from langchain_agentmem.knowledge.extraction.conversations import Conversation
from langchain_agentmem.knowledge.extraction.edits import FieldChanges, change_fields
from langchain_agentmem.knowledge.extraction.known import read_known, shown_fields
from langchain_agentmem.knowledge.extraction.markers import MAX_FAILURES, Marker, digests_of
from langchain_agentmem.knowledge.extraction.model import ModelFailedError, ProposingModel, text_of_answer
from langchain_agentmem.knowledge.extraction.operations import FactChanges, Operation, change_facts
from langchain_agentmem.knowledge.extraction.prompts import extraction_prompt, with_error
from langchain_agentmem.knowledge.extraction.proposals import RefusedError, UnusableAnswerError
from langchain_agentmem.knowledge.extraction.results import Extraction
from langchain_agentmem.knowledge.extraction.selection import Admission, Selection, positions_after, select
from langchain_agentmem.knowledge.extraction.speakers import messages_of_others
from langchain_agentmem.knowledge.facts.fields import Fields, load_fields, save_fields
from langchain_agentmem.knowledge.facts.schema import Schema
from langchain_agentmem.knowledge.facts.stored import StoredFacts, keys_of_digest, keys_of_text
from langchain_agentmem.knowledge.items import read_batch
from langchain_agentmem.knowledge.namespaces import ItemKey, forgotten_user_key, marker_key, profile_key
from langchain_agentmem.knowledge.times import utc
from langchain_agentmem.knowledge.unit import UnitOfWork, UnreadItemsError, commit
from langchain_agentmem.programs import Program
from langchain_agentmem.store.engine import StoreEngine

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

_log = logging.getLogger(__name__)


class _Checked(NamedTuple):
    """Checked proposals of the model."""

    operations: Sequence[Operation]
    entities: EntityChanges


_NOTHING = _Checked((), EntityChanges())


class _Stored(NamedTuple):
    """The changes that the transaction of an extraction stored."""

    facts: FactChanges
    fields: FieldChanges
    graph: GraphChanges


@dataclass
class _Run:
    """The state of one extraction."""

    conversation: Conversation
    marker: ItemKey
    digests: list[str]
    """Digests of all messages of the conversation."""
    selection: Selection
    start: int
    """Position of the first new message."""
    calls: int = 0

    @property
    def read(self) -> list[str]:
        """Digests of the messages up to the last one that this extraction reads."""
        return self.digests[: self.selection.end]

    @property
    def more(self) -> bool:
        """True if new messages are left for another extraction."""
        return self.selection.end < len(self.digests)

    @property
    def count(self) -> int:
        """Number of new messages that this extraction reads."""
        return self.selection.end - self.start


@dataclass(frozen=True)
class ExtractionEngine:
    """The operations of `ProfileExtractor` as programs.

    Args:
        model: The model that proposes changes.
        store: The store.
        schema: Schema of the profiles.
        instructions: Instructions for the model, which the prompt starts with.
        entities: If true, the model is asked for entities and relations too.
    """

    model: ProposingModel
    store: StoreEngine
    schema: Schema
    instructions: str
    entities: bool

    def register(self, conversation: Conversation) -> Program[frozenset[int]]:
        """Store to which user the new messages of a thread belong, as soon as a run hands them over.

        Args:
            conversation: The conversation.

        Returns:
            Positions of messages of other users.
        """
        if not conversation.of_thread:
            return frozenset()
        thread, user_id = conversation.thread, conversation.user_id
        backend, tenant = self.store.backend, self.store.tenant
        return (yield from messages_of_others(backend, tenant, thread, user_id, conversation.messages))

    def extract(self, conversation: Conversation, config: RunnableConfig | None) -> Program[Extraction]:
        """Extract knowledge from the new messages of a conversation.

        Args:
            conversation: The conversation.
            config: Config of the run, for the model.

        Raises:
            StorageError: The database failed.
        """
        user_id = conversation.user_id
        purpose = (self.schema.name, self.instructions, "entities" if self.entities else "")
        keys = [marker_key(user_id, conversation.thread, *purpose), profile_key(user_id, self.schema.name)]
        marker, profile = yield from _values(self.store, keys)
        # Without a thread, the same message without ID may come from another conversation, so it is read again.
        digests = digests_of(conversation.messages, None if conversation.thread else str(conversation.now))
        start = Marker(marker).start(digests)
        others = yield from self.register(conversation)
        run = _Run(conversation, keys[0], digests, select(conversation, digests, start, others), start)
        if not run.count:
            return Extraction(user_id)
        if not run.selection.of_user:
            yield from self._store(run, _NOTHING)
            return Extraction(user_id, messages=run.count, more=run.more)
        try:
            checked = yield from self._ask(run, Fields(user_id, profile), config)
            stored = yield from self._store(run, checked)
        except ModelFailedError as error:  # the next run reads the messages
            return _failed(run, error)
        except (UnusableAnswerError, InvalidInputError) as error:  # the latter: concurrent changes are in the way
            yield from self._count_failure(run)
            return _failed(run, error)
        return _succeeded(run, stored)

    def _ask(self, run: _Run, fields: Fields, config: RunnableConfig | None) -> Program[_Checked]:
        """Ask the model for proposals. If its answer cannot be used, ask once more, with the error."""
        messages = run.selection.messages
        known = yield from read_known(
            self.store, run.conversation.user_id, run.selection, facts=self.schema.has_facts, entities=self.entities
        )
        prompt = extraction_prompt(
            self.schema,
            self.instructions,
            shown_fields(fields.document),
            known.facts,
            messages,
            known.entities,
            self.model.schema_in_prompt,
        )
        checker = ProposalChecker(messages, known.facts, self.schema, fields, run.conversation.user_id)
        while True:
            answer: Any = None
            run.calls += 1
            try:
                answer = yield from self.model.ask(prompt, config)
                proposed = proposals_in(answer, entities=self.entities)
                operations, faults = checker.operations(enumerate(proposed.changes, 1))
                if faults:
                    raise UnusableAnswerError(" ".join(faults))
                check_entities(proposed.entities)
            except RefusedError:
                raise
            except UnusableAnswerError as error:
                if run.calls == 2:
                    raise
                prompt = with_error(prompt, text_of_answer(answer), str(error))
            else:
                return _Checked(operations, proposed.entities)

    def _store(self, run: _Run, checked: _Checked) -> Program[_Stored]:
        """Store the changes and the marker in one transaction."""
        conversation, selection = run.conversation, run.selection
        user_id = conversation.user_id
        sources = [one.source for one in selection.of_user]

        def edit(unit: UnitOfWork) -> _Stored:
            marker = Marker(unit[run.marker])
            forgotten = _time_of(unit[forgotten_user_key(user_id)])
            recent = positions_after(forgotten, conversation, marker, selection.messages)
            admission = Admission(selection, marker.start(run.read), recent)
            fields = load_fields(unit, self.schema.name)
            operations = [one for one in checked.operations if admission.admits(one.positions)]
            changed = change_fields(operations, self.schema, fields, user_id)
            fields = changed.fields
            facts = change_facts(operations, StoredFacts(unit))
            for one in selection.of_user:
                if one.position in recent:
                    fields.record_interaction(one.at)
            if recent:
                save_fields(unit, self.schema.name, fields)
            unit[run.marker] = marker.after(run.read, None if run.more else conversation.now)
            graph = StoredGraph(unit, utc(conversation.now).isoformat())
            graph.apply(_admitted(checked.entities, admission), sources)
            return _Stored(facts, changed, graph.changes())

        keys = [run.marker, profile_key(user_id, self.schema.name), forgotten_user_key(user_id)]
        keys += _keys_of(user_id, checked, self.store.language)
        return (yield from commit(self.store, user_id, keys, edit))

    def _count_failure(self, run: _Run) -> Program[None]:
        """Count a failed extraction. After several in a row, skip the messages that the first of them read."""

        def edit(unit: UnitOfWork) -> None:
            marker = Marker(unit[run.marker])
            start = marker.start(run.read)
            if marker.failures + 1 < MAX_FAILURES:
                unit[run.marker] = marker.after_failure(len(run.read) - start)
            else:
                _log.warning("Messages are skipped: %d answers about them could not be used.", MAX_FAILURES)
                unit[run.marker] = marker.after(run.read[: start + marker.failed_messages])

        yield from commit(self.store, run.conversation.user_id, [run.marker], edit)


def _values(store: StoreEngine, keys: Sequence[ItemKey]) -> Program[list[dict[str, Any] | None]]:
    items = yield from read_batch(store, [GetOp(*key) for key in keys])
    return [item and item.value for item in items]


def _keys_of(user_id: str, checked: _Checked, language: str) -> list[ItemKey]:
    """Return keys of items that checked proposals change, so that they are read together."""
    keys: list[ItemKey] = []
    for one in checked.operations:
        if one.statement is not None:
            keys += keys_of_text(user_id, one.statement.text, language)
        if one.fact is not None:
            keys += keys_of_digest(user_id, one.fact.rpartition("-")[0])
    try:
        StoredGraph(UnitOfWork(user_id, {}), "").apply(checked.entities)
    except UnreadItemsError as unread:
        keys += unread.keys
    return keys


def _admitted(changes: EntityChanges, admission: Admission) -> EntityChanges:
    """Return the changes of entities that are applied, with message IDs as sources."""
    if not admission.admits_unnamed():
        return EntityChanges()
    shown = {str(number): one for number, one in enumerate(admission.selection.messages, 1)}

    def is_admitted(sources: Sequence[str]) -> bool:
        return admission.admits([shown[name].position for name in sources if name in shown])

    kept = {
        "entities": [one for one in changes.entities if is_admitted(one.sources)],
        "relations": [one for one in changes.relations if is_admitted(one.sources)],
    }
    return changes.model_copy(update=kept).sourced({number: one.source for number, one in shown.items()})


def _time_of(tombstone: Mapping[str, Any] | None) -> float | None:
    """Return when a user was forgotten, in Unix seconds."""
    with reading("The tombstone of a forgotten user"):
        return None if tombstone is None else float(tombstone["at"])


def _succeeded(run: _Run, stored: _Stored) -> Extraction:
    facts, fields, graph = stored
    if fields.refused:  # a concurrent change is in the way
        _log.warning("Changes from %d messages were refused: %s", run.count, " ".join(fields.refused.values()))
    return Extraction(
        run.conversation.user_id,
        run.count,
        run.calls,
        facts.added,
        facts.updated,
        facts.ended,
        facts.forgotten,
        tuple(".".join(path) for path in fields.changed),
        tuple(graph.entities),
        graph.relations,
        graph.forgotten,
        more=run.more,
    )


def _failed(run: _Run, error: Exception) -> Extraction:
    _log.warning("Nothing was extracted from %d messages: %s", run.count, error)
    return Extraction(run.conversation.user_id, run.count, run.calls, error=str(error), more=run.more)
