"""What the command line shows at the end: what the memory holds of a conversation, read from the memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from langchain_core.messages import BaseMessage, HumanMessage

from langchain_agentmem.command.player import Player
from langchain_agentmem.command.turns import Session
from langchain_agentmem.command.wiring import facts_of
from langchain_agentmem.memory import AgentMemory

if TYPE_CHECKING:
    from rich.console import Console

_SESSIONS = 10
_NEWEST = 2
_FOUND = 3
_LEAST = 0.05
_FACTS = 1_000_000


@dataclass(frozen=True, slots=True)
class SessionLine:
    """What is stored of one session."""

    title: str
    turns: int
    """How many turns both the chain and the graph have played."""
    of_turns: int
    messages: int
    """How many messages its history holds."""
    thread_messages: int
    """How many messages the latest checkpoint of its thread holds."""
    checkpoints: int
    first: datetime | None
    newest: datetime | None


@dataclass(frozen=True, slots=True)
class UserFacts:
    """What the store holds about one user, and what it finds."""

    user_id: str
    count: int
    found: dict[str, list[tuple[float, str]]]
    """For each question the best facts, with their scores."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a memory holds of a conversation."""

    sessions: list[SessionLine]
    users: list[UserFacts]
    last: list[BaseMessage]
    """The newest messages of the session that was played last."""

    @property
    def turns_left(self) -> int:
        """How many turns are yet to be played."""
        return sum(line.of_turns - line.turns for line in self.sessions)


def remembered(memory: AgentMemory, player: Player, sessions: Sequence[Session]) -> Remembered:
    """Read what a memory holds of a conversation.

    Args:
        memory: The memory.
        player: A player on it.
        sessions: The conversation.

    Example:
        >>> from langchain_agentmem import AgentMemory
        >>> from langchain_agentmem.command.conversations import load_conversation
        >>> from langchain_agentmem.command.player import Player
        >>> from langchain_agentmem.command.summary import remembered
        >>> sessions = load_conversation()
        >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
        ...     player = Player(memory)
        ...     played = next(player.play(sessions[0]))
        ...     seen = remembered(memory, player, sessions)
        >>> seen.sessions[0].messages, seen.users[0].count, seen.turns_left
        (3, 1, 39)
    """
    users = dict.fromkeys(session.user_id for session in sessions)
    stored = {(user, info.session_id): info for user in users for info in memory.sessions.list(user_id=user)}
    threads = {info.thread_id: info for user in users for info in memory.checkpointer.threads(user_id=user)}
    lines = []
    latest: tuple[datetime, Session] | None = None
    for session in sessions:
        info, thread = stored.get((session.user_id, session.session_id)), threads.get(session.session_id)
        lines.append(
            SessionLine(
                session.title,
                len(session.turns) - len(player.standing(session).left(session)),
                len(session.turns),
                info.message_count if info else 0,
                len(player.thread(session)),
                thread.checkpoint_count if thread else 0,
                info.created_at if info else None,
                info.updated_at if info else None,
            )
        )
        if info and (latest is None or info.updated_at >= latest[0]):
            latest = (info.updated_at, session)
    last = [] if latest is None else _newest(memory, latest[1], _NEWEST)
    facts = [_facts(memory, user, [one for one in sessions if one.user_id == user], len(users)) for user in users]
    return Remembered(lines, facts, last)


def show(console: Console, seen: Remembered) -> None:
    """Print what a memory holds of a conversation.

    Args:
        console: Where.
        seen: What it holds.
    """
    from rich.box import SIMPLE_HEAD
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    def say(text: str, indent: int = 0) -> None:
        console.print(Padding(Text(text), (0, 0, 0, indent), expand=False))

    table = Table("session", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for name in ("turns", "history", "thread", "check-\npoints"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("first stored", "newest"):
        table.add_column(name, no_wrap=True)
    begun = [line for line in seen.sessions if line.messages or line.thread_messages]
    if not begun:
        say("Nothing of this conversation is stored.")
        return
    if len(begun) > _SESSIONS:
        table.add_row(f"… {len(begun) - _SESSIONS} more before")
    for line in begun[-_SESSIONS:]:
        table.add_row(shown(line.title, 60), *_numbers([line]), *_times(line))
    if len(seen.sessions) > 1:
        table.add_section()
        table.add_row(f"all {len(seen.sessions)}", *_numbers(seen.sessions))
    console.print(table)
    say("history: messages that the chain stored; thread: messages that the graph's newest checkpoint holds")
    if seen.last:
        console.print("\nSaid last:")
        for message in seen.last:
            say(f"{message.name or message.type}: {shown(str(message.text), 300)}", 2)
    for user in seen.users:
        console.print()
        _show_facts(say, user)


def shown(text: str, width: int) -> str:
    """Text of a file as one line that a terminal may be given: no control characters, not longer than `width`.

    Args:
        text: The text.
        width: The most characters.

    Example:
        >>> from langchain_agentmem.command.summary import shown
        >>> shown("two" + chr(10) + "lines" + chr(27) + "[31m, red", 14)
        'two lines [31…'
    """
    line = " ".join("".join(one if one.isprintable() else " " for one in text[: width * 4]).split())
    return line if len(line) <= width else line[: width - 1] + "…"


def _show_facts(say: Callable[[str, int], None], user: UserFacts) -> None:
    say(f"The store remembers {user.count:,} facts about {shown(user.user_id, 80)}.", 0)
    if not user.count:
        say('Facts come from the file: with "facts": ["…"] in a message they are remembered when it is played.', 0)
    for question, found in user.found.items():
        say(f"Search: {shown(question, 200)}", 2)
        for score, fact in found:
            say(f"{score:.2f}  {shown(fact, 200)}", 4)
        if not found:
            say("nothing found", 4)


def _numbers(lines: Sequence[SessionLine]) -> list[str]:
    turns = f"{sum(line.turns for line in lines):,} of {sum(line.of_turns for line in lines):,}"
    counts = (
        sum(line.messages for line in lines),
        sum(line.thread_messages for line in lines),
        sum(line.checkpoints for line in lines),
    )
    return [turns, *(f"{count:,}" for count in counts)]


def _times(line: SessionLine) -> tuple[str, str]:
    if line.first is None or line.newest is None:
        return "", ""
    first, newest = line.first.astimezone(), line.newest.astimezone()
    return f"{first:%Y-%m-%d %H:%M}", f"{newest:%H:%M}" if first.date() == newest.date() else f"{newest:%Y-%m-%d}"


def _facts(memory: AgentMemory, user: str, sessions: Sequence[Session], users: int) -> UserFacts:
    place = facts_of(user)
    count = len(memory.store.search(place, limit=_FACTS))
    asked = list(dict.fromkeys(question for session in sessions for question in session.ask))[:_FOUND]
    if not asked:
        # Without questions in the file, what was said last is a good one: it is what a memory would be asked for next.
        newest = [
            message for one in sessions for message in _newest(memory, one, 50) if isinstance(message, HumanMessage)
        ]
        asked = [text for message in newest[-1:] if (text := str(message.text).strip())]
    found = {}
    for question in asked[: _FOUND if users == 1 else 1] if count else ():
        items = memory.store.search(place, query=question, limit=_FOUND)
        # What only shares a common word with the question scores next to nothing beside a real answer.
        scored = [(item.score or 0.0, str(item.value.get("text", ""))) for item in items]
        found[question] = [(score, fact) for score, fact in scored if score >= _LEAST]
    return UserFacts(user, count, found)


def _newest(memory: AgentMemory, session: Session, limit: int) -> list[BaseMessage]:
    return memory.history(session.session_id, user_id=session.user_id).get_recent(limit)
