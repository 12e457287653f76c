"""The openings of sessions: which workers have a session open, and what is deleted when the last one closes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from langchain_agentmem.backends.contract.messages import HeadSwap, SessionKey, SessionRow
from langchain_agentmem.backends.contract.variables import ScopeHead, VariablePut
from langchain_agentmem.programs import Program


class Ending(NamedTuple):
    """Says what is deleted when a session ends, besides the messages and records with `ends_with_session`."""

    ends: bool
    """If true, the variables of the session are deleted, and a session with nothing left is deleted itself."""
    exceptions: Sequence[str] = ()
    """Agents for whose variables the opposite holds."""


class Opening(NamedTuple):
    """A worker's opening of a session."""

    token: int
    """A random number that identifies the opening. It is the idempotency token as well."""
    now: float
    ending: Ending
    timeout: float | None = None
    """Seconds without activity after which the session is ended although it is open; None for never."""
    metadata: str | None = None
    """JSON text that replaces the session's metadata; None leaves it unchanged."""
    ttl: float | None = None
    """The session's TTL in seconds; None leaves its expiry unchanged."""
    sliding: bool = True
    """If false, a session that has an expiry keeps it."""
    variables: Sequence[VariablePut] = ()
    """Variables of the session, for all agents, to set in the same transaction."""
    head: ScopeHead | None = None
    """A change of the head of these variables."""
    session_head: HeadSwap | None = None
    """A change of the head of the session."""


class Opened(NamedTuple):
    """A session that was opened."""

    metadata: str | None = None
    """JSON text; None if the session has no metadata."""
    head: bytes | None = None
    """The head of the session; see `LogHead`."""


class SessionActivity(NamedTuple):
    """The contents of a session, as numbers."""

    row: SessionRow
    messages: Sequence[tuple[str | None, int]]
    """The number of messages of each agent, and of no agent (None)."""
    records: Sequence[tuple[str, str, int]]
    """The number of records of each agent and status."""


class OpeningTable(Protocol):
    """The openings of sessions.

    A session is open from its first opening until its last opening is closed, or until no worker has used it for its timeout.
    Then it is ended: messages and records with `ends_with_session` are deleted, and the variables that its `Ending` names.
    A message, a record, a variable or an opening is a use.
    """

    def open(self, key: SessionKey, opening: Opening) -> Program[Opened]:
        """Open a session.

        A session that does not exist or has expired is created. A session whose timeout is over is ended first. An opening
        that was withdrawn before it arrived changes nothing, and the result is empty.

        Raises:
            HeadChangedError: The head of the session or that of the variables is not the expected one. The metadata and the
                variables are unchanged.
        """

    def close(self, key: SessionKey, token: int, ending: Ending | None, now: float) -> Program[bool]:
        """Close an opening. If no other opening is left, end the session and return true.

        Args:
            key: The session.
            token: The token of the opening.
            ending: Ends a session whose opening is gone, because its timeout was over: the session may have been created
                again since. None withdraws an opening whose call was interrupted, and may still be on its way to the server.
                If it was not stored, the session is left unchanged. If it arrives within ten minutes, it is refused.
            now: The current time.
        """

    def change(self, key: SessionKey, ending: Ending, now: float) -> Program[bool]:
        """Replace the ending of a session; return true if the session exists."""

    def swap_metadata(
        self, key: SessionKey, expected: str | None, metadata: str, now: float, head: HeadSwap | None = None
    ) -> Program[tuple[str | None] | None]:
        """Replace the metadata of a session if they are `expected`. Return those it has then; None if it does not exist.

        Args:
            key: The session.
            expected: The metadata that the session must have; None for none.
            metadata: The new metadata, as JSON text.
            now: The current time.
            head: A change of the session's head, which must be the expected one, too. Default: None.
        """

    def get(self, key: SessionKey, now: float) -> Program[SessionRow | None]:
        """Return a session, or None."""

    def activity(self, key: SessionKey, now: float) -> Program[SessionActivity | None]:
        """Return the contents of a session, or None if it does not exist."""

    def end_abandoned(self, tenant: str, now: float, limit: int) -> Program[int]:
        """End about `limit` open sessions whose timeout is over. Return the number of sessions that were checked."""
