"""The corpora that a process keeps between searches, and how they are brought up to date.

Each search reads what changed since the last one, so other processes' writes are found, too. All corpora together have a
bound in bytes; the least recently used ones are dropped. They contain word numbers and vectors, also of an encrypted memory,
but no text.
"""

from __future__ import annotations

import asyncio
import math
import os
import weakref
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future, InvalidStateError, wait
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar, cast

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.contract import Backend, Changes, Entries, SessionVersion
from langchain_agentmem.backends.contract.changes import packed, unpacked
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError
from langchain_agentmem.messages.properties import datetime_of, text_of
from langchain_agentmem.programs.caches import RecentValues
from langchain_agentmem.programs.locks import forkable_lock
from langchain_agentmem.search.growing import CorpusView, GrowingCorpus
from langchain_agentmem.text.marks import analyze_message
from langchain_agentmem.text.words import checked_words

if TYPE_CHECKING:
    from typing import Any

SEARCH_CACHE = 256
"""The default bound of all corpora, in megabytes."""

_MEGABYTE = 2**20
_MOST_MEGABYTES = 2**30
_MOST_CORPORA = 10_000
_MOST_LOADS = 100
_LONGEST_WAIT = 10.0
"""The seconds that a search waits for another one to read the same corpus, at most."""

_LATEST_TIME = 250_000_000_000.0
"""A time that `datetime` can represent, in Unix seconds. Later ones are checked one by one."""


class Kept(Protocol):
    """A corpus that a process keeps."""

    @property
    def is_usable(self) -> bool:
        """False if the corpus must be read again."""

    @property
    def nbytes(self) -> int:
        """The bytes that the corpus takes, about."""


Keepable = TypeVar("Keepable", bound=Kept)


class CorpusKey(NamedTuple):
    """The messages of a corpus."""

    tenant: str
    user_id: str | None
    session_id: str | None
    """The only session; None for all sessions of the user."""
    vectors: bool
    """True if the corpus has vectors."""


class _State(NamedTuple):
    """How far a corpus is."""

    cursor: Any
    versions: Mapping[str, SessionVersion]


_NOTHING = _State(None, {})


class KeptCorpus:
    """A corpus that is brought up to date by each search. Threads may share it."""

    def __init__(self) -> None:
        self._lock = forkable_lock()
        self._state = _NOTHING
        self._corpus = GrowingCorpus()
        self._is_changing = False
        self._process = os.getpid()
        self.nbytes = 0
        """The bytes that the corpus takes, about."""

    @property
    def is_usable(self) -> bool:
        """False if an exception or a fork interrupted a change, or if the corpus must be read again."""
        return self._process == os.getpid() and not self._corpus.is_stale

    @property
    def state(self) -> _State:
        """How far the corpus is."""
        return self._state

    def view(self, changes: Changes, start: _State, now: float, agent: str | None) -> CorpusView | None:
        """Apply changes, and return what a search reads; None if the changes must be read again.

        Args:
            changes: What changed.
            start: The state from which they were read. Another search may have brought the corpus up to date since.
            now: The time in Unix seconds.
            agent: The agent whose messages are searched; None for all messages.
        """
        with self._lock:
            if self._is_changing:
                self._reset()
            applied = self._applicable(changes, start)
            if applied is None:
                return None
            if applied.sessions or applied.gone:
                self._is_changing = True
                self._corpus.apply(applied.sessions, applied.gone, applied.entries)
                versions = {**self._state.versions, **{one.session_id: one.version for one in applied.sessions}}
                for name in applied.gone:
                    versions.pop(name, None)
                cursor = changes.cursor if self._state.cursor is start.cursor else self._state.cursor
                self._state = _State(cursor, versions)
                self._is_changing = False
                self.nbytes = self._corpus.nbytes
            elif self._state.cursor is start.cursor:
                self._state = _State(changes.cursor, self._state.versions)
            return self._corpus.view(now, agent)

    def _reset(self) -> None:
        self._state, self._corpus, self._is_changing = _NOTHING, GrowingCorpus(), False

    def _applicable(self, changes: Changes, start: _State) -> Changes | None:
        """Return the changes that the corpus does not have yet; None if it has others of the same sessions."""
        if self._state.cursor is start.cursor:
            return changes
        if (
            self._state.cursor is None or start.cursor is None
        ):  # the corpus began again, or another search has read all of it
            return None
        current, former = self._state.versions, start.versions
        is_known = [current.get(one.session_id) == one.version for one in changes.sessions]
        is_untouched = all(current.get(one.session_id) == former.get(one.session_id) for one in changes.sessions)
        if any(one in current for one in changes.gone) or not (all(is_known) or is_untouched):
            return None
        return changes._replace(sessions=(), gone=(), entries=Entries()) if all(is_known) else changes._replace(gone=())


class Load:
    """The first read of a corpus. Other searches for the same corpus wait for its end, and use what it read.

    Args:
        ended: Done at the end of the read.
        is_mine: True for the search that reads. The read ends at the latest when this object is no longer used.
    """

    def __init__(self, ended: Future[None], *, is_mine: bool) -> None:
        self.is_mine = is_mine
        self._ended = ended
        if is_mine:
            weakref.finalize(self, _end, ended).atexit = False

    def end(self) -> None:
        """End the read."""
        if self.is_mine:
            _end(self._ended)

    def wait(self) -> None:
        """Wait for the end of the read, for some seconds at most, but not within an event loop, which may do the read."""
        if asyncio._get_running_loop() is None:
            wait([self._ended], _LONGEST_WAIT)

    async def await_(self) -> None:
        """Same as `wait`, without blocking the event loop."""
        await asyncio.wait([asyncio.wrap_future(self._ended)], timeout=_LONGEST_WAIT)


def _end(ended: Future[None]) -> None:
    with suppress(InvalidStateError):
        ended.set_result(None)


class Corpora:
    """The corpora that a process keeps between searches of one database.

    Args:
        megabytes: The bound of all corpora together. Default: `SEARCH_CACHE`. With 0, every search reads all messages.

    Example:
        >>> from langchain_agentmem.search.corpora import Corpora
        >>> Corpora(64).nbytes
        0
    """

    def __init__(self, megabytes: float = SEARCH_CACHE) -> None:
        self._most = int(megabytes * _MEGABYTE)
        self._kept: RecentValues[Hashable, Kept] = RecentValues(_MOST_CORPORA)
        self._loads: dict[tuple[int, Hashable], Future[None]] = {}
        """The ends of first reads of corpora, by process and key."""

    @classmethod
    def of(cls, backend: Backend, megabytes: float | None = None) -> Corpora:
        """Return the corpora of a backend: memories that share a backend share them.

        Args:
            backend: The backend.
            megabytes: The bound of these corpora from now on. Default: None (the present one).

        Raises:
            InvalidTypeError: The bound is not a number.
            InvalidInputError: The bound is negative, or not finite.
        """
        if megabytes is not None:
            if isinstance(megabytes, bool) or not isinstance(megabytes, (int, float)):
                msg = f"search_cache must be a number of megabytes, got {type(megabytes).__name__}: {shown(megabytes)}."
                raise InvalidTypeError(msg)
            if not 0 <= megabytes < _MOST_MEGABYTES:
                msg = f"search_cache must be at least 0 and less than {_MOST_MEGABYTES:,} megabytes, got {shown(megabytes)}."
                raise InvalidInputError(msg)
        with _lock:
            found = _corpora.get(backend)
            if found is None:
                found = _corpora[backend] = cls()
            if megabytes is not None:
                found._most = int(megabytes * _MEGABYTE)
            return found

    @property
    def nbytes(self) -> int:
        """The bytes that all corpora take, about."""
        return self._kept.total(_size_of)

    def get(self, key: Hashable, make: Callable[[], Keepable]) -> Keepable:
        """Return the corpus with a key: a new one if it is not kept.

        Args:
            key: Identifies the corpus, and its class.
            make: Creates a corpus without texts.
        """
        kept = self._kept.get(key)
        return cast("Keepable", kept) if kept is not None and kept.is_usable else make()

    def load(self, key: Hashable) -> Load:
        """Return the first read of a corpus that is in progress. If there is none, it begins, and `Load.is_mine` is true.

        Args:
            key: Identifies the corpus.
        """
        name = (os.getpid(), key)
        with _lock:
            ended = self._loads.get(name)
            is_mine = ended is None or ended.done()
            if ended is None or is_mine:
                self._loads[name] = ended = Future()
                if len(self._loads) > _MOST_LOADS:
                    self._loads = {one: load for one, load in self._loads.items() if not load.done()}
        return Load(ended, is_mine=is_mine)

    def keep(self, key: Hashable, kept: Kept) -> None:
        """Keep a corpus for the next search, unless it is larger than the bound."""
        if kept.nbytes > self._most or not self._most or not kept.is_usable:
            self._kept.discard(key)
        else:
            self._kept.put(key, kept)
            self._kept.trim(_size_of, self._most)


_lock = forkable_lock()
_corpora: weakref.WeakKeyDictionary[Backend, Corpora] = weakref.WeakKeyDictionary()


def _size_of(kept: Kept) -> int:
    return kept.nbytes


def with_words(changes: Changes, codec: Codec, language: str) -> Changes:
    """Return changes whose messages all have words. Damaged words, vectors and times are refused.

    Args:
        changes: The changes.
        codec: Decodes messages that were stored without words.
        language: The language of full-text search.

    Raises:
        DamagedDataError: The words, the vector or the time of a message, or a message without words, cannot be decoded.
    """
    import numpy as np

    for one in changes.sessions:
        with reading(f"The expiry of session {one.session_id!r}"):
            if one.version.expires_at is not None:
                math.isfinite(one.version.expires_at)
    entries = changes.entries
    if not entries.size:
        return changes
    sizes = np.frombuffer(entries.word_sizes, dtype="<i4")
    times = np.frombuffer(entries.times, dtype="<f8")
    strange = (sizes % 4 != 0) | (sizes < 0) | ~(np.abs(times) < _LATEST_TIME)
    strange |= np.frombuffer(entries.vector_sizes, dtype="<i4") % 4 != 0
    if not strange.any():
        return changes
    names = [one.session_id for one in changes.sessions for _ in range(one.size)]
    rows = []
    for name, (position, role, agent, time, words, vector, body) in zip(names, unpacked(entries), strict=True):
        with reading(f"Message {position} of session {name!r}"):
            datetime_of(time)
            if vector is not None and len(vector) % 4:
                msg = "its vector is not numbers of 32 bits"
                raise ValueError(msg)
            if words is None:
                words = b"" if body is None else analyze_message(text_of(codec.load_message(body)), language)  # noqa: PLW2901
            rows.append((position, role, agent, time, checked_words(words), vector, None))
    return changes._replace(entries=packed(rows))
