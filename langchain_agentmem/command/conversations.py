"""Load a conversation from a file: role/content JSON, or LoCoMo's layout.

Everything is checked here, so that whatever was loaded can be played: an error names the file and the message's place.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from langchain_core.messages import BaseMessage, convert_to_messages

from langchain_agentmem.arguments.ids import check_id, check_text
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.command.turns import Session, Utterance
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError

BUNDLED = "conversation.json"
"""The conversation that is played when no file is given; it lies next to this module."""
DEFAULT_USER = "alice@example.com"

_ROLES = ("user", "human", "assistant", "ai", "system", "developer", "tool")
_LAYOUTS = (
    'a list of {"role": …, "content": …}, an object with such a list under "messages", a list of such objects, or '
    'samples with a "conversation" in LoCoMo\'s layout'
)


@dataclass(frozen=True, slots=True)
class Recording:
    """One session as a layout's reader gives it, before it gets an id that no other session of the file has."""

    session_id: str
    user_id: str
    title: str
    utterances: list[Utterance]
    ask: tuple[str, ...] = ()


def load_conversation(path: str | Path | None = None, *, user_id: str | None = None) -> list[Session]:
    """The sessions of a conversation file.

    Accepted are a JSON list of messages (`{"role": "user", "content": "Hi", "facts": ["…"]}`), an object with such a list
    under `"messages"` (and a `"title"`, a `"session_id"`, a `"user_id"`, an `"ask"` list of questions, all optional), a
    list of such objects, and LoCoMo's layout; see `langchain_agentmem.command.locomo`.

    Args:
        path: The file. Default: None (the conversation that comes with the package).
        user_id: Who the user is. Sessions that the file gives to another user get ids of their own. Default: None (the
            file's, or `DEFAULT_USER`).

    Returns:
        The sessions, in order; at least one, and none of them empty.

    Raises:
        InvalidInputError: The file cannot be read, or says something that cannot be played.
        InvalidTypeError: Something in it has the wrong type.

    Example:
        >>> from langchain_agentmem.command.conversations import load_conversation
        >>> [session] = load_conversation()
        >>> session.title, session.user_id, len(session.messages)
        ('Alice moves to Thessaloniki', 'alice@example.com', 105)
    """
    name = str(path or BUNDLED)
    stem = Path(name).stem
    data = _parsed(name, _text(path))
    player = None if user_id is None else check_id("user_id", user_id)
    sessions = []
    taken: Counter[str] = Counter()
    for recording in _recordings(data, name, stem):
        session_id, owner = recording.session_id, recording.user_id
        if player is not None and player != owner:
            # Threads have no user, so the same session of two users needs two ids.
            session_id, owner = f"{player}/{session_id}", player
        taken[session_id] += 1
        if taken[session_id] > 1:
            session_id = f"{session_id} ({taken[session_id]})"
        try:
            session = Session.of(
                session_id, recording.utterances, user_id=owner, title=recording.title, ask=recording.ask
            )
        except InvalidInputError as error:
            msg = f"{name}: {error}"
            raise InvalidInputError(msg) from None
        sessions.append(session)
    if not sessions:
        msg = f"{name} holds no messages: give {_LAYOUTS}."
        raise InvalidInputError(msg)
    return sessions


def expect(value: Any, kind: type | tuple[type, ...], what: str, where: str) -> Any:
    """A value, if it has the right type.

    Args:
        value: The value.
        kind: Its type, or types.
        what: What it must be, for the message, such as `"content must be a string"`.
        where: Where it is, for the message.

    Raises:
        InvalidTypeError: It has another type.
    """
    if not isinstance(value, kind):
        msg = f"{where}: {what}, got {type(value).__name__}: {shown(value, 80)}."
        raise InvalidTypeError(msg)
    return value


def texts(data: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    """An optional list of strings of an object."""
    found = expect(data.get(key, []), list, f"{key} must be a list of strings", where)
    for at, text in enumerate(found):
        storable(expect(text, str, "it must be a string", f"{where}.{key}[{at}]"), f"{where}.{key}[{at}]")
    return tuple(found)


def storable(value: Any, where: str) -> None:
    """Refuse what JSON can say and no database can store, such as half of a surrogate pair.

    Raises:
        InvalidInputError: There is such a thing anywhere in the value.
    """
    try:
        check_text("It", json.dumps(value, ensure_ascii=False))
    except InvalidInputError as error:
        msg = f"{where}: {error}"
        raise InvalidInputError(msg) from None


def _text(path: str | Path | None) -> str:
    if path is None:
        return resources.files(__package__).joinpath(BUNDLED).read_text(encoding="utf-8")
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        msg = f"There is no file {shown(str(path))}."
    except UnicodeDecodeError as error:
        msg = f"{path} is not a UTF-8 text file: byte {error.start} cannot be read."
    except (OSError, ValueError) as error:  # a ValueError is a path with a NUL character
        msg = f"{shown(str(path))} cannot be read: {getattr(error, 'strerror', None) or error}."
    raise InvalidInputError(msg)


def _parsed(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        msg = f"{name} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
    except RecursionError:
        msg = f"{name} is nested too deeply."
    raise InvalidInputError(msg)


def _recordings(data: Any, name: str, stem: str) -> Iterator[Recording]:
    entries = data if isinstance(data, list) else [data]
    keys = entries[0] if entries and isinstance(entries[0], dict) else {}
    if "conversation" in keys:
        from langchain_agentmem.command.locomo import read_sample

        for at, sample in enumerate(entries):
            place = f"{name}, [{at}]" if isinstance(data, list) else name
            yield from read_sample(sample, place, stem if len(entries) == 1 else f"{stem}-{at + 1}")
    elif "messages" in keys:
        for at, entry in enumerate(entries):
            prefix = f"[{at}]." if isinstance(data, list) else ""
            default = stem if len(entries) == 1 else f"{stem}/session_{at + 1}"
            yield _read_session(entry, f"{name}, {prefix}", default)
    elif isinstance(data, list) and data:
        yield Recording(stem, DEFAULT_USER, stem, _read_messages(data, f"{name}, "))
    elif data != []:
        msg = f"{name} is not a conversation: it must be {_LAYOUTS}."
        raise InvalidInputError(msg)


def _read_session(entry: Any, prefix: str, default: str) -> Recording:
    where = prefix.rstrip("., ")
    expect(entry, dict, 'every entry must be an object with "messages"', where)
    for key in ("title", "session_id", "user_id"):
        expect(entry.get(key, ""), str, f"{key} must be a string", where)
        storable(entry.get(key, ""), where)
    messages = expect(entry.get("messages"), list, '"messages" must be a list', where)
    if not messages:
        msg = f"{where}: the conversation is empty: it has no messages."
        raise InvalidInputError(msg)
    title = entry.get("title") or default
    return Recording(
        entry.get("session_id") or title[:200],
        entry.get("user_id") or DEFAULT_USER,
        title,
        _read_messages(messages, f"{prefix}messages"),
        texts(entry, "ask", where),
    )


def _read_messages(entries: list[Any], prefix: str) -> list[Utterance]:
    called: set[str] = set()
    utterances = []
    for at, entry in enumerate(entries):
        where = f"{prefix}[{at}]"
        expect(entry, dict, "a message must be an object with role and content", where)
        message = _read_message({key: value for key, value in entry.items() if key != "facts"}, where)
        called.update(call["id"] for call in getattr(message, "tool_calls", ()) if call["id"])
        if message.type == "tool" and entry["tool_call_id"] not in called:
            msg = f"{where}: a tool result with no call: no message before it calls a tool as {shown(entry['tool_call_id'])}."
            raise InvalidInputError(msg)
        utterances.append(Utterance(message, texts(entry, "facts", where)))
    return utterances


def _read_message(entry: dict[str, Any], where: str) -> BaseMessage:
    storable(entry, where)
    role = entry.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        problem = "has no role" if role is None else f"has the unknown role {shown(role, 40)}"
        msg = f"{where}: the message {problem}: use user, assistant, system or tool."
        raise InvalidInputError(msg)
    calls = entry.get("tool_calls")
    if entry.get("content") is None and not (role in ("assistant", "ai") and calls):
        msg = f"{where}: the message has no content."
        raise InvalidInputError(msg)
    content = expect(entry.get("content") or "", (str, list), "content must be a string or a list of blocks", where)
    for at, block in enumerate(content if isinstance(content, list) else ()):
        expect(block, (str, dict), "a block must be a string or an object", f"{where}.content[{at}]")
    expect(entry.get("name", ""), str, "name must be a string", where)
    for at, call in enumerate(expect([] if calls is None else calls, list, "tool_calls must be a list", where)):
        expect(call, dict, "a tool call must be an object with name, args and id", f"{where}.tool_calls[{at}]")
    if role == "tool":
        expect(entry.get("tool_call_id"), str, "a tool result needs tool_call_id, a string", where)
    try:
        (message,) = convert_to_messages([{**entry, "content": content}])
    except Exception as error:  # LangChain's own checks raise whatever they meet: KeyError, ValidationError …
        reason = " ".join(str(error).split())
        msg = f"{where}: the message is not accepted ({type(error).__name__}: {reason:.200})."
        raise InvalidInputError(msg) from None
    return message
