"""The arguments of the checkpointer's methods, and their checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from langchain_agentmem.arguments.ids import check_id, check_name, check_optional_id
from langchain_agentmem.arguments.values import check_count, shown
from langchain_agentmem.checkpointing.containment import checked_filter
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError

_EXAMPLE = '{"configurable": {"thread_id": "1"}}'


class Scan(NamedTuple):
    """What a listing of checkpoints looks for, and the position that it has reached."""

    thread_id: str | None
    namespace: str | None
    checkpoint_id: str | None
    filter: dict[str, Any]
    before: str | None
    limit: int | None
    after: tuple[str, str, str] | None = None

    @classmethod
    def of(cls, config: Any, condition: Any, before: Any, limit: Any) -> Scan:
        """Check the arguments of a listing.

        Args:
            config: The config of the threads, or None for all.
            condition: The filter on metadata, or None.
            before: The config of the first checkpoint that is too new, or None.
            limit: The maximum number of checkpoints, or None.
        """
        if limit is not None:
            limit = check_count("limit", limit, least=0)
        wanted = {} if config is None else configurable_of(config)
        older = {} if before is None else configurable_of(before, "before")
        namespace = wanted.get("checkpoint_ns")
        return cls(
            thread_id_of("thread_id", wanted["thread_id"]) if wanted.get("thread_id") is not None else None,
            None if namespace is None else check_name("checkpoint_ns", namespace),
            check_optional_id("checkpoint_id", wanted.get("checkpoint_id") or None),
            checked_filter(condition),
            check_optional_id("checkpoint_id", older.get("checkpoint_id") or None),
            limit,
        )


def configurable_of(config: Any, what: str = "config") -> Mapping[str, Any]:
    """Return the `configurable` of a config; empty if it has none.

    Args:
        config: The config.
        what: The name of the argument, for the error. Default: `"config"`.

    Raises:
        InvalidTypeError: The config or its `configurable` is not a mapping.

    Example:
        >>> from langchain_agentmem.checkpointing.arguments import configurable_of
        >>> configurable_of({"configurable": {"thread_id": "1"}})
        {'thread_id': '1'}
    """
    check_mapping(what, config, _EXAMPLE)
    configurable: Any = config.get("configurable") or {}
    check_mapping(f'{what}["configurable"]', configurable, '{"thread_id": "1"}')
    return configurable  # type: ignore[no-any-return]


def place_of(config: Any) -> tuple[str, str, str | None]:
    """Return the thread, namespace and checkpoint that a config names.

    Raises:
        InvalidInputError: It names no thread, or an ID is not accepted.
        InvalidTypeError: It is not a mapping, or an ID has the wrong type.
    """
    configurable = configurable_of(config)
    if "thread_id" not in configurable:
        msg = f"The config names no thread: pass {_EXAMPLE}."
        raise InvalidInputError(msg)
    namespace = configurable.get("checkpoint_ns", "")
    checkpoint_id = check_optional_id("checkpoint_id", configurable.get("checkpoint_id") or None)
    return thread_id_of("thread_id", configurable["thread_id"]), check_name("checkpoint_ns", namespace), checkpoint_id


def check_mapping(what: str, value: Any, example: str) -> None:
    """Refuse a value that is not a mapping.

    Raises:
        InvalidTypeError: It is not a mapping.
    """
    if not isinstance(value, Mapping):
        msg = f"{what} must be a dict such as {example}, got {type(value).__name__}: {shown(value)}."
        raise InvalidTypeError(msg)


def thread_id_of(what: str, value: Any) -> str:
    """Return an ID as a string: LangGraph's savers accept numbers and UUIDs too."""
    if isinstance(value, (int, UUID)) and not isinstance(value, bool):
        value = str(value) if isinstance(value, UUID) or value.bit_length() < _LONGEST_NUMBER else hex(value)
    return check_id(what, value)


_LONGEST_NUMBER = 1_000
"""Bits. A longer number is no ID; it is written in hexadecimal, which has no limit of length, and refused as too long."""


def thread_ids_of(what: str, values: Any) -> list[str]:
    """Return IDs as strings.

    Raises:
        InvalidTypeError: They are not a list, or one has the wrong type.
    """
    if isinstance(values, (str, bytes)) or not isinstance(values, Sequence):
        msg = f"{what} must be a list of strings, got {type(values).__name__}: {shown(values)}."
        raise InvalidTypeError(msg)
    return [thread_id_of(f"Each of {what}", value) for value in values]


def checkpoint_id_of(checkpoint: Any, metadata: Any, versions: Any) -> str:
    """Return the ID of a checkpoint.

    Raises:
        InvalidTypeError: A part of it is missing, or has the wrong type.
        InvalidInputError: A name or the ID is not accepted.
    """
    check_mapping("checkpoint", checkpoint, "LangGraph's `Checkpoint`")
    check_mapping("metadata", metadata, '{"source": "loop"}')
    check_mapping("new_versions", versions, '{"messages": "1"}')
    for part in ("channel_values", "channel_versions"):
        check_mapping(f"checkpoint[{shown(part)}]", checkpoint.get(part), '{"messages": …}')
    for channel in checkpoint["channel_values"]:
        check_name("A channel's name", channel)
    return check_id("checkpoint id", checkpoint.get("id"))


def channels_of(writes: Any) -> list[Any]:
    """Return the channels of pending writes.

    Raises:
        InvalidTypeError: They are not a list of pairs.
    """
    if isinstance(writes, (str, bytes)) or not isinstance(writes, Sequence):
        msg = f"writes must be a list of pairs of a channel and a value, got {type(writes).__name__}: {shown(writes)}."
        raise InvalidTypeError(msg)
    for write in writes:
        if not isinstance(write, (tuple, list)) or len(write) != 2:
            msg = f"writes must be a list of pairs of a channel and a value; one of them is {shown(write)}."
            raise InvalidTypeError(msg)
    return [channel for channel, _ in writes]


def number_of_version(version: Any) -> int:
    """Return the number that a channel's version begins with; 0 for None.

    Raises:
        InvalidInputError: It begins with no number.
    """
    try:
        return 0 if version is None else int(str(version).partition(".")[0])
    except ValueError:
        msg = f"A channel's version must begin with a number, as in '0001.5f'; got {shown(version)}."
        raise InvalidInputError(msg) from None


def serializer_of(serde: Any) -> Any:
    """Return the serializer, or None for LangGraph's own.

    Raises:
        InvalidTypeError: It is no serializer.
    """
    pairs = (("dumps_typed", "loads_typed"), ("dumps", "loads"))  # LangGraph takes serializers of the second kind too
    if serde is not None and not any(all(callable(getattr(serde, name, None)) for name in pair) for pair in pairs):
        msg = f"serde must have the methods dumps_typed and loads_typed, as JsonPlusSerializer has; got {shown(serde)}."
        raise InvalidTypeError(msg)
    return serde
