"""Options in database URLs: one pydantic model for each backend, and the function that parses all of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import ConfigurationError
from langchain_agentmem.text.words import ENGLISH

MAX_SECONDS = 86_400
"""The longest timeout: one day."""

_LONGEST_NUMBER = 9


def _as_flag(value: Any) -> Any:
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


def _as_count(value: Any) -> Any:
    return int(value) if isinstance(value, str) and is_whole_number(value) else value


def is_whole_number(text: str) -> bool:
    """Return true if a text is a whole number of at most nine ASCII digits, without a sign."""
    return text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER


Flag = Annotated[bool, BeforeValidator(_as_flag), Field(strict=True, description="true or false")]
"""The type of an option that is `true` or `false`."""

Count = Annotated[int, BeforeValidator(_as_count), Field(strict=True)]
"""The type of an option that is a whole number."""


class UrlOptions(BaseModel):
    """Options of every backend.

    Each field describes its accepted values in `description`, which completes the sentence "The option … must be" of an
    error. A field may have an alias as its name in URLs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, regex_engine="python-re")

    timeout: float = Field(default=30.0, gt=0, le=MAX_SECONDS, description=f"a number of seconds up to {MAX_SECONDS}")
    """The time limit of an operation in seconds."""
    language: str = Field(default=ENGLISH, description="the name of a language")
    """The language of the texts, for full-text search."""


class PooledOptions(UrlOptions):
    """Options of a backend whose connections are in pools."""

    pool_size: Count = Field(default=10, ge=1, le=1000, description="a whole number from 1 to 1000")
    """The maximum number of connections of each pool."""


Options = TypeVar("Options", bound=UrlOptions)


def option_names(model: type[UrlOptions]) -> list[str]:
    """Return the names of a model's options in URLs, sorted."""
    return sorted(field.alias or name for name, field in model.model_fields.items())


def parse_options(model: type[Options], given: Mapping[str, Any], where: str, *, hint: str = "") -> Options:
    """Check the options of a URL.

    Args:
        model: The backend's options.
        given: The options as texts by name.
        where: The URL without password and options, for errors: "the Postgres URL".
        hint: Text after the known options, in the error about an unknown one. Default: none.

    Raises:
        ConfigurationError: An option is unknown, or its value is not accepted.

    Example:
        >>> from langchain_agentmem.backends.urls import PooledOptions, parse_options
        >>> parse_options(PooledOptions, {"pool_size": "20"}, "the URL").pool_size
        20
    """
    check_names(given, option_names(model), where, hint=hint)
    # The error is raised outside of the handler: pydantic's own error is not part of its context.
    wrong: ConfigurationError | None = None
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        wrong = _error_of(model, error, given)
    raise wrong


def check_names(given: Collection[str], known: Collection[str], where: str, *, hint: str = "") -> None:
    """Refuse unknown options.

    Args:
        given: The names of the options.
        known: The known names, in the order of the error.
        where: As in `parse_options`.
        hint: As in `parse_options`.

    Raises:
        ConfigurationError: An option is unknown.
    """
    unknown = sorted(set(given).difference(known))
    if unknown:
        msg = f"Unknown option {shown(unknown[0])} in {where}. Known options are {', '.join(known)}.{hint}"
        raise ConfigurationError(msg)


def _error_of(model: type[UrlOptions], error: ValidationError, given: Mapping[str, Any]) -> ConfigurationError:
    first = error.errors(include_url=False, include_input=False)[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, ConfigurationError):  # a validator of ours
        return cause
    name = str(first["loc"][0])
    wanted = next(field.description for own, field in model.model_fields.items() if name in (own, field.alias))
    return ConfigurationError(f"The option {name} must be {wanted}, got {shown(given[name])}.")
