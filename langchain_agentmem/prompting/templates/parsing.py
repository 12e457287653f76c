r"""The syntax of memory tags in a template.

A tag is a name in two braces. Everything else in a template has the meaning that LangChain's f-string templates give it.

| tag | its text |
| --- | --- |
| `{{name}}` | the value of the variable |
| `{{name\|text}}` | the value, or the text if there is none, or if it is an empty text, list or object |
| `{{#name}}…{{/name}}` | the part between, if the value is not empty; once for each element of a list |
| `{{^name}}…{{/name}}` | the part between, if the value is empty |
| `{{.}}` | within a section: the element |

A name begins with a letter or an underscore. Dots in a name lead into objects: `{{home.city}}`. Three or more braces in a
row, and two braces around anything but a tag, are literal braces, as in LangChain.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidInputError

ELEMENT = "."
"""Name of the element of a section."""

_TAG = re.compile(
    r"""
    (?<!\{)\{\{(?!\{)
    [ \t]* (?P<kind>[#^/]?) [ \t]*
    (?P<name> \. | [^\W\d]\w* (?:[.\-]\w+)* )
    [ \t]* (?:\| (?P<default>[^{}]*) )?
    \}\}(?!\})
    """,
    re.VERBOSE,
)
_UNREADABLE = re.compile(r"(?<!\{)\{\{[ \t]*[#^/][^{}\n]*(?:\}\})?")
"""A tag of a section that `_TAG` does not match."""

_BRACES = re.compile(r"(?<!\{)\{\{[ \t]*(?P<name>[^\W\d]\w*(?:[.\-]\w+)*)[ \t]*\|[^{}]*(?:$|[{}]+[^{}\n]*\}*)")
"""A tag with a default that `_TAG` does not match: the default has braces, or the tag has no end."""

_NO_NAME = re.compile(r"(?<!\{)\{\{(?!\{)[ \t]*[^\W\d][\w.\- \t]*(?:\|[^{}]*)?\}\}(?!\})")
"""A tag whose name `_TAG` does not match, such as one with a space."""


@dataclass(frozen=True, slots=True)
class Text:
    """A part of a template without memory tags, as an f-string template."""

    template: str


@dataclass(frozen=True, slots=True)
class Variable:
    """A tag that stands for a value."""

    name: str
    default: str | None
    source: str
    """The tag as it is written in the template."""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a template that depends on a value."""

    name: str
    inverted: bool
    children: tuple[Node, ...]
    source: str
    """The section as it is written in the template."""


Node = Text | Variable | Section


def parse(template: str) -> tuple[Node, ...]:
    """Return the parts of a template.

    Args:
        template: The template.

    Raises:
        InvalidInputError: A section has no end, or an end has no section.

    Example:
        >>> from langchain_agentmem.prompting.templates.parsing import parse
        >>> parse("Hi {{name|you}}: {input}")
        (Text(template='Hi '), Variable(name='name', default='you', source='{{name|you}}'), Text(template=': {input}'))
    """
    open_sections: list[tuple[re.Match[str], list[Node]]] = []
    nodes: list[Node] = []
    at = 0
    for tag in _TAG.finditer(template):
        kind, name = tag["kind"], tag["name"]
        start, end = _extent(template, tag)
        _add_text(nodes, template[at:start])
        at = end
        if kind in ("#", "^"):
            if tag["default"] is not None:
                msg = f"{shown(tag[0])} cannot have a default. Use {{{{^{name}}}}}…{{{{/{name}}}}} for an empty value."
                raise InvalidInputError(msg)
            open_sections.append((tag, nodes))
            nodes = []
        elif kind == "/":
            if not open_sections or open_sections[-1][0]["name"] != name:
                opened = (
                    f"the open section is {shown(open_sections[-1][0][0])}" if open_sections else "no section is open"
                )
                msg = f"{shown(tag[0])} in a template has no beginning: {opened}. Sections must be nested."
                raise InvalidInputError(msg)
            began, outer = open_sections.pop()
            source = template[began.start() : tag.end()]
            outer.append(Section(name, began["kind"] == "^", tuple(nodes), source))
            nodes = outer
        else:
            nodes.append(Variable(name, tag["default"], tag[0]))
    if open_sections:
        name = open_sections[-1][0]["name"]
        msg = f"The section {shown(open_sections[-1][0][0])} in a template has no end. Add {{{{/{name}}}}} to the same text."
        raise InvalidInputError(msg)
    _add_text(nodes, template[at:])
    return tuple(nodes)


def names_in(nodes: Sequence[Node]) -> Iterator[str]:
    """Yield the names of the variables in the parts of a template, without `ELEMENT`; a name may occur twice."""
    for node in nodes:
        if not isinstance(node, Text) and node.name != ELEMENT:
            yield node.name
        if isinstance(node, Section):
            yield from names_in(node.children)


def texts_in(nodes: Sequence[Node]) -> Iterator[str]:
    """Yield the f-string templates in the parts of a template."""
    for node in nodes:
        if isinstance(node, Text):
            yield node.template
        elif isinstance(node, Section):
            yield from texts_in(node.children)


def _add_text(nodes: list[Node], text: str) -> None:
    unreadable = _UNREADABLE.search(text)
    if unreadable:
        msg = (
            f"{shown(unreadable[0])} in a template is no section tag. The name must begin with a letter and hold letters, "
            f"digits, '_', '-' and '.' only. For literal braces, use four of them."
        )
        raise InvalidInputError(msg)
    braces = _BRACES.search(text)
    if braces:
        name = braces["name"]
        msg = (
            f"{shown(braces[0])} in a template is no tag: a default holds no braces, and ends with '}}}}'. For a default "
            f"with braces, write {{{{{name}}}}}{{{{^{name}}}}}…{{{{/{name}}}}}. For literal braces, use four of them."
        )
        raise InvalidInputError(msg)
    no_name = _NO_NAME.search(text)
    if no_name:
        msg = (
            f"{shown(no_name[0])} in a template is no tag: a name holds letters, digits, '_', '-' and '.' only, without "
            f"spaces. For the text in braces, write an input for the opening brace; see 'Tags' in docs/prompts.md."
        )
        raise InvalidInputError(msg)
    if text:
        nodes.append(Text(text))


def _extent(template: str, tag: re.Match[str]) -> tuple[int, int]:
    """Return the start and end of a tag. The tag of a section that is alone on its line takes the whole line."""
    start, end = tag.span()
    if tag["kind"]:
        line = template.rfind("\n", 0, start) + 1
        rest = template.find("\n", end)
        line_end = len(template) if rest < 0 else rest + 1
        if not template[line:start].strip() and not template[end:line_end].strip():
            return line, line_end
    return start, end
