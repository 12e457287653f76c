"""Ids of messages, and what deletes, replaces and truncates messages by them."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from counting import Costs
from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate

from langchain_agentmem import AgentMemError, AgentMemory, Retention, UnknownMessageError
from langchain_agentmem.backends.contract import Append, MessageRow
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError
from langchain_agentmem.testing import ScriptedChatModel
from langchain_agentmem.text.words import analyze

TEXTS = ["to Malta?", "Yes, by ferry", "and Gozo?", "Also by ferry"]


def talk(*texts: str) -> list[BaseMessage]:
    return [AIMessage(text, id=text) if at % 2 else HumanMessage(text, id=text) for at, text in enumerate(texts)]


def texts(messages: list[BaseMessage]) -> list[str]:
    return [message.text for message in messages]


def answer(text: str) -> str:
    return json.dumps({"summary": text, "topics": [], "decisions": [], "open_questions": []})


@pytest.fixture
async def history(memory, call):
    made = memory.history("s", user_id="alice")
    await call(made.add_messages, talk(*TEXTS))
    return made


# Ids


async def test_every_stored_message_has_an_id_and_the_callers_object_stays_unchanged(memory, call):
    given: list[BaseMessage] = [HumanMessage("a"), HumanMessage("b", id="mine"), AIMessage("c", id="")]
    history = memory.history("s")
    await call(history.add_messages, given)
    assert [one.id for one in given] == [None, "mine", ""]
    ids = [one.id for one in history.messages]
    assert ids[1] == "mine"
    assert len({*ids}) == 3
    assert all(ids)
    assert [one.id for one in await call(history.get_recent)] == ids
    assert [one.message.id for one in await call(history.stored)] == ids
    assert [one.id for page in await call(history.pages) for one in page] == ids
    (found,) = await call(history.search, "a", 1, around=1)
    assert found.message.id == ids[0]
    assert [one.id for one in found.around] == ids[:2]
    assert await call(history.delete, ids) == 3


async def test_messages_of_earlier_versions_have_stable_ids_and_can_be_changed(memory, call):
    codec, history = Codec(), memory.history("s")
    bodies = [codec.dump_message(one) for one in (HumanMessage("a"), AIMessage("b", id="own"), HumanMessage("c"))]
    rows = [
        MessageRow(at, role, None, False, 1.0, None, body, analyze(text))
        for at, (body, role, text) in enumerate(zip(bodies, ("human", "ai", "human"), "abc", strict=True))
    ]
    addition = Append(rows, None, 1.0, token=secrets.randbits(62))
    memory.backend.write(memory.backend.messages.append(history.engine.key("s"), addition))
    ids = [one.id for one in await call(history.get_recent)]
    assert ids[1] == "own"
    assert len({*ids, None}) == 4
    assert [one.id for one in await call(memory.history("s").get_recent)] == ids
    await call(history.add_messages, [AIMessage("d", id="own")])
    await call(history.replace, ids[0], HumanMessage("new"))
    assert await call(history.delete, "own") == 2
    assert [(one.text, one.id) for one in await call(history.get_recent)] == [("new", ids[0]), ("c", ids[2])]
    assert await call(history.truncate, ids[0]) == 1


# Delete


async def test_messages_are_deleted_with_all_that_depends_on_them(history, memory, call):
    assert await call(history.delete, [TEXTS[0], "unknown", TEXTS[1], TEXTS[0]]) == 2
    assert texts(await call(history.get_recent)) == TEXTS[2:]
    assert await call(history.count) == 2
    assert await call(history.search, "Malta") == []
    (info,) = await call(memory.sessions.list)
    assert (info.title, info.message_count) == (None, 2)
    assert await call(history.delete, TEXTS[0]) == 0
    assert await call(history.delete, []) == 0
    await call(history.add_messages, [HumanMessage("Back home")])
    assert [one.position for one in await call(history.stored)] == [2, 3, 4]
    assert [info.title for info in await call(memory.sessions.list)] == ["Back home"]


async def test_all_messages_with_an_id_are_deleted(memory, call):
    history, message = memory.history("s"), HumanMessage("a", id="1")
    await call(history.add_messages, [message, AIMessage("b", id="2"), message])
    assert await call(history.delete, "1") == 2
    assert texts(await call(history.get_recent)) == ["b"]


@pytest.mark.parametrize("kind", ["aware", "naive", "seconds"])
async def test_older_messages_are_deleted(memory, call, kind):
    moment = datetime(2026, 3, 2, 12, tzinfo=UTC)
    history = memory.history("s")
    for hours in (-2, -1, 0, 1):
        dated = {"created_at": (moment + timedelta(hours=hours)).isoformat()}
        await call(history.add_messages, [HumanMessage(str(hours), additional_kwargs=dated)])
    before = {"aware": moment, "naive": moment.replace(tzinfo=None), "seconds": moment.timestamp()}[kind]
    assert await call(history.delete, before=before) == 2
    assert texts(await call(history.get_recent)) == ["0", "1"]


# Replace


@pytest.mark.parametrize(
    ("given", "kind"),
    [("b", "human"), (("ai", "b"), "ai"), ({"role": "system", "content": "b"}, "system")],
)
async def test_a_message_can_be_replaced_by_what_can_be_added(history, call, given, kind):
    await call(history.replace, TEXTS[0], given)
    entry = (await call(history.stored))[0]
    assert (entry.message.text, entry.message.type, entry.message.id) == ("b", kind, TEXTS[0])


async def test_a_replaced_message_keeps_its_place(history, memory, call):
    first = (await call(history.stored))[0]
    new = HumanMessage("to Sicily?", id="another", additional_kwargs={"n": 1})
    await call(history.replace, TEXTS[0], new)
    assert new.id == "another"
    entry = (await call(history.stored))[0]
    assert (entry.message.text, entry.message.id, entry.message.additional_kwargs) == ("to Sicily?", TEXTS[0], {"n": 1})
    assert (entry.position, entry.created_at, entry.metadata) == (0, first.created_at, {})
    assert await call(history.search, "Malta") == []
    assert (await call(history.search, "Sicily", 1))[0].message.id == TEXTS[0]
    assert [info.title for info in await call(memory.sessions.list)] == ["to Sicily?"]
    assert await call(history.count) == 4


async def test_time_and_metadata_of_a_replaced_message_can_be_set(memory, call):
    history = memory.history("s", agent="writer")
    await call(history.add_messages, [HumanMessage("a", id="1")], metadata={"n": 1})
    dated = AIMessage("b", additional_kwargs={"created_at": "2026-03-02T12:00:00+00:00"})
    await call(history.replace, "1", dated)
    (entry,) = await call(history.stored)
    assert (entry.metadata, entry.agent, entry.role) == ({"n": 1}, "writer", "ai")
    assert entry.created_at == datetime(2026, 3, 2, 12, tzinfo=UTC)
    for metadata, stored in (({"n": 2}, {"n": 2}), (None, {})):
        await call(history.replace, "1", SystemMessage("c"), metadata=metadata)
        (entry,) = await call(history.stored)
        assert (entry.metadata, entry.role) == (stored, "system")


class Topics(Embeddings):
    """One dimension for each topic."""

    def embed_documents(self, given: list[str]) -> list[list[float]]:
        return [[1.0, 0.0] if "sea" in text or "boat" in text else [0.0, 1.0] for text in given]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


async def test_the_vector_of_a_replaced_message_follows(url, call):
    with AgentMemory.from_url(url, embeddings=Topics()) as memory:
        history = memory.history("s")
        await call(history.add_messages, [HumanMessage("by sea", id="1"), HumanMessage("on foot", id="2")])
        assert (await call(history.search, "boat", 1))[0].message.id == "1"
        await call(history.replace, "1", HumanMessage("by train"))
        await call(history.replace, "2", HumanMessage("with a sea view"))
        assert (await call(history.search, "boat", 1))[0].message.id == "2"


# Truncate


async def test_a_question_is_edited_and_answered_again(history, memory, call):
    assert await call(history.truncate, after=TEXTS[0]) == 3
    await call(history.replace, TEXTS[0], HumanMessage("to Sicily?"))
    await call(history.add_messages, [AIMessage("Yes, by plane")])
    assert texts(await call(history.get_recent)) == ["to Sicily?", "Yes, by plane"]
    (info,) = await call(memory.sessions.list)
    assert (info.title, info.message_count) == ("to Sicily?", 2)
    assert await call(history.search, "Gozo") == []


async def test_an_agent_changes_only_its_own_messages(memory, call):
    writer, critic = (memory.history("s", agent=name) for name in ("writer", "critic"))
    await call(writer.add_messages, [AIMessage("draft", id="1")])
    await call(critic.add_messages, [AIMessage("too long", id="2")])
    await call(writer.add_messages, [AIMessage("shorter", id="3")])
    assert await call(writer.delete, "2") == 0
    for change in ((writer.replace, "2", AIMessage("x")), (writer.truncate, "2")):
        with pytest.raises(UnknownMessageError, match="'writer'"):
            await call(*change)
    assert await call(writer.truncate, "1") == 1
    assert await call(critic.delete, before=datetime.now(UTC) + timedelta(days=1)) == 1
    assert texts(await call(memory.history("s").get_recent)) == ["draft"]


# Any log


async def test_a_single_run_is_changed_like_a_session(sqlite_memory, call):
    history = sqlite_memory.history("s", retention=Retention("single_run"))
    await call(history.add_messages, talk(*TEXTS), metadata={"n": 1})
    await call(history.replace, TEXTS[0], HumanMessage("to Sicily?"))
    first = (await call(history.stored))[0]
    assert (first.position, first.metadata) == (0, {"n": 1})
    assert await call(history.truncate, TEXTS[2]) == 1
    assert await call(history.delete, [TEXTS[1], "unknown"]) == 1
    assert [(one.text, one.id) for one in history.messages] == [("to Sicily?", TEXTS[0]), (TEXTS[2], TEXTS[2])]
    with pytest.raises(UnknownMessageError):
        await call(history.truncate, TEXTS[1])
    assert await call(history.delete, before=datetime.now(UTC) + timedelta(days=1)) == 2


async def test_an_unknown_id_is_named(history, call):
    for change in (
        (history.replace, "unknown", HumanMessage("x")),
        (history.truncate, "unknown"),
        (history.replace, "\x00'%", HumanMessage("x")),
    ):
        with pytest.raises(UnknownMessageError, match="Session 's' has no message with the ID") as caught:
            await call(*change)
        assert repr(change[1])[1:-1] in str(caught.value)
        assert isinstance(caught.value, AgentMemError)
    assert texts(await call(history.get_recent)) == TEXTS


async def test_wrong_arguments_change_nothing(history, call):
    message: Any = HumanMessage("x")
    for error, method, arguments, options in (
        (InvalidInputError, history.delete, (), {}),
        (InvalidInputError, history.delete, (TEXTS[0],), {"before": 5.0}),
        (InvalidTypeError, history.delete, (message,), {}),
        (InvalidTypeError, history.delete, (5,), {}),
        (InvalidTypeError, history.delete, ([TEXTS[0], None],), {}),
        (InvalidInputError, history.delete, ([TEXTS[0], ""],), {}),
        (InvalidTypeError, history.delete, (), {"before": TEXTS[1]}),
        (InvalidTypeError, history.delete, (), {"before": True}),
        (InvalidInputError, history.delete, (), {"before": float("nan")}),
        (InvalidTypeError, history.truncate, (None,), {}),
        (InvalidInputError, history.truncate, ("a\ud83d",), {}),
        (InvalidTypeError, history.replace, (TEXTS[0], None), {}),
        (InvalidInputError, history.replace, (TEXTS[0], ("nobody", "text")), {}),
        (InvalidInputError, history.replace, (TEXTS[0], {"text": "no role"}), {}),
        (InvalidTypeError, history.replace, (None, message), {}),
        (InvalidInputError, history.replace, (TEXTS[0], HumanMessage("a\ud83d")), {}),
        (InvalidTypeError, history.replace, (TEXTS[0], message), {"metadata": {"a": object()}}),
    ):
        with pytest.raises(error):
            await call(method, *arguments, **options)
    assert texts(await call(history.get_recent)) == TEXTS


# Summaries


async def test_a_summary_of_a_changed_message_is_written_again(history, memory, call):
    model = ScriptedChatModel([answer("Malta and Gozo."), answer("Sicily and Gozo."), answer("Nothing.")])
    await call(memory.summary, "s", user_id="alice", model=model)
    await call(history.replace, TEXTS[0], HumanMessage("to Sicily?"))
    stored = await call(memory.summary, "s", user_id="alice")
    assert "Malta" not in stored.text
    again = await call(memory.summary, "s", user_id="alice", model=model)
    assert (again.text, len(model.requests)) == ("Sicily and Gozo.", 2)
    assert "Malta" not in str(model.requests[1])
    await call(history.delete, TEXTS[2])
    assert [info.summary for info in await call(memory.sessions.list)] == [None]
    assert (await call(memory.summary, "s", user_id="alice", model=model)).text == "Nothing."


async def test_a_summary_stays_if_only_later_messages_change(history, memory, call):
    model = ScriptedChatModel([answer("Malta and Gozo."), answer("Malta, Gozo and Sicily.")])
    await call(memory.summary, "s", user_id="alice", model=model)
    await call(history.add_messages, [HumanMessage("and Sicily?", id="5"), AIMessage("No ferry", id="6")])
    await call(history.truncate, "5")
    await call(history.replace, "5", HumanMessage("and Crete?"))
    assert (await call(memory.summary, "s", user_id="alice")).text == "Malta and Gozo."
    await call(memory.summary, "s", user_id="alice", model=model)
    new = str(model.requests[1][-1].text).partition("New: ")[2]
    assert "Crete" in new
    assert "Malta" not in new


class Deleting(ScriptedChatModel):
    """A model during whose answer a message is deleted."""

    def _generate(self, *arguments: Any, **options: Any) -> Any:
        if len(self.requests) == 0:
            self.history.delete(TEXTS[0])
        return super()._generate(*arguments, **options)

    history: Any = None


async def test_a_summary_that_is_being_written_is_not_stored_with_a_deleted_message(history, memory, call):
    model = Deleting([answer("Malta and Gozo."), answer("Gozo.")], history=history)
    with pytest.raises(AgentMemError, match="deleted"):
        await call(memory.summary, "s", user_id="alice", model=model)
    assert [info.summary for info in await call(memory.sessions.list)] == [None]
    assert (await call(memory.summary, "s", user_id="alice", model=model)).text == "Gozo."


async def test_a_compressed_history_follows_its_messages(memory, call):
    model = ScriptedChatModel([f"Summary {number}." for number in range(9)])
    history = memory.history("s", compressor=memory.compressor(model, max_messages=4))
    await call(history.add_messages, talk(*(f"text {number}" for number in range(12))))
    window = await call(Window(history).read)
    assert "Summary 0." in window[0].text
    await call(history.delete, "text 0")
    window = await call(Window(history).read)
    assert "Summary 0." not in str(window)
    assert "text 0" not in str(model.requests[-1])


class Window:
    """`messages` and its asynchronous twin, for `call`."""

    def __init__(self, history: Any) -> None:
        self._history = history

    def read(self) -> list[BaseMessage]:
        return self._history.messages

    async def aread(self) -> list[BaseMessage]:
        return await self._history.aget_messages()


# Costs


async def test_a_change_is_one_transaction_and_one_round_trip_to_a_server(history, memory, call, monkeypatch):
    await call(history.delete, "unknown")
    costs = Costs(memory, monkeypatch)
    for change in (
        (history.delete, [TEXTS[3], TEXTS[1]]),
        (history.replace, TEXTS[0], HumanMessage("new")),
        (history.truncate, TEXTS[0]),
    ):
        await call(*change)
        ((kind, statements),) = costs.reset()
        assert kind == "write"
        assert statements <= (8 if memory.backend.name == "sqlite" else 1)
    assert texts(await call(history.get_recent)) == ["new"]


# Adding


async def test_what_langchain_converts_to_messages_is_added(memory, call):
    history = memory.history("s")
    given: list[Any] = [
        ("human", "a"),
        {"role": "assistant", "content": "b", "id": "2"},
        {"type": "human", "content": [{"type": "text", "text": "c"}]},
        "d",
        ["ai", "e"],
        AIMessage("f"),
    ]
    await call(history.add_messages, given)
    found = await call(history.get_recent)
    assert [(one.type, one.text) for one in found] == [
        ("human", "a"),
        ("ai", "b"),
        ("human", "c"),
        ("human", "d"),
        ("ai", "e"),
        ("ai", "f"),
    ]
    assert found[1].id == "2"
    prompt = ChatPromptTemplate.from_messages([("system", "be kind"), ("human", "g")]).invoke({})
    await call(history.add_messages, prompt)
    assert texts(await call(history.get_recent, 2)) == ["be kind", "g"]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ([HumanMessage("a"), ("narrator", "b")], r"messages\[1\].*narrator"),
        ([{"content": "b"}], r"messages\[0\].*content"),
        (["a", 5], r"messages\[1\].*5"),
        ([("human", "a"), ("b",)], r"messages\[1\]"),
        (("human", "hi"), "Put it in brackets"),
        (HumanMessage("a"), "Put it in brackets"),
        ({"role": "user", "content": "a"}, "Put it in brackets"),
        ("hi", "Put it in brackets"),
    ],
    ids=str,
)
async def test_what_cannot_be_converted_is_named_and_nothing_is_added(sqlite_memory, call, given, named):
    history = sqlite_memory.history("s")
    with pytest.raises((InvalidInputError, InvalidTypeError), match=named):
        await call(history.add_messages, given)
    assert await call(history.count) == 0


# Settings


def test_a_history_without_an_id_is_the_default_session(sqlite_memory):
    sqlite_memory.history().add_messages(["hi"])
    assert texts(sqlite_memory.history("default").messages) == ["hi"]
    assert texts(sqlite_memory.get_session_history().messages) == ["hi"]
    assert texts(sqlite_memory.session_history(max_messages=3)().messages) == ["hi"]


@pytest.mark.parametrize(
    "name", ["max_messages", "max_tokens", "agent", "user_id", "session_id", "retention", "compressor"]
)
def test_settings_of_a_history_cannot_be_assigned(sqlite_memory, name):
    history = sqlite_memory.history("s", max_messages=3)
    with pytest.raises(AttributeError, match=f"{name} of a history cannot be changed"):
        setattr(history, name, 2)
    assert (history.max_messages, history.session_id) == (3, "s")
    history.note = "an application's own attribute"
    assert history.note
