"""A corpus of a user's messages that grows with the history.

Most columns only grow at their end, so a view of the first rows stays valid while rows are added. A message that changes gets
a new row, and its former row is no longer alive. The few columns that change in place are copied at each change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_agentmem.backends.contract.changes import Entries, SessionChange
from langchain_agentmem.search.corpus import Corpus, Postings, links, postings
from langchain_agentmem.text.marks import read_marks

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_DEAD_SHARE = 4
"""The columns are written again when one row of this number is not alive."""

_FEWEST_DEAD = 64
_SLACK = 8
"""A full column grows by one element for this number of elements. Less copying needs more memory."""

_TRUST_CHANGE = 0.1
"""The trust in vectors is measured again when more than this share of the rows changed."""

_PER_SESSION = 400
"""The bytes that a session takes beside its rows, about."""

_SCANS = 16
"""The number of words that are looked for before the postings of many rows are computed. Few searches look for more."""

_FEW_ROWS = 10_000
_PER_POSTING = 8

_PER_ROW = 64
"""The bytes that searches compute for a row and keep, about: see `langchain_agentmem.search.statistics`."""

_MOST_VIEWS = 4
"""The number of views that are kept until the next change. Views differ by agent, and by the sessions that have expired."""


class _Segment:
    """The words of adjacent rows. The first searches go through all words, later ones use postings.

    Args:
        first: The first row.
        numbers: The word numbers of the rows with their marks, one row after the other.
        stored: How many numbers each row has.
        lengths: How many of them are words.
    """

    def __init__(
        self, first: int, numbers: NDArray[np.uint32], stored: NDArray[np.int64], lengths: NDArray[np.int32]
    ) -> None:
        self.first, self.last = first, first + len(stored)
        self._numbers, self._stored, self._lengths = numbers, stored, lengths
        self._scans = _SCANS if len(stored) > _FEW_ROWS else 0
        self._postings: Postings | None = None

    @property
    def nbytes(self) -> int:
        """The bytes that the postings take, about."""
        return len(self._numbers) * _PER_POSTING

    def occurrences(self, number: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """See `Corpus`."""
        found = self._postings
        if found is None and self._scans > 0:
            self._scans -= 1
            return self._scanned(number)
        if found is None:
            found = self._postings = postings(self._numbers, self._stored, self._lengths, self.first)
        return found.of(number)

    def _scanned(self, number: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        import numpy as np

        at = np.flatnonzero(self._numbers == np.uint32(number))
        ends = np.cumsum(self._stored)
        row = np.searchsorted(ends, at, "right")
        is_word = at - (ends - self._stored)[row] < self._lengths[row]
        rows, counts = np.unique(row[is_word], return_counts=True)
        return (rows + self.first).astype(np.int32), counts.astype(np.int32)


class _Column:
    """An array that grows at its end. Views of its first elements stay valid.

    Args:
        kind: The type of the elements.
        width: The length of an element; None for numbers.
    """

    def __init__(self, kind: Any, width: int | None = None) -> None:
        import numpy as np

        self._values: NDArray[Any] = np.zeros((0,) if width is None else (0, width), dtype=kind)
        self.size = 0

    @property
    def nbytes(self) -> int:
        """The bytes that the array takes."""
        return int(self._values.nbytes)

    def add(self, values: NDArray[Any]) -> None:
        """Add values at the end."""
        import numpy as np

        size = self.size + len(values)
        if size == self.size:  # the first values may be read-only, also for an assignment of nothing
            return
        if not self.size and values.dtype == self._values.dtype:
            self._values, self.size = values, size  # without a copy; the first growth makes one
            return
        if size > len(self._values):
            room = size if not self.size else max(size, self.size + self.size // _SLACK)
            grown = np.zeros((room, *self._values.shape[1:]), dtype=self._values.dtype)
            grown[: self.size] = self._values[: self.size]
            self._values = grown
        self._values[self.size : size] = values
        self.size = size

    def view(self) -> NDArray[Any]:
        """Return the values."""
        return self._values[: self.size]


class _Codes:
    """The different values of a column, each with an index."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._codes: dict[Any, int] = {}

    def of(self, value: Any) -> int:
        """Return the index of a value."""
        code = self._codes.get(value)
        if code is None:
            code = self._codes[value] = len(self.values)
            self.values.append(value)
        return code

    def of_all(self, values: Sequence[Any]) -> list[int]:
        """Return the index of each value."""
        for value in set(values):
            self.of(value)
        return list(map(self._codes.__getitem__, values))

    def known(self, value: Any) -> int | None:
        """Return the index of a value; None if it never occurred."""
        return self._codes.get(value)


class GrowingCorpus:
    """The messages of a user or of a session. Callers hold a lock while they change it; `view` returns what searches read.

    Example:
        >>> from langchain_agentmem.backends.contract import SessionChange, SessionVersion
        >>> from langchain_agentmem.backends.contract.changes import packed
        >>> from langchain_agentmem.search.growing import GrowingCorpus
        >>> from langchain_agentmem.text.marks import analyze_message
        >>> corpus = GrowingCorpus()
        >>> entries = packed([(0, "human", None, 0.0, analyze_message("Hello"), None, None)])
        >>> corpus.apply([SessionChange("session-1", SessionVersion(1, 1, None), 0, 1)], [], entries)
        >>> corpus.view(0.0).size
        1
    """

    def __init__(self) -> None:
        import numpy as np

        self.is_stale = False
        """True if vectors of another model are the most: the corpus must be read again."""
        self._sessions, self._roles, self._agents = _Codes(), _Codes(), _Codes()
        self._last: list[int] = []
        """The row of the newest message of each session; -1 for none."""
        self._expiries: dict[int, float] = {}
        self._alive: NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)
        self._previous: NDArray[np.int32] = np.zeros(0, dtype=np.int32)
        self._following: NDArray[np.int32] = np.zeros(0, dtype=np.int32)
        self._dead = 0
        self._changes = 0
        """The number of rows that were added or removed."""
        self._width = 0
        self._trust: dict[Any, tuple[float, int]] = {}
        self._views: dict[tuple[str | None, tuple[int, ...]], CorpusView] = {}
        self._begin_columns()

    def _begin_columns(self) -> None:
        import numpy as np

        self._columns = {
            "session": _Column(np.int32),
            "position": _Column(np.int64),
            "created_at": _Column(np.float64),
            "role": _Column(np.int32),
            "agent": _Column(np.int32),
            "lengths": _Column(np.int32),
            "asks": _Column(np.bool_),
            "timed": _Column(np.bool_),
            "speaker": _Column(np.uint32),
            "widths": _Column(np.int32),
            "starts": _Column(np.int64),
            "stored": _Column(np.int64),
        }
        self._numbers = _Column(np.uint32)
        self._vectors: _Column | None = None
        self._segments: tuple[_Segment, ...] = ()

    @property
    def size(self) -> int:
        """The number of rows, with those that are not alive."""
        return len(self._alive)

    @property
    def nbytes(self) -> int:
        """The bytes that the corpus takes, about."""
        columns = [*self._columns.values(), self._numbers, *([] if self._vectors is None else [self._vectors])]
        found = sum(one.nbytes for one in columns) + len(self._sessions.values) * _PER_SESSION
        for segment in self._segments:
            found += segment.nbytes
        return found + self._alive.nbytes + self._previous.nbytes + self._following.nbytes + self.size * _PER_ROW

    def apply(self, sessions: Sequence[SessionChange], gone: Sequence[str], entries: Entries) -> None:
        """Apply changes.

        Args:
            sessions: The sessions that changed, in the order of their entries.
            gone: The sessions that were deleted.
            entries: The messages. Each has words.
        """
        self._views = {}
        codes = [self._sessions.of(one.session_id) for one in sessions]
        self._last += [-1] * (len(self._sessions.values) - len(self._last))
        for code, one in zip(codes, sessions, strict=True):
            self._expiries.pop(code, None)
            if one.version.expires_at is not None:
                self._expiries[code] = one.version.expires_at
        limits = {code: one.first for code, one in zip(codes, sessions, strict=True)}
        for name in gone:
            former = self._sessions.known(name)
            if former is not None:
                limits[former] = 0
                self._expiries.pop(former, None)
        self._kill(limits)
        if entries.size:
            self._add(codes, [one.size for one in sessions], entries)
        if self._dead > max(_FEWEST_DEAD, self.size // _DEAD_SHARE):
            self._compact()
        self._check_widths()

    def _kill(self, limits: Mapping[int, int]) -> None:
        """Note that the messages of sessions are gone, from a position on."""
        import numpy as np

        if not self.size or not limits:
            return
        bounds = np.full(len(self._sessions.values), np.iinfo(np.int64).max)
        bounds[list(limits)] = list(limits.values())
        doomed = self._alive & (self._view("position") >= bounds[self._view("session")])
        count = int(np.count_nonzero(doomed))
        if not count:
            return
        self._alive = self._alive & ~doomed
        self._dead += count
        self._changes += count
        ended = set(self._view("session")[doomed].tolist())
        if any(limits[code] for code in ended):
            self._link_all()
        else:  # whole sessions are gone, so no other row has lost a neighbour
            for code in ended:
                self._last[code] = -1

    def _link_all(self) -> None:
        import numpy as np

        session = self._view("session")
        self._previous, self._following = links(session, self._view("position"), self._alive)
        ends = np.flatnonzero(self._alive & (self._following < 0))
        self._last = [-1] * len(self._sessions.values)
        for code, row in zip(session[ends].tolist(), ends.tolist(), strict=True):
            self._last[code] = row

    def _add(self, codes: Sequence[int], sizes: Sequence[int], entries: Entries) -> None:
        import numpy as np

        first, count = self.size, entries.size
        self._changes += count
        session = np.repeat(np.array(codes, dtype=np.int32), sizes)
        position = np.frombuffer(entries.positions, dtype="<i8")
        stored = np.frombuffer(entries.word_sizes, dtype="<i4").astype(np.int64) // 4
        numbers = np.frombuffer(entries.words, dtype="<u4")
        marked = read_marks(numbers, stored)
        widths = np.frombuffer(entries.vector_sizes, dtype="<i4")
        added = {
            "session": session,
            "position": position,
            "created_at": np.frombuffer(entries.times, dtype="<f8"),
            "role": np.array(self._roles.of_all(entries.roles), dtype=np.int32),
            "agent": np.array(self._agents.of_all(entries.agents), dtype=np.int32),
            **marked._asdict(),
            "widths": widths,
            "starts": np.cumsum(stored) - stored + self._numbers.size,
            "stored": stored,
        }
        for name, values in added.items():
            self._columns[name].add(values)
        self._numbers.add(numbers)
        self._add_vectors(widths, entries.vectors, count)
        self._add_segment(first, first + count)
        previous, following = (
            np.where(one < 0, one, one + np.int32(first))
            for one in links(session, position, np.ones(count, dtype=np.bool_))
        )
        self._alive = np.concatenate([self._alive, np.ones(count, dtype=np.bool_)])
        self._previous = np.concatenate([self._previous, previous])
        self._following = np.concatenate([self._following, following])
        for row in np.flatnonzero(previous < 0).tolist():
            last = self._last[session[row]]
            if last >= 0:
                self._previous[first + row], self._following[last] = last, first + row
        for row in np.flatnonzero(following < 0).tolist():
            self._last[session[row]] = first + row

    def _add_vectors(self, widths: NDArray[np.int32], data: bytes, count: int) -> None:
        import numpy as np

        given = widths[widths > 0]
        if not self._width and len(given):
            values, often = np.unique(given, return_counts=True)
            self._width = int(values[often.argmax()])
            self._vectors = _Column(np.float32, self._width // 4)
            if self.size:
                self._vectors.add(np.zeros((self.size, self._width // 4), dtype=np.float32))
        if self._vectors is None:
            return
        fits = widths == self._width
        if fits.all():
            self._vectors.add(np.frombuffer(data, dtype="<f4").reshape(count, -1))
            return
        vectors = np.zeros((count, self._width // 4), dtype=np.float32)
        ends = np.cumsum(widths)
        for row in np.flatnonzero(fits).tolist():
            vectors[row] = np.frombuffer(data[ends[row] - self._width : ends[row]], dtype="<f4")
        self._vectors.add(vectors)

    def _add_segment(self, first: int, last: int) -> None:
        """Add the postings of new rows. Segments of similar size become one, so that there are few."""
        kept = list(self._segments)
        while kept and kept[-1].last - kept[-1].first <= 2 * (last - first):
            first = kept.pop().first
        starts, stored = self._view("starts")[first:last], self._view("stored")[first:last]
        part = slice(int(starts[0]), int(starts[-1] + stored[-1]))
        self._segments = (
            *kept,
            _Segment(first, self._numbers.view()[part], stored, self._view("lengths")[first:last]),
        )

    def _compact(self) -> None:
        """Write the columns again, without the rows that are not alive."""
        import numpy as np

        rows = np.flatnonzero(self._alive)
        columns, numbers, vectors = self._columns, self._numbers, self._vectors
        self._begin_columns()
        stored = columns["stored"].view()[rows]
        for name, column in columns.items():
            if name != "starts":
                self._columns[name].add(column.view()[rows])
        self._columns["starts"].add(np.cumsum(stored) - stored)
        every = np.repeat(columns["starts"].view()[rows] - (np.cumsum(stored) - stored), stored)
        self._numbers.add(numbers.view()[every + np.arange(len(every))])
        if vectors is not None:
            self._vectors = _Column(np.float32, self._width // 4)
            self._vectors.add(vectors.view()[rows])
        self._alive, self._dead = np.ones(len(rows), dtype=np.bool_), 0
        if len(rows):
            self._add_segment(0, len(rows))
        self._link_all()

    def _check_widths(self) -> None:
        import numpy as np

        widths = self._view("widths")
        if self._width and (widths[self._alive] != self._width).any():
            known = widths[self._alive & (widths > 0)]
            values, often = np.unique(known, return_counts=True)
            self.is_stale = len(values) > 0 and int(values[often.argmax()]) != self._width

    def _view(self, name: str) -> NDArray[Any]:
        return self._columns[name].view()

    def view(self, now: float, agent: str | None = None) -> CorpusView:
        """Return the messages that have not expired, as searches read them.

        Args:
            now: The time in Unix seconds.
            agent: The agent whose messages are read. Default: None (all messages).
        """
        expired = tuple(code for code, expires_at in self._expiries.items() if expires_at <= now)
        found = self._views.get((agent, expired))
        if found is None:
            found = self._viewed(agent, expired)
            if len(self._views) >= _MOST_VIEWS:
                self._views = {}
            self._views[agent, expired] = found
        return found

    def _viewed(self, agent: str | None, expired: Sequence[int]) -> CorpusView:
        import numpy as np

        alive, previous, following = self._alive, self._previous, self._following
        if expired:
            living = np.ones(len(self._sessions.values), dtype=np.bool_)
            living[list(expired)] = False
            alive = alive & living[self._view("session")]
        if agent is not None:
            code = self._agents.known(agent)
            alive = alive & (self._view("agent") == (-1 if code is None else code))
            previous, following = links(self._view("session"), self._view("position"), alive)
        names = ("session", "position", "created_at", "role", "agent", "lengths", "asks", "timed", "speaker", "starts")
        columns = {name: self._view(name) for name in names}
        return CorpusView(self, columns, alive, previous, following, agent)

    # What views read

    def parts(self) -> tuple[tuple[_Segment, ...], NDArray[np.uint32], NDArray[np.float32] | None, NDArray[np.bool_]]:
        """Return the postings, the word numbers, the vectors, and the rows that have a vector."""
        widths = self._view("widths")
        has_vector = (widths == self._width) & (widths > 0)
        return self._segments, self._numbers.view(), None if self._vectors is None else self._vectors.view(), has_vector

    def trust_of(self, view: CorpusView, key: Any, measure: Callable[[Corpus], float]) -> float:
        """Return how far the vectors of a view can be trusted; see `Corpus.trust`."""
        known = self._trust.get(key)
        if known is None or self._changes - known[1] > _TRUST_CHANGE * view.living:
            known = self._trust[key] = measure(view), self._changes
        return known[0]


class CorpusView:
    """What a search reads of a corpus; see `Corpus`. It does not change.

    Args:
        corpus: The corpus.
        columns: Its columns.
        alive: The rows that are accepted.
        previous: The row before each row.
        following: The row after each row.
        agent: The agent whose messages are accepted; None for all.
    """

    session: NDArray[np.int32]
    position: NDArray[np.int64]
    created_at: NDArray[np.float64]
    role: NDArray[np.int32]
    agent: NDArray[np.int32]
    lengths: NDArray[np.int32]
    asks: NDArray[np.bool_]
    timed: NDArray[np.bool_]
    speaker: NDArray[np.uint32]
    owner: NDArray[np.int32] | None = None

    def __init__(
        self,
        corpus: GrowingCorpus,
        columns: Mapping[str, NDArray[Any]],
        alive: NDArray[np.bool_],
        previous: NDArray[np.int32],
        following: NDArray[np.int32],
        agent: str | None,
    ) -> None:
        import numpy as np

        self._corpus, self._agent = corpus, agent
        self.session, self.position, self.created_at = columns["session"], columns["position"], columns["created_at"]
        self.role, self.agent, self.lengths = columns["role"], columns["agent"], columns["lengths"]
        self.asks, self.timed, self.speaker = columns["asks"], columns["timed"], columns["speaker"]
        self._starts = columns["starts"]
        self.alive, self.previous, self.following = alive, previous, following
        self.size = len(alive)
        self.living = int(np.count_nonzero(alive))
        self.kept: dict[str, Any] = {}
        self.session_ids: Sequence[str] = corpus._sessions.values
        self.roles: Sequence[str] = corpus._roles.values
        self.agents: Sequence[str | None] = corpus._agents.values
        self._segments, self._numbers, vectors, self.has_vector = corpus.parts()
        self.vectors = vectors if vectors is not None and (self.has_vector & alive).any() else None

    def occurrences(self, number: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """See `Corpus`."""
        import numpy as np

        found = [segment.occurrences(number) for segment in self._segments]
        if len(found) == 1:
            return found[0]
        if not found:
            return np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int32)
        return np.concatenate([rows for rows, _ in found]), np.concatenate([counts for _, counts in found])

    def words(self, row: int) -> NDArray[np.uint32]:
        """See `Corpus`."""
        start = self._starts[row]
        return self._numbers[start : start + self.lengths[row]]

    def trust(self, measure: Callable[[Corpus], float]) -> float:
        """See `Corpus`."""
        return self._corpus.trust_of(self, self._agent, measure)
