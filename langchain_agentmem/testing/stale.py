"""Tests of stale rows, which the contract of a backend includes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain_agentmem.backends.contract import (
    Backend,
    DoomedSession,
    SessionKey,
    StaleScan,
    VariablePut,
    VariableScope,
)
from langchain_agentmem.programs import Program
from langchain_agentmem.testing.cases import HOSTILE_IDS, KEY, NOW, ContractCase, item, turn

LATER = NOW + 100
SCAN = StaleScan("default", NOW + 50, LATER, None, 3)


class StaleContract(ContractCase):
    """The contract of stale rows. `BackendContract` includes it."""

    def _every(
        self, backend: Backend, page_of: Callable[[StaleScan], Program[Any]], scan: StaleScan = SCAN
    ) -> list[Any]:
        """Return the rows of all pages of a listing."""
        found: list[Any] = []
        while True:
            rows, after = self.read(backend, page_of(scan))
            found += rows
            if after is None:
                return found
            scan = scan._replace(after=after)

    def test_pages_of_stale_rows_are_complete(self, backend: Backend) -> None:
        for one in HOSTILE_IDS:
            self.write(backend, backend.messages.append(SessionKey("default", one, one), turn("a")))
            self.write(backend, backend.items.put("default", [item(one, namespace=(one, "x"))], NOW))
            self.write(backend, backend.variables.set(VariableScope("default", one), [VariablePut("n", "1")], NOW))
        self.write(backend, backend.messages.append(KEY, turn("new", now=LATER)))
        self.write(backend, backend.messages.append(SessionKey("other", None, "1"), turn("a")))
        stale = backend.stale
        assert sorted(row.key[1:] for row in self._every(backend, stale.sessions)) == sorted(
            (one, one) for one in HOSTILE_IDS
        )
        assert sorted(row.key for row in self._every(backend, stale.items)) == sorted(HOSTILE_IDS)
        found = self._every(backend, stale.variables)
        assert sorted(str(row.scope.user_id) for row in found) == sorted(HOSTILE_IDS)

    def test_a_stale_session_is_deleted_unless_it_changed(self, backend: Backend) -> None:
        self.write(backend, backend.messages.append(KEY, turn("a", "b")))
        other = KEY._replace(session_id="2")
        self.write(backend, backend.messages.append(other, turn("a")))
        rows = self._every(backend, backend.stale.sessions)
        doomed = [DoomedSession(row, None) for row in rows]
        self.write(backend, backend.messages.append(KEY, turn("c", now=NOW + 1)))
        deleted = self.write(backend, backend.stale.delete_sessions(doomed, LATER))
        assert {one.row.key: gone for one, gone in zip(doomed, deleted, strict=True)} == {KEY: False, other: True}
        assert self._texts(backend) == ["a", "b", "c"]
        assert self._texts(backend, other) == []

    def test_older_messages_are_deleted_unless_they_changed(self, backend: Backend) -> None:
        self.write(backend, backend.messages.append(KEY, turn("a", "b", "c", "d")))
        assert self._every(backend, lambda scan: backend.stale.messages(scan, every=False)) == []
        every = self._every(backend, lambda scan: backend.stale.messages(scan, every=True))
        assert [one.row.position for one in every] == [0, 1, 2, 3]
        self.write(backend, backend.messages.append(KEY, turn("new", now=LATER)))
        found = self._every(backend, lambda scan: backend.stale.messages(scan, every=False))
        rows = [one.row for one in found if one.row.created_at == NOW]
        assert [row.body.data for row in rows[:2]] == [b"a", b"b"]
        changed = rows[1]._replace(body=rows[1].body._replace(data=b"other"))
        assert self.write(backend, backend.stale.delete_messages(KEY, [rows[0], changed], LATER)) == 1
        assert self._texts(backend)[:2] == ["b", "c"]

    def test_a_stale_variable_is_deleted_unless_it_was_updated(self, backend: Backend) -> None:
        scope = VariableScope("default", "alice", None, "writer")
        self.write(backend, backend.variables.set(scope, [VariablePut("a", "1"), VariablePut("b", "2")], NOW))
        rows = self._every(backend, backend.stale.variables)
        self.write(backend, backend.variables.set(scope, [VariablePut("b", "3")], LATER))
        assert self.write(backend, backend.stale.delete_variables(rows, LATER)) == 1
        left = self.read(backend, backend.variables.read(scope, None, LATER))
        assert [(row.name, row.value) for row in left] == [("b", "3")]

    def test_variables_of_a_session_are_those_of_all_agents(self, backend: Backend) -> None:
        for agent in ("writer", None):
            scope = VariableScope(*KEY, agent)
            self.write(backend, backend.variables.set(scope, [VariablePut("n", "1")], NOW))
        found = self.read(backend, backend.stale.session_variables(KEY, NOW))
        assert {row.scope for row in found} == {VariableScope(*KEY, "writer"), VariableScope(*KEY)}
