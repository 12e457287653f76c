"""Pending extraction jobs: data only, without threads and tasks."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from langchain_agentmem.knowledge.extraction.conversations import Conversation

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

_log = logging.getLogger(__name__)

MAX_WAITING = 1_000
"""Upper bound of the waiting conversations. A conversation beyond it is left to the next run of its thread."""

Key = tuple[str, str]


def _future() -> Future[None]:
    """Return a future that cannot be cancelled, because several callers of `flush` may wait for it."""
    future: Future[None] = Future()
    future.set_running_or_notify_cancel()
    return future


@dataclass(eq=False)
class Job:
    """A conversation that waits for extraction."""

    conversation: Conversation
    config: RunnableConfig
    due: float
    """Earliest start, on the monotonic clock."""
    loop: asyncio.AbstractEventLoop | None
    """The event loop whose tasks run the job; None for threads."""
    ended: Future[None] = field(default_factory=_future)
    """Done when the job has ended, whether it succeeded or failed."""

    @property
    def key(self) -> Key:
        """ID of the user and of the thread. No two jobs with one key run at the same time."""
        return self.conversation.user_id, self.conversation.thread


class Jobs:
    """The jobs of one schedule by key. Not thread-safe: the schedule holds its lock around each call."""

    def __init__(self) -> None:
        self.waiting: dict[Key, Job] = {}
        self.failed: dict[Key, Job] = {}
        """Jobs that are tried again with the next turn of their conversation, or by a flush."""
        self.running: dict[Key, Job] = {}

    def __len__(self) -> int:
        return len({*self.waiting, *self.failed, *self.running})

    def add(self, job: Job) -> bool:
        """Add a job. It takes in the messages of a waiting or failed job with its key.

        Args:
            job: The job.

        Returns:
            False if too many jobs wait, so that the job was not added.
        """
        waiting, failed = self.waiting.pop(job.key, None), self.failed.pop(job.key, None)
        for earlier in (waiting, failed):
            if earlier is not None:
                job.conversation = job.conversation.preceded_by(earlier.conversation)
        if waiting is not None:
            job.ended = waiting.ended
        while self.failed and len(self.waiting) + len(self.failed) >= MAX_WAITING:
            self.failed.pop(next(iter(self.failed)))
        if len(self.waiting) >= MAX_WAITING:
            _log.warning(
                "%d conversations wait already. The next run of this conversation's thread extracts from it.",
                MAX_WAITING,
            )
            return False
        self.waiting[job.key] = job
        return True

    def take(self, key: Key, due: float) -> Job | None:
        """Move a job from waiting to running.

        Args:
            key: Key of the job.
            due: When the job was due when it was queued. A later turn may have postponed it since.

        Returns:
            The job; None if there is none, if it was postponed, or if a job with its key is running.
        """
        job = self.waiting.get(key)
        if job is None or job.due > due or key in self.running:
            return None
        self.running[key] = self.waiting.pop(key)
        return job

    def end(self, job: Job, *, succeeded: bool, interrupted: bool) -> Job | None:
        """Record that a running job has ended.

        A job that did not succeed stays: its messages go to the following job with its key. Without one, an interrupted
        job waits again, and a failed one waits for the next turn.

        Args:
            job: The job.
            succeeded: True if its messages were read.
            interrupted: True if its event loop ended before the job did.

        Returns:
            The following job with its key, if there is one.
        """
        self.running.pop(job.key, None)
        following = self.waiting.get(job.key)
        if following is not None and not succeeded:
            following.conversation = following.conversation.preceded_by(job.conversation)
        elif following is None and not succeeded:
            kept = self.waiting if interrupted else self.failed
            kept[job.key] = Job(job.conversation, job.config, job.due, job.loop)
        job.ended.set_result(None)
        return following

    def retry_failed(self) -> None:
        """Let failed jobs wait again."""
        for key, job in self.failed.items():
            self.waiting.setdefault(key, job)
        self.failed.clear()

    def waiting_of(self, user_id: str) -> int:
        """Return the number of jobs of a user that are not running."""
        return sum(key[0] == user_id for jobs in (self.waiting, self.failed) for key in jobs)

    def forget(self, user_id: str) -> int:
        """Drop the jobs of a user that are not running; return their number."""
        dropped = 0
        for jobs in (self.waiting, self.failed):
            for key in [key for key in jobs if key[0] == user_id]:
                job = jobs.pop(key)
                if jobs is self.waiting:
                    job.ended.set_result(None)
                dropped += 1
        return dropped

    def clear(self) -> None:
        """Drop all jobs that are not running."""
        for job in self.waiting.values():
            job.ended.set_result(None)
        self.waiting.clear()
        self.failed.clear()
