"""The rates of export, import and copy on each backend, and the memory that they need.

The database has sessions with 20 messages each, and threads with ten turns. Each operation runs in a process of its own, next
to a plain copy of the messages' rows from SQLite to SQLite for comparison.

Printed: the seconds of each operation, the CPU seconds of its process and of the server, messages and checkpoints per second,
the size of the file in MB, and the peak of the memory in MB and how much of it the operation added. On a machine that is
busy with something else, compare the CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph

from langchain_agentmem import AgentMemory

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from cleanup import peak
from servers import postgres_server, redis_server

BACKENDS = ("sqlite", "postgres", "redis")
IN_SESSION, TURNS = 20, 10
TEXT = "It says that the first week is for planning, and the second week for everything else. " * 3


def fill(memory: AgentMemory, messages: int, threads: int, track: Any) -> None:
    for number in track(range(messages // IN_SESSION), description="store sessions"):
        said = [(HumanMessage, AIMessage)[at % 2](f"{number} {at} {TEXT}") for at in range(IN_SESSION)]
        memory.history(f"s{number}", user_id=f"user-{number % 500}").add_messages(said)
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": [AIMessage(f"{len(state['messages'])} {TEXT}")]})
    builder.add_edge(START, "answer")
    graph = builder.compile(checkpointer=memory.checkpointer)
    for number in track(range(threads), description="store threads"):
        config: Any = {"configurable": {"thread_id": f"t{number}", "user_id": f"user-{number % 500}"}}
        for turn in range(TURNS):
            graph.invoke({"messages": [HumanMessage(f"{turn} {TEXT}")]}, config)


def measure(operation: str, source: str, target: str) -> None:
    """Run one operation, and print what it took as JSON: the job of a process of its own."""
    with AgentMemory.from_url(source) as memory:
        other = AgentMemory.from_url(target) if operation == "copy" else None
        memory.sessions.list(limit=1)
        before, started, busy = _peak(), time.perf_counter(), time.process_time()
        if operation == "export":
            done: Any = memory.export(target)
        elif operation == "import":
            done = memory.import_from(target)
        else:
            done = memory.copy_to(other)
        seconds = time.perf_counter() - started
        cpu = time.process_time() - busy
        found = {"seconds": seconds, "cpu": cpu, "peak": _peak(), "added": _peak() - before}
        print(json.dumps({"counts": done.counts, **found}))
        if other is not None:
            other.close()


def plain_copy(source: Path, target: Path) -> float:
    """Return the seconds of a copy of the messages' rows in SQL."""
    started = time.perf_counter()
    with sqlite3.connect(target) as connection:
        connection.execute("ATTACH ? AS source", (str(source),))
        connection.execute("CREATE TABLE messages AS SELECT * FROM source.agentmem_messages")
    return time.perf_counter() - started


def urls_of(backend: str, folder: Path, servers: ExitStack) -> tuple[str, str, int | None]:
    """Return the URLs of two empty databases on a backend, and the process of the server."""
    if backend == "sqlite":
        return f"sqlite:///{folder}/import.db", f"sqlite:///{folder}/copy.db", None
    server: Any = servers.enter_context(postgres_server() if backend == "postgres" else redis_server())
    if backend == "postgres":
        mark = "&" if "?" in server.url else "?"
        return f"{server.url}{mark}schema=import", f"{server.url}{mark}schema=copy", server.process.pid
    parts = urlsplit(server.url)
    return parts._replace(path="/0").geturl(), parts._replace(path="/1").geturl(), server.process.pid


def _peak() -> float:
    return peak() / 1024


def _run(operation: str, source: str, target: str, server: int | None = None) -> dict[str, Any]:
    """Run one operation in a process of its own.

    Args:
        operation: The operation; see `measure`.
        source: A URL.
        target: A URL or a path.
        server: The process of the server. Default: None (SQLite, which has none).
    """
    command = [sys.executable, __file__, "--measure", operation, source, target]
    before = _cpu_of(server)
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {**found, "server_cpu": _cpu_of(server) - before}


def _cpu_of(server: int | None) -> float:
    """Return the CPU seconds of a server and of its processes that have ended."""
    if server is None:
        return 0.0
    fields = Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure all backends, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=1_000)
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=BACKENDS)
    parser.add_argument("--file", type=Path, help="import this export, instead of making one")
    parser.add_argument("--measure", nargs=3, metavar=("OPERATION", "SOURCE", "TARGET"))
    arguments = parser.parse_args()
    if arguments.measure:
        measure(*arguments.measure)
        return
    import rich.console
    import rich.progress
    import rich.table

    title = arguments.file or f"{arguments.messages:,} messages, {arguments.threads:,} threads"
    table = rich.table.Table(title=str(title))
    for name in (
        "operation",
        "seconds",
        "CPU s",
        "server CPU s",
        "messages/s",
        "checkpoints/s",
        "file MB",
        "peak MB",
        "added MB",
    ):
        table.add_column(name, justify="left" if name == "operation" else "right")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        source, path = f"sqlite:///{folder}/source.db", arguments.file or folder / "export.jsonl"
        if arguments.file is None:
            with AgentMemory.from_url(source) as memory:
                fill(memory, arguments.messages, arguments.threads, rich.progress.track)

        def show(name: str, found: dict[str, Any]) -> None:
            seconds = found["seconds"]
            rates = [found["counts"].get(kind, 0) / seconds for kind in ("messages", "checkpoints")]
            times = (f"{seconds:.1f}", f"{found['cpu']:.1f}", f"{found['server_cpu']:.1f}")
            sizes = (path.stat().st_size / 1e6, found["peak"], found["added"])
            row = (name, *times, *(f"{rate:,.0f}" for rate in rates), *(f"{size:.0f}" for size in sizes))
            table.add_row(*row)
            print(*row, sep="\t", file=sys.stderr, flush=True)

        if arguments.file is None:
            show("export from sqlite", _run("export", source, str(path)))
        for backend in arguments.backends:
            with ExitStack() as servers:
                imported, copied, server = urls_of(backend, folder, servers)
                show(f"import to {backend}", _run("import", imported, str(path), server))
                if backend != "sqlite":
                    show(f"export from {backend}", _run("export", imported, str(folder / "again.jsonl"), server))
                    show(
                        f"copy from {backend} to sqlite",
                        _run("copy", imported, f"sqlite:///{folder / backend}.db", server),
                    )
                    (folder / f"{backend}.db").unlink()
                if arguments.file is None:
                    show(f"copy from sqlite to {backend}", _run("copy", source, copied, server))
        if arguments.file is None:
            seconds = plain_copy(folder / "source.db", folder / "plain.db")
            table.add_row(
                "plain SQL copy of the messages", f"{seconds:.1f}", "", "", f"{arguments.messages / seconds:,.0f}"
            )
    rich.console.Console(width=160).print(table)


if __name__ == "__main__":
    main()
