"""The routes that serve the files of the page. They require no API key; the page sends one to the HTTP API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""Everything comes from the same origin, and no text can become markup or a script."""

_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cache-Control": "no-cache",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
"""The media types by the ending of the name."""

_START = "index.html"


class StaticFile(NamedTuple):
    """A file of the page."""

    content: bytes
    media_type: str
    etag: str


@lru_cache(maxsize=1)
def static_files() -> dict[str, StaticFile]:
    """Return the files of the page by name.

    Example:
        >>> from langchain_agentmem.serving.page.files import static_files
        >>> static_files()["main.js"].media_type
        'text/javascript; charset=utf-8'
    """
    found = {}
    for path in files(__package__).joinpath("static").iterdir():
        ending = path.name.rpartition(".")[2]
        if ending in _TYPES:
            content = path.read_bytes()
            found[path.name] = StaticFile(content, _TYPES[ending], f'"{sha256(content).hexdigest()[:32]}"')
    return found


def page_routes() -> list[BaseRoute]:
    """Return the routes of the page: `/`, and a route for each of its other files.

    The addresses in the files are relative, so the page works below any path that the application is mounted at.
    """
    names = {"/" if name == _START else f"/page/{name}": name for name in sorted(static_files())}
    return [
        Route(path, _endpoint(static_files()[name]), methods=["GET"], name=f"page {name}", include_in_schema=False)
        for path, name in names.items()
    ]


def _endpoint(file: StaticFile) -> Callable[[Request], Awaitable[Response]]:
    headers = {**_HEADERS, "ETag": file.etag}

    async def serve(request: Request) -> Response:
        if _is_known(request.headers.get("if-none-match", ""), file.etag):
            return Response(status_code=304, headers=headers)
        return Response(file.content, headers=headers, media_type=file.media_type)

    return serve


def _is_known(condition: str, etag: str) -> bool:
    """Return true if a condition `If-None-Match` names an ETag. A proxy that compresses may have marked it as weak."""
    return any(one.strip().removeprefix("W/") in {"*", etag} for one in condition.split(","))
