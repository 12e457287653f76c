"""The checkpoint table in Postgres: LangGraph's tables, and tables of the compact layout beside them."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from langgraph.checkpoint.base import writes_sort_key
from langgraph.checkpoint.serde.types import TASKS

from langchain_agentmem.arguments.omitted import OMITTED, Omitted
from langchain_agentmem.backends.contract import (
    CheckpointEntry,
    CheckpointKey,
    CheckpointPut,
    CheckpointRow,
    LoadedCheckpoint,
    Parts,
    SecretChange,
    StoredWrite,
    ThreadKey,
    ThreadRow,
    ThreadUse,
    WritesPut,
)
from langchain_agentmem.backends.postgres.statements import Blobs, Texts, statements
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.json_values import dump_exact_json
from langchain_agentmem.encoding.layout import NOTHING_KNOWN, PLAIN, Known, StoredValue, ValueKey
from langchain_agentmem.encoding.references import Typed, each_reference
from langchain_agentmem.errors import DamagedDataError, UnsupportedValueError
from langchain_agentmem.programs import Execute, Fetch, Program, one_statement, short_write, storage_program

COMPACT = "agentmem"
"""The type of the rows in LangGraph's tables that only this package can read."""
_DEFAULT_TENANT = "default"
_FIRST_VERSION = f"{1:032}.{0:016}"
"""The version of a channel without version, in the form of `PostgresSaver`. It is the same for each reader."""


class PostgresCheckpoints:
    """Implements `langchain_agentmem.backends.contract.CheckpointTable`."""

    def __init__(self, schema: str | None) -> None:
        self._sql = statements("checkpoints.sql", schema)

    # Writing

    @one_statement
    def secret(self, thread: ThreadKey, proposal: Typed, use: ThreadUse) -> Program[Typed]:
        ((type_, secret),) = yield from Fetch(self._sql["secret"], (*_use(thread, use), *proposal))
        return Typed(type_, secret)

    @one_statement
    def stored_secret(self, thread: ThreadKey, now: float, *, lock: bool = False) -> Program[Typed | None]:
        parameters = {"name": thread_name(thread), "now": now}
        rows = yield from Fetch(self._sql["lock_secret" if lock else "stored_secret"], parameters)
        for type_, secret in rows:
            return None if secret is None else Typed(type_, secret)
        return None

    @short_write
    def put(self, thread: ThreadKey, put: CheckpointPut, codec: Codec, use: ThreadUse) -> Program[bool]:
        row = put.row
        if put.plain:
            keys = (*_use(thread, use), *row.key, row.parent_id)
            ((stored,),) = yield from Fetch(self._sql["put_plain"], (*keys, *_plain(put, codec)))
            return bool(stored)
        checkpoint, metadata = compact_columns(put, codec, use.now)
        parameters = (
            *(*_use(thread, use), *(use.secret or (None, None))),
            *(*row.key, row.parent_id, COMPACT, checkpoint, metadata),
            *(json.dumps(_wanted(put.requires)), *added_values(put.values, put.elements)),
        )
        return (yield from self._store("put", thread, use, parameters))

    @short_write
    def put_writes(self, thread: ThreadKey, put: WritesPut, use: ThreadUse) -> Program[bool]:
        # A statement may write each index once: of the writes to a negative index the last counts, else the first.
        by_index: dict[int, StoredWrite] = {}
        for write in put.writes:
            if write.write_index < 0 or write.write_index not in by_index:
                by_index[write.write_index] = write
        writes = list(by_index.values())
        task_id, task_path = (writes[0].task_id, writes[0].task_path) if writes else ("", "")
        parameters = (
            *(*_use(thread, use), *(use.secret or (None, None)), *put.checkpoint, task_id, task_path),
            [write.write_index for write in writes],
            Texts(write.channel for write in writes),
            Texts(write_type(write) for write in writes),
            Blobs(write.data for write in writes),
            *(json.dumps(_wanted(put.requires)), *added_values(put.values, put.elements)),
        )
        return (yield from self._store("put_writes", thread, use, parameters))

    def _store(self, name: str, thread: ThreadKey, use: ThreadUse, parameters: tuple[Any, ...]) -> Program[bool]:
        """Run a statement that stores rows, and replace the secret of the thread if `use` has another one."""
        if use.next_secret is not None:
            own = (thread_name(thread), *(use.secret or (None, None)))
            name, parameters = f"{name}_replacing", (*own, use.now, *parameters, *own, *use.next_secret)
        ((stored,),) = yield from Fetch(self._sql[name], parameters)
        return bool(stored)

    @storage_program
    def replace(
        self,
        thread: ThreadKey,
        put: CheckpointPut,
        changes: Sequence[tuple[StoredWrite, StoredWrite | None]],
        codec: Codec,
        use: ThreadUse,
    ) -> Program[bool]:
        name = thread_name(thread)
        yield from Fetch(self._sql["lock"], (name,))
        if not (yield from Fetch(self._sql["exists"], (name, *put.row.key))):
            return False
        if not (yield from self.put(thread, put, codec, use)):
            return False
        for value in put.values if put.plain else ():
            yield from Execute(self._sql["replace_blob"], (value.type, value.data, name, *value.key))
        for before, after in changes:
            stored = (name, *put.row.key, before.task_id, before.write_index)
            former = (before.channel, write_type(before), before.data)
            if after is None:
                yield from Execute(self._sql["delete_write"], (*stored, *former))
            else:
                new = (after.channel, write_type(after), after.data)
                yield from Execute(self._sql["replace_write"], (*new, *stored, *former))
        return True

    # Reading

    @one_statement
    def get(
        self,
        thread: ThreadKey,
        namespace: str,
        checkpoint_id: str | None,
        codec: Codec,
        now: float,
        known: Mapping[ValueKey, Known] = NOTHING_KNOWN,
    ) -> Program[LoadedCheckpoint | None]:
        ends = Texts(json.dumps([*key, value.digest], ensure_ascii=False) for key, value in known.items())
        found = yield from Fetch(self._sql["get"], (thread_name(thread), namespace, checkpoint_id, now, ends))
        if not found:
            return None
        *fields, revision = found[0][1]
        row = checkpoint_row(thread.thread_id, fields, codec)
        answer = _Answer.of(thread.thread_id, found[1:])
        return LoadedCheckpoint(row, answer.writes(row.key), answer.parts([row], known), revision)

    @one_statement
    def page(
        self,
        tenant: str,
        thread_id: str | None,
        namespace: str | None,
        checkpoint_id: str | None,
        before: str | None,
        after: tuple[str, str, str] | None,
        limit: int,
        codec: Codec,
        now: float,
    ) -> Program[list[CheckpointRow]]:
        name = None if thread_id is None else thread_name(ThreadKey(tenant, thread_id))
        parameters = {"tenant": tenant, "name": name, "namespace": namespace, "now": now, "limit": limit}
        if thread_id is not None and namespace is not None and checkpoint_id is None:
            bounds = [bound for bound in (before, after and after[0]) if bound is not None]
            more = {"thread_id": thread_id, "below": min(bounds) if bounds else None}
            rows = yield from Fetch(self._sql["page_of_namespace"], {**parameters, **more})
        else:
            after_id, after_thread, after_namespace = after or (None, None, None)
            more = {
                "checkpoint_id": checkpoint_id,
                "before": before,
                "after_id": after_id,
                "after_thread": after_thread,
                "after_namespace": after_namespace,
            }
            rows = yield from Fetch(self._sql["page"], {**parameters, **more})
        return [checkpoint_row(thread_id, row, codec) for thread_id, *row in rows]

    @storage_program
    def load(self, tenant: str, rows: Sequence[CheckpointRow]) -> Program[list[LoadedCheckpoint]]:
        by_thread: dict[str, list[CheckpointRow]] = {}
        for row in rows:
            by_thread.setdefault(row.thread_id, []).append(row)
        loaded: dict[tuple[str, CheckpointKey], LoadedCheckpoint] = {}
        for thread_id, group in by_thread.items():
            wanted = list(dict.fromkeys(key for row in group for key in row.value_keys()))
            answer = yield from self._parts(ThreadKey(tenant, thread_id), wanted, [row.key for row in group], None)
            parts = answer.parts(group)
            for row in group:
                loaded[thread_id, row.key] = LoadedCheckpoint(row, answer.writes(row.key), parts)
        return [loaded[row.thread_id, row.key] for row in rows]

    @one_statement
    def ancestors(
        self, thread: ThreadKey, checkpoint: CheckpointKey, limit: int, codec: Codec, now: float = 0.0
    ) -> Program[list[CheckpointRow]]:
        rows = yield from Fetch(self._sql["ancestors"], (thread_name(thread), *checkpoint, limit, now))
        return [checkpoint_row(thread.thread_id, row, codec) for row in rows]

    @one_statement
    def writes(
        self, thread: ThreadKey, checkpoints: Sequence[CheckpointKey], channels: Collection[str]
    ) -> Program[tuple[dict[CheckpointKey, list[StoredWrite]], Parts]]:
        answer = yield from self._parts(thread, [], checkpoints, list(channels))
        return {checkpoint: answer.writes(checkpoint) for checkpoint in checkpoints}, answer.parts([])

    @storage_program
    def entries(self, thread: ThreadKey, *, lock: bool = True) -> Program[list[CheckpointEntry]]:
        if lock:
            yield from Fetch(self._sql["lock"], (thread_name(thread),))
        rows = yield from Fetch(self._sql["entries"], (thread_name(thread),))
        return [CheckpointEntry(CheckpointKey(namespace, id_), *rest) for namespace, id_, *rest in rows]

    @one_statement
    def threads_of_runs(self, tenant: str, run_ids: Collection[str]) -> Program[list[str]]:
        rows = yield from Fetch(self._sql["threads_of_runs"], (list(run_ids), tenant))
        return [thread_id for (thread_id,) in rows]

    @one_statement
    def threads(
        self, tenant: str, user_id: str | Omitted | None, limit: int | None, offset: int, now: float
    ) -> Program[list[ThreadRow]]:
        parameters = {
            "tenant": tenant,
            "user_id": None if user_id is OMITTED else user_id,
            "of_nobody": user_id is None,
            "now": now,
            "limit": limit,
            "offset": offset,
        }
        rows = yield from Fetch(self._sql["threads"], parameters)
        return [listed_thread(row) for row in rows]

    # Deleting

    @storage_program
    def delete(
        self,
        thread: ThreadKey,
        checkpoints: Collection[CheckpointKey],
        codec: Codec,  # noqa: ARG002 (the database finds the needed values)
        known: Collection[CheckpointEntry],  # noqa: ARG002 (the thread is locked)
        secrets: SecretChange | None = None,
    ) -> Program[None]:
        namespaces = [checkpoint.namespace for checkpoint in checkpoints]
        ids = [checkpoint.checkpoint_id for checkpoint in checkpoints]
        yield from Fetch(self._sql["delete"], (thread_name(thread), namespaces, ids, thread_name(thread)))
        if secrets is not None:
            yield from Fetch(self._sql["replace_secret"], (thread_name(thread), *secrets.expected, *secrets.new))

    @one_statement
    def delete_thread(self, thread: ThreadKey) -> Program[None]:
        yield from Fetch(self._sql["delete_thread"], (thread_name(thread),))

    @one_statement
    def copy_thread(
        self, source: ThreadKey, target: ThreadKey, now: float, secrets: SecretChange | None = None
    ) -> Program[bool]:
        parameters: tuple[Any, ...] = (thread_name(source), thread_name(target), *target, now)
        name = "copy_thread"
        if secrets is not None:
            name, parameters = f"{name}_replacing", (*parameters, thread_name(target), *secrets.expected, *secrets.new)
        ((copied, *_),) = yield from Fetch(self._sql[name], parameters)
        return bool(copied)

    @one_statement
    def users(self, tenant: str, now: float) -> Program[list[str]]:
        return [user for (user,) in (yield from Fetch(self._sql["users"], {"tenant": tenant, "now": now}))]

    @storage_program
    def forget_user(self, thread: ThreadKey, user_id: str, *, shared: bool) -> Program[bool | None]:
        name = thread_name(thread)
        yield from Fetch(self._sql["lock"], (name,))
        users = [user for (user,) in (yield from Fetch(self._sql["users_of"], {"name": name}))]
        if user_id not in users:
            return None
        if shared or users == [user_id]:
            yield from Fetch(self._sql["delete_thread"], (name,))
            return True
        yield from Execute(self._sql["delete_user"], {"name": name, "user_id": user_id})
        yield from Execute(self._sql["set_last_user"], {"name": name, "user_id": user_id})
        return False

    @one_statement
    def set_ttl(self, thread: ThreadKey, ttl: float | None, now: float) -> Program[bool]:
        ((known,),) = yield from Fetch(self._sql["set_ttl"], (thread_name(thread), *thread, ttl, now))
        return bool(known)

    @one_statement
    def sweep(self, tenant: str, now: float, limit: int) -> Program[int]:
        ((deleted,),) = yield from Fetch(self._sql["sweep"], (tenant, now, limit))
        return int(deleted)

    def _parts(
        self,
        thread: ThreadKey,
        values: Sequence[ValueKey],
        checkpoints: Sequence[CheckpointKey],
        channels: list[str] | None,
    ) -> Program[_Answer]:
        namespaces = Texts(checkpoint.namespace for checkpoint in checkpoints)
        ids = Texts(checkpoint.checkpoint_id for checkpoint in checkpoints)
        named = None if channels is None else Texts(channels)
        parameters = (thread_name(thread), json.dumps(values), namespaces, ids, named)
        return _Answer.of(thread.thread_id, (yield from Fetch(self._sql["parts_of"], parameters)))


class _Answer(NamedTuple):
    """The rows of the functions `agentmem_get` and `agentmem_parts_of`, sorted."""

    secret: Typed | None
    pending: dict[CheckpointKey, list[StoredWrite]]
    chains: dict[ValueKey, StoredValue]
    elements: dict[bytes, Typed]

    @classmethod
    def of(cls, thread_id: str, rows: Iterable[Sequence[Any]]) -> _Answer:
        """Return the sorted rows.

        Raises:
            DamagedDataError: A row was altered.
        """
        try:
            return cls._of(rows)
        except (AttributeError, TypeError, ValueError) as error:
            msg = f"Thread {thread_id!r} cannot be read. A row was damaged or altered: {error}."
            raise DamagedDataError(msg) from error

    @classmethod
    def _of(cls, rows: Iterable[Sequence[Any]]) -> _Answer:
        secret: Typed | None = None
        pending: dict[CheckpointKey, list[StoredWrite]] = {}
        chains: dict[ValueKey, StoredValue] = {}
        elements: dict[bytes, Typed] = {}
        for part, fields, type_, data, reference in rows:
            if part == "elements":
                types, lengths = fields
                ends = list(accumulate(lengths))
                bounds = zip(each_reference(reference), types, [0, *ends], ends, strict=False)
                elements.update((one, Typed(kind, data[start:end])) for one, kind, start, end in bounds)
            elif part == "element":
                elements[reference] = Typed(type_, data)
            elif part == "write":
                namespace, id_, task_id, index, task_path, channel = fields
                write = StoredWrite(task_id, index, task_path, channel, *read_write_type(type_), data)
                pending.setdefault(CheckpointKey(namespace, id_), []).append(write)
            elif part == "value":
                kind, number, *base, head, tail, digest = fields[3:]
                key = ValueKey(*fields[:3])
                based_on = None if base[2] is None else ValueKey(*base)
                chains[key] = StoredValue(key, kind, type_, data, number, based_on, head, tail, digest)
            elif part == "blob":
                chains.setdefault(ValueKey(*fields), StoredValue(ValueKey(*fields), PLAIN, type_, data or b""))
            else:
                secret = Typed(type_, data)
        return cls(secret, pending, chains, elements)

    def writes(self, checkpoint: CheckpointKey) -> list[StoredWrite]:
        """Return the pending writes of a checkpoint in order."""
        pending = self.pending.get(checkpoint, ())
        return sorted(pending, key=lambda write: writes_sort_key(write.task_path, write.task_id, write.write_index))

    def parts(self, rows: Sequence[CheckpointRow], known: Mapping[ValueKey, Known] = NOTHING_KNOWN) -> Parts:
        """Return the parts of checkpoints.

        Args:
            rows: The checkpoints.
            known: Values that need no rows but their own. Default: none.
        """
        return Parts.of(rows, self.pending, self.chains, self.elements, self.secret, known)


def listed_thread(row: Sequence[Any]) -> ThreadRow:
    """Return a thread, from the columns of the statement `threads`."""
    thread_id, user, *known, users = row
    return ThreadRow(thread_id, user or None, *known)._replace(users=users or {})


def thread_name(thread: ThreadKey) -> str:
    """Return the `thread_id` in LangGraph's tables, which have no tenants: the thread's ID for the default tenant."""
    tenant, thread_id = thread
    if tenant == _DEFAULT_TENANT and not thread_id.startswith(f"{COMPACT}:"):
        return thread_id
    return f"{COMPACT}:{len(tenant)}:{tenant}:{thread_id}"


def _use(thread: ThreadKey, use: ThreadUse) -> tuple[Any, ...]:
    """Return the parameters for the use of a thread in `checkpoints.sql`."""
    return (thread_name(thread), *thread, use.user_id or "", use.now, use.ttl)


def write_type(write: StoredWrite) -> str:
    """Return the type of a pending write as it is stored: with the kind, unless it is `PLAIN`."""
    return write.type if write.kind == PLAIN else f"{COMPACT}:{write.kind}:{write.type}"


def read_write_type(type_: str) -> tuple[str, str]:
    """Return the kind and the type that `write_type` joined."""
    mark, _, rest = type_.partition(":")
    if mark != COMPACT:
        return PLAIN, type_
    kind, _, inner = rest.partition(":")
    return kind, inner


def _wanted(digests: Mapping[ValueKey, str]) -> list[tuple[str, ...]]:
    return [(*key, digest) for key, digest in digests.items()]


def added_values(values: Sequence[StoredValue], elements: Mapping[bytes, Typed]) -> tuple[Any, ...]:
    """Return the last five parameters of the fragment `added_values`."""
    rows = [
        (
            *(*value.key, value.kind, value.type, value.number),
            *(*(value.base or (None,) * 3), value.head, value.tail, value.digest),
        )
        for value in values
    ]
    return (
        json.dumps(rows),
        Blobs(value.data for value in values),
        Blobs(elements),
        Texts(typed.type for typed in elements.values()),
        Blobs(typed.data for typed in elements.values()),
    )


def compact_columns(put: CheckpointPut, codec: Codec, now: float) -> tuple[str, str]:
    """Return the columns `checkpoint` and `metadata` of a compact row: the document, and the fields that SQL reads."""
    row = put.row
    document: dict[str, Any] = {"checkpoint": row.checkpoint, "inline": row.inline, "stored": row.stored}
    metadata = None if codec.secret else dump_exact_json(row.metadata)
    if metadata is None:
        document["metadata"] = row.metadata
        run = {} if put.run_id is None or "\x00" in put.run_id else {"run_id": put.run_id}
        metadata = json.dumps(run)
    type_, data = codec.dump_document(document)
    columns = {
        "v": COMPACT,
        "at": now,
        "values": row.stored,
        "type": type_,
        "document": base64.b64encode(data).decode(),
    }
    return json.dumps(columns), metadata


def _plain(put: CheckpointPut, codec: Codec) -> tuple[Any, ...]:
    """Return the columns of a row as `PostgresSaver` writes it, and those of its values."""
    row = put.row
    values = [*put.values, *put.unchanged]
    inline: dict[str, Any] = {}
    for channel, value in row.inline.items():
        if dump_exact_json(value) is not None or channel not in row.checkpoint["channel_versions"]:
            inline[channel] = value
        else:  # Postgres' JSON would alter the value; the saver also reads it from a row of its own
            key = ValueKey(row.key.namespace, channel, str(row.checkpoint["channel_versions"][channel]))
            values.append(StoredValue(key, PLAIN, *codec.dump_plain(value)))
    inline.update(dict.fromkeys(put.snapshots, True))
    try:
        checkpoint = json.dumps({**row.checkpoint, "channel_values": inline}, allow_nan=False)
        metadata = json.dumps(_without_nul(row.metadata), allow_nan=False)
    except (TypeError, ValueError) as error:
        msg = f"With compact=False, a checkpoint and its metadata must be JSON-serialisable, as for PostgresSaver: {error}."
        raise UnsupportedValueError(msg) from error
    return (
        checkpoint,
        metadata,
        [value.key.channel for value in values],
        [value.key.version for value in values],
        [value.type for value in values],
        [value.data for value in values],
    )


def _without_nul(value: Any) -> Any:
    """Return a value without NUL characters, which Postgres' JSON cannot contain. `PostgresSaver` drops them as well."""
    if isinstance(value, str):
        return value.replace("\x00", "")
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(inner) for key, inner in value.items()}
    return [_without_nul(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def checkpoint_row(thread_id: str, row: Sequence[Any], codec: Codec) -> CheckpointRow:
    """Return a checkpoint, from the columns of the statement `page` after the thread."""
    namespace, checkpoint_id, parent_id, type_, checkpoint, metadata, stored, sends = row
    key = CheckpointKey(namespace, checkpoint_id)
    if type_ != COMPACT and codec.secret:
        msg = (
            f"Checkpoint {checkpoint_id!r} of thread {thread_id!r} is not encrypted, but the memory has a key. Another "
            f"program wrote the checkpoint, such as PostgresSaver. Open the thread without the key, delete it, or copy it "
            f"from another database: memory.checkpointer.copy_from(saver)."
        )
        raise DamagedDataError(msg)
    try:
        if type_ == COMPACT:
            document = _mapping(codec.load_document((checkpoint["type"], base64.b64decode(checkpoint["document"]))))
            checkpoint, metadata = document["checkpoint"], document.get("metadata", metadata)
            inline, versions = _mapping(document["inline"]), _mapping(document["stored"])
        else:
            versions = _mapping(stored or {})
            values = _mapping(_mapping(checkpoint).pop("channel_values", None) or {})
            inline = {name: value for name, value in values.items() if name not in versions}
        known = _mapping(_mapping(checkpoint)["channel_versions"])
        if sends:
            # Before version 4 of LangGraph's format, sent tasks were stored as pending writes of the parent.
            inline[TASKS] = [codec.load((sent, base64.b64decode(blob))) for sent, blob in sends]
            known[TASKS] = max(known.values(), default=_FIRST_VERSION)
        return CheckpointRow(thread_id, key, parent_id, checkpoint, _mapping(metadata), inline, versions)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        msg = (
            f"Checkpoint {checkpoint_id!r} of thread {thread_id!r} cannot be read. It was damaged or altered: {reason}."
        )
        raise DamagedDataError(msg) from error


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        msg = f"expected a mapping, got {type(value).__name__}"
        raise TypeError(msg)
    return value
