"""The statistics."""

from __future__ import annotations

import json
import weakref
from typing import Any

from dict_backend.programs import alive, program
from langchain_agentmem.backends.contract import Tally
from langchain_agentmem.backends.contract.statistics import ALIASES, OTHER, SHARED


class Statistics:
    def __init__(self, backend: Any) -> None:
        self._backend = weakref.ref(backend)

    @program
    def count(self, query):
        backend, tally, now = self._backend(), Tally(), query.now

        def expire(name: str, *times: float | None) -> None:
            ends = min((one for one in times if one is not None), default=None)
            at = 4 if ends is None else sum(ends > end for end in query.ends)
            tally.expire(name, [int(at == period) for period in range(5)])

        for key, session in backend.messages.living(query.tenant, now):
            tally.add("sessions")
            tally.add("messages", len(session.rows))
            tally.add("summaries", sum(bool(one.value) for one in session.summaries.values()))
            tally.use(users=[key.user_id], agents=[row.agent for row in session.rows.values()])
            expire("sessions", session.expires_at)
            for agent, rows in session.variables.items():
                for row in rows.values():
                    if alive(row, now):
                        tally.add("variables")
                        tally.use(agents=[agent])
                        expire("variables", row.expires_at, session.expires_at)
        nested = set()
        for item in backend.items.living(query.tenant, now):
            root, label = (*item.row.namespace, "")[:2]
            kind = SHARED if root == query.shared_root else OTHER
            if root.startswith(query.user_root):
                kind = label if label in query.kinds else OTHER
                tally.use(users=[root.removeprefix(query.user_root)])
                if label == query.alias[0] and query.alias[1] in json.loads(item.row.value):
                    kind = ALIASES
                if label == query.nested[0]:
                    kind = ""
                    tally.items[""] -= 1
                    nested |= {(root, name) for name in json.loads(item.row.value)[query.nested[1]]}
            tally.items[kind] += 1
            expire("items", item.expires_at)
        tally.items[query.nested[0]] += len(nested)
        for thread in backend.checkpoints.living(query.tenant, now):
            tally.add("threads")
            tally.add("checkpoints", len(thread.checkpoints))
            tally.add("pending_writes", sum(map(len, thread.writes.values())))
            tally.use(users=thread.users)
            expire("threads", thread.expires_at)
        for row in backend.variables.living(query.tenant, now):
            tally.add("variables")
            tally.use(users=[row.scope.user_id], agents=[row.scope.agent])
            expire("variables", row.expires_at)
        for row in backend.cache.living(query.tenant, now):
            tally.add("cache_entries")
            expire("cache_entries", row.expires_at)
        for row in backend.records.living(query.tenant, now):
            tally.add("records")
            tally.use(users=[row.user_id], agents=[row.agent])
        return tally.result()
