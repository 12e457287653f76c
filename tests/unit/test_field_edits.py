"""Changes of fields that models propose: each gives the expected value, or is refused and changes nothing."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from profiles import ALICE, START, answer, config, human
from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, Field, Secret, SecretBytes, SecretStr, create_model
from pydantic.alias_generators import to_camel

from langchain_agentmem import AgentMemory, InvalidInputError, UserProfile
from langchain_agentmem.knowledge.extraction.edits import change_fields
from langchain_agentmem.knowledge.extraction.operations import Operation
from langchain_agentmem.knowledge.facts.fields import Fields
from langchain_agentmem.knowledge.facts.paths import path_of
from langchain_agentmem.knowledge.facts.placeholders import is_placeholder, states_nothing
from langchain_agentmem.knowledge.facts.schema import Schema
from langchain_agentmem.testing import ScriptedChatModel

ID = "5e81f883-712b-416f-8d3a-5b7fff5ea217"
DOGS = [{"name": "Rex", "kind": "dog"}, {"name": "Max", "kind": "dog"}]


class Person(BaseModel):
    name: str
    age: int


class Open(BaseModel):
    name: str | None = None
    p: dict[str, Any] = Field(default_factory=dict)
    scores: dict[str, float] = Field(default_factory=dict)
    numbers: list[int] = Field(default_factory=list)
    either: str | list[str] | None = None
    boss: Person | None = None
    team: list[Person] = Field(default_factory=list)
    level: Literal["none", "some"] | None = None


def changed(schema: Any, before: dict[str, Any], *changes: tuple[Any, ...], user_id: str = ALICE) -> Any:
    """The document after changes, each an action, a field and a value; the reasons if some are refused."""
    fields = Fields(user_id, {"fields": before})
    operations = [
        Operation(action, (), START, timed=True, reason="ended", path=path_of(field), value=value[0] if value else None)
        for action, field, *value in changes
    ]
    done = change_fields(operations, Schema(schema), fields, user_id)
    assert fields.document == before
    return list(done.refused.values()) if done.refused else done.fields.document


@pytest.mark.parametrize(
    ("before", "change", "after"),
    [
        ({}, ("add", "p.l", "a"), {"p": {"l": "a"}}),
        ({"p": {"l": "a"}}, ("add", "p.l", "b"), {"p": {"l": ["a", "b"]}}),
        ({"p": {"l": "a"}}, ("add", "p.l", ["a", "b"]), {"p": {"l": ["a", "b"]}}),
        ({"p": {"l": ["a"]}}, ("add", "p.l", ["b", "c", "b"]), {"p": {"l": ["a", "b", "c"]}}),
        ({"p": {"l": [7]}}, ("add", "p.l", "7"), {"p": {"l": [7]}}),
        ({"p": {"l": ["7"]}}, ("add", "p.l", 7), {"p": {"l": ["7"]}}),
        ({"p": {"l": [1]}}, ("add", "p.l", True), {"p": {"l": [1, True]}}),
        ({"p": {"l": [[1]]}}, ("add", "p.l", [2]), {"p": {"l": [[1], [2]]}}),
        (
            {"p": {"a": {"x": 1, "l": [1]}}},
            ("add", "p.a", {"y": 2, "l": 2}),
            {"p": {"a": {"x": 1, "l": [1, 2], "y": 2}}},
        ),
        ({"p": {"a": 1}}, ("add", "p", {"b": 2}), {"p": {"a": 1, "b": 2}}),
        ({"p": {"a": 1}}, ("update", "p", {"b": 2}), {"p": {"a": 1, "b": 2}}),
        ({"p": {"a": 1}}, ("update", "p", {"a": 2, "b": None}), {"p": {"a": 2}}),
        ({"p": {"x": 1}}, ("update", "p.x", True), {"p": {"x": True}}),
        ({"p": {"x": "old"}}, ("update", "p.x", 0), {"p": {"x": 0}}),
        ({"p": {"x": "old"}}, ("update", "p.x", False), {"p": {"x": False}}),
        ({"p": {"x": "a"}}, ("update", "p.x", ["a", "N/A", "b"]), {"p": {"x": ["a", "b"]}}),
        ({"p": {"x": None}}, ("update", "p.x.y", 1), {"p": {"x": {"y": 1}}}),
        ({"p": {"Tone": "a"}}, ("update", "p.tone", "b"), {"p": {"Tone": "b"}}),
        ({"p": {"node.js": "20"}}, ("update", "p.node.js", "22"), {"p": {"node.js": "22"}}),
        ({"p": {"node.js": "20"}}, ("remove", "p.node.js"), {"p": {}}),
        ({"p": {"node.js": {"v": 1}}}, ("update", "p.node.js.v", 2), {"p": {"node.js": {"v": 2}}}),
        ({"p": {"node": {"x": 1}}}, ("update", "p.node.js", 2), {"p": {"node": {"x": 1, "js": 2}}}),
        ({}, ("update", 'p["node.js"]', 2), {"p": {"node.js": 2}}),
        ({"scores": {"a": 1}}, ("update", "scores.a.b", "2.5"), {"scores": {"a": 1, "a.b": 2.5}}),
        ({"numbers": [7]}, ("add", "numbers", '["8", 9]'), {"numbers": [7, 8, 9]}),
        ({"numbers": [7]}, ("add", "numbers", "8"), {"numbers": [7, 8]}),
        ({}, ("add", "team", '{"name": "A", "age": "1"}'), {"team": [{"name": "A", "age": 1}]}),
        ({}, ("add", "team", [{"name": "A", "age": "1"}]), {"team": [{"name": "A", "age": 1}]}),
        ({"p": {"l": ["a"]}}, ("add", "p.l", [None, "b"]), {"p": {"l": ["a", "b"]}}),
        ({}, ("update", "p. tone ", " short "), {"p": {"tone": "short"}}),
        ({"numbers": [7, 8]}, ("remove", "numbers", "7"), {"numbers": [8]}),
        ({"numbers": [7, 8]}, ("remove", "numbers", [7, 8]), {"numbers": []}),
        ({"either": "a"}, ("add", "either", "b"), {"either": ["a", "b"]}),
        ({"either": "a"}, ("update", "either", "b"), {"either": "b"}),
        ({"level": "some"}, ("update", "level", "none"), {"level": "none"}),
        ({}, ("update", "boss.age", "40"), {"boss": {"age": 40}}),
        ({"name": "Ben"}, ("remove", "name", " ben."), {}),
        ({"name": "Ben"}, ("remove", "name", ""), {}),
        ({"name": "Ben"}, ("remove", "name", ["Ben"]), {}),
        ({"p": {"n": 7}}, ("remove", "p.n", "7"), {"p": {}}),
        ({"p": {"a": 1, "b": 2}}, ("remove", "p", "a"), {"p": {"b": 2}}),
        ({"p": {"a": 1, "b": 2, "c": 3}}, ("remove", "p", ["a", "c"]), {"p": {"b": 2}}),
        ({"p": {"a": "x", "b": 2}}, ("remove", "p", {"a": "X"}), {"p": {"b": 2}}),
        ({"p": {"l": DOGS}}, ("remove", "p.l", {"name": "rex"}), {"p": {"l": DOGS[1:]}}),
        ({"p": {"l": DOGS}}, ("remove", "p.l", "Max"), {"p": {"l": DOGS[:1]}}),
        ({"p": {"l": ["a"]}}, ("remove", "p.l"), {"p": {}}),
    ],
    ids=str,
)
def test_a_change_gives_the_expected_document(before, change, after):
    assert changed(Open, before, change) == after


@pytest.mark.parametrize(
    ("before", "change", "reason"),
    [
        ({"name": "Ben"}, ("remove", "name", "Max"), "It is not 'Max'"),
        ({"p": {"d": "vegetarian"}}, ("remove", "p.d", "vegan"), "It is not 'vegan'"),
        ({"p": {"n": 7}}, ("remove", "p.n", True), "It is not True"),
        ({}, ("remove", "name"), "nothing is known under name"),
        ({"p": {"l": ["a"]}}, ("remove", "p.l", "b"), "is not in it"),
        ({"p": {"l": ["a"]}}, ("remove", "p.l", ""), "is not in it"),
        ({"p": {"l": DOGS}}, ("remove", "p.l", {"kind": "dog"}), "several such elements"),
        ({"p": {"a": "x", "b": "y"}}, ("remove", "p", {"a": "x", "b": "z"}), "It is not 'z'"),
        ({"p": {"a": 1}}, ("remove", "p", "b"), "is not in it"),
        ({"p": {"l": ["a"]}}, ("update", "p.l", "b"), "holds a list"),
        ({"p": {"l": ["a"]}}, ("update", "p.l", []), "holds a list"),
        ({"p": {"l": ["a"]}}, ("update", "p.l", {"x": 1}), "holds a list"),
        ({"p": {"a": {"x": 1, "y": 2}}}, ("update", "p.a", {"x": 2}), "Give y too"),
        ({"p": {"a": {"x": 1}}}, ("update", "p.a", "text"), "holds an object"),
        ({"p": {"a": {"x": 1}}}, ("add", "p.a", {"x": 2}), "other values"),
        ({"p": {"a": "text"}}, ("update", "p.a.b", 1), "p.a holds 'text'"),
        ({"p": {"l": [{"x": 1}]}}, ("update", "p.l[0].x", 1), "p.l holds"),
        ({"p": {"a": 1}}, ("update", "p", {"a": None}), "no value"),
        ({"p": {"a": 1}}, ("update", "p", {}), "no value"),
        ({"name": "Ben"}, ("update", "name", None), "no value"),
        ({"name": "Ben"}, ("add", "name"), "no value"),
        ({"boss": {"name": "A", "age": 1}}, ("update", "boss", {"name": "B"}), "age is missing"),
        ({"boss": {"name": "A", "age": 1}}, ("update", "boss", {"name": "B", "age": "unknown"}), "placeholder"),
        ({"boss": {"name": "A", "age": 1}}, ("remove", "boss.age"), "age is missing"),
        ({"team": []}, ("add", "team", {"name": "A"}), "age is missing"),
    ],
    ids=str,
)
def test_a_change_that_cannot_be_made_is_refused(before, change, reason):
    (refused,) = changed(Open, before, change)
    assert reason in refused


def test_a_refused_change_leaves_the_others():
    fields = Fields(ALICE, {"fields": {"p": {"a": "x"}}})
    operations = [
        Operation("update", (), START, timed=True, reason="ended", path=path, value=value)
        for path, value in ((("name",), "Ben"), (("numbers",), ["many"]), (("p",), {"a": "N/A"}), (("p", "b"), 1))
    ]
    done = change_fields(operations, Schema(Open), fields, ALICE)
    assert (done.fields.document, [*done.refused]) == ({"p": {"a": "x", "b": 1}, "name": "Ben"}, [1, 2])


class Card(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["card"]
    number: str


class Bank(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["bank"]
    iban: str


class Pays(BaseModel):
    tagged: Annotated[Card | Bank, Field(discriminator="kind")] | None = None
    plain: Card | Bank | None = None


PAYS: dict[str, Any] = {
    "type": "object",
    "properties": {
        name: {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/Card"}, {"$ref": "#/$defs/Bank"}]}
        for name in ("tagged", "plain")
    },
    "$defs": {
        name: {
            "type": "object",
            "properties": {"kind": {"const": kind}, field: {"type": "string"}},
            "required": ["kind", field],
            "additionalProperties": False,
        }
        for name, kind, field in (("Card", "card", "number"), ("Bank", "bank", "iban"))
    },
}


@pytest.mark.parametrize("schema", [Pays, PAYS], ids=["pydantic", "json-schema"])
@pytest.mark.parametrize("field", ["tagged", "plain"])
def test_fields_of_a_union_change_together_in_any_order(schema, field):
    card = {field: {"kind": "card", "number": "1"}}
    switch = [("remove", f"{field}.number"), ("update", f"{field}.iban", "2"), ("update", f"{field}.kind", "bank")]
    for order in (switch, switch[::-1], [switch[1], switch[2], switch[0]]):
        assert changed(schema, card, *order) == {field: {"kind": "bank", "iban": "2"}}
    for incomplete in (switch[:1], switch[1:2], switch[2:]):
        assert isinstance(changed(schema, card, *incomplete), list)
    for part in (("update", f"{field}.number", "1"), ("update", f"{field}.kind", "card")):
        assert isinstance(changed(schema, {}, part), dict)
        assert Schema(schema).build(ALICE, changed(schema, {}, part), [], [], None) in (Pays(), {})


class Kind(Enum):
    ONE = "one"


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    user_id: UUID
    born: date | None = None
    days: set[date] = Field(default_factory=set)
    groups: dict[str, frozenset[UUID]] = Field(default_factory=dict)
    amount: Decimal | None = None
    kind: Kind | None = None
    span: timedelta | None = None
    pair: tuple[int, str] | None = None


def test_strict_models_have_dates_sets_and_ids(sqlite_memory: AgentMemory):
    changes = [
        ("update", "born", "2000-01-02"),
        ("add", "days", "2020-01-02"),
        ("add", "days", ["2020-01-02", "2019-01-01"]),
        ("add", "groups.a", ID),
        ("update", "amount", "1.50"),
        ("update", "kind", "one"),
        ("update", "span", "P1D"),
        ("update", "pair", [7, "x"]),
    ]
    document = changed(Strict, {}, *changes, user_id=ID)
    profile = Schema(Strict).build(ID, document, [], [], None)
    assert profile == Strict(
        user_id=UUID(ID),
        born=date(2000, 1, 2),
        days={date(2020, 1, 2), date(2019, 1, 1)},
        groups={"a": frozenset({UUID(ID)})},
        amount=Decimal("1.50"),
        kind=Kind.ONE,
        span=timedelta(days=1),
        pair=(7, "x"),
    )
    sqlite_memory.profiles.save(profile)
    assert sqlite_memory.profiles.get(ID, schema=Strict) == profile


class Aliased(UserProfile):
    model_config = ConfigDict(alias_generator=to_camel)
    home_town: str | None = None
    zip_code: str | None = Field(default=None, validation_alias="zip", serialization_alias="ZIP")
    shown_as: str | None = Field(default=None, serialization_alias="label")
    either: str | None = Field(default=None, validation_alias=AliasChoices("first", "second"))
    boss: Person | None = None


def test_all_names_of_a_field_mean_the_same_field(sqlite_memory: AgentMemory):
    for names in (("homeTown", "zip", "shown_as", "first"), ("home_town", "ZIP", "label", "second")):
        before = {"homeTown": "a", "zip": "a"}
        document = changed(Aliased, before, *(("update", name, "x") for name in names))
        built = Schema(Aliased).build(ALICE, document, [], [], None)
        assert isinstance(built, Aliased)
        assert (built.home_town, built.zip_code, built.shown_as, built.either) == ("x", "x", "x", "x")
        sqlite_memory.profiles.save(Aliased.model_validate({**document, "userId": ALICE}))
        saved = sqlite_memory.profiles.get(ALICE, schema=Aliased)
        assert saved is not None
        assert saved.last_interaction is not None
        assert saved.model_dump() == {**built.model_dump(), "last_interaction": saved.last_interaction}
        saved.zip_code = "y"
        sqlite_memory.profiles.save(saved)
        again = sqlite_memory.profiles.get(ALICE, schema=Aliased)
        assert again is not None
        assert (again.zip_code, again.home_town) == ("y", "x")


class Numbered(BaseModel):
    user_id: int = Field(alias="userId")
    city: str | None = None


def test_a_schema_may_hold_the_user_id_in_its_own_type(sqlite_memory: AgentMemory):
    profiles = sqlite_memory.profiles
    profiles.save(Numbered(userId=42, city="Oslo"))
    assert profiles.get("42", schema=Numbered) == Numbered(userId=42, city="Oslo")
    assert changed(Numbered, {}, ("update", "userId", 43), user_id="42") == [
        "There is no field 'userId' in the schema Numbered. Its fields: city."
    ]
    node = sqlite_memory.profile_node(ScriptedChatModel([answer()]), Numbered)
    for call, *arguments in ((profiles.get, "alice"), (node.invoke, [human("Hello")], config("alice"))):
        options = {"schema": Numbered} if call == profiles.get else {}
        with pytest.raises(InvalidInputError, match="does not fit the schema Numbered"):
            call(*arguments, **options)


def test_a_preference_must_fit_the_schema(sqlite_memory: AgentMemory):
    class Customer(UserProfile):
        preferences: dict[str, int] = Field(default_factory=dict)

    with pytest.raises(InvalidInputError, match="would not fit the schema Customer"):
        sqlite_memory.profiles.update_preference(ALICE, "size", "large", schema=Customer)
    assert sqlite_memory.profiles.get(ALICE, schema=Customer) == Customer(user_id=ALICE)


def test_a_text_that_looks_like_json_is_saved_as_it_is(sqlite_memory: AgentMemory):
    preferences = {"a": "[1]", "b": "true", "c": "N/A"}
    sqlite_memory.profiles.save(UserProfile(user_id=ALICE, preferences=preferences))
    assert sqlite_memory.profiles.get(ALICE).preferences == preferences


PLACEHOLDERS = """n/a; NULL; None.; --; ???; …; [Not Specified]; (none); 'N/A'; NaN; _; Not-Provided; to_be_determined; unbekannt; Keine Angabe;
inconnu; non renseigné; desconocido; não informado; sconosciuto; onbekend; okänd; nieznany; neznámý; неизвестно; άγνωστο; bilinmiyor; غير معروف;
לא ידוע; अज्ञात; 未知; 不明; 없음"""
OTHERS = """Nora; Nan; C++; 0; no; Noah; Anna N.; Likes None; Has no pets; Cat is missing; The user is unknown; Lives in <b>Athens</b>;
Uses [brackets]; Age: 30; Is not available on Mondays; 😀"""


@pytest.mark.parametrize("text", PLACEHOLDERS.replace("\n", " ").split("; "), ids=ascii)
def test_placeholders_are_recognised(text):
    assert is_placeholder(text)
    assert states_nothing(text)
    assert states_nothing(f"Name: {text}")


@pytest.mark.parametrize("text", OTHERS.replace("\n", " ").split("; "), ids=ascii)
def test_other_texts_are_no_placeholders(text):
    assert not is_placeholder(text)
    assert not states_nothing(text)


class Located(UserProfile):
    city: str | None = Field(default=None, validation_alias=AliasChoices("city", AliasPath("address", "city")))


def test_a_path_may_be_another_name_of_a_field(sqlite_memory):
    sqlite_memory.profiles.save(Located.model_validate({"user_id": ALICE, "address": {"city": "Oslo"}}))
    profile = sqlite_memory.profiles.get(ALICE, schema=Located)
    assert profile.city == "Oslo"
    profile.city = "Bergen"
    sqlite_memory.profiles.save(profile)
    assert sqlite_memory.profiles.get(ALICE, schema=Located).city == "Bergen"


@pytest.mark.parametrize(
    ("annotation", "info", "match"),
    [
        (SecretStr, {}, "code of the schema Odd is a SecretStr"),
        (list[SecretBytes] | None, {"default": None}, "code of the schema Odd is a SecretBytes"),
        (dict[str, Annotated[Secret[date], "hidden"]], {"default": {}}, r"code of the schema Odd is a Secret\."),
        (str | None, {"default": None, "validation_alias": AliasPath("a", "code")}, r'AliasChoices\("code"'),
        (str, {"validation_alias": AliasChoices(AliasPath("a", 0), AliasPath("b", 0))}, r'AliasChoices\("code"'),
    ],
)
def test_fields_that_a_profile_cannot_hold_are_refused(sqlite_memory, annotation, info, match):
    odd = create_model("Odd", user_id=(str, ...), code=(annotation, Field(**info)))
    for schema in (odd, create_model("Outer", user_id=(str, ...), inner=(list[odd] | None, None))):
        profile = schema.model_construct(user_id=ALICE)
        for use in (
            lambda schema=schema: sqlite_memory.profile_node(ScriptedChatModel(), schema),
            lambda schema=schema: sqlite_memory.profiles.get(ALICE, schema=schema),
            lambda profile=profile: sqlite_memory.profiles.save(profile),
        ):
            with pytest.raises(InvalidInputError, match=match):
                use()
    assert sqlite_memory.store.search((), limit=10) == []
