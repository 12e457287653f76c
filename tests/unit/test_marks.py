"""The marks of messages: whether they ask, speak of a time, and who speaks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_agentmem.text.marks import Marked, analyze_message, read_marks, speaker_number
from langchain_agentmem.text.words import analyze


def marks_of(*words: bytes) -> Marked:
    return read_marks(np.frombuffer(b"".join(words), dtype="<u4"), [len(one) // 4 for one in words])


@pytest.mark.parametrize(
    ("text", "asks", "timed", "speaker"),
    [
        ("Ann: Where were you yesterday?", True, True, "Ann"),
        ("  Bob : I saw it in 2023", False, True, "Bob"),
        ("An owl may sing", False, False, None),
        ("你好吗？", True, False, None),
        ("Is it? " + "No, it is not at all and never was, I believe.", False, False, None),
        ("see https://x.org", False, False, None),
    ],
)
def test_a_message_is_marked(text, asks, timed, speaker):
    marks = marks_of(analyze_message(text))
    assert (marks.asks[0], marks.timed[0]) == (asks, timed)
    assert marks.speaker[0] == (0 if speaker is None else speaker_number(speaker))


@given(st.lists(st.text(max_size=40) | st.sampled_from(["Ann: hi?", "today", ""]), max_size=6))
def test_marks_are_no_words(texts):
    marks = marks_of(*map(analyze_message, texts))
    assert marks.lengths.tolist() == [len(analyze(text)) // 4 for text in texts]


@given(st.lists(st.text(max_size=40), max_size=6))
def test_words_of_earlier_versions_have_no_marks(texts):
    words = list(map(analyze, texts))
    marks = marks_of(*words)
    assert marks.lengths.tolist() == [len(one) // 4 for one in words]
    assert not (marks.asks.any())
    assert not (marks.timed.any())
    assert not (marks.speaker.any())
