"""OpenTelemetry spans: one for each public operation, with numbers and without content."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from langchain_agentmem import AgentMemory
from langchain_agentmem.errors import StorageClosedError, UnknownMessageError, UnsupportedValueError
from langchain_agentmem.testing import ScriptedChatModel

SECRET = "marmalade-4711"
USER = "zoe.quince@example.com"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """The finished spans."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield exporter
    provider.shutdown()


async def test_each_operation_is_one_span(memory, call, spans):
    history = memory.history("session-1", user_id=USER)
    await call(history.add_messages, [HumanMessage("Hello"), AIMessage("Hi")])
    await call(history.search, "Hello")
    await call(memory.store.put, ("notes",), "k", {"text": "pizza"})
    await call(memory.store.get, ("notes",), "k")
    await call(memory.profiles.add_fact, USER, "Has a dog")
    await call(memory.variables.set, "tone", "kind")
    await call(memory.sessions.delete, "session-1", user_id=USER)
    await call(memory.checkpointer.put, config("t"), empty_checkpoint(), {}, {})
    await call(memory.stats)
    assert [(span.name, span.attributes["agentmem.operation"]) for span in spans.get_finished_spans()] == [
        ("create_memory", "history.add_messages"),
        ("search_memory", "history.search"),
        ("upsert_memory", "store.put"),
        ("search_memory", "store.get"),
        ("create_memory", "profiles.add_fact"),
        ("upsert_memory", "variables.set"),
        ("delete_memory", "sessions.delete"),
        ("checkpointer.put", "checkpointer.put"),
        ("memory.stats", "memory.stats"),
    ]
    systems = {"sqlite": "sqlite", "postgres": "postgresql", "redis": "redis"}
    for span in spans.get_finished_spans():
        attributes = span.attributes
        assert attributes["db.system.name"] == systems[memory.backend.name]
        assert attributes.get("gen_ai.operation.name", span.attributes["agentmem.operation"]) == span.name
        assert attributes["agentmem.transactions"] > 0
        assert attributes["agentmem.round_trips"] >= attributes["agentmem.transactions"]
        assert span.status.is_ok or span.status.status_code == trace.StatusCode.UNSET


async def test_a_span_counts_records_bytes_and_round_trips(memory, call, spans):
    history = memory.history("session-1")
    await call(history.add_messages, [HumanMessage("tea" + "." * 5_000), AIMessage("coffee" + "." * 5_000)])
    await call(history.get_recent, 10)
    hits = await call(history.search, "tea")
    added, read, found = (span.attributes for span in spans.get_finished_spans())
    assert [one["gen_ai.memory.record.count"] for one in (added, read, found)] == [2, 2, len(hits)]
    assert added["agentmem.bytes_written"] > 10_000
    assert added["agentmem.bytes_read"] < 1_000
    assert read["agentmem.bytes_read"] > 10_000
    assert read["agentmem.round_trips"] == read["agentmem.transactions"] == 1


async def test_no_content_and_no_id_is_in_a_span(memory, call, spans):
    history = memory.history(SECRET, user_id=USER)
    await call(history.add_messages, [HumanMessage(SECRET)])
    await call(history.search, SECRET)
    await call(memory.store.put, (SECRET,), SECRET, {SECRET: SECRET})
    await call(memory.store.search, (SECRET,), query=SECRET)
    await call(memory.profiles.add_fact, USER, SECRET)
    await call(memory.recall, SECRET, user_id=USER)
    await call(memory.variables.set, "tone", SECRET, user_id=USER)
    await call(memory.checkpointer.put, config(SECRET), empty_checkpoint(), {"user_id": USER}, {})
    with pytest.raises(UnsupportedValueError, match=SECRET):
        await call(memory.store.put, ("notes",), "k", {SECRET: object()})
    with pytest.raises(UnknownMessageError, match=SECRET):
        await call(history.replace, SECRET, HumanMessage(SECRET))
    assert len(spans.get_finished_spans()) >= 9
    for span in spans.get_finished_spans():
        assert SECRET not in span.to_json()
        assert USER not in span.to_json()


async def test_an_error_is_in_the_span_by_its_type(lasting_url, call, spans):
    memory = AgentMemory.from_url(lasting_url)
    memory.close()
    with pytest.raises(StorageClosedError):
        await call(memory.history("s").count)
    (span,) = spans.get_finished_spans()
    assert span.status.status_code == trace.StatusCode.ERROR
    assert (span.status.description, span.attributes["error.type"]) == (None, "StorageClosedError")
    assert not span.events


async def test_spans_nest(memory, call, spans):
    memory.profiles.add_fact("alice", "Has a dog")
    memory.history("s", user_id="alice").add_user_message("Hello")
    spans.clear()
    model = ScriptedChatModel(["Hi", "{}"])
    agent = create_agent(
        model, [], middleware=[memory.middleware(model, learn=False)], checkpointer=memory.checkpointer
    )
    with trace.get_tracer("application").start_as_current_span("turn"):
        await call(
            agent.invoke,
            {"messages": [HumanMessage("A dog?")]},
            {"configurable": {"thread_id": "t", "user_id": "alice"}},
        )
    by_name = {span.attributes.get("agentmem.operation", span.name): span for span in spans.get_finished_spans()}
    (recall,) = [
        one for one in spans.get_finished_spans() if one.attributes.get("agentmem.operation") == "memory.recall"
    ]
    middleware = by_name["memory_middleware.wrap_model_call"]
    assert recall.parent.span_id == middleware.context.span_id
    assert {line_of(span, spans.get_finished_spans())[-1] for span in by_name.values()} == {"turn"}
    assert recall.name == "search_memory"


async def test_concurrent_operations_have_spans_of_their_own(memory, spans):
    async def one(number: int) -> None:
        with trace.get_tracer("application").start_as_current_span(f"turn-{number}"):
            await memory.history(f"s-{number}").aadd_messages([HumanMessage("Hello")] * number)

    await asyncio.gather(*map(one, range(1, 9)))
    finished = spans.get_finished_spans()
    operations = [span for span in finished if "agentmem.operation" in span.attributes]
    parents = {span.context.span_id: span.name for span in finished}
    assert {parents[one.parent.span_id]: one.attributes["gen_ai.memory.record.count"] for one in operations} == {
        f"turn-{number}": number for number in range(1, 9)
    }


async def test_operations_that_share_a_transaction_have_spans_of_their_own(memory, spans):
    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(memory.store.aput(("notes",), str(number), {"text": "tea"}))
    found = [span.attributes for span in spans.get_finished_spans()]
    assert [one["agentmem.operation"] for one in found] == ["store.put"] * 5
    assert sum(one["agentmem.transactions"] > 0 for one in found) == 1, "the first of them has the numbers"


COUNT_CALLS = """
import sys
from langchain_core.messages import HumanMessage
from langchain_agentmem import AgentMemory

if sys.argv[1] == "imported":
    import opentelemetry.trace

with AgentMemory.from_url("sqlite:///:memory:") as memory:
    history = memory.history("s")
    def work():
        history.add_messages([HumanMessage("Hello", id="1")])
        len(history.messages)
        memory.store.put(("notes",), "k", {"text": "pizza"})
        memory.store.get(("notes",), "k")
    work()
    calls = 0
    def count(frame, event, argument):
        global calls
        calls += event == "call"
    sys.setprofile(count)
    work()
    sys.setprofile(None)
    print(calls, "langchain_agentmem.programs.tracing" in sys.modules)
"""


@pytest.mark.parametrize("state", ["missing", "imported"])
def test_without_a_tracer_no_function_is_called(state):
    run = subprocess.run([sys.executable, "-c", COUNT_CALLS, state], capture_output=True, text=True, check=True)
    calls, is_loaded = run.stdout.split()
    assert (is_loaded, int(calls) > 50) == ("False", True)
    other = subprocess.run([sys.executable, "-c", COUNT_CALLS, "other"], capture_output=True, text=True, check=True)
    assert other.stdout.split()[0] == calls


def line_of(span: ReadableSpan, every: tuple[ReadableSpan, ...]) -> list[str]:
    """The names of a span and of those around it."""
    parents = {one.context.span_id: one for one in every}
    line = [span.name]
    while span.parent is not None:
        span = parents[span.parent.span_id]
        line.append(span.name)
    return line


def config(thread_id: str) -> dict:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
