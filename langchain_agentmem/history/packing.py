"""The messages that a history is given, checked and packed for storage.

A message that cannot be stored is refused, and the error names it. There is one exception. LangChain's
`RunnableWithMessageHistory` stores a turn in a listener, after the answer. It only logs an error that is raised there, so a
refusal would lose question and answer while the chain returns normally. There the turn is stored in a repaired form, with a
warning.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, HumanMessage

from langchain_agentmem.arguments.nesting import MAX_DEPTH
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.message_classes import message_class
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.encoding.repairs import built, completed, repaired
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError, UnsupportedValueError
from langchain_agentmem.history.chains import answers_stored
from langchain_agentmem.messages.conversion import as_messages
from langchain_agentmem.programs.signals import came_by_signal

_log = logging.getLogger(__name__)


def storable(
    codec: Codec, messages: Sequence[BaseMessage], session_id: str, *, repairing: bool
) -> tuple[list[BaseMessage], list[Typed]]:
    """Check messages and pack them.

    Args:
        codec: What packs them.
        messages: The messages. They are not changed.
        session_id: The session, for the warning about a repaired message.
        repairing: Whether to repair a message that cannot be stored, since a chain would lose the turn.

    Returns:
        The messages as they will be read, and their stored forms.

    Raises:
        InvalidInputError: A message is malformed, not text throughout, or too large.
        UnsupportedValueError: A message would not come back equal.
    """
    checked: list[BaseMessage] = []
    bodies: list[Typed] = []
    for at, message in enumerate(messages):
        one = completed(message)
        try:
            body = codec.dump_message(one)
        except (InvalidInputError, UnsupportedValueError) as error:
            if not repairing:
                msg = f"messages[{at}]: {error}"
                raise type(error)(msg) from error
            one = _repaired(codec, one)
            body = codec.dump_message(one)
            _log.warning(
                "messages[%d] of a turn in session %r is stored in a repaired form, since RunnableWithMessageHistory would "
                "lose the turn: %s",
                at,
                session_id,
                error,
            )
        checked.append(one)
        bodies.append(body)
    return checked, bodies


def turn_of(given: Any) -> list[BaseMessage]:
    """Return the messages of a turn that a history is given.

    A chain passes on what its caller and its steps gave it: pairs, dicts and strings, which models accept as messages.

    Args:
        given: The messages.

    Raises:
        InvalidTypeError: They are not a list of messages, and no chain stores them.
    """
    is_list = isinstance(given, Iterable) and not isinstance(given, (str, bytes, Mapping))
    ones: list[Any] = list(given) if is_list else []
    if is_list and all(isinstance(one, BaseMessage) for one in ones):
        return ones
    answers = answers_stored()
    if not is_list or answers is None:
        msg = f"add_messages takes a list of messages such as [HumanMessage('hi')], got {shown(given)}."
        raise InvalidTypeError(msg)
    return [_message_of(one, is_answer=at >= len(ones) - answers) for at, one in enumerate(ones)]


def _message_of(given: Any, *, is_answer: bool) -> BaseMessage:
    """Return what a chain passed on as a message."""
    if isinstance(given, BaseMessage):
        return given
    kind = AIMessage if is_answer else HumanMessage
    if isinstance(given, str):
        return kind(given)
    try:
        (message,) = as_messages([given])
    except (InvalidInputError, InvalidTypeError):
        _log.warning(
            "A value of type %s.%s that a chain gave as a message is stored as text, since RunnableWithMessageHistory would "
            "lose the turn. Return messages from the chain.",
            type(given).__module__,
            type(given).__qualname__,
        )
        return kind(_text_of(given))
    return message


def _text_of(value: Any) -> str:
    try:
        return str(value)
    except Exception as error:  # the object's own method may raise any error
        if came_by_signal(error):
            raise
        return _mark(value)


def _mark(value: Any) -> str:
    """Return what is stored in place of a value."""
    return f"[a value of type {type(value).__module__}.{type(value).__qualname__}, which cannot be stored]"


def _repaired(codec: Codec, message: BaseMessage) -> BaseMessage:
    """Return a message that can be stored, as much like the given one as possible."""
    message = repaired(_of_known_class(message))
    extra = message.__pydantic_extra__ or {}
    return built(
        type(message),
        {name: _plain(codec, value, 0) for name, value in message.__dict__.items()},
        {name: _plain(codec, value, 0) for name, value in extra.items()},
    )


def _of_known_class(message: BaseMessage) -> BaseMessage:
    """Return a message as one of langchain-core's own classes."""
    cls = message_class(type(message))
    if cls is type(message):
        return message
    fields = {**message.__dict__, **(message.__pydantic_extra__ or {})}
    if cls is None:
        cls = ChatMessage
        fields["role"] = message.type
    known = {name: value for name, value in fields.items() if name in cls.model_fields and name != "type"}
    rest = {name: value for name, value in fields.items() if name not in cls.model_fields}
    return completed(built(cls, known, rest))


def _plain(codec: Codec, value: Any, depth: int) -> Any:
    """Return a value if a message can hold it, else a plain form of it, or a mark in its place."""
    if codec.packs(value):
        return value
    if isinstance(value, str) or depth > MAX_DEPTH:
        text = value if isinstance(value, str) else f"[nested deeper than {MAX_DEPTH} levels]"
        return text.encode(errors="replace").decode()
    if isinstance(value, Mapping):
        return {
            key if codec.packs({key: None}) else _plain(codec, str(key), depth): _plain(codec, inner, depth + 1)
            for key, inner in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)) and not hasattr(value, "_asdict"):
        inner = [_plain(codec, one, depth + 1) for one in value]
        return tuple(inner) if isinstance(value, tuple) else inner
    return _plain_object(codec, value, depth)


def _plain_object(codec: Codec, value: Any, depth: int) -> Any:
    kind = type(value)
    if kind not in codec.reported:
        codec.reported.add(kind)
        _log.warning(
            "Values of type %s.%s cannot be stored in a message so that they come back equal; a plain form, or a mark, is "
            "stored in their place. Put plain data into messages.",
            kind.__module__,
            kind.__qualname__,
        )
    try:
        return _plain(codec, _fields_of(value), depth + 1)
    except Exception as error:  # the object's own methods may raise any error
        if came_by_signal(error):
            raise
        return _mark(value)


def _fields_of(value: Any) -> Any:
    """Return what an object holds, as plain data."""
    for method in ("model_dump", "_asdict", "tolist"):
        if callable(getattr(value, method, None)):
            return getattr(value, method)()
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    msg = "It holds no plain data."
    raise UnsupportedValueError(msg)
