"""Export and import, as JSON Lines."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import Query
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send

from langchain_agentmem.errors import InvalidInputError
from langchain_agentmem.serving.callers import CallerOf, OwnerOf, WholeMemory
from langchain_agentmem.serving.problems import ProblemError
from langchain_agentmem.serving.routes.models import Answer, OptionalSessionId, OptionalThreadId
from langchain_agentmem.serving.routing import ImportRoute, LongRoute, router
from langchain_agentmem.serving.threads import may_access

MEDIA_TYPE = "application/x-ndjson"

routes = router("transfer", 404, route=LongRoute)
import_routes = router("transfer", 409, route=ImportRoute)

_LINES: dict[str, Any] = {MEDIA_TYPE: {"schema": {"type": "string"}}}


class Imported(Answer):
    """The result of an import: the number of objects by kind."""

    counts: dict[str, int]
    """Stored."""
    unchanged: dict[str, int]
    """Stored already, and equal."""
    kept: dict[str, int]
    """Left out because a different one is stored."""
    expired: dict[str, int]
    """Left out because they have expired since the export."""


class _Export(FileResponse):
    """A file that is sent as a whole, and is deleted with its folder afterwards, also if the client has left."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [one for one in scope["headers"] if one[0] != b"range"]  # each request makes another file
        try:
            await super().__call__({**scope, "headers": headers}, receive, send)
        finally:
            await asyncio.to_thread(shutil.rmtree, Path(self.path).parent, ignore_errors=True)


@routes.get(
    "/export",
    response_class=FileResponse,
    responses={200: {"description": "The lines.", "content": _LINES}},
)
async def export(
    request: Request,
    caller: CallerOf,
    owner: OwnerOf,
    session_id: OptionalSessionId = None,
    thread_id: OptionalThreadId = None,
) -> FileResponse:
    """Export what is stored as JSON Lines: everything, or the data of a user, a session or a thread.

    The export is complete before the first line is sent.
    """
    if thread_id is not None and not await may_access(caller, thread_id, owner):
        raise ProblemError(404, "The thread does not exist.")
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="agentmem-export-"))
    try:
        async with asyncio.timeout(request.app.state.agentmem.limits.run_timeout):
            await caller.memory.aexport(
                folder / "memory.jsonl", session_id=session_id, user_id=owner, thread_id=thread_id
            )
    except BaseException:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        raise
    return _Export(folder / "memory.jsonl", media_type=MEDIA_TYPE, filename="memory.jsonl")


@import_routes.post(
    "/import",
    response_model=Imported,
    openapi_extra={"requestBody": {"required": True, "content": _LINES}},
)
async def import_lines(
    request: Request,
    memory: WholeMemory,
    existing: Annotated[
        Literal["error", "keep", "replace"],
        Query(description="What to do with an object that is stored already and differs."),
    ] = "error",
) -> Any:
    """Import the lines of an export. All lines are checked before anything is stored."""
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="agentmem-import-"))
    try:
        async with asyncio.timeout(request.app.state.agentmem.limits.run_timeout):
            path = folder / "memory.jsonl"
            file = await asyncio.to_thread(path.open, "wb")
            try:
                async for part in request.stream():
                    await asyncio.to_thread(file.write, part)
            finally:
                await asyncio.to_thread(file.close)
            try:
                return await memory.aimport_from(path, existing=existing)
            except InvalidInputError as error:  # without the path, which is of this machine
                raise InvalidInputError(str(error).replace(str(path), path.name)) from None
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
