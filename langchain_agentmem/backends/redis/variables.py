"""The variable table on Redis: hashes in the slots of sessions, users and tenants."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import ormsgpack

from langchain_agentmem.backends.contract import (
    KEEP_EXPIRY,
    HeadChangedError,
    ScopeHead,
    SessionUse,
    StatisticsQuery,
    Tally,
    VariablePut,
    VariableRow,
    VariableScope,
)
from langchain_agentmem.backends.redis import indexes
from langchain_agentmem.backends.redis.scripts import Invoke, InvokeAll, command, load_scripts, optional, slot
from langchain_agentmem.backends.redis.session_keys import (
    identity_of,
    invoke,
    listed,
    session_slot,
    user_slot,
    variable_schedule,
)
from langchain_agentmem.programs import Program, storage_program

LUA = load_scripts("variables.lua", "variables")

_HGET, _HMGET = command("HGET", "variables"), command("HMGET", "variables")

_TIMES = struct.Struct(">ddd")
HEAD_CHANGED = -1
"""The result of the scripts `remove` and `restore` if the head of the scope is not the expected one."""


class RedisVariables:
    """Variables on Redis. See `langchain_agentmem.backends.contract.VariableTable`."""

    @storage_program
    def set(
        self,
        scope: VariableScope,
        puts: Sequence[VariablePut],
        now: float,
        use: SessionUse = KEEP_EXPIRY,
        head: ScopeHead | None = None,
    ) -> Program[None]:
        session = scope.session
        steps = [] if session is None else listed(session, now, use.ttl)
        *_, is_done = yield from InvokeAll([*steps, *_set_steps(scope, puts, now, use, head)])
        if not is_done:
            raise HeadChangedError

    @storage_program
    def read(
        self, scope: VariableScope, names: Sequence[str] | None, now: float, *, whole_session: bool = False
    ) -> Program[list[VariableRow]]:
        groups: dict[tuple[str, ...], list[VariableScope]] = {}
        for one in scope.ranked:
            groups.setdefault(tuple(hash_keys(one)), []).append(one)
        read = [
            _Whole(keys, own) if names is None or (whole_session and own[0].session) else _Named(keys, own, names)
            for keys, own in groups.items()
        ]
        answers = iter((yield from InvokeAll([step for one in read for step in one.steps(now)])))
        return [row for one in read for row in one.rows(answers, now)]

    @storage_program
    def remove(
        self, scope: VariableScope, names: Sequence[str] | None, now: float, head: ScopeHead | None = None
    ) -> Program[int]:
        arguments = (optional(now), int(names is None), scope.agent or "", *_head_arguments(head), *(names or ()))
        steps = schedule_steps(scope, (), now, head)
        *_, (removed, left) = yield from InvokeAll([*steps, Invoke(LUA["remove"], hash_keys(scope), arguments)])
        if removed == HEAD_CHANGED:
            raise HeadChangedError
        if not left:
            yield from InvokeAll(delisted_steps(scope, now))
        return int(removed)

    @storage_program
    def forget(self, tenant: str, user_id: str, now: float) -> Program[int]:
        scope = VariableScope(tenant, user_id)
        forgotten = yield from Invoke(LUA["forget"], hash_keys(scope))
        yield from InvokeAll(delisted_steps(scope, now))
        return int(forgotten)

    @storage_program
    def users(self, tenant: str, now: float) -> Program[list[str]]:
        def is_used(member: bytes) -> Invoke:
            return Invoke(LUA["is_used"], hash_keys(VariableScope(tenant, member.decode())), (optional(now),))

        entries = yield from indexes.listing(users_index(tenant), is_used, bool, None, 0, now)
        return [entry.member.decode() for entry in entries]

    @storage_program
    def sweep(self, tenant: str, now: float, limit: int) -> Program[int]:
        members = [member for member, _ in (yield from indexes.due(variable_schedule(tenant), now, limit))]
        scopes = [VariableScope(*ormsgpack.unpackb(member)) for member in members]
        answers = yield from InvokeAll([Invoke(LUA["expire"], hash_keys(scope), (optional(now),)) for scope in scopes])
        later = [(member, following) for member, (_, _, following) in zip(members, answers, strict=True)]
        steps = [indexes.reschedule(variable_schedule(tenant), later)]
        for scope, (_, left, _) in zip(scopes, answers, strict=True):
            if not left:
                steps += delisted_steps(scope, now)
        if members:
            yield from InvokeAll(steps)
        return sum(int(removed) for removed, *_ in answers)

    def tally(self, query: StatisticsQuery, tally: Tally) -> Program[None]:
        """Count the variables outside of sessions."""
        yield from self._tally(query, tally, [VariableScope(query.tenant)])
        of_user = partial(VariableScope, query.tenant)
        yield from indexes.each(users_index(query.tenant), lambda some: self._tally(query, tally, map(of_user, some)))
        of_agent = partial(VariableScope, query.tenant, None, None)
        yield from indexes.each(agents_index(query.tenant), lambda some: self._tally(query, tally, map(of_agent, some)))

    @staticmethod
    def _tally(query: StatisticsQuery, tally: Tally, scopes: Iterable[VariableScope]) -> Program[None]:
        several, times = list(scopes), [optional(query.now), *map(optional, query.ends), query.omitted]
        answers = yield from InvokeAll([Invoke(LUA["tally"], hash_keys(scope), times) for scope in several])
        for scope, (numbers, agents) in zip(several, answers, strict=True):
            if sum(numbers):
                tally.add("variables", sum(numbers))
                tally.expire("variables", numbers)
                tally.use(users=[scope.user_id], agents=[scope.agent, *(agent.decode() for agent in agents)])


@dataclass(frozen=True)
class _Whole:
    """A read of all variables in a hash, of some agents.

    Args:
        keys: The keys of the hash.
        scopes: The scopes, one for each agent.
    """

    keys: Sequence[str]
    scopes: Sequence[VariableScope]

    def steps(self, now: float) -> list[Invoke]:
        """Return the calls."""
        return [Invoke(LUA["read"], self.keys, (optional(now), *(one.agent or "" for one in self.scopes)))]

    def rows(self, answers: Iterator[Any], now: float) -> list[VariableRow]:  # noqa: ARG002 (as for `_Named`)
        """Return the living variables in the answers."""
        expires, found = next(answers)
        scope = self.scopes[0]._replace(agent=None)
        return [variable_row(scope, *pair, expires) for pair in zip(found[::2], found[1::2], strict=True)]


@dataclass(frozen=True)
class _Named:
    """A read of the variables with some names, by commands, which take less time than a script.

    The expiry of a session is read before its variables: those of a later session with the same ID are as good.

    Args:
        keys: The key of the hash; for a session, also the key `session`.
        scopes: The scopes, one for each agent.
        names: The names.
    """

    keys: Sequence[str]
    scopes: Sequence[VariableScope]
    names: Sequence[str]

    def steps(self, now: float) -> list[Invoke]:  # noqa: ARG002 (as for `_Whole`)
        """Return the calls."""
        if not self.names:
            return []
        key, *session = self.keys
        fields = [f"{one.agent or ''}\0{name}" for one in self.scopes for name in self.names]
        return [*([Invoke(_HGET, session, ("expires",))] if session else []), Invoke(_HMGET, (key,), fields)]

    def rows(self, answers: Iterator[Any], now: float) -> list[VariableRow]:
        """Return the living variables in the answers."""
        if not self.names:
            return []
        ends = float(next(answers) or 0) if len(self.keys) > 1 else 0.0
        values = iter(next(answers))
        if not is_alive(ends, now):
            return []
        return [
            row_of(one, name, value, ends)
            for one in self.scopes
            for name, value in zip(self.names, values, strict=False)
            if value is not None and is_alive(_TIMES.unpack_from(value)[2], now)
        ]


def _set_steps(
    scope: VariableScope, puts: Sequence[VariablePut], now: float, use: SessionUse, head: ScopeHead | None
) -> list[Invoke]:
    """Return the calls that set variables; the last returns 0 if the head changed. The session is listed already.

    Args:
        scope: The scope.
        puts: The variables.
        now: The current time.
        use: How this extends the life of the session.
        head: A change of the head of the scope.
    """
    steps, written = schedule_steps(scope, puts, now, head), written_arguments(scope, puts, head)
    session = scope.session
    if session is not None:
        arguments = (optional(now), identity_of(session), optional(use.ttl), int(use.sliding), *written)
        return [*steps, invoke("set_variables", session, arguments)]
    if scope.user_id is not None:
        steps.append(indexes.enlist(users_index(scope.tenant), scope.user_id, now))
    elif scope.agent is not None:
        steps.append(indexes.enlist(agents_index(scope.tenant), scope.agent, now))
    return [*steps, Invoke(LUA["set"], hash_keys(scope), (optional(now), *written))]


def schedule_steps(
    scope: VariableScope, puts: Sequence[VariablePut], now: float, head: ScopeHead | None
) -> list[Invoke]:
    """Return the calls that schedule the expiry of variables and their head, which come before the one that sets them."""
    of_head = () if head is None or head.put is None else (head.put,)
    ttls = [put.ttl for put in (*puts, *of_head) if put.ttl is not None]
    if not ttls:
        return []
    due = now + min(ttls)
    return [indexes.schedule(variable_schedule(scope.tenant), identity_of_scope(scope), due, earliest=True)]


def written_arguments(scope: VariableScope, puts: Sequence[VariablePut], head: ScopeHead | None) -> list[Any]:
    """Return the agent, the change of the head and the variables, as arguments of the scripts that set them."""
    values = (one for put in puts for one in (put.name, put.value, optional(put.ttl)))
    return [scope.agent or "", *_head_arguments(head), *values]


def _head_arguments(head: ScopeHead | None) -> list[Any]:
    """Return the change of a head as arguments of scripts: its name (empty: no head), expected value, new value and TTL."""
    if head is None:
        return ["", "", "", ""]
    put = head.put
    return [head.name, head.expected or "", *(("", "") if put is None else (put.value, optional(put.ttl)))]


def restore_variable_steps(
    scope: VariableScope, rows: Sequence[VariableRow], now: float, head: ScopeHead | None
) -> list[Invoke]:
    """Return the calls that store variables of a scope outside of sessions, unless they exist.

    The last call returns the number of stored variables; `HEAD_CHANGED` if the head changed, so that none was stored.
    """
    steps: list[Invoke] = []
    ends = [row.expires_at for row in rows if row.expires_at is not None]
    if ends:
        schedule = variable_schedule(scope.tenant)
        steps.append(indexes.schedule(schedule, identity_of_scope(scope), min(ends), earliest=True))
    used = max(row.updated_at for row in rows)
    if scope.user_id is not None:
        steps.append(indexes.enlist(users_index(scope.tenant), scope.user_id, used))
    elif scope.agent is not None:
        steps.append(indexes.enlist(agents_index(scope.tenant), scope.agent, used))
    fields = (part for row in rows for part in pack_variable(row))
    arguments = (optional(now), scope.agent or "", *_head_arguments(head), *fields)
    return [*steps, Invoke(LUA["restore"], hash_keys(scope), arguments)]


def pack_variable(row: VariableRow) -> tuple[str, bytes]:
    """Return the field and the value of a variable in a hash."""
    times = _TIMES.pack(row.created_at, row.updated_at, row.expires_at or 0.0)
    return f"{row.scope.agent or ''}\0{row.name}", times + row.value.encode()


def all_of_hash(scope: VariableScope, now: float) -> Program[list[VariableRow]]:
    """Return the variables of all agents in the hash of a scope."""
    expires, flat = yield from Invoke(LUA["every"], hash_keys(scope), (optional(now),))
    own = scope if scope.user_id is None else scope._replace(agent=None)
    return [variable_row(own, field, value, expires) for field, value in zip(flat[::2], flat[1::2], strict=True)]


def hash_keys(scope: VariableScope) -> list[str]:
    """Return the key of the hash with the variables of a scope; for a session, also the key `session`."""
    if scope.session is not None:
        prefix = session_slot(scope.session)
        return [prefix + "variables", prefix + "session"]
    if scope.user_id is not None:
        return [user_slot(scope.tenant, scope.user_id) + "variables"]
    name = "variables" if scope.agent is None else f"variables:{scope.agent}"
    return [slot("tenant", scope.tenant) + name]


def identity_of_scope(scope: VariableScope) -> bytes:
    """Return the scope of a hash as one byte string: the hash of a session or a user holds those of all agents."""
    if scope.session is not None:
        return identity_of(scope.session)
    return ormsgpack.packb((scope.tenant, scope.user_id, None, scope.agent if scope.user_id is None else None))


def users_index(tenant: str) -> str:
    """Return the index of the users that have variables outside of sessions."""
    return slot("tenant", tenant) + "variable-users"


def agents_index(tenant: str) -> str:
    """Return the index of the agents that have variables for all users."""
    return slot("tenant", tenant) + "variable-agents"


def delisted_steps(scope: VariableScope, now: float) -> list[Invoke]:
    """Return the calls that remove an empty hash from the indexes, unless it was used again."""
    steps = [indexes.reschedule(variable_schedule(scope.tenant), [(identity_of_scope(scope), "")])]
    if scope.session is None and scope.user_id is not None:
        steps.append(indexes.heal(users_index(scope.tenant), [(scope.user_id, now)]))
    elif scope.session is None and scope.agent is not None:
        steps.append(indexes.heal(agents_index(scope.tenant), [(scope.agent, now)]))
    return steps


def variable_row(scope: VariableScope, field: bytes, value: bytes, session_expires: Any) -> VariableRow:
    """Return a variable in a hash.

    Args:
        scope: The scope of the hash, without the agent.
        field: The field of the hash.
        value: The value of the hash.
        session_expires: The expiry of the session; empty for none.
    """
    agent, _, name = field.decode().partition("\0")
    return row_of(scope._replace(agent=agent or None), name, value, float(session_expires or 0))


def row_of(scope: VariableScope, name: str, value: bytes, session_expires: float) -> VariableRow:
    """Return a variable.

    Args:
        scope: The scope of the variable.
        name: Its name.
        value: The value of its field in a hash.
        session_expires: The expiry of the session; 0 for none.
    """
    created, updated, own = _TIMES.unpack_from(value)
    ends = min(own or session_expires, session_expires or own)
    return VariableRow(scope, name, value[_TIMES.size :].decode(), created, updated, ends or None)


def is_alive(expires: float, now: float) -> bool:
    """Return true if an expiry time is in the future, or is 0 for none."""
    return expires == 0 or expires > now
