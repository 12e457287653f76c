"""The fields of a profile: a JSON document that knows what it was like before each change.

A change is noted with its time and what was there before. A change that was said before the last change of the same field,
of what holds it or of what it holds, is left out: the later statement counts. A field that was forgotten leaves the digest of
its path alone.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.digests import digest_of_ids
from langchain_agentmem.encoding.json_values import check_json
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError, UnsupportedValueError
from langchain_agentmem.knowledge.namespaces import profile_key
from langchain_agentmem.knowledge.reading import reading
from langchain_agentmem.knowledge.unit import UnitOfWork

MAX_PAST = 1_000
"""How many changes of fields are known; the oldest goes first."""

MAX_CHARACTERS = 50_000
"""The longest document, as JSON."""

MAX_DEPTH, MAX_NAME = 10, 200
"""How deep a field may lie, and the longest name on the way to it."""

Path = tuple[str, ...]


class Fields:
    """A document, and what it was like before.

    Args:
        user_id: Whose.
        value: What the store keeps of it; None for an empty document.

    Raises:
        DamagedDataError: The value does not hold a profile.
    """

    def __init__(self, user_id: str, value: Mapping[str, Any] | None) -> None:
        self._user_id = user_id
        given = copy.deepcopy(dict(value or {}))
        self.document: dict[str, Any] = given.get("fields") or {}
        self._past: list[dict[str, Any]] = given.get("past") or []
        self._forgotten: dict[str, str] = given.get("forgotten") or {}
        self.last_interaction: str | None = given.get("last_interaction")
        with reading(f"The profile of {shown(user_id)}"):
            self._check_form()

    def _check_form(self) -> None:
        parts = (("fields", self.document, dict), ("past", self._past, list), ("forgotten", self._forgotten, dict))
        for name, part, kind in parts:
            if not isinstance(part, kind):
                msg = f"{name} is a {type(part).__name__}"
                raise TypeError(msg)
        times = [time for change in self._past for time in _times(change).values()]
        for time in (*times, *self._forgotten.values(), *([self.last_interaction] if self.last_interaction else [])):
            datetime.fromisoformat(time)
        for change in self._past:
            path = change["path"]
            if not isinstance(path, list) or not path or not all(isinstance(name, str) for name in path):
                msg = f"a change has the path {shown(path, 60)}"
                raise TypeError(msg)

    @property
    def value(self) -> dict[str, Any]:
        """What the store keeps of it."""
        return {
            "fields": self.document,
            "past": self._past[-MAX_PAST:],
            "forgotten": self._forgotten,
            "last_interaction": self.last_interaction,
        }

    def as_of(self, moment: datetime) -> dict[str, Any]:
        """What the document was at a time."""
        document: dict[str, Any] = copy.deepcopy(self.document)
        for change in reversed(self._past):
            if datetime.fromisoformat(change["at"]) <= moment:
                break
            path = tuple(change["path"])
            if "before" in change:
                _put(document, path, copy.deepcopy(change["before"]))
            else:
                _take(document, path[: change.get("made", len(path))])
        return document

    def set(self, path: Path, new: Any, at: datetime, *, timed: bool = True, override: bool = False) -> bool:
        """Give a field a value; returns whether that changed it.

        Args:
            path: Which field.
            new: The value.
            at: When that was said.
            timed: Whether that is known to be so; a field that was forgotten comes back only then. Default: True.
            override: If true, the value counts as stated later than everything stored. Default: False.

        Raises:
            InvalidInputError: The document would become too long, or the path leads through what holds no fields.
        """
        there, before = _get(self.document, path)
        if (there and before == new) or (not override and self._is_old(path, at, timed=timed)):
            return False
        if _is_deeper(new, MAX_DEPTH):
            msg = f"A value may hold lists and objects in each other {MAX_DEPTH} levels deep: nothing was changed."
            raise InvalidInputError(msg)
        try:
            check_json(new, ".".join(path))
        except UnsupportedValueError as error:
            msg = f"A field holds what JSON knows, got {type(new).__name__} {shown(new)}: {error}"
            raise InvalidInputError(msg) from None
        made = next((at for at in range(1, len(path)) if not _get(self.document, path[:at])[0]), None)
        _put(self.document, path, new)
        if len(json.dumps(self.document, ensure_ascii=False)) > MAX_CHARACTERS:
            msg = f"The profile would be longer than {MAX_CHARACTERS:,} characters: nothing was changed."
            raise InvalidInputError(msg)
        self._note(path, at, there, before, made, override=override)
        self._forgotten.pop(self._digest(path), None)
        return True

    def remove(self, path: Path, at: datetime, *, override: bool = False) -> bool:
        """Remove a field that holds no longer; returns whether there was one.

        Args:
            path: Which field.
            at: When that was said.
            override: As in `set`.
        """
        there, before = _get(self.document, path)
        if not there or (not override and self._is_old(path, at)):
            return False
        _take(self.document, path)
        self._note(path, at, there, before, override=override)
        return True

    def forget(self, path: Path, at: datetime, *, left: bool = False) -> bool:
        """Remove a field with all that it ever was; returns whether anything was there.

        Args:
            path: Which field.
            at: When that was said.
            left: Whether the field stays, with the value None. Default: False.
        """
        found, _ = _get(self.document, path)
        _take(self.document, path)
        if left:
            _put(self.document, path, None)
        kept = []
        for change in self._past:
            own = tuple(change["path"])
            if own[: len(path)] == path:
                found = True
                if change.get("made", len(path)) < len(path):
                    # What held it was made for it, and stays.
                    kept.append({**_times(change), "path": list(own[: change["made"]])})
                continue
            if path[: len(own)] == own and isinstance(change.get("before"), dict):
                found = _take(change["before"], path[len(own) :]) or found
            kept.append(change)
        self._past = kept
        if found:
            self._forgotten[self._digest(path)] = at.isoformat()
        return found

    def forget_element(self, path: Path, element: Any, at: datetime) -> bool:
        """Remove an element of a list, now and before; returns whether it was anywhere."""
        found = _take_element(self.document, path, element)
        for change in self._past:
            own = tuple(change["path"])
            if "before" in change and path[: len(own)] == own:
                found = _take_element(change, ("before", *path[len(own) :]), element) or found
        if found:
            self._forgotten[self._digest(_element(path, element))] = at.isoformat()
        return found

    def has_forgotten(self, path: Path, element: Any, at: datetime, *, timed: bool = True) -> bool:
        """Whether an element of a list was forgotten, and a statement of it is not known to be later."""
        return self._is_old(_element(path, element), at, timed=timed)

    def interacted(self, at: datetime) -> None:
        """Note when the user was heard of last."""
        if self.last_interaction is None or datetime.fromisoformat(self.last_interaction) < at:
            self.last_interaction = at.isoformat()

    def _is_old(self, path: Path, at: datetime, *, timed: bool = True) -> bool:
        """Whether something was said of a field, of what holds it, or of what it holds, since."""
        for length in range(1, len(path) + 1):
            forgotten = self._forgotten.get(self._digest(path[:length]))
            if forgotten is not None and (not timed or at <= datetime.fromisoformat(forgotten)):
                return True
        said = (
            _times(change)["said"]
            for change in self._past
            if all(one == other for one, other in zip(change["path"], path, strict=False))
        )
        return any(at < datetime.fromisoformat(one) for one in said)

    def _note(
        self, path: Path, at: datetime, there: bool, before: Any, made: int | None = None, *, override: bool = False
    ) -> None:
        """Note a change, before which a value was there or not; and from where on its path was made for it."""
        # The changes stay in the order in which they were made, so that they can be undone one after the other.
        latest = max(at, datetime.fromisoformat(self._past[-1]["at"])) if self._past else at
        said = latest if override else at
        change: dict[str, Any] = {"path": list(path), "at": latest.isoformat(), "said": said.isoformat()}
        if there:
            change["before"] = before
        if made is not None:
            change["made"] = made
        self._past.append(change)

    def _digest(self, path: Path) -> str:
        return digest_of_ids(self._user_id, *path, size=12).hex()


def load_fields(unit: UnitOfWork, schema: str) -> Fields:
    """Return the fields of a user's profile in a unit of work, by the name of the profile's schema."""
    return Fields(unit.user_id, unit[profile_key(unit.user_id, schema)])


def save_fields(unit: UnitOfWork, schema: str, fields: Fields) -> None:
    """Store the fields of a user's profile in a unit of work."""
    unit[profile_key(unit.user_id, schema)] = fields.value


def _element(path: Path, element: Any) -> Path:
    return *path, json.dumps(element, ensure_ascii=False, sort_keys=True)


def _take_element(document: dict[str, Any], path: Path, element: Any) -> bool:
    _, there = _get(document, path)
    if not isinstance(there, list) or element not in there:
        return False
    _put(document, path, [one for one in there if one != element])
    return True


def _times(change: Mapping[str, Any]) -> dict[str, str]:
    """When a change was made, in the order of changes, and when it was said."""
    return {"at": change["at"], "said": change.get("said", change["at"])}


def path_of(field: str | Sequence[str]) -> Path:
    """A path from its names, or from one text in which dots part them.

    Raises:
        InvalidInputError: It is empty, or one of its names is.
    """
    path = tuple(field.split(".")) if isinstance(field, str) else tuple(field)
    if not all(isinstance(name, str) for name in path):
        msg = f"A field is named by a text such as 'preferences.language', or by a list of names, got {shown(field)}."
        raise InvalidTypeError(msg)
    if not path or not all(name.strip() for name in path):
        msg = f"A field is named by a text such as 'preferences.language', or by a list of names, got {shown(field)}."
        raise InvalidInputError(msg)
    if len(path) > MAX_DEPTH or max(map(len, path)) > MAX_NAME:
        msg = f"A field is named by at most {MAX_DEPTH} names of {MAX_NAME} characters, got {shown(field)}."
        raise InvalidInputError(msg)
    return path


def _is_deeper(value: Any, levels: int) -> bool:
    inner = [value]
    for _ in range(levels + 1):
        holders = [one for one in inner if isinstance(one, (Mapping, list))]
        inner = [each for one in holders for each in (one.values() if isinstance(one, Mapping) else one)]
    return bool(holders)


def value_at(document: Mapping[str, Any], path: Path) -> Any:
    """The value of a field; None where there is none."""
    return _get(document, path)[1]


def _get(document: Mapping[str, Any], path: Path) -> tuple[bool, Any]:
    value: Any = document
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            return False, None
        value = value[name]
    return True, value


def _put(document: dict[str, Any], path: Path, value: Any) -> None:
    for at, name in enumerate(path[:-1]):
        inner = document.setdefault(name, {})
        if not isinstance(inner, dict):
            msg = f"The field {'.'.join(path[: at + 1])} holds no fields, so {'.'.join(path)} cannot be set."
            raise InvalidInputError(msg)
        document = inner
    document[path[-1]] = value


def _take(document: dict[str, Any], path: Path) -> bool:
    if not path:
        return False
    holder = document
    for name in path[:-1]:
        inner = holder.get(name)
        if not isinstance(inner, dict):
            return False
        holder = inner
    return holder.pop(path[-1], _take) is not _take
