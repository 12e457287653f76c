"""The messages that are added to a history, checked and serialized.

A message that cannot be stored is refused, and the error names it. There is one exception: LangChain's
`RunnableWithMessageHistory` stores a turn in a listener, after the answer, and only logs an error that is raised there. A
refusal would lose question and answer although the chain returns normally. In this case the turn is stored in a repaired
form, and a warning is logged.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import uuid4

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.prompt_values import PromptValue
from pydantic import BaseModel

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.contract import MessageRow, SessionKey
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.json_values import dump_json
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.encoding.repairs import built, completed
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError, UnsupportedValueError
from langchain_agentmem.history.chains import answers_stored
from langchain_agentmem.history.substitutes import mark_for, substitute_for
from langchain_agentmem.messages.conversion import as_messages
from langchain_agentmem.messages.guarding import guarded_message
from langchain_agentmem.messages.properties import text_of, time_of
from langchain_agentmem.messages.requests import messages_of_request
from langchain_agentmem.messages.roles import role_of
from langchain_agentmem.programs import OffLoop, Program
from langchain_agentmem.programs.signals import came_by_signal
from langchain_agentmem.programs.sizes import LONG, is_large
from langchain_agentmem.search.rows import digest_of_message
from langchain_agentmem.text.guard import Guard
from langchain_agentmem.text.marks import analyze_message

_log = logging.getLogger(__name__)

_GUARDED = 1_000
"""The number of characters from which a guard reads messages in a worker thread: it takes about a microsecond for each."""

_NO_VECTORS: Mapping[str, bytes] = MappingProxyType({})


class Turn(NamedTuple):
    """Messages that are added together, and their serialized forms."""

    messages: list[BaseMessage]
    bodies: list[Typed]
    metadata: str | None
    """JSON that is stored with each message."""

    def rows(
        self,
        key: SessionKey,
        agent: str | None,
        now: float,
        *,
        first: int = 0,
        ends_with_session: bool = False,
        language: str | None = None,
        vectors: Mapping[str, bytes] = _NO_VECTORS,
    ) -> list[MessageRow]:
        """Return the rows of the messages.

        Args:
            key: The session.
            agent: The agent that adds the messages.
            now: The time of messages that state none, in Unix seconds.
            first: The position of the first message. Default: 0.
            ends_with_session: If true, the messages are deleted when the session ends. Default: False.
            language: The language of full-text search. Default: None (the rows are not searched).
            vectors: The vectors of the messages' texts. Default: none.
        """
        return [
            MessageRow(
                first + at,
                role_of(message),
                agent,
                ends_with_session,
                time_of(message, now),
                self.metadata,
                body,
                None if language is None else analyze_message(text_of(message), language),
                vectors.get(text_of(message)),
                digest_of_message(key, message.id or ""),
            )
            for at, (message, body) in enumerate(zip(self.messages, self.bodies, strict=True))
        ]


def turn_of(given: Any) -> list[BaseMessage]:
    """Return the messages in the argument of `add_messages`.

    Args:
        given: The argument: messages, what langchain-core converts to messages, such as `("human", "hi")`, or a provider's
            request with messages under `messages`.

    Raises:
        InvalidTypeError: It is not a list, or one of its values cannot be converted.
        InvalidInputError: One of its values cannot be converted.
    """
    if isinstance(given, PromptValue):
        return given.to_messages()
    if isinstance(given, Mapping) and isinstance(given.get("messages"), (list, tuple)):
        return as_messages(messages_of_request(given))
    is_list = isinstance(given, Iterable) and not isinstance(given, (str, bytes, Mapping, BaseModel))
    values: list[Any] = list(given) if is_list else []
    if is_list and all(isinstance(value, BaseMessage) for value in values):
        return values
    answers = answers_stored()
    if is_list and answers is not None:  # a chain would only log an error
        return [_message_of(value, is_answer=at >= len(values) - answers) for at, value in enumerate(values)]
    if not is_list or _is_pair(given):
        msg = f"add_messages takes a list of messages such as [HumanMessage('hi')], got {shown(given)}. Put it in brackets."
        raise InvalidTypeError(msg)
    return as_messages(values)


def _is_pair(given: Any) -> bool:
    """Return true for one message as a tuple of a role and a text, in which each string would become a message."""
    return (
        isinstance(given, tuple)
        and len(given) == 2
        and all(isinstance(one, str) for one in given)
        and given[0] in {"human", "user", "ai", "assistant", "system", "developer"}
    )


def serialized_turn(
    codec: Codec,
    messages: Sequence[BaseMessage],
    metadata: Mapping[str, Any] | None,
    session_id: str,
    *,
    repair: bool,
    guard: Guard | None = None,
) -> Program[Turn]:
    """Check and serialize messages. A message without an ID gets one.

    Args:
        codec: Serializes the messages.
        messages: The messages. They are not changed.
        metadata: A JSON-serialisable mapping that is stored with each message; None for none.
        session_id: The session, for warnings.
        repair: If true, store a message that cannot be stored unchanged in a repaired form.
        guard: The rules for texts. Default: None (any text).

    Raises:
        InvalidInputError: A message is malformed or too large.
        UnsupportedValueError: A message would not round-trip.
    """
    yield from OffLoop(is_large(messages, LONG if guard is None else _GUARDED))
    return serialized(codec, messages, metadata, session_id, repair=repair, guard=guard)


def serialized(
    codec: Codec,
    messages: Sequence[BaseMessage],
    metadata: Mapping[str, Any] | None,
    session_id: str,
    *,
    repair: bool,
    guard: Guard | None = None,
) -> Turn:
    """Same as `serialized_turn`, as a function."""
    if guard is not None and metadata is not None:
        metadata = guard.repaired_value(metadata) if repair else guard.value(metadata, "metadata")
    stored_metadata = None if metadata is None else dump_json(metadata, "metadata")
    checked: list[BaseMessage] = []
    bodies: list[Typed] = []
    for at, message in enumerate(messages):
        one = _identified(completed(message))
        if guard is not None:
            one = _guarded(one, guard, at, session_id, repair=repair)
        try:
            body = codec.dump_message(one)
        except (InvalidInputError, UnsupportedValueError) as error:
            if not repair:
                msg = f"messages[{at}]: {error}"
                raise type(error)(msg) from error
            known = len(codec.reported)
            one = _identified(substitute_for(codec, one))
            if guard is not None:  # the plain data of objects, which the guard could not read before
                one = guarded_message(one, guard.repaired)
            body = codec.dump_message(one)
            if isinstance(error, InvalidInputError) or len(codec.reported) > known:
                _log.warning(
                    "messages[%d] of a turn in session %r is stored in a repaired form, because "
                    "RunnableWithMessageHistory would lose the turn: %s",
                    at,
                    session_id,
                    error,
                )
        checked.append(one)
        bodies.append(body)
    return Turn(checked, bodies, stored_metadata)


def _guarded(message: BaseMessage, guard: Guard, at: int, session_id: str, *, repair: bool) -> BaseMessage:
    try:
        return guarded_message(message, lambda text: guard.text(text, f"messages[{at}]"))
    except UnsupportedValueError as error:
        if not repair:
            msg = f"messages[{at}]: {error}"
            raise UnsupportedValueError(msg) from None
        return message  # it is guarded in its repaired form
    except InvalidInputError as error:
        if not repair:
            raise
        _log.warning(
            "messages[%d] of a turn in session %r is stored without what the guard refuses, because "
            "RunnableWithMessageHistory would lose the turn: %s",
            at,
            session_id,
            error,
        )
        return guarded_message(message, guard.repaired)


def with_id(message: BaseMessage, message_id: str) -> BaseMessage:
    """Return a copy of a message with another ID."""
    return built(type(message), {**message.__dict__, "id": message_id}, message.__pydantic_extra__)


def _identified(message: BaseMessage) -> BaseMessage:
    """Return a message with an ID: itself, or a copy if it has none."""
    return message if message.id else with_id(message, str(uuid4()))


def _message_of(given: Any, *, is_answer: bool) -> BaseMessage:
    """Return the message for a value that a chain stores."""
    if isinstance(given, BaseMessage):
        return given
    message_class = AIMessage if is_answer else HumanMessage
    if isinstance(given, str):
        return message_class(given)
    try:
        (message,) = as_messages([given])
    except (InvalidInputError, InvalidTypeError):
        _log.warning(
            "A value of type %s.%s that a chain gave as a message is stored as text, because RunnableWithMessageHistory "
            "would lose the turn. Return messages from the chain.",
            type(given).__module__,
            type(given).__qualname__,
        )
        return message_class(_text_of(given))
    return message


def _text_of(value: Any) -> str:
    try:
        return str(value)
    except Exception as error:  # the object's own method may raise any error
        if came_by_signal(error):
            raise
        return mark_for(value)
