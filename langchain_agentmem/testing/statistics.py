"""Tests of the statistics of a backend; a part of `langchain_agentmem.testing.contract`."""

from __future__ import annotations

from typing import Any

from langchain_agentmem.backends.contract import (
    Backend,
    RecordRow,
    SessionKey,
    SessionUse,
    Statistics,
    StatisticsQuery,
    StoredSummary,
    VariablePut,
    VariableScope,
    new_record_id,
)
from langchain_agentmem.checkpointing.face import AgentMemSaver
from langchain_agentmem.testing.cases import HOSTILE_IDS, KEY, NOW, ContractCase, item, turn

_KINDS = ("facts", "profile", "entities", "relations", "seen")
_HOUR, _DAY = 3_600.0, 86_400.0


class StatisticsContract(ContractCase):
    """The contract of the statistics as tests."""

    def _statistics(self, backend: Backend, tenant: str = "default", now: float = NOW) -> Statistics:
        query = StatisticsQuery(tenant, now, "user:", "shared", _KINDS, ("entities", "same_as"), ("relations", "links"))
        return self.read(backend, backend.statistics.count(query))

    def _record(self, backend: Backend, user_id: str | None, session_id: str | None, agent: str) -> None:
        row = RecordRow(new_record_id(NOW), user_id, session_id, agent, "done", None, None, NOW, "{}")
        self.write(backend, backend.records.add("default", row, None, True, NOW))

    def test_an_empty_database_has_empty_statistics(self, backend: Backend) -> None:
        found = self._statistics(backend)
        names = (
            "sessions",
            "messages",
            "summaries",
            "threads",
            "checkpoints",
            "pending_writes",
            "variables",
            "cache_entries",
            "records",
        )
        assert found.counts == dict.fromkeys((*names, "users", "agents"), 0)
        assert not any(found.items.values())
        assert {name: [*numbers] for name, numbers in found.expiries.items()} == {
            name: [0] * 5 for name in ("sessions", "items", "threads", "variables", "cache_entries")
        }

    def test_sessions_are_counted_with_their_messages_and_summaries(self, backend: Backend) -> None:
        for number, ttl in enumerate((60.0, 2 * _HOUR, 3 * _DAY, 30 * _DAY, None)):
            key = SessionKey("default", "alice", f"session-{number}")
            self.write(backend, backend.messages.append(key, turn("a", "b", ttl=ttl)))
        self.write(backend, backend.messages.append(KEY._replace(tenant="other"), turn("a")))
        self.write(backend, backend.messages.append(KEY._replace(user_id=None), turn("a", agent="writer")))
        key = SessionKey("default", "alice", "session-4")
        for revision, (agent, value) in enumerate(((None, "{}"), ("critic", "{}"), ("writer", ""))):
            summary = StoredSummary(value, revision + 1)
            assert self.write(backend, backend.messages.swap_summary(key, agent, summary, None, NOW))
        found = self._statistics(backend)
        assert [found.counts[name] for name in ("sessions", "messages", "summaries")] == [6, 11, 2]
        assert [*found.expiries["sessions"]] == [1, 1, 1, 1, 2]
        assert (found.counts["users"], found.counts["agents"]) == (1, 1)
        later = self._statistics(backend, now=NOW + 4 * _DAY)
        assert [later.counts[name] for name in ("sessions", "messages", "summaries")] == [3, 5, 2]
        assert [*later.expiries["sessions"]] == [0, 0, 0, 1, 2]

    def test_items_are_counted_by_kind(self, backend: Backend) -> None:
        for number, user in enumerate(HOSTILE_IDS):
            puts = [item(f"{number}", namespace=(f"user:{user}", label)) for label in ("facts", "profile", "seen", "x")]
            puts += [item(f"{number}", namespace=one) for one in ((user,), (user, "facts"), (f"user:{user}",))]
            self.write(backend, backend.items.put("default", puts, NOW))
        other = [item("k", namespace=("user:zoe", "seen")), item("k", namespace=("shared", "manual"))]
        self.write(backend, backend.items.put("default", other, NOW))
        self.write(backend, backend.items.put("te.nant", [item("k", namespace=("user:zoe", "facts"))], NOW))
        found, count = self._statistics(backend), len(HOSTILE_IDS)
        items = {kind: number for kind, number in found.items.items() if number}
        assert items == {"facts": count, "profile": count, "seen": count + 1, "": 4 * count, "shared": 1}
        assert [*found.expiries["items"]] == [0, 0, 0, 0, 7 * count + 2]
        assert found.counts["users"] == count + 1
        other_tenant = self._statistics(backend, "te.nant")
        assert {kind: number for kind, number in other_tenant.items.items() if number} == {"facts": 1}
        assert other_tenant.counts["users"] == 1

    def test_aliases_and_nested_objects_are_counted(self, backend: Backend) -> None:
        entities, relations = ("user:alice", "entities"), ("user:alice", "relations")
        puts = [item("a", '{"name":"a"}', namespace=entities), item("b", '{"same_as":"a"}', namespace=entities)]
        puts += [
            item("a", '{"links":{"1":{},"2":{"x":"-0.0"}}}', namespace=relations),
            item("b", '{"links":{"2":{},"3":{"x":-0.0}}}', namespace=relations),
            item("c", '{"links":{"4":{}}}', namespace=relations, ttl=60.0),
            item("b", '{"same_as":"a"}', namespace=("notes", "entities")),
            item("a", '{"links":{"2":{}}}', namespace=("user:bob", "relations")),
        ]
        self.write(backend, backend.items.put("default", puts, NOW))
        found = self._statistics(backend, now=NOW + 61).items
        assert {kind: number for kind, number in found.items() if number} == {
            "entities": 1,
            "aliases": 1,
            "relations": 4,
            "": 1,
        }

    def test_expired_items_do_not_count(self, backend: Backend) -> None:
        ttls = (60.0, 2 * _HOUR, 3 * _DAY, 30 * _DAY, None)
        puts = [item(str(ttl), namespace=("user:alice", "facts"), ttl=ttl) for ttl in ttls]
        self.write(backend, backend.items.put("default", puts, NOW))
        assert [*self._statistics(backend).expiries["items"]] == [1, 1, 1, 1, 1]
        later = self._statistics(backend, now=NOW + _DAY)
        assert [*later.expiries["items"]] == [0, 0, 1, 1, 1]
        assert later.items["facts"] == 3
        self.write(backend, backend.items.touch("default", [(("user:alice", "facts"), str(3 * _DAY))], NOW + 2 * _DAY))
        assert [*self._statistics(backend, now=NOW + 3.5 * _DAY).expiries["items"]] == [0, 0, 1, 1, 1]

    def test_threads_are_counted_with_their_checkpoints_and_writes(self, backend: Backend) -> None:
        saver = AgentMemSaver(backend)
        for thread, user in (("a", "alice"), ("b", "bob"), ("c", None)):
            config: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": "", "user_id": user}}
            metadata: Any = {"user_id": user} if user else {}
            for number in range(2):
                config = saver.put(config, _checkpoint(number), metadata, {})
            saver.put_writes(config, [("channel", "text"), ("other", 1)], "task")
        found = self._statistics(backend)
        assert [found.counts[name] for name in ("threads", "checkpoints", "pending_writes")] == [3, 6, 6]
        assert (found.counts["users"], [*found.expiries["threads"]]) == (2, [0, 0, 0, 0, 3])
        saver.set_ttl("a", 7 * _DAY - 60)
        assert [*self._statistics(backend, now=_now(saver, "a")).expiries["threads"]] == [0, 0, 1, 0, 2]
        late = self._statistics(backend, now=_now(saver, "a") + 8 * _DAY)
        assert [late.counts[name] for name in ("threads", "checkpoints", "pending_writes", "users")] == [2, 4, 4, 1]

    def test_variables_and_records_are_counted(self, backend: Backend) -> None:
        scopes = [
            VariableScope("default"),
            VariableScope("default", agent="planner"),
            VariableScope("default", "bob"),
            VariableScope("default", "bob", agent="critic"),
            VariableScope("other", "zoe"),
        ]
        for scope in scopes:
            puts = [VariablePut("a", "1"), VariablePut("b", "2", 60.0)]
            self.write(backend, backend.variables.set(scope, puts, NOW))
        session = VariableScope("default", "alice", "session-1", "writer")
        self.write(backend, backend.variables.set(session, [VariablePut("a", "1")], NOW, SessionUse(2 * _HOUR)))
        for user_id, session_id, agent in (
            ("alice", "session-1", "writer"),
            ("carol", None, "coder"),
            (None, None, "coder"),
        ):
            self._record(backend, user_id, session_id, agent)
        found = self._statistics(backend)
        assert [*found.expiries["variables"]] == [4, 1, 0, 0, 4]
        assert [found.counts[name] for name in ("variables", "records", "users", "agents")] == [9, 3, 3, 4]
        later = self._statistics(backend, now=NOW + 3 * _HOUR)
        assert [later.counts[name] for name in ("variables", "records", "users", "agents")] == [4, 2, 2, 3]

    def test_many_sessions_and_items_are_counted_exactly(self, backend: Backend) -> None:
        for number in range(320):
            key = SessionKey("default", "alice" if number < 220 else f"user-{number}", f"session-{number}")
            self.write(backend, backend.messages.append(key, turn("a")))
        puts = [item(str(at), namespace=("user:alice", "facts" if at % 2 else f"n{at}")) for at in range(2_040)]
        self.write(backend, backend.items.put("default", puts, NOW))
        expiring = [item(str(at), namespace=("user:alice", "facts"), ttl=60.0) for at in range(3_000, 4_100)]
        self.write(backend, backend.items.put("default", expiring, NOW))
        found = self._statistics(backend)
        assert (found.counts["sessions"], found.counts["messages"], found.counts["users"]) == (320, 320, 101)
        assert (found.items["facts"], found.items[""]) == (2_120, 1_020)
        assert [*found.expiries["items"]] == [1_100, 0, 0, 0, 2_040]
        assert self._statistics(backend, now=NOW + 61).items["facts"] == 1_020


def _checkpoint(number: int) -> Any:
    from langgraph.checkpoint.base import empty_checkpoint

    return {**empty_checkpoint(), "id": f"{number:032d}"}


def _now(saver: AgentMemSaver, thread_id: str) -> float:
    (thread,) = [one for one in saver.threads() if one.thread_id == thread_id]
    return thread.updated_at.timestamp()
