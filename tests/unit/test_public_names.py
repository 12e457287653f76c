"""The public names, the version, and the representations of public objects."""

from __future__ import annotations

import dataclasses
import html
import importlib.metadata
import pydoc
import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import langchain_agentmem
from langchain_agentmem import AgentMemory, AgentMemSaver, Fact, Reindexed, ThreadInfo

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = langchain_agentmem.__all__
FUNCTIONS = ["new_key"]
CLASSES = [
    name for name in NAMES if name not in FUNCTIONS and not issubclass(getattr(langchain_agentmem, name), BaseException)
]
PUBLIC = {
    "prompt",
    "read_cache",
    "cleanup",
    "acleanup",
    "variables",
    *(
        "profiles",
        "entities",
        "memories",
        "knowledge",
        "store",
        "checkpointer",
        "cache",
        "sessions",
        "records",
        "backend",
        "tenant",
    ),
    *(
        "session",
        "history",
        "get_session_history",
        "history_factory_config",
        "session_history",
        "search_history",
        "asearch_history",
    ),
    *(
        "compressor",
        "summary",
        "asummary",
        "summaries",
        "asummaries",
        "tools",
        "file_retriever",
        "profile_node",
        "middleware",
    ),
    *("learn", "alearn", "recall", "arecall", "as_retriever"),
    *("reindex", "areindex", "sweep", "asweep", "stats", "astats", "setup", "asetup", "close", "aclose"),
    *("rotate_key", "arotate_key"),
    "for_tenant",
    *("export", "aexport", "import_from", "aimport_from", "copy_to", "acopy_to"),
    *("to_thread", "ato_thread", "from_thread", "afrom_thread"),
    *("users", "ausers", "forget", "aforget", "find_traces", "afind_traces"),
}


def test_the_version_is_that_of_the_distribution() -> None:
    assert langchain_agentmem.__version__ == importlib.metadata.version("langchain-agentmem")
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert langchain_agentmem.__version__ == project["version"]


def test_the_help_of_the_package_describes_every_public_name_in_one_line() -> None:
    described = re.findall(r"^    (\w+): (\S.*)$", langchain_agentmem.__doc__ or "", re.MULTILINE)
    assert sorted(name for name, _ in described) == sorted(NAMES)
    shown = pydoc.plain(pydoc.render_doc(langchain_agentmem))
    for name, line in described:
        assert f"{name}: {line}" in shown
    assert f"VERSION\n    {langchain_agentmem.__version__}" in shown


def test_dir_of_the_package_lists_the_public_names_only() -> None:
    assert {name for name in dir(langchain_agentmem) if not name.startswith("__")} == set(NAMES)


def test_dir_of_a_memory_lists_what_users_use_and_nothing_else() -> None:
    with AgentMemory.from_url("sqlite:///:memory:") as memory:
        assert set(dir(memory)) == PUBLIC
        assert all(hasattr(memory, name) for name in dir(memory))


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in CLASSES
        if name
        not in {
            "CleanupPolicy",
            "RecentContext",
            "ReadCache",
            "Retention",
            "TokenCounter",
            "Guard",
            "KnowledgeSource",
            "MissingClass",
        }
    ],
)
def test_a_notebook_shows_every_public_object_as_a_table(name: str) -> None:
    kind = getattr(langchain_agentmem, name)
    assert callable(kind._repr_html_)
    assert dataclasses.is_dataclass(kind) or issubclass(kind, (BaseModel, list)) or kind.__repr__ is not object.__repr__


@pytest.mark.parametrize(
    "shown",
    [
        Fact(text="Likes <b>tea</b>"),
        ThreadInfo("<b>1</b>", None, 1, NOW, NOW),
        Reindexed(items=3),
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_table_of_one_object_has_its_fields_escaped(shown: Any) -> None:
    table = shown._repr_html_()
    assert table.startswith("<table>")
    assert "<b>" not in table
    texts = [value for value in vars(shown).values() if isinstance(value, str) and "<" in value]
    assert all(html.escape(text) in table for text in texts)


def test_the_repr_of_a_memory_states_its_settings_and_whether_it_is_closed() -> None:
    memory = AgentMemory.from_url("sqlite:///:memory:", ttl=60, max_messages=9, tenant="app")
    assert repr(memory) == "AgentMemory(SqliteBackend(':memory:'), tenant='app', ttl=60.0, max_messages=9)"
    memory.close()
    assert repr(memory).startswith("AgentMemory(SqliteBackend(':memory:', closed), tenant='app'")
    assert "closed" in repr(memory.checkpointer)
    assert "closed" in repr(memory.store)


def test_the_table_of_a_memory_counts_what_is_stored() -> None:
    with AgentMemory.from_url("sqlite:///:memory:") as memory:
        memory.history("a", user_id="alice").add_user_message("hi")
        memory.history("b").add_user_message("hi")
        memory.store.put(("n",), "k", {"a": 1})
        table = memory._repr_html_()
    assert "<th>sessions</th><td>2</td>" in table
    assert "<th>namespaces</th><td>1</td>" in table
    assert "<th>threads</th><td>0</td>" in table


def test_a_memory_is_made_for_a_connection_string_and_set_up() -> None:
    with AgentMemory.from_conn_string(":memory:", pool_config=None, pipeline=True, tenant="app") as memory:
        memory.setup()
        assert (memory.tenant, memory.sessions.list()) == ("app", [])


def test_a_shared_constructor_names_the_class_in_its_errors() -> None:
    with pytest.raises(TypeError, match=r"AgentMemSaver\.from_conn_string has no argument 'colour'"):
        AgentMemSaver.from_conn_string(":memory:", colour="red")  # type: ignore[call-arg]


def test_a_module_that_moved_is_found_under_its_old_name_with_a_warning():
    with pytest.warns(DeprecationWarning, match="from langchain_agentmem import TokenCounter"):
        from langchain_agentmem.tokens import TokenCounter
    assert TokenCounter is langchain_agentmem.TokenCounter


def test_a_token_counter_says_how_it_counts():
    def characters(messages: Any) -> int:
        return len(messages)

    shown = repr(langchain_agentmem.TokenCounter.of(characters, tokens_per_image=7))
    assert "characters" in shown
    assert shown.endswith("tokens_per_image=7)")
    assert repr(langchain_agentmem.TokenCounter()) == "TokenCounter(by='approximate_tokens', tokens_per_image=1445)"
