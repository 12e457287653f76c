"""The commands that show what a memory contains: stats, users, sessions, show, search and threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from langchain_agentmem.arguments.omitted import OMITTED, Omitted
from langchain_agentmem.command.invocation import Invocation, OperationFailedError, operation
from langchain_agentmem.command.output import Column, one_line
from langchain_agentmem.errors import InvalidInputError

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from langchain_agentmem.history.models import SessionInfo
    from langchain_agentmem.memory import AgentMemory
    from langchain_agentmem.messages.models import StoredMessage

User = Annotated[str | None, typer.Option("--user", metavar="ID", help="Only what belongs to this user.")]
NoUser = Annotated[bool, typer.Option("--no-user", metavar="", help="Only what belongs to no user.")]
Limit = Annotated[int | None, typer.Option("--limit", "-n", metavar="N", min=1, help="At most N results.")]

_TEXT_SHOWN = 500
"""The number of characters of a found message that a table or a line shows. JSON has the whole text."""


@operation("agentmem stats", "agentmem stats --url postgresql://user@host/app --json")
def stats(call: Invocation) -> None:
    """Count what the memory contains and what expires."""
    from langchain_agentmem.lifecycle.statistics import readable_size

    with call.memory() as memory:
        found = memory.stats()
    size = None if found.bytes is None else readable_size(found.bytes)
    values: list[tuple[str, Any]] = [("backend", found.backend), ("tenant", found.tenant), ("size", size)]
    values += [("users", found.users), ("agents", found.agents)]
    values += [(name.replace("_", " "), number) for name, number in found.entries.items()]
    for kind, periods in found.expiries.items():
        soon = [(f"{kind.replace('_', ' ')} that expire: {period}", number) for period, number in periods.items()]
        values += [(name, number) for name, number in soon if number and not name.endswith("never")]
    call.output.document(found.as_dict(), values)


@operation("agentmem users", "agentmem users --limit 20", "agentmem users | wc -l")
def users(call: Invocation, limit: Limit = None) -> None:
    """List the IDs of users."""
    with call.memory() as memory:
        found = memory.users(limit=limit)
    records = ({"user_id": user} for user in found)
    call.output.rows([Column("user_id", "user")], records, empty="There are no users.")


@operation("agentmem sessions", "agentmem sessions --user alice@example.com", "agentmem sessions --limit 10 --json")
def sessions(call: Invocation, user: User = None, no_user: NoUser = False, limit: Limit = None) -> None:
    """List sessions, the most recently used first."""
    with call.memory() as memory:
        found = memory.sessions.list(user_id=user_of(user, no_user), limit=limit)
    columns = [
        Column("session_id", "session"),
        Column("user_id", "user"),
        Column("message_count", "messages", is_number=True),
        Column("updated_at", "last used", least_width=50),
        Column("title", "title", least_width=70),
    ]
    call.output.rows(columns, map(_session, found), empty="There are no sessions.")


@operation(
    "agentmem show trip --user alice@example.com",
    "agentmem show trip --user alice@example.com --limit 20 --json",
    "agentmem show --thread thread-1",
    "agentmem show -- -x        (an ID that begins with a dash)",
)
def show(
    call: Invocation,
    session: Annotated[str | None, typer.Argument(metavar="[SESSION]", help="The session.")] = None,
    user: Annotated[
        str | None,
        typer.Option(metavar="ID", help="The user of the session. By default, that of the only session with this ID."),
    ] = None,
    no_user: Annotated[bool, typer.Option("--no-user", metavar="", help="The session of no user.")] = False,
    agent: Annotated[str | None, typer.Option(metavar="NAME", help="Only the messages of this agent.")] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", metavar="N", min=1, help="Only the newest N messages.")
    ] = None,
    thread: Annotated[
        str | None,
        typer.Option(metavar="ID", help="A thread instead of a session: the state in its newest checkpoint."),
    ] = None,
) -> None:
    """Show the messages of a session, or the state of a thread."""
    if (session is None) == (thread is None):
        msg = "Name a session, or a thread with --thread ID: one of them."
        raise InvalidInputError(msg)
    with call.memory() as memory:
        if session is None:
            _show_thread(call, memory, str(thread), limit)
            return
        info = _found_session(memory, session, user_of(user, no_user))
        history = memory.history(info.session_id, user_id=info.user_id, agent=agent)
        messages = history.stored(limit)
        if agent is not None and not messages:
            msg = f"Session {session!r} has no messages of agent {agent!r}."
            raise OperationFailedError(msg)
    if not call.output.as_json:
        owner = "no user" if info.user_id is None else info.user_id
        call.output.say(f"Session {info.session_id} of {owner}: {one_line(info.title or '', 200)}".rstrip(": "), "bold")
    for one in messages:
        if call.output.as_json:
            call.output.rows([], [_message(one)])
        else:
            by = one.agent or one.message.name
            heading = f"{one.role}{f' ({by})' if by else ''}, {one.created_at.astimezone():%Y-%m-%d %H:%M}"
            _say_message(call, heading, one.message)


@operation(
    'agentmem search "where does she live" --user alice@example.com',
    "agentmem search hotel --user alice@example.com --session trip --limit 3 --json",
)
def search(
    call: Invocation,
    query: Annotated[str, typer.Argument(help="The words to search for.")],
    user: Annotated[
        str | None, typer.Option(metavar="ID", help="The user. By default, sessions of no user are searched.")
    ] = None,
    session: Annotated[str | None, typer.Option(metavar="ID", help="Only this session.")] = None,
    agent: Annotated[str | None, typer.Option(metavar="NAME", help="Only the messages of this agent.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="At most N results.")] = 10,
) -> None:
    """Search the messages of a user, the best match first.

    By words, and by meaning if AGENTMEM_EMBEDDINGS names a model.
    """
    if not query.strip():
        msg = "The query is empty. Pass the words to search for."
        raise InvalidInputError(msg)
    with call.memory() as memory:
        found = memory.search_history(query, limit, user_id=user, session_id=session, agent=agent)
    if not found and user is None:
        call.output.note("Nothing was found in sessions of no user. Pass --user ID to search those of a user.")
    records = ({**_message(one), "score": one.score} for one in found)
    if not call.output.as_json:
        records = (
            {**one, "text": one_line(one["text"] or calls, _TEXT_SHOWN)}
            for one, calls in zip(records, [_calls(hit.message) for hit in found], strict=True)
        )
    columns = [
        Column("score", "score", is_number=True, least_width=50),
        Column("session_id", "session"),
        Column("position", "position", is_number=True, least_width=70),
        Column("role", "role", least_width=60),
        Column("text", "text"),
    ]
    call.output.rows(columns, records, empty="" if user is None else "Nothing was found.")


@operation("agentmem threads", "agentmem threads --user alice@example.com --json")
def threads(call: Invocation, user: User = None, no_user: NoUser = False, limit: Limit = None) -> None:
    """List threads, the most recently used first."""
    with call.memory() as memory:
        found = memory.checkpointer.threads(user_id=user_of(user, no_user), limit=limit)
    records = (
        {
            "thread_id": one.thread_id,
            "user_id": one.user_id,
            "checkpoint_count": one.checkpoint_count,
            "created_at": one.created_at,
            "updated_at": one.updated_at,
            "expires_at": one.expires_at,
            "users": one.users,
        }
        for one in found
    )
    columns = [
        Column("thread_id", "thread"),
        Column("user_id", "last user"),
        Column("checkpoint_count", "checkpoints", is_number=True),
        Column("updated_at", "last used", least_width=50),
    ]
    call.output.rows(columns, records, empty="There are no threads.")


def user_of(user: str | None, no_user: bool) -> str | Omitted | None:
    """Return the user that two options name: an ID, None for no user, or `OMITTED` for all users.

    Args:
        user: The value of `--user`.
        no_user: The flag `--no-user`.

    Raises:
        InvalidInputError: Both are given.
    """
    if user is not None and no_user:
        msg = "--user and --no-user exclude each other."
        raise InvalidInputError(msg)
    return None if no_user else OMITTED if user is None else user


def _found_session(memory: AgentMemory, session: str, user: str | Omitted | None) -> SessionInfo:
    """Return a session; with the user omitted, the one session that has this ID."""
    if user is OMITTED:
        others = [one for one in memory.sessions.list() if one.session_id == session]
        if len(others) > 1:
            names = ", ".join(sorted(one.user_id or "no user (--no-user)" for one in others)[:5])
            msg = (
                f"{len(others)} sessions have the ID {session!r}, of {names}{' …' if len(others) > 5 else ''}. Pass --user "
                f"or --no-user."
            )
            raise InvalidInputError(msg)
        found = others[0] if others else None
    else:
        found = memory.sessions.get(session, user_id=user)
    if found is None:
        whose = "" if user is OMITTED else " of no user" if user is None else f" of {user!r}"
        msg = f"There is no session {session!r}{whose}. agentmem sessions lists them."
        raise OperationFailedError(msg)
    return found


def _show_thread(call: Invocation, memory: AgentMemory, thread: str, limit: int | None) -> None:
    found = memory.checkpointer.get_tuple({"configurable": {"thread_id": thread}})
    if found is None:
        raise no_thread(thread)
    checkpoint, values = found.checkpoint, dict(found.checkpoint["channel_values"])
    messages = values.pop("messages", [])
    messages = messages if isinstance(messages, list) else [messages]
    messages = messages if limit is None else messages[-limit:]
    if call.output.as_json:
        record = {
            "thread_id": thread,
            "checkpoint_id": checkpoint["id"],
            "created_at": checkpoint["ts"],
            "metadata": found.metadata,
            "messages": [_as_dict(one) for one in messages],
            "values": values,
        }
        call.output.document(record)
        return
    call.output.say(f"Thread {thread}: checkpoint {checkpoint['id']} of {checkpoint['ts']}", "bold")
    for one in messages:
        _say_message(call, str(getattr(one, "type", "message")), one)
    for name, value in values.items():
        call.output.say(f"\n{name}:", "bold")
        call.output.say(str(value))


def no_thread(thread: str) -> OperationFailedError:
    """Return the error for a thread that does not exist.

    Args:
        thread: The ID.
    """
    return OperationFailedError(f"There is no thread {thread!r}. agentmem threads lists them.")


def _say_message(call: Invocation, heading: str, message: BaseMessage) -> None:
    call.output.say(f"\n{heading}", "bold")
    text = str(getattr(message, "text", message))
    if text:
        call.output.say(text)
    if calls := _calls(message):
        call.output.say(calls, "dim")


def _calls(message: Any) -> str:
    """Return the tool calls of a message as text."""
    return "\n".join(f"calls {made['name']}({made['args']})" for made in getattr(message, "tool_calls", ()))


def _session(info: SessionInfo) -> dict[str, Any]:
    names = ("session_id", "user_id", "title", "message_count", "created_at", "updated_at", "expires_at", "metadata")
    return {name: getattr(info, name) for name in names}


def _message(stored: StoredMessage) -> dict[str, Any]:
    names = ("session_id", "user_id", "position", "created_at", "agent", "role")
    own = {name: getattr(stored, name) for name in names}
    return {**own, "text": str(stored.message.text), "message": _as_dict(stored.message), "metadata": stored.metadata}


def _as_dict(message: Any) -> Any:
    from langchain_core.messages import BaseMessage, message_to_dict

    return message_to_dict(message) if isinstance(message, BaseMessage) else message
