"""What other packages wrote: conversations, items and memories, as their own classes store them."""

from __future__ import annotations

import json
import uuid
import warnings
from pathlib import Path
from typing import Any

import psycopg
import redis
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    message_to_dict,
    messages_to_dict,
)
from langchain_postgres import PostgresChatMessageHistory

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # langchain-community announces its end
    from langchain_community.chat_message_histories import (
        FileChatMessageHistory,
        RedisChatMessageHistory,
        SQLChatMessageHistory,
    )
    from langchain_community.chat_message_histories import PostgresChatMessageHistory as CommunityHistory

FOLDER = Path(__file__).parent
GET_ALL, HISTORY = FOLDER / "mem0_get_all.json", FOLDER / "mem0_history.json"
"""Written by mem0ai 2.2.1: `Memory.get_all` of a user, and `Memory.history` of a memory."""


def conversation(name: str = "a", turns: int = 1) -> list[BaseMessage]:
    """Messages of several kinds: with IDs and without, with tool calls, blocks and times of their own."""
    messages: list[BaseMessage] = [SystemMessage(f"Be brief, {name}.")]
    for turn in range(turns):
        calls = [{"id": f"call-{turn}", "name": "search", "args": {"query": "Malta"}, "type": "tool_call"}]
        messages += [
            HumanMessage(
                f"{name}: where shall we go? ({turn})", additional_kwargs={"created_at": "2024-05-17T12:00:00Z"}
            ),
            AIMessage("", id=f"run-{name}-{turn}", tool_calls=calls, usage_metadata=None),
            ToolMessage("Sunny", tool_call_id=f"call-{turn}", artifact={"degrees": 31}),
            AIMessage([{"type": "text", "text": "To Malta. 🏝\u00e9"}], response_metadata={"model_name": "m"}),
        ]
    return messages


def plain(messages: list[BaseMessage]) -> list[dict[str, Any]]:
    """The messages without their IDs, which an import gives to those that have none."""
    return [{**message_to_dict(one)["data"], "id": None, "type": one.type} for one in messages]


# Each source of several sessions holds these.
SESSIONS = {"session-1": conversation("a", 2), "x:*/'\"é": conversation("b"), "session-10": [HumanMessage("Only one")]}


def sql_histories(path: Path, table: str = "message_store") -> str:
    """A SQLite file with the table of SQLChatMessageHistory; return its URL."""
    url = f"sqlite:///{path}"
    for session, messages in SESSIONS.items():
        sql_history(url, session, table).add_messages(messages)
    return url


def sql_history(url: str, session: str, table: str = "message_store") -> SQLChatMessageHistory:
    return SQLChatMessageHistory(session, table, connection=url)


def postgres_histories(url: str, table: str = "Chats") -> list[str]:
    """The table of PostgresChatMessageHistory; return the sessions, which are UUIDs, in the order of `SESSIONS`."""
    sessions = [str(uuid.uuid5(uuid.NAMESPACE_URL, name)) for name in SESSIONS]
    with psycopg.connect(url) as connection:
        PostgresChatMessageHistory.create_tables(connection, table)
        for session, messages in zip(sessions, SESSIONS.values(), strict=True):
            PostgresChatMessageHistory(table, session, sync_connection=connection).add_messages(messages)
        connection.execute(
            f"UPDATE \"{table}\" SET created_at = timestamptz '2024-05-17 12:00Z' + id * interval '1 min'"
        )
    return sessions


def community_history(url: str, session: str, table: str) -> CommunityHistory:
    """The class in langchain-community, which announces that it was replaced by that in langchain-postgres."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        return CommunityHistory(session, url, table)


def redis_histories(url: str, prefix: str = "message_store:", ttl: int | None = None) -> None:
    for session, messages in SESSIONS.items():
        RedisChatMessageHistory(session, url, prefix, ttl).add_messages(messages)


def redis_strings(url: str) -> None:
    """Conversations as guide 003 keeps them, and a profile."""
    with redis.Redis.from_url(url) as client:
        for session, messages in SESSIONS.items():
            client.set(f"memory:{session}", json.dumps(messages_to_dict(messages)), ex=86400 * 7)
        profile = {"user_id": "alice@example.com", "name": "Alice", "preferences": {"language": "Greek"}}
        more = {"facts": ["Lives in Athens", "Is allergic to peanuts"], "last_interaction": None}
        client.set("user_profile:alice@example.com", json.dumps({**profile, **more}))


def file_history(path: Path) -> FileChatMessageHistory:
    history = FileChatMessageHistory(str(path))
    history.add_messages(SESSIONS["session-1"])
    return history
