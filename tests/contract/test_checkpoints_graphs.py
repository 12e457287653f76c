"""Real graphs: what they see of their state, and of its history, is what they see with LangGraph's `InMemorySaver`."""

from __future__ import annotations

import asyncio
import copy
import operator
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import Command, Send, interrupt
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from langchain_agentmem import AgentMemory, AgentMemSaver

CONFIG: Any = {"configurable": {"thread_id": "1"}}
BIG = "a text that is long enough to be stored as an element of its own, not within the checkpoint. " * 4


class World:
    """Where a scenario plays: a saver, how its graph is driven, and what was seen."""

    def __init__(self, saver: Any, reopen: Callable[[], Any], call: Callable[..., Any], durability: str) -> None:
        self.saver = saver
        self._reopen = reopen
        self._call = call
        self._durability = durability
        self.seen: list[Any] = []

    def reopen(self) -> None:
        """Go on with a new object, as after a restart."""
        self.saver = self._reopen()

    async def invoke(self, graph: Any, given: Any, config: Any = CONFIG, **options: Any) -> Any:
        result = await self._call(graph.invoke, given, config, durability=self._durability, **options)
        if isinstance(result, dict) and "__interrupt__" in result:
            result = {**result, "__interrupt__": sorted(repr(one.value) for one in result["__interrupt__"])}
        self.seen.append(result)
        return result

    async def update(self, graph: Any, config: Any, values: Any, **options: Any) -> Any:
        return await self._call(graph.update_state, config, values, **options)

    async def state(self, graph: Any, config: Any = CONFIG, **options: Any) -> Any:
        return await self._call(graph.get_state, config, **options)

    async def history(self, graph: Any, **options: Any) -> list[Any]:
        return await self._call(graph.get_state_history, CONFIG, **options)

    async def look(self, graph: Any) -> None:
        """See the state, with those of subgraphs, and all of the history."""
        self.seen.append(seen(await self.state(graph, subgraphs=True)))
        self.seen.append([seen(snapshot) for snapshot in await self.history(graph)])


def seen(snapshot: Any) -> Any:
    """What two runs of a graph have in common: no ids of checkpoints and tasks, no times."""
    return {
        "values": copy.deepcopy(snapshot.values),
        "next": snapshot.next,
        "step": (snapshot.metadata or {}).get("step"),
        "source": (snapshot.metadata or {}).get("source"),
        "has parent": snapshot.parent_config is not None,
        "tasks": [
            (
                one.name,
                repr(one.error),
                [interrupt.value for interrupt in one.interrupts],
                one.result,
                seen(one.state) if hasattr(one.state, "values") and not isinstance(one.state, dict) else None,
            )
            for one in snapshot.tasks
        ],
    }


def chain(schema: Any, saver: Any, **nodes: Any) -> Any:
    """A graph whose nodes follow each other."""
    builder = StateGraph(schema)
    before = START
    for name, node in nodes.items():
        builder.add_node(name, node)
        builder.add_edge(before, name)
        before = name
    return builder.compile(checkpointer=saver)


# Scenarios


async def messages(world: World) -> None:
    """Appended, replaced by id, removed one by one and all at once."""

    def answer(state: MessagesState) -> Any:
        number = len(state["messages"])
        last = state["messages"][-1].content
        if last == "forget the first":
            return {"messages": [RemoveMessage(id=state["messages"][0].id), AIMessage(f"done {BIG}", id=f"a{number}")]}
        if last == "forget all":
            return {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES), AIMessage("what?", id="fresh")]}
        if last == "summarize":
            kept = [AIMessage(f"summary {BIG}", id="summary"), *state["messages"][-2:]]
            return {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES), *kept]}
        if last == "correct":
            return {"messages": [AIMessage(f"corrected {BIG}", id=state["messages"][1].id)]}
        called = AIMessage("", id=f"a{number}", tool_calls=[{"name": "f", "args": {"x": [number]}, "id": f"t{number}"}])
        return {"messages": [called, ToolMessage(f"{number} {BIG}", tool_call_id=f"t{number}", id=f"t{number}")]}

    texts = ["a", "b", f"c {BIG}", "correct", "d", "forget the first", "summarize", "e", "forget all", "f", "g"]
    for number, text in enumerate(texts):
        graph = chain(MessagesState, world.saver, answer=answer)
        await world.invoke(graph, {"messages": [HumanMessage(text, id=f"h{number}")]})
        if number % 4 == 3:
            world.reopen()
    await world.look(graph)


class Board(TypedDict):
    log: list[Any]
    table: dict[str, Any]
    total: Annotated[int, operator.add]
    notes: Annotated[list[str], operator.add]
    merged: Annotated[dict[str, Any], lambda old, new: {**(old or {}), **new}]
    newest: Annotated[list[int], lambda old, new: sorted({*old, *new})[-5:]]
    anything: Any


async def whole_values_and_reducers(world: World) -> None:
    """Channels that are replaced by what a node returns, beside channels with reducers of all kinds."""

    def work(state: Board) -> Any:
        log = [*state.get("log", []), f"{state['total']} {BIG}"]
        if state["total"] % 3 == 0:
            log.insert(1, "in the middle")
        if state["total"] == 5:
            log = log[2:]
        table = {**state.get("table", {}), f"key {state['total']}": [BIG] * 9, "n": {"deep": {"n": state["total"]}}}
        if state["total"] == 7:
            table.pop("key 3", None)
        return {
            "log": log,
            "table": table,
            "total": 1,
            "notes": [BIG] * (state["total"] % 2),
            "merged": {str(state["total"] % 4): {"text": BIG, "n": state["total"]}},
            "newest": [state["total"]],
            "anything": [None, (1, BIG), {"k": BIG}, BIG, 1.5, b"\x00" * 300, [BIG] * 70, {}][state["total"] % 8],
        }

    graph = chain(Board, world.saver, first=work, second=work)
    for number in range(6):
        await world.invoke(graph, {"total": 0, "notes": [f"turn {number}"]})
        if number % 2:
            world.reopen()
            graph = chain(Board, world.saver, first=work, second=work)
    await world.look(graph)


class Address(BaseModel):
    street: str = BIG
    tags: list[str] = Field(default_factory=list)


class Person(BaseModel):
    name: str
    addresses: list[Address] = Field(default_factory=list)
    visits: Annotated[list[int], operator.add] = Field(default_factory=list)
    best: Address | None = None


async def pydantic_state(world: World) -> None:
    def move(state: Person) -> Any:
        address = Address(tags=[state.name] * len(state.addresses))
        return {"addresses": [*state.addresses, address], "visits": [len(state.visits)], "best": address}

    for name in ("Alice", "Bob", "Carol"):
        graph = chain(Person, world.saver, move=move, again=move)
        await world.invoke(graph, Person(name=name) if name == "Bob" else {"name": name})
        world.reopen()
    await world.look(graph)


@dataclass
class Order:
    lines: list[str] = field(default_factory=list)
    totals: Annotated[list[float], operator.add] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)


async def dataclass_state(world: World) -> None:
    def add(state: Order) -> Any:
        return {
            "lines": [*state.lines, f"{len(state.lines)} {BIG}"],
            "totals": [0.1],
            "extra": {**state.extra, str(len(state.lines)): BIG},
        }

    for _ in range(3):
        graph = chain(Order, world.saver, one=add, two=add)
        await world.invoke(graph, {"totals": [1.0]})
        world.reopen()
    await world.look(graph)


class Fan(TypedDict):
    items: list[str]
    results: Annotated[list[Any], operator.add]


async def fan_out_and_parallel_branches(world: World) -> None:
    def build(saver: Any) -> Any:
        builder = StateGraph(Fan)
        builder.add_node("plan", lambda state: {"items": [f"{n} {BIG}" for n in range(5)]})
        builder.add_node("work", lambda state: {"results": [[state["item"], len(state["item"])]]})
        builder.add_node("left", lambda state: {"results": [["left", len(state["results"])]]})
        builder.add_node("right", lambda state: {"results": [["right", BIG]]})
        builder.add_node("join", lambda state: {"results": [sorted(map(str, state["results"]))]})
        builder.add_edge(START, "plan")
        builder.add_conditional_edges("plan", lambda state: [Send("work", {"item": item}) for item in state["items"]])
        builder.add_edge("work", "left")
        builder.add_edge("work", "right")
        builder.add_edge(["left", "right"], "join")
        return builder.compile(checkpointer=saver)

    for _ in range(3):
        graph = build(world.saver)
        await world.invoke(graph, {"items": []})
        world.reopen()
    await world.look(graph)


class Shared(TypedDict):
    log: Annotated[list[str], operator.add]
    own: list[str]


def _note(name: str) -> Callable[[Any], Any]:
    return lambda state: {"log": [f"{name} after {len(state['log'])}: {BIG}"], "own": [*state.get("own", []), name]}


async def nested_subgraphs(world: World) -> None:
    def build(saver: Any) -> Any:
        innermost = chain(Shared, None, deep=_note("deep"), deeper=_note("deeper"))
        inner = chain(Shared, None, before=_note("before"), innermost=innermost, after=_note("after"))
        return chain(Shared, saver, start=_note("start"), inner=inner, end=_note("end"))

    for _ in range(3):
        graph = build(world.saver)
        await world.invoke(graph, {"log": ["in"]})
        world.reopen()
    await world.look(graph)


async def subgraph_with_a_memory_of_its_own(world: World) -> None:
    """Compiled with `checkpointer=True`: its state outlives the call, under a namespace without a task id."""

    def build(saver: Any) -> Any:
        inner = chain(Shared, True, note=_note("note"), more=_note("more"))
        return chain(Shared, saver, start=_note("start"), inner=inner)

    for _ in range(4):
        graph = build(world.saver)
        await world.invoke(graph, {"log": ["in"], "own": []})
        inner = await world.state(graph, {"configurable": {"thread_id": "1", "checkpoint_ns": "inner"}})
        world.seen.append(seen(inner))
        world.reopen()
    await world.look(graph)


class Asked(TypedDict):
    answers: Annotated[list[Any], operator.add]


async def several_interrupts_in_one_node(world: World) -> None:
    def ask(state: Asked) -> Any:
        first = interrupt(f"first? {BIG}")
        second = interrupt({"second?": [first]})
        third = interrupt("third?")
        return {"answers": [first, second, third]}

    def build() -> Any:
        return chain(Asked, world.saver, before=lambda state: {"answers": ["before"]}, ask=ask)

    await world.invoke(build(), {"answers": []})
    for answer in ("one", ["two", BIG], None):
        await world.look(build())
        world.reopen()
        await world.invoke(build(), Command(resume=answer) if answer is not None else Command(resume="three"))
    await world.look(build())
    await world.invoke(build(), {"answers": ["again"]})
    world.reopen()
    await world.look(build())


async def interrupts_in_parallel_nodes(world: World) -> None:
    def build() -> Any:
        builder = StateGraph(Asked)
        for name in "abc":
            builder.add_node(name, lambda state, name=name: {"answers": [[name, interrupt(f"{name}? {BIG}")]]})
            builder.add_edge(START, name)
        builder.add_node("end", lambda state: {"answers": ["end"]})
        builder.add_edge(["a", "b", "c"], "end")
        return builder.compile(checkpointer=world.saver)

    await world.invoke(build(), {"answers": []})
    world.reopen()
    graph = build()
    state = await world.state(graph)
    asked = {one.value[0]: one.id for one in state.interrupts}
    assert asked.keys() == {"a", "b", "c"}
    await world.invoke(graph, Command(resume={asked["b"]: "for b"}))
    await world.look(graph)
    world.reopen()
    await world.invoke(build(), Command(resume={asked["a"]: "for a", asked["c"]: BIG}))
    await world.look(build())


async def interrupts_in_subgraphs(world: World) -> None:
    def ask(state: Shared) -> Any:
        answers = [interrupt(f"{n}? {BIG}") for n in range(2)]
        return {"log": [f"asked: {answers}"]}

    def build() -> Any:
        innermost = chain(Shared, None, deep=_note("deep"), ask=ask)
        inner = chain(Shared, None, before=_note("before"), innermost=innermost)
        return chain(Shared, world.saver, start=_note("start"), inner=inner, end=_note("end"))

    await world.invoke(build(), {"log": ["in"]})
    for answer in ("yes", f"no {BIG}"):
        await world.look(build())
        world.reopen()
        await world.invoke(build(), Command(resume=answer))
    await world.look(build())


async def updates_forks_and_replays(world: World) -> None:
    def build() -> Any:
        return chain(Shared, world.saver, one=_note("one"), two=_note("two"), three=_note("three"))

    graph = build()
    for number in range(3):
        await world.invoke(graph, {"log": [f"turn {number} {BIG}"]})
    await world.update(graph, CONFIG, {"log": ["by hand"], "own": ["replaced"]}, as_node="two")
    await world.invoke(graph, None)
    history = await world.history(graph)
    middle = next((one for one in history if one.next == ("two",) and len(one.values["log"]) < 8), history[-1])
    await world.invoke(graph, None, middle.config)  # replayed from there
    world.reopen()
    graph = build()
    forked = await world.update(graph, middle.config, {"log": [f"fork {BIG}"], "own": []}, as_node="one")
    await world.invoke(graph, None, forked)
    await world.invoke(graph, {"log": ["on the fork"]})
    other = await world.update(graph, middle.config, {"log": ["another fork"]}, as_node="three")
    world.seen.append(seen(await world.state(graph, other)))
    await world.look(graph)
    for one in history:
        world.seen.append(seen(await world.state(graph, one.config)))


async def errors_and_second_attempts(world: World) -> None:
    calls: list[str] = []

    def fail_twice(state: Asked) -> Any:
        calls.append("call")
        if len(calls) < 3:
            raise ConnectionError(BIG)
        return {"answers": ["recovered"]}

    def build() -> Any:
        return chain(Asked, world.saver, start=lambda state: {"answers": [BIG]}, fail=fail_twice)

    with pytest.raises(ConnectionError):
        await world.invoke(build(), {"answers": []})
    await world.look(build())
    world.reopen()
    with pytest.raises(ConnectionError):
        await world.invoke(build(), None)
    await world.look(build())
    await world.invoke(build(), None)
    await world.look(build())


async def work_beside_an_interrupt(world: World) -> None:
    """What other nodes wrote in a step that waits is kept, and not done again."""
    calls: list[str] = []

    def work(state: Asked) -> Any:
        calls.append("work")
        return {"answers": [f"worked {BIG}"] * 80}

    def build() -> Any:
        builder = StateGraph(Asked)
        builder.add_node("work", work)
        builder.add_node("ask", lambda state: {"answers": [interrupt("go on?")]})
        builder.add_edge(START, "work")
        builder.add_edge(START, "ask")
        return builder.compile(checkpointer=world.saver)

    await world.invoke(build(), {"answers": []})
    await world.look(build())
    world.reopen()
    await world.invoke(build(), Command(resume="yes"))
    world.seen.append(calls)
    await world.look(build())


async def functional_api(world: World) -> None:
    def build() -> Any:
        @task
        def measure(text: str) -> dict[str, Any]:
            return {"text": text, "length": len(text)}

        @entrypoint(checkpointer=world.saver)
        def flow(given: dict[str, Any], *, previous: Any = None) -> Any:
            measured = [one.result() for one in [measure(text) for text in given["texts"]]]
            answer = interrupt({"measured": measured}) if given["ask"] else "not asked"
            total = [*(previous or []), answer, *measured]
            return entrypoint.final(value={"answer": answer, "count": len(total)}, save=total)

        return flow

    await world.invoke(build(), {"texts": [BIG, "b"], "ask": False})
    world.reopen()
    await world.invoke(build(), {"texts": [f"c {BIG}", "d", BIG], "ask": True})
    await world.look(build())
    world.reopen()
    await world.invoke(build(), Command(resume=f"yes {BIG}"))
    await world.invoke(build(), {"texts": [], "ask": False})
    await world.look(build())


async def many_nodes_and_commands(world: World) -> None:
    """Nodes that say where to go next, and write at the same time."""

    class Walk(TypedDict):
        path: Annotated[list[str], operator.add]
        steps: int

    def hop(state: Walk) -> Any:
        target = END if state["steps"] >= 6 else ("a" if state["steps"] % 2 else "b")
        return Command(update={"path": [f"{target} {BIG}"], "steps": state["steps"] + 1}, goto=target)

    builder = StateGraph(Walk)
    builder.add_node("a", hop, destinations=("a", "b", END))
    builder.add_node("b", hop, destinations=("a", "b", END))
    builder.add_edge(START, "a")
    graph = builder.compile(checkpointer=world.saver)
    await world.invoke(graph, {"path": [], "steps": 0})
    await world.look(graph)
    await world.invoke(graph, {"steps": 3})
    await world.look(graph)


SCENARIOS: list[Callable[[World], Awaitable[None]]] = [
    messages,
    whole_values_and_reducers,
    pydantic_state,
    dataclass_state,
    fan_out_and_parallel_branches,
    nested_subgraphs,
    subgraph_with_a_memory_of_its_own,
    several_interrupts_in_one_node,
    interrupts_in_parallel_nodes,
    interrupts_in_subgraphs,
    updates_forks_and_replays,
    errors_and_second_attempts,
    work_beside_an_interrupt,
    functional_api,
    many_nodes_and_commands,
]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_a_graph_sees_what_it_sees_with_langgraphs_own_saver(memory, call, scenario, durability):
    reference = InMemorySaver()
    expected = World(reference, lambda: reference, call, durability)
    ours = World(memory.checkpointer, lambda: AgentMemSaver(memory.backend), call, durability)
    await scenario(expected)
    await scenario(ours)
    assert len(ours.seen) == len(expected.seen) > 1
    for at, (found, wanted) in enumerate(zip(ours.seen, expected.seen, strict=True)):
        assert found == wanted, f"observation {at}"
        assert repr(found) == repr(wanted), f"observation {at}"


async def _mutation_in_place(world: World) -> None:
    """The application keeps references to what it returned, and changes it later."""
    message = AIMessage(f"first {BIG}", id="kept", additional_kwargs={"seen": []})
    log: list[Any] = [BIG, {"n": 0}]

    class Mutable(MessagesState):
        log: list[Any]

    def work(state: Mutable) -> Any:
        message.content = f"{len(message.additional_kwargs['seen'])} {BIG}"
        message.additional_kwargs["seen"].append(len(log))
        log[1]["n"] += 1
        log.append(f"{log[1]['n']} {BIG}")
        if len(log) > 6:
            del log[2:4]
        return {"messages": [message], "log": log}

    for number in range(5):
        graph = chain(Mutable, world.saver, one=work, two=work)
        await world.invoke(graph, {"messages": [HumanMessage(BIG, id=f"h{number}")]})
        if number == 2:
            world.reopen()
    world.seen[:] = []
    await world.look(graph)


@pytest.mark.parametrize("durability", ["sync", "exit"])
async def test_what_the_application_mutates_in_place_later_is_noticed(memory, call, durability):
    reference = InMemorySaver()
    expected = World(reference, lambda: reference, call, durability)
    ours = World(memory.checkpointer, lambda: AgentMemSaver(memory.backend), call, durability)
    await _mutation_in_place(expected)
    await _mutation_in_place(ours)
    assert ours.seen == expected.seen
    assert len({repr(one["values"]) for one in ours.seen[1]}) > 4


async def test_what_one_thread_did_another_does_not_see(memory, call):
    def build() -> Any:
        return chain(Shared, memory.checkpointer, one=_note("one"))

    for thread in ("1", "2", "1"):
        await call(build().invoke, {"log": [f"in {thread}"]}, {"configurable": {"thread_id": thread}})
    states = [await call(build().get_state, {"configurable": {"thread_id": thread}}) for thread in ("1", "2", "3")]
    assert [len(state.values.get("log", [])) for state in states] == [4, 2, 0]


async def test_an_interrupted_graph_goes_on_in_another_process_of_the_application(lasting_url, call):
    def ask(state: Asked) -> Any:
        return {"answers": [interrupt(f"first? {BIG}"), interrupt("second?")]}

    given: Any = {"answers": [BIG]}
    for resume in (None, "one", f"two {BIG}"):
        with AgentMemory.from_url(lasting_url) as memory:
            graph = chain(Asked, memory.checkpointer, ask=ask)
            result = await call(graph.invoke, given if resume is None else Command(resume=resume), CONFIG)
            assert ("__interrupt__" in result) == (resume != f"two {BIG}")
    assert result["answers"] == [BIG, "one", f"two {BIG}"]


def test_a_graph_may_be_driven_sync_and_async_in_turn(memory):
    graph = chain(Shared, memory.checkpointer, one=_note("one"))
    for number in range(6):
        if number % 2:
            asyncio.run(graph.ainvoke({"log": [str(number)]}, CONFIG))
        else:
            graph.invoke({"log": [str(number)]}, CONFIG)
    assert len(graph.get_state(CONFIG).values["log"]) == 12
    assert len(asyncio.run(graph.aget_state(CONFIG)).values["log"]) == 12
