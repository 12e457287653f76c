"""Reading, checking and writing the heads of encrypted namespaces; see `item_heads`."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ormsgpack

from langchain_agentmem.arguments.ids import TENANT_OF_NOTES
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.contract import HeadChangedError, ItemPut, ItemRow, ItemTable, Namespace, Swap
from langchain_agentmem.backends.encrypted import item_heads as heads
from langchain_agentmem.backends.encrypted.item_heads import HEAD, HEADS, NEVER, Edits, Entries, Entry
from langchain_agentmem.backends.encrypted.item_rows import Content, ItemKey, ItemSeal
from langchain_agentmem.backends.encrypted.message_rows import StaleHeadError
from langchain_agentmem.errors import TamperedDataError
from langchain_agentmem.programs import Program
from langchain_agentmem.programs.caches import RecentValues

_KNOWN = 1_000
_PAGE = 1_000
_TIE = 0.002
"""Seconds within which the order of two items is unknown."""

Rows = list[ItemRow]
Place = tuple[str, Namespace, str]
"""The tenant, the namespace and the key of a head or a part."""


@dataclass
class _Stored:
    """A row of a head or a part."""

    text: str
    head: heads.Head | None
    """The head; None for a part."""
    tag: bytes
    base: float
    entries: Entries


@dataclass
class State:
    """The head of a namespace, and some of its parts, as they were read."""

    namespace: Namespace
    head: heads.Head = field(default_factory=heads.Head)
    revisions: dict[str, int] = field(default_factory=dict)
    """The revisions of the rows that exist."""
    lasting: set[str] = field(default_factory=set)
    """The rows without TTL."""
    bases: dict[str, float] = field(default_factory=dict)
    parts: dict[int, Entries] = field(default_factory=dict)

    @property
    def number(self) -> int:
        """The number of parts."""
        return len(self.head.parts) or 1

    @property
    def entries(self) -> Entries:
        """The entries that were read."""
        return self.head.entries if self.number == 1 else heads.merged(self.parts.values())

    def entry(self, digest: bytes) -> Entry | None:
        """Return the entry of a key."""
        if self.number == 1:
            return self.head.entries.get(digest)
        return self.parts[heads.part_of(digest, self.number)].get(digest)


States = dict[Namespace, State]


class ItemGuard:
    """Reads and writes heads.

    Args:
        table: The item table that stores the encrypted rows.
        seal: Encrypts items.
        ordered: If true, listings are in the order of the time that the writer gave. If false, a page that others follow is
            not checked for missing items.
    """

    def __init__(self, table: ItemTable, seal: ItemSeal, *, ordered: bool) -> None:
        self._ordered = ordered
        self._table = table
        self._seal = seal
        self._stored: RecentValues[Place, _Stored] = RecentValues(_KNOWN)
        self._numbers: RecentValues[tuple[str, Namespace], int] = RecentValues(_KNOWN)
        """The numbers of parts, as they were read last."""

    @staticmethod
    def guards(tenant: str) -> bool:
        """Return true if the namespaces of a tenant have heads. Those of the notes of this package have none."""
        return not tenant.startswith(TENANT_OF_NOTES)

    @staticmethod
    def is_head(namespace: Namespace) -> bool:
        """Return true if rows of a namespace, in encrypted form, are heads and parts."""
        return namespace[1:2] == (HEADS,)

    def items(self, rows: Sequence[ItemRow]) -> list[ItemRow]:
        """Return rows without heads and parts."""
        return [row for row in rows if not self.is_head(row.namespace)]

    # Reading

    def load(
        self, tenant: str, keys: Sequence[ItemKey], now: float, *, whole: Collection[Namespace] = ()
    ) -> Program[tuple[list[ItemRow | None], States]]:
        """Read items, in encrypted form, and the entries of their keys, with one statement if the number of parts is known.

        Args:
            tenant: The tenant.
            keys: The namespaces and keys.
            now: The current time.
            whole: The namespaces of which all parts are read.
        """
        spaces = dict.fromkeys(namespace for namespace, _ in keys)
        numbers = {one: self._numbers.get((tenant, one)) or 1 for one in spaces}
        sealed = [self._seal.key(key) for key in keys]
        digests = [self._seal.digest(key) for _, key in keys]
        for _ in range(4):
            names: dict[Namespace, dict[str, int]] = {one: {HEAD: -1} for one in spaces}
            for (namespace, _), digest in zip(keys, digests, strict=True):
                number = numbers[namespace]
                every = range(number) if namespace in whole else (heads.part_of(digest, number),)
                if number > 1:
                    names[namespace] |= {heads.name_of_part(number, at): at for at in every}
            wanted = [(self._sealed_heads(one), name) for one, own in names.items() for name in own]
            found = yield from self._table.get(tenant, [*sealed, *wanted], now)
            rows = iter(found[len(keys) :])
            states = {one: self._state(tenant, one, {name: next(rows) for name in own}) for one, own in names.items()}
            if all(state.number == numbers[one] for one, state in states.items()):
                for one, own in names.items():
                    self._fill(states[one], own, now)
                return found[: len(keys)], states
            for one, state in states.items():
                numbers[one] = state.number
                self._numbers.put((tenant, one), state.number)
        raise HeadChangedError

    def _state(self, tenant: str, namespace: Namespace, rows: Mapping[str, ItemRow | None]) -> State:
        """Return a state from the rows of a head and of parts."""
        state = State(namespace)
        opened = {name: self._opened((tenant, namespace, name), row) for name, row in rows.items() if row is not None}
        for name, row in rows.items():
            if row is not None:
                state.revisions[name] = row.revision
                state.bases[name] = opened[name].base
                if row.ttl is None:
                    state.lasting.add(name)
        head = opened.get(HEAD)
        if head is not None and head.head is not None:
            state.head = head.head
        for name, one in opened.items():
            number, _, at = name.partition(".")
            if name != HEAD and int(number) == state.number:
                if one.tag != state.head.parts[int(at)][0]:
                    msg = f"A part of the head of namespace {_shown(namespace)} was replaced by an older one."
                    raise TamperedDataError(msg)
                state.parts[int(at)] = one.entries
        return state

    def _fill(self, state: State, names: Mapping[str, int], now: float) -> None:
        """Complete a state by the parts that have no row.

        Raises:
            TamperedDataError: A part is missing.
        """
        for at in names.values():
            if at >= 0 and at not in state.parts:
                tag, expires = state.head.parts[at]
                if tag and expires > (now or time.time()):
                    msg = f"A part of the head of namespace {_shown(state.namespace)} was deleted without the key."
                    raise TamperedDataError(msg)
                state.parts[at] = {}

    def rows_below(self, tenant: str, prefix: Namespace, now: float, most: int | None = None) -> Program[Rows | None]:
        """Return the rows of all heads and parts at or below a prefix; None if there are more than `most`."""
        sealed = self._sealed_heads(prefix)
        rows: Rows = []
        following: tuple[Any, ...] | None = None
        while True:
            limit = _PAGE if most is None else most + 1
            page, following = yield from self._table.scan(tenant, sealed, None, limit, following, now)
            rows += page
            if most is not None and len(rows) > most:
                return None
            if following is None:
                return rows

    def _states(self, tenant: str, rows: Rows, now: float) -> States:
        """Return the heads in the result of `rows_below`."""
        by_namespace: dict[Namespace, dict[str, ItemRow | None]] = {}
        for row in rows:
            plain = self._seal.plain_namespace((row.namespace[0], *row.namespace[2:]))
            by_namespace.setdefault(plain, {})[row.key] = row
        states = {one: self._state(tenant, one, own) for one, own in by_namespace.items()}
        for state in states.values():
            if state.number > 1:
                self._fill(state, {heads.name_of_part(state.number, at): at for at in range(state.number)}, now)
        return states

    def _opened(self, place: Place, row: ItemRow) -> _Stored:
        """Decrypt a row of a head or a part."""
        known = self._stored.get(place)
        if known is None or known.text != row.value:
            packed = self._seal.opened(row.value, *_place(place))
            if row.key == HEAD:
                head = heads.Head.unpacked(packed)
                known = _Stored(row.value, head, b"", head.base, head.entries)
            else:
                tag, base, entries = ormsgpack.unpackb(packed)
                known = _Stored(row.value, None, tag, base, heads.unpacked_entries(entries))
            self._stored.put(place, known)
        return known

    # Checking

    def check(self, key: ItemKey, content: Content | None, state: State, now: float) -> None:
        """Check that an item is the one that the head of its namespace contains.

        Args:
            key: The namespace and key.
            content: The decrypted content of the row; None if there is no row.
            state: The head, with the entry of the key.
            now: The time of the read.

        Raises:
            TamperedDataError: It is not.
        """
        entry = state.entry(self._seal.digest(key[1]))
        if content is None:
            if entry is not None and entry.expires > (now or time.time()) + heads.GRACE:
                raise _altered(key, "is missing: it was deleted without the key")
        elif entry is None:
            raise _altered(key, "was inserted without the key")
        elif entry.tag != content.tag:
            raise _altered(key, "was replaced by another version of itself")

    def check_listing(
        self,
        tenant: str,
        prefix: Namespace,
        now: float,
        before: Rows | None,
        rows: Sequence[tuple[ItemRow, Content]],
        *,
        newest: float = NEVER,
        oldest: float = -NEVER,
    ) -> Program[None]:
        """Check the items of a listing.

        Args:
            tenant: The tenant.
            prefix: The namespace at or below which items were listed.
            now: The time of the read.
            before: The result of `rows_below` before the items were read; None to check only the items themselves.
            rows: The decrypted items.
            newest: The time of the oldest item of the page before; items of this time may be missing in this page.
            oldest: The time of the last item, if others follow; items of this time may be missing, too.

        Raises:
            TamperedDataError: An item is missing, was inserted, or is another version of itself.
            HeadChangedError: Another writer changed an item.
        """
        suspicious = list(rows)
        if before is not None:
            after: Rows | None = None
            try:
                former = self._states(tenant, before, now)
            except TamperedDataError:  # other writers may have changed the heads between two pages
                after = yield from self.rows_below(tenant, prefix, now)
                if _revisions(before) != _revisions(after or ()):
                    raise HeadChangedError from None
                raise
            suspicious = [one for one in rows if not self._fits(*one, former)]
            missing = list(self._missing(rows, former, now, newest, oldest))
            if suspicious or missing:  # other writers may have changed items since the heads were read
                after = yield from self.rows_below(tenant, prefix, now)
                unchanged = _revisions(before) == _revisions(after or ())
                states = former if unchanged else self._states(tenant, after or [], now)
                suspicious = [one for one in suspicious if not self._fits(*one, states)]
                for namespace, digest in missing:
                    state = states.get(namespace)
                    if state is not None and state.entry(digest) == former[namespace].entry(digest):
                        msg = f"An item in namespace {_shown(namespace)} is missing: it was deleted without the key."
                        raise TamperedDataError(msg)
        if suspicious:
            yield from self._check_each(tenant, suspicious, now)

    def check_number(self, tenant: str, root: str, before: Rows, number: int, now: float) -> Program[None]:
        """Check the number of the items below a root label, unless it has changed since the first of them was read.

        Args:
            tenant: The tenant.
            root: The root label.
            before: The result of `rows_below` before the items were read.
            number: The number of items.
            now: The time of the read.

        Raises:
            TamperedDataError: Items are missing.
        """
        after = yield from self.rows_below(tenant, (root,), now)
        if after is None or _revisions(before) != _revisions(after):
            return
        states = self._states(tenant, after, now).values()
        expected = sum(entry.expires > now + heads.GRACE for state in states for entry in state.entries.values())
        if number < expected:
            missing = expected - number
            msg = (
                f"Below the root label {shown(root)}, {missing:,} items are missing: they were deleted without the key."
            )
            raise TamperedDataError(msg)

    def _check_each(self, tenant: str, rows: Sequence[tuple[ItemRow, Content]], now: float) -> Program[None]:
        """Check items that were read together with the heads of their namespaces."""
        stored, states = yield from self.load(tenant, [(row.namespace, row.key) for row, _ in rows], now)
        for (row, content), found in zip(rows, stored, strict=True):
            if found is None or found.revision != row.revision:
                raise HeadChangedError
            self.check((row.namespace, row.key), content, states[row.namespace], now)

    def _fits(self, row: ItemRow, content: Content, states: States) -> bool:
        state = states.get(row.namespace)
        entry = None if state is None else state.entry(self._seal.digest(row.key))
        return entry is not None and entry.tag == content.tag

    def _missing(
        self, rows: Sequence[tuple[ItemRow, Content]], states: States, now: float, newest: float, oldest: float
    ) -> Iterator[tuple[Namespace, bytes]]:
        """Yield the namespaces and digests of entries within a page that has no such item."""
        if not self._ordered and (newest, oldest) != (NEVER, -NEVER):
            return
        found: dict[Namespace, set[bytes]] = {}
        for row, _ in rows:
            found.setdefault(row.namespace, set()).add(self._seal.digest(row.key))
        for namespace, state in states.items():
            own = found.get(namespace, set())
            for digest, entry in state.entries.items():
                within = oldest + _TIE < entry.at < newest - _TIE
                if within and digest not in own and entry.expires > now + heads.GRACE:
                    yield namespace, digest

    # Writing

    def swaps(self, tenant: str, state: State, edits: Edits, now: float) -> list[Swap]:
        """Return the changes of a head and its parts. All parts of the edited keys were read.

        Args:
            tenant: The tenant.
            state: The head.
            edits: The changes of entries.
            now: The current time.
        """
        number = state.number
        if number == 1:
            entries = heads.edited(state.head.entries, edits, now)
            target = heads.parts_for(len(entries))
            if target > 1:
                return self._grown(tenant, state, entries, target, now)
            return self._head_swaps(tenant, state, heads.Head(len(entries), (), entries), now)
        by_part: dict[int, dict[bytes, Entry | None]] = {}
        for digest, edit in edits.items():
            by_part.setdefault(heads.part_of(digest, number), {})[digest] = edit
        count, parts, swaps = state.head.size, list(state.head.parts), []
        for at, own in by_part.items():
            entries = heads.edited(state.parts[at], own, now)
            count += len(entries) - len(state.parts[at])
            swap, parts[at] = self._part_swap(tenant, state, number, at, entries, now)
            swaps += swap
        return [*swaps, *self._head_swaps(tenant, state, heads.Head(max(count, 1), tuple(parts)), now)]

    def grows(self, state: State, edits: Edits) -> bool:
        """Return true if a namespace needs more parts for its edits, so that `regrown` must follow."""
        return state.number > 1 and heads.parts_for(state.head.size + len(edits)) > state.number

    def regrown(self, tenant: str, state: State, edits: Edits, now: float) -> list[Swap]:
        """Same as `swaps`, with more parts. All parts were read."""
        entries = heads.edited(state.entries, edits, now)
        target = heads.parts_for(len(entries))
        swaps = self._grown(tenant, state, entries, max(target, state.number), now)
        if target <= state.number:
            return swaps
        gone = [name for name in state.revisions if name != HEAD]
        place = self._sealed_heads(state.namespace)
        return [*swaps, *(Swap(place, name, state.revisions[name]) for name in gone)]

    def _grown(self, tenant: str, state: State, entries: Entries, number: int, now: float) -> list[Swap]:
        """Return the changes that distribute entries over some parts."""
        swaps, parts = [], []
        for at, own in enumerate(heads.split(entries, number)):
            swap, part = self._part_swap(tenant, state, number, at, own, now)
            swaps += swap
            parts.append(part)
        return [*swaps, *self._head_swaps(tenant, state, heads.Head(len(entries), tuple(parts)), now)]

    def _part_swap(
        self, tenant: str, state: State, number: int, at: int, entries: Entries, now: float
    ) -> tuple[list[Swap], tuple[bytes, float]]:
        name = heads.name_of_part(number, at)
        if not entries:
            return self._swap(tenant, state, name, None, 0.0, 0.0, now), (b"", 0.0)
        tag, base, expires = heads.new_tag(), max(now, state.bases.get(name, 0.0)), heads.last_expiry(entries)
        packed = ormsgpack.packb([tag, base, heads.packed_entries(entries)])
        return self._swap(tenant, state, name, packed, base, expires, now), (tag, expires)

    def _head_swaps(self, tenant: str, state: State, head: heads.Head, now: float) -> list[Swap]:
        self._numbers.put((tenant, state.namespace), len(head.parts) or 1)
        if not head.entries and not any(tag for tag, _ in head.parts):
            return self._swap(tenant, state, HEAD, None, 0.0, 0.0, now)
        head = head._replace(base=max(now, state.head.base))
        return self._swap(tenant, state, HEAD, head.packed(), head.base, head.expires, now)

    def _swap(
        self, tenant: str, state: State, name: str, packed: bytes | None, base: float, expires: float, now: float
    ) -> list[Swap]:
        """Return the change of a row: none if it does not exist and need not."""
        place, revision = self._sealed_heads(state.namespace), state.revisions.get(name)
        if packed is None:
            return [] if revision is None else [Swap(place, name, revision)]
        value = self._seal.json(packed, *_place((tenant, state.namespace, name)))
        # A deletion has no time, from which the database could count the first TTL of a row. The next write sets it.
        endless = expires == NEVER or (not now and name in state.lasting)
        ttl = None if endless else max(0.0, expires - base) + heads.MARGIN
        return [Swap(place, name, revision, ItemPut(place, name, value, ttl, None, holds_text=False))]

    def write(
        self,
        tenant: str,
        swaps: Sequence[Swap],
        states: States,
        edits: Mapping[Namespace, Edits],
        now: float,
        token: int,
    ) -> Program[bool]:
        """Swap items together with the heads of their namespaces. Return false if another writer changed one of them."""
        every = list(swaps)
        for namespace, own in edits.items():
            state = states[namespace]
            if self.grows(state, own):
                _, whole = yield from self.load(tenant, [(namespace, "")], now, whole=[namespace])
                if whole[namespace].revisions.get(HEAD) != state.revisions.get(HEAD):
                    return False
                every += self.regrown(tenant, whole[namespace], own, now)
            else:
                every += self.swaps(tenant, state, own, now)
        return (yield from self._table.swap(tenant, every, now, token)) if every else True

    def remove(self, tenant: str, root: str, now: float) -> Program[None]:
        """Delete the heads of the namespaces without items below an encrypted root label."""
        used = set((yield from self._table.namespaces(tenant, (root,), now)))
        following: tuple[Any, ...] | None = None
        while True:
            rows, following = yield from self._table.scan(tenant, (root, HEADS), None, _PAGE, following, now)
            unused = [row for row in rows if (root, *row.namespace[2:]) not in used]
            for row in unused:  # a head stays if another writer changed it
                yield from self._table.swap(tenant, [Swap(row.namespace, row.key, row.revision)], now, new_token())
            if following is None:
                return

    def _sealed_heads(self, namespace: Namespace) -> Namespace:
        """Return the encrypted namespace of the head of a namespace."""
        sealed = self._seal.namespace(namespace)
        return (sealed[0], HEADS, *sealed[1:])


def new_token() -> int:
    """Return the idempotency token of a swap."""
    return secrets.randbits(53)


def _revisions(rows: Sequence[ItemRow]) -> dict[ItemKey, int]:
    return {(row.namespace, row.key): row.revision for row in rows}


def by_root(keys: Iterable[ItemKey]) -> dict[str, list[ItemKey]]:
    """Group items by the first label of their namespaces."""
    groups: dict[str, list[ItemKey]] = {}
    for key in keys:
        groups.setdefault(key[0][0], []).append(key)
    return groups


def _place(place: Place) -> tuple[str, ...]:
    tenant, namespace, name = place
    return "item head", tenant, name, *namespace


def _altered(key: ItemKey, what: str) -> StaleHeadError:
    return StaleHeadError(f"Item {shown(key[1])} in namespace {_shown(key[0])} {what}: the database was altered.")


def _shown(namespace: Namespace) -> str:
    return shown(namespace, 200)
