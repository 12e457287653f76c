"""A guard of event loops: what the package does on one must not block it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from blockbuster import BlockBuster

SYNCHRONOUS = (
    ("<frozen importlib._bootstrap>", {"_find_and_load"}),  # a module is read once in a process
    ("/weakref.py", {"__call__"}),  # the garbage collector closes what was left open, in whichever thread it runs
    ("langchain_agentmem/backends/redis/pools.py", {"__del__"}),
    ("langchain_agentmem/backends/__init__.py", {"connect", "connect_string", "adopt"}),
    ("langchain_agentmem/programs/runners.py", {"run"}),
    ("langchain_agentmem/lifecycle/methods.py", {"close"}),
    ("langchain_agentmem/lifecycle/transfer/files.py", {"close"}),
    ("langchain_agentmem/backends/surface.py", {"close", "__exit__", "from_url"}),
    ("langchain_agentmem/store/face.py", {"close"}),
    ("langchain_agentmem/history/face.py", {"close"}),
    ("langchain_agentmem/checkpointing/face.py", {"close"}),
    *(
        (f"langchain_agentmem/backends/{name}/backend.py", {"read", "write", "close"})
        for name in ("sqlite", "postgres", "redis")
    ),
    ("langchain_agentmem/knowledge/extraction/scheduler.py", {"flush"}),
    ("langchain_agentmem/serving/application.py", {"build"}),  # once, before the application starts
    ("langchain_agentmem/lifecycle/importers/rows.py", {"_in_place"}),  # a database in memory of one thread
    ("langchain_agentmem/serving/page/files.py", {"static_files"}),  # reads the files once in a process
    ("langchain_agentmem/text/credentials.py", {"_detectors"}),  # imports the detectors, once in a process
    (
        "langchain_agentmem/messages/vocabularies.py",
        {"_loaded", "encoding_of"},
    ),  # at most a second, once in a process
)
"""Functions of the package that a caller calls to wait for them, on an event loop too."""


@contextmanager
def guarded() -> Iterator[None]:
    """Let each blocking call that the package makes on an event loop raise `BlockingError`."""
    guard = BlockBuster("langchain_agentmem")
    for function in guard.functions.values():
        for file, names in SYNCHRONOUS:
            function.can_block_in(file, names)
    guard.activate()
    try:
        yield
    finally:
        guard.deactivate()
