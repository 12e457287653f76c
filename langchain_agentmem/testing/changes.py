"""Tests of reading what changed in the messages of a user, which the contract of a backend includes."""

from __future__ import annotations

import secrets
from typing import Any

from langchain_agentmem.backends.contract import (
    Append,
    Backend,
    Changes,
    Ending,
    LoggedMessage,
    Opening,
    Removal,
    Replacement,
    Restoration,
    SessionKey,
    SessionState,
)
from langchain_agentmem.backends.contract.changes import EntryRow, unpacked
from langchain_agentmem.testing.cases import KEY, NOW, ContractCase, digest, entries_in, message, turn
from langchain_agentmem.text.vectors import unit
from langchain_agentmem.text.words import analyze

OTHER = SessionKey("default", "alice", "session-2")


class Mirror:
    """What a reader knows of the messages of a user, from `MessageLog.changes` alone.

    Args:
        user_id: The user. Default: `"alice"`.
        session_id: The only session that is read. Default: None (all sessions of the user).
    """

    def __init__(self, user_id: str | None = "alice", session_id: str | None = None) -> None:
        self.user_id, self.session_id = user_id, session_id
        self.cursor: Any = None
        self.sessions: dict[str, dict[int, EntryRow]] = {}
        self.expiries: dict[str, float | None] = {}

    def apply(self, changes: Changes) -> None:
        """Apply the result of a call."""
        self.cursor = changes.cursor
        rows = iter(list(unpacked(changes.entries)))
        for name in changes.gone:
            del self.sessions[name], self.expiries[name]
        for one in changes.sessions:
            known = self.sessions.get(one.session_id, {})
            kept = {at: row for at, row in known.items() if at < one.first}
            added = [next(rows) for _ in range(one.size)]
            self.sessions[one.session_id] = {**kept, **{row[0]: row for row in added}}
            self.expiries[one.session_id] = one.version.expires_at
        assert next(rows, None) is None


class ChangeContract(ContractCase):
    """The contract for reading changes. `BackendContract` includes it."""

    def _changes(self, backend: Backend, mirror: Mirror, *, vectors: bool = True) -> Changes:
        log = backend.messages
        program = log.changes("default", mirror.user_id, mirror.session_id, mirror.cursor, vectors=vectors)
        return self.read(backend, program)

    def _follow(self, backend: Backend, mirror: Mirror, now: float = NOW) -> int:
        """Bring a mirror up to date, compare it with a new reader, and return the number of messages that were read."""
        changes = self._changes(backend, mirror)
        mirror.apply(changes)
        every = entries_in(self._changes(backend, Mirror(mirror.user_id, mirror.session_id)), now)
        expected = {
            (entry.session_id, entry.position): (entry.role, entry.created_at, entry.words, entry.vector or None)
            for entry in every
        }
        living = {name: rows for name, rows in mirror.sessions.items() if (mirror.expiries[name] or now + 1) > now}
        assert {
            (name, at): (row[1], row[3], row[4], row[5] or None)
            for name, rows in living.items()
            for at, row in rows.items()
        } == expected
        return changes.entries.size

    def test_added_messages_are_read_once(self, backend: Backend) -> None:
        mirror = Mirror()
        assert self._follow(backend, mirror) == 0
        self.write(backend, backend.messages.append(KEY, turn("a", "b", agent="writer")))
        assert self._follow(backend, mirror) == 2
        assert [row[2] for row in mirror.sessions[KEY.session_id].values()] == ["writer", "writer"]
        assert self._follow(backend, mirror) == 0
        self.write(backend, backend.messages.append(OTHER, turn("c", "d", "e")))
        self.write(backend, backend.messages.append(KEY, turn("f")))
        assert self._follow(backend, mirror) == 4
        assert self._follow(backend, Mirror()) == 6

    def test_only_changed_sessions_are_returned(self, backend: Backend) -> None:
        for number in range(5):
            self.write(backend, backend.messages.append(KEY._replace(session_id=f"s-{number}"), turn("a")))
        mirror = Mirror()
        mirror.apply(self._changes(backend, mirror))
        self.write(backend, backend.messages.append(KEY._replace(session_id="s-3"), turn("b")))
        changes = self._changes(backend, mirror)
        changed = [one for one in changes.sessions if one.size]
        assert [(one.session_id, one.first, one.size) for one in changed] == [("s-3", 1, 1)]

    def test_changes_are_those_of_one_user(self, backend: Backend) -> None:
        nobody = SessionKey("default", None, "session-1")
        self.write(backend, backend.messages.append(nobody, turn("a")))
        self.write(backend, backend.messages.append(KEY, turn("b")))
        self.write(backend, backend.messages.append(SessionKey("other", "alice", "session-1"), turn("c")))
        own, without_user = Mirror(), Mirror(None)
        assert [self._follow(backend, own), self._follow(backend, without_user)] == [1, 1]

    def test_changes_of_one_session(self, backend: Backend) -> None:
        mirror = Mirror(session_id=KEY.session_id)
        assert self._follow(backend, mirror) == 0
        self.write(backend, backend.messages.append(OTHER, turn("a")))
        self.write(backend, backend.messages.append(KEY, turn("b", "c")))
        assert self._follow(backend, mirror) == 2
        self.write(backend, backend.messages.append(KEY, turn("d")))
        assert self._follow(backend, mirror) == 1
        self.write(backend, backend.messages.delete(KEY))
        assert self._follow(backend, mirror) == 0
        assert mirror.sessions == {}

    def test_vectors_are_read_only_if_they_are_wanted(self, backend: Backend) -> None:
        rows = [message(0, "a")._replace(vector=unit([1.0, 2.0])), message(1, "b")]
        self.write(backend, backend.messages.append(KEY, Append(rows, None, NOW, token=secrets.randbits(62))))
        with_vectors, without = (self._changes(backend, Mirror(), vectors=one) for one in (True, False))
        assert [row[5] for row in unpacked(with_vectors.entries)] == [unit([1.0, 2.0]), None]
        assert [row[5] for row in unpacked(without.entries)] == [None, None]

    def test_edits_are_followed(self, backend: Backend) -> None:
        mirror, log = Mirror(), backend.messages
        texts = ["a", "b", "c", "d"]
        rows = [message(at, text)._replace(vector=unit([1.0, at + 1.0])) for at, text in enumerate(texts)]
        self.write(backend, log.append(KEY, Append(rows, None, NOW, token=secrets.randbits(62))))
        self.write(backend, log.append(OTHER, turn("untouched")))
        self._follow(backend, mirror)
        edits = [
            log.remove(KEY, Removal(ids=[digest("b")], token=secrets.randbits(62)), NOW),
            log.replace(KEY, Replacement(digest("a"), message(0, "other words"), token=secrets.randbits(62)), NOW),
            log.embed("default", [LoggedMessage(KEY, rows[2]._replace(vector=unit([3.0, 1.0])))]),
            log.set_words("default", [LoggedMessage(KEY, rows[3]._replace(words=analyze("new words")))]),
            log.unembed("default", None),
            log.append(KEY, turn("e", "f", keep=3)),
            log.clear(KEY, "nobody"),
            log.clear(KEY, None),
            log.append(KEY, turn("g")),
        ]
        for edit in edits:
            self.write(backend, edit)
            self._follow(backend, mirror)
        assert [row[0] for row in mirror.sessions[KEY.session_id].values()] == [6]

    def test_the_end_of_a_session_is_followed(self, backend: Backend) -> None:
        mirror, log = Mirror(), backend.messages
        rows = [message(0, "stays"), message(1, "ends", ends=True)]
        self.write(backend, log.append(KEY, Append(rows, None, NOW, token=secrets.randbits(62))))
        assert self._follow(backend, mirror) == 2
        self.write(backend, log.end(KEY))
        self._follow(backend, mirror)
        self.write(backend, log.append(KEY, Append(rows, None, NOW, token=secrets.randbits(62))))
        self._follow(backend, mirror)
        opening = Opening(1, NOW, Ending(True))
        self.write(backend, backend.openings.open(KEY, opening))
        self.write(backend, backend.openings.close(KEY, 1, None, NOW))
        self._follow(backend, mirror)
        assert len(mirror.sessions[KEY.session_id]) == 2

    def test_deleted_sessions_are_gone(self, backend: Backend) -> None:
        mirror, log = Mirror(), backend.messages
        for key in (KEY, OTHER):
            self.write(backend, log.append(key, turn("a", "b")))
        self._follow(backend, mirror)
        self.write(backend, log.delete(KEY))
        assert self._follow(backend, mirror) == 0
        assert list(mirror.sessions) == [OTHER.session_id]
        self.write(backend, log.delete(OTHER))
        self.write(backend, log.append(OTHER, turn("c", "d")))
        self.write(backend, log.append(KEY, turn("e")))
        assert self._follow(backend, mirror) == 3

    def test_a_session_that_begins_again_after_its_expiry_is_read_again(self, backend: Backend) -> None:
        mirror, log = Mirror(), backend.messages
        self.write(backend, log.append(KEY, turn("a", "b", ttl=10.0)))
        self._follow(backend, mirror)
        assert mirror.expiries[KEY.session_id] == NOW + 10
        self.write(backend, log.append(KEY, turn("c", "d", "e", now=NOW + 20)))
        self._follow(backend, mirror, NOW + 20)
        assert len(mirror.sessions[KEY.session_id]) == 3
        self.write(backend, log.append(KEY, turn("f", ttl=10.0, now=NOW + 20)))
        self._follow(backend, mirror, NOW + 20)
        self.write(backend, log.sweep("default", NOW + 50, 10))
        self._follow(backend, mirror, NOW + 50)

    def test_a_later_expiry_is_followed(self, backend: Backend) -> None:
        mirror, log = Mirror(), backend.messages
        self.write(backend, log.append(KEY, turn("a", ttl=500.0)))
        self._follow(backend, mirror)
        opening = Opening(1, NOW, Ending(False), ttl=900.0)
        self.write(backend, backend.openings.open(KEY, opening))
        self._follow(backend, mirror, NOW + 600)
        assert mirror.expiries[KEY.session_id] == NOW + 900

    def test_restored_sessions_are_followed(self, backend: Backend) -> None:
        mirror, log = Mirror(), backend.messages
        self.write(backend, log.restore(KEY, Restoration(turn("a", "b"), NOW - 500)))
        assert self._follow(backend, mirror) == 2
        rows = [message(at, f"text {at}")._replace(id_digest=bytes([at] * 16)) for at in range(6)]
        state = SessionState(OTHER, None, None, 9, NOW - 50, NOW - 40, None, None)
        self.write(backend, backend.transfer.restore_sessions([state], NOW))
        for some in (rows[3:5], rows[:2], rows[2:3], rows[5:]):
            self.write(backend, backend.transfer.restore_messages({OTHER: some}, NOW))
            self._follow(backend, mirror)
        assert len(mirror.sessions[OTHER.session_id]) == 6
