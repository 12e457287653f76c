"""The changes of entities in an answer. Each is checked alone, and the values of small models are converted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from pydantic import ValidationError

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError
from langchain_agentmem.knowledge.entities.changes import (
    MAX_CHANGES,
    EntityChange,
    EntityChanges,
    RelationChange,
    RelationRemoval,
    moment,
)
from langchain_agentmem.knowledge.entities.references import USER, identifies, is_pronoun, is_user
from langchain_agentmem.knowledge.entities.stored import check_period
from langchain_agentmem.knowledge.extraction.loose_json import from_string
from langchain_agentmem.knowledge.extraction.proposals import as_numbers, described, is_omitted

_DATES = ("%B %Y", "%b %Y", "%d %B %Y", "%d %b %Y", "%B %d, %Y", "%b %d, %Y", "%B %d %Y", "%Y/%m/%d", "%Y/%m", "%m/%Y")
_NO_VALUE = ("n/a", "na", "unknown", "<unknown>", "not specified", "unspecified", "-", "?")


class ProposedEntities(NamedTuple):
    """The changes of entities in an answer."""

    changes: EntityChanges
    faults: list[str]
    """The errors of the other changes."""


class _PronounError(ValueError):
    """A name is a pronoun."""


def proposed_entities(answers: Iterable[Mapping[str, Any]]) -> ProposedEntities:
    """Return the valid changes of entities in the parts of an answer.

    Args:
        answers: The objects with changes. Entities are under `entities`, or beside the changes.
    """
    items: dict[str, list[Any]] = {name: [] for name in EntityChanges.model_fields}
    for answer in answers:
        for name, given in _lists_in(answer).items():
            items[name] += given
    faults: list[str] = []
    valid = {
        "entities": _valid("Entity", items["entities"], _entity, faults),
        "relations": _valid("Relation", items["relations"], _relation, faults),
        "wrong_relations": _valid("Wrong relation", items["wrong_relations"], _removal, faults),
        "forgotten": _valid("Forgotten entity", items["forgotten"], _forgotten, faults),
    }
    return ProposedEntities(EntityChanges().model_copy(update=valid), faults)


def _lists_in(answer: Mapping[str, Any]) -> dict[str, list[Any]]:
    names = EntityChanges.model_fields
    part = from_string(answer.get("entities"))
    if isinstance(part, Mapping) and not any(name in part for name in names):
        named = "name" in part or not all(isinstance(one, Mapping) for one in part.values())
        part = [part] if named and part else [{"name": name, **one} for name, one in part.items()]
    nested = part if isinstance(part, Mapping) else {"entities": part}
    beside = {name: answer[name] for name in names if name != "entities" and name in answer}
    return {name: _as_list(given) for name, given in {**beside, **nested}.items() if name in names}


def _as_list(given: Any) -> list[Any]:
    given = from_string(given)
    if is_omitted(given):
        return []
    return list(given) if isinstance(given, (list, tuple)) else [given]


def _valid(what: str, items: list[Any], read: Callable[[Any], Any], faults: list[str]) -> list[Any]:
    """Return the valid changes among some items, and add the errors of the others to `faults`."""
    valid = []
    for number, item in enumerate(items, 1):
        try:
            if number > MAX_CHANGES:
                msg = f"at most {MAX_CHANGES} are accepted."
                raise InvalidInputError(msg)
            valid.append(read(from_string(item)))
        except ValidationError as error:
            faults.append(f"{what} {number}: {described(error)}")
        except (InvalidInputError, InvalidTypeError, _PronounError) as error:
            faults.append(f"{what} {number}: {error}")
    return valid


def _entity(given: Any) -> EntityChange:
    given = {"name": given} if isinstance(given, (str, int)) else given
    if not isinstance(given, Mapping):
        return EntityChange.model_validate(given)
    name = _name(given.get("name"))
    aliases = [_scalar(one) for one in _as_list(given.get("aliases")) if not _is_empty(one)]
    values = {key: _scalar(given.get(key)) for key in ("kind", "description") if not _is_empty(given.get(key))}
    return EntityChange.model_validate(
        {
            **values,
            "name": name,
            "aliases": [one for one in aliases if not isinstance(one, str) or identifies(one)],
            "attributes": _attributes(given.get("attributes")),
            "sources": as_numbers(given.get("sources")),
        }
    )


def _attributes(given: Any) -> list[Any]:
    given = from_string(given)
    pairs: list[Any] = []
    for one in [given] if isinstance(given, Mapping) else _as_list(given):
        each = from_string(one)
        if isinstance(each, Mapping) and "name" not in each:
            pairs += [{"name": str(name), "value": _scalar(value)} for name, value in each.items()]
        elif isinstance(each, Mapping):
            pairs.append({"name": _scalar(each["name"]), "value": _scalar(each.get("value"))})
        else:
            pairs.append(each)
    return [one for one in pairs if not isinstance(one, dict) or one["value"] == "" or not _is_empty(one["value"])]


def _relation(given: Any) -> RelationChange:
    ends = _ends(given)
    if not isinstance(ends, dict):
        return RelationChange.model_validate(ends)
    change = RelationChange.model_validate(
        {
            **ends,
            "valid_from": _date(given.get("valid_from")) if isinstance(given, Mapping) else None,
            "valid_to": _date(given.get("valid_to")) if isinstance(given, Mapping) else None,
            "sources": as_numbers(given.get("sources")) if isinstance(given, Mapping) else [],
        }
    )
    check_period(change)
    return change


def _removal(given: Any) -> RelationRemoval:
    return RelationRemoval.model_validate(_ends(given))


def _ends(given: Any) -> Any:
    """Return the subject, the predicate and the object of a relation; other values unchanged."""
    if isinstance(given, (list, tuple)) and len(given) == len(("subject", "predicate", "object")):
        given = dict(zip(("subject", "predicate", "object"), given, strict=True))
    if not isinstance(given, Mapping):
        return given
    return {
        "subject": _name(given.get("subject")),
        "predicate": _scalar(given.get("predicate")),
        "object": _name(given.get("object")),
    }


def _forgotten(given: Any) -> str:
    name = given.get("name") if isinstance(given, Mapping) else given
    return EntityChange.model_validate({"name": _name(name)}).name


def _name(given: Any) -> Any:
    """Return the name of an entity. The user always has the same name.

    Raises:
        _PronounError: The name is a pronoun.
    """
    name = _scalar(given)
    if not isinstance(name, str):
        return name
    if is_user(name):
        return USER
    if is_pronoun(name):
        msg = f"{shown(name, 60)} is a pronoun: give the name of the entity, or leave it out."
        raise _PronounError(msg)
    return name


def _scalar(value: Any) -> Any:
    """Return a number, a truth value or a list of these as text; other values unchanged."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, (list, tuple)) and value and all(isinstance(one, (str, int, float)) for one in value):
        return ", ".join(_scalar(one) for one in value)
    return value


def _is_empty(value: Any) -> bool:
    return is_omitted(value) or (isinstance(value, str) and value.strip().casefold() in _NO_VALUE)


def _date(given: Any) -> datetime | None:
    """Return a date; None if it cannot be read, such as "present" or "last summer"."""
    text = str(given).strip() if isinstance(given, (str, int)) and not isinstance(given, bool) else ""
    try:
        return moment("a date", text)
    except (InvalidInputError, InvalidTypeError):
        pass
    for form in _DATES:
        try:
            return moment("a date", datetime.strptime(text, form))
        except ValueError:
            continue
    return None
