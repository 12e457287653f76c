"""Checked changes of a user's facts and fields, and how they are applied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from langchain_agentmem.knowledge.facts.facts import Facts
from langchain_agentmem.knowledge.facts.fields import Fields
from langchain_agentmem.knowledge.facts.paths import Path, value_at
from langchain_agentmem.knowledge.facts.schema import Schema
from langchain_agentmem.knowledge.facts.statements import Statement
from langchain_agentmem.knowledge.facts.stored import StoredFacts


@dataclass(frozen=True)
class Operation:
    """One checked change: of a field if it has a path, else of a fact."""

    action: str
    """`"add"`, `"update"` or `"remove"`."""
    positions: tuple[int, ...]
    """Positions of the messages that it names; empty if it names none."""
    at: datetime
    """When the user stated it."""
    timed: bool
    """True if `at` is known, false if it was assumed."""
    reason: str
    """Why something is removed: `"ended"` or `"forget"`."""
    fact: str | None = None
    """ID of the fact that is updated, confirmed or removed."""
    statement: Statement | None = None
    """The new statement; None for a removal."""
    path: Path = ()
    value: Any = None


@dataclass
class FactChanges:
    """Summary of the changes to a profile."""

    added: Facts = field(default_factory=Facts)
    updated: Facts = field(default_factory=Facts)
    ended: Facts = field(default_factory=Facts)
    forgotten: int = 0
    fields: list[str] = field(default_factory=list)


def apply_operations(
    operations: Sequence[Operation], stored: StoredFacts, schema: Schema, fields: Fields
) -> FactChanges:
    """Apply operations to facts and fields.

    Args:
        operations: The operations.
        stored: The facts.
        schema: Schema of the profile.
        fields: Fields of the profile.
    """
    changes = FactChanges()
    for one in operations:
        if one.path:
            if apply_to_field(one, schema, fields):
                changes.fields.append(".".join(one.path))
        elif one.statement is not None:
            _state(one, one.statement, stored, changes)
        elif one.fact is not None:
            _remove(one, one.fact, stored, changes)
    return changes


def _state(one: Operation, statement: Statement, stored: StoredFacts, changes: FactChanges) -> None:
    """Add, confirm or supersede a fact."""
    known = stored.find(one.fact) if one.fact else None
    if one.fact and one.action == "update":
        fact = stored.replace(one.fact, statement)
    elif one.fact:
        fact = stored.confirm(one.fact, statement)
    else:
        fact = stored.add(statement)
    if fact is not None and known is not None and one.action == "update":
        changes.updated.append(fact)
    elif fact is not None and fact.id in stored.added:
        changes.added.append(fact)


def _remove(one: Operation, id_: str, stored: StoredFacts, changes: FactChanges) -> None:
    """End or forget a fact, unless it was stated again since."""
    found = stored.find(id_)
    if found is None or (found.fact.last_seen is not None and one.at < found.fact.last_seen):
        return
    if one.reason == "forget":
        changes.forgotten += stored.forget(id_, one.at)
    else:
        ended = stored.end(id_, one.at)
        changes.ended += [ended] if ended else []


def apply_to_field(one: Operation, schema: Schema, fields: Fields) -> bool:
    """Apply an operation to the field that it names.

    Args:
        one: The operation.
        schema: Schema of the profile.
        fields: Fields of the profile.

    Returns:
        True if the document changed.
    """
    if one.action == "remove" and one.value is None:
        return fields.forget(one.path, one.at) if one.reason == "forget" else fields.remove(one.path, one.at)
    value = one.value
    if schema.is_list(one.path) and one.action in ("add", "remove") and not isinstance(value, list):
        if one.action == "remove" and one.reason == "forget":
            return fields.forget_element(one.path, value, one.at)
        if one.action == "add" and fields.has_forgotten(one.path, value, one.at, timed=one.timed):
            return False
        others = [each for each in value_at(fields.document, one.path) or [] if each != value]
        value = [*others, value] if one.action == "add" else others
    return fields.set(one.path, value, one.at, timed=one.timed)
