"""Indexes of data in other slots, and schedules of data that expires. They heal themselves.

A client writes an entry before the data that it refers to. An entry without data (because the data has expired, or the client
died in between) is noticed when the index is read or swept, and removed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from langchain_agentmem.backends.redis.scripts import Invoke, InvokeAll, load_scripts, optional
from langchain_agentmem.programs import Program

LUA = load_scripts("indexes.lua", "an index")

GRACE_SECONDS = 3600.0
"""Seconds for which an entry without data stays: a client may be about to write the data."""

WINDOW_SECONDS = 60
"""The longest time between the note of a change and the change itself, which may reach another server later."""

_CHUNK = 500
_MOST_CHANGED = 5000
"""The maximum number of members that the script `changed` returns."""


class ChangedMembers(NamedTuple):
    """Members of an index whose data may have changed."""

    read_at: int
    """The time of the call in seconds, on the server's clock."""
    total: int
    """The number of all members."""
    are_all: bool
    """If true, `found` are all members."""
    found: Sequence[bytes]


class Entry(NamedTuple):
    """A member of an index, with the data that it refers to."""

    member: bytes
    found: Any


def is_alive(expires_at: bytes | None, now: float) -> bool:
    """Return true if data with an expiry time has not expired. Same rule as `is_alive` in common.lua."""
    return expires_at is None or float(expires_at) > now


def enlist(index: str, member: str | bytes, now: float) -> Invoke:
    """Add a member, or update the time of its last use."""
    return Invoke(LUA["enlist"], (index,), (member, optional(now)))


def enlist_changed(index: str, member: str | bytes, now: float) -> Invoke:
    """Same as `enlist`, for an index with a log of changes: note that the member's data is about to change."""
    return Invoke(LUA["enlist_changed"], (index, _log_of(index)), (member, optional(now)))


def note_change(index: str, member: str | bytes) -> Invoke:
    """Note that a member's data is about to change, for an index with a log of changes."""
    return Invoke(LUA["note_change"], (_log_of(index),), (member,))


def changed(index: str, since: int | None) -> Program[ChangedMembers]:
    """Return the members whose data may have changed.

    Args:
        index: An index with a log of changes.
        since: `ChangedMembers.read_at` of the call before; None for all members.
    """
    now, total, is_all, *found = yield from Invoke(
        LUA["changed"], (index, _log_of(index)), ("" if since is None else since, WINDOW_SECONDS)
    )
    if is_all or len(found) == _MOST_CHANGED:
        return ChangedMembers(now, total, True, (yield from members(index)))
    return ChangedMembers(now, total, False, found)


def first(index: str) -> Invoke:
    """Return the most recently used member and the time of its last use, in a list that is empty for an empty index."""
    return Invoke(LUA["newest"], (index,), (0, 0))


def members(index: str) -> Program[list[bytes]]:
    """Return all members, the most recently used first."""
    every: list[bytes] = []
    while True:
        flat = yield from Invoke(LUA["newest"], (index,), (len(every), len(every) + _CHUNK - 1))
        every += flat[::2]
        if len(flat) < 2 * _CHUNK:
            return list(dict.fromkeys(every))


def each(index: str, visit: Callable[[list[str]], Program[None]]) -> Program[None]:
    """Visit the members of an index in pages, the most recently used first.

    Args:
        index: The index.
        visit: Returns the program that handles a page of members.
    """
    start = 0
    while True:
        flat = yield from Invoke(LUA["newest"], (index,), (start, start + _CHUNK - 1))
        yield from visit([member.decode() for member in flat[::2]])
        start += _CHUNK
        if len(flat) < 2 * _CHUNK:
            return


def members_of(several: Sequence[str]) -> Program[list[list[bytes]]]:
    """Return all members of several indexes."""
    found: list[list[bytes]] = []
    for start in range(0, len(several), _CHUNK):
        part = several[start : start + _CHUNK]
        answers = yield from InvokeAll([Invoke(LUA["newest"], (index,), (0, _CHUNK - 1)) for index in part])
        for index, flat in zip(part, answers, strict=True):
            found.append(flat[::2] if len(flat) < 2 * _CHUNK else (yield from members(index)))
    return found


def walk(index: str, cursor: bytes, size: int) -> Invoke:
    """Read some members, in no particular order. The answer is a cursor, and members and times of their last use in turn.

    Args:
        index: The index.
        cursor: `b"0"` in the first call, then the cursor of the answer before. After the last members it is `b"0"` again.
        size: The approximate number of members. A small index is read at once.
    """
    return Invoke(LUA["walk"], (index,), (cursor, size))


def listing(
    index: str,
    describe: Callable[[bytes], Invoke],
    is_listed: Callable[[Any], bool],
    limit: int | None,
    offset: int,
    now: float,
    is_wanted: Callable[[Any], bool] | None = None,
) -> Program[list[Entry]]:
    """Read a page of an index, the most recently used members first.

    Args:
        index: The index.
        describe: Returns the call that reads what a member refers to.
        is_listed: Returns true if the data that was read exists and belongs to the index.
        limit: The maximum number of entries; None for all.
        offset: The number of entries to skip.
        now: Members whose data is missing and that were last used an hour before this time are removed.
        is_wanted: Returns true if an entry belongs to the page. Default: None (all entries do).

    Returns:
        The entries, with the data that was read.
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
            if not is_listed(one):
                gone.append(member)
            elif is_wanted is None or is_wanted(one):
                kept.append(Entry(member, one))
        start += size
        if len(flat) < 2 * size:
            break
    if gone:
        yield from heal(index, [(member, now - GRACE_SECONDS) for member in gone])
    return kept[offset:last]


def listing_of(
    several: Sequence[str],
    describe: Callable[[str, bytes], Invoke],
    is_listed: Callable[[Any], bool],
    limit: int | None,
    offset: int,
    now: float,
) -> Program[list[tuple[str, bytes, Any]]]:
    """Read a page of several indexes as if they were one, the most recently used members first.

    Args:
        several: The indexes.
        describe: Returns the call that reads what a member of an index refers to.
        is_listed: Returns true if the data that was read belongs to the listing.
        limit: The maximum number of entries; None for all.
        offset: The number of entries to skip.
        now: Members whose data is missing and that were last used an hour before this time are removed.

    Returns:
        For each entry its index, its member and the data that was read.
    """
    if len(several) == 1:
        (index,) = several
        entries = yield from listing(index, lambda member: describe(index, member), is_listed, limit, offset, now)
        return [(index, *entry) for entry in entries]
    last = None if limit is None else offset + limit
    depth = _CHUNK if last is None else min(last + 10, 10 * _CHUNK)
    while True:
        ranked, is_complete = yield from _merged(several, depth)
        if is_complete or (last is not None and len(ranked) >= last):
            kept, gone = yield from _described(ranked, describe, is_listed, last)
            if is_complete or len(kept) == last:
                missing = {index: [(one, now - GRACE_SECONDS) for one in members] for index, members in gone.items()}
                yield from InvokeAll([heal(index, members) for index, members in missing.items()])
                return kept[offset:last]
        depth *= 4


def _merged(several: Sequence[str], depth: int) -> Program[tuple[list[tuple[float, str, bytes]], bool]]:
    """Merge the newest members of several indexes.

    Args:
        several: The indexes.
        depth: The maximum number of members to read of each.

    Returns:
        The merged members, the most recently used first: the time of the last use, the index and the member. Then true if
        these are all members.
    """
    newest = yield from _newest_of(several, depth)
    # An index with unread members may contain members that were used up to the time of its last member that was read.
    known_since = max((members[-1][0] for members in newest if len(members) == depth), default=-math.inf)
    ranked = sorted(
        (used, index, member)
        for index, members in zip(several, newest, strict=True)
        for used, member in members
        if used >= known_since
    )
    return ranked[::-1], known_since == -math.inf


def _described(
    ranked: Sequence[tuple[float, str, bytes]],
    describe: Callable[[str, bytes], Invoke],
    is_listed: Callable[[Any], bool],
    last: int | None,
) -> Program[tuple[list[tuple[str, bytes, Any]], dict[str, list[bytes]]]]:
    """Read what members refer to, until `last` of them belong to the listing. Return these, and the others by index."""
    kept: list[tuple[str, bytes, Any]] = []
    gone: dict[str, list[bytes]] = {}
    at = 0
    while at < len(ranked) and (last is None or len(kept) < last):
        size = _CHUNK if last is None else min(_CHUNK, last - len(kept))
        page = ranked[at : at + size]
        found = yield from InvokeAll([describe(index, member) for _, index, member in page])
        for (_, index, member), one in zip(page, found, strict=True):
            if is_listed(one):
                kept.append((index, member, one))
            else:
                gone.setdefault(index, []).append(member)
        at += size
    return kept, gone


def _newest_of(several: Sequence[str], depth: int) -> Program[list[list[tuple[float, bytes]]]]:
    """Return the most recently used members of each index, at most `depth`, each after the time of its last use."""
    newest: list[list[tuple[float, bytes]]] = []
    for start in range(0, len(several), _CHUNK):
        calls = [Invoke(LUA["newest"], (index,), (0, depth - 1)) for index in several[start : start + _CHUNK]]
        newest += [
            [(float(used), member) for member, used in zip(flat[::2], flat[1::2], strict=True)]
            for flat in (yield from InvokeAll(calls))
        ]
    return newest


def heal(index: str, gone: Iterable[tuple[str | bytes, float]]) -> Invoke:
    """Remove members whose data is gone, unless they were used again. The script returns the number of remaining members.

    Args:
        index: The index.
        gone: The members, each with the time of its last known use.
    """
    return Invoke(
        LUA["heal"], (index, _log_of(index)), [one for member, used in gone for one in (member, optional(used))]
    )


def schedule(
    index: str, member: str | bytes, time: float, *, notes: Sequence[str] = (), earliest: bool = False
) -> Invoke:
    """Set the time of the next check of a member.

    Args:
        index: The schedule.
        member: The member.
        time: Time of the check.
        notes: Texts without zero bytes, which are added to the member's notes.
        earliest: If true, an earlier time in the schedule stays.
    """
    return Invoke(LUA["schedule"], _schedule_keys(index), (member, optional(time), int(earliest), *notes))


def due(index: str, now: float, limit: int) -> Program[list[tuple[bytes, bytes]]]:
    """Return the members that are due for a check, each with its notes, which are separated by zero bytes."""
    flat = yield from Invoke(LUA["due"], _schedule_keys(index), (optional(now), limit))
    return list(zip(flat[::2], flat[1::2], strict=True))


def reschedule(index: str, times: Iterable[tuple[str | bytes, Any]]) -> Invoke:
    """Set the times of the next checks of members. The empty string removes a member from the schedule."""
    return Invoke(LUA["reschedule"], _schedule_keys(index), [one for pair in times for one in pair])


def remove_note(index: str, member: str | bytes, note: str) -> Invoke:
    """Remove a text from the notes of a member."""
    return Invoke(LUA["remove_note"], _schedule_keys(index), (member, note))


def _log_of(index: str) -> str:
    return f"{index.rpartition(':')[0]}:changes"


def _schedule_keys(index: str) -> tuple[str, str]:
    return index, f"{index}:notes"
