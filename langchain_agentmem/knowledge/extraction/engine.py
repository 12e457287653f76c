"""Extraction as a program: select new messages, ask the model once, check its proposals, and store them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from langgraph.store.base import GetOp

from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.encoding.json_values import dump_json, load_json
from langchain_agentmem.errors import InvalidInputError
from langchain_agentmem.knowledge.entities.changes import EntityChanges
from langchain_agentmem.knowledge.entities.stored import GraphChanges, StoredGraph
from langchain_agentmem.knowledge.extraction.answers import proposals_in
from langchain_agentmem.knowledge.extraction.checks import ProposalChecker, checked_entities
from langchain_agentmem.knowledge.extraction.conversations import Conversation
from langchain_agentmem.knowledge.extraction.edits import FieldChanges, change_fields
from langchain_agentmem.knowledge.extraction.known import read_known, shown_fields
from langchain_agentmem.knowledge.extraction.markers import MAX_FAILURES, Marker, digests_of
from langchain_agentmem.knowledge.extraction.model import ModelFailedError, ProposingModel, text_of_answer
from langchain_agentmem.knowledge.extraction.operations import FactChanges, Operation, change_facts
from langchain_agentmem.knowledge.extraction.prompts import extraction_prompt, with_error
from langchain_agentmem.knowledge.extraction.proposals import Proposed, RefusedError, UnusableAnswerError
from langchain_agentmem.knowledge.extraction.results import Extraction
from langchain_agentmem.knowledge.extraction.selection import (
    Admission,
    Selection,
    positions_after,
    select,
)
from langchain_agentmem.knowledge.extraction.speakers import messages_of_others
from langchain_agentmem.knowledge.facts.facts import Fact
from langchain_agentmem.knowledge.facts.faults import Fault
from langchain_agentmem.knowledge.facts.fields import Fields, load_fields, save_fields
from langchain_agentmem.knowledge.facts.normalization import digest_of_fact
from langchain_agentmem.knowledge.facts.schema import Schema
from langchain_agentmem.knowledge.facts.stored import StoredFacts, keys_of_digest, keys_of_text
from langchain_agentmem.knowledge.forgetting import forgotten_at
from langchain_agentmem.knowledge.guarding import guarded_changes
from langchain_agentmem.knowledge.items import read_batch, readable
from langchain_agentmem.knowledge.namespaces import (
    ItemKey,
    fact_key,
    forgotten_user_key,
    marker_key,
    profile_key,
    user_namespace,
)
from langchain_agentmem.knowledge.times import utc
from langchain_agentmem.knowledge.unit import UnitOfWork, UnreadItemsError, commit
from langchain_agentmem.programs import Program, Write
from langchain_agentmem.store.engine import StoreEngine

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

T = TypeVar("T")

_log = logging.getLogger(__name__)

_MAX_CALLS = 2
"""Upper bound of the calls to the model in one extraction."""

_MAX_FAULTS = 10
"""Upper bound of the errors of an answer that the second request lists."""


class _Checked(NamedTuple):
    """The valid proposals of the model."""

    operations: Sequence[Operation]
    entities: EntityChanges
    faults: Sequence[str] = ()
    """The errors of the other proposals."""

    @property
    def any_valid(self) -> bool:
        """True if there is a valid proposal."""
        return bool(self.operations or self.entities)


_NOTHING = _Checked((), EntityChanges())


class _Stored(NamedTuple):
    """The changes that the transaction of an extraction stored."""

    facts: FactChanges
    fields: FieldChanges
    graph: GraphChanges
    faults: Sequence[str]
    """The errors of the proposals that were not stored."""
    incomplete: Sequence[Fault]
    """The required fields that objects of the changed profile lack."""


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

    @property
    def repeated(self) -> list[str]:
        """Digests of the messages that this extraction reads again."""
        return [self.digests[at] for at in sorted(self.selection.again)]


@dataclass(frozen=True)
class ExtractionEngine:
    """The operations of `ProfileExtractor` as programs.

    Args:
        model: The model that proposes changes.
        store: The store.
        schema: Schema of the profiles.
        instructions: Instructions for the model, which the prompt starts with.
        entities: If true, the model is asked for entities and relations too.
        language: Language of the facts. Default: None (that of the user).
        from_assistant: If true, changes may be based on messages of the assistant alone. Default: False.
    """

    model: ProposingModel
    store: StoreEngine
    schema: Schema
    instructions: str
    entities: bool
    language: str | None = None
    from_assistant: bool = False

    def register(self, conversation: Conversation) -> Program[frozenset[int]]:
        """Store the user of a thread's new messages, as soon as a run hands them over.

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
        read = Marker(marker)
        start = read.start(digests)
        others = yield from self.register(conversation)
        run = _Run(conversation, keys[0], digests, select(conversation, digests, start, others, read.due), start)
        if not run.count:
            _log.debug("extraction: learned nothing about user %r: no new messages", user_id)
            return Extraction(user_id)
        if not run.selection.of_user or (marker is None and (yield from self._is_forgotten(run))):
            if (yield from self._store(run, _NOTHING)) is None:
                return Extraction(user_id)
            return Extraction(user_id, messages=run.count, more=run.more)
        try:
            checked = yield from self._ask(run, Fields(user_id, profile), config)
            stored = yield from self._store(run, checked)
        except ModelFailedError as error:  # the next run reads the messages
            return _failed(run, error)
        except (UnusableAnswerError, InvalidInputError) as error:  # the latter: concurrent changes conflict
            yield from self._count_failure(run, may_read_again=not isinstance(error, RefusedError))
            return _failed(run, error)
        return Extraction(user_id) if stored is None else _succeeded(run, stored)

    def _is_forgotten(self, run: _Run) -> Program[bool]:
        """Return true if the user was forgotten after all messages of the user were written."""
        forgotten = yield from forgotten_at(self.store, run.conversation.user_id)
        return not positions_after(forgotten, run.conversation, Marker(None), run.selection.of_user)

    def extract_all(
        self, conversation: Conversation, config: RunnableConfig | None, report: Callable[[Extraction], Any]
    ) -> Program[Extraction]:
        """Extract knowledge from a conversation until no new message is left or an extraction fails.

        Args:
            conversation: The conversation.
            config: Config of the run, for the model.
            report: Called with each extraction.

        Returns:
            All extractions as one.
        """
        every: list[Extraction] = []
        while not every or (every[-1].error is None and every[-1].more):
            every.append((yield from self.extract(conversation, config)))
            report(every[-1])
        return Extraction.joined(every)

    def _ask(self, run: _Run, fields: Fields, config: RunnableConfig | None) -> Program[_Checked]:
        """Ask the model for proposals. If its answer has errors, send the errors and ask once more.

        If the second answer is wrong too, the valid proposals of the newest answer that has any are returned.
        """
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
            self.language,
        )
        usable: _Checked | None = None
        while True:
            answer: Any = None
            run.calls += 1
            try:
                answer = yield from self.model.ask(prompt, config)
                proposed = proposals_in(answer, entities=self.entities)
                former = yield from self._former_facts(run, proposed)
                checked = self._checked(proposed, run, known.facts, former, fields)
            except UnusableAnswerError as error:
                if usable is not None:
                    return usable
                if run.calls == _MAX_CALLS or isinstance(error, RefusedError):
                    raise
                fault = str(error)
            else:
                if not checked.faults:
                    return checked
                usable = checked if checked.any_valid else usable
                fault = " ".join(checked.faults[:_MAX_FAULTS])
                if run.calls == _MAX_CALLS:
                    if usable is None:
                        raise UnusableAnswerError(fault)
                    return usable
            prompt = with_error(prompt, text_of_answer(answer), fault)

    def _former_facts(self, run: _Run, proposed: Proposed) -> Program[list[Fact]]:
        """Return the facts that a model names by their text to have them forgotten. They may have ended."""
        forgotten = [one for _, one in proposed.changes if one.action == "remove" and one.reason == "forget"]
        texts = [one.text for one in forgotten if one.text and one.fact is None and one.field is None]
        if not texts or not self.schema.has_facts:
            return []
        user_id = run.conversation.user_id
        keys = [fact_key(user_id, digest_of_fact(user_id, text, self.store.language)) for text in texts]
        items = yield from read_batch(self.store, [GetOp(*key) for key in keys])
        return list(readable([item for item in items if item], Fact.of_item))

    def _checked(
        self, proposed: Proposed, run: _Run, facts: Sequence[Fact], former: Sequence[Fact], fields: Fields
    ) -> _Checked:
        """Return the valid proposals of an answer.

        Args:
            proposed: The proposals.
            run: The extraction.
            facts: The facts that the model was shown.
            former: Facts that it was not shown, and that it names by their text to have them forgotten.
            fields: Fields of the profile.
        """
        messages, from_assistant = run.selection.messages, self.from_assistant
        user_id, agent = run.conversation.user_id, run.conversation.agent
        checker = ProposalChecker(
            messages, facts, self.schema, fields, user_id, former=former, agent=agent, from_assistant=from_assistant
        )
        operations, faults = checker.operations(proposed.changes)
        entities, of_entities = checked_entities(proposed.entities, messages, from_assistant=from_assistant)
        guard = self.store.guard
        operations = [one.guarded(guard) for one in operations]
        entities = guarded_changes(entities, guard)
        return _Checked(operations, entities, [*proposed.faults, *faults, *of_entities])

    def _store(self, run: _Run, checked: _Checked) -> Program[_Stored | None]:
        """Store the changes and the marker in one transaction.

        Return None, and store nothing, if the user was forgotten after the run handed its messages over.
        """
        conversation, selection = run.conversation, run.selection
        user_id = conversation.user_id
        sources = [one.source for one in selection.of_user]

        def edit(unit: UnitOfWork, tombstone: float | None) -> _Stored:
            marker = Marker(unit[run.marker])
            forgotten = _latest(_time_of(unit[forgotten_user_key(user_id)]), tombstone)
            recent = positions_after(forgotten, conversation, marker, selection.messages)
            again = frozenset(at for at in selection.again if run.digests[at] in marker.again)
            admission = Admission(selection, marker.start(run.read), recent, again)
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
            graph = StoredGraph(unit, utc(conversation.now).isoformat())
            of_graph = graph.apply_valid(_admitted(checked.entities, admission), sources)
            faults = [*checked.faults, *changed.refused.values(), *of_graph]
            if faults:
                new = [run.digests[one.position] for one in selection.of_user if one.position not in selection.again]
                marker.not_answered(run.repeated, new)
            else:
                marker.answered(run.repeated)
            unit[run.marker] = marker.after(run.read, None if run.more else conversation.now)
            incomplete = self.schema.lacks(fields.document, user_id) if changed.changed else []
            return _Stored(facts, changed, graph.changes(), faults, incomplete)

        keys = [run.marker, profile_key(user_id, self.schema.name), forgotten_user_key(user_id)]
        keys += _keys_of(user_id, checked, self.store.language)
        return (yield from self._commit(run, keys, edit))

    def _commit(
        self, run: _Run, keys: Sequence[ItemKey], edit: Callable[[UnitOfWork, float | None], T]
    ) -> Program[T | None]:
        """Store changes, unless the user was forgotten after the run handed its messages over.

        Args:
            run: The extraction.
            keys: Keys of the items to read first.
            edit: Makes the changes. It gets the time at which the user was forgotten, or None.

        Returns:
            The result of `edit`; None if nothing was stored.
        """
        user_id, handed_over = run.conversation.user_id, run.conversation.now
        tombstones: list[float | None] = []
        units: list[UnitOfWork] = []

        def prepare() -> Program[None]:
            tombstones.append((yield from forgotten_at(self.store, user_id)))

        def guarded(unit: UnitOfWork) -> T | None:
            units.append(unit)
            at = tombstones[-1]
            return None if at is not None and at >= handed_over else edit(unit, at)

        result = yield from commit(self.store, user_id, keys, guarded, prepare)
        if (yield from forgotten_at(self.store, user_id)) == tombstones[-1]:
            return result
        # The user was forgotten during the transaction, which may have stored items that were deleted already.
        yield from self._undo(units[-1])
        return None

    def _undo(self, unit: UnitOfWork) -> Program[None]:
        """Delete the items that a unit of work stored and no other writer has changed since."""
        written = {key: load_json(dump_json(value)) for key, value in unit.changes.items() if value is not None}
        if written:
            yield from self.store.update_many(
                list(written), lambda values: {key: None for key, value in values.items() if value == written[key]}
            )
            (root,) = user_namespace(unit.user_id)
            purge = self.store.backend.purge(self.store.tenant, unit.user_id, root, time.time())
            yield from Write(self.store.backend, purge)

    def _count_failure(self, run: _Run, *, may_read_again: bool) -> Program[None]:
        """Count a failed extraction. After several in a row, skip the messages that the first of them read.

        Args:
            run: The extraction.
            may_read_again: If true, skipped messages are read again later.
        """

        def edit(unit: UnitOfWork, _: float | None) -> None:
            marker = Marker(unit[run.marker])
            start = marker.start(run.read)
            if marker.failures + 1 < MAX_FAILURES:
                marker.not_answered(run.repeated)
                unit[run.marker] = marker.after_failure(len(run.read) - start)
            else:
                _log.warning("Skipped messages after %d answers of the model that could not be used.", MAX_FAILURES)
                end = start + marker.failed_messages
                of_user = [run.digests[one.position] for one in run.selection.of_user if start <= one.position < end]
                marker.not_answered(run.repeated, of_user if may_read_again else ())
                unit[run.marker] = marker.after(run.read[:end])

        yield from self._commit(run, [run.marker], edit)


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
        StoredGraph(UnitOfWork(user_id, {}), "").apply_valid(checked.entities)
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
    """Return the time at which a user was forgotten, in Unix seconds."""
    with reading("The tombstone of a forgotten user"):
        return None if tombstone is None else float(tombstone["at"])


def _latest(*times: float | None) -> float | None:
    return max((one for one in times if one is not None), default=None)


def _succeeded(run: _Run, stored: _Stored) -> Extraction:
    facts, fields, graph, faults, incomplete = stored
    if faults:
        _log.warning("%d changes from %d messages were refused; see `Extraction.refused`.", len(faults), run.count)
    _log.debug(
        "extraction: learned %d facts, %d fields, %d entities and %d relations about user %r from %d messages",
        *(len(facts.added), len(fields.changed), len(graph.entities), graph.relations),
        *(run.conversation.user_id, run.count),
    )
    return Extraction(
        run.conversation.user_id,
        run.count,
        run.calls,
        facts.added,
        facts.updated,
        facts.ended,
        facts.forgotten,
        tuple(dict.fromkeys(".".join(path) for path in fields.changed)),
        tuple(graph.entities),
        graph.relations,
        graph.forgotten,
        refused=tuple(faults),
        incomplete=tuple(map(str, incomplete)),
        more=run.more,
    )


def _failed(run: _Run, error: Exception) -> Extraction:
    _log.warning("Nothing was extracted from %d messages: %s", run.count, error)
    return Extraction(run.conversation.user_id, run.count, run.calls, error=str(error), more=run.more)
