"""Writers in processes of their own that log each acknowledged write, and the comparison of their logs with what is stored.

A test starts a `Load`, waits until its writers have written, makes a fault, and waits until they write again:

    load = Load(url, folder)
    with load:
        load.advance()
        load.survive(lambda: kill(server))
    load.check(table, "server killed", "SIGKILL", "redis")
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import os
import random
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from langchain_core.messages import AIMessage, HumanMessage
from patience import PATIENCE
from processes import CONTEXT

from langchain_agentmem import AgentMemError, AgentMemory

SURFACES = ("turn", "item", "preference", "checkpoint")
APPENDED = {"turn", "item", "checkpoint"}
"""Surfaces on which each write is kept, so that one can be looked for."""
SESSION, USER, THREAD = "shared", "user", "shared"
COLUMNS = ("fault", "how it is made", "backend", "tries", "acknowledged", "lost", "wrong", "recovery seconds")
UNKNOWN = ("may have been stored", "It is unknown whether")
"""What an error says if its write may be stored."""


@dataclass(frozen=True)
class Row:
    """What one test found: a row of the table.

    Attributes:
        tries: How often the fault was made.
        acknowledged: Writes that returned.
        lost: Those that are not stored.
        wrong: Half, doubled or reordered turns, writes stored although an error said that they were not, errors not of ours.
        recovery: Longest time from the end of a fault to the next acknowledged write, in seconds; None if it was not measured.
    """

    fault: str
    made: str
    backend: str
    tries: int
    acknowledged: int
    lost: int
    wrong: int
    recovery: float | None = None

    def as_dict(self) -> dict[str, Any]:
        values = dataclasses.astuple(self)[:-1]
        return dict(zip(COLUMNS, (*values, None if self.recovery is None else round(self.recovery, 2)), strict=True))


@dataclass
class Table:
    """The rows of all tests."""

    rows: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class Work:
    """What a writer does.

    Attributes:
        url: The URL of the memory.
        log: The file of its log.
        stop: It ends when this file exists.
        name: Its name, which is in all that it writes.
        tasks: The number of tasks on an event loop; 0 for synchronous calls.
        breaks_off: If true, calls are broken off at random moments: by a signal, or by cancelling the task.
        sets_back: If true, the clock goes back an hour at every tenth write, and forward again five writes later.
    """

    url: str
    log: Path
    stop: Path
    name: str
    tasks: int = 0
    breaks_off: bool = False
    sets_back: bool = False


class BrokenOffError(Exception):
    """What the signal of a timer raises."""


class Load:
    """Writers that write on four surfaces until the block ends.

    Args:
        url: The URL of the memory.
        folder: A folder for their logs.
        writers: Their number.
        **options: Fields of `Work`.
    """

    def __init__(self, url: str, folder: Path, writers: int = 3, **options: Any) -> None:
        self.url, self.folder, self.writers, self.options = url, folder, writers, options
        self.tries = 0
        self.recovery: float | None = None
        self.work: list[Work] = []
        self.processes: list[Any] = []
        self._entries: list[Entry] = []
        self._read: dict[str, int] = defaultdict(int)

    def __enter__(self) -> Self:
        """Start the writers. Each time, they have other names."""
        stop = self.folder / f"stop-{len(self.work)}"
        names = [f"w{len(self.work) + n}" for n in range(self.writers)]
        started = [Work(self.url, self.folder / f"{name}.log", stop, name, **self.options) for name in names]
        self.processes = [CONTEXT.Process(target=write, args=(work,)) for work in started]
        self.work += started
        for process in self.processes:
            process.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.work[-1].stop.touch()
        for process in self.processes:
            process.join(PATIENCE)
            process.kill()

    def entries(self) -> list[Entry]:
        """What the logs say, as far as it was written. Each line is read once."""
        for work in self.work:
            if work.log.exists():
                with work.log.open("rb") as log:
                    log.seek(self._read[work.name])
                    data = log.read()
                whole = data[: data.rfind(b"\n") + 1]  # the last line may be cut off
                self._read[work.name] += len(whole)
                self._entries += map(Entry.of, whole.decode().splitlines())
        return self._entries

    def acknowledged(self) -> list[Entry]:
        return [entry for entry in self.entries() if entry.state == "stored"]

    def advance(self, count: int = 30) -> None:
        """Wait until that number of further writes is acknowledged."""
        self._wait(len(self.acknowledged()) + count, 0.0)

    def survive(self, fault: Callable[[], Any]) -> None:
        """Make a fault; wait until writes are acknowledged that began after its end."""
        fault()
        self.tries += 1
        ended = time.monotonic()
        first = self._wait(1, ended)
        self.recovery = max(self.recovery or 0.0, first - ended)
        self.advance()

    def _wait(self, count: int, since: float) -> float:
        deadline = time.monotonic() + PATIENCE
        while len(found := [entry.time for entry in self.acknowledged() if entry.time > since]) < count:
            assert time.monotonic() < deadline, (
                f"{len(found)} of {count} writes were acknowledged in {PATIENCE} seconds"
            )
            time.sleep(0.02)
        return min(found)

    def kill(self) -> None:
        """Kill all writers; measure how long another process waits for its first write."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.join()
        self.tries += 1
        began = time.monotonic()
        with AgentMemory.from_url(self.url) as memory:
            memory.history("after").add_user_message("I go on.")
        self.recovery = max(self.recovery or 0.0, time.monotonic() - began)

    def check(self, table: Table, fault: str, made: str, backend: str) -> None:
        """Compare what is stored with the logs, add a row to the table, and fail if anything is lost or wrong."""
        wrong = [f"{entry.name} {entry.text}" for entry in self.entries() if entry.state == "wrong"]
        acknowledged = self.acknowledged()
        with AgentMemory.from_url(self.url) as memory:
            stored = read(memory, wrong)
        lost = [entry for entry in acknowledged if not _is_in(stored, entry)]
        failed = [entry for entry in self.entries() if entry.state == "failed"]
        wrong += [f"stored although it failed: {e}" for e in failed if e.surface in APPENDED and _is_in(stored, e)]
        row = Row(fault, made, backend, self.tries, len(acknowledged), len(lost), len(wrong), self.recovery)
        table.rows.append(row)
        assert acknowledged
        assert not lost + wrong, f"{len(lost)} lost, {len(wrong)} wrong: {[*lost[:3], *wrong[:5]]}"


@dataclass(frozen=True)
class Entry:
    """A line of a log.

    Attributes:
        state: "stored" (acknowledged), "failed" (an error says that nothing was stored), "unknown", or "wrong".
        time: When the call ended, on the clock that all processes share.
        text: The error.
    """

    state: str
    surface: str
    name: str
    number: int
    time: float
    text: str

    @classmethod
    def of(cls, line: str) -> Self:
        state, surface, name, number, moment, text = line.split(" ", 5)
        return cls(state, surface, name, int(number), float(moment), text)


def read(memory: AgentMemory, wrong: list[str]) -> dict[str, Any]:
    """What is stored on each surface; what it should never be is added to `wrong`."""
    texts = [str(message.content) for message in memory.history(SESSION).get_recent(1_000_000)]
    if texts[::2] != texts[1::2]:
        wrong.append("a turn is not whole")
    if len(set(texts)) != len(texts[::2]):
        wrong.append("a turn is stored twice")
    orders: dict[str, list[int]] = defaultdict(list)
    for text in texts[::2]:
        name, _, number = text.rpartition(":")
        orders[name].append(int(number))
    wrong += [f"turns of {name} are out of order" for name, order in orders.items() if order != sorted(order)]
    items: set[str] = set()
    while page := memory.store.search(("items",), limit=1_000, offset=len(items)):
        items |= {item.key for item in page}
        wrong += [f"item {item.key}" for item in page if item.key.rpartition(":")[2] != str(item.value["n"])]
    checkpoints = {found.checkpoint["id"]: found for found in memory.checkpointer.list(thread())}
    for id_, found in checkpoints.items():
        values = found.checkpoint["channel_values"]
        if id_ != checkpoint_id(values["log"][-1], values["n"]) or len(values["log"]) != 4:
            wrong.append(f"checkpoint {id_}")
    preferences = memory.profiles.get(USER).preferences
    return {"turn": set(texts), "item": items, "checkpoint": set(checkpoints), "preference": preferences}


def _is_in(stored: dict[str, Any], entry: Entry) -> bool:
    if entry.surface == "preference":  # a later write may have replaced it
        return bool(stored["preference"].get(entry.name, -1) >= entry.number)
    key = checkpoint_id(entry.name, entry.number) if entry.surface == "checkpoint" else f"{entry.name}:{entry.number}"
    return key in stored[entry.surface]


def thread() -> Any:
    return {"configurable": {"thread_id": THREAD, "checkpoint_ns": ""}}


def checkpoint_id(name: str, number: int) -> str:
    return f"{number:08}-{name}"


def write(work: Work) -> None:
    """Write until the work ends; the target of a process."""
    asyncio.run(_write_in_tasks(work)) if work.tasks else _write(work)


def operations(memory: AgentMemory, name: str, number: int) -> dict[str, tuple[Any, ...]]:
    """The calls of one round: methods with their arguments."""
    text = f"{name}:{number}"
    versions = {"log": f"{number}.{name}", "n": f"{number}.{name}"}
    checkpoint = {
        "v": 4,
        "id": checkpoint_id(name, number),
        "ts": "",
        "channel_values": {"log": ["x" * 200] * 3 + [name], "n": number},
        "channel_versions": versions,
        "versions_seen": {},
    }
    calls: dict[str, tuple[Any, ...]] = {
        "turn": (memory.history(SESSION).add_messages, [HumanMessage(text), AIMessage(text)]),
        "item": (memory.store.put, ("items",), text, {"n": number}),
        "checkpoint": (memory.checkpointer.put, thread(), checkpoint, {"step": number}, versions),
    }
    if number % 10 == 0:  # a profile keeps the former values of its preferences
        calls["preference"] = (memory.profiles.update_preference, USER, name, number)
    return calls


class _Log:
    def __init__(self, path: Path) -> None:
        # What `os.write` has written stays in the file when the process is killed.
        self._file = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY)

    def add(self, state: str, surface: str, name: str, number: int, text: object = "") -> None:
        line = f"{state} {surface} {name} {number} {time.monotonic()} {' '.join(str(text).split())}\n"
        os.write(self._file, line.encode())

    def add_error(self, error: BaseException, surface: str, name: str, number: int) -> None:
        # pydantic wraps what a signal raises while it builds a model.
        broken_off = isinstance(error, (BrokenOffError, TimeoutError)) or BrokenOffError.__name__ in str(error)
        if broken_off or any(words in str(error) for words in UNKNOWN):
            state = "unknown"
        else:
            state = "failed" if isinstance(error, AgentMemError) else "wrong"
        self.add(state, surface, name, number, f"{type(error).__name__}: {error}")


def _write(work: Work) -> None:
    log, chance = _Log(work.log), random.Random(work.name)
    signal.signal(signal.SIGALRM, _break_off)
    clock = time.time
    with AgentMemory.from_url(work.url) as memory:
        for number in itertools.count():
            if work.stop.exists():
                return
            if work.sets_back:
                time.time = (lambda: clock() - 3600.0) if number % 10 > 4 else clock
            for surface, (method, *arguments) in operations(memory, work.name, number).items():
                try:
                    try:
                        if work.breaks_off:
                            signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.0001, 0.03))
                        method(*arguments)
                    finally:
                        signal.setitimer(signal.ITIMER_REAL, 0)
                except Exception as error:
                    log.add_error(error, surface, work.name, number)
                else:
                    log.add("stored", surface, work.name, number)


def _break_off(number: int, frame: object) -> None:
    raise BrokenOffError


async def _write_in_tasks(work: Work) -> None:
    log = _Log(work.log)
    async with AgentMemory.from_url(work.url) as memory:
        await asyncio.gather(*(_write_in_task(work, memory, log, f"{work.name}.{n}") for n in range(work.tasks)))


async def _write_in_task(work: Work, memory: AgentMemory, log: _Log, name: str) -> None:
    chance = random.Random(name)
    for number in itertools.count():
        if work.stop.exists():
            return
        for surface, (method, *arguments) in operations(memory, name, number).items():
            twin: Any = getattr(method.__self__, f"a{method.__name__}")
            try:
                async with asyncio.timeout(chance.uniform(0.001, 0.2) if work.breaks_off else None):
                    await twin(*arguments)
            except Exception as error:
                log.add_error(error, surface, name, number)
            else:
                log.add("stored", surface, name, number)
