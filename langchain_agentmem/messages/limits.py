"""The limits of chat models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def input_limit(model: Any) -> int | None:
    """Return the number of input tokens that a chat model accepts, from its profile; None if it is unknown.

    Args:
        model: A chat model, or any other object.

    Example:
        >>> from langchain_core.language_models.fake_chat_models import ParrotFakeChatModel
        >>> from langchain_agentmem.messages.limits import input_limit
        >>> input_limit(ParrotFakeChatModel(profile={"max_input_tokens": 128_000}))
        128000
        >>> input_limit("gpt-4o") is None
        True
    """
    profile = getattr(model, "profile", None)
    limit = profile.get("max_input_tokens") if isinstance(profile, Mapping) else None
    return limit if isinstance(limit, int) and not isinstance(limit, bool) and limit > 0 else None
