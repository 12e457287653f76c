"""Labels: what a session stores about a message, carried in the message while it is in the state of a graph.

A label is stored under one key of `additional_kwargs`. So it survives in any checkpointer, and in copies and forks of a
thread. It never names a user or a session: messages of a state may come from anyone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import BaseMessage

from langchain_agentmem.encoding.json_values import is_plain_json
from langchain_agentmem.encoding.repairs import built

LABEL = "agentmem"
"""The key of labels in `additional_kwargs`."""


@dataclass(frozen=True)
class Label:
    """What a session stores about a message.

    Args:
        created_at: The time of the message, in Unix seconds.
        position: The position of the message in its session.
        agent: The agent that the message belongs to. Default: None.
        metadata: The metadata of the message. Default: None.
        message_id: The ID in the session, if another message of the session has it too. Default: None (that of the message).
        session: The title and the metadata of the session, on the last message only. Default: None.
        replaced: The value that the message itself has under `LABEL`. Default: None.
    """

    created_at: float
    position: int
    agent: str | None = None
    metadata: dict[str, Any] | None = None
    message_id: str | None = None
    session: dict[str, Any] | None = None
    replaced: Any = None

    @classmethod
    def of(cls, message: BaseMessage) -> Label | None:
        """Return the label of a message; None if it has none, or a value that no session stored."""
        value = (message.additional_kwargs or {}).get(LABEL)
        if not isinstance(value, Mapping) or not value.keys() <= cls.__annotations__.keys():
            return None
        time, position = value.get("created_at"), value.get("position")
        if type(position) is not int or not isinstance(time, (int, float)) or not math.isfinite(time):
            return None
        optional = {"agent": str, "message_id": str, "metadata": dict, "session": dict}
        for name, kind in optional.items():
            one = value.get(name)
            if not (one is None or (isinstance(one, kind) and one and is_plain_json(one))):
                return None
        return cls(**value)


def labelled(message: BaseMessage, label: Label) -> BaseMessage:
    """Return a copy of a message with a label.

    Example:
        >>> from langchain_core.messages import HumanMessage
        >>> from langchain_agentmem.lifecycle.handover.labels import Label, labelled, unlabelled
        >>> message = labelled(HumanMessage("Hello", id="1"), Label(1.0, 0, agent="writer"))
        >>> message.additional_kwargs["agentmem"]
        {'created_at': 1.0, 'position': 0, 'agent': 'writer'}
        >>> unlabelled(message) == HumanMessage("Hello", id="1")
        True
    """
    values: dict[str, Any] = {name: value for name, value in vars(label).items() if value is not None}
    own = message.additional_kwargs or {}
    if LABEL in own:
        values["replaced"] = own[LABEL]
    return _with(message, {**own, LABEL: values})


def unlabelled(message: BaseMessage) -> BaseMessage:
    """Return a copy of a message as its session stored it; the message itself if it has no label."""
    label = Label.of(message)
    if label is None:
        return message
    own = {name: value for name, value in message.additional_kwargs.items() if name != LABEL}
    if "replaced" in message.additional_kwargs[LABEL]:
        own[LABEL] = label.replaced
    return _with(message, own, {} if label.message_id is None else {"id": label.message_id})


def _with(message: BaseMessage, own: dict[str, Any], values: Mapping[str, Any] | None = None) -> BaseMessage:
    fields = {**message.__dict__, "additional_kwargs": own, **(values or {})}
    return built(type(message), fields, message.__pydantic_extra__)
