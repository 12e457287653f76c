"""Messages and values to bytes and back."""

from __future__ import annotations

import json
import pickle
from types import MappingProxyType
from typing import Any

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from langchain_agentmem import DamagedDataError, InvalidInputError, UnsupportedValueError
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.json_values import dump_json, load_json
from langchain_agentmem.encoding.limits import MAX_JSON_DEPTH
from langchain_agentmem.encoding.references import REFERENCE_BYTES, Typed, reference

KEY = b"0123456789abcdef0123456789abcdef"
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text
values = st.dictionaries(
    text,
    st.recursive(
        plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4), max_leaves=15
    ),
    max_size=5,
)


def encrypting(key: bytes = KEY) -> Codec:
    return Codec(EncryptedSerializer.from_pycryptodome_aes(key=key))


class PlainSerializer:
    """A serializer of the application's own."""

    def dumps_typed(self, value: Any) -> tuple[str, bytes]:
        return "own", pickle.dumps(value)[::-1]

    def loads_typed(self, typed: tuple[str, bytes]) -> Any:
        assert typed[0] == "own"
        return pickle.loads(typed[1][::-1])


codecs = pytest.mark.parametrize(
    "make", [Codec, encrypting, lambda: Codec(PlainSerializer())], ids=["plain", "key", "own"]
)


@codecs
@pytest.mark.parametrize(
    "message",
    [
        HumanMessage("ü\x00", id="1", extra={"a": [1, 2**70]}),
        AIMessage([{"type": "text", "text": "a"}], tool_calls=[{"name": "f", "args": {"a": None}, "id": "1"}]),
        ToolMessage("r", tool_call_id="1", artifact=(1, {2}, b"3")),
    ],
)
def test_a_message_comes_back_equal(make, message):
    codec = make()
    restored = codec.load_message(codec.dump_message(message))
    assert restored == message
    assert type(restored) is type(message)


@codecs
@pytest.mark.parametrize("value", [None, 1, "a\x00", [1, [2, 3]], {"a": b"x"}, HumanMessage("a"), {1: {2}}], ids=repr)
def test_a_value_comes_back_equal(make, value):
    codec = make()
    restored = codec.load(codec.store(value, codec.identify(value)))
    assert restored == value
    assert type(restored) is type(value)


@codecs
def test_a_document_comes_back_equal(make):
    codec = make()
    document = {"a": {"b": [1, None, "ü\x00", (1, 2)]}, "big": 2**70}
    assert codec.load_document(codec.dump_document(document)) == document


@pytest.mark.parametrize(
    "make", [encrypting, lambda: Codec(EncryptedSerializer.from_pycryptodome_aes(serde=PlainSerializer(), key=KEY))]
)
def test_under_a_key_nothing_is_stored_in_plain_text(make):
    codec = make()
    assert codec.secret
    for typed in (
        codec.dump_message(HumanMessage("a secret word", id="secret-id")),
        codec.store("a secret word"),
        codec.store(["a secret word"]),
        codec.dump_document({"secret": "a secret word"}),
    ):
        assert b"secret" not in typed.data
    first, second = codec.store("a secret word"), codec.store("a secret word")
    assert first.data != second.data


def test_under_a_key_what_is_not_encrypted_is_refused():
    forged = Codec().dump_message(HumanMessage("trust me"))
    with pytest.raises(DamagedDataError, match="not encrypted although a key is in use"):
        encrypting().load_message(forged)
    with pytest.raises(DamagedDataError):
        encrypting().load_document(Codec().dump_document({"a": 1}))


def test_under_a_key_altered_data_and_another_key_are_refused():
    codec = encrypting()
    typed = codec.dump_message(HumanMessage("a"))
    for position in range(0, len(typed.data), 7):
        altered = bytearray(typed.data)
        altered[position] ^= 1
        with pytest.raises(DamagedDataError):
            codec.load_message((typed.type, bytes(altered)))
    with pytest.raises(DamagedDataError):
        encrypting(KEY[::-1]).load_message(typed)
    with pytest.raises(DamagedDataError):
        Codec().load_message(typed)


def message_bytes() -> Typed:
    return Codec().dump_message(HumanMessage("some text that is long enough"))


@pytest.mark.parametrize(
    "typed",
    [
        ("message:HumanMessage", b""),
        ("message:HumanMessage", message_bytes().data[:-3]),
        ("message:HumanMessage", b"\x80"),
        ("message:HumanMessage", b"\x90"),
        ("message:HumanMessage", b"\xc1"),
        ("message:Unknown", message_bytes().data),
        ("message:", message_bytes().data),
        ("", b""),
        ("unknown", b"a"),
        ("null", b""),
        ("msgpack", b"\x01"),
        ("msgpack", b"\xc1"),
        ("json", b"{}"),
        ("json", b"{"),
    ],
    ids=repr,
)
def test_damaged_messages_are_reported(typed):
    with pytest.raises(DamagedDataError):
        Codec().load_message(typed)


def test_damaged_documents_are_reported():
    typed = Codec().dump_document({"a": 1})
    for damaged in (typed.data[:-4], b"", b"y" + typed.data[1:], b"\x00" * 20):
        with pytest.raises(DamagedDataError):
            Codec().load_document((typed.type, damaged))


class Exploding:
    exploded = False

    def __reduce__(self) -> Any:
        return (explode, ())


def explode() -> Exploding:
    Exploding.exploded = True
    return Exploding()


def test_a_forged_row_is_never_executed():
    forged = pickle.dumps(Exploding())
    constructor = {"lc": 2, "type": "constructor", "id": ["os", "getcwd"], "method": [None], "args": [], "kwargs": {}}
    for typed in (("pickle", forged), ("message:HumanMessage", forged), ("json", json.dumps(constructor).encode())):
        with pytest.raises(DamagedDataError):
            Codec().load_message(typed)
    assert not Exploding.exploded


def test_an_unusual_value_must_come_back_equal_unless_its_serializer_allows_its_type():
    message = ToolMessage("r", tool_call_id="1", artifact=Exploding)
    with pytest.raises(UnsupportedValueError):
        Codec().dump_message(message)
    with pytest.raises(UnsupportedValueError):
        encrypting().dump_message(message)


def test_the_identity_of_equal_values_is_equal_and_of_others_is_not():
    codec = Codec()
    different: list[Any] = [
        None,
        0,
        1,
        1.5,
        "a",
        "b",
        b"a",
        [1],
        [1.0],
        {"a": 1},
        {"a": 2},
        HumanMessage("a"),
        AIMessage("a"),
    ]
    references = [reference(codec.identify(value)) for value in different]
    assert references == [reference(Codec().identify(value)) for value in different]
    assert len(set(references)) == len(different)
    assert all(len(one) == REFERENCE_BYTES for one in references)
    message = HumanMessage("a")
    before = reference(codec.identify(message))
    message.additional_kwargs["k"] = 1
    assert reference(codec.identify(message)) != before


def test_a_reference_under_a_key_shows_nothing_without_it():
    identity = Codec().identify("a")
    assert reference(identity, b"k") == reference(identity, b"k")
    assert len({reference(identity), reference(identity, b"k"), reference(identity, b"l")}) == 3


def test_only_langchains_own_message_classes_are_messages():
    class Note(HumanMessage):
        pass

    for message in (Note("a"), BaseMessage(content="a", type="x"), "a", {"role": "user"}):
        with pytest.raises(UnsupportedValueError, match="own message classes"):
            Codec().dump_message(message)


def test_an_allowed_type_comes_back_with_the_applications_own_serializer():
    class Plain(JsonPlusSerializer):
        pass

    codec = Codec(Plain())
    message = HumanMessage("a", additional_kwargs={"k": [1]})
    assert codec.load_message(codec.dump_message(message)) == message


# JSON


@settings(deadline=None, max_examples=examples(200))
@given(values)
def test_any_json_value_comes_back_equal(value):
    stored = dump_json(value)
    assert load_json(stored) == value
    assert repr(load_json(stored)) == repr(value)
    assert json.loads(stored) == value


def test_tuples_come_back_as_lists_and_mappings_as_dicts():
    value = {"a": (1, (2,)), "b": MappingProxyType({"c": ()})}
    assert load_json(dump_json(value)) == {"a": [1, [2]], "b": {"c": []}}


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"a": {1, 2}}, r"value\['a'\] is of type set"),
        ({"a": [0, {"b": b"x"}]}, r"value\['a'\]\[1\]\['b'\] is of type bytes"),
        ({"a": object()}, r"value\['a'\] is of type object"),
        ({1: "a"}, r"value has the key 1: keys must be strings, got int"),
        ({"a": {None: 1}}, r"value\['a'\] has the key None"),
        ({"a": float("nan")}, r"value\['a'\] is nan"),
        ({"a": [float("-inf")]}, r"value\['a'\]\[0\] is -inf"),
        ({"a": HumanMessage("x")}, r"value\['a'\] is of type HumanMessage"),
        (["a"], "must be a mapping"),
        ("a", "must be a mapping"),
        (None, "must be a mapping"),
    ],
    ids=lambda one: repr(one).partition(" at 0x")[0],
)
def test_what_json_does_not_know_is_refused_with_the_place_where_it_is(value, where):
    with pytest.raises(UnsupportedValueError, match=where):
        dump_json(value)


@pytest.mark.parametrize("value", [{"a": "\ud800"}, {"\udfff": 1}, {"a": [{"b": "x\ud83d"}]}], ids=ascii)
def test_half_of_a_surrogate_pair_is_refused(value):
    with pytest.raises(InvalidInputError, match="surrogate"):
        dump_json(value)


def test_values_nest_to_the_limit_and_not_deeper():
    for make in (lambda inner: {"a": inner}, lambda inner: [inner]):
        value: Any = {}
        for _ in range(MAX_JSON_DEPTH - 2):
            value = make(value)
        assert load_json(dump_json({"v": value})) == {"v": value}
        for _ in range(3):
            value = make(value)
        with pytest.raises(InvalidInputError, match=f"nested deeper than {MAX_JSON_DEPTH} levels"):
            dump_json({"v": value})
    for _ in range(100_000):
        value = [value]
    with pytest.raises(InvalidInputError, match="nested deeper"):
        dump_json({"v": value})


def test_a_value_that_holds_itself_is_refused():
    value: dict[str, Any] = {}
    value["self"] = value
    with pytest.raises(InvalidInputError, match="nested deeper"):
        dump_json(value)


@pytest.mark.parametrize("digits", [100, 4300, 5000])
def test_an_integer_comes_back_equal_or_is_refused(digits):
    value = {"n": 10**digits}
    try:
        stored = dump_json(value)
    except (UnsupportedValueError, InvalidInputError):
        return
    assert load_json(stored) == value


@pytest.mark.parametrize("stored", ["", "{", "[1]", "1", "null", '"a"'])
def test_a_damaged_value_is_reported(stored):
    with pytest.raises(DamagedDataError):
        load_json(stored)
