"""The openings of sessions on Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ormsgpack

from langchain_agentmem.backends.contract import (
    Ending,
    HeadChangedError,
    HeadSwap,
    Opened,
    Opening,
    SessionActivity,
    SessionKey,
    SessionRow,
    VariableScope,
)
from langchain_agentmem.backends.redis import indexes
from langchain_agentmem.backends.redis.message_rows import session_row
from langchain_agentmem.backends.redis.records import delete_references, delisted
from langchain_agentmem.backends.redis.scripts import InvokeAll, framed, frames, optional
from langchain_agentmem.backends.redis.session_keys import (
    check_schedule,
    edit_steps,
    edited,
    identity_of,
    invoke,
    listed,
    swapped_head,
)
from langchain_agentmem.backends.redis.variables import schedule_steps, written_arguments
from langchain_agentmem.programs import Program, storage_program

_HEAD_CHANGED = -1
"""The result of the script `open` if one of the heads is not the expected one."""


class RedisOpenings:
    """Openings on Redis. See `langchain_agentmem.backends.contract.OpeningTable`."""

    @storage_program
    def open(self, key: SessionKey, opening: Opening) -> Program[Opened]:
        now = opening.now
        steps = listed(key, now, opening.ttl)
        if opening.timeout is not None:
            steps.append(indexes.schedule(check_schedule(key.tenant), identity_of(key), now + opening.timeout))
        scope = VariableScope(*key)
        steps += schedule_steps(scope, opening.variables, now, opening.head)
        arguments = (
            *(optional(now), identity_of(key), optional(opening.ttl), int(opening.sliding), opening.token),
            *(optional(opening.timeout), opening.metadata or "", *_ending(opening.ending)),
            *swapped_head(opening.session_head),
            *written_arguments(scope, opening.variables, opening.head),
        )
        *_, found = yield from InvokeAll([*steps, invoke("open", key, arguments)])
        if found == _HEAD_CHANGED:
            raise HeadChangedError
        metadata, head = found or (None, None)
        return Opened(None if metadata is None else metadata.decode(), head)

    @storage_program
    def close(self, key: SessionKey, token: int, ending: Ending | None, now: float) -> Program[bool]:
        named = ("", "") if ending is None else _ending(ending)
        ended, *result = yield from edited("close", key, (optional(now), token, *named))
        yield from _settle(key, *result)
        return bool(ended)

    @storage_program
    def change(self, key: SessionKey, ending: Ending, now: float) -> Program[bool]:
        return bool((yield from invoke("change", key, (optional(now), *_ending(ending)))))

    @storage_program
    def swap_metadata(
        self, key: SessionKey, expected: str | None, metadata: str, now: float, head: HeadSwap | None = None
    ) -> Program[tuple[str | None] | None]:
        arguments = (optional(now), expected or "", metadata, *swapped_head(head))
        exists, stored = yield from invoke("swap_metadata", key, arguments)
        return (stored.decode() or None,) if exists else None

    @storage_program
    def get(self, key: SessionKey, now: float) -> Program[SessionRow | None]:
        return _row(key, (yield from invoke("describe", key, ())), now)

    @storage_program
    def activity(self, key: SessionKey, now: float) -> Program[SessionActivity | None]:
        described, (messages, records) = yield from InvokeAll(
            [invoke("describe", key, ()), invoke("activity", key, (optional(now),))]
        )
        row = _row(key, described, now)
        if row is None:
            return None
        counts = [(agent.decode() or None, count) for agent, count in zip(messages[::2], messages[1::2], strict=True)]
        tally = [
            (agent.decode(), status.decode(), count)
            for names, count in zip(records[::2], records[1::2], strict=True)
            for agent, status in [[*frames(names)]]
        ]
        return SessionActivity(row, counts, tally)

    @storage_program
    def end_abandoned(self, tenant: str, now: float, limit: int) -> Program[int]:
        total = 0
        while not total:
            members = [member for member, _ in (yield from indexes.due(check_schedule(tenant), now, limit))]
            if not members:
                break
            keys = [SessionKey(*ormsgpack.unpackb(member)) for member in members]
            steps = [step for key in keys for step in edit_steps("check", key, (optional(now),))]
            results = (yield from InvokeAll(steps))[1::2]
            for key, (_, ended, *result) in zip(keys, results, strict=True):
                yield from _settle(key, *result)
                total += ended
            later = [(one, float(at)) for one, (at, *_) in zip(members, results, strict=True) if at]
            done = [(one, now) for one, (at, *_) in zip(members, results, strict=True) if not at]
            # A session that was opened again since has a later time in the schedule, and stays in it.
            yield from InvokeAll(
                [indexes.reschedule(check_schedule(tenant), later), indexes.heal(check_schedule(tenant), done)]
            )
        return total


def _settle(key: SessionKey, deleted: int, used: bytes, timeout: bytes, records: Sequence[bytes]) -> Program[None]:
    """Update the indexes after a session was ended.

    Args:
        key: The session.
        deleted: 1 if the session was deleted.
        used: The time of its last use.
        timeout: Its timeout; empty for none.
        records: The IDs of deleted records.
    """
    if deleted:
        yield from delisted(key, float(used), float(timeout or 0))
    else:
        yield from delete_references(key, [one.decode() for one in records])


def _row(key: SessionKey, described: Sequence[Any], now: float) -> SessionRow | None:
    _, _, created_at, _, expires_at, *_ = described
    return session_row(key, described) if created_at is not None and indexes.is_alive(expires_at, now) else None


def _ending(ending: Ending) -> tuple[int, bytes]:
    return int(ending.ends), b"".join(framed(agent.encode()) for agent in ending.exceptions)
