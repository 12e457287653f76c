"""Whole rows in Redis, as export reads them and import restores them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langchain_agentmem.backends.contract import (
    CheckpointPut,
    HeadChangedError,
    ItemKey,
    ItemPut,
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
    ThreadKey,
    ThreadRows,
    ThreadState,
    ThreadUse,
    ThreadWrite,
    VariableRow,
    VariableScope,
    session_of,
)
from langchain_agentmem.backends.namespaces import encode_namespace
from langchain_agentmem.backends.redis import indexes
from langchain_agentmem.backends.redis.checkpoint_rows import (
    checkpoint_key,
    checkpoints_in,
    each_write,
    entries_in,
    field_of,
    pack,
    pack_checkpoint,
    pack_value,
    pack_write,
    reading,
    unpack,
    unpack_value,
)
from langchain_agentmem.backends.redis.checkpoints import KEYS, enlisted_thread, identity_of_thread, threads_index
from langchain_agentmem.backends.redis.item_rows import flat_keys, item_row, put_arguments
from langchain_agentmem.backends.redis.message_rows import message_rows, pack_entry, pack_message, vectors_in
from langchain_agentmem.backends.redis.records import restore_steps
from langchain_agentmem.backends.redis.scripts import Invoke, InvokeAll, framed, load_scripts, optional, slot
from langchain_agentmem.backends.redis.session_keys import (
    identity_of,
    listed,
    note_edit,
    session_keys,
    variable_schedule,
)
from langchain_agentmem.backends.redis.store import RedisItems, enlisted_root
from langchain_agentmem.backends.redis.variables import (
    HEAD_CHANGED,
    agents_index,
    all_of_hash,
    identity_of_scope,
    pack_variable,
    restore_variable_steps,
    variable_row,
)
from langchain_agentmem.backends.redis.vector_logs import VectorLogs
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.layout import StoredValue
from langchain_agentmem.programs import Program, storage_program

_SESSIONS = load_scripts("transfer_sessions.lua", "a session", "history.lua")
_ITEMS = load_scripts("transfer_items.lua", "the store's items", "store.lua")
_THREADS = load_scripts("transfer_threads.lua", "a thread", "checkpoints.lua")

_EXPIRY_OF_ITEM = struct.Struct(">d")
_CHECKPOINTS, _VALUES, _ELEMENTS, _WRITES = (
    1 + KEYS.index(one) for one in ("checkpoints", "values", "elements", "writes")
)
"""The numbers of keys of a thread, from 1."""

_WHOLE_LOG = 1_000_000
"""The maximum number of bytes of a log of vectors that each page reads as a whole."""

_RENAMED = "-"
"""In place of a position: the user set the title."""


class RedisTransfer:
    """Whole rows in Redis. See `langchain_agentmem.backends.contract.TransferTable`."""

    def __init__(self, items: RedisItems) -> None:
        self._items = items
        self._logs = VectorLogs(_ITEMS)

    # Sessions

    @storage_program
    def sessions(self, keys: Sequence[SessionKey], now: float) -> Program[list[SessionState | None]]:
        answers = yield from InvokeAll([_of_session("state", key, (optional(now),)) for key in keys])
        return [
            None if answer is None else _session(key, _pairs(answer[0]), _pairs(answer[1]), now)
            for key, answer in zip(keys, answers, strict=True)
        ]

    @storage_program
    def messages(
        self,
        key: SessionKey,
        after: int,
        limit: int,
        now: float,
        *,
        complete: bool = True,  # noqa: ARG002 (only a backend that encrypts knows what is missing)
    ) -> Program[list[MessageRow]]:
        records, *logs = yield from _of_session("messages", key, (optional(now), after, limit))
        vectors = vectors_in(logs)
        return [row._replace(vector=vectors.get(row.position)) for row in message_rows(records)]

    @storage_program
    def restore_sessions(self, states: Sequence[SessionState], now: float) -> Program[list[bool]]:
        answers = yield from _last_answers([_restored_session(state, now) for state in states])
        return [bool(restored) for restored in answers]

    @storage_program
    def restore_messages(self, rows: Mapping[SessionKey, Sequence[MessageRow]], now: float) -> Program[int]:
        answers = yield from _last_answers([_restored_messages(key, own, now) for key, own in rows.items()])
        return sum(map(int, answers))

    @storage_program
    def restore_records(self, tenant: str, rows: Sequence[RecordRow], now: float) -> Program[int]:
        keys = {key for row in rows if (key := session_of(tenant, row)) is not None}
        exist = yield from self.sessions(list(keys), now)
        missing = {key for key, state in zip(keys, exist, strict=True) if state is None}
        wanted = [row for row in rows if session_of(tenant, row) not in missing]
        steps: list[Invoke] = []
        for row in wanted:
            key = session_of(tenant, row)
            listing, member = restore_steps(tenant, row)
            steps += listing
            if key is not None:
                steps.append(_of_session("restore_record", key, (optional(now), row.id, member)))
        yield from InvokeAll(steps)
        return len(wanted)

    # Variables outside of sessions

    @storage_program
    def variables(self, tenant: str, user_id: str | None, now: float) -> Program[list[VariableRow]]:
        scopes = [VariableScope(tenant, user_id)]
        if user_id is None:
            agents = yield from indexes.members(agents_index(tenant))
            scopes += [VariableScope(tenant, None, None, agent.decode()) for agent in agents]
        rows: list[VariableRow] = []
        for scope in scopes:
            rows += yield from all_of_hash(scope, now)
        return sorted(rows, key=lambda row: (row.scope.agent or "", row.name))

    @storage_program
    def restore_variables(
        self,
        tenant: str,  # noqa: ARG002
        rows: Sequence[VariableRow],
        now: float,
        head: ScopeHead | None = None,
    ) -> Program[int]:
        scopes: dict[VariableScope, list[VariableRow]] = {}
        for row in rows:
            scopes.setdefault(row.scope, []).append(row)
        answers = yield from _last_answers(
            [restore_variable_steps(scope, own, now, head) for scope, own in scopes.items()]
        )
        if HEAD_CHANGED in answers:
            raise HeadChangedError
        return sum(map(int, answers))

    # Items

    @storage_program
    def item_keys(self, tenant: str, root: str, after: Any, limit: int, now: float) -> Program[Page[ItemKey]]:
        namespaces, keys = after or ((yield from self._items.namespaces(tenant, (root,), now)), None)
        found: list[ItemKey] = []
        while namespaces and len(found) < limit:
            if keys is None:
                arguments = (encode_namespace(namespaces[0]),)
                keys = sorted(one.decode() for one in (yield from _of_root("keys", tenant, root, arguments)))
            room = limit - len(found)
            found += [(namespaces[0], key) for key in keys[:room]]
            keys = keys[room:]
            if not keys:
                namespaces, keys = namespaces[1:], None
        return found, (namespaces, keys) if namespaces else None

    @storage_program
    def items(self, tenant: str, keys: Sequence[ItemKey], now: float) -> Program[list[ItemState | None]]:
        if not keys:
            return []
        root = keys[0][0][0]
        arguments = (optional(now), _WHOLE_LOG, *flat_keys(keys))
        flat = yield from _of_root("states", tenant, root, arguments)
        rows = [flat[at : at + 5] for at in range(0, len(flat), 5)]
        large: dict[tuple[bytes | str, int], list[bytes]] = {}
        for (namespace, _), (_, _, width, stamp, vectors) in zip(keys, rows, strict=True):
            if vectors is None:
                large.setdefault((encode_namespace(namespace), width), []).append(stamp)
        read = {}
        for (encoded, width), stamps in large.items():
            read[encoded, width] = yield from self._logs.vectors(tenant, root, encoded, width, stamps)
        found: list[ItemState | None] = []
        for key, (item, paths, width, stamp, vectors) in zip(keys, rows, strict=True):
            if item is None:
                found.append(None)
                continue
            row = item_row(*key, item)._replace(paths=None if paths is None else paths.decode())
            (expires_at,) = _EXPIRY_OF_ITEM.unpack_from(item)
            joined = read[encode_namespace(key[0]), width].get(stamp, b"") if vectors is None else vectors
            parts = [joined[start : start + width] for start in range(0, len(joined), width or 1)]
            found.append(ItemState(row, expires_at or None, vectors=sorted(parts)))
        return found

    @storage_program
    def restore_items(
        self, tenant: str, items: Sequence[ItemState], now: float, replaced: Sequence[ItemKey] = ()
    ) -> Program[int]:
        root = items[0].row.namespace[0]
        arguments: list[Any] = [optional(now), len(replaced), *flat_keys(replaced)]
        for row, expires_at, text, vectors in items:
            put = ItemPut(row.namespace, row.key, row.value, row.ttl, text, vectors, row.paths)
            arguments += (
                *put_arguments(put),
                *(optional(row.created_at), optional(row.updated_at), optional(expires_at)),
            )
        used = max(item.row.updated_at for item in items)
        ends = [item.expires_at for item in items if item.expires_at is not None]
        steps = enlisted_root(tenant, root, used, min(ends, default=None))
        (*_, restored) = yield from InvokeAll([*steps, _of_root("restore", tenant, root, arguments)])
        return int(restored)

    # Threads

    @storage_program
    def thread_ids(self, tenant: str, after: Any, limit: int, now: float) -> Program[Page[str]]:  # noqa: ARG002
        ids = after or sorted(one.decode() for one in (yield from indexes.members(threads_index(tenant))))
        return ids[:limit], ids[limit:] or None

    @storage_program
    def threads(self, tenant: str, thread_ids: Sequence[str], now: float) -> Program[list[ThreadState | None]]:
        keys = [ThreadKey(tenant, thread_id) for thread_id in thread_ids]
        answers = yield from InvokeAll([_of_thread("state", key, (optional(now),)) for key in keys])
        found: list[ThreadState | None] = []
        for key, answer in zip(keys, answers, strict=True):
            if answer is None:
                found.append(None)
                continue
            user, created, updated, ttl, expires, secret, users, used = answer
            found.append(
                ThreadState(
                    key,
                    user.decode() or None,
                    {one.decode(): float(at) for one, at in zip(users, used, strict=True)},
                    float(created),
                    float(updated),
                    None if ttl is None else float(ttl),
                    None if expires is None else float(expires),
                    None if secret is None else unpack(secret),
                )
            )
        return found

    @storage_program
    def elements(self, thread: ThreadKey, after: Any, limit: int) -> Program[Page[StoredElement]]:
        rows, following = yield from _hash_page(thread, _ELEMENTS, after, limit)
        with reading(thread):
            return [StoredElement(reference, unpack(row)) for reference, row in rows], following

    @storage_program
    def values(self, thread: ThreadKey, after: Any, limit: int) -> Program[Page[StoredValue]]:
        rows, following = yield from _hash_page(thread, _VALUES, after, limit)
        with reading(thread):
            return [unpack_value(*row) for row in rows], following

    @storage_program
    def checkpoints(self, thread: ThreadKey, after: Any, limit: int, codec: Codec) -> Program[Page[StoredCheckpoint]]:
        rows, following = yield from _hash_page(thread, _CHECKPOINTS, after, limit)
        records = b"".join(framed(field) + framed(row) for field, row in rows)
        with reading(thread):
            pairs = zip(checkpoints_in(thread.thread_id, records, codec), entries_in(records), strict=True)
            return [StoredCheckpoint(row, entry.run_id, entry.created_at) for row, entry in pairs], following

    @storage_program
    def writes(self, thread: ThreadKey, after: Any, limit: int) -> Program[Page[ThreadWrite]]:
        rows, following = yield from _hash_page(thread, _WRITES, after, limit)
        with reading(thread):
            found = [ThreadWrite(checkpoint_key(field), write) for field, row in rows for write in each_write(row)]
        return sorted(found, key=lambda one: (one.checkpoint, one.write.task_id, one.write.write_index)), following

    @storage_program
    def restore_threads(self, states: Sequence[ThreadState], now: float) -> Program[list[bool]]:
        answers = yield from _last_answers([_restored_thread(state, now) for state in states])
        return [bool(restored) for restored in answers]

    @storage_program
    def restore_rows(self, rows: Mapping[ThreadKey, ThreadRows], codec: Codec) -> Program[None]:
        yield from InvokeAll([_restored_rows(thread, own, codec) for thread, own in rows.items()])


def _last_answers(groups: Sequence[Sequence[Invoke]]) -> Program[list[Any]]:
    """Run groups of scripts in one round trip, and return the result of the last script of each group."""
    answers = iter((yield from InvokeAll([one for group in groups for one in group])))
    return [[next(answers) for _ in group][-1] for group in groups]


def _restored_session(state: SessionState, now: float) -> list[Invoke]:
    key = state.key
    fields: dict[str, Any] = {
        "identity": identity_of(key),
        "next": state.next_position,
        "created": optional(state.created_at),
        "updated": optional(state.updated_at),
    }
    if state.title is not None:
        fields |= {
            "title": state.title,
            "titled": _RENAMED if state.title_position is None else state.title_position,
        }
    if state.metadata is not None:
        fields["metadata"] = state.metadata
    if state.head is not None:
        fields["head"] = state.head
    for number, (agent, summary) in enumerate(state.summaries.items()):
        fields |= {f"summary:{agent}": summary.value, f"revision:{agent}": int(now * 1_000_000) + number}
        if summary.covers is not None:
            fields[f"covers:{agent}"] = summary.covers
    variables = [part for row in state.variables for part in pack_variable(row)]
    arguments = (optional(now), optional(state.expires_at), len(fields), *_flat(fields), *variables)
    ttl = None if state.expires_at is None else state.expires_at - state.updated_at
    steps = listed(key, state.updated_at, ttl)
    ends = [row.expires_at for row in state.variables if row.expires_at is not None]
    if ends:
        schedule = variable_schedule(key.tenant)
        steps.append(indexes.schedule(schedule, identity_of_scope(VariableScope(*key)), min(ends), earliest=True))
    return [*steps, _of_session("restore", key, arguments)]


def _restored_messages(key: SessionKey, rows: Sequence[MessageRow], now: float) -> list[Invoke]:
    arguments: list[Any] = [optional(now)]
    for row in rows:
        marks = ("s" if row.role == "system" else "") + ("e" if row.ends_with_session else "")
        arguments += (
            *(row.position, marks, row.agent or "", pack_message(row), pack_entry(row)),
            *(row.vector or b"", row.id_digest or b""),
        )
    return [note_edit(key), _of_session("restore_messages", key, arguments)]


def _restored_thread(state: ThreadState, now: float) -> list[Invoke]:
    fields: dict[str, Any] = {
        "identity": identity_of_thread(state.key),
        "created": optional(state.created_at),
        "updated": optional(state.updated_at),
    }
    known = {"user": state.user_id, "ttl": state.ttl, "secret": state.secret and pack(state.secret)}
    fields |= {name: optional(value) for name, value in known.items() if value is not None}
    fields |= {f"user:{user}": optional(used) for user, used in state.users.items()}
    ttl = None if state.expires_at is None else state.expires_at - state.updated_at
    steps = enlisted_thread(state.key, ThreadUse(state.updated_at, ttl=ttl), list(state.users))
    arguments = (optional(now), optional(state.expires_at), *_flat(fields))
    return [*steps, _of_thread("restore", state.key, arguments)]


def _restored_rows(thread: ThreadKey, rows: ThreadRows, codec: Codec) -> Invoke:
    checkpoints = [
        part
        for row, run_id, created_at in rows.checkpoints
        for part in (
            field_of(row.key),
            pack_checkpoint(CheckpointPut(row, run_id, (), {}), codec, created_at),
            optional(run_id),
        )
    ]
    arguments = (
        *(len(rows.values), *(part for one in rows.values for part in (field_of(one.key), pack_value(one)))),
        *(len(rows.elements), *(part for one in rows.elements for part in (one.reference, pack(one.typed)))),
        *(len(rows.checkpoints), *checkpoints),
        *(part for one in rows.writes for part in (field_of(one.checkpoint), pack_write(one.write))),
    )
    return _of_thread("restore_rows", thread, arguments)


def _of_session(name: str, key: SessionKey, arguments: Sequence[Any]) -> Invoke:
    return Invoke(_SESSIONS[name], session_keys(key), arguments)


def _of_root(name: str, tenant: str, root: str, arguments: Sequence[Any]) -> Invoke:
    return Invoke(_ITEMS[name], (slot("root", tenant, root) + "namespaces",), tuple(arguments))


def _of_thread(name: str, thread: ThreadKey, arguments: Sequence[Any]) -> Invoke:
    prefix = slot("thread", *thread)
    return Invoke(_THREADS[name], [prefix + key for key in KEYS], arguments)


def _hash_page(thread: ThreadKey, key: int, after: Any, limit: int) -> Program[tuple[list[tuple[bytes, bytes]], Any]]:
    """Return a page of the fields of a hash of a thread, sorted, with their values."""
    fields = after or sorted((yield from _of_thread("fields", thread, (key,))))
    rows = (yield from _of_thread("rows", thread, (key, *fields[:limit]))) if fields else []
    found = [(field, row) for field, row in zip(fields[:limit], rows, strict=True) if row is not None]
    return found, fields[limit:] or None


def _session(
    key: SessionKey, fields: Mapping[bytes, bytes], variables: Mapping[bytes, bytes], now: float
) -> SessionState:
    def text(name: str) -> str | None:
        return fields[name.encode()].decode() if name.encode() in fields else None

    def number(name: str) -> float | None:
        return float(fields[name.encode()]) if name.encode() in fields else None

    title = text("title")
    titled = text("titled")
    summaries = {}
    for name, value in fields.items():
        if name.startswith(b"summary:") and value:
            agent = name.removeprefix(b"summary:").decode()
            covers = number(f"covers:{agent}")
            revision = int(number(f"revision:{agent}") or 0)
            summaries[agent] = StoredSummary(value.decode(), revision, None if covers is None else int(covers))
    rows = [variable_row(VariableScope(*key), field, value, b"") for field, value in variables.items()]
    return SessionState(
        key,
        title,
        None if title is None or titled in (None, _RENAMED) else int(titled or 0),
        int(number("next") or 0),
        number("created") or 0.0,
        number("updated") or 0.0,
        number("expires"),
        text("metadata"),
        summaries,
        [row for row in rows if row.expires_at is None or row.expires_at > now],
        fields.get(b"head"),
    )


def _pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _flat(fields: Mapping[str, Any]) -> Iterable[Any]:
    return (part for pair in fields.items() for part in pair)
