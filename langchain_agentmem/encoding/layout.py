"""The compact layout of checkpoint values: what a step writes is proportional to what is new in it.

A list, or a dict with string keys, is stored as *references* to its elements. An element is stored once per thread under
its reference, a digest of its content, so an element that the application mutates in place simply is another element. An
entry of a dict is an element too: the pair of its key and its value, in order. An entry that is a long list or dict itself,
as in a graph's whole state, is taken apart in its place: its key is one element, and those of the list or dict follow.

The references of one version of a channel are themselves stored as a splice of an earlier version: its first `head`
references, then these, then its last `tail` ones. That covers appending, editing in the middle, shortening and trimming
the front alike; a step that appends and trims the front at once stores the references (not the elements) of all that
stays. The versions of a channel are numbered 1, 2, 3, …; version n is stored as a splice of version n & (n - 1), its
number with the lowest set bit cleared, and in full when that is 0. So a version is read from at most log2(n) rows, and n
appended elements cost n * log2(n) / 2 references altogether: the bookkeeping of a binary counter (Fenwick, "A new data
structure for cumulative frequency tables", 1994), with no "full copy every so often" that grows with the thread.

Everything here is pure: no input, no output, no clock.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from langchain_core.messages import BaseMessage
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.references import REFERENCE_BYTES, Typed, reference
from langchain_agentmem.errors import DamagedDataError, UnsupportedValueError

PLAIN = "plain"
ITEM = "item"
LIST = "list"
DICT = "dict"
VALUE = "value"
"""The kind of a pending write whose value is stored as a version of its channel; its `type` names the version."""
_SNAPSHOT = "snapshot."

_LONG_ENTRY = 8
"""An entry of a dict that is a list or dict of at least this many elements is taken apart."""

LONG_REFERENCES = 64
"""A pending write with more references than this is stored as a splice of what its channel holds."""

SMALL_BYTES = 256
"""A value whose plain form is at most this long is stored whole: references to it would be no shorter."""


class ValueKey(NamedTuple):
    """Which value of a thread: a channel of a namespace at a version."""

    namespace: str
    channel: str
    version: str


class StoredValue(NamedTuple):
    """How one value is stored.

    Either plain (`type` and `data` are its stored form), or `type` is its shape (see `Split`), `data` holds references,
    `REFERENCE_BYTES` each, and the value's references are the first `head` of `base`, these, and the last `tail` of `base`.
    """

    key: ValueKey
    kind: str
    type: str
    data: bytes
    number: int = 1
    base: ValueKey | None = None
    head: int = 0
    tail: int = 0
    digest: str = ""
    """What tells it from another value under the same key: a digest of its shape and all its references."""


class _Ancestor(NamedTuple):
    """An earlier version that a known one was spliced from, and how much of it the known one still begins and ends with."""

    number: int
    key: ValueKey
    digest: str
    head: int
    tail: int


class Known(NamedTuple):
    """What is known of a stored value: enough to store the next version as a splice."""

    key: ValueKey
    kind: str
    references: bytes
    digest: str
    number: int = 1
    ancestors: tuple[_Ancestor, ...] = ()
    identities: Sequence[Typed] = ()
    """The plain forms behind the references, where they are at hand: comparing them is cheaper than digesting them again."""


class Split(NamedTuple):
    """A value taken apart: its references, and the elements behind them in the same order."""

    kind: str
    shape: str
    """Which runs of elements are entries of a dict that were taken apart: JSON, empty for none."""
    references: bytes
    elements: Sequence[Any]
    identities: Sequence[Typed]
    digest: str = ""


def split(value: Any, codec: Codec, secret: bytes, known: Known | None = None) -> Split | None:
    """Take a value apart.

    Args:
        value: Any channel value or write.
        codec: What packs it.
        secret: What the references are keyed with; empty for none.
        known: An earlier version of the value, which saves work where the two begin alike. Default: None.

    Returns:
        Its parts, or None when it is better stored whole: small, neither list nor dict nor message, or not packable.
    """
    prefix = ""
    if isinstance(value, _DeltaSnapshot):
        prefix, value = _SNAPSHOT, value.value
    elements: Sequence[Any]
    shape: list[tuple[int, str, int]] = []
    if type(value) is list:
        kind, elements = LIST, value
    elif _is_mapping(value):
        kind = DICT
        elements, shape = _entries(value)
    else:
        kind, elements = ITEM, [value]
    try:
        identities = [codec.identify(element) for element in elements]
    except UnsupportedValueError:
        if codec.secret:  # a custom serializer may know what ours does not
            return None
        raise
    if kind == ITEM and not isinstance(elements[0], BaseMessage):
        return None
    if sum(len(identity.data) for identity in identities) <= SMALL_BYTES:
        return None
    references = references_of(identities, secret, known)
    layout = json.dumps(shape) if shape else ""
    return Split(prefix + kind, layout, references, elements, identities, digest_of(layout, references, secret))


def references_of(identities: Sequence[Typed], secret: bytes, known: Known | None = None) -> bytes:
    """The references of elements.

    Args:
        identities: Their plain forms.
        secret: What the references are keyed with; empty for none.
        known: A value that may begin with the same elements. Default: None.
    """
    if known is None:
        return b"".join([reference(identity, secret) for identity in identities])
    longest = min(len(identities), len(known.identities))
    alike = _common(longest, lambda n: identities[:n] == known.identities[:n])
    return known.references[: alike * REFERENCE_BYTES] + references_of(identities[alike:], secret)


def digest_of(shape: str, references: bytes, secret: bytes) -> str:
    """What tells a value from another one under the same key."""
    mark = blake2b(shape.encode(), digest_size=blake2b.PERSON_SIZE).digest()
    return blake2b(references, digest_size=8, key=secret, person=mark).hexdigest()


def join(kind: str, shape: str, elements: Sequence[Any]) -> Any:
    """Put a value together again: the inverse of `split`."""
    value: Any
    bare = kind.removeprefix(_SNAPSHOT)
    if bare == LIST:
        value = list(elements)
    elif bare == DICT:
        value = _mapping(elements, json.loads(shape) if shape else [])
    elif bare == ITEM:
        (value,) = elements
    else:
        msg = f"A stored value is of the unknown kind {shown(kind)}: it was damaged, or written by a newer version."
        raise DamagedDataError(msg)
    return _DeltaSnapshot(value) if kind != bare else value


def _is_mapping(value: Any) -> bool:
    return type(value) is dict and all(type(key) is str for key in value)


def _entries(value: dict[str, Any]) -> tuple[list[Any], list[tuple[int, str, int]]]:
    """The elements of a dict, and the place, kind and length of each run of them that is one long entry."""
    elements: list[Any] = []
    shape: list[tuple[int, str, int]] = []
    for key, inner in value.items():
        if type(inner) is list and len(inner) >= _LONG_ENTRY:
            shape.append((len(elements), LIST, len(inner)))
            elements += [key, *inner]
        elif _is_mapping(inner) and len(inner) >= _LONG_ENTRY:
            shape.append((len(elements), DICT, len(inner)))
            elements += [key, *([name, item] for name, item in inner.items())]
        else:
            elements.append([key, inner])
    return elements, shape


def _mapping(elements: Sequence[Any], shape: Sequence[tuple[int, str, int]]) -> dict[str, Any]:
    """The inverse of `_entries`."""
    value: dict[str, Any] = {}
    at = 0
    for start, kind, length in shape:
        value.update(elements[at:start])
        inner = elements[start + 1 : start + 1 + length]
        value[elements[start]] = list(inner) if kind == LIST else dict(inner)
        at = start + 1 + length
    value.update(elements[at:])
    return value


def splice(key: ValueKey, parts: Split, known: Known | None) -> tuple[StoredValue, Known, range]:
    """How to store the next version of a value.

    Args:
        key: Which value it is.
        parts: The value, taken apart.
        known: An earlier version of it, or None to store it in full.

    Returns:
        The row to store; what is known once it is stored; and the indexes of the elements that `known` does not hold in
        the same place, which are the ones to store with it.
    """
    references = parts.references
    count = len(references) // REFERENCE_BYTES
    digest = parts.digest
    if known is None or known.kind != parts.kind:
        row = StoredValue(key, parts.kind, parts.shape, references, digest=digest)
        return row, Known(key, parts.kind, references, digest, identities=parts.identities), range(count)
    head, tail = _shared(known.references, references)
    number = known.number + 1
    lineage = (
        _Ancestor(known.number, known.key, known.digest, head, tail),
        *(a._replace(head=min(a.head, head), tail=min(a.tail, tail)) for a in known.ancestors),
    )
    ancestors = lineage[_position(lineage, number & (number - 1)) :]
    fresh = range(head, count - tail)
    learned = Known(key, parts.kind, references, digest, number, ancestors, parts.identities)
    if not ancestors:
        return StoredValue(key, parts.kind, parts.shape, references, number, digest=digest), learned, fresh
    base = ancestors[0]
    data = references[base.head * REFERENCE_BYTES : (count - base.tail) * REFERENCE_BYTES]
    row = StoredValue(key, parts.kind, parts.shape, data, number, base.key, base.head, base.tail, digest)
    return row, learned, fresh


def resolve(key: ValueKey, rows: Mapping[ValueKey, StoredValue]) -> tuple[StoredValue, Known]:
    """The references of a stored value, from its row and the rows it is spliced from.

    Args:
        key: Which value.
        rows: The rows of the value and of all it is spliced from; others do no harm.

    Returns:
        Its row, and all that is known of it.

    Raises:
        DamagedDataError: A row that it needs is missing.
    """
    chain: list[StoredValue] = []
    wanted: ValueKey | None = key
    while wanted is not None:
        row = rows.get(wanted)
        if row is None or len(chain) > len(rows):
            msg = f"The stored value of channel {key.channel!r} needs version {wanted.version!r}, which is missing."
            raise DamagedDataError(msg)
        chain.append(row)
        wanted = row.base
    references = b""
    ancestors: tuple[_Ancestor, ...] = ()
    for earlier, row in zip([None, *reversed(chain)], reversed(chain), strict=False):
        if earlier is not None:
            ancestors = (
                _Ancestor(earlier.number, earlier.key, earlier.digest, row.head, row.tail),
                *(a._replace(head=min(a.head, row.head), tail=min(a.tail, row.tail)) for a in ancestors),
            )
        end = len(references) - row.tail * REFERENCE_BYTES
        if row.head < 0 or row.tail < 0 or row.head * REFERENCE_BYTES > end:
            msg = f"Version {row.key.version!r} of channel {key.channel!r} was damaged or altered: it does not fit its base."
            raise DamagedDataError(msg)
        references = references[: row.head * REFERENCE_BYTES] + row.data + references[end:]
    value = chain[0]
    return value, Known(key, value.kind, references, value.digest, value.number, ancestors)


def _position(lineage: Sequence[_Ancestor], number: int) -> int:
    for at, ancestor in enumerate(lineage):
        if ancestor.number == number:
            return at
    return len(lineage)


def _shared(old: bytes, new: bytes) -> tuple[int, int]:
    """How many references two runs begin with in common, and then end with."""
    longest = min(len(old), len(new)) // REFERENCE_BYTES
    head = _common(longest, lambda n: old[: n * REFERENCE_BYTES] == new[: n * REFERENCE_BYTES])
    tail = _common(
        longest - head, lambda n: old[len(old) - n * REFERENCE_BYTES :] == new[len(new) - n * REFERENCE_BYTES :]
    )
    return head, tail


def _common(longest: int, same: Any) -> int:
    """The largest n up to `longest` for which `same(n)`; it holds for every smaller n too."""
    if same(longest):
        return longest
    low, high = 0, longest
    while high - low > 1:
        middle = (low + high) // 2
        if same(middle):
            low = middle
        else:
            high = middle
    return low
