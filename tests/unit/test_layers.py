"""Imports that import-linter's layers (pyproject.toml) do not cover: drivers, optional packages, circles between modules."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import langchain_agentmem

ROOT = Path(langchain_agentmem.__file__).parent
PACKAGE = ROOT.name
DRIVERS = {"sqlite3", "psycopg", "psycopg_pool", "redis"}
OPTIONAL = DRIVERS | {
    "cryptography",
    "fastapi",
    "langchain",
    "limits",
    "mcp",
    "mcp_types",
    "networkx",
    "pandas",
    "pgvector",
    "starlette",
    "uvicorn",
}
OPTIONAL_AT_TOP = {
    "backends.sqlite.driver": {"sqlite3"},
    "backends.sqlite.failures": {"sqlite3"},
    "backends.postgres.conninfo": {"psycopg"},
    "backends.postgres.driver": {"psycopg", "psycopg_pool"},
    "backends.postgres.failures": {"psycopg", "psycopg_pool"},
    "backends.postgres.pipelines": {"psycopg"},
    "backends.postgres.sources": {"psycopg"},
    "backends.postgres.transactions": {"psycopg"},
    "backends.redis.connectors": {"redis"},
    "backends.redis.damage": {"redis"},
    "backends.redis.dispatcher": {"redis"},
    "backends.redis.driver": {"redis"},
    "backends.redis.exchange": {"redis"},
    "backends.redis.failures": {"redis"},
    "backends.redis.inspection": {"redis"},
    "backends.redis.servers": {"redis"},
    "agents.middleware": {"langchain"},
    "compression.middleware": {"langchain"},
    "compression.model_calls": {"langchain"},
}
"""The modules that are loaded only when the package that they need is."""

READERS = {f"lifecycle.importers.{name}" for name in ("postgres", "redis_history", "stores", "threads")}
"""Modules that read databases of other packages, and import the driver when they do."""


class Import(NamedTuple):
    module: str
    """The importing module, without the package's name."""
    target: str
    """The full name of the imported module."""
    typing_only: bool
    at_top: bool


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts).removesuffix(".__init__"), path


MODULES = dict(modules())


def imports_of(module: str, path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = [*ast.walk(tree)]
    for_types = {
        id(inner)
        for node in nodes
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    at_top = {*map(id, tree.body)}
    for node in nodes:
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            assert node.module is not None
            # `from package.folder import module` imports the module
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            names = [one if one.removeprefix(f"{PACKAGE}.") in MODULES else node.module for one in sorted(whole)]
        for name in names:
            yield Import(module, name, id(node) in for_types, id(node) in at_top)


@pytest.fixture(scope="module")
def imports() -> list[Import]:
    """All imports of the package."""
    return [found for module, path in MODULES.items() for found in imports_of(module, path)]


def test_imports_are_found_at_the_top_for_types_and_inside_functions(imports):
    assert Import("store.engine", f"{PACKAGE}.backends.contract", False, True) in imports
    assert Import("backends", f"{PACKAGE}.backends.sqlite", False, False) in imports
    assert Import("backends.sqlite.driver", "sqlite3", False, True) in imports
    assert any(found.typing_only for found in imports)


def test_no_circle_of_imports(imports):
    below: dict[str, set[str]] = {module: set() for module in MODULES}
    for found in imports:
        target = found.target.removeprefix(f"{PACKAGE}.")
        if found.at_top and target in MODULES and found.module != target:
            below[found.module].add(target)
    left = dict(below)
    while free := [module for module, needs in left.items() if not needs & left.keys()]:
        for module in free:
            del left[module]
    assert left == {}


def test_optional_packages_are_imported_at_the_top_only_where_they_are_loaded_on_demand(imports):
    at_top: dict[str, set[str]] = {}
    for found in imports:
        package = found.target.partition(".")[0]
        if found.at_top and package in OPTIONAL:
            at_top.setdefault(found.module, set()).add(package)
    # `create_app` loads the HTTP API, and `create_mcp` the MCP server
    at_top = {name: packages for name, packages in at_top.items() if not name.startswith("serving.")}
    assert at_top == OPTIONAL_AT_TOP


def test_only_drivers_import_database_drivers(imports):
    users = {found.module for found in imports if found.target.partition(".")[0] in DRIVERS and not found.typing_only}
    assert users <= OPTIONAL_AT_TOP.keys() | READERS


@pytest.mark.parametrize("backend", ["sqlite", "postgres", "redis"])
def test_only_the_package_of_backends_imports_a_concrete_backend(imports, backend):
    users = {found.module for found in imports if found.target.startswith(f"{PACKAGE}.backends.{backend}")}
    assert {user for user in users if not user.startswith(f"backends.{backend}")} == {"backends"}


def test_no_module_imports_the_package_as_a_whole(imports):
    assert [found.module for found in imports if found.target == PACKAGE] == []
