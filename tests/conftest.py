"""What all tests share: a memory on every backend, and one way to call a method and its async twin."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from langchain_agentmem import AgentMemory

BACKENDS = ("sqlite-file", "sqlite-memory")
"""Every contract test runs on each of these."""

_numbers = itertools.count()


@pytest.fixture(params=BACKENDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    return new_url(request.param, tmp_path)


def new_url(backend: str, folder: Path) -> str:
    """The URL of another empty database of a backend."""
    if backend == "sqlite-memory":
        return "sqlite:///:memory:"
    return f"sqlite:///{folder / f'memory-{next(_numbers)}.db'}"


@pytest.fixture
def lasting_url(tmp_path: Path) -> str:
    """The URL of an empty database that outlives the object that uses it."""
    return new_url("sqlite-file", tmp_path)


@pytest.fixture
def memory(url: str) -> Iterator[AgentMemory]:
    """An empty memory."""
    with AgentMemory.from_url(url) as opened:
        yield opened


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`await call(store.put, …)` calls the method, or its async twin; iterators come back as lists."""

    async def call_twin(method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if request.param == "sync":
            result = method(*args, **kwargs)
            return list(result) if isinstance(result, Iterator) else result
        twin = getattr(method.__self__, f"a{method.__name__}")
        result = twin(*args, **kwargs)
        if hasattr(result, "__aiter__"):
            return [one async for one in result]
        return await result

    return call_twin
