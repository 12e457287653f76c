"""Settings from arguments, the environment (`AGENTMEM_*`) and a `.env` file, in this order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic_settings import BaseSettings, SettingsConfigDict

from langchain_agentmem.arguments.urls import masked_url


class AgentMemSettings(BaseSettings):
    """What `AgentMemory.from_settings` starts from.

    Example:
        >>> from langchain_agentmem.settings import AgentMemSettings
        >>> AgentMemSettings(url="sqlite:///:memory:").url
        'sqlite:///:memory:'
    """

    model_config = SettingsConfigDict(
        env_prefix="AGENTMEM_", env_file=".env", extra="ignore", hide_input_in_errors=True
    )

    url: str = "sqlite:///agentmem.db"
    """Which database (`AGENTMEM_URL`)."""
    tenant: str = "default"
    """Which of several applications on one database (`AGENTMEM_TENANT`)."""
    ttl: float | None = None
    """Seconds without use after which sessions, items and threads expire (`AGENTMEM_TTL`)."""
    max_messages: int | None = None
    """The most messages that a history gives a chain (`AGENTMEM_MAX_MESSAGES`)."""

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """What `repr` and `str` show: the URL without its password."""
        return [(name, masked_url(value) if name == "url" else value) for name, value in super().__repr_args__()]
