"""How `RunnableWithMessageHistory` reads and writes a history, seen from the history.

Without `history_messages_key` it reads the history before a turn, and once more after it. It cuts as many messages off the
turn's input as the second read returns, and stores the rest. If other turns were stored in between, that cuts off the turn's
question. So the second read must return what the first one of the same turn returned, whatever object the chain's factory
returns: one for each turn, or one for many turns at the same time.

Nothing that the chain passes on names the turn. But the chain's own methods are on the call stack of both reads. The second
one has the turn's input at hand, which begins with the messages that the first read returned.
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

_BEFORE = ("_enter_history", "_aenter_history")
_AFTER = ("_exit_history", "_aexit_history")

_REMEMBERED = 10_000
"""How many windows of turns are remembered that were not stored: they failed, or go on."""


class ChainRead(NamedTuple):
    """A read of a history by a chain."""

    input: Sequence[BaseMessage] | None
    """The turn's input, which begins with what was read before; None for the read before the turn."""
    cuts: bool = True
    """Whether the chain reads once more after the turn, and cuts off what it finds."""


def chain_read() -> ChainRead | None:
    """Return which read of a chain is going on; None if no chain reads."""
    before, after = _frame_of(_BEFORE), _frame_of(_AFTER)
    if before is not None:
        return ChainRead(None, cuts=not getattr(before.f_locals.get("self"), "history_messages_key", None))
    given = None if after is None else after.f_locals.get("input_messages")
    return ChainRead(given) if isinstance(given, list) else None


def chain_stores() -> bool:
    """Return whether a chain stores a turn. It only logs what is raised then."""
    return _frame_of(_AFTER) is not None


def answers_stored() -> int | None:
    """Return how many messages of the turn that a chain stores are its answer, at the end; None if no chain stores."""
    frame = _frame_of(_AFTER)
    if frame is None:
        return None
    answers = frame.f_locals.get("output_messages")
    return len(answers) if isinstance(answers, list) else 0


class Windows:
    """The windows that chains were given and whose turns are not stored yet. Any number of threads may use it.

    Example:
        >>> from langchain_core.messages import HumanMessage
        >>> from langchain_agentmem.history.chains import Windows
        >>> windows = Windows()
        >>> windows.add([HumanMessage("hi")])
        >>> windows.take([HumanMessage("hi"), HumanMessage("there")])
        1
    """

    def __init__(self) -> None:
        self._given: Counter[str] = Counter()
        self._lock = forkable_lock()

    def add(self, window: Sequence[BaseMessage]) -> None:
        """Note a window, of a turn that begins. Only a digest is kept: a turn that fails is never stored."""
        *_, digest = _digests(window)
        with self._lock:
            self._given[digest] += 1
            if len(self._given) > _REMEMBERED:
                del self._given[next(iter(self._given))]

    def take(self, messages: Sequence[BaseMessage]) -> int | None:
        """Return how many of a turn's input are the longest window that it begins with, and forget that window.

        None if it begins with no window that was noted.
        """
        digests = list(_digests(messages))
        with self._lock:
            for count in reversed(range(len(digests))):
                if self._given[digests[count]]:
                    self._given[digests[count]] -= 1
                    self._given += Counter()  # those that are left
                    return count
        return None


def _digests(messages: Sequence[BaseMessage]) -> Iterator[str]:
    """The digests of the first none, one, two … messages, up to one that is none of LangChain's messages.

    They cover types and text only: chat models change images, files and blocks of one key in what they trace, and that is
    the input which a chain hands back.
    """
    digest = blake2b(digest_size=16)
    yield digest.hexdigest()
    for message in takewhile(lambda one: isinstance(one, BaseMessage), messages):
        said = f"{message.type}\x1f{_texts_of(message.content)!r}\x1e"
        digest.update(said.encode(errors="surrogatepass"))
        yield digest.hexdigest()


def _texts_of(content: Any) -> list[str]:
    blocks = content if isinstance(content, list) else [content]
    texts = [block.get("text") if isinstance(block, dict) else block for block in blocks]
    return [text for text in texts if isinstance(text, str)]


def _frame_of(names: Sequence[str]) -> FrameType | None:
    """The frame of one of the chain's methods on the call stack."""
    chain: Any = getattr(sys.modules.get("langchain_core.runnables.history"), "RunnableWithMessageHistory", None)
    codes = {method.__code__ for name in names if (method := getattr(chain, name, None)) is not None}
    frame = sys._getframe(1) if codes else None
    while frame is not None and frame.f_code not in codes:
        frame = frame.f_back
    return frame
