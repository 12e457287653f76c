"""Tests of the transfer table, which the contract of a backend includes."""

from __future__ import annotations

import pytest

from langchain_agentmem.backends.contract import (
    LIST_SUMMARY,
    Backend,
    CheckpointKey,
    CheckpointRow,
    HeadChangedError,
    ItemRow,
    ItemState,
    RecordQuery,
    Replacement,
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
    VariablePut,
    VariableRow,
    VariableScope,
)
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.layout import LIST, PLAIN, StoredValue, ValueKey
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.testing.cases import HOSTILE_IDS, KEY, NOW, ContractCase, message
from langchain_agentmem.testing.records import record
from langchain_agentmem.text.vectors import unit

SESSION = SessionState(
    KEY,
    "A title",
    3,
    9,
    NOW - 50.25,
    NOW - 40.5,
    NOW + 500,
    '{"b":1}',
    {
        "": StoredSummary('{"text":"a"}', 0, 4),
        "writer": StoredSummary('"b"', 0),
        LIST_SUMMARY: StoredSummary('"c"', 0, 0),
    },
    [
        VariableRow(VariableScope(*KEY), "tone", '"kind"', NOW - 30, NOW - 20, NOW + 900),
        VariableRow(VariableScope(*KEY, "writer"), "a", "[1]", NOW - 30, NOW - 20, None),
    ],
)
THREAD = ThreadKey("default", "thread-1")
CODEC = Codec()


def item_state(key: str, namespace: tuple[str, ...] = ("docs", "a"), age: float = 9.0) -> ItemState:
    """Return an item to restore, that was updated some seconds before `NOW`."""
    row = ItemRow(namespace, key, "{}", NOW - 10.5, NOW - age, 600.0, 0, '["text"]')
    vectors = sorted([unit([1.0, 0.0, 0.5]), unit([0.0, 1.0, 0.25])])
    return ItemState(row, NOW + 591, "pizza", vectors)


def checkpoint(checkpoint_id: str, namespace: str = "") -> StoredCheckpoint:
    """Return a checkpoint to restore."""
    row = CheckpointRow(
        THREAD.thread_id,
        CheckpointKey(namespace, checkpoint_id),
        None,
        {"id": checkpoint_id, "channel_versions": {"log": "1"}},
        {"run_id": "run-1", "step": 1},
        {"n": (1, 2)},
        {"log": "1"},
    )
    return StoredCheckpoint(row, "run-1", NOW - 5.25)


class TransferContract(ContractCase):
    """The contract of a transfer table. `BackendContract` includes it."""

    # Sessions

    def test_a_session_is_restored_as_it_was(self, backend: Backend) -> None:
        assert self.write(backend, backend.transfer.restore_sessions([SESSION], NOW)) == [True]
        (found,) = self.read(backend, backend.transfer.sessions([KEY], NOW))
        assert found is not None
        assert {agent: one._replace(revision=0) for agent, one in found.summaries.items()} == SESSION.summaries
        variables = sorted(found.variables, key=SESSION.variables.index)  # a backend may return them in any order
        assert found._replace(summaries=SESSION.summaries, variables=variables) == SESSION
        stored = self.read(backend, backend.messages.summary(KEY, "writer", NOW))
        assert stored is not None
        assert stored.value == '"b"'

    def test_a_session_that_exists_is_not_replaced(self, backend: Backend) -> None:
        assert self.write(backend, backend.transfer.restore_sessions([SESSION], NOW)) == [True]
        other = SESSION._replace(title="Another", variables=())
        assert self.write(backend, backend.transfer.restore_sessions([other], NOW)) == [False]
        assert self._state(backend).title == "A title"
        later = NOW + 501
        assert self.write(backend, backend.transfer.restore_sessions([other._replace(expires_at=None)], later)) == [
            True
        ]
        (found,) = self.read(backend, backend.transfer.sessions([KEY], later))
        assert found is not None
        assert (found.title, list(found.variables)) == ("Another", [])

    def test_messages_are_restored_at_their_positions(self, backend: Backend) -> None:
        rows = [message(at, f"text {at}", role="system" if at == 3 else "human", agent="writer") for at in (3, 5, 6)]
        rows = [row._replace(vector=unit([1.0, row.position]), created_at=NOW - row.position) for row in rows]
        assert self.write(backend, backend.transfer.restore_messages({KEY: rows}, NOW)) == 0
        self.write(backend, backend.transfer.restore_sessions([SESSION], NOW))
        assert self.write(backend, backend.transfer.restore_messages({KEY: rows[1:]}, NOW)) == 2
        assert self.write(backend, backend.transfer.restore_messages({KEY: rows}, NOW)) == 1
        found = self.read(backend, backend.transfer.messages(KEY, -1, 10, NOW))
        assert [row._replace(words=None, id_digest=None) for row in found] == [
            row._replace(words=None, id_digest=None) for row in rows
        ]
        assert [row.position for row in self.read(backend, backend.transfer.messages(KEY, 3, 1, NOW))] == [5]
        assert self.read(backend, backend.messages.count(KEY, None, NOW)) == 3
        state = self._state(backend)
        assert (state.title, state.next_position, state.updated_at) == ("A title", 9, NOW - 40.5)
        assert self.read(backend, backend.messages.window(KEY, "writer", 1, NOW))[0].position == 3

    def test_several_sessions_are_restored_together(self, backend: Backend) -> None:
        expired, known, new = (
            SESSION._replace(key=SessionKey("default", user, f"several-{number}"), variables=())
            for number, user in enumerate((None, "alice", "alice"))
        )
        scope = VariableScope(*new.key)
        new = new._replace(variables=[VariableRow(scope, "tone", '"kind"', NOW - 30, NOW - 20, None)])
        assert self.write(
            backend, backend.transfer.restore_sessions([expired, known._replace(expires_at=None)], NOW)
        ) == [
            True,
            True,
        ]
        later = NOW + 501
        states = [one._replace(title=f"Title {at}", expires_at=None) for at, one in enumerate((expired, known, new))]
        assert self.write(backend, backend.transfer.restore_sessions(states, later)) == [True, False, True]
        keys = [state.key for state in states]
        found = self.read(backend, backend.transfer.sessions(keys, later))
        assert [one and (one.title, len(one.variables)) for one in found] == [
            ("Title 0", 0),
            ("A title", 0),
            ("Title 2", 1),
        ]
        rows = {key: [message(at, f"text {at}") for at in (9, 10)] for key in (*keys, KEY)}
        assert self.write(backend, backend.transfer.restore_messages({new.key: rows[new.key][:1]}, later)) == 1
        assert self.write(backend, backend.transfer.restore_messages(rows, later)) == 5
        for key in keys:
            assert self.read(backend, backend.messages.count(key, None, later)) == 2
        assert [one and one.next_position for one in self.read(backend, backend.transfer.sessions(keys, later))] == [
            11
        ] * 3
        assert self.read(backend, backend.transfer.sessions([KEY], later)) == [None]
        assert self.write(backend, backend.transfer.restore_sessions([], later)) == []
        assert self.write(backend, backend.transfer.restore_messages({}, later)) == 0

    def test_a_restored_title_waits_for_its_message(self, backend: Backend) -> None:
        rows = [message(at, f"text {at}", agent="writer")._replace(id_digest=bytes([at] * 16)) for at in (1, 3)]
        self.write(backend, backend.transfer.restore_sessions([SESSION], NOW))
        self.write(backend, backend.transfer.restore_messages({KEY: rows[:1]}, NOW))
        self.write(backend, backend.messages.replace(KEY, Replacement(bytes([1] * 16), message(0, "edited")), NOW))
        assert self._state(backend).title == "A title"
        self.write(backend, backend.transfer.restore_messages({KEY: rows[1:]}, NOW))
        assert self._state(backend).title == "A title"
        self.write(backend, backend.messages.clear(KEY, "writer"))
        assert self._state(backend).title is None

    def test_vectors_are_read_whatever_the_order_of_their_storage(self, backend: Backend) -> None:
        rows = [message(at, f"text {at}")._replace(vector=unit([1.0, at + 1.0])) for at in range(30)]
        self.write(backend, backend.transfer.restore_sessions([SESSION._replace(title=None)], NOW))
        for some in (rows[10:20], rows[:10], rows[20:]):
            self.write(backend, backend.transfer.restore_messages({KEY: some}, NOW))
            for after in (-1, 4, 13, 28):
                found = self.read(backend, backend.transfer.messages(KEY, after, 7, NOW))
                assert all(row.vector == rows[row.position].vector for row in found)
        self.write(backend, backend.messages.clear(KEY, None))
        assert self.read(backend, backend.transfer.messages(KEY, -1, 7, NOW)) == []

    def test_records_are_restored_without_using_their_session(self, backend: Backend) -> None:
        own, lost = record(user_id="alice", session_id="session-1"), record(1, session_id="missing")
        alone = record(2, agent="b")
        self.write(backend, backend.transfer.restore_sessions([SESSION], NOW))
        for _ in range(2):
            self.write(backend, backend.transfer.restore_records("default", [own, lost, alone], NOW))
        found = self.read(backend, backend.records.query(RecordQuery("default", newest_first=False), NOW))
        assert found == [own, alone]
        assert self._state(backend).updated_at == NOW - 40.5

    def _state(self, backend: Backend) -> SessionState:
        (found,) = self.read(backend, backend.transfer.sessions([KEY], NOW))
        assert found is not None
        return found

    # Variables

    def test_variables_are_restored_unless_they_exist(self, backend: Backend) -> None:
        for user in (None, "alice"):
            rows = [
                VariableRow(VariableScope("default", user, None, agent), name, "1", NOW - 9.5, NOW - 8, NOW + 60)
                for agent in (None, "writer")
                for name in ("a", "b")
            ]
            assert self.write(backend, backend.transfer.restore_variables("default", rows, NOW)) == 4
            changed = [row._replace(value="2") for row in rows]
            assert self.write(backend, backend.transfer.restore_variables("default", changed, NOW)) == 0
            assert self.read(backend, backend.transfer.variables("default", user, NOW)) == rows
            assert self.read(backend, backend.transfer.variables("default", user, NOW + 61)) == []
            later = [row._replace(expires_at=None) for row in changed]
            assert self.write(backend, backend.transfer.restore_variables("default", later, NOW + 61)) == 4
            assert self.read(backend, backend.transfer.variables("default", user, NOW + 61)) == later

    def test_variables_are_restored_together_with_the_head(self, backend: Backend) -> None:
        for scope in (VariableScope("default", "alice"), VariableScope("default", None, None, "writer")):
            rows = [VariableRow(scope, name, "1", NOW - 9.5, NOW - 8, None) for name in ("a", "b")]
            head = ScopeHead("~head", None, VariablePut("~head", "1"))
            assert self.write(backend, backend.transfer.restore_variables("default", rows, NOW, head)) == 2
            more = [row._replace(name=row.name * 2) for row in rows]
            with pytest.raises(HeadChangedError):
                self.write(backend, backend.transfer.restore_variables("default", more, NOW, head))
            found = self.read(backend, backend.variables.read(scope, None, NOW))
            assert {row.name: row.value for row in found} == {"a": "1", "b": "1", "~head": "1"}

    # Items

    def test_items_are_restored_as_they_were(self, backend: Backend) -> None:
        items = [item_state("k"), item_state("l", age=8.0)]
        assert self.write(backend, backend.transfer.restore_items("default", items, NOW)) == 2
        assert self.write(backend, backend.transfer.restore_items("default", items, NOW)) == 0
        keys = [(item.row.namespace, item.row.key) for item in items]
        found = self.read(backend, backend.transfer.items("default", [*keys, (("docs",), "x")], NOW))
        expected = [item._replace(text=None, vectors=list(item.vectors)) for item in items]
        assert [one and one._replace(row=one.row._replace(revision=0)) for one in found] == [*expected, None]
        changed = [item._replace(row=item.row._replace(value='{"changed": true}')) for item in items]
        assert self.write(backend, backend.transfer.restore_items("default", changed, NOW, [keys[1]])) == 1
        found = self.read(backend, backend.transfer.items("default", keys, NOW))
        assert [one and one.row.value for one in found] == [items[0].row.value, '{"changed": true}']
        page, _ = self.read(backend, backend.items.scan("default", ("docs",), None, 10, None, NOW))
        assert [row.key for row in page] == ["l", "k"]
        assert self.read(backend, backend.transfer.items("default", keys, NOW + 592)) == [None, None]
        assert self.write(backend, backend.items.sweep("default", NOW + 592, 10)) == 2

    def test_keys_of_items_are_listed_in_order(self, backend: Backend) -> None:
        expected = sorted((("docs", *rest), key) for rest in ((), ("a",), ("a!",), ("é",)) for key in HOSTILE_IDS)
        for namespace, key in reversed(expected):
            self.write(backend, backend.transfer.restore_items("default", [item_state(key, namespace)], NOW))
        found = []
        after = None
        while True:
            page, after = self.read(backend, backend.transfer.item_keys("default", "docs", after, 7, NOW))
            found += page
            if after is None:
                break
        if self._is_sorted(backend):
            assert found == expected
        assert sorted(found) == expected

    # Threads

    def test_a_thread_is_restored_as_it_was(self, backend: Backend) -> None:
        state = ThreadState(
            THREAD,
            "bob",
            {"alice": NOW - 9.5, "bob": NOW - 8.0},
            NOW - 50,
            NOW - 8,
            600.0,
            NOW + 592,
            CODEC.store(b"s"),
        )
        assert self.write(backend, backend.transfer.restore_threads([state], NOW)) == [True]
        assert self.write(backend, backend.transfer.restore_threads([state._replace(ttl=None)], NOW)) == [False]
        elements = [StoredElement(bytes([at]) * 16, Typed("msgpack", bytes([at]))) for at in range(3)]
        values = [
            StoredValue(ValueKey("", "log", "1"), LIST, "", b"\x00" * 16 + b"\x01" * 16, digest="d" * 16),
            StoredValue(ValueKey("", "log", "2"), LIST, "", b"\x02" * 16, 2, ValueKey("", "log", "1"), 1, 0, "e" * 16),
            StoredValue(ValueKey("sub|a", "n", "1"), PLAIN, "msgpack", b"\x01"),
        ]
        checkpoints = [checkpoint("1"), checkpoint("2"), checkpoint("1", "sub|a")]
        writes = [
            ThreadWrite(CheckpointKey("", "1"), StoredWrite(task, index, "path", "log", PLAIN, "msgpack", b"\x01"))
            for task in ("t-1", "t-2")
            for index in (-3, 0, 1)
        ]
        rows = ThreadRows(elements, values, checkpoints, writes)
        for _ in range(2):
            self.write(backend, backend.transfer.restore_rows({THREAD: rows}, CODEC))
        assert self.read(backend, backend.transfer.threads("default", ["thread-1", "missing"], NOW)) == [state, None]
        table = backend.transfer
        found_elements, _ = self.read(backend, table.elements(THREAD, None, 10))
        found_values, _ = self.read(backend, table.values(THREAD, None, 10))
        found_checkpoints, _ = self.read(backend, table.checkpoints(THREAD, None, 10, CODEC))
        found_writes, _ = self.read(backend, table.writes(THREAD, None, 10))
        assert (found_elements, found_checkpoints) == (elements, checkpoints)
        assert (found_values, found_writes) == (values, writes)
        (listed,) = self.read(backend, backend.checkpoints.threads("default", "alice", None, 0, NOW))
        assert (listed.thread_id, listed.checkpoint_count, listed.user_id) == ("thread-1", 3, "bob")
        assert self.read(backend, backend.transfer.threads("default", ["thread-1"], NOW + 593)) == [None]
        assert self.write(backend, backend.checkpoints.sweep("default", NOW + 593, 10)) == 1

    def test_several_threads_are_restored_together(self, backend: Backend) -> None:
        threads = [ThreadKey("default", f"several-{at}") for at in range(3)]
        states = [ThreadState(key, None, {}, NOW - 50, NOW - 8, None, None, CODEC.store(b"s")) for key in threads]
        expiring = states[0]._replace(ttl=600.0, expires_at=NOW + 592)
        assert self.write(backend, backend.transfer.restore_threads([expiring, states[1]], NOW)) == [True, True]
        later = NOW + 593
        changed = [state._replace(user_id="bob", users={"bob": NOW - 8}) for state in states]
        assert self.write(backend, backend.transfer.restore_threads(changed, later)) == [True, False, True]
        ids = [key.thread_id for key in threads]
        assert self.read(backend, backend.transfer.threads("default", ids, later)) == [
            changed[0],
            states[1],
            changed[2],
        ]
        element = StoredElement(b"\x01" * 16, Typed("msgpack", b"\x01"))
        value = StoredValue(ValueKey("", "log", "1"), LIST, "", b"\x01" * 16, digest="d" * 16)
        rows = {
            key: ThreadRows(
                [element],
                [value],
                [checkpoint(str(at))._replace(row=checkpoint(str(at)).row._replace(thread_id=key.thread_id))],
            )
            for at, key in enumerate(threads)
        }
        self.write(backend, backend.transfer.restore_rows(rows, CODEC))
        for key in threads:
            assert self.read(backend, backend.transfer.elements(key, None, 10)) == ([element], None)
            assert self.read(backend, backend.transfer.values(key, None, 10)) == ([value], None)
            found, _ = self.read(backend, backend.transfer.checkpoints(key, None, 10, CODEC))
            assert found == list(rows[key].checkpoints)
        assert self.write(backend, backend.transfer.restore_threads([], later)) == []
        self.write(backend, backend.transfer.restore_rows({}, CODEC))

    def test_threads_are_listed_in_order(self, backend: Backend) -> None:
        for thread_id in HOSTILE_IDS:
            state = ThreadState(ThreadKey("default", thread_id), None, {}, NOW, NOW, None, None, None)
            self.write(backend, backend.transfer.restore_threads([state], NOW))
        found: list[str] = []
        after = None
        while True:
            page, after = self.read(backend, backend.transfer.thread_ids("default", after, 5, NOW))
            found += page
            if after is None:
                break
        if self._is_sorted(backend):
            assert found == sorted(HOSTILE_IDS)
        assert sorted(found) == sorted(HOSTILE_IDS)

    @staticmethod
    def _is_sorted(backend: Backend) -> bool:
        """Return true if IDs are not encrypted."""
        return not hasattr(backend, "inner")
