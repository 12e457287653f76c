"""Whatever is put as successive versions of a channel comes back exactly, at every version, as from `InMemorySaver`."""

from __future__ import annotations

import copy
import datetime as dt
import itertools
import uuid
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from examples import examples
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Interrupt, Send

from langchain_agentmem import AgentMemory, AgentMemSaver, InvalidInputError

Call = Callable[..., Any]

moderate = settings(
    max_examples=examples(25),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
CHANNELS = ("a", "b", "ü€")
BIG = "a text that is long enough to be stored as an element of its own, not within the checkpoint. " * 4

text = st.text("aü€😀\x00 ", max_size=4)
texts = st.sampled_from([f"{n} {BIG}" for n in range(8)])
messages = st.builds(
    lambda cls, content, id_, extra: cls(content, id=id_, additional_kwargs={"extra": extra}),
    st.sampled_from([HumanMessage, AIMessage]),
    text | texts,
    st.sampled_from([None, "1", "2"]),
    st.sampled_from([None, {"a": [1]}]),
)
leaves = st.one_of(
    st.sampled_from(
        [None, True, False, 0, 1, -1, 2**63 - 1, -(2**63), 1.5, -0.0, 1.0, b"\x00\xff" * 200, b"", float("inf")]
    ),
    text,
    texts,
    messages,
)
nested = leaves | st.lists(leaves, max_size=3) | st.tuples(leaves, leaves) | st.dictionaries(text, leaves, max_size=3)
lists = st.lists(nested, max_size=5)
dicts = st.dictionaries(text, nested | st.lists(leaves, min_size=8, max_size=9), max_size=4)
values = lists | dicts | nested
position = st.integers(0, 12)
edits = st.one_of(
    st.tuples(st.just("append"), nested),
    st.tuples(st.just("extend"), lists),
    st.tuples(st.just("insert"), position, nested),
    st.tuples(st.just("change"), position, nested),
    st.tuples(st.just("cut"), position, position),
    st.tuples(st.just("drop front"), position),
    st.tuples(st.just("drop back"), position),
    st.tuples(st.sampled_from(["reverse", "rotate", "twice", "empty", "mutate", "grow", "same"])),
    st.tuples(st.just("replace"), values),
)
steps = st.lists(
    st.fixed_dictionaries(
        {
            "edits": st.lists(st.tuples(st.sampled_from(CHANNELS), edits), max_size=2),
            "back": st.sampled_from([0, 0, 0, 1, 2, 5]),
            "cold": st.sampled_from([False, False, False, True]),
            "read": st.booleans(),
            "copy": st.booleans(),
            "writes": st.lists(st.tuples(st.sampled_from((*CHANNELS, "other")), values), max_size=2),
        }
    ),
    min_size=2,
    max_size=8,
)


def edited(value: Any, edit: tuple[Any, ...]) -> Any:
    """The value after an edit, in place where it is a list or dict that can be."""
    kind, *arguments = edit
    if kind == "same":
        return value
    if kind == "replace":
        return arguments[0]
    if isinstance(value, dict):
        _edit_dict(value, kind, arguments)
        return value
    if not isinstance(value, list):
        return [value, *arguments]
    _edit_list(value, kind, arguments)
    return value


def _edit_list(value: list[Any], kind: str, arguments: list[Any]) -> None:
    at = arguments[0] % (len(value) + 1) if arguments and isinstance(arguments[0], int) else len(value) // 2
    if kind == "append":
        value.append(arguments[0])
    elif kind == "extend":
        value.extend(arguments[0])
    elif kind == "insert":
        value.insert(at, arguments[1])
    elif kind == "change":
        value[at : at + 1] = [arguments[1]]
    elif kind == "cut":
        del value[at : at + arguments[1]]
    elif kind == "drop front":
        del value[:at]
    elif kind == "drop back":
        del value[at:]
    elif kind == "reverse":
        value.reverse()
    elif kind == "rotate":
        value[:] = value[1:] + value[:1]
    elif kind == "twice" and len(value) < 200:
        value.extend(value)
    elif kind == "empty":
        value.clear()
    elif kind == "grow":
        value.extend(f"{len(value)} {n} {BIG}" for n in range(70))
    elif kind == "mutate":
        for element in value:
            _mutate(element)


def _edit_dict(value: dict[str, Any], kind: str, arguments: list[Any]) -> None:
    keys = list(value)
    if kind in ("empty", "drop front", "drop back"):
        for key in keys if kind == "empty" else keys[: arguments[0]] if kind == "drop front" else keys[arguments[0] :]:
            del value[key]
    elif kind == "reverse":
        turned = {key: value[key] for key in reversed(keys)}
        value.clear()
        value.update(turned)
    elif kind == "grow":
        value.update({f"{len(value)} {n}": f"{n} {BIG}" for n in range(70)})
    elif kind == "mutate":
        for element in value.values():
            _mutate(element)
    elif arguments:
        value[str(arguments[0])[:3]] = arguments[-1]


def _mutate(element: Any) -> None:
    if isinstance(element, BaseMessage):
        element.content = f"{element.content}!"
        element.additional_kwargs["mutated"] = [1, {"in": "place"}]
    elif isinstance(element, list):
        element.append("mutated")
    elif isinstance(element, dict):
        element["mutated"] = True


class Pair:
    """Our saver and LangGraph's, driven by the same calls on one thread."""

    numbers = itertools.count()

    def __init__(self, backend: Any, call: Call) -> None:
        self.call = call
        self.backend = backend
        self.ours = AgentMemSaver(backend)
        self.reference = InMemorySaver()
        self.thread = f"thread {next(self.numbers)}"
        self.configs: list[Any] = []
        self.values: list[dict[str, Any]] = []
        self.versions: list[dict[str, Any]] = []

    def config(self, checkpoint_id: str | None = None) -> Any:
        named = {} if checkpoint_id is None else {"checkpoint_id": checkpoint_id}
        return {"configurable": {"thread_id": self.thread, "checkpoint_ns": "", **named}}

    async def put(self, values: dict[str, Any], changed: set[str], parent: int | None = None, run: str = "run") -> None:
        at = len(self.configs)
        before = {} if parent is None else self.versions[parent]
        new = {channel: self.ours.get_next_version(before.get(channel), None) for channel in sorted(changed)}
        versions = {**before, **new}
        checkpoint: Any = {
            "v": 4,
            "id": f"{at:06}",
            "ts": f"at {at}",
            "channel_values": dict(values),
            "channel_versions": versions,
            "versions_seen": {"node": dict(before)},
            "updated_channels": sorted(changed),
        }
        metadata: Any = {"source": "loop", "step": at, "parents": {}, "run_id": run}
        config = self.config() if parent is None else self.configs[parent]
        stored = await self.call(self.ours.put, config, checkpoint, metadata, new)
        assert stored == self.reference.put(config, checkpoint, metadata, new)
        self.configs.append(stored)
        self.values.append(values)
        self.versions.append(versions)

    async def put_writes(self, at: int, writes: list[tuple[str, Any]], task_id: str) -> None:
        await self.call(self.ours.put_writes, self.configs[at], writes, task_id, f"path {task_id}")
        self.reference.put_writes(self.configs[at], writes, task_id, f"path {task_id}")

    def cool(self) -> None:
        """Go on with a saver that knows nothing yet of what is stored."""
        self.ours = AgentMemSaver(self.backend)

    async def check(self, *, kept: set[str] | None = None, thread: str | None = None) -> None:
        """Every checkpoint that is kept is as in the reference: read one by one, and listed."""
        listed = {
            found.config["configurable"]["checkpoint_id"]: found
            for found in await self.call(
                self.ours.list, {"configurable": {"thread_id": thread or self.thread, "checkpoint_ns": ""}}
            )
        }
        expected = {found.checkpoint["id"]: found for found in self.reference.list(self.config())}
        assert listed.keys() == (expected.keys() if kept is None else kept)
        for checkpoint_id, found in listed.items():
            single = await self.call(self.ours.get_tuple, found.config)
            assert single == found
            same = expected[checkpoint_id]
            assert found.checkpoint == same.checkpoint
            assert repr(found.checkpoint["channel_values"]) == repr(
                {channel: same.checkpoint["channel_values"][channel] for channel in found.checkpoint["channel_values"]}
            )
            assert repr(found.pending_writes) == repr(same.pending_writes)
            assert found.metadata == same.metadata
            parent = same.parent_config and same.parent_config["configurable"]["checkpoint_id"]
            there = None if parent is None or parent not in listed else parent
            assert (found.parent_config and found.parent_config["configurable"]["checkpoint_id"]) == there
        if kept is None:
            latest = await self.call(self.ours.get_tuple, self.config())
            assert latest.checkpoint == self.reference.get_tuple(self.config()).checkpoint


def step(*edits: Any, **more: Any) -> dict[str, Any]:
    return {"edits": list(edits), "back": 0, "cold": False, "read": False, "copy": False, "writes": [], **more}


GROWTH = [step(("a", ("append", f"{n} {BIG}")), ("b", ("extend", [BIG, n, n]))) for n in range(5)]
"""Steps after which a channel's value is stored as a splice of a splice."""


async def play(pair: Pair, script: list[dict[str, Any]], run: str = "run") -> None:
    """Put the versions that a script describes."""
    for number, one in enumerate(script):
        parent = max(0, len(pair.configs) - 1 - one["back"]) if pair.configs else None
        values = {} if parent is None else pair.values[parent]
        if one["cold"]:
            pair.cool()
        if parent is not None and one["read"]:
            values = (await pair.call(pair.ours.get_tuple, pair.configs[parent])).checkpoint["channel_values"]
        if one["copy"]:
            values = copy.deepcopy(values)
        if parent is not None and one["writes"]:
            await pair.put_writes(parent, one["writes"], f"task {number}")
        changed = {channel for channel, _ in one["edits"]}
        # What is not edited must not change under its version, so what the edited channels share with it is copied.
        values = {key: copy.deepcopy(value) if key not in changed else value for key, value in values.items()}
        for channel, edit in one["edits"]:
            values[channel] = edited(values.get(channel, []), copy.deepcopy(edit))
        await pair.put(values, changed, parent, run)


@moderate
@given(script=steps)
@example(
    script=[
        step(("a", ("grow",))),
        step(("a", ("mutate",))),
        step(("a", ("drop front", 5)), cold=True, writes=[("a", ["x"])]),
        step(("a", ("twice",)), back=2, read=True),
        step(("a", ("replace", {"k": BIG})), read=True),
        step(("a", ("replace", None)), cold=True, read=True),
        step(("a", ("grow",)), back=1, cold=True, read=True),
        step(("b", ("append", 1)), back=1, cold=True),
    ]
)
async def test_every_version_comes_back_as_it_was_put(memory, call, script):
    pair = Pair(memory.backend, call)
    await play(pair, script)
    await pair.check()
    pair.cool()
    await pair.check()


@moderate
@given(first=steps, second=steps, how=st.sampled_from(["prune", "copy", "runs", "copy and prune", "expire"]))
async def test_what_is_kept_comes_back_as_it_was_put(memory, call, first, second, how):
    pair = Pair(memory.backend, call)
    first = [*GROWTH, *first]
    await play(pair, first, "first run")
    kept: set[str] | None = None
    if how in ("prune", "copy and prune"):
        if how == "copy and prune":
            await call(pair.ours.copy_thread, pair.thread, f"{pair.thread} copied")
        await call(pair.ours.prune, [pair.thread])
        kept = {f"{len(first) - 1:06}"}
    elif how == "expire":
        await call(pair.ours.expire_checkpoints, 1e-9, thread_ids=[pair.thread])
        kept = {f"{len(first) - 1:06}"}
    elif how == "copy":
        await call(pair.ours.copy_thread, pair.thread, f"{pair.thread} copied")
    await pair.check(kept=kept)
    copied: Any = {"configurable": {"thread_id": f"{pair.thread} copied"}}
    if how in ("copy", "copy and prune"):
        await pair.check(thread=f"{pair.thread} copied")
    before = await call(pair.ours.list, copied)
    # The thread goes on: from the latest checkpoint, since others may be gone.
    for at, one in enumerate(second):
        one["back"] = min(one["back"], at)
    await play(pair, second, "second run")
    added = {f"{len(first) + at:06}" for at in range(len(second))}
    if how == "runs":
        await call(pair.ours.delete_for_runs, ["first run"])
        kept = set()
    await pair.check(kept=None if kept is None else kept | added)
    if how == "copy":
        await call(pair.ours.delete_thread, pair.thread)
        assert await call(pair.ours.get_tuple, pair.config()) is None
        assert await call(pair.ours.list, copied) == before


@pytest.mark.parametrize("versions", [(1, 2, 3), (1.0, 2.0, 3.5), ("1.0.1", "2.0.2", "3.0.3")])
async def test_versions_may_be_numbers_or_strings(memory, call, versions):
    pair = Pair(memory.backend, call)
    value: list[str] = []
    for version in versions:
        value.append(f"{version} {BIG}")
        pair.ours.get_next_version = lambda *_, version=version: version
        await pair.put({"a": value, "n": len(value)}, {"a", "n"}, len(pair.configs) - 1 if pair.configs else None)
    await pair.check()


ODD = {
    "nothing": None,
    "nan": [float("nan"), float("inf"), float("-inf"), -0.0],
    "bytes": b"\x00" * 500,
    "a long text": BIG * 100,
    "texts with NUL": [f"\x00{BIG}\x00", "\x00", ""],
    "keys with NUL": {"\x00": BIG, "": "\x00", "a\x00b": {"c\x00": [BIG]}},
    "keys that are no strings": {1: BIG, None: BIG, (1, 2): BIG, False: 2},
    "keys of both kinds": [{1: BIG, "1": BIG}],
    "tuples": (BIG, (BIG, [BIG])),
    "tuples in a list": [(BIG, 1), ((BIG,),)],
    "a set": {1, 2, 3},
    "a deque": deque([BIG, 2]),
    "dates": [dt.datetime(2026, 1, 2, tzinfo=dt.UTC), dt.date(2026, 1, 2), BIG],
    "numbers": [Decimal("1.10"), 2**63 - 1, -(2**63), 1e300, BIG],
    "ids": {"id": uuid.UUID(int=5), "text": BIG},
    "sends": [Send("node", {"a": [BIG]}), Send("node", HumanMessage(BIG))],
    "an interrupt": [Interrupt(value=BIG, id="1")],
    "an error": [ValueError(BIG)],
    "messages": [HumanMessage(BIG), ToolMessage(BIG, tool_call_id="1", artifact={"a": [BIG]}), HumanMessage("\x00")],
    "a message": AIMessage(BIG, tool_calls=[{"name": "f", "args": {"a": [1]}, "id": "1"}]),
    "deep nesting": [[[[[[[[[[BIG]]]]]]]]]],
    "a dict of long lists": {"a": list(range(100)), "b": [BIG] * 20, "c": {str(n): n for n in range(50)}},
    "10,000 small elements": list(range(10_000)),
    "the same element 1,000 times": [BIG] * 1000,
    "pairs": [["a", BIG], ["b", BIG]],
    "a list that looks like a dict's entries": {"a": [["a", BIG]] * 9},
}


@pytest.mark.parametrize("name", ODD)
async def test_odd_values_come_back_as_from_langgraphs_own_saver(memory, call, name):
    pair = Pair(memory.backend, call)
    await pair.put({"a": ODD[name], "b": 1}, {"a", "b"})
    await pair.put_writes(0, [("a", ODD[name]), ("b", [ODD[name]])], "task")
    await pair.put({"a": [ODD[name], BIG], "b": 1}, {"a"}, 0)
    expected = [pair.reference.get_tuple(config) for config in pair.configs]
    for _ in range(2):
        for config, same in zip(pair.configs, expected, strict=True):
            found = await call(pair.ours.get_tuple, config)
            assert repr(found.checkpoint["channel_values"]["a"]) == repr(same.checkpoint["channel_values"]["a"])
            assert type(found.checkpoint["channel_values"]["a"]) is type(same.checkpoint["channel_values"]["a"])
            assert repr(found.pending_writes) == repr(same.pending_writes)
        pair.cool()


async def test_a_name_with_a_nul_character_is_refused_and_nothing_is_written(memory, call):
    saver = memory.checkpointer
    checkpoint: Any = {
        "v": 4,
        "id": "1",
        "ts": "",
        "channel_values": {"a\x00b": [BIG]},
        "channel_versions": {"a\x00b": "1"},
        "versions_seen": {},
    }
    config: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": "", "checkpoint_id": "0"}}
    with pytest.raises(InvalidInputError, match="NUL"):
        await call(saver.put, config, checkpoint, {}, {"a\x00b": "1"})
    with pytest.raises(InvalidInputError, match="NUL"):
        await call(saver.put_writes, config, [("a\x00b", BIG)], "task")
    assert await call(saver.threads) == []


@pytest.mark.parametrize("name", ["ü€😀", "a'b\"c", "*", "%_", "a:b|c", "__x__", "n" * 1000, "a\nb", "~", "1~2"])
async def test_any_name_serves_as_channel_and_as_namespace(memory, call, name):
    saver = memory.checkpointer
    checkpoint: Any = {
        "v": 4,
        "id": "1",
        "ts": "",
        "channel_values": {name: [BIG, BIG], "small": 1, f"{name}.": {"k": BIG}},
        "channel_versions": {name: "1", "small": "1", f"{name}.": "1"},
        "versions_seen": {name: {name: "1"}},
        "updated_channels": [name],
    }
    for namespace in ("", name, f"{name}|{name}:1"):
        config: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": namespace}}
        stored = await call(saver.put, config, checkpoint, {"source": "loop"}, checkpoint["channel_versions"])
        await call(saver.put_writes, stored, [(name, [BIG, namespace])], name, name)
    for fresh in (saver, AgentMemSaver(memory.backend)):
        for namespace in ("", name, f"{name}|{name}:1"):
            config = {"configurable": {"thread_id": "1", "checkpoint_ns": namespace}}
            found = await call(fresh.get_tuple, config)
            assert found.checkpoint == checkpoint
            assert found.config["configurable"]["checkpoint_ns"] == namespace
            assert found.pending_writes == [(name, name, [BIG, namespace])]
            assert len(await call(fresh.list, config)) == 1
    await call(saver.prune, ["1"])
    assert (await call(saver.get_tuple, config)).checkpoint == checkpoint


async def test_metadata_come_back_whole_nested_and_with_nul(memory, call):
    metadata: Any = {
        "source": "loop",
        "step": -1,
        "parents": {"": "1", "a\x00": "2"},
        "writes": {"node": [HumanMessage("a\x00b")]},
        "score": {"ü": [1, 2.5, None, True, "x\x00", {"deep": [[]]}]},
        "text": "\x00a\x00",
        "big": 2**70,
    }
    config: Any = {
        "configurable": {"thread_id": "1", "checkpoint_ns": "", "user_id": "u", "flag": True, "__hidden": 1},
        "metadata": {"tag": "t\x00", "source": "not this"},
    }
    checkpoint: Any = {"v": 4, "id": "1", "ts": "", "channel_values": {}, "channel_versions": {}, "versions_seen": {}}
    stored = await call(memory.checkpointer.put, config, checkpoint, metadata, {})
    found = await call(memory.checkpointer.get_tuple, stored)
    assert found.metadata == {**metadata, "user_id": "u", "flag": True, "tag": "t"}


async def test_a_value_that_was_not_put_again_is_that_of_its_version(memory, call):
    """LangGraph hands over all values with every checkpoint, and says which are new."""
    pair = Pair(memory.backend, call)
    log = [BIG, f"2 {BIG}"]
    await pair.put({"log": log, "n": 1}, {"log", "n"})
    await pair.put({"log": log, "n": 2}, {"n"}, 0)
    pair.cool()
    await pair.put({"log": log, "n": 3}, {"n"}, 1)
    await pair.check()


async def test_an_empty_channel_is_absent(memory, call):
    pair = Pair(memory.backend, call)
    await pair.put({"a": [BIG]}, {"a"})
    await pair.put({}, {"a"}, 0)
    await pair.put({"a": [BIG, 1]}, {"a"}, 1)
    await pair.check()
    assert "a" not in (await call(pair.ours.get_tuple, pair.configs[1])).checkpoint["channel_values"]


async def test_a_checkpoint_that_is_put_again_is_replaced(memory, call):
    saver = memory.checkpointer
    for text in ("first ", "second "):
        checkpoint: Any = {
            "v": 4,
            "id": "1",
            "ts": text,
            "channel_values": {"a": [text + BIG]},
            "channel_versions": {"a": "1"},
            "versions_seen": {},
        }
        config = await call(
            saver.put, {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}, checkpoint, {}, {"a": "1"}
        )
        await call(saver.put_writes, config, [("a", text)], "task")
    found = await call(saver.get_tuple, config)
    assert found.checkpoint == checkpoint
    assert found.pending_writes == [("task", "a", "first ")]
    assert len(await call(saver.list, config)) == 1


async def test_a_branch_that_shares_a_version_does_not_change_the_other(memory, call):
    """Versions that are plain numbers are the same on both branches of a fork."""
    saver = memory.checkpointer

    async def put(checkpoint_id: str, parent: str | None, value: list[str], version: int) -> Any:
        checkpoint: Any = {
            "v": 4,
            "id": checkpoint_id,
            "ts": "",
            "channel_values": {"a": value},
            "channel_versions": {"a": version},
            "versions_seen": {},
        }
        named = {} if parent is None else {"checkpoint_id": parent}
        config: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": "", **named}}
        return await call(saver.put, config, checkpoint, {}, {"a": version})

    def texts(*names: str) -> list[str]:
        return [f"{name} {BIG}" for name in names]

    wanted = {
        "1": texts("root"),
        "2": texts("root", "left"),
        "3": texts("root", "right"),
        "4": texts("root", "left", "on"),
        "5": texts("root", "right", "on"),
    }
    for checkpoint_id, parent, version in (("1", None, 1), ("2", "1", 2), ("3", "1", 2), ("4", "2", 3), ("5", "3", 3)):
        await put(checkpoint_id, parent, wanted[checkpoint_id], version)
    for fresh in (saver, AgentMemSaver(memory.backend)):
        for checkpoint_id, value in wanted.items():
            config: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": "", "checkpoint_id": checkpoint_id}}
            assert (await call(fresh.get_tuple, config)).checkpoint["channel_values"]["a"] == value


@pytest.mark.parametrize(
    "again", [["other 1", "other 2"], ["2", "1"]], ids=["other texts", "the same in another order"]
)
async def test_a_thread_that_was_deleted_and_written_anew_elsewhere_is_not_built_upon(lasting_url, call, again):
    def texts(*names: str) -> list[str]:
        return [f"{name} {BIG}" for name in names]

    async def put(saver: AgentMemSaver, value: list[str], version: int) -> Any:
        checkpoint: Any = {
            "v": 4,
            "id": f"{version}",
            "ts": "",
            "channel_values": {"a": value},
            "channel_versions": {"a": version},
            "versions_seen": {},
        }
        config: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
        return await call(saver.put, config, checkpoint, {}, {"a": version})

    with AgentMemory.from_url(lasting_url) as one, AgentMemory.from_url(lasting_url) as other:
        for version in (1, 2):
            await put(one.checkpointer, texts("1", "2"), version)
        await call(other.checkpointer.delete_thread, "1")
        for version in (1, 2):
            await put(other.checkpointer, texts(*again), version)
        stored = await put(one.checkpointer, texts("1", "2", "3"), 3)
        for memory in (one, other):
            found = await call(memory.checkpointer.get_tuple, stored)
            assert found.checkpoint["channel_values"]["a"] == texts("1", "2", "3")
