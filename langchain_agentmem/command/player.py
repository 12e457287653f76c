"""Play conversations the way applications use the memory: a chain with history, and a graph with checkpoints and a store.

How far a session came is read from what is stored, for the chain and for the graph separately. A turn of the chain is
stored whole or not at all; the graph takes an interrupted turn up where its last checkpoint is. So a run that was stopped
at any point, even killed between the two, goes on without losing or repeating a message.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.store.base import PutOp

from langchain_agentmem.command.turns import Session, Turn
from langchain_agentmem.command.wiring import Step, build_chain, build_graph, facts_of
from langchain_agentmem.errors import InvalidInputError, StorageError
from langchain_agentmem.memory import AgentMemory

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a session came."""

    chain: int
    """How many of its messages the chain's history has passed."""
    graph: int
    """How many of its messages the graph's thread has passed."""
    interrupted: Turn | None = None
    """The turn that the graph was in when an earlier run was stopped."""

    def left(self, session: Session) -> list[Turn]:
        """The turns that the chain or the graph has yet to play."""
        reached = min(self.chain, self.graph)
        return [turn for turn in session.turns if turn.end > reached or turn is self.interrupted]


@dataclass(frozen=True, slots=True)
class Played:
    """A turn that was played, and the seconds it took; 0 where it had been played before."""

    turn: Turn
    chain_seconds: float
    graph_seconds: float


class Player:
    """Plays sessions through a chain and a graph on one memory.

    Args:
        memory: The memory; it stays open.
        model: A real model that answers the user's messages. Default: None (a scripted one gives the file's answers, and
            the tools the file's results).

    Example:
        >>> from langchain_agentmem import AgentMemory
        >>> from langchain_agentmem.command.conversations import load_conversation
        >>> from langchain_agentmem.command.player import Player
        >>> [session] = load_conversation()
        >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
        ...     player = Player(memory)
        ...     played = next(player.play(session))
        ...     player.standing(session)
        Standing(chain=3, graph=3, interrupted=None)
    """

    def __init__(self, memory: AgentMemory, *, model: BaseChatModel | None = None) -> None:
        self._memory = memory
        self._model = model
        self._chain = build_chain(memory)
        self._graph = build_graph(memory)

    def standing(self, session: Session) -> Standing:
        """How far a session came, from what is stored.

        Args:
            session: The session.

        Raises:
            InvalidInputError: Its id holds another conversation.
        """
        pages = self._memory.history(session.session_id, user_id=session.user_id).pages(_PAGE)
        chain = session.position(message for page in pages for message in page)
        state = self._graph.get_state(_thread(session))
        graph = session.position(state.values.get("messages", ()))
        # Not `state.next`, which leaves out tasks that are done but whose step is not: what they wrote would get lost.
        if not state.tasks:
            if state.metadata and not graph:
                raise session.mismatch()
            return Standing(chain, graph)
        number = (state.metadata or {}).get("turn")
        if not isinstance(number, int) or number >= len(session.turns):
            raise session.mismatch()
        return Standing(chain, graph, session.turns[number])

    def play(self, session: Session, standing: Standing | None = None) -> Iterator[Played]:
        """Play what is left of a session, a turn at a time; a turn is stored when it is yielded.

        Args:
            session: The session.
            standing: How far it came. Default: as `standing` says.

        Raises:
            InvalidInputError: Its id holds another conversation.
            ModelFailedError: A real model did not answer.
            StorageError: Something could not be stored.
        """
        standing = standing or self.standing(session)
        for turn in standing.left(session):
            step = Step(session, turn, self._model)
            began = time.perf_counter()
            if standing.chain < turn.end:
                self._play_chain(step, max(standing.chain, turn.start))
            between = time.perf_counter()
            if turn is standing.interrupted:
                self._graph.invoke(None, _thread(session, turn), context=step)
            elif standing.graph < turn.end:
                questions = turn.questions_from(max(standing.graph, turn.start))
                self._graph.invoke({"messages": questions}, _thread(session, turn), context=step)
            yield Played(turn, between - began, time.perf_counter() - between)

    def thread(self, session: Session) -> list[BaseMessage]:
        """The messages of a session's thread.

        Args:
            session: The session.
        """
        return list(self._graph.get_state(_thread(session)).values.get("messages", ()))

    def forget(self, session: Session) -> None:
        """Delete what was stored of a session, and nothing that something else has stored under its id.

        Args:
            session: The session.

        Raises:
            InvalidInputError: What is stored under its id was not stored by a player; nothing was deleted.
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
                f"not deleted: choose another user with --user."
            )
            raise InvalidInputError(msg)
        # In this order a run that is stopped in between leaves nothing that would pass for a session played to its end.
        memory.sessions.delete(session.session_id, user_id=session.user_id)
        memory.checkpointer.delete_thread(session.session_id)
        own = {"session_id": session.session_id}
        while found := memory.store.search(facts_of(session.user_id), filter=own, limit=_PAGE):
            memory.store.batch([PutOp(item.namespace, item.key, None) for item in found])

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
        # RunnableWithMessageHistory only logs what its history raises.
        if history.count() != before + len(questions) + len(answers):
            msg = f"Turn {step.turn.number} of {session.session_id!r} was not stored, or another process plays it too."
            raise StorageError(msg)
        if before == 0:
            self._memory.sessions.rename(session.session_id, session.title, user_id=session.user_id)


def _thread(session: Session, turn: Turn | None = None) -> RunnableConfig:
    config: RunnableConfig = {"configurable": {"thread_id": session.session_id, "user_id": session.user_id}}
    if turn is not None:
        # Kept with every checkpoint, so that a later run knows which turn was interrupted.
        config["metadata"] = {"turn": turn.number}
    return config
