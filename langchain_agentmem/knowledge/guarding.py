"""Knowledge as a guard lets it be stored.

It is checked before names and topics are folded, and before keys of items are made of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from langchain_agentmem.knowledge.entities.changes import EntityChange, EntityChanges, RelationChange, validated
from langchain_agentmem.knowledge.facts.statements import Statement, folded_topics
from langchain_agentmem.text.guard import Guard

Change = TypeVar("Change", EntityChange, RelationChange)


def guarded_statement(statement: Statement, guard: Guard | None) -> Statement:
    """Return a statement as a guard lets it be stored.

    Args:
        statement: The statement.
        guard: The rules; None for none.

    Raises:
        SecretFoundError: It contains a credential, and the guard rejects it.
        InvalidInputError: A text is too long for the guard.

    Example:
        >>> from langchain_agentmem import Guard
        >>> from langchain_agentmem.knowledge.facts.statements import Statement
        >>> from langchain_agentmem.knowledge.guarding import guarded_statement
        >>> from langchain_agentmem.knowledge.times import now
        >>> statement = Statement.checked("Has a key", now(), ["AKIAIOSFODNN7EXAMPLE"])
        >>> guarded_statement(statement, Guard("redact")).topics
        ['[redacted: aws access key]']
    """
    if guard is None:
        return statement
    given = guard.value(list(statement.given_topics), "The topics of the fact")
    return replace(
        statement,
        text=guard.text(statement.text, "The fact"),
        topics=folded_topics(given),
        given_topics=given,
        sources=guard.value(list(statement.sources), "The sources of the fact"),
        metadata=guard.value(statement.metadata, "The metadata of the fact"),
        agent=statement.agent and guard.text(statement.agent, "The agent of the fact"),
    )


def guarded_statements(statements: Sequence[Statement], guard: Guard | None) -> list[Statement]:
    """Return several statements; see `guarded_statement`."""
    return [guarded_statement(one, guard) for one in statements]


def guarded_change(change: Change, guard: Guard | None) -> Change:
    """Return a change of an entity or a relation as a guard lets it be stored.

    Args:
        change: The change.
        guard: The rules; None for none.

    Raises:
        SecretFoundError: It contains a credential, and the guard rejects it.
        InvalidInputError: A text is too long for the guard.
    """
    if guard is None:
        return change
    given = change.model_dump()
    kept = guard.value(given, "The entity" if isinstance(change, EntityChange) else "The relation")
    return change if kept is given else validated(type(change), kept)


def guarded_changes(changes: EntityChanges, guard: Guard | None) -> EntityChanges:
    """Return several changes; see `guarded_change`. Removals are not changed, because they store nothing."""
    if guard is None:
        return changes
    entities = [guarded_change(one, guard) for one in changes.entities]
    relations = [guarded_change(one, guard) for one in changes.relations]
    return changes.model_copy(update={"entities": entities, "relations": relations})
