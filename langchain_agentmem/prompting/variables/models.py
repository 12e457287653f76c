"""Variables as the results of searches."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from langchain_agentmem.text.tables import FieldTable, html_table


@dataclass(frozen=True)
class Variable(FieldTable):
    """A variable with its scope."""

    name: str
    value: Any
    """A JSON value."""
    user_id: str | None
    """The user; None for a variable of all users, or of a session without a user."""
    session_id: str | None
    agent: str | None
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None
    """The expiry time of the variable or of its session, whichever is earlier."""
    score: float | None = None
    """The relevance to the query of a search, greater than 0. Comparable within one result only."""

    @property
    def scope(self) -> str:
        """The scope in words: `"session and agent"`, `"session"`, `"user and agent"`, `"user"`, `"agent"` or `"global"`."""
        owner = "user" if self.user_id is not None else ""
        parts = ["session" if self.session_id is not None else owner, "agent" if self.agent is not None else ""]
        return " and ".join(filter(None, parts)) or "global"


class FoundVariables(list[Variable]):
    """Variables in order. A notebook shows them as a table."""

    def _repr_html_(self) -> str:
        rows = [(one.name, str(one.value), one.scope, one.updated_at, one.score) for one in self]
        return html_table(rows, header=("name", "value", "scope", "updated", "score"))
