"""Errors as responses of the media type `application/problem+json` (RFC 9457)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from langchain_agentmem.errors import (
    AgentMemError,
    ConflictError,
    EmbeddingError,
    InvalidInputError,
    InvalidTypeError,
    StorageBusyError,
    StorageClosedError,
    StorageError,
    ThreadInUseError,
    UnknownCollectionError,
    UnknownMessageError,
    UnknownSelectionError,
)
from langchain_agentmem.serving.failures import places_of

_log = logging.getLogger("langchain_agentmem.serving")

MEDIA_TYPE = "application/problem+json"

_NO_JSON = "The body must be JSON, and the header Content-Type must be application/json."

_SCHEMAS = "#/components/schemas/"


class WrongPart(BaseModel):
    """A part of a request that is not accepted."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    where: list[str | int] = Field(examples=[["body", "title"]])
    """The path of the part: `body`, `query` or `path`, and names."""
    reason: str = Field(examples=["Field required"])


class Problem(BaseModel):
    """An error."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    type: str = Field(default="about:blank", examples=["about:blank"])
    title: str = Field(examples=["Forbidden"])
    """The meaning of the status."""
    status: int = Field(examples=[403])
    """The HTTP status."""
    detail: str = Field(default="", examples=["This API key may not access the user."])
    """What failed, and what to do."""
    errors: list[WrongPart] | None = None
    """The parts of the request that are not accepted."""


class ProblemError(HTTPException):
    """An error with a status, which a route raises.

    Args:
        status: The HTTP status.
        detail: What failed, and what to do.
        headers: Headers of the response. Default: None.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, detail, headers=None if headers is None else dict(headers))


_STATUSES: tuple[tuple[type[Exception], int, str | None], ...] = (
    (UnknownMessageError, 404, None),
    (UnknownCollectionError, 404, None),
    (UnknownSelectionError, 404, None),
    (InvalidInputError, 422, None),
    (InvalidTypeError, 422, None),
    (ThreadInUseError, 409, None),
    (ConflictError, 409, "Concurrent requests kept changing the same data. Try again."),
    (StorageBusyError, 503, "The database is busy. Try again."),
    (StorageClosedError, 503, "The service is shutting down."),
    (StorageError, 503, "The database could not perform the operation."),
    (EmbeddingError, 502, "The embedding model failed."),
    (TimeoutError, 504, "The request took too long."),
)
"""The errors, each with its status and its text; None for the text of the error, which quotes the request only."""

_SHARED = {
    401: "The API key is missing or unknown.",
    403: "The API key may not access this, or the request does not come from the same machine.",
    413: "The body is too large.",
    422: "A value is not accepted.",
    429: "Too many requests.",
    500: "An unexpected error, which the service logged.",
    503: "The database cannot be reached, or the service is shutting down.",
    504: "The request took too long.",
}

_OPTIONAL = {400: "The body cannot be read.", 404: "Not found.", 409: "A conflict.", 502: "A model failed."}


def documented(*more: int) -> dict[int | str, dict[str, Any]]:
    """Return the errors of a route, for its OpenAPI description.

    Args:
        *more: Statuses beside those of all routes.
    """
    texts = {**_SHARED, 400: _OPTIONAL[400], **{status: _OPTIONAL[status] for status in more}}
    return {
        status: {
            "description": text,
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": f"{_SCHEMAS}Problem"},
                    "example": {"type": "about:blank", "title": title_of(status), "status": status, "detail": text},
                }
            },
        }
        for status, text in sorted(texts.items())
    }


def schemas() -> dict[str, Any]:
    """Return the schemas that `documented` refers to, by name."""
    schema = Problem.model_json_schema(ref_template=_SCHEMAS + "{model}")
    parts: dict[str, Any] = schema.pop("$defs")
    return {**parts, "Problem": schema}


def title_of(status: int) -> str:
    """Return the meaning of a status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def problem(
    status: int, detail: str, *, headers: Mapping[str, str] | None = None, errors: list[WrongPart] | None = None
) -> Response:
    """Return the response for an error.

    Args:
        status: The HTTP status.
        detail: What failed, and what to do.
        headers: Headers of the response. Default: None.
        errors: The parts of the request that are not accepted. Default: None.
    """
    shown = detail.encode(
        errors="backslashreplace"
    ).decode()  # a value that it quotes may hold half of a surrogate pair
    content = Problem(title=title_of(status), status=status, detail=shown, errors=errors)
    return JSONResponse(
        content.model_dump(exclude_none=True),
        status,
        headers=None if headers is None else dict(headers),
        media_type=MEDIA_TYPE,
    )


def problem_of(error: Exception) -> Response:
    """Return the response for an exception. It quotes nothing but the request.

    Args:
        error: The exception. An unexpected one is logged: its type and its places in the code, without its text.
    """
    if isinstance(error, RequestValidationError):
        if (
            isinstance(error.body, bytes) and error.body
        ):  # FastAPI parses a body only if its Content-Type is that of JSON
            part = WrongPart(where=["header", "content-type"], reason=_NO_JSON)
            return problem(422, _NO_JSON, errors=[part])
        parts = [WrongPart(where=list(one["loc"]), reason=str(one.get("msg", ""))) for one in error.errors()]
        return problem(422, "The request is not valid. See errors.", errors=parts)
    if isinstance(error, HTTPException):
        detail = error.detail if isinstance(error.detail, str) else title_of(error.status_code)
        return problem(error.status_code, detail, headers=error.headers)
    for kind, status, text in _STATUSES:
        if isinstance(error, kind):
            if status >= 500:
                log_error(error)
            headers = {"Retry-After": "1"} if status == 503 else None
            return problem(status, str(error) if text is None else text, headers=headers)
    log_error(error)
    known = isinstance(error, AgentMemError)
    return problem(500, "The service is not configured correctly." if known else "An unexpected error.")


def log_error(error: BaseException) -> None:
    """Log an exception: its type and its places in the code. Its text may quote stored data, so it is left out."""
    name, places = type(error).__name__, places_of(error)
    _log.error("%s, at %s", name, ", ".join(places), extra={"error": name, "places": places})
