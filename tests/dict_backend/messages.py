"""The message log."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from dict_backend.programs import alive, program
from langchain_agentmem.arguments.omitted import OMITTED
from langchain_agentmem.backends.contract import (
    HAS_MESSAGES,
    LIST_SUMMARY,
    UNKNOWN_MESSAGE,
    Changes,
    Ending,
    HeadChangedError,
    HeadSwap,
    LoggedMessage,
    LogHead,
    MessageRow,
    PositionTakenError,
    RecordRow,
    SessionChange,
    SessionKey,
    SessionRow,
    SessionVersion,
    StoredSummary,
    VariableRow,
)
from langchain_agentmem.backends.contract.changes import packed
from langchain_agentmem.text.vectors import width_of


@dataclass
class Session:
    created_at: float
    updated_at: float
    expires_at: float | None = None
    title: str | None = None
    title_position: int | None = None
    next_position: int = 0
    rows: dict[int, MessageRow] = field(default_factory=dict)
    summaries: dict[str, StoredSummary] = field(default_factory=dict)
    records: list[RecordRow] = field(default_factory=list)
    variables: dict[str | None, dict[str, VariableRow]] = field(default_factory=dict)
    metadata: str | None = None
    head: bytes | None = None
    timeout: float | None = None
    openings: set[int] = field(default_factory=set)
    ending: Ending = field(default_factory=lambda: Ending(False))


def replace_head(session: Session, head: HeadSwap | None) -> bool:
    if head is None:
        return True
    if session.head not in head:
        return False
    session.head = head.head
    return True


class Messages:
    def __init__(self) -> None:
        self._sessions: dict[SessionKey, Session] = {}
        self.revisions = 0

    def alive(self, key: SessionKey, now: float) -> Session | None:
        session = self._sessions.get(key)
        return session if alive(session, now) else None

    def _of(self, key: SessionKey, agent: str | None, now: float) -> list[MessageRow]:
        session = self.alive(key, now)
        rows = session.rows.values() if session else ()
        return [
            row._replace(words=None, vector=None, id_digest=None) for row in rows if agent is None or row.agent == agent
        ]

    def use(self, key: SessionKey, ttl: float | None, sliding: bool, now: float) -> Session:
        """Note the use of a session, and create it if it does not exist or has expired."""
        session = self.alive(key, now)
        if session is None:
            session = self._sessions[key] = Session(now, now)
        session.updated_at = max(session.updated_at, now)
        if ttl is not None and (session.expires_at is None or sliding):
            session.expires_at = session.updated_at + ttl
        return session

    def of(self, tenant: str) -> list[Session]:
        """All sessions of a tenant."""
        return [session for key, session in self._sessions.items() if key.tenant == tenant]

    def living(self, tenant: str, now: float) -> list[tuple[SessionKey, Session]]:
        """The sessions of a tenant that have not expired."""
        return [(key, one) for key, one in self._sessions.items() if key.tenant == tenant and alive(one, now)]

    def records(self, tenant: str, now: float | None) -> Iterable[RecordRow]:
        """Yield the records of all sessions, or with `now` of those that have not expired."""
        for key, session in self._sessions.items():
            if key.tenant == tenant and (now is None or alive(session, now)):
                yield from session.records

    def remove_records(self, tenant: str, ids: set[str]) -> None:
        """Remove records by ID."""
        for key, session in self._sessions.items():
            if key.tenant == tenant:
                session.records = [row for row in session.records if row.id not in ids]

    @program
    def head(self, key, now):
        session = self.alive(key, now)
        return LogHead(session.next_position, session.head) if session else LogHead(0, None)

    @program
    def swap_head(self, key, expected, head, now):
        session = self.alive(key, now)
        if session is None or session.head not in (expected, head):
            return False
        session.head = head
        return True

    @program
    def append(self, key, addition):
        seal, known = addition.seal, self.alive(key, addition.now)
        if seal and (known.next_position if known else 0, known.head if known else None) != (seal.first, seal.expected):
            raise HeadChangedError
        if addition.first is not None and addition.first != (known.next_position if known else 0):
            raise PositionTakenError
        session = self.use(key, addition.ttl, addition.sliding, addition.now)
        first = session.next_position
        if seal:
            session.head = seal.head
        for row in addition.rows:
            session.rows[first + row.position] = row._replace(position=first + row.position)
        session.next_position = first + len(addition.rows)
        if addition.keep is not None:
            self._trim(session, addition.agent, addition.keep)
            self._settle(session)
        for title in addition.titles or ():
            if session.title is None and first + title.position in session.rows:
                session.title, session.title_position = title.text, first + title.position
        return first

    def restore(self, key, restoration):
        session = self.alive(key, restoration.addition.now)
        if session is not None and session.rows:
            return HAS_MESSAGES
        if session is None:
            session = self._sessions[key] = Session(restoration.created_at, restoration.addition.now)
        first = yield from self.append(key, restoration.addition)
        if restoration.title is not None:
            session.title, session.title_position = restoration.title, None
        session.metadata = restoration.metadata or session.metadata
        return first

    @staticmethod
    def _trim(session: Session, agent: str | None, keep: int) -> None:
        own = [row for row in session.rows.values() if row.agent == agent]
        system = [row for row in own if row.role == "system"][-1:]
        rest = [row for row in own if row not in system]
        if len(own) > keep:
            kept = own[-keep:]
            kept = kept if not system or system[0] in kept else [*system, *(rest[1 - keep :] if keep > 1 else ())]
            for row in own:
                if row not in kept:
                    del session.rows[row.position]

    @staticmethod
    def _settle(session: Session) -> None:
        gone = session.title_position is not None and session.title_position not in session.rows
        if gone or not session.rows:
            session.title = session.title_position = None

    @program
    def window(self, key, agent, limit, now):
        rows = self._of(key, agent, now)
        newest = rows if limit is None else rows[max(0, len(rows) - limit) :]
        system = [row for row in rows if row.role == "system"][-1:]
        return [*(row for row in system if newest and row.position < newest[0].position), *newest]

    @program
    def page(self, key, agent, after, limit, now):
        return [row for row in self._of(key, agent, now) if row.position > after][:limit]

    @program
    def count(self, key, agent, now):
        return len(self._of(key, agent, now))

    def _scope(self, scope, now) -> Iterable[tuple[str, MessageRow]]:
        for key, session in self._sessions.items():
            wanted = key.session_id if scope.session_id is None else scope.session_id
            if key == SessionKey(scope.tenant, scope.user_id, wanted) and alive(session, now):
                for row in session.rows.values():
                    if scope.agent is None or row.agent == scope.agent:
                        yield key.session_id, row

    @program
    def changes(self, tenant, user_id, session_id, cursor, *, vectors):
        known = cursor or {}
        current, changed, columns = {}, [], []
        for key, session in self._sessions.items():
            if key[:2] != (tenant, user_id) or session_id not in (None, key.session_id):
                continue
            rows = list(session.rows.values())
            former, version = known.get(key.session_id, ([], None))
            grown = version is not None and rows[: len(former)] == former
            grown = grown and all(row.position >= version.next_position for row in rows[len(former) :])
            first = version.next_position if grown else 0
            self.revisions += 0 if grown else 1
            edition = version.edition if grown else self.revisions
            stored = SessionVersion(edition, session.next_position, session.expires_at)
            current[key.session_id] = rows, stored
            if stored != version:
                added = [row for row in rows if row.position >= first]
                changed.append(SessionChange(key.session_id, stored, first, len(added)))
                columns += [
                    (
                        row.position,
                        row.role,
                        row.agent,
                        row.created_at,
                        row.words,
                        row.vector if vectors else None,
                        None,
                    )
                    for row in added
                ]
        return Changes(current, changed, [one for one in known if one not in current], packed(columns))

    @program
    def rows(self, scope, positions, now):
        found = {
            (id_, row.position): row._replace(words=None, vector=None, id_digest=None)
            for id_, row in self._scope(scope, now)
        }
        return {position: found[position] for position in positions if position in found}

    @program
    def summary(self, key, agent, now):
        session = self.alive(key, now)
        return session.summaries.get(agent or "") if session else None

    @program
    def swap_summary(self, key, agent, summary, expected, now):
        session = self.alive(key, now)
        if session is None:
            return False
        stored = session.summaries.get(agent or "")
        if (stored.revision if stored else None) != expected:
            return False
        session.summaries[agent or ""] = summary
        return True

    def _delete(self, session: Session, doomed: Callable[[MessageRow], bool]) -> list[MessageRow]:
        gone = [row for row in session.rows.values() if doomed(row)]
        for row in gone:
            del session.rows[row.position]
        self._settle(session)
        return gone

    def _revise(self, session: Session, agents: Iterable[str | None], first: int) -> None:
        for name in {"", LIST_SUMMARY, *(agent or "" for agent in agents)}:
            known = session.summaries.get(name, StoredSummary("", 0))
            kept = known.covers is not None and known.covers <= first
            self.revisions += 1
            revision = -self.revisions
            session.summaries[name] = known._replace(revision=revision) if kept else StoredSummary("", revision)

    @program
    def clear(self, key, agent):
        session = self._sessions.get(key)
        if session is not None:
            gone = self._delete(session, lambda row: agent is None or row.agent == agent)
            self._revise(session, {agent, *session.summaries, *(row.agent for row in gone)}, -1)

    @program
    def end(self, key):
        if key in self._sessions:
            self._sessions[key].variables.clear()
        return self.finish(key)

    @staticmethod
    def row(key: SessionKey, session: Session) -> SessionRow:
        """Return a session as it is listed."""
        return SessionRow(
            key,
            session.title,
            len(session.rows),
            session.created_at,
            session.updated_at,
            session.expires_at,
            [one.value for name in ("", LIST_SUMMARY) if (one := session.summaries.get(name)) and one.value],
            session.metadata,
            session.head,
        )

    def open_sessions(self, tenant: str) -> list[tuple[SessionKey, Session]]:
        """Return the sessions with openings."""
        return [(key, one) for key, one in self._sessions.items() if key.tenant == tenant and one.openings]

    def drop(self, key: SessionKey) -> None:
        """Delete a session."""
        self._sessions.pop(key, None)

    def finish(self, key: SessionKey) -> int:
        """Delete the messages and records that end with a session."""
        session = self._sessions.get(key)
        if session is not None:
            session.records = [row for row in session.records if not row.ends_with_session]
        gone = self._delete(session, lambda row: row.ends_with_session) if session else []
        if session and gone:
            self._revise(session, {*session.summaries, *(row.agent for row in gone)}, -1)
        return len(gone)

    @staticmethod
    def _is_unidentified(session: Session) -> bool:
        return any(row.id_digest is None for row in session.rows.values())

    @program
    def remove(self, key, removal, now):
        session = self.alive(key, now) or Session(now, now)
        if removal.before is None and self._is_unidentified(session):
            return None
        own = [row for row in session.rows.values() if removal.agent is None or row.agent == removal.agent]
        last = -1
        if removal.after is not None:
            last = max((row.position for row in own if row.id_digest == removal.after), default=UNKNOWN_MESSAGE)
            if last == UNKNOWN_MESSAGE:
                return UNKNOWN_MESSAGE
        gone = self._delete(
            session,
            lambda row: (
                row in own
                and (removal.ids is None or row.id_digest in removal.ids)
                and (removal.before is None or row.created_at < removal.before)
                and row.position > last
            ),
        )
        if gone:
            self._revise(session, (row.agent for row in gone), gone[0].position)
        return len(gone)

    def discard(self, key: SessionKey, rows: Iterable[MessageRow], now: float) -> int:
        """Delete the messages that have not changed."""
        session = self.alive(key, now)
        known = {(row.position, row.body) for row in rows}
        gone = self._delete(session, lambda row: (row.position, row.body) in known) if session else []
        if session and gone:
            self._revise(session, (row.agent for row in gone), gone[0].position)
        return len(gone)

    @program
    def replace(self, key, replacement, now):
        session = self.alive(key, now) or Session(now, now)
        if self._is_unidentified(session):
            return None
        replaced = []
        for old in [*session.rows.values()]:
            if old.id_digest == replacement.id_digest and replacement.agent in (None, old.agent):
                row = replacement.row._replace(
                    position=old.position,
                    agent=old.agent,
                    ends_with_session=old.ends_with_session,
                    created_at=old.created_at if replacement.keeps_time else replacement.row.created_at,
                    metadata=old.metadata if replacement.keeps_metadata else replacement.row.metadata,
                    id_digest=old.id_digest,
                )
                session.rows[old.position] = row
                replaced.append(row._replace(words=None, vector=None, id_digest=None))
        positions = [row.position for row in replaced]
        if replaced and (session.title_position in positions or session.title is None):
            session.title = replacement.title
            session.title_position = replacement.title and (
                positions[0] if session.title_position is None else session.title_position
            )
        if replaced:
            self._revise(session, (row.agent for row in replaced), positions[0])
        return replaced

    @program
    def identify(self, key, rows):
        session = self._sessions.get(key)
        for row in rows:
            known = session.rows.get(row.position) if session else None
            if known and known.id_digest is None and known.body == row.body:
                session.rows[row.position] = known._replace(id_digest=row.id_digest)

    @program
    def sessions(self, tenant, user_id, limit, offset, now):
        listed = [
            self.row(key, session)
            for key, session in self._sessions.items()
            if key.tenant == tenant and user_id in (OMITTED, key.user_id) and alive(session, now)
        ]
        listed.sort(key=lambda row: row.updated_at, reverse=True)
        return listed[offset : None if limit is None else offset + limit]

    @program
    def users(self, tenant, now):
        return list(
            {
                key.user_id
                for key, one in self._sessions.items()
                if key.tenant == tenant and key.user_id and alive(one, now)
            }
        )

    @program
    def session_ids(self, tenant, user_id, after, limit):
        ids = [key.session_id for key in self._sessions if key[:2] == (tenant, user_id)]
        return sorted(one for one in ids if one > (after or ""))[:limit]

    @program
    def rename(self, key, title, now, head=None):
        session = self.alive(key, now)
        if session is not None and not replace_head(session, head):
            return False
        if session is not None:
            session.title, session.title_position = title, None
        return session is not None

    @program
    def delete(self, key):
        return self._sessions.pop(key, None) is not None

    @program
    def sweep(self, tenant, now, limit):
        expired = [key for key, session in self._sessions.items() if key.tenant == tenant and not alive(session, now)]
        for key in expired[:limit]:
            del self._sessions[key]
        return len(expired[:limit])

    @program
    def unembed(self, tenant, after):
        for key, session in self._sessions.items():
            if key.tenant == tenant:
                session.rows = {at: row._replace(vector=None) for at, row in session.rows.items()}

    @program
    def unembedded(self, tenant, dimensions, after, limit, now):
        found = [
            LoggedMessage(key, row)
            for key, session in self._sessions.items()
            if key.tenant == tenant and alive(session, now)
            for row in session.rows.values()
            if row.vector is None or len(row.vector) != width_of(dimensions)
        ]
        start = after or 0
        return found[start : start + limit], None

    @program
    def set_words(self, tenant, messages):
        for key, row in messages:
            session = self._sessions.get(key)
            if session and row.position in session.rows and session.rows[row.position].body == row.body:
                session.rows[row.position] = session.rows[row.position]._replace(words=row.words)

    @program
    def embed(self, tenant, messages):
        done = 0
        for key, row in messages:
            session = self._sessions.get(key)
            if session and row.position in session.rows and session.rows[row.position].body == row.body:
                session.rows[row.position] = session.rows[row.position]._replace(vector=row.vector)
                done += 1
        return done
