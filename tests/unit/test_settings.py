"""Settings of the environment: a wrong value is named by its variable."""

from __future__ import annotations

import pytest

from langchain_agentmem import AgentMemory, ConfigurationError


@pytest.fixture(autouse=True)
def _no_file(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AGENTMEM_TTL", "abc"),
        ("AGENTMEM_TTL", ""),
        ("AGENTMEM_MAX_MESSAGES", "x"),
        ("AGENTMEM_URL", ""),
        ("AGENTMEM_TENANT", ""),
    ],
)
@pytest.mark.parametrize("where", ["environment", "file"])
def test_a_wrong_or_empty_value_is_named_by_its_variable(monkeypatch, tmp_path, name, value, where):
    if where == "environment":
        monkeypatch.setenv(name, value)
    else:
        (tmp_path / ".env").write_text(f"{name}={value}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=name):
        AgentMemory.from_settings()


def test_a_wrong_value_is_not_shown(monkeypatch):
    monkeypatch.setenv("AGENTMEM_TTL", "hunter2secret")
    with pytest.raises(ConfigurationError) as raised:
        AgentMemory.from_settings()
    assert "hunter2secret" not in str(raised.value)
