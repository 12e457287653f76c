"""Settings from arguments, environment variables (`AGENTMEM_*`) and a `.env` file, in this order of precedence."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from langchain_agentmem.arguments.urls import masked_url
from langchain_agentmem.errors import ConfigurationError


class AgentMemSettings(BaseSettings):
    """The settings of `AgentMemory.from_settings`.

    Example:
        >>> from langchain_agentmem.settings import AgentMemSettings
        >>> AgentMemSettings(url="sqlite:///:memory:").url
        'sqlite:///:memory:'
    """

    model_config = SettingsConfigDict(
        env_prefix="AGENTMEM_", env_file=".env", extra="ignore", hide_input_in_errors=True
    )

    url: str = "sqlite:///agentmem.db"
    """The URL of the database (`AGENTMEM_URL`)."""
    tenant: str = "default"
    """The application, when several applications share a database (`AGENTMEM_TENANT`)."""
    ttl: float | timedelta | None = None
    """The time without use after which sessions, items and threads expire (`AGENTMEM_TTL`).

    Seconds or a `timedelta`; in the environment, seconds or a duration in ISO 8601 such as `P30D`.
    """
    max_messages: int | None = None
    """The maximum number of messages that a history gives to a chain (`AGENTMEM_MAX_MESSAGES`)."""

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Return the fields that `repr` and `str` show, with the password in the URL masked."""
        return [(name, masked_url(value) if name == "url" else value) for name, value in super().__repr_args__()]


def settings_of_environment(url: str | None = None) -> AgentMemSettings:
    """Read the settings from the environment and `.env`.

    Args:
        url: A URL that takes precedence over `AGENTMEM_URL`. Default: None.

    Raises:
        ConfigurationError: A variable is empty or has a wrong value; the error names the variable.

    Example:
        >>> from langchain_agentmem.settings import settings_of_environment
        >>> settings_of_environment().tenant
        'default'
    """
    try:
        settings = AgentMemSettings() if url is None else AgentMemSettings(url=url)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = f"AGENTMEM_{str(first['loc'][0]).upper()}"
        hint = " Set seconds, or a duration in ISO 8601 such as P30D." if name == "AGENTMEM_TTL" else ""
        msg = f"{name}, in the environment or in .env, has a wrong value. Cause: {first['msg']}.{hint}"
        raise ConfigurationError(msg) from None
    for name in ("url", "tenant"):
        if not getattr(settings, name):
            msg = (
                f"AGENTMEM_{name.upper()}, in the environment or in .env, is empty. Set a value or remove the variable."
            )
            raise ConfigurationError(msg)
    return settings
