"""The limits and capabilities of chat models, as their profiles state them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def input_limit(model: Any) -> int | None:
    """Return the number of input tokens that a chat model accepts; None if its profile does not state it.

    Args:
        model: A chat model. An object without a profile gives None.

    Example:
        >>> from langchain_core.language_models.fake_chat_models import ParrotFakeChatModel
        >>> from langchain_agentmem.messages.limits import input_limit
        >>> input_limit(ParrotFakeChatModel(profile={"max_input_tokens": 128_000}))
        128000
        >>> input_limit("gpt-4o") is None
        True
    """
    limit = _profile_of(model).get("max_input_tokens")
    return limit if isinstance(limit, int) and not isinstance(limit, bool) and limit > 0 else None


def tool_calling(model: Any) -> bool | None:
    """Return true if a chat model supports tool calls; None if its profile does not state it.

    Args:
        model: A chat model. An object without a profile gives None.
    """
    supported = _profile_of(model).get("tool_calling")
    return supported if isinstance(supported, bool) else None


def _profile_of(model: Any) -> Mapping[str, Any]:
    profile = getattr(model, "profile", None)
    return profile if isinstance(profile, Mapping) else {}
