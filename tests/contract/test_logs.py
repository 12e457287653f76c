"""Debug logs tell what was read, stored, folded and learned: by IDs and numbers, never by content."""

from __future__ import annotations

import json
import logging

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import empty_checkpoint

from langchain_agentmem.testing import ScriptedChatModel

SECRET = "marmalade-4711"


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "langchain_agentmem")
    return caplog


async def test_the_log_tells_what_was_done_and_no_content(memory, call, logged):
    history = memory.history("session-1", user_id="alice", agent="writer")
    await call(history.add_messages, [HumanMessage(SECRET, id="m1"), AIMessage(f"{SECRET}?", id="m2")])
    await call(history.add_messages, [])
    await call(history.get_recent, 5)
    await call(history.search, SECRET)
    await call(history.replace, "m1", HumanMessage(f"{SECRET}!"))
    await call(memory.sessions.rename, "session-1", SECRET, user_id="alice")
    await call(memory.store.put, ("notes",), "k", {"text": SECRET})
    await call(memory.store.search, ("notes",), query=SECRET)
    config = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    checkpoint = {**empty_checkpoint(), "channel_values": {"x": [SECRET]}, "channel_versions": {"x": "1"}}
    stored = await call(memory.checkpointer.put, config, checkpoint, {"title": SECRET}, {"x": "1"})
    await call(memory.checkpointer.put_writes, stored, [("x", SECRET)], "task")
    await call(memory.checkpointer.get_tuple, config)
    await call(memory.checkpointer.delete_thread, "t")
    await call(memory.profiles.add_fact, "alice", SECRET)
    await call(memory.memories.save, "alice", SECRET)
    await call(memory.recall, SECRET, user_id="alice")
    await call(memory.variables.set, "tone", SECRET, user_id="alice")
    await call(memory.prompt(SECRET + " {{tone}} {{recent_context}}", user_id="alice").invoke, {})
    await call(memory.records.save, "writer", {"text": SECRET})
    await call(memory.records.query)
    await call(memory.variables.clear, user_id="alice")
    await call(memory.sessions.delete, "session-1", user_id="alice")
    lines = [record.getMessage() for record in logged.records if record.name.startswith("langchain_agentmem")]
    for line in (
        "history: appended 2 messages to session 'session-1' at position 0",
        "history: appended nothing to session 'session-1': no messages",
        "history: read the newest 2 messages of session 'session-1'",
        "history: deleted session 'session-1'",
        "store: stored 1 and deleted 0 items, 1 operations",
        "checkpointer: deleted thread 't'",
        "variables: set 1 of user 'alice', session None, agent None",
        "records: read 1",
    ):
        assert line in lines
    begins = {line.partition(":")[0] for line in lines}
    assert {"history", "store", "checkpointer", "recall", "variables", "prompt", "records"} <= begins
    assert SECRET not in logged.text


async def test_the_log_tells_what_was_learned_and_folded(memory, call, logged):
    changes = [
        {"action": "add", "text": f"Likes {SECRET}", "messages": [1]},
        {"action": "remove", "fact": f"Hates {SECRET}", "reason": "forget"},
        {"action": "update", "field": f"{SECRET}..x", "text": SECRET},
    ]
    answer = json.dumps({"changes": changes})
    messages = [HumanMessage(f"I like {SECRET}", id="m1"), AIMessage(f"{SECRET} it is", id="m2")]
    await call(memory.learn, messages, user_id="alice", model=ScriptedChatModel([answer] * 3))
    compressor = memory.compressor(ScriptedChatModel([f"They like {SECRET}."] * 3), max_messages=2)
    await call(compressor.invoke, messages * 4, {"configurable": {"thread_id": "t"}})
    lines = [record.getMessage() for record in logged.records if record.name.startswith("langchain_agentmem")]
    assert any(line.startswith("extraction: learned ") for line in lines)
    assert any("changes from 2 messages were refused" in line for line in lines)
    assert any(line.startswith("compression: gave ") and "folded 0" not in line for line in lines)
    assert SECRET not in logged.text
