"""Checks of the arguments of the checkpointer's methods."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from langchain_agentmem.arguments.ids import check_id, check_name, check_optional_id
from langchain_agentmem.arguments.runs import context_of, user_named_by
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError

_random = random.Random()
"""The source of the random parts of versions, independent of the seeds of the application. The source of the operating system
would cost a system call for each version."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_random.seed)

_EXAMPLE = '{"configurable": {"thread_id": "1"}}'
_MAX_BITS = 1_000
"""The longest integer that is accepted as an ID, in bits."""


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


def checkpoint_of(config: Any) -> tuple[str, str, str | None]:
    """Return the thread ID, namespace and checkpoint ID in a config; the checkpoint ID is optional.

    Raises:
        InvalidInputError: The config names no thread, or an ID is not accepted.
        InvalidTypeError: The config is not a mapping, or an ID has the wrong type.
    """
    configurable = configurable_of(config)
    if "thread_id" not in configurable:
        msg = f"The config names no thread: pass {_EXAMPLE}."
        raise InvalidInputError(msg)
    namespace = configurable.get("checkpoint_ns", "")
    checkpoint_id = check_optional_id("checkpoint_id", configurable.get("checkpoint_id") or None)
    return thread_id_of("thread_id", configurable["thread_id"]), check_name("checkpoint_ns", namespace), checkpoint_id


def user_of(configurable: Mapping[str, Any], state: Mapping[str, Any]) -> str | None:
    """Return the user ID of a run: the config's, else the runtime context's, else the state's.

    Args:
        configurable: The run's `config["configurable"]`.
        state: The values of the channels.

    Raises:
        InvalidInputError: The config or the context names a user by an ID that is not accepted.
        InvalidTypeError: That ID has the wrong type.
    """
    named = user_named_by(configurable)
    if named is None:
        named = user_named_by(context_of(configurable))
    if named is not None:
        return thread_id_of("user_id", named)
    named = user_named_by(state)
    try:
        return None if named is None else thread_id_of("user_id", named)
    except (InvalidInputError, InvalidTypeError):
        return None  # an application may use a channel of this name for anything else


def check_mapping(what: str, value: Any, example: str) -> None:
    """Check that a value is a mapping.

    Raises:
        InvalidTypeError: The value is not a mapping.
    """
    if not isinstance(value, Mapping):
        msg = f"{what} must be a dict such as {example}, got {type(value).__name__}: {shown(value)}."
        raise InvalidTypeError(msg)


def thread_id_of(what: str, value: Any) -> str:
    """Return an ID as a string: LangGraph's savers accept integers and UUIDs too."""
    if isinstance(value, (int, UUID)) and not isinstance(value, bool):
        # Python limits the digits of `str(integer)` but not of `hex(integer)`; `check_id` refuses the long result.
        value = str(value) if isinstance(value, UUID) or value.bit_length() < _MAX_BITS else hex(value)
    return check_id(what, value)


def thread_ids_of(what: str, values: Any) -> list[str]:
    """Return IDs as strings.

    Raises:
        InvalidTypeError: `values` is not a list, or an ID has the wrong type.
    """
    if isinstance(values, (str, bytes)) or not isinstance(values, Sequence):
        msg = f"{what} must be a list of strings, got {type(values).__name__}: {shown(values)}."
        raise InvalidTypeError(msg)
    return [thread_id_of(f"Each of {what}", value) for value in values]


def checkpoint_id_of(checkpoint: Any, metadata: Any, versions: Any) -> str:
    """Check the arguments of `put` and return the checkpoint's ID.

    Raises:
        InvalidTypeError: A part is missing, or has the wrong type.
        InvalidInputError: A channel's name or the ID is not accepted.
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
        InvalidTypeError: `writes` is not a list of pairs.
    """
    if isinstance(writes, (str, bytes)) or not isinstance(writes, Sequence):
        msg = f"writes must be a list of pairs of a channel and a value, got {type(writes).__name__}: {shown(writes)}."
        raise InvalidTypeError(msg)
    for write in writes:
        if not isinstance(write, (tuple, list)) or len(write) != 2:
            msg = f"writes must be a list of pairs of a channel and a value; it contains {shown(write)}."
            raise InvalidTypeError(msg)
    return [channel for channel, _ in writes]


def next_version(current: Any) -> str:
    """Return the version after `current`: a number that sorts as text, and a random part that differs between forks.

    Raises:
        InvalidInputError: `current` does not begin with a number.
    """
    return f"{_number_of_version(current) + 1:032}.{_random.getrandbits(48):012x}"


def _number_of_version(version: Any) -> int:
    """Return the number at the beginning of a channel's version; 0 for None.

    Raises:
        InvalidInputError: The version does not begin with a number.
    """
    try:
        return 0 if version is None else int(str(version).partition(".")[0])
    except ValueError:
        msg = f"A channel's version must begin with a number, as in '0001.5f'; got {shown(version)}."
        raise InvalidInputError(msg) from None
