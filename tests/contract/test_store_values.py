"""The store's values: anything that JSON knows comes back equal, anything else is refused with the place where it is."""

from __future__ import annotations

import uuid
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

import pytest
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage
from langgraph.store.base import PutOp

from langchain_agentmem import AgentMemStore, InvalidInputError, UnsupportedValueError

NS = ("values",)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=15)
plain = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**60), 10**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text
)
json = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4), max_leaves=15
)


def exactly(value: Any) -> str:
    """What tells a value from all others: 1 from 1.0 and from True, but not the order of keys, which Postgres drops."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {exactly(value[key])}' for key in sorted(value))}}}"
    return f"[{', '.join(map(exactly, value))}]" if isinstance(value, list) else repr(value)


@pytest.fixture
def store(memory) -> AgentMemStore:
    return memory.store


@settings(deadline=None, max_examples=examples(80), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.dictionaries(text, json, max_size=5))
async def test_any_json_value_comes_back_equal(store, call, value):
    key = str(uuid.uuid4())
    await call(store.put, NS, key, value)
    restored = (await call(store.get, NS, key)).value
    assert restored == value
    assert exactly(restored) == exactly(value)
    assert type(restored) is dict
    found = await call(store.search, NS, limit=1)
    assert (found[0].key, found[0].value) == (key, value)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"": ""},
        {"nul": "a\x00b", "\x00": 1},
        {"ü€😀": "𝔘\u202e\ufeff"},
        {"text": "x" * 10_000_000},
        {"text": "word " * 100_000},
        {"n": 2**63, "m": -(2**64), "big": 10**1000},
        {"zero": -0.0, "tiny": 5e-324, "huge": 1.7976931348623157e308, "third": 1 / 3},
        {"one": 1, "one_float": 1.0, "true": True, "none": None},
        {"list": [[], {}, [[]], [None]]},
        {"'": '"', "\\": "\\\\", "\n": "\r\n\t"},
        {"$gt": 3, "a.b": 1, "*": 2, "%": 3},
        {f"key {n}": n for n in range(5000)},
        {"template": "{{name}} {name} %s", "sql": "'; DROP TABLE agentmem_items; --"},
    ],
    ids=lambda value: ascii(value)[:40],
)
async def test_a_value_comes_back_as_it_was(store, call, value):
    await call(store.put, NS, "k", value)
    restored = (await call(store.get, NS, "k")).value
    assert restored == value
    assert exactly(restored) == exactly(value)


async def test_what_was_given_or_read_can_be_changed_without_changing_what_is_stored(store, call):
    value = {"tags": ["a"]}
    await call(store.put, NS, "k", value)
    value["tags"].append("b")
    (await call(store.get, NS, "k")).value["tags"].append("c")
    (await call(store.search, NS))[0].value["tags"].append("d")
    assert (await call(store.get, NS, "k")).value == {"tags": ["a"]}


async def test_tuples_come_back_as_lists_and_mappings_as_dicts(store, call):
    await call(store.put, NS, "k", OrderedDict(a=(1, (2,)), b=MappingProxyType({"c": ()})))
    assert (await call(store.get, NS, "k")).value == {"a": [1, [2]], "b": {"c": []}}


@dataclass
class Point:
    x: int = 1


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"a": {1, 2}}, r"value\['a'\] is of type set"),
        ({"a": [{"b": b"x"}]}, r"value\['a'\]\[0\]\['b'\] is of type bytes"),
        ({"at": datetime(2026, 11, 5)}, r"value\['at'\] is of type datetime.*isoformat"),
        ({"p": Point()}, r"value\['p'\] is of type Point"),
        ({"m": HumanMessage("a")}, r"value\['m'\] is of type HumanMessage"),
        ({"f": float("nan")}, r"value\['f'\] is nan"),
        ({"f": [float("inf")]}, r"value\['f'\]\[0\] is inf"),
        ({1: "a"}, r"value has the key 1"),
        ({"a": {(1,): 2}}, r"value\['a'\] has the key \(1,\)"),
        (["a"], "must be a mapping such as a dict, got list"),
        ("a", "must be a mapping such as a dict, got str"),
        (7, "must be a mapping such as a dict, got int"),
    ],
    ids=ascii,
)
async def test_what_json_does_not_know_is_refused_with_its_place_and_nothing_is_written(store, call, value, where):
    await call(store.put, NS, "k", {"n": 1})
    with pytest.raises(UnsupportedValueError, match=where):
        await call(store.put, NS, "k", value)
    with pytest.raises(UnsupportedValueError, match=where):
        await call(store.batch, [PutOp(NS, "k", {"n": 2}), PutOp(NS, "other", value)])
    assert [(item.key, item.value) for item in await call(store.search, NS)] == [("k", {"n": 1})]


@pytest.mark.parametrize("value", [{"a": "\ud800"}, {"\udfff": 1}, {"a": [{"b": "x\ud83d"}]}], ids=ascii)
async def test_half_of_a_surrogate_pair_is_refused_and_nothing_is_written(store, call, value):
    with pytest.raises(InvalidInputError, match="surrogate"):
        await call(store.put, NS, "k", value)
    assert await call(store.search, ()) == []


@pytest.mark.parametrize("wrap", [lambda inner: {"a": inner}, lambda inner: [inner]], ids=["mappings", "lists"])
async def test_a_value_may_be_nested_200_levels_and_not_deeper(store, call, wrap):
    value: Any = 1
    for _ in range(199):
        value = wrap(value)
    await call(store.put, NS, "deep", {"v": value})
    restored: Any = (await call(store.get, NS, "deep")).value
    assert restored == {"v": value}
    assert len(await call(store.search, NS, query="v", filter={"v": value})) == 1
    for more in (1, 5, 2000, 100_000):
        deeper = value
        for _ in range(more):
            deeper = wrap(deeper)
        with pytest.raises(InvalidInputError, match="nested deeper than 200 levels"):
            await call(store.put, NS, "deeper", {"v": deeper})
    assert await call(store.get, NS, "deeper") is None


async def test_a_value_that_holds_itself_is_refused(store, call):
    value: dict[str, Any] = {}
    value["self"] = value
    with pytest.raises(InvalidInputError, match="nested deeper"):
        await call(store.put, NS, "k", value)


async def test_an_integer_that_is_too_long_to_be_written_as_text_is_refused_with_our_own_error(store, call):
    with pytest.raises((InvalidInputError, UnsupportedValueError)):
        await call(store.put, NS, "k", {"n": 10**5000})
    assert await call(store.search, ()) == []
