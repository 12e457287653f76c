"""List the users of a tenant."""

from __future__ import annotations

import time

from langchain_agentmem.arguments.values import check_count
from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.knowledge.namespaces import user_in
from langchain_agentmem.programs import Program, Read, storage_program
from langchain_agentmem.text.tables import html_table

_ROWS_SHOWN = 20


class UserList(list[str]):
    """IDs of users. A notebook shows them as a table."""

    def _repr_html_(self) -> str:
        caption = None if len(self) <= _ROWS_SHOWN else f"The first {_ROWS_SHOWN} of {len(self)} users"
        return html_table([(one,) for one in self[:_ROWS_SHOWN]], header=("user",), caption=caption)


def listed_users(backend: Backend, tenant: str, limit: int | None, offset: int) -> Program[UserList]:
    """List the users of a tenant in the order of their IDs; see `AgentMemory.users`."""
    if limit is not None:
        limit = check_count("limit", limit)
    offset = check_count("offset", offset, least=0)
    users = yield from Read(backend, _all_users(backend, tenant, time.time()))
    return UserList(users[offset : None if limit is None else offset + limit])


@storage_program
def _all_users(backend: Backend, tenant: str, now: float) -> Program[list[str]]:
    found: set[str] = set()
    for table in (backend.messages, backend.records, backend.variables, backend.checkpoints):
        found.update((yield from table.users(tenant, now)))
    roots = yield from backend.items.roots(tenant, now)
    found.update(user for root in roots if (user := user_in((root,))))
    return sorted(found)
