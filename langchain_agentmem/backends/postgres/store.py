"""The item table in Postgres: LangGraph's table, with full-text search by `tsvector` and vector search by pgvector."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.contract import (
    Candidate,
    EmbeddedItem,
    Found,
    IndexedItem,
    ItemChanges,
    ItemPut,
    ItemRow,
    Namespace,
    Query,
    Swap,
)
from langchain_agentmem.backends.postgres.conditions import indexed_condition, path_of
from langchain_agentmem.backends.postgres.item_changes import ItemPlace, changes_in
from langchain_agentmem.backends.postgres.prefixes import below, decoded_prefix, encoded_prefix
from langchain_agentmem.backends.postgres.statements import Floats, statements
from langchain_agentmem.encoding.json_values import dump_exact_json
from langchain_agentmem.errors import ConfigurationError, DamagedDataError
from langchain_agentmem.programs import Fetch, OffLoop, Program, one_statement, storage_program
from langchain_agentmem.programs.sizes import LARGE, is_long
from langchain_agentmem.text.words import pack_words

MOST_KEPT = 20_000
"""The number of items below a namespace up to which a process keeps their words and vectors in memory for searches."""

EXACT_ITEMS = 2_000
"""The number of items below a namespace up to which a search compares all. Above it, the indexes find the best ones."""

MAX_INDEXED_DIMENSIONS = {"vector": 2_000, "halfvec": 4_000}
"""The maximum dimensions that pgvector can index, by type."""

MAX_DIMENSIONS = 16_000
"""The maximum dimensions that pgvector can store."""

_WORDS_OF_A_PART = 8_000
"""A `tsvector` contains up to 16,383 positions and one megabyte."""

_UNEMBEDDED_AT_ONCE = 10_000
_MANY_ITEMS = 500
_REMEMBERED, _REMEMBERED_SECONDS = 10_000, 60.0
_WRAPPED = "agentmem:json"
"""The key of the object that wraps a value whose JSON text Postgres would alter."""


class VectorSettings(NamedTuple):
    """The settings of the vector index."""

    kind: str = "hnsw"
    """`"hnsw"`, `"ivfflat"` or `"flat"` (exact)."""
    type: str | None = None
    """`"vector"` or `"halfvec"`; None to choose by the dimensions."""
    parameters: Mapping[str, int] = MappingProxyType({})
    """The parameters of the index: `m`, `ef_construction`, `lists`."""


class PostgresItems:
    """Implements `langchain_agentmem.backends.contract.ItemTable`."""

    reads_changes = True

    def __init__(self, schema: str | None) -> None:
        self._sql = statements("store.sql", schema)
        self._vectors = VectorSettings()
        self._indexed: Sequence[str] = ()
        self._has_vectors = False
        self._large: dict[tuple[str, Namespace], float] = {}
        """Namespaces with too many items, each with the time after which a search counts again."""

    def use_vectors(self, settings: VectorSettings) -> None:
        """Set the vector index, before the first vector is stored."""
        self._vectors = settings

    def index_fields(self, fields: Sequence[str]) -> None:
        """Let filters use the indexes of fields."""
        self._indexed = fields

    @one_statement
    def get(
        self, tenant: str, keys: Sequence[tuple[Namespace, str]], now: float, *, paths: bool = False
    ) -> Program[list[ItemRow | None]]:
        if not keys:
            return []
        prefixed = [(encoded_prefix(tenant, namespace), key) for namespace, key in keys]
        rows = yield from Fetch(self._sql["get_with_paths" if paths else "get"], (*columns_of(prefixed), now))
        found = {(row[0], row[1]): item_row(row) for row in rows}
        return [found.get(one) for one in prefixed]

    @one_statement
    def put(self, tenant: str, puts: Sequence[ItemPut], now: float) -> Program[None]:
        if puts:
            yield from self.ensure_vectors([vector for put in puts for vector in put.vectors])
            yield from OffLoop(is_long((put.value for put in puts), LARGE))
            paths = _paths(tenant, puts)
            yield from Fetch(self._sql["put_with_paths" if paths else "put"], (*_put(tenant, puts, now), *paths))

    @one_statement
    def swap(self, tenant: str, swaps: Sequence[Swap], now: float, token: int) -> Program[bool]:
        puts = [swap.put for swap in swaps if swap.put]
        yield from self.ensure_vectors([vector for put in puts for vector in put.vectors])
        prefixed = columns_of([(encoded_prefix(tenant, swap.namespace), swap.key) for swap in swaps])
        expectations = [swap.expected for swap in swaps], [swap.keep for swap in swaps], token
        parameters = (*prefixed, *expectations, *_put(tenant, puts, now))
        paths = _paths(tenant, puts)
        touched = [(encoded_prefix(tenant, swap.namespace), swap.key) for swap in swaps if swap.touch]
        if paths or touched:
            more = (token, *(paths or ([], [], [])), *columns_of(touched), now)
            ((swapped, *_),) = yield from Fetch(self._sql["swap_with_more"], (*parameters, *more))
        else:
            ((swapped,),) = yield from Fetch(self._sql["swap"], parameters)
        return bool(swapped)

    @one_statement
    def delete(self, tenant: str, keys: Sequence[tuple[Namespace, str]]) -> Program[None]:
        if keys:
            yield from Fetch(
                self._sql["delete"], columns_of([(encoded_prefix(tenant, namespace), key) for namespace, key in keys])
            )

    @one_statement
    def touch(self, tenant: str, keys: Sequence[tuple[Namespace, str]], now: float) -> Program[None]:
        prefixed = [(encoded_prefix(tenant, namespace), key) for namespace, key in keys]
        yield from Fetch(self._sql["touch"], (*columns_of(prefixed), now))

    @storage_program
    def change(
        self,
        tenant: str,
        puts: Sequence[ItemPut],
        deletes: Sequence[tuple[Namespace, str]],
        touches: Sequence[tuple[Namespace, str]],
        now: float,
    ) -> Program[None]:
        every = [*touches, *deletes, *((put.namespace, put.key) for put in puts)]
        columns = columns_of([(encoded_prefix(tenant, namespace), key) for namespace, key in every])
        created = [at >= len(touches) for at in range(len(every))]
        locked = {tuple(row) for row in (yield from Fetch(self._sql["lock"], (*columns, created, now)))}
        # An item that another writer created since is not locked: an update now would lock it out of order.
        touched = [(namespace, key) for namespace, key in touches if (encoded_prefix(tenant, namespace), key) in locked]
        if touched:
            yield from self.touch(tenant, touched, now)
        yield from self.delete(tenant, deletes)
        yield from self.put(tenant, puts, now)

    @one_statement
    def scan(
        self,
        tenant: str,
        prefix: Namespace,
        condition: Mapping[str, Any] | None,
        limit: int,
        before: tuple[Any, ...] | None,
        now: float,
        *,
        offset: int = 0,
    ) -> Program[tuple[list[ItemRow], tuple[Any, ...] | None]]:
        own, first, last = below(tenant, prefix)
        at, after, key = before or (None, None, None)
        sql, values = indexed_condition(condition, self._indexed)
        place = {"at": at, "prefix": after, "key": key, "limit": limit, "offset": offset}
        parameters = {"own": own, "first": first, "last": last, "now": now, "path": path_of(condition), **values}
        rows = yield from Fetch(self._sql["scan"].replace("{condition}", sql), {**parameters, **place})
        following = (rows[-1][7], rows[-1][0], rows[-1][1]) if len(rows) == limit else None
        return [item_row(row[:7]) for row in rows], following

    def skips(self, condition: Mapping[str, Any] | None) -> bool:
        return not condition

    def changes(
        self, tenant: str, prefix: Namespace, width: int | None, cursor: Any, now: float
    ) -> Program[ItemChanges] | None:
        if cursor is None and self._large.get((tenant, prefix), 0.0) > time.monotonic():
            return None
        return self._changes(tenant, prefix, width, cursor, now)

    @one_statement
    def _changes(
        self, tenant: str, prefix: Namespace, width: int | None, cursor: Any, now: float
    ) -> Program[ItemChanges]:
        known = (None, None) if cursor is None else (cursor.snapshot, cursor.read_at)
        parameters = (*below(tenant, prefix), *known, width is not None, MOST_KEPT + 1, now)
        rows = yield from Fetch(self._sql["changed_items"], parameters)
        if len(rows) > _MANY_ITEMS:
            yield from OffLoop(large=True)
        found = changes_in(rows, width)
        if found.is_too_large:
            self._note_large(tenant, prefix)
        return found

    @one_statement
    def find(self, tenant: str, query: Query, now: float) -> Program[Found]:
        vector = None if query.vector is None else Floats(query.vector)
        namespace = (tenant, query.prefix)
        exact = 0 if self._large.get(namespace, 0.0) > time.monotonic() else EXACT_ITEMS
        wanted = (list(query.words), vector, path_of(query.condition), now, query.depth, exact)
        rows = yield from Fetch(self._sql["find"], (*below(tenant, query.prefix), *wanted))
        if exact and rows and rows[0][6] is not None:
            self._note_large(*namespace)
        candidates = [Candidate((row[2], row[0], row[1]), row[3], row[4]) for row in rows]
        whole = {
            candidate.id: (*row[:2], *row[6:])
            for candidate, row in zip(candidates, rows, strict=True)
            if row[6] is not None
        }
        return Found(candidates, not any(row[5] for row in rows), _Items(whole))

    def _note_large(self, tenant: str, prefix: Namespace) -> None:
        if len(self._large) >= _REMEMBERED:
            self._large.clear()
        self._large[tenant, prefix] = time.monotonic() + _REMEMBERED_SECONDS

    @one_statement
    def rows(self, ids: Sequence[Any]) -> Program[dict[Any, ItemRow]]:
        if not ids:
            return {}
        places = {id_: (id_.prefix, id_.key) if isinstance(id_, ItemPlace) else id_[1:] for id_ in ids}
        rows = yield from Fetch(self._sql["get"], (*columns_of(list(places.values())), 0.0))
        found = {(row[0], row[1]): item_row(row) for row in rows}
        return {id_: found[place] for id_, place in places.items() if place in found}

    @one_statement
    def namespaces(self, tenant: str, prefix: Namespace, now: float) -> Program[list[Namespace]]:
        own, first, last = below(tenant, prefix)
        rows = yield from Fetch(self._sql["namespaces"], (first, last, own, now))
        return sorted(decoded_prefix(namespace) for (namespace,) in rows)

    @one_statement
    def roots(self, tenant: str, now: float) -> Program[list[str]]:
        own, first, last = below(tenant, ())
        part = 1 if tenant == "default" else 2  # other tenants' prefixes begin with the tenant
        rows = yield from Fetch(self._sql["roots"], (part, first, last, own, now))
        return [decoded_prefix(root)[0] for (root,) in rows]

    @one_statement
    def sweep(self, tenant: str, now: float, limit: int) -> Program[int]:
        ((deleted,),) = yield from Fetch(self._sql["sweep"], (*below(tenant, ()), now, limit))
        return int(deleted)

    @one_statement
    def fits(self, tenant: str, dimensions: int) -> Program[str | None]:  # noqa: ARG002 (all tenants share one table)
        if dimensions > MAX_DIMENSIONS:
            return _too_many(dimensions)
        ((stored,),) = yield from Fetch(self._sql["dimensions"])
        if stored is None or stored == dimensions:
            return None
        return (
            f"The table store_vectors holds vectors of {stored} dimensions, and the embedding model gives vectors of "
            f"{dimensions}. Call memory.reindex(), which computes all vectors again; or use a separate schema (?schema= in "
            f"the URL); or use the model of the stored vectors."
        )

    @one_statement
    def refuses(self, tenant: str, dimensions: int) -> Program[str | None]:
        if dimensions > MAX_DIMENSIONS:
            return _too_many(dimensions)
        ((others,),) = yield from Fetch(self._sql["dimensions_of_others"], below(tenant, ())[1:])
        if others is None or others == dimensions:
            return None
        return (
            f"The table store_vectors holds vectors of {others} dimensions for other tenants, and all vectors of a table "
            f"must have the same dimensions. Use a separate schema for this tenant (?schema= in the URL), or delete all "
            f"vectors (TRUNCATE store_vectors) and call reindex() for each tenant, with a model of {dimensions} dimensions."
        )

    @storage_program
    def unembed(self, tenant: str, dimensions: int, after: Any) -> Program[Any]:  # noqa: ARG002 (deleted vectors are not found again)
        first, last = below(tenant, ())[1:]
        ((deleted,),) = yield from Fetch(self._sql["unembed"], (first, last, _UNEMBEDDED_AT_ONCE))
        if deleted:
            return True
        yield from Fetch(self._sql["resize"], (first, last, dimensions, *self._column(dimensions)))
        return None

    @one_statement
    def unembedded(
        self,
        tenant: str,
        dimensions: int | None,  # all vectors have the same
        after: Any,
        limit: int,
        now: float,
    ) -> Program[tuple[list[IndexedItem], Any]]:
        first, last = below(tenant, ())[1:]
        statement = self._sql["indexed" if dimensions is None else "unembedded"]
        rows = yield from Fetch(statement, (first, last, *(after or ("", "")), limit, now))
        return [IndexedItem(item_row(row[:7]), row[7]) for row in rows], rows[-1][:2] if len(rows) == limit else None

    @storage_program
    def set_words(self, tenant: str, items: Sequence[tuple[ItemRow, str]]) -> Program[None]:
        words = {(encoded_prefix(tenant, row.namespace), row.key): text for row, text in items}
        parameters = (*columns_of(list(words)), [row.revision for row, _ in items])
        unchanged = [(prefix, key) for prefix, key in (yield from Fetch(self._sql["lock_unchanged"], parameters))]
        texts = [(at, part) for at, place in enumerate(unchanged, 1) for part in text_vectors(words[place])]
        columns = (*columns_of(unchanged), [at for at, _ in texts], [text for _, text in texts])
        yield from Fetch(self._sql["add_texts"], columns)

    @storage_program
    def embed(self, tenant: str, items: Sequence[EmbeddedItem]) -> Program[int]:
        vectors = [(at, field, vector) for at, item in enumerate(items, 1) for field, vector in enumerate(item.vectors)]
        yield from self.ensure_vectors([vector for *_, vector in vectors])
        parameters = (
            *columns_of([(encoded_prefix(tenant, row.namespace), row.key) for row, _ in items]),
            [row.revision for row, _ in items],
            *_vector_columns(vectors),
        )
        ((embedded,),) = yield from Fetch(self._sql["embed"], parameters)
        return int(embedded)

    def ensure_vectors(self, vectors: Sequence[bytes]) -> Program[None]:
        """Create the table of vectors before the first vector is stored, because its dimensions are known then."""
        if vectors and not (yield from self.has_vectors()):
            dimensions = len(vectors[0]) // 4
            yield from Fetch(self._sql["make_vectors"], (dimensions, *self._column(dimensions)))

    def has_vectors(self) -> Program[bool]:
        """Return true if the table of vectors exists."""
        if not self._has_vectors:
            ((self._has_vectors,),) = yield from Fetch(self._sql["has_vectors"])
        return self._has_vectors

    def _column(self, dimensions: int) -> tuple[str, str, str]:
        """Return the type of the column of vectors, and the kind and the options of its index."""
        kind, type_, parameters = self._vectors
        if type_ is None:
            type_ = "vector" if dimensions <= MAX_INDEXED_DIMENSIONS["vector"] else "halfvec"
        if dimensions > MAX_INDEXED_DIMENSIONS[type_]:
            kind = "flat"
        settings = ", ".join(f"{name} = {number}" for name, number in parameters.items())
        return type_, kind, f"WITH ({settings})" if settings else ""


class _Items(Mapping[Any, ItemRow]):
    """Items by ID. An item is decoded when it is used, because the caller uses only the best of the found items."""

    def __init__(self, rows: dict[Any, tuple[Any, ...]]) -> None:
        self._rows = rows

    def __getitem__(self, id_: Any) -> ItemRow:
        return item_row(self._rows[id_])

    def __contains__(self, id_: object) -> bool:
        return id_ in self._rows

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def _too_many(dimensions: int) -> str:
    return (
        f"The embedding model returns vectors of {dimensions} dimensions, but pgvector stores at most {MAX_DIMENSIONS}. Use "
        f"a model with fewer dimensions."
    )


def vector_settings(config: Mapping[str, Any]) -> VectorSettings:
    """Return the settings in LangGraph's index configuration (`ann_index_config`).

    Raises:
        ConfigurationError: A setting is unknown.
    """
    given = dict(config)
    kind, type_ = given.pop("kind", "hnsw"), given.pop("vector_type", None)
    if kind not in ("hnsw", "ivfflat", "flat"):
        msg = f"Unknown kind of vector index {shown(kind)}. Use hnsw, ivfflat or flat."
        raise ConfigurationError(msg)
    if type_ not in (None, "vector", "halfvec"):
        msg = f"Unknown vector_type {shown(type_)}. Use vector or halfvec."
        raise ConfigurationError(msg)
    if "nlist" in given:
        given["lists"] = given.pop("nlist")
    known = {"hnsw": ("m", "ef_construction"), "ivfflat": ("lists",), "flat": ()}[kind]
    for name, number in given.items():
        if name not in known or not isinstance(number, int) or number < 1:
            options = ", ".join(known) or "none"
            msg = f"Unknown setting {name}={shown(number)} of a vector index of kind {kind}. Known settings are {options}."
            raise ConfigurationError(msg)
    return VectorSettings(kind, type_, given)


def _put(tenant: str, puts: Sequence[ItemPut], now: float) -> tuple[Any, ...]:
    """Return the parameters of the fragment `put_arguments`."""
    texts = [(at, part) for at, put in enumerate(puts, 1) if put.text is not None for part in text_vectors(put.text)]
    vectors = [(at, field, vector) for at, put in enumerate(puts, 1) for field, vector in enumerate(put.vectors)]
    return (
        *columns_of([(encoded_prefix(tenant, put.namespace), put.key) for put in puts]),
        [wrapped(put.value) for put in puts],
        [put.ttl for put in puts],
        now,
        [at for at, _ in texts],
        [text for _, text in texts],
        *_vector_columns(vectors),
    )


def _vector_columns(vectors: Sequence[tuple[int, int, bytes]]) -> tuple[list[int], list[str], Floats]:
    """Return the numbers of the items (from 1) and the fields that vectors belong to, and all vectors in one array."""
    return (
        [at for at, _, _ in vectors],
        [str(field) for _, field, _ in vectors],
        Floats(b"".join(vector for _, _, vector in vectors)),
    )


def _paths(tenant: str, puts: Sequence[ItemPut]) -> tuple[list[str], list[str], list[str]] | tuple[()]:
    """Return the prefixes, keys and paths of puts that name paths; nothing if no put does."""
    noted = [put for put in puts if put.paths is not None]
    if not noted:
        return ()
    return (
        *columns_of([(encoded_prefix(tenant, put.namespace), put.key) for put in noted]),
        [put.paths or "" for put in noted],
    )


def text_vectors(text: str) -> list[str]:
    """Return analysed words as the function `agentmem_add_texts` takes them, divided into parts that Postgres can index.

    Args:
        text: The words, separated by spaces. They contain no quotes.
    """
    words = text.split()
    parts = [words[at : at + _WORDS_OF_A_PART] for at in range(0, len(words), _WORDS_OF_A_PART)] or [[]]
    return [f"{_text_vector(part)}\n{pack_words(part).hex()}" for part in parts]


def _text_vector(words: Sequence[str]) -> str:
    positions: dict[str, list[str]] = {}
    for at, word in enumerate(words, 1):
        positions.setdefault(word, []).append(str(at))
    return " ".join(f"'{word}':{','.join(found)}" for word, found in positions.items())


def columns_of(prefixed: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """Return the prefixes and the keys of items."""
    return [prefix for prefix, _ in prefixed], [key for _, key in prefixed]


def wrapped(value: str) -> str:
    """Return JSON text that Postgres stores unchanged."""
    if "\\u0000" in value or "e+" in value or "-0.0" in value or _WRAPPED in value:
        loaded = json.loads(value)
        if dump_exact_json(loaded) is None or loaded.keys() == {_WRAPPED}:
            return json.dumps({_WRAPPED: value})
    return value


def unwrapped(value: str) -> str:
    """Return the JSON text of a stored value."""
    if value.startswith(f'{{"{_WRAPPED}"'):
        loaded = json.loads(value)
        if loaded.keys() == {_WRAPPED} and isinstance(loaded[_WRAPPED], str):
            return str(loaded[_WRAPPED])
    return value


def item_row(row: Sequence[Any]) -> ItemRow:
    """Return an item, from the columns of the statement `get`.

    Raises:
        DamagedDataError: A time is missing.
    """
    prefix, key, value, *rest = row
    if rest[0] is None or rest[1] is None:
        msg = f"Item {key!r} cannot be read. The row was damaged or altered: the time of its creation or update is missing."
        raise DamagedDataError(msg)
    return ItemRow(decoded_prefix(prefix), key, unwrapped(value), *rest)
