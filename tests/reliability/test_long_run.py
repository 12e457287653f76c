"""Many turns in one process: memory, files, connections and threads do not grow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from patience import PATIENCE

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "long_run.py"
OBJECTS_PER_TURN = 60
"""What the caches of threads add a turn, until they are full, and some more."""


def test_turns_in_one_process_keep_its_resources_flat(lasting_url, rounds, tmp_path):
    """The long form takes 100,000 turns, as many as a busy process takes in a day."""
    is_long = rounds > 1
    turns = 100_000 if is_long else 100
    file = tmp_path / "samples.json"
    options = ["--turns", turns, "--session-turns", 10 if is_long else 2, "--json", file]
    done = subprocess.run(
        [sys.executable, str(PROGRAM), lasting_url, *map(str, options)],
        capture_output=True,
        check=False,
        text=True,
        timeout=PATIENCE + turns,
    )
    assert done.returncode == 0, done.stderr
    samples = json.loads(file.read_text())
    half, last = samples[len(samples) // 2], samples[-1]
    grown = {name: last[name] - half[name] for name in half}
    # A graph's threads come and go, and a pool may open a connection late.
    assert max(grown[name] for name in ("files", "sockets", "threads")) <= 6, samples
    assert grown["objects"] <= OBJECTS_PER_TURN * grown["turns"], samples
    if is_long:
        assert last["resident MB"] <= 1.1 * half["resident MB"], samples
        assert grown["objects"] <= 0.05 * half["objects"], samples
