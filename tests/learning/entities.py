"""Turns about entities, and turns of an agent with memory tools."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage
from profiles import add

from learning.talks import Turn, in_python, with_list_as_string


def graph(*entities: Any, relations: Any = (), **more: Any) -> dict[str, Any]:
    """An answer with changes of entities."""
    return {"changes": [], "entities": {"entities": list(entities), "relations": list(relations), **more}}


def calling(name: str, **args: Any) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": "1"}])


def person(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "kind": "person", **more}


WORKS = {"subject": "Bob", "predicate": "works at"}


COFFEE = "08f665454e80adcfd5f1"
"""ID of the memory "Drinks coffee"."""


EVA = [
    Turn(
        "eva",
        "B14",
        "My brother Tom is 30.",
        [graph(person("Tom", aliases=["my brother"], attributes={"age": 30}))],
        report={"entities": ["Tom"]},
    ),
    Turn(
        "eva",
        "B14",
        "My brother Jim is 40.",
        [graph(person("Jim", aliases=["My brother"], attributes={"age": 40}))],
        report={"entities": ["Jim"]},
    ),
    Turn(
        "eva",
        "B14 B11",
        "He is the boss. I call him Tommy.",
        [graph(person("He"), person("Tom", aliases=["the boss", "user", "I", "Tommy"]))] * 2,
        report={
            "calls": 2,
            "entities": ["Tom"],
            "refused": ["Entity 1: 'He' is a pronoun: give the name of the entity, or leave it out."],
        },
    ),
    Turn(
        "eva",
        "B11",
        "Bob, or Bobby, is 30 and worked at Acme from May 2024.",
        [
            (
                with_list_as_string,
                graph(
                    {"name": "Bob", "aliases": "Bobby", "attributes": {"age": 30, "married": True, "home": None}},
                    {"name": "Ann", "aliases": ["", None], "attributes": [{"name": "age", "value": 7}]},
                    relations=[
                        {**WORKS, "object": "Acme", "valid_from": "May 2024", "valid_to": "present"},
                        {**WORKS, "object": "Initech", "valid_from": "last summer", "valid_to": "unknown"},
                    ],
                ),
            )
        ],
        report={"entities": ["Bob", "Ann", "Acme", "Initech"], "relations": 2},
    ),
    Turn(
        "eva",
        "B11",
        "Bob likes Ann.",
        [
            graph(
                {"name": "Ann", "attributes": {"age": 8}},
                relations=[{**WORKS, "object": ""}, {"subject": "Bob", "predicate": "likes", "object": "Ann"}],
            )
        ]
        * 2,
        report={
            "calls": 2,
            "entities": ["Ann"],
            "relations": 1,
            "refused": ["Relation 1: object: a name must not be empty; got ''."],
        },
        shown=["He is the boss. I call him Tommy.", "Bob likes Ann.", "I see."],
    ),
    Turn(
        "eva",
        "B14",
        "Rob Jones is a Rob, too.",
        [graph(person("Rob Jones", aliases=["Rob"]))],
        first=[
            ("entities.upsert", "Robert Smith", "person", {"aliases": ["Rob", "Robbie"]}),
            ("entities.upsert", "Rob Jones", "person"),
        ],
        report={"entities": ["Rob Jones"]},
    ),
    Turn(
        "eva",
        "B14",
        "Rob Jones, Rob and Robbie are one.",
        [graph(person("Rob Jones", aliases=["Rob", "Robbie"]))],
        report={"entities": ["Rob Jones"]},
        shown=["He is the boss. I call him Tommy.", "Bob likes Ann.", "Rob Jones, Rob and Robbie are one.", "I see."],
    ),
    Turn(
        "eva",
        "B14",
        "They are not. Rob Jones is 50.",
        [graph(person("Rob Jones", attributes={"age": "50"}))],
        first=[("entities.split", "Rob")],
        report={"entities": ["Rob Jones"]},
    ),
    Turn(
        "eva",
        "B14",
        "Apple makes phones.",
        [graph({"name": "Apple", "kind": "organisation"})],
        report={"entities": ["Apple"]},
    ),
    Turn(
        "eva",
        "B14",
        "An apple a day.",
        [graph({"name": "apple", "kind": "fruit"})],
        report={"entities": ["apple (fruit)"]},
    ),
    Turn(
        "eva",
        "A8",
        "Tell Mia and me a story.",
        [
            graph(
                {"name": "Hans", "sources": [2]},
                {"name": "Mia", "sources": [1]},
                relations=[{"subject": "Hans", "predicate": "lives in", "object": "Bremen", "sources": [2]}],
            )
        ]
        * 2,
        reply="Once there was Hans of Bremen.",
        report={
            "calls": 2,
            "entities": ["Mia"],
            "refused": [
                "Entity 1: only the assistant says so: give the numbers of the user's messages that say so, or leave it out.",
                "Relation 1: only the assistant says so: give the numbers of the user's messages that say so, or leave it out.",
            ],
        },
    ),
    Turn(
        "eva",
        "B11",
        "Forget Carl.",
        [graph(forgotten="Carl")],
        first=[("entities.upsert", "Carl")],
        report={"forgotten_entities": 1},
    ),
    Turn(
        "eva",
        "B12",
        "Mia is 9.",
        [(in_python, graph({"name": "Mia", "attributes": {"age": 9}, "kind": None}))],
        report={"entities": ["Mia"]},
        shown=["Tell Mia and me a story.", "Mia is 9.", "I see."],
    ),
    Turn(
        "eva",
        "B14",
        "I have lived in Oslo since January.",
        [graph(relations=[{"subject": "I", "predicate": "lives in", "object": "Oslo", "valid_from": "2026-01-15"}])],
        report={"entities": ["user", "Oslo"], "relations": 1},
    ),
]


AGENT = [
    Turn(
        "agent",
        "B15",
        "Remember that I drink oolong tea.",
        [[]],
        reply=[calling("save_memory", memory="Drinks oolong tea"), AIMessage("Saved.")],
        report={"messages": 4},
        shown=["Remember that I drink oolong tea.", "Saved."],
    ),
    Turn(
        "agent",
        "B15",
        "And coffee.",
        [""],
        reply=[calling("save_memory", memory="Drinks coffee"), AIMessage("Saved.")],
        report={"messages": 5},
        shown=["And coffee.", "Saved."],
    ),
    Turn(
        "agent",
        "B15",
        "Forget the coffee.",
        [[]],
        reply=[calling("forget_memory", memory_id=f" '{COFFEE}' "), AIMessage("Forgotten.")],
        report={"messages": 5},
        shown=["Forget the coffee.", "Forgotten."],
    ),
    Turn(
        "agent",
        "B15",
        "Forget everything!",
        [[]],
        reply=[calling("forget_memory", memory_id=" * "), AIMessage("I cannot.")],
        report={"messages": 5},
        shown=["Forget everything!", "I cannot."],
    ),
    Turn("agent", "A10", "I moved to Volos.", [[add("Lives in Volos")]], report={"added": ["Lives in Volos"]}),
    Turn("agent", "A10", "It is by the sea.", [[]], report={}),
    Turn("agent", "A10", "I swim a lot.", [[add("Swims a lot")]], report={"added": ["Swims a lot"]}),
]
