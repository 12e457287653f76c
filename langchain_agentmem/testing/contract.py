"""Tests of the backend contract, for pytest: a new backend derives a test class and provides one fixture.

Example:
    ```python
    import pytest
    from langchain_agentmem.testing.contract import AsyncBackendContract, BackendContract

    @pytest.fixture
    def backend():
        backend = MyBackend()
        yield backend
        backend.close()

    class TestMyBackend(BackendContract):
        pass

    class TestMyBackendAsync(AsyncBackendContract):
        pass
    ```
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Awaitable
from typing import Any, TypeVar

from langchain_core.messages import AIMessage, HumanMessage

from langchain_agentmem.arguments.omitted import OMITTED
from langchain_agentmem.backends.contract import (
    Append,
    Backend,
    EmbeddedItem,
    HistoryScope,
    LoggedMessage,
    PositionTakenError,
    Query,
    SessionKey,
    StoredSummary,
    Swap,
    ThreadKey,
    Title,
)
from langchain_agentmem.checkpointing.face import AgentMemSaver
from langchain_agentmem.errors import StorageClosedError
from langchain_agentmem.programs import Program
from langchain_agentmem.testing.cache import CacheContract
from langchain_agentmem.testing.cases import HOSTILE_IDS, KEY, NOTES, NOW, item, message, turn
from langchain_agentmem.testing.changes import ChangeContract
from langchain_agentmem.testing.edits import EditContract
from langchain_agentmem.testing.openings import OpeningContract
from langchain_agentmem.testing.records import RecordContract
from langchain_agentmem.testing.replacements import ReplacementContract
from langchain_agentmem.testing.restorations import RestorationContract
from langchain_agentmem.testing.secrets import SecretContract
from langchain_agentmem.testing.stale import StaleContract
from langchain_agentmem.testing.statistics import StatisticsContract
from langchain_agentmem.testing.transfer import TransferContract
from langchain_agentmem.testing.users import UserContract
from langchain_agentmem.testing.variables import VariableContract
from langchain_agentmem.text.vectors import similarities_to, unit
from langchain_agentmem.text.words import analyze, scores

T = TypeVar("T")


class BackendContract(
    CacheContract,
    ChangeContract,
    EditContract,
    OpeningContract,
    RecordContract,
    ReplacementContract,
    RestorationContract,
    SecretContract,
    StaleContract,
    StatisticsContract,
    TransferContract,
    UserContract,
    VariableContract,
):
    """The contract of a backend as tests. Derive a class, and provide a fixture `backend` with an empty backend."""

    # Transactions

    def test_concurrent_additions_never_interleave(self, backend: Backend) -> None:
        def add(number: int) -> None:
            self.write(backend, backend.messages.append(KEY, turn(f"{number} a", f"{number} b", f"{number} c")))

        threads = [threading.Thread(target=add, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        texts = self._texts(backend)
        assert len(texts) == 36
        assert all(texts[at : at + 3] == [f"{texts[at].split()[0]} {one}" for one in "abc"] for at in range(0, 36, 3))

    def test_a_closed_backend_refuses_calls(self, backend: Backend) -> None:
        backend.close()
        backend.close()
        assert backend.closed
        try:
            self.read(backend, backend.messages.count(KEY, None, NOW))
        except StorageClosedError:
            return
        msg = "A closed backend must raise StorageClosedError."
        raise AssertionError(msg)

    # Messages

    def test_messages_have_consecutive_positions(self, backend: Backend) -> None:
        assert self.write(backend, backend.messages.append(KEY, turn("a", "b"))) == 0
        assert self.write(backend, backend.messages.append(KEY, turn("c"))) == 2
        rows = self.read(backend, backend.messages.window(KEY, None, 2, NOW))
        assert [(row.position, row.body.data) for row in rows] == [(1, b"b"), (2, b"c")]
        assert self.read(backend, backend.messages.count(KEY, None, NOW)) == 3

    def test_messages_are_added_at_a_position_or_not_at_all(self, backend: Backend) -> None:
        first = turn("a", "b")._replace(first=0)
        assert self.write(backend, backend.messages.append(KEY, first)) == 0
        assert self.write(backend, backend.messages.append(KEY, turn("c")._replace(first=2))) == 2
        for position in (0, 2, 4):
            try:
                self.write(backend, backend.messages.append(KEY, turn("x")._replace(first=position)))
            except PositionTakenError:
                continue
            msg = "A backend must raise PositionTakenError if the next position is another one."
            raise AssertionError(msg)
        assert self._texts(backend) == ["a", "b", "c"]
        assert self.read(backend, backend.messages.head(KEY, NOW)).next_position == 3

    def test_a_window_includes_the_newest_system_message(self, backend: Backend) -> None:
        rows = [message(0, "be kind", role="system"), message(1, "a"), message(2, "b")]
        self.write(backend, backend.messages.append(KEY, Append(rows, None, NOW, token=secrets.randbits(62))))
        window = self.read(backend, backend.messages.window(KEY, None, 1, NOW))
        assert [row.body.data for row in window] == [b"be kind", b"b"]

    def test_pages_are_complete(self, backend: Backend) -> None:
        self.write(backend, backend.messages.append(KEY, turn(*map(str, range(7)))))
        found: list[bytes] = []
        after = -1
        while page := self.read(backend, backend.messages.page(KEY, None, after, 3, NOW)):
            found += [row.body.data for row in page]
            after = page[-1].position
        assert found == [str(number).encode() for number in range(7)]

    def test_agents_have_messages_of_their_own(self, backend: Backend) -> None:
        self.write(backend, backend.messages.append(KEY, turn("a", agent="writer")))
        self.write(backend, backend.messages.append(KEY, turn("b", agent="critic")))
        assert self._texts(backend, agent="writer") == ["a"]
        self.write(backend, backend.messages.clear(KEY, "writer"))
        assert self._texts(backend) == ["b"]

    def test_retention_keeps_the_newest_messages(self, backend: Backend) -> None:
        for text in "abcde":
            self.write(backend, backend.messages.append(KEY, turn(text, keep=3)))
        assert self._texts(backend) == ["c", "d", "e"]
        assert self.read(backend, backend.messages.count(KEY, None, NOW)) == 3

    def test_a_title_is_deleted_with_its_message(self, backend: Backend) -> None:
        self.write(backend, backend.messages.append(KEY, turn("a", titles=[Title(0, "a title")])))
        assert self._titles(backend) == ["a title"]
        self.write(backend, backend.messages.clear(KEY, None))
        assert self._titles(backend) == [None]
        self.write(backend, backend.messages.append(KEY, turn("b")))
        assert self.write(backend, backend.messages.rename(KEY, "my own", NOW))
        assert self._titles(backend) == ["my own"]

    def test_sessions_are_listed_by_user_and_use(self, backend: Backend) -> None:
        for number, user in enumerate(["alice", "bob", None, "alice"]):
            key = SessionKey("default", user, str(number))
            self.write(backend, backend.messages.append(key, turn("a", now=NOW + number)))
        self.write(backend, backend.messages.append(SessionKey("other", "alice", "9"), turn("a")))

        def listed(user_id: Any, limit: int | None = None, offset: int = 0) -> list[str]:
            rows = self.read(backend, backend.messages.sessions("default", user_id, limit, offset, NOW))
            return [row.key.session_id for row in rows]

        assert listed("alice") == ["3", "0"]
        assert listed(None) == ["2"]
        assert listed(OMITTED) == ["3", "2", "1", "0"]
        assert listed(OMITTED, 2, 1) == ["2", "1"]

    def test_a_session_expires_and_begins_again(self, backend: Backend) -> None:
        self.write(backend, backend.messages.append(KEY, turn("a", ttl=10.0)))
        assert self._texts(backend, now=NOW + 9) == ["a"]
        assert self._texts(backend, now=NOW + 10) == []
        self.write(backend, backend.messages.append(KEY, turn("b", now=NOW + 11)))
        assert self._texts(backend, now=NOW + 11) == ["b"]

    def test_a_late_clock_never_moves_the_expiry_of_a_session_backwards(self, backend: Backend) -> None:
        self.write(backend, backend.messages.append(KEY, turn("a", ttl=100.0)))
        self.write(backend, backend.messages.append(KEY, turn("b", ttl=100.0, now=NOW - 90)))
        assert self._texts(backend, now=NOW + 50) == ["a", "b"]

    def test_expired_sessions_are_swept(self, backend: Backend) -> None:
        for number in range(3):
            self.write(backend, backend.messages.append(SessionKey("default", None, str(number)), turn("a", ttl=1.0)))
        assert self.write(backend, backend.messages.sweep("default", NOW + 2, 2)) == 2
        assert self.write(backend, backend.messages.sweep("default", NOW + 2, 2)) == 1

    def test_the_end_of_a_session_deletes_its_own_messages(self, backend: Backend) -> None:
        rows = [message(0, "a"), message(1, "b", ends=True)]
        self.write(backend, backend.messages.append(KEY, Append(rows, None, NOW, token=secrets.randbits(62))))
        assert self.write(backend, backend.messages.end(KEY)) == 1
        assert self._texts(backend) == ["a"]
        assert self.write(backend, backend.messages.delete(KEY))
        assert not self.write(backend, backend.messages.delete(KEY))

    def test_a_summary_is_swapped_by_its_revision(self, backend: Backend) -> None:
        def swap(summary: StoredSummary, expected: int | None) -> bool:
            return self.write(backend, backend.messages.swap_summary(KEY, None, summary, expected, NOW))

        assert not swap(StoredSummary("no session", 1), None)
        self.write(backend, backend.messages.append(KEY, turn("a")))
        assert swap(StoredSummary("first", 2), None)
        assert not swap(StoredSummary("late", 3), None)
        assert swap(StoredSummary("second", 4), 2)
        assert self.read(backend, backend.messages.summary(KEY, None, NOW)) == StoredSummary("second", 4)
        self.write(backend, backend.messages.clear(KEY, None))
        assert not swap(StoredSummary("of deleted messages", 5), 4)

    def test_the_index_of_messages_is_complete(self, backend: Backend) -> None:
        for session in ("1", "2"):
            self.write(backend, backend.messages.append(SessionKey("default", "alice", session), turn("a", "b")))
        scope = HistoryScope("default", "alice")
        entries = self._entries(backend)
        assert sorted((one.session_id, one.position) for one in entries) == [("1", 0), ("1", 1), ("2", 0), ("2", 1)]
        assert {one.words for one in entries} == {analyze("a"), analyze("b")}
        rows = self.read(backend, backend.messages.rows(scope, [("1", 1), ("2", 7)], NOW))
        assert {key: row.body.data for key, row in rows.items()} == {("1", 1): b"b"}

    def test_messages_get_vectors(self, backend: Backend) -> None:
        self.write(backend, backend.messages.append(KEY, turn("a", "b")))
        found, _ = self.read(backend, backend.messages.unembedded("default", 2, None, 10, NOW))
        vector = unit([1.0, 0.0])
        embedded = [LoggedMessage(key, row._replace(vector=vector)) for key, row in found]
        assert self.write(backend, backend.messages.embed("default", embedded)) == 2
        entries = self._entries(backend)
        assert [one.vector for one in entries] == [vector, vector]

    def test_ids_are_opaque(self, backend: Backend) -> None:
        for one in HOSTILE_IDS:
            self.write(backend, backend.messages.append(SessionKey("default", one, one), turn(one)))
            self.write(backend, backend.items.put("default", [item(one, namespace=("notes", one))], NOW))
        for one in HOSTILE_IDS:
            assert self._texts(backend, SessionKey("default", one, one)) == [one]
            rows = self.read(backend, backend.messages.sessions("default", one, None, 0, NOW))
            assert [row.key.session_id for row in rows] == [one]
            items, _ = self.read(backend, backend.items.scan("default", ("notes", one), None, 100, None, NOW))
            assert [row.key for row in items] == [one]

    # Items

    def _keys(self, backend: Backend, prefix: tuple[str, ...] = (), limit: int = 100) -> list[str]:
        found: list[str] = []
        following: Any = None
        while True:
            page, following = self.read(backend, backend.items.scan("default", prefix, None, limit, following, NOW))
            found += [row.key for row in page]
            if following is None:
                return found

    def test_an_item_keeps_its_creation_time(self, backend: Backend) -> None:
        self.write(backend, backend.items.put("default", [item("k", '{"n": 1}')], NOW))
        self.write(backend, backend.items.put("default", [item("k", '{"n": 2}')], NOW + 5))
        (row,) = self.read(backend, backend.items.get("default", [(NOTES, "k")], NOW + 5))
        assert row is not None
        assert (row.value.replace(" ", ""), row.created_at, row.updated_at) == ('{"n":2}', NOW, NOW + 5)

    def test_items_are_listed_by_their_last_update(self, backend: Backend) -> None:
        for number in range(7):
            self.write(backend, backend.items.put("default", [item(str(number))], NOW - 10 + number))
        self.write(backend, backend.items.put("default", [item("other", namespace=("users", "alice2"))], NOW))
        assert self._keys(backend, NOTES, limit=3) == ["6", "5", "4", "3", "2", "1", "0"]
        namespaces = self.read(backend, backend.items.namespaces("default", ("users",), NOW))
        assert namespaces == [("users", "alice"), ("users", "alice2")]

    def test_a_swap_needs_the_revisions_that_were_read(self, backend: Backend) -> None:
        self.write(backend, backend.items.put("default", [item("a"), item("b")], NOW))
        rows = self.read(backend, backend.items.get("default", [(NOTES, "a"), (NOTES, "b")], NOW))
        first, second = (row.revision if row else None for row in rows)

        def swap(*swaps: Swap, token: int) -> bool:
            return self.write(backend, backend.items.swap("default", swaps, NOW + token, token))

        kept = Swap(NOTES, "b", second, keep=True)
        assert not swap(Swap(NOTES, "a", None, item("a")), kept, token=1)
        assert swap(Swap(NOTES, "a", first), kept, Swap(NOTES, "c", None, item("c")), token=2)
        assert sorted(self._keys(backend)) == ["b", "c"]
        assert not swap(Swap(NOTES, "a", first, item("a")), token=3)

    def test_a_retried_swap_recognises_its_own_write(self, backend: Backend) -> None:
        swaps = [Swap(NOTES, "a", None, item("a", '{"n": 1}'))]
        assert self.write(backend, backend.items.swap("default", swaps, NOW, 77))
        again = self.write(backend, backend.items.swap("default", swaps, NOW, 77))
        # A backend that may lose an answer says true. One that never retries may say false.
        assert again in (True, False)
        (row,) = self.read(backend, backend.items.get("default", [(NOTES, "a")], NOW))
        assert row is not None
        assert row.value.replace(" ", "") == '{"n":1}'

    def test_items_change_in_one_transaction(self, backend: Backend) -> None:
        self.write(backend, backend.items.put("default", [item("a"), item("b", ttl=10.0)], NOW))
        change = backend.items.change("default", [item("c")], [(NOTES, "a")], [(NOTES, "b")], NOW + 5)
        self.write(backend, change)
        rows = self.read(backend, backend.items.get("default", [(NOTES, key) for key in "abc"], NOW + 14))
        assert [row.key if row else None for row in rows] == [None, "b", "c"]

    def test_an_item_expires(self, backend: Backend) -> None:
        self.write(backend, backend.items.put("default", [item("k", ttl=10.0, text="pizza")], NOW))
        assert self.read(backend, backend.items.get("default", [(NOTES, "k")], NOW + 11)) == [None]
        assert self._matches(backend, ["pizza"], None, NOW + 11) == ({}, {})
        assert self.write(backend, backend.items.sweep("default", NOW + 11, 10)) <= 1

    def test_a_late_clock_never_moves_the_expiry_of_an_item_backwards(self, backend: Backend) -> None:
        self.write(backend, backend.items.put("default", [item("k", ttl=100.0)], NOW))
        self.write(backend, backend.items.put("default", [item("k", ttl=100.0)], NOW - 90))
        assert self.read(backend, backend.items.get("default", [(NOTES, "k")], NOW + 50)) != [None]

    def test_items_are_found_by_words_and_vectors(self, backend: Backend) -> None:
        first, second = unit([1.0, 0.0]), unit([0.0, 1.0])
        puts = [item("a", text="pizza and wine", vectors=[first]), item("b", text="tea", vectors=[second]), item("c")]
        self.write(backend, backend.items.put("default", puts, NOW))
        lexical, dense = self._matches(backend, ["pizza"], second, NOW)
        assert lexical.keys() == {"a"}
        assert dense.keys() == {"a", "b"}
        assert dense["b"] > dense["a"]

    def _matches(
        self, backend: Backend, words: list[str], vector: bytes | None, now: float
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Return the scores of the items with words of a query, and the similarities of the items with vectors."""
        if not backend.items.reads_changes:
            # Each search reads all items, and the caller compares them.
            reading = backend.items.changes("default", NOTES, len(vector or b""), None, now)
            texts = self.read(backend, reading).texts if reading else []
            compared = zip(texts, scores([one.words for one in texts], words), strict=True)
            similar = {one.key: similarities_to(one.vectors, vector)[0] for one in texts if one.vectors}
            return {one.key: score for one, score in compared if score}, {
                key: score for key, score in similar.items() if score is not None
            }
        found = self.read(backend, backend.items.find("default", Query(NOTES, words, vector, None, 10), now))
        rows = dict(found.rows)
        missing = [one.id for one in found.candidates if one.id not in rows]
        rows.update(self.read(backend, backend.items.rows(missing)) if missing else {})
        return (
            {rows[one.id].key: one.lexical for one in found.candidates if one.lexical},
            {rows[one.id].key: one.dense for one in found.candidates if one.dense is not None},
        )

    def test_items_get_vectors(self, backend: Backend) -> None:
        self.write(backend, backend.items.put("default", [item("a", text="tea"), item("b")], NOW))
        found, _ = self.read(backend, backend.items.unembedded("default", 2, None, 10, NOW))
        assert [one.row.key for one in found] == ["a"]
        vectors = [EmbeddedItem(one.row, [unit([1.0, 0.0])]) for one in found]
        assert self.write(backend, backend.items.embed("default", vectors)) == 1
        assert self.read(backend, backend.items.unembedded("default", 2, None, 10, NOW))[0] == []
        assert (
            self.write(backend, backend.items.embed("default", [EmbeddedItem(found[0].row._replace(revision=-1), [])]))
            == 0
        )

    def test_words_are_replaced(self, backend: Backend) -> None:
        self.write(backend, backend.items.put("default", [item("a", text="tea"), item("b")], NOW))
        self.write(backend, backend.messages.append(KEY, turn("a")))
        items, _ = self.read(backend, backend.items.unembedded("default", None, None, 10, NOW))
        self.write(backend, backend.items.set_words("default", [(one.row, "coffee") for one in items]))
        for word, count in (("tea", 0), ("coffee", 1)):
            assert len(self._matches(backend, [word], None, NOW)[0]) == count
        messages, _ = self.read(backend, backend.messages.unembedded("default", None, None, 10, NOW))
        changed = [LoggedMessage(key, row._replace(words=analyze("b"))) for key, row in messages]
        self.write(backend, backend.messages.set_words("default", changed))
        (entry,) = self._entries(backend)
        assert entry.words == analyze("b")

    def test_tenants_are_apart(self, backend: Backend) -> None:
        self.write(backend, backend.items.put("default", [item("k")], NOW))
        self.write(backend, backend.messages.append(KEY, turn("a")))
        assert self.read(backend, backend.items.get("other", [(NOTES, "k")], NOW)) == [None]
        assert self._texts(backend, KEY._replace(tenant="other")) == []

    # Checkpoints

    def test_a_thread_continues_with_all_that_was_stored(self, backend: Backend) -> None:
        graph, config = _graph(backend), {"configurable": {"thread_id": "1", "user_id": "alice"}}
        for number in range(4):
            state = self.invoke(graph, {"messages": [HumanMessage(str(number))]}, config)
            assert [one.text for one in state["messages"][::2]] == [str(one) for one in range(number + 1)]
        assert len(list(graph.get_state_history(config))) == 12

    def invoke(self, graph: Any, given: Any, config: Any) -> Any:
        """Run a graph."""
        return graph.invoke(given, config)

    def test_threads_are_listed_by_user(self, backend: Backend) -> None:
        graph = _graph(backend)
        for thread, user in (("1", "alice"), ("1", "bob"), ("2", "bob"), ("3", None)):
            config = {"configurable": {"thread_id": thread, **({"user_id": user} if user else {})}}
            self.invoke(graph, {"messages": [HumanMessage("Hi")]}, config)
        listed = {
            user: {
                row.thread_id for row in self.read(backend, backend.checkpoints.threads("default", user, None, 0, NOW))
            }
            for user in ("alice", "bob", None, OMITTED)
        }
        assert listed == {"alice": {"1"}, "bob": {"1", "2"}, None: {"3"}, OMITTED: {"1", "2", "3"}}

    def test_a_copy_of_a_thread_is_independent(self, backend: Backend) -> None:
        graph = _graph(backend)
        first, second = ({"configurable": {"thread_id": name}} for name in ("1", "2"))
        self.invoke(graph, {"messages": [HumanMessage("Hi")]}, first)
        assert self.write(
            backend, backend.checkpoints.copy_thread(ThreadKey("default", "1"), ThreadKey("default", "2"), NOW)
        )
        self.write(backend, backend.checkpoints.delete_thread(ThreadKey("default", "1")))
        assert graph.get_state(first).values == {}
        assert len(self.invoke(graph, {"messages": [HumanMessage("Again")]}, second)["messages"]) == 4

    def test_pruning_keeps_what_the_latest_checkpoint_needs(self, backend: Backend) -> None:
        graph, config = _graph(backend), {"configurable": {"thread_id": "1"}}
        for number in range(5):
            self.invoke(graph, {"messages": [HumanMessage(str(number))]}, config)
        graph.checkpointer.prune(["1"], strategy="keep_latest")
        assert len(list(graph.get_state_history(config))) == 1
        assert len(self.invoke(graph, {"messages": [HumanMessage("5")]}, config)["messages"]) == 12

    def test_a_thread_expires(self, backend: Backend) -> None:
        graph, config = _graph(backend), {"configurable": {"thread_id": "1"}}
        self.invoke(graph, {"messages": [HumanMessage("Hi")]}, config)
        (thread,) = self.read(backend, backend.checkpoints.threads("default", OMITTED, None, 0, NOW))
        used = thread.updated_at
        assert self.write(backend, backend.checkpoints.set_ttl(ThreadKey("default", "1"), 10.0, used))
        assert self.read(backend, backend.checkpoints.threads("default", OMITTED, None, 0, used + 11)) == []
        assert self.write(backend, backend.checkpoints.sweep("default", used + 11, 10)) <= 1


class AsyncBackendContract(BackendContract):
    """The same contract through the asynchronous methods of a backend. Each test has an event loop."""

    _runner: asyncio.Runner | None = None

    def read(self, backend: Backend, program: Program[T]) -> T:
        """Run a program that only reads, in the event loop of the test."""
        return self._run(backend.aread(program))

    def write(self, backend: Backend, program: Program[T]) -> T:
        """Run a program that writes, in the event loop of the test."""
        return self._run(backend.awrite(program))

    def invoke(self, graph: Any, given: Any, config: Any) -> Any:
        """Run a graph in the event loop of the test."""
        return self._run(graph.ainvoke(given, config))

    def teardown_method(self) -> None:
        """Close the event loop."""
        if self._runner is not None:
            self._runner.close()

    def _run(self, awaitable: Awaitable[T]) -> T:
        if threading.current_thread() is not threading.main_thread():
            return asyncio.run(_result_of(awaitable))
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(_result_of(awaitable))


async def _result_of(awaitable: Awaitable[T]) -> T:
    return await awaitable


def _graph(backend: Backend) -> Any:
    """A graph of one node, whose checkpointer uses a backend."""
    from langgraph.graph import START, MessagesState, StateGraph

    builder = StateGraph(MessagesState)
    builder.add_node("reply", lambda state: {"messages": [AIMessage(f"{len(state['messages'])} messages")]})
    builder.add_edge(START, "reply")
    return builder.compile(checkpointer=AgentMemSaver(backend))
