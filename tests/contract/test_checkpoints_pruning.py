"""Pruning, deleting runs, expiring and copying: what is kept is whole, and nothing that is needed by nobody stays."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import pytest
from database import Database, database
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, Send, interrupt
from typing_extensions import TypedDict

from langchain_agentmem import AgentMemory, AgentMemSaver, ThreadInUseError
from langchain_agentmem.encoding.references import each_reference

CONFIG: Any = {"configurable": {"thread_id": "1"}}
OTHER: Any = {"configurable": {"thread_id": "2"}}
BIG = "a text that is long enough to be stored as an element of its own, not within the checkpoint. " * 4


class State(TypedDict):
    answers: Annotated[list[Any], operator.add]
    log: list[str]


def chain(saver: Any, *nodes: Any, schema: Any = State) -> Any:
    """A graph whose nodes follow each other."""
    builder = StateGraph(schema)
    before = START
    for number, node in enumerate(nodes):
        builder.add_node(f"n{number}", node)
        builder.add_edge(before, f"n{number}")
        before = f"n{number}"
    return builder.compile(checkpointer=saver)


def note(state: State) -> Any:
    return {
        "answers": [f"{len(state['answers'])} {BIG}"],
        "log": [*state.get("log", []), f"{len(state['answers'])} {BIG}"],
    }


def ask_twice(state: State) -> Any:
    return {"answers": [interrupt(f"first? {BIG}"), interrupt("second?")]}


def subgraph(saver: Any) -> Any:
    return chain(saver, note, chain(None, note, chain(None, note, ask_twice, note), note), note)


def parallel(saver: Any) -> Any:
    builder = StateGraph(State)
    builder.add_node("plan", note)
    builder.add_node("ask", lambda one: {"answers": [[one["n"], interrupt(one["n"])]]})
    builder.add_node("work", lambda _: {"answers": [BIG] * 80})
    builder.add_node("end", note)
    builder.add_edge(START, "plan")
    builder.add_conditional_edges(
        "plan", lambda _: [*(Send("ask", {"n": n}) for n in range(3)), "work"], ["ask", "work"]
    )
    builder.add_edge(["ask", "work"], "end")
    return builder.compile(checkpointer=saver)


def own_memory(saver: Any) -> Any:
    """A subgraph that keeps a memory of its own beside the thread's."""
    return chain(saver, note, chain(True, note, ask_twice), note)


async def state_of(graph: Any, call: Callable[..., Any], config: Any = CONFIG) -> Any:
    state = await call(graph.get_state, config, subgraphs=True)
    return _seen(state)


def _seen(state: Any) -> Any:
    return (
        state.values,
        state.next,
        [
            (one.name, one.interrupts, one.result, _seen(one.state) if hasattr(one.state, "values") else None)
            for one in state.tasks
        ]
        if not isinstance(state, dict)
        else None,
    )


class Tables:
    """What is stored, read behind the package's back."""

    def __init__(self, opened: Database) -> None:
        self.database = opened

    def count(self, what: str) -> int:
        return self.database.count(what)

    def assert_no_garbage(self) -> None:
        """Every element is referred to, every value is needed, and everything belongs to a thread."""
        referred = {(thread, one) for thread, data in self.database.referring() for one in each_reference(data)}
        stored = {(thread, bytes(reference)) for (thread, reference), *_ in self.database.stored("elements")}
        assert stored == referred
        assert self.database.orphans() == 0


@pytest.fixture
def tables(lasting_url: str) -> Iterator[Tables]:
    with AgentMemory.from_url(lasting_url) as memory:
        memory.checkpointer.threads()
    with database(lasting_url) as opened:
        yield Tables(opened)


@pytest.fixture
def kept(lasting_url: str, tables: Tables) -> Iterator[AgentMemory]:
    """A memory whose tables can be looked into."""
    with AgentMemory.from_url(lasting_url) as memory:
        yield memory


# What a resume needs


@pytest.mark.parametrize("cold", [False, True], ids=["same object", "new object"])
@pytest.mark.parametrize(
    "build",
    [lambda saver: chain(saver, note, ask_twice, note), subgraph, own_memory],
    ids=["node", "subgraph", "own memory"],
)
async def test_an_interrupted_graph_resumes_after_pruning(memory, call, build, cold):
    saver = memory.checkpointer

    async def play(thread: str, *, prune: bool) -> list[Any]:
        nonlocal saver
        config: Any = {"configurable": {"thread_id": thread}}
        seen = []
        for given in ({"answers": ["in"]}, Command(resume="one"), Command(resume=f"two {BIG}"), {"answers": ["again"]}):
            result = await call(build(saver).invoke, given, config)
            seen.append({name: value for name, value in result.items() if name != "__interrupt__"})
            seen.append([one.value for one in result.get("__interrupt__", ())])
            if prune:
                before = await state_of(build(saver), call, config)
                await call(saver.prune, [thread])
                saver = AgentMemSaver(memory.backend) if cold else saver
                assert await state_of(build(saver), call, config) == before
                assert len(await call(saver.list, {"configurable": {"thread_id": thread, "checkpoint_ns": ""}})) == 1
        return seen

    expected = await play("not pruned", prune=False)
    assert [len(one) for one in expected[1::2]] == [1, 1, 0, 1]
    assert await play("pruned", prune=True) == expected


async def test_interrupts_of_parallel_tasks_are_resumed_one_by_one_after_pruning(memory, call):
    saver = memory.checkpointer

    async def play(config: Any, *, prune: bool) -> Any:
        await call(parallel(saver).invoke, {"answers": []}, config)
        for n in (1, 0, 2):
            if prune:
                await call(saver.prune, [config["configurable"]["thread_id"]])
            state = await call(parallel(saver).get_state, config)
            (asked,) = [one for one in state.interrupts if one.value == n]
            await call(parallel(saver).invoke, Command(resume={asked.id: f"for {n} {BIG}"}), config)
        state = await call(parallel(saver).get_state, config)
        assert state.next == ()
        return state.values

    assert await play(CONFIG, prune=True) == await play(OTHER, prune=False)


async def test_an_error_and_what_was_done_beside_it_are_kept(memory, call):
    saver = memory.checkpointer
    config = await call(
        saver.put,
        {"configurable": {"thread_id": "1", "checkpoint_ns": ""}},
        {"v": 4, "id": "1", "ts": "", "channel_values": {}, "channel_versions": {}, "versions_seen": {}},
        {},
        {},
    )
    writes: list[Any] = [("log", [f"{n} {BIG}" for n in range(100)]), ("__error__", "failed"), ("n", 1)]
    await call(saver.put_writes, config, writes, "task")
    before = await call(saver.get_tuple, config)
    await call(saver.prune, ["1"])
    assert await call(saver.get_tuple, config) == before
    assert len(before.pending_writes) == 3


async def test_pruning_keeps_the_latest_of_each_namespace_and_other_threads_whole(memory, call):
    for config in (CONFIG, OTHER):
        for _ in range(3):
            await call(own_memory(memory.checkpointer).invoke, {"answers": ["in"]}, config)
            await call(own_memory(memory.checkpointer).invoke, Command(resume="one"), config)
            await call(own_memory(memory.checkpointer).invoke, Command(resume="two"), config)
    other = await call(memory.checkpointer.list, OTHER)
    before = await call(memory.checkpointer.list, CONFIG)
    await call(memory.checkpointer.prune, ["1", "unknown"])
    newest: dict[str, Any] = {}
    for one in before:
        newest.setdefault(one.config["configurable"]["checkpoint_ns"], one)
    after = {one.config["configurable"]["checkpoint_ns"]: one for one in await call(memory.checkpointer.list, CONFIG)}
    assert after.keys() == newest.keys() == {"", "n1"}
    for namespace, one in after.items():
        assert one.checkpoint == newest[namespace].checkpoint
        assert one.pending_writes == newest[namespace].pending_writes
        assert one.parent_config is None
    assert await call(memory.checkpointer.list, OTHER) == other


async def test_the_calls_of_subgraphs_that_are_over_go_with_their_checkpoints(memory, call):
    graph = chain(memory.checkpointer, note, chain(None, note, note), note)
    for _ in range(4):
        await call(graph.invoke, {"answers": ["in"]}, CONFIG)
    before = {one.config["configurable"]["checkpoint_ns"] for one in await call(memory.checkpointer.list, CONFIG)}
    await call(memory.checkpointer.prune, ["1"])
    after = [one.config["configurable"]["checkpoint_ns"] for one in await call(memory.checkpointer.list, CONFIG)]
    assert len(before) == 5
    assert after == [""]


async def test_pruning_again_and_again_does_no_harm(memory, call):
    graph = chain(memory.checkpointer, note, note)
    for number in range(5):
        await call(graph.invoke, {"answers": ["in"]}, CONFIG)
        for _ in range(2):
            await call(memory.checkpointer.prune, ["1"])
        state = await call(graph.get_state, CONFIG)
        assert len(state.values["answers"]) == 3 * (number + 1)
        assert len(state.values["log"]) == 2 * (number + 1)


async def test_deleting_by_pruning_leaves_nothing(kept, tables, call):
    await call(chain(kept.checkpointer, note).invoke, {"answers": ["in"]}, CONFIG)
    await call(kept.checkpointer.prune, ["1"], strategy="delete")
    assert await call(kept.checkpointer.list, None) == []
    assert [tables.count(name) for name in ("threads", "checkpoints", "channel_values", "elements", "writes")] == [
        0
    ] * 5


# Garbage


async def converse(memory: AgentMemory, call: Any, count: int, config: Any = CONFIG) -> Any:
    def answer(state: MessagesState) -> Any:
        number = len(state["messages"])
        return {"messages": [AIMessage(f"{number} {BIG}", id=str(number))]}

    graph = chain(memory.checkpointer, answer, schema=MessagesState)
    for _ in range(count):
        state = await call(graph.get_state, config)
        number = len(state.values.get("messages", ()))
        await call(graph.invoke, {"messages": [HumanMessage(f"{number} {BIG}", id=str(number))]}, config)
    return graph


async def test_after_pruning_only_what_the_latest_checkpoint_needs_is_stored(kept, tables, call):
    graph = await converse(kept, call, 10)
    expected = await call(graph.get_state, CONFIG)
    elements = tables.count("elements")
    await call(kept.checkpointer.prune, ["1"])
    tables.assert_no_garbage()
    assert tables.count("checkpoints") == 1
    assert tables.count("elements") == 20 < elements
    assert tables.count("writes") == 0
    # Of a value's versions, only those stay that it is spliced from.
    assert tables.count("channel_values") <= 5
    for saver in (kept.checkpointer, AgentMemSaver(kept.backend)):
        found = await call(saver.get_tuple, CONFIG)
        assert found.checkpoint["channel_values"]["messages"] == expected.values["messages"]
    await converse(kept, call, 2)
    assert len((await call(graph.get_state, CONFIG)).values["messages"]) == 24


async def test_after_deleting_runs_what_the_others_need_is_stored(kept, tables, call):
    for run in ("a", "b", "c", "d"):
        await converse(kept, call, 3, {"configurable": {"thread_id": "1"}, "metadata": {"run_id": run}})
        await converse(kept, call, 1, {"configurable": {"thread_id": "2"}, "metadata": {"run_id": run}})
    before = {one.config["configurable"]["checkpoint_id"]: one for one in await call(kept.checkpointer.list, None)}
    await call(kept.checkpointer.delete_for_runs, ["b", "d", "unknown"])
    tables.assert_no_garbage()
    kept_runs = {id_: one for id_, one in before.items() if one.metadata["run_id"] in "ac"}
    for saver in (kept.checkpointer, AgentMemSaver(kept.backend)):
        after = {one.config["configurable"]["checkpoint_id"]: one for one in await call(saver.list, None)}
        assert after.keys() == kept_runs.keys()
        for id_, one in after.items():
            assert (one.checkpoint, one.metadata) == (kept_runs[id_].checkpoint, kept_runs[id_].metadata)
            assert one.pending_writes == kept_runs[id_].pending_writes
    await call(kept.checkpointer.delete_for_runs, ["a", "c"])
    assert await call(kept.checkpointer.list, None) == []
    tables.assert_no_garbage()
    assert tables.count("elements") == tables.count("channel_values") == 0


async def test_deleting_a_thread_leaves_nothing_of_it_and_all_of_others(kept, tables, call):
    await converse(kept, call, 3)
    await converse(kept, call, 3, OTHER)
    other = await call(kept.checkpointer.list, OTHER)
    await call(kept.checkpointer.delete_thread, "1")
    tables.assert_no_garbage()
    assert tables.count("threads") == 1
    assert await call(kept.checkpointer.list, CONFIG) == []
    assert await call(kept.checkpointer.get_tuple, CONFIG) is None
    assert await call(kept.checkpointer.list, OTHER) == other
    await call(kept.checkpointer.delete_thread, "1")
    await converse(kept, call, 1)
    tables.assert_no_garbage()


async def test_writes_that_were_put_twice_leave_no_garbage_behind(kept, tables, call):
    saver = kept.checkpointer
    graph = await converse(kept, call, 40)
    messages = (await call(graph.get_state, CONFIG)).values["messages"]
    config = (await call(saver.get_tuple, CONFIG)).config
    for number in range(3):
        await call(saver.put_writes, config, [("messages", [*messages, f"{number} {BIG}"])], "task")
    await call(saver.prune, ["1"])
    tables.assert_no_garbage()
    assert tables.count("writes") == 1
    found = await call(saver.get_tuple, CONFIG)
    assert found.pending_writes == [("task", "messages", [*messages, f"0 {BIG}"])]


async def test_what_another_process_pruned_is_not_built_upon(lasting_url, tables, call):
    with AgentMemory.from_url(lasting_url) as one, AgentMemory.from_url(lasting_url) as other:
        graphs = [await converse(memory, call, 3) for memory in (one, other)]
        for number in range(4):
            await call((one, other)[number % 2].checkpointer.prune, ["1"])
            await converse((other, one)[number % 2], call, 1)
            # The graph read the thread before it wrote; here something is put without reading.
            config = (await call(one.checkpointer.get_tuple, CONFIG)).config
            await call(
                (one, other)[number % 2].checkpointer.put_writes, config, [("messages", [BIG] * 70)], f"{number}"
            )
        states = [(await call(graph.get_state, CONFIG)).values["messages"] for graph in graphs]
        assert states[0] == states[1]
        assert [message.id for message in states[0]] == [str(n) for n in range(20)]
        await call(one.checkpointer.prune, ["1"])
        tables.assert_no_garbage()


# Copies


async def test_a_copy_is_whole_and_on_its_own(kept, tables, call):
    saver = kept.checkpointer
    graph = await converse(kept, call, 6)
    await call(subgraph(saver).invoke, {"answers": ["in"]}, {"configurable": {"thread_id": "asked"}})
    for source, target in (("1", "copy"), ("asked", "asked copy")):
        await call(saver.copy_thread, source, target)
        originals = await call(saver.list, {"configurable": {"thread_id": source}})
        copies = await call(saver.list, {"configurable": {"thread_id": target}})
        assert len(copies) > 3
        for original, copied in zip(originals, copies, strict=True):
            assert copied.config["configurable"] == {**original.config["configurable"], "thread_id": target}
            assert (copied.checkpoint, copied.metadata) == (original.checkpoint, original.metadata)
            assert copied.pending_writes == original.pending_writes
            assert (copied.parent_config is None) == (original.parent_config is None)
    expected = (await call(graph.get_state, CONFIG)).values
    await call(saver.prune, ["asked"])
    await call(saver.delete_thread, "1")
    await call(saver.delete_thread, "asked")
    tables.assert_no_garbage()
    assert (await call(graph.get_state, {"configurable": {"thread_id": "copy"}})).values == expected
    await converse(kept, call, 2, {"configurable": {"thread_id": "copy"}})
    asked: Any = {"configurable": {"thread_id": "asked copy"}}
    for answer in ("one", "two"):
        result = await call(subgraph(saver).invoke, Command(resume=answer), asked)
    assert result["answers"][-1] != "in"
    assert "__interrupt__" not in result


async def test_what_happens_to_a_copy_does_not_happen_to_its_source(memory, call):
    graph = await converse(memory, call, 4)
    before = await call(memory.checkpointer.list, CONFIG)
    await call(memory.checkpointer.copy_thread, "1", "2")
    await converse(memory, call, 2, OTHER)
    await call(memory.checkpointer.prune, ["2"])
    assert await call(memory.checkpointer.list, CONFIG) == before
    await call(memory.checkpointer.delete_thread, "2")
    assert await call(memory.checkpointer.list, CONFIG) == before
    assert len((await call(graph.get_state, CONFIG)).values["messages"]) == 8


async def test_copying_onto_a_thread_that_exists_is_refused(memory, call):
    for config in (CONFIG, OTHER):
        await converse(memory, call, 2, config)
    before = await call(memory.checkpointer.list, None)
    for target in ("2", "1"):
        with pytest.raises(ThreadInUseError, match=f"'{target}' already has checkpoints"):
            await call(memory.checkpointer.copy_thread, "1", target)
    assert await call(memory.checkpointer.list, None) == before


async def test_copying_onto_a_thread_that_has_but_pending_writes_is_refused(memory, call):
    await converse(memory, call, 1)
    config: Any = {"configurable": {"thread_id": "2", "checkpoint_ns": "", "checkpoint_id": "not put yet"}}
    await call(memory.checkpointer.put_writes, config, [("a", 1)], "task")
    with pytest.raises(ThreadInUseError):
        await call(memory.checkpointer.copy_thread, "1", "2")


async def test_copying_onto_a_thread_that_was_deleted_works(memory, call):
    await converse(memory, call, 2)
    await converse(memory, call, 3, OTHER)
    await call(memory.checkpointer.delete_thread, "2")
    await call(memory.checkpointer.copy_thread, "1", "2")
    assert len(await call(memory.checkpointer.list, OTHER)) == len(await call(memory.checkpointer.list, CONFIG)) > 0


async def test_copying_a_thread_that_is_not_there_makes_none(memory, call):
    await call(memory.checkpointer.copy_thread, "nobody", "2")
    assert await call(memory.checkpointer.threads) == []
