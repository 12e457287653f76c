"""Named SQL statements and their fragments."""

from __future__ import annotations

from importlib.resources import files

import pytest

from langchain_agentmem.backends.statements import load_statements

FILES = [("sqlite", name) for name in ("history.sql", "store.sql", "checkpoints.sql", "fragments.sql")]


@pytest.mark.parametrize(("backend", "file"), FILES)
def test_each_statement_is_described(backend, file):
    statements = load_statements(f"langchain_agentmem.backends.{backend}", file)
    assert statements
    assert [name for name, text in statements.items() if not text.startswith("-- ")] == []


def test_a_fragment_is_expanded_with_the_alias_of_its_table():
    statements = load_statements("langchain_agentmem.backends.sqlite", "history.sql")
    assert "(expires_at IS NULL OR expires_at > :now)" in statements["count"]
    assert "(session.expires_at IS NULL OR session.expires_at > :now)" in statements["index"]


@pytest.mark.parametrize("file", ["history.sql", "store.sql", "checkpoints.sql"])
def test_the_rule_for_living_rows_is_written_once(file):
    text = files("langchain_agentmem.backends.sqlite").joinpath(file).read_text(encoding="utf-8")
    assert "expires_at IS NULL OR" not in text
