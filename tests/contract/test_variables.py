"""`memory.variables` on every backend."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

import pytest
from counting import Costs
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_agentmem import AgentMemory, Retention, UnsupportedValueError, Variable
from langchain_agentmem.errors import DamagedDataError, InvalidInputError, InvalidTypeError
from langchain_agentmem.prompting.variables import engine as variables

USER, SESSION, AGENT = "alice@example.com", "trip/1", "writer"
WIDEST = {"user_id": USER, "session_id": SESSION, "agent": AGENT}
SCOPES = [
    WIDEST,
    {"user_id": USER, "session_id": SESSION},
    {"user_id": USER, "agent": AGENT},
    {"user_id": USER},
    {"agent": AGENT},
    {},
]
"""The most specific first."""
NAMES = ["session and agent", "session", "user and agent", "user", "agent", "global"]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
ids = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=20)


@pytest.fixture
def clock(monkeypatch):
    """Moves the time of the memory."""

    class Clock:
        now = 1_800_000_000.0

        @staticmethod
        def time() -> float:
            return Clock.now

        @staticmethod
        def monotonic() -> float:
            return Clock.now

    monkeypatch.setattr(variables, "time", Clock)
    yield Clock
    Clock.now = 1_800_000_000.0


async def test_the_most_specific_variable_wins(memory, call):
    for scope, name in zip(reversed(SCOPES), reversed(NAMES), strict=True):
        await call(memory.variables.set, "who", name, **scope)
        await call(memory.variables.set, name, True, **scope)
        assert await call(memory.variables.get, "who", **WIDEST) == name
    for rank, scope in enumerate(SCOPES):
        found = await call(memory.variables.all, **scope)
        assert found["who"] == NAMES[rank]
    assert await call(memory.variables.all, **WIDEST) == {"who": NAMES[0], **dict.fromkeys(NAMES, True)}
    for rank, scope in enumerate(SCOPES[:-1]):
        assert await call(memory.variables.delete, "who", **scope)
        assert not await call(memory.variables.delete, "who", **scope)
        assert await call(memory.variables.get, "who", **WIDEST) == NAMES[rank + 1]
    assert [await call(memory.variables.clear, **scope) for scope in SCOPES] == [1, 1, 1, 1, 1, 2]
    assert await call(memory.variables.all, **WIDEST) == {}


async def test_other_sessions_users_and_agents_see_nothing(memory, call):
    for scope in SCOPES[:-1]:
        await call(memory.variables.set, "secret", 1, **scope)
    for scope in (
        {},
        {"user_id": "bob", "session_id": SESSION, "agent": "critic"},
        {"session_id": SESSION, "agent": "critic"},
        {"user_id": "alice", "session_id": SESSION},
    ):
        assert await call(memory.variables.all, **scope) == {}


async def test_every_json_value_comes_back_equal(memory, call):
    values = {
        "text": "a\x00b {{x}} 🎉",
        "number": -0.5,
        "big": 10**30,
        "exact": 1e16,
        "nothing": None,
        "flag": False,
        "list": [1, [2, {"a": None}]],
        "empty": {},
        "mapping": {"": {"b": "c"}, "z": 1, "a": 2},
    }
    await call(memory.variables.set_many, values, user_id=USER)
    found = await call(memory.variables.all, user_id=USER)
    assert found == values
    assert list(found["mapping"]) == ["", "z", "a"]
    assert await call(memory.variables.get, "nothing", "default", user_id=USER) is None
    assert await call(memory.variables.get, "missing", "default", user_id=USER) == "default"
    await call(memory.variables.set, "tuple", (1, 2))
    assert await call(memory.variables.get, "tuple") == [1, 2]


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (float("nan"), UnsupportedValueError),
        ({"a": [float("inf")]}, UnsupportedValueError),
        ({1: "a"}, UnsupportedValueError),
        (object(), UnsupportedValueError),
        ({"a": {"b": b"bytes"}}, UnsupportedValueError),
        ("\ud800", InvalidInputError),
        ({"\udfff": 1}, InvalidInputError),
        ([10**5000], InvalidInputError),
    ],
    ids=["nan", "infinity", "key", "object", "bytes", "surrogate", "surrogate key", "integer"],
)
async def test_what_is_no_json_value_is_refused_before_anything_is_written(memory, call, value, error):
    await call(memory.variables.set, "good", 1)
    with pytest.raises(error, match="'bad'"):
        await call(memory.variables.set_many, {"good": 2, "bad": value}, session_id=SESSION)
    assert await call(memory.variables.all, session_id=SESSION) == {"good": 1}
    assert await call(memory.sessions.list) == []


async def test_wrong_arguments_are_refused(memory, call):
    deep = "x"
    for _ in range(300):
        deep = [deep]
    for name, value, options, error in (
        ("", 1, {}, InvalidInputError),
        ("a\x00", 1, {}, InvalidInputError),
        ("a" * 1025, 1, {}, InvalidInputError),
        (7, 1, {}, InvalidTypeError),
        ("a", deep, {}, InvalidInputError),
        ("a", 1, {"ttl": 0}, InvalidInputError),
        ("a", 1, {"ttl": "1"}, InvalidTypeError),
        ("a", 1, {"user_id": ""}, InvalidInputError),
        ("a", 1, {"session_id": 3}, InvalidTypeError),
    ):
        with pytest.raises(error):
            await call(memory.variables.set, name, value, **options)
    for values in (["a"], "a", None):
        with pytest.raises(InvalidTypeError, match="mapping of names to values"):
            await call(memory.variables.set_many, values)
    with pytest.raises(InvalidInputError, match="k must"):
        await call(memory.variables.search, "a", k=0)
    await call(memory.variables.set_many, {}, session_id=SESSION)
    assert await call(memory.variables.all) == {}
    assert await call(memory.sessions.list) == []


async def test_ids_and_names_of_a_kilobyte_are_kept_apart(memory, call):
    long = "é" * 512
    scope = {"user_id": long, "session_id": long, "agent": long}
    await call(memory.variables.set, long, 1, **scope)
    await call(memory.variables.set, long, 2, **{**scope, "agent": long[:-1]})
    assert await call(memory.variables.all, **scope) == {long: 1}


async def test_a_variable_expires(memory, call, clock):
    for number, scope in enumerate(SCOPES):
        await call(memory.variables.set, f"short {number}", 1, ttl=timedelta(seconds=10), **scope)
        await call(memory.variables.set, f"long {number}", 1, ttl=100, **scope)
    clock.now += 9
    assert len(await call(memory.variables.all, **WIDEST)) == 12
    clock.now += 1
    assert {name.split()[0] for name in await call(memory.variables.all, **WIDEST)} == {"long"}
    assert await call(memory.variables.get, "short 5") is None
    assert not await call(memory.variables.delete, "short 5")
    await call(memory.variables.set, "long 5", 2)
    clock.now += 1_000
    assert await call(memory.variables.all, **WIDEST) == {"long 5": 2}


async def test_the_sweep_deletes_expired_variables(memory, call, monkeypatch):
    for scope in SCOPES:
        await call(memory.variables.set_many, {"a": 1, "b": 2}, ttl=0.000001, **scope)
        await call(memory.variables.set, "kept", 1, **scope)
    assert await call(memory.sweep) == 2 * len(SCOPES)
    assert await call(memory.sweep) == 0
    assert await call(memory.variables.all, **WIDEST) == {"kept": 1}


@pytest.mark.parametrize("end", ["end", "delete"])
async def test_the_variables_of_a_session_end_with_it(memory, call, end):
    for scope in SCOPES:
        await call(memory.variables.set, "where", len(scope), **scope)
    await call(memory.history(SESSION, user_id=USER).clear)
    assert await call(memory.variables.get, "where", **WIDEST) == 3
    await call(getattr(memory.sessions, end), SESSION, user_id=USER)
    assert await call(memory.variables.all, **WIDEST) == {"where": 2}
    assert await call(memory.variables.delete, "where", user_id=USER, agent=AGENT)
    assert await call(memory.variables.get, "where", **WIDEST) == 1


async def test_a_variable_makes_its_session_with_the_retention_of_its_agent(url, call):
    kept = {None: Retention(ttl=timedelta(days=1)), AGENT: Retention(ttl=60, sliding=False)}
    with AgentMemory.from_url(url, retention=kept) as memory:
        for session, agent, seconds in (("1", None, 86_400), ("2", AGENT, 60)):
            await call(memory.variables.set, "a", 1, session_id=session, agent=agent)
            (found,) = [one for one in await call(memory.sessions.list) if one.session_id == session]
            assert (found.message_count, found.title) == (0, None)
            assert (found.expires_at - found.updated_at).total_seconds() == pytest.approx(seconds)


async def test_all_variables_are_read_in_one_round_trip(memory, call, monkeypatch):
    for scope in SCOPES:
        await call(memory.variables.set, f"{len(scope)}", 1, **scope)
    await call(memory.variables.all)  # Redis learns the script
    costs = Costs(memory, monkeypatch)
    await call(memory.variables.all, **WIDEST)
    await call(memory.variables.get, "1", **WIDEST)
    assert costs.reset() == [("read", 1), ("read", 1)]
    await call(memory.variables.set_many, {"a": 1, "b": 2}, user_id=USER)
    assert len(costs.reset()) == 1


async def test_scores_are_between_0_and_1_however_often_a_word_occurs(memory, call):
    await call(memory.variables.set, "pets", "cats cats cats, which Alice likes", user_id=USER)
    await call(memory.variables.set, "other", "cats", user_id=USER)
    found = await call(memory.variables.search, "Does Alice like cats?", user_id=USER)
    assert [one.name for one in found] == ["pets", "other"]
    assert found[0].score == 1
    assert 0 < found[1].score < 1


async def test_search_finds_words_in_names_and_values(memory, call):
    await call(memory.variables.set, "travel_plans", "Two weeks in Malta", user_id=USER)
    await call(memory.variables.set, "tone", "formal", user_id=USER)
    await call(memory.variables.set, "tone", "MALTESE and formal", **WIDEST)
    await call(memory.variables.set, "facts", {"island": ["Malta is an island"]}, session_id=SESSION, user_id=USER)
    await call(memory.variables.set, "tone", "Malta", user_id="bob")
    found = await call(memory.variables.search, "malta?", **WIDEST)
    assert {one.name for one in found} == {"travel_plans", "facts"}
    assert all(isinstance(one, Variable) and 0 < one.score <= 1 for one in found)
    assert [one.name for one in await call(memory.variables.search, "a plan to travel", **WIDEST)] == ["travel_plans"]
    (one,) = await call(memory.variables.search, "formal", **WIDEST)
    assert (one.value, one.scope, one.agent, one.session_id, one.user_id) == (
        *("MALTESE and formal", "session and agent"),
        *(AGENT, SESSION, USER),
    )
    assert len(await call(memory.variables.search, "malta", 1, **WIDEST)) == 1
    for query in ("", "…", "unknown"):
        assert await call(memory.variables.search, query, **WIDEST) == []
    assert "<td style='text-align:left'>travel_plans</td>" in found._repr_html_()


async def test_writers_from_many_threads_and_tasks_lose_nothing(memory):
    def write(number: int) -> None:
        memory.variables.set(f"thread {number}", number, **SCOPES[number % 6])

    async def awrite(number: int) -> None:
        await memory.variables.aset_many({f"task {number}": number, "common": number}, **SCOPES[number % 6])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    await asyncio.gather(*map(awrite, range(32)))
    for thread in threads:
        await asyncio.to_thread(thread.join)
    found = await memory.variables.aall(**WIDEST)
    assert found.pop("common") in range(32)
    assert found == {f"{kind} {number}": number for kind in ("thread", "task") for number in range(32)}


def test_a_damaged_value_is_an_error_that_names_the_variable(memory):
    table = memory.backend.variables
    scope = memory.variables.engine.scope(USER)
    from langchain_agentmem.backends.contract import VariablePut

    memory.backend.write(table.set(scope, [VariablePut("mood", "{damaged")], 1.0))
    with pytest.raises(DamagedDataError, match="Variable 'mood'"):
        memory.variables.all(user_id=USER)


def test_hostile_ids_never_share_variables(memory):
    known = {}

    @settings(max_examples=examples(40), deadline=None)
    @given(ids | st.none(), ids | st.none(), ids | st.none(), ids, json_values)
    def check(user_id, session_id, agent, name, value):
        scope = {"user_id": user_id, "session_id": session_id, "agent": agent}
        memory.variables.set(name, value, **scope)
        known.setdefault(tuple(scope.values()), {})[name] = value
        levels = [(user_id, session_id)] if session_id is not None else []
        levels += [(user_id, None)] if user_id is not None else []
        expected = {}
        for level in reversed([*levels, (None, None)]):
            for one in [None] if agent is None else [None, agent]:
                expected.update(known.get((*level, one), {}))
        assert memory.variables.all(**scope) == expected

    check()


def test_the_object_shows_its_backend_and_the_global_variables(sqlite_memory):
    sqlite_memory.variables.set_many({"a": "<b>", "b": 2})
    sqlite_memory.variables.set("c", "of a user", user_id="alice")
    assert repr(sqlite_memory.variables).startswith("Variables(SqliteBackend(")
    table = sqlite_memory.variables._repr_html_()
    assert "&lt;b&gt;" in table
    assert "of a user" not in table
    (one,) = sqlite_memory.variables.search("2")
    assert "<th>value</th><td>2</td>" in one._repr_html_()
    sqlite_memory.close()
    assert "closed" in sqlite_memory.variables._repr_html_()
