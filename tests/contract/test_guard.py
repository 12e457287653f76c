"""The guard on every write path: credentials and oversized texts are refused or redacted, on every backend."""

from __future__ import annotations

import json
import logging

import pytest
from database import database
from langchain_core.messages import AIMessage, ChatMessage, HumanMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.store.base import PutOp

from langchain_agentmem import (
    AgentMemory,
    Guard,
    InvalidInputError,
    SecretFoundError,
    UnsupportedValueError,
    UserProfile,
)
from langchain_agentmem.testing import ScriptedChatModel

SECRET = "AKIAIOSFODNN7EXAMPLE"
TEXT = f"My key is {SECRET}, keep it."
REDACTED = "My key is [redacted: AWS Access Key], keep it."
USER = "alice@example.com"


def call_with(arguments):
    return AIMessage("", tool_calls=[{"name": "pay", "args": arguments, "id": "call_1"}])


CALLS = [{"name": "pay", "args": {"key": TEXT}, "id": "call_1"}]


def write_paths(memory):
    """Return each way to write a text, with the method and its arguments."""
    history, store = memory.history("s", user_id=USER), memory.store
    return {
        "message": (history.add_messages, [HumanMessage(TEXT)]),
        "block": (history.add_messages, [HumanMessage([{"type": "text", "text": TEXT}])]),
        "call": (history.add_messages, [HumanMessage("pay"), AIMessage("", tool_calls=CALLS)]),
        "result": (history.add_messages, [ToolMessage("done", tool_call_id="call_1", artifact={"key": TEXT})]),
        "address in a call": (
            history.add_messages,
            [HumanMessage("get"), call_with({"url": f"https://x.org/?k={SECRET}"})],
        ),
        "signature in a call": (
            history.add_messages,
            [HumanMessage("sign"), call_with({"signature": TEXT, "id": TEXT})],
        ),
        "key in a call": (history.add_messages, [HumanMessage("pay"), call_with({TEXT: 1})]),
        "picture in a call": (history.add_messages, [HumanMessage("x"), call_with({"type": "image", "data": TEXT})]),
        "address": (history.add_messages, [HumanMessage([{"type": "link", "url": f"https://x.org/?k={SECRET}"}])]),
        "set": (history.add_messages, [ToolMessage("done", tool_call_id="call_1", artifact={TEXT})]),
        "response": (history.add_messages, [AIMessage("ok", response_metadata={"echo": TEXT})]),
        "further field": (history.add_messages, [HumanMessage("ok", note=TEXT)]),
        "role": (history.add_messages, [ChatMessage("ok", role=TEXT)]),
        "turn": (history.add_messages, [("human", TEXT), {"role": "assistant", "content": "ok"}]),
        "title": (memory.sessions.rename, "s", TEXT),
        "put": (store.put, ("a", "b"), "k", {"text": TEXT}),
        "batch": (store.batch, [PutOp(("a",), "k", {"deep": [{"text": TEXT}]})]),
        "key of an object": (store.put, ("a", "b"), "k", {TEXT: 1}),
        "update": (store.update, ("a", "b"), "k", lambda _: {"text": TEXT}),
        "update many": (store.update_many, [(("a",), "k")], lambda _: {(("a",), "k"): {"text": TEXT}}),
        "profile": (memory.profiles.save, UserProfile(user_id=USER, name=TEXT)),
        "preference": (memory.profiles.update_preference, USER, "key", TEXT),
        "fact": (memory.profiles.add_fact, USER, TEXT),
        "memory": (memory.memories.save, USER, TEXT),
        "knowledge": (memory.knowledge.add, "docs", [TEXT]),
        "variable": (memory.variables.set, "key", {"value": TEXT}),
        "record": (memory.records.save, "planner", {"output": TEXT}),
    }


PATHS = sorted(write_paths(AgentMemory.from_url("sqlite:///:memory:")))


async def stored_in(memory, call):
    """Return everything that the memory returns, as one text."""
    found = [
        await call(memory.history("s", user_id=USER).get_recent, 100),
        [item.value for item in await call(memory.store.search, (), limit=100)],
        await call(memory.profiles.get, USER),
        await call(memory.memories.list, USER),
        await call(memory.variables.all),
        await call(memory.records.query),
        await call(memory.sessions.list),
    ]
    return repr(
        [list(one) if isinstance(one, list) else vars(one) if hasattr(one, "__dict__") else one for one in found]
    )


@pytest.mark.parametrize("path", PATHS)
async def test_a_credential_is_refused_before_anything_is_written(url, call, path):
    with AgentMemory.from_url(url, guard=Guard()) as memory:
        before = await stored_in(memory, call)
        method, *arguments = write_paths(memory)[path]
        with pytest.raises(SecretFoundError, match=r"AWS Access Key.*Nothing was stored") as raised:
            await call(method, *arguments)
        assert SECRET not in str(raised.value)
        assert await stored_in(memory, call) == before


@pytest.mark.parametrize("path", PATHS)
async def test_a_credential_is_redacted(url, call, path):
    with AgentMemory.from_url(url, guard=Guard("redact")) as memory:
        if path == "title":
            memory.history("s", user_id=USER).add_user_message("hello")
        method, *arguments = write_paths(memory)[path]
        keywords = {"user_id": USER} if path == "title" else {}
        await call(method, *arguments, **keywords)
        stored = await stored_in(memory, call)
        assert SECRET not in stored
        assert "[redacted: AWS Access Key]" in stored


async def test_the_objects_of_the_caller_are_not_changed(url, call):
    with AgentMemory.from_url(url, guard=Guard("redact")) as memory:
        message, value = HumanMessage(TEXT), {"text": TEXT}
        await call(memory.history("s").add_messages, [message])
        await call(memory.store.put, ("a",), "k", value)
        assert (message.content, value) == (TEXT, {"text": TEXT})
        assert (await call(memory.store.update, ("a",), "k", lambda old: {**old, "more": TEXT}))["more"] == REDACTED
        stored = await call(memory.store.update_many, [(("a",), "k")], lambda _: {(("a",), "k"): {"text": TEXT}})
        assert stored == {(("a",), "k"): {"text": REDACTED}}
        assert [one.content for one in await call(memory.history("s").get_recent, 5)] == [REDACTED]
        assert (await call(memory.sessions.list))[0].title == REDACTED


async def test_texts_without_credentials_are_stored_as_they_are(url, call):
    messages = [
        HumanMessage("I forgot my password. Which password? The secret of the api_key is a token."),
        HumanMessage([{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{SECRET * 3}"}}]),
        AIMessage([{"type": "thinking", "thinking": "x", "signature": SECRET}]),
    ]
    with AgentMemory.from_url(url, guard=Guard()) as memory:
        await call(memory.history("s").add_messages, messages)
        stored = await call(memory.history("s").get_recent, 5)
        assert [one.content for one in stored] == [one.content for one in messages]


async def test_a_chain_with_a_history_loses_no_turn(url, call, caplog):
    with AgentMemory.from_url(url, guard=Guard(max_length=50)) as memory:
        model = ScriptedChatModel(["ok " + "x" * 100])
        prompt = ChatPromptTemplate([MessagesPlaceholder("history"), ("human", "{input}")])
        chain = RunnableWithMessageHistory(
            prompt | model, memory.get_session_history, input_messages_key="input", history_messages_key="history"
        )
        with caplog.at_level(logging.WARNING):
            await call(chain.invoke, {"input": TEXT}, {"configurable": {"session_id": "s"}})
        stored = [one.content for one in memory.history("s").messages]
        assert stored == [REDACTED, "ok " + "x" * 46 + "…"]
        assert "without what the guard refuses" in caplog.text
        assert SECRET not in caplog.text


async def test_extraction_redacts_what_a_model_proposes(url, call):
    answer = f'{{"changes": [{{"action": "add", "text": "Uses {SECRET}", "messages": [1]}}]}}'
    with AgentMemory.from_url(url, guard=Guard()) as memory:
        done = await call(memory.learn, [("user", f"I use {SECRET}")], user_id=USER, model=ScriptedChatModel([answer]))
        assert done.error is None
        facts = (await call(memory.profiles.get, USER)).facts
        assert [fact.text for fact in facts] == ["Uses [redacted: AWS Access Key]"]


MARK = "[redacted: AWS Access Key]"
FACTS = {
    "topics": {"topics": ["home", SECRET]},
    "metadata": {"metadata": {SECRET: 1}},
    "sources": {"sources": [SECRET]},
    "agent": {"agent": SECRET},
}


@pytest.mark.parametrize("part", FACTS)
async def test_each_part_of_a_fact_is_checked(lasting_url, call, part):
    with AgentMemory.from_url(lasting_url, guard=Guard()) as memory:
        with pytest.raises(SecretFoundError, match=f"The {part} of the fact contains"):
            await call(memory.profiles.add_fact, USER, "a thing", **FACTS[part])
        assert await call(memory.profiles.timeline, USER) == []
    with AgentMemory.from_url(lasting_url, guard=Guard("redact")) as memory:
        returned = await call(memory.profiles.add_fact, USER, "a thing", **FACTS[part])
        assert MARK.casefold() in repr(returned).casefold()
        (stored,) = await call(memory.profiles.timeline, USER)
        assert stored == returned
        await call(memory.close)
    assert_nowhere(lasting_url)


def assert_nowhere(url):
    """Assert that the credential is nowhere in the database, in capitals or not."""
    with database(url) as opened:
        found = [name for name, data in opened.everything().items() if SECRET.lower().encode() in data.lower()]
    assert found == []


async def test_a_fact_is_returned_as_it_is_stored(url, call):
    with AgentMemory.from_url(url, guard=Guard("redact")) as memory:
        assert (await call(memory.profiles.add_fact, USER, TEXT)).text == REDACTED
        (fact,) = await call(memory.profiles.add_facts, USER, [{"text": f"Uses {SECRET}", "topics": [SECRET]}])
        assert (fact.text, fact.topics) == (f"Uses {MARK}", [MARK.casefold()])
        profile = await call(memory.profiles.get, USER)
        assert [one.text for one in profile.facts] == [REDACTED, f"Uses {MARK}"]
        assert (await call(memory.memories.save, USER, TEXT)).text == REDACTED
        assert (await call(memory.profiles.add_fact, USER, TEXT)).id == profile.facts[0].id


ENTITIES = {
    "name": lambda entities: (entities.upsert, SECRET),
    "kind": lambda entities: (entities.upsert, "Acme", SECRET),
    "aliases": lambda entities: (entities.apply, {"entities": [{"name": "Acme", "aliases": [SECRET]}]}),
    "subject": lambda entities: (entities.relate, SECRET, "uses", "Acme"),
    "predicate": lambda entities: (entities.relate, "Alice", SECRET, "Acme"),
}


@pytest.mark.parametrize("part", ENTITIES)
async def test_each_part_of_an_entity_is_checked(lasting_url, call, part):
    with AgentMemory.from_url(lasting_url, guard=Guard()) as memory:
        method, *arguments = ENTITIES[part](memory.entities)
        with pytest.raises(SecretFoundError, match=r"The (entity|relation) contains"):
            await call(method, USER, *arguments)
        assert await call(memory.entities.list, USER) == []
    with AgentMemory.from_url(lasting_url, guard=Guard("redact")) as memory:
        method, *arguments = ENTITIES[part](memory.entities)
        returned = await call(method, USER, *arguments)
        assert SECRET.lower() not in repr(returned).lower()
        graph = await call(memory.entities.graph, USER)
        assert "redacted: aws access key" in repr([*graph.entities, *graph.relations]).lower()
        await call(memory.close)
    assert_nowhere(lasting_url)


@pytest.mark.parametrize("action", ["reject", "redact"])
async def test_an_extraction_returns_what_is_stored(lasting_url, call, action):
    changes = [
        {"action": "add", "text": f"Uses {SECRET}", "topics": [SECRET], "messages": [1]},
        {"action": "add", "field": "name", "value": SECRET, "messages": [1]},
        {"action": "add", "field": ["preferences", SECRET], "value": SECRET, "messages": [1]},
    ]
    entities = {"entities": [{"name": SECRET, "kind": "key", "aliases": [f"the {SECRET}"]}]}
    model = ScriptedChatModel([json.dumps({"changes": changes, "entities": entities})])
    seen = []
    with AgentMemory.from_url(lasting_url, guard=Guard(action)) as memory:
        talk = [("user", f"I use {SECRET}")]
        done = await call(memory.learn, talk, user_id=USER, model=model, entities=True, on_extraction=seen.append)
        assert (done.error, done.added[0].text) == (None, f"Uses {MARK}")
        assert done.added[0].topics == [MARK.casefold()]
        assert seen
        assert SECRET.lower() not in repr([done, seen]).lower()
        assert list(done.added) == await call(memory.profiles.timeline, USER)
        await call(memory.close)
    assert_nowhere(lasting_url)


async def test_the_status_of_a_record_is_checked(url, call):
    with AgentMemory.from_url(url, guard=Guard()) as memory:
        with pytest.raises(SecretFoundError, match="The status contains"):
            await call(memory.records.save, "writer", {}, status=SECRET)
        assert await call(memory.records.query) == []


async def test_a_summary_is_redacted(url, call):
    with AgentMemory.from_url(url, guard=Guard()) as memory:
        history = memory.history("s")
        for number in range(3):
            await call(history.add_messages, [HumanMessage(f"q{number}"), AIMessage(f"a{number}")])
        summary = await call(memory.summary, "s", model=ScriptedChatModel([f'{{"summary": "They use {SECRET}."}}']))
        assert summary is not None
        assert (await call(memory.summary, "s")).text == "They use [redacted: AWS Access Key]."


async def test_what_a_model_wrote_is_stored_at_any_length(url, call):
    text = "likes tea " * 10
    answer = f'{{"changes": [{{"action": "add", "text": "{text}", "messages": [1]}}]}}'
    with AgentMemory.from_url(url, guard=Guard(max_length=60)) as memory:
        await call(memory.history("s").add_messages, [("human", "q"), ("ai", "a")])
        summary = await call(memory.summary, "s", model=ScriptedChatModel([f'{{"summary": "{text}"}}']))
        assert summary.text == text.strip()
        done = await call(memory.learn, [("user", "I like tea")], user_id=USER, model=ScriptedChatModel([answer]))
        assert done.error is None
        assert [fact.text for fact in (await call(memory.profiles.get, USER)).facts] == [text.strip()]


async def test_the_summary_of_a_thread_is_redacted(url, call):
    with AgentMemory.from_url(url, guard=Guard()) as memory:
        writer = ScriptedChatModel([f'{{"summary": "They use {SECRET}."}}'] * 4)
        compress = memory.compressor(writer, max_tokens=100)
        messages = [kind(f"{number} " + "word " * 40) for number in range(4) for kind in (HumanMessage, AIMessage)]
        first = await call(compress.invoke, messages, {"configurable": {"thread_id": "t"}})
        again = await call(compress.invoke, messages, {"configurable": {"thread_id": "t"}})
        assert "[redacted: AWS Access Key]" in str(again)
        assert SECRET not in str(again)
        assert len(first) < len(messages)


async def test_objects_that_a_chain_stores_as_data_are_redacted(url, call, caplog):
    with AgentMemory.from_url(url, guard=Guard()) as memory:
        answer = AIMessage("ok", additional_kwargs={"parsed": UserProfile(user_id=USER, name=TEXT)})
        chain = RunnableWithMessageHistory(RunnableLambda(lambda _: answer), memory.get_session_history)
        await call(chain.invoke, [HumanMessage("hi")], {"configurable": {"session_id": "s"}})
        stored = repr(memory.history("s").messages)
        assert (SECRET in stored, REDACTED in stored) == (False, True)


async def test_a_value_that_contains_itself_is_refused_as_without_a_guard(url, call):
    value = {}
    value["a"] = [value, value]
    for guard in (None, Guard("redact")):
        with AgentMemory.from_url(url, guard=guard) as memory:
            for method, arguments in (
                (memory.store.put, [("a",), "k", value]),
                (memory.variables.set, ["v", value]),
                (memory.records.save, ["planner", value]),
                (memory.history("s").add_messages, [[ToolMessage("x", tool_call_id="1", artifact=value)]]),
            ):
                with pytest.raises((InvalidInputError, UnsupportedValueError), match=r"nested|recursion"):
                    await call(method, *arguments)


@pytest.mark.parametrize("checkpoints", [False, True])
async def test_checkpoints_are_guarded_only_on_request(url, call, checkpoints):
    with AgentMemory.from_url(url, guard=Guard("redact", checkpoints=checkpoints)) as memory:
        builder = StateGraph(MessagesState).add_node("reply", lambda _: {"messages": [AIMessage(f"Use {SECRET}")]})
        graph = builder.add_edge(START, "reply").compile(checkpointer=memory.checkpointer)
        run = {"configurable": {"thread_id": "t"}}
        await call(graph.invoke, {"messages": [HumanMessage(TEXT)]}, run)
        state = await call(graph.get_state, run)
        texts = [one.content for one in state.values["messages"]]
        assert texts == ([REDACTED, "Use [redacted: AWS Access Key]"] if checkpoints else [TEXT, f"Use {SECRET}"])


async def test_a_guard_that_rejects_fails_the_run_whose_checkpoint_it_refuses(url, call):
    with AgentMemory.from_url(url, guard=Guard(checkpoints=True)) as memory:
        builder = StateGraph(MessagesState).add_node("reply", lambda _: {"messages": [AIMessage("hi")]})
        graph = builder.add_edge(START, "reply").compile(checkpointer=memory.checkpointer)
        with pytest.raises(SecretFoundError):
            await call(graph.invoke, {"messages": [HumanMessage(TEXT)]}, {"configurable": {"thread_id": "t"}})


async def test_a_long_text_is_refused(url, call):
    for action in ("reject", "redact"):
        with AgentMemory.from_url(url, guard=Guard(action, max_length=10)) as memory:
            for method, arguments in (
                (memory.history("s").add_messages, [[HumanMessage("x" * 11)]]),
                (memory.store.put, [("a",), "k", {"text": ["x" * 11]}]),
                (memory.variables.set, ["v", "x" * 11]),
            ):
                with pytest.raises(InvalidInputError, match="a text of 11 characters; the guard accepts 10"):
                    await call(method, *arguments)
            await call(memory.history("s").add_messages, [HumanMessage("x" * 10)])
