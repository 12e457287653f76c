"""Settings from arguments, environment variables (`AGENTMEM_*`) and a `.env` file, in this order of precedence."""

from __future__ import annotations

import difflib
import json
import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, cast

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    SkipValidation,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from langchain_agentmem.arguments.caching import ReadCache
from langchain_agentmem.arguments.cleaning import CleanupPolicy
from langchain_agentmem.arguments.durations import seconds
from langchain_agentmem.arguments.ids import check_tenant
from langchain_agentmem.arguments.options import MemoryOptions
from langchain_agentmem.arguments.retention import Retention
from langchain_agentmem.arguments.urls import masked_url
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import ConfigurationError, InvalidTypeError

_PREFIX = "AGENTMEM_"
_FILE = ".env"
_OTHERS = ("AGENTMEM_TEST_",)
"""Beginnings of variables that other programs read."""


_DURATION: TypeAdapter[float | timedelta] = TypeAdapter(float | timedelta)


def _created(kind: type[Any], argument: str, value: Any, **parsed: Any) -> Any:
    """Return an object for a text in the environment: the JSON object of its arguments, or one argument alone.

    Args:
        kind: The class of the object.
        argument: The name of the argument.
        value: The text.
        **parsed: Arguments that take precedence over those in the text.
    """
    if not isinstance(value, str):
        return value
    given = json.loads(value) if value.lstrip().startswith("{") else {argument: value}
    unknown = sorted(set(given).difference(one.name for one in fields(kind)))
    if unknown:
        msg = f"{kind.__name__} has no argument {shown(unknown[0])}"
        raise ValueError(msg)
    try:
        return kind(**{**given, **parsed})
    except InvalidTypeError as error:  # pydantic reports only a `ValueError` with the name of the field
        raise ValueError(str(error)) from None


def _check_duration(value: Any, info: ValidationInfo) -> Any:
    seconds(str(info.field_name), value)
    return value


def _retention(value: Any) -> Any:
    return _created(Retention, "policy", value)


def _read_cache(value: Any) -> Any:
    number = isinstance(value, str) and value.replace(".", "", 1).isdecimal()
    return _created(ReadCache, "max_age", json.dumps({"max_age": float(value)}) if number else value)


def _fields(value: Any) -> Any:
    return [one.strip() for one in value.split(",") if one.strip()] if isinstance(value, str) else value


def _cleanup(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    given = json.loads(value) if value.lstrip().startswith("{") else {"older_than": value}
    if "older_than" not in given:
        msg = "older_than is missing"
        raise ValueError(msg)
    durations = {name: _DURATION.validate_python(given[name]) for name in ("older_than", "interval") if name in given}
    return _created(CleanupPolicy, "older_than", json.dumps(given), **durations)


class AgentMemSettings(BaseSettings):
    """The settings of `AgentMemory.from_settings`. Each can be set by an environment variable, or in the file `.env`.

    Example:
        >>> from langchain_agentmem.settings import AgentMemSettings
        >>> AgentMemSettings(url="sqlite:///:memory:").url
        'sqlite:///:memory:'

    Raises:
        ConfigurationError: An argument is no setting.
        ValidationError: A value is not accepted.
    """

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_file=_FILE, extra="ignore", hide_input_in_errors=True, arbitrary_types_allowed=True
    )

    url: str = Field(default="sqlite:///agentmem.db", min_length=1)
    """The URL of the database (`AGENTMEM_URL`)."""
    tenant: Annotated[str, AfterValidator(check_tenant)] = Field(default="default", min_length=1)
    """The application, when several applications share a database (`AGENTMEM_TENANT`)."""
    ttl: Annotated[float | timedelta | None, AfterValidator(_check_duration)] = None
    """The time without use after which sessions, items and threads expire (`AGENTMEM_TTL`).

    Seconds or a `timedelta`; in the environment, seconds or a duration in ISO 8601 such as `P30D`.
    """
    max_messages: int | None = Field(default=None, ge=1)
    """The maximum number of messages that a history gives to a chain (`AGENTMEM_MAX_MESSAGES`)."""
    max_tokens: int | None = Field(default=None, ge=1)
    """The maximum number of tokens that a history gives to a chain (`AGENTMEM_MAX_TOKENS`)."""
    embeddings: str | None = Field(default=None, min_length=1)
    """The embedding model as `"provider:model"` (`AGENTMEM_EMBEDDINGS`)."""
    retention: Annotated[SkipValidation[Retention] | None, NoDecode, BeforeValidator(_retention)] = None
    """The retention of sessions (`AGENTMEM_RETENTION`).

    In the environment, a policy such as `session`, or the arguments of `Retention` as JSON: `{"max_messages": 100}`.
    """
    read_cache: Annotated[SkipValidation[ReadCache] | None, NoDecode, BeforeValidator(_read_cache)] = None
    """The cache of variables and profiles in the process (`AGENTMEM_READ_CACHE`).

    In the environment, its `max_age` in seconds, or the arguments of `ReadCache` as JSON: `{"size": 500, "max_age": 10}`.
    """
    cleanup: Annotated[SkipValidation[CleanupPolicy] | None, NoDecode, BeforeValidator(_cleanup)] = None
    """The cleanup in the background (`AGENTMEM_CLEANUP`).

    In the environment, its `older_than` in seconds or ISO 8601, or the arguments of `CleanupPolicy` as JSON:
    `{"older_than": "P90D", "interval": "PT6H", "archive": "archive.jsonl"}`.
    """
    session_timeout: Annotated[float | timedelta | None, AfterValidator(_check_duration)] = None
    """The time without activity after which an open session is ended (`AGENTMEM_SESSION_TIMEOUT`), as for `ttl`."""
    key: SecretStr | None = Field(default=None, min_length=1)
    """The key of an encrypted memory (`AGENTMEM_KEY`): the base64 text of 32 bytes, which no `repr` shows.

    Several keys are separated by commas: the current one first, then those that are tried as well.
    """
    searchable: bool | None = None
    """With a key: if true, the database can search words and vectors (`AGENTMEM_SEARCHABLE`)."""
    index_fields: Annotated[list[str] | None, NoDecode, BeforeValidator(_fields)] = None
    """The fields of items that get an index (`AGENTMEM_INDEX_FIELDS`); in the environment, separated by commas."""
    search_cache: float | None = Field(default=None, ge=0)
    """The megabytes that searches of histories may keep in memory (`AGENTMEM_SEARCH_CACHE`); 256 by default."""
    pool_size: int | None = Field(default=None, ge=1, le=1000)
    """The maximum number of connections to Postgres or Redis (`AGENTMEM_POOL_SIZE`). SQLite ignores it."""
    timeout: float | None = Field(default=None, gt=0)
    """The time limit of an operation in seconds (`AGENTMEM_TIMEOUT`)."""

    if not TYPE_CHECKING:  # type checkers know the fields as arguments

        def __init__(self, **values: Any) -> None:
            known = type(self).model_fields
            for name in values:
                if name not in known and not name.startswith("_"):
                    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.7)
                    hint = f" Did you mean {near[0]}?" if near else f" Known settings are {', '.join(known)}."
                    msg = f"AgentMemSettings has no setting {shown(name)}.{hint}"
                    raise ConfigurationError(msg)
            super().__init__(**values)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Return the fields that `repr` and `str` show, with the password in the URL masked."""
        return [(name, masked_url(value) if name == "url" else value) for name, value in super().__repr_args__()]

    @property
    def full_url(self) -> str:
        """The URL with `pool_size` and `timeout` as options. Options that the URL has already take precedence."""
        given = {"pool_size": None if self.url.startswith("sqlite:") else self.pool_size, "timeout": self.timeout}
        query = self.url.partition("?")[2]
        present = {one.partition("=")[0] for one in query.split("&")}
        added = [f"{name}={value:g}" for name, value in given.items() if value is not None and name not in present]
        if not added:
            return self.url
        return f"{self.url}{'&' if query else '' if self.url.endswith('?') else '?'}{'&'.join(added)}"

    @property
    def options(self) -> MemoryOptions:
        """The keyword arguments of `AgentMemory`. Settings that are None are left out."""
        names = (
            "tenant",
            "ttl",
            "max_messages",
            "max_tokens",
            "embeddings",
            "retention",
            "read_cache",
            "cleanup",
            "session_timeout",
            "searchable",
            "index_fields",
            "search_cache",
        )
        given = {name: getattr(self, name) for name in names}
        if self.key is not None:
            keys = [one.strip() for one in self.key.get_secret_value().split(",")]
            given["key"] = keys[0] if len(keys) == 1 else keys
        return cast("MemoryOptions", {name: value for name, value in given.items() if value is not None})


def settings_of_environment(url: str | None = None) -> AgentMemSettings:
    """Read the settings from the environment and `.env`. A variable that looks like one of ours but is none warns.

    Args:
        url: A URL that takes precedence over `AGENTMEM_URL`. Default: None.

    Raises:
        ConfigurationError: A variable is empty or has a wrong value; the error names the variable.

    Example:
        >>> from langchain_agentmem.settings import settings_of_environment
        >>> settings_of_environment().tenant
        'default'
    """
    _check_names({**dotenv_values(_FILE), **os.environ})
    try:
        return AgentMemSettings() if url is None else AgentMemSettings(url=url)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
    hint = (
        " Set seconds, or a duration in ISO 8601 such as P30D." if first["loc"][0] in ("ttl", "session_timeout") else ""
    )
    raise wrong_value(str(first["loc"][0]), first["msg"], hint)


def wrong_value(field: str, cause: object, hint: str = "") -> ConfigurationError:
    """Return the error of a setting whose value came from the environment; it names the variable.

    Args:
        field: The name of the setting.
        cause: What is wrong.
        hint: What to do. Default: "" (`cause` says it).
    """
    name, reason = f"{_PREFIX}{field.upper()}", str(cause).removeprefix("Value error, ").rstrip(".")
    return ConfigurationError(
        f"{name}, in the environment or in {_FILE}, is empty or has a wrong value. Cause: {reason}.{hint}"
    )


def _check_names(environment: Mapping[str, Any]) -> None:
    known = {f"{_PREFIX}{name.upper()}": name.upper() for name in AgentMemSettings.model_fields}
    for name in environment:
        if not name.upper().startswith(_PREFIX) or name.upper() in known or name.upper().startswith(_OTHERS):
            continue
        # The prefix does not count: it makes all names alike.
        near = difflib.get_close_matches(name.upper().removeprefix(_PREFIX), known.values(), n=1)
        hint = f" Did you mean {_PREFIX}{near[0]}?" if near else f" Known variables are {', '.join(known)}."
        warnings.warn(
            f"{name} is no setting of langchain-agentmem and has no effect.{hint}", stacklevel=5
        )  # the line that creates the memory
