"""Searching chat histories, on every backend, by words and by vectors."""

from __future__ import annotations

import logging
import math
import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from identity import without_ids
from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_agentmem import AgentMemory, FoundMessage, InvalidInputError, InvalidTypeError, Retention
from langchain_agentmem.backends.contract import Append, LoggedMessage, MessageRow, SessionKey
from langchain_agentmem.backends.notes import Notes
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.testing.cases import entries_in
from langchain_agentmem.text.vectors import unit
from langchain_agentmem.text.words import analyze


class Topics(Embeddings):
    """A text's vector says which of these words it holds, and their synonyms."""

    WORDS = (("dog", "puppy"), ("car", "vehicle"), ("bread", "loaf"), ("rain", "storm"))

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.queries: list[str] = []
        self.error: Exception | None = None

    def _vector(self, text: str) -> list[float]:
        return [float(any(word in text.lower() for word in group)) for group in self.WORDS] + [0.1]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.calls.append(texts)
        if self.error is not None:
            raise self.error
        return [self._vector(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        self.queries.append(text)
        return self._vector(text)


def texts(found: list[FoundMessage]) -> list[str]:
    return [str(one.message.text) for one in found]


async def fill(memory: AgentMemory, call: Any) -> None:
    """Two users; alice has two sessions, one of them with two agents."""
    monday = memory.history("monday", user_id="alice")
    await call(monday.add_messages, [HumanMessage("My dog is ill"), AIMessage("I am sorry to hear it")])
    await call(
        monday.add_messages, [HumanMessage("We baked bread"), AIMessage("With rye?"), HumanMessage("With spelt")]
    )
    for agent, text in (("writer", "The report on rain is done"), ("critic", "The report is too long")):
        await call(memory.history("tuesday", user_id="alice", agent=agent).add_messages, [AIMessage(text)])
    await call(memory.history("monday", user_id="bob").add_messages, [HumanMessage("Dogs and bread and reports")])
    await call(memory.history("monday").add_messages, [HumanMessage("A dog of nobody")])


async def test_a_session_is_searched_by_any_word_in_any_form(memory, call):
    await fill(memory, call)
    history = memory.history("monday", user_id="alice")
    (first, *_) = await call(history.search, "Which dogs are ill?")
    assert isinstance(first, FoundMessage)
    assert (first.message.text, first.position, first.session_id) == ("My dog is ill", 0, "monday")
    assert (first.user_id, first.agent, first.score) == ("alice", None, 1.0)
    assert texts(await call(history.search, "baking", 1)) == ["We baked bread"]
    assert await call(history.search, "zeppelin") == []
    assert await call(history.search, "") == await call(history.search, "  ?! ") == []
    assert await call(history.search, "dog", 0) == []


async def test_a_notebook_shows_what_was_found_as_a_table(memory, call):
    await call(memory.history("<s>").add_messages, [HumanMessage("a <b>dog</b>")])
    shown = (await call(memory.history("<s>").search, "dog"))._repr_html_()
    assert "&lt;s&gt;" in shown
    assert "a &lt;b&gt;dog&lt;/b&gt;" in shown
    assert "<b>" not in shown


async def test_all_sessions_of_one_user_are_searched_and_no_others(memory, call):
    await fill(memory, call)
    assert texts(await call(memory.search_history, "dog report", user_id="bob")) == ["Dogs and bread and reports"]
    assert texts(await call(memory.search_history, "dog")) == ["A dog of nobody"]
    found = await call(memory.search_history, "dog report", user_id="alice")
    assert {one.session_id for one in found} == {"monday", "tuesday"}
    assert {one.user_id for one in found} == {"alice"}
    one = await call(memory.search_history, "dog report", user_id="alice", session_id="tuesday")
    assert {result.session_id for result in one} == {"tuesday"}
    assert await call(memory.search_history, "dog", user_id="carol") == []


async def test_one_agents_messages_are_searched_alone(memory, call):
    await fill(memory, call)
    found = await call(memory.search_history, "report", user_id="alice", agent="critic")
    assert [(str(one.message.text), one.agent) for one in found] == [("The report is too long", "critic")]
    history = memory.history("tuesday", user_id="alice", agent="writer")
    assert texts(await call(history.search, "report long")) == ["The report on rain is done"]


async def test_what_was_said_before_a_message_leads_to_it(memory, call):
    history = memory.history("s")
    said = ["Where did you spend the summer?", "In Lisbon", "And the winter?", "At home", "I see", "Yes"]
    await call(history.add_messages, [HumanMessage(text) for text in said])
    assert set(texts(await call(history.search, "summer"))) == set(said[:3])
    assert (await call(history.search, "summer"))[0].position == 0
    # Another session begins anew.
    await call(memory.history("t").add_messages, [HumanMessage("Hello")])
    assert "Hello" not in texts(await call(memory.search_history, "yes see home"))


async def test_a_role_and_a_span_of_time_can_be_asked_for(memory, call):
    history = memory.history("s")
    days = [datetime(2023, 5, day, 12, tzinfo=UTC) for day in (7, 8, 9)]
    for day in days:
        kwargs = {"created_at": day.isoformat()}
        pair = [HumanMessage("rain", additional_kwargs=kwargs), AIMessage("rain", additional_kwargs=kwargs)]
        await call(history.add_messages, pair)
    assert len(await call(history.search, "rain")) == 6
    assert {one.message.type for one in await call(history.search, "rain", role="ai")} == {"ai"}
    since = await call(history.search, "rain", since=days[1])
    assert {one.created_at for one in since} == set(days[1:])
    until = await call(history.search, "rain", role="human", until=days[1].replace(tzinfo=None))
    assert [one.created_at for one in until] == days[:1]
    assert await call(history.search, "rain", since=days[2] + timedelta(hours=1)) == []


async def test_a_messages_date_is_found_in_words(memory, call):
    history = memory.history("s")
    for number, moment in enumerate(("2023-05-08T13:56:00", "2023-06-09T23:30:00-02:00", "2024-05-11", "no date", 7)):
        message = HumanMessage(f"Note {number}", additional_kwargs={"created_at": moment})
        await call(memory.history(str(number)).add_messages, [message])
    found = await call(memory.search_history, "What happened on 8 May 2023?")
    assert texts(found)[0] == "Note 0"
    assert found[0].created_at == datetime(2023, 5, 8, 13, 56, tzinfo=UTC)
    assert texts(await call(memory.search_history, "on the 10th of June", 1)) == ["Note 1"]
    now = datetime.now(UTC)
    today = await call(memory.search_history, f"{now:%B} {now.year}", 10)
    assert {"Note 3", "Note 4"} <= set(texts(today))
    assert await call(history.count) == 0


EXTREMES = ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59.999999Z", "0001-01-01"]


async def test_dates_at_the_ends_of_the_calendar_spoil_no_search(memory, call):
    history = memory.history("s", user_id="alice")
    messages = [HumanMessage(f"rain {n}", additional_kwargs={"created_at": date}) for n, date in enumerate(EXTREMES)]
    await call(history.add_messages, messages)
    assert len(await call(history.search, "rain")) == 4
    assert len(await call(memory.search_history, "rain", user_id="alice")) == 4
    this_year = datetime.now(UTC).year
    assert [one.created_at.year for one in await call(history.stored)] == [this_year, this_year, 9999, 1]


async def test_times_beyond_the_calendar_that_were_stored_spoil_no_search(memory, call, monkeypatch):
    history = memory.history("s")
    for seconds in (-1e11, 1e12):
        with monkeypatch.context() as patch:
            patch.setattr("langchain_agentmem.history.turns.time_of", lambda message, now, seconds=seconds: seconds)
            await call(history.add_messages, [HumanMessage("rain")])
    assert {one.created_at.year for one in await call(history.search, "rain")} == {1, 9999}
    assert [one.created_at.year for one in await call(history.stored)] == [1, 9999]


async def test_the_turns_around_a_message_come_with_it(memory, call):
    history = memory.history("s")
    await call(history.add_messages, [SystemMessage("rules"), *(HumanMessage(f"word{n}") for n in range(9))])
    for around, expected in ((0, []), (1, ["word3", "word4", "word5"]), (2, [f"word{n}" for n in range(2, 7)])):
        (found, *_) = await call(history.search, "word4", around=around)
        assert found.message.content == "word4"
        assert [message.content for message in found.around] == expected
    (first, *_) = await call(history.search, "rules", around=1)
    assert [message.content for message in first.around] == ["rules", "word0"]


async def test_what_is_gone_is_not_found(memory, call):
    await fill(memory, call)
    await call(memory.history("monday", user_id="alice").clear)
    assert await call(memory.search_history, "dog bread", user_id="alice") == []
    await call(memory.history("tuesday", user_id="alice", agent="critic").clear)
    assert texts(await call(memory.search_history, "report", user_id="alice")) == ["The report on rain is done"]
    await call(memory.sessions.delete, "monday", user_id="bob")
    assert await call(memory.search_history, "dog", user_id="bob") == []
    short = memory.history("short", retention=Retention(max_messages=2))
    for number in range(6):
        await call(short.add_messages, [HumanMessage(f"number{number}")])
    assert texts(await call(short.search, "number0 number1 number2 number3")) == []
    assert texts(await call(short.search, "number4 number5", 1)) == ["number5"]
    brief = memory.history("brief", retention=Retention(policy="session"))
    await call(brief.add_messages, [HumanMessage("only for now")])
    await call(memory.sessions.end, "brief")
    assert await call(brief.search, "now") == []


async def test_what_has_expired_is_not_found(memory, call, monkeypatch):
    start = time.time()
    monkeypatch.setattr(time, "time", lambda: start)
    history = memory.history("s", retention=Retention(ttl=100))
    await call(history.add_messages, [HumanMessage("rain")])
    monkeypatch.setattr(time, "time", lambda: start + 101)
    assert await call(history.search, "rain") == []
    await call(history.add_messages, [HumanMessage("more rain")])
    assert texts(await call(history.search, "rain")) == ["more rain"]


async def test_with_embeddings_messages_are_found_by_meaning(url, call):
    model = Topics()
    with AgentMemory.from_url(url, embeddings=model) as memory:
        await fill(memory, call)
        assert [len(batch) for batch in model.calls] == [2, 3, 1, 1, 1, 1]  # one call for each addition
        history = memory.history("monday", user_id="alice")
        found = await call(history.search, "How is the puppy?")
        assert texts(found)[0] == "My dog is ill"
        assert len(found) == 5
        assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
        assert all(0 <= one.score <= 1 for one in found)
        both = await call(memory.search_history, "a loaf of bread", 1, user_id="alice")
        assert texts(both) == ["We baked bread"]
        await call(memory.close)


async def test_a_model_that_fails_loses_no_message(url, call, caplog):
    model = Topics()
    with AgentMemory.from_url(url, embeddings=model) as memory:
        await call(memory.history("s").add_messages, [HumanMessage("A dog")])
        model.error = TimeoutError("the model is away")
        with caplog.at_level(logging.WARNING):
            await call(memory.history("s").add_messages, [HumanMessage("A car"), AIMessage("A storm")])
        assert "the model is away" in caplog.text
        model.error = None
        assert await call(memory.history("s").count) == 3
        found = await call(memory.history("s").search, "car")
        assert texts(found)[0] == "A car"
        await call(memory.close)


async def test_messages_need_not_be_embedded(url, call):
    model = Topics()
    with AgentMemory.from_url(url, embeddings=model, embed_history=False) as memory:
        await call(memory.history("s").add_messages, [HumanMessage("A dog")])
        assert texts(await call(memory.history("s").search, "dogs")) == ["A dog"]
        assert model.calls == model.queries == []
        await call(memory.close)


async def test_names_of_speakers_are_left_out_of_what_is_embedded(url, call):
    model = Topics()
    with AgentMemory.from_url(url, embeddings=model) as memory:
        history = memory.history("s")
        await call(history.add_messages, [HumanMessage(f"Alice: note {number}") for number in range(30)])
        await call(history.search, "What did Alice note of the storm?")
        assert model.queries == ["What did note of the storm?"]
        await call(history.search, "Alice")
        assert model.queries[-1] == "Alice"  # there is nothing else
        await call(memory.close)


async def test_a_message_without_text_is_never_found(url, call):
    with AgentMemory.from_url(url, embeddings=Topics()) as memory:
        history = memory.history("s")
        asked = AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "1"}])
        said = [
            HumanMessage("I am allergic to dogs"),
            asked,
            ToolMessage("a pear", tool_call_id="1"),
            AIMessage("Noted"),
        ]
        await call(history.add_messages, said)
        found = await call(history.search, "allergic dog", around=1)
        assert "" not in texts(found)
        assert texts(found)[0] == "I am allergic to dogs"
        assert [str(one.text) for one in found[0].around] == ["I am allergic to dogs", ""]
        await call(memory.close)


async def test_vectors_of_another_model_are_not_compared(url, call):
    class Other(Topics):
        def _vector(self, text: str) -> list[float]:
            return [1.0, *super()._vector(text)]

    with AgentMemory.from_url(url, embeddings=Topics()) as memory:
        await call(memory.history("s").add_messages, [HumanMessage("A dog")])
        # As it was before a note said which model the vectors are of.
        memory.backend.write(Notes(memory.backend, "default", "embeddings").clear(time.time()))
        other = AgentMemory(memory.backend, embeddings=Other())
        await call(other.history("s").add_messages, [HumanMessage("A car")])
        found = await call(other.history("s").search, "dog vehicle")
        assert set(texts(found)) == {"A dog", "A car"}
        assert all(math.isfinite(one.score) for one in found)
        await call(memory.close)


@settings(deadline=None, max_examples=examples(15), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    turns=st.lists(st.lists(st.sampled_from([0, 2, 3]), min_size=1, max_size=3), max_size=5),
    later=st.lists(st.tuples(st.integers(0, 14), st.sampled_from([0, 2, 3])), max_size=6),
)
async def test_a_message_has_the_vector_that_it_was_given_last_whatever_its_length(memory, turns, later):
    """As it is when processes with a former model are still at work."""
    log, key = memory.backend.messages, SessionKey("default", "alice", "s")
    memory.sessions.delete("s", user_id="alice")
    expected: dict[int, bytes | None] = {}
    rows: list[MessageRow] = []

    def vector(dimensions: int, at: int) -> bytes | None:
        return unit([1.0 + at] * (dimensions - 1) + [2.0 + len(expected)]) if dimensions else None

    for turn in turns:
        added = []
        for at, dimensions in enumerate(turn):
            expected[len(expected)] = own = vector(dimensions, at)
            body = Typed("json", f"{len(expected)}".encode())
            added.append(MessageRow(at, "human", None, False, 1.0, None, body, analyze("rain"), own))
        first = memory.backend.write(log.append(key, Append(added, None, time.time(), token=secrets.randbits(62))))
        rows += [row._replace(position=first + row.position) for row in added]
    for at, dimensions in later:
        if at < len(rows):
            expected[at] = vector(dimensions, at)
            memory.backend.write(log.embed("default", [LoggedMessage(key, rows[at]._replace(vector=expected[at]))]))
    found = entries_in(memory.backend.read(log.changes("default", "alice", None, None, vectors=True)))
    assert {entry.position: entry.vector for entry in found} == expected
    for dimensions in (2, 3):
        page, after = memory.backend.read(log.unembedded("default", dimensions, None, 100, time.time()))
        assert after is None
        lacking = {at for at, one in expected.items() if one is None or len(one) != 4 * dimensions}
        assert {one.row.position for one in page} == lacking


async def test_every_kind_of_message_is_found_by_its_text_and_name(memory, call):
    history = memory.history("s")
    messages = [
        HumanMessage([{"type": "text", "text": "an apple"}, {"type": "image_url", "image_url": {"url": "data:,"}}]),
        AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "1"}]),
        ToolMessage("a pear", tool_call_id="1"),
        HumanMessage("a plum", name="Zoe"),
        SystemMessage("speak like a cherry"),
    ]
    for number, message in enumerate(messages):
        await call(memory.history(f"{number}").add_messages, [message])
    for word, number in (("apples", 0), ("pears", 2), ("plum", 3), ("zoe", 3), ("cherry", 4)):
        (found,) = await call(memory.search_history, word)
        assert without_ids(found.message) == messages[number]
    assert await call(history.search, "apple") == []


@pytest.mark.parametrize("text", ["私は東京で寿司を食べました", "我昨天在北京吃了烤鸭", "ฉันรักสุนัขของฉัน"])
async def test_scripts_without_spaces_are_searched(memory, call, text):
    await call(memory.history("s").add_messages, [HumanMessage(text), AIMessage("Hello")])
    await call(memory.history("t").add_messages, [HumanMessage("今日は雨です")])
    assert texts(await call(memory.search_history, text[4:8], 1)) == [text]


@pytest.mark.parametrize(
    "query", ['"', "*", "a OR b", "NEAR(dog)", "dog AND", "'; DROP TABLE x", "\x00", "%", "🐕", "-dog"]
)
async def test_nothing_in_a_query_is_an_operator(memory, call, query):
    await call(memory.history("s").add_messages, [HumanMessage("My dog")])
    found = await call(memory.history("s").search, query)
    assert texts(found) == (["My dog"] if "dog" in query else [])


WRONG: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"query": 7}, InvalidTypeError),
    ({"query": "half \ud83d"}, InvalidInputError),
    ({"k": -1}, InvalidInputError),
    ({"k": "5"}, InvalidTypeError),
    ({"around": -1}, InvalidInputError),
    ({"role": ""}, InvalidInputError),
    ({"since": "2023-05-08"}, InvalidTypeError),
]


@pytest.mark.parametrize(("options", "error"), WRONG, ids=[str(number) for number in range(len(WRONG))])
async def test_a_search_with_wrong_options_is_refused(memory, call, options, error):
    with pytest.raises(error):
        await call(memory.history("s").search, **{"query": "a", **options})
    with pytest.raises(error):
        await call(memory.search_history, **{"query": "a", **options})


async def test_a_history_that_is_not_stored_cannot_be_searched(memory, call):
    history = memory.history("s", retention=Retention(policy="single_run"))
    await call(history.add_messages, [HumanMessage("a")])
    with pytest.raises(InvalidInputError, match="single_run"):
        await call(history.search, "a")


@settings(deadline=None, max_examples=examples(15), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=st.lists(st.text(max_size=30), max_size=12), data=st.data())
async def test_a_message_is_found_by_each_of_its_words(memory, call, said, data):
    history = memory.history("s")
    await call(history.clear)
    said = [text.encode(errors="ignore").decode() for text in said]
    await call(history.add_messages, [HumanMessage(text) for text in said])
    for text in said:
        words = [word for word in text.split() if analyze(word)]
        if words:
            assert text in texts(await call(history.search, data.draw(st.sampled_from(words)), 100))
