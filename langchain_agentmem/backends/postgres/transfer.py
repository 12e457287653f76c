"""Whole rows in Postgres, as export reads them and import restores them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_agentmem.backends.contract import (
    CheckpointKey,
    CheckpointPut,
    ItemKey,
    ItemState,
    MessageRow,
    Page,
    RecordRow,
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
from langchain_agentmem.backends.postgres.checkpoints import (
    COMPACT,
    added_values,
    checkpoint_row,
    compact_columns,
    read_write_type,
    thread_name,
    write_type,
)
from langchain_agentmem.backends.postgres.history import (
    column_of,
    message_row,
    owner_digest,
    read_title,
    session_digest,
)
from langchain_agentmem.backends.postgres.statements import Floats, floats_in, statements
from langchain_agentmem.backends.postgres.store import (
    PostgresItems,
    columns_of,
    encoded_prefix,
    item_row,
    text_vectors,
    wrapped,
)
from langchain_agentmem.backends.postgres.variables import scope_digest
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.layout import StoredValue, ValueKey
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.programs import All, Execute, ExecuteMany, Fetch, Program, one_statement, storage_program


class PostgresTransfer:
    """Implements `langchain_agentmem.backends.contract.TransferTable`."""

    def __init__(self, schema: str | None, items: PostgresItems) -> None:
        self._sql = statements("transfer.sql", schema)
        self._items = items

    # Sessions

    @storage_program
    def sessions(self, keys: Sequence[SessionKey], now: float) -> Program[list[SessionState | None]]:
        places = [session_digest(key) for key in keys]
        parameters = {"places": places, "now": now}
        rows, summaries, variables = yield from All(
            [Fetch(self._sql[name], parameters) for name in ("sessions", "summaries", "variables_of_sessions")]
        )
        by_place = {bytes(place): columns for place, *columns in rows}
        found: list[SessionState | None] = []
        for key, place in zip(keys, places, strict=True):
            columns = by_place.get(place)
            if columns is None:
                found.append(None)
                continue
            title, *rest = columns
            told = {agent: StoredSummary(*one) for own, agent, *one in summaries if bytes(own) == place}
            set_ = [
                VariableRow(VariableScope(*key, agent or None), *one)
                for own, agent, *one in variables
                if bytes(own) == place
            ]
            found.append(SessionState._make((key, read_title(key.session_id, title), *rest, told, set_)))
        return found

    @one_statement
    def messages(
        self,
        key: SessionKey,
        after: int,
        limit: int,
        now: float,
        *,
        complete: bool = True,  # noqa: ARG002 (only a backend that encrypts knows what is missing)
    ) -> Program[list[MessageRow]]:
        parameters = {"place": session_digest(key), "now": now, "after": after, "limit": limit}
        rows = yield from Fetch(self._sql["messages"], parameters)
        return [message_row(row)._replace(vector=vector) for vector, *row in rows]

    @storage_program
    def restore_session(self, state: SessionState, now: float) -> Program[bool]:
        key, place, owner = state.key, session_digest(state.key), owner_digest(state.key.tenant, state.key.user_id)
        yield from Fetch(self._sql["delete_expired_session"], {"place": place, "now": now})
        columns = (
            *(place, owner, key.tenant, key.user_id or "", key.session_id),
            *(None if state.title is None else state.title.encode(), state.title_position, state.next_position),
            *(state.created_at, state.updated_at, state.expires_at, state.metadata),
        )
        for (session,) in (yield from Fetch(self._sql["add_session"], columns)):
            if state.summaries:
                told = list(state.summaries.values())
                texts = ([one.value for one in told], [one.covers for one in told])
                yield from Execute(self._sql["add_summaries"], (session, list(state.summaries), *texts))
            yield from self._add_variables(state.variables, session, now)
            return True
        return False

    @one_statement
    def restore_messages(self, key: SessionKey, rows: Sequence[MessageRow], now: float) -> Program[int]:
        parameters = {
            "place": session_digest(key),
            "now": now,
            "next": max((row.position + 1 for row in rows), default=0),
            "positions": [row.position for row in rows],
            "roles": [row.role for row in rows],
            "agents": column_of([row.agent for row in rows]),
            "ends": [row.ends_with_session for row in rows],
            "times": [row.created_at for row in rows],
            "metadata": column_of([row.metadata for row in rows]),
            "types": [row.body.type for row in rows],
            "bodies": [row.body.data for row in rows],
            "words": column_of([row.words for row in rows]),
            "vectors": column_of([row.vector for row in rows]),
            "digests": column_of([row.id_digest for row in rows]),
        }
        found = yield from Fetch(self._sql["add_messages"], parameters)
        return int(found[0][0]) if found else 0

    @one_statement
    def restore_records(self, tenant: str, rows: Sequence[RecordRow], now: float) -> Program[int]:
        keys = [session_of(tenant, row) for row in rows]
        parameters = {
            "tenant": tenant,
            "ids": [row.id for row in rows],
            "owners": [owner_digest(tenant, row.user_id) for row in rows],
            "users": [row.user_id or "" for row in rows],
            "places": [None if key is None else session_digest(key) for key in keys],
            "agents": [row.agent for row in rows],
            "statuses": [row.status for row in rows],
            "starts": [row.started_at for row in rows],
            "durations": [row.duration for row in rows],
            "created": [row.created_at for row in rows],
            "records": [row.record for row in rows],
            "ends": [row.ends_with_session for row in rows],
            "now": now,
        }
        return (yield from Execute(self._sql["add_records"], parameters))

    # Variables outside of sessions

    @one_statement
    def variables(self, tenant: str, user_id: str | None, now: float) -> Program[list[VariableRow]]:
        parameters = {"owner": owner_digest(tenant, user_id), "tenant": tenant, "now": now}
        rows = yield from Fetch(self._sql["variables"], parameters)
        return [VariableRow(VariableScope(tenant, user_id, None, agent or None), *rest) for agent, *rest in rows]

    @storage_program
    def restore_variables(self, tenant: str, rows: Sequence[VariableRow], now: float) -> Program[int]:  # noqa: ARG002
        added = 0
        for user_id in dict.fromkeys(row.scope.user_id for row in rows):
            own = [row for row in rows if row.scope.user_id == user_id]
            added += yield from self._add_variables(own, None, now)
        return added

    def _add_variables(self, rows: Sequence[VariableRow], session: int | None, now: float) -> Program[int]:
        """Add variables of one user."""
        if not rows:
            return 0
        scope = rows[0].scope
        parameters = (
            *(owner_digest(scope.tenant, scope.user_id), scope.tenant, scope.user_id or "", session),
            [scope_digest(row.scope) for row in rows],
            [row.name for row in rows],
            [row.scope.agent or "" for row in rows],
            [row.value for row in rows],
            [row.created_at for row in rows],
            [row.updated_at for row in rows],
            [row.expires_at for row in rows],
            now,
        )
        return (yield from Execute(self._sql["add_variables"], parameters))

    # Items

    @storage_program
    def item_keys(self, tenant: str, root: str, after: Any, limit: int, now: float) -> Program[Page[ItemKey]]:
        namespaces, key = after or ((yield from self._items.namespaces(tenant, (root,), now)), "")
        found: list[ItemKey] = []
        while namespaces:
            prefix = encoded_prefix(tenant, namespaces[0])
            parameters = {"prefix": prefix, "key": key, "limit": limit - len(found), "now": now}
            keys = [one for (one,) in (yield from Fetch(self._sql["item_keys"], parameters))]
            found += [(namespaces[0], one) for one in keys]
            if len(found) == limit:
                return found, (namespaces, keys[-1])
            namespaces, key = namespaces[1:], ""
        return found, None

    @storage_program
    def items(self, tenant: str, keys: Sequence[ItemKey], now: float) -> Program[list[ItemState | None]]:
        if not keys:
            return []
        prefixed = [(encoded_prefix(tenant, namespace), key) for namespace, key in keys]
        rows = yield from Fetch(self._sql["items"], (*columns_of(prefixed), now))
        found = {(row[1], row[2]): (item_row(row[1:]), row[0]) for row in rows}
        vectors: dict[tuple[str, str], list[bytes]] = {}
        if (yield from self._items.has_vectors()):
            for prefix, key, vector in (yield from Fetch(self._sql["vectors"], columns_of(prefixed))):
                vectors.setdefault((prefix, key), []).append(floats_in(vector))
        return [
            None if one not in found else ItemState(*found[one], vectors=sorted(vectors.get(one, ())))
            for one in prefixed
        ]

    @storage_program
    def restore_items(
        self, tenant: str, items: Sequence[ItemState], now: float, replaced: Sequence[ItemKey] = ()
    ) -> Program[int]:
        rows = {(encoded_prefix(tenant, item.row.namespace), item.row.key): item for item in items}
        yield from self._items.ensure_vectors([vector for item in items for vector in item.vectors])
        yield from self._items.delete(tenant, replaced)
        yield from Fetch(self._sql["write"], ("on",))
        columns = (
            *columns_of(list(rows)),
            [wrapped(item.row.value) for item in items],
            [item.row.created_at for item in items],
            [item.row.updated_at for item in items],
            [item.expires_at for item in items],
            [item.row.ttl for item in items],
        )
        added = [(prefix, key) for prefix, key in (yield from Fetch(self._sql["add_items"], (*columns, now)))]
        if added:
            own, new = columns_of(added), [rows[one] for one in added]
            yield from Execute(self._sql["delete_ttls"], own)
            yield from Execute(self._sql["add_ttls"], (*own, [item.row.ttl for item in new]))
            yield from Fetch(self._sql["note_paths"], (*own, [item.row.paths for item in new]))
            texts = [
                (at, part)
                for at, item in enumerate(new, 1)
                if item.text is not None
                for part in text_vectors(item.text)
            ]
            yield from Fetch(self._sql["add_texts"], (*own, [at for at, _ in texts], [text for _, text in texts]))
            if (yield from self._items.has_vectors()):
                yield from Execute(self._sql["delete_vectors"], own)
                vectors = [
                    (*place, str(field), Floats(vector))
                    for place, item in zip(added, new, strict=True)
                    for field, vector in enumerate(item.vectors)
                ]
                yield from ExecuteMany(self._sql["add_vector"], vectors)
        yield from Fetch(self._sql["write"], ("",))
        return len(added)

    # Threads

    @one_statement
    def thread_ids(self, tenant: str, after: Any, limit: int, now: float) -> Program[Page[str]]:
        parameters = {"tenant": tenant, "after": after or "", "limit": limit, "now": now}
        ids = [thread_id for (thread_id,) in (yield from Fetch(self._sql["thread_ids"], parameters))]
        return ids, ids[-1] if len(ids) == limit else None

    @one_statement
    def threads(self, tenant: str, thread_ids: Sequence[str], now: float) -> Program[list[ThreadState | None]]:
        names = {thread_name(ThreadKey(tenant, thread_id)): thread_id for thread_id in thread_ids}
        rows = yield from Fetch(self._sql["threads"], {"names": list(names), "now": now})
        found: dict[str, ThreadState] = {}
        for name, user_id, known, *times, type_, secret in rows:
            users: dict[str, float] = known or {}
            last = user_id or max(users, key=lambda user: (users[user], user), default=None)
            typed = None if secret is None else Typed(type_, secret)
            found[names[name]] = ThreadState._make((ThreadKey(tenant, names[name]), last, users, *times, typed))
        return [found.get(thread_id) for thread_id in thread_ids]

    @one_statement
    def elements(self, thread: ThreadKey, after: Any, limit: int) -> Program[Page[StoredElement]]:
        rows = yield from Fetch(self._sql["elements"], (thread_name(thread), after or b"", limit))
        found = [StoredElement(bytes(reference), Typed(type_, data)) for reference, type_, data in rows]
        return found, found[-1].reference if len(found) == limit else None

    @one_statement
    def values(self, thread: ThreadKey, after: Any, limit: int) -> Program[Page[StoredValue]]:
        namespace, channel, version = after or ("", "", "")
        bounds = {"namespace": namespace, "channel": channel, "version": version}
        rows = yield from Fetch(self._sql["values"], {"name": thread_name(thread), **bounds, "limit": limit})
        found = []
        for row in rows:
            kind, type_, data, number, *base, head, tail, digest = row[3:]
            based_on = None if base[2] is None else ValueKey(*base)
            found.append(StoredValue(ValueKey(*row[:3]), kind, type_, data, number, based_on, head, tail, digest))
        return found, found[-1].key if len(found) == limit else None

    @one_statement
    def checkpoints(self, thread: ThreadKey, after: Any, limit: int, codec: Codec) -> Program[Page[StoredCheckpoint]]:
        rows = yield from Fetch(self._sql["checkpoints"], (thread_name(thread), *(after or ("", "")), limit))
        found = [
            StoredCheckpoint(checkpoint_row(thread.thread_id, row, codec), run_id, created_at)
            for run_id, created_at, *row in rows
        ]
        return found, found[-1].row.key if len(found) == limit else None

    @one_statement
    def writes(self, thread: ThreadKey, after: Any, limit: int) -> Program[Page[ThreadWrite]]:
        rows = yield from Fetch(self._sql["writes"], (thread_name(thread), *(after or ("", "", "", 0)), limit))
        found = [
            ThreadWrite(CheckpointKey(*row[:2]), StoredWrite._make((*row[2:6], *read_write_type(row[6]), row[7])))
            for row in rows
        ]
        return found, tuple(rows[-1][:4]) if len(rows) == limit else None

    @storage_program
    def restore_thread(self, state: ThreadState, now: float) -> Program[bool]:
        name = thread_name(state.key)
        yield from Fetch(self._sql["delete_expired_thread"], (name, now))
        type_, secret = state.secret or (None, None)
        columns = {
            "name": name,
            **state.key._asdict(),
            "user_id": state.user_id or "",
            "created_at": state.created_at,
            "updated_at": state.updated_at,
            "ttl": state.ttl,
            "expires_at": state.expires_at,
            "secret_type": type_,
            "secret": secret,
        }
        for (thread,) in (yield from Fetch(self._sql["add_thread"], columns)):
            users = (list(state.users), list(state.users.values()))
            yield from Execute(self._sql["add_users"], (thread, *users))
            return True
        return False

    @storage_program
    def restore_rows(self, thread: ThreadKey, rows: ThreadRows, codec: Codec) -> Program[None]:
        name = thread_name(thread)
        for (number,) in (yield from Fetch(self._sql["thread_number"], (name,))):
            if rows.values or rows.elements:
                described, data, *elements = added_values(rows.values, dict(rows.elements))
                yield from Execute(self._sql["add_values"], (number, data, described, number, *elements))
            checkpoints = []
            for row, run_id, created_at in rows.checkpoints:
                document = compact_columns(CheckpointPut(row, run_id, (), {}), codec, created_at)
                checkpoints.append((name, *row.key, row.parent_id, COMPACT, *document))
            yield from ExecuteMany(self._sql["add_checkpoint"], checkpoints)
            yield from ExecuteMany(
                self._sql["add_write"],
                [
                    (
                        *(name, *key, write.task_id, write.write_index, write.task_path, write.channel),
                        *(write_type(write), write.data),
                    )
                    for key, write in rows.writes
                ],
            )
