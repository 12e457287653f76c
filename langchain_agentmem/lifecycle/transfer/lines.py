"""The lines of an archive: JSON objects, one for each stored thing.

Every object has the name of its `kind`. Times are seconds since 1970 (UTC). Bytes are base64. A value of LangGraph's
serializer is a list of its type and its bytes. The kinds:

* `header`: begins the lines of one cleanup, with the version of the format.
* `session`, then its `message`, `summary`, `variable` and `record` lines.
* `message`, `record`, `item` and `variable`.
* `thread`, then its `value` and `checkpoint` lines. A checkpoint names the numbers of its values, which precede it. A list
  may continue another value: the first `keep` elements of the value `base`, and then `elements`.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any

from langchain_core.messages import BaseMessage, message_to_dict, messages_from_dict
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.serde.base import SerializerProtocol

from langchain_agentmem.backends.contract import (
    ItemRow,
    LoggedMessage,
    RecordRow,
    SessionRow,
    StoredSummary,
    ThreadRow,
    VariableRow,
)
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.json_values import load_json_value
from langchain_agentmem.errors import DamagedDataError
from langchain_agentmem.search.rows import message_of

FORMAT = "langchain-agentmem"
VERSION = 1
"""The version of the format. Readers refuse a greater one."""

Line = dict[str, Any]


def header_line(tenant: str, now: float) -> Line:
    """Return the first line of the things that one operation writes."""
    return {"kind": "header", "format": FORMAT, "version": VERSION, "tenant": tenant, "created_at": now}


def session_line(row: SessionRow) -> Line:
    """Return the line of a session."""
    return {
        "kind": "session",
        "user_id": row.key.user_id,
        "session_id": row.key.session_id,
        "title": row.title,
        "message_count": row.message_count,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "expires_at": row.expires_at,
        "metadata": None if row.metadata is None else load_json_value(row.metadata),
    }


def message_line(logged: LoggedMessage, codec: Codec) -> Line:
    """Return the line of a message. If LangChain's dictionary would lose something, it has the stored bytes instead."""
    key, row = logged
    line: Line = {
        "kind": "message",
        "user_id": key.user_id,
        "session_id": key.session_id,
        "position": row.position,
        "agent": row.agent,
        "ends_with_session": row.ends_with_session,
        "created_at": row.created_at,
        "metadata": None if row.metadata is None else load_json_value(row.metadata),
    }
    try:
        document = _document_of(message_of(codec, row, key))
    except DamagedDataError:
        document = None
    return {**line, "encoded": _typed(row.body)} if document is None else {**line, "message": document}


def _document_of(message: BaseMessage) -> Any:
    """Return LangChain's dictionary of a message; None if the message would not come back equal."""
    document = message_to_dict(message)
    try:
        text = json.dumps(document, allow_nan=False)
        (copy,) = messages_from_dict([json.loads(text)])
    except (TypeError, ValueError):
        return None
    return document if copy == message else None


def summary_line(session: SessionRow, agent: str | None, summary: StoredSummary) -> Line:
    """Return the line of a session's summary."""
    named = {"user_id": session.key.user_id, "session_id": session.key.session_id, "agent": agent}
    return {"kind": "summary", **named, "value": load_json_value(summary.value), "covers": summary.covers}


def variable_line(row: VariableRow) -> Line:
    """Return the line of a variable."""
    scope = {"user_id": row.scope.user_id, "session_id": row.scope.session_id, "agent": row.scope.agent}
    times = {"created_at": row.created_at, "updated_at": row.updated_at, "expires_at": row.expires_at}
    return {"kind": "variable", **scope, "name": row.name, "value": load_json_value(row.value), **times}


def record_line(row: RecordRow) -> Line:
    """Return the line of a record."""
    return {"kind": "record", **row._asdict(), "record": load_json_value(row.record)}


def item_line(row: ItemRow) -> Line:
    """Return the line of an item. `index` has the paths that its put named; null if it named none."""
    return {
        "kind": "item",
        "namespace": list(row.namespace),
        "key": row.key,
        "value": load_json_value(row.value),
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "ttl": row.ttl,
        "index": None if row.paths is None else load_json_value(row.paths),
    }


def thread_line(row: ThreadRow) -> Line:
    """Return the line of a thread."""
    return {"kind": "thread", **row._asdict(), "users": dict(row.users)}


class ThreadLines:
    """The lines of one thread's checkpoints, whose values are written once.

    Args:
        thread_id: The thread.
        serde: The serializer of the values.
        codec: Compares values.
    """

    def __init__(self, thread_id: str, serde: SerializerProtocol, codec: Codec) -> None:
        self._thread_id = thread_id
        self._serde = serde
        self._codec = codec
        self._numbers: dict[tuple[str, str, bytes], int] = {}
        """The numbers of written values, by namespace, channel and digest."""
        self._lists: dict[tuple[str, str], tuple[int, list[bytes]]] = {}
        """The last list of each channel: its number, and the digests of its elements."""

    def lines(self, found: CheckpointTuple) -> Iterator[Line]:
        """Yield the lines of a checkpoint: its new values, and the checkpoint."""
        named = found.config["configurable"]
        namespace = named["checkpoint_ns"]
        numbers = {}
        for channel, value in found.checkpoint["channel_values"].items():
            added, numbers[channel] = self._value(namespace, channel, value)
            yield from added
        document = {key: value for key, value in found.checkpoint.items() if key != "channel_values"}
        yield {
            "kind": "checkpoint",
            "thread_id": self._thread_id,
            "namespace": namespace,
            "checkpoint_id": named["checkpoint_id"],
            "parent_id": _parent_of(found),
            "checkpoint": self._dumped(document),
            "metadata": self._dumped(dict(found.metadata)),
            "values": numbers,
            "writes": [
                {"task_id": task, "channel": channel, "value": self._dumped(value)}
                for task, channel, value in found.pending_writes or ()
            ],
        }

    def _value(self, namespace: str, channel: str, value: Any) -> tuple[list[Line], int]:
        """Return the line of a value that was not written yet, and the number of the value."""
        digests = [self._digest(one) for one in value] if isinstance(value, list) else [self._digest(value)]
        digest = blake2b(b"".join(digests) + bytes([isinstance(value, list)]), digest_size=16).digest()
        place = (namespace, channel)
        known = self._numbers.get((*place, digest))
        if known is not None:
            return [], known
        number = self._numbers[*place, digest] = len(self._numbers) + 1
        line: Line = {"kind": "value", "thread_id": self._thread_id, "number": number, "channel": channel}
        if not isinstance(value, list):
            return [{**line, "data": self._dumped(value)}], number
        base, before = self._lists.get(place, (None, []))
        keep = _common(before, digests)
        self._lists[place] = number, digests
        elements = [self._dumped(one) for one in value[keep:]]
        return [{**line, "base": base if keep else None, "keep": keep, "elements": elements}], number

    def _digest(self, value: Any) -> bytes:
        type_, data = self._codec.plain.dumps_typed(value)
        return blake2b(type_.encode() + b"\0" + data, digest_size=16).digest()

    def _dumped(self, value: Any) -> list[str]:
        return _typed(self._serde.dumps_typed(value))


def _parent_of(found: CheckpointTuple) -> str | None:
    parent: Mapping[str, Any] = (found.parent_config or {}).get("configurable", {})
    return parent.get("checkpoint_id")


def _common(first: list[bytes], second: list[bytes]) -> int:
    """Return the length of the common beginning of two lists."""
    at = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        at += 1
    return at


def _typed(typed: tuple[str, bytes]) -> list[str]:
    return [typed[0], b64encode(typed[1]).decode()]
