"""Tests of the variable table of a backend; a part of `langchain_agentmem.testing.contract`."""

from __future__ import annotations

import secrets
import threading
from typing import Any

import pytest

from langchain_agentmem.backends.contract import (
    Backend,
    Ending,
    HeadChangedError,
    Opening,
    ScopeHead,
    SessionUse,
    VariablePut,
    VariableRow,
    VariableScope,
)
from langchain_agentmem.testing.cases import HOSTILE_IDS, KEY, NOW, ContractCase, turn


class VariableContract(ContractCase):
    """The contract of the variable table as tests."""

    def _set(self, backend: Backend, scope: VariableScope, now: float = NOW, /, **values: str) -> None:
        self.write(backend, backend.variables.set(scope, [VariablePut(*pair) for pair in values.items()], now))

    def _variables(
        self, backend: Backend, scope: VariableScope, names: list[str] | None = None, now: float = NOW
    ) -> dict[tuple[Any, ...], str]:
        rows = self.read(backend, backend.variables.read(scope, names, now))
        return {(*row.scope[1:], row.name): row.value for row in rows}

    def test_a_variable_keeps_its_creation_time(self, backend: Backend) -> None:
        scope = VariableScope("default", "alice", "session-1", "writer")
        self._set(backend, scope, a="1")
        self._set(backend, scope, NOW + 5, a="2", b='"x"')
        rows = self.read(backend, backend.variables.read(scope, None, NOW + 6))
        assert sorted(rows) == [
            VariableRow(scope, "a", "2", NOW, NOW + 5, None),
            VariableRow(scope, "b", '"x"', NOW + 5, NOW + 5, None),
        ]

    def test_names_select_variables_outside_of_the_session_alone(self, backend: Backend) -> None:
        widest = VariableScope("default", "alice", "session-1", "writer")
        for scope in widest.ranked:
            self._set(backend, scope, a="1", b="2")
        self._set(backend, widest._replace(agent="other"), c="3")

        def found(scope: VariableScope, names: list[str]) -> list[tuple[Any, ...]]:
            rows = self.read(backend, backend.variables.read(scope, names, NOW, whole_session=True))
            return sorted((scope.ranked.index(row.scope), row.name) for row in rows)

        of_session = [(rank, name) for rank in range(2) for name in ("a", "b")]
        assert found(widest, ["b"]) == [*of_session, *((rank, "b") for rank in range(2, 6))]
        assert found(widest, []) == of_session
        assert found(widest._replace(session_id=None), ["b"]) == [(rank, "b") for rank in range(4)]

    def test_a_scope_sees_the_variables_of_wider_scopes(self, backend: Backend) -> None:
        widest = VariableScope("default", "alice", "session-1", "writer")
        for scope in widest.ranked:
            self._set(backend, scope, name=f'"{scope[1:]}"')
        for scope in (
            VariableScope("default", "bob", "session-1", "writer"),
            VariableScope("default", None, "session-1", "writer"),
            VariableScope("default", "alice", "session-2", "critic"),
            VariableScope("default", "bob", None, "critic"),
            VariableScope("other", "alice", "session-1", "writer"),
        ):
            self._set(backend, scope, name='"not seen"')
        for scope in widest.ranked:
            seen = {(*one[1:], "name"): f'"{one[1:]}"' for one in scope.ranked}
            assert self._variables(backend, scope) == self._variables(backend, scope, ["name", "missing"]) == seen
            assert self._variables(backend, scope, ["missing"]) == {}

    def test_variables_are_removed_from_one_scope(self, backend: Backend) -> None:
        widest = VariableScope("default", "alice", "session-1", "writer")
        for scope in widest.ranked:
            self._set(backend, scope, a="1", b="2", c="3")
        for number, scope in enumerate(widest.ranked):
            assert self.write(backend, backend.variables.remove(scope, ["a", "missing"], NOW)) == 1
            assert self.write(backend, backend.variables.remove(scope, ["a"], NOW)) == 0
            assert self.write(backend, backend.variables.remove(scope, None, NOW)) == 2
            assert len(self._variables(backend, widest)) == 3 * (len(widest.ranked) - number - 1)

    def test_a_variable_expires(self, backend: Backend) -> None:
        for scope in VariableScope("default", "alice", "session-1", "writer").ranked:
            puts = [VariablePut("short", "1", 10.0), VariablePut("long", "2", 100.0), VariablePut("ever", "3")]
            self.write(backend, backend.variables.set(scope, puts, NOW))
            (row,) = self.read(backend, backend.variables.read(scope, ["short"], NOW + 9))[:1]
            assert row.expires_at == NOW + 10
            own = {name for *of, name in self._variables(backend, scope, now=NOW + 10) if (*of,) == scope[1:]}
            assert own == {"long", "ever"}
            self._set(backend, scope, NOW + 10, short="4")
            (row,) = [
                one
                for one in self.read(backend, backend.variables.read(scope, ["short"], NOW + 10))
                if one.scope == scope
            ]
            assert (row.created_at, row.expires_at) == (NOW + 10, None)
            assert self.write(backend, backend.variables.remove(scope, ["long"], NOW + 101)) == 0
            assert self.write(backend, backend.variables.remove(scope, None, NOW + 101)) == 2

    def test_expired_variables_are_swept(self, backend: Backend) -> None:
        scopes = VariableScope("default", "alice", "session-1", "writer").ranked
        for scope in scopes:
            puts = [VariablePut("short", "1", 10.0), VariablePut("long", "2", 100.0)]
            self.write(backend, backend.variables.set(scope, puts, NOW))
        assert self.write(backend, backend.variables.sweep("default", NOW + 9, 100)) == 0
        assert self.write(backend, backend.variables.sweep("default", NOW + 10, 100)) == len(scopes)
        assert len(self._variables(backend, scopes[0])) == len(scopes)
        assert self.write(backend, backend.variables.sweep("default", NOW + 100, 100)) == len(scopes)
        assert self.write(backend, backend.variables.sweep("default", NOW + 100, 100)) == 0

    def test_a_late_clock_never_moves_the_expiry_of_a_variable_backwards(self, backend: Backend) -> None:
        scope = VariableScope("default", "alice")
        for now in (NOW, NOW - 90):
            self.write(backend, backend.variables.set(scope, [VariablePut("a", "1", 100.0)], now))
        assert len(self._variables(backend, scope, now=NOW + 50)) == 1

    def test_a_variable_creates_its_session_and_is_a_use_of_it(self, backend: Backend) -> None:
        scope = VariableScope("default", "alice", "session-1")
        put = [VariablePut("a", "1")]
        self.write(backend, backend.variables.set(scope, put, NOW, SessionUse(10.0)))
        (session,) = self.read(backend, backend.messages.sessions("default", "alice", None, 0, NOW))
        assert session[:6] == (KEY, None, 0, NOW, NOW, NOW + 10)
        (row,) = self.read(backend, backend.variables.read(scope, None, NOW))
        assert row.expires_at == NOW + 10
        self.write(backend, backend.variables.set(scope, put, NOW + 5, SessionUse(10.0)))
        self.write(backend, backend.variables.set(scope, put, NOW + 6, SessionUse(10.0, sliding=False)))
        (session,) = self.read(backend, backend.messages.sessions("default", "alice", None, 0, NOW + 14))
        assert (session.updated_at, session.expires_at) == (NOW + 6, NOW + 15)
        assert self.write(backend, backend.messages.append(KEY, turn("a", now=NOW + 7))) == 0

    def test_variables_live_as_long_as_their_session(self, backend: Backend) -> None:
        scopes = [VariableScope("default", "alice", "session-1", agent) for agent in (None, "writer")]

        def fill(now: float) -> None:
            self.write(backend, backend.messages.append(KEY, turn("a", ttl=10.0, now=now)))
            for scope in scopes:
                self._set(backend, scope, now, a="1")
            assert len(self._variables(backend, scopes[1], now=now)) == 2

        fill(NOW)
        self.write(backend, backend.messages.clear(KEY, None))
        assert len(self._variables(backend, scopes[1], now=NOW + 9)) == 2
        assert self._variables(backend, scopes[1], now=NOW + 10) == {}
        assert self.write(backend, backend.variables.remove(scopes[0], None, NOW + 10)) == 0
        self.write(backend, backend.messages.append(KEY, turn("new", now=NOW + 11)))
        assert self._variables(backend, scopes[1], now=NOW + 11) == {}
        fill(NOW + 12)
        self.write(backend, backend.messages.end(KEY))
        assert self._variables(backend, scopes[1], now=NOW + 12) == {}
        fill(NOW + 13)
        self.write(backend, backend.messages.delete(KEY))
        self.write(backend, backend.messages.append(KEY, turn("new", now=NOW + 13)))
        assert self._variables(backend, scopes[1], now=NOW + 13) == {}
        fill(NOW + 14)
        self.write(backend, backend.messages.sweep("default", NOW + 30, 10))
        self._set(backend, scopes[0], NOW + 14, b="2")
        assert [name for *_, name in self._variables(backend, scopes[1], now=NOW + 14)] == ["b"]

    def test_an_expired_session_begins_again_with_a_variable(self, backend: Backend) -> None:
        scope = VariableScope("default", "alice", "session-1")
        self.write(backend, backend.messages.append(KEY, turn("a", ttl=10.0)))
        self._set(backend, scope, a="1")
        self._set(backend, scope, NOW + 11, b="2")
        assert [name for *_, name in self._variables(backend, scope, now=NOW + 11)] == ["b"]
        assert self._texts(backend, now=NOW + 11) == []

    def test_the_variables_of_a_user_are_forgotten(self, backend: Backend) -> None:
        kept = [
            VariableScope("default", "bob"),
            VariableScope("default"),
            VariableScope("default", None, None, "writer"),
        ]
        gone = [VariableScope("default", "alice"), VariableScope("default", "alice", None, "writer")]
        for scope in (*kept, *gone, VariableScope("default", "alice", "session-1")):
            self._set(backend, scope, a="1")
        assert sorted(self.read(backend, backend.variables.users("default", NOW))) == ["alice", "bob"]
        assert self.read(backend, backend.variables.users("other", NOW)) == []
        assert self.write(backend, backend.variables.forget("default", "alice", NOW)) == 2
        assert self.read(backend, backend.variables.users("default", NOW)) == ["bob"]
        assert [self._variables(backend, scope, ["a"]) for scope in gone] == [
            {(None, None, None, "a"): "1"},
            {(None, None, None, "a"): "1", (None, None, "writer", "a"): "1"},
        ]
        assert self.write(backend, backend.variables.remove(VariableScope("default", "bob"), None, NOW)) == 1
        assert self.read(backend, backend.variables.users("default", NOW)) == []

    def test_names_and_scopes_of_variables_are_opaque(self, backend: Backend) -> None:
        for one in HOSTILE_IDS:
            for scope in VariableScope("default", one, one, one).ranked:
                self._set(backend, scope, NOW, **{one: "1"})
        for one in HOSTILE_IDS:
            scope = VariableScope("default", one, one, one)
            assert len(self._variables(backend, scope, [one])) == 6
            assert {name for *_, name in self._variables(backend, scope)} == set(HOSTILE_IDS)
            assert self.write(backend, backend.variables.remove(scope, [one], NOW)) == 1

    def test_concurrent_writers_of_variables_lose_nothing(self, backend: Backend) -> None:
        scopes = VariableScope("default", "alice", "session-1", "writer").ranked

        def work(number: int) -> None:
            for scope in scopes:
                puts = [VariablePut(name, str(number)) for name in (f"own {number}", "common", f"z {number % 2}")]
                order = puts if number % 2 else puts[::-1]
                self.write(backend, backend.variables.set(scope, order, NOW, SessionUse(1000.0)))
                self.write(backend, backend.variables.remove(scope, [f"z {number % 2}", "missing"], NOW))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for scope in scopes:
            own = {name for *of, name in self._variables(backend, scopes[0]) if (*of,) == scope[1:]}
            assert own == {"common", *(f"own {number}" for number in range(12))}

    def test_variables_are_changed_together_with_the_head(self, backend: Backend) -> None:
        def change(scope: VariableScope, expected: str | None, new: str | None, now: float, **values: str) -> None:
            put = None if new is None else VariablePut("~head", new, 100.0)
            head, puts = ScopeHead("~head", expected, put), [VariablePut(*pair) for pair in values.items()]
            self.write(backend, backend.variables.set(scope, puts, now, head=head))

        def values(scope: VariableScope, now: float) -> dict[str, str]:
            return {row.name: row.value for row in self.read(backend, backend.variables.read(scope, None, now))}

        for scope in (VariableScope("default", "alice", "session-1", "writer"), VariableScope("default", "alice")):
            change(scope, None, "1", NOW, a="1")
            for wrong in (None, "2"):
                with pytest.raises(HeadChangedError):
                    change(scope, wrong, "3", NOW, a="2")
                for put in (None, VariablePut("~head", "3")):
                    with pytest.raises(HeadChangedError):
                        self.write(
                            backend, backend.variables.remove(scope, ["a"], NOW, ScopeHead("~head", wrong or "4", put))
                        )
            with pytest.raises(HeadChangedError):
                self.write(backend, backend.variables.remove(scope, ["a"], NOW, ScopeHead("~head", None, None)))
            assert values(scope, NOW) == {"a": "1", "~head": "1"}
            change(scope, "1", "2", NOW + 5, a="2", b="3")
            head = ScopeHead("~head", "2", VariablePut("~head", "3", 100.0))
            assert self.write(backend, backend.variables.remove(scope, ["a"], NOW + 5, head)) == 1
            assert values(scope, NOW + 104) == {"b": "3", "~head": "3"}
            assert values(scope, NOW + 105) == {"b": "3"}
            change(scope, None, "4", NOW + 105)
            head = ScopeHead("~head", "4", None)
            assert self.write(backend, backend.variables.remove(scope, ["b"], NOW + 105, head)) == 1
            assert values(scope, NOW + 105) == {}
            self._set(backend, scope, NOW + 105, c="4")
            head = ScopeHead("~head", None, None)
            assert self.write(backend, backend.variables.remove(scope, ["c"], NOW + 105, head)) == 1
            assert values(scope, NOW + 105) == {}
            change(scope, None, "5", NOW + 105)
            assert values(scope, NOW + 105) == {"~head": "5"}

    def test_an_opening_sets_variables_together_with_the_head(self, backend: Backend) -> None:
        def open_(expected: str | None, new: str, value: str) -> None:
            head = ScopeHead("~head", expected, VariablePut("~head", new))
            puts, metadata = [VariablePut("a", value)], f'{{"number": {value}}}'
            opening = Opening(secrets.randbits(62), NOW, Ending(False), metadata=metadata, variables=puts, head=head)
            assert self.write(backend, backend.openings.open(KEY, opening)).metadata == metadata

        def metadata() -> str | None:
            found = self.read(backend, backend.openings.get(KEY, NOW))
            return None if found is None else found.metadata

        open_(None, "1", "1")
        with pytest.raises(HeadChangedError):
            open_(None, "2", "2")
        assert metadata() == '{"number": 1}'
        open_("1", "2", "3")
        assert metadata() == '{"number": 3}'
        rows = self.read(backend, backend.variables.read(VariableScope(*KEY), None, NOW))
        assert {row.name: row.value for row in rows} == {"a": "3", "~head": "2"}
