"""The cache of the histories of delta channels."""

from __future__ import annotations

import pytest

from langchain_agentmem.backends.contract import CheckpointKey, ThreadKey
from langchain_agentmem.checkpointing.histories import Histories, Link

THREAD = ThreadKey("default", "1")
FIRST, SECOND = CheckpointKey("", "1"), CheckpointKey("", "2")


@pytest.mark.parametrize("reads", [False, True])
def test_a_history_that_was_read_before_another_reading_is_not_kept(reads):
    histories = Histories()
    histories.note_read(THREAD, SECOND, 5)
    reading = histories.reading(THREAD)
    links = {SECOND: Link("1", {}, {}), FIRST: Link(None, {"log": []}, {})}
    if reads:  # another task reads the thread, to which another process has written
        histories.note_read(THREAD, SECOND, 6)
    histories.learn(THREAD, SECOND, ["log"], links, reading)
    histories.note_read(THREAD, SECOND, 6 if reads else 5)
    assert (histories.find(THREAD, SECOND, ["log"]) is None) is reads
