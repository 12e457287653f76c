"""`Sessions`: list, rename, end and delete the sessions of users."""

from __future__ import annotations

from datetime import UTC, datetime

from langchain_agentmem.arguments.ids import check_id, check_optional_id, check_text
from langchain_agentmem.arguments.omitted import OMITTED, Omitted, check_id_or_omitted
from langchain_agentmem.arguments.values import check_count, shown
from langchain_agentmem.backends.contract import SessionKey, SessionRow
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.encoding.json_values import load_json
from langchain_agentmem.errors import AgentMemError, InvalidTypeError
from langchain_agentmem.history.engine import HistoryEngine
from langchain_agentmem.history.models import SessionInfo
from langchain_agentmem.programs import Program, arun, run
from langchain_agentmem.text.tables import html_table

_ROWS_SHOWN = 20


class SessionList(list[SessionInfo]):
    """A list of sessions. A notebook shows it as a table."""

    def _repr_html_(self) -> str:
        return self.table(None, len(self))

    def table(self, caption: str | None, most: int) -> str:
        """Return an HTML table of the first sessions.

        Args:
            caption: The caption; None for none.
            most: The maximum number of sessions.
        """
        has_several_users = len({info.user_id for info in self}) > 1
        header = ("session", *(("user",) if has_several_users else ()), "title", "messages", "first", "newest")
        rows = []
        for info in self[:most]:
            user = (info.user_id,) if has_several_users else ()
            times = info.created_at, info.updated_at
            rows.append((info.session_id, *user, info.title, info.message_count, *times))
        return html_table(rows, header=header, caption=caption)


class Sessions:
    """The sessions of one tenant, as `AgentMemory.sessions`. Every method has an async twin with the prefix `a`.

    Args:
        engine: The engine of the history.

    Example:
        >>> from langchain_agentmem import AgentMemory
        >>> memory = AgentMemory.from_url("sqlite:///:memory:")
        >>> memory.history("trip", user_id="alice@example.com").add_user_message("Where shall we go?")
        >>> [(info.session_id, info.title) for info in memory.sessions.list(user_id="alice@example.com")]
        [('trip', 'Where shall we go?')]
        >>> memory.close()
    """

    def __init__(self, engine: HistoryEngine) -> None:
        self._engine = engine

    def list(
        self, *, user_id: str | Omitted | None = OMITTED, limit: int | None = None, offset: int = 0
    ) -> SessionList:
        """List sessions, the most recently used first.

        Args:
            user_id: The user; None for the sessions without a user. Default: the sessions of all users, and those without
                a user.
            limit: The maximum number of sessions. Default: None (all).
            offset: The number of sessions to skip. Default: 0.
        """
        return run(listed_sessions(self._engine, user_id, limit, offset))

    async def alist(
        self, *, user_id: str | Omitted | None = OMITTED, limit: int | None = None, offset: int = 0
    ) -> SessionList:
        """Same as `list`, but without blocking the event loop."""
        return await arun(listed_sessions(self._engine, user_id, limit, offset))

    def get(self, session_id: str, *, user_id: str | None = None) -> SessionInfo | None:
        """Return one session, or None if it does not exist.

        Args:
            session_id: The session.
            user_id: The user of the session. Default: None (nobody).

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     with memory.session("campaign-1", metadata={"channel": "email"}):
            ...         memory.sessions.get("campaign-1").metadata, memory.sessions.get("campaign-2")
            ({'channel': 'email'}, None)
        """
        return run(self._get(session_id, user_id))

    async def aget(self, session_id: str, *, user_id: str | None = None) -> SessionInfo | None:
        """Same as `get`, but without blocking the event loop."""
        return await arun(self._get(session_id, user_id))

    def rename(self, session_id: str, title: str, *, user_id: str | None = None) -> bool:
        """Set the title of a session.

        Args:
            session_id: The session.
            title: The title, any text.
            user_id: The user of the session. Default: None (nobody).

        Returns:
            True if the session exists.
        """
        return run(self._rename(session_id, title, user_id))

    async def arename(self, session_id: str, title: str, *, user_id: str | None = None) -> bool:
        """Same as `rename`, but without blocking the event loop."""
        return await arun(self._rename(session_id, title, user_id))

    def end(self, session_id: str, *, user_id: str | None = None) -> int:
        """End a session: delete its variables, and the messages and records of the retention policy `"session"`.

        Args:
            session_id: The session.
            user_id: The user of the session. Default: None (nobody).

        Returns:
            The number of deleted messages.
        """
        return run(self._engine.end(self._key(session_id, user_id)))

    async def aend(self, session_id: str, *, user_id: str | None = None) -> int:
        """Same as `end`, but without blocking the event loop."""
        return await arun(self._engine.end(self._key(session_id, user_id)))

    def delete(self, session_id: str, *, user_id: str | None = None) -> bool:
        """Delete a session with all its messages.

        Args:
            session_id: The session.
            user_id: The user of the session. Default: None (nobody).

        Returns:
            True if the session existed.
        """
        return run(self._engine.delete(self._key(session_id, user_id)))

    async def adelete(self, session_id: str, *, user_id: str | None = None) -> bool:
        """Same as `delete`, but without blocking the event loop."""
        return await arun(self._engine.delete(self._key(session_id, user_id)))

    def __repr__(self) -> str:
        return f"Sessions({self._engine.backend!r}, tenant={self._engine.tenant!r})"

    def _repr_html_(self) -> str:
        try:
            newest = self.list(limit=_ROWS_SHOWN + 1)
            caption = None if len(newest) <= _ROWS_SHOWN else f"The {_ROWS_SHOWN} most recently used sessions"
            return newest.table(caption, _ROWS_SHOWN)
        except AgentMemError as error:  # of a closed memory, the caption shows the error
            return html_table([], caption=f"Sessions: {error}")

    def _key(self, session_id: str, user_id: str | None) -> SessionKey:
        return self._engine.key(check_id("session_id", session_id), check_optional_id("user_id", user_id))

    def _get(self, session_id: str, user_id: str | None) -> Program[SessionInfo | None]:
        row = yield from self._engine.session(self._key(session_id, user_id))
        return None if row is None else _info(row)

    def _rename(self, session_id: str, title: str, user_id: str | None) -> Program[bool]:
        key = self._key(session_id, user_id)
        if not isinstance(title, str):
            msg = f"title must be a string, got {type(title).__name__}: {shown(title)}."
            raise InvalidTypeError(msg)
        check_text("title", title)
        return self._engine.rename(key, title)


def listed_sessions(
    engine: HistoryEngine, user_id: str | Omitted | None, limit: int | None, offset: int
) -> Program[SessionList]:
    """List sessions, the most recently used first; see `Sessions.list`."""
    check_id_or_omitted("user_id", user_id)
    if limit is not None:
        limit = check_count("limit", limit)
    offset = check_count("offset", offset, least=0)
    return SessionList(map(_info, (yield from engine.sessions(user_id, limit, offset))))


def _info(row: SessionRow) -> SessionInfo:
    from langchain_agentmem.compression.storage import record_of

    with reading(f"Session {row.key.session_id!r}"):
        return SessionInfo(
            row.key.session_id,
            row.key.user_id,
            row.title,
            row.message_count,
            datetime.fromtimestamp(row.created_at, UTC),
            datetime.fromtimestamp(row.updated_at, UTC),
            None if row.expires_at is None else datetime.fromtimestamp(row.expires_at, UTC),
            next((record.entries[0].summary for record in map(record_of, row.summaries) if record.entries), None),
            {} if row.metadata is None else load_json(row.metadata),
        )
