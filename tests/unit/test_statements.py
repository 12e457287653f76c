"""Named SQL statements and their fragments."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from langchain_agentmem.backends.postgres.statements import statements
from langchain_agentmem.backends.statements import load_statements

TABLES = {"schema.sql", "migrations.sql"}
"""The files that create tables; all others contain statements."""

MIGRATIONS = "postgres.migrations"
NEWEST = sorted(
    one.name for one in files(f"langchain_agentmem.backends.{MIGRATIONS}").iterdir() if one.name.startswith("4_")
)
FILES = [
    *(
        (backend, one.name)
        for backend in ("sqlite", "postgres")
        for one in sorted(files(f"langchain_agentmem.backends.{backend}").iterdir(), key=lambda one: one.name)
        if one.name.endswith(".sql") and one.name not in TABLES
    ),
    *((MIGRATIONS, name) for name in ("fragments.sql", *NEWEST)),
]


@pytest.mark.parametrize(("backend", "file"), FILES)
def test_each_statement_is_described(backend, file):
    found = load_statements(f"langchain_agentmem.backends.{backend}", file)
    assert found
    assert [name for name, text in found.items() if not text.startswith("-- ")] == []


def test_a_fragment_is_expanded_with_the_alias_of_its_table():
    found = load_statements("langchain_agentmem.backends.sqlite", "history.sql")
    assert "(expires_at IS NULL OR expires_at > :now)" in found["count"]
    places = load_statements("langchain_agentmem.backends.postgres", "store.sql")
    assert any("(item.expires_at IS NULL OR item.expires_at > " in text for text in places.values())


def test_statements_of_postgres_have_the_schema_of_the_tables_and_no_comment():
    for name in [file for backend, file in FILES if backend == "postgres" and file != "fragments.sql"]:
        for text in statements(name, 'my "schema"').values():
            assert not text.startswith("--")
            # The condition of a filter is inserted into a listing of items.
            assert "{" not in text.replace("'{}'", "").replace("{condition}", "")
    assert '"my ""schema""".agentmem_sessions' in statements("history.sql", 'my "schema"')["count"]
    assert " agentmem_sessions " in statements("history.sql", None)["count"]


@pytest.mark.parametrize(("backend", "file"), [one for one in FILES if one[1] != "fragments.sql"])
def test_the_rule_for_living_rows_is_written_once(backend, file):
    text = files(f"langchain_agentmem.backends.{backend}").joinpath(file).read_text(encoding="utf-8")
    assert "expires_at IS NULL OR" not in text


@pytest.mark.parametrize("file", [name for backend, name in FILES if backend == "sqlite"])
def test_sqlites_parameters_have_no_numbers(file):
    """Python 3.12 takes `?1` for the name of a parameter."""
    for text in load_statements("langchain_agentmem.backends.sqlite", file).values():
        assert not re.search(r"\?[0-9]", text)
