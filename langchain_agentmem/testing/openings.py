"""Tests of the openings of sessions, which the contract of a backend includes."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from langchain_agentmem.arguments.omitted import OMITTED
from langchain_agentmem.backends.contract import (
    Append,
    Backend,
    Ending,
    HeadChangedError,
    HeadSwap,
    Opened,
    Opening,
    RecordQuery,
    SessionKey,
    SessionState,
    VariablePut,
    VariableScope,
)
from langchain_agentmem.testing.cases import NOW, ContractCase, message
from langchain_agentmem.testing.records import record

KEY = SessionKey("default", "alice", "campaign-1")
KEPT, ENDED = Ending(False), Ending(True)


class OpeningContract(ContractCase):
    """The contract of the openings of sessions. `BackendContract` includes it."""

    def _open(self, backend: Backend, token: int = 1, at: float = 0.0, **options: Any) -> str | None:
        opening = Opening(token, NOW + at, options.pop("ending", ENDED), **options)
        return self.write(backend, backend.openings.open(KEY, opening)).metadata

    def _close(self, backend: Backend, token: int = 1, at: float = 0.0, ending: Ending = ENDED) -> bool:
        return self.write(backend, backend.openings.close(KEY, token, ending, NOW + at))

    def _say(self, backend: Backend, text: str, *, agent: str | None = None, ends: bool, at: float = 0.0) -> None:
        row = message(0, text, agent=agent, ends=ends)
        self.write(
            backend, backend.messages.append(KEY, Append([row], None, NOW + at, agent, token=secrets.randbits(62)))
        )

    def _end_abandoned(self, backend: Backend, at: float, limit: int = 10) -> int:
        return self.write(backend, backend.openings.end_abandoned("default", NOW + at, limit))

    def _listed(self, backend: Backend, at: float = 0.0) -> list[tuple[str, int, str | None]]:
        rows = self.read(backend, backend.messages.sessions("default", OMITTED, None, 0, NOW + at))
        return [(row.key.session_id, row.message_count, row.metadata) for row in rows]

    def test_an_open_session_is_listed(self, backend: Backend) -> None:
        assert self._open(backend, metadata='{"a":1}') == '{"a":1}'
        assert self._listed(backend) == [("campaign-1", 0, '{"a":1}')]
        row = self.read(backend, backend.openings.get(KEY, NOW))
        assert row is not None
        assert (row.key, row.title, row.metadata, row.created_at) == (KEY, None, '{"a":1}', NOW)
        assert self.read(backend, backend.openings.get(KEY._replace(user_id=None), NOW)) is None

    def test_the_last_closing_ends_a_session(self, backend: Backend) -> None:
        self._open(backend, 1)
        self._open(backend, 2)
        self._open(backend, 2)
        self._say(backend, "a", ends=True)
        self._say(backend, "b", ends=False)
        assert not self._close(backend, 1)
        assert not self._close(backend, 1)
        assert self._texts(backend, KEY) == ["a", "b"]
        assert self._close(backend, 2)
        assert self._texts(backend, KEY) == ["b"]
        assert self._listed(backend) == [("campaign-1", 1, None)]

    def test_a_session_with_nothing_left_is_deleted(self, backend: Backend) -> None:
        self._open(backend)
        self._say(backend, "a", ends=True)
        self.write(
            backend,
            backend.records.add(
                "default", record(user_id="alice", session_id="campaign-1", ends_with_session=True), None, True, NOW
            ),
        )
        assert self._close(backend)
        assert self._listed(backend) == []
        assert self.read(backend, backend.records.query(RecordQuery("default"), NOW)) == []
        assert self.read(backend, backend.records.count("default", OMITTED)) == 0
        assert not self._close(backend)

    def test_an_opening_sets_variables_that_end_with_the_session(self, backend: Backend) -> None:
        scope = VariableScope(*KEY)
        self._open(backend, variables=[VariablePut("goal", '"launch"'), VariablePut("n", "1")])
        found = self.read(backend, backend.variables.read(scope, None, NOW))
        assert sorted((row.name, row.value, row.scope) for row in found) == [
            ("goal", '"launch"', scope),
            ("n", "1", scope),
        ]
        assert self._close(backend)
        assert self.read(backend, backend.variables.read(scope, None, NOW)) == []
        assert self._listed(backend) == []

    def test_an_ending_names_the_agents_whose_variables_stay(self, backend: Backend) -> None:
        for number, (ending, left) in enumerate(
            [(Ending(True, ["a"]), ["a"]), (Ending(False, ["a", "b"]), ["", "c"]), (KEPT, ["", "a", "b", "c"])]
        ):
            key = KEY._replace(session_id=str(number))
            self.write(backend, backend.openings.open(key, Opening(1, NOW, ending)))
            for agent in (None, "a", "b", "c"):
                put = VariablePut("x", "1")
                self.write(backend, backend.variables.set(VariableScope(*key, agent), [put], NOW))
            assert self.write(backend, backend.openings.close(key, 1, Ending(not ending.ends), NOW))
            scopes = [VariableScope(*key, agent) for agent in (None, "a", "b", "c")]
            found = [
                scope.agent or ""
                for scope in scopes
                for row in self.read(backend, backend.variables.read(scope, None, NOW))
                if row.scope == scope
            ]
            assert found == left
            row = self.read(backend, backend.openings.get(key, NOW))
            assert row is not None

    def test_a_session_without_its_opening_is_ended_by_the_closing(self, backend: Backend) -> None:
        scope = VariableScope(*KEY)
        self._open(backend, timeout=10)
        assert self._end_abandoned(backend, 10) == 1
        for name in ("x", "y"):
            self.write(backend, backend.variables.set(scope._replace(agent=name), [VariablePut(name, "1")], NOW + 11))
        assert self._close(backend, at=12, ending=Ending(True, ["y"]))
        found = self.read(backend, backend.variables.read(scope._replace(agent="x"), None, NOW + 12))
        found += self.read(backend, backend.variables.read(scope._replace(agent="y"), None, NOW + 12))
        assert [row.name for row in found] == ["y"]
        assert self._close(backend, at=12)
        assert self._listed(backend, 12) == []

    def test_an_opening_that_may_not_be_stored_is_closed_only_if_it_is(self, backend: Backend) -> None:
        scope = VariableScope(*KEY)
        self.write(backend, backend.variables.set(scope, [VariablePut("kept", "1")], NOW))
        assert not self.write(backend, backend.openings.close(KEY, 7, None, NOW))
        assert len(self.read(backend, backend.variables.read(scope, None, NOW))) == 1
        self._open(backend, 1)
        assert not self.write(backend, backend.openings.close(KEY, 7, None, NOW))
        assert len(self.read(backend, backend.variables.read(scope, None, NOW))) == 1
        assert self.write(backend, backend.openings.close(KEY, 1, None, NOW))
        assert self.read(backend, backend.variables.read(scope, None, NOW)) == []

    def test_an_opening_that_arrives_after_its_withdrawal_is_refused(self, backend: Backend) -> None:
        assert not self.write(backend, backend.openings.close(KEY, 7, None, NOW))
        assert self._open(backend, 7, metadata="{}", variables=[VariablePut("goal", '"launch"', 60.0)]) is None
        assert self._listed(backend) == []
        assert self.read(backend, backend.variables.read(VariableScope(*KEY), None, NOW)) == []
        assert self._open(backend, 8, metadata="{}") == "{}"
        assert self._open(backend, 7, metadata='{"n":1}') is None
        assert self._listed(backend) == [("campaign-1", 0, "{}")]
        assert self._close(backend, 8)
        assert self._listed(backend) == []

    def test_an_opening_is_withdrawn_once(self, backend: Backend) -> None:
        for _ in range(2):  # a call that is repeated after a lost connection recognises its own opening
            assert self._open(backend, 7, metadata="{}") == "{}"
        assert self.write(backend, backend.openings.close(KEY, 7, None, NOW))
        assert not self.write(backend, backend.openings.close(KEY, 7, None, NOW))
        assert self._listed(backend) == []

    def test_an_ending_that_keeps_everything_keeps_the_session(self, backend: Backend) -> None:
        self._open(backend, ending=KEPT, metadata="{}")
        self._say(backend, "a", ends=True)
        assert self._close(backend)
        assert self._listed(backend) == [("campaign-1", 0, "{}")]
        kept = record(user_id="alice", session_id="campaign-1")
        self.write(backend, backend.records.add("default", kept, None, True, NOW))
        self._open(backend, 2)
        assert self._close(backend, 2)
        assert self.read(backend, backend.records.query(RecordQuery("default"), NOW)) == [kept]

    def test_a_session_without_activity_is_ended(self, backend: Backend) -> None:
        self._open(backend, timeout=10.0)
        self._say(backend, "a", ends=True, at=5)
        self._say(backend, "b", ends=False, at=5)
        assert self._end_abandoned(backend, 14) == 0
        assert self._texts(backend, KEY, now=NOW + 14) == ["a", "b"]
        assert self._end_abandoned(backend, 15) == 1
        assert self._texts(backend, KEY, now=NOW + 15) == ["b"]
        assert self._end_abandoned(backend, 5000) == 0
        assert self._end_abandoned(backend, 10_000) == 0

    def test_abandoned_sessions_are_ended_in_batches(self, backend: Backend) -> None:
        for number in range(5):
            key = KEY._replace(session_id=str(number))
            self.write(backend, backend.openings.open(key, Opening(number, NOW, ENDED, 10.0)))
        self._open(backend, timeout=None)
        assert [self._end_abandoned(backend, 11, 2) for _ in range(4)] == [2, 2, 1, 0]
        assert [name for name, *_ in self._listed(backend, 11)] == ["campaign-1"]

    def test_the_next_opening_ends_an_abandoned_session(self, backend: Backend) -> None:
        self._open(backend, 1, timeout=10.0, metadata='{"first":true}')
        self._say(backend, "a", ends=True)
        assert self._open(backend, 2, at=9, timeout=10.0) == '{"first":true}'
        assert self._texts(backend, KEY, now=NOW + 9) == ["a"]
        assert self._open(backend, 3, at=19, timeout=10.0) is None
        assert self._texts(backend, KEY, now=NOW + 19) == []
        self._say(backend, "b", ends=True, at=19)
        assert not self._close(backend, 1, at=20)
        assert self._texts(backend, KEY, now=NOW + 20) == ["b"]
        assert self._close(backend, 3, at=20)
        assert self._texts(backend, KEY, now=NOW + 20) == []

    def test_the_longer_timeout_of_two_openings_holds(self, backend: Backend) -> None:
        self._open(backend, 1, timeout=100.0)
        self._open(backend, 2, timeout=10.0)
        assert self._end_abandoned(backend, 99) == 0
        assert self._end_abandoned(backend, 100) == 1
        self._open(backend, 3, at=100, timeout=None)
        self._open(backend, 4, at=100, timeout=10.0)
        assert self._end_abandoned(backend, 1_000_000) == 0

    def test_the_ending_is_changed(self, backend: Backend) -> None:
        assert not self.write(backend, backend.openings.change(KEY, KEPT, NOW))
        assert self._listed(backend) == []
        self._open(backend, ending=ENDED, metadata="{}")
        assert self.write(backend, backend.openings.change(KEY, KEPT, NOW))
        assert self._close(backend)
        assert self._listed(backend) == [("campaign-1", 0, "{}")]

    def test_metadata_are_replaced_if_they_are_the_expected_ones(self, backend: Backend) -> None:
        def swapped(expected: str | None, metadata: str, at: float = 0) -> tuple[str | None] | None:
            return self.write(backend, backend.openings.swap_metadata(KEY, expected, metadata, NOW + at))

        assert swapped(None, "{}") is None
        self._open(backend, ttl=10.0, ending=KEPT)
        assert swapped("{}", '{"n":1}') == (None,)
        assert swapped(None, '{"n":1}') == ('{"n":1}',)
        assert swapped(None, '{"n":2}') == ('{"n":1}',)
        assert swapped('{"n":1}', '{"n":2}') == ('{"n":2}',)
        assert swapped('{"n":1}', '{"n":2}') == ('{"n":2}',)  # again, because the answer was lost
        assert self._listed(backend) == [("campaign-1", 0, '{"n":2}')]
        assert swapped('{"n":2}', "{}", at=10) is None

    def test_an_expired_session_has_no_openings(self, backend: Backend) -> None:
        self._open(backend, 1, ttl=10.0, metadata="{}", ending=KEPT)
        assert self.read(backend, backend.openings.get(KEY, NOW + 10)) is None
        assert self.read(backend, backend.openings.activity(KEY, NOW + 10)) is None
        assert not self._close(backend, at=10)
        self._say(backend, "a", ends=False, at=11)
        assert self._listed(backend, 11) == [("campaign-1", 1, None)]
        assert self._open(backend, 2, at=11) is None
        assert self._close(backend, 2, at=11)

    def test_the_activity_of_a_session_is_counted(self, backend: Backend) -> None:
        assert self.read(backend, backend.openings.activity(KEY, NOW)) is None
        self._open(backend)
        for text, agent in (("a", "writer"), ("b", None), ("c", "critic"), ("d", "writer")):
            self._say(backend, text, agent=agent, ends=False, at=3)
        for agent, status in (("writer", "ok"), ("writer", "bad"), ("writer", "ok"), ("judge", "ok")):
            row = record(user_id="alice", session_id="campaign-1", agent=agent, status=status)
            self.write(backend, backend.records.add("default", row, None, True, NOW + 4))
        found = self.read(backend, backend.openings.activity(KEY, NOW + 5))
        assert found is not None
        assert sorted(found.messages, key=str) == [("critic", 1), ("writer", 2), (None, 1)]
        assert sorted(found.records) == [("judge", "ok", 1), ("writer", "bad", 1), ("writer", "ok", 2)]
        assert (found.row.created_at, found.row.updated_at) == (NOW, NOW + 4)

    def test_the_title_and_the_metadata_are_changed_together_with_the_head(self, backend: Backend) -> None:
        def open_(token: int, head: HeadSwap, metadata: str) -> Opened:
            opening = Opening(token, NOW, ENDED, metadata=metadata, session_head=head)
            return self.write(backend, backend.openings.open(KEY, opening))

        assert open_(1, HeadSwap(None, b"1"), "{}") == Opened("{}", b"1")
        for wrong in (None, b"0"):
            with pytest.raises(HeadChangedError):
                open_(2, HeadSwap(wrong, b"3"), '{"a":1}')
            swap = HeadSwap(wrong, b"3")
            assert not self.write(backend, backend.messages.rename(KEY, "title", NOW, swap))
            swapped = self.write(backend, backend.openings.swap_metadata(KEY, "{}", '{"b":1}', NOW, swap))
            assert swapped == ("{}",)
        assert self.write(backend, backend.messages.rename(KEY, "title", NOW, HeadSwap(b"1", b"2")))
        swap = HeadSwap(b"2", b"3")
        assert self.write(backend, backend.openings.swap_metadata(KEY, "{}", '{"b":1}', NOW, swap)) == ('{"b":1}',)
        assert open_(3, HeadSwap(b"3", b"4"), '{"c":1}') == Opened('{"c":1}', b"4")
        assert self.read(backend, backend.messages.head(KEY, NOW)).value == b"4"
        row = self.read(backend, backend.openings.get(KEY, NOW))
        assert row is not None
        assert (row.metadata, row.head) == ('{"c":1}', b"4")
        (listed,) = self.read(backend, backend.messages.sessions("default", "alice", None, 0, NOW))
        assert listed.head == b"4"

    def test_a_restored_session_has_the_head(self, backend: Backend) -> None:
        state = SessionState(KEY, "title", None, 0, NOW, NOW, None, "{}", head=b"1")
        assert self.write(backend, backend.transfer.restore_sessions([state], NOW)) == [True]
        assert self.read(backend, backend.messages.head(KEY, NOW)).value == b"1"
        (found,) = self.read(backend, backend.transfer.sessions([KEY], NOW))
        assert found is not None
        assert found._replace(summaries=state.summaries, variables=()) == state
