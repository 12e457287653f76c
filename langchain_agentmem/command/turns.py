"""What the command line plays: sessions of turns, whatever layout their file had.

Every message gets an id that says its place, `<session id>#<index>`. So what is stored tells how far a session came,
and playing a message twice cannot store it twice in a graph's thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from langchain_agentmem.arguments.ids import check_id
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidInputError

MAX_SESSION_ID_BYTES = 1000
"""Leaves room for what is added to a session's id in the keys of its facts, which are ids too."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """A message of a file, and the facts that it tells about the user."""

    message: BaseMessage
    facts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Turn:
    """What the user says (with the instructions before it), and all that follows until the user speaks again.

    The first turn of a session has no questions when the assistant begins, the last one no answers when nobody replied.
    """

    number: int
    """Its place among the turns of the session: 0 for the first one."""
    start: int
    """The place of its first message in the session."""
    questions: tuple[BaseMessage, ...]
    """System and user messages."""
    answers: tuple[BaseMessage, ...]
    """What the file has in reply: the assistant's messages and tool results, in order."""
    facts: Mapping[str, str]
    """What is to be remembered, by the keys it has in the store."""

    @property
    def end(self) -> int:
        """The place after its last message in the session."""
        return self.start + len(self.questions) + len(self.answers)

    @property
    def asked(self) -> bool:
        """Whether a person speaks in it, so that there is something to answer."""
        return any(isinstance(message, HumanMessage) for message in self.questions)

    def questions_from(self, position: int) -> list[BaseMessage]:
        """The questions at and after a place in the session."""
        return list(self.questions[max(0, position - self.start) :])

    def answers_from(self, position: int) -> list[BaseMessage]:
        """The recorded answers at and after a place in the session."""
        return list(self.answers[max(0, position - self.start - len(self.questions)) :])


@dataclass(frozen=True, slots=True)
class Session:
    """One session of a conversation: `Session.of` makes it from utterances.

    Example:
        >>> from langchain_core.messages import AIMessage, HumanMessage
        >>> from langchain_agentmem.command.turns import Session, Utterance
        >>> said = [Utterance(HumanMessage("Hi, I'm Bo"), ("He is Bo",)), Utterance(AIMessage("Hello!"))]
        >>> session = Session.of("greeting", said, user_id="bo")
        >>> [(turn.end, dict(turn.facts)) for turn in session.turns]
        [(2, {'greeting#0.0': 'He is Bo'})]
        >>> session.position(session.messages[:1])
        1
    """

    session_id: str
    user_id: str
    title: str
    messages: tuple[BaseMessage, ...]
    turns: tuple[Turn, ...]
    ask: tuple[str, ...] = field(default=())
    """What may be asked about what was remembered."""

    @classmethod
    def of(
        cls,
        session_id: str,
        utterances: Sequence[Utterance],
        *,
        user_id: str,
        title: str | None = None,
        ask: Sequence[str] = (),
    ) -> Session:
        """A session of utterances.

        Args:
            session_id: Its id, at most `MAX_SESSION_ID_BYTES` long.
            utterances: What was said, in order.
            user_id: Who the user is.
            title: What it is called. Default: its id.
            ask: What may be asked about what was remembered. Default: nothing.

        Raises:
            InvalidInputError: An id cannot be stored.
        """
        if len(check_id("session_id", session_id).encode()) > MAX_SESSION_ID_BYTES:
            msg = f"session_id {shown(session_id[:40])}… is too long: at most {MAX_SESSION_ID_BYTES:,} bytes are accepted."
            raise InvalidInputError(msg)
        messages = tuple(
            said.message.model_copy(update={"id": f"{session_id}#{at}"}) for at, said in enumerate(utterances)
        )
        facts = [{f"{session_id}#{at}.{n}": fact for n, fact in enumerate(u.facts)} for at, u in enumerate(utterances)]
        starts = [at for at in range(len(messages)) if at == 0 or _asks(messages[at]) > _asks(messages[at - 1])]
        turns = []
        for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(messages)], strict=True)):
            part = messages[start:end]
            questions = sum(_asks(message) for message in part)
            told = {key: fact for one in facts[start:end] for key, fact in one.items()}
            turns.append(Turn(number, start, part[:questions], part[questions:], told))
        return cls(session_id, check_id("user_id", user_id), title or session_id, messages, tuple(turns), tuple(ask))

    def index(self, message: BaseMessage) -> int | None:
        """The place of a message in the session; None if it is not one of the file's, such as a real model's answer."""
        session_id, _, at = (message.id or "").rpartition("#")
        return int(at) if session_id == self.session_id and at.isascii() and at.isdigit() else None

    def position(self, stored: Iterable[BaseMessage]) -> int:
        """How far a memory that holds these messages came: the place of the message that comes next.

        Args:
            stored: What the memory holds, in order.

        Raises:
            InvalidInputError: They are not the beginning of this session.
        """
        position = 0
        for message in stored:
            at = self.index(message)
            if at is None and position:
                # A real model has answered instead of the file; its one answer ends the turn.
                position = next(turn.end for turn in self.turns if turn.end >= position)
            elif at is None or at != position or at >= len(self.messages) or not _same(message, self.messages[at]):
                raise self.mismatch()
            else:
                position = at + 1
        return position

    def mismatch(self) -> InvalidInputError:
        """The error that what is stored under the session's id is not this session."""
        return InvalidInputError(
            f"Session {self.session_id!r} of {self.user_id!r} already holds another conversation, or the file was "
            f"changed since: play it for another user with --user, or begin anew with --restart."
        )


def _asks(message: BaseMessage) -> bool:
    return not isinstance(message, (AIMessage, ToolMessage))


def _same(stored: BaseMessage, recorded: BaseMessage) -> bool:
    return stored.type == recorded.type and stored.content == recorded.content
