"""Serving a memory to other processes: the HTTP API, which requires the extra `api`, and LangGraph's agent server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from langchain_agentmem.errors import missing_extra
from langchain_agentmem.serving.access import Access
from langchain_agentmem.serving.limits import ServingLimits

if TYPE_CHECKING:
    from fastapi import FastAPI

    from langchain_agentmem.memory import AgentMemory

__all__ = ["Access", "ServingLimits", "create_app"]


def create_app(
    memory: AgentMemory,
    *,
    agents: Mapping[str, Any] | None = None,
    api_keys: Mapping[str, Access] | None = None,
    limits: ServingLimits | None = None,
    cors_origins: tuple[str, ...] | list[str] = (),
) -> FastAPI:
    """Create the HTTP API of a memory, as a FastAPI application.

    At the end of the application, running turns and background extraction are finished, and the memory is closed. An
    application that mounts this one closes the memory itself, because mounted applications have no lifespan.

    Args:
        memory: The memory. All requests share it.
        agents: The agents by name: a compiled graph or another `Runnable`, or a function that is called with the memory of
            a tenant and returns one. A graph that was compiled without a checkpointer or store gets those of the memory.
            A Runnable itself is served to the tenant of `memory` only, because it may use that memory. Default: None.
        api_keys: What each API key may access. Default: None (only clients on this machine are accepted, without a key,
            and a warning is logged).
        limits: The limits of requests. Default: None (those of `ServingLimits()`).
        cors_origins: The origins of web pages that may call the API from a browser. Default: none.

    Returns:
        The application. `app.openapi()` describes its routes.

    Raises:
        InvalidInputError: A key or the name of an agent is not accepted.
        InvalidTypeError: An argument has the wrong type.
        ConfigurationError: A package of the extra `api` is not installed.

    Example:
        >>> from langchain_agentmem import AgentMemory
        >>> from langchain_agentmem.serving import Access, create_app
        >>> memory = AgentMemory.from_url("sqlite:///:memory:")
        >>> app = create_app(memory, api_keys={"a-long-random-key": Access(users=["alice@example.com"])})
        >>> memory.close()
    """
    try:
        from langchain_agentmem.serving.application import build
    except ImportError as error:
        raise missing_extra(what="The HTTP API", extra="api") from error
    return build(memory, agents=agents, api_keys=api_keys, limits=limits, cors_origins=cors_origins)
