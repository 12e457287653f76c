"""The URL of a Postgres database: its options are checked when a memory is made, and its password is never shown."""

from __future__ import annotations

import logging
import traceback

import pytest
from langchain_core.messages import HumanMessage
from servers import free_port

from langchain_agentmem import AgentMemError, AgentMemory, ConfigurationError

SECRET = "hunter2secret"


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("speed=high", r"'speed'.*language, pool_size, prepare, schema, timeout.*sslmode"),
        ("Timeout=3", "'Timeout'"),
        ("pool-size=3", "'pool-size'"),
        ("timeout=", "timeout must be"),
        ("timeout=soon", "timeout must be.*'soon'"),
        ("timeout=nan", "timeout must be"),
        ("timeout=inf", "timeout must be"),
        ("timeout=-1", "timeout must be"),
        ("timeout=0", "timeout must be"),
        ("pool_size=0", "pool_size must be"),
        ("pool_size=1.5", "pool_size must be"),
        ("pool_size=²", "pool_size must be"),
        ("prepare=yes", "prepare must be"),
        ("schema=", "schema must be"),
        ("language=", "language must"),
        ("sslmode=maybe", "sslmode.*maybe"),
        ("target_session_attrs=any-old", "target_session_attrs"),
        ("connect_timeout=soon", "connect_timeout.*'soon'"),
        ("keepalives_idle=x", "keepalives_idle.*'x'"),
        ("tcp_user_timeout=1s", "tcp_user_timeout.*'1s'"),
        ("gssencmode=perhaps", "gssencmode"),
        ("port=none", "port"),
        ("novalue", "no value"),
    ],
)
def test_a_wrong_option_is_refused_when_the_memory_is_made(query, reason):
    with pytest.raises(ConfigurationError, match=reason):
        AgentMemory.from_url(f"postgresql://user@127.0.0.1:1/database?{query}")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://host:70000/database",
        "postgresql://host:x/database",
        "postgresql://one:1,two:2,three/database?port=1,2",
        "postgresql://[::1/database",
        "postgresql://user%zz@host/database",
        "postgresql://host/data base",
    ],
)
def test_a_url_that_names_no_place_is_refused_when_the_memory_is_made(url):
    with pytest.raises(ConfigurationError, match="Postgres URL"):
        AgentMemory.from_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user@one:1,two:2/database?target_session_attrs=any",
        "postgresql://user@one,two:2/database?sslmode=disable&application_name=a+b",
        "postgresql://user@/database?host=/run/postgresql",
        "postgresql:///database",
        "postgresql://",
        "postgresql://[::1]:5432/database?ssl=true",
        "postgres://user@host/database?options=-c%20work_mem%3D1MB&timeout=0.5&pool_size=1&schema=a%20b&prepare=true",
        "postgresql://user:p#a$s@host/database",
    ],
)
def test_what_libpq_takes_is_taken(url):
    AgentMemory.from_url(url).close()


def test_options_of_libpq_reach_it_as_they_are_written(postgres_url):
    with AgentMemory.from_url(f"{postgres_url}&application_name=a+b%20c") as memory:
        memory.history("s").count()
        assert memory.backend.driver.settings.connecting["application_name"] == "a+b c"


FORMS = [
    f"postgresql://user:{SECRET}@127.0.0.1:{{port}}/database",
    f"postgres://user:{SECRET}@127.0.0.1:{{port}}/database?timeout=2",
    f"postgresql+psycopg://user:{SECRET}@127.0.0.1:{{port}}/database",
    f"postgresql://127.0.0.1:{{port}}/database?user=user&password={SECRET}",
    f"postgresql://user:%68{SECRET}%40%2F@127.0.0.1:{{port}}/database",
    f"postgresql://127.0.0.1:{{port}}/database?sslpassword={SECRET}&user=user",
    f"postgresql://user:{SECRET}#x@127.0.0.1:{{port}}/database",
]
WRONG_FORMS = [
    f"postgresql://user:{SECRET}/x@host/database",
    f"postgresql://user:1/{SECRET}@host/database",
    f"postgresql://user:{SECRET}?x@host/database",
    f"postgresql://user:a?{SECRET}=x@host/database",
    f"postgresql://user:a?x={SECRET}@host/database",
    f"postgresql://user:{SECRET}%zz@host/database",
    f"postgresql://user:{SECRET} x@host/database",
    f"postgresql://user:{SECRET}@[::1/database",
    f"postgresql://user:{SECRET}@host:port/database",
    f"postgresql://user:{SECRET}@host/database?speed=high",
    f"postgresql://user:{SECRET}@host/database?sslmode=maybe",
    f"postgresql://host/database?password={SECRET}&sslmode={SECRET}",
    f"postgresql://user:{SECRET}@host/database?timeout=x",
    f"postgresql//user:{SECRET}@host/database",
    f"{SECRET}@host/database",
]


@pytest.mark.parametrize("form", FORMS)
async def test_no_representation_and_no_error_shows_the_password(form, call, caplog, recwarn):
    caplog.set_level(logging.DEBUG)
    memory = AgentMemory.from_url(form.format(port=free_port()))
    driver = memory.backend.driver
    shown = [repr(one) for one in (memory, memory.backend, driver, driver.settings, memory.history("s"))]
    shown += [repr(memory.store), repr(memory.checkpointer), str(driver.settings), memory._repr_html_()]
    for method, *arguments in (
        (memory.history("s").count,),
        (memory.store.put, ("a",), "k", {"n": HumanMessage("a").id}),
    ):
        with pytest.raises(AgentMemError) as caught:
            await call(method, *arguments)
        shown += traceback.format_exception(caught.value)
    shown += [str(warning.message) for warning in recwarn]
    await call(memory.close)
    assert SECRET not in "\n".join([*shown, caplog.text])


@pytest.mark.parametrize("url", WRONG_FORMS)
def test_no_error_about_a_url_shows_the_password(url):
    with pytest.raises(AgentMemError) as caught:
        AgentMemory.from_url(url)
    errors: list[BaseException | None] = [caught.value]
    while errors[-1] is not None:
        errors.append(errors[-1].__cause__ or errors[-1].__context__)
    assert SECRET not in "\n".join(f"{error}" for error in errors)


def test_a_password_with_an_at_sign_is_refused_and_not_shown():
    with pytest.raises(ConfigurationError, match="%40") as raised:
        AgentMemory.from_url("postgresql://u:p@ss@127.0.0.1/d")
    assert "ss@" not in str(raised.value)


def test_the_repr_names_the_port():
    memory = AgentMemory.from_url("postgresql://u:secret@127.0.0.1:5433/d")
    assert "'127.0.0.1:5433/d'" in repr(memory.backend)
    memory.close()
