"""Fuzz one target with atheris.

    python tests/reliability/fuzz/guided.py codec -runs=100000

An input that fails is written to a file, which `guided.py codec FILE` repeats.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import warnings
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1]), str(Path(__file__).parents[3])]

with atheris.instrument_imports(include=["langchain_agentmem"]):
    from targets import TARGETS


def main() -> None:
    name, *options = sys.argv[1:]
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    target = TARGETS[name]
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(target.seeds()):
            (Path(corpus) / str(number)).write_bytes(seed)
        inputs = [] if any(not one.startswith("-") for one in options) else [corpus]
        atheris.Setup([sys.argv[0], *options, *inputs], target.run)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
