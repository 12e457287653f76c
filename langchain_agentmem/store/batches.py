"""Batches of store operations: checked before anything is written, and grouped by kind."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from itertools import accumulate, chain
from operator import itemgetter
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from langgraph.store.base import GetOp, ListNamespacesOp, Op, PutOp, SearchOp

from langchain_agentmem.arguments.ids import MAX_ADDRESS_BYTES, check_together
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.contract import ItemPut
from langchain_agentmem.encoding.json_values import dump_json, load_json
from langchain_agentmem.errors import InvalidTypeError
from langchain_agentmem.programs import Compute, Program
from langchain_agentmem.programs.sizes import LONG, is_large
from langchain_agentmem.search.fingerprint import Embedded
from langchain_agentmem.store.arguments import (
    ItemKey,
    check_get,
    check_key,
    check_listing,
    check_namespace,
    check_search,
    ttl_seconds,
)
from langchain_agentmem.store.fields import Fields, dump_paths, embedded_texts, field_paths, indexed_words

T = TypeVar("T")
ReadOp = GetOp | SearchOp | ListNamespacesOp

MANY_OPERATIONS = 500
"""Under `arun`, a worker thread prepares more operations than this, because it takes some milliseconds."""

MANY_PUTS = 200
"""Under `arun`, a worker thread analyses the texts of more puts than this, because it takes about a millisecond."""

_FEW_ENTRIES, _SHORT_TEXT = 10, 1_000
"""A value with at most this number of entries, and texts of at most this length, counts as small."""

_NO_VECTORS = Embedded()
_EMPTY: Mapping[Any, Any] = MappingProxyType({})


class Put(NamedTuple):
    """An item to store."""

    text: str
    """The value as JSON."""
    ttl: float | None
    """Seconds; None for no expiry."""
    fields: Fields | None = None
    """The indexed fields; None if the item is not indexed."""
    paths: str | None = None
    """The indexed fields as JSON, if the put names them."""
    pieces: Sequence[str] = ()
    """The texts to embed."""

    def words(self, language: str) -> str | None:
        """Return the words that full-text search finds, for `ItemPut.text`; None if the item is not indexed.

        They are computed when the item is stored: in a burst, a later put of the key may replace this one.
        """
        return None if self.fields is None else indexed_words(load_json(self.text), self.fields, language)


class Batch:
    """Operations of a batch, grouped by kind. Reads have their index in the batch, puts the item's key.

    Thousands of batches can wait at the same time, and each object costs the garbage collector time. So a batch with a
    single read has no dicts of its own.
    """

    __slots__ = ("_reads", "deletes", "embedded", "merged_from", "puts", "query_vectors", "single_read", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        """The number of operations."""
        self.single_read: ReadOp | None = None
        """The read, if it is the only operation."""
        self._reads: Mapping[int, ReadOp] = _EMPTY
        self.puts: Mapping[ItemKey, Put] = _EMPTY
        self.deletes: Sequence[ItemKey] = ()
        self.embedded: Embedded = _NO_VECTORS
        """The vectors of the puts' texts."""
        self.query_vectors: Mapping[str, bytes] = _EMPTY
        """The vectors of the queries, by query."""
        self.merged_from = 1
        """The number of batches that were merged into this one."""

    @classmethod
    def of(cls, ops: Sequence[Op], fields: Fields, *, embedding: bool, tenant: str = "default") -> Batch:
        """Check and group operations.

        Args:
            ops: The operations. Of several puts or deletes of a key, the last counts.
            fields: The indexed fields of items whose put names none.
            embedding: True if the store has an embedding model.
            tenant: The tenant, which counts towards the maximum length of an item's key. Default: `"default"`.

        Raises:
            NamespaceError: A namespace is not accepted.
            InvalidInputError: Another argument is not accepted.
        """
        if len(ops) == 1:
            return cls._of_one(ops[0], fields, embedding=embedding, tenant=tenant)
        batch = cls(len(ops))
        reads: dict[int, ReadOp] = {}
        writes: dict[ItemKey, PutOp] = {}
        for index, op in enumerate(ops):
            if isinstance(op, PutOp):
                writes[_check_write(op, tenant)] = op
            else:
                reads[index] = _check_read(op)
        if reads:
            batch._reads = reads
        if writes:
            puts = {
                key: _prepare_put(op, fields, embedding=embedding) for key, op in writes.items() if op.value is not None
            }
            batch.puts = puts or _EMPTY
            if len(puts) < len(writes):
                batch.deletes = [key for key, op in writes.items() if op.value is None]
        return batch

    @classmethod
    def _of_one(cls, op: Op, fields: Fields, *, embedding: bool, tenant: str) -> Batch:
        """Same as `of` for one operation, with fewer objects."""
        batch = cls(1)
        if not isinstance(op, PutOp):
            batch.single_read = _check_read(op)
            return batch
        key = _check_write(op, tenant)
        if op.value is None:
            batch.deletes = (key,)
        else:
            batch.puts = {key: _prepare_put(op, fields, embedding=embedding)}
        return batch

    @classmethod
    def merged(cls, batches: Sequence[Batch]) -> Batch:
        """Merge batches that write different items into one. Its results are those of the batches, in their order."""
        merged = cls(sum(batch.size for batch in batches))
        merged.merged_from = len(batches)
        starts = accumulate((batch.size for batch in batches), initial=0)
        merged._reads = {
            start + index: op
            for start, batch in zip(starts, batches, strict=False)
            for index, op in batch.reads.items()
        }
        merged.puts = dict(chain.from_iterable(batch.puts.items() for batch in batches))
        merged.deletes = list(chain.from_iterable(batch.deletes for batch in batches))
        return merged

    @property
    def reads(self) -> Mapping[int, ReadOp]:
        """The gets, searches and listings, by their index in the batch."""
        return self._reads if self.single_read is None else {0: self.single_read}

    def of_kind(self, kind: type[T]) -> dict[int, T]:
        """Return the reads of one kind, by their index in the batch."""
        return {index: op for index, op in self.reads.items() if isinstance(op, kind)}

    @property
    def is_gets(self) -> bool:
        """True if all operations are gets."""
        if self.size == 1:
            return isinstance(self.single_read, GetOp)
        return 0 < len(self.reads) == self.size and all(isinstance(op, GetOp) for op in self.reads.values())

    @property
    def writes(self) -> bool:
        """True if an operation is a put or a delete."""
        return bool(self.puts or self.deletes)

    @property
    def characters(self) -> int:
        """The total length of the values to store."""
        return sum(len(put.text) for put in self.puts.values())

    def written_keys(self) -> list[ItemKey]:
        """Return the keys of the items that are stored or deleted."""
        return [*self.puts, *self.deletes]

    def question(self) -> Hashable:
        """Return a key for a single search or listing, equal for equal ones; None for any other batch."""
        op = self.single_read
        if op is None or isinstance(op, GetOp):
            return None
        if isinstance(op, ListNamespacesOp) and not op.match_conditions:
            return op
        if isinstance(op, SearchOp):
            if op.filter is None:
                return op
            try:
                json.dumps(op.filter)
            except (TypeError, ValueError, RecursionError):
                return f"unique {id(op)}"  # different values in the filter may have the same `repr`
        return repr(op)

    def analysed_puts(self, language: str) -> Program[list[ItemPut]]:
        """Same as `item_puts`, in a worker thread if the puts are many or long."""
        if not self.puts:
            return []
        large = len(self.puts) > MANY_PUTS or self.characters > LONG
        return (yield from Compute(large, self.item_puts, language))

    def item_puts(self, language: str) -> list[ItemPut]:
        """Return the items to store, sorted by key, so that all backends store those of one moment in the same order.

        Args:
            language: The language of full-text search.
        """
        return [
            ItemPut(*key, put.text, put.ttl, put.words(language), self.vectors(key), put.paths)
            for key, put in sorted(self.puts.items(), key=itemgetter(0))
        ]

    def vectors(self, key: ItemKey) -> list[bytes]:
        """Return the vectors of an item to store."""
        vectors = self.embedded.vectors
        return [vectors[piece] for piece in self.puts[key].pieces if piece in vectors]

    def texts_to_embed(self) -> list[str]:
        """Return the texts of all puts."""
        return [piece for put in self.puts.values() for piece in put.pieces]


def is_heavy(ops: Sequence[Op]) -> bool:
    """Return true if preparing the operations would block an event loop noticeably."""
    if len(ops) > MANY_OPERATIONS:
        return True
    if len(ops) == 1 and (not isinstance(ops[0], PutOp) or _is_small(ops[0].value)):
        return False
    return is_large([op.value for op in ops if isinstance(op, PutOp)])


def _is_small(value: Any) -> bool:
    """Return true for None and for a dict of a few numbers and short texts."""
    if value is None:
        return True
    if type(value) is not dict or len(value) > _FEW_ENTRIES:
        return False
    for one in value.values():
        if (len(one) > _SHORT_TEXT) if type(one) is str else (type(one) not in (bool, int, float)):
            return False
    return True


def _check_write(op: PutOp, tenant: str) -> ItemKey:
    namespace, key = check_namespace(op.namespace, least=1), check_key(op.key)
    if op.value is not None:
        check_together("An item's namespace and key", tenant, (*namespace, key), MAX_ADDRESS_BYTES)
    return namespace, key


def _check_read(op: Any) -> ReadOp:
    if isinstance(op, GetOp):
        return check_get(op)
    if isinstance(op, SearchOp):
        return check_search(op)
    if isinstance(op, ListNamespacesOp):
        return check_listing(op)
    msg = f"ops must be LangGraph's operations such as GetOp and PutOp, got {type(op).__name__}: {shown(op)}."
    raise InvalidTypeError(msg)


def _prepare_put(op: PutOp, fields: Fields, *, embedding: bool) -> Put:
    given: Any = op.value
    text, ttl = dump_json(given), ttl_seconds(op.ttl)
    if op.index is False:
        return Put(text, ttl, paths=dump_paths([]))
    indexed = fields if op.index is None else field_paths(op.index)
    pieces = embedded_texts(load_json(text), indexed) if embedding else ()
    return Put(text, ttl, indexed, None if op.index is None else dump_paths(indexed), pieces)
