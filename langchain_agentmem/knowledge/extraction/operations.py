"""From what a model proposes to what is done: checked as a whole first, then done as a whole."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from langchain_agentmem.arguments.ids import check_text
from langchain_agentmem.errors import AgentMemError
from langchain_agentmem.knowledge.entities.drafts import Told
from langchain_agentmem.knowledge.extraction.proposals import MAX_VALUE, Proposal, UnusableAnswerError
from langchain_agentmem.knowledge.facts.facts import Facts
from langchain_agentmem.knowledge.facts.fields import Fields
from langchain_agentmem.knowledge.facts.paths import Path, path_of, value_at
from langchain_agentmem.knowledge.facts.schema import Schema
from langchain_agentmem.knowledge.facts.statements import Statement
from langchain_agentmem.knowledge.facts.stored import StoredFacts
from langchain_agentmem.knowledge.times import utc


@dataclass(frozen=True)
class Said:
    """A message, as far as it says something of the user."""

    place: int
    """The message's place in the conversation."""
    source: str
    """Its id, or its digest where it has none."""
    role: str
    text: str
    at: datetime
    timed: bool
    """Whether it is known that it was said then, and not earlier."""
    name: str = ""
    """What whoever says it is called, where the message tells."""
    own: bool = False
    """Whether the message tells when it was said."""


@dataclass(frozen=True)
class Operation:
    """One change, checked."""

    action: str
    read: tuple[int, ...]
    """The places of the messages that it was read from, where the model named them."""
    at: datetime
    timed: bool
    reason: str
    fact: str | None = None
    statement: Statement | None = None
    path: Path = ()
    value: Any = None


@dataclass
class Outcome:
    """What was changed."""

    added: Facts = field(default_factory=Facts)
    updated: Facts = field(default_factory=Facts)
    ended: Facts = field(default_factory=Facts)
    forgotten: int = 0
    fields: list[str] = field(default_factory=list)
    told: Told = field(default_factory=Told)
    """What was changed of entities."""


def checked_operations(
    proposals: Sequence[Proposal], said: Sequence[Said], facts: Sequence[str], schema: Schema, fields: Fields
) -> list[Operation]:
    """What proposals come to.

    Args:
        proposals: The proposals.
        said: The messages that were shown, in order: the first has the number 1.
        facts: The ids of the facts that were shown: the first has the number 1.
        schema: The schema of the profile.
        fields: The fields of the profile.

    Raises:
        UnusableAnswerError: One of them cannot be done.
    """
    operations = []
    document = Fields("", {"fields": fields.document})
    for number, proposal in enumerate(proposals, 1):
        try:
            operation = _operation(proposal, said, facts, schema, document)
        except RecursionError:
            msg = f"Change {number}: it holds lists and objects too deep in each other."
            raise UnusableAnswerError(msg) from None
        except (AgentMemError, ValueError) as error:
            msg = f"Change {number}: {error}"
            raise UnusableAnswerError(msg) from None
        operations.append(operation)
    return operations


def do(operations: Sequence[Operation], stored: StoredFacts, schema: Schema, fields: Fields) -> Outcome:
    """Do operations on a user's items."""
    outcome = Outcome()
    for one in operations:
        if one.path:
            if _do_field(one, schema, fields):
                outcome.fields.append(".".join(one.path))
        elif one.statement is not None:
            _do_statement(one, one.statement, stored, outcome)
        elif one.fact is not None:
            _do_removal(one, one.fact, stored, outcome)
    return outcome


def _do_removal(one: Operation, id_: str, stored: StoredFacts, outcome: Outcome) -> None:
    found = stored.find(id_)
    if found is None or (found.fact.last_seen is not None and one.at < found.fact.last_seen):
        return  # it was stated again since
    if one.reason == "forget":
        outcome.forgotten += stored.forget(id_, one.at)
    else:
        ended = stored.end(id_, one.at)
        outcome.ended += [ended] if ended else []


def _do_statement(one: Operation, statement: Statement, stored: StoredFacts, outcome: Outcome) -> None:
    known = stored.find(one.fact) if one.fact else None
    if one.fact and one.action == "update":
        fact = stored.replace(one.fact, statement)
    elif one.fact:
        fact = stored.confirm(one.fact, statement)
    else:
        fact = stored.add(statement)
    if fact is not None and known is not None and one.action == "update":
        outcome.updated.append(fact)
    elif fact is not None and fact.id in stored.added:
        outcome.added.append(fact)


def _do_field(one: Operation, schema: Schema, fields: Fields) -> bool:
    if one.action == "remove" and one.value is None:
        return fields.forget(one.path, one.at) if one.reason == "forget" else fields.remove(one.path, one.at)
    value = one.value
    if schema.is_list(one.path) and one.action in ("add", "remove") and not isinstance(value, list):
        if one.action == "remove" and one.reason == "forget":
            return fields.forget_element(one.path, value, one.at)
        if one.action == "add" and fields.has_forgotten(one.path, value, one.at, timed=one.timed):
            return False
        there = value_at(fields.document, one.path) or []
        value = [*(each for each in there if each != value), *([value] if one.action == "add" else [])]
    return fields.set(one.path, value, one.at, timed=one.timed)


def _operation(
    proposal: Proposal, said: Sequence[Said], facts: Sequence[str], schema: Schema, document: Fields
) -> Operation:
    named = [said[number - 1] for number in proposal.messages if 1 <= number <= len(said)]
    people = [one for one in said if one.role == "user"]
    behind = named or people
    newest = max(behind, key=lambda one: one.at)
    # Which of several messages says so is not known: then none counts as said after anything.
    timed = newest.timed if named else len(people) == 1 and newest.timed
    common: dict[str, Any] = {
        "action": proposal.action,
        "read": tuple(one.place for one in named),
        "at": newest.at,
        "timed": timed,
        "reason": proposal.reason or "ended",
    }
    if proposal.field is not None:
        operation = Operation(**common, path=path_of(proposal.field), value=proposal.value)
        return _checked_field(operation, schema, document)
    if not schema.has_facts:
        msg = "name the field to change."
        raise UnusableAnswerError(msg)
    if proposal.fact is not None and not 1 <= proposal.fact <= len(facts):
        msg = f"there is no known fact {proposal.fact}."
        raise UnusableAnswerError(msg)
    fact = None if proposal.fact is None else facts[proposal.fact - 1]
    if proposal.action == "remove":
        if fact is None:
            msg = "name the field or the number of the fact to remove."
            raise UnusableAnswerError(msg)
        return Operation(**common, fact=fact)
    if proposal.text is None:
        msg = "say the text of the fact."
        raise UnusableAnswerError(msg)
    begun = proposal.begun()
    statement = Statement.checked(
        proposal.text,
        newest.at,
        proposal.topics,
        [one.source for one in behind],
        timed=timed,
        valid_from=None if begun is None else min(utc(begun), newest.at),
        confidence=1.0 if proposal.confidence is None else proposal.confidence,
    )
    return Operation(**common, fact=fact, statement=statement)


def _checked_field(operation: Operation, schema: Schema, document: Fields) -> Operation:
    for name in operation.path:
        check_text("A field's name", name)
    schema.check_path(operation.path)
    if operation.action != "remove" and operation.value is None:
        operation = _with(operation, action="remove")
    values = [operation.value]
    if isinstance(operation.value, str):
        with suppress(ValueError):  # small models write values as text
            values.append(json.loads(operation.value))
    for last, value in ((value is values[-1], value) for value in values):
        written = json.dumps(value, ensure_ascii=False, allow_nan=False)
        check_text("A value", written)
        if len(written) > MAX_VALUE:
            msg = f"a value may have {MAX_VALUE:,} characters, got {len(written):,}."
            raise UnusableAnswerError(msg)
        tried = _with(operation, value=value)
        draft = Fields("", document.value)
        try:
            _do_field(tried, schema, draft)
            schema.check(draft.document)
        except AgentMemError:
            if last:
                raise
        else:
            document.document = draft.document
            return tried
    return operation


def _with(operation: Operation, **changed: Any) -> Operation:
    return Operation(**{**operation.__dict__, **changed})
