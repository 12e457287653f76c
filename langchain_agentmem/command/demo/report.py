"""The report at the end of the command line: the stored sessions, checkpoints and facts of a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage, message_to_dict

from langchain_agentmem.command.demo.graph import facts_namespace
from langchain_agentmem.command.demo.player import Player
from langchain_agentmem.command.demo.turns import Session
from langchain_agentmem.memory import AgentMemory

_NEWEST_MESSAGES = 2
_FACTS_FOUND = 3
_LOWEST_SCORE = 0.05
"""Facts with a lower score only share a common word with the question."""
_ALL_FACTS = 1_000_000


@dataclass(frozen=True, slots=True)
class SessionLine:
    """One session in the report."""

    title: str
    turns: int
    """The number of turns that both the chain and the graph have played."""
    total_turns: int
    messages: int
    """The number of messages in its history."""
    thread_messages: int
    """The number of messages in the newest checkpoint of its thread."""
    checkpoints: int
    first: datetime | None
    newest: datetime | None


@dataclass(frozen=True, slots=True)
class UserFacts:
    """The stored facts about one user, and the results of searches."""

    user_id: str
    count: int
    found: dict[str, list[tuple[float, str]]]
    """For each question the facts that match best, with their scores."""


@dataclass(frozen=True, slots=True)
class Report:
    """The stored part of a conversation."""

    sessions: list[SessionLine]
    users: list[UserFacts]
    newest: list[BaseMessage]
    """The newest messages of the session that was played last."""

    @property
    def turns_left(self) -> int:
        """The number of turns that are still to be played."""
        return sum(line.total_turns - line.turns for line in self.sessions)

    def as_dict(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return {
            "turns_left": self.turns_left,
            "sessions": [asdict(one) for one in self.sessions],
            "users": [asdict(one) for one in self.users],
            "newest": [message_to_dict(one) for one in self.newest],
        }


def read_report(memory: AgentMemory, player: Player, sessions: Sequence[Session]) -> Report:
    """Read the stored part of a conversation from a memory.

    Args:
        memory: The memory.
        player: A player on it.
        sessions: The conversation.

    Example:
        >>> from langchain_agentmem import AgentMemory
        >>> from langchain_agentmem.command.demo.conversations import load_conversation
        >>> from langchain_agentmem.command.demo.player import Player
        >>> from langchain_agentmem.command.demo.report import read_report
        >>> sessions = load_conversation()
        >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
        ...     player = Player(memory)
        ...     played = next(player.play(sessions[0]))
        ...     report = read_report(memory, player, sessions)
        >>> report.sessions[0].messages, report.users[0].count, report.turns_left
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
                len(session.turns) - len(player.progress(session).turns_left(session)),
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
    newest = [] if latest is None else _newest(memory, latest[1], _NEWEST_MESSAGES)
    facts = [_facts(memory, user, [one for one in sessions if one.user_id == user], len(users)) for user in users]
    return Report(lines, facts, newest)


def _facts(memory: AgentMemory, user: str, sessions: Sequence[Session], users: int) -> UserFacts:
    namespace = facts_namespace(user)
    count = len(memory.store.search(namespace, limit=_ALL_FACTS))
    asked = list(dict.fromkeys(question for session in sessions for question in session.ask))[:_FACTS_FOUND]
    if not asked:
        # Without questions in the file, the newest human message is the query, as in an application.
        newest = [
            message for one in sessions for message in _newest(memory, one, 50) if isinstance(message, HumanMessage)
        ]
        asked = [text for message in newest[-1:] if (text := str(message.text).strip())]
    found = {}
    for question in asked[: _FACTS_FOUND if users == 1 else 1] if count else ():
        items = memory.store.search(namespace, query=question, limit=_FACTS_FOUND)
        scored = [(item.score or 0.0, str(item.value.get("text", ""))) for item in items]
        found[question] = [(score, fact) for score, fact in scored if score >= _LOWEST_SCORE]
    return UserFacts(user, count, found)


def _newest(memory: AgentMemory, session: Session, limit: int) -> list[BaseMessage]:
    return memory.history(session.session_id, user_id=session.user_id).get_recent(limit)
