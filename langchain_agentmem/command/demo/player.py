"""Play conversations as applications use the memory: a chain with a history, and a graph with checkpoints and a store.

The player reads its progress from the memory, for the chain and for the graph separately. The chain stores each turn in one
transaction, and the graph resumes an interrupted turn at its last checkpoint. A run that was stopped or killed at any point
therefore continues without losing or repeating a message.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.store.base import PutOp

from langchain_agentmem.command.demo.chain import build_chain
from langchain_agentmem.command.demo.graph import build_graph, facts_namespace
from langchain_agentmem.command.demo.step import Step
from langchain_agentmem.command.demo.turns import Session, Turn
from langchain_agentmem.errors import InvalidInputError, StorageError
from langchain_agentmem.knowledge.extraction.markers import digests_of
from langchain_agentmem.knowledge.namespaces import SEEN, user_namespace
from langchain_agentmem.memory import AgentMemory

_PAGE = 500
_MOST_MARKERS = 10_000


@dataclass(frozen=True, slots=True)
class Progress:
    """The position of the next message of a session, for the chain and for the graph."""

    chain: int
    graph: int
    interrupted: Turn | None = None
    """The turn that the graph was playing when an earlier run was stopped."""

    def turns_left(self, session: Session) -> list[Turn]:
        """Return the turns that the chain or the graph still has to play."""
        reached = min(self.chain, self.graph)
        return [turn for turn in session.turns if turn.end > reached or turn is self.interrupted]


@dataclass(frozen=True, slots=True)
class Played:
    """A turn that was played, with its durations in seconds; 0 if an earlier run had played it."""

    turn: Turn
    chain_seconds: float
    graph_seconds: float


class Player:
    """Plays sessions through a chain and a graph on one memory.

    Args:
        memory: The memory. The player does not close it.
        model: A chat model that answers the user's messages. Default: None (the recorded answers are played).

    Example:
        >>> from langchain_agentmem import AgentMemory
        >>> from langchain_agentmem.command.demo.conversations import load_conversation
        >>> from langchain_agentmem.command.demo.player import Player
        >>> [session] = load_conversation()
        >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
        ...     player = Player(memory)
        ...     played = next(player.play(session))
        ...     player.progress(session)
        Progress(chain=3, graph=3, interrupted=None)
    """

    def __init__(self, memory: AgentMemory, *, model: BaseChatModel | None = None) -> None:
        self._memory = memory
        self._model = model
        self._chain = build_chain(memory)
        self._graph = build_graph(memory)

    def progress(self, session: Session) -> Progress:
        """Read the progress of a session from the memory.

        Args:
            session: The session.

        Raises:
            InvalidInputError: Another conversation is stored under the session's ID.
        """
        pages = self._memory.history(session.session_id, user_id=session.user_id).pages(_PAGE)
        chain = session.position(message for page in pages for message in page)
        state = self._graph.get_state(_thread(session))
        graph = session.position(state.values.get("messages", ()))
        # `state.next` would leave out finished tasks of an unfinished step, and their writes would be lost.
        if not state.tasks:
            if state.metadata and not graph:
                raise session.mismatch()
            return Progress(chain, graph)
        number = (state.metadata or {}).get("turn")
        if not isinstance(number, int) or number >= len(session.turns):
            raise session.mismatch()
        return Progress(chain, graph, session.turns[number])

    def play(self, session: Session, progress: Progress | None = None) -> Iterator[Played]:
        """Play the turns that are left, and yield each turn after it is stored.

        Args:
            session: The session.
            progress: The progress of the session. Default: None (it is read from the memory).

        Raises:
            InvalidInputError: Another conversation is stored under the session's ID.
            ModelFailedError: The model did not answer.
            StorageError: A turn could not be stored.
        """
        progress = progress or self.progress(session)
        for turn in progress.turns_left(session):
            step = Step(session, turn, self._model)
            began = time.perf_counter()
            if progress.chain < turn.end:
                self._play_chain(step, max(progress.chain, turn.start))
            between = time.perf_counter()
            if turn is progress.interrupted:
                self._graph.invoke(None, _thread(session, turn), context=step)
            elif progress.graph < turn.end:
                questions = turn.questions_from(max(progress.graph, turn.start))
                self._graph.invoke({"messages": questions}, _thread(session, turn), context=step)
            yield Played(turn, between - began, time.perf_counter() - between)

    def thread(self, session: Session) -> list[BaseMessage]:
        """Return the messages of a session's thread.

        Args:
            session: The session.
        """
        return list(self._graph.get_state(_thread(session)).values.get("messages", ()))

    def forget(self, session: Session) -> None:
        """Delete the messages, checkpoints, facts and knowledge that a player stored for a session.

        Args:
            session: The session.

        Raises:
            InvalidInputError: The conversation under the session's ID was not stored by a player. Nothing was deleted.
        """
        memory = self._memory
        state = self._graph.get_state(_thread(session))
        first = [
            *next(memory.history(session.session_id, user_id=session.user_id).pages(1), []),
            *state.values.get("messages", ())[:1],
        ]
        if any(session.index(message) != 0 for message in first) or (state.metadata and "turn" not in state.metadata):
            msg = (
                f"Session {session.session_id!r} holds a conversation that was not played by this command, so it is "
                f"not deleted. Choose another user with --user."
            )
            raise InvalidInputError(msg)
        # The history is deleted first: if this run is stopped, the session never looks as if it were complete.
        memory.sessions.delete(session.session_id, user_id=session.user_id)
        memory.checkpointer.delete_thread(session.session_id)
        self._unlearn(session)
        own = {"session_id": session.session_id}
        while found := memory.store.search(facts_namespace(session.user_id), filter=own, limit=_PAGE):
            memory.store.batch([PutOp(item.namespace, item.key, None) for item in found])

    def _unlearn(self, session: Session) -> None:
        """Forget what was learned from a session, and that its messages were read."""
        if not any(turn.lessons for turn in session.turns):
            return
        profiles, user = self._memory.profiles, session.user_id
        for fact in profiles.timeline(user):
            if any(source.startswith(f"{session.session_id}#") for source in fact.sources):
                profiles.forget_fact(user, fact)
        for turn in session.turns:
            for lesson in chain.from_iterable(turn.lessons.values()):
                if lesson.field is not None:
                    profiles.forget_value(user, lesson.field, lesson.value)
        read = set(digests_of(session.messages))
        markers = self._memory.store.search(user_namespace(user, SEEN), limit=_MOST_MARKERS)
        own = [item for item in markers if read.intersection(item.value.get("seen", ()))]
        self._memory.store.batch([PutOp(item.namespace, item.key, None) for item in own])

    def _play_chain(self, step: Step, position: int) -> None:
        session = step.session
        history = self._memory.history(session.session_id, user_id=session.user_id)
        before = history.count()
        questions = step.turn.questions_from(position)
        configurable = {
            "session_id": session.session_id,
            "user_id": session.user_id,
            "step": step,
            "position": position,
        }
        answers = self._chain.invoke({"input": questions}, {"configurable": configurable})
        # RunnableWithMessageHistory only logs the errors that its history raises.
        if history.count() != before + len(questions) + len(answers):
            msg = f"Turn {step.turn.number} of {session.session_id!r} was not stored, or another process plays it too."
            raise StorageError(msg)
        if before == 0:
            self._memory.sessions.rename(session.session_id, session.title, user_id=session.user_id)


def _thread(session: Session, turn: Turn | None = None) -> RunnableConfig:
    config: RunnableConfig = {"configurable": {"thread_id": session.session_id, "user_id": session.user_id}}
    if turn is not None:
        # LangGraph stores this with each checkpoint, so a later run knows the interrupted turn.
        config["metadata"] = {"turn": turn.number}
    return config
