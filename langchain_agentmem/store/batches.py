"""A batch of store operations: checked before anything is written, and sorted by kind."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate, chain
from operator import itemgetter
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeVar, cast
from uuid import UUID

from langgraph.store.base import (
    GetOp,
    IndexConfig,
    InvalidNamespaceError,
    ListNamespacesOp,
    Op,
    PutOp,
    SearchOp,
    TTLConfig,
    get_text_at_path,
    tokenize_path,
)

from langchain_agentmem.arguments.durations import seconds
from langchain_agentmem.arguments.ids import (
    MAX_ADDRESS_BYTES,
    MAX_ID_BYTES,
    MAX_LABEL_BYTES,
    check_id,
    check_text,
    check_together,
)
from langchain_agentmem.arguments.values import check_count, check_flag, check_list, shown
from langchain_agentmem.backends.contract import ItemPut, ItemRow
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.encoding.json_values import dump_json, load_json
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError
from langchain_agentmem.programs import Compute, Program
from langchain_agentmem.programs.sizes import LONG, is_large
from langchain_agentmem.search.fingerprint import Embedded
from langchain_agentmem.store.filters import compile_filter
from langchain_agentmem.text.words import searched, spaced

T = TypeVar("T")
Value = dict[str, Any]
Place = tuple[tuple[str, ...], str]
"""An item's namespace and key."""

Fields = list[tuple[str, Any]]
"""Paths of fields, each as it was written and as LangGraph's tokens."""


HEAVY_OPERATIONS = 500
"""From so many operations on they are checked and analysed in a worker thread under `arun`: it takes some milliseconds."""


_FEW, _SHORT = 10, 1_000
"""Entries of a value, and characters of each, up to which a look at the sizes of its parts is not needed."""
_NUMBERS = (bool, int, float)

_MANY_PUTS = 200
"""From so many puts on their texts are analysed in a worker thread under `arun`: it takes a millisecond."""

_NOTHING_EMBEDDED = Embedded()
_EMPTY: Mapping[Any, Any] = MappingProxyType({})


class NamespaceError(InvalidInputError, InvalidNamespaceError):
    """A namespace that the store does not accept; nothing was written."""


class Put(NamedTuple):
    """What is stored of an item, and what finds it."""

    text: str
    """The value as JSON."""
    ttl: float | None
    searched: Fields | None = None
    """The fields that search finds it by; None if it is not searched."""
    paths: str | None = None
    """The same fields as JSON, if the operation names them."""
    pieces: Sequence[str] = ()
    """The texts to embed."""

    def words(self) -> str | None:
        """Return the text for full-text search; None if the item is not searched.

        Puts that another write of the same tick replaces are never analysed.
        """
        if self.searched is None:
            return None
        value = load_json(self.text)
        said = (
            piece
            for path, tokens in self.searched
            for piece in (_words(value) if path == "$" else _pieces(value, tokens))
        )
        return spaced(searched("\n".join(said)), characters=True)


class Batch:
    """A batch, checked and sorted by kind; each read under its place among the results, each put under its item's place.

    Thousands may wait at once, so one of a single operation consists of few objects: each costs the garbage collector time.
    """

    __slots__ = ("_reads", "deletes", "embedded", "future", "job", "merged_from", "puts", "queries", "single", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.single: Any = None
        """The operation, when it is one alone that reads."""
        self._reads: Mapping[int, Any] = _EMPTY
        self.puts: Mapping[Place, Put] = _EMPTY
        self.deletes: Sequence[Place] = ()
        self.embedded: Embedded = _NOTHING_EMBEDDED
        """The vectors of the puts' texts."""
        self.queries: Mapping[str, bytes] = _EMPTY
        """The vectors of the queries."""
        self.merged_from = 1
        """How many batches it was merged from."""
        self.future: Any = None
        """What is awaited for the results, in a burst."""
        self.job: Any = None
        """What it is done in there, once that has begun."""

    @classmethod
    def of(cls, ops: Sequence[Op], fields: Fields, *, embedding: bool, tenant: str = "default") -> Batch:
        """Check operations and sort them.

        Args:
            ops: The operations.
            fields: What is indexed of an item that does not say so itself.
            embedding: Whether there is an embedding model.
            tenant: The tenant of the items, which counts towards the length of an item's names. Default: `"default"`.

        Raises:
            NamespaceError: A namespace is not accepted.
            InvalidInputError: Another argument is not accepted.
        """
        if len(ops) == 1 and isinstance(ops[0], (GetOp, PutOp)):
            return cls._of_one(ops[0], fields, embedding, tenant)
        work = cls(len(ops))
        reads: dict[int, Any] = {}
        last_puts: dict[Place, PutOp] = {}
        for at, op in enumerate(ops):
            if isinstance(op, GetOp):
                reads[at] = _checked_get(op)
            elif isinstance(op, SearchOp):
                reads[at] = _checked_search(op)
            elif isinstance(op, ListNamespacesOp):
                reads[at] = _checked_listing(op)
            elif isinstance(op, PutOp):
                last_puts[_checked_place(op, tenant)] = op
            else:
                msg = (
                    f"ops must be LangGraph's operations such as GetOp and PutOp, got {type(op).__name__}: {shown(op)}."
                )
                raise InvalidTypeError(msg)
        if reads:
            work._reads = reads
            if len(ops) == 1:
                work.single, work._reads = reads[0], _EMPTY
        if last_puts:
            puts = {
                place: _put(op, fields, embedding=embedding) for place, op in last_puts.items() if op.value is not None
            }
            work.puts = puts or _EMPTY
            if len(puts) < len(last_puts):
                work.deletes = [place for place, op in last_puts.items() if op.value is None]
        return work

    @classmethod
    def _of_one(cls, op: GetOp | PutOp, fields: Fields, embedding: bool, tenant: str) -> Batch:
        """Do the same for one read or write of a key, with fewer objects."""
        work = cls(1)
        if isinstance(op, GetOp):
            work.single = _checked_get(op)
            return work
        place = _checked_place(op, tenant)
        if op.value is None:
            work.deletes = (place,)
        else:
            work.puts = {place: _put(op, fields, embedding=embedding)}
        return work

    @classmethod
    def merged(cls, works: Sequence[Batch]) -> Batch:
        """Several batches as one: their results one after the other; of puts to one key the last counts."""
        every = cls(sum(work.size for work in works))
        every.merged_from = len(works)
        starts = accumulate((work.size for work in works), initial=0)
        every._reads = {
            start + at: op for start, work in zip(starts, works, strict=False) for at, op in work.reads.items()
        }
        every.puts = dict(chain.from_iterable(work.puts.items() for work in works))
        every.deletes = list(chain.from_iterable(work.deletes for work in works))
        return every

    @property
    def reads(self) -> Mapping[int, Any]:
        """The operations of the other kinds."""
        return self._reads if self.single is None else {0: self.single}

    def of_kind(self, kind: type[T]) -> dict[int, T]:
        """The reads of one kind."""
        return {at: op for at, op in self.reads.items() if isinstance(op, kind)}

    @property
    def is_gets(self) -> bool:
        """Whether it reads keys, and nothing else."""
        if self.size == 1:
            return isinstance(self.single, GetOp)
        return 0 < len(self.reads) == self.size and all(isinstance(op, GetOp) for op in self.reads.values())

    @property
    def characters(self) -> int:
        """The length of what is to be stored."""
        return sum(len(put.text) for put in self.puts.values())

    def places(self) -> list[Place]:
        """What is written."""
        return [*self.puts, *self.deletes]

    def question(self) -> Hashable:
        """Of a single search or listing: what it asks, the same for all that ask the same; else None."""
        op = self.single
        if op is None or isinstance(op, GetOp):
            return None
        if isinstance(op, ListNamespacesOp) and not op.match_conditions:
            return op
        if isinstance(op, SearchOp):
            if not op.filter:
                return op
            try:
                json.dumps(op.filter)
            except (TypeError, ValueError, RecursionError):
                return f"{id(op)} of its own"  # it holds what may look like something else
        return repr(op)

    def analysed_puts(self) -> Program[list[ItemPut]]:
        """Same as `item_puts`, in a worker thread if there is much to analyse."""
        if not self.puts:
            return []
        large = len(self.puts) > _MANY_PUTS or self.characters > LONG
        return (yield from Compute(large, self.item_puts))

    def item_puts(self) -> list[ItemPut]:
        """The items to store, in an order that makes those of one moment come alike on every backend."""
        return [
            ItemPut(*place, put.text, put.ttl, put.words(), self.vectors(place), put.paths)
            for place, put in sorted(self.puts.items(), key=itemgetter(0))
        ]

    def vectors(self, place: Place) -> list[bytes]:
        """The vectors of an item."""
        vectors = self.embedded.vectors
        return [vectors[piece] for piece in self.puts[place].pieces if piece in vectors]

    def all_texts(self) -> list[str]:
        """What is to be embedded of all puts."""
        return [piece for put in self.puts.values() for piece in put.pieces]


def _checked_place(op: PutOp, tenant: str) -> Place:
    namespace, key = checked_namespace(op.namespace, least=1), checked_key(op.key)
    if op.value is not None:
        check_together("An item's namespace and key", tenant, (*namespace, key), MAX_ADDRESS_BYTES)
    return namespace, key


def _put(op: PutOp, fields: Fields, embedding: bool) -> Put:
    text, ttl = dump_json(cast("Mapping[str, Any]", op.value)), _ttl_seconds(op.ttl)
    if op.index is False:
        return Put(text, ttl, paths=dump_paths([]))
    paths = fields if op.index is None else field_paths(op.index)
    pieces = embedded_texts(load_json(text), paths) if embedding else ()
    return Put(text, ttl, paths, None if op.index is None else dump_paths(paths), pieces)


def is_heavy(ops: Sequence[Op]) -> bool:
    """Whether to check and analyse operations takes so long that an event loop must not wait for it."""
    if len(ops) > HEAVY_OPERATIONS:
        return True
    if len(ops) == 1 and (not isinstance(ops[0], PutOp) or _is_short(ops[0].value)):
        return False
    return is_large([op.value for op in ops if isinstance(op, PutOp)])


def _is_short(value: Any) -> bool:
    """Return true for None, and for a dict of a few short texts and numbers."""
    if value is None:
        return True
    if type(value) is not dict or len(value) > _FEW:
        return False
    for one in value.values():  # noqa: SIM110 (twice as fast as a generator expression)
        if (len(one) > _SHORT) if type(one) is str else (type(one) not in _NUMBERS):
            return False
    return True


def checked_namespace(namespace: Any, *, least: int = 0) -> tuple[str, ...]:
    """Refuse a namespace that cannot be stored everywhere, or has fewer than `least` labels."""
    if type(namespace) is tuple and len(namespace) >= least:
        for label in namespace:
            if type(label) is not str:
                break
        else:
            return _known_namespace(namespace)
    return _checked_namespace(namespace, least)


@lru_cache(maxsize=10_000)
def _known_namespace(namespace: tuple[str, ...]) -> tuple[str, ...]:
    return _checked_namespace(namespace, 0)


def _checked_namespace(namespace: Any, least: int) -> tuple[str, ...]:
    if not isinstance(namespace, (tuple, list)):
        msg = f"A namespace must be a tuple of strings such as ('users', 'alice'), got {type(namespace).__name__}."
        raise NamespaceError(msg)
    for label in namespace:
        try:
            check_id("A namespace's label", label, most=MAX_LABEL_BYTES)
        except (InvalidInputError, InvalidTypeError) as error:
            msg = f"{error} The namespace was {shown(tuple(namespace), 200)}."
            raise NamespaceError(msg) from None
    if len(namespace) < least:
        msg = "Namespace cannot be empty: use at least one label, such as ('memories',)."
        raise NamespaceError(msg)
    return tuple(namespace)


def own_namespace(namespace: Any) -> tuple[str, ...]:
    """Refuse a namespace that `put` refuses: LangGraph's batches take its own root label, its `put` does not."""
    checked = checked_namespace(namespace, least=1)
    if checked[0] == "langgraph":
        msg = f'Root label for namespace cannot be "langgraph", which LangGraph keeps for itself. Got: {checked}'
        raise NamespaceError(msg)
    return checked


def checked_key(key: Any) -> str:
    """Refuse a key that cannot be stored everywhere."""
    return check_id("key", key)


def _checked_get(op: GetOp) -> GetOp:
    namespace, key = checked_namespace(op.namespace, least=1), checked_key(op.key)
    return op if type(op.namespace) is tuple else GetOp(namespace, key, op.refresh_ttl)


def _checked_search(op: SearchOp) -> SearchOp:
    compile_filter(op.filter)
    if op.query is not None and not isinstance(op.query, str):
        msg = f"query must be a string, got {type(op.query).__name__}: {shown(op.query)}."
        raise InvalidTypeError(msg)
    check_text("query", op.query or "")
    prefix = checked_namespace(op.namespace_prefix)
    limit, offset = check_count("limit", op.limit, least=0), check_count("offset", op.offset, least=0)
    if (prefix, limit, offset) == (op.namespace_prefix, op.limit, op.offset):
        return op
    return op._replace(namespace_prefix=prefix, limit=limit, offset=offset)


def _checked_listing(op: ListNamespacesOp) -> ListNamespacesOp:
    if op.max_depth is not None:
        check_count("max_depth", op.max_depth)
    for condition in op.match_conditions or ():
        checked_namespace(condition.path)
        if condition.match_type not in ("prefix", "suffix"):
            msg = f"Unsupported match type: {condition.match_type}. Use prefix or suffix."
            raise InvalidInputError(msg)
    limit, offset = check_count("limit", op.limit, least=0), check_count("offset", op.offset, least=0)
    return op if (limit, offset) == (op.limit, op.offset) else op._replace(limit=limit, offset=offset)


def _ttl_seconds(minutes: float | None) -> float | None:
    if minutes is None:
        return None
    if isinstance(minutes, bool) or not isinstance(minutes, (int, float)):
        msg = f"ttl must be a number of minutes or None, got {type(minutes).__name__}: {shown(minutes)}."
        raise InvalidTypeError(msg)
    if not 0 < minutes * 60 < 1e11:
        msg = f"ttl must be more than 0 minutes and less than 3,000 years, got {shown(minutes)}."
        raise InvalidInputError(msg)
    return float(minutes * 60)


def checked_ttl(config: Any) -> TTLConfig | None:
    """Return LangGraph's configuration of the time to live, or None.

    Raises:
        InvalidTypeError: It is not a mapping, or an entry has the wrong type.
        InvalidInputError: An entry is not known, or a time is not positive.
    """
    if config is None:
        return None
    if not isinstance(config, Mapping):
        msg = f"ttl must be a mapping such as {{'default_ttl': 60}}, in minutes; got {shown(config)}."
        raise InvalidTypeError(msg)
    for name, value in config.items():
        if name not in TTLConfig.__annotations__:
            known = ", ".join(TTLConfig.__annotations__)
            msg = f"ttl has an entry {shown(name)} that is not known. Known entries are {known}."
            raise InvalidInputError(msg)
        if name in ("refresh_on_read", "omit_expired"):
            check_flag(f"ttl[{shown(name)}]", value)
        elif value is not None:
            seconds(f"ttl[{shown(name)}]", value)
    return cast("TTLConfig", config)


_INDEX_NAMES = ("embed", "dims", "fields", "ann_index_config", "distance_type")
"""The names that LangGraph's own stores know in an index configuration."""


def checked_index(config: Any) -> IndexConfig | None:
    """Return LangGraph's index configuration, or None.

    Raises:
        InvalidTypeError: It is not a mapping.
        InvalidInputError: It has a name that LangGraph does not know, or asks for another distance than the cosine.
    """
    if config is not None and not isinstance(config, Mapping):
        msg = f"index must be a mapping such as {{'embed': model, 'dims': 1536}}, got {shown(config)}."
        raise InvalidTypeError(msg)
    unknown = [name for name in config or () if name not in _INDEX_NAMES and not str(name).startswith("__")]
    if unknown:
        msg = f"index has an unknown name {shown(unknown[0])}: known are {', '.join(_INDEX_NAMES)}."
        raise InvalidInputError(msg)
    distance = (config or {}).get("distance_type") or "cosine"
    if distance != "cosine":
        msg = f"index['distance_type'] must be 'cosine', got {shown(distance)}: no other is computed. Leave it out."
        raise InvalidInputError(msg)
    return cast("IndexConfig | None", config)


def checked_ops(ops: Any) -> list[Op]:
    """Return the operations of a batch.

    Raises:
        InvalidTypeError: They are not a list.
    """
    return check_list("ops", ops, "operations")


def field_paths(fields: Any) -> Fields:
    """The paths of an index configuration or an `index` argument."""
    if not isinstance(fields, (list, tuple)) or not all(isinstance(path, str) for path in fields):
        msg = f"index must be False, None or a list of paths such as ['text'], got {shown(fields)}."
        raise InvalidTypeError(msg)
    return [(path, path if path == "$" else tokenize_path(path)) for path in fields]


def dump_paths(fields: Fields) -> str:
    """Paths of fields as they are stored with an item."""
    return json.dumps([path for path, _ in fields])


def name_of_item(namespace: Sequence[str], key: str) -> str:
    """How an item is called in errors about what is stored of it."""
    return f"Item {shown(key)} of namespace {shown(tuple(namespace), 200)}"


def value_of(row: ItemRow) -> Value:
    """The value of an item.

    Raises:
        DamagedDataError: It cannot be read; the error names the item.
    """
    with reading(name_of_item(row.namespace, row.key)):
        return load_json(row.value)


def load_paths(text: str) -> Fields:
    """The inverse of `dump_paths`."""
    return field_paths(json.loads(text))


def index_of(row: ItemRow) -> Literal[False] | list[str] | None:
    """What an item is found by, as its put said it."""
    return None if row.paths is None else json.loads(row.paths) or False


def embedded_texts(value: Value, fields: Fields) -> list[str]:
    """What is embedded of a value: the texts at some paths, each once."""
    return list(dict.fromkeys(piece for _, tokens in fields for piece in _pieces(value, tokens)))


def _pieces(value: Value, tokens: Any) -> list[str]:
    """The texts at a path; the whole value as JSON for `$`, as LangGraph embeds it."""
    return [text for text in get_text_at_path(value, tokens) if text]


def _words(value: Any) -> Iterable[str]:
    """All that a value says, for full-text search: its keys and what they hold."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _words(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _words(inner)
    elif value is not None:
        yield str(value)


def text_key(key: Any) -> str:
    """A key as a string: LangGraph's stores accept numbers and UUIDs too."""
    if isinstance(key, int) and not isinstance(key, bool) and key.bit_length() > 8 * MAX_ID_BYTES:
        msg = f"key must have at most {MAX_ID_BYTES:,} bytes, got {shown(key)}."
        raise InvalidInputError(msg)
    return str(key) if isinstance(key, (int, UUID)) and not isinstance(key, bool) else key
