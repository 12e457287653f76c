"""The heads of encrypted variables: which variables a scope has.

The head of a scope is a variable of the scope, with the name `HEADS`. As the head of a namespace of items, it contains for
each variable a digest of the name, the random tag of the stored row, the time of the update and the expiry; see `item_heads`.

* Each change of variables replaces the head in the same statement, if the head is still the one that the change was computed
  from. Otherwise the program starts again. A process remembers the heads that it has read or stored last, so a change usually
  takes no further round trip.
* A read of variables reads the heads of their scopes with the same statement. A variable must have the tag of its entry; one
  without an entry was inserted; an entry without a variable is a deletion, unless the variable has expired.
* The head has the expiry of its last variable, and is deleted together with the variables of a user or of a session.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.contract import ScopeHead, VariablePut, VariableRow, VariableScope, VariableTable
from langchain_agentmem.backends.encrypted import item_heads as heads
from langchain_agentmem.backends.encrypted.item_heads import DIGEST_BYTES, HEADS, NEVER, Edits, Entry, Head, new_tag
from langchain_agentmem.backends.encrypted.item_rows import ItemSeal
from langchain_agentmem.backends.encrypted.tables import EncryptedTable, naming
from langchain_agentmem.encoding.encryption import KeyRing
from langchain_agentmem.errors import TamperedDataError
from langchain_agentmem.programs import Program
from langchain_agentmem.programs.caches import RecentValues

_KNOWN = 1_000
_SECONDS = 0.01
"""The accuracy of times."""
_TAG_CHARACTERS = 8


class VariableCipher(EncryptedTable[object]):
    """Encrypts and decrypts the rows of the variable table."""

    def scope(self, scope: VariableScope) -> VariableScope:
        """Encrypt a scope."""
        session_id = self._ring.optional_id("session", scope.session_id)
        return VariableScope(scope.tenant, self._user(scope.user_id), session_id, self._agent(scope.agent))

    def plain_scope(self, scope: VariableScope) -> VariableScope:
        """Decrypt a scope."""
        ring = self._ring
        return VariableScope(
            scope.tenant,
            ring.optional_plain_id("user", scope.user_id),
            ring.optional_plain_id("session", scope.session_id),
            self._plain_agent(scope.agent),
        )

    def name(self, name: str) -> str:
        """Encrypt the name of a variable."""
        return self._ring.id("variable", name)

    def value(self, scope: VariableScope, name: str, value: str, tag: bytes) -> str:
        """Encrypt the value of a variable, with the random tag of the row."""
        return self._seal(base64.b64encode(tag).decode() + value, *_place("variable", scope, name))

    def opened(self, row: VariableRow) -> tuple[VariableRow, bytes]:
        """Decrypt a variable, and return the tag of the row."""
        scope, name = self.plain_scope(row.scope), self._ring.plain_id("variable", row.name)
        tagged = self._open(f"Variable {name!r}", row.value, *_place("variable", scope, name))
        tag, value = base64.b64decode(tagged[:_TAG_CHARACTERS]), tagged[_TAG_CHARACTERS:]
        return row._replace(scope=scope, name=name, value=value), tag

    def plain(self, rows: Sequence[VariableRow]) -> list[VariableRow]:
        """Decrypt variables without the heads among them. They are not compared with the heads."""
        return [self.opened(row)[0] for row in _without_heads(rows)]


class State(NamedTuple):
    """The head of a scope, as it was read."""

    stored: str | None
    """The value of the row; None if there is none."""
    head: Head


NO_HEAD = State(None, Head())


class Change(NamedTuple):
    """A change of variables of a scope."""

    head: ScopeHead
    """The change of the head. If the scope has none, and needs none, it only checks that there is none."""
    following: State
    """The head that is stored then."""
    puts: Sequence[VariablePut] = ()
    """The encrypted variables."""


class VariableGuard:
    """Reads, checks and computes heads.

    Args:
        table: The table that stores the encrypted variables.
        ring: The keys.
    """

    def __init__(self, table: VariableTable, ring: KeyRing) -> None:
        self._table = table
        self._ring = ring
        self._seal = ItemSeal(ring)
        self.cipher = VariableCipher(table, ring)
        self._known: RecentValues[VariableScope, State] = RecentValues(_KNOWN)
        """The heads that this process has read or stored last."""

    # Writing

    def setting(self, scope: VariableScope, puts: Sequence[VariablePut], now: float) -> Program[Change]:
        """Return the change that sets variables."""
        state = yield from self._load(scope, now)
        sealed, edits = [], {}
        for put in puts:
            tag, digest = new_tag(), self.digest(put.name)
            former = state.head.entries.get(digest)
            at = now if former is None or not former.is_alive(now) else max(now, former.at)
            edits[digest] = Entry(tag, at, NEVER if put.ttl is None else at + put.ttl)
            sealed.append(
                put._replace(name=self.cipher.name(put.name), value=self.cipher.value(scope, put.name, put.value, tag))
            )
        return self._change(scope, state, edits, now)._replace(puts=sealed)

    def removing(self, scope: VariableScope, names: Sequence[str], now: float) -> Program[Change]:
        """Return the change that deletes variables."""
        state = yield from self._load(scope, now)
        return self._change(scope, state, dict.fromkeys(map(self.digest, names)), now)

    def restoring(
        self, scope: VariableScope, rows: Sequence[VariableRow], now: float, state: State | None = None
    ) -> Program[tuple[Change, list[VariableRow]]]:
        """Return the change of the head for rows that are stored with their times, and the encrypted rows.

        Args:
            scope: The scope of the rows.
            rows: The rows.
            now: The current time.
            state: The head. Default: None (it is read).
        """
        if state is None:
            state = yield from self._load(scope, now)
        sealed, edits = [], {}
        for row in rows:
            tag = new_tag()
            edits[self.digest(row.name)] = Entry(
                tag, row.updated_at, NEVER if row.expires_at is None else row.expires_at
            )
            value = self.cipher.value(scope, row.name, row.value, tag)
            sealed.append(row._replace(scope=self.cipher.scope(scope), name=self.cipher.name(row.name), value=value))
        return self._change(scope, state, edits, now), sealed

    @staticmethod
    def head_rows(scope: VariableScope, change: Change, now: float) -> list[VariableRow]:
        """Return the row of a new head, to be stored together with the rows of an encrypted scope."""
        put = change.head.put
        if put is None:
            return []
        return [VariableRow(scope, put.name, put.value, now, now, None if put.ttl is None else now + put.ttl)]

    def keep(self, scope: VariableScope, change: Change) -> None:
        """Remember the head of a scope after its change was stored."""
        self._known.put(scope, change.following)

    def forget(self, scope: VariableScope) -> None:
        """Read the head of a scope before the next change."""
        self._known.discard(scope)

    def digest(self, name: str) -> bytes:
        """Return the digest of the name of a variable in the head of its scope."""
        return self._ring.digest("variable", name, size=DIGEST_BYTES)

    def _load(self, scope: VariableScope, now: float) -> Program[State]:
        """Return the head of a scope that is probably stored. If it is not, the program starts again, and reads it."""
        known = self._known.get(scope)
        self._known.discard(scope)
        if known is not None:
            return known
        sealed = self.cipher.scope(scope)
        rows = yield from self._table.read(sealed, [HEADS], now)
        return self._state(scope, next((row.value for row in rows if row.scope == sealed), None))

    def _state(self, scope: VariableScope, stored: str | None) -> State:
        """Decrypt a head."""
        known = self._known.get(scope)
        if known is not None and known.stored == stored:
            return known
        if stored is None:
            return NO_HEAD
        with naming(f"The head of the variables of {_shown(scope)}"):
            return State(stored, Head.unpacked(self._seal.opened(stored, *_place("variable head", scope, ""))))

    def _change(self, scope: VariableScope, state: State, edits: Edits, now: float) -> Change:
        entries = heads.edited(state.head.entries, edits, now)
        if not entries:
            return Change(ScopeHead(HEADS, state.stored, None), NO_HEAD)
        head = Head(len(entries), (), entries, max(now, state.head.base))
        value = self._seal.json(head.packed(), *_place("variable head", scope, ""))
        ttl = None if head.expires == NEVER else max(0.0, head.expires - head.base) + heads.MARGIN
        return Change(ScopeHead(HEADS, state.stored, VariablePut(HEADS, value, ttl)), State(value, head))

    # Checking

    def checked(
        self,
        scopes: Sequence[VariableScope],
        rows: Sequence[VariableRow],
        names: Sequence[str] | None,
        now: float,
        *,
        whole_session: bool = False,
    ) -> list[VariableRow]:
        """Decrypt variables of whole scopes, and check that they are those of the heads.

        Args:
            scopes: The scopes.
            rows: The encrypted variables, with the heads of their scopes.
            names: The names of the variables that were read; None for all.
            now: The time of the read; zero if expired variables were read as well.
            whole_session: True if all variables of a session were read, whatever their names. Default: False.

        Raises:
            TamperedDataError: A variable is missing, was inserted, or is another version of itself.
        """
        groups, found = by_scope(rows), []
        for scope in scopes:
            own = groups.get(self.cipher.scope(scope), [])
            state = self._state(scope, next((row.value for row in own if row.name == HEADS), None))
            self._known.put(scope, state)
            entries = state.head.entries
            opened = {self.digest(row.name): (row, tag) for row, tag in map(self.cipher.opened, _without_heads(own))}
            for digest, (row, tag) in list(opened.items()):
                if digest not in entries and row.expires_at is not None and row.expires_at <= (now or time.time()):
                    del opened[digest]  # it was not swept yet
                else:
                    self._check(row, tag, entries.get(digest))
            wanted = None if whole_session and scope.session is not None else names
            self._check_missing(scope, entries, opened, wanted, now)
            found += [row for row, _ in opened.values()]
        return found

    def checked_scopes(self, rows: Sequence[VariableRow], now: float) -> list[VariableRow]:
        """Same as `checked`, for all variables of the scopes that have rows."""
        scopes = [self.cipher.plain_scope(one) for one in dict.fromkeys(row.scope for row in rows)]
        return self.checked(scopes, rows, None, now)

    def _check_missing(
        self,
        scope: VariableScope,
        entries: Mapping[bytes, Entry],
        found: Mapping[bytes, object],
        names: Sequence[str] | None,
        now: float,
    ) -> None:
        wanted = entries if names is None else {self.digest(name): name for name in names}
        for digest in wanted:
            entry = entries.get(digest)
            if digest not in found and entry is not None and entry.expires > (now or time.time()) + heads.GRACE:
                name = "A variable" if names is None else f"Variable {shown(wanted[digest])}"
                what = f"{name} of {_shown(scope)}"
                raise _altered(what, "is missing: it was deleted without the key")

    @staticmethod
    def _check(row: VariableRow, tag: bytes, entry: Entry | None) -> None:
        what = f"Variable {shown(row.name)} of {_shown(row.scope)}"
        if entry is None:
            raise _altered(what, "was inserted without the key")
        if entry.tag != tag:
            raise _altered(what, "was replaced by another version of itself")
        expires = NEVER if row.expires_at is None else row.expires_at
        if abs(row.updated_at - entry.at) > _SECONDS or expires > entry.expires + _SECONDS:
            raise _altered(what, "has another time or expiry")


def by_scope(rows: Sequence[VariableRow]) -> dict[VariableScope, list[VariableRow]]:
    """Group variables by their scope."""
    groups: dict[VariableScope, list[VariableRow]] = {}
    for row in rows:
        groups.setdefault(row.scope, []).append(row)
    return groups


def _without_heads(rows: Sequence[VariableRow]) -> list[VariableRow]:
    return [row for row in rows if row.name != HEADS]


def _place(kind: str, scope: VariableScope, name: str) -> list[str]:
    """Return the place of a value. Empty names, which no ID is, stand for none."""
    return [kind, *(one or "" for one in scope), name]


def _shown(scope: VariableScope) -> str:
    named = {"user": scope.user_id, "session": scope.session_id, "agent": scope.agent}
    given = [f"{kind} {shown(one)}" for kind, one in named.items() if one is not None]
    return ", ".join(given) or "all users"


def _altered(what: str, problem: str) -> TamperedDataError:
    error = TamperedDataError(f"{what} {problem}: the database was altered.")
    error.is_named = True
    return error
