"""Each snippet of `docs/from-guides.md` has at most as many lines of code as the snippet that it translates."""

from __future__ import annotations

import ast
import inspect
import re
from functools import reduce
from pathlib import Path

import pytest
from dotenv import dotenv_values

from langchain_agentmem import AgentMemory
from langchain_agentmem.settings import AgentMemSettings, settings_of_environment

TEXT = (Path(__file__).parents[2] / "docs" / "from-guides.md").read_text(encoding="utf-8")

LINES = {
    "Store messages automatically": 2,  # A: Automatic Message Storage
    "Read messages with agent, user, time and metadata": 10,  # A: Message History Structure, in SQL
    "Keep sessions apart": 1,  # A: Session Management
    "Read the conversation history": 1,  # B: get_conversation_history(workflow_id, limit)
    "Add a memory variable": 6,  # A: Custom Variables, add_custom_memory
    "Get, list, delete and clear variables": 5,  # A: Memory Operations, five signatures
    "Remember preferences, goals and facts": 19,  # A: Advanced Memory Usage
    "Find variables": 9,  # A: Memory Variables Storage, in SQL
    "Save and retrieve": 17,  # B: Basic Usage, without the constructor
    "Choose short-term or long-term": 2,  # B: Use Appropriate Memory Types
    "Save and retrieve in an agent": 7,  # B: Integration with BaseAgent, without the constructor of the memory
    "Fill a prompt from memory": 9,  # A: Template Syntax
    "Quote the recent context": 10,  # A: Recent Context Generation
    "Quote what is relevant to a message": 11,  # A: Smart Context Selection
    "Make parts of a prompt conditional": 14,  # A: Conditional Templates
    "Format lists and a conversation summary": 18,  # A: Template Functions
    "Limit and cache what a prompt reads": 11,  # A: Performance Optimization
    "Start a session with context": 14,  # A: Session Initialization
    "Run a session with cleanup": 16,  # B: Session Context, without the constructor
    "Isolate a workflow": 2,  # B: Always Use Sessions for Workflows
    "Use everything in a session": 7,  # B: SessionContext, seven signatures
    "Clear a session": 1,  # B: clear_session(workflow_id)
    "Keep execution records": 9,  # B: Track Important Executions
    "Search by meaning": 5,  # B: Use Semantic Search for Insights
    "Configure with environment variables": 11,  # B: Configuration, .env
    "Read the settings": 2,  # B: Configuration, get_settings
    "Validate and sanitise content": 7,  # A: Security Considerations
    "Monitor memory usage": 4,  # B: Monitor Memory Usage
    "Clean up old sessions": 3,  # A: Memory Cleanup
    "Test the memory": 24,  # A: Memory Tests, two tests
}
"""Lines of each original, without blank lines, comments, imports, docstrings and the heads of classes and functions."""

WITHOUT_SNIPPET = {"Use built-in variables", "Share knowledge among agents", "Forget a user", "Serve the HTTP API"}
"""Capabilities that the originals describe in words or by commands only, or do not have."""

CODE = "\n".join(re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))

SECTIONS = dict(re.findall(r"^### (.+?)\n(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL))


def blocks(section: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", SECTIONS[section], re.MULTILINE | re.DOTALL)


def lines_of_code(code: str) -> list[str]:
    return [line for line in code.splitlines() if line.strip() and not line.strip().startswith("#")]


@pytest.mark.parametrize("section", LINES)
def test_a_translation_takes_no_more_lines_than_the_original(section: str) -> None:
    (code,) = blocks(section, "python") + blocks(section, "env")
    lines = lines_of_code(code)
    assert 0 < len(lines) <= LINES[section]
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("section", LINES)
def test_a_translation_saves_no_line_by_two_statements_on_one(section: str) -> None:
    for code in blocks(section, "python"):
        starts = [node.lineno for node in ast.walk(ast.parse(code)) if isinstance(node, ast.stmt)]
        assert len(starts) == len(set(starts))


def test_each_section_is_counted_and_in_the_table() -> None:
    assert set(SECTIONS) == set(LINES) | WITHOUT_SNIPPET
    linked = re.findall(r"\]\(#([^)]+)\)", TEXT.partition("\n## ")[0])
    anchors = {re.sub(r"[^\w -]", "", name.lower()).replace(" ", "-") for name in SECTIONS}
    assert set(linked) == anchors


@pytest.mark.parametrize("backend", ["postgres", "redis"])
def test_the_translations_run_on_each_server(
    backend: str, postgres_database: str, redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "sqlite:///agentmem.db" in CODE
    url = {"postgres": postgres_database, "redis": redis_url}[backend]
    exec(compile(CODE.replace("sqlite:///agentmem.db", url), "from-guides.md", "exec"), {})
    assert not list(tmp_path.glob("*.db"))


def test_each_method_that_the_page_calls_has_an_async_twin() -> None:
    creating = {
        "memory.history",
        "memory.session",
        "memory.prompt",
        "memory.middleware",
    }  # they do not ask the database
    memory = AgentMemory.from_url("sqlite:///:memory:")
    called = set(re.findall(r"(?<![\w.])memory(?:\.\w+)+(?=\()", CODE)) - creating
    assert len(called) > 10
    for name in called:
        *path, method = name.split(".")[1:]
        owner = reduce(getattr, path, memory)
        assert inspect.iscoroutinefunction(getattr(owner, f"a{method}")), name
        given, twin = (inspect.signature(getattr(owner, one)).parameters for one in (method, f"a{method}"))
        assert list(given) == list(twin), name
    memory.close()


def test_the_environment_of_the_document_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = blocks("Configure with environment variables", "env")
    (tmp_path / ".env").write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    settings = settings_of_environment()
    names = {name.removeprefix("AGENTMEM_").lower() for name in dotenv_values(tmp_path / ".env")}
    assert settings.model_fields_set == names
    assert all(getattr(settings, name) != AgentMemSettings.model_fields[name].default for name in names)
