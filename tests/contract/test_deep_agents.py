"""Deep Agents on a memory: its files, threads, sub-agents and interrupts, our middleware beside its own, and recall from its files."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest
from deepagents import create_deep_agent
from deepagents.backends import CompositeBackend, StateBackend, StoreBackend
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage
from langgraph.config import get_config
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command

from langchain_agentmem import AgentMemory, InvalidInputError, InvalidTypeError
from langchain_agentmem.agents.files import parts_of
from langchain_agentmem.testing import ScriptedChatModel

ALICE, BOB = "alice@example.com", "bob@example.com"


def files_of_user(_: Any) -> tuple[str, ...]:
    """The namespace of the files of the run's user."""
    return (get_config()["configurable"]["user_id"], "files")


def call_of(name: str, **arguments: Any) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": f"call-{name}"}])


def config_of(thread: str, user: str = ALICE) -> Any:
    return {"configurable": {"thread_id": thread, "user_id": user}}


def agent_of(kept_in: AgentMemory, /, *script: Any, **options: Any) -> tuple[Any, ScriptedChatModel]:
    model = ScriptedChatModel(script)
    options.setdefault("backend", StoreBackend(namespace=files_of_user))
    agent = create_deep_agent(model, checkpointer=kept_in.checkpointer, store=kept_in.store, **options)
    return agent, model


def said(text: str) -> dict[str, Any]:
    return {"messages": [HumanMessage(text)]}


def asked(model: ScriptedChatModel, number: int) -> str:
    """The text of a request."""
    return "\n".join(str(message.content) for message in model.requests[number])


# Files


OPERATIONS: list[tuple[str, tuple[Any, ...]]] = [
    ("write", ("/docs/readme.md", "hello store\nsecond line\nthird")),
    ("write", ("/docs/readme.md", "again")),
    ("write", ("/docs/api/index.md", "# API\nhello")),
    ("write", ("/notes.txt", "a_b 100% [x] *y* {z} ä 🎉\r\nlast")),
    ("write", ("/empty.txt", "")),
    ("read", ("/docs/readme.md",)),
    ("read", ("/docs/readme.md", 1, 1)),
    ("read", ("/notes.txt",)),
    ("read", ("/missing.md",)),
    ("edit", ("/docs/readme.md", "hello", "hi")),
    ("edit", ("/docs/readme.md", "absent", "hi")),
    ("edit", ("/docs/readme.md", "i", "I", True)),
    ("edit", ("/missing.md", "a", "b")),
    ("ls", ("/",)),
    ("ls", ("/docs",)),
    ("ls", ("/nowhere/",)),
    ("grep", ("hello", "/")),
    ("grep", ("100% [x]", "/")),
    ("grep", ("h", "/docs", "*.md")),
    ("glob", ("**/*.md", "/")),
    ("glob", ("*.txt", "/")),
    ("glob", ("*", "/docs")),
    ("upload_files", ([("/image.png", b"\x89PNG\x00\xff"), ("/up.txt", b"uploaded")],)),
    ("download_files", (["/image.png", "/docs/readme.md", "/missing.md"],)),
    ("delete", ("/notes.txt",)),
    ("delete", ("/notes.txt",)),
    ("ls", ("/",)),
]
"""Operations on files in the order of Deep Agents' own tests: create, read, edit, list, search, upload, download, delete."""


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_times(one) for name, one in value.items() if name not in ("created_at", "modified_at")}
    if isinstance(value, (list, tuple)):
        return [without_times(one) for one in value]
    return without_times(vars(value)) if hasattr(value, "__dict__") else value


async def test_files_are_as_in_langgraphs_store(memory, call):
    ours, theirs = (
        StoreBackend(store=store, namespace=lambda _: ("alice", "files")) for store in (memory.store, InMemoryStore())
    )
    other = StoreBackend(store=memory.store, namespace=lambda _: ("bob", "files"))
    await call(other.write, "/docs/readme.md", "of Bob")
    for method, arguments in OPERATIONS:
        result = without_times(await call(getattr(ours, method), *arguments))
        assert result == without_times(getattr(theirs, method)(*arguments)), (method, arguments)
    assert (await call(other.read, "/docs/readme.md")).file_data["content"] == "of Bob"


async def test_more_files_than_a_page_are_listed(memory, call):
    backend = StoreBackend(store=memory.store, namespace=lambda _: (ALICE, "files"))
    await call(backend.upload_files, [(f"/{number:03}.md", f"number {number}".encode()) for number in range(250)])
    assert [one["path"] for one in (await call(backend.ls, "/")).entries] == [
        f"/{number:03}.md" for number in range(250)
    ]
    assert len((await call(backend.grep, "number", "/")).matches) == 250


async def test_each_user_has_files_of_their_own(memory, call):
    agent, _ = agent_of(memory, call_of("write_file", file_path="/plan.md", content="Paint the boat"), "Noted.")
    await call(agent.invoke, said("Note it."), config_of("1"))
    agent, model = agent_of(memory, call_of("ls", path="/"), "You have none.")
    await call(agent.invoke, said("Which files do I have?"), config_of("2", BOB))
    assert "plan.md" not in asked(model, 1)
    agent, model = agent_of(memory, call_of("read_file", file_path="/plan.md"), "Paint the boat.")
    await call(agent.invoke, said("What is the plan?"), config_of("3"))
    assert "Paint the boat" in asked(model, 1)
    (kept,) = (await call(memory.forget, ALICE)).kept
    assert (kept.kind, kept.name) == ("namespace", f"{ALICE}/files")


async def test_files_of_two_kinds_beside_each_other(memory, call):
    backend = CompositeBackend(StateBackend(), {"/memories/": StoreBackend(namespace=files_of_user)})
    script = (
        call_of("write_file", file_path="/draft.md", content="draft"),
        call_of("write_file", file_path="/memories/kept.md", content="kept"),
        "Done.",
    )
    agent, _ = agent_of(memory, *script, backend=backend)
    state = await call(agent.invoke, said("Write both."), config_of("1"))
    assert [*state["files"]] == ["/draft.md"]
    assert [item.key for item in await call(memory.store.search, (ALICE, "files"))] == ["/kept.md"]


# Threads, interrupts and sub-agents


async def test_a_thread_continues_in_another_process(lasting_url, call):
    with AgentMemory.from_url(lasting_url) as memory:
        agent, _ = agent_of(memory, "Hello Alice.")
        await call(agent.invoke, said("I am Alice."), config_of("1"))
    with AgentMemory.from_url(lasting_url) as memory:
        agent, _ = agent_of(memory, "You are Alice.", "Yes.")
        state = await call(agent.invoke, said("Who am I?"), config_of("1"))
        assert [message.text for message in state["messages"]] == [
            "I am Alice.",
            "Hello Alice.",
            "Who am I?",
            "You are Alice.",
        ]
        removed = {"messages": [RemoveMessage(id=state["messages"][0].id), RemoveMessage(id=state["messages"][1].id)]}
        await call(agent.update_state, config_of("1"), removed)
        state = await call(agent.invoke, said("Sure?"), config_of("1"))
        assert [message.text for message in state["messages"]] == ["Who am I?", "You are Alice.", "Sure?", "Yes."]
        history = await call(agent.get_state_history, config_of("1"))
        assert len(history[-2].values.get("messages", [])) <= 1
        (row,) = await call(memory.checkpointer.threads, user_id=ALICE)
        assert row.checkpoint_count == len(history)


@pytest.mark.parametrize("decision", ["approve", "reject", "edit"])
async def test_an_interrupted_call_of_a_tool_is_resumed(lasting_url, call, decision):
    script = (call_of("write_file", file_path="/a.md", content="first"), "Finished.")
    with AgentMemory.from_url(lasting_url) as memory:
        agent, _ = agent_of(memory, *script, interrupt_on={"write_file": True})
        state = await call(agent.invoke, said("Write it."), config_of("1"))
        (waiting,) = state["__interrupt__"]
        assert waiting.value["action_requests"][0]["name"] == "write_file"
        assert await call(memory.store.search, (ALICE, "files")) == []
    answer: dict[str, Any] = {"type": decision}
    if decision == "edit":
        answer["edited_action"] = {"name": "write_file", "args": {"file_path": "/b.md", "content": "second"}}
    with AgentMemory.from_url(lasting_url) as memory:
        agent, _ = agent_of(memory, "Finished.", interrupt_on={"write_file": True})
        state = await call(agent.invoke, Command(resume={"decisions": [answer]}), config_of("1"))
        assert state["messages"][-1].text == "Finished."
        stored = {item.key: item.value["content"] for item in await call(memory.store.search, (ALICE, "files"))}
        assert stored == {"approve": {"/a.md": "first"}, "reject": {}, "edit": {"/b.md": "second"}}[decision]


async def test_a_sub_agent_shares_the_files_and_may_be_interrupted(memory, call):
    helper = ScriptedChatModel(
        [call_of("write_file", file_path="/report.md", content="Found it"), "The report is written."]
    )
    subagent = {
        "name": "researcher",
        "description": "Researches.",
        "system_prompt": "Research.",
        "model": helper,
        "interrupt_on": {"write_file": True},
        "middleware": [memory.middleware()],
    }
    memory.profiles.add_fact(ALICE, "Reads reports in the evening")
    script = (call_of("task", description="Find the evening report", subagent_type="researcher"), "Thank you.")
    agent, _ = agent_of(memory, *script, subagents=[subagent])
    state = await call(agent.invoke, said("Find it."), config_of("1"))
    assert state["__interrupt__"]
    assert "Reads reports in the evening" in asked(helper, 0)
    state = await call(agent.invoke, Command(resume={"decisions": [{"type": "approve"}]}), config_of("1"))
    assert [message.text for message in state["messages"]][-2:] == ["The report is written.", "Thank you."]
    assert (await call(memory.store.get, (ALICE, "files"), "/report.md")).value["content"] == "Found it"
    await call(memory.checkpointer.delete_thread, "1")
    assert await call(memory.checkpointer.threads) == []


async def test_the_cache_of_a_memory_is_accepted(memory, call):
    agent, _ = agent_of(memory, "Hello.", cache=memory.cache)
    assert (await call(agent.invoke, said("Hi"), config_of("1")))["messages"][-1].text == "Hello."


# Our middleware beside theirs


async def test_our_middleware_is_beside_that_of_deep_agents(memory, call):
    await call(
        memory.store.put, (ALICE, "files"), "/AGENTS.md", {"content": "Answer with a table.", "encoding": "utf-8"}
    )
    await call(memory.profiles.add_fact, ALICE, "Allergic to peanuts")
    learner = ScriptedChatModel(
        ['{"changes": [{"action": "add", "text": "Sails on Sundays", "topics": ["sport"], "messages": [1]}]}']
    )
    middleware = memory.middleware(learner, when="turn", tools=True)
    agent, model = agent_of(memory, "A table.", memory=["/AGENTS.md"], middleware=[middleware])
    await call(agent.invoke, said("I sail on Sundays. What can I eat?"), config_of("1"))
    assert "Answer with a table." in asked(model, 0)
    assert "Allergic to peanuts" in asked(model, 0)
    assert "Sails on Sundays" in [fact.text for fact in (await call(memory.profiles.get, ALICE)).facts]


async def test_a_run_without_a_user_is_refused(memory, call):
    backend = StoreBackend(namespace=lambda _: ("shared", "files"))
    agent, model = agent_of(memory, "Hello.", middleware=[memory.middleware()], backend=backend)
    with pytest.raises(InvalidInputError, match="user_id"):
        await call(agent.invoke, said("Hi"), {"configurable": {"thread_id": "1"}})
    assert not model.requests


# Recall from files


async def test_an_agent_recalls_from_its_files(memory, call):
    files = memory.file_retriever(files_of_user)
    backend = StoreBackend(store=memory.store, namespace=lambda _: (ALICE, "files"))
    await call(backend.write, "/house/boiler.md", "The boiler was serviced in May.")
    await call(backend.write, "/car.md", "The car has winter tires.")
    others = StoreBackend(store=memory.store, namespace=lambda _: (BOB, "files"))
    await call(others.write, "/boiler.md", "The boiler of Bob was serviced in March.")
    script = (call_of("search_knowledge", query="Which tires are on the car?"), "In May.")
    tools = memory.tools(include=["search_memory"], knowledge=[files])
    middleware = [memory.middleware(knowledge=[files])]
    agent, model = agent_of(memory, *script, tools=tools, middleware=middleware)
    await call(agent.invoke, said("When was the boiler serviced?"), config_of("1"))
    assert "The boiler was serviced in May." in asked(model, 0)
    assert "/house/boiler.md, line 1" in asked(model, 0)
    assert "winter tires" not in asked(model, 0)
    assert "winter tires" in asked(model, 1)
    assert "March" not in asked(model, 0) + asked(model, 1)


async def test_files_are_found_by_meaning(url, call):
    def embed(texts: list[str]) -> list[list[float]]:
        return [[1.0, 0.0] if "heat" in text or "boiler" in text else [0.0, 1.0] for text in texts]

    with AgentMemory.from_url(url, index={"embed": embed, "dims": 2, "fields": ["content"]}) as memory:
        backend = StoreBackend(store=memory.store, namespace=lambda _: (ALICE, "files"))
        await call(backend.write, "/a.md", "The boiler was serviced in May.")
        await call(backend.write, "/b.md", "Tomatoes need sun.")
        retriever = memory.file_retriever((ALICE, "files"), k=1)
        assert [one.id for one in await call(retriever.invoke, "heating")] == ["/a.md"]
        found = await call(memory.recall, "heating", user_id=ALICE, knowledge=[retriever])
        assert found[0].metadata["path"] == "/a.md"


async def test_the_best_part_of_a_long_file_is_found(memory, call):
    lines = [f"Line {number} about nothing in particular." for number in range(400)]
    lines[250] = "The boiler was serviced in May."
    backend = StoreBackend(store=memory.store, namespace=lambda _: (ALICE, "files"))
    await call(backend.write, "/log.md", "\n".join(lines))
    retriever = memory.file_retriever((ALICE, "files"), max_length=500)
    (found,) = await call(retriever.invoke, "When was the boiler serviced?")
    assert lines[250] in found.page_content
    assert len(found.page_content) < 600
    read = await call(backend.read, "/log.md", found.metadata["line"], 20)
    assert lines[250] in read.file_data["content"]


async def test_only_texts_are_recalled(memory, call):
    put = memory.store.put
    await call(put, (ALICE, "files"), "/old.md", {"content": ["An older boiler", "of two lines"]})
    await call(
        put, (ALICE, "files"), "/boiler.png", {"content": base64.b64encode(b"boiler").decode(), "encoding": "base64"}
    )
    await call(put, (ALICE, "files"), "boiler", {"text": "no file: boiler"})
    retriever = memory.file_retriever((ALICE, "files"))
    assert [one.id for one in await call(retriever.invoke, "boiler")] == ["/old.md"]


@pytest.mark.parametrize("namespace", [(), ("",), None, "files", ("a", 1)], ids=repr)
async def test_a_namespace_of_all_users_is_refused(sqlite_memory, call, namespace):
    with pytest.raises(InvalidInputError, match="namespace"):
        sqlite_memory.file_retriever(namespace)
    retriever = sqlite_memory.file_retriever(lambda _: namespace)
    with pytest.raises(InvalidInputError, match="namespace"):
        await call(retriever.invoke, "boiler")


@pytest.mark.parametrize(("option", "error"), [({"k": 0}, InvalidInputError), ({"max_length": "1"}, InvalidTypeError)])
def test_the_numbers_of_a_file_retriever_are_checked(sqlite_memory, option, error):
    with pytest.raises(error, match=next(iter(option))):
        sqlite_memory.file_retriever((ALICE, "files"), **option)


@pytest.mark.parametrize("text", ["", "a", "a\n" * 50, "x" * 95, "short\n" + "y" * 40 + "\nend", "ä\r\n" * 9])
def test_parts_of_a_file_are_the_whole_file(text):
    parts = list(parts_of(text, 10))
    assert "".join(part.text for part in parts) == text
    assert all(0 < len(part.text) <= 10 for part in parts)
    lines = text.splitlines(keepends=True)
    assert all(part.text[:1] in lines[part.line] for part in parts)


async def test_runs_of_several_users_at_once(memory):
    async def run(number: int) -> Any:
        script = (call_of("write_file", file_path="/own.md", content=f"of {number}"), "Done.")
        agent, _ = agent_of(memory, *script)
        return await agent.ainvoke(said("Write."), config_of(f"thread-{number}", f"user-{number}"))

    await asyncio.gather(*(run(number) for number in range(8)))
    for number in range(8):
        (item,) = await memory.store.asearch((f"user-{number}", "files"))
        assert item.value["content"] == f"of {number}"
