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

from langchain_agentmem.arguments.values import check_list, shown
from langchain_agentmem.errors import InvalidTypeError
from langchain_agentmem.memory import AgentMemory
from langchain_agentmem.serving.access import Access
from langchain_agentmem.serving.limits import ServingLimits
from langchain_agentmem.serving.page.files import page_routes
from langchain_agentmem.serving.problems import problem_of, schemas
from langchain_agentmem.serving.routes import (
    agents as agent_routes,
)
from langchain_agentmem.serving.routes import (
    entities,
    health,
    knowledge,
    memories,
    messages,
    profiles,
    records,
    sessions,
    sizes,
    summaries,
    threads,
    transfer,
    upkeep,
    variables,
)
from langchain_agentmem.serving.service import Service

_log = logging.getLogger("langchain_agentmem.serving")

_ROUTERS = (
    health.routes,
    agent_routes.routes,
    agent_routes.run_routes,
    variables.agent_routes,
    sessions.routes,
    messages.routes,
    summaries.routes,
    profiles.routes,
    memories.routes,
    entities.routes,
    knowledge.routes,
    threads.routes,
    sizes.routes,
    variables.routes,
    records.routes,
    transfer.routes,
    transfer.import_routes,
    upkeep.routes,
)
"""The routers, in the order of the OpenAPI document."""


def build(
    memory: AgentMemory,
    *,
    agents: Mapping[str, Any] | None = None,
    api_keys: Mapping[str, Access] | None = None,
    limits: ServingLimits | None = None,
    cors_origins: Sequence[str] = (),
) -> FastAPI:
    """Build the application; see `langchain_agentmem.serving.create_app`."""
    if not isinstance(memory, AgentMemory):
        msg = f"memory must be an AgentMemory, got {shown(memory)}. For a URL, pass AgentMemory.from_url(url)."
        raise InvalidTypeError(msg)
    origins = check_list("cors_origins", cors_origins)
    service = Service(memory, agents, api_keys, ServingLimits() if limits is None else limits)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if api_keys is None:
            _log.warning("No API keys: only clients on this machine are accepted. Pass api_keys to serve others.")
        try:
            yield
        finally:
            await service.close()

    app = FastAPI(
        title="langchain-agentmem",
        summary="Memory for agents: sessions, messages, profiles, facts, threads and more.",
        version="1",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        exception_handlers={HTTPException: _problem},
        routes=[*(route for group in _ROUTERS for route in group.routes), *page_routes()],
    )
    app.state.agentmem = service
    describe = app.openapi

    def described() -> dict[str, Any]:
        document = describe()
        document["components"]["schemas"].update(schemas())
        return document

    app.openapi = described  # type: ignore[method-assign]  # as FastAPI documents it
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["X-API-Key", "Authorization", "Content-Type"],
            expose_headers=["Retry-After"],
        )
    return app


async def _problem(_: Request, error: Exception) -> Response:
    """Return the response for a path that no route has."""
    return problem_of(error)
