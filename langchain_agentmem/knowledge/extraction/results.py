"""The result of an extraction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from langchain_agentmem.knowledge.facts.facts import Facts
from langchain_agentmem.text.tables import html_table


@dataclass(frozen=True)
class Extraction:
    """The messages that one extraction read, and the changes that it made."""

    user_id: str
    messages: int = 0
    """Number of new messages that were read."""
    calls: int = 0
    """Number of calls to the model."""
    added: Facts = field(default_factory=Facts)
    updated: Facts = field(default_factory=Facts)
    """Facts that superseded others."""
    ended: Facts = field(default_factory=Facts)
    forgotten: int = 0
    """Number of facts that were forgotten."""
    fields: tuple[str, ...] = ()
    """Fields of the profile that changed."""
    entities: tuple[str, ...] = ()
    """Names of the entities that were added or updated."""
    relations: int = 0
    """Number of relations that were added, updated or deleted."""
    forgotten_entities: int = 0
    """Number of entities that were forgotten."""
    error: str | None = None
    """The reason why nothing changed, if the model failed or its answer could not be used; else None."""
    refused: tuple[str, ...] = ()
    """Why some changes of the answer were refused; the others were stored."""
    incomplete: tuple[str, ...] = ()
    """Objects of the profile that lack required fields, if fields changed. `profiles.get` leaves them out; a lack in the
    document itself makes it return None."""
    more: bool = False
    """True if there are new messages that did not fit in this extraction."""

    @property
    def changed(self) -> bool:
        """True if anything changed."""
        facts = self.added or self.updated or self.ended or self.forgotten
        return bool(facts or self.fields or self.entities or self.relations or self.forgotten_entities)

    @classmethod
    def joined(cls, every: Sequence[Extraction]) -> Extraction:
        """Return several extractions of one user, in order, as one.

        Args:
            every: The extractions, at least one.
        """
        last = every[-1]
        return replace(
            last,
            messages=sum(one.messages for one in every),
            calls=sum(one.calls for one in every),
            added=Facts(fact for one in every for fact in one.added),
            updated=Facts(fact for one in every for fact in one.updated),
            ended=Facts(fact for one in every for fact in one.ended),
            forgotten=sum(one.forgotten for one in every),
            fields=tuple(dict.fromkeys(name for one in every for name in one.fields)),
            entities=tuple(dict.fromkeys(name for one in every for name in one.entities)),
            relations=sum(one.relations for one in every),
            forgotten_entities=sum(one.forgotten_entities for one in every),
            refused=tuple(reason for one in every for reason in one.refused),
            incomplete=next((one.incomplete for one in reversed(every) if one.fields), ()),
        )

    def _repr_html_(self) -> str:
        facts = {"added": self.added, "updated": self.updated, "ended": self.ended}
        rows: list[tuple[str, object]] = [
            ("user", self.user_id),
            ("messages", self.messages),
            ("calls", self.calls),
            *((name, "; ".join(fact.text for fact in found)) for name, found in facts.items()),
            ("forgotten", self.forgotten),
            ("fields", ", ".join(self.fields)),
            ("entities", ", ".join(self.entities)),
            ("relations", self.relations),
            ("forgotten entities", self.forgotten_entities),
            ("refused", " ".join(self.refused)),
            ("incomplete", "; ".join(self.incomplete)),
            ("error", self.error),
        ]
        return html_table([row for row in rows if row[1]], caption="Extraction", row_headers=True)
