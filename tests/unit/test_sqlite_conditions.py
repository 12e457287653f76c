"""Filters as conditions of SQLite: no value that passes is left out, and an exact condition leaves out all others."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from langchain_agentmem.backends.sqlite.conditions import condition_of, field_expression
from langchain_agentmem.store.filters import compile_filter

TEXTS = st.sampled_from(["", "x", "y", "x\x00y", '["x"]', "1", "true", "null", "é", 'q"q', "\\", "\u2028"]) | st.text(
    max_size=3
)
NUMBERS = (
    st.integers(-3, 3)
    | st.sampled_from([0.1, 0.3, -0.0, 1.5, 1e22, 2**53, 2**53 + 1, 2**63, 10**30, 5e-324])
    | st.floats(allow_nan=False, allow_infinity=False)
)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.sampled_from(["kind", "a"]), SCALARS, max_size=2)
FIELDS = st.sampled_from(["kind", "a", "a b-c_1", "é", 'q"', "a.b"])
OPERATORS = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]), VALUES),
    st.tuples(st.sampled_from(["$in", "$nin"]), st.lists(SCALARS, max_size=3)),
    st.tuples(st.just("$exists"), st.booleans()),
    st.tuples(st.just("$contains"), SCALARS),
)
FILTERS = st.dictionaries(
    FIELDS, VALUES | st.lists(OPERATORS, min_size=1, max_size=2).map(dict), min_size=1, max_size=2
)


def stored(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@pytest.fixture(scope="module")
def database():
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE items (value TEXT)")
    yield connection
    connection.close()


@given(value=st.dictionaries(FIELDS, VALUES, max_size=4), filter_=FILTERS)
@example(value={"kind": "x\x00y", "a": {"kind": "x"}}, filter_={"kind": "x"})
@example(value={"kind": ["x"]}, filter_={"kind": '["x"]'})
@example(value={"kind": True}, filter_={"kind": 1})
@example(value={"kind": -0.0}, filter_={"kind": 0})
@example(value={"kind": 2**63}, filter_={"kind": {"$gt": 2**53}})
@example(value={}, filter_={"kind": {"$nin": ["x"]}})
@example(value={"kind": "x\x00y"}, filter_={"kind": {"$in": ["x\x00y"]}})
def test_a_condition_keeps_what_passes_and_an_exact_one_nothing_else(database, value, filter_):
    passes = compile_filter(filter_)(value)
    for indexed in [(), ("kind", "a", "a b-c_1")]:
        condition = condition_of(filter_, indexed)
        query = f"WITH items AS (SELECT :value AS value) SELECT 1 FROM items WHERE 1{condition.sql}"
        meets = bool(database.execute(query, {"value": stored(value), **condition.parameters}).fetchall())
        assert meets or not passes
        assert meets == passes or not condition.is_exact


def test_a_damaged_value_meets_every_condition(database):
    for filter_ in [{"kind": {"$gt": 3}}, {"kind": {"$exists": True}}, {"kind": {"$ne": "x"}}]:
        condition = condition_of(filter_, ["kind"])
        query = f"WITH items AS (SELECT :value AS value) SELECT 1 FROM items WHERE 1{condition.sql}"
        assert database.execute(query, {"value": '{"kind": ', **condition.parameters}).fetchall()


@pytest.mark.parametrize("filter_", [{"kind": "x"}, {"kind": {"$in": ["x", 3]}}, {"kind": True}, {"kind": 7}])
def test_sqlite_uses_the_index_of_a_field(database, filter_):
    database.execute(f"CREATE INDEX IF NOT EXISTS by_kind ON items ({field_expression('kind')})")
    condition = condition_of(filter_, ["kind"])
    plan = database.execute(f"EXPLAIN QUERY PLAN SELECT 1 FROM items WHERE 1{condition.sql}", condition.parameters)
    assert "by_kind" in str(plan.fetchall())
