"""LangMem's memories and profiles in a LangGraph store.

LangMem's tools store `{"content": …}`, and its store manager `{"kind": …, "content": …}`: the kind is the name of a schema,
by default `Memory`, whose content is a text. The namespace is a template such as `("memories", "{langgraph_user_id}")`.

A text becomes a memory of the user. A document of the kind `UserProfile` with the fields of this package's profile becomes
the profile. Documents of other schemas stay items of the store, in the same namespace.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidInputError
from langchain_agentmem.lifecycle.importers.arguments import Options
from langchain_agentmem.lifecycle.importers.rows import Source, SourceItem, SourceMemory, SourceProfile, SourceRow
from langchain_agentmem.lifecycle.importers.stores import rows_of

FORMAT = "langmem"
TEMPLATE = ("memories", "{langgraph_user_id}")
"""LangMem's default."""

_TEXT_KIND = "Memory"
_PROFILE_KIND = "UserProfile"
_PROFILE_FIELDS = {"user_id", "name", "preferences", "facts", "last_interaction"}


def source_of(given: Any, options: Options) -> Source:
    """Return the source of LangMem's memories.

    Args:
        given: A store; or the URL or the path of the database of a `PostgresStore` or `SqliteStore`.
        options: With `namespace`, the template, unless it is LangMem's default.
    """
    template = options.namespace or TEMPLATE
    at = _user_label(template)
    if at is None and options.user_id is None:
        msg = (
            f"namespace {shown(template)} names no user. Write the label of the user in braces, such as '{{user_id}}', or "
            f"pass user_id=…"
        )
        raise InvalidInputError(msg)
    if at is not None:
        options.refuse("user_id", f"the label {template[at]!r} of the namespace names the user")
    fixed = next((index for index, label in enumerate(template) if _is_variable(label)), len(template))
    read = rows_of(given, template[:fixed])

    def mapped(item: SourceItem) -> SourceRow | None:
        labels = item.namespace[: len(template)]
        matches = len(labels) == len(template) and all(
            _is_variable(expected) or expected == label for expected, label in zip(template, labels, strict=True)
        )
        if not matches:
            return None
        return _row(item, options.user_id if at is None else item.namespace[at], len(template))

    def rows() -> Iterator[SourceRow] | AsyncIterator[SourceRow]:
        items = read()
        return _amapped(items, mapped) if isinstance(items, AsyncIterator) else filter(None, map(mapped, items))

    return Source(f"LangMem's namespace {shown(template)}", FORMAT, rows)


def _row(item: SourceItem, user: str | None, depth: int) -> SourceRow:
    value: Any = item.value
    name = f"item {shown(item.key)} of namespace {item.namespace}"
    if not isinstance(value, Mapping) or not set(value) <= {"kind", "content"} or "content" not in value:
        return item
    kind, content = value.get("kind"), value["content"]
    if kind == _TEXT_KIND and isinstance(content, Mapping) and set(content) == {"content"}:
        content = content["content"]
    if isinstance(content, str):
        metadata: dict[str, Any] = {"langmem_key": item.key}
        if len(item.namespace) > depth:
            metadata["langmem_namespace"] = list(item.namespace[depth:])
        return SourceMemory(name, user, content, item.created_at, item.updated_at, metadata)
    if kind in {_PROFILE_KIND, None} and isinstance(content, Mapping) and _is_profile(content):
        return SourceProfile(name, user, content.get("name"), content.get("preferences"), content.get("facts"))
    return item


def _is_profile(content: Mapping[str, Any]) -> bool:
    return set(content) <= _PROFILE_FIELDS and bool({"name", "preferences", "facts"} & set(content))


async def _amapped(
    items: AsyncIterator[SourceItem], mapped: Callable[[SourceItem], SourceRow | None]
) -> AsyncIterator[SourceRow]:
    async for item in items:
        row = mapped(item)
        if row is not None:
            yield row


def _user_label(template: tuple[str, ...]) -> int | None:
    """Return the index of the label of the user: the variable that names a user, else the only one; None without one."""
    variables = [index for index, label in enumerate(template) if _is_variable(label)]
    naming = [index for index in variables if "user" in template[index]]
    return (naming or variables)[0] if len(naming or variables) == 1 else None


def _is_variable(label: str) -> bool:
    return label.startswith("{") and label.endswith("}")
