"""The base class of the faces for knowledge: `Profiles`, `Memories` and the others."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from langchain_agentmem.store.engine import StoreEngine
from langchain_agentmem.text.tables import html_table


class _Engine(Protocol):
    store: StoreEngine


E = TypeVar("E", bound=_Engine)


class KnowledgeFace(Generic[E]):
    """Holds an engine. Its repr and its table in a notebook name the store and show no stored data.

    Args:
        engine: The operations as programs.
    """

    def __init__(self, engine: E) -> None:
        self.engine = engine

    def __repr__(self) -> str:
        store = self.engine.store
        return f"{type(self).__name__}({store.backend!r}, tenant={store.tenant!r})"

    def _repr_html_(self) -> str:
        store = self.engine.store
        rows = [("backend", repr(store.backend)), ("tenant", store.tenant)]
        return html_table(rows, caption=type(self).__name__, row_headers=True)
