"""Conversation files: what is read from them, and what is refused with which message."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_agentmem import AgentMemError, InvalidInputError, InvalidTypeError
from langchain_agentmem.command.demo.conversations import DEFAULT_USER, load_conversation
from langchain_agentmem.command.demo.locomo import parse_date
from langchain_agentmem.command.demo.turns import Session, Utterance

USER = {"role": "user", "content": "Which bus goes to the lake?"}
ANSWER = {"role": "assistant", "content": "The 12."}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "name": "buses", "args": {"to": "lake"}}]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "12"}


def said(speaker: str, text: str, **more: str) -> dict[str, str]:
    return {"speaker": speaker, "text": text, **more}


SAMPLE = {
    "sample_id": "pair-1",
    "qa": [{"question": "What did Ines plant?"}, {"question": 7}, "odd"],
    "conversation": {
        "speaker_a": "Ines",
        "speaker_b": "Tom O'Hara",
        "session_2_date_time": "some day in spring",
        "session_2": [said("Ines", "They are red now."), said("Tom O'Hara", "Bravo!")],
        "session_1_date_time": "12:05 am on 3 March, 2024",
        "session_1": [
            said("Tom O'Hara", "Hi Ines!", dia_id="D1:1"),
            said("Tom O'Hara", "", blip_caption="a garden"),
            said("Ines", "I planted tomatoes.", dia_id="D1:3"),
            said("Ines", "Twelve of them."),
            said("Tom O'Hara", "So many!"),
        ],
        "session_10": [],
        "session_3": [said("Ines", "Bye.")],
    },
}


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write_file(data: Any, name: str = "talk.json") -> Path:
        path = tmp_path / name
        path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
        return path

    return write_file


def test_bundled_conversation() -> None:
    (session,) = load_conversation()
    assert session.title == "Alice moves to Thessaloniki"
    assert len(session.messages) == session.turns[-1].end
    assert all(turn.asked and turn.answers for turn in session.turns)
    assert isinstance(session.turns[0].questions[0], SystemMessage)
    assert session.ask
    assert any(len(message.tool_calls) > 1 for message in session.messages if isinstance(message, AIMessage))


def test_list_of_messages(write: Any) -> None:
    (session,) = load_conversation(write([USER, CALL, RESULT, ANSWER]))
    assert (session.session_id, session.user_id, session.title) == ("talk", DEFAULT_USER, "talk")
    user, call, result, answer = session.messages
    assert isinstance(user, HumanMessage)
    assert isinstance(call, AIMessage)
    assert call.content == ""
    assert call.tool_calls[0]["name"] == "buses"
    assert isinstance(result, ToolMessage)
    assert answer.content == "The 12."
    assert [message.id for message in session.messages] == ["talk#0", "talk#1", "talk#2", "talk#3"]


def test_byte_order_mark_and_openai_calls(write: Any) -> None:
    call = {
        **CALL,
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}],
    }
    (session,) = load_conversation(write("\ufeff" + json.dumps([USER, call, RESULT, ANSWER])))
    assert session.messages[1].tool_calls == [{"name": "f", "args": {"a": 1}, "id": "c1", "type": "tool_call"}]  # type: ignore[attr-defined]


def test_object_with_everything(write: Any) -> None:
    blocks = [{"type": "text", "text": "Look"}, "at this"]
    data = {
        "title": "A trip",
        "session_id": "trip-1",
        "user_id": "mia",
        "ask": ["Where?"],
        "messages": [
            {"role": "user", "content": blocks, "facts": ["Mia travels", "by bus"]},
            {**ANSWER, "mood": "glad"},
        ],
    }
    (session,) = load_conversation(write(data))
    assert (session.session_id, session.user_id, session.title, session.ask) == ("trip-1", "mia", "A trip", ("Where?",))
    assert session.messages[0].content == blocks
    assert session.messages[0].additional_kwargs == {}
    assert session.messages[1].additional_kwargs == {"mood": "glad"}
    assert session.turns[0].facts == {"trip-1#0.0": "Mia travels", "trip-1#0.1": "by bus"}


def test_several_sessions_get_ids_of_their_own(write: Any) -> None:
    one = {"messages": [USER, ANSWER]}
    sessions = load_conversation(
        write([one, {**one, "title": "Bus"}, {**one, "title": "Bus"}, {**one, "user_id": "bo"}])
    )
    assert [session.session_id for session in sessions] == ["talk/session_1", "Bus", "Bus (2)", "talk/session_4"]
    assert [session.user_id for session in sessions] == [DEFAULT_USER, DEFAULT_USER, DEFAULT_USER, "bo"]


def test_another_user_gets_sessions_of_her_own(write: Any) -> None:
    path = write({"title": "Bus", "user_id": "bo", "messages": [USER]})
    assert load_conversation(path, user_id="bo")[0].session_id == "Bus"
    (session,) = load_conversation(path, user_id="ann")
    assert (session.session_id, session.user_id) == ("ann/Bus", "ann")


@pytest.mark.parametrize(
    ("roles", "turns"),
    [
        ("u a u a", [(1, 1), (1, 1)]),
        ("s u a s u a", [(2, 1), (2, 1)]),
        ("u u a a u", [(2, 2), (1, 0)]),
        ("a u a", [(0, 1), (1, 1)]),
        ("s a u a", [(1, 1), (1, 1)]),
        ("s", [(1, 0)]),
        ("u s u a", [(3, 1)]),
    ],
)
def test_turns(roles: str, turns: list[tuple[int, int]], write: Any) -> None:
    names = {"u": "user", "a": "assistant", "s": "system"}
    (session,) = load_conversation(write([{"role": names[role], "content": "…"} for role in roles.split()]))
    assert [(len(turn.questions), len(turn.answers)) for turn in session.turns] == turns
    assert [message for turn in session.turns for message in (*turn.questions, *turn.answers)] == list(session.messages)
    assert [turn.start for turn in session.turns] == [0, *(turn.end for turn in session.turns[:-1])]


def test_tool_result_after_the_user_spoke_again(write: Any) -> None:
    (session,) = load_conversation(write([USER, CALL, USER, RESULT, ANSWER]))
    assert [(len(turn.questions), len(turn.answers)) for turn in session.turns] == [(1, 1), (1, 2)]


def test_position_in_what_is_stored() -> None:
    script = [HumanMessage("a"), AIMessage("b"), AIMessage("c"), HumanMessage("d"), AIMessage("e")]
    session = Session.of("s", [Utterance(message) for message in script], user_id="u")
    messages = session.messages
    assert [session.position(messages[:n]) for n in range(6)] == [0, 1, 2, 3, 4, 5]
    other = AIMessage("from a real model", id="run-1")
    assert session.position([messages[0], other]) == 3
    assert session.position([messages[0], other, messages[3]]) == 4
    assert session.position([*messages, other]) == 5
    changed = messages[0].model_copy(update={"content": "changed"})
    for stored in ([other], [messages[1]], [messages[0], messages[0]], [changed], [*messages, messages[4]]):
        with pytest.raises(InvalidInputError, match=r"'s' of 'u' already holds another conversation.*--restart"):
            session.position(stored)


def test_locomo(write: Any) -> None:
    first, second, third = load_conversation(write([SAMPLE]))
    assert [one.session_id for one in (first, second, third)] == [f"pair-1/session_{n}" for n in (1, 2, 3)]
    assert {one.user_id for one in (first, second, third)} == {"pair-1/Ines"}
    assert first.title == "pair-1 session 1, 3 March 2024"
    assert first.ask == ("What did Ines plant?",)
    assert [(message.type, message.content, message.name) for message in first.messages] == [
        ("ai", "Hi Ines!", None),
        ("ai", "[image: a garden]", None),
        ("human", "I planted tomatoes.", "Ines"),
        ("human", "Twelve of them.", "Ines"),
        ("ai", "So many!", None),
    ]
    assert first.messages[0].additional_kwargs == {
        "dia_id": "D1:1",
        "created_at": "2024-03-03T00:05:00",
        "speaker": "Tom O'Hara",
    }
    assert second.messages[0].additional_kwargs == {"date_time": "some day in spring"}
    assert third.messages[0].additional_kwargs == {}
    assert [(len(turn.questions), len(turn.answers)) for turn in first.turns] == [(0, 2), (2, 1)]
    assert first.turns[1].facts["pair-1/session_1#2.0"] == "Ines said on 3 March 2024: I planted tomatoes."


def test_locomo_without_names_and_ids(write: Any) -> None:
    bare = {"conversation": {"session_1": [said("B", "1"), said("A", "2"), said("C", "3")]}}
    (session,) = load_conversation(write(bare))
    assert (session.session_id, session.user_id) == ("talk/session_1", "talk/B")
    assert [message.type for message in session.messages] == ["human", "ai", "ai"]
    assert [one.user_id for one in load_conversation(write([bare, bare]))] == ["talk-1/B", "talk-2/B"]
    assert [one.user_id for one in load_conversation(write([bare, bare]), user_id="me")] == ["me", "me"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1:56 pm on 8 May, 2023", "2023-05-08T13:56:00"),
        ("12:00 PM on 31 December 2022", "2022-12-31T12:00:00"),
        ("12:09 am on 1 Sept, 2022", "2022-09-01T00:09:00"),
        ("2023-05-08T13:56:00", "2023-05-08T13:56:00"),
        ("1:56 pm on 31 June, 2023", None),
        ("8 May", None),
        ("", None),
    ],
)
def test_dates(text: str, expected: str | None) -> None:
    at = parse_date(text)
    assert (at and at.isoformat()) == expected


LONE = "half \ud83d of a pair"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{", r"talk.json is not JSON: .* at line 1, column 2"),
        ("[" * 100_000, r"talk.json is nested too deeply"),
        ("[]", r"talk.json holds no messages"),
        ("{}", r"talk.json is not a conversation: it must be a list of"),
        ("3", r"talk.json is not a conversation"),
        ({"messages": []}, r"talk.json: the conversation is empty"),
        ([{"messages": [USER]}, {"messages": []}], r"talk.json, \[1\]: the conversation is empty"),
        ([{"messages": [USER]}, 5], r"talk.json, \[1\]: every entry must be an object with \"messages\", got int"),
        ({"messages": "hi"}, r"talk.json: \"messages\" must be a list, got str"),
        ({"messages": [USER], "title": 5}, r"talk.json: title must be a string, got int: 5"),
        ({"messages": [USER], "user_id": LONE}, r"talk.json: It contains half of a surrogate pair"),
        ({"messages": [USER], "session_id": "x" * 1001}, r"talk.json: session_id 'x+'… is too long"),
        ({"messages": [USER], "session_id": "a\x00"}, r"talk.json: session_id .* NUL"),
        ({"messages": [USER], "ask": "?"}, r"talk.json: ask must be a list of strings, got str"),
        ({"messages": [USER, 7]}, r"talk.json, messages\[1\]: a message must be an object with role and content"),
        (
            [USER, {"role": "robot", "content": "x"}],
            r"talk.json, \[1\]: the message has the unknown role 'robot': use user",
        ),
        ([USER, {"role": ["user"], "content": "x"}], r"talk.json, \[1\]: the message has the unknown role"),
        ([USER, {"content": "x"}], r"talk.json, \[1\]: the message has no role"),
        ([USER, {"role": "user"}], r"talk.json, \[1\]: the message has no content"),
        ([USER, {"role": "assistant", "content": None}], r"talk.json, \[1\]: the message has no content"),
        (
            [USER, {"role": "user", "content": 5}],
            r"talk.json, \[1\]: content must be a string or a list of blocks, got int",
        ),
        (
            [{"role": "user", "content": ["a", 5]}],
            r"talk.json, \[0\].content\[1\]: a block must be a string or an object",
        ),
        ([{"role": "user", "content": LONE}], r"talk.json, \[0\]: It contains half of a surrogate pair"),
        ([{**USER, "facts": "one"}], r"talk.json, \[0\]: facts must be a list of strings, got str: 'one'"),
        ([{**USER, "facts": ["a", 1]}], r"talk.json, \[0\].facts\[1\]: it must be a string, got int"),
        ([{**USER, "facts": [LONE]}], r"talk.json, \[0\].facts\[0\]: It contains half"),
        ([{**USER, "name": 5}], r"talk.json, \[0\]: name must be a string"),
        ([{**CALL, "tool_calls": {"a": 1}}], r"talk.json, \[0\]: tool_calls must be a list, got dict"),
        ([{**CALL, "tool_calls": ["f"]}], r"talk.json, \[0\].tool_calls\[0\]: a tool call must be an object"),
        ([{**CALL, "tool_calls": [{"id": "1"}]}], r"talk.json, \[0\]: the message is not accepted"),
        ([USER, RESULT], r"talk.json, \[1\]: a tool result with no call: .*'c1'"),
        ([USER, RESULT, CALL], r"talk.json, \[1\]: a tool result with no call"),
        ([USER, CALL, {**RESULT, "tool_call_id": None}], r"talk.json, \[2\]: a tool result needs tool_call_id"),
        ([{"conversation": 3}], r"talk.json, \[0\].conversation: the conversation must be an object"),
        ({"conversation": {"speaker_a": "A"}}, r"talk.json holds no messages"),
        ({"conversation": {"session_1": 3}}, r"talk.json, conversation.session_1: a session must be a list"),
        ({"conversation": {"session_1": [3]}}, r"conversation.session_1\[0\]: an utterance must be an object"),
        ({"conversation": {"session_1": [{"speaker": "A"}]}}, r"session_1\[0\]: the utterance has no text"),
        (
            {"conversation": {"session_1": [{"speaker": "", "text": "x"}]}},
            r"session_1\[0\]: the utterance has no speaker",
        ),
        ({"conversation": {"session_1": [said("A", LONE)]}}, r"session_1\[0\]: It contains half of a surrogate pair"),
        ({"conversation": {"session_1": [said("A", "x")], "speaker_a": 3}}, r"speaker_a must be a string"),
        ({"conversation": {"session_1": [said("A", "x")], "session_1_date_time": 3}}, r"date_time must be a string"),
        ([{"conversation": {"session_1": [said("A", "x")]}}, [4]], r"talk.json, \[1\]: every entry must be an object"),
    ],
)
def test_refused(data: Any, message: str, write: Any) -> None:
    with pytest.raises((InvalidInputError, InvalidTypeError)) as caught:
        load_conversation(write(data))
    assert isinstance(caught.value, AgentMemError)
    assert re.search(message, str(caught.value)), str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"There is no file 'nowhere.json'"):
        load_conversation("nowhere.json")
    with pytest.raises(InvalidInputError, match="cannot be read: Is a directory"):
        load_conversation(tmp_path)
    with pytest.raises(InvalidInputError, match="cannot be read"):
        load_conversation("a\x00b")
    binary = tmp_path / "binary.json"
    binary.write_bytes(b"[\xff]")
    with pytest.raises(InvalidInputError, match="not a UTF-8 text file: byte 1"):
        load_conversation(binary)
    with pytest.raises(InvalidInputError, match="user_id must not be empty"):
        load_conversation(user_id="")
