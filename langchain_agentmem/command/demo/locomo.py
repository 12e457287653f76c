"""LoCoMo's layout: long conversations of two people, in many dated sessions (Maharana et al. 2024).

The first speaker is the user, and the other one the assistant. LoCoMo lists no facts, so every utterance becomes a fact:
what the person said, with the date. The first questions of a sample are asked in the report.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langchain_agentmem.command.demo.recordings import Recording, check_storable, expect
from langchain_agentmem.command.demo.turns import Utterance
from langchain_agentmem.errors import InvalidInputError

_QUESTIONS = 3
_SESSION = re.compile(r"session_(\d+)")
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_DATE = re.compile(r"(\d{1,2}):(\d{2})\s*([ap])\.?m\.?\s+on\s+(\d{1,2})\s+([a-z]{3})[a-z]*,?\s+(\d{4})", re.IGNORECASE)
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_SHORT = tuple(month[:3].lower() for month in _MONTHS)


def read_sample(sample: Any, where: str, default: str) -> Iterator[Recording]:
    """Yield the sessions of one sample.

    Args:
        sample: The sample, an object with a `"conversation"`.
        where: The sample's location in the file, for errors.
        default: The ID of a sample that has none.

    Raises:
        InvalidInputError: A value cannot be played.
        InvalidTypeError: A value has the wrong type.

    Example:
        >>> from langchain_agentmem.command.demo.locomo import read_sample
        >>> said = [{"speaker": "Ann", "dia_id": "D1:1", "text": "Hi Bo!"}]
        >>> sample = {"conversation": {"speaker_a": "Bo", "session_1": said, "session_1_date_time": "1:05 pm on 8 May, 2023"}}
        >>> [(one.session_id, one.user_id, one.utterances[0].facts) for one in read_sample(sample, "file", "pair")]
        [('pair/session_1', 'pair/Bo', ('Ann said on 8 May 2023: Hi Bo!',))]
    """
    expect(sample, dict, 'every entry must be an object with a "conversation"', where)
    name = expect(sample.get("sample_id", default), str, "sample_id must be a string", where)
    check_storable(name, where)
    where = f"{where}.conversation" if "[" in where else f"{where}, conversation"
    conversation = expect(sample.get("conversation"), dict, "the conversation must be an object", where)
    numbers = sorted(int(found[1]) for key in conversation if (found := _SESSION.fullmatch(key)))
    sessions = {number: _checked(conversation[f"session_{number}"], f"{where}.session_{number}") for number in numbers}
    user = conversation.get("speaker_a") or next((said[0]["speaker"] for said in sessions.values() if said), "")
    expect(user, str, "speaker_a must be a string", where)
    ask = tuple(_questions(sample))
    for number, entries in sessions.items():
        if not entries:
            continue
        date = expect(
            conversation.get(f"session_{number}_date_time", ""), str, "the session's date_time must be a string", where
        )
        check_storable(date, where)
        day = "" if (at := parse_date(date)) is None else f"{at.day} {_MONTHS[at.month - 1]} {at.year}"
        title = f"{name} session {number}" + (f", {day}" if day else "")
        said = [_utterance(entry, entry["speaker"] == user, date, day) for entry in entries]
        yield Recording(f"{name}/session_{number}", f"{name}/{user}", title, said, ask)


def parse_date(text: str) -> datetime | None:
    """Return the date and time in LoCoMo's notation; None if the text is not a date.

    Args:
        text: The text, such as `"1:56 pm on 8 May, 2023"` or an ISO 8601 date.

    Example:
        >>> from langchain_agentmem.command.demo.locomo import parse_date
        >>> parse_date("1:56 pm on 8 May, 2023").isoformat()
        '2023-05-08T13:56:00'
    """
    # `strptime` would expect the names of months in the language of the process.
    found = _DATE.fullmatch(text.strip())
    try:
        if found is None:
            return datetime.fromisoformat(text.strip())
        hour, minute, half, day, month, year = found.groups()
        number = _SHORT.index(month.lower()) + 1
        return datetime(int(year), number, int(day), int(hour) % 12 + 12 * (half in "pP"), int(minute))
    except ValueError:
        return None


def _checked(entries: Any, where: str) -> list[dict[str, Any]]:
    expect(entries, list, "a session must be a list", where)
    for at, entry in enumerate(entries):
        place = f"{where}[{at}]"
        expect(entry, dict, "an utterance must be an object with speaker and text", place)
        check_storable(entry, place)
        for key in ("speaker", "text"):
            if entry.get(key) is None or (key == "speaker" and not entry[key]):
                msg = f"{place}: the utterance has no {key}."
                raise InvalidInputError(msg)
            expect(entry[key], str, f"{key} must be a string", place)
        expect(entry.get("blip_caption") or "", str, "blip_caption must be a string", place)
    return list(entries)


def _utterance(entry: dict[str, Any], is_user: bool, date: str, day: str) -> Utterance:
    speaker, text = entry["speaker"], entry["text"]
    if entry.get("blip_caption"):
        text = f"{text} [image: {entry['blip_caption']}]".strip()
    more: dict[str, Any] = {}
    if entry.get("dia_id"):
        more["dia_id"] = entry["dia_id"]
    if date:
        at = parse_date(date)
        more.update({"date_time": date} if at is None else {"created_at": at.isoformat()})
    # Providers accept few characters in a name. A name that they refuse would make every later request fail.
    name = speaker if _NAME.fullmatch(speaker) else None
    if name is None:
        more["speaker"] = speaker
    kind: type[BaseMessage] = HumanMessage if is_user else AIMessage
    said = kind(content=text, name=name, additional_kwargs=more)
    return Utterance(said, (f"{speaker} said{f' on {day}' if day else ''}: {text}",))


def _questions(sample: dict[str, Any]) -> Iterator[str]:
    asked = sample.get("qa")
    questions = [one.get("question") for one in asked if isinstance(one, dict)] if isinstance(asked, list) else []
    for question in questions[:_QUESTIONS]:
        if isinstance(question, str) and question.strip():
            yield question
