"""Settings of the environment: a wrong value is named by its variable."""

from __future__ import annotations

from datetime import timedelta

import pytest

from langchain_agentmem import AgentMemory, CleanupPolicy, ConfigurationError, InvalidTypeError, ReadCache, Retention
from langchain_agentmem.settings import AgentMemSettings


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


@pytest.mark.parametrize("where", ["environment", "file"])
def test_a_name_in_lower_case_counts_too(monkeypatch, tmp_path, where):
    if where == "environment":
        monkeypatch.setenv("agentmem_max_messages", "7")
    else:
        (tmp_path / ".env").write_text("agentmem_max_messages=7\n", encoding="utf-8")
    monkeypatch.setenv("agentmem_url", "sqlite:///:memory:")
    with AgentMemory.from_settings() as memory:
        assert memory.history("s").max_messages == 7


def test_a_wrong_value_is_not_shown(monkeypatch):
    monkeypatch.setenv("AGENTMEM_TTL", "hunter2secret")
    with pytest.raises(ConfigurationError) as raised:
        AgentMemory.from_settings()
    assert "hunter2secret" not in str(raised.value)


ENVIRONMENT = {
    "AGENTMEM_URL": "sqlite:///other.db",
    "AGENTMEM_TENANT": "shop",
    "AGENTMEM_TTL": "60",
    "AGENTMEM_MAX_MESSAGES": "9",
    "AGENTMEM_MAX_TOKENS": "900",
    "AGENTMEM_RETENTION": "session",
    "AGENTMEM_READ_CACHE": '{"size": 5}',
    "AGENTMEM_SESSION_TIMEOUT": "PT10M",
    "AGENTMEM_TIMEOUT": "7.5",
    "AGENTMEM_POOL_SIZE": "3",
}


@pytest.mark.parametrize("create", [AgentMemory, AgentMemory.from_settings], ids=["constructor", "from_settings"])
def test_the_environment_describes_a_memory(monkeypatch, tmp_path, create):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with create() as memory:
        history = memory.history("s")
        history.add_user_message("hello")
        assert (tmp_path / "other.db").exists()
        assert repr(memory).endswith("tenant='shop', ttl=60.0, max_messages=9)")
        assert (history.max_messages, history.max_tokens, history.retention.policy) == (9, 900, "session")
        assert memory.history("s", max_tokens=5).max_tokens == 5
        assert memory.backend.driver._timeout == 7.5
        assert memory.read_cache.info().size == 5
        assert memory.session("s")._timeout == 600
        assert memory.session("s", timeout=None)._timeout is None
    with create(tenant="other", max_messages=3, retention=Retention(), session_timeout=3600) as memory:
        assert memory.session("s")._timeout == 3600
        assert (memory.tenant, memory.history("s").max_messages) == ("other", 3)
        assert memory.history("s").retention.policy == "persistent"


def test_without_an_environment_the_defaults_count(tmp_path):
    with AgentMemory() as memory:
        memory.history("s").add_user_message("hello")
        assert (tmp_path / "agentmem.db").exists()
        assert repr(memory).endswith("tenant='default')")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///a.db", "sqlite:///a.db?timeout=7.5"),
        ("sqlite:///a.db?timeout=2", "sqlite:///a.db?timeout=2"),
        ("postgresql://h/d", "postgresql://h/d?pool_size=3&timeout=7.5"),
        ("redis://h/0?pool_size=5", "redis://h/0?pool_size=5&timeout=7.5"),
        ("redis://h/0?retries=5", "redis://h/0?retries=5&pool_size=3&timeout=7.5"),
    ],
)
def test_pool_size_and_timeout_are_options_of_the_url(url, expected):
    settings = AgentMemSettings(url=url, pool_size=3, timeout=7.5)
    assert settings.full_url == expected
    assert AgentMemSettings(url=url).full_url == url


@pytest.mark.parametrize(
    ("value", "policy", "most"),
    [("single_run", "single_run", None), ('{"policy": "session", "max_messages": 5}', "session", 5)],
)
def test_the_retention_is_a_policy_or_an_object(monkeypatch, value, policy, most):
    monkeypatch.setenv("AGENTMEM_RETENTION", value)
    kept = AgentMemSettings().retention
    assert (kept.policy, kept.max_messages) == (policy, most)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AGENTMEM_RETENTION", "forever"),
        ("AGENTMEM_RETENTION", '{"polic": "session"}'),
        ("AGENTMEM_RETENTION", "{"),
        ("AGENTMEM_RETENTION", ""),
        ("AGENTMEM_MAX_TOKENS", "0"),
        ("AGENTMEM_READ_CACHE", "0"),
        ("AGENTMEM_SESSION_TIMEOUT", "soon"),
        ("AGENTMEM_READ_CACHE", "no"),
        ("AGENTMEM_READ_CACHE", '{"age": 5}'),
        ("AGENTMEM_CLEANUP", "soon"),
        ("AGENTMEM_CLEANUP", "0"),
        ("AGENTMEM_CLEANUP", '{"interval": 60}'),
        ("AGENTMEM_CLEANUP", '{"older_than": 60, "kinds": ["all"]}'),
        ("AGENTMEM_MAX_MESSAGES", "-1"),
        ("AGENTMEM_POOL_SIZE", ""),
        ("AGENTMEM_TIMEOUT", "0"),
        ("AGENTMEM_EMBEDDINGS", ""),
        ("AGENTMEM_EMBEDDINGS", "foo"),
        ("AGENTMEM_EMBEDDINGS", "no-such-provider:model"),
        ("AGENTMEM_TTL", "-1"),
        ("AGENTMEM_TTL", "0"),
        ("AGENTMEM_TTL", "P9999999D"),
        ("AGENTMEM_SESSION_TIMEOUT", "0"),
        ("AGENTMEM_TENANT", "x" * 2_000),
        ("AGENTMEM_URL", "nope"),
        ("AGENTMEM_URL", "mysql://h/d"),
        ("AGENTMEM_URL", "sqlite:///:memory:?no_such_option=1"),
    ],
)
@pytest.mark.parametrize("create", [AgentMemory, AgentMemory.from_settings], ids=["constructor", "from_settings"])
def test_a_wrong_setting_is_named(monkeypatch, create, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=name):
        create()


@pytest.mark.parametrize("create", [AgentMemory, AgentMemory.from_settings], ids=["constructor", "from_settings"])
def test_an_argument_is_not_blamed_on_the_environment(monkeypatch, create):
    monkeypatch.setenv("AGENTMEM_EMBEDDINGS", "no-such-provider:model")
    with pytest.raises(ConfigurationError, match="other-provider") as raised:
        create(embeddings="other-provider:model")
    assert "AGENTMEM" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("max_mesages", "Did you mean max_messages"), ("URL", "Did you mean url"), ("x", "Known settings")],
)
def test_an_unknown_argument_is_refused(name, hint):
    with pytest.raises(ConfigurationError, match=f"AgentMemSettings has no setting '{name}'. {hint}"):
        AgentMemSettings(**{name: 4})


def test_settings_may_be_read_from_another_file(tmp_path):
    (tmp_path / "other.env").write_text("AGENTMEM_TENANT=shop\nUNKNOWN=1\n", encoding="utf-8")
    assert AgentMemSettings(_env_file=tmp_path / "other.env").tenant == "shop"


def test_a_read_cache_is_described_by_its_age(monkeypatch):
    monkeypatch.setenv("AGENTMEM_READ_CACHE", "2.5")
    assert AgentMemSettings().read_cache == ReadCache(max_age=2.5)


@pytest.mark.parametrize(
    ("value", "policy"),
    [
        ("86400", CleanupPolicy(86_400)),
        ("P90D", CleanupPolicy(timedelta(days=90))),
        (
            '{"older_than": "P90D", "interval": 3600, "kinds": ["threads"], "archive": "a.jsonl"}',
            CleanupPolicy(timedelta(days=90), 3_600, ("threads",), "a.jsonl"),
        ),
    ],
)
def test_a_cleanup_is_described_by_an_age_or_an_object(monkeypatch, value, policy):
    monkeypatch.setenv("AGENTMEM_CLEANUP", value)
    assert AgentMemSettings().cleanup == policy
    with AgentMemory() as memory:
        assert memory._cleaner._policy == policy


def test_an_embedding_model_is_named(monkeypatch):
    monkeypatch.setenv("AGENTMEM_EMBEDDINGS", "no-such-provider:model")
    with pytest.raises(ConfigurationError, match="no-such-provider"):
        AgentMemory.from_settings()


@pytest.mark.parametrize("where", ["environment", "file"])
def test_an_unknown_name_warns_with_the_nearest(monkeypatch, tmp_path, where):
    if where == "environment":
        monkeypatch.setenv("AGENTMEM_URI", "sqlite:///x.db")
    else:
        (tmp_path / ".env").write_text("AGENTMEM_URI=sqlite:///x.db\n", encoding="utf-8")
    for create in (lambda: AgentMemory(), lambda: AgentMemory.from_settings()):
        with pytest.warns(UserWarning, match=r"AGENTMEM_URI is no setting .* Did you mean AGENTMEM_URL\?") as warned:
            create().close()
        assert [one.filename for one in warned] == [__file__]


def test_an_unknown_name_that_is_like_no_other_warns_with_all(monkeypatch):
    monkeypatch.setenv("AGENTMEM_FOO", "x")
    with pytest.warns(UserWarning, match=r"AGENTMEM_FOO is no setting .* Known variables are AGENTMEM_URL, "):
        AgentMemory().close()


def test_names_of_others_do_not_warn(monkeypatch, recwarn):
    monkeypatch.setenv("AGENTMEM_TEST_POSTGRES_URL", "x")
    monkeypatch.setenv("AGENTMEMORY_URL", "x")
    AgentMemory().close()
    assert not recwarn.list


def test_credentials_without_a_url_are_refused():
    with AgentMemory("sqlite:///:memory:") as memory, pytest.raises(InvalidTypeError, match="credentials needs a URL"):
        AgentMemory(memory.backend, credentials=str)


@pytest.mark.parametrize(("given", "name"), [("sqlite:///:memory:", ""), (None, "AGENTMEM_URL")])
def test_sqlite_takes_no_credentials(given, name):
    with pytest.raises(ConfigurationError, match=f"{name}.*credentials is for Postgres and Redis only"):
        AgentMemory(given, credentials=str)
