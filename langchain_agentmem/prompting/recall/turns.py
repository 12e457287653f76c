"""Turns of a user's earlier sessions that answer a message."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

from langchain_agentmem.backends.contract import HistoryScope
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.errors import DamagedDataError
from langchain_agentmem.history.engine import HistoryEngine
from langchain_agentmem.programs import Program, Read
from langchain_agentmem.prompting.recall.conversion import TYPES, turn_items
from langchain_agentmem.prompting.recall.results import RecalledItem
from langchain_agentmem.search.messages import Address, MessageQuery, MessageSearch, found_messages

T = TypeVar("T")

_log = logging.getLogger(__name__)


class EarlierTurns:
    """Searches the messages of a user's earlier sessions.

    Args:
        history: The histories.
    """

    def __init__(self, history: HistoryEngine) -> None:
        self._history = history

    def search(self, text: str, user_id: str, session_id: str | None, k: int) -> MessageSearch:
        """Return a search for messages, with their questions and answers.

        Args:
            text: The text to search for.
            user_id: The user.
            session_id: The current session, whose messages are left out; None for none.
            k: The number of turns. Twice this number of messages is found, because a question and its answer are one turn.
        """
        history = self._history
        query = replace(MessageQuery.of(text, 2 * k, around=1), types=TYPES, without_session=session_id)
        return MessageSearch(history.backend, history.codec, history.indexer, self._scope(user_id), query)

    def found(self, text: str, user_id: str, session_id: str | None, k: int) -> Program[list[RecalledItem]]:
        """Return the turns that answer a text best; none, with a warning in the log, if stored messages are damaged.

        Args:
            text: See `search`, as for the other arguments.
            user_id: See `text`.
            session_id: See `text`.
            k: The maximum number of turns.
        """
        search = self.search(text, user_id, session_id, k)
        return turn_items((yield from unless_damaged(found_messages(self._history.backend, search))) or ())[:k]

    def stored(self, user_id: str, addresses: Iterable[Address]) -> Program[set[Address]]:
        """Return the addresses of messages that are still stored.

        Args:
            user_id: The user.
            addresses: The sessions and positions of messages.
        """
        backend, wanted = self._history.backend, sorted(addresses)
        if not wanted:
            return set()
        with reading("One of a user's messages"):
            return set((yield from Read(backend, backend.messages.rows(self._scope(user_id), wanted, time.time()))))

    def _scope(self, user_id: str) -> HistoryScope:
        return HistoryScope(self._history.tenant, user_id)


def unless_damaged(program: Program[T]) -> Program[T | None]:
    """Return the result of a program that reads messages; None, with a warning in the log, if they are damaged.

    Args:
        program: The program.
    """
    try:
        return (yield from program)
    except DamagedDataError as error:
        _log.warning("Earlier sessions were left out of a recall, because stored data is damaged: %s", error)
        return None
