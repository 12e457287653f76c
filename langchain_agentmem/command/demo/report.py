"""The report at the end of the demo: what is stored of a conversation, what was learned from it, and how it fits a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage, message_to_dict

from langchain_agentmem.command.demo.graph import facts_namespace
from langchain_agentmem.command.demo.player import Player
from langchain_agentmem.command.demo.turns import Session
from langchain_agentmem.compression.events import CompressionEvent
from langchain_agentmem.memory import AgentMemory

_NEWEST_MESSAGES = 2
_FACTS_FOUND = 3
_LOWEST_SCORE = 0.05
"""Facts with a lower score only share a common word with the question."""
_ALL_FACTS = 1_000_000
_BUDGET = 1_000
"""The budget of the request in tokens: small, so that a conversation of the demo exceeds it."""
_PAGE = 500


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


@dataclass(frozen=True, slots=True)
class UserFacts:
    """The stored facts about one user, and the results of searches."""

    user_id: str
    count: int
    found: dict[str, list[tuple[float, str]]]
    """For each question the facts that match best, with their scores."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A fact that answers a question."""

    score: float
    fact: str
    before: list[str]
    """The facts that it superseded, the latest first."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What was learned about one user."""

    user_id: str
    fields: dict[str, Any]
    facts: int
    """The number of facts that are true now."""
    superseded: int
    """The number of facts that others superseded."""
    answers: dict[str, list[Answer]]
    """For each question the facts that match best."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A conversation that is too long for a budget, as a request to a model contains it."""

    max_tokens: int
    messages: int
    tokens: int
    """The number of tokens of all messages."""
    request_messages: int
    request_tokens: int
    folded: int
    """The number of messages that the summary in the request covers."""


@dataclass(frozen=True, slots=True)
class Report:
    """The stored part of a conversation."""

    sessions: list[SessionLine]
    users: list[UserFacts]
    learned: list[Learned]
    fitted: Fitted | None
    """The session that was played last, within a budget; None if it fits without a summary."""
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
            "learned": [asdict(one) for one in self.learned],
            "budget": None if self.fitted is None else asdict(self.fitted),
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
        >>> report.sessions[0].messages, report.learned[0].fields["name"], report.turns_left
        (3, 'Alice Verrane', 39)
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
            )
        )
        if info and (latest is None or info.updated_at >= latest[0]):
            latest = (info.updated_at, session)
    newest = [] if latest is None else _newest(memory, latest[1], _NEWEST_MESSAGES)
    fitted = None if latest is None else _fitted(memory, latest[1])
    facts, learned = [], []
    for user in users:
        own = [one for one in sessions if one.user_id == user]
        if any(turn.lessons for one in own for turn in one.turns):
            learned.append(_learned(memory, user, _questions(own)))
        if any(turn.facts for one in own for turn in one.turns):
            facts.append(_facts(memory, user, own, len(users)))
    return Report(lines, facts, learned, fitted, newest)


def _questions(sessions: Sequence[Session]) -> list[str]:
    return list(dict.fromkeys(question for session in sessions for question in session.ask))[:_FACTS_FOUND]


def _learned(memory: AgentMemory, user: str, questions: Sequence[str]) -> Learned:
    profile = memory.profiles.get(user)
    timeline = {fact.id: fact for fact in memory.profiles.timeline(user)}
    answers: dict[str, list[Answer]] = {}
    for question in questions:
        answers[question] = []
        for fact in memory.profiles.search(user, question, k=_FACTS_FOUND):
            before, one = [], timeline.get(fact.replaces or "")
            while one is not None:
                before.append(one.text)
                one = timeline.get(one.replaces or "")
            if (fact.score or 0.0) >= _LOWEST_SCORE:
                answers[question].append(Answer(fact.score or 0.0, fact.text, before))
    fields = {**({} if profile.name is None else {"name": profile.name}), **profile.preferences}
    superseded = sum(fact.replaced_by is not None for fact in timeline.values())
    return Learned(user, fields, len(profile.facts), superseded, answers)


def _fitted(memory: AgentMemory, session: Session) -> Fitted | None:
    events: list[CompressionEvent] = []
    compressor = memory.compressor(max_tokens=_BUDGET, on_event=events.append)
    pages = memory.history(session.session_id, user_id=session.user_id).pages(_PAGE)
    messages = [message for page in pages for message in page]
    request = compressor.invoke(messages)
    if not events:
        return None
    count = compressor.counter.whole
    return Fitted(_BUDGET, len(messages), count(messages), len(request), count(request), events[-1].folded)


def _facts(memory: AgentMemory, user: str, sessions: Sequence[Session], users: int) -> UserFacts:
    namespace = facts_namespace(user)
    count = len(memory.store.search(namespace, limit=_ALL_FACTS))
    asked = _questions(sessions)
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
