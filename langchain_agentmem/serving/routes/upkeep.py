"""Users, statistics, and forgetting a user."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from langchain_agentmem.serving.callers import CallerOf, WholeMemory
from langchain_agentmem.serving.routes.models import ALICE, Answer, Body, Id, Limit, Listing, Offset, part
from langchain_agentmem.serving.routing import router

routes = router("upkeep")


class ForgottenUser(Body):
    """A user to forget."""

    user_id: Id | None = Field(default=None, examples=[ALICE])
    shared: Literal["keep", "delete"] = "keep"
    """Threads with other users: `keep` removes the user from the list of their users, `delete` deletes them."""
    dry_run: bool = False
    """If true, delete nothing, and return what would be deleted."""


class Kept(Answer):
    """Data that was kept."""

    kind: str = Field(examples=["thread"])
    name: str
    reason: str


class Receipt(Answer):
    """What was deleted, and what was kept for which reason."""

    user_id: str = Field(examples=[ALICE])
    dry_run: bool
    """True if nothing was deleted: `deleted` counts what would be."""
    deleted: dict[str, int] = Field(examples=[{"sessions": 1, "messages": 2}])
    forgotten_at: datetime
    kept: list[Kept]


class ReadCacheUse(Answer):
    """The use of the read cache of the serving process."""

    hits: int
    misses: int
    entries: int
    size: int


class Statistics(Answer):
    """The statistics of a tenant."""

    backend: str = Field(examples=["sqlite"])
    tenant: str = Field(examples=["default"])
    taken_at: datetime
    entries: dict[str, int] = Field(examples=[{"sessions": 1, "messages": 2}])
    users: int
    agents: int
    expiries: dict[str, dict[str, int]]
    bytes: int | None
    bytes_by_table: dict[str, int]
    cache: ReadCacheUse


@routes.get("/users", response_model=Listing[str])
async def list_users(memory: WholeMemory, limit: Limit = 100, offset: Offset = 0) -> Any:
    """List the IDs of all users."""
    return part(await memory.ausers(limit=limit + 1, offset=offset), limit, offset)


@routes.get("/stats", response_model=Statistics)
async def get_stats(memory: WholeMemory) -> Any:
    """Count what is stored."""
    return await memory.astats()


@routes.post("/forget", response_model=Receipt)
async def forget(caller: CallerOf, forgotten: ForgottenUser) -> Any:
    """Delete everything that is stored about a user, and return the receipt."""
    user = caller.required_user(forgotten.user_id)
    if forgotten.shared == "delete":
        caller.require_all_users()
    return await caller.memory.aforget(user, shared=forgotten.shared, dry_run=forgotten.dry_run)
