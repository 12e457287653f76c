"""Tests of deleting and replacing single messages, which the contract of a backend includes."""

from __future__ import annotations

import secrets
import threading
from typing import Any

from langchain_agentmem.backends.contract import (
    LIST_SUMMARY,
    UNKNOWN_MESSAGE,
    Append,
    Backend,
    MessageRow,
    Removal,
    Replacement,
    StoredSummary,
    Title,
)
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.testing.cases import KEY, NOW, ContractCase, digest, message, turn
from langchain_agentmem.text.vectors import unit
from langchain_agentmem.text.words import analyze


class EditContract(ContractCase):
    """The contract for changes to single messages. `BackendContract` includes it."""

    def _remove(self, backend: Backend, **conditions: Any) -> int | None:
        removal = Removal(**conditions, token=secrets.randbits(62))
        return self.write(backend, backend.messages.remove(KEY, removal, NOW))

    def _replace(self, backend: Backend, old: str, new: MessageRow, **options: Any) -> list[MessageRow] | None:
        replacement = Replacement(digest(old), new, **options, token=secrets.randbits(62))
        return self.write(backend, backend.messages.replace(KEY, replacement, NOW))

    def test_messages_are_deleted_by_their_ids(self, backend: Backend) -> None:
        self.write(backend, backend.messages.append(KEY, turn("a", "b", "a", "c")))
        assert self._remove(backend, ids=[]) == 0
        assert self._remove(backend, ids=[digest("a"), digest("unknown")]) == 2
        assert self._remove(backend, ids=[digest("a")]) == 0
        assert self._texts(backend) == ["b", "c"]
        assert self.read(backend, backend.messages.count(KEY, None, NOW)) == 2
        entries = self._entries(backend)
        assert [entry.position for entry in entries] == [1, 3]
        assert self.write(backend, backend.messages.append(KEY, turn("d"))) == 4

    def test_messages_are_deleted_by_their_time(self, backend: Backend) -> None:
        rows = [message(at, text)._replace(created_at=NOW + at) for at, text in enumerate("abc")]
        self.write(backend, backend.messages.append(KEY, Append(rows, None, NOW, token=secrets.randbits(62))))
        assert self._remove(backend, before=NOW + 2) == 2
        assert self._texts(backend) == ["c"]

    def test_messages_after_one_are_deleted(self, backend: Backend) -> None:
        assert self._remove(backend, after=digest("a")) == UNKNOWN_MESSAGE
        self.write(backend, backend.messages.append(KEY, turn("a", "b", "a", "c", "d")))
        assert self._remove(backend, after=digest("unknown")) == UNKNOWN_MESSAGE
        assert self._remove(backend, after=digest("a")) == 2
        assert self._remove(backend, after=digest("a")) == 0
        assert self._texts(backend) == ["a", "b", "a"]

    def test_an_agent_changes_its_own_messages(self, backend: Backend) -> None:
        for text, agent in (("a", "writer"), ("b", "critic"), ("c", "writer"), ("d", "critic")):
            self.write(backend, backend.messages.append(KEY, turn(text, agent=agent)))
        assert self._remove(backend, ids=[digest("b")], agent="writer") == 0
        assert self._remove(backend, after=digest("b"), agent="writer") == UNKNOWN_MESSAGE
        assert self._replace(backend, "b", message(0, "new"), agent="writer") == []
        assert self._remove(backend, after=digest("a"), agent="writer") == 1
        assert self._remove(backend, before=NOW + 1, agent="writer") == 1
        assert self._texts(backend) == ["b", "d"]

    def test_a_message_is_replaced(self, backend: Backend) -> None:
        rows = [message(0, "a", agent="writer", ends=True), message(1, "b"), message(2, "a")]
        rows[0] = rows[0]._replace(metadata='{"n": 1}', created_at=NOW - 5)
        self.write(backend, backend.messages.append(KEY, Append(rows, None, NOW, token=secrets.randbits(62))))
        new = message(0, "new", role="system")._replace(vector=unit([1.0, 0.0]), created_at=NOW + 9)
        found = self._replace(backend, "a", new)
        assert found is not None
        first, second = found
        assert first == MessageRow(0, "system", "writer", True, NOW - 5, '{"n": 1}', new.body)
        assert (second.position, second.agent, second.created_at) == (2, None, NOW)
        window = self.read(backend, backend.messages.window(KEY, None, None, NOW))
        assert window == [first, window[1], second]
        assert [row.body.data for row in window] == [b"new", b"b", b"new"]
        entries = self._entries(backend)
        assert [(one.role, one.words, one.vector, one.created_at) for one in entries] == [
            ("system", new.words, new.vector, NOW - 5),
            ("human", analyze("b"), None, NOW),
            ("system", new.words, new.vector, NOW),
        ]
        newest = self.read(backend, backend.messages.window(KEY, "writer", 1, NOW))
        assert newest == [first]
        third = message(0, "third", role="human")._replace(metadata="{}", created_at=NOW + 9)
        assert self._replace(backend, "a", third, keeps_time=False, keeps_metadata=False) == [
            first._replace(role="human", created_at=NOW + 9, metadata="{}", body=third.body),
            second._replace(role="human", created_at=NOW + 9, metadata="{}", body=third.body),
        ]
        window = self.read(backend, backend.messages.window(KEY, None, 1, NOW))
        assert [row.position for row in window] == [2]
        entries = self._entries(backend)
        assert [one.vector for one in entries] == [None, None, None]
        assert self._replace(backend, "unknown", new) == []
        assert self.write(backend, backend.messages.end(KEY)) == 1

    def test_a_title_follows_its_message(self, backend: Backend) -> None:
        self.write(backend, backend.messages.append(KEY, turn("a", "b", titles=[Title(0, "a title")])))
        self._replace(backend, "b", message(0, "new"), title="another")
        assert self._titles(backend) == ["a title"]
        self._replace(backend, "a", message(0, "new"), title="new title")
        assert self._titles(backend) == ["new title"]
        self._replace(backend, "a", message(0, "new", role="ai"))
        assert self._titles(backend) == [None]
        self._replace(backend, "b", message(0, "new"), title="of b")
        assert self._titles(backend) == ["of b"]
        self._remove(backend, ids=[digest("b")])
        assert self._titles(backend) == [None]
        assert self.write(backend, backend.messages.rename(KEY, "my own", NOW))
        self._replace(backend, "a", message(0, "new"), title="new title")
        assert self._titles(backend) == ["my own"]

    def test_a_summary_of_changed_messages_is_emptied(self, backend: Backend) -> None:
        for agent in ("writer", "critic"):
            self.write(backend, backend.messages.append(KEY, turn(agent, f"{agent} 2", agent=agent)))
        expected: dict[str | None, int | None] = {None: None, "writer": None, "critic": None, LIST_SUMMARY: None}

        def swap(agent: str | None, summary: StoredSummary) -> bool:
            stored = expected[agent]
            expected[agent] = summary.revision
            return self.write(backend, backend.messages.swap_summary(KEY, agent, summary, stored, NOW))

        def stored(agent: str | None) -> tuple[str, int | None]:
            found = self.read(backend, backend.messages.summary(KEY, agent, NOW))
            assert found is not None
            assert found.revision != expected[agent] or agent == "critic"
            expected[agent] = found.revision
            return found.value, found.covers

        assert swap(None, StoredSummary("all", 1, 1))
        assert swap("critic", StoredSummary("critic", 2, 2))
        assert swap(LIST_SUMMARY, StoredSummary("list", 3))
        # `writer` has no summary, but a process may have begun one: it finds another revision.
        assert self._remove(backend, ids=[digest("writer 2")]) == 1
        assert not swap("writer", StoredSummary("late", 4))
        assert stored(None) == ("all", 1)
        assert stored("critic") == ("critic", 2)
        assert stored(LIST_SUMMARY) == ("", None)
        assert stored("writer") == ("", None)
        assert swap("writer", StoredSummary("being written", 5, None))
        assert self._replace(backend, "writer", message(0, "new"))
        assert stored(None) == ("", None)
        assert stored("writer") == ("", None)

    def test_messages_of_earlier_versions_are_identified(self, backend: Backend) -> None:
        rows = [message(0, "a")._replace(id_digest=None), message(1, "b")]
        self.write(backend, backend.messages.append(KEY, Append(rows, None, NOW, token=secrets.randbits(62))))
        assert self._remove(backend, ids=[digest("b")]) is None
        assert self._remove(backend, after=digest("b")) is None
        assert self._replace(backend, "b", message(0, "new")) is None
        assert self._texts(backend) == ["a", "b"]
        (first, second) = self.read(backend, backend.messages.window(KEY, None, None, NOW))
        known = [first._replace(id_digest=digest("of a")), second._replace(id_digest=digest("another"))]
        other = first._replace(body=Typed("json", b"other"), id_digest=digest("wrong"))
        self.write(backend, backend.messages.identify(KEY, [other, *known]))
        assert self._remove(backend, ids=[digest("wrong"), digest("another")]) == 0
        assert self._remove(backend, ids=[digest("of a"), digest("b")]) == 2

    def test_messages_of_an_expired_session_stay_unchanged(self, backend: Backend) -> None:
        self.write(backend, backend.messages.append(KEY, turn("a", "b", ttl=10.0, now=NOW - 20)))
        assert self._remove(backend, ids=[digest("a")]) == 0
        assert self._remove(backend, before=NOW + 1) == 0
        assert self._remove(backend, after=digest("a")) == UNKNOWN_MESSAGE
        assert self._replace(backend, "a", message(0, "new")) == []

    def test_a_retried_change_recognises_its_own_write(self, backend: Backend) -> None:
        self.write(backend, backend.messages.append(KEY, turn("a", "b")))
        removal = Removal(ids=[digest("b")], token=secrets.randbits(62))
        assert self.write(backend, backend.messages.remove(KEY, removal, NOW)) == 1
        # A backend that may lose an answer says 1 again. One that never retries may say 0.
        assert self.write(backend, backend.messages.remove(KEY, removal, NOW)) in (0, 1)
        assert self._texts(backend) == ["a"]

    def test_deletions_and_concurrent_additions_lose_nothing(self, backend: Backend) -> None:
        self.write(backend, backend.messages.append(KEY, turn(*(f"old {number}" for number in range(8)))))

        def add(number: int) -> None:
            self.write(backend, backend.messages.append(KEY, turn(f"new {number}")))

        def delete(number: int) -> None:
            self._remove(backend, ids=[digest(f"old {number}")])

        threads = [threading.Thread(target=job, args=(number,)) for number in range(8) for job in (add, delete)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(self._texts(backend)) == [f"new {number}" for number in range(8)]
        assert self.read(backend, backend.messages.count(KEY, None, NOW)) == 8
