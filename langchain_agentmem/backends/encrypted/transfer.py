"""Whole rows of an encrypted tenant, as export reads them and import restores them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_agentmem.backends.contract import (
    HeadChangedError,
    ItemKey,
    ItemState,
    LogHead,
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
    ThreadWrite,
    TransferTable,
    VariableRow,
)
from langchain_agentmem.backends.contract.messages import LIST_SUMMARY
from langchain_agentmem.backends.encrypted.heads import NO_TITLE, Head
from langchain_agentmem.backends.encrypted.message_rows import added, check_page, is_deleted
from langchain_agentmem.backends.encrypted.records import RecordCipher
from langchain_agentmem.backends.encrypted.session_rows import SessionCipher
from langchain_agentmem.backends.encrypted.tables import EncryptedTable, as_inner, refuse_head
from langchain_agentmem.backends.encrypted.thread_transfer import ThreadTransfer
from langchain_agentmem.backends.encrypted.variable_heads import NO_HEAD, by_scope
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.layout import StoredValue
from langchain_agentmem.programs import Program, storage_program, together

if TYPE_CHECKING:
    from langchain_agentmem.backends.encrypted.backend import EncryptedBackend


class EncryptedTransfer(EncryptedTable[TransferTable]):
    """Implements `langchain_agentmem.backends.contract.TransferTable`. Listings are in the order of the encrypted IDs.

    Args:
        backend: The encrypted backend, whose other tables decrypt their rows.
    """

    def __init__(self, backend: EncryptedBackend) -> None:
        super().__init__(backend.inner.transfer, backend.ring)
        self._backend = backend
        self._heads = backend.inner.messages
        self._messages = SessionCipher(self._inner, backend.ring)
        self._records = RecordCipher(self._inner, backend.ring)
        self._variables = backend.variable_table.guard
        self._threads = ThreadTransfer(backend.inner, backend.ring, backend.checkpoint_table)

    # Sessions

    @as_inner
    def sessions(self, keys: Sequence[SessionKey], now: float) -> Program[list[SessionState | None]]:
        found = yield from self._inner.sessions([self._key(key) for key in keys], now)
        return [
            None if state is None else self._plain_state(key, state, now)
            for key, state in zip(keys, found, strict=True)
        ]

    def _plain_state(self, key: SessionKey, state: SessionState, now: float) -> SessionState:
        summaries = {}
        for agent, one in state.summaries.items():
            name = agent if agent in ("", LIST_SUMMARY) else self._ring.plain_id("agent", agent)
            value, covers = self.plain_summary(key, name, one.value)
            summaries[name] = StoredSummary(value, one.revision, covers)
        told = {agent: (one.value, one.covers) for agent, one in summaries.items()}
        self._messages.check_summaries(key, told, state.head)
        return state._replace(
            key=key,
            title=self._messages.plain_title(key, state.title, state.head),
            metadata=self._messages.plain_metadata(key, state.metadata, state.head),
            summaries=summaries,
            head=None,
            variables=_sorted(self._variables.checked_scopes(state.variables, now)),
        )

    @storage_program
    def messages(
        self, key: SessionKey, after: int, limit: int, now: float, *, complete: bool = True
    ) -> Program[list[MessageRow]]:
        sealed, cipher = self._key(key), self._messages
        kept: list[MessageRow] = []
        start = after
        while True:
            stored, rows = yield from together(
                [self._heads.head(sealed, now), self._inner.messages(sealed, start, limit - len(kept), now)]
            )
            head = cipher.head(key, stored, restoring=not complete and (stored.value is not None or not rows))
            left = [row for row in rows if not is_deleted(head, row.position)]
            kept += left
            if len(kept) == limit or len(left) == len(rows):
                break
            start = rows[-1].position  # an interrupted deletion has left messages: read others in their place
        if head.next_position == stored.next_position:
            check_page(key, head, None, after, limit, kept)
        found = []
        for row in kept:
            plain = cipher.plain(key, head, row)
            vector = cipher.words("vector", key, row.position, row.vector)
            found.append(plain.row._replace(vector=vector, id_digest=plain.id_digest))
        return found

    @storage_program
    def restore_sessions(self, states: Sequence[SessionState], now: float) -> Program[list[bool]]:
        sealed = yield from together([self._sealed_state(state, now) for state in states])
        return (yield from self._inner.restore_sessions(sealed, now))

    def _sealed_state(self, state: SessionState, now: float) -> Program[SessionState]:
        key = state.key
        variables: list[VariableRow] = []
        for scope, own in by_scope(state.variables).items():
            change, rows = yield from self._variables.restoring(scope, own, now, NO_HEAD)
            variables += [*rows, *self._variables.head_rows(self._variables.cipher.scope(scope), change, now)]
        return state._replace(
            key=self._key(key),
            title=self._messages.title(key, state.title),
            metadata=self._messages.metadata(key, state.metadata),
            head=self._messages.sealed_head(key, self._new_head(state)),
            summaries={
                agent if agent in ("", LIST_SUMMARY) else self._ring.id("agent", agent): one._replace(
                    value=self.sealed_summary(key, agent, one.value, one.covers)
                )
                for agent, one in state.summaries.items()
            },
            variables=variables,
        )

    def _new_head(self, state: SessionState) -> Head:
        position = -1 if state.title_position is None else state.title_position
        title = NO_TITLE if state.title is None else (self._messages.title_digest(state.title), position)
        metadata = self._messages.metadata_digest(state.metadata)
        told = {
            agent: (self._messages.summary_digest(one.value, one.covers),) for agent, one in state.summaries.items()
        }
        return Head.new(state.next_position)._replace(titles=(title,), metadata=(metadata,), summaries=told)

    @storage_program
    def restore_messages(self, rows: Mapping[SessionKey, Sequence[MessageRow]], now: float) -> Program[int]:
        keys = [key for key, own in rows.items() if own]
        heads = yield from together([self._heads.head(self._key(key), now) for key in keys])
        existing = yield from self._existing(dict(zip(keys, heads, strict=True)), now)
        swaps = []
        sealed: dict[SessionKey, list[MessageRow]] = {}
        for key, stored in zip(keys, heads, strict=True):
            if key not in existing:
                continue
            head = self._messages.head(key, stored, restoring=True)
            new = {row.position: added(row) for row in rows[key] if not head.has(row.position)}
            if new:
                head = head.restored(new)
                swaps.append(self._swap(key, stored, head, now))
            sealed[self._key(key)] = [
                self._messages.sealed(key, head, row.position, head.accepted(row.position)[-1], row)
                for row in rows[key]
            ]
        yield from together(swaps)  # the heads are first, so that an interrupted restoration can be continued
        return (yield from self._inner.restore_messages(sealed, now))

    def _existing(self, heads: Mapping[SessionKey, LogHead], now: float) -> Program[set[SessionKey]]:
        """Return the sessions that exist. One without messages may have no head."""
        unknown = [key for key, stored in heads.items() if stored == LogHead(0, None)]
        openings = self._backend.inner.openings
        found = yield from together([openings.get(self._key(key), now) for key in unknown])
        return set(heads) - {key for key, row in zip(unknown, found, strict=True) if row is None}

    def _swap(self, key: SessionKey, stored: LogHead, head: Head, now: float) -> Program[None]:
        value = self._messages.sealed_head(key, head)
        if not (yield from self._heads.swap_head(self._key(key), stored.value, value, now)):
            raise HeadChangedError

    @as_inner
    def restore_records(self, tenant: str, rows: Sequence[RecordRow], now: float) -> Program[int]:
        sealed = [self._records.sealed(tenant, row) for row in rows]
        return (yield from self._inner.restore_records(tenant, sealed, now))

    # Variables outside of sessions

    @as_inner
    def variables(self, tenant: str, user_id: str | None, now: float) -> Program[list[VariableRow]]:
        rows = yield from self._inner.variables(tenant, self._user(user_id), now)
        return _sorted(self._variables.checked_scopes(rows, now))

    @storage_program
    def restore_variables(
        self, tenant: str, rows: Sequence[VariableRow], now: float, head: ScopeHead | None = None
    ) -> Program[int]:
        refuse_head(head)
        restored = 0
        for scope, own in by_scope(rows).items():
            table, cipher = self._backend.inner.variables, self._variables.cipher
            sealed_scope = cipher.scope(scope)
            stored = yield from table.read(sealed_scope, [cipher.name(row.name) for row in own], now)
            known = {row.name for row in stored if row.scope == sealed_scope}
            new = [row for row in own if cipher.name(row.name) not in known]
            if new:
                change, sealed = yield from self._variables.restoring(scope, new, now)
                restored += yield from self._inner.restore_variables(tenant, sealed, now, change.head)
                self._variables.keep(scope, change)
        return restored

    # Items

    @storage_program
    def item_keys(self, tenant: str, root: str, after: Any, limit: int, now: float) -> Program[Page[ItemKey]]:
        table = self._backend.item_table
        guarded = table.guard.guards(tenant)
        start, number, before = after or (None, 0, None)
        if guarded and after is None:
            before = yield from table.guard.rows_below(tenant, (root,), now)
        keys, following = yield from self._inner.item_keys(tenant, self._ring.label(root), start, limit, now)
        keys = [(namespace, key) for namespace, key in keys if not table.guard.is_head(namespace)]
        if (
            guarded and keys and self._backend.name == "redis"
        ):  # the keys are those of an index, and an item may be missing
            found = yield from self._backend.inner.items.get(tenant, keys, now)
            keys = [key for key, row in zip(keys, found, strict=True) if row is not None]
        number += len(keys)
        if guarded and following is None:
            yield from table.guard.check_number(tenant, root, before or [], number, now)
        plain = table.seal.plain_namespace
        page = [(plain(namespace), self._ring.plain_id("key", key)) for namespace, key in keys]
        return page, None if following is None else (following, number, before)

    @storage_program
    def items(self, tenant: str, keys: Sequence[ItemKey], now: float) -> Program[list[ItemState | None]]:
        return (yield from self._backend.item_table.states(tenant, keys, now))

    @storage_program
    def restore_items(
        self, tenant: str, items: Sequence[ItemState], now: float, replaced: Sequence[ItemKey] = ()
    ) -> Program[int]:
        return (yield from self._backend.item_table.restore(tenant, items, now, replaced))

    # Threads

    @as_inner
    def thread_ids(self, tenant: str, after: Any, limit: int, now: float) -> Program[Page[str]]:
        ids, following = yield from self._inner.thread_ids(tenant, after, limit, now)
        return [self._ring.plain_id("thread", one) for one in ids], following

    @as_inner
    def threads(self, tenant: str, thread_ids: Sequence[str], now: float) -> Program[list[ThreadState | None]]:
        sealed = [self._ring.id("thread", one) for one in thread_ids]
        found = yield from self._inner.threads(tenant, sealed, now)
        return [None if state is None else self._threads.plain_state(state) for state in found]

    @storage_program
    def elements(self, thread: ThreadKey, after: Any, limit: int) -> Program[Page[StoredElement]]:
        seal = yield from self._threads.seal(thread)
        found, following = yield from self._inner.elements(self._threads.key(thread), after, limit)
        return [StoredElement(one, seal.plain_element(one, typed)) for one, typed in found], following

    @storage_program
    def values(self, thread: ThreadKey, after: Any, limit: int) -> Program[Page[StoredValue]]:
        seal = yield from self._threads.seal(thread)
        found, following = yield from self._inner.values(self._threads.key(thread), after, limit)
        return [seal.plain_stored_value(one) for one in found], following

    @storage_program
    def checkpoints(self, thread: ThreadKey, after: Any, limit: int, codec: Codec) -> Program[Page[StoredCheckpoint]]:
        return (yield from self._threads.checkpoints(thread, after, limit, codec))

    @storage_program
    def writes(self, thread: ThreadKey, after: Any, limit: int) -> Program[Page[ThreadWrite]]:
        seal = yield from self._threads.seal(thread)
        found, following = yield from self._inner.writes(self._threads.key(thread), after, limit)
        return [ThreadWrite(key, seal.plain_writes(key, [write], None)[0]) for key, write in found], following

    @storage_program
    def restore_threads(self, states: Sequence[ThreadState], now: float) -> Program[list[bool]]:
        return (yield from self._inner.restore_threads([self._threads.sealed_state(state) for state in states], now))

    @storage_program
    def restore_rows(self, rows: Mapping[ThreadKey, ThreadRows], codec: Codec) -> Program[None]:
        for thread, own in rows.items():
            yield from self._threads.restore_rows(thread, own, codec)


def _sorted(rows: list[VariableRow]) -> list[VariableRow]:
    """Sort variables by agent and name: the database sorts them by the encrypted ones."""
    return sorted(rows, key=lambda row: (row.scope.agent or "", row.name))
