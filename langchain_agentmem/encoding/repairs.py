"""Validation and repair of messages.

LangChain validates a message in its constructor. `model_construct`, assignments to attributes and old pickles bypass the
validation. A malformed message cannot be sent to a model, and code that reads its fields fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, NamedTuple, cast

from langchain_core.messages import BaseMessage
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic_core import SchemaValidator

from langchain_agentmem.arguments.nesting import MAX_DEPTH, load_bounded_json
from langchain_agentmem.encoding.limits import MAX_INTEGER_BITS

_SENT = ("content", "tool_calls", "invalid_tool_calls", "tool_call_chunks", "additional_kwargs")
"""Fields that are sent to models, as JSON."""

_LENIENT = {"usage_metadata", "tool_call_chunks"}
"""Fields that integrations assign without validation. Values that LangChain would convert are accepted in them."""

_RAW = "malformed"
"""Key in `response_metadata` of a repaired message, with the `repr` of each replaced field."""
_MAX_RAW_CHARACTERS = 1_000

_CALLS = ("tool_calls", "invalid_tool_calls", "tool_call_chunks")

_slots: dict[str, Any] = {name: vars(BaseModel)[name] for name in BaseModel.__slots__}
_set_fields, _set_given = _slots["__dict__"].__set__, _slots["__pydantic_fields_set__"].__set__
_set_extra, _set_private = _slots["__pydantic_extra__"].__set__, _slots["__pydantic_private__"].__set__


class Fault(NamedTuple):
    """A field of a message that does not have the type that LangChain declares."""

    field: str
    where: str
    """The path in the message, such as `tool_calls[0].id`."""
    problem: str

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}"


def faults_of(message: BaseMessage) -> list[Fault]:
    """Return the faults of a message of one of langchain-core's own classes. A well-formed message has none.

    Args:
        message: The message. It is not changed.

    Example:
        >>> from langchain_core.messages import AIMessage
        >>> from langchain_agentmem.encoding.repairs import faults_of
        >>> message = AIMessage("Let me look")
        >>> message.tool_calls = [{"name": "search", "args": {}}]
        >>> str(faults_of(message)[0])
        'tool_calls[0].id: field required'
    """
    fields = message.__dict__
    faults: dict[str, Fault] = {}
    try:
        _validator(type(message)).validate_python(fields)
    except ValidationError as error:
        for one in error.errors(include_url=False):
            fault = _fault_of(one["loc"], one["msg"], fields)
            faults.setdefault(fault.where, fault)
    for name in _SENT:
        value = fields.get(name)
        if value and not isinstance(value, str):
            problem = _problem_in(value, 0)
            if problem is not None:
                faults.setdefault(name, Fault(name, name, problem))
    return list(faults.values())


def repaired(message: BaseMessage) -> BaseMessage:
    """Return a well-formed copy of a message, or the message itself if it is well formed.

    The copy keeps all fields without a fault. `response_metadata["malformed"]` has the `repr` of each replaced value; it is
    not sent to model providers.

    Args:
        message: The message. It is not changed.

    Example:
        >>> from langchain_core.messages import AIMessage
        >>> from langchain_agentmem.encoding.repairs import repaired
        >>> message = AIMessage("Let me look")
        >>> message.tool_calls = [{"name": "search", "args": {}}]
        >>> repaired(message).tool_calls
        [{'name': 'search', 'args': {}, 'id': None, 'type': 'tool_call'}]
    """
    faults = faults_of(message)
    if not faults:
        return message
    fields = dict(message.__dict__)
    raw: dict[str, str] = {}
    for name in dict.fromkeys(fault.field for fault in faults):
        given = fields.get(name)
        fields[name] = _REPAIRS[name](given) if name in _REPAIRS else _default_of(type(message), name)
        if fields[name] is None and type(message).model_fields[name].is_required():
            fields[name] = ""
        if _is_lossy(name, given, fields[name]):
            raw[name] = _shown(given)
    for name in _SENT:
        if name in fields:
            fields[name] = _bounded(fields[name], 0)
    if raw:
        fields["response_metadata"] = {**_mapping(fields.get("response_metadata")), _RAW: raw}
    return built(type(message), fields, message.__pydantic_extra__)


def completed(message: BaseMessage) -> BaseMessage:
    """Return a message with the default values of missing fields, which old pickles lack; itself if none is missing.

    Args:
        message: The message. It is not changed.
    """
    fields = message.__dict__
    extra = getattr(message, "__pydantic_extra__", None)
    missing = [name for name in _optional_fields(type(message)) if name not in fields]
    if not missing and extra is not None:
        return message
    return built(type(message), {**fields, **{name: _default_of(type(message), name) for name in missing}}, extra)


def built(
    cls: type[BaseMessage],
    fields: dict[str, Any],
    extra: Mapping[str, Any] | None = None,
    *,
    given: Iterable[str] | None = None,
) -> BaseMessage:
    """Construct a message from its fields without validation.

    These are the last steps of pydantic's `model_construct`. The other steps fill in defaults and take four times as long.

    Args:
        cls: The class of the message.
        fields: All of its fields. The message keeps the dict.
        extra: Fields that the class does not declare. Default: none.
        given: The names of the fields that do not have their default values. Default: None (all fields).
    """
    message = cls.__new__(cls)
    _set_fields(message, fields)
    _set_given(message, set(fields if given is None else given))
    _set_extra(message, dict(extra) if extra else {})
    _set_private(message, None)
    return message


@lru_cache(maxsize=64)
def _optional_fields(cls: type[BaseMessage]) -> tuple[str, ...]:
    return tuple(name for name, field in cls.model_fields.items() if not field.is_required())


@lru_cache(maxsize=64)
def _validator(cls: type[BaseMessage]) -> SchemaValidator:
    """Return a validator of a class's fields. It skips the class's own code, which repairs some fields and drops others."""
    fields: dict[str, Any] = {}
    for name, field in cls.model_fields.items():
        kind = Annotated[field.annotation, Field(strict=False)] if name in _LENIENT else field.annotation
        fields[name] = (kind, ...) if field.is_required() else (kind, None)
    config = ConfigDict(strict=True, extra="ignore", arbitrary_types_allowed=True, protected_namespaces=())
    model = create_model(cls.__name__, __config__=config, **fields)
    return cast("SchemaValidator", model.__pydantic_validator__)


def _fault_of(path: Sequence[int | str], problem: str, fields: Mapping[str, Any]) -> Fault:
    name = str(path[0])
    if name == "content":  # the rest of the path names an alternative of the type
        shown = type(fields.get(name)).__name__
        problem = f"must be a string or a list of strings and dicts, got {shown}" if name in fields else "is missing"
        return Fault(name, name, problem)
    where = name + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path[1:])
    return Fault(name, where, problem[:1].lower() + problem[1:])


def _problem_in(value: Any, depth: int) -> str | None:
    """Return why a value cannot be written as JSON text; None if it can."""
    if type(value) is int and value.bit_length() > MAX_INTEGER_BITS:
        return f"holds an integer of {value.bit_length():,} bits; at most {MAX_INTEGER_BITS:,} are accepted"
    if not isinstance(value, (dict, list, tuple)):
        return None
    if depth > MAX_DEPTH:
        return f"is nested deeper than {MAX_DEPTH} levels"
    inner = value.values() if isinstance(value, dict) else value
    return next((problem for one in inner if (problem := _problem_in(one, depth + 1)) is not None), None)


def _bounded(value: Any, depth: int) -> Any:
    """Return a value that JSON can express: with long integers as hexadecimal text, and a mark for too deep nesting."""
    if type(value) is int and value.bit_length() > MAX_INTEGER_BITS:
        return hex(value)
    if not isinstance(value, (dict, list, tuple)):
        return value
    if depth > MAX_DEPTH:
        return f"[nested deeper than {MAX_DEPTH} levels]"
    if isinstance(value, dict):
        return {key: _bounded(inner, depth + 1) for key, inner in value.items()}
    return [_bounded(inner, depth + 1) for inner in value]


def _default_of(cls: type[BaseMessage], name: str) -> Any:
    return cls.model_fields[name].get_default(call_default_factory=True, validated_data={})


def _shown(value: Any) -> str:
    try:
        text = repr(_bounded(value, 0))
    except (TypeError, ValueError, AttributeError, RuntimeError):
        text = f"a value of type {type(value).__qualname__}"
    return text.encode(errors="replace").decode()[:_MAX_RAW_CHARACTERS]


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else value.decode(errors="replace") if isinstance(value, bytes) else _shown(value)


def _optional_text(value: Any) -> str | None:
    return None if value is None else _text(value)


def _content(value: Any) -> Any:
    if isinstance(value, Mapping):
        return [dict(value)]
    if isinstance(value, (list, tuple)):
        return [one if isinstance(one, (str, dict)) else _text(one) for one in value]
    return _text(value)


def _mapping(value: Any) -> dict[Any, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _arguments(value: Any) -> dict[str, Any]:
    """Return the arguments of a call, which providers write as JSON text."""
    if isinstance(value, str):
        try:
            value = load_bounded_json(value)
        except ValueError:
            return {}
    return {_text(key): inner for key, inner in _mapping(value).items()}


def _is_lossy(name: str, given: Any, kept: Any) -> bool:
    """Return true if the repair of a field loses a part of the given value."""
    if name not in _REPAIRS:
        return given is not None
    if name not in _CALLS or not kept:
        return bool(given) and not kept
    calls = _listed(given)
    return len(calls) != len(kept) or any(
        one.get("args") and not other["args"] for one, other in zip(calls, kept, strict=True)
    )


def _listed(value: Any) -> Sequence[Any]:
    return [value] if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()


def _calls(value: Any) -> Iterator[dict[str, Any]]:
    for call in _listed(value):
        if isinstance(call, Mapping):
            yield {**call, "name": call.get("name"), "args": call.get("args"), "id": _optional_text(call.get("id"))}


def _tool_calls(value: Any) -> list[dict[str, Any]]:
    return [
        {
            **call,
            "name": _text(call["name"]),
            "args": _arguments(call["args"]),
            "type": "tool_call",
        }
        for call in _calls(value)
    ]


def _invalid_tool_calls(value: Any) -> list[dict[str, Any]]:
    return [
        {
            **call,
            "name": _optional_text(call["name"]),
            "args": _optional_text(call["args"]),
            "error": _optional_text(call.get("error")),
            "type": "invalid_tool_call",
        }
        for call in _calls(value)
    ]


def _tool_call_chunks(value: Any) -> list[dict[str, Any]]:
    return [
        {
            **call,
            "name": _optional_text(call["name"]),
            "args": _optional_text(call["args"]),
            "index": index if isinstance(index := call.get("index"), int) else None,
            "type": "tool_call_chunk",
        }
        for call in _calls(value)
    ]


_REPAIRS: Mapping[str, Callable[[Any], Any]] = {
    "content": _content,
    "name": _optional_text,
    "id": _optional_text,
    "role": _text,
    "tool_call_id": _text,
    "tool_calls": _tool_calls,
    "invalid_tool_calls": _invalid_tool_calls,
    "tool_call_chunks": _tool_call_chunks,
    "additional_kwargs": _mapping,
    "response_metadata": _mapping,
}
