"""Reading conversations after the answer: in threads and tasks, flushed when the memory closes, and never lost."""

from __future__ import annotations

import asyncio
import functools
import gc
import subprocess
import sys
import threading
import time
import weakref
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langgraph.graph import START as BEGIN
from langgraph.graph import MessagesState, StateGraph
from patience import PATIENCE
from profiles import ALICE, add, answer, config, human, shown, texts

from langchain_agentmem import AgentMemory, InvalidInputError, InvalidTypeError, StorageClosedError
from langchain_agentmem.knowledge.extraction.scheduler import WORKERS
from langchain_agentmem.testing import ScriptedChatModel


class Gated(ScriptedChatModel):
    """A scripted model that answers when it is let."""

    _gate: Any = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._gate = threading.Event()

    def _generate(self, *args: Any, **options: Any) -> Any:
        assert self._gate.wait(PATIENCE)
        return super()._generate(*args, **options)

    async def _agenerate(self, *args: Any, **options: Any) -> Any:
        await asyncio.to_thread(self._gate.wait, PATIENCE)
        return super()._generate(*args, **options)


@pytest.fixture
def memory(sqlite_url) -> Any:
    with AgentMemory.from_url(sqlite_url) as opened:
        yield opened


def facts(memory: AgentMemory, user_id: str = ALICE) -> list[str]:
    return sorted(texts(memory.profiles.get(user_id).facts))


def extraction_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "agentmem-extraction"]


async def test_the_answer_does_not_wait(memory, call):
    model = Gated([answer(add("Has two dogs"))])
    node = memory.profile_node(model, when="background")
    assert await call(node.invoke, {"messages": [human("I have two dogs", "a")]}, config()) == {}
    assert facts(memory) == []
    assert node.schedule.pending == 1
    model._gate.set()
    await call(node.flush)
    assert node.schedule.pending == 0
    assert facts(memory) == ["Has two dogs"]


async def test_closing_the_memory_reads_what_waits(sqlite_url, call):
    memory = AgentMemory.from_url(sqlite_url)
    node = memory.profile_node(ScriptedChatModel([answer(add("Has two dogs"))]), when="debounce", delay=1000)
    await call(node.invoke, [human("I have two dogs", "a")], config())
    await call(memory.close)
    with pytest.raises(StorageClosedError):
        await call(node.invoke, [human("And a cat", "b")], config())
    with AgentMemory.from_url(sqlite_url) as again:
        assert facts(again) == ["Has two dogs"]
        await call(again.close)


async def test_a_conversation_is_read_once_it_is_quiet(memory, call):
    model = ScriptedChatModel([answer(add("Has two dogs"))])
    node = memory.profile_node(model, when="debounce", delay=1000)
    said = [human("I have a dog", "a"), AIMessage("And?", id="b"), human("Another dog", "c")]
    await call(node.invoke, said[:1], config())
    await call(node.invoke, said, config())
    await call(node.invoke, [human("No, really", "d")], config())  # only the turn's own messages
    await call(node.invoke, [human("I am Bob", "e")], config("bob"))
    model._answers.append(model._answers[0])
    await call(node.flush)
    assert sorted([one["text"] for one in shown(request)["messages"]] for request in model.requests) == [
        ["I am Bob"],
        ["I have a dog", "And?", "Another dog", "No, really"],
    ]


async def test_the_quiet_ends_by_itself(memory, call):
    done = threading.Event()
    node = memory.profile_node(
        ScriptedChatModel([answer(add("Has two dogs"))]),
        when="debounce",
        delay=0.01,
        on_extraction=lambda _: done.set(),
    )
    await call(node.invoke, [human("I have two dogs", "a")], config())
    assert await asyncio.to_thread(done.wait, PATIENCE)
    await call(node.flush)
    assert facts(memory) == ["Has two dogs"]


@pytest.mark.parametrize("fault", [RuntimeError("out of order"), "no JSON"], ids=["model", "answer"])
async def test_what_failed_is_read_with_the_next_turn(memory, call, fault, caplog):
    # Without a history: each run is given the messages of its turn alone.
    model = ScriptedChatModel(
        [fault, fault, answer(add("Has two dogs"))] if fault == "no JSON" else [fault, answer(add("Has two dogs"))]
    )
    node = memory.profile_node(model, when="background")
    seen = []
    node._on_extraction = seen.append
    await call(node.invoke, [human("I have two dogs", "a")], config())
    while not seen or node.schedule._jobs.running:
        await asyncio.sleep(0)
    assert seen[0].error
    await call(node.invoke, [human("Hello?", "b")], config())
    await call(node.flush)
    assert [one["text"] for one in shown(model.requests[-1])["messages"]] == ["I have two dogs", "Hello?"]
    assert facts(memory) == ["Has two dogs"]


async def test_after_a_crash_the_next_run_reads_what_was_not_read(sqlite_url, call):
    said = [HumanMessage("I have two dogs"), HumanMessage("And a cat")]

    def graph_of(memory: AgentMemory, node: Any) -> Any:
        builder = StateGraph(MessagesState)
        builder.add_node("remember", node)
        builder.add_edge(BEGIN, "remember")
        return builder.compile(checkpointer=memory.checkpointer)

    with AgentMemory.from_url(sqlite_url) as memory:
        lost = memory.profile_node(ScriptedChatModel(), when="debounce", delay=1000)
        await call(graph_of(memory, lost).invoke, {"messages": said[:1]}, config())
        lost.schedule._jobs.clear()  # the process ends here
        await call(memory.close)
    with AgentMemory.from_url(sqlite_url) as memory:
        model = ScriptedChatModel([answer(add("Has two dogs"), add("Has a cat"))])
        node = memory.profile_node(model, when="background")
        await call(graph_of(memory, node).invoke, {"messages": said[1:]}, config())
        await call(node.flush)
        assert facts(memory) == ["Has a cat", "Has two dogs"]
        await call(memory.close)


async def test_a_conversation_is_read_by_one_at_a_time(memory, call):
    model = Gated([answer(add("Has two dogs")), answer(add("Has a cat"))])
    node = memory.profile_node(model, when="background")
    said = [human("I have two dogs", "a"), human("And a cat", "b")]
    await call(node.invoke, said[:1], config())
    while not node.schedule._jobs.running:
        await asyncio.sleep(0)
    await call(node.invoke, said, config())
    assert node.schedule.pending == 1
    model._gate.set()
    await call(node.flush)
    assert [[one["text"] for one in shown(request)["messages"]] for request in model.requests] == [
        ["I have two dogs"],
        ["And a cat"],
    ]


async def test_the_queue_is_bounded(memory, call, monkeypatch, caplog):
    monkeypatch.setattr("langchain_agentmem.knowledge.extraction.jobs.MAX_WAITING", 2)
    node = memory.profile_node(ScriptedChatModel([answer()] * 3), when="debounce", delay=1000)
    for user in "abc":
        await call(node.invoke, [human("Hi", user)], config(user))
    assert node.schedule.pending == 2
    assert "conversations wait already" in caplog.text
    await call(node.flush)
    assert node.schedule.pending == 0


async def test_what_failed_does_not_fill_the_queue_for_ever(memory, call, monkeypatch, caplog):
    monkeypatch.setattr("langchain_agentmem.knowledge.extraction.jobs.MAX_WAITING", 2)
    model = ScriptedChatModel([RuntimeError("away")] * 2 + [answer(add("Has two dogs")), RuntimeError("away")])
    node = memory.profile_node(model, when="background")
    for user in "ab":
        await call(node.invoke, [human("Hi", user)], config(user))
        while len(model.requests) < "ab".index(user) + 1 or node.schedule._jobs.running:
            await asyncio.sleep(0)
    await call(node.invoke, [human("I have two dogs", "c")], config())
    while not facts(memory):
        await asyncio.sleep(0)
    assert node.schedule.pending <= 2
    await call(node.flush)


async def test_more_messages_than_one_run_reads_are_read_one_portion_after_the_other(memory, call):
    model = ScriptedChatModel([answer()] * 3)
    node = memory.profile_node(model, when="background")
    await call(node.invoke, [human(f"I have {number} dogs", str(number)) for number in range(100)], config())
    await call(node.flush)
    assert [len(shown(request)["messages"]) for request in model.requests] == [40, 40, 20]


async def test_a_user_is_needed_at_once(memory, call):
    node = memory.profile_node(ScriptedChatModel(), when="background")
    with pytest.raises(InvalidInputError, match="The run names no user"):
        await call(node.invoke, [human("Hi")], config(None))


@pytest.mark.parametrize("when", ["background", "debounce"])
async def test_nothing_is_left_running(sqlite_url, call, when):
    memory = AgentMemory.from_url(sqlite_url)
    node = memory.profile_node(ScriptedChatModel([answer()] * 20), when=when, delay=1000)
    for number in range(20):
        await call(node.invoke, [human("Hi", "a")], config(f"user {number}", f"thread {number}"))
        await asyncio.sleep(0)
    await call(memory.close)
    assert node.schedule.pending == 0
    while extraction_threads():  # those that have done their last job are about to end
        await asyncio.sleep(0)
    while len(asyncio.all_tasks()) > 1:
        await asyncio.sleep(0)


def test_what_an_event_loop_left_behind_is_read_when_the_memory_closes(sqlite_url):
    memory = AgentMemory.from_url(sqlite_url)

    class Cancelled(Gated):
        """Answers after its task was cancelled."""

        async def _agenerate(self, *args: Any, **options: Any) -> Any:
            try:
                return await super()._agenerate(*args, **options)
            except asyncio.CancelledError:
                self._gate.set()
                raise

    model = Cancelled([answer(add("Has two dogs")), answer(add("Has a cat")), answer(add("Has a cat"))])
    node = memory.profile_node(model, when="background")

    async def main() -> None:
        await node.ainvoke([human("I have two dogs", "a")], config())
        while not node.schedule._jobs.running:
            await asyncio.sleep(0)
        await node.ainvoke([human("I have a cat", "b")], config("bob"))

    asyncio.run(main())  # its tasks are cancelled
    assert node.schedule.pending == 2
    memory.close()
    with AgentMemory.from_url(sqlite_url) as again:
        assert sorted([*facts(again), *facts(again, "bob")]) == ["Has a cat", "Has two dogs"]
    gc.collect()


async def test_closing_from_a_running_event_loop_does_not_wait_for_ever(sqlite_url, caplog):
    memory = AgentMemory.from_url(sqlite_url)
    model = Gated([answer(add("Has two dogs"))])
    node = memory.profile_node(model, when="background")
    await node.ainvoke([human("I have two dogs", "a")], config())
    while not node.schedule._jobs.running:
        await asyncio.sleep(0)
    started = time.monotonic()
    node.close()
    assert time.monotonic() - started < 20
    assert "were not read" in caplog.text
    model._gate.set()
    await memory.aclose()


def test_a_job_of_an_event_loop_that_was_stopped_is_not_waited_for(memory, caplog):
    loop = asyncio.new_event_loop()
    model = Gated([answer(add("Has two dogs"))])
    node = memory.profile_node(model, when="background")
    loop.run_until_complete(node.ainvoke([human("I have two dogs", "a")], config()))
    while not node.schedule._jobs.running:
        loop.run_until_complete(asyncio.sleep(0))  # the loop stops and never runs again; its task is not cancelled
    started = time.monotonic()
    node.flush()
    assert time.monotonic() - started < 20
    model._gate.set()
    loop.run_until_complete(node.aflush())
    assert facts(memory) == ["Has two dogs"]
    loop.close()


def test_a_timer_that_fires_early_starts_the_job(memory):
    """Timers of an event loop may fire up to 16 milliseconds early on Windows."""
    node = memory.profile_node(ScriptedChatModel([answer(add("Has two dogs"))]), when="debounce", delay=1000)
    node.invoke([human("I have two dogs", "a")], config())
    (job,) = node.schedule._jobs.waiting.values()
    node.schedule._run(job.key, job.due)
    assert facts(memory) == ["Has two dogs"]


async def test_closing_does_not_wait_for_ever_for_a_model(sqlite_url, call, caplog):
    memory = AgentMemory.from_url(sqlite_url)
    model = Gated([answer(add("Has two dogs"))] * 9)
    node = memory.profile_node(model, when="debounce", delay=1000)
    for user in "abcdefghi":
        await call(node.invoke, [human("I have two dogs", "a")], config(user, user))
    await call(memory.close, time_limit=0.05)
    assert "9 conversations were not read" in caplog.text
    with pytest.raises(StorageClosedError):
        memory.profiles.get(ALICE)
    model._gate.set()
    while node.schedule.pending:
        await asyncio.sleep(0)
    assert len(model.requests) == WORKERS  # the others were not begun
    assert "Traceback" not in caplog.text
    await call(memory.close)


async def test_the_backend_is_closed_though_what_waits_makes_it_fail(sqlite_url, call, monkeypatch):
    memory = AgentMemory.from_url(sqlite_url)
    node = memory.profile_node(ScriptedChatModel(), when="background")

    def fail(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(node.schedule, "_give_up", fail)
    with pytest.raises(KeyboardInterrupt):
        await call(memory.close)
    with pytest.raises(StorageClosedError):
        memory.profiles.get(ALICE)


async def test_a_time_limit_that_is_no_duration_is_refused(memory, call):
    with pytest.raises(InvalidInputError, match="time_limit"):
        await call(memory.close, time_limit=-1)


async def test_conversations_are_flushed_at_once(memory, call):
    """As many as there are workers: each call waits until the others have begun."""
    together = threading.Barrier(WORKERS)

    class Met(ScriptedChatModel):
        def _generate(self, *args: Any, **options: Any) -> Any:
            together.wait(PATIENCE)
            return super()._generate(*args, **options)

        async def _agenerate(self, *args: Any, **options: Any) -> Any:
            await asyncio.to_thread(together.wait, PATIENCE)
            return super()._generate(*args, **options)

    model = Met([answer(add("Has two dogs"))] * 2 * WORKERS)
    node = memory.profile_node(model, when="debounce", delay=1000)
    for number in range(2 * WORKERS):
        await call(node.invoke, [human("I have two dogs", "a")], config(f"user {number}", f"thread {number}"))
    await call(node.flush)
    assert [facts(memory, f"user {number}") for number in range(2 * WORKERS)] == [["Has two dogs"]] * 2 * WORKERS


async def test_flushing_from_another_thread_breaks_nothing_off(memory, caplog):
    class Slow(ScriptedChatModel):
        async def _agenerate(self, *args: Any, **options: Any) -> Any:
            await asyncio.sleep(0.005)
            return super()._generate(*args, **options)

    rounds = 30
    node = memory.profile_node(Slow([answer()] * 3 * rounds), when="debounce", delay=0.01)
    for number in range(rounds):
        for one in range(3):
            await node.ainvoke([human("Hi", f"{number}-{one}")], config(thread=f"{number}-{one}"))
        await asyncio.sleep(0.008 + 0.0002 * number)
        await asyncio.to_thread(node.flush)
        assert node.schedule.pending == 0
    assert caplog.text == ""


async def test_a_flush_leaves_no_task_of_another_loop_behind(memory):
    node = memory.profile_node(ScriptedChatModel([answer()]), when="debounce", delay=1000)
    await node.ainvoke([human("Hi", "a")], config())
    await asyncio.to_thread(node.flush)
    assert node.schedule.pending == 0
    assert len(asyncio.all_tasks()) == 1


async def test_what_waits_outlives_its_node(sqlite_url, call):
    memory = AgentMemory.from_url(sqlite_url)

    async def turn() -> None:
        node = memory.profile_node(ScriptedChatModel([answer(add("Has two dogs"))]), when="debounce", delay=1000)
        await asyncio.to_thread(asyncio.run, call(node.invoke, [human("I have two dogs", "a")], config()))

    await turn()
    gc.collect()
    await call(memory.close)
    with AgentMemory.from_url(sqlite_url) as again:
        assert facts(again) == ["Has two dogs"]
        await call(again.close)


def test_a_node_that_has_nothing_to_do_is_not_kept(memory):
    node = memory.profile_node(ScriptedChatModel([answer()]), when="background")
    node.invoke([human("Hi", "a")], config())
    node.flush()
    forgotten = weakref.ref(node.schedule)
    del node
    gc.collect()
    assert forgotten() is None


@pytest.mark.parametrize("fault", [asyncio.CancelledError("within"), SystemExit(1)], ids=["cancelled", "exit"])
def test_threads_go_on_after_any_fault(memory, fault, caplog):
    asked = []

    def work(messages: Any) -> AIMessage:
        asked.append(messages)
        if len(asked) <= WORKERS:
            raise fault
        return AIMessage(answer(add("Has two dogs")))

    node = memory.profile_node(RunnableLambda(work), when="background")
    for number in range(WORKERS):
        node.invoke([human("Hi", "a")], config(f"user {number}", f"thread {number}"))
        while len(asked) <= number or node.schedule._jobs.running:
            time.sleep(0)
    node.invoke([human("I have two dogs", "a")], config(thread="another"))
    while not facts(memory):
        time.sleep(0)
    while extraction_threads():
        time.sleep(0)
    assert node.schedule._threads.alive == 0
    node.schedule._jobs.clear()


def test_a_child_process_reads_its_own_conversations_alone(sqlite_url):
    script = f"""if True:
        import os, sys, threading, warnings
        sys.path[:0] = {sys.path!r}
        from langchain_agentmem import AgentMemory
        from test_extraction_later import Gated
        from profiles import add, answer, config, human
        warnings.simplefilter("ignore")
        memory = AgentMemory.from_url({sqlite_url!r})
        model = Gated([answer(add("Has two dogs"))] * 9)
        begun = threading.Semaphore(0)
        wait = model._gate.wait
        model._gate.wait = lambda seconds: (begun.release(), wait(seconds))[1]
        node = memory.profile_node(model, when="background")
        for user in "abcdef":
            node.invoke([human("I have two dogs", "a")], config(user, user))
        for _ in range(4):
            begun.acquire()  # all workers are in the model, none amid a statement
        child = os.fork()
        model._gate = threading.Event()
        model._gate.set()
        if not child:
            assert node.schedule.pending == 0
            node.invoke([human("I have two dogs", "a")], config("child", "child"))
            node.flush()
            read = len(model.requests)
            os._exit(0 if read == 1 and memory.profiles.get("child").facts else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        os._exit(0)
    """
    done = subprocess.run([sys.executable, "-c", script], timeout=PATIENCE, capture_output=True, text=True, check=False)
    assert done.stdout == "0\n", done.stderr


async def test_flushing_and_closing_while_it_is_told_what_was_learned_does_not_wait_for_itself(sqlite_url, call):
    memory = AgentMemory.from_url(sqlite_url)
    told = []
    node = memory.profile_node(
        ScriptedChatModel([answer(add("Has two dogs"))] * 4),
        when="background",
        on_extraction=lambda extraction: (node.flush(), told.append(extraction)),
    )
    for user in "abcd":
        await call(node.invoke, [human("I have two dogs", "a")], config(user, user))
    await call(memory.close)
    assert len(told) == 4


def test_a_coroutine_function_is_not_told(memory):
    async def tell(extraction: Any) -> None: ...

    class Teller:
        async def __call__(self, extraction: Any) -> None: ...

    for one in (tell, Teller(), functools.partial(tell)):
        with pytest.raises(InvalidTypeError, match="on_extraction must be a plain function"):
            memory.profile_node(ScriptedChatModel(), on_extraction=one)


async def test_a_model_may_be_given_by_its_name(memory, call, monkeypatch):
    model = ScriptedChatModel(["Well.", answer(add("Has two dogs"))])
    names = []
    monkeypatch.setattr("langchain.chat_models.init_chat_model", lambda name: names.append(name) or model)
    agent = create_agent(model, [], middleware=[memory.middleware("openai:some", when="turn")])
    await call(agent.invoke, {"messages": [human("I have two dogs", "a")]}, config())
    assert facts(memory) == ["Has two dogs"]
    memory.profile_node("openai:other")
    assert names == ["openai:some", "openai:other"]


def test_a_process_that_can_begin_no_threads_reads_what_waits_when_it_closes(sqlite_url, monkeypatch):
    def refuse(_: Any) -> None:
        msg = "can't start new thread at interpreter shutdown"
        raise RuntimeError(msg)

    memory = AgentMemory.from_url(sqlite_url)
    node = memory.profile_node(ScriptedChatModel([answer(add("Has two dogs"))]), when="background")
    monkeypatch.setattr(threading.Thread, "start", refuse)
    node.invoke([human("I have two dogs", "a")], config())
    memory.close()
    with AgentMemory.from_url(sqlite_url) as again:
        assert facts(again) == ["Has two dogs"]


async def test_closing_twice_after_a_fault_does_no_harm(sqlite_url, call, caplog):
    memory = AgentMemory.from_url(sqlite_url)
    node = memory.profile_node(ScriptedChatModel([RuntimeError("away")] * 3), when="background")
    await call(node.invoke, [human("Hi", "a")], config())
    await call(memory.close)
    assert "1 conversations were not read" in caplog.text
    caplog.clear()
    await call(memory.close)
    assert caplog.text == ""


def test_its_run_is_one_of_its_own(memory):
    """It carries the tags and the metadata of the run that it came from, and none of LangGraph's callbacks."""
    from langchain_core.callbacks import BaseCallbackHandler

    class Seen(BaseCallbackHandler):
        def __init__(self) -> None:
            self.starts: list[Any] = []

        def on_chat_model_start(self, serialized: Any, messages: Any, **more: Any) -> None:
            self.starts.append(more)

    handler = Seen()
    node = memory.profile_node(ScriptedChatModel([answer()]), when="background")
    builder = StateGraph(MessagesState)
    builder.add_node("remember", node)
    builder.add_edge(BEGIN, "remember")
    chunks = list(
        builder.compile().stream(
            {"messages": [human("Hi", "a")]},
            {**config(), "callbacks": [handler], "tags": ["mine"]},
            stream_mode="messages",
        )
    )
    node.flush()
    assert chunks == []
    (start,) = handler.starts
    assert {"mine", "nostream"} <= set(start["tags"])
    assert start["parent_run_id"] is None
