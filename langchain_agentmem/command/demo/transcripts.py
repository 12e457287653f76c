"""The role/content layout: a list of messages, or objects with such a list, a title, IDs and questions."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import BaseMessage, convert_to_messages

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.command.demo.lessons import read_lessons
from langchain_agentmem.command.demo.recordings import DEFAULT_USER, Recording, check_storable, expect, texts
from langchain_agentmem.command.demo.turns import Utterance
from langchain_agentmem.errors import InvalidInputError

_ROLES = ("user", "human", "assistant", "ai", "system", "developer", "tool")


def read_session(entry: Any, prefix: str, default: str) -> Recording:
    """Read one session.

    Args:
        entry: An object with `"messages"`, and optionally `"title"`, `"session_id"`, `"user_id"` and `"ask"`.
        prefix: The session's location in the file, for errors.
        default: The title of a session that has none.

    Raises:
        InvalidInputError: A value cannot be played.
        InvalidTypeError: A value has the wrong type.
    """
    where = prefix.rstrip("., ")
    expect(entry, dict, 'every entry must be an object with "messages"', where)
    for key in ("title", "session_id", "user_id"):
        expect(entry.get(key, ""), str, f"{key} must be a string", where)
        check_storable(entry.get(key, ""), where)
    messages = expect(entry.get("messages"), list, '"messages" must be a list', where)
    if not messages:
        msg = f"{where}: the conversation is empty: it has no messages."
        raise InvalidInputError(msg)
    title = entry.get("title") or default
    return Recording(
        entry.get("session_id") or title[:200],
        entry.get("user_id") or DEFAULT_USER,
        title,
        read_messages(messages, f"{prefix}messages"),
        texts(entry, "ask", where),
    )


def read_messages(entries: list[Any], prefix: str) -> list[Utterance]:
    """Read the messages of one session.

    Args:
        entries: Objects with `"role"` and `"content"`, and optionally `"facts"` and `"learn"`.
        prefix: The list's location in the file, for errors.

    Raises:
        InvalidInputError: A message is invalid.
        InvalidTypeError: A value has the wrong type.

    Example:
        >>> from langchain_agentmem.command.demo.transcripts import read_messages
        >>> [hello] = read_messages([{"role": "user", "content": "Hi, I'm Bo", "facts": ["He is Bo"]}], "file, ")
        >>> hello.message.type, hello.facts
        ('human', ('He is Bo',))
    """
    called: set[str] = set()
    utterances = []
    for at, entry in enumerate(entries):
        where = f"{prefix}[{at}]"
        expect(entry, dict, "a message must be an object with role and content", where)
        message = _read_message({key: value for key, value in entry.items() if key not in ("facts", "learn")}, where)
        called.update(call["id"] for call in getattr(message, "tool_calls", ()) if call["id"])
        if message.type == "tool" and entry["tool_call_id"] not in called:
            msg = f"{where}: a tool result with no call: no message before it calls a tool as {shown(entry['tool_call_id'])}."
            raise InvalidInputError(msg)
        utterances.append(Utterance(message, texts(entry, "facts", where), read_lessons(entry, where)))
    return utterances


def _read_message(entry: dict[str, Any], where: str) -> BaseMessage:
    _check_message(entry, where)
    try:
        (message,) = convert_to_messages([{**entry, "content": entry.get("content") or ""}])
    except Exception as error:  # LangChain's checks raise errors of many types: KeyError, ValidationError …
        reason = " ".join(str(error).split())
        msg = f"{where}: the message is not accepted ({type(error).__name__}: {reason:.200})."
        raise InvalidInputError(msg) from None
    return message


def _check_message(entry: dict[str, Any], where: str) -> None:
    check_storable(entry, where)
    role = entry.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        problem = "has no role" if role is None else f"has the unknown role {shown(role, 40)}"
        msg = f"{where}: the message {problem}: use user, assistant, system or tool."
        raise InvalidInputError(msg)
    calls = entry.get("tool_calls")
    if entry.get("content") is None and not (role in ("assistant", "ai") and calls):
        msg = f"{where}: the message has no content."
        raise InvalidInputError(msg)
    content: Any = entry.get("content") or ""
    expect(content, (str, list), "content must be a string or a list of blocks", where)
    for at, block in enumerate(content if isinstance(content, list) else ()):
        expect(block, (str, dict), "a block must be a string or an object", f"{where}.content[{at}]")
    expect(entry.get("name", ""), str, "name must be a string", where)
    for at, call in enumerate(expect([] if calls is None else calls, list, "tool_calls must be a list", where)):
        expect(call, dict, "a tool call must be an object with name, args and id", f"{where}.tool_calls[{at}]")
    if role == "tool":
        expect(entry.get("tool_call_id"), str, "a tool result needs tool_call_id, a string", where)
