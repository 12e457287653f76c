"""The options of a `sqlite:///` URL, and the path in it."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from langchain_agentmem.arguments.urls import shown_url
from langchain_agentmem.backends.urls import MAX_SECONDS, UrlOptions, parse_options
from langchain_agentmem.errors import ConfigurationError
from langchain_agentmem.text.words import ENGLISH, check_language


class SqliteOptions(UrlOptions):
    """The options of a `sqlite:///` URL."""

    timeout: float = Field(
        default=30.0, ge=0, le=MAX_SECONDS, description=f"a number of seconds from 0 to {MAX_SECONDS}"
    )
    """Seconds to wait for other writers, not counting the time in which they finish transactions."""
    synchronous: Annotated[Literal["full", "normal"], BeforeValidator(str.lower)] = Field(
        default="full", description="full or normal"
    )
    """SQLite's durability setting: `full` survives a power failure, `normal` a crash of the process."""
    language: Annotated[str, AfterValidator(check_language)] = ENGLISH


def split_url(url: str) -> tuple[str, SqliteOptions]:
    """Return the path and the options of a `sqlite:///` URL.

    Raises:
        ConfigurationError: The URL contains no path, or an option is wrong.
    """
    parts = urlsplit(url)
    path = unquote(parts.path.removeprefix("/"))
    if parts.netloc or parts.fragment or not path or not url.startswith("sqlite:///"):
        msg = (
            f"The URL {shown_url(url)!r} contains no path. Write sqlite:///file.db for a file in the working directory, "
            f"sqlite:////folder/file.db for an absolute path, or sqlite:///:memory:. Write %23 for # and %3F for ?."
        )
        raise ConfigurationError(msg)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    return path, parse_options(SqliteOptions, options, f"the URL {shown_url(url)!r}")
