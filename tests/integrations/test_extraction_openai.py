"""Extraction through langchain-openai, against a server that speaks the OpenAI API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_openai import ChatOpenAI
from langgraph.graph import START as BEGIN
from langgraph.graph import MessagesState, StateGraph
from openai_server import Answer, OpenAIServer, calls, cut_off, fails, garbles, refuses, says
from patience import PATIENCE
from profiles import ALICE, add, answer, config, human, texts

from langchain_agentmem import AgentMemory

TOOL = "change_profile"
LIKES = {"changes": [add("Likes hiking", topics=["hobbies"], messages=[1])]}
SAID = [human("I love to hike.", "m1")]


@pytest.fixture(scope="module")
def running() -> Iterator[OpenAIServer]:
    with OpenAIServer() as opened:
        yield opened


@pytest.fixture
def server(running: OpenAIServer) -> OpenAIServer:
    running.reset()
    return running


@pytest.fixture
def memory() -> Iterator[AgentMemory]:
    with AgentMemory.from_url("sqlite:///:memory:") as opened:
        yield opened


@pytest.fixture(scope="module")
def model(running: OpenAIServer) -> ChatOpenAI:
    return ChatOpenAI(base_url=running.url, api_key="none", model="test", max_retries=0, timeout=PATIENCE)


def known(memory: AgentMemory) -> list[str]:
    return texts(memory.profiles.get(ALICE).facts)


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("auto", calls(TOOL, LIKES)),
        ("tools", calls(TOOL, LIKES)),
        ("tools", says(json.dumps(LIKES))),
        ("json_schema", says(json.dumps(LIKES))),
        ("json", says(json.dumps(LIKES))),
        ("json", says(f"Sure! Here is what changed:\n```json\n{json.dumps(LIKES, indent=2)}\n```\nAnything else?")),
        (
            "json",
            says('I think {this} is it: {"changes": [{"action": "add", "text": "Likes hiking",},]} as [you] asked.'),
        ),
        ("json", says(json.dumps(LIKES["changes"]))),
    ],
    ids=["auto", "tools", "tools-as-text", "json_schema", "json", "fence", "prose-and-commas", "list"],
)
async def test_each_way_to_answer(server, memory, model, call, method, given):
    server.will(given)
    done = await call(memory.profile_node(model, method=method).invoke, SAID, config())
    assert (done.error, done.calls, known(memory)) == (None, 1, ["Likes hiking"])
    (request,) = server.requests
    assert ("tools" in request, "response_format" in request) == (method in ("auto", "tools"), method == "json_schema")
    assert ('"enum": ["add", "update", "remove"]' in request["messages"][0]["content"]) == (method == "json")
    if "tools" in request:
        assert request["tool_choice"] == "required"


UNUSABLE: dict[str, Answer] = {
    "prose": says("I am sorry, I do not understand."),
    "cut off": cut_off('{"changes": [{"action": "add", "text": "Likes hi'),
    "cut off but whole": cut_off(json.dumps(LIKES)),
    "invalid arguments": calls(TOOL, '{"changes": [{"action": "add", "text": '),
    "cut off call": calls(TOOL, '{"changes": [{"action": "a', finish="length"),
    "wrong shape": calls(TOOL, {"changes": "Likes hiking"}),
    "no changes": calls(TOOL, {"facts": ["Likes hiking"]}),
    "unknown action": calls(TOOL, {"changes": [{"action": "invent", "text": "Likes hiking"}]}),
    "unknown fact": calls(TOOL, {"changes": [{"action": "update", "fact": 7, "text": "Likes hiking"}]}),
    "unknown field": calls(TOOL, {"changes": [{"action": "update", "field": "shoe", "value": 7}]}),
    "managed field": calls(TOOL, {"changes": [{"action": "update", "field": "user_id", "value": "bob"}]}),
    "wrong type": calls(TOOL, {"changes": [{"action": "update", "field": "name", "value": {"a": 1}}]}),
    "too long": calls(TOOL, {"changes": [add("x" * 501)]}),
    "too many": calls(TOOL, {"changes": [add(f"Has {number} dogs") for number in range(21)]}),
    "no text": calls(TOOL, {"changes": [{"action": "add"}]}),
    "one of several": calls(TOOL, {"changes": [add("Likes hiking"), {"action": "remove", "fact": 2}]}),
    "no unicode": calls(TOOL, '{"changes": [{"action": "add", "text": "Likes \\ud800"}]}'),
    "no number": calls(TOOL, '{"changes": [{"action": "update", "field": "preferences.a", "value": NaN}]}'),
}


@pytest.mark.parametrize("fault", UNUSABLE)
async def test_an_answer_that_cannot_be_used_is_asked_for_once_more_with_what_was_wrong(server, memory, model, fault):
    server.will(UNUSABLE[fault], calls(TOOL, LIKES))
    done = await memory.profile_node(model).ainvoke(SAID, config())
    assert (done.error, done.calls, known(memory)) == (None, 2, ["Likes hiking"])
    first, second = (request["messages"] for request in server.requests)
    assert first[0] == second[0]
    assert second[1]["content"].startswith(first[1]["content"])
    assert "What is wrong with it: <data>" in second[1]["content"]


@pytest.mark.parametrize("fault", ["too many", "one of several"])
def test_the_valid_changes_of_a_second_answer_are_stored(server, memory, model, fault, caplog):
    server.will(UNUSABLE[fault], UNUSABLE[fault])
    done = memory.profile_node(model).invoke(SAID, config())
    assert (done.error, done.calls, len(done.refused)) == (None, 2, 1)
    assert len(done.added) == (20 if fault == "too many" else 1)
    assert "1 changes from 1 messages were refused" in caplog.text
    assert done.refused[0] not in caplog.text


@pytest.mark.parametrize("fault", [one for one in UNUSABLE if one not in ("too many", "one of several")])
def test_a_second_answer_that_cannot_be_used_changes_nothing_and_is_reported(server, memory, model, fault, caplog):
    server.will(UNUSABLE[fault], UNUSABLE[fault], calls(TOOL, LIKES))
    node = memory.profile_node(model)
    done = node.invoke(SAID, config())
    assert done.error
    assert (done.calls, done.changed, known(memory)) == (2, False, [])
    assert done.error in caplog.text
    assert node.invoke(SAID, config()).error is None  # the messages were not taken for read
    assert known(memory) == ["Likes hiking"]


def test_a_structured_answer_that_was_cut_off_is_asked_for_once_more(server, memory, model):
    server.will(cut_off('{"changes": [{"acti'), says(json.dumps(LIKES)))
    done = memory.profile_node(model, method="json_schema").invoke(SAID, config())
    assert (done.error, done.calls, known(memory)) == (None, 2, ["Likes hiking"])


@pytest.mark.parametrize("method", ["tools", "json_schema", "json"])
async def test_a_refusal_is_reported_and_given_up_after_three_runs(server, memory, model, call, method):
    node = memory.profile_node(model, method=method)
    for _ in range(3):
        server.will(refuses("I cannot help with that."))
        done = await call(node.invoke, SAID, config())
        assert "refused: I cannot help with that." in done.error
    assert len(server.requests) == 3
    done = await call(node.invoke, SAID, config())
    assert (done.messages, done.error) == (0, None)
    server.will(Answer({"content": json.dumps(LIKES)}))
    await call(node.invoke, [*SAID, human("Really.", "m2")], config())
    assert known(memory) == ["Likes hiking"]


@pytest.mark.parametrize("status", [429, 500, 503, 401])
async def test_an_error_of_the_server_changes_nothing_and_is_read_again(server, memory, model, call, status, caplog):
    node = memory.profile_node(model)
    for _ in range(4):
        server.will(fails(status))
        done = await call(node.invoke, SAID, config())
        assert f"scripted {status}" in done.error
        assert done.calls == 1
    server.will(calls(TOOL, LIKES))
    assert (await call(node.invoke, SAID, config())).error is None
    assert known(memory) == ["Likes hiking"]
    assert f"scripted {status}" in caplog.text


async def test_what_is_no_answer_at_all_and_what_comes_too_late(server, memory, call):
    hasty = ChatOpenAI(base_url=server.url, api_key="none", model="test", max_retries=0, timeout=0.05)
    node = memory.profile_node(hasty)
    server.will(garbles("<html>Bad gateway</html>"), says("too late", after=0.3), garbles("{}"))
    errors = [(await call(node.invoke, SAID, config())).error for _ in range(3)]
    assert all(errors)
    assert "imed out" in errors[1]
    assert known(memory) == []


async def test_a_slow_answer_does_not_hold_up_others(server, memory, model):
    server.default = lambda request: (
        says(answer(add("Is slow")), after=0.3) if "slow" in str(request["messages"]) else says(answer(add("Is fast")))
    )
    node = memory.profile_node(model, method="json")
    slow = asyncio.create_task(node.ainvoke([human("I am slow", "a")], config("slow", "s")))
    await node.ainvoke([human("I am quick", "b")], config("fast", "f"))
    assert not slow.done()
    assert texts((await slow).added) == ["Is slow"]


@pytest.mark.parametrize("method", ["tools", "json_schema", "json"])
async def test_its_tokens_are_no_part_of_what_the_user_sees(server, memory, method):
    model = ChatOpenAI(base_url=server.url, api_key="none", model="test", max_retries=0, streaming=True)

    async def reply(state: Any) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("reply", reply)
    builder.add_node("remember", memory.profile_node(model, method=method))
    builder.add_edge(BEGIN, "reply")
    builder.add_edge("reply", "remember")
    graph = builder.compile()
    secret = calls(TOOL, LIKES) if method == "tools" else says(json.dumps(LIKES))
    server.will(says("How nice for you!"), secret)
    streamed = [
        (chunk, metadata)
        async for chunk, metadata in graph.astream({"messages": SAID}, config(), stream_mode="messages")
    ]
    assert {metadata["langgraph_node"] for _, metadata in streamed} == {"reply"}
    assert "Hownicefor" in "".join(str(chunk.text) for chunk, _ in streamed).replace(" ", "")
    assert known(memory) == ["Likes hiking"]


WITH_ENTITIES = {
    **LIKES,
    "entities": {
        "entities": [{"name": "Robert Smith", "kind": "person", "aliases": ["Bob"], "sources": [1]}],
        "relations": [{"subject": "Bob", "predicate": "hikes with", "object": "user", "sources": [1]}],
    },
}


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("tools", calls(TOOL, WITH_ENTITIES)),
        ("json_schema", says(json.dumps(WITH_ENTITIES))),
        ("json", says(f"Here:\n```json\n{json.dumps(WITH_ENTITIES, indent=2)}\n```")),
    ],
    ids=["tools", "json_schema", "json"],
)
async def test_entities_are_asked_for_in_the_same_call(server, memory, model, call, method, given):
    server.will(given)
    done = await call(memory.profile_node(model, method=method, entities=True).invoke, SAID, config())
    assert (done.error, done.calls, known(memory), done.entities) == (
        None,
        1,
        ["Likes hiking"],
        ("Robert Smith", "user"),
    )
    (relation,) = memory.entities.relations(ALICE, "bob")
    assert (str(relation), relation.sources) == ("Robert Smith hikes with user", ("m1",))
    (request,) = server.requests
    assert "wrong_relations" in json.dumps(request)
    assert "$ref" not in json.dumps(request)


async def test_wrong_entities_are_asked_for_once_more_with_what_was_wrong(server, memory, model):
    wrong = {**LIKES, "entities": {"relations": [{"subject": "Bob", "predicate": "hikes with"}]}}
    server.will(calls(TOOL, wrong), calls(TOOL, WITH_ENTITIES))
    done = await memory.profile_node(model, entities=True).ainvoke(SAID, config())
    assert (done.error, done.calls, done.relations) == (None, 2, 1)
    assert "Relation 1: object" in server.requests[1]["messages"][1]["content"]
