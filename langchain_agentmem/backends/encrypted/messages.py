"""The encrypted message log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple, cast

from langchain_agentmem.arguments.omitted import Omitted
from langchain_agentmem.backends.contract import (
    UNKNOWN_MESSAGE,
    Append,
    Changes,
    HeadChangedError,
    HeadSwap,
    HistoryScope,
    LoggedMessage,
    LogHead,
    MessageLog,
    MessageRow,
    Removal,
    Replacement,
    Restoration,
    Seal,
    SessionKey,
    SessionRow,
    StoredSummary,
    Title,
)
from langchain_agentmem.backends.contract.changes import packed, unpacked
from langchain_agentmem.backends.contract.messages import LIST_SUMMARY
from langchain_agentmem.backends.encrypted.heads import Head
from langchain_agentmem.backends.encrypted.message_rows import (
    OVERHEAD,
    PlainMessage,
    added,
    are_missing,
    check_newest,
    check_page,
    ended_before,
    is_deleted,
)
from langchain_agentmem.backends.encrypted.session_rows import Change, SessionCipher
from langchain_agentmem.backends.encrypted.tables import EncryptedTable, as_inner, names_of, refuse_head
from langchain_agentmem.encoding.encryption import KeyRing
from langchain_agentmem.errors import TamperedDataError
from langchain_agentmem.programs import Program, StorageProgram, storage_program, together
from langchain_agentmem.programs.caches import RecentValues
from langchain_agentmem.text.vectors import width_of

_PAGE = 500
_KNOWN_HEADS = 256


class _Log(NamedTuple):
    """All messages of a session."""

    head: Head
    stored: LogHead
    messages: list[PlainMessage]
    leftovers: list[bytes]
    """The stored digests of messages that the head says are deleted, but that an interrupted deletion left."""


class EncryptedMessages(EncryptedTable[MessageLog]):
    """Implements `langchain_agentmem.backends.contract.MessageLog`.

    Args:
        inner: The log that stores the encrypted rows.
        ring: The keys.
        whole: If true, the database stores all steps of a program, or none. If false, it stores each step at once.
    """

    def __init__(self, inner: MessageLog, ring: KeyRing, *, whole: bool) -> None:
        super().__init__(inner, ring)
        self._cipher = SessionCipher(inner, ring)
        self._whole = whole
        self._known: RecentValues[SessionKey, tuple[LogHead, Head]] = RecentValues(_KNOWN_HEADS)
        """The heads that this process stored last."""

    # Adding

    @storage_program
    def append(self, key: SessionKey, addition: Append) -> Program[int]:
        known = self._known.get(key)
        # The head that this process stored last is probably still there. If not, the program starts again and reads it.
        self._known.discard(key)
        sealed, following = yield from self._sealed_addition(key, addition, known)
        first = yield from self._inner.append(self._key(key), sealed)
        if sealed.seal is not None and first == sealed.seal.first:
            self._known.put(key, (LogHead(following.next_position, sealed.seal.head), following))
        return first

    @storage_program
    def restore(self, key: SessionKey, restoration: Restoration) -> Program[int]:
        addition, _ = yield from self._sealed_addition(key, restoration.addition, None, restoration)
        sealed = restoration._replace(
            addition=addition,
            title=self._cipher.title(key, restoration.title),
            metadata=self._cipher.metadata(key, restoration.metadata),
        )
        return (yield from self._inner.restore(self._key(key), sealed))

    def _sealed_addition(
        self,
        key: SessionKey,
        addition: Append,
        known: tuple[LogHead, Head] | None,
        restoration: Restoration | None = None,
    ) -> Program[tuple[Append, Head]]:
        """Encrypt messages to add. Return them with the head that the session has then.

        Args:
            key: The session.
            addition: The messages.
            known: The head that is probably stored; None to read it.
            restoration: The properties of a session that is restored. Default: None.
        """
        stored, head = known or (yield from self._state(key, addition.now))
        head = head.with_gone_title()
        if addition.keep is not None and head.ending:
            head = yield from self._without_ended(key, head, addition.now)
        following = head.plus([added(row) for row in addition.rows])
        if addition.keep is not None:
            following = following.trimmed(addition.agent, addition.keep).settled(surely=True)
        first = head.next_position
        titles = [] if addition.titles is None else [(first + at, text) for at, text in addition.titles]
        following = following.titled([(self._cipher.title_digest(text), at) for at, text in titles])
        if restoration is not None:
            following = self._cipher.with_properties(following, restoration.title, restoration.metadata)
        rows = [
            self._cipher.sealed(key, head, first + row.position, 0, row)._replace(position=row.position)
            for row in addition.rows
        ]
        sealed = addition._replace(
            rows=rows,
            titles=addition.titles and [Title(at, self._cipher.title(key, text) or "") for at, text in addition.titles],
            agent=self._agent(addition.agent),
            seal=Seal(first, stored.value, self._cipher.sealed_head(key, following)),
        )
        return sealed, following

    def _without_ended(self, key: SessionKey, head: Head, now: float) -> Program[Head]:
        """Remove the messages that ended with the session from the head, so that trimming counts only the others."""
        wanted = [(self._ring.id("session", key.session_id), at) for at in head.ending.newest() if head.has(at)]
        scope = HistoryScope(key.tenant, self._user(key.user_id))
        found = yield from self._inner.rows(scope, wanted, now)
        return head.minus([at for name, at in wanted if (name, at) not in found])

    # Reading

    def window(self, key: SessionKey, agent: str | None, limit: int | None, now: float) -> Program[list[MessageRow]]:
        def begin() -> Program[list[MessageRow]]:
            bound = limit
            while True:
                window = self._inner.window(self._key(key), self._agent(agent), bound, now)
                head, rows = yield from self._with_head(key, window, now)
                kept = [row for row in rows if not is_deleted(head, row.position)]
                if len(kept) == len(rows) or bound is None or len(rows) < bound:
                    break
                bound += len(rows) - len(kept)  # an interrupted deletion has left messages: read others in their place
            if limit is not None and bound != limit:
                system = [row for row in kept[:-limit] if row.role == "system"][-1:]
                kept = [*system, *kept[-limit:]]
            check_newest(key, head, agent, limit, kept)
            return [self._cipher.plain(key, head, row).row for row in kept]

        return self._paired("window", begin, self._inner.window(key, agent, limit, now))

    def page(self, key: SessionKey, agent: str | None, after: int, limit: int, now: float) -> Program[list[MessageRow]]:
        def begin() -> Program[list[MessageRow]]:
            found: list[MessageRow] = []
            start = after
            while True:
                page = self._inner.page(self._key(key), self._agent(agent), start, limit - len(found), now)
                head, rows = yield from self._with_head(key, page, now)
                found += [row for row in rows if not is_deleted(head, row.position)]
                if len(found) == limit or len(found) == len(rows) or not rows:
                    break
                start = rows[-1].position
            check_page(key, head, agent, after, limit, found)
            yield from self._check_ended(key, ended_before(head, agent, after, found), now)
            return [self._cipher.plain(key, head, row).row for row in found]

        return self._paired("page", begin, self._inner.page(key, agent, after, limit, now))

    @as_inner
    def count(self, key: SessionKey, agent: str | None, now: float) -> Program[int]:
        return (yield from self._inner.count(self._key(key), self._agent(agent), now))

    @as_inner
    def changes(
        self, tenant: str, user_id: str | None, session_id: str | None, cursor: Any, *, vectors: bool
    ) -> Program[Changes]:
        known, plain_ids = cursor or (None, {})
        sealed_id = self._ring.optional_id("session", session_id)
        found = yield from self._inner.changes(tenant, self._user(user_id), sealed_id, known, vectors=vectors)
        return self._plain_changes(SessionKey(tenant, user_id, ""), found, plain_ids)

    def _plain_changes(self, user: SessionKey, found: Changes, plain_ids: Mapping[str, str]) -> Changes:
        """Decrypt changes. The cursor has the IDs of the sessions as well, by their encrypted IDs."""
        known = {**plain_ids}
        gone = [known.pop(one) for one in found.gone]
        rows = unpacked(found.entries)
        sessions, plain = [], []
        for one in found.sessions:
            session_id = known.get(one.session_id)
            if session_id is None:
                session_id = known[one.session_id] = self._ring.plain_id("session", one.session_id)
            key = user._replace(session_id=session_id)
            for position, role, agent, time, words, vector, _ in islice(rows, one.size):
                columns = (position, self._cipher.role(role), self._plain_agent(agent), time)
                plain_words = self._cipher.words("words", key, position, words) or b""
                plain_vector = self._cipher.words("vector", key, position, vector)
                plain.append((*columns, plain_words, plain_vector, None))
            sessions.append(one._replace(session_id=session_id))
        return Changes((found.cursor, known), sessions, gone, packed(plain))

    @storage_program
    def rows(
        self, scope: HistoryScope, positions: Sequence[tuple[str, int]], now: float
    ) -> Program[dict[tuple[str, int], MessageRow]]:
        found = yield from self.stored_rows(scope, positions, now)
        return {address: message.row for address, message in found.items()}

    def stored_rows(
        self, scope: HistoryScope, positions: Sequence[tuple[str, int]], now: float
    ) -> Program[dict[tuple[str, int], PlainMessage]]:
        """Return messages by (session ID, position), with their rows as they are stored."""
        keys = {one: SessionKey(scope.tenant, scope.user_id, one) for one, _ in positions}
        sealed = scope._replace(user_id=self._user(scope.user_id), session_id=None, agent=None)
        wanted = [(self._ring.id("session", one), at) for one, at in positions]
        heads = [self._inner.head(self._key(key), now) for key in keys.values()]
        *states, rows = yield from together([*heads, self._inner.rows(sealed, wanted, now)])
        found: dict[tuple[str, int], PlainMessage] = {}
        known = {one: self._cipher.head(key, state) for (one, key), state in zip(keys.items(), states, strict=True)}
        for (session_id, position), address in zip(positions, wanted, strict=True):
            head, row = known[session_id], rows.get(address)
            if row is not None and not is_deleted(head, position):
                found[session_id, position] = self._cipher.plain(keys[session_id], head, row)
            elif row is None and head.has(position) and position not in head.ending:
                check_page(keys[session_id], head, None, position - 1, 1, [])
        return found

    def _with_head(
        self, key: SessionKey, program: Program[list[MessageRow]], now: float
    ) -> Program[tuple[Head, list[MessageRow]]]:
        """Run a program that reads messages together with one that reads the head."""
        stored, rows = yield from together([self._inner.head(self._key(key), now), program])
        return self._cipher.head(key, stored), rows

    def _paired(self, name: str, begin: Any, inner: Program[Any]) -> Program[Any]:
        """Return a storage program; it has one step if the programs of the inner table have one."""
        single = isinstance(inner, StorageProgram) and inner.single
        if not isinstance(inner, StorageProgram):
            inner.close()
        return cast("Program[Any]", StorageProgram(name, begin, single=single))

    def _check_ended(self, key: SessionKey, position: int | None, now: float) -> Program[None]:
        """Check that a message is missing because the session ended, as newer ones are.

        Args:
            key: The session.
            position: The position of the message; None to check nothing.
            now: The current time.
        """
        if position is None:
            return
        address = (self._ring.id("session", key.session_id), position)
        if (yield from self._inner.rows(HistoryScope(key.tenant, self._user(key.user_id)), [address], now)):
            msg = f"Session {key.session_id!r} was altered without the key: messages after {position} are missing."
            raise TamperedDataError(msg)

    # Summaries

    def summary(self, key: SessionKey, agent: str | None, now: float) -> Program[StoredSummary | None]:
        def begin() -> Program[StoredSummary | None]:
            inner = self._inner.summary(self._key(key), self._summarised(agent), now)
            stored, found = yield from together([self._inner.head(self._key(key), now), inner])
            plain = self._plain_stored_summary(key, agent, found)
            head = self._cipher.head(key, stored)
            value, covers = ("", None) if plain is None else (plain.value, plain.covers)
            self._cipher.check_summary(key, head, agent or "", value, covers)
            return plain

        return self._paired("summary", begin, self._inner.summary(key, agent, now))

    def _plain_stored_summary(
        self, key: SessionKey, agent: str | None, found: StoredSummary | None
    ) -> StoredSummary | None:
        if found is None or not found.value:
            return found
        value, covers = self.plain_summary(key, agent, found.value)
        if covers != found.covers:
            msg = f"The summary of session {key.session_id!r} was altered: it covers {covers}, not {found.covers}."
            raise TamperedDataError(msg)
        return found._replace(value=value)

    @storage_program
    def swap_summary(
        self, key: SessionKey, agent: str | None, summary: StoredSummary, expected: int | None, now: float
    ) -> Program[bool]:
        sealed = summary._replace(value=self.sealed_summary(key, agent, summary.value, summary.covers))
        place = (self._key(key), self._summarised(agent))
        stored = yield from self._inner.head(place[0], now)
        if stored.value is None:  # the session has no messages
            return (yield from self._inner.swap_summary(*place, sealed, expected, now))
        head, digest = self._cipher.head(key, stored), self._digest_of(summary)
        former = head.summaries.get(agent or "")
        known = former
        if known is None:
            found = self._plain_stored_summary(key, agent, (yield from self._inner.summary(*place, now)))
            known = [b"" if found is None else self._digest_of(found)]
        # Both summaries are accepted until the new one is stored: a database may store each step at once.
        stored = yield from self._swap(key, stored, head.with_summary(agent, [*known, digest]), now)
        written = yield from self._inner.swap_summary(*place, sealed, expected, now)
        yield from self._swap(key, stored, head.with_summary(agent, [digest] if written else former), now)
        return written

    def _digest_of(self, summary: StoredSummary) -> bytes:
        return self._cipher.summary_digest(summary.value, summary.covers)

    def _summarised(self, agent: str | None) -> str | None:
        return agent if agent == LIST_SUMMARY else self._agent(agent)

    # Deleting and replacing

    @storage_program
    def clear(self, key: SessionKey, agent: str | None) -> Program[None]:
        def without(head: Head) -> Head:
            return head.without(agent, surely=self._whole).settled(surely=self._whole and not head.is_empty)

        is_locked = (yield from self._change_head(key, without)) and self._whole
        yield from self._inner.clear(self._key(key), self._agent(agent))
        if not is_locked:  # messages that were added after the change of the head may be among the cleared ones
            page = self._inner.page(self._key(key), self._agent(agent), -1, _PAGE, 0.0)
            if are_missing(*(yield from self._with_head(key, page, 0.0)), agent, _PAGE):
                raise HeadChangedError

    @as_inner
    def end(self, key: SessionKey) -> Program[int]:
        return (yield from self._inner.end(self._key(key)))

    @storage_program
    def remove(self, key: SessionKey, removal: Removal, now: float) -> Program[int | None]:
        log = yield from self._log(key, now)
        own = [one for one in log.messages if removal.agent in (None, one.row.agent)]
        last = -1
        if removal.after is not None:
            last = max((one.row.position for one in own if one.id_digest == removal.after), default=UNKNOWN_MESSAGE)
        doomed = [
            one.row.position
            for one in own
            if (removal.ids is None or one.id_digest in removal.ids)
            and (removal.before is None or one.row.created_at < removal.before)
            and one.row.position > last
        ]
        if removal.after is not None and last == UNKNOWN_MESSAGE:
            return UNKNOWN_MESSAGE
        if doomed:
            yield from self._swap(key, log.stored, log.head.minus(doomed).settled(surely=self._whole), now)
        ids = [self._cipher.digest(key, log.head, at) for at in doomed]
        sealed = Removal(ids=[*ids, *log.leftovers], token=removal.token)
        return (yield from self._inner.remove(self._key(key), sealed, now))

    def replace(self, key: SessionKey, replacement: Replacement, now: float) -> Program[list[MessageRow] | None]:
        sent: dict[int, int] = {}  # of the former attempts of this program: the versions by position
        made = StorageProgram("replace", lambda: self._replaced(key, replacement, sent, now), single=False)
        return cast("Program[list[MessageRow] | None]", made)

    def _replaced(
        self, key: SessionKey, replacement: Replacement, sent: dict[int, int], now: float
    ) -> Program[list[MessageRow] | None]:
        log = yield from self._log(key, now)
        given = replacement.row
        replaced = []
        head, stored = log.head.with_gone_title(), log.stored
        for old in (one for one in log.messages if one.id_digest == replacement.id_digest):
            if replacement.agent not in (None, old.row.agent):
                continue
            position, version = old.row.position, sent.get(old.row.position)
            is_sent = version is not None and (old.version == version or version not in head.accepted(position))
            new = old.row
            if version is None or not is_sent:
                version = head.counter + 1
                # Both versions are accepted until the message is stored: a database may store each step at once.
                accepted = (*head.accepted(position), version)
                system = head.system.minus([position])
                title = None if replacement.title is None else self._cipher.title_digest(replacement.title)
                settled = head.retitled(position, title, surely=True)
                head = head._replace(
                    counter=version,
                    versions={**head.versions, position: accepted},
                    system=system.union([position]) if given.role == "system" else system,
                )
                head = head.retitled(position, title, surely=False).without_summaries()
                stored = yield from self._swap(key, stored, head, now)
                sent[position] = version
                new = given._replace(
                    position=position,
                    agent=old.row.agent,
                    ends_with_session=old.row.ends_with_session,
                    created_at=old.row.created_at if replacement.keeps_time else given.created_at,
                    metadata=old.row.metadata if replacement.keeps_metadata else given.metadata,
                    id_digest=old.id_digest,
                )
                inner = replacement._replace(
                    id_digest=self._cipher.digest(key, head, position),
                    row=self._cipher.sealed(key, head, position, version, new),
                    agent=None,
                    keeps_time=False,
                    keeps_metadata=False,
                    title=self._cipher.title(key, replacement.title),
                    token=self._cipher.token(replacement.token, position, version),
                )
                yield from self._inner.replace(self._key(key), inner, now)
                head = head._replace(titles=settled.titles)
            if version in head.accepted(position):  # else another writer has replaced the message since
                head = head._replace(versions={**head.versions, position: (version,)})
                stored = yield from self._swap(key, stored, head, now)
            replaced.append(new._replace(words=None, vector=None, id_digest=None))
        return replaced

    @as_inner
    def identify(self, key: SessionKey, rows: Sequence[MessageRow]) -> Program[None]:
        yield from self._inner.identify(self._key(key), rows[:0])

    def discard(self, key: SessionKey, positions: Sequence[int], now: float) -> Program[None]:
        """Remove messages from the head, before they are deleted."""
        if positions:
            yield from self._change_head(key, lambda head: head.minus(positions).settled(surely=self._whole), now)

    def _log(self, key: SessionKey, now: float) -> Program[_Log]:
        """Read and check all messages of a session."""
        stored = yield from self._inner.head(self._key(key), now)
        head = self._cipher.head(key, stored)
        rows: list[MessageRow] = []
        while True:
            after = rows[-1].position if rows else -1
            page = yield from self._inner.page(self._key(key), None, after, _PAGE, now)
            # Another writer may have added messages since the head was read. If it matters, the head cannot be replaced.
            known = [row for row in page if row.position < head.next_position]
            rows += known
            if len(page) < _PAGE or len(known) < len(page):
                break
        kept = [row for row in rows if not is_deleted(head, row.position)]
        check_newest(key, head, None, None, kept)
        left = [self._cipher.digest(key, head, row.position) for row in rows if is_deleted(head, row.position)]
        return _Log(head, stored, [self._cipher.plain(key, head, row) for row in kept], left)

    def _change_head(self, key: SessionKey, change: Any, now: float = 0.0) -> Program[bool]:
        """Change the head. Return false if there is none."""
        stored = yield from self._inner.head(self._key(key), now)
        if stored.value is None:
            return False
        yield from self._swap(key, stored, change(self._cipher.head(key, stored)), now)
        return True

    def _swap(self, key: SessionKey, stored: LogHead, head: Head, now: float) -> Program[LogHead]:
        """Replace the head, and return what is stored then."""
        value = self._cipher.sealed_head(key, head)
        if not (yield from self._inner.swap_head(self._key(key), stored.value, value, now)):
            raise HeadChangedError
        return stored._replace(value=value)

    # Sessions

    @as_inner
    def sessions(
        self, tenant: str, user_id: str | Omitted | None, limit: int | None, offset: int, now: float
    ) -> Program[list[SessionRow]]:
        rows = yield from self._inner.sessions(tenant, self._user(user_id), limit, offset, now)
        return [self._cipher.plain_session(row) for row in rows]

    @as_inner
    def users(self, tenant: str, now: float) -> Program[list[str]]:
        return [self._ring.plain_id("user", one) for one in (yield from self._inner.users(tenant, now))]

    @as_inner
    def session_ids(self, tenant: str, user_id: str | None, after: str | None, limit: int) -> Program[list[str]]:
        sealed = None if after is None else self._ring.id("session", after)
        ids = yield from self._inner.session_ids(tenant, self._user(user_id), sealed, limit)
        return [self._ring.plain_id("session", one) for one in ids]

    def rename(self, key: SessionKey, title: str, now: float, head: HeadSwap | None = None) -> Program[bool]:
        def begin() -> Program[bool]:
            refuse_head(head)
            change = yield from self.changing(key, now, title=title)
            sealed = self._cipher.title(key, title) or ""
            renamed = yield from self._inner.rename(self._key(key), sealed, now, change.swap)
            if renamed:
                self.keep(key, change)
            elif (yield from self._inner.head(self._key(key), now)).value != change.swap.expected:
                raise HeadChangedError
            return renamed

        # It is one conditional statement, perhaps after a read, so it needs no transaction.
        return cast("Program[bool]", StorageProgram("rename", begin, single=True))

    def changing(
        self, key: SessionKey, now: float, *, title: str | None = None, metadata: str | None = None
    ) -> Program[Change]:
        """Return the change of the head for a new title or new metadata; None: they stay."""
        known = self._known.get(key)
        self._known.discard(key)
        stored, head = known or (yield from self._state(key, now))
        following = self._cipher.with_properties(head, title, metadata)
        swap = HeadSwap(stored.value, self._cipher.sealed_head(key, following))
        return Change(swap, LogHead(stored.next_position, swap.head), following)

    def plain_session(self, row: SessionRow) -> SessionRow:
        """Decrypt a session; see `SessionCipher.plain_session`."""
        return self._cipher.plain_session(row)

    def keep(self, key: SessionKey, change: Change) -> None:
        """Remember the head of a session after its change was stored."""
        self._known.put(key, (change.stored, change.head))

    def _state(self, key: SessionKey, now: float) -> Program[tuple[LogHead, Head]]:
        """Read the head of a session."""
        stored = yield from self._inner.head(self._key(key), now)
        return stored, self._cipher.head(key, stored)

    @as_inner
    def delete(self, key: SessionKey) -> Program[bool]:
        return (yield from self._inner.delete(self._key(key)))

    @as_inner
    def sweep(self, tenant: str, now: float, limit: int) -> Program[int]:
        return (yield from self._inner.sweep(tenant, now, limit))

    # Heads are of this backend itself.

    @as_inner
    def head(self, key: SessionKey, now: float) -> Program[LogHead]:
        return (yield from self._inner.head(self._key(key), now))

    @as_inner
    def swap_head(self, key: SessionKey, expected: bytes | None, head: bytes, now: float) -> Program[bool]:
        return (yield from self._inner.swap_head(self._key(key), expected, head, now))

    # Vectors and words

    @as_inner
    def unembed(self, tenant: str, after: Any) -> Program[Any]:
        return (yield from self._inner.unembed(tenant, after))

    @storage_program
    def unembedded(
        self, tenant: str, dimensions: int | None, after: Any, limit: int, now: float
    ) -> Program[tuple[list[LoggedMessage], Any]]:
        sealed = None if dimensions is None else dimensions + OVERHEAD // width_of(1)
        found, following = yield from self._inner.unembedded(tenant, sealed, after, limit, now)
        return (yield from self.plain_messages(found, now)), following

    def plain_messages(self, found: Sequence[LoggedMessage], now: float) -> Program[list[LoggedMessage]]:
        """Decrypt messages of several sessions."""
        keys = list(dict.fromkeys(one.key for one in found))
        states = yield from together([self._inner.head(key, now) for key in keys])
        plain_keys = [self._plain_key(key) for key in keys]
        heads = {
            key: (plain, self._cipher.head(plain, state))
            for key, plain, state in zip(keys, plain_keys, states, strict=True)
        }
        messages = []
        for sealed, row in found:
            key, head = heads[sealed]
            if not is_deleted(head, row.position):
                messages.append(LoggedMessage(key, self._cipher.plain(key, head, row).row))
        return messages

    @storage_program
    def set_words(self, tenant: str, messages: Sequence[LoggedMessage]) -> Program[None]:
        yield from self._inner.set_words(tenant, (yield from self._stored(messages)))

    @storage_program
    def embed(self, tenant: str, messages: Sequence[LoggedMessage]) -> Program[int]:
        return (yield from self._inner.embed(tenant, (yield from self._stored(messages))))

    def _stored(self, messages: Sequence[LoggedMessage]) -> Program[list[LoggedMessage]]:
        """Return messages as they are stored, with encrypted words and vectors. Those that changed are left out."""
        by_user: dict[tuple[str, str | None], list[LoggedMessage]] = {}
        for one in messages:
            by_user.setdefault((one.key.tenant, one.key.user_id), []).append(one)
        found: list[LoggedMessage] = []
        for (tenant, user_id), own in by_user.items():
            addresses = [(one.key.session_id, one.row.position) for one in own]
            rows = yield from self.stored_rows(HistoryScope(tenant, user_id), addresses, 0.0)
            for key, row in own:
                known = rows.get((key.session_id, row.position))
                if known is None or known.row.body != row.body:
                    continue
                names = (*names_of(key), row.position.to_bytes(8, "big"))
                seal = self._ring.sealer.seal
                words = None if row.words is None else seal(row.words, "words", *names)
                vector = None if row.vector is None else seal(row.vector, "vector", *names)
                found.append(LoggedMessage(self._key(key), known.stored._replace(words=words, vector=vector)))
        return found
