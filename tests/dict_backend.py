"""A small backend in the process's memory: how a fourth backend looks. It keeps everything in dicts."""

from __future__ import annotations

import asyncio
import copy
import itertools
import math
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from langchain_agentmem.arguments.omitted import OMITTED
from langchain_agentmem.backends.contract import (
    LIST_SUMMARY,
    Backend,
    Candidate,
    CheckpointEntry,
    CheckpointKey,
    CheckpointRow,
    Found,
    IndexedItem,
    IndexEntry,
    ItemRow,
    LoadedCheckpoint,
    LoggedMessage,
    MessageRow,
    Parts,
    SessionKey,
    SessionRow,
    StoredSummary,
    ThreadKey,
    ThreadRow,
)
from langchain_agentmem.encoding.layout import PLAIN, VALUE
from langchain_agentmem.encoding.references import each_reference
from langchain_agentmem.errors import StorageClosedError
from langchain_agentmem.programs import run
from langchain_agentmem.text.vectors import similarities, width_of
from langchain_agentmem.text.words import pack_words, scores


def program(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a program of a plain function: it runs in the transaction, and yields no steps."""

    @wraps(function)
    def make(*args: Any, **kwargs: Any) -> Any:
        yield from ()
        return function(*args, **kwargs)

    return make


def alive(row: Any, now: float) -> bool:
    return row is not None and (row.expires_at is None or row.expires_at > now)


@dataclass
class Session:
    created_at: float
    updated_at: float
    expires_at: float | None = None
    title: str | None = None
    title_position: int | None = None
    next_position: int = 0
    rows: dict[int, MessageRow] = field(default_factory=dict)
    summaries: dict[str, StoredSummary] = field(default_factory=dict)


class Messages:
    def __init__(self) -> None:
        self._sessions: dict[SessionKey, Session] = {}
        self.revisions = itertools.count(1)

    def _alive(self, key: SessionKey, now: float) -> Session | None:
        session = self._sessions.get(key)
        return session if alive(session, now) else None

    def _of(self, key: SessionKey, agent: str | None, now: float) -> list[MessageRow]:
        session = self._alive(key, now)
        rows = session.rows.values() if session else ()
        return [row._replace(words=None, vector=None) for row in rows if agent is None or row.agent == agent]

    @program
    def append(self, key, addition):
        session = self._alive(key, addition.now)
        if session is None:
            session = self._sessions[key] = Session(addition.now, addition.now)
        session.updated_at = max(session.updated_at, addition.now)
        if addition.ttl is not None and (session.expires_at is None or addition.sliding):
            session.expires_at = session.updated_at + addition.ttl
        first = session.next_position
        for row in addition.rows:
            session.rows[first + row.position] = row._replace(position=first + row.position)
        session.next_position = first + len(addition.rows)
        if addition.keep is not None:
            self._trim(session, addition.agent, addition.keep)
            self._settle(session)
        for title in addition.titles or ():
            if session.title is None and first + title.position in session.rows:
                session.title, session.title_position = title.text, first + title.position
        return first

    @staticmethod
    def _trim(session: Session, agent: str | None, keep: int) -> None:
        own = [row for row in session.rows.values() if row.agent == agent]
        system = [row for row in own if row.role == "system"][-1:]
        rest = [row for row in own if row not in system]
        if len(own) > keep:
            kept = own[-keep:]
            kept = kept if not system or system[0] in kept else [*system, *(rest[1 - keep :] if keep > 1 else ())]
            for row in own:
                if row not in kept:
                    del session.rows[row.position]

    @staticmethod
    def _settle(session: Session) -> None:
        gone = session.title_position is not None and session.title_position not in session.rows
        if gone or not session.rows:
            session.title = session.title_position = None

    @program
    def window(self, key, agent, limit, now):
        rows = self._of(key, agent, now)
        newest = rows if limit is None else rows[max(0, len(rows) - limit) :]
        system = [row for row in rows if row.role == "system"][-1:]
        return [*(row for row in system if newest and row.position < newest[0].position), *newest]

    @program
    def page(self, key, agent, after, limit, now):
        return [row for row in self._of(key, agent, now) if row.position > after][:limit]

    @program
    def count(self, key, agent, now):
        return len(self._of(key, agent, now))

    def _scope(self, scope, now) -> Iterable[tuple[str, MessageRow]]:
        for key, session in self._sessions.items():
            wanted = key.session_id if scope.session_id is None else scope.session_id
            if key == SessionKey(scope.tenant, scope.user_id, wanted) and alive(session, now):
                for row in session.rows.values():
                    if scope.agent is None or row.agent == scope.agent:
                        yield key.session_id, row

    @program
    def index(self, scope, now, *, vectors):
        return [
            IndexEntry(id_, row.position, row.role, row.created_at, row.words, row.vector if vectors else None)
            for id_, row in self._scope(scope, now)
        ]

    @program
    def rows(self, scope, positions, now):
        found = {(id_, row.position): row._replace(words=None, vector=None) for id_, row in self._scope(scope, now)}
        return {position: found[position] for position in positions if position in found}

    @program
    def summary(self, key, agent, now):
        session = self._alive(key, now)
        return session.summaries.get(agent or "") if session else None

    @program
    def swap_summary(self, key, agent, summary, expected, now):
        session = self._alive(key, now)
        if session is None:
            return False
        stored = session.summaries.get(agent or "")
        if (stored.revision if stored else None) != expected:
            return False
        session.summaries[agent or ""] = summary
        return True

    def _remove(self, key: SessionKey, agent: str | None, doomed: Callable[[MessageRow], bool]) -> int:
        session = self._sessions.get(key)
        if session is None:
            return 0
        kept = {position: row for position, row in session.rows.items() if not doomed(row)}
        removed, session.rows = len(session.rows) - len(kept), kept
        self._settle(session)
        for name in {"", agent or "", *session.summaries}:
            session.summaries[name] = StoredSummary("", -next(self.revisions))
        return removed

    @program
    def clear(self, key, agent):
        self._remove(key, agent, lambda row: agent is None or row.agent == agent)

    @program
    def end(self, key):
        session = self._sessions.get(key)
        if session is None or not any(row.ends_with_session for row in session.rows.values()):
            return 0
        return self._remove(key, None, lambda row: row.ends_with_session)

    @program
    def sessions(self, tenant, user_id, limit, offset, now):
        listed = [
            SessionRow(
                key,
                session.title,
                len(session.rows),
                session.created_at,
                session.updated_at,
                session.expires_at,
                [one.value for name in ("", LIST_SUMMARY) if (one := session.summaries.get(name)) and one.value],
            )
            for key, session in self._sessions.items()
            if key.tenant == tenant and user_id in (OMITTED, key.user_id) and alive(session, now)
        ]
        listed.sort(key=lambda row: row.updated_at, reverse=True)
        return listed[offset : None if limit is None else offset + limit]

    @program
    def rename(self, key, title, now):
        session = self._alive(key, now)
        if session is not None:
            session.title, session.title_position = title, None
        return session is not None

    @program
    def delete(self, key):
        return self._sessions.pop(key, None) is not None

    @program
    def sweep(self, tenant, now, limit):
        expired = [key for key, session in self._sessions.items() if key.tenant == tenant and not alive(session, now)]
        for key in expired[:limit]:
            del self._sessions[key]
        return len(expired[:limit])

    @program
    def unembed(self, tenant, after):
        for key, session in self._sessions.items():
            if key.tenant == tenant:
                session.rows = {at: row._replace(vector=None) for at, row in session.rows.items()}

    @program
    def unembedded(self, tenant, dimensions, after, limit, now):
        found = [
            LoggedMessage(key, row)
            for key, session in self._sessions.items()
            if key.tenant == tenant and alive(session, now)
            for row in session.rows.values()
            if row.vector is None or len(row.vector) != width_of(dimensions)
        ]
        start = after or 0
        return found[start : start + limit], None

    @program
    def set_words(self, tenant, messages):
        for key, row in messages:
            session = self._sessions.get(key)
            if session and row.position in session.rows and session.rows[row.position].body == row.body:
                session.rows[row.position] = session.rows[row.position]._replace(words=row.words)

    @program
    def embed(self, tenant, messages):
        done = 0
        for key, row in messages:
            session = self._sessions.get(key)
            if session and row.position in session.rows and session.rows[row.position].body == row.body:
                session.rows[row.position] = session.rows[row.position]._replace(vector=row.vector)
                done += 1
        return done


@dataclass
class StoredItem:
    row: ItemRow
    text: bytes | None
    vectors: list[bytes]
    paths: str | None
    expires_at: float | None
    order: int


class Items:
    def __init__(self) -> None:
        self._items: dict[tuple[str, tuple[str, ...], str], StoredItem] = {}
        self._numbers = itertools.count(1)

    def _below(self, tenant: str, prefix: tuple[str, ...], now: float) -> list[StoredItem]:
        return [
            item
            for (own, namespace, _), item in self._items.items()
            if own == tenant and namespace[: len(prefix)] == prefix and alive(item, now)
        ]

    def _get(self, tenant: str, namespace: tuple[str, ...], key: str, now: float) -> StoredItem | None:
        item = self._items.get((tenant, namespace, key))
        return item if alive(item, now) else None

    @program
    def get(self, tenant, keys, now, *, paths=False):
        found = [self._get(tenant, *key, now) for key in keys]
        return [item and item.row._replace(paths=item.paths if paths else None) for item in found]

    def _put(self, tenant: str, put: Any, now: float) -> None:
        before = self._get(tenant, put.namespace, put.key, now)
        number = next(self._numbers)
        row = ItemRow(put.namespace, put.key, put.value, before.row.created_at if before else now, now, put.ttl, number)
        used = max(now, before.row.updated_at, (before.expires_at or now) - (before.row.ttl or 0)) if before else now
        expires_at = None if put.ttl is None else used + put.ttl
        text = None if put.text is None else pack_words(put.text.split())
        self._items[tenant, put.namespace, put.key] = StoredItem(
            row, text, list(put.vectors), put.paths, expires_at, number
        )

    @program
    def put(self, tenant, puts, now):
        for put in puts:
            self._put(tenant, put, now)

    @program
    def swap(self, tenant, swaps, now, token):
        for swap in swaps:
            item = self._get(tenant, swap.namespace, swap.key, now)
            if (item.row.revision if item else None) != swap.expected:
                return False
        for swap in swaps:
            if swap.put is not None:
                self._put(tenant, swap.put, now)
            elif not swap.keep:
                self._items.pop((tenant, swap.namespace, swap.key), None)
        return True

    def _delete(self, tenant: str, keys: Iterable[tuple[tuple[str, ...], str]]) -> None:
        for namespace, key in keys:
            self._items.pop((tenant, namespace, key), None)

    @program
    def delete(self, tenant, keys):
        self._delete(tenant, keys)

    def _touch(self, tenant: str, keys: Iterable[tuple[tuple[str, ...], str]], now: float) -> None:
        for namespace, key in keys:
            item = self._get(tenant, namespace, key, now)
            if item is not None and item.row.ttl is not None and item.expires_at is not None:
                item.expires_at = max(item.expires_at, now + item.row.ttl)

    @program
    def touch(self, tenant, keys, now):
        self._touch(tenant, keys, now)

    @program
    def change(self, tenant, puts, deletes, touches, now):
        self._touch(tenant, touches, now)
        self._delete(tenant, deletes)
        for put in puts:
            self._put(tenant, put, now)

    @program
    def scan(self, tenant, prefix, condition, limit, before, now):
        last = before or (math.inf, 0)
        items = sorted(self._below(tenant, prefix, now), key=lambda item: (item.row.updated_at, item.order))[::-1]
        page = [item for item in items if (item.row.updated_at, item.order) < last][:limit]
        following = (page[-1].row.updated_at, page[-1].order) if len(page) == limit else None
        return [item.row for item in page], following

    @program
    def find(self, tenant, query, now):
        items = {
            (item.row.updated_at, item.order, item.row[:2]): item for item in self._below(tenant, query.prefix, now)
        }
        indexed = {id_: item.text for id_, item in items.items() if item.text is not None}
        lexical = {
            id_: score
            for id_, score in zip(indexed, scores(list(indexed.values()), query.words), strict=True)
            if score > 0
        }
        dense: dict[Any, float] = {}
        if query.vector is not None:
            vectors = [(id_, vector) for id_, item in items.items() for vector in item.vectors]
            dense = similarities(vectors, query.vector)
        self._found = {id_: items[id_].row for id_ in lexical.keys() | dense.keys()}
        return Found([Candidate(id_, lexical.get(id_), dense.get(id_)) for id_ in self._found], rows=self._found)

    @program
    def rows(self, ids):
        return {id_: self._found[id_] for id_ in ids if id_ in self._found}

    @program
    def namespaces(self, tenant, prefix, now):
        return sorted({item.row.namespace for item in self._below(tenant, prefix, now)})

    @program
    def sweep(self, tenant, now, limit):
        expired = [key for key, item in self._items.items() if key[0] == tenant and not alive(item, now)][:limit]
        for key in expired:
            del self._items[key]
        return len(expired)

    @program
    def fits(self, tenant, dimensions):
        return None

    @program
    def refuses(self, tenant, dimensions):
        return None

    @program
    def unembed(self, tenant, dimensions, after):
        for item in self._below(tenant, (), -math.inf):
            item.vectors = []

    @program
    def unembedded(self, tenant, dimensions, after, limit, now):
        found = [
            IndexedItem(item.row, item.paths)
            for item in self._below(tenant, (), now)
            if item.text is not None and not any(len(vector) == width_of(dimensions) for vector in item.vectors)
        ]
        return found[:limit], None

    @program
    def set_words(self, tenant, items):
        for row, words in items:
            item = self._items.get((tenant, row.namespace, row.key))
            if item is not None and item.text is not None and item.row.revision == row.revision:
                item.text = pack_words(words.split())

    @program
    def embed(self, tenant, items):
        done = 0
        for row, vectors in items:
            item = self._items.get((tenant, row.namespace, row.key))
            if item is not None and item.row.revision == row.revision:
                item.vectors = list(vectors)
                done += 1
        return done


@dataclass
class Thread:
    created_at: float
    updated_at: float
    expires_at: float | None = None
    ttl: float | None = None
    secret: Any = None
    user_id: str | None = None
    users: dict[str, float] = field(default_factory=dict)
    checkpoints: dict[CheckpointKey, Any] = field(default_factory=dict)
    writes: dict[CheckpointKey, dict[tuple[str, int], Any]] = field(default_factory=dict)
    values: dict[Any, Any] = field(default_factory=dict)
    elements: dict[bytes, Any] = field(default_factory=dict)


class Checkpoints:
    def __init__(self) -> None:
        self._threads: dict[ThreadKey, Thread] = {}

    def _use(self, key: ThreadKey, use: Any) -> Thread:
        thread = self._threads.get(key)
        if not alive(thread, use.now):
            thread = self._threads[key] = Thread(use.now, use.now, ttl=use.ttl)
        thread.updated_at = max(thread.updated_at, use.now)
        if thread.ttl is not None:
            thread.expires_at = max(use.now + thread.ttl, thread.expires_at or 0.0)
        if use.user_id is not None:
            thread.user_id = use.user_id
            thread.users[use.user_id] = max(use.now, thread.users.get(use.user_id, 0.0))
        return thread

    @program
    def secret(self, thread, proposal, use):
        used = self._use(thread, use)
        used.secret = used.secret or proposal
        return used.secret

    @staticmethod
    def _accepts(thread: Thread, put: Any, use: Any) -> bool:
        if use.secret is not None:
            thread.secret = thread.secret or use.secret
            if thread.secret != use.secret:
                return False
        return all(
            key in thread.values and digest in ("", thread.values[key].digest) for key, digest in put.requires.items()
        )

    @staticmethod
    def _add(thread: Thread, put: Any) -> None:
        thread.values.update({value.key: value for value in put.values if value.key not in thread.values})
        thread.elements.update(put.elements)

    @program
    def put(self, thread, put, codec, use):
        used = self._use(thread, use)
        if not self._accepts(used, put, use) or any(value.key in used.values for value in put.values):
            return False
        document = codec.dump_document(put.row._asdict() | {"thread_id": "", "key": None})
        used.checkpoints[put.row.key] = (put.row.parent_id, put.run_id, use.now, document)
        self._add(used, put)
        return True

    @program
    def put_writes(self, thread, put, use):
        used = self._use(thread, use)
        if not self._accepts(used, put, use):
            return False
        writes = used.writes.setdefault(put.checkpoint, {})
        for write in put.writes:
            if write.write_index < 0 or (write.task_id, write.write_index) not in writes:
                writes[write.task_id, write.write_index] = write
        self._add(used, put)
        return True

    def _row(self, thread_id: str, thread: Thread, key: CheckpointKey, codec: Any) -> Any:
        parent_id, *_, document = thread.checkpoints[key]
        known = codec.load_document(document)
        return checkpoint_row(thread_id, key, parent_id, known)

    def _alive(self, key: ThreadKey, now: float = -math.inf) -> Thread | None:
        thread = self._threads.get(key)
        return thread if alive(thread, now) else None

    @program
    def get(self, thread, namespace, checkpoint_id, codec, now):
        found = self._alive(thread, now)
        keys = [
            key
            for key in (found.checkpoints if found else ())
            if key.namespace == namespace and checkpoint_id in (None, key.checkpoint_id)
        ]
        if not keys:
            return None
        return self._load(found, [self._row(thread.thread_id, found, max(keys), codec)])[0]

    @program
    def page(self, tenant, thread_id, namespace, checkpoint_id, before, after, limit, codec, now):
        rows = [
            (key.checkpoint_id, own.thread_id, key.namespace)
            for own, thread in self._threads.items()
            if own.tenant == tenant and thread_id in (None, own.thread_id) and alive(thread, now)
            for key in thread.checkpoints
            if namespace in (None, key.namespace)
            and checkpoint_id in (None, key.checkpoint_id)
            and (before is None or key.checkpoint_id < before)
        ]
        page = [row for row in sorted(rows, reverse=True) if after is None or row < after][:limit]
        return [
            self._row(own, self._threads[ThreadKey(tenant, own)], CheckpointKey(space, id_), codec)
            for id_, own, space in page
        ]

    @program
    def load(self, tenant, rows):
        return [self._load(self._threads[ThreadKey(tenant, row.thread_id)], [row])[0] for row in rows]

    def _writes(self, thread: Thread | None, key: CheckpointKey) -> list[Any]:
        writes = thread.writes.get(key, {}) if thread else {}
        return sorted(writes.values(), key=lambda one: (one.task_path, one.task_id, one.write_index))

    def _load(self, thread: Thread, rows: list[Any]) -> list[LoadedCheckpoint]:
        pending = {row.key: self._writes(thread, row.key) for row in rows}
        parts = Parts.of(rows, pending, thread.values, thread.elements, thread.secret)
        return [LoadedCheckpoint(row, pending[row.key], parts) for row in rows]

    @program
    def ancestors(self, thread, checkpoint, limit, codec, now=0.0):
        found, line = self._alive(thread, now), []
        while found and checkpoint in found.checkpoints and len(line) < limit:
            line.append(self._row(thread.thread_id, found, checkpoint, codec))
            if line[-1].parent_id is None:
                break
            checkpoint = CheckpointKey(checkpoint.namespace, line[-1].parent_id)
        return line

    @program
    def writes(self, thread, checkpoints, channels):
        found = self._alive(thread)
        pending = {key: [one for one in self._writes(found, key) if one.channel in channels] for key in checkpoints}
        parts = found or Thread(0.0, 0.0)
        return pending, Parts.of([], pending, parts.values, parts.elements, parts.secret)

    @program
    def entries(self, thread):
        found = self._alive(thread)
        every = sorted((found.checkpoints if found else {}).items(), key=lambda one: one[0].checkpoint_id)
        return [CheckpointEntry(key, parent, run_id, created) for key, (parent, run_id, created, _) in every]

    @program
    def threads_of_runs(self, tenant, run_ids):
        return [
            key.thread_id
            for key, thread in self._threads.items()
            if key.tenant == tenant and any(run_id in run_ids for _, run_id, *_ in thread.checkpoints.values())
        ]

    @program
    def delete(self, thread, checkpoints, codec, known):
        found = self._threads[thread]
        for key in checkpoints:
            found.checkpoints.pop(key, None)
            found.writes.pop(key, None)
        for key, (parent, *rest) in list(found.checkpoints.items()):
            if parent is not None and CheckpointKey(key.namespace, parent) not in found.checkpoints:
                found.checkpoints[key] = (None, *rest)
        rows = [self._row(thread.thread_id, found, key, codec) for key in found.checkpoints]
        needed = {key for row in rows for key in row.value_keys()}
        pending = [(key, one) for key, writes in found.writes.items() for one in writes.values()]
        needed |= {value for key, one in pending if (value := one.value_key(key.namespace))}
        for key in list(needed):
            while key in found.values and (base := found.values[key].base) is not None and base not in needed:
                needed.add(base)
                key = base
        found.values = {key: value for key, value in found.values.items() if key in needed}
        runs = [value.data for value in found.values.values() if value.kind != PLAIN]
        runs += [one.data for _, one in pending if one.kind not in (PLAIN, VALUE)]
        held = {reference for one in runs for reference in each_reference(one)}
        found.elements = {key: element for key, element in found.elements.items() if key in held}

    @program
    def delete_thread(self, thread):
        self._threads.pop(thread, None)

    @program
    def copy_thread(self, source, target, now):
        found, taken = self._alive(source, now), self._alive(target, now)
        if found is None:
            return True
        if taken is not None and (taken.checkpoints or taken.writes):
            return False
        twin = self._threads[target] = copy.deepcopy(found)
        twin.created_at = twin.updated_at = now
        return True

    @program
    def threads(self, tenant, user_id, limit, offset, now):
        listed = [
            ThreadRow(
                key.thread_id,
                thread.user_id,
                len(thread.checkpoints),
                thread.created_at,
                thread.updated_at,
                thread.expires_at,
                dict(sorted(thread.users.items(), key=lambda one: one[1])),
            )
            for key, thread in self._threads.items()
            if key.tenant == tenant
            and alive(thread, now)
            and (user_id is OMITTED or (not thread.users if user_id is None else user_id in thread.users))
        ]
        listed.sort(key=lambda row: row.updated_at, reverse=True)
        return listed[offset : None if limit is None else offset + limit]

    @program
    def set_ttl(self, thread, ttl, now):
        found = self._alive(thread, now)
        if found is not None:
            found.ttl, found.expires_at = ttl, None if ttl is None else max(now, found.updated_at) + ttl
        return found is not None

    @program
    def sweep(self, tenant, now, limit):
        expired = [key for key, one in self._threads.items() if key.tenant == tenant and not alive(one, now)][:limit]
        for key in expired:
            del self._threads[key]
        return len(expired)


def checkpoint_row(thread_id: str, key: CheckpointKey, parent_id: str | None, known: dict[str, Any]) -> CheckpointRow:
    return CheckpointRow(
        thread_id, key, parent_id, known["checkpoint"], known["metadata"], known["inline"], known["stored"]
    )


class DictBackend(Backend):
    """Runs one program at a time, and restores the state if one fails."""

    name = "dict"

    def __init__(self) -> None:
        self.messages, self.items, self.checkpoints = Messages(), Items(), Checkpoints()
        self._lock = threading.RLock()
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    def read(self, program):
        return self.write(program)

    async def aread(self, program):
        return await self.awrite(program)

    def write(self, program):
        with self._lock:
            if self._closed:
                raise StorageClosedError("This memory is closed: create a new one.")
            tables = (self.messages, self.items, self.checkpoints)
            before = [copy.deepcopy(vars(table)) for table in tables]
            try:
                return run(program, self._refuse)
            except BaseException:
                for table, state in zip(tables, before, strict=True):
                    vars(table).update(state)
                raise

    async def awrite(self, program):
        return await asyncio.to_thread(self.write, program)

    def close(self) -> None:
        self._closed = True

    async def aclose(self) -> None:
        self.close()

    @staticmethod
    def _refuse(step: Any) -> Any:
        raise TypeError(f"A program of this backend yields no steps, got {step!r}.")
