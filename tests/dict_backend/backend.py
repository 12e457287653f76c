"""The backend: its tables, and transactions on them."""

from __future__ import annotations

import asyncio
import pickle
import threading
import weakref
from typing import Any

from dict_backend.cache import Cache
from dict_backend.checkpoints import Checkpoints
from dict_backend.items import Items
from dict_backend.messages import Messages
from dict_backend.openings import Openings
from dict_backend.programs import program
from dict_backend.records import Records
from dict_backend.stale import StaleRows
from dict_backend.statistics import Statistics
from dict_backend.transfer import Transfer
from dict_backend.variables import Variables
from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.backends.traces import FoundTrace, TraceForms
from langchain_agentmem.errors import StorageClosedError
from langchain_agentmem.programs import run


class DictBackend(Backend):
    """Runs one program at a time, and restores the state if one fails."""

    name = "dict"

    def __init__(self) -> None:
        self.messages, self.items, self.checkpoints = Messages(), Items(), Checkpoints()
        self.records = Records(self.messages)
        self.variables = Variables(self.messages)
        self.openings = Openings(self.messages)
        self.cache = Cache()
        self.stale = StaleRows(self)
        self.statistics = Statistics(self)
        self.transfer = Transfer(self)
        self._lock = threading.RLock()
        self._closed = False

    @property
    def _tables(self) -> tuple[Any, ...]:
        tables = (self.messages, self.items, self.checkpoints, self.records, self.variables, self.openings)
        return (*tables, self.cache)

    @property
    def closed(self) -> bool:
        return self._closed

    def read(self, program):
        return self.write(program)

    async def aread(self, program):
        return await self.awrite(program)

    def write(self, program):
        with self._lock:
            if self._closed:
                raise StorageClosedError("This memory is closed: create a new one.")
            before = pickle.dumps([_state(table) for table in self._tables])  # five times as fast as a deep copy
            try:
                return run(program, self._refuse)
            except BaseException:
                for table, state in zip(self._tables, pickle.loads(before), strict=True):
                    vars(table).update(state)
                raise

    async def awrite(self, program):
        return await asyncio.to_thread(self.write, program)

    @program
    def traces(self, tenant, user_id, root, after):
        forms = TraceForms(user_id)
        values = [(type(table).__name__, repr(vars(table))) for table in self._tables]
        found = [FoundTrace(name, form, name) for name, value in values if (form := forms.form_of(value))]
        return found, "the tables", None

    def close(self) -> None:
        self._closed = True

    async def aclose(self) -> None:
        self.close()

    @staticmethod
    def _refuse(step: Any) -> Any:
        raise TypeError(f"A program of this backend yields no steps, got {step!r}.")


def _state(table: Any) -> dict[str, Any]:
    """The attributes of a table, without references to other tables."""
    return {name: value for name, value in vars(table).items() if not isinstance(value, weakref.ref)}
