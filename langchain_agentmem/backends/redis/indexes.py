"""Indexes that lie apart from what they list, because that lies in slots of its own: they heal themselves.

An entry is written before what it lists. What an index lists too much (because it has expired, or because a client died
between the two) is noticed when it is read or swept, and removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from langchain_agentmem.backends.redis.scripts import Invoke, InvokeAll, load_scripts, optional
from langchain_agentmem.programs import Program

LUA = load_scripts("indexes.lua", "an index")

GRACE_SECONDS = 3600.0
"""How long an entry stays of which nothing is found: somebody may be about to write it."""

_CHUNK = 500


class Entry(NamedTuple):
    """A member of an index, with what was found of it."""

    member: bytes
    found: Any


def enlist(index: str, member: str | bytes, now: float) -> Invoke:
    """Write an entry, or that it was used now."""
    return Invoke(LUA["enlist"], (index,), (member, optional(now)))


def members(index: str) -> Program[list[bytes]]:
    """All members, those used last first."""
    every: list[bytes] = []
    while True:
        flat = yield from Invoke(LUA["newest"], (index,), (len(every), len(every) + _CHUNK - 1))
        every += flat[::2]
        if len(flat) < 2 * _CHUNK:
            return list(dict.fromkeys(every))


def members_of(several: Sequence[str]) -> Program[list[list[bytes]]]:
    """All members of several indexes."""
    found: list[list[bytes]] = []
    for start in range(0, len(several), _CHUNK):
        part = several[start : start + _CHUNK]
        answers = yield from InvokeAll([Invoke(LUA["newest"], (index,), (0, _CHUNK - 1)) for index in part])
        for index, flat in zip(part, answers, strict=True):
            found.append(flat[::2] if len(flat) < 2 * _CHUNK else (yield from members(index)))
    return found


def listing(
    index: str,
    describe: Callable[[bytes], Invoke],
    is_listed: Callable[[Any], bool],
    limit: int | None,
    offset: int,
    now: float,
) -> Program[list[Entry]]:
    """A page of an index, those used last first.

    Args:
        index: Which.
        describe: What asks for what a member lists.
        is_listed: Whether what was found is there, and belongs here.
        limit: The most entries; None for all.
        offset: How many to skip.
        now: What is found missing and was last used an hour before is removed.

    Returns:
        The entries, with what was found of them.
    """
    last = None if limit is None else offset + limit
    kept: list[Entry] = []
    gone: list[bytes] = []
    start = 0
    while last is None or len(kept) < last:
        size = _CHUNK if last is None else min(_CHUNK, last - len(kept) + 10)
        flat = yield from Invoke(LUA["newest"], (index,), (start, start + size - 1))
        found = yield from InvokeAll([describe(member) for member in flat[::2]])
        for member, one in zip(flat[::2], found, strict=True):
            if is_listed(one):
                kept.append(Entry(member, one))
            else:
                gone.append(member)
        start += size
        if len(flat) < 2 * size:
            break
    if gone:
        yield from heal(index, [(member, now - GRACE_SECONDS) for member in gone])
    return kept[offset:last]


def heal(index: str, gone: Iterable[tuple[str | bytes, float]]) -> Invoke:
    """Remove members that are gone, unless they were used later than at a time: somebody may be about to write them anew.

    The script returns how many members are left.
    """
    return Invoke(LUA["heal"], (index,), [one for member, used in gone for one in (member, optional(used))])


def schedule(
    index: str, member: str | bytes, time: float, *, notes: Sequence[str] = (), earliest: bool = False
) -> Invoke:
    """Set when to look at a member; with `earliest`, an earlier time that is known stays.

    The notes are added to those of the member; none holds a zero byte.
    """
    return Invoke(LUA["schedule"], _scheduled(index), (member, optional(time), int(earliest), *notes))


def due(index: str, now: float, limit: int) -> Program[list[tuple[bytes, bytes]]]:
    """The members that are to be looked at by now, each with its notes, a zero byte between them."""
    flat = yield from Invoke(LUA["due"], _scheduled(index), (optional(now), limit))
    return list(zip(flat[::2], flat[1::2], strict=True))


def reschedule(index: str, times: Iterable[tuple[str | bytes, Any]]) -> Invoke:
    """When to look at members again, in seconds; the empty string for never."""
    return Invoke(LUA["reschedule"], _scheduled(index), [one for pair in times for one in pair])


def _scheduled(index: str) -> tuple[str, str]:
    return index, f"{index}:notes"
