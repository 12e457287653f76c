"""Profiles of any form: Pydantic models and JSON schemas, whose fields a model changes by path."""

from __future__ import annotations

import builtins
from typing import Any, Literal

import pytest
from profiles import ALICE, add, answer, config, human, shown
from pydantic import BaseModel, Field

from langchain_agentmem import AgentMemory, ConfigurationError, InvalidInputError, InvalidTypeError, UserProfile
from langchain_agentmem.testing import ScriptedChatModel


@pytest.fixture
def url() -> str:
    return "sqlite:///:memory:"


class Address(BaseModel):
    city: str
    zip_code: str | None = None


class Customer(BaseModel):
    user_id: str
    size: int | None = Field(default=None, ge=30, le=60)
    mood: Literal["good", "bad"] = "good"
    home: Address | None = None
    colours: list[str] = []
    scores: dict[str, float] = {}


SHOP: dict[str, Any] = {
    "title": "Shop",
    "type": "object",
    "properties": {
        "size": {"type": "integer", "minimum": 30, "maximum": 60},
        "mood": {"enum": ["good", "bad"]},
        "home": {"anyOf": [{"$ref": "#/$defs/Address"}, {"type": "null"}]},
        "colours": {"type": "array", "items": {"type": "string"}},
        "scores": {"type": "object", "additionalProperties": {"type": "number"}},
    },
    "$defs": {
        "Address": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "zip_code": {"type": ["string", "null"]}},
            "required": ["city"],
        }
    },
}
FORMS = pytest.mark.parametrize("schema", [Customer, SHOP], ids=["pydantic", "json-schema"])


def put(field: Any, value: Any, action: str = "update") -> dict[str, Any]:
    return {"action": action, "field": field, "value": value}


def value_of(memory: AgentMemory, schema: Any) -> dict[str, Any]:
    found = memory.profiles.get(ALICE, schema=schema)
    return (
        {k: v for k, v in found.model_dump(exclude_defaults=True).items() if k != "user_id"}
        if schema is Customer
        else found
    )


@FORMS
async def test_fields_change_by_path(memory, call, schema):
    script = [
        answer(
            put("size", 42),
            put("mood", "bad"),
            put("home.city", "Athens"),
            put("colours", "red", "add"),
            put(["scores", "a.b"], 1.5),
        ),
        answer(
            put("size", "43"),
            put("home", {"city": "Patras"}),
            put("colours", "blue", "add"),
            put("colours", "red", "add"),
        ),
        answer(
            put("colours", "red", "remove"),
            {"action": "remove", "field": "size"},
            {"action": "remove", "field": "home"},
            put("scores.c", 2),
        ),
    ]
    model = ScriptedChatModel(script)
    node = memory.profile_node(model, schema)
    expected = [
        {"size": 42, "mood": "bad", "home": {"city": "Athens"}, "colours": ["red"], "scores": {"a.b": 1.5}},
        {"size": 43, "mood": "bad", "home": {"city": "Patras"}, "colours": ["red", "blue"], "scores": {"a.b": 1.5}},
        {"mood": "bad", "colours": ["blue"], "scores": {"a.b": 1.5, "c": 2}},
    ]
    for number, wanted in enumerate(expected):
        done = await call(node.invoke, [human("…", str(number), number)], config())
        assert done.error is None
        assert value_of(memory, schema) == wanted
    assert "facts" not in shown(model.requests[0])


@FORMS
@pytest.mark.parametrize(
    "change",
    [
        put("shoe", 42),
        put("home.street", "x"),
        put("size.x", 1),
        put("size", 7),
        put("size", "large"),
        put("mood", "fine"),
        put("home", {"zip_code": 5}),
        put("scores.a", "much"),
        put("colours", [1, {}]),
        put("", 1),
        put([], 1),
        put("mood", "x" * 3000),
        add("Likes hiking"),
        {"action": "remove"},
    ],
    ids=ascii,
)
def test_a_change_that_does_not_fit_the_schema_is_refused_alone(memory, schema, change, caplog):
    node = memory.profile_node(ScriptedChatModel([answer(put("mood", "bad"), change)] * 2), schema)
    done = node.invoke([human("…", "a")], config())
    assert (done.error, done.calls, done.fields) == (None, 2, ("mood",))
    assert done.refused[0].startswith("Change 2: ")
    assert value_of(memory, schema) == {"mood": "bad"}


@FORMS
def test_an_answer_without_a_valid_change_changes_nothing(memory, schema, caplog):
    node = memory.profile_node(ScriptedChatModel([answer(put("shoe", 42))] * 2), schema)
    done = node.invoke([human("…", "a")], config())
    assert "Change 1: " in done.error
    assert value_of(memory, schema) == {}


@FORMS
def test_the_model_is_told_the_fields_that_it_may_change(memory, schema):
    model = ScriptedChatModel([answer()])
    memory.profile_node(model, schema).invoke([human("…", "a")], config())
    told = str(model.requests[0][0].text)
    assert "zip_code" in told
    assert "user_id" not in told
    assert "known fact" not in told


def test_a_model_derived_from_user_profile_has_facts_and_fields_of_its_own(memory):
    class Member(UserProfile):
        level: int = 0

    script = [answer(put("level", 3), add("Likes hiking"), put("preferences.tone", "short"))]
    memory.profile_node(ScriptedChatModel(script), Member).invoke([human("…", "a")], config())
    member = memory.profiles.get(ALICE, schema=Member)
    assert (member.level, member.preferences, [fact.text for fact in member.facts]) == (
        3,
        {"tone": "short"},
        ["Likes hiking"],
    )


def test_what_is_required_may_be_learned_one_after_the_other(memory):
    class Needs(BaseModel):
        name: str
        age: int

    node = memory.profile_node(ScriptedChatModel([answer(put("name", "Al")), answer(put("age", 7))]), Needs)
    node.invoke([human("…", "a")], config())
    assert memory.profiles.get(ALICE, schema=Needs) is None
    node.invoke([human("…", "b")], config())
    assert memory.profiles.get(ALICE, schema=Needs) == Needs(name="Al", age=7)


@pytest.mark.parametrize("schema", [int, {}, {"type": "array"}, "text"], ids=ascii)
def test_what_is_no_schema_is_refused(memory, schema):
    with pytest.raises(InvalidTypeError, match="schema"):
        memory.profile_node(ScriptedChatModel(), schema)


def test_a_missing_package_is_named(memory, monkeypatch):
    real = builtins.__import__

    def missing(name: str, *args: Any) -> Any:
        if name.startswith("jsonschema"):
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigurationError, match=r"langchain-agentmem\[jsonschema\]"):
        memory.profile_node(ScriptedChatModel([answer(put("size", 42))]), SHOP)


@pytest.mark.parametrize(
    "options",
    [{"method": "guess"}, {"when": "never"}, {"when": "debounce", "delay": -1}],
    ids=lambda one: next(iter(one)),
)
def test_options_are_checked(memory, options):
    with pytest.raises(InvalidInputError):
        memory.profile_node(ScriptedChatModel(), **options)
