"""The sessions of users: list, rename, end, delete."""

from __future__ import annotations

import html
import time
from datetime import datetime, timezone

from langchain_agentmem.arguments.ids import check_id, check_optional_id, check_text
from langchain_agentmem.arguments.omitted import OMITTED, Omitted, check_id_or_omitted
from langchain_agentmem.arguments.values import check_count, shown
from langchain_agentmem.backends.contract import Backend, SessionKey, SessionRow
from langchain_agentmem.compression.sessions import record_of
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.errors import InvalidTypeError
from langchain_agentmem.history.models import SessionInfo
from langchain_agentmem.programs import Program, Read, Write, arun, run


class SessionList(list[SessionInfo]):
    """A list of sessions that a notebook shows as a table."""

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(info.session_id)}</td><td style='text-align:left'>{html.escape(info.title or '')}</td>"
            f"<td>{info.message_count}</td><td>{info.created_at:%Y-%m-%d %H:%M}</td>"
            f"<td>{info.updated_at:%Y-%m-%d %H:%M}</td></tr>"
            for info in self
        )
        head = "<tr><th>session</th><th>title</th><th>messages</th><th>first</th><th>newest</th></tr>"
        return f"<table>{head}{rows}</table>"


class Sessions:
    """The sessions of one tenant. It hangs on `AgentMemory.sessions`; every method has an async twin with the prefix `a`.

    Example:
        >>> from langchain_agentmem import AgentMemory
        >>> memory = AgentMemory.from_url("sqlite:///:memory:")
        >>> memory.history("trip", user_id="alice@example.com").add_user_message("Where shall we go?")
        >>> [(info.session_id, info.title) for info in memory.sessions.list(user_id="alice@example.com")]
        [('trip', 'Where shall we go?')]
        >>> memory.close()
    """

    def __init__(self, backend: Backend, tenant: str) -> None:
        self._backend = backend
        self._tenant = tenant

    def list(
        self, *, user_id: str | Omitted | None = OMITTED, limit: int | None = None, offset: int = 0
    ) -> SessionList:
        """List sessions, the most recently used first.

        Args:
            user_id: Whose sessions; None for those without a user. Default: the sessions of all users, and those without
                a user.
            limit: The most sessions. Default: None (all).
            offset: How many sessions to skip. Default: 0.
        """
        return run(self._list(user_id, limit, offset))

    async def alist(
        self, *, user_id: str | Omitted | None = OMITTED, limit: int | None = None, offset: int = 0
    ) -> SessionList:
        """Same as `list`, but without blocking the event loop."""
        return await arun(self._list(user_id, limit, offset))

    def rename(self, session_id: str, title: str, *, user_id: str | None = None) -> bool:
        """Give a session a title.

        Args:
            session_id: Which session.
            title: The title, any text.
            user_id: Whose session. Default: None (nobody's).

        Returns:
            Whether there is such a session.
        """
        return run(self._rename(session_id, title, user_id))

    async def arename(self, session_id: str, title: str, *, user_id: str | None = None) -> bool:
        """Same as `rename`, but without blocking the event loop."""
        return await arun(self._rename(session_id, title, user_id))

    def end(self, session_id: str, *, user_id: str | None = None) -> int:
        """End a session: delete its messages that are kept for its length only (retention policy `"session"`).

        Args:
            session_id: Which session.
            user_id: Whose session. Default: None (nobody's).

        Returns:
            How many messages were deleted.
        """
        return run(self._end(session_id, user_id))

    async def aend(self, session_id: str, *, user_id: str | None = None) -> int:
        """Same as `end`, but without blocking the event loop."""
        return await arun(self._end(session_id, user_id))

    def delete(self, session_id: str, *, user_id: str | None = None) -> bool:
        """Delete a session with all its messages.

        Args:
            session_id: Which session.
            user_id: Whose session. Default: None (nobody's).

        Returns:
            Whether there was such a session.
        """
        return run(self._delete(session_id, user_id))

    async def adelete(self, session_id: str, *, user_id: str | None = None) -> bool:
        """Same as `delete`, but without blocking the event loop."""
        return await arun(self._delete(session_id, user_id))

    def _key(self, session_id: str, user_id: str | None) -> SessionKey:
        return SessionKey(self._tenant, check_optional_id("user_id", user_id), check_id("session_id", session_id))

    def _list(self, user_id: str | Omitted | None, limit: int | None, offset: int) -> Program[SessionList]:
        check_id_or_omitted("user_id", user_id)
        if limit is not None:
            limit = check_count("limit", limit)
        offset = check_count("offset", offset, least=0)
        with reading("A session"):
            rows = yield from Read(
                self._backend, self._backend.messages.sessions(self._tenant, user_id, limit, offset, time.time())
            )
        return SessionList(map(_info, rows))

    def _rename(self, session_id: str, title: str, user_id: str | None) -> Program[bool]:
        key = self._key(session_id, user_id)
        if not isinstance(title, str):
            msg = f"title must be a string, got {type(title).__name__}: {shown(title)}."
            raise InvalidTypeError(msg)
        check_text("title", title)
        renamed: bool = yield from Write(self._backend, self._backend.messages.rename(key, title, time.time()))
        return renamed

    def _end(self, session_id: str, user_id: str | None) -> Program[int]:
        deleted: int = yield from Write(self._backend, self._backend.messages.end(self._key(session_id, user_id)))
        return deleted

    def _delete(self, session_id: str, user_id: str | None) -> Program[bool]:
        deleted: bool = yield from Write(self._backend, self._backend.messages.delete(self._key(session_id, user_id)))
        return deleted


def _info(row: SessionRow) -> SessionInfo:
    with reading(f"Session {row.key.session_id!r}"):
        return SessionInfo(
            row.key.session_id,
            row.key.user_id,
            row.title,
            row.message_count,
            datetime.fromtimestamp(row.created_at, timezone.utc),
            datetime.fromtimestamp(row.updated_at, timezone.utc),
            None if row.expires_at is None else datetime.fromtimestamp(row.expires_at, timezone.utc),
            next((record.entries[0].summary for record in map(record_of, row.summaries) if record.entries), None),
        )
