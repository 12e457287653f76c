"""Whole rows in SQLite, as export reads them and import restores them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_agentmem.backends.contract import (
    CheckpointKey,
    ItemKey,
    ItemState,
    MessageRow,
    Page,
    RecordRow,
    ScopeHead,
    SessionKey,
    SessionState,
    StoredCheckpoint,
    StoredElement,
    StoredSummary,
    StoredWrite,
    ThreadKey,
    ThreadRows,
    ThreadState,
    ThreadWrite,
    VariableRow,
    VariableScope,
    session_of,
)
from langchain_agentmem.backends.namespaces import decode_namespace, encode_namespace
from langchain_agentmem.backends.sqlite.checkpoints import SqliteCheckpoints, add_values, checkpoint_row, value_row
from langchain_agentmem.backends.sqlite.history import SqliteMessages, message_row, session_columns
from langchain_agentmem.backends.sqlite.records import add_record
from langchain_agentmem.backends.sqlite.store import SqliteItems, below, item_row
from langchain_agentmem.backends.sqlite.variables import SqliteVariables
from langchain_agentmem.backends.statements import load_statements
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.layout import StoredValue
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.programs import Execute, ExecuteMany, Fetch, Program

SQL = load_statements("langchain_agentmem.backends.sqlite", "transfer.sql")

_MESSAGES, _ITEMS, _CHECKPOINTS = SqliteMessages(), SqliteItems(), SqliteCheckpoints()

_NO_SESSION = 0


class SqliteTransfer:
    """See `langchain_agentmem.backends.contract.TransferTable`."""

    # Sessions

    def sessions(self, keys: Sequence[SessionKey], now: float) -> Program[list[SessionState | None]]:
        found: list[SessionState | None] = []
        for key in keys:
            state = None
            for session, *columns, head in (yield from Fetch(SQL["session"], _named(key, now))):
                summaries = yield from Fetch(SQL["summaries"], (session,))
                variables = yield from Fetch(SQL["variables_of_session"], {"session": session, "now": now})
                told = {agent: StoredSummary(*rest) for agent, *rest in summaries}
                set_ = [VariableRow(VariableScope(*key, agent or None), *rest) for agent, *rest in variables]
                state = SessionState._make((key, *columns, told, set_, head))
            found.append(state)
        return found

    def messages(
        self,
        key: SessionKey,
        after: int,
        limit: int,
        now: float,
        *,
        complete: bool = True,  # noqa: ARG002 (only a backend that encrypts knows what is missing)
    ) -> Program[list[MessageRow]]:
        rows = yield from Fetch(SQL["messages"], {**_named(key, now), "after": after, "limit": limit})
        return [message_row(tuple(row))._replace(vector=vector) for vector, *row in rows]

    def restore_sessions(self, states: Sequence[SessionState], now: float) -> Program[list[bool]]:
        restored = []
        for state in states:
            restored += [(yield from self._restore_session(state, now))]
        return restored

    def _restore_session(self, state: SessionState, now: float) -> Program[bool]:
        if not (yield from Fetch(SQL["session"], _named(state.key, now))):
            yield from _MESSAGES.delete(state.key)  # an expired one
        columns = (
            *session_columns(state.key),
            *(state.title, state.title_position, state.next_position),
            *(state.created_at, state.updated_at, state.expires_at, state.metadata, state.head),
        )
        for (session,) in (yield from Fetch(SQL["add_session"], columns)):
            summaries = [(session, agent, one.value, one.covers) for agent, one in state.summaries.items()]
            yield from ExecuteMany(SQL["add_summary"], summaries)
            yield from ExecuteMany(SQL["add_variable"], [_variable(row, session, now) for row in state.variables])
            return True
        return False

    def restore_messages(self, rows: Mapping[SessionKey, Sequence[MessageRow]], now: float) -> Program[int]:
        added = 0
        for key, own in rows.items():
            added += yield from self._restore_messages(key, own, now)
        return added

    def _restore_messages(self, key: SessionKey, rows: Sequence[MessageRow], now: float) -> Program[int]:
        for session, *_ in (yield from Fetch(SQL["session"], _named(key, now))):
            columns = [
                (
                    *(session, row.position, row.role, row.agent, row.ends_with_session, row.created_at, row.metadata),
                    *(*row.body, row.words, row.vector, row.id_digest),
                )
                for row in rows
            ]
            added: int = yield from ExecuteMany(SQL["add_message"], columns)
            following = max((row.position + 1 for row in rows), default=0)
            yield from Execute(SQL["count"], {"session": session, "added": added, "next": following})
            return added
        return 0

    def restore_records(self, tenant: str, rows: Sequence[RecordRow], now: float) -> Program[int]:
        added = 0
        for row in rows:
            key, session = session_of(tenant, row), None
            if key is not None:
                found = yield from Fetch(SQL["session"], _named(key, now))
                if not found:
                    continue
                session = found[0][0]
            added += yield from add_record(tenant, row, session)
        return added

    # Variables outside of sessions

    def variables(self, tenant: str, user_id: str | None, now: float) -> Program[list[VariableRow]]:
        rows = yield from Fetch(SQL["variables"], {"tenant": tenant, "user_id": user_id or "", "now": now})
        return [VariableRow(VariableScope(tenant, user_id, None, agent or None), *rest) for agent, *rest in rows]

    def restore_variables(
        self,
        tenant: str,  # noqa: ARG002
        rows: Sequence[VariableRow],
        now: float,
        head: ScopeHead | None = None,
    ) -> Program[int]:
        if head is not None:
            yield from SqliteVariables().set(rows[0].scope, (), now, head=head)
        return (yield from ExecuteMany(SQL["add_variable"], [_variable(row, _NO_SESSION, now) for row in rows]))

    # Items

    def item_keys(self, tenant: str, root: str, after: Any, limit: int, now: float) -> Program[Page[ItemKey]]:
        namespace, key = after or (b"", "")
        parameters = {**below(tenant, (root,), now), "namespace": namespace, "key": key, "limit": limit}
        rows = yield from Fetch(SQL["item_keys"], parameters)
        return [(decode_namespace(one), key) for one, key in rows], rows[-1] if len(rows) == limit else None

    def items(self, tenant: str, keys: Sequence[ItemKey], now: float) -> Program[list[ItemState | None]]:
        found: list[ItemState | None] = []
        for namespace, key in keys:
            state = None
            parameters = {"tenant": tenant, "namespace": encode_namespace(namespace), "key": key, "now": now}
            for expires_at, *row in (yield from Fetch(SQL["item"], parameters)):
                vectors = yield from Fetch(SQL["vectors"], (row[0],))
                state = ItemState(item_row(tuple(row)), expires_at, vectors=[vector for (vector,) in vectors])
            found.append(state)
        return found

    def restore_items(
        self, tenant: str, items: Sequence[ItemState], now: float, replaced: Sequence[ItemKey] = ()
    ) -> Program[int]:
        keys = [(item.row.namespace, item.row.key) for item in items]
        living = yield from _ITEMS.get(tenant, keys, now)
        expired = [key for key, row in zip(keys, living, strict=True) if row is None]
        yield from _ITEMS.delete(tenant, [*expired, *replaced])
        texts, vectors = [], []
        added = 0
        for row, expires_at, text, embedded in items:
            columns = (
                *(tenant, encode_namespace(row.namespace), row.key, row.value, row.created_at, row.updated_at),
                *(row.ttl, expires_at, secrets.randbits(61) << 1, row.paths),
            )
            for (item,) in (yield from Fetch(SQL["add_item"], columns)):
                added += 1
                texts += [] if text is None else [(item, text)]
                vectors += [(item, vector) for vector in embedded]
        yield from _ITEMS.index(texts, vectors)
        return added

    # Threads

    def thread_ids(self, tenant: str, after: Any, limit: int, now: float) -> Program[Page[str]]:
        parameters = {"tenant": tenant, "after": after or "", "limit": limit, "now": now}
        ids = [thread_id for (thread_id,) in (yield from Fetch(SQL["thread_ids"], parameters))]
        return ids, ids[-1] if len(ids) == limit else None

    def threads(self, tenant: str, thread_ids: Sequence[str], now: float) -> Program[list[ThreadState | None]]:
        found: list[ThreadState | None] = []
        for thread_id in thread_ids:
            state = None
            parameters = {"tenant": tenant, "thread_id": thread_id, "now": now}
            for thread, user_id, *times, type_, secret in (yield from Fetch(SQL["thread"], parameters)):
                users: dict[str, float] = dict((yield from Fetch(SQL["users"], (thread,))))
                known = None if secret is None else Typed(type_, secret)
                named = (ThreadKey(tenant, thread_id), user_id or None, users)
                state = ThreadState._make((*named, *times, known))
            found.append(state)
        return found

    def elements(self, thread: ThreadKey, after: Any, limit: int) -> Program[Page[StoredElement]]:
        rows = yield from Fetch(SQL["elements"], (*thread, after or b"", limit))
        found = [StoredElement(reference, Typed(type_, data)) for reference, type_, data in rows]
        return found, found[-1].reference if len(found) == limit else None

    def values(self, thread: ThreadKey, after: Any, limit: int) -> Program[Page[StoredValue]]:
        found = [value_row(row) for row in (yield from Fetch(SQL["values"], (*thread, *(after or ("",) * 3), limit)))]
        return found, found[-1].key if len(found) == limit else None

    def checkpoints(self, thread: ThreadKey, after: Any, limit: int, codec: Codec) -> Program[Page[StoredCheckpoint]]:
        rows = yield from Fetch(SQL["checkpoints"], (*thread, *(after or ("", "")), limit))
        found = [
            StoredCheckpoint(checkpoint_row(thread.thread_id, row, codec), run_id, created_at)
            for run_id, created_at, *row in rows
        ]
        return found, found[-1].row.key if len(found) == limit else None

    def writes(self, thread: ThreadKey, after: Any, limit: int) -> Program[Page[ThreadWrite]]:
        rows = yield from Fetch(SQL["writes"], (*thread, *(after or ("", "", "", 0)), limit))
        found = [ThreadWrite(CheckpointKey(*row[:2]), StoredWrite(*row[2:])) for row in rows]
        return found, tuple(rows[-1][:4]) if len(rows) == limit else None

    def restore_threads(self, states: Sequence[ThreadState], now: float) -> Program[list[bool]]:
        restored = []
        for state in states:
            restored += [(yield from self._restore_thread(state, now))]
        return restored

    def _restore_thread(self, state: ThreadState, now: float) -> Program[bool]:
        if not (yield from Fetch(SQL["thread"], {**state.key._asdict(), "now": now})):
            yield from _CHECKPOINTS.delete_thread(state.key)  # an expired one
        columns = (
            *(*state.key, state.user_id or "", state.created_at, state.updated_at, state.ttl, state.expires_at),
            *(state.secret or (None, None)),
        )
        for (thread,) in (yield from Fetch(SQL["add_thread"], columns)):
            yield from ExecuteMany(SQL["add_user"], [(thread, user, used) for user, used in state.users.items()])
            return True
        return False

    def restore_rows(self, rows: Mapping[ThreadKey, ThreadRows], codec: Codec) -> Program[None]:
        for thread, own in rows.items():
            yield from self._restore_rows(thread, own, codec)

    def _restore_rows(self, thread: ThreadKey, rows: ThreadRows, codec: Codec) -> Program[None]:
        for number, *_ in (yield from Fetch(SQL["thread"], {**thread._asdict(), "now": 0.0})):
            yield from add_values(number, rows.values, dict(rows.elements))
            checkpoints = []
            for row, run_id, created_at in rows.checkpoints:
                document = codec.dump_document(
                    {"checkpoint": row.checkpoint, "metadata": row.metadata, "inline": row.inline, "stored": row.stored}
                )
                checkpoints.append((number, *row.key, row.parent_id, run_id, created_at, *document))
            yield from ExecuteMany(SQL["add_checkpoint"], checkpoints)
            yield from ExecuteMany(SQL["add_write"], [(number, *one.checkpoint, *one.write) for one in rows.writes])


def _variable(row: VariableRow, session: int, now: float) -> tuple[Any, ...]:
    scope = row.scope
    return (scope.tenant, scope.user_id or "", session, scope.agent or "", *row[1:], now)


def _named(key: SessionKey, now: float) -> dict[str, Any]:
    return {"tenant": key.tenant, "user_id": key.user_id or "", "session_id": key.session_id, "now": now}
