"""Checkpoints that tests put, and the configs that name them."""

from __future__ import annotations

from typing import Any

from langgraph.checkpoint.base.id import uuid6

BIG = "a text that is long enough to be stored as an element of its own, not within the checkpoint. " * 4


def thread(thread_id: Any = "1", namespace: str | None = "", **more: Any) -> Any:
    where = {} if namespace is None else {"checkpoint_ns": namespace}
    return {"configurable": {"thread_id": thread_id, **where, **more}}


def checkpoint(checkpoint_id: str | None = None, **values: Any) -> Any:
    return {
        "v": 4,
        "id": checkpoint_id or str(uuid6()),
        "ts": "2026-11-20T00:00:00+00:00",
        "channel_values": values,
        "channel_versions": dict.fromkeys(values, "1"),
        "versions_seen": {},
    }


async def put(saver: Any, call: Any, config: Any = None, metadata: Any = None, **values: Any) -> Any:
    given = checkpoint(**values)
    return await call(saver.put, config or thread(), given, metadata or {}, given["channel_versions"])


def ids(tuples: list[Any]) -> list[str]:
    return [one.checkpoint["id"] for one in tuples]
