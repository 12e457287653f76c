"""Checks of all proposals in an answer, before anything is changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

from langchain_agentmem.arguments.ids import check_text
from langchain_agentmem.errors import AgentMemError, InvalidInputError
from langchain_agentmem.knowledge.entities.changes import EntityChanges
from langchain_agentmem.knowledge.entities.stored import check_period
from langchain_agentmem.knowledge.extraction.conversations import USER
from langchain_agentmem.knowledge.extraction.operations import Operation, apply_to_field
from langchain_agentmem.knowledge.extraction.proposals import MAX_VALUE, Proposal, UnusableAnswerError
from langchain_agentmem.knowledge.extraction.selection import ShownMessage
from langchain_agentmem.knowledge.facts.fields import Fields
from langchain_agentmem.knowledge.facts.paths import path_of
from langchain_agentmem.knowledge.facts.schema import Schema
from langchain_agentmem.knowledge.facts.statements import Statement


class _Basis(NamedTuple):
    """The messages behind a proposal."""

    named: list[ShownMessage]
    """Messages that the proposal names."""
    all: list[ShownMessage]
    """The same; all messages of the user if it names none."""
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
        facts: IDs of the facts that the model was shown; the first one has the number 1.
        schema: Schema of the profile.
        fields: Fields of the profile. They are not changed.
    """

    def __init__(self, messages: Sequence[ShownMessage], facts: Sequence[str], schema: Schema, fields: Fields) -> None:
        self._messages = messages
        self._facts = facts
        self._schema = schema
        self._fields = Fields("", {"fields": fields.document})
        """The fields as the operations so far change them, without history."""

    def operations(self, proposals: Sequence[Proposal]) -> list[Operation]:
        """Return the operations of proposals.

        Raises:
            UnusableAnswerError: A proposal is not valid.
        """
        operations = []
        for number, proposal in enumerate(proposals, 1):
            try:
                operations.append(self._operation(proposal))
            except RecursionError:
                msg = f"Change {number}: its lists and objects are nested too deep."
                raise UnusableAnswerError(msg) from None
            except (AgentMemError, ValueError) as error:
                msg = f"Change {number}: {error}"
                raise UnusableAnswerError(msg) from None
        return operations

    def _operation(self, proposal: Proposal) -> Operation:
        basis = self._basis(proposal)
        operation = Operation(
            proposal.action,
            tuple(one.position for one in basis.named),
            basis.newest.at,
            basis.timed,
            proposal.reason or "ended",
        )
        if proposal.field is not None:
            return self._of_field(replace(operation, path=path_of(proposal.field), value=proposal.value))
        return self._of_fact(operation, proposal, basis)

    def _basis(self, proposal: Proposal) -> _Basis:
        shown = self._messages
        named = [shown[number - 1] for number in proposal.messages if 1 <= number <= len(shown)]
        behind = named or [one for one in shown if one.role == USER]
        return _Basis(named, behind, max(behind, key=lambda one: one.at))

    def _of_fact(self, operation: Operation, proposal: Proposal, basis: _Basis) -> Operation:
        if not self._schema.has_facts:
            msg = "name the field to change."
            raise UnusableAnswerError(msg)
        if proposal.fact is not None and not 1 <= proposal.fact <= len(self._facts):
            msg = f"there is no known fact {proposal.fact}."
            raise UnusableAnswerError(msg)
        fact = None if proposal.fact is None else self._facts[proposal.fact - 1]
        if proposal.action == "remove":
            if fact is None:
                msg = "name the field or the number of the fact to remove."
                raise UnusableAnswerError(msg)
            return replace(operation, fact=fact)
        if proposal.text is None:
            msg = "say the text of the fact."
            raise UnusableAnswerError(msg)
        start = proposal.valid_from()
        statement = Statement.checked(
            proposal.text,
            operation.at,
            proposal.topics,
            [one.source for one in basis.all],
            timed=operation.timed,
            valid_from=None if start is None else min(start, operation.at),
            confidence=1.0 if proposal.confidence is None else proposal.confidence,
        )
        return replace(operation, fact=fact, statement=statement)

    def _of_field(self, operation: Operation) -> Operation:
        """Return an operation on a field whose value fits the schema.

        Small models write values as text, so a text that does not fit is read as JSON.
        """
        for name in operation.path:
            check_text("A field's name", name)
        self._schema.check_path(operation.path)
        if operation.action != "remove" and operation.value is None:
            operation = replace(operation, action="remove")
        options = [operation.value]
        if isinstance(operation.value, str):
            with suppress(ValueError):
                options.append(json.loads(operation.value))
        for value in options[:-1]:
            _check_size(value)
            with suppress(AgentMemError):
                return self._tried(replace(operation, value=value))
        _check_size(options[-1])
        return self._tried(replace(operation, value=options[-1]))

    def _tried(self, operation: Operation) -> Operation:
        """Apply an operation to the document, and return the operation if the result fits the schema."""
        fields = Fields("", self._fields.value)
        apply_to_field(operation, self._schema, fields)
        self._schema.check(fields.document)
        self._fields.document = fields.document
        return operation


def _check_size(value: Any) -> None:
    written = json.dumps(value, ensure_ascii=False, allow_nan=False)
    check_text("A value", written)
    if len(written) > MAX_VALUE:
        msg = f"a value may have {MAX_VALUE:,} characters; got {len(written):,}."
        raise UnusableAnswerError(msg)


def check_entities(changes: EntityChanges) -> None:
    """Check what can be checked of changes of entities before items are read.

    Raises:
        UnusableAnswerError: A relation ends before it begins.
    """
    for number, relation in enumerate(changes.relations, 1):
        try:
            check_period(relation)
        except InvalidInputError as error:
            msg = f"Relation {number}: {error}"
            raise UnusableAnswerError(msg) from None
