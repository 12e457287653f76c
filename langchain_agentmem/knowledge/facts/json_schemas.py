"""A JSON schema as a tree: the fields of a document and the types of their values."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import AliasChoices, AliasPath, BaseModel
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from langchain_agentmem.arguments.nesting import MAX_ANSWER_DEPTH, NestingError, load_bounded_json
from langchain_agentmem.errors import InvalidInputError
from langchain_agentmem.knowledge.facts.equality import same
from langchain_agentmem.knowledge.facts.paths import Path
from langchain_agentmem.knowledge.facts.unsupported_fields import check_fields
from langchain_agentmem.programs.caches import RecentValues

Node = Mapping[str, Any]
"""A part of the schema: the schema of a value."""

SPELLINGS = "x-agentmem-spellings"
"""Entry of an object's schema: other names of its fields, such as serialization aliases, and the names of the document."""

_DEPTH = 20
_known: RecentValues[type[BaseModel], tuple[Any, dict[str, Any]]] = RecentValues(64)
"""The JSON schemas of models, which each change of a profile needs, with the core schemas that they describe."""

_COMBINED = ("anyOf", "oneOf", "allOf")


class _WithSpellings(GenerateJsonSchema):
    """Adds the other names of fields to the schema of each model."""

    def model_schema(self, schema: Any) -> dict[str, Any]:
        check_fields(schema["cls"])
        described = super().model_schema(schema)
        others = spellings(schema["cls"])
        return {**described, SPELLINGS: others} if others and "properties" in described else described


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schema of a Pydantic model, with the other names of its fields. Do not change it: it is cached.

    Raises:
        InvalidInputError: The model, or a model in it, has a field that a profile cannot hold.
    """
    known = _known.get(model)
    # A model that is rebuilt gets a new core schema.
    if known is not None and known[0] is model.__pydantic_core_schema__:
        return known[1]
    schema = model.model_json_schema(schema_generator=_WithSpellings)
    _known.put(model, (model.__pydantic_core_schema__, schema))
    return schema


def key_of(name: str, info: FieldInfo) -> str:
    """Return the name under which documents hold a field: the one that validation reads.

    Args:
        name: Name of the field in the model.
        info: The field.
    """
    return next(iter(_validation_names(info)), None) or info.alias or name


def spellings(model: type[BaseModel]) -> dict[str, str]:
    """Return the other names of a model's fields, and the names under which documents hold these fields.

    Example:
        >>> from pydantic import BaseModel, Field
        >>> from langchain_agentmem.knowledge.facts.json_schemas import spellings
        >>> class Home(BaseModel):
        ...     zip_code: str = Field(validation_alias="zipCode", serialization_alias="ZIP")
        >>> spellings(Home)
        {'zip_code': 'zipCode', 'ZIP': 'zipCode'}
    """
    keys = {name: key_of(name, info) for name, info in model.model_fields.items()}
    found: dict[str, str] = {}
    for name, info in model.model_fields.items():
        for other in (name, info.alias, info.serialization_alias, *_validation_names(info)):
            if other is not None and other not in keys.values():
                found.setdefault(other, keys[name])
    return found


def _validation_names(info: FieldInfo) -> list[str]:
    given = info.validation_alias
    choices = given.choices if isinstance(given, AliasChoices) else [] if given is None else [given]
    names = [one.path[0] if isinstance(one, AliasPath) and len(one.path) == 1 else one for one in choices]
    return [one for one in names if isinstance(one, str)]


class SchemaTree:
    """Finds the parts of a JSON schema that describe a field.

    Args:
        root: The JSON schema of an object.
    """

    def __init__(self, root: Node) -> None:
        self.root = root

    def at(self, path: Path) -> list[Node]:
        """Return the schemas that the value at a path may have; none if there is no such field."""
        nodes = list(self._alternatives(self.root, 0))
        for name in path:
            nodes = self.inside(nodes, name)
        return nodes

    def inside(self, nodes: Sequence[Node], name: str) -> list[Node]:
        """Return the schemas that a field of an object may have.

        Args:
            nodes: Schemas of the object.
            name: Name of the field.
        """
        inner: list[Node] = []
        for one in nodes:
            properties = one.get("properties", {})
            if name in properties:
                inner += self._alternatives(properties[name], 0)
            elif is_open(one):
                more = one.get("additionalProperties", True)
                inner += self._alternatives(more if isinstance(more, Mapping) else {}, 0)
        return inner

    def elements(self, nodes: Iterable[Node]) -> list[Node]:
        """Return the schemas that an element of a list may have."""
        return [each for one in nodes for each in self._alternatives(one.get("items", {}), 0)]

    def resolve(self, path: Path, document: Mapping[str, Any]) -> Path | None:
        """Return the path of the field that a path names; None if there is no such field.

        Names may contain dots, and a path from a text is split at each of them. Of the possible fields the one counts of
        which the document holds the most. Names may also be the fields' other names, and differ in capitals.

        Args:
            path: The path as it was given.
            document: The document.
        """
        found = list(self._candidates(list(self._alternatives(self.root, 0)), document, path))
        best = max(found, key=lambda one: (one[0], len(one[1])), default=None)
        return None if best is None else best[1]

    def _candidates(self, nodes: Sequence[Node], value: Any, rest: Path) -> Iterator[tuple[int, Path]]:
        """Yield the fields that the rest of a path may name, each with the number of given names that exist."""
        if not rest:
            yield 0, ()
            return
        holder = {} if value is None else value
        if not isinstance(holder, Mapping):
            return
        is_blocked = False
        for length in range(1, len(rest) + 1):
            name = _spelled(nodes, holder, ".".join(rest[:length]))
            inner = self.inside(nodes, name)
            exists = name in holder
            if not inner or (is_blocked and not exists):
                continue
            # Where a value could be an object but is none, a longer name would hide what the path means.
            could_be_object = length < len(rest) and bool(self.inside(inner, rest[length]))
            is_object = isinstance(holder.get(name), (Mapping, type(None)))
            is_blocked = is_blocked or (could_be_object and not is_object)
            for more, others in self._candidates(inner, holder.get(name), rest[length:]):
                yield (length + more if exists else 0), (name, *others)

    def _alternatives(self, node: Any, depth: int) -> Iterator[Node]:
        """Yield the schemas that a schema refers to or combines."""
        if not isinstance(node, Mapping) or depth > _DEPTH:
            return
        reference = node.get("$ref")
        if isinstance(reference, str) and reference.startswith("#/"):
            target: Any = self.root
            for part in reference[2:].split("/"):
                target = target.get(part, {}) if isinstance(target, Mapping) else {}
            yield from self._alternatives(target, depth + 1)
        elif any(several in node for several in _COMBINED):
            for several in _COMBINED:
                for one in node.get(several, ()):
                    yield from self._alternatives(one, depth + 1)
        else:
            yield node

    def is_list(self, path: Path) -> bool:
        """Return true if the only accepted values of a field are lists."""
        return types_of(self.at(path)) - {"null"} == {"array"}

    def is_map(self, path: Path) -> bool:
        """Return true if a field holds an object whose names the schema leaves open, such as `dict[str, float]`."""
        nodes = [one for one in self.at(path) if one.get("type") != "null"]
        return bool(nodes) and all(
            "object" in types_of([one]) and is_open(one) and not one.get("properties") for one in nodes
        )

    def names_fields(self, path: Path) -> bool:
        """Return true if the schema names the fields of the object under a path."""
        return any(one.get("properties") for one in self.at(path))

    def accepts_list(self, path: Path) -> bool:
        """Return true if a field may hold a list."""
        return any(not types_of([one]) or "array" in types_of([one]) for one in self.at(path))

    def names_value(self, nodes: Iterable[Node], value: Any) -> bool:
        """Return true if a schema lists a value among those that it accepts."""
        listed = [each for one in nodes for each in (*one.get("enum", ()), *([one["const"]] if "const" in one else ()))]
        return any(same(each, value) for each in listed)

    def keyed(
        self, nodes: Sequence[Node], value: Any, scalar: Callable[[Sequence[Node], Any], Any] | None = None
    ) -> Any:
        """Return a value with the names that documents hold, and with the elements of sets in order.

        Args:
            nodes: Schemas of the value.
            value: The value.
            scalar: Converts the values in it that are neither lists nor objects. Default: None.
        """
        if isinstance(value, Mapping):
            keys = {name: _spelled(nodes, {}, name) for name in value}
            return {keys[name]: self.keyed(self.inside(nodes, keys[name]), one, scalar) for name, one in value.items()}
        if isinstance(value, list):
            inner = self.elements(nodes)
            every = [self.keyed(inner, one, scalar) for one in value]
            unique = any(one.get("uniqueItems") for one in nodes)
            return sorted(_each_once(every), key=json.dumps) if unique else every
        return value if scalar is None else scalar(nodes, value)

    def coerced(self, nodes: Sequence[Node], value: Any) -> Any:
        """Return a value in the type that the schema asks for. Small models write values as text: "7", "true", "[1]".

        Args:
            nodes: Schemas of the value.
            value: The value.
        """
        return self.keyed(nodes, value, self._from_text)

    def _from_text(self, nodes: Sequence[Node], value: Any) -> Any:
        types = types_of(nodes)
        if not isinstance(value, str) or "string" in types or self.names_value(nodes, value):
            return value
        decoded = _decoded(value)
        kind = _type_of(decoded)
        if types and not {kind, "number" if kind == "integer" else kind} & types:
            return value
        # If the schema names no type, a text stays a text, except when it contains a JSON list or object.
        return (
            self.keyed(nodes, decoded, self._from_text) if kind in ("array", "object") else decoded if types else value
        )


def is_open(node: Node) -> bool:
    """Return true if an object may have fields that the schema does not name."""
    types = types_of([node])
    if types and "object" not in types:
        return False
    more = node.get("additionalProperties")
    return more is not None and more is not False if "properties" in node else more is not False


def types_of(nodes: Iterable[Node]) -> set[str]:
    """Return the JSON types that schemas name; none if one of them accepts any value."""
    types: set[str] = set()
    for one in nodes:
        given = one.get("type")
        if isinstance(given, str):
            types.add(given)
        elif isinstance(given, list):
            types |= set(given)
        elif "enum" in one or "const" in one:
            types |= {_type_of(each) for each in one.get("enum", [one.get("const")])}
        elif "properties" in one:
            types.add("object")
        elif "items" in one:
            types.add("array")
        else:
            return set()
    return types


def found_at(document: Mapping[str, Any], path: Sequence[str | int]) -> list[Any]:
    """Return the value at a path of names and positions in a list of one; an empty list if there is none."""
    value: Any = document
    for part in path:
        if isinstance(part, int):
            exists = isinstance(value, list) and part < len(value)
        else:
            exists = isinstance(value, Mapping) and part in value
        if not exists:
            return []
        value = value[part]
    return [value]


def _spelled(nodes: Iterable[Node], holder: Mapping[str, Any], name: str) -> str:
    """Return the name of the object's field that a name refers to."""
    nodes = list(nodes)
    properties = {key for one in nodes for key in one.get("properties", {})}
    if name in properties or name in holder:
        return name
    for one in nodes:
        if name in one.get(SPELLINGS, {}):
            return str(one[SPELLINGS][name])
    similar = {key for key in (*properties, *holder) if key.casefold() == name.casefold()}
    return similar.pop() if len(similar) == 1 else name


def _each_once(values: Iterable[Any]) -> list[Any]:
    kept: list[Any] = []
    for value in values:
        if not any(same(value, other) for other in kept):
            kept.append(value)
    return kept


def _decoded(text: str) -> Any:
    """Return the JSON value in a text; the text if it holds none.

    Raises:
        InvalidInputError: The value is nested too deep.
    """
    lower = text.strip().lower()
    if lower in ("true", "false"):
        return lower == "true"
    try:
        value = load_bounded_json(text, MAX_ANSWER_DEPTH)
        json.dumps(value, allow_nan=False)
    except NestingError as error:
        msg = f"the {error}."
        raise InvalidInputError(msg) from None
    except ValueError:
        return text
    return text if value is None else value


def _type_of(value: Any) -> str:
    """Return the JSON type of a value."""
    if isinstance(value, bool):
        return "boolean"
    kinds = ((int, "integer"), (float, "number"), (str, "string"), (list, "array"), (Mapping, "object"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "null")
