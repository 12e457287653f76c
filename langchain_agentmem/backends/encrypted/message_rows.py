"""Encryption of single messages, and their comparison with the head of the session."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import ormsgpack

from langchain_agentmem.backends.contract import LogHead, MessageRow, SessionKey
from langchain_agentmem.backends.encrypted.heads import Added, Head
from langchain_agentmem.backends.encrypted.tables import EncryptedTable, names_of, naming
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.errors import TamperedDataError

ROLES = frozenset({"system", "human", "ai", "tool", "function", "remove"})
"""The roles that are stored in clear. Others, which an application chose, are encrypted."""

OVERHEAD = 56
"""The number of bytes by which a sealed value is longer, which is that of 14 numbers of a vector."""

_TYPE = "sealed+"
_TIME = struct.Struct(">d?")


class StaleHeadError(TamperedDataError):
    """Messages do not agree with the head of the session. Another writer may have changed both between two reads."""


class PlainMessage(NamedTuple):
    """A decrypted message, with the digest of its ID, and its row as it is stored."""

    row: MessageRow
    id_digest: bytes
    stored: MessageRow

    @property
    def version(self) -> int:
        """The version of the message."""
        return int(self.stored.body.type.removeprefix(_TYPE))


class MessageCipher(EncryptedTable[object]):
    """Encrypts and decrypts messages and heads."""

    # Heads

    def head(self, key: SessionKey, stored: LogHead, *, restoring: bool = False) -> Head:
        """Decrypt the head of a session. A session without messages may have none.

        Args:
            key: The session.
            stored: The stored head.
            restoring: If true, messages may be missing, because their restoration has not ended or was interrupted: in
                Redis, the session is stored before its first head. Default: False.

        Raises:
            TamperedDataError: It was altered, or is missing.
        """
        if stored.value is None:
            if stored.next_position and restoring:
                return Head.new(stored.next_position)
            if stored.next_position:
                msg = f"Session {key.session_id!r} has messages, but the data that authenticates them was deleted."
                raise _named(msg)
            return Head.new()
        with naming(f"The head of session {key.session_id!r}"):
            head = Head.load(self._ring.sealer.open(stored.value, "head", *names_of(key)))
        if head.next_position != stored.next_position and not (restoring and head.next_position > stored.next_position):
            msg = (
                f"The next position of session {key.session_id!r} is {stored.next_position}, not {head.next_position}."
            )
            raise StaleHeadError(msg)
        return head

    def sealed_head(self, key: SessionKey, head: Head) -> bytes:
        """Encrypt the head of a session."""
        return self._ring.sealer.seal(head.dump(), "head", *names_of(key))

    # Messages

    def sealed(self, key: SessionKey, head: Head, position: int, version: int, row: MessageRow) -> MessageRow:
        """Encrypt a message.

        Args:
            key: The session.
            head: The head of the session.
            position: The position of the message in the session.
            version: The version of the message: 0, or greater for one that replaces another.
            row: The message.
        """
        content = ormsgpack.packb((*row.body, row.metadata, row.id_digest))
        place = self._place(key, head, position, version, row)
        names = (*names_of(key), _number(position))
        seal = self._ring.sealer.seal
        return row._replace(
            role=row.role if row.role in ROLES else self._ring.id("role", row.role),
            agent=self._agent(row.agent),
            metadata=None,
            body=Typed(f"{_TYPE}{version}", seal(content, *place)),
            words=None if row.words is None else seal(row.words, "words", *names),
            vector=None if row.vector is None else seal(row.vector, "vector", *names),
            id_digest=self.digest(key, head, position),
        )

    def plain(self, key: SessionKey, head: Head, stored: MessageRow) -> PlainMessage:
        """Decrypt a message.

        Raises:
            TamperedDataError: It was altered, moved or replaced, or is not encrypted.
        """
        what = f"Message {stored.position} of session {key.session_id!r}"
        with naming(what):
            plain = stored._replace(role=self.role(stored.role), agent=self._plain_agent(stored.agent))
            kind, _, version = stored.body.type.partition("+")
            if f"{kind}+" != _TYPE or not version.isdecimal():
                msg = "It is not encrypted although the memory has a key: the row was written without the key."
                raise TamperedDataError(msg)
            if int(version) not in head.accepted(stored.position):
                msg = "It was replaced by another version of the same message."
                raise StaleHeadError(msg)
            place = self._place(key, head, stored.position, int(version), plain)
            content = self._ring.sealer.open(stored.body.data, *place)
        type_, data, metadata, id_digest = ormsgpack.unpackb(content)
        return PlainMessage(plain._replace(metadata=metadata, body=Typed(type_, data)), id_digest or b"", stored)

    def digest(self, key: SessionKey, head: Head, position: int) -> bytes:
        """Return what is stored as the digest of a message's ID. It identifies the position, so each message has another."""
        return self._ring.digest("message", *names_of(key), head.generation, _number(position))

    def token(self, token: int, position: int, version: int) -> int:
        """Return the idempotency token of the replacement of one message by one version."""
        names = ("token", _number(token), _number(position), _number(version))
        return int.from_bytes(self._ring.digest(*names, size=8), "big") >> 2

    def role(self, stored: str) -> str:
        """Decrypt a role."""
        return stored if stored in ROLES else self._ring.plain_id("role", stored)

    def words(self, kind: str, key: SessionKey, position: int, sealed: bytes | None) -> bytes | None:
        """Decrypt the `"words"` or the `"vector"` of a message."""
        if not sealed:
            return None
        with naming(f"The {kind} of message {position} of session {key.session_id!r}"):
            return self._ring.sealer.open(sealed, kind, *names_of(key), _number(position))

    @staticmethod
    def _place(key: SessionKey, head: Head, position: int, version: int, row: MessageRow) -> list[str | bytes]:
        time = _TIME.pack(row.created_at, row.ends_with_session)
        where = (*names_of(key), head.generation, _number(position), _number(version))
        return ["message", *where, row.role, row.agent or "", time]


def added(row: MessageRow) -> Added:
    """Return what the head stores about a message."""
    return Added(row.agent, row.role == "system", row.ends_with_session)


def check_newest(key: SessionKey, head: Head, agent: str | None, limit: int | None, rows: Sequence[MessageRow]) -> None:
    """Check that the newest messages are those of the head.

    Args:
        key: The session.
        head: Its head.
        agent: The agent whose messages were read; None for all.
        limit: The number of messages that were read; None for all.
        rows: The messages, without those that the head says are deleted.

    Raises:
        StaleHeadError: A message is missing, or is one too many.
    """
    positions = [row.position for row in rows]
    found = set(positions)
    expected = _present(key, head, head.newest(agent), found, descending=True)
    newest = list(islice(expected, limit))[::-1]
    system = [at for at in positions if newest and at < newest[0]]
    if limit is not None and newest:
        present = _present(key, head, head.newest(agent), found, descending=True)
        first = next((at for at in present if at in head.system), newest[0])
        wanted = [first] if first < newest[0] else []
        if wanted != system:
            raise _mismatch(key, wanted, system)
        positions = positions[len(system) :]
    if positions != newest:
        raise _mismatch(key, newest, positions)


def check_page(
    key: SessionKey, head: Head, agent: str | None, after: int, limit: int, rows: Sequence[MessageRow]
) -> None:
    """Same as `check_newest`, for at most `limit` messages after a position."""
    positions = [row.position for row in rows]
    found = set(positions)
    expected = list(islice(_present(key, head, head.after(after, agent), found, descending=False), limit))
    if expected != positions:
        raise _mismatch(key, expected, positions)


def ended_before(head: Head, agent: str | None, after: int, rows: Sequence[MessageRow]) -> int | None:
    """Return the position of a message that must be missing, if one after `after` is missing because the session ended.

    Args:
        head: The head of the session.
        agent: The agent whose messages were read; None for all.
        after: The position after which messages were read.
        rows: The messages.
    """
    found = {row.position for row in rows}
    last = rows[-1].position if rows else head.next_position
    expected = (at for at in head.after(after, agent) if at in head.ending)
    if not any(at not in found for at in expected if at < last):
        return None
    return next((at for at in head.newest(agent) if at <= after and at in head.ending), None)


def are_missing(head: Head, rows: Sequence[MessageRow], agent: str | None, limit: int) -> bool:
    """Return true if the oldest messages of a session, at most `limit`, are not those of the head."""
    found = {row.position for row in rows}
    return any(at not in found and at not in head.ending for at in islice(head.after(-1, agent), limit))


def is_deleted(head: Head, position: int) -> bool:
    """Return true if the head says that a message was deleted; a message that it does not know yet was not."""
    return position < head.next_position and not head.has(position)


def _present(
    key: SessionKey, head: Head, positions: Iterator[int], found: set[int], *, descending: bool
) -> Iterator[int]:
    """Yield the positions of messages that must be there: all but the oldest that end with the session.

    Args:
        key: The session.
        head: Its head.
        positions: The positions of the messages in the head, in order.
        found: The positions that were read.
        descending: The order.
    """
    kept = missing = False
    for position in positions:
        if position in head.ending:
            if position in found:
                kept = True
                if missing and descending:
                    raise _mismatch(key, [position], [])
            elif kept and not descending:
                yield position  # an older one is there, so this one is missing
                continue
            else:
                missing = True
                continue
        yield position


def _mismatch(key: SessionKey, expected: Sequence[Any], found: Sequence[Any]) -> StaleHeadError:
    gone, more = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    parts = [f"message {gone[0]} is missing"] if gone else []
    parts += [f"message {more[0]} was inserted"] if more else []
    what = " and ".join(parts) or "the order of its messages was changed"
    error = StaleHeadError(f"Session {key.session_id!r} was altered without the key: {what}.")
    error.is_named = True
    return error


def _named(text: str) -> TamperedDataError:
    error = TamperedDataError(text)
    error.is_named = True
    return error


def _number(value: int) -> bytes:
    return value.to_bytes(8, "big")
