"""How `RunnableWithMessageHistory` reads and writes a history.

A chain without `history_messages_key` reads the history before a turn and again after it. From the turn's input it removes
as many messages as the second read returns, and stores the rest. If other turns were stored between the reads, it would also
remove the turn's question. So the second read must return the same messages as the first read of the same turn. The chain's
factory may return one history object for each turn, or one object for many concurrent turns.

The chain passes nothing to the history that identifies the turn. But the chain's own methods are on the call stack of both
reads, and the second one has the turn's input in a local variable. The input begins with the messages of the first read.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import takewhile
from types import FrameType
from typing import Any, NamedTuple

from langchain_core.messages import BaseMessage

from langchain_agentmem.programs.locks import forkable_lock

_READS_BEFORE = ("_enter_history", "_aenter_history")
_READS_AFTER = ("_exit_history", "_aexit_history")

_OPEN_TURNS = 10_000
"""The maximum number of turns that are remembered although they were not stored: they failed, or are still running."""


class ChainRead(NamedTuple):
    """A read of a history by a chain."""

    input: Sequence[BaseMessage] | None
    """The turn's input, which begins with the messages of the first read; None in the first read."""
    is_repeated: bool = True
    """If true, the chain reads the history again after the turn and removes these messages from the turn's input."""


def chain_read() -> ChainRead | None:
    """Return the read of a chain that calls this function; None if no chain is reading."""
    before, after = _frame_of(_READS_BEFORE), _frame_of(_READS_AFTER)
    if before is not None:
        chain = before.f_locals.get("self")
        return ChainRead(None, is_repeated=not getattr(chain, "history_messages_key", None))
    given = None if after is None else after.f_locals.get("input_messages")
    return ChainRead(given) if isinstance(given, list) else None


def is_chain_storing() -> bool:
    """Return true if a chain is storing a turn. A chain only logs the errors that storing raises."""
    return _frame_of(_READS_AFTER) is not None


def answers_stored() -> int | None:
    """Return the number of answers at the end of the turn that a chain stores; None if no chain is storing."""
    frame = _frame_of(_READS_AFTER)
    if frame is None:
        return None
    answers = frame.f_locals.get("output_messages")
    return len(answers) if isinstance(answers, list) else 0


class TurnWindows:
    """Repeats the window of a turn's first read in its second read.

    Args:
        one_turn: If true, the history object serves a single turn: every read returns the same window until `end`.
    """

    def __init__(self, *, one_turn: bool) -> None:
        self._one_turn = one_turn
        self._window: list[BaseMessage] | None = None
        self._open = OpenWindows()

    def repeated(self, read: ChainRead | None) -> list[BaseMessage] | None:
        """Return the window that a read must repeat; None if it must read the history.

        Args:
            read: The chain's read; None if no chain is reading.
        """
        if read is not None and read.input is not None:
            count = self._open.take(read.input)
            if count is not None:
                return list(read.input[:count])
        if self._window is not None and (read is None or read.input is not None):
            return list(self._window)
        return None

    def begin(self, read: ChainRead | None, window: list[BaseMessage]) -> None:
        """Remember the window that a read returns."""
        if self._one_turn:
            self._window = list(window)
        if read is not None and read.input is None and read.is_repeated:
            self._open.add(window)

    def end(self) -> None:
        """Forget the window of the single turn, because messages are added or deleted."""
        self._window = None


class OpenWindows:
    """The windows of turns that are not stored yet. Thread-safe.

    Example:
        >>> from langchain_core.messages import HumanMessage
        >>> from langchain_agentmem.history.chains import OpenWindows
        >>> windows = OpenWindows()
        >>> windows.add([HumanMessage("hi")])
        >>> windows.take([HumanMessage("hi"), HumanMessage("there")])
        1
    """

    def __init__(self) -> None:
        self._digests: Counter[str] = Counter()
        self._lock = forkable_lock()

    def add(self, window: Sequence[BaseMessage]) -> None:
        """Add the window of a turn that begins. Only its digest is kept, because a turn that fails is never stored."""
        *_, digest = _digests(window)
        with self._lock:
            self._digests[digest] += 1
            if len(self._digests) > _OPEN_TURNS:
                del self._digests[next(iter(self._digests))]

    def take(self, messages: Sequence[BaseMessage]) -> int | None:
        """Remove the longest window that a turn's input begins with; return its number of messages, or None."""
        digests = list(_digests(messages))
        with self._lock:
            for count in reversed(range(len(digests))):
                if self._digests[digests[count]]:
                    self._digests[digests[count]] -= 1
                    self._digests += Counter()  # drops entries with a count of zero
                    return count
        return None


def _digests(messages: Sequence[BaseMessage]) -> Iterator[str]:
    """Yield the digests of the first 0, 1, 2, … messages, up to the first value that is not a message.

    They cover types and texts only. Chat models change images, files and blocks with one key in the input that they trace,
    and a chain returns that input.
    """
    digest = blake2b(digest_size=16)
    yield digest.hexdigest()
    for message in takewhile(lambda value: isinstance(value, BaseMessage), messages):
        content = f"{message.type}\x1f{_texts_of(message.content)!r}\x1e"
        digest.update(content.encode(errors="surrogatepass"))
        yield digest.hexdigest()


def _texts_of(content: Any) -> list[str]:
    blocks = content if isinstance(content, list) else [content]
    texts = [block.get("text") if isinstance(block, dict) else block for block in blocks]
    return [text for text in texts if isinstance(text, str)]


def _frame_of(names: Sequence[str]) -> FrameType | None:
    """Return the frame of one of the chain's methods on the call stack; None if there is none."""
    chain: Any = getattr(sys.modules.get("langchain_core.runnables.history"), "RunnableWithMessageHistory", None)
    codes = {method.__code__ for name in names if (method := getattr(chain, name, None)) is not None}
    frame = sys._getframe(1) if codes else None
    while frame is not None and frame.f_code not in codes:
        frame = frame.f_back
    return frame
