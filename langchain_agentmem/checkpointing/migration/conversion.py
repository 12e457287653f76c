"""Conversion of checkpoints and pending writes with the application's `migrate` function.

LangGraph keeps the versions of channels by name: in the checkpoint, in what each node has seen, and in the counters of delta
channels. They follow a renamed channel, so that the same nodes run next. A channel that is new has the newest version.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, cast

from langgraph.checkpoint.base import Checkpoint, CheckpointMetadata, CheckpointTuple, PendingWrite
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from langchain_agentmem.arguments.values import reason_of, shown
from langchain_agentmem.checkpointing.migration.values import ChannelValues, Migrate
from langchain_agentmem.encoding.missing import each_missing
from langchain_agentmem.errors import AgentMemError, MigrationError, MissingClassError
from langchain_agentmem.programs.signals import came_by_signal

_COUNTERS = "counters_since_delta_snapshot"
_INPUT = "__start__"
"""The channel with the input of a run, which has the shape of the state."""
_INTERRUPT = "__interrupt__"
"""The node name under which `versions_seen` has the versions at the latest interrupt."""
_SEPARATORS = ("|", ":")
"""Between a node and a channel in LangGraph's notes of snapshots that no node wrote."""


class _Result(NamedTuple):
    values: dict[str, Any]
    metadata: dict[str, Any]
    renamed: Mapping[str, str]


class Conversion:
    """Converts checkpoints and pending writes.

    Args:
        function: The application's function. It is called with the values of a checkpoint, with each pending write alone, and
            with each value of a run's input alone.
    """

    def __init__(self, function: Migrate) -> None:
        self._function = function
        self._names: dict[str, set[str]] = {}
        """The present names of each channel that had a value before: several if they depend on the checkpoint."""

    def convert(self, saved: CheckpointTuple) -> CheckpointTuple:
        """Return a checkpoint with its pending writes in today's shape.

        Raises:
            MigrationError: The function failed, or its result cannot be used.
        """
        where = _described(saved)
        checkpoint = saved.checkpoint
        snapshots = {name for name, value in checkpoint["channel_values"].items() if isinstance(value, _DeltaSnapshot)}
        values = {
            name: value.value if name in snapshots else value for name, value in checkpoint["channel_values"].items()
        }
        result = self._call(values, saved.metadata, where)
        for name in snapshots:
            now = result.renamed.get(name, name)
            if now in result.values and not isinstance(result.values[now], _DeltaSnapshot):
                result.values[now] = _DeltaSnapshot(result.values[now])
        given = result.values.get(_INPUT)
        if type(given) is dict and given:
            pairs = [self.convert_value(name, value, result.metadata, where) for name, value in given.items()]
            result.values[_INPUT] = dict(pair for pair in pairs if pair is not None)
        names = self._names_in(checkpoint["channel_values"], result)
        changed = _with_versions(checkpoint, result, names)
        return saved._replace(
            checkpoint=changed,
            metadata=cast("CheckpointMetadata", _with_counters(result.metadata, names)),
            pending_writes=self.convert_writes(saved.pending_writes or [], result.metadata, where),
        )

    def convert_writes(
        self, writes: Sequence[PendingWrite], metadata: Mapping[str, Any], where: str
    ) -> list[PendingWrite]:
        """Return pending writes in today's shape. A write whose channel does not exist any more is dropped."""
        found = []
        for task_id, channel, value in writes:
            pair = self.convert_value(channel, value, metadata, where)
            if pair is not None:
                found.append((task_id, *pair))
        return found

    def convert_value(self, channel: str, value: Any, metadata: Any, where: str) -> tuple[str, Any] | None:
        """Return the present name and value of a value alone; None if the function dropped it.

        Args:
            channel: Its channel.
            value: The value.
            metadata: The metadata of its checkpoint.
            where: The thread and checkpoint, for errors.
        """
        inner = value.value if isinstance(value, _DeltaSnapshot) else value
        result = self._call({channel: inner}, metadata, where)
        name = result.renamed.get(channel, channel)
        if name not in result.values:
            if not result.values:
                return None
            if len(result.values) > 1:
                msg = (
                    f"{where}: migrate turned the channel {channel!r} alone into {sorted(result.values)}. Rename a channel "
                    f"with values.rename({channel!r}, …), which names one channel."
                )
                raise MigrationError(msg)
            (name,) = result.values
            self._names.setdefault(channel, set()).add(name)
        new = result.values[name]
        return name, _DeltaSnapshot(new) if isinstance(value, _DeltaSnapshot) else new

    @property
    def renamed(self) -> dict[str, str]:
        """The present names of the channels that were renamed, by former name."""
        return {former: name for former, names in self._names.items() for name in names if former != name}

    def may_be(self, channel: str, wanted: Collection[str]) -> bool:
        """Return true if a stored channel may have one of some names today: always, if no value was converted before."""
        return channel not in self._names or not self._names[channel].isdisjoint(wanted)

    def _names_in(self, values: Mapping[str, Any], result: _Result) -> dict[str, str]:
        """Return the present names of the channels of a checkpoint. For a channel without value, they were learned before."""
        names = {former: name for former, (name, *others) in self._names.items() if not others}
        names.update({name: name for name in values if name in result.values})
        return {**names, **result.renamed}

    def _call(self, values: Mapping[str, Any], metadata: Any, where: str) -> _Result:
        given = ChannelValues(values)
        try:
            result: Any = self._function(given, copy.deepcopy(dict(metadata)))
        except Exception as error:  # the application's function may raise any error
            if came_by_signal(error) or isinstance(error, AgentMemError):
                raise
            msg = f"{where}: the function migrate failed. Cause: {type(error).__name__}: {reason_of(error)}."
            raise MigrationError(msg) from error
        if not (isinstance(result, tuple) and len(result) == 2 and all(isinstance(one, Mapping) for one in result)):
            msg = f"{where}: the function migrate must return a tuple of the values and the metadata, got {shown(result)}."
            raise MigrationError(msg)
        new = dict(result[0])
        renamed = {**_inferred(values, new), **given.renamed}
        for former, name in renamed.items():
            self._names.setdefault(former, set()).add(name)
        for name in values:
            if name in new:
                self._names.setdefault(name, set()).add(name)
        return _Result(new, dict(result[1]), renamed)


def check_classes(saved: CheckpointTuple, *, convertible: bool) -> None:
    """Check that a checkpoint contains no value whose class does not exist.

    Args:
        saved: The checkpoint.
        convertible: If true, a `migrate` function has seen it.

    Raises:
        MissingClassError: It contains one.
    """
    where = _described(saved)
    for name, value in saved.checkpoint["channel_values"].items():
        check_value(name, value, where, convertible=convertible)
    for _, name, value in saved.pending_writes or ():
        check_value(name, value, where, convertible=convertible)
    for missing in each_missing(saved.metadata):
        raise _missing(where, "the metadata have", missing.class_name, convertible=convertible)


def check_value(channel: str, value: Any, where: str, *, convertible: bool) -> None:
    """Same as `check_classes`, for a value or write of a channel."""
    for missing in each_missing(value):
        raise _missing(where, "the channel " + repr(channel) + " has", missing.class_name, convertible=convertible)


def _missing(where: str, what: str, class_name: str, *, convertible: bool) -> MissingClassError:
    advice = (
        "The function migrate left it unconverted."
        if convertible
        else "Restore the class, or convert the value with AgentMemSaver(migrate=…)."
    )
    return MissingClassError(f"{where}: {what} a value of the class {class_name}, which does not exist. {advice}")


def _described(saved: CheckpointTuple) -> str:
    named = saved.config["configurable"]
    return described(named["thread_id"], named.get("checkpoint_ns", ""), saved.checkpoint["id"])


def described(thread_id: Any, namespace: str, checkpoint_id: str) -> str:
    """Return the name of a checkpoint for errors."""
    inner = f", namespace {namespace!r}" if namespace else ""
    return f"Thread {shown(str(thread_id))}{inner}, checkpoint {checkpoint_id!r}"


def _inferred(values: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    """Return the channels that were renamed without `ChannelValues.rename`: the value moved, or one name replaced another."""
    gone = [name for name in values if name not in new]
    added = [name for name in new if name not in values]
    found: dict[str, str] = {}
    for name in gone:
        same = next((one for one in added if new[one] is values[name] and one not in found.values()), None)
        if same is not None:
            found[name] = same
    if len(gone) == len(added) == 1:
        found.setdefault(gone[0], added[0])
    return found


def _with_versions(checkpoint: Checkpoint, result: _Result, names: Mapping[str, str]) -> Checkpoint:
    former = checkpoint["channel_versions"]
    versions = _renamed(former, names)
    seen = {node: _renamed(known, names, parts=True) for node, known in (checkpoint.get("versions_seen") or {}).items()}
    unversioned = [name for name in result.values if name not in versions and name not in checkpoint["channel_values"]]
    if unversioned and versions:
        newest = max(versions.values())
        for name in unversioned:
            versions[name] = newest
            if _INTERRUPT in seen:
                seen[_INTERRUPT][name] = newest
    changed: dict[str, Any] = {
        "channel_values": result.values,
        "channel_versions": versions,
        "versions_seen": seen,
    }
    updated = checkpoint.get("updated_channels")
    if updated is not None:
        changed["updated_channels"] = sorted({names.get(name, name) for name in updated})
    return cast("Checkpoint", {**checkpoint, **changed})


def _renamed(versions: Mapping[str, Any], names: Mapping[str, str], *, parts: bool = False) -> dict[str, Any]:
    """Return versions by present names. A version that is stored under the present name wins."""
    found: dict[str, Any] = {}
    for name, version in versions.items():
        now = names.get(name, name)
        for separator in _SEPARATORS if parts and now == name else ():
            node, found_separator, channel = name.partition(separator)
            if found_separator and channel in names:
                now = f"{node}{separator}{names[channel]}"
        if now == name or now not in versions:
            found[now] = version
    return found


def _with_counters(metadata: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    counters = metadata.get(_COUNTERS)
    return {**metadata, _COUNTERS: _renamed(counters, names)} if isinstance(counters, dict) else metadata
