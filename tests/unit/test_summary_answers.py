"""The answers of summarising models: the summary is read from any form, without drafts, and incomplete JSON is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from pydantic import BaseModel, RootModel

from langchain_agentmem.compression.answers import SummaryError, read_answer

JSON = '{"summary": "Anna likes pizza.", "topics": ["pizza"]}'


class Summary(BaseModel):
    summary: str
    topics: list[str] = []


class Overview(BaseModel):
    overview: str
    topics: list[Summary] = []


@dataclass
class Notes:
    summary: str
    topics: tuple[str, ...]


@pytest.mark.parametrize("structured", [False, True])
@pytest.mark.parametrize(
    "answer",
    [
        JSON,
        f"```json\n{JSON}\n```",
        f'<think>Say {{"summary": "a draft"}}?</think>{JSON}',
        AIMessage(JSON),
        AIMessage([{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": JSON}]),
        Summary(summary="Anna likes pizza.", topics=["pizza"]),
        Notes("Anna likes pizza.", ("pizza",)),
        {"summary": "Anna likes pizza.", "topics": ["pizza"]},
        {"summary": "<think>Hm.</think> Anna likes pizza.", "topics": {"pizza"}},
        {"raw": AIMessage(""), "parsed": Summary(summary="Anna likes pizza.", topics=["pizza"]), "parsing_error": None},
        {"raw": AIMessage(JSON), "parsed": None, "parsing_error": ValueError()},
        AIMessage(
            "",
            tool_calls=[{"name": "Summary", "args": {"summary": "Anna likes pizza.", "topics": ["pizza"]}, "id": "1"}],
        ),
        AIMessage("", additional_kwargs={"parsed": Summary(summary="Anna likes pizza.", topics=["pizza"])}),
        {"messages": [AIMessage("earlier"), AIMessage(JSON)]},
        Overview(overview="Anna likes pizza.", topics=[Summary(summary="pizza")]),
    ],
    ids=lambda answer: type(answer).__name__,
)
def test_text_and_lists_are_read_from_any_form(answer: Any, structured: bool) -> None:
    found = read_answer(answer, structured=structured)
    assert found.text == "Anna likes pizza."
    assert found.lists is not None
    assert found.lists["topics"] == ("pizza",)


@pytest.mark.parametrize(
    "answer",
    [
        "Anna likes pizza.",
        "<think>\nLet me see.\n</think>\n\nAnna likes pizza.",
        "<Thinking>one</Thinking>Anna likes <thinking>two</thinking>pizza.",
        "Let me see.\n</think>\nAnna likes pizza.",
        "Anna likes pizza.\n<think>Is that all? I was cut o",
        RootModel[str]("Anna likes pizza."),
    ],
)
def test_drafts_are_no_part_of_the_summary(answer: Any) -> None:
    assert read_answer(answer, structured=False).text == "Anna likes pizza."
    assert read_answer(answer, structured=True).text == "Anna likes pizza."


@pytest.mark.parametrize("structured", [False, True])
@pytest.mark.parametrize(
    "answer",
    [
        "",
        "<think>The user wants a summary, and I was cut o",
        "<think>Only a thought.</think>",
        *(JSON[:end] for end in range(2, len(JSON))),
        f"Here it is: {JSON[:30]}",
        f"```json\n{JSON[:40]}\n```",
        "[1]",
        {"topics": ["pizza"]},
        {"raw": AIMessage(JSON[:40]), "parsed": None, "parsing_error": ValueError()},
    ],
)
def test_an_answer_without_a_complete_summary_is_refused(answer: Any, structured: bool) -> None:
    with pytest.raises(SummaryError, match="holds no summary"):
        read_answer(answer, structured=structured)


@pytest.mark.parametrize(
    "answer", ["They use {braces} in templates.", "The set is {1, 2}.", 'He sends {"a": 1} to the server.']
)
def test_braces_in_a_plain_summary_are_text(answer: str) -> None:
    assert read_answer(answer, structured=False).text == answer


DEEP = '{"summary": "s", "topics": ' + "[" * 600


@pytest.mark.parametrize(
    "answer",
    [
        DEEP,
        DEEP + "]" * 600 + "}",
        "[" * 600 + "]" * 600,
        '{"a": ' * 600,
        {"summary": "s", "topics": json.loads("[" * 600 + "]" * 600)},
        AIMessage("", tool_calls=[{"name": "x", "args": {"text": json.loads("[" * 600 + "]" * 600)}, "id": "1"}]),
    ],
)
def test_an_answer_that_is_nested_too_deep_is_refused(answer: Any, recursion_limit: None) -> None:
    with pytest.raises(SummaryError, match="nested deeper than 100 levels"):
        read_answer(answer, structured=True)
