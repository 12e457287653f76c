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


@pytest.mark.parametrize(("value", "hours"), [("7200", 2), ("PT2H", 2), ("P30D", 720)])
def test_the_ttl_is_seconds_or_a_duration(monkeypatch, value, hours):
    monkeypatch.setenv("AGENTMEM_TTL", value)
    monkeypatch.setenv("AGENTMEM_URL", "sqlite:///:memory:")
    with AgentMemory.from_settings() as memory:
        assert memory.store.ttl_config == {"default_ttl": hours * 60}


def test_a_wrong_value_is_not_shown(monkeypatch):
    monkeypatch.setenv("AGENTMEM_TTL", "hunter2secret")
    with pytest.raises(ConfigurationError) as raised:
        AgentMemory.from_settings()
    assert "hunter2secret" not in str(raised.value)
