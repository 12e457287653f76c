"""Load a conversation from a file: role/content JSON, or LoCoMo's layout.

The whole file is checked before the first message is played. An error names the file and the location in it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from langchain_agentmem.arguments.ids import check_id
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.command.demo.locomo import read_sample
from langchain_agentmem.command.demo.recordings import DEFAULT_USER, Recording
from langchain_agentmem.command.demo.transcripts import read_messages, read_session
from langchain_agentmem.command.demo.turns import Session
from langchain_agentmem.errors import InvalidInputError

BUNDLED = "conversation.json"
"""The conversation that is played without a file, in this package."""

_LAYOUTS = (
    'a list of {"role": …, "content": …}, an object with such a list under "messages", a list of such objects, or '
    'samples with a "conversation" in LoCoMo\'s layout'
)


def load_conversation(path: str | Path | None = None, *, user_id: str | None = None) -> list[Session]:
    """Load the sessions of a conversation file.

    The file contains one of these:
    - a JSON list of messages (`{"role": "user", "content": "Hi", "facts": ["…"]}`);
    - an object with such a list under `"messages"`, and optionally a `"title"`, a `"session_id"`, a `"user_id"` and `"ask"`,
      a list of questions;
    - a list of such objects;
      A message of the user may have `"learn"`, a list of what a model is to learn from it: `{"fact": "…", "topics": ["…"]}`,
      with `"instead_of": "…"` for the text of a fact that it corrects, or `{"field": "name", "value": "…"}`;
    - LoCoMo's layout; see `langchain_agentmem.command.demo.locomo`.

    Args:
        path: The file. Default: None (the conversation in the package).
        user_id: The user of all sessions. Sessions of another user in the file get other IDs. Default: None (the user in the
            file, or `DEFAULT_USER`).

    Returns:
        The sessions, in order: at least one, each with at least one message.

    Raises:
        InvalidInputError: The file cannot be read, or a value in it cannot be played.
        InvalidTypeError: A value in it has the wrong type.

    Example:
        >>> from langchain_agentmem.command.demo.conversations import load_conversation
        >>> [session] = load_conversation()
        >>> session.title, session.user_id, len(session.messages)
        ('Alice moves to Thessaloniki', 'alice@example.com', 105)
    """
    name = str(path or BUNDLED)
    data = _parsed(name, _text(path))
    player = None if user_id is None else check_id("user_id", user_id)
    sessions = []
    counts: Counter[str] = Counter()
    for recording in _recordings(data, name, Path(name).stem):
        session_id, owner = recording.session_id, recording.user_id
        if player is not None and player != owner:
            # Threads have no user, so one session that two users play needs two IDs.
            session_id, owner = f"{player}/{session_id}", player
        counts[session_id] += 1
        if counts[session_id] > 1:
            session_id = f"{session_id} ({counts[session_id]})"
        try:
            session = Session.of(
                session_id, recording.utterances, user_id=owner, title=recording.title, ask=recording.ask
            )
        except InvalidInputError as error:
            msg = f"{name}: {error}"
            raise InvalidInputError(msg) from None
        sessions.append(session)
    if not sessions:
        msg = f"{name} holds no messages. Write {_LAYOUTS}."
        raise InvalidInputError(msg)
    return sessions


def _text(path: str | Path | None) -> str:
    if path is None:
        return resources.files(__package__).joinpath(BUNDLED).read_text(encoding="utf-8")
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        msg = f"There is no file {shown(str(path))}."
    except UnicodeDecodeError as error:
        msg = f"{path} is not a UTF-8 text file: byte {error.start} cannot be read."
    except (OSError, ValueError) as error:  # a path with a NUL character raises ValueError
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
    """Yield the sessions of a file in any of the layouts."""
    entries = data if isinstance(data, list) else [data]
    keys = entries[0] if entries and isinstance(entries[0], dict) else {}
    if "conversation" in keys:
        for at, sample in enumerate(entries):
            where = f"{name}, [{at}]" if isinstance(data, list) else name
            yield from read_sample(sample, where, stem if len(entries) == 1 else f"{stem}-{at + 1}")
    elif "messages" in keys:
        for at, entry in enumerate(entries):
            prefix = f"[{at}]." if isinstance(data, list) else ""
            default = stem if len(entries) == 1 else f"{stem}/session_{at + 1}"
            yield read_session(entry, f"{name}, {prefix}", default)
    elif isinstance(data, list) and data:
        yield Recording(stem, DEFAULT_USER, stem, read_messages(data, f"{name}, "))
    elif data != []:
        msg = f"{name} is not a conversation: it must be {_LAYOUTS}."
        raise InvalidInputError(msg)
