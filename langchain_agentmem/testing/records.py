"""Tests of the record table, which the contract of a backend includes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from langchain_agentmem.arguments.omitted import OMITTED
from langchain_agentmem.backends.contract import (
    Backend,
    RecordQuery,
    RecordRow,
    SessionKey,
    first_record_id,
    new_record_id,
)
from langchain_agentmem.testing.cases import NOW, ContractCase


def record(at: float = 0.0, **columns: Any) -> RecordRow:
    """Return a record, made some seconds after `NOW`."""
    row = RecordRow(new_record_id(NOW + at), None, None, "writer", "success", None, None, NOW + at, '{"n":1}')
    return row._replace(**columns)


class RecordContract(ContractCase):
    """The contract of a record table. `BackendContract` includes it."""

    def _add(self, backend: Backend, *rows: RecordRow, ttl: float | None = None, now: float = NOW) -> None:
        for row in rows:
            self.write(backend, backend.records.add("default", row, ttl, True, now))

    def _found(self, backend: Backend, now: float = NOW, **wanted: Any) -> list[RecordRow]:
        return self.read(backend, backend.records.query(RecordQuery("default", **wanted), now))

    def test_a_record_comes_back_equal(self, backend: Backend) -> None:
        row = record(user_id="alice", session_id="1", started_at=NOW - 2.5, duration=0.25, ends_with_session=True)
        own = record(1, agent="a\U0001f600", status="'%", record='{"text":"\\u0000"}')
        self._add(backend, row, own)
        assert self._found(backend) == [own, row]
        assert self.read(backend, backend.records.query(RecordQuery("other"), NOW)) == []

    def test_a_record_is_stored_once(self, backend: Backend) -> None:
        for row in (record(), record(session_id="1")):
            self._add(backend, row, row)
            assert self._found(backend, session_id=row.session_id, limit=1) == [row]
        assert self.read(backend, backend.records.count("default", OMITTED)) == 2

    def test_records_are_filtered(self, backend: Backend) -> None:
        rows = {
            (user, session, agent, status): record(number, user_id=user, session_id=session, agent=agent, status=status)
            for number, (user, session, agent, status) in enumerate(
                [(u, s, a, t) for u in ("alice", None) for s in ("1", None) for a in ("x", "y") for t in ("ok", "bad")]
            )
        }
        self._add(backend, *rows.values())
        names = ("user_id", "session_id", "agent", "status")
        for wanted in (
            {},
            {"user_id": "alice"},
            {"user_id": None},
            {"user_id": "bob"},
            {"session_id": "1"},
            {"user_id": None, "session_id": "1"},
            {"agent": "x"},
            {"user_id": "alice", "status": "bad", "agent": "y"},
            {"session_id": "1", "status": "ok"},
        ):
            expected = [
                row
                for key, row in rows.items()
                if all(name not in wanted or wanted[name] == value for name, value in zip(names, key, strict=True))
            ]
            assert self._found(backend, **wanted, newest_first=False) == expected
            assert self._found(backend, **wanted) == expected[::-1]

    def test_records_are_read_page_by_page(self, backend: Backend) -> None:
        rows = [
            record(number // 2, user_id=[None, "alice", "bob"][number % 3], session_id=[None, "1"][number % 2])
            for number in range(25)
        ]
        self._add(backend, *rows)
        for newest_first, bound in ((True, "below"), (False, "above")):
            found: list[RecordRow] = []
            wanted: dict[str, Any] = {"limit": 4, "newest_first": newest_first}
            while page := self._found(backend, **wanted):
                found += page
                wanted[bound] = page[-1].id
            assert found == (rows[::-1] if newest_first else rows)

    def test_a_time_is_a_bound_of_ids(self, backend: Backend) -> None:
        rows = [record(number / 1000) for number in range(5)]
        self._add(backend, *rows)
        bound = first_record_id(datetime.fromtimestamp(NOW, UTC).replace(microsecond=2000))
        assert self._found(backend, lowest=bound) == rows[:1:-1]
        assert self._found(backend, below=bound) == rows[1::-1]

    def test_a_record_creates_its_session_and_is_deleted_with_it(self, backend: Backend) -> None:
        key = SessionKey("default", "alice", "1")
        self._add(backend, record(user_id="alice", session_id="1"), record(user_id="alice", session_id="2"), record())
        listed = self.read(backend, backend.messages.sessions("default", "alice", None, 0, NOW))
        assert sorted((row.key.session_id, row.message_count) for row in listed) == [("1", 0), ("2", 0)]
        assert self.write(backend, backend.messages.delete(key))
        assert [row.session_id for row in self._found(backend)] == [None, "2"]
        assert self._found(backend, user_id="alice", session_id="1") == []
        assert self.read(backend, backend.records.count("default", OMITTED)) == 2

    def test_a_record_expires_with_its_session(self, backend: Backend) -> None:
        first, second, own = record(session_id="1"), record(1, session_id="1"), record(0.5)
        self._add(backend, first, own, ttl=10.0)
        self._add(backend, second, ttl=10.0, now=NOW + 5)
        assert self._found(backend, now=NOW + 14) == [second, own, first]
        assert self._found(backend, now=NOW + 15) == [own]
        assert self._found(backend, now=NOW + 15, user_id=None, session_id="1") == []
        third = record(20, session_id="1")
        self._add(backend, third, now=NOW + 20)
        assert self._found(backend, now=NOW + 20) == [third, own]

    def test_records_of_expired_sessions_are_swept(self, backend: Backend) -> None:
        self._add(backend, record(session_id="1"), record(), ttl=10.0)
        assert self.write(backend, backend.messages.sweep("default", NOW + 11, 10)) == 1
        assert self.read(backend, backend.records.count("default", None)) == 1

    def test_the_end_of_a_session_deletes_its_own_records(self, backend: Backend) -> None:
        kept = record(session_id="1")
        self._add(backend, kept, record(session_id="1", ends_with_session=True))
        assert self.write(backend, backend.messages.end(SessionKey("default", None, "1"))) == 0
        assert self._found(backend) == [kept]
        assert self.read(backend, backend.records.count("default", OMITTED)) == 1

    def test_records_are_deleted_one_by_one(self, backend: Backend) -> None:
        rows = [record(user_id="alice", session_id="1"), record(1, user_id="alice"), record(2)]
        self._add(backend, *rows)
        assert self.write(backend, backend.records.delete("default", rows[:2])) == 2
        assert self.write(backend, backend.records.delete("default", rows[:2])) == 0
        assert self._found(backend) == rows[2:]

    def test_the_oldest_records_are_pruned_in_batches(self, backend: Backend) -> None:
        rows = [
            record(number, user_id=["alice", None][number % 2], session_id=["1", None][number % 3 % 2])
            for number in range(12)
        ]
        self._add(backend, *rows)

        def prune(user_id: Any, below: str | None) -> int:
            return self.write(backend, backend.records.prune("default", user_id, below, 3))

        total = 0
        while pruned := prune(OMITTED, rows[5].id):
            assert pruned <= 3
            total += pruned
        assert total == 5
        assert self._found(backend, newest_first=False) == rows[5:]
        while prune("alice", None):
            pass
        assert self._found(backend, newest_first=False) == rows[5::2]
