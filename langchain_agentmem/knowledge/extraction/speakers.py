"""For whom each message of a thread was read, so that in a thread of several users nobody's words are taken for another's.

A message counts as said by the user of the run that it was handed over in first. That is noted before anything is learned
from it, with digests alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import BaseMessage

from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.backends.digests import digest_of_ids
from langchain_agentmem.backends.notes import Notes
from langchain_agentmem.knowledge.extraction.markers import USER, digests_of, role_of
from langchain_agentmem.programs import Program, Read, Write

REMEMBERED = 500
"""Of how many of a thread's messages it is known whose they are: those handed over last."""

_SPEAKERS = "speakers"


def words_of_others(
    backend: Backend, tenant: str, thread: str, user_id: str, messages: Sequence[BaseMessage]
) -> Program[frozenset[int]]:
    """Note whose the messages of a thread are; returns the places of those that other users said.

    Args:
        backend: Where that is noted.
        tenant: Whose thread it is.
        thread: The thread.
        user_id: The user of the run.
        messages: The conversation as it is handed over.
    """
    notes, user = Notes(backend, tenant, _SPEAKERS, thread), digest_of_ids(user_id, size=9).hex()
    digests = {at: one for at, one in enumerate(digests_of(messages)) if role_of(messages[at]) == USER}
    while True:
        note = yield from Read(backend, notes.get(_SPEAKERS, time.time()))
        value: dict[str, Any] = note.value if note else {"users": [], "messages": {}}
        users = list(dict.fromkeys([*value["users"], user]))
        known, own = value["messages"], users.index(user)
        last = max((at for at, digest in digests.items() if digest in known), default=-1)
        # Among several users, a message before one that is known was somebody's, though it is forgotten whose.
        unknown = own if len(users) == 1 else None
        others = {
            at for at, digest in digests.items() if known.get(digest, unknown if at < last else own) != own
        }  # what nobody has read is the user's
        new = {digest: own for at, digest in digests.items() if at not in others and digest not in known}
        if not new:
            return frozenset(others)
        noted = {"users": users, "messages": dict(list({**known, **new}.items())[-REMEMBERED:])}
        expected = note.revision if note else None
        if (yield from Write(backend, notes.swap(_SPEAKERS, noted, expected, time.time()))):
            return frozenset(others)
