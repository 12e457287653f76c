"""The user ID, the agent and the context in a LangGraph run's config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_agentmem.arguments.ids import check_id


def user_named_by(source: Any) -> Any:
    """Return the user ID in a run's config, context or state, unchecked.

    LangGraph's agent server passes an empty user ID in the config of each run without authentication. An empty ID counts
    as none.

    Args:
        source: A mapping or an object, such as `config["configurable"]`.

    Returns:
        The value of `user_id`, or None if it is missing, None or empty.

    Example:
        >>> from langchain_agentmem.arguments.runs import user_named_by
        >>> user_named_by({"user_id": "alice@example.com"})
        'alice@example.com'
        >>> user_named_by({"user_id": ""}) is None
        True
    """
    named = source.get("user_id") if isinstance(source, Mapping) else getattr(source, "user_id", None)
    return None if isinstance(named, str) and not named else named


def agent_of(config: Mapping[str, Any] | None) -> str | None:
    """Return the agent of a run: `agent` in the config's `configurable`, or the name of an agent of `create_agent`.

    Args:
        config: The config of the run.

    Returns:
        The name; None if the run names no agent, or by a value that is not a string.

    Raises:
        InvalidInputError: The name is too long, or cannot be stored.

    Example:
        >>> from langchain_agentmem.arguments.runs import agent_of
        >>> agent_of({"configurable": {"agent": "travel"}}), agent_of({"metadata": {"lc_agent_name": "support"}})
        ('travel', 'support')
    """
    parts = config or {}
    named = (parts.get("configurable") or {}).get("agent") or (parts.get("metadata") or {}).get("lc_agent_name")
    return check_id("agent", named) if isinstance(named, str) and named else None


def context_of(configurable: Mapping[str, Any]) -> Any:
    """Return the context of a LangGraph run, or None if there is none.

    Args:
        configurable: The run's `config["configurable"]`.

    Example:
        >>> from langchain_agentmem.arguments.runs import context_of
        >>> context_of({"thread_id": "1"}) is None
        True
    """
    runtime = configurable.get("__pregel_runtime")
    return runtime.get("context") if isinstance(runtime, Mapping) else getattr(runtime, "context", None)
