"""What the public methods take and return, and how ids are checked.

Ids (of users, sessions, threads, agents, tenants) are arbitrary strings and are never interpreted.
"""

from __future__ import annotations

import html
import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.messages import BaseMessage, convert_to_messages
from pydantic import BaseModel

from langchain_agentmem.errors import InvalidInputError, InvalidTypeError

if TYPE_CHECKING:
    from langchain_agentmem.compression.summaries import SessionSummary

MAX_ID_BYTES = 1024
"""The longest ID of a user, session, thread, agent or tenant, and the longest key, in bytes of UTF-8, on every backend."""

MAX_LABEL_BYTES = MAX_ID_BYTES + 16
"""The longest label of a namespace: an ID and the prefix that the package puts before it, such as `user:`."""

MAX_PLACE_BYTES = 2_600
"""The longest tenant (unless it is `default`), namespace and key together. More does not fit in Postgres' indexes. An item
that cannot be stored on one backend is refused on all of them."""

MAX_CHECKPOINT_BYTES = 2_400
"""The longest tenant (unless it is `default`) and IDs of a thread, checkpoint and task together, for the same reason."""

LARGEST_COUNT = 2**40
"""More than any database holds of anything, and small enough that backends can calculate with it."""
_LARGEST_ACCEPTED = 2**63 - 1

TENANT_OF_NOTES = "\x1fnotes\x1f"
"""Begins the tenants under which the package keeps what it writes down itself; see `langchain_agentmem.backends.notes`."""

_DEFAULT_TENANT = "default"
_ESCAPED = (".", "\x1a")

RetentionPolicy = Literal["single_run", "session", "persistent"]
_POLICIES = ("single_run", "session", "persistent")


def check_id(what: str, value: Any, *, most: int = MAX_ID_BYTES) -> str:
    """Refuse an id that cannot be stored everywhere.

    Args:
        what: How the id is called in the message, for example `"session_id"`.
        value: The id.
        most: The longest that is accepted, in bytes. Default: `MAX_ID_BYTES`.

    Returns:
        The id, unchanged.

    Raises:
        InvalidTypeError: It is not a string.
        InvalidInputError: It is empty, too long, or holds a NUL character or half of a surrogate pair.
    """
    if type(value) is str and value.isascii() and 0 < len(value) <= most and "\x00" not in value:
        return value
    name = check_name(what, value)
    if not name:
        msg = f"{what} must not be empty."
        raise InvalidInputError(msg)
    check_length(what, name, most)
    return name


def check_length(what: str, name: str, most: int = MAX_ID_BYTES) -> None:
    """Refuse a name that is too long.

    Raises:
        InvalidInputError: It is longer than `most` bytes.
    """
    length = len(name.encode(errors="replace"))
    if length > most:
        msg = f"{what} {name[:40]!r}… is {length:,} bytes long; at most {most:,} are accepted."
        raise InvalidInputError(msg)


def check_together(what: str, tenant: str, names: Iterable[str], most: int) -> None:
    """Refuse names that are too long together for the indexes of every backend.

    Args:
        what: How the names are called in the message.
        tenant: The tenant; `default` takes no room.
        names: The names. A dot counts as two bytes, because it is stored escaped.
        most: The longest that is accepted, in bytes.

    Raises:
        InvalidInputError: They are longer.
    """
    every = [*names] if tenant == _DEFAULT_TENANT else [tenant, *names]
    if 5 * sum(map(len, every)) <= most:
        return
    length = sum(len(name.encode()) + sum(name.count(one) for one in _ESCAPED) for name in every)
    if length > most:
        msg = (
            f"{what} are {length:,} bytes long together; at most {most:,} are accepted, because more is too long for "
            f"Postgres' indexes. Use shorter ones."
        )
        raise InvalidInputError(msg)


def check_text(what: str, text: str) -> None:
    """Refuse text that cannot be encoded as UTF-8.

    Raises:
        InvalidInputError: It holds half of a surrogate pair.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        shown = ascii(text[max(0, error.start - 10) : error.start + 10])
        msg = (
            f"{what} holds half of a surrogate pair at character {error.start} ({shown}), which is not text. "
            f"Replace it first, for example with text.encode(errors='replace').decode()."
        )
        raise InvalidInputError(msg) from None


def check_name(what: str, value: Any) -> str:
    """Same as `check_id`, but it may be empty and of any length: the names that LangGraph gives to parts of a graph."""
    if not isinstance(value, str):
        msg = f"{what} must be a string, got {type(value).__name__}: {shown(value)}."
        raise InvalidTypeError(msg)
    check_text(what, value)
    if "\x00" in value:
        msg = f"{what} {value!r:.100} holds a NUL character, which databases cannot index."
        raise InvalidInputError(msg)
    name: str = value
    return name


def check_content(what: str, value: Any) -> str:
    """Same as `check_name`, but it must say something."""
    content = check_name(what, value)
    if not content.strip():
        msg = f"{what} must not be empty, got {content!r:.100}."
        raise InvalidInputError(msg)
    return content


def check_optional_id(what: str, value: Any) -> str | None:
    """Same as `check_id`, but None is accepted."""
    return None if value is None else check_id(what, value)


def user_named_by(source: Any) -> Any:
    """Return the user ID that a run's config, context or state names; it is not checked.

    An empty ID names no user: LangGraph's agent server passes one in the config of each run without authentication.

    Args:
        source: A mapping or an object, such as `config["configurable"]`.

    Returns:
        The value of `user_id`, or None if it is missing, None or empty.

    Example:
        >>> from langchain_agentmem.arguments.models import user_named_by
        >>> user_named_by({"user_id": "alice@example.com"})
        'alice@example.com'
        >>> user_named_by({"user_id": ""}) is None
        True
    """
    named = source.get("user_id") if isinstance(source, Mapping) else getattr(source, "user_id", None)
    return None if isinstance(named, str) and not named else named


def context_of(configurable: Mapping[str, Any]) -> Any:
    """Return the context of the LangGraph run whose config this is, or None.

    Args:
        configurable: The run's `config["configurable"]`.

    Example:
        >>> from langchain_agentmem.arguments.models import context_of
        >>> context_of({"thread_id": "1"}) is None
        True
    """
    runtime = configurable.get("__pregel_runtime")
    return runtime.get("context") if isinstance(runtime, Mapping) else getattr(runtime, "context", None)


def check_tenant(tenant: Any) -> str:
    """Same as `check_id`, for a tenant: those of `langchain_agentmem.backends.notes` are refused."""
    name = check_id("tenant", tenant)
    if name.startswith(TENANT_OF_NOTES):
        msg = f"tenant {name!r:.100} begins with {TENANT_OF_NOTES!r}, which is kept for what the package writes down itself."
        raise InvalidInputError(msg)
    return name


def check_count(what: str, value: Any, *, least: int = 1) -> int:
    """Check a number of things.

    Args:
        what: The name of the argument, for the error.
        value: The number.
        least: The smallest that is accepted. Default: 1.

    Returns:
        The number, or `LARGEST_COUNT` if that is smaller: backends calculate with it, and `sys.maxsize` means all.

    Raises:
        InvalidTypeError: It is not an `int`.
        InvalidInputError: It is smaller than `least`, or larger than `sys.maxsize`.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        msg = f"{what} must be a whole number, got {type(value).__name__}: {shown(value)}."
        raise InvalidTypeError(msg)
    if value < least:
        msg = f"{what} must be at least {least}, got {shown(value)}."
        raise InvalidInputError(msg)
    if value > _LARGEST_ACCEPTED:
        msg = f"{what} must be at most {_LARGEST_ACCEPTED:,}, got {shown(value)}."
        raise InvalidInputError(msg)
    return min(value, LARGEST_COUNT)


def shown(value: Any) -> str:
    """Return the beginning of a value's `repr`, for an error about it.

    Example:
        >>> from langchain_agentmem.arguments.models import shown
        >>> shown("alice")
        "'alice'"
    """
    try:
        return f"{value!r:.100}"
    except (ValueError, RecursionError):  # an integer of more than 4,300 digits; nesting without an end
        return f"a value of type {type(value).__name__} that is too long to be shown"


def check_flag(what: str, value: Any) -> bool:
    """Refuse what is neither True nor False.

    Raises:
        InvalidTypeError: It is neither.
    """
    if not isinstance(value, bool):
        msg = f"{what} must be True or False, got {type(value).__name__}: {value!r:.100}."
        raise InvalidTypeError(msg)
    return value


def check_function(what: str, value: Any) -> None:
    """Refuse what is neither None nor a plain function; nobody would await what a coroutine function returns.

    Raises:
        InvalidTypeError: It is neither.
    """
    if value is None:
        return
    coroutine = any(map(inspect.iscoroutinefunction, (value, getattr(value, "__call__", None))))  # noqa: B004 (its own)
    if coroutine or not callable(value):
        what_else = "a coroutine function, which nobody would await" if coroutine else type(value).__name__
        msg = f"{what} must be a plain function, got {what_else}: {value!r:.100}."
        raise InvalidTypeError(msg)


def check_callable(what: str, value: Any) -> None:
    """Refuse what cannot be called.

    Raises:
        InvalidTypeError: It is no function.
    """
    if not callable(value):
        msg = f"{what} must be a function, got {type(value).__name__}: {shown(value)}."
        raise InvalidTypeError(msg)


def check_list(what: str, value: Any, of: str = "strings") -> list[Any]:
    """Refuse a single value where several are meant: a string, which Python takes for a list of characters, or a mapping.

    Args:
        what: How the argument is called in the message.
        value: The argument.
        of: What it holds, for the message. Default: `"strings"`.

    Returns:
        Its values, in order.

    Raises:
        InvalidTypeError: It is a single value.
    """
    if isinstance(value, (str, bytes, bytearray, Mapping, BaseModel)) or not isinstance(value, Iterable):
        msg = f"{what} must be a list of {of}, got {type(value).__name__}: {value!r:.100}. Put a single value in brackets."
        raise InvalidTypeError(msg)
    return list(value)


def as_messages(given: Sequence[Any]) -> list[BaseMessage]:
    """Messages, from what langchain-core makes messages of.

    Raises:
        InvalidInputError: One of them cannot be a message.
        InvalidTypeError: One of them has a type that no message is made of.
    """
    messages: list[BaseMessage] = []
    for at, one in enumerate(given):
        try:
            messages += convert_to_messages([one])
        except (NotImplementedError, ValueError, TypeError, LookupError) as error:
            first = next(iter(str(error).splitlines()), "")
            msg = f"messages[{at}] is not a message, got {type(one).__name__}: {one!r:.100} ({first:.200})."
            kind = InvalidTypeError if isinstance(error, (NotImplementedError, TypeError)) else InvalidInputError
            raise kind(msg) from error
    return messages


def seconds(what: str, value: timedelta | float | None) -> float | None:
    """An optional duration in seconds, from a `timedelta` or a number of seconds; None for None.

    Raises:
        InvalidTypeError: It is neither.
        InvalidInputError: It is not positive.
    """
    return None if value is None else required_seconds(what, value)


def required_seconds(what: str, value: timedelta | float) -> float:
    """Same as `seconds`, but None is refused: for methods that would delete more without a duration.

    Raises:
        InvalidTypeError: It is neither a `timedelta` nor a number of seconds.
        InvalidInputError: It is not positive.
    """
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        msg = f"{what} must be a timedelta or a number of seconds, got {type(value).__name__}: {shown(value)}."
        raise InvalidTypeError(msg)
    if not 0 < value < 1e11:
        msg = f"{what} must be more than 0 seconds and less than 3,000 years, got {shown(value)}."
        raise InvalidInputError(msg)
    return float(value)


@dataclass(frozen=True)
class Retention:
    """How much of a session is kept, and for how long.

    Args:
        policy: `"persistent"` keeps messages until they are deleted; `"session"` until the session is ended;
            `"single_run"` only as long as the history object lives, so that every run starts empty. Default:
            `"persistent"`.
        max_messages: The most messages kept of an agent, or of no agent; when more are added the oldest go. The newest
            system message stays, and counts. Default: None (all).
        ttl: After what time a session expires, as a `timedelta` or in seconds. Default: None (never).
        sliding: Whether the time counts from the last message added (True) or from the first one (False). Default: True.

    Example:
        >>> from langchain_agentmem import Retention
        >>> Retention("session", max_messages=100, ttl=3600).max_messages
        100
    """

    policy: RetentionPolicy = "persistent"
    max_messages: int | None = None
    ttl: timedelta | float | None = None
    sliding: bool = True

    def __post_init__(self) -> None:
        if self.policy not in _POLICIES:
            msg = f"Unknown retention policy {self.policy!r}: use one of {', '.join(_POLICIES)}."
            raise InvalidInputError(msg)
        if self.max_messages is not None:
            object.__setattr__(self, "max_messages", check_count("Retention.max_messages", self.max_messages))
        seconds("Retention.ttl", self.ttl)
        check_flag("Retention.sliding", self.sliding)


def check_retention(retention: Any) -> Retention | None:
    """Refuse what is neither None nor a `Retention`.

    Raises:
        InvalidTypeError: It is neither.
    """
    if retention is not None and not isinstance(retention, Retention):
        msg = f"retention must be a Retention, such as Retention(max_messages=100), got {shown(retention)}."
        raise InvalidTypeError(msg)
    return retention


@dataclass(frozen=True)
class StoredMessage:
    """A message of a session, with what is known about it."""

    message: BaseMessage
    session_id: str
    position: int
    """Its place in the session: 0 for the first message ever added."""
    created_at: datetime
    """When it was stored, in UTC, or what its `additional_kwargs["created_at"]` says (ISO 8601)."""
    user_id: str | None = None
    agent: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FoundMessage(StoredMessage):
    """A message that a search found."""

    score: float = 0.0
    """How well it answers the query, from 0 to 1; comparable within one result."""
    around: list[BaseMessage] = field(default_factory=list)
    """The message with those before and after it in its session, in order, when they were asked for."""


class FoundMessages(list[FoundMessage]):
    """What a search found, best first; a notebook shows it as a table."""

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{one.score:.2f}</td><td>{html.escape(one.session_id)}</td><td>{one.created_at:%Y-%m-%d}</td>"
            f"<td>{html.escape(one.message.type)}</td>"
            f"<td style='text-align:left'>{html.escape(str(one.message.text)[:300])}</td></tr>"
            for one in self
        )
        heads = "".join(f"<th>{head}</th>" for head in ("score", "session", "date", "type", "text"))
        return f"<table><tr>{heads}</tr>{rows}</table>"


@dataclass(frozen=True)
class SessionInfo:
    """One session in a list of sessions."""

    session_id: str
    user_id: str | None
    title: str | None
    """The title that `rename` set, else the beginning of the first human message. When that message is deleted, the next
    human message that is added gives the title. None if no message is stored."""
    message_count: int
    created_at: datetime
    """When its first message was stored, in UTC."""
    updated_at: datetime
    """When its newest message was stored, in UTC."""
    expires_at: datetime | None = None
    summary: SessionSummary | None = None
    """The running summary that a compressor stored, as `AgentMemory.summary` returns it; None if there is none."""


@dataclass(frozen=True)
class ThreadInfo:
    """One thread in a list of threads."""

    thread_id: str
    user_id: str | None
    """The user of the thread's last turn; None if no turn named a user."""
    checkpoint_count: int
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None = None
    users: Mapping[str, datetime] = field(default_factory=dict, compare=False)
    """Every user of the thread, with the time of that user's last turn, in UTC."""
