"""The messages of a conversation that one extraction reads, and the changes that may come from them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import NamedTuple

from langchain_core.messages import BaseMessage

from langchain_agentmem.knowledge.extraction.conversations import ASSISTANT, USER, Conversation, role_of, storable
from langchain_agentmem.knowledge.extraction.markers import Marker
from langchain_agentmem.knowledge.times import utc
from langchain_agentmem.messages.properties import local_time_of, time_of

MAX_MESSAGES, MAX_MESSAGE_CHARACTERS = 40, 12_000
"""Upper bounds of the new messages that one extraction reads, and of their characters. The next one reads the others."""

_LONGEST = {USER: 6_000, ASSISTANT: 1_000}
_LONGEST_NAME = 100


@dataclass(frozen=True)
class ShownMessage:
    """A message as the model is shown it."""

    position: int
    """Position of the message in the conversation."""
    source: str
    """ID of the message; its digest if it has none."""
    role: str
    text: str
    at: datetime
    """Time at which the message was written; if the message does not state it, the time of the hand-over."""
    timed: bool
    """True if it was not written long before `at`."""
    name: str = ""
    """Name of the writer, if the message tells it."""
    dated: bool = False
    """True if the message itself tells when it was written."""
    local: datetime | None = None
    """When the message was written, in its own offset; None if that is unknown."""


class Selection(NamedTuple):
    """The messages that one extraction reads."""

    messages: list[ShownMessage]
    end: int
    """Position after the last one. Messages before it that are not shown are not read later either."""
    again: frozenset[int] = frozenset()
    """Positions of messages among them that an earlier extraction read without a usable answer."""

    @property
    def of_user(self) -> list[ShownMessage]:
        """The messages of the user."""
        return [one for one in self.messages if one.role == USER]


def select(
    conversation: Conversation,
    digests: Sequence[str],
    start: int,
    others: frozenset[int],
    again: Collection[str] = (),
) -> Selection:
    """Select the messages that one extraction reads: the new ones, and earlier ones that it reads again.

    Turns of other users are left out, with the assistant's answers to them.

    Args:
        conversation: The conversation.
        digests: Digests of its messages.
        start: Position of the first new message.
        others: Positions of messages of other users.
        again: Digests of earlier messages to read again, if there are new messages. They take at most half of the bounds.
            Default: none.
    """
    messages = conversation.messages
    last_turn = max((at for at, message in enumerate(messages) if role_of(message) == USER), default=0)
    turn = -1
    zone: tzinfo = UTC
    shown: list[ShownMessage] = []
    left = MAX_MESSAGE_CHARACTERS
    repeated: set[int] = set()
    for at, message in enumerate(messages):
        role = role_of(message)
        turn = at if role == USER else turn
        zone = _zone_of(message) or zone
        is_new = at >= start
        if turn in others or role is None or not (is_new or digests[at] in again):
            continue
        text = clipped(storable(str(message.text)).strip(), _LONGEST[role])
        if not text:
            continue
        if not is_new and (len(text) > left - MAX_MESSAGE_CHARACTERS // 2 or len(shown) >= MAX_MESSAGES // 2):
            continue
        if len(shown) > len(repeated) and (len(text) > left or len(shown) == MAX_MESSAGES):
            return Selection(shown, at, frozenset(repeated))
        left -= len(text)
        repeated |= set() if is_new else {at}
        source = storable(message.id or digests[at])
        shown.append(_shown(message, at, source, role, text, conversation.now, zone, in_last_turn=at >= last_turn))
    return Selection(shown, len(messages), frozenset(repeated))


def _zone_of(message: BaseMessage) -> tzinfo | None:
    written = local_time_of(message)
    return None if written is None else written.tzinfo


def _shown(
    message: BaseMessage, at: int, source: str, role: str, text: str, now: float, zone: tzinfo, *, in_last_turn: bool
) -> ShownMessage:
    # A message with a time in the future, from a clock that is ahead, counts as written now. Otherwise later statements
    # would lose against it until that time.
    written = min(time_of(message, -1.0), now)
    dated = written >= 0
    name = clipped(storable(message.name or ""), _LONGEST_NAME)
    when = utc(written if dated else now)
    # An undated answer has the offset of the dated message before it: its day is that of the user.
    has_time = _zone_of(message) is not None or in_last_turn
    local = when.astimezone(zone) if has_time else None
    return ShownMessage(at, source, role, text, when, dated or in_last_turn, name, dated, local)


def clipped(text: str, longest: int) -> str:
    """Return a text without its middle if it is too long.

    Args:
        text: The text.
        longest: Upper bound of the characters that are kept.
    """
    return text if len(text) <= longest else f"{text[: longest // 2]} … {text[-longest // 2 :]}"


@dataclass(frozen=True)
class Admission:
    """Decides which proposals are applied, in the transaction that stores them.

    While the model answered, a concurrent extraction may have read some of the same messages and applied its own proposals
    for them. The user may also have been forgotten, and older messages must not bring the knowledge back.
    """

    selection: Selection
    """The messages that the model was shown."""
    start: int
    """Position of the first message that no other extraction has read."""
    recent: frozenset[int]
    """Positions of the messages that were written after the user was forgotten."""
    again: frozenset[int] = frozenset()
    """Positions of earlier messages that this extraction reads again, and no other one did in the meantime."""

    def admits(self, positions: Sequence[int]) -> bool:
        """Return true if a proposal is applied: at least one of its messages is unread, and all are recent.

        Args:
            positions: Positions of the messages that it names. If it names none, all messages of the user count.
        """
        behind = positions or [one.position for one in self.selection.of_user]
        is_unread = any(at >= self.start or at in self.again for at in positions) if positions else self._any_unread
        return is_unread and self.recent.issuperset(behind)

    def admits_unnamed(self) -> bool:
        """Return true if proposals are applied that cannot name messages: any message is unread and any is recent."""
        return self._any_unread and any(one.position in self.recent for one in self.selection.of_user)

    @property
    def _any_unread(self) -> bool:
        return self.start < self.selection.end or bool(self.again)


def positions_after(
    forgotten: float | None, conversation: Conversation, marker: Marker, shown: Iterable[ShownMessage]
) -> frozenset[int]:
    """Return the positions of the messages that were certainly written after the user was forgotten.

    A message that tells its time must be later. Another message must have been handed over later, and either belong to the
    last turn or follow messages that were handed over later too.

    Args:
        forgotten: When the user was forgotten, in Unix seconds; None if never.
        conversation: The conversation.
        marker: Marker of the conversation.
        shown: The messages.
    """
    if forgotten is None:
        return frozenset(one.position for one in shown)
    handed_over_later = conversation.now > forgotten
    previous_later = handed_over_later and marker.handed_over is not None and marker.handed_over > forgotten
    return frozenset(
        one.position
        for one in shown
        if (one.at.timestamp() > forgotten if one.dated else handed_over_later and (previous_later or one.timed))
    )
