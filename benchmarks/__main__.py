"""All comparisons with other packages, in one process: ratios with their spread, tables and plots.

    python -m benchmarks --list             # the comparisons
    python -m benchmarks                    # all of them, at most 12 minutes on a quiet machine with two cores
    python -m benchmarks --write            # and write docs/performance.md with its plots
    python -m benchmarks --full --write     # larger: about an hour
    python -m benchmarks --quick --only stores,chats   # seconds: shows that the programs run; the figures mean little

The servers are started from wheels. The sides of a comparison take turns, so that all meet the same load. A ratio is the
median of the ratios of the rounds; the spread is their smallest and largest.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import report
from benchmarks.comparisons import COMPARISONS
from benchmarks.shared import Findings, database_servers

RESULTS = Path(__file__).parent.parent / "build" / "benchmarks.json"


def main(arguments: list[str] | None = None) -> None:
    """Run the comparisons that the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--list", action="store_true", help="list the comparisons")
    parser.add_argument("--only", help="names of comparisons, separated by commas")
    parser.add_argument("--backends", default="sqlite,postgres,redis")
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument(
        "--quick", action="store_const", dest="size", const="quick", help="seconds: only shows that it runs"
    )
    sizes.add_argument("--full", action="store_const", dest="size", const="full", help="about an hour")
    parser.add_argument(
        "--write", action="store_true", help="write docs/performance.md; needs a run of all comparisons"
    )
    args = parser.parse_args(arguments)
    size = args.size or "short"
    names = args.only.split(",") if args.only else list(COMPARISONS)
    if unknown := [name for name in names if name not in COMPARISONS]:
        parser.error(f"unknown comparisons: {', '.join(unknown)}; known are {', '.join(COMPARISONS)}")
    if args.write and (args.only or size == "quick" or len(args.backends.split(",")) < 3):
        parser.error("--write needs a run of all comparisons on all backends; leave out --only, --quick and --backends")
    console = Console(file=sys.stdout, width=150)
    if args.list:
        for name, one in COMPARISONS.items():
            console.print(f"{name:<12} {one.title} ({', '.join(one.backends) or 'no database'})")
        return
    warnings.simplefilter("ignore")
    conditions = report.conditions(size)
    begun = time.perf_counter()
    found = dict(measured(names, args.backends.split(","), size, console))
    conditions["minutes"] = round((time.perf_counter() - begun) / 60, 1)
    report.save(RESULTS, conditions, found)
    console.print(f"{conditions['minutes']} minutes; results in {RESULTS}")
    if args.write:
        console.print(f"wrote {report.write(conditions, found)}")
        report.list_page(RESULTS.parents[1])


def measured(names: list[str], backends: list[str], size: str, console: Console) -> Iterator[tuple[str, Findings]]:
    """Run the comparisons; show what each found."""
    with database_servers() as databases:
        for name in names:
            one = COMPARISONS[name]
            findings = Findings()
            for backend in [each for each in one.backends if each in backends] if one.backends else [""]:
                begun = time.perf_counter()
                with console.status(f"{one.title} {backend}"), without_output():
                    more = one.run(databases, backend, **one.sizes[size])
                console.print(f"[dim]{name} {backend}: {time.perf_counter() - begun:.0f} s[/dim]")
                findings.figures += more.figures
                findings.points += more.points
            show(one.title, findings, console)
            yield name, findings


@contextmanager
def without_output() -> Iterator[None]:
    """Drop what a program prints while it measures. The console of the caller keeps its stream."""
    with Path(os.devnull).open("w", encoding="utf-8") as sink, redirect_stdout(sink), redirect_stderr(sink):
        yield


def show(title: str, findings: Findings, console: Console) -> None:
    """Print the tables of a comparison."""
    if findings.figures:
        table = Table(title=title)
        for name in report.COLUMNS:
            table.add_column(name, justify="left" if name in report.COLUMNS[:3] else "right")
        for one in findings.figures:
            table.add_row(*report.cells(one), style="" if one.is_better else "yellow")
        console.print(table)
    for header, rows in report.by_axis(findings.points).values():
        table = Table(title=title)
        for at, name in enumerate(header):
            table.add_column(name, justify="right" if at > 1 else "left")
        for row in rows:
            table.add_row(*row)
        console.print(table)


if __name__ == "__main__":
    main()
