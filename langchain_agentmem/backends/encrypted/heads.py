"""The head of an encrypted session: which messages it has.

The head is stored with the session, encrypted, and every change of the messages changes it in the same transaction. A reader
compares the messages that the database returned with the head, so a message can neither be removed, inserted, moved nor
replaced by an older version of itself without the key. The head holds ranges of positions, so its size does not depend on the
number of messages: a session of one agent without gaps has one range.

A backend deletes the messages with `ends_with_session` by itself, whenever the session ends. The head therefore marks their
positions, and accepts that the oldest of them are missing.

The head also contains digests of the title and of the metadata. Each change of them replaces the head in the same statement.
A title that was taken from a message is deleted together with the message. If the backend may do that by itself, or in a
later step, the head accepts the session with the title and without it.
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


Title = tuple[bytes, int]
"""The digest of a title, and the position of the message that it was taken from; -1 for a title that the user set."""

NO_TITLE: Title = (b"", -1)
_MOST_TITLES = 4
"""If more titles were possible, the title would not be compared."""


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
    """The digests of the accepted running summaries, by agent (empty for the history); an empty digest stands for no summary.
    Summaries of other agents are not compared: their session was stored by an earlier version, or had no messages."""
    titles: Sequence[Title] = (NO_TITLE,)
    """The accepted titles; none if the title is not compared."""
    metadata: Sequence[bytes] = (b"",)
    """The digests of the accepted metadata, empty for a session without metadata; none if they are not compared."""

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
        generation, following, messages, system, ending, versions, counter, summaries, titles, metadata = (
            ormsgpack.unpackb(data)
        )
        return cls(
            generation,
            following,
            {agent: Positions(_absolute(ranges)) for agent, ranges in messages},
            Positions(_absolute(system)),
            Positions(_absolute(ending)),
            {position: tuple(accepted) for position, accepted in versions},
            counter,
            {agent: tuple(digests) for agent, digests in summaries},
            tuple((digest, position) for digest, position in titles),
            tuple(metadata),
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
                list(self.titles),
                list(self.metadata),
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
        ).without_summaries()

    def without(self, agent: str | None, *, surely: bool) -> Head:
        """Return the head after the messages of an agent were deleted, or those of all agents.

        Args:
            agent: The agent; None for all.
            surely: If false, the deletion may be interrupted, so that the summaries stay.
        """
        if agent is None and surely:  # the summaries are emptied
            return self._replace(messages={}, summaries=dict.fromkeys(self.summaries, (b"",)))
        messages = {one: positions for one, positions in self.messages.items() if agent not in (None, one)}
        return self._replace(messages=messages).without_summaries()

    def without_summaries(self) -> Head:
        """Return the head after messages changed, and with them the summaries that tell them were emptied."""
        return self._replace(summaries={one: tuple({*known, b""}) for one, known in self.summaries.items()})

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

    @property
    def is_empty(self) -> bool:
        """True if the session has no messages, so that its title may have been deleted with the last one."""
        return not any(self.messages.values())

    def may_be_gone(self, title: Title) -> bool:
        """Return true if a title may have been deleted together with messages that end with the session."""
        return title[1] in self.ending or all(
            at in self.ending for one in self.messages.values() for at in one.newest()
        )

    def with_gone_title(self) -> Head:
        """Return the head that also accepts no title, if the backend may have deleted the title with messages."""
        if self.is_empty or not any(map(self.may_be_gone, self.titles)):
            return self
        return self._replace(titles=tuple(dict.fromkeys([*self.titles, NO_TITLE])))

    def titled(self, suggested: Sequence[Title]) -> Head:
        """Return the head after an addition of messages; a session without title has the first suggested one.

        Args:
            suggested: The titles that the added messages suggest.
        """
        found = next((one for one in suggested if self.has(one[1])), None)
        if found is None or NO_TITLE not in self.titles:
            return self
        titles = tuple(dict.fromkeys([*(one for one in self.titles if one != NO_TITLE), found]))
        return self._replace(titles=titles if len(titles) <= _MOST_TITLES else ())

    def settled(self, *, surely: bool) -> Head:
        """Return the head after messages were deleted, and with them the titles that were taken from them.

        Args:
            surely: If false, the deletion may be interrupted, so that the title stays.
        """
        kept = [
            one for one in self.titles if one == NO_TITLE or (not self.is_empty and (one[1] < 0 or self.has(one[1])))
        ]
        if len(kept) == len(self.titles):
            return self
        return self._replace(titles=tuple(dict.fromkeys([*(kept if surely else self.titles), NO_TITLE])))

    def retitled(self, position: int, title: bytes | None, *, surely: bool) -> Head:
        """Return the head after a message was replaced, which suggests a title, or none.

        Args:
            position: The position of the message.
            title: The digest of the title that it suggests.
            surely: If false, the message may not be replaced yet.
        """
        new = NO_TITLE if title is None else (title, position)
        titles = tuple(
            dict.fromkeys(
                new if one[1] == position or (one == NO_TITLE and title is not None) else one for one in self.titles
            )
        )
        return self._replace(titles=titles if surely else tuple(dict.fromkeys([*self.titles, *titles])))

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
