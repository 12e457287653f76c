"""The layers of the package: each module imports only from the layers below it, at any depth of its code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import langchain_agentmem

ROOT = Path(langchain_agentmem.__file__).parent
PACKAGE = ROOT.name

BACKENDS = ("sqlite", "postgres", "redis")

LAYERS = (
    (
        "errors",
        "locks",
        "urls",
        "backends.digests",
        "backends.namespaces",
        "backends.statements",
        "integrations",
        "knowledge",
        "lifecycle",
        "compression",
    ),  # the last four: empty packages
    (
        "approximating",
        "backends.existing",
        "blocks",
        "chains",
        "damage",
        "models",
        "nesting",
        "options",
        "quoting",
        "settings",
        "sizes",
        "signals",
        "testing",
    ),
    ("malformed", "program", "roundtrips", "vectors", "words"),
    ("embedding", "tokens"),
    ("codec", "containment", "filters", "windows"),
    ("saver_arguments",),
    ("compact",),
    ("backends.contract",),
    ("backends",),
    (
        "backends.postgres.migrations",
        "backends.postgres.options",
        "backends.postgres.slots",
        "backends.postgres.statements",
    ),
    ("backends.postgres.leases", "backends.postgres.migrating"),
    ("backends.redis.pools", "backends.redis.scripts"),
    ("backends.redis.indexes", "backends.redis.routing", "backends.redis.rows"),
    ("backends.redis.connections",),
    ("backends.sqlite.forks", "backends.sqlite.line", "backends.sqlite.traces"),
    ("backends.sqlite.tables",),
    tuple(f"backends.{name}.{part}" for name in BACKENDS for part in ("driver", "history", "store", "checkpoints")),
    tuple(f"backends.{name}.backend" for name in BACKENDS),
    tuple(f"backends.{name}" for name in BACKENDS),
    ("ranking", "drafts", "notes", "pruning", "surfaces", "sweeping"),
    ("indexing",),
    ("batches",),
    ("bursts", "loading", "searching", "storable", "updating"),
    ("items",),
    ("history", "store", "checkpointer"),
    ("compression.atoms", "compression.extracting", "compression.showing", "compression.summaries"),
    ("compression.budgets", "compression.summarizing"),
    ("compression.sources",),
    ("compression.sessions",),
    ("compression.places",),
    ("compression.views",),
    ("compression.folding",),
    ("compression.middleware",),
    ("compression.compressor",),
    ("knowledge.drawing", "knowledge.names", "knowledge.reading", "knowledge.spaces"),
    ("knowledge.entity_changes", "knowledge.graphs", "knowledge.memories", "knowledge.shared"),
    ("knowledge.entity_drafts",),
    ("knowledge.entity_views",),
    ("knowledge.facts", "knowledge.fields"),
    ("knowledge.changes", "knowledge.schema", "knowledge.proposals", "knowledge.seen"),
    ("knowledge.operations", "knowledge.prompts", "knowledge.speakers", "knowledge.storing"),
    ("knowledge.entity_learning",),
    ("knowledge.extraction", "knowledge.profiles"),
    ("knowledge.schedule",),
    ("knowledge.recall", "knowledge.extractor"),
    ("knowledge.*",),
    ("prompting.*",),
    ("lifecycle.*",),
    ("memory",),
    ("integrations.*",),
    ("__init__", "__main__"),
)
"""From the lowest to the highest; a module of `integrations` may import others of it."""

DRIVERS = {"sqlite3", "psycopg", "psycopg_pool", "redis"}
OPTIONAL = DRIVERS | {"fastapi", "langchain", "langchain_postgres", "networkx", "pgvector", "uvicorn"}


class Import(NamedTuple):
    module: str
    """Who imports, without the package's name."""
    target: str
    """The full name of what is imported."""
    typing_only: bool
    at_top: bool

    @property
    def own(self) -> str | None:
        """What is imported of this package, without its name."""
        return self.target.removeprefix(f"{PACKAGE}.") if self.target.startswith(f"{PACKAGE}.") else None


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(ROOT.rglob("*.py")):
        parts = list(path.relative_to(ROOT).with_suffix("").parts)
        yield ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts), path


MODULES = dict(modules())


def imports_of(module: str, path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            assert node.module is not None
            # `from package.folder import module` imports the module
            names = [
                whole
                if (whole := f"{node.module}.{alias.name}").removeprefix(f"{PACKAGE}.") in MODULES
                else node.module
                for alias in node.names
            ]
        for name in names:
            yield Import(module, name, id(node) in for_types, node in tree.body)


IMPORTS = [found for module, path in MODULES.items() for found in imports_of(module, path)]


def layer(module: str) -> int:
    for name in (module, f"{module.partition('.')[0]}.*"):
        for at, names in enumerate(LAYERS):
            if name in names:
                return at
    pytest.fail(f"{module} is in no layer: add it to LAYERS, above all that it imports")


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_the_layers_below(module):
    allowed_up = {*(("backends", f"backends.{name}") for name in BACKENDS), ("memory", "settings")}
    wrong = [
        found.own
        for found in IMPORTS
        if found.module == module and found.own is not None and not found.typing_only
        if (module, found.own) not in allowed_up
        and layer(found.own) >= layer(module)
        and not (module.startswith("integrations.") and found.own.startswith("integrations."))
    ]
    assert wrong == []


def test_imports_are_found_at_the_top_for_types_and_inside_functions():
    assert Import("checkpointer", f"{PACKAGE}.backends.contract", False, True) in IMPORTS
    assert Import("program", f"{PACKAGE}.backends.contract", True, False) in IMPORTS
    assert Import("backends", f"{PACKAGE}.backends.sqlite", False, False) in IMPORTS
    assert Import("backends.sqlite.driver", "sqlite3", False, True) in IMPORTS


def test_no_circle_of_imports():
    below = {
        module: {found.own for found in IMPORTS if found.module == module and found.own and found.at_top}
        for module in MODULES
    }
    left = dict(below)
    while free := [module for module, needs in left.items() if not needs & left.keys()]:
        for module in free:
            del left[module]
    assert left == {}


def test_only_drivers_import_database_drivers():
    assert {found.module for found in IMPORTS if found.target.partition(".")[0] in DRIVERS} <= {
        "backends.redis.connections",
        *(module for module in MODULES if module.startswith("backends.") and module.endswith(".driver")),
    }


def test_optional_packages_are_imported_where_they_are_needed_and_not_before():
    at_top = {(one.module, one.target) for one in IMPORTS if one.at_top and one.target.partition(".")[0] in OPTIONAL}
    middlewares = {(f"{layer}.middleware", "langchain") for layer in ("compression", "knowledge")}
    drivers = {"sqlite": {"sqlite3"}, "postgres": {"psycopg", "psycopg_pool"}, "redis": {"redis"}}
    assert {(one, target.partition(".")[0]) for one, target in at_top} == {
        (f"backends.{name}.driver", package) for name, packages in drivers.items() for package in packages
    } | {("backends.redis.connections", "redis")} | middlewares


def test_concrete_backends_are_imported_by_the_package_of_backends_alone():
    users = {
        found.module
        for found in IMPORTS
        if found.own
        and found.own.startswith("backends.")
        and found.own.split(".")[1] not in ("contract", "digests", "statements")
    }
    assert {user for user in users if not user.startswith("backends.")} == {"backends"}


@pytest.mark.parametrize("surface", ["history", "store", "checkpointer"])
def test_a_surface_imports_neither_the_memory_nor_another_surface(surface):
    above = {"memory", "history", "store", "checkpointer"} - {surface}
    assert {found.own for found in IMPORTS if found.module == surface} & above == set()


def test_nothing_but_the_command_line_imports_integrations():
    users = {found.module for found in IMPORTS if found.own and found.own.startswith("integrations")}
    assert {user for user in users if not user.startswith("integrations.")} <= {"__main__"}


def test_what_backends_offer_is_known_without_any_backend():
    contract = [found.own for found in IMPORTS if found.module == "backends.contract" and found.own]
    assert set(contract) == {"codec", "compact", "program"}


def test_no_module_imports_the_package_as_a_whole():
    assert [found.module for found in IMPORTS if found.target == PACKAGE] == []
