"""`memory.find_traces()`: where a database holds a user's ID."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.knowledge.namespaces import user_namespace
from langchain_agentmem.lifecycle.progress import reporting
from langchain_agentmem.programs import Call, Program, Read
from langchain_agentmem.text.tables import FieldTable, html_table

_MOST_PLACES = 1_000
"""Upper bound of the places that are listed one by one."""

_OTHERS = "(other places)"
_ROWS_SHOWN = 100


@dataclass(frozen=True)
class Trace(FieldTable):
    """A place in which a user's ID was found."""

    where: str
    """The table and column, or the kind of key on Redis."""
    form: str
    """`"id"` (a value that is the ID), `"text"`, `"json"`, `"label"` or `"base64"` (a value that contains the ID, as it is or
    escaped), or `"digest"`."""
    count: int
    """The number of values with this form."""
    example: str
    """One of the rows or keys; of a store item, its namespace and key."""


@dataclass(frozen=True)
class Search:
    """The progress of a search for traces."""

    place: str
    """The table or key that was searched last."""
    found: int
    """The number of values with the ID so far."""

    @property
    def description(self) -> str:
        """The text beside the progress bar."""
        return f"Searched {self.place}, found {self.found}"


class Traces(list[Trace]):
    """The places in which a user's ID was found. A notebook shows them as a table."""

    def _repr_html_(self) -> str:
        header = ("where", "form", "count", "example")
        rows = [(one.where, one.form, one.count, one.example) for one in self[:_ROWS_SHOWN]]
        caption = None if len(self) <= _ROWS_SHOWN else f"The first {_ROWS_SHOWN} of {len(self)} places"
        return html_table(rows, header=header, caption=caption)


def find_traces(
    backend: Backend, tenant: str, user_id: str, progress: bool | Callable[[Search], Any]
) -> Program[Traces]:
    """Search a database for a user's ID; see `AgentMemory.find_traces`."""
    (root,) = user_namespace(user_id)
    counts: dict[tuple[str, str], int] = {}
    examples: dict[tuple[str, str], str] = {}
    with reporting(progress) as report:
        after: Any = None
        while True:
            page, place, after = yield from Read(backend, backend.traces(tenant, user_id, root, after))
            for one in page:
                key = one.where, one.form
                if key not in counts and len(counts) >= _MOST_PLACES:
                    key = _OTHERS, one.form
                counts[key] = counts.get(key, 0) + 1
                examples.setdefault(key, one.example)
            yield from Call(report, Search(place, sum(counts.values())))
            if after is None:
                break
    return Traces(Trace(*key, count, examples[key]) for key, count in sorted(counts.items()))
