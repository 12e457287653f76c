"""Making a part of a conversation part of its summary: once, however many turns and processes want to at the same time.

Who summarises writes a claim into the record first; others wait for it. A claim holds for a while only, so that it does not
outlive a process that was killed.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from itertools import count

from langchain_core.runnables.config import RunnableConfig

from langchain_agentmem.compression.sources import STAYS, Source
from langchain_agentmem.compression.summaries import Entry, Record
from langchain_agentmem.compression.summarizing import Summarizer
from langchain_agentmem.compression.views import Plan, View
from langchain_agentmem.program import Program

_SPARE_SECONDS = 5.0
"""How much longer a claim holds than a call to the model may take."""

_PROCESS = secrets.randbits(31)
_BITS = 22
_numbers = count()
_at_work: set[int] = set()
"""The claims of this process that are being worked on: one that is not was given up, when a turn was cancelled."""


def is_at_work(record: Record) -> bool:
    """Whether somebody is summarising the conversation."""
    if record.claim is None or record.until < time.time():
        return False
    return record.claim >> _BITS != _PROCESS or record.claim in _at_work


def fold(
    source: Source, view: View, plan: Plan, summarizer: Summarizer, config: RunnableConfig
) -> Program[tuple[int, int]]:
    """Summarise messages.

    Args:
        source: The conversation.
        view: As it was read.
        plan: Which messages.
        summarizer: What does it.
        config: The config of the run.

    Returns:
        How many messages, and how often the model was asked; nothing when somebody else was first.
    """
    claim = (_PROCESS << _BITS) | (next(_numbers) % (1 << _BITS))
    _at_work.add(claim)
    try:
        now = time.time()
        until = now + summarizer.seconds + _SPARE_SECONDS
        past = view.past
        if not (yield from source.place.swap(past.record._replace(claim=claim, until=until), past.revision, now)):
            return 0, 0
        folded = calls = 0
        summary = past.summary
        entry = past.entry
        parts = summarizer.parts(plan.groups)
        for number, part in enumerate(parts, 1):
            try:
                summary = yield from summarizer.extended(summary, part, config)
            except Exception:
                yield from _write(source, claim, lambda record: record._replace(claim=None))
                raise
            calls += summarizer.model is not None
            folded += part.completes
            if part.completes:  # a part of a message that is too large for one call completes none
                human = plan.human if plan.human == STAYS or folded > (plan.human or 0) else None
                before, entry = entry, source.entry(past, summary, folded, human)
                yield from _write(
                    source, claim, _adding(entry, before, claim if number < len(parts) else None, summarizer)
                )
        return folded, calls
    finally:
        _at_work.discard(claim)


def _adding(
    entry: Entry, instead: Entry | None, claim: int | None, summarizer: Summarizer
) -> Callable[[Record], Record]:
    until = time.time() + summarizer.seconds + _SPARE_SECONDS

    def change(record: Record) -> Record:
        return record.with_entry(entry, instead)._replace(claim=claim, until=until)

    return change


def _write(source: Source, claim: int, change: Callable[[Record], Record]) -> Program[None]:
    """Change the record, if the claim still holds."""
    while True:
        now = time.time()
        record, revision = yield from source.place.load(now)
        if record.claim != claim or (yield from source.place.swap(change(record), revision, now)):
            return
