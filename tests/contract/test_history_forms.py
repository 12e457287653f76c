"""A session as JSON, in a file, as requests and as role dictionaries: it comes back on every backend, or nothing is stored."""

from __future__ import annotations

import copy
import json
import stat
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from any_messages import agent_name, assert_equal, message, text
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from identity import without_ids
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_agentmem import AgentMemHistory, AgentMemory, Guard, Retention
from langchain_agentmem.errors import (
    InvalidInputError,
    InvalidTypeError,
    SecretFoundError,
    StorageError,
    UnsupportedValueError,
)
from langchain_agentmem.testing import ScriptedChatModel
from langchain_agentmem.testing.cases import entries_in

TALK = [
    SystemMessage("Be brief."),
    HumanMessage("What is 6 × 7?", name="Ann", id="question"),
    AIMessage("Let me see", tool_calls=[{"name": "f", "args": {"a": [6, 7]}, "id": "1", "type": "tool_call"}]),
    ToolMessage("42", tool_call_id="1", name="f", artifact=b"\x00"),
    AIMessage("It is 42", usage_metadata={"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}),
]


async def properties(history: AgentMemHistory, call: Any) -> list[Any]:
    """What is stored with each message."""
    return [(one.agent, one.created_at, one.metadata) for one in await call(history.stored)]


@settings(deadline=None, max_examples=examples(40), suppress_health_check=list(HealthCheck))
@given(
    messages=st.lists(st.deferred(lambda: message), min_size=1, max_size=5),
    metadata=st.dictionaries(text, text | st.integers() | st.lists(st.none() | text, max_size=2), max_size=3),
    agent=st.none() | agent_name,
    title=st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)
async def test_any_session_comes_back_from_json(memory, call, messages, metadata, agent, title):
    session = str(uuid.uuid4())
    with memory.session(session, user_id="alice", metadata=metadata):
        await call(memory.history(session, user_id="alice", agent=agent).add_messages, messages, metadata=metadata)
        await call(memory.history(session, user_id="alice").add_messages, messages[:1])
    if title is not None:
        memory.sessions.rename(session, title, user_id="alice")
    history = memory.history(session, user_id="alice")
    document = json.loads(json.dumps(await call(history.to_dict)))
    copied = await call(AgentMemHistory.from_dict, document, memory, user_id="bob")
    assert (copied.session_id, copied.user_id) == (session, "bob")
    assert_equal([one.message for one in await call(copied.stored)], [*messages, messages[0]])
    assert [one.id for one in await call(copied.get_recent, 9)] == [one.id for one in await call(history.get_recent, 9)]
    assert await properties(copied, call) == await properties(history, call)
    first, second = memory.sessions.get(session, user_id="alice"), memory.sessions.get(session, user_id="bob")
    assert (second.title, second.metadata, second.created_at) == (first.title, first.metadata, first.created_at)


async def test_a_session_has_everything_in_its_document(memory, call):
    history = memory.history("trip", user_id="alice")
    await call(history.add_messages, TALK, metadata={"channel": "web"})
    await call(history.delete, "question")
    document = await call(history.to_dict)
    assert (document["format"], document["version"]) == ("langchain-agentmem session", 1)
    assert (document["session_id"], document["user_id"], document["agent"]) == ("trip", "alice", None)
    assert [one["position"] for one in document["messages"]] == [0, 2, 3, 4]
    assert [one["metadata"] for one in document["messages"]] == [{"channel": "web"}] * 4
    assert datetime.fromisoformat(document["messages"][0]["created_at"]) == (await call(history.stored))[0].created_at
    assert document["messages"][0]["message"]["data"]["content"] == "Be brief."


async def test_a_session_of_an_encrypted_memory_comes_back(url, call):
    with AgentMemory.from_url(url, key=b"k" * 32) as memory:
        with memory.session("trip", user_id="alice", metadata={"channel": "web"}) as session:
            await call(session.history().add_messages, TALK)
        memory.sessions.rename("trip", "Summer", user_id="alice")
        document = json.loads(json.dumps(await call(memory.history("trip", user_id="alice").to_dict)))
        copied = await call(AgentMemHistory.from_dict, document, memory, "copy")
        assert await call(copied.stored) == [
            replace(one, session_id="copy") for one in await call(memory.history("trip", user_id="alice").stored)
        ]
        info = memory.sessions.get("copy", user_id="alice")
        assert (info.title, info.metadata) == ("Summer", {"channel": "web"})
        with pytest.raises(InvalidInputError, match="has messages already"):
            await call(AgentMemHistory.from_dict, document, memory, "copy")


async def test_an_agent_s_history_has_its_own_messages_only(memory, call):
    await call(memory.history("s", agent="writer").add_messages, [AIMessage("draft")])
    await call(memory.history("s", agent="critic").add_messages, [AIMessage("too long")])
    document = await call(memory.history("s", agent="writer").to_dict)
    copied = await call(AgentMemHistory.from_dict, document, memory, "copy")
    assert copied.agent == "writer"
    assert [one.text for one in await call(memory.history("copy").get_recent)] == ["draft"]


async def test_messages_without_an_agent_become_those_of_the_history(memory, call):
    await call(memory.history("s").add_messages, [AIMessage("draft")])
    document = await call(memory.history("s").to_dict)
    await call(AgentMemHistory.from_dict, document, memory, "copy", agent="writer")
    assert [one.agent for one in await call(memory.history("copy").stored)] == ["writer"]


async def test_a_copied_session_is_found_and_grows(memory, call):
    history = memory.history("trip", user_id="alice")
    await call(history.add_messages, [HumanMessage("Shall we visit the lighthouse?")])
    copied = await call(AgentMemHistory.from_dict, await call(history.to_dict), memory, "copy")
    (found,) = await call(copied.search, "lighthouses", 1)
    assert (found.session_id, found.score > 0) == ("copy", True)
    await call(copied.add_messages, [AIMessage("Yes")])
    assert await call(copied.count) == 2
    copied_id = (await call(copied.get_recent))[0].id
    assert await call(copied.delete, copied_id) == 1


async def test_a_copied_session_has_vectors(url, call):
    with AgentMemory.from_url(url, embeddings=DeterministicFakeEmbedding(size=8)) as memory:
        await call(memory.history("a").add_messages, [HumanMessage("To the lighthouse")])
        await call(AgentMemHistory.from_dict, await call(memory.history("a").to_dict), memory, "b")
        changes = memory.backend.read(memory.backend.messages.changes("default", None, "b", None, vectors=True))
        (entry,) = entries_in(changes)
        assert entry.vector is not None


async def test_the_title_of_a_message_goes_with_the_message_and_that_of_the_user_stays(memory, call):
    history = memory.history("trip")
    await call(history.add_messages, [HumanMessage("To Malta?", id="q"), AIMessage("Yes")])
    document = await call(history.to_dict)
    memory.sessions.rename("trip", "Summer")
    named = await call(history.to_dict)
    for session, one, title in (("a", document, None), ("b", named, "Summer")):
        copied = await call(AgentMemHistory.from_dict, one, memory, session)
        assert memory.sessions.get(session).title == one["title"]
        await call(copied.delete, "q")
        assert memory.sessions.get(session).title == title


async def test_nothing_is_stored_into_a_session_with_messages(memory, call, tmp_path):
    history = memory.history("trip")
    await call(history.add_messages, TALK)
    await call(history.save, tmp_path / "trip.json")
    document = await call(history.to_dict)
    with pytest.raises(InvalidInputError, match=r"'trip' has messages already, and nothing was stored"):
        await call(AgentMemHistory.from_dict, document, memory)
    with pytest.raises(InvalidInputError, match=r"'trip' has messages already"):
        await call(history.load, tmp_path / "trip.json")
    assert await call(history.count) == len(TALK)
    await call(history.clear)
    await call(history.load, tmp_path / "trip.json")
    assert without_ids(await call(history.get_recent, 9)) == [one.model_copy(update={"id": None}) for one in TALK]


async def test_an_empty_session_is_nothing_to_store(memory, call):
    document = await call(memory.history("empty").to_dict)
    assert (document["title"], document["messages"], document["created_at"]) == (None, [], None)
    copied = await call(AgentMemHistory.from_dict, document, memory, "copy")
    assert await call(copied.count) == 0
    assert memory.sessions.get("copy") is None


async def test_a_database_of_its_own_is_opened_by_url(url, lasting_url, memory, call):
    await call(memory.history("trip", user_id="alice").add_messages, TALK)
    document = await call(memory.history("trip", user_id="alice").to_dict)
    copied = await call(AgentMemHistory.from_dict, document, lasting_url, "copy", tenant="other", max_messages=2)
    assert (copied.user_id, copied.max_messages, await call(copied.count)) == ("alice", 2, len(TALK))
    with AgentMemory.from_url(lasting_url, tenant="other") as other:
        assert await call(other.history("copy", user_id="alice").count) == len(TALK)
    await call(copied.close)
    with pytest.raises(InvalidInputError):
        await call(AgentMemHistory.from_dict, document, lasting_url, "copy", tenant="other")


async def test_a_run_s_own_messages_come_back_too(memory, call, tmp_path):
    history = memory.history("s", retention=Retention("single_run"))
    await call(history.add_messages, TALK)
    await call(history.save, tmp_path / "run.json")
    other = memory.history("s", retention=Retention("single_run"))
    await call(other.load, tmp_path / "run.json")
    assert await call(other.get_recent, 9) == await call(history.get_recent, 9)
    with pytest.raises(InvalidInputError, match="has messages already"):
        await call(other.load, tmp_path / "run.json")
    assert await call(memory.history("s").count) == 0


async def test_messages_of_a_session_end_with_it_after_the_copy(memory, call):
    history = memory.history("s", retention=Retention("session"))
    await call(history.add_messages, [HumanMessage("a")])
    document = await call(history.to_dict)
    assert document["messages"][0]["ends_with_session"] is True
    await call(AgentMemHistory.from_dict, document, memory, "copy")
    assert memory.sessions.end("copy") == 1


async def test_the_retention_of_the_history_applies_to_the_copy(memory, call):
    await call(memory.history("s").add_messages, TALK)
    document = await call(memory.history("s").to_dict)
    kept = Retention("session", ttl=timedelta(hours=1))
    await call(AgentMemHistory.from_dict, document, memory, "copy", retention=kept)
    expires = memory.sessions.get("copy").expires_at
    assert timedelta(minutes=59) < expires - datetime.now(UTC) <= timedelta(hours=1)
    assert memory.sessions.end("copy") == len(TALK)


async def test_the_guard_of_the_memory_applies_to_the_copy(url, call):
    secret = "my key is sk-proj-" + "a1B2" * 12
    with AgentMemory.from_url(url) as memory:
        await call(memory.history("s").add_messages, [HumanMessage("Hi"), HumanMessage(secret)])
        document = await call(memory.history("s").to_dict)
        guarded = AgentMemory(memory.backend, guard=Guard())
        with pytest.raises(SecretFoundError, match=r"messages\[1\]"):
            await call(AgentMemHistory.from_dict, document, guarded, "copy")
        document["messages"].pop()
        document["metadata"] = {"note": secret}
        with pytest.raises(SecretFoundError, match="metadata"):
            await call(AgentMemHistory.from_dict, document, guarded, "copy")
        document |= {"metadata": {}, "title": secret}
        with pytest.raises(SecretFoundError, match="title"):
            await call(AgentMemHistory.from_dict, document, guarded, "copy")
        assert memory.sessions.get("copy") is None


WRONG: list[tuple[Any, Any, str]] = [
    ("format", "other", r"format must be 'langchain-agentmem session', got 'other'"),
    ("format", None, "format must be"),
    ("version", 2, "version must be 1, got 2"),
    ("version", True, "version must be 1, got True"),
    ("session_id", "", "session_id must not be empty"),
    ("session_id", 5, "session_id must be a string"),
    ("user_id", 5, "user_id must be a string"),
    ("agent", ["writer"], "agent must be a string"),
    ("title", 5, "title must be a string"),
    ("title", "\ud800", "title contains half of a surrogate pair"),
    ("metadata", ["a"], "metadata must be a mapping"),
    ("metadata", {"a": float("nan")}, r"metadata\['a'\] is nan"),
    ("created_at", "yesterday", "created_at must be a time in ISO 8601"),
    ("messages", None, "messages must be a list"),
    ("messages", {"a": 1}, "messages must be a list"),
    (("messages", 1), "Hi", r"messages\[1\] must be a mapping"),
    (("messages", 1, "position"), 0, r"messages\[1\].position must be a whole number greater than 0, got 0"),
    (("messages", 1, "position"), "1", r"messages\[1\].position must be"),
    (("messages", 1, "agent"), 5, r"messages\[1\].agent must be a string"),
    (("messages", 1, "created_at"), 5, r"messages\[1\].created_at must be a time"),
    (("messages", 1, "metadata"), {"a": {1: 2}}, r"messages\[1\].metadata"),
    (("messages", 1, "ends_with_session"), "no", r"messages\[1\].ends_with_session must be true or false"),
    (("messages", 1, "message"), None, r"messages\[1\].message must be a mapping"),
    (("messages", 1, "message", "type"), "other", r"messages\[1\].message is not a message of type 'other'"),
    (("messages", 1, "message", "data"), "Hi", r"messages\[1\].message.data must be a mapping"),
    (
        ("messages", 1, "message", "data", "content"),
        5,
        r"messages\[1\].message is not a message of type 'human'.*content",
    ),
    (("messages", 1, "message", "data", "content"), "\ud800", r"messages\[1\]: .*half of a surrogate"),
    (("messages", 3, "message", "packed"), "AAAA", r"messages\[3\].message.packed is damaged"),
    (("messages", 3, "message", "packed"), 5, r"messages\[3\].message.packed is damaged"),
    (("messages", 3, "message", "format"), "pickle", r"messages\[3\].message.packed is damaged"),
]


@pytest.mark.parametrize(("path", "value", "problem"), WRONG, ids=lambda value: ascii(value)[:40])
async def test_malformed_data_is_refused_with_the_path_before_anything_is_stored(memory, call, path, value, problem):
    await call(memory.history("trip").add_messages, TALK)
    document = copy.deepcopy(await call(memory.history("trip").to_dict))
    owner: Any = document
    *before, last = (path,) if isinstance(path, str) else path
    for one in before:
        owner = owner[one]
    owner[last] = value
    with pytest.raises((InvalidInputError, UnsupportedValueError), match=problem):
        await call(AgentMemHistory.from_dict, document, memory, None if last == "session_id" else "copy")
    assert [one.session_id for one in memory.sessions.list()] == ["trip"]


@pytest.mark.parametrize("data", [None, [], "text", 5])
async def test_data_that_is_no_mapping_is_refused(memory, call, data):
    with pytest.raises(InvalidTypeError, match=r"data must be a mapping, as history.to_dict\(\) returns it"):
        await call(AgentMemHistory.from_dict, data, memory)


# Files


async def test_a_saved_file_replaces_another_one_as_a_whole(memory, call, tmp_path, monkeypatch):
    path = tmp_path / "ü trip.json"
    await call(memory.history("a").add_messages, [HumanMessage("old")])
    await call(memory.history("a").save, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    link = tmp_path / "link.json"
    link.symlink_to(path)
    await call(memory.history("a").add_messages, [HumanMessage("new 😀")])
    await call(memory.history("a").save, str(link))
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert "new 😀" in path.read_text(encoding="utf-8")
    complete = path.read_bytes()

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("langchain_agentmem.text.files.os.fsync", fail)
    with pytest.raises(StorageError, match=r"cannot be written.*Cause: No space left on device"):
        await call(memory.history("a").save, path)
    assert path.read_bytes() == complete
    assert sorted(one.name for one in tmp_path.glob("*.json*")) == ["link.json", "ü trip.json"]
    assert not list(tmp_path.glob(".*.tmp"))


async def test_a_saved_file_is_edited_without_the_line_of_its_checksum(memory, call, tmp_path):
    path = tmp_path / "trip.json"
    await call(memory.history("trip").add_messages, [HumanMessage("It is 42")])
    await call(memory.history("trip").save, path)
    kept = [line for line in path.read_text(encoding="utf-8").splitlines() if '"checksum"' not in line]
    path.write_text("\n".join(kept).replace("It is 42", "It is 43"), encoding="utf-8")
    await call(memory.history("edited").load, path)
    assert [one.text for one in memory.history("edited").messages] == ["It is 43"]


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda data: data[: len(data) // 2], "is damaged: it is not JSON"),
        (lambda data: b"", "is damaged: it is not JSON"),
        (lambda data: b"\xff" + data, "is damaged: it is not JSON"),
        (lambda data: data.replace(b"It is 42", b"It is 43"), "is damaged: its checksum is wrong"),
        (lambda data: data.replace(b'"trip"', b'"tripp"'), "is damaged: its checksum is wrong"),
        (lambda data: b"[1]", "holds no session: it is a list"),
        (lambda data: b"{}", "format must be"),
        (lambda data: b"[" * 100_000, "is damaged: it is not JSON"),
    ],
)
async def test_a_damaged_file_is_refused_before_anything_is_stored(memory, call, tmp_path, damage, problem):
    path = tmp_path / "trip.json"
    await call(memory.history("trip").add_messages, TALK)
    await call(memory.history("trip").save, path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InvalidInputError, match=problem):
        await call(memory.history("copy").load, path)
    assert memory.sessions.get("copy") is None


async def test_an_edited_file_is_loaded_without_its_checksum(memory, call, tmp_path):
    path = tmp_path / "trip.json"
    await call(memory.history("trip").add_messages, TALK)
    await call(memory.history("trip").save, path)
    document = json.loads(path.read_text())
    del document["checksum"]
    document["messages"][-1]["message"]["data"]["content"] = "It is 43"
    path.write_text(json.dumps(document))
    await call(memory.history("copy", user_id="bob").load, path)
    assert (await call(memory.history("copy", user_id="bob").get_recent))[-1].text == "It is 43"


@pytest.mark.parametrize("path", [None, 5, b"trip.json", ["trip.json"]])
async def test_a_path_of_a_wrong_type_is_refused(memory, call, path):
    for method in (memory.history("s").save, memory.history("s").load):
        with pytest.raises(InvalidTypeError, match="path must be the path of a file"):
            await call(method, path)


async def test_a_file_that_cannot_be_used_is_named(memory, call, tmp_path):
    for path in (tmp_path / "none.json", tmp_path, "a\x00b"):
        with pytest.raises(InvalidInputError, match=r"^File .* cannot be read. Cause: .*\.$"):
            await call(memory.history("s").load, path)
    for path in (tmp_path / "none" / "trip.json", tmp_path, "a\x00b"):
        with pytest.raises(
            StorageError, match=r"^File .* cannot be written. An existing file is unchanged. Cause: .*\.$"
        ):
            await call(memory.history("s").save, path)


# Requests and role dictionaries


async def test_requests_of_providers_are_stored_as_messages_again(memory, call):
    history = memory.history("trip")
    await call(history.add_messages, TALK)
    openai, anthropic = await call(history.to_openai), await call(history.to_anthropic)
    assert [one["role"] for one in openai] == ["system", "user", "assistant", "tool", "assistant"]
    assert anthropic["system"] == "Be brief."
    for session, request in (
        ("openai", openai),
        ("anthropic", anthropic),
        ("body", {"model": "m", "messages": openai}),
    ):
        copied = memory.history(session)
        await call(copied.add_messages, request)
        assert [one.text for one in await call(copied.get_recent)] == [one.text for one in TALK]
        assert (await call(copied.get_recent))[2].tool_calls == TALK[2].tool_calls
        if session != "anthropic":
            assert await call(copied.to_openai) == openai
        assert (await call(copied.to_anthropic))["messages"] == anthropic["messages"]


async def test_a_request_has_the_window_only(memory, call):
    history = memory.history("trip", max_messages=2)
    await call(history.add_messages, [("human", "a"), ("ai", "b"), ("human", "c"), ("ai", "d")])
    assert await call(history.to_openai) == [{"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}]
    assert len((await call(history.to_anthropic))["messages"]) == 2
    assert len(await call(history.to_role_dicts)) == 4


async def test_a_request_has_the_summary_of_a_compressor(memory, call):
    answer = json.dumps({"summary": "They met.", "topics": [], "decisions": [], "open_questions": []})
    compressor = memory.compressor(ScriptedChatModel([answer] * 4), max_tokens=200)
    history = memory.history("trip", compressor=compressor)
    await call(history.add_messages, [(role, "word " * 60) for _ in range(4) for role in ("human", "ai")])
    assert "They met." in str(await call(history.to_anthropic))


async def test_role_dictionaries_are_stored_as_messages_again(memory, call):
    given = [
        {"role": "user", "content": "What is this?", "images": ["a.png", "https://a.b/c.png"], "message_id": "1"},
        {
            "role": "assistant",
            "content": {"thought": "I look", "next_action": "call_tool", "action_input": {"q": "ü"}},
            "message_id": "2",
            "name": "Analyst",
            "tool_calls": [
                {"id": "i1", "call_id": "c1", "type": "function", "name": "look", "arguments": '{"q": "ü"}'}
            ],
        },
        {"role": "tool", "content": "A cat", "message_id": "3", "name": "look", "tool_call_id": "c1"},
        {
            "role": "assistant",
            "content": None,
            "message_id": "4",
            "agent_calls": [{"agent_name": "Writer", "request": {"topic": "cats"}}],
            "structured_data": {"animal": "cat", "sure": 0.9},
        },
    ]
    history = memory.history("trip")
    await call(history.add_messages, given)
    assert await call(history.to_role_dicts) == given
    assert (await call(history.search, "cats", 1))[0].message.id in ("3", "4")


async def test_a_closed_memory_stores_nothing(url, call):
    with AgentMemory.from_url(url) as memory:
        await call(memory.history("trip").add_messages, TALK)
        document = await call(memory.history("trip").to_dict)
    with pytest.raises(StorageError):
        await call(AgentMemHistory.from_dict, document, memory, "copy")
