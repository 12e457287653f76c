"""Memory tags in LangChain's message templates: each tag becomes an input, whose text memory provides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.prompts import BaseChatPromptTemplate, ChatPromptTemplate, PromptTemplate
from langchain_core.prompts.dict import DictPromptTemplate
from langchain_core.prompts.image import ImagePromptTemplate
from langchain_core.prompts.message import BaseMessagePromptTemplate
from langchain_core.prompts.string import get_template_variables

from langchain_agentmem.arguments.ids import check_text
from langchain_agentmem.backends.digests import digest_of_ids
from langchain_agentmem.prompting.templates.parsing import Node, Text, parse

MessageTemplate = BaseMessage | BaseMessagePromptTemplate | BaseChatPromptTemplate

_F_STRING = "f-string"
_INPUT = "memory tag "
"""Beginning of the name of the input that a tag becomes; the rest is a digest of the tag."""


class Tags:
    """The memory tags of a prompt, each with the name of the input that it becomes.

    Example:
        >>> from langchain_core.prompts import ChatPromptTemplate
        >>> from langchain_agentmem.prompting.templates.messages import Tags
        >>> tags = Tags()
        >>> (message,) = tags.replaced(ChatPromptTemplate.from_messages([("system", "You help {{user_name}}.")]).messages)
        >>> [node.source for node in tags.nodes.values()], message.input_variables == list(tags.nodes)
        (['{{user_name}}'], True)
    """

    def __init__(self, nodes: Mapping[str, Node] | None = None) -> None:
        self.nodes: dict[str, Node] = dict(nodes or {})
        """The tags by the names of their inputs."""

    def replaced(self, messages: Sequence[Any]) -> list[Any]:
        """Return message templates with an input in place of each tag. Messages without a template stay as they are."""
        return [self._message(message) for message in messages]

    def shown(self, text: str) -> str:
        """Return a text with the tags in place of their inputs."""
        for name, node in self.nodes.items():
            if not isinstance(node, Text):
                text = text.replace(f"{{{name}}}", node.source)
        return text

    def _message(self, message: Any) -> Any:
        if isinstance(message, ChatPromptTemplate):
            messages = self.replaced(message.messages)
            return ChatPromptTemplate(messages, partial_variables=message.partial_variables)
        prompt = getattr(message, "prompt", None)
        if isinstance(prompt, list):
            return message.model_copy(update={"prompt": [self._prompt(one) for one in prompt]})
        if prompt is not None:
            return message.model_copy(update={"prompt": self._prompt(prompt)})
        return message

    def _prompt(self, prompt: Any) -> Any:
        if not isinstance(prompt, (PromptTemplate, ImagePromptTemplate, DictPromptTemplate)):
            return prompt
        if prompt.template_format != _F_STRING:
            return prompt
        template = self._template(prompt.template)
        if template == prompt.template:
            return prompt
        if isinstance(prompt, DictPromptTemplate):
            return prompt.model_copy(update={"template": template})
        texts = [template] if isinstance(template, str) else [one for one in template.values() if isinstance(one, str)]
        inputs = {name for text in texts for name in get_template_variables(text, _F_STRING)}
        names = sorted(inputs - set(prompt.partial_variables))
        return prompt.model_copy(update={"template": template, "input_variables": names})

    def _template(self, template: Any) -> Any:
        if isinstance(template, str):
            check_text("A template", template)
            return "".join(self._text(node) for node in parse(template))
        if isinstance(template, dict):
            return {key: self._template(one) for key, one in template.items()}
        if isinstance(template, (list, tuple)):
            return type(template)(self._template(one) for one in template)
        return template

    def _text(self, node: Node) -> str:
        if isinstance(node, Text):
            return node.template
        name = f"{_INPUT}{digest_of_ids(node.source, size=8).hex()}"
        self.nodes[name] = node
        return f"{{{name}}}"
