"""MCP by streamable HTTP: the ASGI application, and the authentication of its requests."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import mcp_types as types
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from langchain_agentmem.arguments.values import check_flag, check_list, shown
from langchain_agentmem.errors import InvalidInputError
from langchain_agentmem.memory import AgentMemory
from langchain_agentmem.serving.access import (
    CHALLENGE,
    MISSING_KEY,
    UNKNOWN_KEY,
    Access,
    ApiKeys,
    api_key_in,
    refusal_without_key,
)
from langchain_agentmem.serving.mcp.callers import Caller
from langchain_agentmem.serving.mcp.server import CALLER, McpSettings, build

MAX_BODY = 1_048_576
"""The maximum size of a request, in bytes."""

_LOCAL = ("127.0.0.1", "localhost", "[::1]")

_log = logging.getLogger("langchain_agentmem.serving.mcp")


class HttpSettings(NamedTuple):
    """The settings of the application; see `create_mcp_app`."""

    path: str
    allowed_hosts: Sequence[str]
    close_memory: bool


def build_app(
    memory: AgentMemory,
    user_id: str | None,
    api_keys: Mapping[str, Access] | None,
    settings: McpSettings,
    http: HttpSettings,
) -> Starlette:
    """Build the application; see `create_mcp_app`."""
    if (user_id is None) == (api_keys is None):
        msg = (
            "Pass user_id to serve one user without API keys, or api_keys to serve the users of the keys: one of them."
        )
        raise InvalidInputError(msg)
    if not isinstance(http.path, str) or not http.path.startswith("/"):
        msg = f'path must begin with a slash, such as "/mcp"; got {shown(http.path)}.'
        raise InvalidInputError(msg)
    check_flag("close_memory", http.close_memory)
    hosts = _checked_hosts(http.allowed_hosts)
    server = build(memory, user_id, settings)
    manager = StreamableHTTPSessionManager(
        server,
        json_response=True,
        stateless=True,
        security_settings=TransportSecuritySettings(
            allowed_hosts=hosts,
            allowed_origins=[f"{scheme}://{host}" for host in hosts for scheme in ("http", "https")],
        ),
        max_request_body_size=MAX_BODY,
    )
    callers = None if api_keys is None else _callers(memory, api_keys)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            async with manager.run():
                yield
        finally:
            if http.close_memory:
                await memory.aclose()

    # The session manager answers all methods of HTTP; a stream of a server without sessions would stay empty.
    endpoint = _Authenticated(StreamableHTTPASGIApp(manager), None if api_keys is None else ApiKeys(api_keys), callers)
    return Starlette(routes=[Route(http.path, endpoint=endpoint, methods=["POST"])], lifespan=lifespan)


def _checked_hosts(allowed: Sequence[str]) -> list[str]:
    given = check_list("allowed_hosts", allowed)
    for host in given:
        if not host or not host.isascii() or not host.isprintable() or "/" in host or " " in host:
            msg = (
                f'allowed_hosts must hold host names such as "memory.example.com", without a scheme; got {shown(host)}.'
            )
            raise InvalidInputError(msg)
    return [*_LOCAL, *(f"{name}:*" for name in _LOCAL), *given]


def _callers(memory: AgentMemory, api_keys: Mapping[str, Access]) -> list[Caller | None]:
    """Return the caller of each key; None for a key that is not bound to one user."""
    ApiKeys(api_keys)  # checks them
    found: list[Caller | None] = []
    for access in api_keys.values():
        own = memory if access.tenant is None else memory.for_tenant(access.tenant)
        users = tuple(access.users or ())
        found.append(Caller(own, users[0]) if len(users) == 1 else None)
    if not any(found):
        msg = "No API key is bound to exactly one user. Pass a key with Access(users=[user_id])."
        raise InvalidInputError(msg)
    return found


class _Authenticated:
    """Authenticates requests: by the API key, or without keys by the address of the client.

    Args:
        app: The application that handles the requests.
        keys: The API keys; None for a server of one user without keys.
        callers: The caller of each key.
    """

    def __init__(self, app: ASGIApp, keys: ApiKeys | None, callers: list[Caller | None] | None) -> None:
        self._app = app
        self._keys = keys
        self._callers = callers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = self._refusal(scope)
        await (self._app if refused is None else refused)(scope, receive, send)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        """Note the caller in the scope, or return the response to a request that is refused."""
        headers = Headers(scope=scope)
        if self._keys is None or self._callers is None:
            client = scope.get("client")
            reason = refusal_without_key(client[0] if client else None, headers)
            return None if reason is None else _refused(403, reason)
        key = api_key_in(headers)
        if key is None:
            return _refused(401, MISSING_KEY)
        number = self._keys.number(key)
        if number is None:
            return _refused(401, UNKNOWN_KEY)
        caller = self._callers[number]
        if caller is None:
            return _refused(403, "The API key is not bound to exactly one user.")
        scope[CALLER] = caller
        return None


def _refused(status: int, message: str) -> JSONResponse:
    error = {"code": types.INVALID_REQUEST, "message": message}
    return JSONResponse({"jsonrpc": "2.0", "id": None, "error": error}, status, CHALLENGE if status == 401 else None)
