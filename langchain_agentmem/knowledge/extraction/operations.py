"""Checked changes of a user's facts and fields, and how those of facts are applied. For fields see `edits`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from langchain_agentmem.knowledge.facts.facts import Facts
from langchain_agentmem.knowledge.facts.paths import Path
from langchain_agentmem.knowledge.facts.statements import Statement
from langchain_agentmem.knowledge.facts.stored import StoredFacts
from langchain_agentmem.knowledge.guarding import guarded_statement
from langchain_agentmem.text.guard import Guard


@dataclass(frozen=True)
class Operation:
    """One checked change: of a field if it has a path, else of a fact."""

    action: str
    """`"add"`, `"update"` or `"remove"`."""
    positions: tuple[int, ...]
    """Positions of the messages that it names; empty if it names none."""
    at: datetime
    """Time of the user's statement."""
    timed: bool
    """True if `at` is known, false if it was assumed."""
    reason: str
    """Reason of a removal: `"ended"` or `"forget"`."""
    fact: str | None = None
    """ID of the fact that is updated, confirmed or removed."""
    statement: Statement | None = None
    """The new statement; None for a removal."""
    path: Path = ()
    """Path of the field as the model names it."""
    value: Any = None
    """The value that the model gives; None if it gives none."""

    def guarded(self, guard: Guard | None) -> Operation:
        """Return the change as a guard lets it be stored. Removals are not changed, because they store nothing."""
        if guard is None or self.action == "remove":
            return self
        return replace(
            self,
            statement=self.statement and guarded_statement(self.statement, guard),
            path=tuple(guard.value(self.path, "The field")),
            value=guard.value(self.value, "The value"),
        )


@dataclass
class FactChanges:
    """Summary of the changes to facts."""

    added: Facts = field(default_factory=Facts)
    updated: Facts = field(default_factory=Facts)
    ended: Facts = field(default_factory=Facts)
    forgotten: int = 0


def change_facts(operations: Sequence[Operation], stored: StoredFacts) -> FactChanges:
    """Apply the operations on facts.

    Args:
        operations: The operations. Those on fields are left out.
        stored: The facts.
    """
    changes = FactChanges()
    for one in operations:
        if one.statement is not None:
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
