"""Entities that share a name become one, in whatever order that is said; relations follow, and nothing is lost."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from langchain_agentmem import InvalidInputError, InvalidTypeError
from langchain_agentmem.knowledge.entities.changes import (
    MAX_CHANGES,
    AttributeChange,
    EntityChange,
    EntityChanges,
    RelationChange,
    RelationRemoval,
    moment,
)
from langchain_agentmem.knowledge.entities.stored import MAX_NAMES, StoredGraph
from langchain_agentmem.knowledge.entities.values import keys_of, relations_in
from langchain_agentmem.knowledge.names import folded, folded_sentence, name_key
from langchain_agentmem.knowledge.namespaces import ENTITIES, RELATIONS, user_namespace
from langchain_agentmem.knowledge.unit import UnitOfWork, UnreadItemsError


class World:
    """A user's items in a dict, changed as `commit` changes them in the store."""

    def __init__(self) -> None:
        self.items: dict[Any, Any] = {}
        self.clock = datetime(2026, 1, 1, tzinfo=UTC)
        self.reads = 0

    def change(self, act: Callable[[StoredGraph], Any]) -> Any:
        self.clock += timedelta(seconds=1)
        places: set[Any] = set()
        while True:
            unit = UnitOfWork("alice", {place: self.items.get(place) for place in places})
            try:
                result = act(StoredGraph(unit, self.clock.isoformat()))
                break
            except UnreadItemsError as unread:
                asked = set(unread.keys)
            assert asked
            assert not places & asked
            places |= asked
            self.reads += 1
        for place, value in unit.changes.items():
            self.items.pop(place, None)
            if value is not None:
                self.items[place] = value
        return result

    def apply(self, *changes: Any) -> None:
        for change in changes:
            self.change(
                lambda graph, change=change: (
                    graph.upsert(change) if isinstance(change, EntityChange) else graph.relate(change)
                )
            )

    def entities(self) -> dict[str, Any]:
        space = user_namespace("alice", ENTITIES)
        return {key: value for (where, key), value in self.items.items() if where == space and "same_as" not in value}

    def main(self, name: str) -> str:
        value = self.items[user_namespace("alice", ENTITIES), folded(name)]
        return value.get("same_as", folded(name))

    def relations(self) -> set[tuple[str, str, str]]:
        space = user_namespace("alice", RELATIONS)
        found = {
            one["id"]: one for (where, _), item in self.items.items() if where == space for one in relations_in(item)
        }
        return {(self.main(one["subject"]), one["predicate"], self.main(one["object"])) for one in found.values()}

    def check(self) -> None:
        """What always holds: each name leads to its entity, and each relation lies under both of its names."""
        entities, relations = user_namespace("alice", ENTITIES), user_namespace("alice", RELATIONS)
        names: dict[str, str] = {}
        for key, value in self.entities().items():
            assert keys_of(value)[0] == key
            for name in keys_of(value):
                assert names.setdefault(name, key) == key
        assert {key: self.main(key) for where, key in self.items if where == entities} == names
        for (where, key), item in self.items.items():
            if where != relations:
                continue
            assert key in names
            assert item["relations"]
            for number, one in item["relations"].items():
                assert key in (folded(one["subject"]), folded(one["object"]))
                for end in ("subject", "object"):
                    assert self.items[relations, folded(one[end])]["relations"][number] == one


NAMES = st.sampled_from("abcdefgh")
SAID = st.one_of(
    st.builds(EntityChange, name=NAMES, aliases=st.lists(NAMES, max_size=2)),
    st.builds(RelationChange, subject=NAMES, predicate=st.sampled_from(["knows", "likes"]), object=NAMES),
)


def components(changes: list[Any]) -> set[frozenset[str]]:
    """The connected components of names that were said to be of one entity."""
    groups: list[set[str]] = []
    for change in changes:
        sets = (
            [{change.name, *change.aliases}]
            if isinstance(change, EntityChange)
            else [{change.subject}, {change.object}]
        )
        for names in sets:
            touched = [group for group in groups if group & names]
            groups = [group for group in groups if not group & names] + [names.union(*touched)]
    return set(map(frozenset, groups))


@given(st.lists(SAID, max_size=12).flatmap(lambda changes: st.tuples(st.just(changes), st.permutations(changes))))
def test_entities_are_the_connected_components_of_their_names_in_any_order(both):
    seen = []
    for changes in both:
        world = World()
        world.apply(*changes)
        world.check()
        groups = {frozenset(keys_of(value)) for value in world.entities().values()}
        assert groups == components(changes)
        group_of = {name: group for group in groups for name in group}
        relations = {(group_of[subject], said_, group_of[object_]) for subject, said_, object_ in world.relations()}
        assert relations == {
            (group_of[one.subject], one.predicate, group_of[one.object])
            for one in changes
            if isinstance(one, RelationChange)
        }
        seen.append((groups, relations))
    assert seen[0] == seen[1]


@given(st.lists(SAID, max_size=12), NAMES)
def test_what_is_forgotten_leaves_no_trace_and_nothing_else_goes(changes, name):
    world = World()
    world.apply(*changes)
    names = next((group for group in components(changes) if name in group), frozenset())
    before, others = world.relations(), set(world.entities())
    gone = world.main(name) if names else None
    assert world.change(lambda graph: graph.forget(name)) is bool(names)
    world.check()
    assert set(world.entities()) == others - {gone}
    assert world.relations() == {one for one in before if gone not in one}
    assert not [key for _, key in world.items if key in names]


@given(st.lists(SAID, max_size=8))
def test_many_changes_at_once_are_those_one_after_the_other_and_read_in_few_steps(changes):
    apart, together = World(), World()
    entities = [one for one in changes if isinstance(one, EntityChange)]
    relations = [one for one in changes if isinstance(one, RelationChange)]
    apart.apply(*entities, *relations)
    whole = EntityChanges(entities=entities, relations=relations)
    together.change(lambda graph: graph.apply(whole))
    assert {frozenset(keys_of(one)) for one in apart.entities().values()} == {
        frozenset(keys_of(one)) for one in together.entities().values()
    }
    assert apart.relations() == together.relations()
    together.reads = 0
    together.change(lambda graph: graph.apply(whole))
    together.check()
    assert together.reads <= 3  # by the names given, by the main names, by all names
    assert apart.relations() == together.relations()


def test_a_merged_entity_keeps_what_both_knew():
    world = World()
    world.apply(
        EntityChange(
            name="Bob",
            kind="Person",
            attributes=[AttributeChange(name="Age", value="41")],
            sources=["m1"],
            description="A cook.",
        ),
        EntityChange(
            name="Robert",
            kind="cook",
            attributes=[AttributeChange(name="age", value="42"), AttributeChange(name="home", value="Oslo")],
            sources=["m2"],
        ),
        EntityChange(name="Bob", aliases=["ROBERT", "Rob"], sources=["m3"]),
    )
    (value,) = world.entities().values()
    assert (value["name"], value["aliases"]) == ("Bob", ["Robert", "Rob"])
    assert value["kind"] == "cook"
    assert value["attributes"] == {"Age": "42", "home": "Oslo"}
    assert value["other_values"] == {"kind": ["person"], "Age": ["41"]}
    assert value["description"] == "A cook."
    assert set(value["sources"]) == {"m1", "m2", "m3"}
    assert value["created_at"] < value["updated_at"] == world.clock.isoformat()


def test_a_new_main_name_keeps_the_one_before_as_an_alias():
    world = World()
    world.apply(
        EntityChange(name="Bob", aliases=["Bobby"]),
        RelationChange(subject="Bobby", predicate="likes", object="Tea"),
        EntityChange(name="Robert", aliases=["bob"]),
        RelationChange(subject="Robert", predicate="Likes", object="tea"),
    )
    world.check()
    assert world.entities()["robert"]["aliases"] == ["Bob", "Bobby"]
    assert world.relations() == {("robert", "likes", "tea")}


def test_attributes_are_replaced_and_removed():
    world = World()
    world.apply(EntityChange(name="Rex", attributes=[AttributeChange(name="Colour", value="red")]))
    world.apply(EntityChange(name="rex", attributes=[AttributeChange(name="colour", value="blue")]))
    assert world.entities()["rex"]["attributes"] == {"Colour": "blue"}
    assert world.entities()["rex"]["other_values"] == {}
    world.apply(EntityChange(name="REX", attributes=[AttributeChange(name="COLOUR", value="")]))
    assert world.entities()["rex"]["attributes"] == {}


def works(begin: Any = None, end: Any = None, *sources: str) -> RelationChange:
    return RelationChange(
        subject="Bob", predicate="works at", object="Acme", valid_from=begin, valid_to=end, sources=list(sources)
    )


@pytest.mark.parametrize(
    ("said_", "periods"),
    [
        ([works(), works()], {(None, None)}),
        ([works(), works("2020")], {("2020", None)}),
        ([works("2020"), works(None, "2022")], {("2020", "2022")}),
        ([works("2020"), works("2021", "2022")], {("2021", "2022")}),
        ([works("2020", "2022"), works()], {("2020", "2022")}),
        ([works("2020", "2022"), works("2022")], {("2020", "2022"), ("2022", None)}),
        ([works("2024"), works("2020", "2022"), works(None, "2025")], {("2020", "2022"), ("2024", "2025")}),
        ([works("2024"), works(None, "2020")], {("2024", None), (None, "2020")}),
        ([works("2020", "2022"), works("2023"), works()], {("2020", "2022"), ("2023", None)}),
    ],
    ids=range(9),
)
def test_the_periods_of_a_relation(said_, periods):
    world = World()
    world.apply(*said_)
    world.check()
    relations = world.items[user_namespace("alice", RELATIONS), "bob"]["relations"].values()
    years = {tuple(when and when[:4] for when in (one["valid_from"], one["valid_to"])) for one in relations}
    assert years == periods
    assert len(relations) == len(periods)


@given(st.lists(st.integers(2000, 2020), unique=True, max_size=8).map(sorted), st.data())
def test_what_began_and_ended_several_times_is_told_apart_and_saying_it_again_changes_nothing(years, data):
    periods = [(str(begin), None) for begin in years[-1:]] if len(years) % 2 else []
    periods = [(str(begin), str(end)) for begin, end in zip(years[::2], years[1::2], strict=False)] + periods
    told = []
    for begin, end in periods:
        apart = end is not None and data.draw(st.booleans())
        told += [works(begin), works(None, end)] if apart else [works(begin, end)]
    world = World()

    def known() -> list[Any]:
        item = world.items.get((user_namespace("alice", RELATIONS), "bob"), {"relations": {}})
        return sorted(
            tuple(when and when[:4] for when in (one["valid_from"], one["valid_to"])) for one in relations_in(item)
        )

    world.apply(*told)
    assert known() == periods
    for one in data.draw(st.permutations(told)):
        world.apply(one)
        assert known() == periods


def test_a_relation_keeps_its_sources():
    world = World()
    world.apply(works(None, None, "m1"), works("2020", None, "m2", "m1"))
    (one,) = world.items[user_namespace("alice", RELATIONS), "acme"]["relations"].values()
    assert one["sources"] == ["m1", "m2"]


def test_a_relation_must_not_end_before_it_begins():
    world = World()
    with pytest.raises(InvalidInputError, match="end before it begins"):
        world.apply(works("2022", "2020"))
    assert world.items == {}


def test_a_wrong_relation_is_deleted_for_all_times_under_all_names():
    world = World()
    world.apply(works("2020", "2021"), works("2023"), EntityChange(name="Robert", aliases=["Bob"]))
    wrong = RelationRemoval(subject="ROBERT", predicate="Works  at", object="acme")
    assert world.change(lambda graph: graph.unrelate(wrong)) == 2
    assert world.change(lambda graph: graph.unrelate(wrong)) == 0
    world.check()
    assert world.relations() == set()
    assert len(world.entities()) == 2


def test_an_entity_has_a_bounded_number_of_names():
    world = World()
    for start in range(0, 160, 40):
        world.apply(EntityChange(name="x", aliases=[f"name {number}" for number in range(start, start + 40)]))
    before = dict(world.items)
    with pytest.raises(InvalidInputError, match=f"201 names; at most {MAX_NAMES}"):
        world.apply(EntityChange(name="x", aliases=[f"more {number}" for number in range(40)]))
    assert world.items == before


# Names


@given(st.text())
def test_a_folded_name_stays_as_it_is(text):
    once = folded(text)
    assert folded(once) == once
    assert folded(f"  {text}\t") == once
    assert folded(unicodedata.normalize("NFD", text)) == folded(unicodedata.normalize("NFC", text))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Straße", "STRASSE"),
        ("ＡＣＭＥ", "acme"),
        ("Ana\u00a0 María", "ana maría"),
        ("Ana Mari\u0301a", "Ana María"),
        ("Ac\u200bme", "Acme"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
        ("İstanbul", "i\u0307stanbul"),
    ],
    ids=ascii,
)
def test_the_same_name_written_differently(one, other):
    assert folded(one) == folded(other)


def test_other_names_are_others():
    assert len({folded(name) for name in ("José", "Jose", "Josef", "J.", "J", "j*")}) == 6
    assert folded_sentence("Is it so?") != folded_sentence("Is it so.")
    for wrong, error in (("", InvalidInputError), ("\u200b ", InvalidInputError), ("a" * 201, InvalidInputError)):
        with pytest.raises(error):
            name_key("name", wrong)
    for wrong in ("a\x00", "\ud800", "\ufdfa" * 20):
        with pytest.raises(InvalidInputError):
            name_key("name", wrong)
    with pytest.raises(InvalidTypeError):
        name_key("name", 5)


# Times and changes


def test_times_in_many_forms():
    day = datetime(2024, 5, 17, tzinfo=UTC)
    for form in (
        "2024-05-17",
        " 2024-05-17T00:00:00Z",
        "2024-05-17T02:00:00+02:00",
        date(2024, 5, 17),
        day,
        datetime(2024, 5, 17),
    ):
        assert moment("as_of", form) == day
    assert moment("as_of", "2024") == datetime(2024, 1, 1, tzinfo=UTC)
    assert moment("as_of", "2024-05") == datetime(2024, 5, 1, tzinfo=UTC)
    assert moment("as_of", None) is moment("as_of", "") is None
    for wrong in ("yesterday", "20x4", "2024-13", "*", "2024-05-17; DROP TABLE"):
        with pytest.raises(InvalidInputError, match="as_of must be a date in ISO 8601"):
            moment("as_of", wrong)
    with pytest.raises(InvalidTypeError):
        moment("as_of", 2024)


def test_changes_as_a_model_writes_them():
    changes = EntityChanges.model_validate(
        {
            "entities": [
                {"name": " Bob ", "kind": None, "aliases": None, "attributes": [{"name": "age", "value": "41"}]}
            ],
            "relations": [
                {"subject": "Bob", "predicate": "works at", "object": "Acme", "valid_from": "2024", "valid_to": None}
            ],
            "forgotten": ["Carol"],
        }
    )
    assert changes.entities[0].name == "Bob"
    assert changes.relations[0].valid_from == "2024-01-01T00:00:00+00:00"
    assert changes
    assert not EntityChanges()
    assert EntityChanges.model_validate_json(changes.model_dump_json()) == changes


@pytest.mark.parametrize(
    "wrong",
    [
        {"entities": [{"name": ""}]},
        {"entities": [{"name": "a" * 201}]},
        {"entities": [{"name": "a", "description": "b" * 2001}]},
        {"entities": [{"name": "a", "aliases": ["b"] * 51}]},
        {"entities": [{"name": "a\x00"}]},
        {"entities": [{"name": "a"}] * (MAX_CHANGES + 1)},
        {"relations": [{"subject": "a", "predicate": "b"}]},
        {"relations": [{"subject": "a", "predicate": "b", "object": "c", "valid_to": "soon"}]},
        {"relations": [{"subject": "a", "predicate": "b", "object": "c", "valid_to": 5}]},
        {"forgotten": "everything"},
        {"entities": {"name": "a"}},
        [],
    ],
    ids=range(12),
)
def test_changes_that_are_not_accepted(wrong):
    with pytest.raises(ValidationError):
        EntityChanges.model_validate(wrong)


def test_messages_that_a_model_was_shown_by_number_are_told_by_their_ids():
    changes = EntityChanges.model_validate(
        {
            "entities": [{"name": "Bob", "sources": [1, "2", "mallory"]}],
            "relations": [{"subject": "Bob", "predicate": "owns", "object": "Rex", "sources": [3]}],
        }
    ).sourced({"1": "message-a", "2": "message-b"})
    assert changes.entities[0].sources == ["message-a", "message-b"]
    assert changes.relations[0].sources == []


def test_every_field_that_a_model_fills_in_is_described():
    schema = EntityChanges.model_json_schema()
    for part in (schema, *schema["$defs"].values()):
        assert part["description"]
        for name, described in part["properties"].items():
            assert described.get("description"), name
