"""The user's messages of the current turn of each thread, while an agent works on its answer.

Another middleware may replace them by a summary between two calls to the model. The extraction, which runs after the answer,
then finds them neither in the state nor among the messages that were read before.
"""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig

from langchain_agentmem.knowledge.extraction.conversations import USER, role_of
from langchain_agentmem.programs.caches import RecentValues

_THREADS = 1_000
"""Maximum number of threads whose current turn is kept in this process."""


class CurrentTurns:
    """Keeps the user's messages of the current turn of each thread. Runs without a thread are left out."""

    def __init__(self) -> None:
        self._messages: RecentValues[tuple[str, str], list[BaseMessage]] = RecentValues(_THREADS)

    def record(self, user_id: str, messages: Sequence[BaseMessage], config: RunnableConfig) -> None:
        """Keep the user's messages of the last turn in a request.

        Args:
            user_id: The user.
            messages: The messages of the request.
            config: Config of the run. It names the thread.
        """
        key, asked = _key(user_id, config), _last_question(messages)
        if key is not None and asked:
            self._messages.put(key, asked)

    def restored(self, user_id: str, messages: Sequence[BaseMessage], config: RunnableConfig) -> list[BaseMessage]:
        """Return the messages of a state, with the kept messages that it lacks in front. They are kept no longer.

        Args:
            user_id: The user.
            messages: The messages of the state after the answer.
            config: Config of the run. It names the thread.
        """
        key = _key(user_id, config)
        kept = None if key is None else self._messages.get(key)
        if key is None or kept is None:
            return list(messages)
        self._messages.discard(key)
        left = {message.id for message in messages}
        return [*(one for one in kept if one.id not in left), *messages]


def _key(user_id: str, config: RunnableConfig) -> tuple[str, str] | None:
    thread = (config.get("configurable") or {}).get("thread_id")
    return None if thread is None else (user_id, str(thread))


def _last_question(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return the last messages of the user that no other message separates."""
    asked: list[BaseMessage] = []
    for message in reversed(messages):
        if role_of(message) == USER:
            asked.insert(0, message)
        elif asked:
            break
    return [one for one in asked if one.id is not None]
