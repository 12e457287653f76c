"""The filters of a store search."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_agentmem import AgentMemError, InvalidInputError, InvalidTypeError
from langchain_agentmem.store.filters import compile_filter

VALUE: dict[str, Any] = {
    "color": "red",
    "size": 10,
    "weight": 2.5,
    "sold": False,
    "nothing": None,
    "tags": ["a", "b", 3],
    "shape": {"corners": 4, "name": {"short": "sq"}},
    "with.dot": "literal",
    "text": "10",
    "empty": "",
    "zero": 0,
}


@pytest.mark.parametrize(
    ("condition", "passes"),
    [
        (None, True),
        ({}, True),
        # equality
        ({"color": "red"}, True),
        ({"color": "blue"}, False),
        ({"color": "red", "size": 10}, True),
        ({"color": "red", "size": 11}, False),
        ({"size": 10.0}, True),
        ({"size": "10"}, False),
        ({"text": 10}, False),
        ({"sold": False}, True),
        ({"sold": 0}, False),
        ({"zero": 0}, True),
        ({"zero": False}, False),
        ({"zero": {"$eq": False}}, False),
        ({"nothing": None}, True),
        ({"missing": None}, True),
        ({"color": None}, False),
        ({"tags": ["a", "b", 3]}, True),
        ({"tags": ("a", "b", 3)}, True),
        ({"tags": ["a", "b"]}, False),
        ({"tags": ["b", "a", 3]}, False),
        ({"tags": "a"}, False),
        # nested mappings and dotted paths
        ({"shape": {"corners": 4}}, True),
        ({"shape": {"corners": 5}}, False),
        ({"shape": {"corners": 4, "name": {"short": "sq"}}}, True),
        ({"shape": {"name": {"short": {"$ne": "sq"}}}}, False),
        ({"shape": {}}, True),
        ({"color": {}}, False),
        ({"color": {"corners": 4}}, False),
        ({"shape.corners": 4}, True),
        ({"shape.name.short": "sq"}, True),
        ({"shape.name": {"short": "sq"}}, True),
        ({"shape": {"name.short": "sq"}}, True),
        ({"shape.corners": {"$gt": 3}}, True),
        ({"shape.missing": 4}, False),
        ({"color.corners": 4}, False),
        ({"with.dot": "literal"}, True),
        ({"tags.0": "a"}, False),
        # comparisons
        ({"size": {"$eq": 10}}, True),
        ({"size": {"$ne": 10}}, False),
        ({"size": {"$ne": 11}}, True),
        ({"missing": {"$ne": 10}}, True),
        ({"size": {"$gt": 9}}, True),
        ({"size": {"$gt": 10}}, False),
        ({"size": {"$gte": 10}}, True),
        ({"size": {"$gte": 10.5}}, False),
        ({"size": {"$lt": 100}}, True),
        ({"size": {"$lt": 10}}, False),
        ({"size": {"$lte": 10}}, True),
        ({"size": {"$lte": 9.99}}, False),
        ({"size": {"$gt": 4.99, "$lt": 10.01}}, True),
        ({"size": {"$gt": 4, "$lt": 6}}, False),
        ({"weight": {"$gt": 2}}, True),
        ({"color": {"$gt": "r"}}, True),
        ({"color": {"$lt": "r"}}, False),
        ({"text": {"$gt": 9}}, False),
        ({"text": {"$lt": 9}}, False),
        ({"size": {"$gt": "9"}}, False),
        ({"sold": {"$lt": 1}}, False),
        ({"size": {"$gt": True}}, False),
        ({"nothing": {"$lt": 1}}, False),
        ({"missing": {"$gt": 0}}, False),
        ({"missing": {"$lt": 0}}, False),
        ({"tags": {"$gt": ["a"]}}, False),
        # membership
        ({"size": {"$in": [9, 10]}}, True),
        ({"size": {"$in": ["10"]}}, False),
        ({"size": {"$in": []}}, False),
        ({"color": {"$in": ("red", "blue")}}, True),
        ({"color": {"$in": {"red"}}}, True),
        ({"sold": {"$in": [0]}}, False),
        ({"missing": {"$in": [1, 2]}}, False),
        ({"size": {"$nin": [9, 10]}}, False),
        ({"size": {"$nin": [9]}}, True),
        ({"size": {"$nin": []}}, True),
        ({"missing": {"$nin": [1]}}, True),
        ({"shape.corners": {"$in": [4]}}, True),
        # existence
        ({"color": {"$exists": True}}, True),
        ({"color": {"$exists": False}}, False),
        ({"nothing": {"$exists": True}}, True),
        ({"empty": {"$exists": True}}, True),
        ({"missing": {"$exists": True}}, False),
        ({"missing": {"$exists": False}}, True),
        ({"shape.corners": {"$exists": True}}, True),
        ({"shape.sides": {"$exists": False}}, True),
        # containment
        ({"tags": {"$contains": "a"}}, True),
        ({"tags": {"$contains": 3}}, True),
        ({"tags": {"$contains": "3"}}, False),
        ({"tags": {"$contains": True}}, False),
        ({"color": {"$contains": "ed"}}, True),
        ({"color": {"$contains": "ED"}}, False),
        ({"color": {"$contains": 1}}, False),
        ({"shape": {"$contains": "corners"}}, True),
        ({"shape": {"$contains": "sides"}}, False),
        ({"size": {"$contains": 1}}, False),
        ({"missing": {"$contains": "a"}}, False),
    ],
    ids=repr,
)
def test_a_filter_passes_what_it_describes(condition, passes):
    assert compile_filter(condition)(VALUE) is passes


@settings(deadline=None)
@given(value=st.integers() | st.floats(allow_nan=False), bound=st.integers() | st.floats(allow_nan=False))
def test_numbers_compare_as_numbers(value, bound):
    for operator, expected in (
        ("$gt", value > bound),
        ("$gte", value >= bound),
        ("$lt", value < bound),
        ("$lte", value <= bound),
        ("$eq", value == bound),
        ("$ne", value != bound),
    ):
        assert compile_filter({"n": {operator: bound}})({"n": value}) is expected


@pytest.mark.parametrize("size", [1, 9, 10, 11, 99, 100, 1000])
def test_numbers_do_not_compare_as_text(size):
    assert compile_filter({"size": {"$gt": 9}})({"size": size}) is (size > 9)


UNKNOWN = [
    {"size": {"$near": 3}},
    {"size": {"$GT": 3}},
    {"size": {"$": 3}},
    {"$or": [{"a": 1}]},
    {"shape": {"corners": {"$foo": 1}}},
    {"shape.corners": {"$foo": 1}},
    {"size": {"$gt": 3, "$foo": 4}},
]


@pytest.mark.parametrize("condition", UNKNOWN, ids=repr)
def test_an_operator_that_is_not_known_is_refused_and_the_known_ones_are_named(condition):
    with pytest.raises(InvalidInputError, match=r"Unsupported operator '\$.*\$contains"):
        compile_filter(condition)
    with pytest.raises(ValueError, match="Unsupported operator"):
        compile_filter(condition)


@pytest.mark.parametrize(
    "condition",
    [
        {"size": {"$gt": 3, "unit": "cm"}},
        {"size": {"unit": "cm", "$gt": 3}},
        {"tags": [{"$foo": 1}, "b", 3]},
        {"tags": [{"a": {"$foo": 1}}, "b", 3]},
        {"$gt": 3},
        {"$eq": {"color": "red"}},
        {"$exists": True},
        {"color": "\ud83d"},
        {"\ud83d": 1},
        {"color": {"$in": {"\ud83d"}}},
        {"shape": {"$ne": {"name": ["\ud83d"]}}},
    ],
    ids=ascii,
)
def test_what_cannot_be_meant_is_refused_when_the_filter_is_made(condition):
    with pytest.raises(AgentMemError):
        compile_filter(condition)


@pytest.mark.parametrize(
    "condition",
    [
        "color",
        ["color"],
        7,
        {1: "a"},
        {"shape": {1: "a"}},
        {"size": {"$in": "abc"}},
        {"size": {"$in": 3}},
        {"size": {"$nin": None}},
        {"size": {"$in": {"a": 1}}},
        {"size": {"$exists": 1}},
        {"size": {"$exists": "yes"}},
    ],
    ids=repr,
)
def test_a_filter_of_the_wrong_type_is_refused(condition):
    with pytest.raises(InvalidTypeError):
        compile_filter(condition)


@pytest.mark.parametrize(
    "missing", [{"x": {"$ne": None}}, {"x": {"$nin": [None]}}, {"x": {"$eq": None}}, {"x": {"$in": [None]}}], ids=repr
)
def test_what_is_missing_is_like_none_for_equality(missing):
    assert compile_filter(missing)({}) is compile_filter(missing)({"x": None})


def test_a_number_is_not_equal_to_a_boolean_at_any_depth():
    for wanted, value in (([1], [True]), ({"a": 1}, {"a": True}), ([{"a": 0}], [{"a": False}])):
        assert not compile_filter({"x": wanted})({"x": value})
        assert not compile_filter({"x": {"$eq": wanted}})({"x": value})
        assert not compile_filter({"x": {"$in": [wanted]}})({"x": value})
        assert not compile_filter({"x": {"$contains": wanted}})({"x": [value]})


def test_nothing_in_a_filter_is_a_pattern():
    for pattern in ("r.*", "r%", "r*", "_ed", re.compile("red")):
        assert not compile_filter({"color": pattern})(VALUE)


def test_the_filter_and_the_value_are_not_changed():
    condition: dict[str, Any] = {"size": {"$in": [10]}, "shape": {"corners": {"$gt": 3}}}
    value = {"size": 10, "shape": {"corners": 4}}
    assert compile_filter(condition)(value)
    assert condition == {"size": {"$in": [10]}, "shape": {"corners": {"$gt": 3}}}
    assert value == {"size": 10, "shape": {"corners": 4}}
