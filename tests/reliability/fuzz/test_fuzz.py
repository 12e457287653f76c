"""Bytes that no one foresaw: each target of `targets.py` accepts them, or refuses them with an error of this package.

The short form changes valid inputs at random. The long form (`--long`, marker `fuzz`) is guided by coverage: atheris instruments
the package, and keeps inputs that reach new code.
"""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from patience import PATIENCE

sys.path.insert(0, str(Path(__file__).parent))

from targets import TARGETS

PIECES = (
    b"null",
    b"{}",
    b"[]",
    b'""',
    b"-1",
    b"1e400",
    b"\xff\xfe",
    b"\\ud800",
    b"{{",
    b"}}",
    b"\x00",
    b"NaN",
    b"[" * 50,
)
PROGRAM = Path(__file__).with_name("guided.py")


def changed(seed: bytes, chance: random.Random) -> bytes:
    """Return an input with a few changes."""
    data = bytearray(seed)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        kind = chance.randrange(5)
        if kind == 0 and data:
            data[at % len(data)] = chance.randrange(256)
        elif kind == 1:
            data[at:at] = chance.choice(PIECES)
        elif kind == 2:
            del data[at : at + chance.randrange(1, 20)]
        elif kind == 3:
            data[at : at + len(data) // 4] = data[: chance.randrange(len(data) + 1)]
        else:
            data[at : at + 4] = chance.choice(PIECES)
    return bytes(data[:20_000])


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.filterwarnings("ignore")
def test_changed_inputs_are_accepted_or_refused(name, chance, rounds):
    target = TARGETS[name]
    seeds = target.seeds()
    for seed in seeds:
        target.run(seed)
    for _ in range(40 * rounds):
        data = changed(chance.choice(seeds), chance)
        try:
            target.run(data)
        except Exception as error:
            error.add_note(f"The input is {data!r}")
            raise


@pytest.mark.fuzz
@pytest.mark.parametrize("name", TARGETS)
def test_inputs_that_reach_new_code_are_accepted_or_refused(name, rounds, tmp_path):
    """The inputs are bounded by their number and by time."""
    runs, seconds = (200_000, 120) if rounds > 1 else (2_000, 10)
    done = subprocess.run(
        [
            sys.executable,
            str(PROGRAM),
            name,
            f"-runs={runs}",
            f"-max_total_time={seconds}",
            "-max_len=4000",
            "-rss_limit_mb=0",
        ],
        capture_output=True,
        check=False,
        cwd=tmp_path,
        timeout=PATIENCE + 4 * seconds,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-4_000:]
    assert b"Done" in done.stderr
