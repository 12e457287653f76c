"""Where the summary of a run is kept: with the thread or the session that its config names."""

from __future__ import annotations

from langchain_core.runnables.config import RunnableConfig

from langchain_agentmem.backends.contract import Backend, SessionKey, ThreadKey
from langchain_agentmem.compression.summaries import NotesPlace, Place
from langchain_agentmem.models import check_id, check_optional_id
from langchain_agentmem.notes import notes_of_session, notes_of_thread


def summary_place(backend: Backend, tenant: str, ttl: float | None, config: RunnableConfig) -> Place | None:
    """The place of the summaries of a run.

    Args:
        backend: Where they are.
        tenant: Whose they are.
        ttl: Seconds without change after which they expire; None for never.
        config: The config of the run.

    Returns:
        The place; None if the config names neither a thread nor a session.
    """
    configurable = config.get("configurable") or {}
    if configurable.get("thread_id") is not None:
        thread = ThreadKey(tenant, check_id("thread_id", str(configurable["thread_id"])))
        # A subgraph's namespace holds the ids of tasks, which are others in each run.
        namespace = "|".join(
            part.partition(":")[0] for part in (configurable.get("checkpoint_ns") or "").split("|")[:-1]
        )
        return NotesPlace(backend, notes_of_thread(backend, thread), f"summary {namespace}", ttl)
    if configurable.get("session_id") is not None:
        user_id = check_optional_id("user_id", configurable.get("user_id"))
        key = SessionKey(tenant, user_id, check_id("session_id", configurable["session_id"]))
        return NotesPlace(backend, notes_of_session(backend, key), "summary", ttl)
    return None
