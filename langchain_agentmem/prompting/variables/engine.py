"""The operations on variables, as programs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from langchain_agentmem.arguments.durations import seconds
from langchain_agentmem.arguments.ids import check_id, check_name, check_optional_id
from langchain_agentmem.arguments.retention import Retention
from langchain_agentmem.arguments.values import check_count, shown
from langchain_agentmem.backends.contract import Backend, SessionUse, VariablePut, VariableRow, VariableScope
from langchain_agentmem.backends.reads import CachedReads, Lookup, session_group
from langchain_agentmem.backends.sweeper import Sweeper
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.encoding.json_values import dump_json_value, load_json_value
from langchain_agentmem.errors import InvalidTypeError
from langchain_agentmem.programs import OffLoop, Program, Read, Write
from langchain_agentmem.programs.sizes import LONG, is_large
from langchain_agentmem.prompting.variables.models import FoundVariables, Variable
from langchain_agentmem.search.ranking import query_words
from langchain_agentmem.text.guard import Guard
from langchain_agentmem.text.words import analyze, scores, texts_in

_log = logging.getLogger(__name__)


class VariableEngine:
    """The variables of one tenant.

    Args:
        backend: The backend that stores the variables.
        tenant: The tenant.
        retention_of: Returns the retention of an agent's sessions, whose TTL a session gets from its variables too.
        sweeper: Deletes expired data after writes.
        cache: The cache of reads. Default: None (nothing is cached).
        guard: The rules for values. Default: None (any value).

    Example:
        >>> from langchain_agentmem import Retention
        >>> from langchain_agentmem.backends import connect
        >>> from langchain_agentmem.backends.sweeper import Sweeper
        >>> from langchain_agentmem.programs import run
        >>> from langchain_agentmem.prompting.variables.engine import VariableEngine
        >>> backend = connect("sqlite:///:memory:")
        >>> engine = VariableEngine(backend, "default", lambda agent: Retention(), Sweeper(backend, "default"))
        >>> run(engine.set(engine.scope("alice"), {"tone": "friendly"}))
        >>> run(engine.all(engine.scope("alice", "session-1")))
        {'tone': 'friendly'}
        >>> backend.close()
    """

    def __init__(
        self,
        backend: Backend,
        tenant: str,
        retention_of: Callable[[str | None], Retention],
        sweeper: Sweeper,
        *,
        cache: CachedReads | None = None,
        guard: Guard | None = None,
    ) -> None:
        self._guard = guard
        self.backend = backend
        self.tenant = tenant
        self._retention_of = retention_of
        self._sweeper = sweeper
        self.cache = cache or CachedReads()

    def scope(
        self, user_id: str | None = None, session_id: str | None = None, agent: str | None = None
    ) -> VariableScope:
        """Return a scope.

        Raises:
            InvalidInputError: An ID is not accepted.
            InvalidTypeError: An ID is not a string.
        """
        return VariableScope(
            self.tenant,
            check_optional_id("user_id", user_id),
            check_optional_id("session_id", session_id),
            check_optional_id("agent", agent),
        )

    def set(
        self, scope: VariableScope, values: Mapping[str, Any], ttl: timedelta | float | None = None
    ) -> Program[None]:
        """Set variables of one scope, all of them or none.

        Args:
            scope: The scope.
            values: JSON values by name.
            ttl: The time until the variables expire. Default: None (they live as long as their scope).

        Raises:
            UnsupportedValueError: A value is not a JSON value.
            InvalidInputError: A name or the TTL is not accepted, or a value is too large.
        """
        if not isinstance(values, Mapping):
            msg = f"Variables must be a mapping of names to values, got {type(values).__name__}: {shown(values)}."
            raise InvalidTypeError(msg)
        duration = seconds("ttl", ttl)
        yield from OffLoop(is_large(values))
        puts = variable_puts(values, duration, self._guard)
        if not puts:
            return
        kept = self._retention_of(scope.agent)
        use = SessionUse(seconds("Retention.ttl", kept.ttl), kept.sliding)
        with self.cache.writing([_group(scope)]):
            yield from Write(self.backend, self.backend.variables.set(scope, puts, time.time(), use))
        _log.debug("variables: set %d of user %r, session %r, agent %r", len(puts), *scope[1:])
        yield from self._sweeper.after_write()

    def visible(self, scope: VariableScope, names: Iterable[str] | None = None) -> Program[dict[str, VariableRow]]:
        """Return the variables that a scope sees, by name: of several with one name, the most specific one.

        Args:
            scope: The scope.
            names: Only variables with these names. Default: None (all).
        """
        wanted = None if names is None else list(dict.fromkeys(names))
        with reading("A variable"):
            if not self.cache.is_on:
                return most_specific(scope, (yield from self._read(scope, wanted)))
            # The cache holds all variables of a scope, so that reading one of them answers for the others too.
            key, groups, ends_at = self.lookup(scope)
            every = yield from self.cache.through(key, groups, partial(self._read, scope), ends_at)
        rows = most_specific(scope, every)
        return rows if wanted is None else {name: row for name, row in rows.items() if name in wanted}

    def lookup(self, scope: VariableScope) -> Lookup:
        """Return what identifies all variables that a scope sees in the cache of reads."""
        return Lookup(("variables", scope), list(map(_group, scope.ranked)), partial(self._ends_at, scope))

    def _read(self, scope: VariableScope, names: Sequence[str] | None = None) -> Program[list[VariableRow]]:
        rows = yield from Read(self.backend, self.backend.variables.read(scope, names, time.time()))
        _log.debug("variables: read %d of user %r, session %r, agent %r", len(rows), *scope[1:])
        return rows

    def _ends_at(self, scope: VariableScope, rows: Sequence[VariableRow]) -> float | None:
        """Return the time until which rows that were read now are true."""
        times = [row.expires_at for row in rows]
        if scope.session is not None:  # a session without expiry may get one right after it was read
            ttl = seconds("Retention.ttl", self._retention_of(scope.agent).ttl)
            times.append(None if ttl is None else time.time() + ttl)
        return min((one for one in times if one is not None), default=None)

    def get(self, scope: VariableScope, name: str, default: Any) -> Program[Any]:
        """Return the value of the most specific variable, or a default if there is none."""
        rows = yield from self.visible(scope, [check_id("name", name)])
        return (yield from values_of(rows)).get(name, default)

    def all(self, scope: VariableScope, names: Iterable[str] | None = None) -> Program[dict[str, Any]]:
        """Return the values that a scope sees, by name. `names` is that of `visible`."""
        return (yield from values_of((yield from self.visible(scope, names))))

    def delete(self, scope: VariableScope, name: str) -> Program[bool]:
        """Delete a variable of exactly this scope; return true if it existed."""
        return bool((yield from self._remove(scope, [check_id("name", name)])))

    def clear(self, scope: VariableScope) -> Program[int]:
        """Delete all variables of exactly this scope; return their number."""
        return (yield from self._remove(scope, None))

    def search(self, scope: VariableScope, query: str, k: int) -> Program[FoundVariables]:
        """Return the variables that a scope sees and whose name or value contains words of a query, the best first."""
        words = query_words(check_name("query", query), self.backend.language)
        k = check_count("k", k)
        rows = list((yield from self.visible(scope)).values())
        yield from OffLoop(is_large([row.value for row in rows], LONG))
        found = [_variable(row) for row in rows]
        texts = [
            analyze(" ".join([one.name, *texts_in(one.value)]), self.backend.language) if words else b""
            for one in found
        ]
        raw = scores(texts, words)
        best = max(raw, default=0.0) or 1.0
        ranked = sorted(zip(raw, found, strict=True), key=lambda pair: (-pair[0], pair[1].name))
        return FoundVariables(_scored(one, score / best) for score, one in ranked[:k] if score > 0)

    def listed(self, scope: VariableScope) -> Program[FoundVariables]:
        """Return the variables that a scope sees, by name."""
        return FoundVariables(map(_variable, (yield from self.visible(scope)).values()))

    def _remove(self, scope: VariableScope, names: Sequence[str] | None) -> Program[int]:
        with self.cache.writing([_group(scope)]):
            removed = yield from Write(self.backend, self.backend.variables.remove(scope, names, time.time()))
        _log.debug("variables: deleted %d of user %r, session %r, agent %r", removed, *scope[1:])
        return removed


def variable_puts(values: Mapping[str, Any], ttl: float | None = None, guard: Guard | None = None) -> list[VariablePut]:
    """Return variables to set.

    Args:
        values: JSON values by name.
        ttl: Seconds until the variables expire. Default: None (they live as long as their scope).
        guard: The rules for values. Default: None (any value).

    Raises:
        UnsupportedValueError: A value is not a JSON value.
        InvalidInputError: A name is not accepted, or a value is too large.
    """
    if guard is not None:
        values = {name: guard.value(value, f"The variable {shown(name)}") for name, value in values.items()}
    return [
        VariablePut(check_id("name", name), dump_json_value(value, f"The value of {shown(name)}"), ttl)
        for name, value in values.items()
    ]


def most_specific(scope: VariableScope, rows: Iterable[VariableRow]) -> dict[str, VariableRow]:
    """Return the most specific of the variables with each name, sorted by name.

    Args:
        scope: The scope that sees the variables.
        rows: The variables.
    """
    ranks = {one: rank for rank, one in enumerate(scope.ranked)}
    widest_first = sorted(rows, key=lambda row: (row.name, -ranks[row.scope]))
    return {row.name: row for row in widest_first}


def _group(scope: VariableScope) -> Hashable:
    """Return the group of a scope's variables in the cache of reads. Those of a session are also deleted with it."""
    if scope.session is not None:
        return session_group(scope.session)
    return ("variables", scope.user_id, None if scope.user_id is not None else scope.agent)


def values_of(rows: Mapping[str, VariableRow]) -> Program[dict[str, Any]]:
    """Return the values of variables by name."""
    yield from OffLoop(is_large([row.value for row in rows.values()]))
    return {name: _value(row) for name, row in rows.items()}


def _value(row: VariableRow) -> Any:
    with reading(lambda: f"Variable {row.name!r}"):
        return load_json_value(row.value)


def _variable(row: VariableRow) -> Variable:
    return Variable(
        row.name,
        _value(row),
        *row.scope[1:],
        datetime.fromtimestamp(row.created_at, UTC),
        datetime.fromtimestamp(row.updated_at, UTC),
        None if row.expires_at is None else datetime.fromtimestamp(row.expires_at, UTC),
    )


def _scored(variable: Variable, score: float) -> Variable:
    return Variable(**{**vars(variable), "score": score})
