"""The base class of backends: its tables, and transactions on them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from langchain_agentmem.backends.contract.cache import CacheTable
from langchain_agentmem.backends.contract.checkpoints import CheckpointTable
from langchain_agentmem.backends.contract.items import ItemTable
from langchain_agentmem.backends.contract.messages import MessageLog
from langchain_agentmem.backends.contract.openings import OpeningTable
from langchain_agentmem.backends.contract.records import RecordTable
from langchain_agentmem.backends.contract.stale import StaleRows
from langchain_agentmem.backends.contract.statistics import StatisticsTable
from langchain_agentmem.backends.contract.transfer import TransferTable
from langchain_agentmem.backends.contract.variables import VariableTable
from langchain_agentmem.backends.rewriting import CellChange, Rewritten
from langchain_agentmem.backends.traces import TracesPage
from langchain_agentmem.errors import ConfigurationError, InvalidTypeError
from langchain_agentmem.programs import Program

T = TypeVar("T")


class Backend(ABC):
    """A database that stores the memory."""

    name: str
    language: str = "english"
    """The language of the texts, for full-text search."""
    encrypts: bool = False
    """True if the backend encrypts everything that it stores."""
    messages: MessageLog
    items: ItemTable
    checkpoints: CheckpointTable
    records: RecordTable
    variables: VariableTable
    openings: OpeningTable
    cache: CacheTable
    stale: StaleRows
    statistics: StatisticsTable
    transfer: TransferTable

    checks: Mapping[Any, Callable[[], Program[None]]] = MappingProxyType({})
    """The checks that `Read` and `Write` run before the first operation, each until it has succeeded once."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Refuse to be pickled.

        Raises:
            InvalidTypeError: Always.
        """
        msg = (
            "A memory cannot be pickled or deep-copied, nor an object that uses it: it holds an open database. In another "
            "process, create the memory again, for example with AgentMemory.from_url, and the object from it."
        )
        raise InvalidTypeError(msg)

    def check_before_use(self, name: Any, check: Callable[[], Program[None]]) -> None:
        """Run a check before the first operation.

        Args:
            name: Identifies the check: the second one of a name is ignored.
            check: Returns a storage program that only reads, and raises an error to refuse the use.
        """
        self.checks = {name: check, **self.checks}

    def never_create(self) -> None:  # noqa: B027 (a backend in the process has nothing to create)
        """Let operations refuse a database without a memory, and create nothing in it. Call it before the first operation.

        They raise `NoMemoryError`, and warn of data of other packages.
        """

    def index_fields(self, fields: Sequence[str]) -> None:  # noqa: B027 (most backends have nothing to do)
        """Create an index for fields of items' values, which filters use. Call it before the first operation.

        Args:
            fields: The names of top-level fields.
        """

    def use_vectors(self, config: Mapping[str, Any]) -> None:  # noqa: B027 (most backends have nothing to choose)
        """Set the index of the vectors, before the first is stored.

        Args:
            config: LangGraph's `ann_index_config`.
        """

    @abstractmethod
    def read(self, program: Program[T]) -> T:
        """Run a storage program on one consistent view of the database."""

    @abstractmethod
    async def aread(self, program: Program[T]) -> T:
        """Same as `read`, but without blocking the event loop."""

    @abstractmethod
    def write(self, program: Program[T]) -> T:
        """Run a storage program as one transaction: all of its changes are stored, or none."""

    @abstractmethod
    async def awrite(self, program: Program[T]) -> T:
        """Same as `write`, but without blocking the event loop."""

    def purge(self, tenant: str, user_id: str, root: str, now: float) -> Program[None]:  # noqa: ARG002
        """Remove what the backend itself keeps about a user after everything of the user was deleted.

        Such data are the entries of indexes, and deleted text in the files of the database. Data that was stored after `now`
        stays. By default, the program does nothing.

        Args:
            tenant: The tenant.
            user_id: The user.
            root: The first label of the namespaces with the user's items.
            now: The time at which the deletion began.
        """
        yield from ()

    @abstractmethod
    def traces(self, tenant: str, user_id: str, root: str, after: Any) -> Program[TracesPage]:
        """Search a part of the database, of all tenants, for a user's ID in each form in which it may be stored.

        The search is exact in values that the backend compares, and may take a part of a text for the ID in others; see
        `langchain_agentmem.backends.traces`. Expired data that was not deleted yet is searched too.

        Args:
            tenant: The tenant whose digests of the ID are searched for.
            user_id: The user.
            root: The first label of the namespaces with the user's items.
            after: None in the first call, then the continuation that the call before returned.

        Returns:
            The values that contain the ID, the name of the part, and a continuation of the backend's own type; None after
            the last part.
        """

    def rewrite(self, change: CellChange, after: Any) -> Program[Rewritten]:  # noqa: ARG002
        """Rewrite some stored cells in place, as key rotation does. Times, TTLs and positions of the rows stay.

        Args:
            change: The change. It is applied to a row again if another writer changed the row first.
            after: None in the first call, then the continuation in the result of the call before.

        Raises:
            ConfigurationError: The backend cannot do so.
        """
        yield from ()
        msg = f"{self!r} cannot rewrite stored cells, so it cannot rotate keys."
        raise ConfigurationError(msg)

    @property
    @abstractmethod
    def closed(self) -> bool:
        """True after `close`."""

    @property
    def closed_mark(self) -> str:
        """The end of the `repr` of a closed backend; an empty string for an open one."""
        return ", closed" if self.closed else ""

    @abstractmethod
    def close(self) -> None:
        """Close all connections that this backend opened. Closing twice has no effect."""

    @abstractmethod
    async def aclose(self) -> None:
        """Same as `close`, but without blocking the event loop."""
