"""The head of an encrypted session: which messages it has.

The head is stored with the session, encrypted, and every change of the messages changes it in the same transaction. A reader
compares the messages that the database returned with the head, so a message can neither be removed, inserted, moved nor
replaced by an older version of itself without the key. The head holds ranges of positions, so its size does not depend on the
number of messages: a session of one agent without gaps has one range.

A backend deletes the messages with `ends_with_session` by itself, whenever the session ends. The head therefore marks their
positions, and accepts that the oldest of them are missing.
"""

from __future__ import annotations

import heapq
import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import ormsgpack

_GENERATION_BYTES = 12


class Positions:
    """An immutable set of positions, as ranges.

    Args:
        ranges: The starts and ends of the ranges, in order: `[0, 2, 5, 6]` are the positions 0, 1 and 5. Default: none.

    Example:
        >>> from langchain_agentmem.backends.encrypted.heads import Positions
        >>> some = Positions().plus([0, 1, 2, 5])
        >>> some.ranges, some.minus([1]).ranges, 5 in some, list(some.newest())
        ([0, 3, 5, 6], [0, 1, 2, 3, 5, 6], True, [5, 2, 1, 0])
    """

    __slots__ = ("ranges",)

    def __init__(self, ranges: Sequence[int] = ()) -> None:
        self.ranges = list(ranges)

    def __contains__(self, position: int) -> bool:
        return bisect_right(self.ranges, position) % 2 == 1

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def __len__(self) -> int:
        return sum(self.ranges[1::2]) - sum(self.ranges[::2])

    def newest(self) -> Iterator[int]:
        """Yield the positions in descending order."""
        for at in range(len(self.ranges) - 2, -1, -2):
            yield from range(self.ranges[at + 1] - 1, self.ranges[at] - 1, -1)

    def after(self, position: int) -> Iterator[int]:
        """Yield the positions that are greater than `position`, in ascending order."""
        first = bisect_right(self.ranges, position) // 2 * 2
        for at in range(first, len(self.ranges), 2):
            yield from range(max(self.ranges[at], position + 1), self.ranges[at + 1])

    def plus(self, added: Iterable[int]) -> Positions:
        """Return the positions together with others, which are greater and in order."""
        ranges = list(self.ranges)
        for position in added:
            if ranges and ranges[-1] == position:
                ranges[-1] = position + 1
            else:
                ranges += (position, position + 1)
        return Positions(ranges)

    def union(self, added: Iterable[int]) -> Positions:
        """Return the positions together with others, in any order."""
        first = sorted(added)
        before, after = (self.below(first[0]), list(self.after(first[0] - 1))) if first else (self, [])
        return before.plus(sorted({*after, *first}))

    def minus(self, removed: Iterable[int]) -> Positions:
        """Return the positions without others."""
        ranges = list(self.ranges)
        for position in removed:
            at = bisect_right(ranges, position)
            if at % 2 == 1:
                start, end = ranges[at - 1], ranges[at]
                left = [start, position] if position > start else []
                right = [position + 1, end] if position + 1 < end else []
                ranges[at - 1 : at + 1] = left + right
        return Positions(ranges)

    def below(self, bound: int) -> Positions:
        """Return the positions that are smaller than `bound`."""
        at = bisect_right(self.ranges, bound - 1)
        ranges = self.ranges[:at]
        return Positions([*ranges, bound] if at % 2 else ranges)


class Added(NamedTuple):
    """The entry of an added message in the head."""

    agent: str | None
    is_system: bool
    ends_with_session: bool


class Head(NamedTuple):
    """The head of a session."""

    generation: bytes
    """A random value, which is a part of the place of each message. A session that begins again has another."""
    next_position: int
    messages: Mapping[str | None, Positions] = MappingProxyType({})
    """The positions of the messages, by agent."""
    system: Positions = Positions()
    """The positions of system messages. Messages that were deleted may be among them."""
    ending: Positions = Positions()
    """The positions of messages with `ends_with_session`, likewise."""
    versions: Mapping[int, Sequence[int]] = MappingProxyType({})
    """The accepted versions of messages that were replaced. Of others, version 0 is accepted."""
    counter: int = 0
    """The last version."""
    summaries: Mapping[str, Sequence[bytes]] = MappingProxyType({})
    """The digests of the accepted running summaries, by agent (empty for the history). Summaries of other agents are not
    compared: their session was restored, or had no messages."""

    @classmethod
    def new(cls, next_position: int = 0) -> Head:
        """Return the head of a new session.

        Args:
            next_position: The position of the next message. Default: 0.
        """
        return cls(os.urandom(_GENERATION_BYTES), next_position)

    @classmethod
    def load(cls, data: bytes) -> Head:
        """Return the head in the result of `dump`."""
        generation, following, messages, system, ending, versions, counter, summaries = ormsgpack.unpackb(data)
        return cls(
            generation,
            following,
            {agent: Positions(_absolute(ranges)) for agent, ranges in messages},
            Positions(_absolute(system)),
            Positions(_absolute(ending)),
            {position: tuple(accepted) for position, accepted in versions},
            counter,
            {agent: tuple(digests) for agent, digests in summaries},
        )

    def dump(self) -> bytes:
        """Return the head as bytes."""
        kept = {position: accepted for position, accepted in self.versions.items() if self.has(position)}
        return ormsgpack.packb(
            (
                self.generation,
                self.next_position,
                [(agent, _differences(one.ranges)) for agent, one in self.messages.items() if one],
                _differences(self._stored(self.system).ranges),
                _differences(self._stored(self.ending).ranges),
                list(kept.items()),
                self.counter,
                [(agent, list(digests)) for agent, digests in self.summaries.items()],
            )
        )

    def has(self, position: int) -> bool:
        """Return true if the session has a message at a position."""
        return any(position in one for one in self.messages.values())

    def of(self, agent: str | None) -> list[Positions]:
        """Return the positions of an agent's messages, or those of each agent."""
        return list(self.messages.values()) if agent is None else [self.messages.get(agent, Positions())]

    def accepted(self, position: int) -> Sequence[int]:
        """Return the accepted versions of a message."""
        return self.versions.get(position, (0,))

    def plus(self, added: Sequence[Added]) -> Head:
        """Return the head after an addition of messages."""
        first = self.next_position
        groups: dict[str | None, list[int]] = {}
        for position, one in enumerate(added, first):
            groups.setdefault(one.agent, []).append(position)
        messages = dict(self.messages)
        for agent, positions in groups.items():
            messages[agent] = messages.get(agent, Positions()).plus(positions)
        return self._replace(
            next_position=first + len(added),
            messages=messages,
            system=self.system.plus(at for at, one in enumerate(added, first) if one.is_system),
            ending=self.ending.plus(at for at, one in enumerate(added, first) if one.ends_with_session),
        )

    def restored(self, added: Mapping[int, Added]) -> Head:
        """Return the head after messages were stored at their positions."""
        groups: dict[str | None, list[int]] = {}
        for position, one in added.items():
            groups.setdefault(one.agent, []).append(position)
        messages = dict(self.messages)
        for agent, positions in groups.items():
            messages[agent] = messages.get(agent, Positions()).union(positions)
        return self._replace(
            next_position=max(self.next_position, *(at + 1 for at in added)),
            messages=messages,
            system=self.system.union(at for at, one in added.items() if one.is_system),
            ending=self.ending.union(at for at, one in added.items() if one.ends_with_session),
        )

    def minus(self, removed: Sequence[int]) -> Head:
        """Return the head after messages were deleted."""
        return self._replace(
            messages={agent: one.minus(removed) for agent, one in self.messages.items()},
            system=self.system.minus(removed),
            ending=self.ending.minus(removed),
        )

    def without(self, agent: str | None) -> Head:
        """Return the head after the messages of an agent were deleted, or those of all agents."""
        if agent is None:  # the summaries are emptied
            return self._replace(messages={}, summaries=dict.fromkeys(self.summaries, ()))
        return self._replace(messages={one: positions for one, positions in self.messages.items() if one != agent})

    def with_summary(self, agent: str | None, digests: Sequence[bytes] | None) -> Head:
        """Return the head with other accepted summaries of an agent; None: they are not compared."""
        summaries = {one: known for one, known in self.summaries.items() if one != (agent or "")}
        return self._replace(summaries=summaries if digests is None else {**summaries, agent or "": tuple(digests)})

    def trimmed(self, agent: str | None, keep: int) -> Head:
        """Return the head after all but an agent's newest `keep` messages were deleted; see `Append.keep`."""
        own = self.messages.get(agent, Positions())
        over = len(own) - keep
        if over <= 0:
            return self
        newest_system = next((at for at in own.newest() if at in self.system), None)
        oldest = own.after(-1)
        doomed = [next(oldest) for _ in range(over)]
        if newest_system in doomed:  # the newest system message stays, and counts among those that are kept
            doomed.remove(newest_system)
            doomed.append(next(oldest))
        return self._replace(messages={**self.messages, agent: own.minus(doomed)})

    def newest(self, agent: str | None) -> Iterator[int]:
        """Yield the positions of an agent's messages, or of all messages, in descending order."""
        return _merged([one.newest() for one in self.of(agent)], largest=True)

    def after(self, position: int, agent: str | None) -> Iterator[int]:
        """Yield the positions that are greater than `position`, in ascending order."""
        return _merged([one.after(position) for one in self.of(agent)], largest=False)

    def _stored(self, positions: Positions) -> Positions:
        """Return positions without those below the first message of the session."""
        first = min((one.ranges[0] for one in self.messages.values() if one), default=self.next_position)
        return Positions(positions.minus(positions.below(first).newest()).ranges)


def _merged(sources: list[Iterator[int]], *, largest: bool) -> Iterator[int]:
    """Yield the values of sorted iterators in order."""
    if len(sources) == 1:
        yield from sources[0]
        return
    yield from heapq.merge(*sources, reverse=largest)


def _differences(ranges: Sequence[int]) -> list[int]:
    return [value - before for before, value in zip((0, *ranges), ranges, strict=False)]


def _absolute(differences: Sequence[Any]) -> list[int]:
    found, total = [], 0
    for one in differences:
        total += one
        found.append(total)
    return found
