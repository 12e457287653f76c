"""The text of memory tags. Values are inserted as they are: nothing in a value is interpreted, and nothing is escaped."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.utils.formatting import formatter

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidInputError
from langchain_agentmem.prompting.templates.parsing import ELEMENT, Node, Section, Text, Variable


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()
"""In place of a value that does not exist."""


@dataclass(frozen=True)
class Rendering:
    """The values that a template is rendered with.

    Args:
        values: The values of memory variables by name.
        inputs: The inputs of the chain by name, for `{input}` within a section.
        required: If true, a variable without value and default is an error. If false, its text is empty.
        unnamed: Takes the name of a variable without value, and returns the ID that the run must name for it to have one; an
            empty text if there is none. Default: none.

    Example:
        >>> from langchain_agentmem.prompting.templates.parsing import parse
        >>> from langchain_agentmem.prompting.templates.rendering import Rendering
        >>> nodes = parse("{{#pets}}{{name}} ({{kind|dog}}). {{/pets}}")
        >>> Rendering({"pets": [{"name": "Rex"}, {"name": "Tom", "kind": "cat"}]}, {}).text(nodes)
        'Rex (dog). Tom (cat). '
    """

    values: Mapping[str, Any]
    inputs: Mapping[str, Any]
    required: bool = False
    unnamed: Callable[[str], str] = lambda _: ""

    def text(self, nodes: Sequence[Node], elements: tuple[Any, ...] = ()) -> str:
        """Return the text of the parts of a template.

        Args:
            nodes: The parts.
            elements: The elements of the sections around them, the innermost last. Default: none.

        Raises:
            InvalidInputError: A variable has no value and no default, and `required` is true.
        """
        return "".join([self.part(node, elements) for node in nodes])

    def part(self, node: Node, elements: tuple[Any, ...] = ()) -> str:
        """Return the text of one part; see `text`."""
        if isinstance(node, Text):
            return formatter.format(node.template, **self.inputs)
        value = self._value(node.name, elements)
        if isinstance(node, Variable):
            if value is MISSING or value is None:
                return self._text_without_value(node)
            return as_text(value) or node.default or ""
        return self._section(node, None if value is MISSING else value, elements)

    def _section(self, node: Section, value: Any, elements: tuple[Any, ...]) -> str:
        filled = is_filled(value)
        if node.inverted:
            return "" if filled else self.text(node.children, elements)
        if not filled:
            return ""
        if isinstance(value, list):
            return "".join(self.text(node.children, (*elements, one)) for one in value)
        return self.text(node.children, (*elements, value))

    def _value(self, name: str, elements: tuple[Any, ...]) -> Any:
        if name == ELEMENT:
            return elements[-1] if elements else MISSING
        for element in reversed(elements):
            if isinstance(element, Mapping) and (found := value_at(element, name)) is not MISSING:
                return found
        return value_at(self.values, name)

    def _text_without_value(self, node: Variable) -> str:
        if node.default is not None:
            return node.default
        if self.required:
            unnamed = self.unnamed(node.name)
            problem, remedy = "has no value", "Set it with memory.variables.set"
            if unnamed:
                problem = f"has no value, because the run names no {unnamed}"
                remedy = f"Pass config={{'configurable': {{'{unnamed}': …}}}} to invoke"
            msg = (
                f"The variable {shown(node.name)} of a prompt {problem}. {remedy}, write a default "
                f"({{{{{node.name}|default text}}}}), or pass missing='empty'."
            )
            raise InvalidInputError(msg)
        return ""


def value_at(values: Mapping[str, Any], name: str) -> Any:
    """Return the value of a name; `MISSING` if there is none.

    A value with exactly this name wins. Otherwise, each dot may lead into an object.

    Example:
        >>> from langchain_agentmem.prompting.templates.rendering import value_at
        >>> value_at({"home": {"city": "Oslo"}}, "home.city")
        'Oslo'
    """
    if name in values:
        return values[name]
    for head, rest in splits(name):
        inner = values.get(head)
        if isinstance(inner, Mapping) and (found := value_at(inner, rest)) is not MISSING:
            return found
    return MISSING


def splits(name: str) -> list[tuple[str, str]]:
    """Return the ways to divide a name at a dot, the longest first part first."""
    return [(name[:at], name[at + 1 :]) for at in range(len(name) - 1, 0, -1) if name[at] == "."]


def is_filled(value: Any) -> bool:
    """Return true if a section shows its part: None, false, and empty texts, lists and objects are empty."""
    return value is not None and value is not False and value not in ("", [], {})


def as_text(value: Any) -> str:
    """Return the text of a JSON value in a prompt.

    A text is itself, and None is empty. A list or an object has a line for each element. Values within them are JSON.

    Example:
        >>> from langchain_agentmem.prompting.templates.rendering import as_text
        >>> print(as_text({"diet": "vegan", "pets": ["dog", "cat"]}))
        - diet: vegan
        - pets: ["dog", "cat"]
    """
    if isinstance(value, list):
        return "\n".join(f"- {_within_line(one)}" for one in value)
    if isinstance(value, Mapping):
        return "\n".join(f"- {name}: {_within_line(one)}" for name, one in value.items())
    return "" if value is None else _within_line(value)


def _within_line(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
