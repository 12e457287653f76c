"""Making a part of a conversation part of its summary: once, however many turns and processes want to at the same time.

Who summarises writes a claim into the record first; others wait for it. A claim holds for a while only, so that it does not
outlive a process that was killed.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections import deque
from collections.abc import Callable

from langchain_core.runnables.config import RunnableConfig

from langchain_agentmem.compression.sources import STAYS, Source
from langchain_agentmem.compression.summaries import Entry, Record, SessionSummary
from langchain_agentmem.compression.summarizing import Part, Summarizer, SummaryError
from langchain_agentmem.compression.views import Plan, View
from langchain_agentmem.errors import AgentMemError
from langchain_agentmem.programs import Program
from langchain_agentmem.programs.signals import came_by_signal

_SPARE_SECONDS = 5.0
"""How much longer a claim holds than a call to the model may take."""

TRIES = 3
"""How often the model is asked for each part of a past that goes in several: one failure shall not undo the others."""

_given_up: deque[int] = deque(maxlen=1_000)
"""The claims of this process that were left behind, when a turn was cancelled: nobody waits for them."""


class Progress:
    """What a compression has done so far, and how long it may go on.

    Args:
        seconds: After how many seconds no further call to the model is begun.
    """

    def __init__(self, seconds: float) -> None:
        self.folded = 0
        """How many messages became part of the summary."""
        self.calls = 0
        """How often the model was asked."""
        self.input_tokens = self.output_tokens = 0
        """What the model's answers cost."""
        self._until = time.monotonic() + seconds

    def spend(self, input_tokens: int, output_tokens: int) -> None:
        """Note what an answer of the model cost."""
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens

    @property
    def is_late(self) -> bool:
        """Whether no further call is to be begun."""
        return time.monotonic() > self._until


def is_at_work(record: Record) -> bool:
    """Whether somebody is summarising the conversation."""
    return record.claim is not None and record.until > time.time() and record.claim not in _given_up


def fold(
    source: Source, view: View, plan: Plan, summarizer: Summarizer, config: RunnableConfig, progress: Progress
) -> Program[bool]:
    """Summarise messages.

    Args:
        source: The conversation.
        view: As it was read.
        plan: Which messages.
        summarizer: What does it.
        config: The config of the run.
        progress: Where it is noted what was done.

    Returns:
        Whether the claim was won; if not, somebody else was first.

    Raises:
        SummaryError: The summary was deleted, or taken over, meanwhile.
        TimeoutError: It took too long; what was done is kept.
        Exception: What the model raised; what was done before is kept.
    """
    claim = secrets.randbits(53)
    now, past = time.time(), view.past
    # A late clock never brings the end of a claim forward.
    until = max(past.record.until, now + summarizer.seconds + _SPARE_SECONDS)
    claimed = past.record._replace(claim=claim, until=until)
    if not (yield from source.place.swap(claimed, past.revision, now)):
        return False
    released = False
    try:
        summary, entry, folded = past.summary, past.entry, 0
        parts = summarizer.parts(plan.groups)
        for number, part in enumerate(parts, 1):
            if progress.is_late and number > 1:
                msg = f"It took longer than {summarizer.seconds:g} seconds; the next turn goes on with it."
                raise TimeoutError(msg)
            summary = yield from _extended(summarizer, summary, part, config, progress, len(parts))
            before = entry
            if part.completes:  # a piece of a message that is too large for one call completes none
                folded += part.completes
                human = plan.human if plan.human == STAYS or folded > (plan.human or 0) else None
                entry = source.entry(past, summary, folded, human)
            yield from _write(source, claim, _change(entry, before, number == len(parts), summarizer))
            progress.folded += part.completes
        released = True
    except Exception:
        yield from _release(source, claim)
        released = True
        raise
    finally:
        if not released:
            _given_up.append(claim)
    return True


def _extended(
    summarizer: Summarizer,
    summary: SessionSummary | None,
    part: Part,
    config: RunnableConfig,
    progress: Progress,
    parts: int,
) -> Program[SessionSummary]:
    for left in reversed(range(TRIES if parts > 1 else 1)):
        progress.calls += summarizer.model is not None
        try:
            return (yield from summarizer.extended(summary, part, config, progress.spend))
        except Exception as error:  # each provider raises its own
            if not left or progress.is_late or came_by_signal(error):
                raise
    raise AssertionError


def _change(
    entry: Entry | None, before: Entry | None, is_last: bool, summarizer: Summarizer
) -> Callable[[Record, int], Record]:
    until = time.time() + summarizer.seconds + _SPARE_SECONDS

    def change(record: Record, claim: int) -> Record:
        if entry is not None and entry is not before:
            record = record.with_entry(entry, before)
        return record._replace(claim=None if is_last else claim, until=max(record.until, until))

    return change


def _write(source: Source, claim: int, change: Callable[[Record, int], Record]) -> Program[None]:
    """Change the record.

    Raises:
        SummaryError: The claim does not hold any more.
    """
    while True:
        now = time.time()
        record, revision = yield from source.place.load(now)
        if record.claim != claim:
            msg = "The summary was deleted, or taken over by another process, while it was made."
            raise SummaryError(msg)
        if (yield from source.place.swap(change(record, claim), revision, now)):
            return


def _release(source: Source, claim: int) -> Program[None]:
    """Give the claim back, if it still holds and the database is there."""
    with contextlib.suppress(AgentMemError):
        yield from _write(source, claim, lambda record, _: record._replace(claim=None))
