"""Whole rows, as export reads them and import restores them."""

from __future__ import annotations

from typing import Any

from dict_backend.checkpoints import Thread
from dict_backend.items import StoredItem
from dict_backend.messages import Session
from dict_backend.programs import alive, program
from dict_backend.variables import swap_head
from langchain_agentmem.backends.contract import (
    Backend,
    ItemState,
    SessionState,
    StoredCheckpoint,
    StoredElement,
    ThreadState,
    ThreadWrite,
    VariableScope,
    session_of,
)
from langchain_agentmem.text.words import pack_words


class Transfer:
    def __init__(self, backend: Backend) -> None:
        self._messages, self._items = backend.messages, backend.items
        self._checkpoints, self._records, self._variables = backend.checkpoints, backend.records, backend.variables

    @program
    def sessions(self, keys, now):
        return [self._session(key, self._messages.alive(key, now), now) for key in keys]

    @staticmethod
    def _session(key: Any, session: Session | None, now: float) -> SessionState | None:
        if session is None:
            return None
        summaries = {agent: summary for agent, summary in session.summaries.items() if summary.value}
        rows = [row for own in session.variables.values() for row in own.values() if alive(row, now)]
        variables = sorted(rows, key=lambda row: (row.scope.agent or "", row.name))
        times = (session.created_at, session.updated_at, session.expires_at)
        title = (session.title, session.title_position, session.next_position)
        return SessionState(key, *title, *times, session.metadata, summaries, variables, session.head)

    @program
    def messages(self, key, after, limit, now, *, complete=True):
        session = self._messages.alive(key, now)
        rows = sorted(session.rows.values(), key=lambda row: row.position) if session else []
        return [row for row in rows if row.position > after][:limit]

    @program
    def restore_sessions(self, states, now):
        return [self._restore_session(state, now) for state in states]

    def _restore_session(self, state, now):
        if self._messages.alive(state.key, now):
            return False
        session = Session(state.created_at, state.updated_at, state.expires_at, state.title, state.title_position)
        session.next_position, session.metadata = state.next_position, state.metadata
        session.summaries, session.head = dict(state.summaries), state.head
        for row in state.variables:
            session.variables.setdefault(row.scope.agent, {})[row.name] = row
        self._messages._sessions[state.key] = session
        return True

    @program
    def restore_messages(self, rows, now):
        return sum(self._restore_messages(key, own, now) for key, own in rows.items())

    def _restore_messages(self, key, rows, now):
        session = self._messages.alive(key, now)
        new = [row for row in rows if session and row.position not in session.rows]
        if session:
            every = {**session.rows, **{row.position: row for row in new}}
            session.rows = dict(sorted(every.items()))
            session.next_position = max(session.next_position, *(row.position + 1 for row in rows))
        return len(new)

    @program
    def restore_records(self, tenant, rows, now):
        known = {row.id for row in self._records._all(tenant, None)}
        added = 0
        for row in rows:
            key = session_of(tenant, row)
            session = None if key is None else self._messages.alive(key, now)
            if row.id not in known and (key is None or session):
                own = session.records if session else self._records._own.setdefault(tenant, [])
                own.append(row)
                added += 1
        return added

    @program
    def variables(self, tenant, user_id, now):
        rows = [row for row in self._variables.living(tenant, now) if row.scope.user_id == user_id]
        return sorted(rows, key=lambda row: (row.scope.agent or "", row.name))

    @program
    def restore_variables(self, tenant, rows, now, head=None):
        added = 0
        if head is not None:
            swap_head(rows[0].scope, self._variables._of(rows[0].scope, now)[0], head, now)
        for row in rows:
            own = self._variables._scopes.setdefault(VariableScope(*row.scope), {})
            if not alive(own.get(row.name), now):
                own[row.name] = row
                added += 1
        return added

    @program
    def item_keys(self, tenant, root, after, limit, now):
        keys = sorted((item.row.namespace, item.row.key) for item in self._items._below(tenant, (root,), now))
        start = after or 0
        return keys[start : start + limit], start + limit if start + limit < len(keys) else None

    @program
    def items(self, tenant, keys, now):
        found = [self._items._get(tenant, *key, now) for key in keys]
        return [
            item and ItemState(item.row._replace(paths=item.paths), item.expires_at, vectors=sorted(item.vectors))
            for item in found
        ]

    @program
    def restore_items(self, tenant, items, now, replaced=()):
        added = 0
        for namespace, key in replaced:
            self._items._items.pop((tenant, namespace, key), None)
        for row, expires_at, text, vectors in items:
            if self._items._get(tenant, row.namespace, row.key, now) is None:
                self._items._numbers += 1
                number = self._items._numbers
                words = None if text is None else pack_words(text.split())
                own = row._replace(revision=number, paths=None)
                stored = StoredItem(own, words, list(vectors), row.paths, expires_at, number)
                self._items._items[tenant, row.namespace, row.key] = stored
                added += 1
        return added

    @program
    def thread_ids(self, tenant, after, limit, now):
        ids = sorted(key.thread_id for key in self._checkpoints._threads if key.tenant == tenant)
        start = after or 0
        return ids[start : start + limit], start + limit if start + limit < len(ids) else None

    @program
    def threads(self, tenant, thread_ids, now):
        keys = [key for key in self._checkpoints._threads if key.tenant == tenant]
        by_id = {key.thread_id: (key, self._checkpoints._alive(key, now)) for key in keys}
        found = [by_id.get(thread_id, (None, None)) for thread_id in thread_ids]
        return [
            thread
            and ThreadState(
                key,
                thread.user_id,
                thread.users,
                thread.created_at,
                thread.updated_at,
                thread.ttl,
                thread.expires_at,
                thread.secret,
            )
            for key, thread in found
        ]

    @program
    def elements(self, thread, after, limit):
        rows = self._checkpoints._threads[thread].elements
        return [StoredElement(key, rows[key]) for key in sorted(rows)], None

    @program
    def values(self, thread, after, limit):
        rows = self._checkpoints._threads[thread].values
        return [rows[key] for key in sorted(rows)], None

    @program
    def checkpoints(self, thread, after, limit, codec):
        found = self._checkpoints._threads[thread]
        return [
            StoredCheckpoint(self._checkpoints._row(thread.thread_id, found, key, codec), *found.checkpoints[key][1:3])
            for key in sorted(found.checkpoints)
        ], None

    @program
    def writes(self, thread, after, limit):
        rows = self._checkpoints._threads[thread].writes
        return [ThreadWrite(key, rows[key][own]) for key in sorted(rows) for own in sorted(rows[key])], None

    @program
    def restore_threads(self, states, now):
        return [self._restore_thread(state, now) for state in states]

    def _restore_thread(self, state, now):
        if self._checkpoints._alive(state.key, now):
            return False
        times = (state.created_at, state.updated_at, state.expires_at, state.ttl)
        self._checkpoints._threads[state.key] = Thread(*times, state.secret, state.user_id, dict(state.users))
        return True

    @program
    def restore_rows(self, rows, codec):
        for thread, own in rows.items():
            self._restore_rows(self._checkpoints._threads[thread], own, codec)

    def _restore_rows(self, found, rows, codec):
        for element in rows.elements:
            found.elements.setdefault(*element)
        for value in rows.values:
            found.values.setdefault(value.key, value)
        for row, run_id, created_at in rows.checkpoints:
            document = codec.dump_document(row._asdict() | {"thread_id": "", "key": None})
            found.checkpoints.setdefault(row.key, (row.parent_id, run_id, created_at, document))
        for key, write in rows.writes:
            found.writes.setdefault(key, {}).setdefault((write.task_id, write.write_index), write)
