"""Applying proposed changes of fields to a profile.

A change that cannot be made is refused with a reason, for the model and for the application. A removal never sets a field, an
addition keeps the other elements and entries, and only a removal removes.

The schema says what a field is. Where the schema is open, as in `preferences`, the stored value says it: a list stays a list,
and an object stays an object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidInputError
from langchain_agentmem.knowledge.extraction.operations import Operation
from langchain_agentmem.knowledge.facts.equality import matches, same, same_scalar
from langchain_agentmem.knowledge.facts.faults import Fault, Location, named
from langchain_agentmem.knowledge.facts.fields import Fields
from langchain_agentmem.knowledge.facts.json_schemas import found_at
from langchain_agentmem.knowledge.facts.paths import Path, find_field
from langchain_agentmem.knowledge.facts.placeholders import is_placeholder, without_placeholders
from langchain_agentmem.knowledge.facts.schema import Schema


@dataclass
class FieldChanges:
    """The result of changes of fields."""

    fields: Fields
    """The fields after the changes."""
    changed: list[Path] = field(default_factory=list)
    """Paths of the changed fields."""
    refused: dict[int, str] = field(default_factory=dict)
    """The reasons why operations were refused, by the operation's position."""


def change_fields(operations: Sequence[Operation], schema: Schema, fields: Fields, user_id: str) -> FieldChanges:
    """Apply the operations on fields that together give a document that fits the schema.

    Fields may be valid only together, such as a start and an end. So the document is checked after all operations. If it does
    not fit, the operations behind its faults are refused, and the others are applied without them.

    Args:
        operations: The operations. Those on facts are left out.
        schema: Schema of the profile.
        fields: The fields. They are not changed.
        user_id: ID of the user.
    """
    if not any(one.path for one in operations):
        return FieldChanges(fields)
    dropped: dict[int, str] = {}
    known = schema.faults(fields.document, user_id)

    def applied(left_out: Mapping[int, str]) -> tuple[FieldChanges, dict[int, Path]]:
        done, paths = FieldChanges(fields.copy(), refused=dict(left_out)), {}
        for number, one in enumerate(operations):
            if not one.path or number in left_out:
                continue
            # Of a value with several parts, some may be applied before another one is refused.
            edited = done.fields.copy() if _has_parts(one.value) else done.fields
            try:
                path = schema.field(one.path, edited.document)
                if _FieldEdit(one, schema, edited).apply(path):
                    done.changed.append(path)
                    paths[number] = path
            except InvalidInputError as error:
                done.refused[number] = str(error)
            else:
                done.fields = edited
        return done, paths

    def faults_after(done: FieldChanges) -> list[Fault]:
        found = schema.faults(done.fields.document, user_id) if done.changed else []
        return [one for one in found if one not in known and _counts(one, known, fields.document)]

    while True:
        done, paths = applied(dropped)
        faults = faults_after(done)
        # The user may forget a part of an object that is incomplete without it.
        forgotten = {paths[number] for number in paths if operations[number].reason == "forget"}
        faults = [one for one in faults if not (one.missing and _covers(one.path, forgotten))]
        if not faults:
            return done
        culprits = [number for number, path in paths.items() if _overlap(path, faults[0].path)]
        alone = [
            number
            for number in culprits
            if len(culprits) > 1 and faults[0] not in faults_after(applied({**dropped, number: ""})[0])
        ]
        reason = f"the profile would not fit the schema: {faults[0]}."
        dropped |= dict.fromkeys(alone or culprits or paths, reason)


def _has_parts(value: Any) -> bool:
    """Return true if a value is a list or an object, or may be one as text."""
    return isinstance(value, (dict, list)) or (isinstance(value, str) and value.lstrip()[:1] in ("[", "{"))


def _counts(fault: Fault, known: Sequence[Fault], before: Mapping[str, Any]) -> bool:
    """Return true if a fault is an error: an object may be incomplete only if it is new, or was so before."""
    if not fault.missing:
        return True
    if any(isinstance(part, int) for part in fault.path):
        return True  # Elements of a list have no path by which they could be completed.
    was_incomplete = any(one.missing and one.path == fault.path for one in known)
    return not was_incomplete and any(isinstance(one, Mapping) and one for one in found_at(before, fault.path))


def _covers(path: Location, forgotten: set[Path]) -> bool:
    return any(one[: len(path)] == path for one in forgotten)


def _overlap(path: Path, other: Location) -> bool:
    return all(one == each for one, each in zip(path, other, strict=False))


class _FieldEdit:
    """Applies one operation.

    Args:
        operation: The operation.
        schema: Schema of the profile.
        fields: Fields of the profile, which it changes.
    """

    def __init__(self, operation: Operation, schema: Schema, fields: Fields) -> None:
        self._operation = operation
        self._schema = schema
        self._fields = fields

    def apply(self, path: Path) -> bool:
        """Apply the operation to a field; return true if the document changed.

        Raises:
            InvalidInputError: The operation cannot be applied. Nothing changed.
        """
        one = self._operation
        nodes = self._schema.tree.at(path)
        value = self._schema.tree.coerced(nodes, one.value)
        if one.action == "remove":
            return self._remove(path, value)
        value = value.strip() if isinstance(value, str) else value
        if value is None or (isinstance(value, dict) and all(each is None for each in value.values())):
            msg = f"the change of {named(path)} has no value. Give the value; use remove to remove the field."
            raise InvalidInputError(msg)
        if not self._schema.tree.names_value(nodes, value):
            value = self._without_placeholders(path, value)
        return self._change(path, value)

    def _without_placeholders(self, path: Path, value: Any) -> Any:
        """Return a value without placeholders.

        Raises:
            InvalidInputError: Nothing else is in it, or the placeholder would replace a known value.
        """
        left = without_placeholders(value)
        if same(left, value):
            return value
        known = find_field(self._fields.document, path)[1]
        lost = _first_lost(value, known, path)
        if lost is not None or left in (None, [], {}):
            msg = (
                f"{shown(value, 60)} of {lost or named(path)} is or contains a placeholder. Give a value that the user "
                "stated, or leave the change out."
            )
            raise InvalidInputError(msg)
        return left

    def _change(self, path: Path, value: Any) -> bool:
        """Add a value to a field, or set the field."""
        stored, tree = find_field(self._fields.document, path)[1], self._schema.tree
        if isinstance(value, dict) and isinstance(stored, (dict, type(None))) and tree.is_map(path):
            # The entries of a map are independent, so those that are not named stay.
            return self._change_entries(path, value)
        if isinstance(stored, list) or (stored is None and tree.is_list(path)):
            return self._change_list(path, stored or [], value)
        if isinstance(stored, dict):
            return self._change_object(path, stored, value)
        if stored is None or self._operation.action == "update":
            return self._set(path, value)
        return self._add_to_scalar(path, stored, value)

    def _change_entries(self, path: Path, entries: Mapping[str, Any]) -> bool:
        changed = [self._change(self._entry(path, name), value) for name, value in entries.items() if value is not None]
        return any(changed)

    def _add_to_scalar(self, path: Path, stored: Any, value: Any) -> bool:
        """Make a list of one value and another one if the schema accepts a list; else set the field."""
        if same_scalar(stored, value):
            return False
        if isinstance(value, dict):
            raise _refused(path, stored, "one value", "Use update to replace it.")
        return (
            self._change_list(path, [stored], value) if self._schema.tree.accepts_list(path) else self._set(path, value)
        )

    def _change_list(self, path: Path, stored: list[Any], value: Any) -> bool:
        given = self._elements_in(path, stored, value)
        if self._operation.action == "add":
            new: list[Any] = []
            for one in given:
                if not any(same_scalar(one, other) for other in (*stored, *new)):
                    new.append(one)
            return bool(new) and self._set(path, [*stored, *new])
        if stored and (not isinstance(value, list) or not value):
            raise _refused(path, stored, "a list", "Give the whole list to replace it, or use add or remove.")
        return self._set(path, given)

    def _elements_in(self, path: Path, stored: list[Any], value: Any) -> list[Any]:
        """Return the elements that a value names, in the type that the schema asks for."""
        tree = self._schema.tree
        nodes = tree.elements(tree.at(path))
        return [tree.coerced(nodes, one) for one in (value if _has_elements(value, stored) else [value])]

    def _change_object(self, path: Path, stored: dict[str, Any], value: Any) -> bool:
        if not isinstance(value, dict) or not value:
            raise _refused(path, stored, "an object", f"Name the entry to change, such as {named((*path, 'name'))}.")
        if self._operation.action == "update":
            left_out = [name for name, one in stored.items() if one is not None and name not in value]
            if left_out and not self._schema.tree.names_fields(path):
                entry = named((*path, next(iter(value))))
                advice = f"Give {', '.join(left_out[:5])} too, or change one entry, such as {entry}."
                raise _refused(path, stored, "an object", advice)
            return self._set(path, value)
        other = [name for name, one in value.items() if stored.get(name) is not None and not same(stored[name], one)]
        nested = [name for name in other if isinstance(stored[name], (dict, list))]
        if other != nested:
            raise _refused(path, stored, "an object with other values", "Use update to replace it.")
        return self._change_entries(path, value)

    def _set(self, path: Path, value: Any) -> bool:
        one = self._operation
        return self._fields.set(path, value, one.at, timed=one.timed)

    # Removing

    def _remove(self, path: Path, value: Any) -> bool:
        """Remove a field, or the given value from it.

        Raises:
            InvalidInputError: Nothing matches.
        """
        stored = find_field(self._fields.document, path)[1]
        if isinstance(stored, list) and value is not None:
            return self._remove_elements(path, stored, value)
        is_given = value is not None and not is_placeholder(value)
        if isinstance(stored, dict) and is_given and not same(stored, value):
            return self._remove_entries(path, stored, value)
        if is_given and (stored is None or not _means(value, stored)):
            if self._operation.reason == "forget":
                given = value if isinstance(value, list) else [value]
                return self._forget_former(path, given) or self._already_forgotten(path, given, stored, value)
            if stored is not None:
                return self._unmatched(path, stored, "another value", f"It is not {shown(value, 60)}.")
        return self._remove_field(path)

    def _forget_former(self, path: Path, given: Sequence[Any]) -> bool:
        """Forget values that the field, or the list in it, had before; return true if the history had one."""
        return self._fields.forget_former(
            path, given, lambda former: any(matches(one, former) for one in given), self._operation.at
        )

    def _already_forgotten(self, path: Path, given: Sequence[Any], stored: Any, value: Any) -> bool:
        """Return false if values were forgotten before.

        Raises:
            InvalidInputError: They were not.
        """
        if all(self._fields.has_forgotten(path, one) for one in given):
            return False
        if stored is None and not self._fields.has_former(path):
            return self._remove_field(path)
        return self._unmatched(path, stored, "another value", f"It never was {shown(value, 60)}.")

    def _unmatched(self, path: Path, stored: Any, kind: str, advice: str) -> bool:
        """Return false if something that was stated later explains why nothing matches. The removal itself may do so.

        Raises:
            InvalidInputError: Nothing explains it.
        """
        if self._fields.has_changed(path, self._operation.at):
            return False
        raise _refused(path, stored, kind, advice)

    def _remove_field(self, path: Path) -> bool:
        one = self._operation
        if one.reason == "forget":
            if self._fields.forget(path, one.at):
                return True
        elif find_field(self._fields.document, path)[1] is not None:
            return self._fields.remove(path, one.at)
        if self._fields.has_changed(path):
            return False  # It was removed before.
        msg = f"nothing is known under {named(path)}, so nothing can be removed."
        raise InvalidInputError(msg)

    def _remove_elements(self, path: Path, stored: list[Any], value: Any) -> bool:
        given = self._elements_in(path, stored, value)
        gone = [one for each in given for one in _elements_meant(path, each, stored)]
        one = self._operation
        if one.reason == "forget":
            # An element that ended before is still in the history.
            forgotten = [self._fields.forget_element(path, element, one.at) for element in gone or given]
            if self._forget_former(path, given) or any(forgotten):
                return True
            if all(self._fields.has_forgotten(path, element) for element in given):
                return False
        elif gone:
            return self._set(path, [one for one in stored if not any(one is each for each in gone)])
        return self._unmatched(path, stored, "a list", f"{shown(value, 60)} is not in it.")

    def _remove_entries(self, path: Path, stored: dict[str, Any], value: Any) -> bool:
        """Remove entries of an object: a name, several names, or names with their values."""
        entries = value if isinstance(value, dict) else dict.fromkeys(value if isinstance(value, list) else [value])
        known = {self._entry(path, name): one for name, one in entries.items() if isinstance(name, str)}
        if not entries or len(known) != len(entries) or not all(self._has_entry(one) for one in known):
            return self._unmatched(path, stored, "an object", f"{shown(value, 60)} is not in it.")
        removed = [self._remove(entry, one) for entry, one in known.items()]
        return any(removed)

    def _has_entry(self, path: Path) -> bool:
        """Return true if an object has an entry. To forget one, it is enough that the object had it."""
        if find_field(self._fields.document, path)[0]:
            return True
        had = self._fields.has_former(path) or self._fields.was_forgotten(path)
        return had and self._operation.reason == "forget"

    def _entry(self, path: Path, name: str) -> Path:
        return self._schema.field((*path, name), self._fields.document)


def _means(value: Any, stored: Any) -> bool:
    """Return true if a value that a model names is the value of a field; a list of one value stands for the value."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return matches(value, stored)


def _has_elements(value: Any, stored: list[Any]) -> bool:
    """Return true if a value is a list of elements, and no element of a list of lists."""
    return isinstance(value, list) and (
        not any(isinstance(one, list) for one in stored) or any(isinstance(one, list) for one in value)
    )


def _elements_meant(path: Path, given: Any, stored: list[Any]) -> list[Any]:
    """Return the elements of a list that a model means.

    Args:
        path: Path of the list.
        given: The element as the model names it. A part of an object is enough if only one object has it.
        stored: The list.

    Raises:
        InvalidInputError: Several different objects have that part.
    """
    rules: list[Callable[[Any, Any], bool]] = [same, same_scalar, matches, _is_part]
    for rule in rules:
        found = [one for one in stored if rule(given, one)]
        if rule is _is_part and any(not same(one, found[0]) for one in found[1:]):
            raise _refused(path, stored, "several such elements", "Give the whole element.")
        if found:
            return found
    return []


def _is_part(given: Any, stored: Any) -> bool:
    """Return true if an object has all given entries, or if a text is its name."""
    if not isinstance(stored, dict):
        return False
    if isinstance(given, str):
        return any(matches(given, one) for one in stored.values() if isinstance(one, str))
    return (
        isinstance(given, dict)
        and bool(given)
        and all(name in stored and matches(one, stored[name]) for name, one in given.items())
    )


def _first_lost(value: Any, known: Any, path: Path) -> str | None:
    """Return the path of the first known value that a placeholder would replace; None if there is none."""
    if is_placeholder(value):
        return None if known in (None, "", [], {}) else named(path)
    if isinstance(value, dict) and isinstance(known, dict):
        lost = (_first_lost(one, known.get(name), (*path, name)) for name, one in value.items())
        return next((one for one in lost if one is not None), None)
    return None


def _refused(path: Path, stored: Any, kind: str, advice: str) -> InvalidInputError:
    return InvalidInputError(f"{named(path)} holds {kind}: {shown(stored, 60)}. {advice}")
