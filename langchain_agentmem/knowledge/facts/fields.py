"""The fields of a profile: a JSON document with the history of its changes.

Each change is recorded with its time and the value before it. A statement that is older than the latest change of the same
field, of a field that contains it, or of a field in it, is ignored: the later statement wins.

A forgotten field leaves a tombstone, which holds a digest of its path and the time.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.digests import digest_of_ids
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.encoding.json_values import check_json
from langchain_agentmem.errors import InvalidInputError, UnsupportedValueError
from langchain_agentmem.knowledge.facts.equality import same
from langchain_agentmem.knowledge.facts.paths import (
    MAX_DEPTH,
    Path,
    delete_element,
    delete_field,
    find_field,
    is_deeper,
    set_field,
)
from langchain_agentmem.knowledge.namespaces import profile_key
from langchain_agentmem.knowledge.unit import UnitOfWork

MAX_CHANGES = 1_000
"""Number of changes that the history keeps. The oldest are dropped first."""

MAX_CHARACTERS = 50_000
"""Longest document, in characters of JSON."""


def document_in(user_id: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document in a stored value, which is neither copied nor checked as `Fields` does for its history.

    Args:
        user_id: ID of the user.
        value: The stored value.

    Raises:
        DamagedDataError: The value does not hold a document.
    """
    document = value.get("fields") or {}
    with reading(f"The profile of {shown(user_id)}"):
        if not isinstance(document, dict):
            msg = f"fields is a {type(document).__name__}"
            raise TypeError(msg)
    return document


class Fields:
    """A document and the history of its changes.

    Args:
        user_id: ID of the user.
        value: The stored value; None for an empty document.

    Raises:
        DamagedDataError: The value does not hold a profile.
    """

    def __init__(self, user_id: str, value: Mapping[str, Any] | None) -> None:
        self._user_id = user_id
        given = copy.deepcopy(dict(value or {}))
        self.document: dict[str, Any] = given.get("fields") or {}
        self._changes: list[dict[str, Any]] = given.get("past") or []
        self._forgotten: dict[str, str] = given.get("forgotten") or {}
        self.last_interaction: str | None = given.get("last_interaction")
        with reading(f"The profile of {shown(user_id)}"):
            self._check_form()

    def _check_form(self) -> None:
        parts = (("fields", self.document, dict), ("past", self._changes, list), ("forgotten", self._forgotten, dict))
        for name, part, kind in parts:
            if not isinstance(part, kind):
                msg = f"{name} is a {type(part).__name__}"
                raise TypeError(msg)
        times = [time for change in self._changes for time in _times(change).values()]
        for time in (*times, *self._forgotten.values(), *([self.last_interaction] if self.last_interaction else [])):
            datetime.fromisoformat(time)
        for change in self._changes:
            path = change["path"]
            if not isinstance(path, list) or not path or not all(isinstance(name, str) for name in path):
                msg = f"the path of a change is {shown(path, 60)}"
                raise TypeError(msg)

    @property
    def value(self) -> dict[str, Any]:
        """The value to store."""
        return {
            "fields": self.document,
            "past": self._changes[-MAX_CHANGES:],
            "forgotten": self._forgotten,
            "last_interaction": self.last_interaction,
        }

    def copy(self) -> Fields:
        """Return an independent copy."""
        return Fields(self._user_id, self.value)

    def as_of(self, moment: datetime) -> dict[str, Any]:
        """Return the document as it was at a time."""
        document: dict[str, Any] = copy.deepcopy(self.document)
        for change in reversed(self._changes):
            if datetime.fromisoformat(change["at"]) <= moment:
                break
            path = tuple(change["path"])
            if "before" in change:
                set_field(document, path, copy.deepcopy(change["before"]))
            else:
                delete_field(document, path[: change.get("made", len(path))])
        return document

    def set(self, path: Path, new: Any, at: datetime, *, timed: bool = True, override: bool = False) -> bool:
        """Set a field.

        Args:
            path: Path of the field.
            new: The value.
            at: When it was stated.
            timed: True if `at` is known, false if it is an assumption. A forgotten field is set again only by a statement
                with a known time. Default: True.
            override: If true, the value counts as stated later than everything stored. Default: False.

        Returns:
            True if that changed the document.

        Raises:
            InvalidInputError: The value is not valid, the document would become too long, or a field on the path is not
                an object.
        """
        for length in range(1, len(path)):
            exists, holder = find_field(self.document, path[:length])
            if exists and holder is None:
                # The field's object has the value None, which is a value to record.
                return self.set(path[:length], nested(path[length:], new), at, timed=timed, override=override)
        _check_value(path, new)
        exists, before = find_field(self.document, path)
        if not override:
            if self._is_outdated(path, at, timed=timed) or self._is_forgotten_value(path, new, at, timed=timed):
                return False
            new = self._without_forgotten(path, new, at, timed=timed)
        if exists and same(before, new):
            return False
        # Length of the shortest part of the path that does not exist yet.
        created = next((n for n in range(1, len(path)) if not find_field(self.document, path[:n])[0]), None)
        set_field(self.document, path, new)
        length = len(json.dumps(self.document, ensure_ascii=False))
        if length > MAX_CHARACTERS:
            msg = f"The profile would have {length:,} characters; at most {MAX_CHARACTERS:,} are accepted. Nothing changed."
            raise InvalidInputError(msg)
        self._record(path, at, exists, before, created, override=override)
        self._forgotten.pop(self._digest(path), None)
        return True

    def remove(self, path: Path, at: datetime, *, override: bool = False) -> bool:
        """Remove a field whose value is no longer true. Its history is kept.

        Args:
            path: Path of the field.
            at: The time of that statement.
            override: As in `set`.

        Returns:
            True if that removed the field.
        """
        exists, before = find_field(self.document, path)
        if not exists or (not override and self._is_outdated(path, at)):
            return False
        delete_field(self.document, path)
        self._record(path, at, exists, before, override=override)
        return True

    def forget(self, path: Path, at: datetime, *, keep_name: bool = False) -> bool:
        """Delete a field and its values from the document and from the history.

        Args:
            path: Path of the field.
            at: When it was forgotten.
            keep_name: If true, the field stays with the value None. Default: False.

        Returns:
            True if the document or the history had the field.
        """
        found = delete_field(self.document, path)
        if keep_name:
            set_field(self.document, path, None)
        kept = []
        for change in self._changes:
            own = tuple(change["path"])
            if own[: len(path)] == path:
                found = True
                if change.get("made", len(path)) < len(path):
                    # The change also created an object that contains the field. That object stays.
                    kept.append({**_times(change), "path": list(own[: change["made"]])})
                continue
            if path[: len(own)] == own and isinstance(change.get("before"), dict):
                found = delete_field(change["before"], path[len(own) :]) or found
            kept.append(change)
        self._changes = kept
        if found:
            self._forgotten[self._digest(path)] = at.isoformat()
        return found

    def forget_element(self, path: Path, element: Any, at: datetime) -> bool:
        """Delete an element of a list from the document and from the history.

        Args:
            path: Path of the list.
            element: The element.
            at: When it was forgotten.

        Returns:
            True if the document or the history had the element.
        """
        found = delete_element(self.document, path, element)
        for change in self._changes:
            own = tuple(change["path"])
            if "before" in change and path[: len(own)] == own:
                found = delete_element(change, ("before", *path[len(own) :]), element) or found
        if found:
            self._forgotten[self._digest(_element_path(path, element))] = at.isoformat()
        return found

    def forget_former(self, path: Path, given: Sequence[Any], is_meant: Callable[[Any], bool], at: datetime) -> bool:
        """Delete former values of a field, or elements of former lists, from the history. The field keeps its value.

        Args:
            path: Path of the field.
            given: The values as they were named.
            is_meant: Returns true for a former value that they mean.
            at: When they were forgotten.

        Returns:
            True if the history had such a value.
        """
        forgotten: list[Any] = []
        for change in self._changes:
            own = tuple(change["path"])
            within = ("before", *path[len(own) :])
            exists, former = find_field(change, within) if path[: len(own)] == own else (False, None)
            if exists and is_meant(former):
                delete_field(change, within)  # `as_of` then shows the field without a value.
                forgotten.append(former)
            elif isinstance(former, list):
                gone = [one for one in former if is_meant(one)]
                for one in gone:
                    delete_element(change, within, one)
                forgotten += gone
        if not forgotten:
            return False
        for one in (*given, *forgotten):
            self._forgotten[self._digest(_element_path(path, one))] = at.isoformat()
        return True

    def forget_value(self, path: Path, value: Any, is_meant: Callable[[Any], bool], at: datetime) -> bool:
        """Delete a value of a field, or an element of a list, from the document and from the history.

        Args:
            path: Path of the field.
            value: The value as it was named.
            is_meant: Returns true for a present or former value that it means.
            at: When it was forgotten.

        Returns:
            True if the document or the history had the value.
        """
        exists, stored = find_field(self.document, path)
        found = False
        if exists and is_meant(stored):
            found = delete_field(self.document, path)
            self._forgotten[self._digest(_element_path(path, stored))] = at.isoformat()
        elif isinstance(stored, list):
            gone = [one for one in stored if is_meant(one)]
            for one in gone:
                self.forget_element(path, one, at)
            found = bool(gone)
        return self.forget_former(path, [value], is_meant, at) or found

    def has_former(self, path: Path) -> bool:
        """Return true if the history holds a value of a field, or of a field in it."""
        return any(
            own[: len(path)] == path
            or (path[: len(own)] == own and find_field(change, ("before", *path[len(own) :]))[0])
            for change in self._changes
            for own in [tuple(change["path"])]
        )

    def _is_forgotten_value(self, path: Path, value: Any, at: datetime, *, timed: bool) -> bool:
        """Return true if a value that is neither a list nor an object was forgotten after it was stated."""
        is_scalar = not isinstance(value, (dict, list))
        return is_scalar and self._is_forgotten(_element_path(path, value), at, timed=timed)

    def _without_forgotten(self, path: Path, value: Any, at: datetime, *, timed: bool) -> Any:
        """Return a value without the entries and elements that were forgotten after it was stated."""
        if not self._forgotten:
            return value
        if isinstance(value, list):
            return [one for one in value if not self._is_forgotten(_element_path(path, one), at, timed=timed)]
        if isinstance(value, dict):
            return {
                name: self._without_forgotten((*path, name), one, at, timed=timed)
                for name, one in value.items()
                if not self._is_forgotten((*path, name), at, timed=timed)
                and not self._is_forgotten_value((*path, name), one, at, timed=timed)
            }
        return value

    def has_changed(self, path: Path, since: datetime | None = None) -> bool:
        """Return true if a change of a field, of a field that contains it, or of a field in it is stored.

        Args:
            path: Path of the field.
            since: Only changes count that were stated at this time or later. Default: None (all).
        """
        tombstones = (self._forgotten.get(self._digest(path[:length])) for length in range(1, len(path) + 1))
        forgotten = (datetime.fromisoformat(one) for one in tombstones if one is not None)
        return any(since is None or at >= since for at in (*forgotten, *self._stated(path)))

    def has_forgotten(self, path: Path, element: Any) -> bool:
        """Return true if an element of a list, or a former value of a field, was forgotten."""
        return self.was_forgotten(_element_path(path, element))

    def was_forgotten(self, path: Path) -> bool:
        """Return true if a field was forgotten and not set again."""
        return self._digest(path) in self._forgotten

    def record_interaction(self, at: datetime) -> None:
        """Record the time of the user's latest message."""
        if self.last_interaction is None or datetime.fromisoformat(self.last_interaction) < at:
            self.last_interaction = at.isoformat()

    def _is_outdated(self, path: Path, at: datetime, *, timed: bool = True) -> bool:
        """Return true if a later statement is stored about a field, a field that contains it, or a field in it."""
        if any(self._is_forgotten(path[:length], at, timed=timed) for length in range(1, len(path) + 1)):
            return True
        return any(at < stated for stated in self._stated(path))

    def _stated(self, path: Path) -> Iterator[datetime]:
        """Yield the times of the stored changes of a field, of fields that contain it, and of fields in it."""
        for change in self._changes:
            if all(one == other for one, other in zip(change["path"], path, strict=False)):
                yield datetime.fromisoformat(_times(change)["said"])

    def _is_forgotten(self, path: Path, at: datetime, *, timed: bool) -> bool:
        """Return true if a field was forgotten and the statement may be older than that."""
        forgotten = self._forgotten.get(self._digest(path))
        return forgotten is not None and (not timed or at <= datetime.fromisoformat(forgotten))

    def _record(
        self, path: Path, at: datetime, exists: bool, before: Any, created: int | None = None, *, override: bool = False
    ) -> None:
        """Append a change to the history.

        Args:
            path: Path of the field.
            at: When the change was stated.
            exists: True if the field had a value before.
            before: That value.
            created: Length of the shortest part of the path that the change created. Default: None (the whole path).
            override: As in `set`.
        """
        # Times in the history never decrease, so that `as_of` can undo the changes from the last one backwards.
        latest = max(at, datetime.fromisoformat(self._changes[-1]["at"])) if self._changes else at
        stated = latest if override else at
        change: dict[str, Any] = {"path": list(path), "at": latest.isoformat(), "said": stated.isoformat()}
        if exists:
            change["before"] = before
        if created is not None:
            change["made"] = created
        self._changes.append(change)

    def _digest(self, path: Path) -> str:
        return digest_of_ids(self._user_id, *path, size=12).hex()


def load_fields(unit: UnitOfWork, schema: str) -> Fields:
    """Return the fields of a user's profile in a unit of work.

    Args:
        unit: The unit of work.
        schema: Name of the profile's schema.
    """
    return Fields(unit.user_id, unit[profile_key(unit.user_id, schema)])


def save_fields(unit: UnitOfWork, schema: str, fields: Fields) -> None:
    """Store the fields of a user's profile in a unit of work.

    Args:
        unit: The unit of work.
        schema: Name of the profile's schema.
        fields: The fields.
    """
    unit[profile_key(unit.user_id, schema)] = fields.value


def _check_value(path: Path, value: Any) -> None:
    """Raise an error if a value is not JSON-serialisable or nested too deeply."""
    name = ".".join(path)
    if is_deeper(value, MAX_DEPTH):
        msg = f"The value of {shown(name)} is nested deeper than {MAX_DEPTH} levels. Nothing changed."
        raise InvalidInputError(msg)
    try:
        check_json(value, name)
    except UnsupportedValueError as error:
        msg = f"Field values must be JSON-serialisable; {shown(name)} is {type(value).__name__} {shown(value)}: {error}"
        raise InvalidInputError(msg) from None


def nested(path: Path, value: Any) -> Any:
    """Return a value inside the objects that a path names.

    Example:
        >>> from langchain_agentmem.knowledge.facts.fields import nested
        >>> nested(("home", "city"), "Oslo")
        {'home': {'city': 'Oslo'}}
    """
    for name in reversed(path):
        value = {name: value}
    return value


def _element_path(path: Path, element: Any) -> Path:
    """Return a path for an element of a list, so that the element can have a tombstone."""
    return *path, json.dumps(element, ensure_ascii=False, sort_keys=True)


def _times(change: Mapping[str, Any]) -> dict[str, str]:
    """Return the times of a change: the change itself (`at`) and its statement (`said`)."""
    return {"at": change["at"], "said": change.get("said", change["at"])}
