"""The part of a user's knowledge graph that an operation has read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from langgraph.store.base import GetOp

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.errors import DamagedDataError
from langchain_agentmem.knowledge.entities.models import Entity, EntityList, Relation, RelationList
from langchain_agentmem.knowledge.entities.values import (
    check_name_item,
    check_relation,
    ends_of,
    is_alias,
    keys_of,
    relations_in,
)
from langchain_agentmem.knowledge.items import read_batch, report
from langchain_agentmem.knowledge.names import folded
from langchain_agentmem.knowledge.namespaces import ENTITIES, RELATIONS, Namespace, user_namespace
from langchain_agentmem.knowledge.unit import Value
from langchain_agentmem.programs import Program
from langchain_agentmem.store.engine import StoreEngine


class Snapshot:
    """Items of a user's knowledge graph. Damaged items are logged and count as missing.

    Args:
        store: The store.
        user_id: ID of the user.
    """

    def __init__(self, store: StoreEngine, user_id: str) -> None:
        self._store = store
        self._entities = user_namespace(user_id, ENTITIES)
        self._relations = user_namespace(user_id, RELATIONS)
        self._names: dict[str, Value | None] = {}
        self._related: dict[str, Value | None] = {}

    # Reading

    def load(self, keys: Iterable[str], *, relations: bool = False) -> Program[None]:
        """Read the entities of some names, with all of their names. Items that were read before are not read again.

        Args:
            keys: Keys of the names.
            relations: If true, read the relations of these entities too. Default: False.
        """
        wanted = dict.fromkeys(keys)
        while True:
            mains = self.main_keys(list(wanted))
            wanted |= dict.fromkeys(mains)
            wanted |= dict.fromkeys(key for main in mains if (value := self._names.get(main)) for key in keys_of(value))
            missing = [(self._entities, key) for key in wanted if key not in self._names]
            if relations:
                missing += [(self._relations, key) for key in wanted if key not in self._related]
            if not missing:
                return
            items = yield from read_batch(self._store, [GetOp(*item_key) for item_key in missing])
            self.add((*item_key, item and item.value) for item_key, item in zip(missing, items, strict=True))

    def add(self, items: Iterable[tuple[Namespace, str, Value | None]]) -> None:
        """Add items that were read. An entity also supplies the items of its aliases.

        Args:
            items: Namespace, key and value of each item; the value is None if there is no such item.
        """
        for namespace, key, value in items:
            if namespace == self._relations:
                self._related[key] = None if value is None else {"relations": dict(self._undamaged(key, value))}
                continue
            try:
                if value is not None:
                    check_name_item(value)
                self._names[key] = value
            except DamagedDataError as error:
                report(namespace, key, error)
                self._names[key] = None
                continue
            if value is not None and not is_alias(value):
                self._names |= {alias: {"same_as": key} for alias in keys_of(value)[1:]}

    def _undamaged(self, key: str, item: Value) -> Iterator[tuple[str, Value]]:
        """Yield the relations of a name that can be read, with their IDs."""
        try:
            with reading(f"The relations of {shown(key)}"):
                relations = list(item["relations"].items())
        except DamagedDataError as error:
            report(self._relations, key, error)
            return
        for id_, relation in relations:
            try:
                check_relation(relation)
            except DamagedDataError as error:
                report(self._relations, key, error)
            else:
                yield id_, relation

    # Entities

    def main_key(self, key: str) -> str | None:
        """Return the key of an entity's main name; None if there is no such entity or it was not read.

        Items that were read one after the other may show an entity before and after a merge, so aliases may form a chain.
        """
        passed: set[str] = set()
        while key not in passed:
            value = self._names.get(key, {})
            if value is None:
                return None
            if not is_alias(value):
                return key if key in self._names or passed else None
            passed.add(key)
            key = value["same_as"]
        return None

    def main_keys(self, keys: Iterable[str]) -> list[str]:
        """Return the keys of the main names of some entities, each once."""
        return list(dict.fromkeys(main for key in keys if (main := self.main_key(key)) is not None))

    def all_main_keys(self) -> list[str]:
        """Return the keys of the main names of all entities that were read, sorted."""
        return sorted(key for key, value in self._names.items() if value is not None and not is_alias(value))

    def entity(self, key: str) -> Value | None:
        """Return the value of an entity by one of its names."""
        main = self.main_key(key)
        return None if main is None else self._names.get(main)

    def entities(self, keys: Iterable[str]) -> EntityList:
        """Return the entities of some names in their order, each once."""
        values = (self.entity(key) for key in keys)
        return EntityList(
            Entity.from_value(one) for one in {one["name"]: one for one in values if one is not None}.values()
        )

    # Relations

    def relations_of(self, key: str) -> list[Value]:
        """Return the values of the relations of an entity, under all of its names."""
        entity = self.entity(key)
        names = [] if entity is None else keys_of(entity)
        return list({one["id"]: one for name in names for one in relations_in(self._related.get(name))}.values())

    def relations_at(self, keys: Iterable[str], at: datetime) -> list[Value]:
        """Return the values of the relations of some entities that hold at a time, those that were updated last first."""
        values = (one for key in keys for one in self.relations_of(key))
        valid = [one for one in values if Relation.from_value(one, "", "").holds(at)]
        return sorted(valid, key=lambda one: str(one["updated_at"]), reverse=True)

    def relations(self, values: Iterable[Value]) -> RelationList:
        """Return relations between main names, those that were updated last first.

        Relations that became equal because their entities were merged are returned as one.

        Args:
            values: Stored values of the relations.
        """
        by_meaning: dict[tuple[str, str, str, str | None, str | None], Value] = {}
        for value in sorted(values, key=lambda one: str(one["updated_at"])):
            subject, object_ = (self.entity(key) for key in ends_of(value))
            if subject is None or object_ is None:
                continue
            predicate = folded(value["predicate"])
            meaning = (subject["name"], predicate, object_["name"], value["valid_from"], value["valid_to"])
            before = by_meaning.pop(meaning, value)
            sources = dict.fromkeys([*before["sources"], *value["sources"]])
            created = min(before["created_at"], value["created_at"])
            by_meaning[meaning] = {**value, "sources": list(sources), "created_at": created}
        return RelationList(
            Relation.from_value(one, subject, object_)
            for (subject, _, object_, _, _), one in reversed(by_meaning.items())
        )
