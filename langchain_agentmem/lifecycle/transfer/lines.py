"""The lines of exports and archives: JSON objects, one for each stored thing. `docs/moving.md` describes every kind.

Every object has the name of its `kind`. Times are seconds since 1970 (UTC), rounded to microseconds, which is what every
backend stores. Bytes are base64. A value of LangGraph's serializer is a list of its type and its bytes.

A function that ends in `_line` returns the line of a row, and one that ends in `_of` returns the row of a line. The latter
raise `LookupError`, `TypeError` or `ValueError` for a line of another form.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from langchain_core.messages import BaseMessage, message_to_dict, messages_from_dict

from langchain_agentmem.arguments.durations import LONGEST_SECONDS
from langchain_agentmem.arguments.ids import check_id, check_name, check_optional_id, check_text
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.contract import (
    CheckpointKey,
    CheckpointRow,
    ItemRow,
    ItemState,
    MessageRow,
    RecordRow,
    SessionKey,
    SessionState,
    StoredCheckpoint,
    StoredElement,
    StoredSummary,
    StoredWrite,
    ThreadKey,
    ThreadState,
    ThreadWrite,
    VariableRow,
    VariableScope,
)
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.json_values import dump_json, dump_json_value, load_json_value
from langchain_agentmem.encoding.layout import PLAIN, StoredValue, ValueKey
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.errors import DamagedDataError, InvalidInputError, UnsupportedValueError
from langchain_agentmem.messages.properties import text_of
from langchain_agentmem.messages.roles import role_of
from langchain_agentmem.search.fingerprint import Fingerprint
from langchain_agentmem.search.rows import digest_of_message, message_of
from langchain_agentmem.store.arguments import check_key, check_namespace
from langchain_agentmem.text.marks import analyze_message

FORMAT = "langchain-agentmem"
VERSION = 1
"""The version of the format. Readers refuse a greater one."""

EXPORT, ARCHIVE = "export", "archive"
"""The contents of a file: a whole export, which has an end; or an archive, to which cleanups append."""

_FIRST_MOMENT, _LAST_MOMENT = -62_135_596_800, 253_402_300_800
"""The beginnings of the years 1 and 10000, in seconds since 1970."""

_GREATEST_INDEX = 2**31
"""LangGraph stores the index of a pending write in 32 bits."""

_MOST_DIMENSIONS = 1_000_000

_EMPTY = Codec().store(b"")
"""An empty secret."""

_GREATEST = 2**53
"""Greater numbers are refused: they are no times or positions."""

LINES_OF_USERS = ("session", "message", "record", "variable")
"""The kinds of lines that have the ID of a user."""

Line = dict[str, Any]


def header_line(content: str, **more: Any) -> Line:
    """Return the first line of the lines that one operation writes.

    Args:
        content: `EXPORT` or `ARCHIVE`.
        **more: Further fields, for readers of the file.
    """
    return {"kind": "header", "format": FORMAT, "version": VERSION, "content": content, **more}


# Sessions


def session_line(state: SessionState) -> Line:
    """Return the line of a session, with its summaries and variables."""
    return {
        "kind": "session",
        "user_id": state.key.user_id,
        "session_id": state.key.session_id,
        "title": state.title,
        "title_position": state.title_position,
        "next_position": state.next_position,
        "created_at": _time(state.created_at),
        "updated_at": _time(state.updated_at),
        "expires_at": _time(state.expires_at),
        "metadata": _loaded(state.metadata),
        "summaries": [
            {"agent": agent, "value": load_json_value(summary.value), "covers": summary.covers}
            for agent, summary in sorted(state.summaries.items())
        ],
        "variables": [
            _variable(row) for row in sorted(state.variables, key=lambda row: (row.scope.agent or "", row.name))
        ],
    }


def session_of(line: Line, tenant: str) -> SessionState:
    """Return the session of a line."""
    key = session_key(line, tenant)
    summaries = {
        check_name("agent", one["agent"]): StoredSummary(
            dump_json_value(one["value"], "summary"), 0, _optional_integer(one["covers"])
        )
        for one in line["summaries"]
    }
    return SessionState(
        key,
        _title(line["title"]),
        None if line["title_position"] is None else _position(line["title_position"]),
        _position(line["next_position"]),
        *_times(line),
        _dumped(line["metadata"]),
        summaries,
        [_variable_of(one, VariableScope(*key)) for one in line["variables"]],
    )


def message_line(key: SessionKey, row: MessageRow, codec: Codec) -> Line:
    """Return the line of a message. If LangChain's dictionary would lose something, it has the stored bytes instead."""
    line: Line = {
        "kind": "message",
        "user_id": key.user_id,
        "session_id": key.session_id,
        "position": row.position,
        "agent": row.agent,
        "ends_with_session": row.ends_with_session,
        "created_at": _time(row.created_at),
        "metadata": _loaded(row.metadata),
    }
    if row.vector is not None:
        line["vector"] = _text_of(row.vector)
    try:
        document = _document_of(message_of(codec, row, key), row, codec)
    except DamagedDataError:
        document = None
    if document is None:
        return {**line, "role": row.role, "encoded": _list(row.body)}
    return {**line, "message": document}


def message_row(line: Line, tenant: str, codec: Codec, language: str | None) -> MessageRow:
    """Return the message of a line, with its words; without words and digest if `language` is None."""
    key = session_key(line, tenant)
    words, digest = b"", None
    if "message" in line:
        (message,) = messages_from_dict([line["message"]])
        role, body = role_of(message), codec.dump_message(message)
    else:
        role, body = check_name("role", line["role"]), _typed_of(line["encoded"])
        try:
            message = codec.load_message(body)
        except DamagedDataError:  # it was damaged before the export
            message = None
    if message is not None and language is not None:
        words, digest = analyze_message(text_of(message), language), digest_of_message(key, message.id or "")
    vector = _bytes_of(line["vector"]) if "vector" in line else None
    return MessageRow(
        _position(line["position"]),
        role,
        check_optional_id("agent", line["agent"]),
        _flag(line["ends_with_session"]),
        _moment(line["created_at"]),
        _dumped(line["metadata"]),
        body,
        words,
        vector,
        digest,
    )


def _document_of(message: BaseMessage, row: MessageRow, codec: Codec) -> Any:
    """Return LangChain's dictionary of a message; None if the message would not come back equal."""
    document = message_to_dict(message)
    try:
        text = json.dumps(document, allow_nan=False)
        (copy,) = messages_from_dict([json.loads(text)])
        same = codec.dump_message(copy) == row.body or copy == message
    except (TypeError, ValueError, InvalidInputError, UnsupportedValueError):
        return None
    return document if same else None


# Variables and records


def variable_line(row: VariableRow) -> Line:
    """Return the line of a variable outside of sessions."""
    return {"kind": "variable", "user_id": row.scope.user_id, **_variable(row)}


def variable_of(line: Line, tenant: str) -> VariableRow:
    """Return the variable of a line."""
    return _variable_of(line, VariableScope(tenant, check_optional_id("user_id", line["user_id"])))


def _variable(row: VariableRow) -> Line:
    return {
        "agent": row.scope.agent,
        "name": row.name,
        "value": load_json_value(row.value),
        "created_at": _time(row.created_at),
        "updated_at": _time(row.updated_at),
        "expires_at": _time(row.expires_at),
    }


def _variable_of(line: Line, scope: VariableScope) -> VariableRow:
    own = scope._replace(agent=check_optional_id("agent", line["agent"]))
    return VariableRow(own, check_id("name", line["name"]), dump_json_value(line["value"], "value"), *_times(line))


def record_line(row: RecordRow) -> Line:
    """Return the line of a record."""
    return {
        "kind": "record",
        "id": row.id,
        "user_id": row.user_id,
        "session_id": row.session_id,
        "agent": row.agent,
        "status": row.status,
        "started_at": _time(row.started_at),
        "duration": row.duration,
        "created_at": _time(row.created_at),
        "record": load_json_value(row.record),
        "ends_with_session": row.ends_with_session,
    }


def record_of(line: Line) -> RecordRow:
    """Return the record of a line."""
    return RecordRow(
        str(UUID(_text(line["id"]))),
        check_optional_id("user_id", line["user_id"]),
        check_optional_id("session_id", line["session_id"]),
        check_id("agent", line["agent"]),
        check_name("status", line["status"]),
        _optional_moment(line["started_at"]),
        _optional_number(line["duration"]),
        _moment(line["created_at"]),
        dump_json_value(line["record"], "record"),
        _flag(line["ends_with_session"]),
    )


# Items


def item_line(item: ItemState) -> Line:
    """Return the line of an item. `index` has the paths that its put named; null if it named none."""
    row = item.row
    line: Line = {
        "kind": "item",
        "namespace": list(row.namespace),
        "key": row.key,
        "value": _sorted(load_json_value(row.value)),
        "created_at": _time(row.created_at),
        "updated_at": _time(row.updated_at),
        "ttl": row.ttl,
        "expires_at": _time(item.expires_at),
        "index": _loaded(row.paths),
    }
    return {**line, "vectors": [_text_of(one) for one in item.vectors]} if item.vectors else line


def item_of(line: Line) -> ItemState:
    """Return the item of a line, without its words."""
    namespace = check_namespace(tuple(line["namespace"]), least=1)
    created, updated, expires = _times(line)
    paths = None if line["index"] is None else json.dumps([_text(path) for path in line["index"]])
    ttl = _ttl(line["ttl"])
    row = ItemRow(namespace, check_key(line["key"]), dump_json(line["value"]), created, updated, ttl, 0, paths)
    return ItemState(row, expires, vectors=[_bytes_of(one) for one in line.get("vectors", ())])


# Threads


def thread_line(state: ThreadState, codec: Codec) -> Line:
    """Return the line of a thread. Without a secret, or with an empty one, its references are not keyed."""
    secret = None if state.secret is None else _opened(state.secret, codec)
    return {
        "kind": "thread",
        "thread_id": state.key.thread_id,
        "user_id": state.user_id,
        "users": {user: _time(used) for user, used in sorted(state.users.items())},
        "created_at": _time(state.created_at),
        "updated_at": _time(state.updated_at),
        "ttl": state.ttl,
        "expires_at": _time(state.expires_at),
        "secret": None if secret in (None, _EMPTY) else _list(secret),
    }


def thread_of(line: Line, tenant: str, codec: Codec) -> ThreadState:
    """Return the thread of a line."""
    key = ThreadKey(tenant, check_id("thread_id", line["thread_id"]))
    users = {check_id("user_id", user): _moment(used) for user, used in line["users"].items()}
    secret = None
    if codec.secret:  # an encrypted thread must have a secret
        secret = codec.store(b"") if line["secret"] is None else _sealed(_typed_of(line["secret"]), codec)
    created, updated, expires = _times(line)
    ttl = _ttl(line["ttl"])
    return ThreadState(
        key, check_optional_id("user_id", line["user_id"]), users, created, updated, ttl, expires, secret
    )


def element_line(thread_id: str, element: StoredElement, codec: Codec) -> Line:
    """Return the line of an element of a thread's values."""
    data = _list(_opened(element.typed, codec))
    return {"kind": "element", "thread_id": thread_id, "reference": element.reference.hex(), "data": data}


def element_of(line: Line, codec: Codec) -> StoredElement:
    """Return the element of a line."""
    return StoredElement(bytes.fromhex(line["reference"]), _sealed(_typed_of(line["data"]), codec))


def value_line(thread_id: str, value: StoredValue, codec: Codec) -> Line:
    """Return the line of a value of a thread: its own bytes, or references to elements; see `encoding.layout`."""
    type_, data = _opened(Typed(value.type, value.data), codec) if value.kind == PLAIN else (value.type, value.data)
    return {
        "kind": "value",
        "thread_id": thread_id,
        "key": list(value.key),
        "form": value.kind,
        "data": [type_, _text_of(data)],
        "number": value.number,
        "base": None if value.base is None else list(value.base),
        "head": value.head,
        "tail": value.tail,
        "digest": value.digest,
    }


def value_of(line: Line, codec: Codec) -> StoredValue:
    """Return the value of a line."""
    form, typed = check_name("form", line["form"]), _typed_of(line["data"])
    type_, data = _sealed(typed, codec) if form == PLAIN else typed
    key = ValueKey(*(check_name("key", one) for one in line["key"]))
    base = None if line["base"] is None else ValueKey(*(check_name("base", one) for one in line["base"]))
    numbers = (_integer(line["number"]), base, _integer(line["head"]), _integer(line["tail"]))
    return StoredValue(key, form, type_, data, *numbers, check_name("digest", line["digest"]))


def checkpoint_line(stored: StoredCheckpoint, codec: Codec) -> Line:
    """Return the line of a checkpoint. `values` has the versions of the values that have lines of their own."""
    row = stored.row
    document = {"checkpoint": row.checkpoint, "metadata": _sorted(row.metadata), "inline": row.inline}
    return {
        "kind": "checkpoint",
        "thread_id": row.thread_id,
        "namespace": row.key.namespace,
        "checkpoint_id": row.key.checkpoint_id,
        "parent_id": row.parent_id,
        "run_id": stored.run_id,
        "created_at": _time(stored.created_at),
        "values": dict(sorted(row.stored.items())),
        "document": _text_of(codec.pack_document(document)),
    }


def checkpoint_of(line: Line, codec: Codec) -> StoredCheckpoint:
    """Return the checkpoint of a line."""
    document = codec.unpack_document(_bytes_of(line["document"]))
    row = CheckpointRow(
        check_id("thread_id", line["thread_id"]),
        CheckpointKey(check_name("namespace", line["namespace"]), check_name("checkpoint_id", line["checkpoint_id"])),
        _optional_name("parent_id", line["parent_id"]),
        document["checkpoint"],
        document["metadata"],
        document["inline"],
        {check_name("channel", one): check_name("version", version) for one, version in line["values"].items()},
    )
    return StoredCheckpoint(row, _optional_name("run_id", line["run_id"]), _moment(line["created_at"]))


def write_line(thread_id: str, pending: ThreadWrite, codec: Codec) -> Line:
    """Return the line of a pending write."""
    write = pending.write
    type_, data = _opened(Typed(write.type, write.data), codec) if write.kind == PLAIN else (write.type, write.data)
    return {
        "kind": "write",
        "thread_id": thread_id,
        "namespace": pending.checkpoint.namespace,
        "checkpoint_id": pending.checkpoint.checkpoint_id,
        "task_id": write.task_id,
        "index": write.write_index,
        "task_path": write.task_path,
        "channel": write.channel,
        "form": write.kind,
        "data": [type_, _text_of(data)],
    }


def write_of(line: Line, codec: Codec) -> ThreadWrite:
    """Return the pending write of a line."""
    form, typed = check_name("form", line["form"]), _typed_of(line["data"])
    type_, data = _sealed(typed, codec) if form == PLAIN else typed
    task = (
        check_name("task_id", line["task_id"]),
        _integer(line["index"], _GREATEST_INDEX),
        check_name("task_path", line["task_path"]),
        check_name("channel", line["channel"]),
    )
    key = CheckpointKey(check_name("namespace", line["namespace"]), check_name("checkpoint_id", line["checkpoint_id"]))
    return ThreadWrite(key, StoredWrite(*task, form, type_, data))


# Parts of lines


def differ(first: Line, second: Line) -> bool:
    """Return true if two lines differ in more than the expiry, which reads change, and the vectors."""
    return comparable(first) != comparable(second)


def comparable(line: Line) -> str:
    """Return the parts of a line that are compared: not the expiry, the vectors and the checksum."""
    ignored = ("expires_at", "vector", "vectors", "sum")
    return json.dumps({name: value for name, value in line.items() if name not in ignored}, sort_keys=True)


def fingerprint_of(line: Line) -> Fingerprint:
    """Return the embedding model that a line names."""
    dimensions = _integer(line["dimensions"], _MOST_DIMENSIONS)
    if dimensions < 1:
        msg = f"expected a positive number of dimensions, got {shown(dimensions)}"
        raise ValueError(msg)
    return Fingerprint(check_name("model", line["model"]), dimensions)


def session_key(line: Line, tenant: str) -> SessionKey:
    """Return the key of the session in the line of a session or a message."""
    return SessionKey(tenant, check_optional_id("user_id", line["user_id"]), check_id("session_id", line["session_id"]))


def _times(line: Line) -> tuple[float, float, float | None]:
    return _moment(line["created_at"]), _moment(line["updated_at"]), _optional_moment(line["expires_at"])


def _time(time: float | None) -> float | None:
    return None if time is None else round(float(time), 6)


def _loaded(text: str | None) -> Any:
    return None if text is None else load_json_value(text)


def _dumped(value: Any) -> str | None:
    return None if value is None else dump_json_value(value, "metadata")


def _sorted(value: Any) -> Any:
    """Return a value with the keys of its dicts in order: Postgres does not keep the order in JSON columns."""
    if type(value) is dict and all(type(key) is str for key in value):
        return {key: _sorted(inner) for key, inner in sorted(value.items())}
    return [_sorted(one) for one in value] if type(value) is list else value


def _opened(typed: Typed, codec: Codec) -> Typed:
    """Return a stored value without encryption. The values of a custom serializer stay as they are."""
    return codec.open(typed) if codec.verifiable else typed


def _sealed(typed: Typed, codec: Codec) -> Typed:
    return codec.seal(typed) if codec.verifiable else typed


def _list(typed: Sequence[Any]) -> list[str]:
    return [typed[0], _text_of(typed[1])]


def _typed_of(pair: Any) -> Typed:
    type_, data = pair
    return Typed(check_name("type", type_), _bytes_of(data))


def _text_of(data: bytes) -> str:
    return b64encode(data).decode()


def _bytes_of(text: Any) -> bytes:
    return b64decode(_text(text), validate=True)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        msg = f"expected a text, got {type(value).__name__}"
        raise TypeError(msg)
    return value


def _optional_name(what: str, value: Any) -> str | None:
    return None if value is None else check_name(what, value)


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not abs(value) < _GREATEST:
        msg = f"expected a number, got {shown(value)}"
        raise TypeError(msg)
    return float(value)


def _optional_number(value: Any) -> float | None:
    return None if value is None else _number(value)


def _moment(value: Any) -> float:
    """Return a time that Python and every database know: in the years 1 to 9999."""
    if not _FIRST_MOMENT <= _number(value) < _LAST_MOMENT:
        msg = f"expected a time in seconds since 1970, got {shown(value)}"
        raise ValueError(msg)
    return float(value)


def _optional_moment(value: Any) -> float | None:
    return None if value is None else _moment(value)


def _integer(value: Any, greatest: int = _GREATEST) -> int:
    if type(value) is not int or not abs(value) < greatest:
        msg = f"expected an integer, got {shown(value)}"
        raise TypeError(msg)
    return value


def _position(value: Any) -> int:
    if _integer(value) < 0:
        msg = f"expected a position, got {shown(value)}"
        raise ValueError(msg)
    return int(value)


def _ttl(value: Any) -> float | None:
    if value is not None and not 0 < _number(value) < LONGEST_SECONDS:
        msg = f"expected a positive ttl in seconds, got {shown(value)}"
        raise ValueError(msg)
    return _optional_number(value)


def _optional_integer(value: Any) -> int | None:
    return None if value is None else _integer(value)


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        msg = f"expected true or false, got {shown(value)}"
        raise TypeError(msg)
    return value


def _title(value: Any) -> str | None:
    if value is not None:
        check_text("title", _text(value))
    return None if value is None else str(value)
