"""The routes of the HTTP API: authentication, limits, errors and logs of every request."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any
from urllib.parse import unquote

from fastapi import APIRouter, Depends
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Message, Receive, Scope, Send

from langchain_agentmem.serving.problems import ProblemError, WrongPart, documented, log_error, problem, problem_of
from langchain_agentmem.serving.service import Service

_log = logging.getLogger("langchain_agentmem.serving")

_HEADERS = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))

_MAX_SHOWN = 100
"""The maximum number of characters of a query parameter's name in an error, and of names in it."""

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class ServedRoute(APIRoute):
    """A route that requires an API key. Unknown query parameters are refused.

    A percent-encoded slash in the path belongs to a parameter: parameters are split before they are decoded.
    """

    is_open = False
    """If true, no key is required."""
    is_long = False
    """If true, the request has the time limit of runs, which the route itself applies."""
    is_import = False
    """If true, the body may have the size of an import."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match the path before it is decoded, and decode the parameters."""
        raw = scope.get("raw_path")
        if scope["type"] != "http" or not raw or "%" not in (path := raw.decode("ascii", "replace").partition("?")[0]):
            return super().matches(scope)
        match, child = super().matches({**scope, "path": path})
        if match is not Match.NONE:
            given = scope.get("path_params", {})
            own = {name: unquote(value) for name, value in child["path_params"].items() if name not in given}
            child["path_params"] = {**given, **own}
        return match, child

    def get_route_handler(self) -> Handler:
        """Return the handler of the route, which authenticates first and turns errors into problems."""
        inner = super().get_route_handler()
        known = sorted(set(_query_parameters(self.dependant)))

        async def handle(request: Request) -> Response:
            try:
                if not self.is_open:
                    request.state.caller = await _service(request.scope).authenticate(request)
                wrong = _unknown_parameters(request, known)
                if wrong:
                    return problem(422, "The request has unknown query parameters. See errors.", errors=wrong)
                return await inner(request)
            except Exception as error:  # the last resort: no error reaches the client with its text
                return problem_of(error)

        return handle

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request within its limits, and log it."""
        service = _service(scope)
        limits = service.limits
        status = 0
        started = time.perf_counter()

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        most = limits.import_bytes if self.is_import else limits.body_bytes
        seconds = limits.run_timeout if self.is_import else limits.timeout
        receiving = _limited(scope, receive, most, seconds)
        try:
            async with asyncio.timeout(None if self.is_long else limits.timeout):
                await super().handle(scope, receiving, sending)
        except TimeoutError as error:
            log_error(error)
            if status:
                raise
            await problem(504, "The request took too long.")(scope, receiving, sending)
        finally:
            milliseconds = round((time.perf_counter() - started) * 1000, 1)
            _log.info(
                "%s %s %d %.1f ms",
                scope["method"],
                self.path,
                status,
                milliseconds,
                extra={"method": scope["method"], "route": self.path, "status": status, "milliseconds": milliseconds},
            )


class OpenRoute(ServedRoute):
    """A route that requires no API key."""

    is_open = True


class LongRoute(ServedRoute):
    """A route of requests that may take long."""

    is_long = True


class ImportRoute(LongRoute):
    """A route of requests with large bodies."""

    is_import = True


_ABOUT_KEYS = "The API key. A service without keys accepts local clients only."
_HEADERS_OF_KEYS = (
    APIKeyHeader(name="X-API-Key", auto_error=False, description=_ABOUT_KEYS),
    HTTPBearer(auto_error=False, description=_ABOUT_KEYS),
)
"""The headers that carry the key of a request: one of them, as `api_key_in` reads them."""


def router(tag: str, *more: int, route: type[ServedRoute] = ServedRoute, prefix: str = "/v1") -> APIRouter:
    """Create the router of a group of routes.

    Args:
        tag: The name of the group.
        *more: Statuses that the routes return beside those of all routes.
        route: The class of the routes. Default: `ServedRoute`.
        prefix: The beginning of the paths. Default: `"/v1"`.
    """
    return APIRouter(
        prefix=prefix,
        tags=[tag],
        route_class=route,
        responses={422: documented()[422]} if route.is_open else documented(*more),
        dependencies=[] if route.is_open else [Depends(one) for one in _HEADERS_OF_KEYS],
    )


def _query_parameters(dependant: Dependant) -> Iterator[str]:
    """Yield the names of the query parameters of a route and of its dependencies."""
    yield from (one.alias for one in dependant.query_params)
    for dependency in dependant.dependencies:
        yield from _query_parameters(dependency)


def _unknown_parameters(request: Request, known: list[str]) -> list[WrongPart]:
    """Return the query parameters of a request that its route does not have."""
    reason = f"Unknown query parameter. Known ones: {', '.join(known) or 'none'}."
    unknown = [name for name in request.query_params if name not in known]
    return [WrongPart(where=["query", name[:_MAX_SHOWN]], reason=reason) for name in unknown[:_MAX_SHOWN]]


def _service(scope: Scope) -> Service:
    service: Service = scope["app"].state.agentmem
    return service


def _limited(scope: Scope, receive: Receive, most: int, seconds: float | None) -> Receive:
    """Return `receive` with a maximum size of the body, and a time limit for it."""
    left, is_complete = most, False
    ends = None if seconds is None else asyncio.get_running_loop().time() + seconds
    too_large = f"The body is too large: at most {most:,} bytes are accepted."
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    is_stated_too_large = any(value.isdigit() and int(value) > most for value in lengths)

    async def limited() -> Message:
        nonlocal left, is_complete
        if is_stated_too_large:
            raise ProblemError(413, too_large)
        if is_complete:
            return await receive()
        try:
            async with asyncio.timeout_at(ends):
                message = await receive()
        except TimeoutError:
            raise ProblemError(504, "The request took too long.") from None
        is_complete = not message.get("more_body")
        if message["type"] == "http.request":
            left -= len(message.get("body", b""))
            if left < 0:
                raise ProblemError(413, too_large)
        return message

    return limited
