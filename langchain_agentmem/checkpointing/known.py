"""Cache of stored values: the next version of a value is stored as a splice, and read again without its elements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cachetools import LRUCache

from langchain_agentmem.backends.contract import ThreadKey
from langchain_agentmem.checkpointing.histories import Histories
from langchain_agentmem.encoding.layout import Known, ValueKey, versions_of
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.programs.locks import forkable_lock

_MAX_VALUES = 2048
_MAX_BYTES = 64 * 1024 * 1024
_MAX_SECRETS = 2048
_ELEMENT_BYTES = 768
"""The size of an element without its content."""


class KnownValues:
    """The latest stored value of each channel, as far as this process knows.

    A missing or outdated entry does no harm. A backend stores a splice only if the value that it refers to is stored, and
    omits the elements of a value only if the stored value has the same digest.
    """

    def __init__(self) -> None:
        self.histories = Histories()
        """The recent checkpoints of threads with delta channels."""
        self._lock = forkable_lock()
        self._clear()

    def _clear(self) -> None:
        self._values: LRUCache[tuple[ThreadKey, str, str], Known] = LRUCache(_MAX_BYTES, _size)
        """The latest values by thread, namespace and channel."""
        self._namespaces: LRUCache[tuple[ThreadKey, str], str] = LRUCache(_MAX_VALUES)
        """The namespace of the latest value, by thread and channel."""
        self._channels: LRUCache[tuple[ThreadKey, str], tuple[str, ...]] = LRUCache(_MAX_VALUES)
        """The channels with a value, by thread and namespace."""
        self._secrets: LRUCache[ThreadKey, Typed] = LRUCache(_MAX_SECRETS)

    def recall(self, thread: ThreadKey, namespace: str, channel: str) -> Known | None:
        """Return the latest known value of a channel; else that of the channel in another namespace."""
        with self._lock:
            known = self._values.get((thread, namespace, channel))
            if known is None:
                other = self._namespaces.get((thread, channel))
                known = None if other is None else self._values.get((thread, other, channel))
            return known

    def versions(self, thread: ThreadKey, namespace: str) -> Mapping[ValueKey, Known]:
        """Return the known values of a namespace whose elements are known, and their earlier versions, by key."""
        with self._lock:
            channels = self._channels.get((thread, namespace), ())
            found = [self._values.get((thread, namespace, channel)) for channel in channels]
        versions: dict[ValueKey, Known] = {}
        for known in found:
            if known is not None and known.elements and known.is_whole:
                versions.update(versions_of(known))
        return versions

    def learn(self, thread: ThreadKey, known: Known) -> None:
        """Remember a stored value."""
        namespace, channel = known.key.namespace, known.key.channel
        with self._lock:
            try:
                self._values[thread, namespace, channel] = known
                self._namespaces[thread, channel] = namespace
                channels = self._channels.get((thread, namespace), ())
                if channel not in channels:
                    self._channels[thread, namespace] = (*channels, channel)
            except ValueError:  # it is larger than the cache
                self._values.pop((thread, namespace, channel), None)
            except KeyError:  # a signal handler's exception interrupted an earlier change of the cache
                self._clear()

    def learn_all(self, thread: ThreadKey, values: Iterable[Known]) -> None:
        """Remember several stored values of a thread."""
        for known in values:
            self.learn(thread, known)

    def secret(self, thread: ThreadKey) -> Typed | None:
        """Return the thread's secret as it is stored, or None if it is not known."""
        with self._lock:
            return self._secrets.get(thread)

    def learn_secret(self, thread: ThreadKey, stored: Typed) -> None:
        """Remember a thread's secret."""
        with self._lock:
            try:
                self._secrets[thread] = stored
            except KeyError:  # as in `learn`
                self._clear()

    def forget(self, thread: ThreadKey) -> None:
        """Forget the values, the secret and the recent checkpoints of a thread."""
        self.histories.forget(thread)
        with self._lock:
            try:
                self._secrets.pop(thread, None)
                for key in [key for key in self._values if key[0] == thread]:
                    self._values.pop(key, None)
            except KeyError:  # as in `learn`
                self._clear()


def _size(known: Known) -> int:
    """Return the size of a value for the cache's bound, in bytes: at least an equal share of the bound."""
    size = len(known.references) + known.size + _ELEMENT_BYTES * len(known.elements)
    return max(size, _MAX_BYTES // _MAX_VALUES)
