"""Stored values whose class does not exist any more.

LangGraph's serializer returns the stored fields of such a value, as a dict. A reader from `with_placeholders` returns a
`MissingClass` in its place, so that nothing takes the dict for the value.
"""

from __future__ import annotations

import copy
import importlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import ormsgpack
from langgraph.checkpoint.serde import _msgpack, jsonplus
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import _DeltaSnapshot

_ONE_ARGUMENT = jsonplus.EXT_CONSTRUCTOR_SINGLE_ARG
_ARGUMENTS = jsonplus.EXT_CONSTRUCTOR_POS_ARGS
_KEYWORDS = jsonplus.EXT_CONSTRUCTOR_KW_ARGS
_MODELS = {jsonplus.EXT_PYDANTIC_V1: "construct", jsonplus.EXT_PYDANTIC_V2: "model_construct"}
_CONSTRUCTED = {_ONE_ARGUMENT, _ARGUMENTS, _KEYWORDS, *_MODELS}

_created = threading.local()


class MissingClass:
    """A stored value whose class does not exist any more. A function `migrate=` converts it; see `AgentMemSaver`.

    Args:
        module: The module of the class when the value was stored.
        name: The name of the class.
        state: The stored fields of a Pydantic model, dataclass or named tuple, as a dict. For other classes, the argument or
            the list of arguments of the constructor.

    Example:
        >>> from langchain_agentmem import MissingClass
        >>> note = MissingClass("app.models", "Note", {"text": "Water the plants"})
        >>> note.class_name, note.state["text"]
        ('app.models.Note', 'Water the plants')
    """

    def __init__(self, module: str, name: str, state: Any) -> None:
        self.module = module
        self.name = name
        self.state = state

    @property
    def class_name(self) -> str:
        """The full name of the class."""
        return f"{self.module}.{self.name}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MissingClass) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(self.class_name)

    def __repr__(self) -> str:
        return f"MissingClass({self.module!r}, {self.name!r}, {self.state!r})"


def count_created() -> int:
    """Return the number of placeholders that readers have returned in this thread."""
    return getattr(_created, "count", 0)


def _missing(module: str, name: str, state: Any) -> MissingClass:
    _created.count = count_created() + 1
    return MissingClass(module, name, state)


def with_placeholders(serde: JsonPlusSerializer, *, blocked: bool = False) -> JsonPlusSerializer:
    """Return a serializer that reads a value of a class that does not exist as `MissingClass`.

    A serializer with an extension hook of its own is returned unchanged.

    Args:
        serde: The serializer.
        blocked: If true, a value of a class that the serializer does not allow is read as `MissingClass`, too. Default: False
            (as LangGraph reads it: its stored fields).
    """
    if serde._custom_unpack_ext_hook:
        return serde
    reader = copy.copy(serde)
    reader._unpack_ext_hook = _extension_hook(serde, blocked)
    vars(reader)["_reviver"] = _json_hook(serde, blocked)  # it shadows the method
    return reader


def _extension_hook(serde: JsonPlusSerializer, blocked: bool) -> Callable[[int, bytes], Any]:
    """Return a hook that decodes extensions as LangGraph's own one does, except for classes that do not exist."""
    theirs = serde._unpack_ext_hook
    allowed = serde._allowed_msgpack_modules
    announced: set[tuple[str, str]] = set()

    def hook(code: int, data: bytes) -> Any:
        if code == jsonplus.EXT_DELTA_SNAPSHOT:
            return _DeltaSnapshot(_unpacked(data, hook))
        if code not in _CONSTRUCTED:
            return theirs(code, data)
        module, name, state, *_ = _unpacked(data, hook)
        key = (module, name)
        safe = key in _msgpack.SAFE_MSGPACK_TYPES
        if not safe and allowed is not True and key not in (allowed or ()):
            theirs(code, data)  # logs that the class is not allowed
            return _missing(module, name, state) if blocked else state
        found = _class(module, name)
        if found is None:
            return _missing(module, name, state)
        if not safe and key not in announced:
            announced.add(key)
            theirs(code, data)  # logs that the class is not registered
        try:
            return _constructed(code, found, state)
        except Exception:  # any error of the application's constructor
            return theirs(code, data)  # logs it, and returns the stored fields

    return hook


def _json_hook(serde: JsonPlusSerializer, blocked: bool) -> Callable[[dict[str, Any]], Any]:
    """Return the same for the JSON that former versions of LangGraph stored."""

    def hook(value: dict[str, Any]) -> Any:
        revived = serde._reviver(value)
        is_refused = blocked and revived is value
        if value.get("lc") != 2 or value.get("type") != "constructor" or not value.get("id"):
            return revived
        if revived is not None and not is_refused:
            return revived
        *module, name = value["id"]
        if not is_refused and _class(".".join(module), name) is not None:
            return revived
        return _missing(".".join(module), name, value.get("kwargs") or value.get("args"))

    return hook


def _unpacked(data: bytes, hook: Callable[[int, bytes], Any]) -> Any:
    return ormsgpack.unpackb(data, ext_hook=hook, option=ormsgpack.OPT_NON_STR_KEYS)


def _class(module: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None


def _constructed(code: int, found: Any, state: Any) -> Any:
    if code == _ONE_ARGUMENT:
        return found(state)
    if code == _ARGUMENTS:
        if (found.__module__, found.__name__) == ("langgraph.types", "Send") and len(state) > 2:
            return found(*state[:2], timeout=state[2])
        return found(*state)
    if code == _KEYWORDS:
        return found(**state)
    try:
        return found(**state)
    except Exception:  # Pydantic's, or that of a validator of the application
        return getattr(found, _MODELS[code])(**state)


def each_missing(value: Any) -> Iterator[MissingClass]:
    """Yield the placeholders in a value, at any depth."""
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, MissingClass):
            yield one
        if one is None or isinstance(one, (str, bytes, int, float, type)) or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, dict):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, (list, tuple, set, frozenset)) or type(one).__name__ == "deque":
            waiting += list(one)
        else:
            waiting += list(getattr(one, "__dict__", {}).values())
            waiting += [getattr(one, name, None) for name in getattr(type(one), "__slots__", ())]
