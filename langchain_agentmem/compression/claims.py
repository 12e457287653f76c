"""Claims: one turn of one process summarises a part of a conversation, and the others wait for it.

The process writes a claim into the record before it calls the model. A claim expires, so that it does not outlive a process
that was killed.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections import deque
from collections.abc import Callable

from langchain_core.runnables.config import RunnableConfig

from langchain_agentmem.compression.answers import SummaryError
from langchain_agentmem.compression.conversations import SAME_HUMAN, Conversation
from langchain_agentmem.compression.records import Entry, Record
from langchain_agentmem.compression.request import Plan, Request
from langchain_agentmem.compression.summaries import SessionSummary
from langchain_agentmem.compression.writer import Part, SummaryWriter
from langchain_agentmem.errors import AgentMemError
from langchain_agentmem.programs import Program
from langchain_agentmem.programs.signals import came_by_signal

_GRACE_SECONDS = 5.0
"""A claim outlives the time limit of a call by this number of seconds."""

TRIES = 3
"""Number of attempts for each part if there are several: a failure must not undo the parts before it."""

_abandoned: deque[int] = deque(maxlen=1_000)
"""Claims of cancelled turns of this process. They count as expired."""


class ClaimedError(TimeoutError):
    """Another turn or process is still summarising the conversation."""


class Progress:
    """The progress of one compression, and its time limit.

    Args:
        seconds: After this number of seconds, no further call to the model is started.
    """

    def __init__(self, seconds: float) -> None:
        self.folded = 0
        """The number of messages that became part of the summary."""
        self.calls = 0
        """The number of calls to the model."""
        self.input_tokens = self.output_tokens = 0
        """The tokens of these calls."""
        self._until = time.monotonic() + seconds

    def spend(self, input_tokens: int, output_tokens: int) -> None:
        """Add the tokens of a call."""
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens

    @property
    def is_late(self) -> bool:
        """True if no further call may be started."""
        return time.monotonic() > self._until


def is_claimed(record: Record) -> bool:
    """Return true if a turn or a process is summarising the conversation."""
    return record.claim is not None and record.until > time.time() and record.claim not in _abandoned


def summarise_claimed(
    conversation: Conversation,
    request: Request,
    plan: Plan,
    writer: SummaryWriter,
    config: RunnableConfig,
    progress: Progress,
    tries: int = TRIES,
) -> Program[bool]:
    """Claim the summary of a conversation and extend it.

    Args:
        conversation: The conversation.
        request: The request for its current state.
        plan: The messages to summarise.
        writer: Writes the summary.
        config: The config of the run.
        progress: Is updated.
        tries: How often the model is called for each part if there are several. Default: `TRIES`.

    Returns:
        False if another turn or process claimed it first.

    Raises:
        SummaryError: The summary was deleted, or claimed by another process, while it was extended.
        TimeoutError: The time limit was exceeded. The parts that are done are stored.
        Exception: The model raised it. The parts that are done are stored.
    """
    claim = secrets.randbits(53)
    now, snapshot = time.time(), request.snapshot
    # A clock that is behind never shortens a claim.
    until = max(snapshot.record.until, now + writer.seconds + _GRACE_SECONDS)
    claimed = snapshot.record._replace(claim=claim, until=until)
    if not (yield from conversation.storage.swap(claimed, snapshot.revision, now)):
        return False
    released = False
    try:
        summary, entry, folded = snapshot.summary, snapshot.entry, 0
        parts = writer.parts(plan.groups)
        for number, part in enumerate(parts, 1):
            if progress.is_late and number > 1:
                msg = f"The summary took longer than {writer.seconds:g} seconds. The next turn continues it."
                raise TimeoutError(msg)
            summary = yield from _extended(writer, summary, part, config, progress, tries if len(parts) > 1 else 1)
            before = entry
            if part.completes:  # false for a piece of a message that is too long for one call
                folded += part.completes
                human = plan.human if plan.human == SAME_HUMAN or folded > (plan.human or 0) else None
                entry = conversation.entry(snapshot, summary, folded, human)
            yield from _update(conversation, claim, _change(entry, before, number == len(parts), writer))
            progress.folded += part.completes
        released = True
    except Exception:
        yield from _release(conversation, claim)
        released = True
        raise
    finally:
        if not released:
            _abandoned.append(claim)
    return True


def _extended(
    writer: SummaryWriter,
    summary: SessionSummary | None,
    part: Part,
    config: RunnableConfig,
    progress: Progress,
    tries: int,
) -> Program[SessionSummary]:
    for left in reversed(range(tries)):
        progress.calls += writer.model is not None
        try:
            return (yield from writer.extend(summary, part, config, progress.spend))
        except Exception as error:  # each provider raises its own
            if not left or progress.is_late or came_by_signal(error):
                raise
    raise AssertionError


def _change(
    entry: Entry | None, before: Entry | None, is_last: bool, writer: SummaryWriter
) -> Callable[[Record, int], Record]:
    """Return the function that stores an entry, and releases or extends the claim."""
    until = time.time() + writer.seconds + _GRACE_SECONDS

    def change(record: Record, claim: int) -> Record:
        if entry is not None and entry is not before:
            record = record.with_entry(entry, before)
        return record._replace(claim=None if is_last else claim, until=max(record.until, until))

    return change


def _update(conversation: Conversation, claim: int, change: Callable[[Record, int], Record]) -> Program[None]:
    """Change the record.

    Raises:
        SummaryError: The record does not contain the claim any more.
    """
    while True:
        now = time.time()
        record, revision = yield from conversation.storage.load(now)
        if record.claim != claim:
            msg = "The summary was deleted, or claimed by another process, while it was extended."
            raise SummaryError(msg)
        if (yield from conversation.storage.swap(change(record, claim), revision, now)):
            return


def _release(conversation: Conversation, claim: int) -> Program[None]:
    """Remove the claim, if the record still contains it and the database is available."""
    with contextlib.suppress(AgentMemError):
        yield from _update(conversation, claim, lambda record, _: record._replace(claim=None))
