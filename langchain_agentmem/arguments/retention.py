"""The retention policy of a session."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from langchain_agentmem.arguments.durations import seconds
from langchain_agentmem.arguments.values import check_count, check_flag, shown
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError

RetentionPolicy = Literal["single_run", "session", "persistent"]
_POLICIES = ("single_run", "session", "persistent")


@dataclass(frozen=True)
class Retention:
    """The retention policy of a session: which messages, records and variables are kept, and for how long.

    Args:
        policy: `"persistent"` keeps messages until they are deleted. `"session"` keeps them until the session is ended.
            `"single_run"` keeps them as long as the history object or the open `Session` exists, so that every run starts
            empty. Records, and the variables of an open `Session`, are kept until they are deleted (`"persistent"`) or the
            session is ended. Default: `"persistent"`.
        max_messages: The maximum number of messages of each agent, and of no agent. A longer session loses its oldest
            messages. The newest system message is never deleted, and counts. Default: None (no maximum).
        ttl: The time after which the session expires, as a `timedelta` or in seconds. Default: None (never).
        sliding: If true, the time starts again with each use of the session: a message, record, variable or opening. If
            false, it starts with the first one. Default: True.

    Raises:
        InvalidInputError: The policy is unknown, or a number is not positive.
        InvalidTypeError: An argument has the wrong type.

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
            msg = f"Unknown retention policy {shown(self.policy)}: use one of {', '.join(_POLICIES)}."
            raise InvalidInputError(msg)
        if self.max_messages is not None:
            object.__setattr__(self, "max_messages", check_count("Retention.max_messages", self.max_messages))
        seconds("Retention.ttl", self.ttl)
        check_flag("Retention.sliding", self.sliding)


def check_retention(retention: Any) -> Retention | None:
    """Return an optional retention policy.

    Raises:
        InvalidTypeError: The value is neither a `Retention` nor None.
    """
    if retention is not None and not isinstance(retention, Retention):
        msg = f"retention must be a Retention, such as Retention(max_messages=100), got {shown(retention)}."
        raise InvalidTypeError(msg)
    return retention
