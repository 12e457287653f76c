"""Values that LangGraph's serializer does not restore as they were.

The serializer loses some types without an error:

* a subclass of dict or str comes back as a dict or str
* a deque comes back without its `maxlen`
* an object whose constructor does not accept all of its fields comes back as a dict

Two differences are expected and not reported: tuples come back as lists, as in JSON and with LangGraph's own savers, and an
exception comes back as its `repr`.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import pathlib
import re
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Any, cast

import ormsgpack
from langchain_core.messages import BaseMessage
from langgraph.checkpoint.serde.types import SendProtocol, _DeltaSnapshot
from langgraph.store.base import Item

from langchain_agentmem.programs.signals import came_by_signal

_OPTIONS = (
    ormsgpack.OPT_NON_STR_KEYS
    | ormsgpack.OPT_PASSTHROUGH_TUPLE
    | ormsgpack.OPT_PASSTHROUGH_BIG_INT
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_UUID
)
_NATIVE = {type(None), bool, int, float, str, bytes, bytearray}
_MISSING = object()
_EXACT = _NATIVE | {
    dt.date,
    dt.timedelta,
    dt.timezone,
    decimal.Decimal,
    uuid.UUID,
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
}
"""Types whose values always come back equal."""


def holds_half_surrogate(value: Any) -> bool:
    r"""Return true if the stored text of a value contains half of a surrogate pair.

    The check skips text that the serializer does not store, such as private attributes. It also skips exceptions: the
    serializer stores their `repr` with question marks in place of half surrogates.

    Args:
        value: Any value.

    Example:
        >>> from langchain_agentmem.encoding.roundtrips import holds_half_surrogate
        >>> holds_half_surrogate(["cut off: \ud83d"])
        True
    """
    try:
        ormsgpack.packb(value, default=_stored_of, option=_OPTIONS)
    except (TypeError, ValueError, RecursionError) as error:
        return "surrogate" in str(error)
    return False


def _stored_of(value: Any) -> Any:
    """Return the part of an object that LangGraph's serializer stores."""
    if isinstance(value, BaseException):
        return None
    for method in ("model_dump", "get_secret_value", "dict", "_asdict"):
        if callable(getattr(value, method, None)):
            return getattr(value, method)()
    return next((stored(value) for kinds, stored in _STORED if isinstance(value, kinds)), None) or _fields_of(value)


_STORED: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    ((tuple, set, frozenset, deque), list),
    (_DeltaSnapshot, lambda value: value.value),
    (pathlib.PurePath, str),
    (re.Pattern, lambda value: value.pattern),
    (Enum, lambda value: value.value),
    (SendProtocol, lambda value: [value.node, value.arg]),
    (Item, lambda value: {name: getattr(value, name) for name in value.__slots__}),
)


def is_exact(value: Any) -> bool:
    """Return true if all types in a value always come back as they were, so that decoding it for a check is unnecessary.

    Args:
        value: Any value.
    """
    unusual: list[type] = []

    def contents(inner: Any) -> Any:
        known, held = _contents_of(inner)
        if not known:
            unusual.append(type(inner))
        return held

    try:
        ormsgpack.packb(value, default=contents, option=_OPTIONS | ormsgpack.OPT_PASSTHROUGH_SUBCLASS)
    except (TypeError, ValueError, RecursionError):
        return False
    return not unusual


def _contents_of(value: Any) -> tuple[bool, Any]:
    """Return true if an object's type always comes back as it was, and the values in the object."""
    kind = type(value)
    name = (kind.__module__, kind.__qualname__)
    exact, held = False, cast("Any", None)
    if kind in _EXACT or _is_frameworks(kind) or isinstance(value, BaseException):
        exact, held = True, dict(value) if isinstance(value, dict) else None
    elif kind in (tuple, deque):
        exact, held = getattr(value, "maxlen", None) is None, list(value)
    elif kind in (set, frozenset):
        exact, held = not any(isinstance(one, tuple) for one in value), list(value)
    elif kind in (dt.datetime, dt.time):
        exact = _is_plain_time(value)
    elif isinstance(value, BaseMessage) and kind.__module__.startswith("langchain_core.messages."):
        exact, held = True, {**value.__dict__, **(value.__pydantic_extra__ or {})}
    elif name == ("langgraph.types", "Send"):
        exact, held = getattr(value, "timeout", None) is None, [value.node, value.arg]
    elif isinstance(value, _DeltaSnapshot) or name == ("langgraph.types", "Interrupt"):
        exact, held = True, value.value
    return exact, held


def _is_frameworks(kind: type) -> bool:
    """Return true if a type is a str or dict subclass of LangChain or LangGraph, such as that of `message.text`."""
    return issubclass(kind, (str, dict)) and kind.__module__.startswith(("langchain_core.", "langgraph."))


def _is_plain_time(value: Any) -> bool:
    return value.fold == 0 and type(value.tzinfo) in (type(None), dt.timezone)


def lost_types(value: Any, restored: Any, owner: type | None = None) -> Iterator[type]:
    """Yield the types of the objects in a value that did not come back as they were.

    Args:
        value: The value.
        restored: The value after it was stored and read.
        owner: The type of the object that contains the value; it is yielded in place of a plain type. Default: None.

    Example:
        >>> from collections import Counter
        >>> from langchain_agentmem.encoding.roundtrips import lost_types
        >>> list(lost_types({"words": Counter("aab")}, {"words": {"a": 2, "b": 1}}))
        [<class 'collections.Counter'>]
    """
    value, restored = _expected(value, restored)
    kind = type(value)
    lost = owner if owner is not None and kind in (*_NATIVE, list, dict) else kind
    if kind is not type(restored):
        yield lost
    elif kind in (list, deque, dict):
        parts = _parts_of(value, restored)
        if parts is None:
            yield lost
        for inner, other in parts or ():
            yield from lost_types(inner, other, owner)
    elif isinstance(value, (dt.datetime, dt.time)) and not _is_plain_time(value):
        if value.fold != restored.fold or type(value.tzinfo) is not type(restored.tzinfo):
            yield kind if value.tzinfo is None else type(value.tzinfo)
    elif (fields := _fields_of(value)) is not None:
        others = _fields_of(restored) or {}
        for name, inner in fields.items():
            yield from lost_types(inner, others.get(name, _MISSING), kind)
    elif not _are_equal(value, restored):
        yield lost


def _parts_of(value: Any, restored: Any) -> list[tuple[Any, Any]] | None:
    """Pair the parts of two lists or dicts; return None if they do not match."""
    if isinstance(value, dict):
        return [(value[key], restored[key]) for key in value] if value.keys() == restored.keys() else None
    if len(value) != len(restored) or getattr(value, "maxlen", None) != getattr(restored, "maxlen", None):
        return None
    return list(zip(value, restored, strict=True))


def _expected(value: Any, restored: Any) -> tuple[Any, Any]:
    """Remove the expected differences from the two values."""
    if isinstance(value, BaseException) and isinstance(restored, str):
        return restored, restored
    if _is_frameworks(type(value)):
        return dict(value) if isinstance(value, dict) else str(value), restored
    if type(value) is tuple and isinstance(restored, (list, tuple)):
        return list(value), list(restored)
    return value, restored


def _fields_of(value: Any) -> dict[str, Any] | None:
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
    if not hasattr(value, "__pydantic_fields_set__"):
        return None
    known = type(value).model_fields  # the rest are cached properties, which are computed again
    fields = {name: inner for name, inner in value.__dict__.items() if name in known}
    return {**fields, **(value.__pydantic_extra__ or {}), **(value.__pydantic_private__ or {})}


def _are_equal(value: Any, restored: Any) -> bool:
    """Return whether two values of one type are equal; values that cannot be compared count as equal."""
    try:
        if hasattr(value, "dtype"):  # numpy arrays have no single truth value
            same = value.dtype == restored.dtype and value.shape == restored.shape
            return bool(same and value.tobytes() == restored.tobytes())
        if getattr(type(value), "__eq__", None) is object.__eq__:  # compares identities
            return True
        return bool(value == restored) or (value != value and restored != restored)  # noqa: PLR0124 (nan)
    except Exception as error:  # the value's own methods may raise any error
        if came_by_signal(error):
            raise
        return True
