"""Tests of storing a session with its messages and properties, which the contract of a backend includes."""

from __future__ import annotations

import threading
from typing import Any

from langchain_agentmem.backends.contract import (
    HAS_MESSAGES,
    Append,
    Backend,
    Ending,
    Opening,
    Restoration,
    SessionRow,
    Title,
)
from langchain_agentmem.testing.cases import KEY, NOW, ContractCase, turn


class RestorationContract(ContractCase):
    """The contract for storing whole sessions. `BackendContract` includes it."""

    def _restore(self, backend: Backend, addition: Append, **properties: Any) -> int:
        restoration = Restoration(addition, **{"created_at": NOW - 500, **properties})
        return self.write(backend, backend.messages.restore(KEY, restoration))

    def _session(self, backend: Backend, now: float = NOW) -> SessionRow | None:
        return self.read(backend, backend.openings.get(KEY, now))

    def test_a_restored_session_has_its_messages_and_properties(self, backend: Backend) -> None:
        properties = {"title": "A trip\x00", "metadata": '{"channel":"web"}'}
        assert self._restore(backend, turn("a", "b", titles=[Title(0, "a")]), **properties) == 0
        assert self._texts(backend) == ["a", "b"]
        session = self._session(backend)
        assert session is not None
        assert (session.title, session.metadata) == ("A trip\x00", '{"channel":"web"}')
        assert (session.message_count, session.created_at, session.updated_at) == (2, NOW - 500, NOW)
        assert self.write(backend, backend.messages.append(KEY, turn("c"))) == 2
        self.write(backend, backend.messages.clear(KEY, None))
        assert self._titles(backend) == [None]

    def test_a_restored_session_without_a_title_has_that_of_its_messages(self, backend: Backend) -> None:
        assert self._restore(backend, turn("a", "b", titles=[Title(1, "b")])) == 0
        assert self._titles(backend) == ["b"]

    def test_a_restored_title_may_be_empty(self, backend: Backend) -> None:
        assert self._restore(backend, turn("a", titles=[Title(0, "a")]), title="") == 0
        assert self._titles(backend) == [""]

    def test_nothing_is_restored_into_a_session_with_messages(self, backend: Backend) -> None:
        self.write(backend, backend.messages.append(KEY, turn("a", titles=[Title(0, "a")])))
        assert self._restore(backend, turn("b"), title="T", metadata="{}") == HAS_MESSAGES
        assert self._texts(backend) == ["a"]
        session = self._session(backend)
        assert session is not None
        assert (session.title, session.metadata, session.created_at) == ("a", None, NOW)

    def test_a_session_is_restored_once_when_its_answer_is_lost(self, backend: Backend) -> None:
        addition = turn("a", "b")
        assert self._restore(backend, addition) in (0, HAS_MESSAGES)
        self._restore(backend, addition)
        assert self._texts(backend) == ["a", "b"]

    def test_a_session_is_restored_after_its_messages_were_cleared(self, backend: Backend) -> None:
        self.write(backend, backend.messages.append(KEY, turn("a", "b")))
        self.write(backend, backend.messages.clear(KEY, None))
        assert self._restore(backend, turn("c"), title="T") >= 0
        assert (self._texts(backend), self._titles(backend)) == (["c"], ["T"])

    def test_an_expired_session_is_restored(self, backend: Backend) -> None:
        self.write(backend, backend.messages.append(KEY, turn("a", now=NOW - 100, ttl=10)))
        assert self._restore(backend, turn("b")) == 0
        assert self._texts(backend) == ["b"]

    def test_an_opened_session_keeps_its_metadata_when_none_is_restored(self, backend: Backend) -> None:
        opening = Opening(7, NOW, Ending(False), metadata='{"channel":"web"}')
        self.write(backend, backend.openings.open(KEY, opening))
        assert self._restore(backend, turn("a")) == 0
        session = self._session(backend)
        assert session is not None
        assert session.metadata == '{"channel":"web"}'

    def test_one_of_several_concurrent_restorations_succeeds(self, backend: Backend) -> None:
        results: list[int] = []

        def restore(number: int) -> None:
            results.append(self._restore(backend, turn(f"{number} a", f"{number} b")))

        threads = [threading.Thread(target=restore, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results) == [HAS_MESSAGES] * 7 + [0]
        assert len(self._texts(backend)) == 2
