"""Whether the service runs, and whether it can use its database."""

from __future__ import annotations

from typing import Literal

from starlette.requests import Request

from langchain_agentmem.errors import AgentMemError
from langchain_agentmem.serving.problems import ProblemError, documented, log_error
from langchain_agentmem.serving.routes.models import Answer
from langchain_agentmem.serving.routing import OpenRoute, router

routes = router("health", route=OpenRoute, prefix="")


class Health(Answer):
    """The state of the service."""

    status: Literal["ok"] = "ok"


@routes.get("/health")
async def health() -> Health:
    """Return whether the service runs. It does not use the database, and requires no key."""
    return Health()


@routes.get("/ready", responses={status: documented()[status] for status in (503, 504)})
async def ready(request: Request) -> Health:
    """Return whether the service can use its database. It requires no key."""
    try:
        await request.app.state.agentmem.memory.asetup()
    except AgentMemError as error:
        log_error(error)
        raise ProblemError(503, "The database cannot be used.", {"Retry-After": "1"}) from None
    return Health()
