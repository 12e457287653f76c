"""The compact layout of checkpoint values: the size of a step's writes is proportional to the new data in it.

**Elements.** A list, or a dict with string keys, is stored as *references* to its elements. An element is stored once per
thread under its reference, a digest of its content. An element that the application mutates in place has another digest,
and therefore is another element. An entry of a dict is an element too: the pair of its key and its value, in order. If the
value is a long list or dict itself, as in a graph's whole state, the key is one element, and the elements of the list or
dict follow.

**Versions.** The references of one version of a channel are stored as a *splice* of an earlier version: its first `head`
references, then the row's own references, then its last `tail` references. Appending, editing in the middle, shortening and
trimming the front are all splices. A step that appends and trims the front at once stores the references (not the elements)
of all remaining elements.

The versions of a channel are numbered 1, 2, 3, …. Version n is a splice of version n & (n - 1), which is n with its lowest
set bit cleared. It is stored in full if that is 0. Therefore a version is read from at most log2(n) rows, and n appended
elements cost n * log2(n) / 2 references in total, as in a binary counter (Fenwick, "A new data structure for cumulative
frequency tables", 1994). No periodic full copy is needed.

The functions of this module are pure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, NamedTuple

from langchain_core.messages import BaseMessage
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.elements import Element, unchanged
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
"""The number of elements from which a list or dict within a dict is split into its elements."""

LONG_REFERENCES = 64
"""The number of references above which a pending write is stored as a splice of its channel's value."""

SMALL_BYTES = 256
"""The length of the longest plain form that is stored whole: references to its elements would be no shorter."""


class ValueKey(NamedTuple):
    """The key of a value of a thread: a channel of a namespace at a version."""

    namespace: str
    channel: str
    version: str


class StoredValue(NamedTuple):
    """The row of one value.

    If `kind` is `PLAIN`, `type` and `data` are the stored form. Otherwise `type` is the shape (see `Split`), and `data`
    contains references of `REFERENCE_BYTES` each. The value's references are the first `head` references of `base`, those in
    `data`, and the last `tail` references of `base`.
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
    """A digest of the shape and all references, which differs from that of another value under the same key."""


class _Ancestor(NamedTuple):
    """An earlier version, and the number of its references with which a known version begins and ends."""

    number: int
    key: ValueKey
    digest: str
    head: int
    tail: int
    length: int
    """The number of its references."""


class Known(NamedTuple):
    """A stored value, with the details that are needed to store the next version as a splice."""

    key: ValueKey
    kind: str
    references: bytes
    digest: str
    number: int = 1
    ancestors: tuple[_Ancestor, ...] = ()
    elements: Sequence[Element] = ()
    """The elements, if known. Comparing them is cheaper than packing an element and computing its digest again."""
    size: int = 0
    """The sum of the lengths of their plain forms."""

    @property
    def is_whole(self) -> bool:
        """True if the elements are known, so that the value can be copied without the database."""
        return len(self.references) == REFERENCE_BYTES * len(self.elements)


class Split(NamedTuple):
    """A value split into its references and elements, in the same order."""

    kind: str
    shape: str
    """The entries of a dict that were split: JSON with the start, kind and length of each; empty for none."""
    references: bytes
    elements: Sequence[Any]
    digest: str = ""
    identities: Mapping[int, Typed] = MappingProxyType({})
    """The plain forms of the elements that differ from the earlier version, by index."""
    kept: Sequence[Element] = ()
    size: int = 0
    """The sum of the lengths of the elements' plain forms."""


def split(value: Any, codec: Codec, secret: bytes, known: Known | None = None) -> Split | None:
    """Split a value into its elements.

    Args:
        value: Any channel value or write.
        codec: The codec that packs the elements.
        secret: The key of the references; empty for none.
        known: An earlier version of the value. The references of a common beginning are not computed again. Default: None.

    Returns:
        The parts, or None if the value is stored whole: it is small, it is neither a list nor a dict nor a message, or an
        element cannot be packed.
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
    if kind == ITEM and not isinstance(elements[0], BaseMessage):
        return None
    head = tail = 0
    before: Sequence[Element] = ()
    try:
        if known is not None and known.is_whole:
            before = known.elements
            head, tail = unchanged(elements, before, codec)
        new = {at: codec.identify(elements[at]) for at in range(head, len(elements) - tail)}
    except UnsupportedValueError:
        if codec.secret:  # a custom serializer may know more types
            return None
        raise
    made = [Element(elements[at], identity) for at, identity in new.items()]
    kept = [*before[:head], *made, *before[len(before) - tail :]]
    if known is not None and head == len(before) and not tail:
        size = known.size * bool(before) + sum([element.size for element in kept[head:]])
    else:
        size = sum([element.size for element in kept])
    if size <= SMALL_BYTES:
        return None
    former = b"" if known is None else known.references
    references = b"".join(
        [
            former[: head * REFERENCE_BYTES],
            *(reference(identity, secret) for identity in new.values()),
            former[len(former) - tail * REFERENCE_BYTES :],
        ]
    )
    layout = json.dumps(shape) if shape else ""
    digest = digest_of(layout, references, secret)
    return Split(prefix + kind, layout, references, elements, digest, new, kept, size)


def digest_of(shape: str, references: bytes, secret: bytes) -> str:
    """Return the digest of a value, which differs from that of another value under the same key."""
    mark = blake2b(shape.encode(), digest_size=blake2b.PERSON_SIZE).digest()
    return blake2b(references, digest_size=8, key=secret, person=mark).hexdigest()


def join(kind: str, shape: str, elements: Sequence[Any]) -> Any:
    """Reassemble a value from its elements: the inverse of `split`."""
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
    """Return the elements of a dict, and the start, kind and length of each entry that was split."""
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
    end = 0
    for start, kind, length in shape:
        value.update(elements[end:start])
        inner = elements[start + 1 : start + 1 + length]
        value[elements[start]] = list(inner) if kind == LIST else dict(inner)
        end = start + 1 + length
    value.update(elements[end:])
    return value


def splice(key: ValueKey, parts: Split, known: Known | None) -> tuple[StoredValue, Known, range]:
    """Return the row of the next version of a value.

    Args:
        key: The key of the value.
        parts: The value, split into its elements.
        known: An earlier version of the value, or None to store it in full.

    Returns:
        The row to store, the details of the value once it is stored, and the indexes of the elements to store with it:
        those that `known` does not contain in the same position.
    """
    references = parts.references
    count = len(references) // REFERENCE_BYTES
    digest = parts.digest
    if known is None or known.kind != parts.kind:
        row = StoredValue(key, parts.kind, parts.shape, references, digest=digest)
        return row, Known(key, parts.kind, references, digest, elements=parts.kept, size=parts.size), range(count)
    head, tail = _shared(known.references, references)
    number = known.number + 1
    lineage = (
        _Ancestor(known.number, known.key, known.digest, head, tail, len(known.references) // REFERENCE_BYTES),
        *(a._replace(head=min(a.head, head), tail=min(a.tail, tail)) for a in known.ancestors),
    )
    ancestors = lineage[_index_of(lineage, number & (number - 1)) :]
    new = range(head, count - tail)
    result = Known(key, parts.kind, references, digest, number, ancestors, parts.kept, parts.size)
    if not ancestors:
        return StoredValue(key, parts.kind, parts.shape, references, number, digest=digest), result, new
    base = ancestors[0]
    data = references[base.head * REFERENCE_BYTES : (count - base.tail) * REFERENCE_BYTES]
    row = StoredValue(key, parts.kind, parts.shape, data, number, base.key, base.head, base.tail, digest)
    return row, result, new


def versions_of(known: Known) -> dict[ValueKey, Known]:
    """Return a value, and those of its earlier versions that it begins with, by key."""
    versions = {known.key: known}
    for at, one in enumerate(known.ancestors):
        if one.head == one.length:
            earlier = tuple(a._replace(head=min(a.head, one.head), tail=0) for a in known.ancestors[at + 1 :])
            references = known.references[: one.length * REFERENCE_BYTES]
            versions[one.key] = Known(one.key, known.kind, references, one.digest, one.number, earlier)
    return versions


NOTHING_KNOWN: Mapping[ValueKey, Known] = MappingProxyType({})


def is_known(row: StoredValue, known: Mapping[ValueKey, Known]) -> bool:
    """Return true if a row is that of a known value, so that neither its base nor its elements must be read."""
    found = known.get(row.key)
    return found is not None and row.kind == found.kind and row.digest == found.digest


def resolve(
    key: ValueKey, rows: Mapping[ValueKey, StoredValue], known: Mapping[ValueKey, Known] = NOTHING_KNOWN
) -> tuple[StoredValue, Known]:
    """Return the references of a stored value.

    Args:
        key: The key of the value.
        rows: The rows of the value and of the versions from which it was spliced; others are ignored.
        known: Values that need no rows but their own. Default: none.

    Returns:
        The row of the value, and its details.

    Raises:
        DamagedDataError: A row is missing, or does not fit the version from which it was spliced.
    """
    chain: list[StoredValue] = []
    base: Known | None = None
    wanted: ValueKey | None = key
    while wanted is not None:
        row = rows.get(wanted)
        if row is None or len(chain) > len(rows):
            msg = f"The stored value of channel {key.channel!r} needs version {wanted.version!r}, which is missing."
            raise DamagedDataError(msg)
        if is_known(row, known):
            base = known[wanted]
            if not chain:
                return row, base._replace(elements=(), size=0)
            break
        chain.append(row)
        wanted = row.base
    references = b"" if base is None else base.references
    ancestors: tuple[_Ancestor, ...] = () if base is None else base.ancestors
    for earlier, row in zip([base, *reversed(chain)], reversed(chain), strict=False):
        if earlier is not None:
            length = len(references) // REFERENCE_BYTES
            ancestors = (
                _Ancestor(earlier.number, earlier.key, earlier.digest, row.head, row.tail, length),
                *(a._replace(head=min(a.head, row.head), tail=min(a.tail, row.tail)) for a in ancestors),
            )
        end = len(references) - row.tail * REFERENCE_BYTES
        if row.head < 0 or row.tail < 0 or row.head * REFERENCE_BYTES > end:
            msg = f"Version {row.key.version!r} of channel {key.channel!r} was damaged or altered: it does not fit its base."
            raise DamagedDataError(msg)
        references = references[: row.head * REFERENCE_BYTES] + row.data + references[end:]
    value = chain[0]
    return value, Known(key, value.kind, references, value.digest, value.number, ancestors)


def _index_of(lineage: Sequence[_Ancestor], number: int) -> int:
    return next((index for index, ancestor in enumerate(lineage) if ancestor.number == number), len(lineage))


def _shared(old: bytes, new: bytes) -> tuple[int, int]:
    """Return the number of common references at the beginning, and at the end of the rest."""
    longest = min(len(old), len(new)) // REFERENCE_BYTES
    head = _common(longest, lambda n: old[: n * REFERENCE_BYTES] == new[: n * REFERENCE_BYTES])
    tail = _common(
        longest - head, lambda n: old[len(old) - n * REFERENCE_BYTES :] == new[len(new) - n * REFERENCE_BYTES :]
    )
    return head, tail


def _common(longest: int, same: Callable[[int], bool]) -> int:
    """Return the largest n up to `longest` for which `same(n)` is true, by binary search."""
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
