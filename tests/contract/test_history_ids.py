"""Chat history: ids are arbitrary strings that are never interpreted, and what cannot be one is named in the error."""

from __future__ import annotations

import itertools

import pytest
from identity import without_ids
from langchain_core.messages import HumanMessage

from langchain_agentmem import AgentMemHistory, AgentMemory, InvalidInputError, InvalidTypeError

IDS = [
    "a",
    "A",
    "a ",
    " a",
    "ä",
    "a\u0308",
    "alice@example.com",
    "alice@example.co",
    "a/b:c*?[x]%_",
    "a/b:c",
    "*",
    "%",
    "_",
    "a*",
    "a%",
    "?",
    "ü€😀",
    "x" * 1024,
    "x" * 1023 + "y",
    "€" * 341,
    "it's",
    '"quoted"',
    "`back`",
    "'; DROP TABLE agentmem_sessions; --",
    "' OR '1'='1",
    "first\nsecond",
    "first\r\nsecond",
    "\t",
    "\\",
    "a\\b",
    "..",
    "../../etc/passwd",
    "{{name}}",
    "{name}",
    "None",
    "null",
    "0",
    "00",
    "\x01",
    "\u200b",
    "default",
]

NOT_IDS = [
    ("", InvalidInputError, "must not be empty"),
    ("x" * 1025, InvalidInputError, "1,025 bytes"),
    ("€" * 342, InvalidInputError, "1,026 bytes"),
    ("a\x00b", InvalidInputError, "NUL"),
    ("a\ud800", InvalidInputError, "surrogate"),
    (7, InvalidTypeError, "must be a string, got int"),
    (b"a", InvalidTypeError, "must be a string, got bytes"),
    (("a",), InvalidTypeError, "must be a string, got tuple"),
    (True, InvalidTypeError, "must be a string, got bool"),
]
not_ids = pytest.mark.parametrize(("bad", "error", "reason"), NOT_IDS, ids=lambda one: ascii(one)[:20])


async def test_session_ids_are_isolated_from_each_other(memory, call):
    for number, session_id in enumerate(IDS):
        await call(memory.history(session_id).add_messages, [HumanMessage(str(number))])
    for number, session_id in enumerate(IDS):
        assert without_ids(await call(memory.history(session_id).get_recent)) == [HumanMessage(str(number))]
    assert {info.session_id for info in await call(memory.sessions.list)} == set(IDS)


async def test_user_ids_are_isolated_from_each_other_and_from_no_user(memory, call):
    users = [None, *IDS]
    for number, user_id in enumerate(users):
        await call(memory.history("s", user_id=user_id).add_messages, [HumanMessage(str(number))])
    for number, user_id in enumerate(users):
        assert without_ids(await call(memory.history("s", user_id=user_id).get_recent)) == [HumanMessage(str(number))]
        (info,) = await call(memory.sessions.list, user_id=user_id)
        assert (info.session_id, info.user_id, info.title) == ("s", user_id, str(number))


async def test_agents_are_isolated_from_each_other(memory, call):
    for number, agent in enumerate(IDS):
        await call(memory.history("s", agent=agent).add_messages, [HumanMessage(str(number))])
    for number, agent in enumerate(IDS):
        history = memory.history("s", agent=agent)
        assert without_ids(await call(history.get_recent, 100)) == [HumanMessage(str(number))]
        assert await call(history.count) == 1
        assert [entry.agent for entry in await call(history.stored)] == [agent]
    assert [entry.agent for entry in await call(memory.history("s").stored)] == IDS


async def test_tenants_on_one_database_are_isolated_from_each_other(lasting_url, call):
    memories = {tenant: AgentMemory.from_url(lasting_url, tenant=tenant) for tenant in IDS}
    for number, (_, memory) in enumerate(memories.items()):
        await call(memory.history("s", user_id="u").add_messages, [HumanMessage(str(number))])
    for number, (_, memory) in enumerate(memories.items()):
        assert without_ids(await call(memory.history("s", user_id="u").get_recent)) == [HumanMessage(str(number))]
        (info,) = await call(memory.sessions.list, user_id="u")
        assert info.title == str(number)
    first, second = itertools.islice(memories.values(), 2)
    assert await call(first.sessions.delete, "s", user_id="u")
    assert await call(first.sessions.list, user_id="u") == []
    assert await call(second.history("s", user_id="u").count) == 1
    for memory in memories.values():
        await call(memory.close)


async def test_the_default_tenant_is_called_default(lasting_url, call):
    with AgentMemory.from_url(lasting_url) as first, AgentMemory.from_url(lasting_url, tenant="default") as second:
        await call(first.history("s").add_messages, [HumanMessage("a")])
        assert await call(second.history("s").count) == 1


async def test_deleting_one_session_leaves_the_others_whatever_their_names(memory, call):
    for session_id in IDS:
        await call(memory.history(session_id, user_id="u").add_messages, [HumanMessage(session_id)])
    for session_id in ("*", "%", "_", "a*", "' OR '1'='1"):
        assert await call(memory.sessions.delete, session_id, user_id="u")
    left = {info.session_id for info in await call(memory.sessions.list, user_id="u")}
    assert left == set(IDS) - {"*", "%", "_", "a*", "' OR '1'='1"}
    for session_id in ("a%", "nobody", "?*", "[a-z]"):
        await call(memory.history(session_id, user_id="u").clear)
    assert await call(memory.history("ä", user_id="u").count) == 1


async def test_clearing_one_agent_leaves_the_others_whatever_their_names(memory, call):
    for agent in IDS:
        await call(memory.history("s", agent=agent).add_messages, [HumanMessage(agent)])
    for agent in ("%", "*", "_"):
        await call(memory.history("s", agent=agent).clear)
    left = [entry.agent for entry in await call(memory.history("s").stored)]
    assert left == [agent for agent in IDS if agent not in ("%", "*", "_")]
    assert await call(memory.history("s").count) == len(left)


@not_ids
def test_a_session_id_that_cannot_be_stored_is_named(memory, bad, error, reason):
    with pytest.raises(error, match=f"session_id.*{reason}"):
        memory.history(bad)
    with pytest.raises(error, match=f"session_id.*{reason}"):
        memory.get_session_history(bad)


@not_ids
def test_a_user_id_that_cannot_be_stored_is_named(memory, bad, error, reason):
    with pytest.raises(error, match=f"user_id.*{reason}"):
        memory.history("s", user_id=bad)
    if bad != "":  # an empty id in a chain's config names no user
        with pytest.raises(error, match=f"user_id.*{reason}"):
            memory.get_session_history("s", user_id=bad)


@not_ids
def test_an_agent_that_cannot_be_stored_is_named(memory, bad, error, reason):
    with pytest.raises(error, match=f"agent.*{reason}"):
        memory.history("s", agent=bad)


@not_ids
def test_a_tenant_that_cannot_be_stored_is_named(url, bad, error, reason):
    with pytest.raises(error, match=f"tenant.*{reason}"):
        AgentMemory.from_url(url, tenant=bad)
    with pytest.raises(error, match=f"tenant.*{reason}"):
        AgentMemHistory.from_url(url, "s", tenant=bad)


@not_ids
async def test_ids_given_to_the_list_of_sessions_are_checked_too(memory, call, bad, error, reason):
    for method, *arguments in (
        (memory.sessions.rename, bad, "title"),
        (memory.sessions.end, bad),
        (memory.sessions.delete, bad),
    ):
        with pytest.raises(error, match=f"session_id.*{reason}"):
            await call(method, *arguments)
        with pytest.raises(error, match=f"user_id.*{reason}"):
            await call(method, "s", *arguments[1:], user_id=bad)
    with pytest.raises(error, match=f"user_id.*{reason}"):
        await call(memory.sessions.list, user_id=bad)


def test_a_missing_session_id_is_named(memory):
    with pytest.raises(InvalidTypeError, match="session_id must be a string, got NoneType"):
        memory.history(None)


def test_errors_about_ids_are_value_errors_and_type_errors_too(memory):
    with pytest.raises(ValueError, match="session_id"):
        memory.history("")
    with pytest.raises(TypeError, match="session_id"):
        memory.history(7)


@pytest.mark.parametrize("wrong", [0, -3, 2.5, "40", True], ids=repr)
def test_a_window_size_that_makes_no_sense_is_refused(memory, url, wrong):
    with pytest.raises((InvalidInputError, InvalidTypeError), match="max_messages must be"):
        memory.history("s", max_messages=wrong)
    with pytest.raises((InvalidInputError, InvalidTypeError), match="max_messages must be"):
        AgentMemory.from_url(url, max_messages=wrong)
    with pytest.raises((InvalidInputError, InvalidTypeError), match="max_messages must be"):
        memory.session_history(max_messages=wrong)("s")
