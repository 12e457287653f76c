"""URLs in representations, messages and settings: no password is ever shown."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from langchain_agentmem import AgentMemError, AgentMemory, AgentMemSaver, AgentMemStore, ConfigurationError
from langchain_agentmem.arguments.urls import masked_url, shown_url
from langchain_agentmem.settings import AgentMemSettings

SECRET = "hunter2secret"

URLS = [
    f"postgresql://user:{SECRET}@host:5432/database?sslmode=require",
    f"postgresql://host/database?user=user&password={SECRET}",
    f"postgresql://host/database?user=user&password=a@{SECRET}",
    f"postgresql://user:a%40{SECRET}@host/database?sslpassword={SECRET}",
    f"redis://:{SECRET}@host:6379/0",
    f"redis://user:{SECRET}@host:6379/0?timeout=3",
    f"rediss://user:%3A{SECRET}@host:6379/0",
    f"unix://user:{SECRET}@/run/redis.sock",
    f"redis+cluster://user:{SECRET}@host:7000",
    f"redis+sentinel://user:{SECRET}@one:26379,two:26379/service/0?sentinel_password={SECRET}",
]

UNUSABLE = [
    f"redis://user:{SECRET}@host:port/0",
    f"redis://user:{SECRET}@host:6379/zero",
    f"redis://user:{SECRET}@host:6379/0?speed=high",
    f"redis://user:a?{SECRET}@host:6379/0",
    f"redis://user:{SECRET}@[::1/0",
    f"redis://host:6379/0?password={SECRET}",
    f"redis+sentinel://user:{SECRET}@/0",
    f"mysql://user:{SECRET}@host/database",
    f"{SECRET}@host",
    f"sqlite://user:{SECRET}@host/file.db",
    f"sqlite:///file.db?password={SECRET}",
    f"postgresql://user:{SECRET}/x@host/database",
]

CONNECTION_STRINGS = [f"host=localhost user=user password={SECRET}", f"host=localhost password={SECRET}:1"]


@pytest.mark.parametrize("url", URLS + UNUSABLE + CONNECTION_STRINGS)
def test_a_url_is_shown_without_its_password(url):
    assert SECRET not in shown_url(url)
    assert SECRET not in masked_url(url)


@pytest.mark.parametrize("url", URLS)
def test_a_masked_url_says_all_the_rest(url):
    masked = masked_url(url)
    assert "***" in masked
    assert masked.split("://", maxsplit=1)[0] == url.split("://", maxsplit=1)[0]
    assert ("host" in masked) == ("host" in url)


@pytest.mark.parametrize(
    "url", ["sqlite:///:memory:", "sqlite:///a@b:c.db", "redis://host:6379/0", "postgresql://host/db?a=b"]
)
def test_a_url_without_a_password_is_masked_as_it_is(url):
    assert masked_url(url) == url


@pytest.mark.parametrize("url", URLS)
def test_settings_and_memories_show_no_password(url):
    settings = AgentMemSettings(url=url)
    assert settings.url == url
    assert SECRET not in f"{settings!r} {settings} {[settings]}"
    with AgentMemory.from_settings(settings) as memory:
        shown = [memory, memory.backend, memory.backend.driver, memory.backend.driver.settings, memory.history("s")]
        shown += [memory.store, memory.checkpointer]
        assert SECRET not in " ".join(map(repr, shown))


@pytest.mark.parametrize("text", CONNECTION_STRINGS)
def test_a_connection_string_of_libpq_is_accepted_wherever_a_url_is(text):
    for make in (AgentMemory.from_url, AgentMemSaver.from_url, AgentMemStore.from_url, AgentMemSaver, AgentMemStore):
        made = make(text)
        assert "localhost" in repr(made)
        assert SECRET not in repr(made)
        made.close()
    with pytest.raises(ConfigurationError) as caught:
        AgentMemory.from_url(f"host=localhost colour=red password={SECRET}")
    assert "connection string of Postgres cannot be parsed" in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("url", UNUSABLE)
def test_an_error_about_a_url_shows_no_password(url):
    with pytest.raises(AgentMemError) as caught:
        AgentMemory.from_url(url)
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in str(error)
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis://h?protocol=9", "protocol must be 2 or 3, got '9'"),
        ("redis://h?socket_connect_timeout=x", "socket_connect_timeout"),
        ("redis://h?socket_connect_timeout=0", "socket_connect_timeout"),
        ("redis://h?db=x", "db must be"),
        ("redis://h?db=-1", "db must be"),
        ("redis://h?socket_keepalive=maybe", "true or false"),
        ("redis://h?health_check_interval=x", "health_check_interval"),
        ("rediss://h?ssl_cert_reqs=some", "none, optional or required"),
        ("rediss://h?ssl_check_hostname=perhaps", "ssl_check_hostname"),
        ("redis+sentinel://h/s?protocol=x", "protocol"),
        ("redis+cluster://h?protocol=x", "protocol"),
        ("redis://h?pool_size=x", "pool_size"),
        ("redis://h?speed=1", "'speed'.*pool_size"),
        ("sqlite:///:memory:?speed=1", "'speed'.*timeout"),
        ("sqlite:///:memory:?timeout=nan", "timeout"),
        ("sqlite:///:memory:?synchronous=never", "synchronous"),
        ("sqlite:///:memory:?language=klingon", "klingon"),
    ],
)
def test_a_wrong_option_is_refused_when_the_memory_is_made(url, reason):
    with pytest.raises(ConfigurationError, match=reason):
        AgentMemory.from_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://h?protocol=3&socket_connect_timeout=0.5&socket_keepalive=True&health_check_interval=30&db=2",
        "rediss://h?ssl_cert_reqs=none&ssl_check_hostname=no",
        "redis+sentinel://h/s?sentinel_password=x&protocol=2",
    ],
)
def test_a_right_option_is_taken(url):
    AgentMemory.from_url(url).close()


def test_settings_that_are_refused_show_no_password():
    with pytest.raises(ValidationError) as caught:
        AgentMemSettings(url=SECRET.encode() + b"\xff", ttl="soon")
    assert SECRET not in str(caught.value)
