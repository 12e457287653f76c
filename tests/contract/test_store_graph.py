"""The store in a graph: as `store=` of `compile`, in nodes by runtime and by parameter."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore
from typing_extensions import TypedDict

from langchain_agentmem import AgentMemory


class Context(TypedDict):
    user_id: str


def graph_with(memory: AgentMemory, node: Any, **options: Any) -> Any:
    builder = StateGraph(MessagesState, context_schema=Context)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    builder.add_edge("node", END)
    return builder.compile(store=memory.store, **options)


def ask(text: str) -> dict[str, Any]:
    return {"messages": [HumanMessage(text)]}


async def test_a_node_uses_the_store_of_its_runtime(memory, call):
    def remember(state: MessagesState, runtime: Runtime[Context]) -> dict[str, Any]:
        namespace = ("users", runtime.context["user_id"])
        known = runtime.store.search(namespace, query=state["messages"][-1].text)
        runtime.store.put(namespace, str(len(known)), {"said": state["messages"][-1].text})
        return {"messages": [AIMessage(str([item.value["said"] for item in known]))]}

    graph = graph_with(memory, remember)
    answers = []
    for user in ("alice@example.com", "alice@example.com", "bob@example.com"):
        result = await call(graph.invoke, ask("I love pizzas"), context={"user_id": user})
        answers.append(result["messages"][-1].content)
    assert answers == ["[]", "['I love pizzas']", "[]"]
    assert await call(memory.store.list_namespaces) == [("users", "alice@example.com"), ("users", "bob@example.com")]


async def test_a_node_takes_the_store_as_a_parameter(memory, call):
    def remember(state: MessagesState, config: RunnableConfig, *, store: BaseStore) -> dict[str, Any]:
        store.put(("facts",), config["configurable"]["thread_id"], {"text": state["messages"][-1].text})
        return {"messages": []}

    graph = graph_with(memory, remember)
    await call(graph.invoke, ask("hello"), {"configurable": {"thread_id": "t1"}}, context={"user_id": "u"})
    assert (await call(memory.store.get, ("facts",), "t1")).value == {"text": "hello"}


async def test_an_async_node_uses_the_async_methods(memory):
    async def remember(state: MessagesState, runtime: Runtime[Context]) -> dict[str, Any]:
        await runtime.store.aput(("facts",), "k", {"text": state["messages"][-1].text})
        item = await runtime.store.aget(("facts",), "k")
        found = await runtime.store.asearch(("facts",), query="hello")
        return {"messages": [AIMessage(f"{item.value['text']} {len(found)}")]}

    result = await graph_with(memory, remember).ainvoke(ask("hello"), context={"user_id": "u"})
    assert result["messages"][-1].content == "hello 1"


async def test_store_and_checkpointer_of_one_memory_work_together(memory, call):
    def count(state: MessagesState, runtime: Runtime[Context]) -> dict[str, Any]:
        value = runtime.store.update(("counters",), "turns", lambda old: {"n": (old or {"n": 0})["n"] + 1})
        return {"messages": [AIMessage(str(value["n"]))]}

    graph = graph_with(memory, count, checkpointer=memory.checkpointer)
    for turn in range(3):
        result = await call(graph.invoke, ask("hi"), {"configurable": {"thread_id": "t"}}, context={"user_id": "u"})
        assert len(result["messages"]) == 2 * (turn + 1)
    assert result["messages"][-1].content == "3"
    assert (await call(memory.store.get, ("counters",), "turns")).value == {"n": 3}
