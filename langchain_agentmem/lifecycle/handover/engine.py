"""Handing a session over to a thread, and a thread over to a session, as programs."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any
from urllib.parse import quote
from uuid import UUID

from langchain_core.messages import BaseMessage, RemoveMessage
from langchain_core.runnables import RunnableConfig

from langchain_agentmem.arguments.durations import seconds
from langchain_agentmem.arguments.ids import check_id, check_optional_id, check_text
from langchain_agentmem.arguments.omitted import OMITTED, Omitted, check_id_or_omitted
from langchain_agentmem.arguments.values import check_flag, shown
from langchain_agentmem.backends.contract import Append, LoggedMessage, MessageRow, PositionTakenError, SessionKey
from langchain_agentmem.checkpointing.engine import CheckpointEngine
from langchain_agentmem.checkpointing.face import AgentMemSaver
from langchain_agentmem.compression.records import chained
from langchain_agentmem.compression.storage import SessionRecords, session_storage, thread_storage
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.encoding.json_values import dump_json, load_json
from langchain_agentmem.errors import ConflictError, InvalidInputError, ThreadInUseError
from langchain_agentmem.history.methods import Histories
from langchain_agentmem.history.titles import titles_of
from langchain_agentmem.history.turns import serialized_turn, with_id
from langchain_agentmem.lifecycle.handover.graphs import AGENT, SESSION, THROUGH, GraphThreads, ThreadState
from langchain_agentmem.lifecycle.handover.labels import Label, labelled, unlabelled
from langchain_agentmem.lifecycle.handover.summaries import add_entries, entries_for_session, entries_for_thread
from langchain_agentmem.messages.properties import time_of
from langchain_agentmem.programs import OffLoop, Program, Read, Write, storage_program
from langchain_agentmem.programs.sizes import LONG, is_large
from langchain_agentmem.search.indexing import embed_messages, settle_messages
from langchain_agentmem.search.rows import are_large, message_of
from langchain_agentmem.text.tables import FieldTable

_PAGE = 1_000
_UNQUOTED = "@:+,;= !*()"
"""Characters that a thread's default ID takes from the user's and the session's ID as they are."""

_ATTEMPTS = 50
"""The number of times that other processes may add messages to a session while `from_thread` adds its own."""


@dataclass(frozen=True)
class MovedConversation(FieldTable):
    """A conversation that was stored as a thread, or as a session.

    Example:
        >>> from langchain_agentmem import MovedConversation
        >>> MovedConversation("trip", "alice@example.com", "alice@example.com/trip", 2).config["configurable"]["thread_id"]
        'alice@example.com/trip'
    """

    session_id: str
    user_id: str | None
    thread_id: str
    messages: int
    """The number of messages that this call stored."""

    @property
    def config(self) -> RunnableConfig:
        """The config with which a run of the graph continues the conversation."""
        user = {} if self.user_id is None else {"user_id": self.user_id}
        return {"configurable": {"thread_id": self.thread_id, "session_id": self.session_id, **user}}


class Handover:
    """Moves conversations between sessions and threads. Its methods are programs.

    Args:
        histories: The histories of the memory.
        saver: The checkpointer of the memory.
    """

    def __init__(self, histories: Histories, saver: AgentMemSaver) -> None:
        self._histories = histories
        self._history = histories.engine
        self._saver = saver
        self._checkpoints: CheckpointEngine = saver.engine

    def to_thread(
        self,
        session_id: str,
        graph: Any,
        user_id: str | None,
        agent: str | None,
        thread_id: str | None,
        messages_key: str,
        as_node: str | None,
    ) -> Program[MovedConversation]:
        """Store the messages of a session in the state of a thread; see `AgentMemory.to_thread`."""
        key = self._history.key(check_id("session_id", session_id), check_optional_id("user_id", user_id))
        check_optional_id("agent", agent)
        thread_id = thread_id_of(session_id, user_id, agent) if thread_id is None else thread_id
        check_id("thread_id", thread_id)
        threads = GraphThreads(graph, messages_key)
        row = yield from self._history.session(key)
        rows = yield from self._rows(key, agent)
        if row is None or not rows:
            whose = "of nobody" if user_id is None else f"of user {shown(user_id)}"
            msg = (
                f"Session {shown(session_id)} {whose} has no messages{_by(agent)}. Check session_id, user_id and agent."
            )
            raise InvalidInputError(msg)
        moved = MovedConversation(session_id, user_id, thread_id, 0)
        state = yield from threads.state(moved.config)
        through = -1 if state is None else (yield from self._through(threads, moved, agent, state))
        with reading(f"Session {session_id!r}"):
            details = {"title": row.title, "metadata": None if row.metadata is None else load_json(row.metadata)}
        about = {name: value for name, value in details.items() if value}
        yield from OffLoop(are_large(rows))
        known = set() if state is None else {message.id for message in state.messages}
        messages = [one for one in self._labelled(key, rows, about) if one[0] > through and one[1].id not in known]
        if messages:
            metadata = {SESSION: session_id, THROUGH: rows[-1].position, **({} if agent is None else {AGENT: agent})}
            added = [message for _, message in messages]
            state = yield from threads.add(moved.config, state, added, metadata, as_node)
            kept = {message.id for message in state.messages}
            moved = MovedConversation(session_id, user_id, thread_id, sum(one.id in kept for one in added))
        if state is not None:
            yield from self._summaries_to_thread(key, agent, thread_id, state)
        return moved

    def _through(
        self, threads: GraphThreads, moved: MovedConversation, agent: str | None, state: ThreadState
    ) -> Program[int]:
        """Return the position of the session's last message that was stored in a thread before.

        Raises:
            ThreadInUseError: The thread has another conversation.
        """
        found = yield from threads.moved(moved.config, moved.session_id)
        metadata = {} if found is None else found[1]
        through = metadata.get(THROUGH)
        same = metadata.get("user_id") == moved.user_id and metadata.get(AGENT) == agent
        if isinstance(through, int) and same:
            return through
        if not state.messages:
            return -1
        msg = (
            f"Thread {moved.thread_id!r} has another conversation: its messages are not from session {moved.session_id!r}. "
            f"Nothing was changed. Pass another thread_id."
        )
        raise ThreadInUseError(msg)

    def _labelled(
        self, key: SessionKey, rows: Sequence[MessageRow], about: dict[str, Any]
    ) -> list[tuple[int, BaseMessage]]:
        """Return the messages of a session with their labels and positions. Each has an ID of its own."""
        labels: list[tuple[BaseMessage, Label]] = []
        seen: set[str | None] = set()
        for row in rows:
            message = message_of(self._history.codec, row, key)
            if isinstance(message, RemoveMessage):  # a graph would carry it out
                continue
            own = message.id
            if own in seen:
                message = with_id(message, f"{own}#{row.position}")
            seen.add(own)
            with reading(f"Message {row.position} of session {key.session_id!r}"):
                metadata = None if row.metadata is None else load_json(row.metadata)
            former = None if own == message.id else own
            labels.append((message, Label(row.created_at, row.position, row.agent, metadata or None, former)))
        if labels and about:
            last, label = labels.pop()
            labels.append((last, replace(label, session=about)))
        return [(label.position, labelled(message, label)) for message, label in labels]

    def _summaries_to_thread(
        self, key: SessionKey, agent: str | None, thread_id: str, state: ThreadState
    ) -> Program[None]:
        backend, guard = self._history.backend, self._history.guard
        storages = [SessionRecords(backend, key, agent, guard), session_storage(backend, key, guard)]
        labels = [Label.of(message) for message in state.messages]
        positions = [None if label is None else label.position for label in labels]
        entries = []
        for storage in storages:
            record, _ = yield from storage.load(time.time())
            entries += entries_for_thread(record, state.messages, positions)
        if entries:
            yield from add_entries(thread_storage(self._checkpoints, thread_id), entries)

    def from_thread(
        self,
        thread_id: str,
        graph: Any,
        session_id: str | None,
        user_id: str | Omitted | None,
        agent: str | None,
        messages_key: str,
        *,
        all_checkpoints: bool,
    ) -> Program[MovedConversation]:
        """Store the messages of a thread in a session; see `AgentMemory.from_thread`."""
        check_id("thread_id", thread_id)
        check_optional_id("session_id", session_id)
        check_id_or_omitted("user_id", user_id)
        check_optional_id("agent", agent)
        check_flag("all_checkpoints", all_checkpoints)
        threads = (
            GraphThreads.reading(self._saver, messages_key) if graph is None else GraphThreads(graph, messages_key)
        )
        config: RunnableConfig = {"configurable": {"thread_id": thread_id}}
        state = yield from threads.state(config)
        if state is None:
            msg = f"There is no thread {shown(thread_id)}. If another checkpointer stores it, pass graph=."
            raise InvalidInputError(msg)
        moved = yield from threads.moved(config)
        origin = {} if moved is None else moved[1]
        if user_id is OMITTED:
            yield from self._check_one_user(thread_id)
            user_id = _named(origin if SESSION in origin else state.metadata, "user_id")
        if session_id is None:
            session_id = _named(origin, SESSION) or _named(state.metadata, "session_id") or thread_id
        key = self._history.key(check_id("session_id", session_id), check_optional_id("user_id", user_id))
        seen = [(message, state.created_at) for message in state.messages]
        if all_checkpoints:
            seen = yield from self._every_message(threads, config)
        if not seen:
            msg = (
                f"Thread {shown(thread_id)} has no messages under {shown(messages_key)}. "
                "Pass messages_key or all_checkpoints."
            )
            raise InvalidInputError(msg)
        about = _about([message for message, _ in seen])
        if not about and moved is not None:  # the graph has removed the message that says it
            former = yield from threads.state(moved[0])
            about = {} if former is None else _about(former.messages)
        added = yield from self._added(key, thread_id, agent, seen, about)
        yield from self._summaries_to_session(key, agent, thread_id, state)
        return MovedConversation(session_id, user_id, thread_id, added)

    def _check_one_user(self, thread_id: str) -> Program[None]:
        """Check that the memory's checkpointer knows at most one user of a thread: the messages would become those of one.

        Raises:
            InvalidInputError: Several users have turns in it.
        """
        engine = self._checkpoints
        program = engine.backend.transfer.threads(engine.tenant, [thread_id], time.time())
        (state,) = yield from Read(engine.backend, program)
        if state is not None and len(state.users) > 1:
            users = ", ".join(sorted(map(shown, state.users)))
            msg = (
                f"Thread {shown(thread_id)} has turns of several users: {users}. Pass user_id=…: the user who gets all "
                f"messages, or None for a session of nobody."
            )
            raise InvalidInputError(msg)

    def _every_message(self, threads: GraphThreads, config: RunnableConfig) -> Program[list[tuple[BaseMessage, float]]]:
        """Return all messages at any checkpoint of a thread in the order in which they came, in their newest form."""
        found: dict[Any, tuple[tuple[int, int], BaseMessage, float]] = {}
        number, before = 0, None
        while True:
            page, before = yield from threads.page(config, before)
            for state in page:
                number -= 1
                for at, message in enumerate(state.messages):
                    identity = message.id or chained(str(at), [message])
                    newest = found[identity][1] if identity in found else message
                    found[identity] = (number, at), newest, state.created_at
            if before is None:
                return [(message, seen_at) for _, message, seen_at in sorted(found.values(), key=lambda one: one[0])]

    def _added(
        self,
        key: SessionKey,
        thread_id: str,
        agent: str | None,
        seen: Sequence[tuple[BaseMessage, float]],
        about: Mapping[str, Any],
    ) -> Program[int]:
        """Add the messages that a session does not have, all of them or none, and return their number.

        If another process adds messages concurrently, nothing is stored: this one looks again which messages are missing.

        Raises:
            ConflictError: Other processes added messages at every attempt.
        """
        for _ in range(_ATTEMPTS):
            position = yield from self._history.next_position(key)
            try:
                return (yield from self._stored(key, thread_id, agent, seen, about, position))
            except PositionTakenError:
                continue
        msg = (
            f"Session {shown(key.session_id)} gets messages from other processes all the time. Nothing was stored of thread "
            f"{shown(thread_id)}. Try again when the session is used less."
        )
        raise ConflictError(msg)

    def _stored(
        self,
        key: SessionKey,
        thread_id: str,
        agent: str | None,
        seen: Sequence[tuple[BaseMessage, float]],
        about: Mapping[str, Any],
        position: int,
    ) -> Program[int]:
        """Add the messages that a session does not have at a position; see `_added`.

        Raises:
            PositionTakenError: The session got other messages since.
        """
        history = self._history
        row = yield from history.session(key)
        stored = yield from self._rows(key, None)
        yield from OffLoop(are_large(stored))
        known = Counter(message_of(history.codec, one, key).id for one in stored)
        missing: list[tuple[BaseMessage, Label | None, float]] = []
        for at, (message, seen_at) in enumerate(seen):
            own = unlabelled(message)
            if not own.id:
                own = with_id(own, _derived_id(thread_id, at, own))
            if known[own.id] > 0:
                known[own.id] -= 1
            else:
                missing.append((own, Label.of(message), seen_at))
        if not missing:
            return 0
        messages = [message for message, _, _ in missing]
        turn = yield from serialized_turn(
            history.codec, messages, None, key.session_id, repair=False, guard=history.guard
        )
        embedded = yield from embed_messages(history.indexer, turn.messages)
        yield from OffLoop(is_large(turn.messages, LONG))
        now = time.time()
        rows = turn.rows(key, agent, now, language=history.backend.language, vectors=embedded.vectors)
        rows = [self._described(one, *own) for one, own in zip(rows, missing, strict=True)]
        title, details = self._details(about) if row is None else (None, None)
        retention = self._histories.retention_of(agent)
        addition = Append(
            rows,
            titles_of(turn.messages, None),
            now,
            agent,
            None,
            seconds("Retention.ttl", retention.ttl),
            retention.sliding,
            secrets.randbits(62),
            first=position,
        )
        with reading(f"Session {key.session_id!r}"):
            first = yield from Write(history.backend, self._addition(key, addition, title, details))
        logged = [LoggedMessage(key, one._replace(position=first + one.position)) for one in rows]
        yield from settle_messages(history.backend, history.indexer, logged, turn.messages, embedded)
        yield from history.sweeper.after_write()
        return len(rows)

    def _described(self, row: MessageRow, message: BaseMessage, label: Label | None, seen_at: float) -> MessageRow:
        """Return the row of a message with the properties that its label states."""
        if label is None:
            return row._replace(created_at=time_of(message, seen_at))
        metadata = label.metadata
        if metadata is not None and self._history.guard is not None:
            metadata = self._history.guard.value(metadata, "metadata")
        return row._replace(
            created_at=label.created_at,
            agent=check_optional_id("agent", label.agent),
            metadata=None if metadata is None else dump_json(metadata, "metadata"),
        )

    def _details(self, about: Mapping[str, Any]) -> tuple[str | None, str | None]:
        """Return the title of a session, and its metadata as JSON text; None for what is not known."""
        guard = self._history.guard
        title, metadata = about.get("title"), about.get("metadata")
        if isinstance(title, str):
            title = title if guard is None else guard.text(title, "title")
            check_text("title", title)
        if isinstance(metadata, dict):
            metadata = dump_json(metadata if guard is None else guard.value(metadata, "metadata"), "metadata")
        return title if isinstance(title, str) else None, metadata if isinstance(metadata, str) else None

    @storage_program
    def _addition(self, key: SessionKey, addition: Append, title: str | None, metadata: str | None) -> Program[int]:
        """Add messages to a session, and set its title and metadata if they are not None."""
        backend = self._history.backend
        first = yield from backend.messages.append(key, addition)
        if title is not None and title not in [one.text for one in addition.titles or ()]:
            yield from backend.messages.rename(key, title, addition.now)
        if metadata is not None:
            yield from backend.openings.swap_metadata(key, None, metadata, addition.now)
        return first

    def _summaries_to_session(
        self, key: SessionKey, agent: str | None, thread_id: str, state: ThreadState
    ) -> Program[None]:
        record, _ = yield from thread_storage(self._checkpoints, thread_id).load(time.time())
        if not record.entries:
            return
        rows = yield from self._rows(key, None)
        yield from OffLoop(are_large(rows))
        stored: dict[str | None, list[int]] = {}
        for row in rows:
            stored.setdefault(message_of(self._history.codec, row, key).id, []).append(row.position)
        positions = []
        for at, message in enumerate(state.messages):
            own = unlabelled(message)
            found = stored.get(own.id or _derived_id(thread_id, at, own))
            positions.append(found.pop(0) if found else None)
        entries = entries_for_session(record, state.messages, positions, [row.position for row in rows])
        if entries:
            yield from add_entries(SessionRecords(self._history.backend, key, agent, self._history.guard), entries)

    def _rows(self, key: SessionKey, agent: str | None) -> Program[list[MessageRow]]:
        rows: list[MessageRow] = []
        while True:
            page = yield from self._history.page(key, agent, rows[-1].position if rows else -1, _PAGE)
            rows += page
            if len(page) < _PAGE:
                return rows


def thread_id_of(session_id: str, user_id: str | None, agent: str | None) -> str:
    """Return the default thread of a session. Different sessions have different threads.

    Example:
        >>> from langchain_agentmem.lifecycle.handover.engine import thread_id_of
        >>> thread_id_of("trip", None, None), thread_id_of("trip/1", "alice@example.com", None)
        ('trip', 'alice@example.com/trip%2F1')
    """
    if user_id is None and agent is None:
        return session_id
    parts = [user_id or "", session_id, *([] if agent is None else [agent])]
    return "/".join(quote(one, safe=_UNQUOTED) for one in parts)


def _named(metadata: Mapping[str, Any], name: str) -> str | None:
    """Return an ID in the metadata of a checkpoint; None if there is none."""
    found = metadata.get(name)
    return found if isinstance(found, str) and found else None


def _by(agent: str | None) -> str:
    return "" if agent is None else f" of agent {shown(agent)}"


def _about(messages: Sequence[BaseMessage]) -> Mapping[str, Any]:
    """Return title and metadata of the session that messages come from."""
    labels = (Label.of(message) for message in reversed(messages))
    return next((label.session for label in labels if label is not None and label.session), {})


def _derived_id(thread_id: str, at: int, message: BaseMessage) -> str:
    """Return the ID of a message that has none in a thread."""
    digest = blake2b(repr((thread_id, at, chained("", [message]))).encode(errors="surrogatepass"), digest_size=16)
    return str(UUID(bytes=digest.digest(), version=5))
