"""Messages without the ids that a history gives them, to compare them with the messages that were added."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from langchain_core.messages import BaseMessage

from langchain_agentmem.messages.models import StoredMessage


def without_ids(found: Any) -> Any:
    """Copies without ids, of one message or of several; each of them must have one."""
    if isinstance(found, BaseMessage):
        assert found.id
        return found.model_copy(update={"id": None})
    if isinstance(found, StoredMessage):
        return replace(found, message=without_ids(found.message))
    return [without_ids(one) for one in found]
