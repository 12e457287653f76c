"""The documentation site: every page is in the navigation, every public name in the reference, and llms.txt is fresh."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import langchain_agentmem

ROOT = Path(__file__).parents[2]
REFERENCE = sorted((ROOT / "docs" / "reference").glob("*.md"))
IDENTIFIERS = [
    name for page in REFERENCE for name in re.findall(r"^::: ([\w.]+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
]
DESCRIBED = dict(
    re.findall(r"^    (\w+): (.+?)(?=\n    \w+: |\n\n|\Z)", str(langchain_agentmem.__doc__), re.MULTILINE | re.DOTALL)
)
SURFACES = (
    "cache",
    "checkpointer",
    "entities",
    "knowledge",
    "memories",
    "profiles",
    "read_cache",
    "records",
    "sessions",
)


@pytest.fixture(scope="module")
def website() -> ModuleType:
    spec = importlib.util.spec_from_file_location("website", ROOT / "docs" / "website.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def named(identifier: str) -> Any:
    """The object that a line `::: identifier` of the reference names."""
    module, _, name = identifier.rpartition(".")
    return getattr(importlib.import_module(module), name)


def methods_of(kind: type) -> Iterator[str]:
    """The public methods of a class that this package defines, also in its base classes."""
    for name in dir(kind):
        owner = next((base for base in kind.__mro__ if name in vars(base)), object)
        if not name.startswith(("_", "test_")) and owner.__module__.startswith("langchain_agentmem"):
            member = inspect.getattr_static(kind, name)
            function = getattr(member, "__func__", member)
            if inspect.isfunction(function) and function.__module__.startswith("langchain_agentmem"):
                yield name


def test_the_navigation_has_every_page_once(website: ModuleType) -> None:
    pages = [page for _, page in website.pages_of(website.navigation())]
    documents = [page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")]
    notebooks = [f"notebooks/{file.stem}.md" for file in (ROOT / "notebooks").glob("*.ipynb")]
    expected = [*documents, *notebooks, *website.MOVED.values()]
    assert sorted(pages) == sorted(expected), "add new pages to `nav` in zensical.toml"
    assert all(website.source_of(page).exists() for page in pages)


def test_the_navigation_has_four_parts(website: ModuleType) -> None:
    parts = [title for title, target in website.navigation().items() if not isinstance(target, str)]
    assert parts == ["Tutorial", "How-to", "Reference", "Explanations"]


def test_the_index_for_language_models_is_fresh(website: ModuleType) -> None:
    assert website.LLMS.read_text(encoding="utf-8") == website.llms(), "run `python docs/website.py llms`"


def test_the_reference_has_every_public_name_once() -> None:
    public = {f"langchain_agentmem.{name}" for name in langchain_agentmem.__all__}
    assert len(IDENTIFIERS) == len(set(IDENTIFIERS))
    assert {one for one in IDENTIFIERS if one.count(".") == 1} == public


def test_type_checkers_and_the_site_find_each_public_name() -> None:
    tree = ast.parse(Path(str(langchain_agentmem.__file__)).read_text(encoding="utf-8"))
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for name in node.names}
    assert set(langchain_agentmem.__all__) <= imported


def test_the_reference_has_what_hangs_on_a_memory() -> None:
    with langchain_agentmem.AgentMemory("sqlite:///:memory:") as memory:
        kinds = {type(getattr(memory, name)) for name in (*SURFACES, "store", "variables")}
        kinds |= {type(memory.middleware()), type(memory.session("trip")), type(memory.history("trip"))}
    assert kinds <= {named(identifier) for identifier in IDENTIFIERS if inspect.isclass(named(identifier))}


@pytest.mark.parametrize("page", REFERENCE, ids=lambda page: page.name)
def test_the_table_of_a_page_lists_its_names_as_the_package_describes_them(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", text, re.MULTILINE))
    assert list(rows) == [name.split(".")[-1] for name in re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE)]
    for name, description in rows.items():
        if name in langchain_agentmem.__all__:
            assert description == " ".join(DESCRIBED[name].split())


def test_the_links_of_a_page_lead_to_pages_of_the_site(website: ModuleType) -> None:
    text = "[changes](../CHANGELOG.md#unreleased) `[0](x)` [web](https://example.com) [agents](agents.md)\n"
    linked = website.linked(text, ROOT / "docs" / "design.md")
    assert linked.startswith("[changes](changelog.md#unreleased)")
    assert "[web](https://example.com) [agents](agents.md)" in linked
    home = website.linked("[agents](docs/agents.md) [start](notebooks/01_quickstart.ipynb)", ROOT / "README.md")
    assert home == "[agents](agents.md) [start](notebooks/01_quickstart.md)"
    code = "```python\nprint(found[0](1))\n```"
    assert website.linked(code, ROOT / "README.md") == code


@pytest.mark.site
def test_the_built_site_has_every_public_method_and_its_async_twin() -> None:
    python = os.environ.get("AGENTMEM_TEST_SITE_PYTHON", sys.executable)
    built = subprocess.run([python, ROOT / "docs" / "website.py", "build"], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    inventory = (ROOT / "build" / "site" / "objects.inv").read_bytes().split(b"\n", 4)[4]
    shown = {line.split(" ")[0] for line in zlib.decompress(inventory).decode().splitlines()}
    twins = 0
    for identifier in IDENTIFIERS:
        assert identifier in shown
        kind = named(identifier)
        if inspect.isclass(kind):
            methods = set(methods_of(kind))
            missing = {f"{identifier}.{name}" for name in methods} - shown
            assert not missing
            twins += sum(f"a{name}" in methods for name in methods)
    assert twins > 100
    assert {f"langchain_agentmem.AgentMemory.{name}" for name in (*SURFACES, "store", "variables")} <= shown
    site = ROOT / "build" / "site"
    index = (site / "llms.txt").read_text(encoding="utf-8")
    assert index == (ROOT / "docs" / "llms.txt").read_text(encoding="utf-8")
    links = re.findall(r"^- \[.+\]\(([^)]+)\): \S", index, re.MULTILINE)
    assert len(links) == index.count("\n- ")
    assert not [link for link in links if not (site / link).is_file()]
