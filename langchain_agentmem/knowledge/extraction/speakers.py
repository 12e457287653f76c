"""The users of the messages in a thread of several users.

A message belongs to the user of the first run that hands it over. That is stored as digests, before anything is extracted, so
the words of one user never become facts about another.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import BaseMessage

from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.backends.digests import digest_of_ids
from langchain_agentmem.backends.notes import Notes
from langchain_agentmem.knowledge.extraction.conversations import USER, role_of
from langchain_agentmem.knowledge.extraction.markers import digests_of
from langchain_agentmem.programs import Program, Read, Write

REMEMBERED = 500
"""Number of a thread's messages whose user is stored: those that were handed over last."""

_SPEAKERS = "speakers"


def speakers_of(backend: Backend, tenant: str, thread: str) -> Notes:
    """Return the notes about the users of a thread's messages."""
    return Notes(backend, tenant, _SPEAKERS, thread)


def messages_of_others(
    backend: Backend, tenant: str, thread: str, user_id: str, messages: Sequence[BaseMessage]
) -> Program[frozenset[int]]:
    """Store the users of new messages, and return the positions of messages of other users.

    Args:
        backend: The backend.
        tenant: The tenant of the thread.
        thread: ID of the thread.
        user_id: ID of the user of the run.
        messages: The messages that the run hands over.
    """
    notes, user = speakers_of(backend, tenant, thread), digest_of_ids(thread, user_id, size=9).hex()
    former = digest_of_ids(user_id, size=9).hex()  # earlier versions stored the same digest in all threads
    digests = {at: one for at, one in enumerate(digests_of(messages)) if role_of(messages[at]) == USER}
    while True:
        note = yield from Read(backend, notes.get(_SPEAKERS, time.time()))
        value: dict[str, Any] = note.value if note else {"users": [], "messages": {}}
        users = list(dict.fromkeys([*(user if one == former else one for one in value["users"]), user]))
        known, own = value["messages"], users.index(user)
        last_known = max((at for at, digest in digests.items() if digest in known), default=-1)
        # An unknown message before a known one is old: if the thread has several users, it may be anybody's.
        of_old = own if len(users) == 1 else None
        others = {at for at, digest in digests.items() if known.get(digest, of_old if at < last_known else own) != own}
        new = {digest: own for at, digest in digests.items() if at not in others and digest not in known}
        if not new:
            return frozenset(others)
        changed = {"users": users, "messages": dict(list({**known, **new}.items())[-REMEMBERED:])}
        expected = note.revision if note else None
        if (yield from Write(backend, notes.swap(_SPEAKERS, changed, expected, time.time()))):
            return frozenset(others)
