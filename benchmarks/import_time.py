"""Compare the time of `from langchain_agentmem import AgentMemory` with that of the base modules it needs, in one run.

Each import runs in a process of its own, the two in turn, with compiled bytecode (as an installed package has it); the
figures are medians of the time that the import alone took.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.shared import Figure

BASE = """import langchain_core.chat_history, langchain_core.messages, langchain_core.embeddings
import langgraph.checkpoint.base, langgraph.checkpoint.serde.encrypted, langgraph.checkpoint.serde.jsonplus
import langgraph.cache.base, langgraph.store.base"""
OURS = "from langchain_agentmem import AgentMemory"
TIMED = "import time; start = time.perf_counter()\n{}\nprint(time.perf_counter() - start)"


def seconds(statement: str) -> float:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", TIMED.format(statement)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, env=environment)
    return float(done.stdout)


def figures(rounds: int) -> list[Figure]:
    """Compare the imports."""
    seconds(BASE), seconds(OURS)
    pairs = [(1e3 * seconds(OURS), 1e3 * seconds(BASE)) for _ in range(rounds)]
    ours, base = zip(*pairs, strict=True)
    return [Figure.of("import langchain_agentmem", "", "the base modules", "ms", ours, base)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15, help="counted runs of each (default 15)")
    args = parser.parse_args()
    from rich.progress import track

    seconds(BASE), seconds(OURS)
    pairs = [(seconds(OURS), seconds(BASE)) for _ in track(range(args.runs), description="importing")]
    ours, base = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(mine / other for mine, other in pairs)
    print(f"{OURS}: {ours:.3f} s; base modules: {base:.3f} s; ratio (median of pairs): {ratio:.3f}")


if __name__ == "__main__":
    main()
