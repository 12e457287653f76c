"""Entities, relations and graphs, as `memory.entities` returns them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from langchain_agentmem.errors import missing_extra
from langchain_agentmem.knowledge.entities.drawing import Arrow, Dot, drawn
from langchain_agentmem.knowledge.entities.values import check_entity
from langchain_agentmem.text.tables import html_table

if TYPE_CHECKING:
    import networkx as nx

MAX_DRAWN = 80
"""Upper bound of the entities in a drawing. A notebook shows a larger graph as tables."""


@dataclass(frozen=True)
class Entity:
    """A person, an organisation, a place, or anything else with a name."""

    name: str
    kind: str = ""
    aliases: tuple[str, ...] = ()
    attributes: dict[str, str] = field(default_factory=dict)
    description: str = ""
    other_values: dict[str, list[str]] = field(default_factory=dict)
    """Values that were replaced when entities were merged: by attribute, and under `kind` and `description`."""
    sources: tuple[str, ...] = ()
    """IDs of the messages that mention the entity; the last 50 are kept."""
    created_at: datetime | None = None
    updated_at: datetime | None = None
    score: float | None = None
    """Relevance to the query of a search, from 0 to 1; None if there was no query."""

    @classmethod
    def from_value(cls, value: Mapping[str, Any], score: float | None = None) -> Entity:
        """Return the entity of a stored value.

        Args:
            value: The value.
            score: Score of a search. Default: None.

        Raises:
            DamagedDataError: The value does not hold an entity.
        """
        check_entity(value)
        return cls(
            name=value["name"],
            kind=value["kind"],
            aliases=tuple(value["aliases"]),
            attributes=value["attributes"],
            description=value["description"],
            other_values=value["other_values"],
            sources=tuple(value["sources"]),
            created_at=datetime.fromisoformat(value["created_at"]),
            updated_at=datetime.fromisoformat(value["updated_at"]),
            score=score,
        )

    def _repr_html_(self) -> str:
        return EntityList([self])._repr_html_()


class EntityList(list[Entity]):
    """Entities. A notebook shows them as a table."""

    def _repr_html_(self) -> str:
        rows = [
            (
                one.name,
                one.kind,
                ", ".join(one.aliases),
                one.description,
                "; ".join(f"{name}: {value}" for name, value in one.attributes.items()),
                one.score,
            )
            for one in self
        ]
        return html_table(rows, header=("entity", "kind", "also called", "description", "attributes", "score"))


@dataclass(frozen=True)
class Relation:
    """A relation between two entities, such as `Alice works at Acme`."""

    subject: str
    """Main name of an entity."""
    predicate: str
    object: str
    """Main name of an entity."""
    valid_from: datetime | None = None
    """Start of the validity period; None if it is not known."""
    valid_to: datetime | None = None
    """End of the validity period; None while the relation is valid."""
    sources: tuple[str, ...] = ()
    """IDs of the messages that state the relation; the last 50 are kept."""
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @classmethod
    def from_value(cls, value: Mapping[str, Any], subject: str, object_: str) -> Relation:
        """Return the relation of a stored value.

        Args:
            value: The value. It holds names that the entities had when the relation was stored.
            subject: Main name of the subject.
            object_: Main name of the object.
        """
        valid_from, valid_to, created_at, updated_at = (
            None if value[name] is None else datetime.fromisoformat(value[name])
            for name in ("valid_from", "valid_to", "created_at", "updated_at")
        )
        sources = tuple(value["sources"])
        return cls(subject, value["predicate"], object_, valid_from, valid_to, sources, created_at, updated_at)

    def holds(self, at: datetime) -> bool:
        """Return true if a time is in the validity period. The period includes its start and excludes its end."""
        return (self.valid_from is None or self.valid_from <= at) and (self.valid_to is None or at < self.valid_to)

    def __str__(self) -> str:
        """Return a sentence, such as `Alice works at Acme (since 2024-05-01)`."""
        start, end = _date(self.valid_from), _date(self.valid_to)
        period = ""
        if end:
            period = f" ({start} to {end})" if start else f" (until {end})"
        elif start:
            period = f" (since {start})"
        return f"{self.subject} {self.predicate} {self.object}{period}"

    def _repr_html_(self) -> str:
        return RelationList([self])._repr_html_()


class RelationList(list[Relation]):
    """Relations. A notebook shows them as a table."""

    def _repr_html_(self) -> str:
        rows = [
            (
                one.subject,
                one.predicate,
                one.object,
                _date(one.valid_from),
                _date(one.valid_to),
                ", ".join(one.sources),
            )
            for one in self
        ]
        return html_table(rows, header=("subject", "predicate", "object", "from", "to", "messages"))


@dataclass(frozen=True, repr=False)
class EntityGraph:
    """Entities and the relations between them. A notebook draws the graph."""

    entities: EntityList
    """The entities; those that are nearest to the start first."""
    relations: RelationList
    complete: bool = True
    """False if the graph may have more entities than the limit allowed."""

    def __repr__(self) -> str:
        return f"EntityGraph({len(self.entities)} entities, {len(self.relations)} relations, complete={self.complete})"

    def to_networkx(self) -> nx.MultiDiGraph[str]:
        """Convert the graph for networkx (extra `[graphs]`).

        Returns:
            A graph whose nodes are main names, with an edge for each relation. Everything else becomes attributes.

        Raises:
            ConfigurationError: networkx is not installed.
        """
        try:
            import networkx as nx
        except ImportError as error:
            raise missing_extra(what="A graph for networkx", extra="graphs") from error
        graph: nx.MultiDiGraph[str] = nx.MultiDiGraph()
        for one in self.entities:
            graph.add_node(
                one.name,
                kind=one.kind,
                aliases=list(one.aliases),
                attributes=dict(one.attributes),
                description=one.description,
            )
        for relation in self.relations:
            graph.add_edge(
                relation.subject,
                relation.object,
                predicate=relation.predicate,
                valid_from=relation.valid_from,
                valid_to=relation.valid_to,
                sources=list(relation.sources),
            )
        return graph

    def to_svg(self) -> str:
        """Draw the graph: a dot for each entity, coloured by kind, and an arrow for each relation.

        The arrow of a relation that has ended is dashed.
        """
        dots = [Dot(one.name, one.kind, one.description) for one in self.entities]
        arrows = [
            Arrow(one.subject, one.object, one.predicate, str(one), dashed=one.valid_to is not None)
            for one in self.relations
        ]
        return drawn(dots, arrows)

    def _repr_html_(self) -> str:
        if len(self.entities) > MAX_DRAWN:
            return f"{self.entities._repr_html_()}{self.relations._repr_html_()}"
        return self.to_svg()


def _date(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%d}"
