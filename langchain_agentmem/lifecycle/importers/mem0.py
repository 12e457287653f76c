"""mem0's memories: the result of `Memory.get_all`, or of `Memory.history`.

`get_all` returns `{"results": [{"id", "memory", "created_at", "updated_at", "user_id", "metadata", …}, …]}`. `history`
returns the changes of one memory: `[{"memory_id", "old_memory", "new_memory", "event", "created_at", …}, …]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError
from langchain_agentmem.lifecycle.importers.arguments import Options
from langchain_agentmem.lifecycle.importers.documents import json_of
from langchain_agentmem.lifecycle.importers.rows import Source, SourceMemory

FORMAT = "mem0"

_OWN = {"id", "memory", "hash", "score", "created_at", "updated_at", "user_id", "agent_id", "metadata"}
"""Keys of `get_all` that do not become metadata of the memory as they are."""


def source_of(given: Any, options: Options) -> Source:
    """Return the source of exported memories.

    Args:
        given: The result of `get_all` or `history`, or the path of a JSON file with it.
        options: With `user_id`, if the memories name no user.
    """
    if hasattr(given, "get_all"):
        msg = (
            f"mem0's {type(given).__name__} returns at most top_k memories of one user. Pass its result: "
            f'import_from(memory.get_all(filters={{"user_id": …}}, top_k=…), format="mem0").'
        )
        raise InvalidTypeError(msg)
    name = shown(str(given)) if isinstance(given, str) else "mem0's memories"
    return Source(name, FORMAT, partial(_rows, given, name, options.user_id))


def _rows(given: Any, name: str, user_id: str | None) -> Iterator[SourceMemory]:
    document = json_of(given)
    if isinstance(document, Mapping) and "results" in document:
        document = document["results"]
    if not isinstance(document, list):
        msg = f'{name} must hold the result of get_all, {{"results": […]}}, or of history; got {shown(document)}.'
        raise InvalidInputError(msg)
    events = [row for row in document if isinstance(row, Mapping) and "memory_id" in row and "event" in row]
    if events and len(events) == len(document):
        yield from _final(events, user_id)
        return
    for index, row in enumerate(document):
        if not isinstance(row, Mapping):
            msg = f"Could not import row {index} of {name}: it must be an object with a memory, got {shown(row)}."
            raise InvalidInputError(msg)
        metadata: Any = row.get("metadata") or {}
        more = {key: value for key, value in row.items() if key not in _OWN and value is not None}
        own = {
            "mem0_id": row.get("id"),
            **more,
            **(metadata if isinstance(metadata, Mapping) else {"metadata": metadata}),
        }
        yield SourceMemory(
            f"row {index} (id {shown(row.get('id'))})",
            user_id or row.get("user_id"),
            row.get("memory"),
            row.get("created_at"),
            row.get("updated_at"),
            own,
            row.get("agent_id"),
            _has_expired(row.get("expiration_date")),
        )


def _final(events: list[Mapping[str, Any]], user_id: str | None) -> Iterator[SourceMemory]:
    """Return the memories that remain after all changes, with their former texts in the metadata."""
    changes: dict[Any, list[Mapping[str, Any]]] = {}
    for event in events:
        changes.setdefault(event["memory_id"], []).append(event)
    for memory_id, own in changes.items():
        last = own[-1]
        if last.get("event") == "DELETE" or last.get("is_deleted"):
            continue
        metadata: dict[str, Any] = {"mem0_id": memory_id}
        former = [event["new_memory"] for event in own[:-1] if event.get("new_memory")]
        if former:
            metadata["mem0_former_texts"] = former
        yield SourceMemory(
            f"memory {shown(memory_id)}",
            user_id,
            last.get("new_memory"),
            own[0].get("created_at"),
            last.get("updated_at") or last.get("created_at"),
            metadata,
        )


def _has_expired(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        return date.fromisoformat(value[:10]) < datetime.now(UTC).date()
    except ValueError:
        return False
