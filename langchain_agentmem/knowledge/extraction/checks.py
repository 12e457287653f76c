"""Checks of all proposals in an answer, before anything is changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from langchain_agentmem.arguments.ids import check_text
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import AgentMemError
from langchain_agentmem.knowledge.entities.changes import EntityChange, EntityChanges, RelationChange
from langchain_agentmem.knowledge.extraction.conversations import USER
from langchain_agentmem.knowledge.extraction.edits import change_fields
from langchain_agentmem.knowledge.extraction.operations import Operation
from langchain_agentmem.knowledge.extraction.proposals import MAX_VALUE, Proposal, UnusableAnswerError
from langchain_agentmem.knowledge.extraction.selection import ShownMessage
from langchain_agentmem.knowledge.facts.facts import Fact
from langchain_agentmem.knowledge.facts.fields import Fields
from langchain_agentmem.knowledge.facts.normalization import normalized
from langchain_agentmem.knowledge.facts.paths import path_of
from langchain_agentmem.knowledge.facts.placeholders import is_placeholder, states_nothing
from langchain_agentmem.knowledge.facts.schema import Schema
from langchain_agentmem.knowledge.facts.statements import Statement
from langchain_agentmem.knowledge.names import folded

T = TypeVar("T", EntityChange, RelationChange)


class _Basis(NamedTuple):
    """The messages behind a proposal."""

    named: list[ShownMessage]
    """Messages that the proposal names."""
    all: list[ShownMessage]
    """The messages in `named`; all messages of the user if it names none."""
    newest: ShownMessage

    @property
    def timed(self) -> bool:
        """True if it is known when the user stated the proposal.

        It is not if the proposal names none of several messages: any of them may be behind it.
        """
        return self.newest.timed and (bool(self.named) or len(self.all) == 1)


class ProposalChecker:
    """Turns proposals into operations.

    Args:
        messages: The messages that the model was shown; the first one has the number 1.
        facts: The facts that the model was shown; the first one has the number 1.
        schema: Schema of the profile.
        fields: Fields of the profile. They are not changed.
        user_id: ID of the user.
        agent: Agent that saves the facts. Default: None.
        former: Facts that the model was not shown, and that it names by their text to have them forgotten. Default: none.
        from_assistant: If true, proposals may be based on messages of the assistant alone. Default: False.
    """

    def __init__(
        self,
        messages: Sequence[ShownMessage],
        facts: Sequence[Fact],
        schema: Schema,
        fields: Fields,
        user_id: str,
        *,
        agent: str | None = None,
        former: Sequence[Fact] = (),
        from_assistant: bool = False,
    ) -> None:
        self._messages = messages
        self._facts = facts
        self._former = former
        self._schema = schema
        self._fields = fields
        self._user_id = user_id
        self._agent = agent
        self._from_assistant = from_assistant

    def operations(self, proposals: Iterable[tuple[int, Proposal]]) -> tuple[list[Operation], list[str]]:
        """Return the operations of the valid proposals, and the errors of the others.

        Args:
            proposals: The proposals, with their numbers in the answer.
        """
        numbers: list[int] = []
        operations: list[Operation] = []
        faults: dict[int, str] = {}
        for number, proposal in proposals:
            try:
                operations.append(self._operation(proposal))
                numbers.append(number)
            except (AgentMemError, ValueError) as error:
                faults[number] = str(error)
        refused = change_fields(operations, self._schema, self._fields, self._user_id).refused
        faults |= {numbers[at]: reason for at, reason in refused.items()}
        kept = [one for at, one in enumerate(operations) if at not in refused]
        return kept, [f"Change {number}: {faults[number]}" for number in sorted(faults)]

    def _operation(self, proposal: Proposal) -> Operation:
        basis = self._basis(proposal)
        if not self._from_assistant:
            check_sources(basis.named)
            self._check_unnamed(proposal, basis)
        operation = Operation(
            proposal.action,
            tuple(one.position for one in basis.named),
            basis.newest.at,
            basis.timed,
            proposal.reason or "ended",
        )
        if proposal.field is not None:
            _check_size(proposal.value)
            return replace(operation, path=path_of(proposal.field), value=proposal.value)
        return self._of_fact(operation, proposal, basis)

    def _basis(self, proposal: Proposal) -> _Basis:
        messages = self._messages
        named = [messages[number - 1] for number in proposal.messages if 1 <= number <= len(messages)]
        behind = named or [one for one in messages if one.role == USER]
        return _Basis(named, behind, max(behind, key=lambda one: one.at))

    def _check_unnamed(self, proposal: Proposal, basis: _Basis) -> None:
        """Raise an error for a value without message numbers that only the assistant wrote."""
        value = proposal.value
        if basis.named or not isinstance(value, str) or not folded(value):
            return
        by_user, by_assistant = (
            any(folded(value) in folded(one.text) for one in self._messages if (one.role == USER) is of_user)
            for of_user in (True, False)
        )
        if by_assistant and not by_user:
            msg = (
                f"only the assistant says {shown(value, 60)}: give the numbers of the user's messages, or leave it out."
            )
            raise UnusableAnswerError(msg)

    def _of_fact(self, operation: Operation, proposal: Proposal, basis: _Basis) -> Operation:
        if not self._schema.has_facts:
            msg = "name the field to change."
            raise UnusableAnswerError(msg)
        if proposal.fact is not None and not 1 <= proposal.fact <= len(self._facts):
            msg = f"there is no known fact {proposal.fact}."
            raise UnusableAnswerError(msg)
        fact = None if proposal.fact is None else self._facts[proposal.fact - 1].id
        if proposal.action == "remove":
            fact = fact or self._known_as(proposal.text)
            if fact is None:
                msg = "name the field or the number of the fact to remove."
                raise UnusableAnswerError(msg)
            return replace(operation, fact=fact)
        if proposal.text is None:
            msg = "say the text of the fact."
            raise UnusableAnswerError(msg)
        if states_nothing(proposal.text):
            msg = f"{shown(proposal.text, 60)} states nothing that is known. Leave the change out."
            raise UnusableAnswerError(msg)
        start = proposal.valid_from()
        statement = Statement.checked(
            proposal.text,
            operation.at,
            [one for one in proposal.topics if not is_placeholder(one)],
            [one.source for one in basis.all],
            timed=operation.timed,
            valid_from=None if start is None else min(start, operation.at),
            confidence=1.0 if proposal.confidence is None else proposal.confidence,
            agent=self._agent,
        )
        return replace(operation, fact=fact, statement=statement)

    def _known_as(self, text: str | None) -> str | None:
        """Return the ID of the fact that a text states; None if there is none."""
        meant = None if text is None else normalized(text)
        known = (*self._facts, *self._former)
        return next((one.id for one in known if normalized(one.text) == meant), None)


def _check_size(value: Any) -> None:
    written = json.dumps(value, ensure_ascii=False, allow_nan=False)
    check_text("A value", written)
    if len(written) > MAX_VALUE:
        msg = f"a value may have {MAX_VALUE:,} characters; got {len(written):,}."
        raise UnusableAnswerError(msg)


def check_sources(named: Sequence[ShownMessage]) -> None:
    """Raise an error if all messages that a proposal names are the assistant's.

    Raises:
        UnusableAnswerError: All of them are the assistant's.
    """
    if named and all(one.role != USER for one in named):
        msg = "only the assistant says so: give the numbers of the user's messages that say so, or leave it out."
        raise UnusableAnswerError(msg)


def checked_entities(
    changes: EntityChanges, messages: Sequence[ShownMessage], *, from_assistant: bool
) -> tuple[EntityChanges, list[str]]:
    """Return the changes of entities that are based on messages of the user, and the errors of the others.

    Args:
        changes: The changes. Their sources are numbers of messages.
        messages: The messages that the model was shown; the first one has the number 1.
        from_assistant: If true, changes may be based on messages of the assistant alone.
    """
    if from_assistant:
        return changes, []
    shown_as = {str(number): one for number, one in enumerate(messages, 1)}
    faults: list[str] = []

    def kept(what: str, given: Sequence[T]) -> list[T]:
        valid: list[T] = []
        for number, one in enumerate(given, 1):
            try:
                check_sources([shown_as[source] for source in one.sources if source in shown_as])
            except UnusableAnswerError as error:
                faults.append(f"{what} {number}: {error}")
            else:
                valid.append(one)
        return valid

    of_user = {"entities": kept("Entity", changes.entities), "relations": kept("Relation", changes.relations)}
    return changes.model_copy(update=of_user), faults
