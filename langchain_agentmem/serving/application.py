"""Assembling the application of the HTTP API."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidTypeError
from langchain_agentmem.memory import AgentMemory
from langchain_agentmem.serving.access import Access
from langchain_agentmem.serving.limits import ServingLimits
from langchain_agentmem.serving.problems import problem_of
from langchain_agentmem.serving.routes import health, sessions
from langchain_agentmem.serving.service import Service

_log = logging.getLogger("langchain_agentmem.serving")

_GROUPS = (health, sessions)
"""The modules of the routes."""


def build(
    memory: AgentMemory,
    *,
    agents: Mapping[str, Any] | None = None,  # noqa: ARG001
    api_keys: Mapping[str, Access] | None = None,
    limits: ServingLimits | None = None,
    cors_origins: Sequence[str] = (),
) -> FastAPI:
    """Build the application; see `langchain_agentmem.serving.create_app`."""
    if not isinstance(memory, AgentMemory):
        msg = f"memory must be an AgentMemory, got {shown(memory)}. For a URL, pass AgentMemory.from_url(url)."
        raise InvalidTypeError(msg)
    service = Service(memory, api_keys, ServingLimits() if limits is None else limits)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if api_keys is None:
            _log.warning("No API keys: only clients on this machine are accepted. Pass api_keys to serve others.")
        try:
            yield
        finally:
            await memory.aclose()

    app = FastAPI(
        title="langchain-agentmem",
        summary="Memory for agents: sessions, messages, profiles, facts, threads and more.",
        version="1",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        exception_handlers={HTTPException: _problem},
        routes=[route for group in _GROUPS for route in group.routes.routes],
    )
    app.state.agentmem = service
    if cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(cors_origins),
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["X-API-Key", "Content-Type"],
        )
    return app


async def _problem(_: Request, error: Exception) -> Response:
    """Return the response for a path that no route has."""
    return problem_of(error)
