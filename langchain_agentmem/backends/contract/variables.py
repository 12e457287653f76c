"""The variable table of a backend: its rows, and its operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from langchain_agentmem.backends.contract.messages import SessionKey
from langchain_agentmem.programs import Program


class VariableScope(NamedTuple):
    """The scope of a variable: a session, a user or all users, and one agent or all agents."""

    tenant: str
    user_id: str | None = None
    """The user; with a session, the user of the session."""
    session_id: str | None = None
    agent: str | None = None

    @property
    def session(self) -> SessionKey | None:
        """The key of the session; None for the scope of a user or of all users."""
        return None if self.session_id is None else SessionKey(self.tenant, self.user_id, self.session_id)

    @property
    def ranked(self) -> list[VariableScope]:
        """The scopes whose variables are visible in this scope, the most specific first.

        Example:
            >>> from langchain_agentmem.backends.contract import VariableScope
            >>> [scope[1:] for scope in VariableScope("default", "alice", "session-1").ranked]
            [('alice', 'session-1', None), ('alice', None, None), (None, None, None)]
        """
        levels: list[tuple[str | None, str | None]] = [(None, None)]
        if self.user_id is not None:
            levels.insert(0, (self.user_id, None))
        if self.session_id is not None:
            levels.insert(0, (self.user_id, self.session_id))
        agents = [None] if self.agent is None else [self.agent, None]
        return [VariableScope(self.tenant, *level, agent) for level in levels for agent in agents]


class VariablePut(NamedTuple):
    """A variable to set."""

    name: str
    value: str
    """JSON text."""
    ttl: float | None = None
    """Seconds until the variable expires; None: it lives as long as its scope."""


class ScopeHead(NamedTuple):
    """A change of the head of a scope: a variable by which an encrypted backend notices changes that it did not make."""

    name: str
    expected: str | None
    """The value that the head must have; None: there must be none that has not expired."""
    put: VariablePut | None
    """The new head; None: delete it. If none is expected either, the change only checks that there is none."""


class VariableRow(NamedTuple):
    """A stored variable."""

    scope: VariableScope
    name: str
    value: str
    """JSON text."""
    created_at: float
    updated_at: float
    expires_at: float | None
    """The expiry time of the variable or of its session, whichever is earlier."""


class SessionUse(NamedTuple):
    """How setting a variable extends the life of its session, as in `Append`."""

    ttl: float | None = None
    """The session's TTL in seconds; None leaves its expiry unchanged."""
    sliding: bool = True
    """If false, a session that has an expiry keeps it."""


KEEP_EXPIRY = SessionUse()
"""The session's expiry stays unchanged."""


class VariableTable(Protocol):
    """The variables of sessions, users and agents.

    The variables of a session are deleted with it: by `MessageLog.delete`, `end` and `sweep`, and when an expired session
    begins again. `MessageLog.clear` keeps them.
    """

    def set(
        self,
        scope: VariableScope,
        puts: Sequence[VariablePut],
        now: float,
        use: SessionUse = KEEP_EXPIRY,
        head: ScopeHead | None = None,
    ) -> Program[None]:
        """Set variables of exactly this scope, all of them or none. An existing variable keeps its `created_at`.

        If the scope has a session, it is used as by an addition of messages: a missing session is created, an expired one
        begins again, and its last use is `now`. A TTL counts from the later of `now` and the variable's last update.
        The names differ.

        Args:
            scope: The scope.
            puts: The variables.
            now: The current time.
            use: How this extends the life of the session.
            head: A change of the head of the scope. Default: None.

        Raises:
            HeadChangedError: The head is not `ScopeHead.expected`. No variable was changed.
        """

    def read(
        self, scope: VariableScope, names: Sequence[str] | None, now: float, *, whole_session: bool = False
    ) -> Program[list[VariableRow]]:
        """Return the variables of all scopes in `scope.ranked`, in any order, with one step of the backend.

        Args:
            scope: The scope.
            names: Only variables with these names; None for all.
            now: The current time. Expired variables, and those of an expired session, are omitted.
            whole_session: If true, `names` does not select variables of the session: all of them are returned.
        """

    def remove(
        self, scope: VariableScope, names: Sequence[str] | None, now: float, head: ScopeHead | None = None
    ) -> Program[int]:
        """Delete variables of exactly this scope, and return the number of those that had not expired.

        Args:
            scope: The scope.
            names: The names; None for all variables of the scope.
            now: The current time.
            head: A change of the head of the scope. Default: None.

        Raises:
            HeadChangedError: The head is not `ScopeHead.expected`. No variable was changed.
        """

    def forget(self, tenant: str, user_id: str, now: float) -> Program[int]:
        """Delete the variables of a user outside of sessions, of all agents. Return the number of deleted variables."""

    def users(self, tenant: str, now: float) -> Program[list[str]]:
        """Return the users that have variables outside of sessions, in any order."""

    def sweep(self, tenant: str, now: float, limit: int) -> Program[int]:
        """Delete about `limit` expired variables, and return their number."""
