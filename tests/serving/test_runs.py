"""Turns of agents: their threads, answers, streams, interrupts, limits and ends."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableGenerator, RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory
from langchain_core.tools import tool
from langgraph.graph import MessagesState, StateGraph
from langgraph.types import interrupt
from requests_of_routes import (
    ALICE,
    BOB,
    OF_ALL,
    OF_SHOP,
    client,
    echo,
    local_client,
    never,
)

from langchain_agentmem import AgentMemory, InvalidInputError, InvalidTypeError
from langchain_agentmem.serving import Access, ServingLimits, create_app
from langchain_agentmem.serving.turns import Events
from langchain_agentmem.testing import ScriptedChatModel


@pytest.fixture
async def local():
    """A client of a service without keys, and its memory."""
    async with local_client() as session:
        yield session


async def events(answer: Any) -> list[tuple[str, Any]]:
    """Return the server-sent events of an answer."""
    parts = (await answer.aread()).decode().split("\n\n")
    lines = [part.split("\n") for part in parts if part and not part.startswith(":")]
    return [(one[0].removeprefix("event: "), json.loads(one[1].removeprefix("data: "))) for one in lines]


async def test_a_chain_without_users_keeps_their_sessions_apart():
    memory = AgentMemory.from_url("sqlite:///:memory:")
    prompt = ChatPromptTemplate.from_messages([MessagesPlaceholder("history"), ("user", "{input}")])
    model = ScriptedChatModel(["One", "Two"])
    chain = RunnableWithMessageHistory(
        prompt | model, memory.get_session_history, input_messages_key="input", history_messages_key="history"
    )
    app = create_app(memory, agents={"chain": chain})
    async with client(app) as session:
        for user in (ALICE, BOB):
            body = {"message": f"I am {user}", "user_id": user, "session_id": "s"}
            assert (await session.post("/v1/agents/chain/run", json=body)).status_code == 200
    assert [[message.text for message in request] for request in model.requests] == [[f"I am {ALICE}"], [f"I am {BOB}"]]
    await memory.aclose()


async def test_an_answer_is_streamed(local):
    body = {"message": "Hello", "user_id": ALICE, "session_id": "s", "stream": True}
    async with local.stream("POST", "/v1/agents/echo/run", json=body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        found = await events(answer)
    assert [name for name, _ in found] == ["token", "done"]
    assert found[0][1] == {"text": "You said: Hello", "message_id": found[1][1]["message_id"], "tool_calls": []}
    assert found[1][1]["content"] == "You said: Hello"
    assert found[1][1]["thread_id"] == f"{ALICE}/s/echo"


class InParts(ScriptedChatModel):
    """A scripted model that streams: each word of a text, and each tool call in two parts."""

    def _stream(self, *args: Any, **options: Any):
        message = self._generate(*args, **options).generations[0].message
        for word in str(message.content).split(" "):
            yield ChatGenerationChunk(message=AIMessageChunk(word))
        for at, call in enumerate(message.tool_calls):
            arguments = json.dumps(call["args"])
            for name, part in ((call["name"], arguments[:5]), (None, arguments[5:])):
                chunk = {"name": name, "args": part, "id": name and call["id"], "index": at, "type": "tool_call_chunk"}
                yield ChatGenerationChunk(message=AIMessageChunk("", tool_call_chunks=[chunk]))


@tool
def look_up(city: str) -> str:
    """Look up the weather of a city."""
    return f"It is sunny in {city}."


@pytest.mark.parametrize("kind", [InParts, ScriptedChatModel])
async def test_each_part_of_a_stream_names_its_message(kind):
    memory = AgentMemory.from_url("sqlite:///:memory:")
    called = AIMessage("Let me look.", tool_calls=[{"name": "look_up", "args": {"city": "Náxos"}, "id": "call-1"}])
    app = create_app(
        memory,
        agents={"graph": create_agent(kind([called, "It is sunny."]), [look_up]), "chain": kind([called])},
    )
    async with client(app) as session:
        for agent in ("graph", "chain"):
            body = {"message": "Hi", "user_id": ALICE, "session_id": "s", "stream": True}
            *parts, (last, answer) = await events(await session.post(f"/v1/agents/{agent}/run", json=body))
            assert (last, {name for name, _ in parts}) == ("done", {"token"})
            ids = list(dict.fromkeys(one["message_id"] for _, one in parts))
            texts = ["".join(one["text"] for _, one in parts if one["message_id"] == id_) for id_ in ids]
            assert [text.replace(" ", "") for text in texts] == ["Letmelook.", "Itissunny."][: len(ids)]
            assert (len(ids), ids[-1]) == (2 if agent == "graph" else 1, answer["message_id"])
            calls = [call for _, one in parts if one["message_id"] == ids[0] for call in one["tool_calls"]]
            assert [call["name"] for call in calls if call["name"]] == ["look_up"]
            assert ({call["index"] for call in calls}, calls[0]["id"]) == ({0}, "call-1")
            assert json.loads("".join(call["args"] for call in calls)) == {"city": "Náxos"}
            if agent == "graph":
                thread = {"thread_id": answer["thread_id"], "user_id": ALICE}
                stored = (await session.get("/v1/thread/messages", params=thread)).json()["items"]
                assert [one["id"] for one in stored if one["role"] == "ai"] == ids
    await memory.aclose()


async def test_a_chain_is_streamed_in_parts():
    memory = AgentMemory.from_url("sqlite:///:memory:")

    async def parts(messages: Any):
        async for _ in messages:
            for part in ("Hel", "lo"):
                yield part

    app = create_app(memory, agents={"parts": RunnableGenerator(parts)})
    async with client(app) as session:
        body = {"message": "Hi", "stream": True}
        async with session.stream("POST", "/v1/agents/parts/run", json=body) as answer:
            found = await events(answer)
    assert [(name, data.get("text", data.get("content"))) for name, data in found] == [
        ("token", "Hel"),
        ("token", "lo"),
        ("done", "Hello"),
    ]
    await memory.aclose()


@pytest.mark.parametrize("stream", [False, True])
async def test_an_interrupted_turn_is_resumed(stream):
    memory = AgentMemory.from_url("sqlite:///:memory:")
    builder = StateGraph(MessagesState)
    builder.add_node("ask", lambda _: {"messages": [("ai", f"You chose {interrupt({'choose': ['a', 'b']})}")]})
    builder.set_entry_point("ask")
    app = create_app(memory, agents={"choice": builder.compile()})
    about = {"user_id": ALICE, "session_id": "s", "stream": stream}
    async with client(app) as session:
        asked = await session.post("/v1/agents/choice/run", json={"message": "Go", **about})
        first = (await events(asked))[-1][1] if stream else asked.json()
        assert (first["content"], [one["value"] for one in first["interrupts"]]) == ("", [{"choose": ["a", "b"]}])
        resumed = await session.post("/v1/agents/choice/run", json={"resume": "b", **about})
        second = (await events(resumed))[-1][1] if stream else resumed.json()
        assert (second["content"], second["interrupts"]) == ("You chose b", [])
    await memory.aclose()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_thread_without_an_interrupted_turn_is_not_resumed(stream):
    def answer(state: MessagesState) -> Any:
        if state["messages"][-1].text == "Fail":
            raise ValueError
        return {"messages": [("ai", "Done")]}

    memory = AgentMemory.from_url("sqlite:///:memory:")
    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.set_entry_point("answer")
    agents = {
        "plain": builder.compile(),
        "stops": builder.compile(interrupt_before=["answer"]),
        "forgets": builder.compile(checkpointer=False),
    }
    app = create_app(memory, agents=agents)

    async def run(session: Any, agent: str, **body: Any) -> tuple[int, Any]:
        path = f"/v1/agents/{agent}/run"
        answer = await session.post(path, json={"user_id": ALICE, "session_id": "s", "stream": stream, **body})
        found = (await events(answer))[-1][1] if stream else answer.json()
        return found.get("status", 200), found.get("content")

    async with client(app) as session:
        for agent in agents:
            assert (await run(session, agent, resume=False))[0] == 409, "a new thread"
        for agent in ("plain", "forgets"):
            assert await run(session, agent, message="Hello") == (200, "Done")
            assert (await run(session, agent, resume="yes"))[0] == 409, "an ended turn"
        assert await run(session, "plain", message="Fail") == (500, None)
        assert (await run(session, "plain", resume="yes"))[0] == 409, "a failed turn"
        await run(session, "stops", message="Hello")
        assert await run(session, "stops", resume=True) == (200, "Done")
        assert (await run(session, "stops", resume=True))[0] == 409, "a resumed turn"
    await memory.aclose()


@pytest.mark.parametrize("stream", [False, True])
async def test_an_agent_that_fails_leaks_nothing(stream, caplog):
    memory = AgentMemory.from_url("sqlite:///:memory:")

    def fail(_: Any) -> str:
        msg = "password=hunter2"
        raise RuntimeError(msg)

    app = create_app(memory, agents={"broken": RunnableLambda(fail)})
    async with client(app) as session:
        answer = await session.post("/v1/agents/broken/run", json={"message": "Hi", "stream": stream})
        problem = (await events(answer))[-1][1] if stream else answer.json()
    assert (problem["status"], problem["detail"]) == (500, "An unexpected error.")
    assert "hunter2" not in answer.text
    assert "hunter2" not in caplog.text
    (record,) = [one for one in caplog.records if getattr(one, "error", None) == "RuntimeError"]
    line = fail.__code__.co_firstlineno + 2
    assert record.places[-1] == f"{__file__}:{line} fail"
    assert record.getMessage().startswith("RuntimeError, at ")
    assert record.getMessage().endswith(record.places[-1])
    await memory.aclose()


async def test_an_agent_itself_is_served_to_its_own_tenant_only():
    memory = AgentMemory.from_url("sqlite:///:memory:")
    agents = {"own": echo(memory), "everyone": echo}
    app = create_app(memory, agents=agents, api_keys={OF_ALL: Access(), OF_SHOP: Access(tenant="shop")})
    body = {"message": "Hi", "user_id": ALICE, "session_id": "s"}
    async with client(app, OF_SHOP) as session:
        assert (await session.get("/v1/agents")).json() == {"items": ["everyone"]}
        assert (await session.post("/v1/agents/own/run", json=body)).status_code == 404
        assert (await session.post("/v1/agents/everyone/run", json=body)).status_code == 200
    async with client(app, OF_ALL) as session:
        assert (await session.get("/v1/agents")).json() == {"items": ["everyone", "own"]}
        assert (await session.get("/v1/threads")).json()["items"] == []
    await memory.aclose()


@pytest.mark.parametrize(
    ("agents", "error", "text"),
    [
        (["echo"], InvalidTypeError, "agents must be a mapping"),
        ({"": RunnableLambda(str)}, InvalidInputError, "name of an agent"),
        ({"a": "graph"}, InvalidTypeError, "Agent 'a' must be a compiled graph"),
        ({"a": StateGraph(MessagesState)}, InvalidTypeError, r"Call compile\(\) on the builder"),
        ({"a": lambda _: None}, InvalidTypeError, "got NoneType"),
        ({"a": ChatPromptTemplate.from_template("{x} {y}")}, InvalidInputError, "has the fields x, y"),
    ],
)
def test_wrong_agents_are_refused(agents, error, text):
    with AgentMemory.from_url("sqlite:///:memory:") as memory, pytest.raises(error, match=text):
        create_app(memory, agents=agents)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_process_runs_a_limited_number_of_turns(stream):
    memory = AgentMemory.from_url("sqlite:///:memory:")
    goes_on = asyncio.Event()
    started = asyncio.Event()

    async def slow(_: Any) -> str:
        started.set()
        await goes_on.wait()
        return "Done"

    app = create_app(memory, limits=ServingLimits(turns=1), agents={"slow": RunnableLambda(slow)})
    body = {"message": "Hi", "stream": stream}
    async with client(app) as session:
        first = asyncio.create_task(session.post("/v1/agents/slow/run", json=body))
        await started.wait()
        refused = await session.post("/v1/agents/slow/run", json=body)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        goes_on.set()
        assert "Done" in (await first).text
        assert "Done" in (await session.post("/v1/agents/slow/run", json=body)).text
    await memory.aclose()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_turn_that_the_end_of_the_application_cancels_is_an_error(stream):
    memory = AgentMemory.from_url("sqlite:///:memory:")
    started = asyncio.Event()

    async def slow(_: Any) -> str:
        started.set()
        await never()
        return ""

    app = create_app(memory, limits=ServingLimits(shutdown_timeout=0.01), agents={"slow": RunnableLambda(slow)})
    async with client(app) as session:
        async with app.router.lifespan_context(app):
            body = {"message": "Hi", "stream": stream}
            request = asyncio.create_task(session.post("/v1/agents/slow/run", json=body))
            await started.wait()
        answer = await request
        problem = (await events(answer))[-1][1] if stream else answer.json()
    assert (problem["status"], problem["detail"]) == (503, "The service is shutting down.")


async def test_events_are_dropped_after_the_client_has_left():
    read = Events()
    read.send("token", "1")
    body = read.body()
    assert await anext(body) == b"event: token\ndata: 1\n\n"
    await body.aclose()
    read.send("token", "2")
    assert read._queue.empty()


async def test_the_end_of_the_application_finishes_turns_and_extraction():
    memory = AgentMemory.from_url("sqlite:///:memory:")
    started, goes_on, done = asyncio.Event(), asyncio.Event(), []

    async def slow(_: Any) -> str:
        started.set()
        await goes_on.wait()
        done.append("turn")
        return "Done"

    app = create_app(memory, agents={"slow": RunnableLambda(slow)})
    async with app.router.lifespan_context(app):
        async with client(app) as session:
            request = asyncio.create_task(session.post("/v1/agents/slow/run", json={"message": "Hi"}))
            await started.wait()
            request.cancel()  # the client leaves
            await asyncio.gather(request, return_exceptions=True)
        asyncio.get_running_loop().call_later(0.05, goes_on.set)
    assert done == ["turn"]


async def test_turns_of_a_thread_follow_each_other():
    memory = AgentMemory.from_url("sqlite:///:memory:")
    running, most = 0, 0

    async def slow(messages: Any) -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return messages[-1].text

    app = create_app(memory, agents={"slow": RunnableLambda(slow)})
    async with client(app) as session:
        bodies = [{"message": f"{n}", "user_id": ALICE, "session_id": "s"} for n in range(5)]
        answers = await asyncio.gather(*(session.post("/v1/agents/slow/run", json=body) for body in bodies))
    assert ([one.json()["content"] for one in answers], most) == (["0", "1", "2", "3", "4"], 1)
    await memory.aclose()
