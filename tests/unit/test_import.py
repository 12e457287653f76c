"""`from langchain_agentmem import AgentMemory` loads no driver, no extra, and nothing heavy that its base classes do not load anyway."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from patience import PATIENCE

import langchain_agentmem

HEAVY = (
    "sqlite3",
    "psycopg",
    "psycopg_pool",
    "redis",
    "fastapi",
    "langchain",
    "rich",
    "numpy",
    "tiktoken",
    "pydantic_settings",
)
BASE = (
    "langchain_core.chat_history, langchain_core.embeddings, langchain_core.messages, langchain_core.prompt_values, "
    "langchain_core.runnables, "
    "langgraph.cache.base, langgraph.checkpoint.base, langgraph.checkpoint.serde.encrypted, langgraph.store.base"
)
"""What the package's public classes derive from or speak of."""
REPORT = "; import json, sys; print(json.dumps(sorted(sys.modules)))"


def modules_after(statement: str) -> set[str]:
    """The modules that a new Python has loaded after a statement."""
    done = subprocess.run(
        [sys.executable, "-c", statement + REPORT], capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    return set(json.loads(done.stdout))


@pytest.fixture(scope="module")
def base() -> set[str]:
    return modules_after(f"import {BASE}")


@pytest.fixture(scope="module")
def ours() -> set[str]:
    return modules_after("from langchain_agentmem import AgentMemory")


@pytest.mark.parametrize("module", HEAVY)
def test_importing_the_package_does_not_import(module, base, ours):
    loaded = {name for name in ours - base if name.partition(".")[0] == module}
    assert loaded == set()


LIGHT = {"langchain_agentmem", "cachetools"}
"""Modules that the package may load: its own, and small ones without dependencies."""


def test_importing_the_package_imports_nothing_heavy(base, ours):
    foreign = {name.partition(".")[0] for name in ours - base} - set(sys.stdlib_module_names) - LIGHT
    assert foreign == set()


def test_importing_the_package_imports_no_backend_and_no_command(ours):
    for layer in ("backends.sqlite", "command", "settings", "testing"):
        assert not {name for name in ours if name.startswith(f"langchain_agentmem.{layer}")}


def test_making_a_memory_imports_its_driver_and_no_other():
    loaded = modules_after("import langchain_agentmem as m; m.AgentMemory.from_url('sqlite:///:memory:').close()")
    assert "sqlite3" in loaded
    assert not loaded & {"psycopg", "redis", "fastapi"}


def test_all_public_names_are_there_and_those_of_later_modules_do_not_load_them_before():
    statement = "import langchain_agentmem as m; [getattr(m, name) for name in m.__all__]"
    assert "langchain_agentmem.knowledge.entities.changes" in modules_after(statement)
    assert "langchain_agentmem.knowledge.entities.changes" not in modules_after(
        "from langchain_agentmem import AgentMemory"
    )
    with pytest.raises(AttributeError, match="no attribute 'Entities2'"):
        _ = langchain_agentmem.Entities2


def test_the_package_alone_imports_its_errors_only_and_a_surface_imports_no_other_one():
    loaded = {name for name in modules_after("import langchain_agentmem") if name.startswith("langchain_agentmem")}
    assert loaded == {"langchain_agentmem", "langchain_agentmem.errors"}
    loaded = modules_after("from langchain_agentmem import AgentMemSaver")
    assert not loaded & {
        "langchain_agentmem.store.face",
        "langchain_agentmem.history.face",
        "langchain_agentmem.memory",
    }
