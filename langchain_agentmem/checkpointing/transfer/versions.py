"""Channel versions of copied checkpoints.

LangGraph compares the versions of a thread with one another. A saver without a `get_next_version` of its own numbers them
1, 2, 3, …; others write text. A copy for a saver that writes text has only text, so that the thread can continue there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from langgraph.checkpoint.base import Checkpoint


def with_text_versions(checkpoint: Checkpoint) -> Checkpoint:
    """Return a checkpoint whose channel versions are text, which sorts as the numbers did.

    Example:
        >>> from langchain_agentmem.checkpointing.transfer.versions import with_text_versions
        >>> saved = {"channel_versions": {"messages": 12}, "versions_seen": {"reply": {"messages": 9.5}}}
        >>> with_text_versions(saved)["channel_versions"]
        {'messages': '00000000000000000000000000000012.0000000000000000'}
    """
    versions = checkpoint["channel_versions"]
    seen = checkpoint.get("versions_seen") or {}
    if all(isinstance(one, str) for known in (versions, *seen.values()) for one in known.values()):
        return checkpoint
    changed = {
        "channel_versions": _each(versions, _text),
        "versions_seen": {node: _each(known, _text) for node, known in seen.items()},
    }
    return cast("Checkpoint", {**checkpoint, **changed})


def changed_versions(checkpoint: Checkpoint, parent: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the versions of the channels that changed since the parent.

    Args:
        checkpoint: The checkpoint.
        parent: The channel versions of its parent; None if it has none.
    """
    known = parent or {}
    return {name: version for name, version in checkpoint["channel_versions"].items() if known.get(name) != version}


def _each(versions: Mapping[str, Any], convert: Callable[[Any], Any]) -> dict[str, Any]:
    return {name: convert(version) for name, version in versions.items()}


def _text(version: Any) -> str:
    return (
        version
        if isinstance(version, str)
        else f"{version:049.16f}"
        if isinstance(version, float)
        else f"{version:032}.{0:016}"
    )
