"""Sessions of turns, as the command line plays them.

Every message has the ID `<session id>#<index>`. The stored messages therefore tell how far a session was played, and a
message that is played twice is stored once in a graph's thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from langchain_agentmem.arguments.ids import check_id
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidInputError

if TYPE_CHECKING:
    from langchain_agentmem.command.demo.lessons import Lesson

MAX_SESSION_ID_BYTES = 1000
"""The maximum length of a session's ID. The keys of its facts begin with it, and must not exceed the limit of IDs."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """A message of a file, with the facts about the user that it states."""

    message: BaseMessage
    facts: tuple[str, ...] = ()
    lessons: tuple[Lesson, ...] = ()
    """What is to be learned from the message."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A human message, with the system messages before it and everything up to the next turn.

    The first turn has no questions if the assistant begins. The last turn has no answers if the file has none.
    """

    number: int
    """The index of the turn in its session."""
    start: int
    """The position of its first message in the session."""
    questions: tuple[BaseMessage, ...]
    """System and user messages."""
    answers: tuple[BaseMessage, ...]
    """The recorded answers: assistant messages and tool results, in order."""
    facts: Mapping[str, str]
    """The facts to store, by their keys in the store."""
    lessons: Mapping[int, tuple[Lesson, ...]] = field(default_factory=dict)
    """What is to be learned, by the position of the message in the session."""

    @property
    def end(self) -> int:
        """The position after its last message."""
        return self.start + len(self.questions) + len(self.answers)

    @property
    def asked(self) -> bool:
        """True if it contains a human message, which a model can answer."""
        return any(isinstance(message, HumanMessage) for message in self.questions)

    def questions_from(self, position: int) -> list[BaseMessage]:
        """Return the questions at and after a position in the session."""
        return list(self.questions[max(0, position - self.start) :])

    def answers_from(self, position: int) -> list[BaseMessage]:
        """Return the recorded answers at and after a position in the session."""
        return list(self.answers[max(0, position - self.start - len(self.questions)) :])


@dataclass(frozen=True, slots=True)
class Session:
    """One session of a conversation. `Session.of` creates it from utterances.

    Example:
        >>> from langchain_core.messages import AIMessage, HumanMessage
        >>> from langchain_agentmem.command.demo.turns import Session, Utterance
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
    """Questions about the session, for the search in the report."""

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
        """Create a session from utterances.

        Args:
            session_id: The session's ID, at most `MAX_SESSION_ID_BYTES` long.
            utterances: The messages, in order, with their facts.
            user_id: The user.
            title: The title. Default: the ID.
            ask: Questions about the session. Default: none.

        Raises:
            InvalidInputError: An ID cannot be stored.
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
            lessons = {at: utterances[at].lessons for at in range(start, end) if utterances[at].lessons}
            turns.append(Turn(number, start, part[:questions], part[questions:], told, lessons))
        return cls(session_id, check_id("user_id", user_id), title or session_id, messages, tuple(turns), tuple(ask))

    def index(self, message: BaseMessage) -> int | None:
        """Return the position in a message's ID; None if the message is not from the file, such as a model's answer."""
        session_id, _, at = (message.id or "").rpartition("#")
        return int(at) if session_id == self.session_id and at.isascii() and at.isdigit() else None

    def position(self, stored: Iterable[BaseMessage]) -> int:
        """Return the position of the next message to play.

        Args:
            stored: The messages that the memory stores, in order.

        Raises:
            InvalidInputError: They are not the beginning of this session.
        """
        position = 0
        for message in stored:
            at = self.index(message)
            if at is None and position:
                # A model answered instead of the file. Its one answer ends the turn.
                position = next(turn.end for turn in self.turns if turn.end >= position)
            elif at is None or at != position or at >= len(self.messages) or not _same(message, self.messages[at]):
                raise self.mismatch()
            else:
                position = at + 1
        return position

    def mismatch(self) -> InvalidInputError:
        """Return the error for a session ID under which another conversation is stored."""
        return InvalidInputError(
            f"Session {self.session_id!r} of {self.user_id!r} already holds another conversation, or the file was "
            f"changed since. Play it for another user with --user, or delete the stored session with --restart."
        )


def _asks(message: BaseMessage) -> bool:
    return not isinstance(message, (AIMessage, ToolMessage))


def _same(stored: BaseMessage, recorded: BaseMessage) -> bool:
    return stored.type == recorded.type and stored.content == recorded.content
