"""The resources of the MCP server: the profile, the list of sessions, and the newest messages of each session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, unquote

import mcp_types as types
from mcp.shared.exceptions import MCPError

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidInputError
from langchain_agentmem.history.models import SessionInfo
from langchain_agentmem.knowledge.facts.schema import Schema
from langchain_agentmem.messages.models import StoredMessage
from langchain_agentmem.prompting.recall.text import clipped
from langchain_agentmem.serving.mcp.callers import Caller, told
from langchain_agentmem.serving.mcp.tools import ABOUT, profile_of
from langchain_agentmem.text.escapes import visible
from langchain_agentmem.text.quoting import unmarked_json

PROFILE = "agentmem://profile"
SESSIONS = "agentmem://sessions"

LISTED = 50
"""The number of sessions on a page of the list."""

MESSAGES = 50
"""The maximum number of messages of a session."""

_JSON = "application/json"
_LONGEST_TITLE = 80
_LONGEST_CURSOR = 9


class Resources:
    """The resources of a server.

    Args:
        schema: The schema of the profile.
        max_tokens: The maximum number of tokens of a profile.
    """

    templates = (
        types.ResourceTemplate(
            uri_template=f"{SESSIONS}/{{session_id}}",
            name="session",
            title="Session",
            description=f"The newest {MESSAGES} messages of a session of the user. The ID is percent-encoded.",
            mime_type=_JSON,
        ),
    )

    def __init__(self, schema: Schema, max_tokens: int) -> None:
        self._schema = schema
        self._max_tokens = max_tokens

    async def listed(self, caller: Caller, cursor: str | None) -> types.ListResourcesResult:
        """List the profile, the list of sessions, and the sessions, the most recently used first.

        Args:
            caller: The user.
            cursor: The cursor of a later page; None for the first.

        Raises:
            MCPError: The cursor is not one of this server.
        """
        offset = _offset(cursor)
        with _reported(caller):
            sessions = await _sessions(caller, LISTED + 1, offset)
        fixed = (
            types.Resource(
                uri=PROFILE,
                name="profile",
                title="Profile",
                description="The profile of the user: name, preferences, and the facts that are true now.",
                mime_type=_JSON,
            ),
            types.Resource(
                uri=SESSIONS,
                name="sessions",
                title="Sessions",
                description=f"The {LISTED} most recently used sessions of the user.",
                mime_type=_JSON,
            ),
        )
        own = [
            types.Resource(
                uri=uri_of(info.session_id),
                name=visible(info.session_id),
                title=_title(info) or None,
                description=f"{info.message_count:,} messages, last used {info.updated_at:%Y-%m-%d}",
                mime_type=_JSON,
            )
            for info in sessions[:LISTED]
        ]
        more = str(offset + LISTED) if len(sessions) > LISTED else None
        return types.ListResourcesResult(resources=[*(() if offset else fixed), *own], next_cursor=more)

    async def read(self, caller: Caller, uri: str) -> types.ReadResourceResult:
        """Read a resource.

        Args:
            caller: The user.
            uri: The URI of the resource.

        Raises:
            MCPError: The user has no such resource, or it cannot be read.
        """
        with _reported(caller):
            data = await self._data(caller, uri)
        if data is None:
            message = f"There is no resource {shown(uri)}. The list of resources names those of the user."
            raise MCPError(types.INVALID_PARAMS, message)
        text = unmarked_json({"about": ABOUT, **data})
        return types.ReadResourceResult(contents=[types.TextResourceContents(uri=uri, mime_type=_JSON, text=text)])

    async def _data(self, caller: Caller, uri: str) -> dict[str, Any] | None:
        if uri == PROFILE:
            return {"profile": {}, "facts": [], **(await profile_of(caller, self._max_tokens, self._schema))}
        if uri == SESSIONS:
            return {"sessions": [_session(info) for info in await _sessions(caller, LISTED, 0)]}
        session_id = session_in(uri)
        if session_id is None:
            return None
        info = await caller.memory.sessions.aget(session_id, user_id=caller.user_id)
        if info is None:
            return None
        stored = await caller.memory.history(session_id, user_id=caller.user_id).astored(MESSAGES)
        return {**_session(info), "messages": [_message(one) for one in stored]}


def uri_of(session_id: str) -> str:
    """Return the URI of a session.

    Args:
        session_id: The session.

    Example:
        >>> from langchain_agentmem.serving.mcp.resources import session_in, uri_of
        >>> uri_of("trip/Athens ?"), session_in(uri_of("trip/Athens ?"))
        ('agentmem://sessions/trip%2FAthens%20%3F', 'trip/Athens ?')
    """
    return f"{SESSIONS}/{quote(session_id, safe='')}"


def session_in(uri: str) -> str | None:
    """Return the ID in the URI of a session; None if it is the URI of something else.

    Args:
        uri: The URI.
    """
    if not uri.startswith(f"{SESSIONS}/"):
        return None
    encoded = uri.removeprefix(f"{SESSIONS}/")
    if any(one in encoded for one in "/?#"):
        return None
    try:
        return unquote(encoded, errors="strict")
    except UnicodeDecodeError:
        return None


async def _sessions(caller: Caller, limit: int, offset: int) -> list[SessionInfo]:
    return await caller.memory.sessions.alist(user_id=caller.user_id, limit=limit, offset=offset)


@contextmanager
def _reported(caller: Caller) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the last resort: a client never sees a traceback
        code = types.INVALID_PARAMS if isinstance(error, InvalidInputError) else types.INTERNAL_ERROR
        raise MCPError(code, told(error, caller)) from None


def _offset(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) <= _LONGEST_CURSOR):
        message = f"There is no page {shown(cursor, 60)}. Send a cursor that this server returned."
        raise MCPError(types.INVALID_PARAMS, message)
    return int(cursor)


def _title(info: SessionInfo) -> str:
    return clipped(visible(" ".join((info.title or "").split())), _LONGEST_TITLE)


def _session(info: SessionInfo) -> dict[str, Any]:
    return {
        "uri": uri_of(info.session_id),
        "session_id": info.session_id,
        "title": _title(info),
        "message_count": info.message_count,
        "created_at": info.created_at.isoformat(),
        "updated_at": info.updated_at.isoformat(),
    }


def _message(stored: StoredMessage) -> dict[str, Any]:
    calls = [call["name"] for call in getattr(stored.message, "tool_calls", ())]
    return {
        "position": stored.position,
        "role": stored.role,
        "sent": stored.created_at.isoformat(),
        "text": clipped(str(stored.message.text)),
        **({"agent": stored.agent} if stored.agent else {}),
        **({"calls": calls} if calls else {}),
    }
