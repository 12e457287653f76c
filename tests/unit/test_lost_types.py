"""A type that does not come back from checkpoints as it was is named in one warning; others cost nothing and say nothing."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import functools
import logging
import uuid
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Interrupt, Send
from pydantic import BaseModel, Field

from langchain_agentmem import AgentMemError, AgentMemSaver, UnsupportedValueError

LONG = "a text that is long enough to be stored as an element of its own. " * 8


@dataclasses.dataclass
class Late:
    a: int
    b: int = dataclasses.field(init=False, default=3)


@dataclasses.dataclass
class Holder:
    held: Any = None


class Model(BaseModel):
    shown: str = "x"
    hidden: str = Field("default", exclude=True)
    held: Any = None


class Words(str):
    pass


class Computing(BaseModel):
    a: int = 1

    @functools.cached_property
    def twice(self) -> int:
        return 2 * self.a


def computed() -> Computing:
    value = Computing()
    assert value.twice == 2
    return value


LOST = {
    "Late": Late(1),
    "Counter": collections.Counter("aab"),
    "OrderedDict": Holder(collections.OrderedDict(a=1)),
    "deque": collections.deque([1], maxlen=3),
    "ZoneInfo": dt.datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")),
    "ndarray": np.array([(1, 2.0)], dtype=[("a", int), ("b", float)]),
    "Model": Model(hidden="set"),
    "Holder": Model(held=Holder()),
    "Words": Words("a"),
    "set": {(1, 2)},
}
KEPT = {
    "plain": [1, 2.5, "a", b"b", None, True, {"a": [1]}, {1: "a"}, float("nan")],
    "tuples": (1, (2, [3])),
    "times": [dt.datetime(2026, 1, 1), dt.datetime(2026, 1, 1, tzinfo=dt.UTC), dt.date(2026, 1, 1)],
    "numbers": [decimal.Decimal("1.10"), uuid.UUID(int=1), dt.timedelta(1)],
    "containers": [{1, 2}, frozenset({"a"}), collections.deque([1])],
    "messages": [HumanMessage("a"), {"last": AIMessage("b")}],
    "a message's text": HumanMessage("a").text,
    "LangGraph's own": [Send("node", {"a": 1}), Interrupt(value=1, id="1")],
    "objects": [Holder(1), Model(), np.arange(3), computed()],
    "an exception": ValueError("a"),
}


async def put(saver: AgentMemSaver, call: Any, value: Any) -> None:
    config: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
    for version in ("1", "2"):
        checkpoint: Any = {
            "v": 4,
            "id": version,
            "ts": "",
            "channel_values": {"a": [value, LONG], "b": value},
            "channel_versions": {"a": version, "b": version},
            "versions_seen": {},
        }
        config = await call(saver.put, config, checkpoint, {}, {"a": version, "b": version})
    await call(saver.put_writes, config, [("a", value), ("c", [value]), ("d", {"value": value})], "task")


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("langchain_agentmem")]


@pytest.mark.parametrize("compact", [True, False], ids=["compact", "plain"])
@pytest.mark.parametrize("name", LOST)
async def test_a_type_that_is_not_kept_is_named_in_one_warning(sqlite_memory, call, caplog, name, compact):
    with caplog.at_level(logging.WARNING):
        await put(AgentMemSaver(sqlite_memory.backend, compact=compact), call, LOST[name])
    (warning,) = warnings_in(caplog)
    assert f".{name} do not come back" in warning


@pytest.mark.parametrize("compact", [True, False], ids=["compact", "plain"])
@pytest.mark.parametrize("name", KEPT)
async def test_a_type_that_is_kept_is_not_named(sqlite_memory, call, caplog, name, compact):
    with caplog.at_level(logging.WARNING):
        await put(AgentMemSaver(sqlite_memory.backend, compact=compact), call, KEPT[name])
    assert warnings_in(caplog) == []


class Unequal:
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no single truth value")

    def __hash__(self) -> int:
        return 1


class Plain:
    """Two of these are equal only if they are the same object."""


def circle() -> list[Any]:
    value: list[Any] = []
    value.append({"held": value})
    return value


PICKLED = {
    "no comparison": [Unequal()],
    "identity": Plain(),
    "a circle": circle(),
    "an object": {"a": [Unequal(), Plain()]},
}


@pytest.mark.parametrize("compact", [True, False], ids=["compact", "plain"])
@pytest.mark.parametrize("name", PICKLED)
async def test_what_pickle_stores_is_neither_refused_nor_named(sqlite_memory, call, caplog, name, compact):
    serde = JsonPlusSerializer(pickle_fallback=True)
    saver = AgentMemSaver(sqlite_memory.backend, serde=serde, compact=compact)
    with caplog.at_level(logging.WARNING):
        await put(saver, call, PICKLED[name])
    assert warnings_in(caplog) == []
    stored = await call(saver.get_tuple, {"configurable": {"thread_id": "1"}})
    assert type(stored.checkpoint["channel_values"]["b"]) is type(PICKLED[name])


async def test_what_a_message_and_the_metadata_hold_is_looked_at_too(sqlite_memory, call, caplog):
    saver = sqlite_memory.checkpointer
    config: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
    checkpoint: Any = {
        "v": 4,
        "id": "1",
        "ts": "",
        "channel_values": {"a": [ToolMessage(LONG, tool_call_id="1", artifact=Late(1))]},
        "channel_versions": {"a": "1"},
        "versions_seen": {},
    }
    with caplog.at_level(logging.WARNING):
        await call(saver.put, config, checkpoint, {"words": collections.Counter("a")}, {"a": "1"})
    assert [name for one in warnings_in(caplog) for name in ("Late", "Counter") if f".{name} " in one] == [
        "Late",
        "Counter",
    ]


async def test_values_of_known_types_are_not_decoded_when_they_are_stored(sqlite_memory, call, monkeypatch):
    decoded = []
    load = JsonPlusSerializer.loads_typed
    monkeypatch.setattr(
        JsonPlusSerializer, "loads_typed", lambda self, typed: decoded.append(typed) or load(self, typed)
    )
    for value in KEPT.values():
        if value is not KEPT["objects"]:
            await put(sqlite_memory.checkpointer, call, value)
    assert [data for _, data in decoded] == []


class Refusing:
    """A serializer of the application's own."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def dumps_typed(self, value: Any) -> tuple[str, bytes]:
        if value == "refused":
            raise self.error
        return JsonPlusSerializer().dumps_typed(value)

    def loads_typed(self, typed: tuple[str, bytes]) -> Any:
        return JsonPlusSerializer().loads_typed(typed)


@pytest.mark.parametrize("error", [ValueError("no"), TypeError("no"), RuntimeError("no")], ids=repr)
async def test_a_serializers_own_error_can_be_caught_as_what_it_is(sqlite_memory, call, error):
    saver = AgentMemSaver(sqlite_memory.backend, serde=Refusing(error))
    with pytest.raises(type(error)):
        await put(saver, call, "refused")


async def test_a_value_that_cannot_be_stored_is_a_value_error_and_a_type_error(sqlite_memory, call):
    for kind in (ValueError, TypeError, AgentMemError, UnsupportedValueError):
        with pytest.raises(kind, match="cannot be stored"):
            await put(sqlite_memory.checkpointer, call, object())
