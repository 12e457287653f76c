"""Running summaries, converted from those of a session to those of a thread and back, so that compressors continue them.

The summary of a session covers the messages before a position. The summary of a thread covers the first messages of a list,
and holds their digest; system messages at the beginning of the list are not counted.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from langchain_core.messages import BaseMessage, SystemMessage

from langchain_agentmem.compression.records import MAX_ENTRIES, Entry, Record, RecordStorage, chained
from langchain_agentmem.programs import Program


def entries_for_thread(record: Record, messages: Sequence[BaseMessage], positions: Sequence[int | None]) -> list[Entry]:
    """Return the summaries of a session that cover the beginning of a thread, as entries for the thread.

    Args:
        record: The record of the session.
        messages: The messages in the state of the thread.
        positions: Their positions in the session; None for a message that is not from the session.
    """
    found = []
    first = _first(messages)
    for entry in record.entries:
        if entry.chain:  # a list of messages that was passed with the session's ID
            if chained("", messages[first : first + entry.covered]) == entry.chain:
                found.append(entry)
            continue
        covered = [at is not None and at < entry.covered for at in positions]
        end = sum(covered)
        if end <= first or not all(covered[:end]):
            continue
        kept = tuple(index - first for index in range(first, end) if positions[index] in entry.kept)
        found.append(entry._replace(covered=end - first, chain=chained("", messages[first:end]), kept=kept))
    return found


def entries_for_session(
    record: Record, messages: Sequence[BaseMessage], positions: Sequence[int | None], before: Sequence[int]
) -> list[Entry]:
    """Return the summaries of a thread that cover the beginning of a session, as entries for the session.

    Args:
        record: The record of the thread.
        messages: The messages in the state of the thread.
        positions: Their positions in the session; None for a message that is not in the session.
        before: The positions of all messages of the session, in order.
    """
    found = []
    first = _first(messages)
    for entry in record.entries:
        end = first + entry.covered
        if not entry.chain or len(messages) < end or chained("", messages[first:end]) != entry.chain:
            continue
        covered = list(positions[:end])
        if covered != list(before[:end]):  # the session has other messages among them, or another order
            continue
        kept = [positions[first + at] for at in entry.kept]
        if first and not any(isinstance(messages[first + at], SystemMessage) for at in entry.kept):
            kept.insert(0, positions[first - 1])
        last = covered[-1]
        if last is not None:
            numbers = tuple(at for at in kept if at is not None)
            found.append(entry._replace(covered=last + 1, chain="", kept=numbers))
    return found


def add_entries(storage: RecordStorage, entries: Sequence[Entry]) -> Program[None]:
    """Add entries to a record, unless it has summaries of the same style and messages, or another process changes it.

    Args:
        storage: The storage of the record.
        entries: The entries.
    """
    now = time.time()
    record, revision = yield from storage.load(now)
    known = {entry.key for entry in record.entries}
    new = [entry for entry in entries if entry.key not in known]
    if new:
        yield from storage.swap(record._replace(entries=(*record.entries, *new)[:MAX_ENTRIES]), revision, now)


def _first(messages: Sequence[BaseMessage]) -> int:
    """Return the number of system messages at the beginning."""
    return next((at for at, one in enumerate(messages) if not isinstance(one, SystemMessage)), len(messages))
