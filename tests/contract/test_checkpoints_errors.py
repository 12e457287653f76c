"""An exception is recorded whatever its text and its hidden fields hold, and text that is never stored is not looked at."""

from __future__ import annotations

import dataclasses
import json
import operator
from functools import cached_property
from typing import Annotated, Any

import pytest
from langchain_core.exceptions import OutputParserException
from langgraph.graph import START, StateGraph
from pydantic import BaseModel, Field, PrivateAttr
from typing_extensions import TypedDict

from langchain_agentmem import AgentMemSaver, InvalidInputError

HALF = "cut off: \ud83d"
CHECKPOINT: Any = {
    "v": 4,
    "id": "1",
    "ts": "",
    "channel_values": {},
    "channel_versions": {"a": "1"},
    "versions_seen": {},
}
CONFIG: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": "", "checkpoint_id": "1"}}


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


def parser_error() -> Exception:
    return OutputParserException("not JSON", llm_output=HALF)


def json_error() -> Exception:
    return json.JSONDecodeError("no", HALF, 0)


def noted_error() -> Exception:
    error = ValueError("no")
    error.__notes__ = [HALF]
    return error


def said_error() -> Exception:
    return ValueError(HALF)


class RudeError(Exception):
    def __repr__(self) -> str:
        raise RuntimeError(HALF)


@dataclasses.dataclass
class FieldsError(Exception):
    text: str = HALF


ERRORS = [parser_error, json_error, noted_error, said_error, RudeError, FieldsError]


@pytest.mark.parametrize("make", ERRORS, ids=lambda one: one.__name__)
async def test_a_node_that_fails_is_recorded_and_its_error_handler_runs(memory, call, make):
    def fails(state: State) -> State:
        raise make()

    saver = memory.checkpointer
    plain = StateGraph(State).add_node("parse", fails).add_edge(START, "parse").compile(checkpointer=saver)
    with pytest.raises(type(make())):
        await call(plain.invoke, {"log": []}, {"configurable": {"thread_id": "1"}})
    state = await call(plain.get_state, {"configurable": {"thread_id": "1"}})
    (noted,) = [task.error for task in state.tasks]
    assert type(make()).__name__ in repr(noted)
    repr(noted).encode()
    builder = StateGraph(State).add_node("parse", fails, error_handler=lambda state: {"log": ["handled"]})
    handled = builder.add_edge(START, "parse").compile(checkpointer=saver)
    assert await call(handled.invoke, {"log": []}, {"configurable": {"thread_id": "2"}}) == {"log": ["handled"]}


class Model(BaseModel):
    shown: str = "?"
    hidden: str = Field("", exclude=True)
    _private: str = PrivateAttr("")

    @cached_property
    def computed(self) -> str:
        return HALF


@dataclasses.dataclass
class Data:
    shown: str = "?"

    @cached_property
    def computed(self) -> str:
        return HALF


def model() -> Model:
    value = Model(hidden=HALF)
    value._private = HALF
    assert value.computed == HALF
    return value


def data() -> Data:
    value = Data()
    assert value.computed == HALF
    return value


@pytest.mark.parametrize("compact", [True, False], ids=["compact", "plain"])
@pytest.mark.parametrize("make", [model, data], ids=lambda one: one.__name__)
async def test_text_that_is_not_stored_is_not_looked_at(memory, call, make, compact):
    saver = AgentMemSaver(memory.backend, compact=compact)
    given = {**CHECKPOINT, "channel_values": {"a": [make()]}}
    await call(saver.put, CONFIG, given, {}, {"a": "1"})
    await call(saver.put_writes, CONFIG, [("a", [make()])], "task")
    found = await call(saver.get_tuple, CONFIG)
    assert found.checkpoint["channel_values"]["a"][0].shown == "?"


@pytest.mark.parametrize("compact", [True, False], ids=["compact", "plain"])
@pytest.mark.parametrize(
    "value", [HALF, [HALF], {HALF: 1}, {HALF}, (HALF,), Model(shown=HALF), [Data(HALF)], [{"a": Data(HALF)}]], ids=ascii
)
async def test_text_that_is_stored_is_refused_when_it_is_none(memory, call, value, compact):
    saver = AgentMemSaver(memory.backend, compact=compact)
    with pytest.raises(InvalidInputError, match="surrogate"):
        await call(saver.put_writes, CONFIG, [("a", value)], "task")
    assert await call(saver.threads) == []
