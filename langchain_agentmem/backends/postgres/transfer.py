"""Whole rows in Postgres, as export reads them and import restores them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_agentmem.backends.contract import (
    CheckpointKey,
    CheckpointPut,
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
from langchain_agentmem.backends.postgres.checkpoints import (
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
from langchain_agentmem.backends.postgres.prefixes import encoded_prefix
from langchain_agentmem.backends.postgres.statements import Floats, floats_in, statements
from langchain_agentmem.backends.postgres.store import (
    PostgresItems,
    columns_of,
    item_row,
    text_vectors,
    wrapped,
)
from langchain_agentmem.backends.postgres.variables import PostgresVariables, scope_digest
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.layout import StoredValue, ValueKey
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.programs import All, Execute, ExecuteMany, Fetch, Program, one_statement, storage_program


class PostgresTransfer:
    """Implements `langchain_agentmem.backends.contract.TransferTable`."""

    def __init__(self, schema: str | None, items: PostgresItems) -> None:
        self._sql = statements("transfer.sql", schema)
        self._items = items
        self._variables = PostgresVariables(schema)

    # Sessions

    @storage_program
    def sessions(self, keys: Sequence[SessionKey], now: float) -> Program[list[SessionState | None]]:
        places = [session_digest(key) for key in keys]
        parameters = {"places": places, "now": now}
        rows, summaries, variables = yield from All(
            [Fetch(self._sql[name], parameters) for name in ("sessions", "summaries", "variables_of_sessions")]
        )
        by_place = {bytes(place): columns for place, *columns in rows}
        told: dict[bytes, dict[str, StoredSummary]] = {}
        for place, agent, *one in summaries:
            told.setdefault(bytes(place), {})[agent] = StoredSummary(*one)
        set_: dict[bytes, list[Sequence[Any]]] = {}
        for place, *one in variables:
            set_.setdefault(bytes(place), []).append(one)
        found: list[SessionState | None] = []
        for key, place in zip(keys, places, strict=True):
            columns = by_place.get(place)
            if columns is None:
                found.append(None)
                continue
            title, *rest, head = columns
            own = [VariableRow(VariableScope(*key, agent or None), *one) for agent, *one in set_.get(place, ())]
            named = (key, read_title(key.session_id, title), *rest)
            found.append(SessionState._make((*named, told.get(place, {}), own, head)))
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
    def restore_sessions(self, states: Sequence[SessionState], now: float) -> Program[list[bool]]:
        places = [session_digest(state.key) for state in states]
        columns = {
            "places": places,
            "owners": [owner_digest(state.key.tenant, state.key.user_id) for state in states],
            "tenant": states[0].key.tenant if states else "",
            "users": [state.key.user_id or "" for state in states],
            "ids": [state.key.session_id for state in states],
            "titles": column_of([None if state.title is None else state.title.encode() for state in states]),
            "title_positions": column_of([state.title_position for state in states]),
            "following": [state.next_position for state in states],
            "created": [state.created_at for state in states],
            "updated": [state.updated_at for state in states],
            "expires": column_of([state.expires_at for state in states]),
            "metadata": column_of([state.metadata for state in states]),
            "heads": column_of([state.head for state in states]),
            "now": now,
        }
        added: list[Any]
        _, added = yield from All([Fetch(self._sql[name], columns) for name in ("delete_expired", "add_sessions")])
        numbers = {bytes(place): number for place, number in added}
        new = [(numbers[place], state) for place, state in zip(places, states, strict=True) if place in numbers]
        told = [(session, agent, *one) for session, state in new for agent, one in state.summaries.items()]
        if told:
            sessions, agents, values, _, covers = zip(*told, strict=True)
            texts = (list(agents), list(values), column_of(list(covers)))
            yield from Execute(self._sql["add_summaries"], (list(sessions), *texts))
        yield from self._add_variables([(session, row) for session, state in new for row in state.variables], now)
        return [place in numbers for place in places]

    @one_statement
    def restore_messages(self, rows: Mapping[SessionKey, Sequence[MessageRow]], now: float) -> Program[int]:
        added = [(session_digest(key), row) for key, own in rows.items() for row in own]
        following: dict[bytes, int] = {}
        for place, row in added:
            following[place] = max(following.get(place, 0), row.position + 1)
        parameters = {
            "wanted": list(following),
            "following": list(following.values()),
            "now": now,
            "places": [place for place, _ in added],
            "positions": [row.position for _, row in added],
            "roles": [row.role for _, row in added],
            "agents": column_of([row.agent for _, row in added]),
            "ends": [row.ends_with_session for _, row in added],
            "times": [row.created_at for _, row in added],
            "metadata": column_of([row.metadata for _, row in added]),
            "types": [row.body.type for _, row in added],
            "bodies": [row.body.data for _, row in added],
            "words": column_of([row.words for _, row in added]),
            "vectors": column_of([row.vector for _, row in added]),
            "digests": column_of([row.id_digest for _, row in added]),
        }
        return sum(number for (number,) in (yield from Fetch(self._sql["add_messages"], parameters)))

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
    def restore_variables(
        self,
        tenant: str,  # noqa: ARG002
        rows: Sequence[VariableRow],
        now: float,
        head: ScopeHead | None = None,
    ) -> Program[int]:
        if head is not None:
            yield from self._variables.set(rows[0].scope, (), now, head=head)
        return (yield from self._add_variables([(None, row) for row in rows], now))

    def _add_variables(self, rows: Sequence[tuple[int | None, VariableRow]], now: float) -> Program[int]:
        """Add variables of one tenant, each with the ID of its session."""
        if not rows:
            return 0
        scopes = [row.scope for _, row in rows]
        parameters = (
            scopes[0].tenant,
            [scope_digest(scope) for scope in scopes],
            [row.name for _, row in rows],
            [owner_digest(scope.tenant, scope.user_id) for scope in scopes],
            [scope.user_id or "" for scope in scopes],
            column_of([session for session, _ in rows]),
            [scope.agent or "" for scope in scopes],
            [row.value for _, row in rows],
            [row.created_at for _, row in rows],
            [row.updated_at for _, row in rows],
            column_of([row.expires_at for _, row in rows]),
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
    def restore_threads(self, states: Sequence[ThreadState], now: float) -> Program[list[bool]]:
        names = [thread_name(state.key) for state in states]
        secrets = [state.secret or (None, None) for state in states]
        columns = {
            "names": names,
            "tenant": states[0].key.tenant if states else "",
            "ids": [state.key.thread_id for state in states],
            "users": [state.user_id or "" for state in states],
            "created": [state.created_at for state in states],
            "updated": [state.updated_at for state in states],
            "ttls": column_of([state.ttl for state in states]),
            "expires": column_of([state.expires_at for state in states]),
            "types": column_of([type_ for type_, _ in secrets]),
            "secrets": column_of([secret for _, secret in secrets]),
            "now": now,
        }
        steps = [Fetch(self._sql[name], columns) for name in ("delete_expired_threads", "add_threads")]
        added: list[Any]
        _, added = yield from All(steps)
        numbers: dict[str, int] = dict(added)
        users = [
            (numbers[name], *one)
            for name, state in zip(names, states, strict=True)
            if name in numbers
            for one in state.users.items()
        ]
        if users:
            yield from Execute(self._sql["add_users"], _columns(users))
        return [name in numbers for name in names]

    @storage_program
    def restore_rows(self, rows: Mapping[ThreadKey, ThreadRows], codec: Codec) -> Program[None]:
        named = {thread_name(thread): own for thread, own in rows.items()}
        numbers: dict[str, int] = dict((yield from Fetch(self._sql["thread_numbers"], (list(named),))))
        values, elements, checkpoints, writes = [], [], [], []
        for name, number in numbers.items():
            own = named[name]
            values += [
                (
                    *(number, *one.key, one.kind, one.type, one.data, one.number, *(one.base or (None,) * 3)),
                    *(one.head, one.tail, one.digest),
                )
                for one in own.values
            ]
            elements += [(number, reference, *typed) for reference, typed in own.elements]
            for row, run_id, created_at in own.checkpoints:
                document = compact_columns(CheckpointPut(row, run_id, (), {}), codec, created_at)
                checkpoints.append((name, *row.key, row.parent_id, *document))
            writes += [
                (
                    *(name, *key, write.task_id, write.write_index, write.task_path, write.channel),
                    *(write_type(write), write.data),
                )
                for key, write in own.writes
            ]
        added = {"add_values": values, "add_elements": elements, "add_checkpoints": checkpoints, "add_writes": writes}
        steps = [Execute(self._sql[name], _columns(columns)) for name, columns in added.items() if columns]
        if steps:
            yield from All(steps)


def _columns(rows: Sequence[Sequence[Any]]) -> list[list[Any] | None]:
    """Return the columns of rows."""
    return [column_of(list(column)) for column in zip(*rows, strict=True)]
