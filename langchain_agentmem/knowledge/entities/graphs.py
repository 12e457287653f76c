"""Entities, relations, and graphs of them, as they are given to who reads them."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import NoneType
from typing import TYPE_CHECKING, Any

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.errors import DamagedDataError, missing_extra
from langchain_agentmem.knowledge.entities.drawing import Arrow, Dot, drawn

if TYPE_CHECKING:
    import networkx as nx

MAX_DRAWN = 80
"""The most entities that are drawn; what is larger shows itself as tables."""


@dataclass(frozen=True)
class Entity:
    """A person, organisation, place, or anything else that has a name."""

    name: str
    kind: str = ""
    aliases: tuple[str, ...] = ()
    attributes: dict[str, str] = field(default_factory=dict)
    description: str = ""
    other_values: dict[str, list[str]] = field(default_factory=dict)
    """What was said differently of entities that became one: by attribute, and under `kind` and `description`."""
    sources: tuple[str, ...] = ()
    """The ids of the messages that said so; see `MAX_SOURCES`."""
    created_at: datetime | None = None
    updated_at: datetime | None = None
    score: float | None = None
    """How well it answers the query, from 0 to 1; None where nothing was asked."""

    @classmethod
    def of(cls, value: Mapping[str, Any], score: float | None = None) -> Entity:
        """The entity that is stored as a value.

        Raises:
            DamagedDataError: The value does not hold an entity.
        """
        check_entity(value)
        names = ("name", "kind", "attributes", "description", "other_values")
        return cls(
            **{name: value[name] for name in names},
            aliases=tuple(value["aliases"]),
            sources=tuple(value["sources"]),
            created_at=datetime.fromisoformat(value["created_at"]),
            updated_at=datetime.fromisoformat(value["updated_at"]),
            score=score,
        )


class EntityList(list[Entity]):
    """Entities; a notebook shows them as a table."""

    def _repr_html_(self) -> str:
        rows = (
            (
                one.name,
                one.kind,
                ", ".join(one.aliases),
                one.description,
                "; ".join(f"{name}: {value}" for name, value in one.attributes.items()),
                "" if one.score is None else f"{one.score:.2f}",
            )
            for one in self
        )
        return _table(("entity", "kind", "also called", "description", "attributes", "score"), rows)


@dataclass(frozen=True)
class Relation:
    """How one entity relates to another."""

    subject: str
    """The main name of an entity."""
    predicate: str
    object: str
    """The main name of an entity."""
    valid_from: datetime | None = None
    """Since when it is so; None: not known."""
    valid_to: datetime | None = None
    """Until when it was so; None: it is still so."""
    sources: tuple[str, ...] = ()
    """The ids of the messages that said so; see `MAX_SOURCES`."""
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @classmethod
    def of(cls, value: Mapping[str, Any], subject: str, object_: str) -> Relation:
        """The relation that is stored as a value, between entities of these main names."""
        begin, end, created, updated = (
            None if value[name] is None else datetime.fromisoformat(value[name])
            for name in ("valid_from", "valid_to", "created_at", "updated_at")
        )
        return cls(subject, value["predicate"], object_, begin, end, tuple(value["sources"]), created, updated)

    def holds(self, at: datetime) -> bool:
        """Whether it is so at a time: from its beginning, and up to its end but not at it."""
        return (self.valid_from is None or self.valid_from <= at) and (self.valid_to is None or at < self.valid_to)

    def __str__(self) -> str:
        """As a sentence, such as `Alice works at Acme (since 2024-05-01)`."""
        begin, end = (None if when is None else f"{when:%Y-%m-%d}" for when in (self.valid_from, self.valid_to))
        when = ""
        if end is not None:
            when = f" (until {end})" if begin is None else f" ({begin} to {end})"
        elif begin is not None:
            when = f" (since {begin})"
        return f"{self.subject} {self.predicate} {self.object}{when}"


class RelationList(list[Relation]):
    """Relations; a notebook shows them as a table."""

    def _repr_html_(self) -> str:
        rows = (
            (
                one.subject,
                one.predicate,
                one.object,
                "" if one.valid_from is None else f"{one.valid_from:%Y-%m-%d}",
                "" if one.valid_to is None else f"{one.valid_to:%Y-%m-%d}",
                ", ".join(one.sources),
            )
            for one in self
        )
        return _table(("subject", "predicate", "object", "from", "to", "messages"), rows)


@dataclass(frozen=True, repr=False)
class EntityGraph:
    """Entities and the relations between them; a notebook draws it."""

    entities: EntityList
    """The nearest to where it was looked from first."""
    relations: RelationList
    complete: bool = True
    """Whether all entities are here that were asked for; False when there may be more than the limit."""

    def __repr__(self) -> str:
        return f"EntityGraph({len(self.entities)} entities, {len(self.relations)} relations, complete={self.complete})"

    def to_networkx(self) -> nx.MultiDiGraph[str]:
        """The graph for networkx: nodes by main name, an edge for each relation, with all that is known as attributes.

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

    def _repr_html_(self) -> str:
        if len(self.entities) > MAX_DRAWN:
            return f"{self.entities._repr_html_()}{self.relations._repr_html_()}"
        return self.to_svg()

    def to_svg(self) -> str:
        """A drawing: a dot for each entity, coloured by its kind, an arrow for each relation, dashed where it has ended."""
        dots = [Dot(one.name, one.kind, one.description) for one in self.entities]
        arrows = [
            Arrow(one.subject, one.object, one.predicate, str(one), ended=one.valid_to is not None)
            for one in self.relations
        ]
        return drawn(dots, arrows)


_ENTITY: Mapping[str, type] = {
    "name": str,
    "kind": str,
    "description": str,
    "aliases": list,
    "attributes": dict,
    "other_values": dict,
    "sources": list,
    "created_at": str,
    "updated_at": str,
}
_RELATION: Mapping[str, Any] = {
    "id": str,
    "subject": str,
    "predicate": str,
    "object": str,
    "valid_from": (str, NoneType),
    "valid_to": (str, NoneType),
    "sources": list,
    "created_at": str,
    "updated_at": str,
}


def check_entity(value: Mapping[str, Any]) -> None:
    """Refuse a stored value that does not hold an entity.

    Raises:
        DamagedDataError: It does not.
    """
    _check_parts("An entity", value, _ENTITY)
    if not all(isinstance(one, str) for one in (*value["aliases"], *value["attributes"].values())):
        msg = f"The entity {shown(value['name'], 60)} cannot be read: the stored item was damaged or altered."
        raise DamagedDataError(msg)


def check_relation(value: Any) -> None:
    """Same as `check_entity`, for a relation."""
    _check_parts("A relation", value, _RELATION)


def _check_parts(what: str, value: Any, parts: Mapping[str, Any]) -> None:
    with reading(what):
        wrong = [name for name, kind in parts.items() if not isinstance(value[name], kind)]
        if wrong:
            msg = f"{wrong[0]} is {shown(value[wrong[0]], 60)}"
            raise TypeError(msg)
        for name in ("created_at", "updated_at", "valid_from", "valid_to"):
            if value.get(name) is not None:
                datetime.fromisoformat(value[name])


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{one}</th>" for one in heads)
    lines = ("".join(f"<td style='text-align:left'>{html.escape(cell)}</td>" for cell in row) for row in rows)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
