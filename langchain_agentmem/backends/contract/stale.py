"""Rows that were not used for a long time: reading them page by page, and deleting those that are still unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol, TypeVar

from langchain_agentmem.arguments.omitted import OMITTED, Omitted
from langchain_agentmem.backends.contract.checkpoints import ThreadKey, ThreadRow
from langchain_agentmem.backends.contract.items import ItemRow
from langchain_agentmem.backends.contract.messages import LoggedMessage, MessageRow, SessionKey, SessionRow
from langchain_agentmem.backends.contract.records import RecordQuery, RecordRow, first_record_id
from langchain_agentmem.backends.contract.variables import VariableRow
from langchain_agentmem.programs import Program

T = TypeVar("T")
Page = tuple[list[T], Any]
"""Rows, and the continuation: a value of the backend's own, or None after the last page."""


class StaleScan(NamedTuple):
    """The rows of a tenant that a page of stale rows begins with."""

    tenant: str
    before: float
    """Only rows whose last use or update is earlier, in seconds since 1970."""
    now: float
    """The current time. Expired rows are omitted."""
    after: Any = None
    """None for the first page, then the continuation of the page before."""
    limit: int = 100
    """The approximate number of rows in a page. A page may be empty although others follow."""

    @property
    def records(self) -> RecordQuery:
        """The query of older records of all users."""
        below = first_record_id(datetime.fromtimestamp(self.before, UTC))
        return RecordQuery(self.tenant, below=below, newest_first=False, limit=self.limit)


class DoomedSession(NamedTuple):
    """A session as it was read, to be deleted if it has not changed since."""

    row: SessionRow
    revision: int | Omitted | None = OMITTED
    """The revision of the summary of all agents' messages, which every change of a message changes; None if no summary is
    stored. `OMITTED`: any."""


class StaleRows(Protocol):
    """Rows that were not used for a long time.

    The order of a listing is the backend's own. Rows that are written during a listing may be missing in it. Each deletion
    checks in its own transaction that the rows have not changed since they were read.
    """

    def sessions(self, scan: StaleScan) -> Program[Page[SessionRow]]:
        """Return a page of the sessions that were not used since and are not open."""

    def delete_sessions(self, sessions: Sequence[DoomedSession], now: float) -> Program[list[bool]]:
        """Delete the sessions that have not changed and are not open, with all their rows.

        Return for each session whether it was deleted. The sessions belong to one tenant.
        """

    def messages(self, scan: StaleScan, *, every: bool) -> Program[Page[LoggedMessage]]:
        """Return a page of older messages in sessions that were used since, or with `every` in all sessions."""

    def delete_messages(self, key: SessionKey, rows: Sequence[MessageRow], now: float) -> Program[int]:
        """Delete messages of a session that have not changed, and return their number.

        Titles and summaries are handled as in `MessageLog.remove`.
        """

    def threads(self, scan: StaleScan) -> Program[Page[ThreadRow]]:
        """Return a page of the threads that were not used since."""

    def delete_thread(self, thread: ThreadKey, updated_at: float, now: float) -> Program[bool]:
        """Delete a thread with all its rows if its last use is still `updated_at`; return true if it was deleted."""

    def items(self, scan: StaleScan, omitted: Sequence[str] = ()) -> Program[Page[ItemRow]]:
        """Return a page of the items that were not updated since.

        Args:
            scan: The page.
            omitted: Beginnings of root labels. A backend may omit the items below such roots.
        """

    def records(self, scan: StaleScan) -> Program[Page[RecordRow]]:
        """Return a page of older records."""

    def variables(self, scan: StaleScan) -> Program[Page[VariableRow]]:
        """Return a page of the variables of users, outside of sessions, that were not updated since."""

    def delete_variables(self, rows: Sequence[VariableRow], now: float) -> Program[int]:
        """Delete variables of users that were not updated since they were read, and return their number."""

    def session_variables(self, key: SessionKey, now: float) -> Program[list[VariableRow]]:
        """Return the variables of a session, of all agents."""
