"""Where the summary of a run is kept: with the thread or the session that its config names."""

from __future__ import annotations

from langchain_core.runnables.config import RunnableConfig
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer

from langchain_agentmem.arguments.ids import check_id, check_optional_id
from langchain_agentmem.arguments.runs import user_named_by
from langchain_agentmem.backends.contract import LIST_SUMMARY, Backend, SessionKey, ThreadKey
from langchain_agentmem.backends.notes import notes_of_thread
from langchain_agentmem.compression.sessions import SessionPlace
from langchain_agentmem.compression.summaries import NotesPlace, Place


def summary_place(
    backend: Backend, tenant: str, ttl: float | None, serde: SerializerProtocol, config: RunnableConfig
) -> Place | None:
    """The place of the summaries of a run.

    Args:
        backend: Where they are.
        tenant: Whose they are.
        ttl: Seconds without change after which they expire; None for never.
        serde: The serializer of checkpoints: where it encrypts them, the summary of a thread is encrypted too.
        config: The config of the run.

    Returns:
        The place; None if the config names neither a thread nor a session.
    """
    configurable = config.get("configurable") or {}
    if configurable.get("thread_id") is not None:
        thread_id = check_id("thread_id", str(configurable["thread_id"]))
        # A subgraph's namespace holds the ids of tasks, which are others in each run.
        namespace = "|".join(
            part.partition(":")[0] for part in (configurable.get("checkpoint_ns") or "").split("|")[:-1]
        )
        return thread_place(backend, ThreadKey(tenant, thread_id), ttl, serde, namespace)
    if configurable.get("session_id") is not None:
        user_id = check_optional_id("user_id", user_named_by(configurable))
        key = SessionKey(tenant, user_id, check_id("session_id", configurable["session_id"]))
        return session_place(backend, key)
    return None


def thread_place(
    backend: Backend, thread: ThreadKey, ttl: float | None, serde: SerializerProtocol, namespace: str = ""
) -> Place:
    """The place of the summaries of a thread, or of a subgraph in it."""
    secret = serde if isinstance(serde, EncryptedSerializer) else None
    return NotesPlace(backend, notes_of_thread(backend, thread), f"summary {namespace}", ttl, secret)


def session_place(backend: Backend, key: SessionKey) -> Place:
    """The place of the summaries of a session whose messages are given to a compressor as a list."""
    return SessionPlace(backend, key, LIST_SUMMARY)
