"""The errors of a document under its schema, and the parts of it that are not complete yet.

A missing field is no error, because a profile becomes known step by step. An object without one of its required fields is
incomplete: it stays stored, and is left out of the profile that the application gets.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from langchain_agentmem.knowledge.facts.json_schemas import found_at

Location = tuple[str | int, ...]
"""Path of a value in a document: names of fields, and positions in lists."""

_LONGEST_TEXT = 300
_MISSING = ("missing", "union_tag_not_found")
"""Types of Pydantic's errors for a missing field. The second one is that of a union without its discriminator."""
_REQUIRED = ("required", "dependentRequired")
"""Keywords of JSON schemas that require a field."""


class Fault(NamedTuple):
    """One error of a document."""

    path: Location
    """The invalid value; for a missing field, the object that lacks it."""
    text: str
    missing: bool
    """True if the value lacks a required field."""

    def __str__(self) -> str:
        return f"{named(self.path)}: {self.text}"


class _Located(NamedTuple):
    """An error of Pydantic while its location is read."""

    path: Location
    """The part of the location that the document has."""
    rest: Location
    """The rest of the location. It begins with the name of a union's member, which no document contains."""
    text: str
    missing: bool


def named(path: Iterable[str | int]) -> str:
    """Return a path as text, such as `home.city`."""
    return ".".join(map(str, path)) or "the document"


def faults_of_model(model: type[BaseModel], document: Mapping[str, Any]) -> list[Fault]:
    """Return the errors of a document under a Pydantic model."""
    try:
        model.model_validate_json(json.dumps(document))
    except ValidationError as error:
        located = []
        for one in error.errors(include_url=False, include_input=False):
            missing = one["type"] in _MISSING
            loc, text = tuple(one["loc"]), str(one["msg"])
            if one["type"] == "missing":
                loc, text = loc[:-1], f"{loc[-1]} is missing"
            located.append(_Located((), loc, text[:_LONGEST_TEXT], missing))
        return _resolved(located, document)
    return []


def _resolved(located: Sequence[_Located], document: Mapping[str, Any]) -> list[Fault]:
    """Return the faults of errors. Of a union's members, one that only lacks fields is preferred."""
    faults: list[Fault] = []
    unions: dict[Location, dict[str | int, list[_Located]]] = {}
    for one in located:
        path, rest = one.path, one.rest
        while rest and found_at(document, (*path, rest[0])):
            path, rest = (*path, rest[0]), rest[1:]
        if rest:
            members = unions.setdefault(path, {})
            members.setdefault(rest[0], []).append(one._replace(path=path, rest=rest[1:]))
        else:
            faults.append(Fault(path, one.text, one.missing))
    for members in unions.values():
        faults += _of_best_member([_resolved(errors, document) for errors in members.values()])
    return faults


def _of_best_member(members: Iterable[list[Fault]]) -> list[Fault]:
    """Return the faults of the union's member that lacks the fewest fields; of all members if each has other errors."""
    every = list(members)
    fitting = [one for one in every if all(fault.missing for fault in one)]
    return min(fitting, key=len) if fitting else [fault for one in every for fault in one]


def faults_of_errors(errors: Iterable[Any]) -> list[Fault]:
    """Return the faults of errors of `jsonschema`."""
    faults: list[Fault] = []
    for error in errors:
        members: dict[Any, list[Any]] = {}
        for inner in error.context or ():
            members.setdefault(inner.schema_path[0], []).append(inner)
        best = _of_best_member([faults_of_errors(inner) for inner in members.values()])
        if best and all(one.missing for one in best):
            faults += best
        else:
            missing = error.validator in _REQUIRED
            faults.append(Fault(tuple(error.absolute_path), str(error.message)[:_LONGEST_TEXT], missing))
    return faults


def without_incomplete(
    document: Mapping[str, Any], faults_of: Callable[[Mapping[str, Any]], list[Fault]]
) -> tuple[dict[str, Any] | None, list[Fault]]:
    """Return a document without its incomplete objects, and the faults for which they were left out.

    Args:
        document: The document. It is not changed.
        faults_of: Returns the faults of a document.

    Returns:
        The document is None if it lacks required fields itself, or has other faults than missing fields.
    """
    left: dict[str, Any] = copy.deepcopy(dict(document))
    reasons: list[Fault] = []
    while True:
        faults = faults_of(left)
        if not faults:
            return left, reasons
        deepest = max((one for one in faults if one.missing), key=lambda one: len(one.path), default=None)
        if deepest is None or any(not one.missing for one in faults):
            return None, faults
        if not deepest.path:
            return None, [*reasons, deepest]
        reasons.append(deepest)
        left = _without(left, deepest.path, faults_of)


def _without(
    document: dict[str, Any], path: Location, faults_of: Callable[[Mapping[str, Any]], list[Fault]]
) -> dict[str, Any]:
    """Return a document without a value, or with None instead of it if the schema requires the field."""
    holder: Any = document
    for part in path[:-1]:
        holder = holder[part]
    if isinstance(holder, list):
        holder[:] = [one for at, one in enumerate(holder) if at != path[-1]]
        return document
    before = holder.pop(path[-1])
    if any(one.missing and one.path == path[:-1] for one in faults_of(document)) and before is not None:
        holder[path[-1]] = None
        if any(one.path[: len(path)] == path for one in faults_of(document)):
            del holder[path[-1]]
    return document
