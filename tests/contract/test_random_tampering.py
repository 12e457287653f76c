"""Under a key, whatever somebody without it does to single rows, a read returns what was stored, or raises an error.

The limits of docs/encryption.md are the only exceptions: a session or a thread that is missing as a whole, an older row of a
session in a listing, missing records, fewer results of a search in histories, and the order of a listing of items on Redis.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
from conftest import new_url
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph
from raw_cells import Address, RawCells, Row, Rows

from langchain_agentmem import AgentMemory, DamagedDataError, WrongKeyError

KEY = bytes(range(32))
USERS = ("alice", "bob")
SCOPES: list[dict[str, Any]] = [{}, *({"user_id": user} for user in USERS), {"user_id": "alice", "session_id": "trip"}]


@pytest.fixture(params=["sqlite-file", "postgres", "redis"], scope="module")
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Filled:
    return fill(new_url(request.param, tmp_path_factory.mktemp("tampering")))


class Filled(NamedTuple):
    """A filled database."""

    raw: RawCells
    former: Rows
    """All rows at an earlier time."""
    rows: Rows
    expected: dict[str, Any]
    """The result of each read."""
    outdated: dict[str, Any]
    """The result of each read at the earlier time."""


def graph(memory: AgentMemory) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": [AIMessage(f"answer {len(state['messages'])}")]})
    builder.add_edge(START, "answer")
    return builder.compile(checkpointer=memory.checkpointer)


def fill(url: str) -> Filled:
    raw, former, outdated = RawCells(url), {}, {}
    for number in range(2):
        with AgentMemory.from_url(url, key=KEY) as memory:
            for user in USERS:
                for name in ("trip", "work"):
                    history = memory.history(name, user_id=user)
                    history.add_messages([HumanMessage(f"{user} {name} {number}"), AIMessage(f"Noted {number}")])
                    memory.sessions.rename(name, f"title {name} {number}", user_id=user)
                    with memory.session(name, user_id=user, metadata={"number": number}) as session:
                        session.records.save("planner", {"step": number})
                for key in ("a", "b"):
                    memory.store.put(("notes", user), key, {"text": f"{user} {key} {number}"})
                config = {"configurable": {"thread_id": f"thread of {user}", "user_id": user}}
                graph(memory).invoke({"messages": [HumanMessage(f"question {number}")]}, config)
                memory.profiles.add_fact(user, f"{user} likes number {number}")
            for scope in SCOPES:
                named = f"{number} {' '.join(scope.values())}"
                memory.variables.set_many({"city": f"Bern {named}", "tone": f"formal {named}"}, **scope)
                if not number:
                    memory.variables.set("gone", 1, **scope)
                else:
                    memory.variables.delete("gone", **scope)
            if number:
                for user in USERS:
                    history = memory.history("trip", user_id=user)
                    history.delete(history.messages[0].id)
                    history.replace(history.messages[0].id, AIMessage("replaced"))
        if not number:
            former = raw.rows()
            outdated = all_reads(url)
    expected = all_reads(url)
    assert all(expected.values())
    return Filled(raw, former, raw.rows(), expected, outdated)


def all_reads(url: str) -> dict[str, Any]:
    with AgentMemory.from_url(url, key=KEY) as memory:
        return {name: read(memory) for name, read in READS.items()}


def of_thread(user: str) -> dict[str, Any]:
    return {"configurable": {"thread_id": f"thread of {user}"}}


def contents(messages: Sequence[Any]) -> list[Any]:
    return [(message.type, message.content) for message in messages]


def reads() -> dict[str, Callable[[AgentMemory], Any]]:
    """The reads by name."""
    found: dict[str, Callable[[AgentMemory], Any]] = {}
    for user in USERS:
        for name in ("trip", "work"):
            named = {"session_id": name, "user_id": user}
            found |= {
                f"history {user} {name}": lambda it, one=named: contents(it.history(**one).messages),
                f"recent {user} {name}": lambda it, one=named: contents(it.history(**one).get_recent(2)),
                f"session {user} {name}": lambda it, one=named: described(it.sessions.get(**one)),
                f"records {user} {name}": lambda it, one=named: [row.record for row in it.records.query(**one)],
            }
        found |= {
            f"sessions {user}": lambda it, one=user: sorted(map(described, it.sessions.list(user_id=one))),
            f"items {user}": lambda it, one=user: sorted(
                (item.key, str(item.value)) for item in it.store.search(("notes", one))
            ),
            f"item {user}": lambda it, one=user: it.store.get(("notes", one), "a").value,
            f"state {user}": lambda it, one=user: contents(
                graph(it).get_state(of_thread(one)).values.get("messages", ())
            ),
            f"states {user}": lambda it, one=user: [
                contents(state.values.get("messages", ())) for state in graph(it).get_state_history(of_thread(one))
            ],
            f"facts {user}": lambda it, one=user: sorted(fact.text for fact in it.profiles.get(one).facts),
            f"found {user}": lambda it, one=user: sorted(
                hit.message.content for hit in it.search_history("Noted", user_id=one)
            ),
        }
    for scope in SCOPES:
        name = " ".join(map(str, scope.values())) or "all users"
        found |= {
            f"variables {name}": lambda it, one=scope: it.variables.all(**one),
            f"variable {name}": lambda it, one=scope: it.variables.get("city", **one),
        }
    return found


def described(info: Any) -> Any:
    return info and (info.session_id, info.title, str(info.metadata))


READS = reads()
ROOTS = (
    "agentmem_sessions",
    "agentmem_threads",
    "agentmem_thread_users",
    "checkpoints",
    ":session",
    "owners",
    "sessions",
)


def is_accepted(name: str, filled: Filled, found: Any, touched: Sequence[Address]) -> bool:
    """Return true if the result of a read is what was stored, or a limit of the documentation."""
    kind, expected, outdated = name.split(maxsplit=1)[0], filled.expected[name], filled.outdated[name]
    if found == expected:
        return True
    if kind in ("records", "found"):
        return is_part(found, expected)
    if not any(map(is_root, touched)):
        return False
    if kind in ("session", "sessions"):  # a session is missing, or its whole row is an older one
        return is_part(found, [*expected, *outdated]) if kind == "sessions" else found in (outdated, None)
    if kind in ("variable", "variables"):  # those of the missing session
        return found == filled.expected[name.removesuffix(" trip")]
    return kind in ("state", "states", "history", "recent") and not found  # it is missing as a whole


def is_part(found: Sequence[Any], expected: Sequence[Any]) -> bool:
    left = list(expected)
    return all(one in left and not left.remove(one) for one in found)


def is_root(address: Address) -> bool:
    return any(one in address.table for one in ROOTS)


# Attacks


def group(address: Address) -> str:
    """The table of a row; on Redis, the end of the key, which is the same for all sessions."""
    return address.table.rpartition(":")[2] if address.table.startswith("agentmem:") else address.table


class Attack(NamedTuple):
    """Rows to write; None deletes one."""

    name: str
    rows: dict[Address, Row | None]


def attack_of(chance: random.Random, filled: Filled) -> Attack:
    """Choose a change of one row, or of two rows of one table."""
    tables = sorted({group(address) for address in filled.rows})
    table = chance.choice(tables)
    own = [address for address in filled.rows if group(address) == table]
    one, other = chance.choice(own), chance.choice(own)
    row, donor = filled.rows[one], filled.rows[other]
    kind = chance.choice(["delete", "older row", "older cell", "former row", "copy", "copy cell", "swap"])
    column = chance.choice(sorted(row))
    older = filled.former.get(one)
    if kind == "former row":
        gone = [address for address in filled.former if address not in filled.rows]
        if gone:
            one = chance.choice(gone)
            return Attack(kind, {one: filled.former[one]})
    if kind in ("older row", "older cell") and older is not None:
        return Attack(kind, {one: older if kind == "older row" else {**row, column: older[column]}})
    own_key = set() if filled.raw.is_redis else {name for name in row if row[name] in one.key}
    taken = {name: donor[name] for name in row if name not in own_key} if kind == "copy" else {column: donor[column]}
    if kind == "swap":
        return Attack(kind, {one: {**row, column: donor[column]}, other: {**donor, column: row[column]}})
    if kind in ("copy", "copy cell"):
        return Attack(kind, {one: {**row, **taken}})
    return Attack("delete", {one: None})


@settings(max_examples=examples(40), deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
def test_a_changed_row_is_refused_or_changes_nothing(filled, seed):
    attack = attack_of(random.Random(seed), filled)
    wrong = carried_out(filled, attack)
    assert not wrong, (attack, wrong)


def carried_out(filled: Filled, attack: Attack) -> list[Any]:
    """Carry out an attack, and return the reads that returned something wrong, with what they should have returned."""
    with filled.raw.undone():
        for address, row in attack.rows.items():
            try:
                filled.raw.write(address, row)
            except Exception:  # the database itself refuses it, such as a second row with a unique value
                return []
        wrong = []
        with AgentMemory.from_url(filled.raw.url, key=KEY) as memory:
            for name, read in READS.items():
                try:
                    found = read(memory)
                except (DamagedDataError, WrongKeyError):
                    continue
                except AttributeError:  # the read of something that is missing
                    found = None
                if not is_accepted(name, filled, found, list(attack.rows)):
                    wrong.append((name, filled.expected[name], found))
        return wrong
