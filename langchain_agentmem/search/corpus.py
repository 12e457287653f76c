"""The texts of one search scope as arrays: what `langchain_agentmem.search.ranker` reads.

A row is a text: a message of a user, or an item of a namespace. The rows of a corpus are in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from langchain_agentmem.text.marks import read_marks

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Value = TypeVar("Value")

_FEW = 16
"""If one row of this number is alive, or fewer, it is faster to read only these rows of the vectors."""

_FLOAT_BYTES = 4
_WORD_BYTES = 4

_MANY_VALUES = 2**24
"""From this number of values on, a product is faster with several threads. On a busy machine, these wait for each other."""


class Text(NamedTuple):
    """A text to search: a message, or an item."""

    session_id: str
    """The session of a message, or the key of an item."""
    position: int
    """The position of a message in its session; 0 for an item."""
    words: bytes
    """The result of `analyze_message` or `analyze`."""
    created_at: float
    """Unix seconds."""
    role: str = ""
    agent: str | None = None
    vectors: Sequence[bytes] = ()
    """The vectors of the text, as little-endian float32 of length 1. A message has one at most."""


class Corpus(Protocol):
    """The texts of one search scope. Each array has one element for each row, unless it says otherwise.

    A reader never changes the arrays, and reads each attribute once: another thread may replace it.
    """

    size: int
    """The number of rows, with those that are not alive."""
    alive: NDArray[np.bool_]
    """True for rows that exist and that the scope accepts: its session, its agent, and not expired."""
    session: NDArray[np.int32]
    """The index of the session in `session_ids`."""
    session_ids: Sequence[str]
    position: NDArray[np.int64]
    created_at: NDArray[np.float64]
    """Unix seconds."""
    role: NDArray[np.int32]
    """The index of the role in `roles`."""
    roles: Sequence[str]
    """The values of `MessageRow.role`."""
    agent: NDArray[np.int32]
    """The index of the agent in `agents`."""
    agents: Sequence[str | None]
    previous: NDArray[np.int32]
    """The row of the message before, in the same session and among the rows that are alive; -1 for none."""
    following: NDArray[np.int32]
    """The row of the message after, in the same session and among the rows that are alive; -1 for none."""
    lengths: NDArray[np.int32]
    """The number of words, without marks."""
    asks: NDArray[np.bool_]
    timed: NDArray[np.bool_]
    speaker: NDArray[np.uint32]
    """The word number of the name that a text begins with; 0 for none."""
    vectors: NDArray[np.float32] | None
    """One vector in each row, of length 1; None if no text has a vector."""
    owner: NDArray[np.int32] | None
    """The row of the text of each vector, if texts may have several; None: `vectors` has one row for each text."""
    has_vector: NDArray[np.bool_]
    kept: dict[str, Any]
    """Results that callers computed from the corpus, by name."""

    def occurrences(self, number: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the rows that contain a word, in ascending order, and how often. Rows may be not alive."""

    def words(self, row: int) -> NDArray[np.uint32]:
        """Return the word numbers of a row in the order of the text, without marks."""

    def trust(self, measure: Callable[[Corpus], float]) -> float:
        """Return how far the vectors can be trusted. The corpus keeps the result until its size changed by a tenth.

        Args:
            measure: Measures the trust of a corpus.
        """


class Postings(NamedTuple):
    """Where each word of some texts occurs."""

    words: NDArray[np.uint32]
    """The numbers of the words, ascending, each once."""
    ends: NDArray[np.int64]
    """For each word, the end of its occurrences in the other two arrays."""
    rows: NDArray[np.int32]
    """The texts that contain a word, ascending."""
    counts: NDArray[np.int32]
    """How often the word is in the text."""

    def of(self, number: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the rows that contain a word, and how often."""
        import numpy as np

        at = int(np.searchsorted(self.words, np.uint32(number)))
        if at == len(self.words) or self.words[at] != number:
            return self.rows[:0], self.counts[:0]
        part = slice(self.ends[at - 1] if at else 0, self.ends[at])
        return self.rows[part], self.counts[part]


class BuiltCorpus:
    """A corpus that is built once from all its texts, and never changes.

    Args:
        texts: The texts, in any order. Positions of a session differ from each other.
        neighbours: If true, texts of a session are neighbours of each other. Default: True.
    """

    def __init__(self, texts: Iterable[Text], *, neighbours: bool = True) -> None:
        import numpy as np

        rows = list(texts)
        self.size = len(rows)
        self.alive = np.ones(self.size, dtype=np.bool_)
        self.session_ids: Sequence[str]
        self.roles: Sequence[str]
        self.agents: Sequence[str | None]
        self.session, self.session_ids = _coded([one.session_id for one in rows])
        self.position = np.array([one.position for one in rows], dtype=np.int64)
        self.created_at = np.array([one.created_at for one in rows], dtype=np.float64)
        self.role, self.roles = _coded([one.role for one in rows])
        self.agent, self.agents = _coded([one.agent for one in rows])
        self.previous, self.following = links(self.session, self.position, self.alive if neighbours else ~self.alive)
        stored = np.array([len(one.words) // _WORD_BYTES for one in rows], dtype=np.int64)
        numbers = np.frombuffer(b"".join(one.words for one in rows), dtype="<u4")
        self.lengths, self.asks, self.timed, self.speaker = read_marks(numbers, stored)
        self._numbers, self._starts = numbers, np.cumsum(stored) - stored
        self._postings = postings(numbers, stored, self.lengths)
        self.vectors, self.owner, self.has_vector = _vectors(rows)
        self._trust: float | None = None
        self.kept: dict[str, Any] = {}

    def occurrences(self, number: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """See `Corpus`."""
        return self._postings.of(number)

    def words(self, row: int) -> NDArray[np.uint32]:
        """See `Corpus`."""
        start = self._starts[row]
        return self._numbers[start : start + self.lengths[row]]

    def trust(self, measure: Callable[[Corpus], float]) -> float:
        """See `Corpus`."""
        if self._trust is None:
            self._trust = measure(self)
        return self._trust


def products(corpus: Corpus, vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the product of the vector of each text with a vector, the greatest one if a text has several.

    Args:
        corpus: The corpus. If it has vectors, but few of its rows are alive, the products of other rows are not computed.
        vector: The vector.
    """
    import numpy as np

    assert corpus.vectors is not None
    if corpus.owner is None:
        rows = np.flatnonzero(corpus.alive)
        if len(rows) * _FEW > corpus.size:
            return _product(corpus.vectors, vector)
        found = np.zeros(corpus.size, dtype=np.float32)
        found[rows] = _product(corpus.vectors[rows], vector)
        return found
    best = np.full(corpus.size, -np.inf, dtype=np.float32)
    np.maximum.at(best, corpus.owner, _product(corpus.vectors, vector))
    return best


def _product(vectors: NDArray[np.float32], vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the product of each of some vectors with a vector, without threads of BLAS unless there are many vectors."""
    import numpy as np

    if vectors.size < _MANY_VALUES:
        few: NDArray[np.float32] = np.einsum("ij,j->i", vectors, vector)
        return few
    many: NDArray[np.float32] = vectors @ vector
    return many


def links(
    session: NDArray[np.int32], position: NDArray[np.int64], alive: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the rows of the messages before and after each message of the same session; -1 for none.

    Args:
        session: The session of each row.
        position: The position of each row in its session.
        alive: The rows to link. Other rows have no neighbours.
    """
    import numpy as np

    previous, following = (np.full(len(session), -1, dtype=np.int32) for _ in range(2))
    order = np.lexsort((position, session))
    order = order[alive[order]]
    one, other = order[:-1], order[1:]
    same = session[one] == session[other]
    following[one[same]], previous[other[same]] = other[same], one[same]
    return previous, following


def postings(
    numbers: NDArray[np.uint32], stored: NDArray[np.int64], lengths: NDArray[np.int32], first: int = 0
) -> Postings:
    """Return where each word of some texts occurs.

    Args:
        numbers: The word numbers of all texts with their marks, one text after the other.
        stored: How many numbers each text has.
        lengths: How many of them are words; marks follow these.
        first: The row of the first text. Default: 0.
    """
    import numpy as np

    starts = np.cumsum(stored) - stored
    row = np.repeat(np.arange(len(stored), dtype=np.uint64), stored)
    is_word = np.arange(len(numbers)) - np.repeat(starts, stored) < np.repeat(lengths, stored)
    keys, counts = np.unique((numbers[is_word].astype(np.uint64) << np.uint64(32)) | row[is_word], return_counts=True)
    words = (keys >> np.uint64(32)).astype(np.uint32)
    rows = (keys & np.uint64(0xFFFFFFFF)).astype(np.int32) + np.int32(first)
    changes = np.flatnonzero(words[1:] != words[:-1]) + 1
    ends = np.append(changes, len(words)) if len(words) else changes
    return Postings(words[ends - 1], ends.astype(np.int64), rows, counts.astype(np.int32))


def _coded(values: Sequence[Value]) -> tuple[NDArray[np.int32], list[Value]]:
    """Return the index of each value among the different values, and these."""
    import numpy as np

    codes: dict[Value, int] = {}
    coded = np.array([codes.setdefault(value, len(codes)) for value in values], dtype=np.int32)
    return coded, list(codes)


def _vectors(
    rows: Sequence[Text],
) -> tuple[NDArray[np.float32] | None, NDArray[np.int32] | None, NDArray[np.bool_]]:
    """Return the vectors of texts, the row of each, and whether a text has one.

    Vectors of other dimensions than most, which another model made, are left out.
    """
    import numpy as np

    sizes = [len(vector) for one in rows for vector in one.vectors]
    has_vector = np.zeros(len(rows), dtype=np.bool_)
    if not sizes:
        return None, None, has_vector
    values, often = np.unique(sizes, return_counts=True)
    width = int(values[often.argmax()])
    pairs = [(at, vector) for at, one in enumerate(rows) for vector in one.vectors if len(vector) == width]
    owner = np.array([at for at, _ in pairs], dtype=np.int32)
    has_vector[owner] = True
    found = np.frombuffer(b"".join(vector for _, vector in pairs), dtype="<f4").reshape(len(pairs), -1)
    if len(owner) > has_vector.sum():
        return found, owner, has_vector
    if len(owner) == len(rows):
        return found, None, has_vector
    vectors = np.zeros((len(rows), width // _FLOAT_BYTES), dtype=np.float32)
    vectors[owner] = found
    return vectors, None, has_vector
