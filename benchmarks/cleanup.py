"""A cleanup of 10,000 sessions next to a writer, on each backend.

The database has the sessions (two messages each, 200 of them used recently), and a thread with three checkpoints and an item
for every tenth of them. The cleanup runs in a process of its own, with and without an archive. A thread of another process
adds turns all the time.

Printed: seconds, sessions per second, seconds of CPU time of the cleaning process, the peak of its memory in MB and how much
of it the cleanup added, the size of the archive in MB, and the median and 99th percentile of a writer's turn in milliseconds,
before and during the cleanup.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import empty_checkpoint

from langchain_agentmem import AgentMemory

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from servers import postgres_server, redis_server

AGE = 3_600.0
TURN = [HumanMessage("What does the plan say about the first week? " * 4), AIMessage("It says that " * 30)]


def fill(memory: AgentMemory, sessions: int, track: Any, name: str) -> None:
    old = time.time() - 2 * AGE
    for number in track(range(sessions), description=f"{name}: store"):
        with mock.patch("time.time", return_value=old):
            memory.history(f"s{number}", user_id=f"user-{number % 500}").add_messages(TURN)
            if number % 10 == 0:
                memory.store.put(("docs",), str(number), {"text": "a text"})
                config: Any = {"configurable": {"thread_id": f"t{number}", "checkpoint_ns": ""}}
                for step in range(1, 4):
                    checkpoint: Any = {
                        **empty_checkpoint(),
                        "channel_values": {"messages": TURN * step},
                        "channel_versions": {"messages": step},
                    }
                    config = memory.checkpointer.put(config, checkpoint, {}, {"messages": step})
    for number in range(0, sessions, max(1, sessions // 200)):
        memory.history(f"s{number}", user_id=f"user-{number % 500}").add_messages(TURN)


class Writer:
    """Adds turns in a thread, and notes how long each takes."""

    def __init__(self, url: str) -> None:
        self.memory = AgentMemory.from_url(url)
        self.times: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def _write(self) -> None:
        number = 0
        while not self._stop.wait(0.002):
            start = time.perf_counter()
            self.memory.history(f"w{number % 50}", user_id="writer").add_messages(TURN)
            self.times.append(1e3 * (time.perf_counter() - start))
            number += 1

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.memory.close()

    def taken(self) -> str:
        found, self.times = sorted(self.times), []
        return f"{found[len(found) // 2]:>9.2f}{found[min(len(found) - 1, int(len(found) * 0.99))]:>9.2f}"


def peak() -> int:
    """Return the peak of this process's memory in KB.

    Linux passes `ru_maxrss` on from the process that started this one, which would hide growth up to its size.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(status.read_text().partition("VmHWM:")[2].split()[0])


def clean(url: str, archive: str) -> None:
    """Clean up in this process, and print the figures."""
    with AgentMemory.from_url(url) as memory:
        memory.cleanup(50 * 365 * 86_400.0, dry_run=True)
        before = peak()
        cpu = time.process_time()
        result = memory.cleanup(AGE, archive=archive or None)
        cpu = time.process_time() - cpu
        grown = peak() - before
    figures = {"seconds": result.duration, "cpu": cpu, "peak": (before + grown) / 1024, "grown": grown / 1024}
    print(json.dumps({**result.counts, **figures}))


SECONDS_BEFORE = 2
"""The time for which the writer is measured before the cleanup begins."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=10_000, help="sessions (default 10000)")
    parser.add_argument("--clean", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.clean:
        clean(*args.clean)
        return
    from rich.progress import track

    print(
        f"{'':<22}{'sessions':>9}{'s':>8}{'per s':>8}{'CPU s':>7}{'MB':>7}{'added':>7}{'archive':>9}"
        f"{'writer: before':>18}{'during':>18}"
    )
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        urls = {
            "SQLite": f"sqlite:///{folder}/cleanup.db?synchronous=normal",
            "Postgres": stack.enter_context(postgres_server("synchronous_commit=off")).url,
            "Redis": stack.enter_context(redis_server()).url,
        }
        for name, url in urls.items():
            for archive in ("", f"{folder}/{name}.jsonl"):
                with AgentMemory.from_url(url) as memory:
                    fill(memory, args.sessions, track, name)
                with Writer(url) as writer:
                    time.sleep(SECONDS_BEFORE)
                    before = writer.taken()
                    command = [sys.executable, __file__, "--clean", url, archive]
                    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                    during = writer.taken()
                size = Path(archive).stat().st_size / 1e6 if archive else 0
                speed = f"{found['sessions']:>9,}{found['seconds']:>8.1f}{found['sessions'] / found['seconds']:>8.0f}"
                speed += f"{found['cpu']:>7.1f}"
                memory_use = f"{found['peak']:>7.0f}{found['grown']:>7.1f}"
                print(
                    f"{name:<10}{'archive' if archive else 'no archive':<12}{speed}{memory_use}{size:>9.1f}{before}{during}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
