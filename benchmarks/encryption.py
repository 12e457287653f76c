"""Costs of a key: turns of a history and of a thread, items and searches, with and without it.

A thread is also measured with LangGraph's `EncryptedSerializer`, which encrypts the values of checkpoints only.

Printed: the median milliseconds of each operation, and the ratio to the memory without a key.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.graph import START, MessagesState, StateGraph
from rich.console import Console
from rich.table import Table

from langchain_agentmem import AgentMemory, new_key

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from servers import postgres_server, redis_server

TEXT = "It says that the first week is for planning, and the second week for everything else. " * 3
WORDS = ["pizza", "ramen", "tacos", "pasta", "bakery", "museum", "garden", "harbour", "library", "market"]


def operations(memory: AgentMemory, items: int, turns: int) -> dict[str, Callable[[int], Any]]:
    """The measured operations by name; each takes a number that differs in every call."""
    history = memory.history("session", user_id="alice")
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": [AIMessage(f"{len(state['messages'])} {TEXT}")]})
    builder.add_edge(START, "answer")
    graph = builder.compile(checkpointer=memory.checkpointer)
    config: Any = {"configurable": {"thread_id": "thread"}}
    for number in range(turns):
        history.add_messages([HumanMessage(f"{number} {TEXT}"), AIMessage(f"{number} {TEXT}")])
        graph.invoke({"messages": [HumanMessage(f"{number} {TEXT}")]}, config)
    for number in range(items):
        words = f"{WORDS[number % 10]} {WORDS[number // 10 % 10]} {TEXT}"
        memory.store.put(("notes",), str(number), {"text": f"{number} {words}"})
    return {
        "history: add a turn": lambda at: history.add_messages([HumanMessage(f"{at} {TEXT}"), AIMessage(TEXT)]),
        "history: read 20 messages": lambda _: history.get_recent(20),
        "thread: a turn": lambda at: graph.invoke({"messages": [HumanMessage(f"{at} {TEXT}")]}, config),
        "thread: read the state": lambda _: graph.get_state(config),
        "store: put an item": lambda at: memory.store.put(("other",), str(at), {"text": f"{at} {TEXT}"}),
        "store: get an item": lambda at: memory.store.get(("notes",), str(at % items)),
        "store: search by words": lambda _: memory.store.search(("notes",), query="pizza in the harbour"),
    }


def measured(url: str, items: int, turns: int, repeats: int, **options: Any) -> dict[str, float]:
    """The median milliseconds of each operation."""
    result = {}
    with AgentMemory.from_url(url, **options) as memory:
        for name, operation in operations(memory, items, turns).items():
            times = []
            for at in range(repeats):
                started = time.perf_counter()
                operation(at)
                times.append(time.perf_counter() - started)
            result[name] = 1000 * statistics.median(times)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=50, help="turns in the thread before it is measured")
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--backends", default="SQLite,Postgres,Redis")
    options = parser.parse_args()
    sizes = (options.items, options.turns, options.repeats)
    serde = EncryptedSerializer.from_pycryptodome_aes(key=bytes(32))
    kinds: dict[str, dict[str, Any]] = {
        "no key": {},
        "key": {"key": new_key()},
        "key, searchable": {"key": new_key(), "searchable": True},
        "EncryptedSerializer": {"serde": serde},
    }
    console = Console()
    for backend in options.backends.split(","):
        found = {}
        for kind, arguments in kinds.items():
            with ExitStack() as stack:
                folder = stack.enter_context(tempfile.TemporaryDirectory())
                if backend == "SQLite":
                    url = f"sqlite:///{folder}/memory.db"
                else:
                    server = postgres_server() if backend == "Postgres" else redis_server()
                    url = stack.enter_context(server).url
                found[kind] = measured(url, *sizes, **arguments)
        table = Table("operation", *kinds, title=f"{backend}: milliseconds, and ratio to no key")
        for name, plain in found["no key"].items():
            table.add_row(name, *(f"{one[name]:.2f} ({one[name] / plain:.1f})" for one in found.values()))
        console.print(table)


if __name__ == "__main__":
    main()
