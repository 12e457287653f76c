"""Tests of the methods that list the users of a tenant and forget one, which the contract of a backend includes."""

from __future__ import annotations

import json
from typing import Any

from langchain_agentmem.backends.contract import Backend, SessionKey, ThreadKey, ThreadUse, VariablePut, VariableScope
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.testing.cases import HOSTILE_IDS, NOW, ContractCase, item, turn
from langchain_agentmem.testing.records import record

_SECRET = Typed("bytes", b"s")


class UserContract(ContractCase):
    """The contract of a backend about users. `BackendContract` includes it."""

    def _use(self, backend: Backend, thread: str, user: str | None, at: float = NOW, **use: Any) -> None:
        key = ThreadKey("default", thread)
        self.write(backend, backend.checkpoints.secret(key, _SECRET, ThreadUse(at, user, **use)))

    def _users_of(self, backend: Backend, thread: str) -> dict[str, str | None] | None:
        rows = self.read(backend, backend.checkpoints.threads("default", "bob", None, 0, NOW))
        return next(
            ({"last": row.user_id, **dict.fromkeys(row.users)} for row in rows if row.thread_id == thread), None
        )

    def test_users_of_sessions_are_listed(self, backend: Backend) -> None:
        for user in ("alice", "bob", None):
            self.write(backend, backend.messages.append(SessionKey("default", user, "1"), turn("Hello")))
        for user in ("bob", "carol"):
            addition = turn("Hello")._replace(ttl=10.0)
            self.write(backend, backend.messages.append(SessionKey("default", user, "2"), addition))
        self.write(backend, backend.messages.append(SessionKey("other", "dave", "1"), turn("Hello")))
        for now, users in ((NOW, ["alice", "bob", "carol"]), (NOW + 20, ["alice", "bob"])):
            assert sorted(self.read(backend, backend.messages.users("default", now))) == users

    def test_session_ids_are_paged_in_order(self, backend: Backend) -> None:
        for session in (*HOSTILE_IDS, "expired"):
            addition = turn("Hello")._replace(ttl=10.0 if session == "expired" else None)
            self.write(backend, backend.messages.append(SessionKey("default", "alice", session), addition))
        self.write(backend, backend.messages.append(SessionKey("default", "bob", "1"), turn("Hello")))
        found: list[str] = []
        while page := self.read(
            backend, backend.messages.session_ids("default", "alice", found[-1] if found else None, 2)
        ):
            assert len(page) <= 2
            found += page
        assert found == sorted((*HOSTILE_IDS, "expired"))
        assert self.read(backend, backend.messages.session_ids("default", None, None, 10)) == []

    def test_users_of_variables_are_listed(self, backend: Backend) -> None:
        for user, ttl in (("alice", None), ("bob", 10.0)):
            puts = [VariablePut("a", "1", ttl)]
            self.write(backend, backend.variables.set(VariableScope("default", user), puts, NOW))
        for now, users in ((NOW, ["alice", "bob"]), (NOW + 20, ["alice"])):
            assert sorted(self.read(backend, backend.variables.users("default", now))) == users

    def test_users_of_records_are_listed(self, backend: Backend) -> None:
        rows = [record(user_id="alice"), record(user_id="bob", session_id="1"), record()]
        for row, ttl in ((rows[0], None), (rows[1], 10.0), (rows[2], None)):
            self.write(backend, backend.records.add("default", row, ttl, True, NOW))
        for now, users in ((NOW, ["alice", "bob"]), (NOW + 20, ["alice"])):
            assert sorted(self.read(backend, backend.records.users("default", now))) == users
        assert self.read(backend, backend.records.users("other", NOW)) == []

    def test_users_of_threads_are_listed(self, backend: Backend) -> None:
        for user in ("alice", "bob", None):
            self._use(backend, "shared", user)
        self._use(backend, "expiring", "carol", ttl=10.0)
        for now, users in ((NOW, ["alice", "bob", "carol"]), (NOW + 20, ["alice", "bob"])):
            assert sorted(self.read(backend, backend.checkpoints.users("default", now))) == users
        assert self.read(backend, backend.checkpoints.users("other", NOW)) == []

    def test_roots_of_namespaces_are_listed(self, backend: Backend) -> None:
        for tenant, prefix in (("default", ""), ("other", "x")):
            puts = [
                item(f"{prefix}{one}", namespace=(f"{prefix}{one}", "deeper"))
                for one in ("a.b", "a", "\U0010ffffc", "d\x1a")
            ]
            self.write(backend, backend.items.put(tenant, puts, NOW))
        self.write(backend, backend.items.put("default", [item("e", namespace=("e",), ttl=10.0)], NOW))
        assert sorted(self.read(backend, backend.items.roots("default", NOW))) == [
            "a",
            "a.b",
            "d\x1a",
            "e",
            "\U0010ffffc",
        ]
        assert sorted(self.read(backend, backend.items.roots("default", NOW + 20))) == [
            "a",
            "a.b",
            "d\x1a",
            "\U0010ffffc",
        ]
        assert len(self.read(backend, backend.items.roots("other", NOW))) == 4

    def test_a_thread_of_one_user_is_deleted_with_the_user(self, backend: Backend) -> None:
        for user, at in (("bob", NOW), ("alice-2", NOW + 1), ("alice", NOW + 2)):
            self._use(backend, "shared", user, at)
        self._use(backend, "own", "alice", ttl=10.0)
        table = backend.checkpoints
        for tenant, thread, user in (
            ("default", "shared", "ali"),
            ("other", "own", "alice"),
            ("default", "none", "alice"),
        ):
            assert self.write(backend, table.forget_user(ThreadKey(tenant, thread), user, shared=True)) is None
        assert self._users_of(backend, "shared") == {"last": "alice", "alice": None, "bob": None, "alice-2": None}
        assert self.write(backend, table.forget_user(ThreadKey("default", "shared"), "alice", shared=False)) is False
        assert self._users_of(backend, "shared") == {"last": "alice-2", "bob": None, "alice-2": None}
        assert self.write(backend, table.forget_user(ThreadKey("default", "own"), "alice", shared=False))
        assert self.read(backend, table.threads("default", "alice", None, 0, 0.0)) == []
        assert self.write(backend, table.forget_user(ThreadKey("default", "shared"), "bob", shared=True))
        assert self.read(backend, table.users("default", NOW)) == []

    def test_traces_of_a_user_are_found_in_parts(self, backend: Backend) -> None:
        user, found = "alice@example.com", []
        self.write(backend, backend.messages.append(SessionKey("other", user, "1"), turn("Hello")))
        self.write(backend, backend.items.put("default", [item("k", json.dumps({"text": f"Ask {user}."}))], NOW))
        after: Any = None
        while True:
            page, part, after = self.read(backend, backend.traces("default", user, f"user:{user}", after))
            assert part
            found += page
            if after is None:
                break
        assert len({one.where for one in found}) >= 2
        assert all(one.form and one.example for one in found)
        page, *_ = self.read(backend, backend.traces("default", "bob@example.com", "user:bob@example.com", None))
        assert page == []

    def test_a_purge_leaves_data_in_place(self, backend: Backend) -> None:
        key = SessionKey("default", "alice", "1")
        self.write(backend, backend.messages.append(key, turn("Hello")))
        self.write(backend, backend.items.put("default", [item("k", namespace=("user:alice", "facts"))], NOW))
        self.write(backend, backend.records.add("default", record(user_id="alice"), None, True, NOW))
        self.write(backend, backend.variables.set(VariableScope("default", "alice"), [VariablePut("a", "1")], NOW))
        self._use(backend, "own", "alice")
        self.write(backend, backend.purge("default", "alice", "user:alice", NOW + 1))
        for table in (backend.messages, backend.records, backend.checkpoints, backend.variables):
            assert self.read(backend, table.users("default", NOW)) == ["alice"]
        assert self.read(backend, backend.items.roots("default", NOW)) == ["user:alice"]
        assert len(self.read(backend, backend.messages.sessions("default", "alice", None, 0, NOW))) == 1
        assert len(self.read(backend, backend.checkpoints.threads("default", "alice", None, 0, NOW))) == 1
