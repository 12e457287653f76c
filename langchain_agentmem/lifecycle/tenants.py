"""The method of `AgentMemory` that returns the memory of another tenant on the same connections."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from langchain_agentmem.arguments.ids import check_tenant
from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.lifecycle.closing import CLOSING_SECONDS, Deadline, aclose_schedules, close_schedules
from langchain_agentmem.lifecycle.methods import LifecycleMethods
from langchain_agentmem.programs.snapshots import snapshot

if TYPE_CHECKING:
    from langchain_agentmem.knowledge.extraction.scheduler import Schedule


class Tenants:
    """The memories of other tenants that share the connections of a memory.

    Args:
        kind: The class of the memories.
        backend: The backend that they share, without encryption.
        options: The keyword arguments of each memory, without its tenant.
    """

    def __init__(self, kind: type[Any], backend: Backend, options: Mapping[str, Any]) -> None:
        self._kind = kind
        self._backend = backend
        self._options = options
        self._lock = threading.Lock()
        self._memories: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
        self._schedules: dict[str, weakref.WeakSet[Schedule]] = {}
        """The background extraction of each tenant, which may outlive the tenant's memory object."""

    def memory(self, root: TenantMethods, tenant: str) -> Any:
        """Return the memory of a tenant; the same object while it is in use.

        Args:
            root: The memory that owns the connections.
            tenant: The tenant.
        """
        with self._lock:
            found = self._memories.get(tenant)
            if found is None:
                found = self._kind(self._backend, tenant=tenant, **self._options)
                found._root = root
                found._stands_alone = False
                found._schedules = self._schedules.setdefault(tenant, found._schedules)
                self._memories[tenant] = found
            return found

    def schedules(self) -> list[Schedule]:
        """Return the background extraction of all tenants."""
        with self._lock:
            return [one for schedules in self._schedules.values() for one in snapshot(schedules)]


class TenantMethods(LifecycleMethods):
    """Return the memory of another tenant, and close the connections that tenants share."""

    _tenants: Tenants
    _root: TenantMethods | None = None
    """The memory that owns the connections; None for that memory itself."""

    def for_tenant(self, name: str) -> Self:
        """Return the memory of another tenant. It has the same settings, and shares the connections.

        Closing it finishes its background extraction, and leaves the connections open. Closing this memory closes the
        memories of all tenants. Only this memory cleans up in the background.

        Args:
            name: The tenant.

        Returns:
            The memory: the same object for the same tenant, as long as it is in use.

        Raises:
            InvalidInputError: The name cannot be a tenant.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     memory.for_tenant("shop").history("trip").add_user_message("Hello")
            ...     memory.history("trip").count(), memory.for_tenant("shop").history("trip").count()
            (0, 1)
        """
        tenant = check_tenant(name)
        if tenant == self.tenant:
            return self
        root: Any = self if self._root is None else self._root
        found: Self = root if tenant == root.tenant else root._tenants.memory(root, tenant)
        return found

    def close(self, *, time_limit: timedelta | float | None = CLOSING_SECONDS) -> None:
        """Finish pending background extraction, stop the cleanup, and close every connection. A second call has no effect.

        Args:
            time_limit: The time for extraction, as a `timedelta` or in seconds; None for no limit. Messages that were not
                read by then are read in the next run of their thread, and a warning is logged. Default: 30.
        """
        deadline = Deadline(time_limit)
        if self._root is not None:
            close_schedules(snapshot(self._schedules), deadline)
            return
        try:
            close_schedules(self._tenants.schedules(), deadline)
        finally:
            super().close(time_limit=_positive(deadline.left()))

    async def aclose(self, *, time_limit: timedelta | float | None = CLOSING_SECONDS) -> None:
        """Same as `close`, but without blocking the event loop."""
        deadline = Deadline(time_limit)
        if self._root is not None:
            await aclose_schedules(snapshot(self._schedules), deadline)
            return
        try:
            await aclose_schedules(self._tenants.schedules(), deadline)
        finally:
            await super().aclose(time_limit=_positive(deadline.left()))


def _positive(left: float | None) -> float | None:
    return None if left is None else max(left, 0.001)
