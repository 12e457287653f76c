"""The plan of a prompt: its message templates are analysed once, and each call only joins texts.

LangChain analyses the text of a template again whenever it formats it, and validates the messages that it makes of texts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.prompts import (
    AIMessagePromptTemplate,
    HumanMessagePromptTemplate,
    PromptTemplate,
    SystemMessagePromptTemplate,
)
from langchain_core.utils.formatting import formatter

from langchain_agentmem.encoding.repairs import built

_CLASSES = (AIMessagePromptTemplate, HumanMessagePromptTemplate, SystemMessagePromptTemplate)
"""Classes of message templates whose messages are made of one text."""

Format = Callable[[Mapping[str, Any]], list[BaseMessage]]
"""Returns the messages of a message template for some inputs."""


class Plan:
    """The message templates of a prompt, ready to be formatted often.

    Args:
        messages: The message templates and messages of a `ChatPromptTemplate`.

    Example:
        >>> from langchain_core.prompts import ChatPromptTemplate
        >>> from langchain_agentmem.prompting.templates.plans import Plan
        >>> plan = Plan(ChatPromptTemplate([("human", "Hello {name}!")]).messages)
        >>> [message.content for message in plan.messages({"name": "Ann"})]
        ['Hello Ann!']
    """

    def __init__(self, messages: Sequence[Any]) -> None:
        self._given = [(message, *_parts_of(message)) for message in messages]
        self._formats = [_format_of(message) for message in messages]

    def __deepcopy__(self, memo: Any) -> Plan:
        """Return the plan of no message template: a copied prompt has templates of its own."""
        return Plan(())

    def is_of(self, messages: Sequence[Any]) -> bool:
        """Return true if the plan is that of these message templates: none was replaced or changed since.

        Args:
            messages: The message templates.
        """
        if len(messages) != len(self._given):
            return False
        for message, (known, prompt, template) in zip(messages, self._given, strict=True):
            if message is not known:
                return False
            if prompt is not None and (message.prompt is not prompt or prompt.template is not template):
                return False
        return True

    def messages(self, inputs: Mapping[str, Any]) -> list[BaseMessage]:
        """Return the messages, as `ChatPromptTemplate.format_messages` does.

        Args:
            inputs: The inputs by name.
        """
        return [message for formatted in self._formats for message in formatted(inputs)]


def _parts_of(message: Any) -> tuple[Any, Any]:
    """Return the prompt of a message template and its text, which may be replaced; None for other messages."""
    prompt = message.prompt if type(message) in _CLASSES else None
    return (prompt, prompt.template) if type(prompt) is PromptTemplate else (None, None)


def _format_of(message: Any) -> Format:
    if isinstance(message, BaseMessage):
        return lambda _: [message]
    prompt, template = _parts_of(message)
    fields = None
    if prompt is not None and prompt.template_format == "f-string" and not prompt.partial_variables:
        fields = _fields_of(template)
    if fields is None:
        return lambda inputs: list(message.format_messages(**inputs))
    return _TextMessage(message, fields)


def _fields_of(template: str) -> list[tuple[str, str | None]] | None:
    """Return the literal texts of a template, each with the input that follows it; None if an input has a format."""
    fields = []
    for literal, name, spec, conversion in formatter.parse(template):
        if name is not None and (spec or conversion or not name or name.isdigit() or "." in name or "[" in name):
            return None
        fields.append((literal, name))
    return fields


class _TextMessage:
    """Makes messages of a text. They have the same fields as those of LangChain, and are not validated again."""

    def __init__(self, template: Any, fields: Sequence[tuple[str, str | None]]) -> None:
        self._template = template
        self._fields = fields
        self._class: type[BaseMessage] = template._msg_class
        example = self._class(content="", additional_kwargs={})
        self._example = example.__dict__
        self._given = example.model_fields_set
        self._fresh = [name for name, value in self._example.items() if isinstance(value, (dict, list))]

    def __call__(self, inputs: Mapping[str, Any]) -> list[BaseMessage]:
        texts = []
        for literal, name in self._fields:
            texts.append(literal)
            if name is not None:
                value = inputs[name]
                texts.append(value if type(value) is str else format(value))
        text = "".join(texts)
        extra = self._template.additional_kwargs
        if extra:  # LangChain copies and validates it
            return [self._class(content=text, additional_kwargs=extra)]
        fields = self._example.copy()
        for name in self._fresh:
            fields[name] = fields[name].copy()
        fields["content"] = text
        return [built(self._class, fields, given=self._given)]
