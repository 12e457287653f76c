"""The report of `python -m benchmarks`: a page of the documentation with tables and plots, and a file of all results."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import sqlite3
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.comparisons import COMPARISONS
from benchmarks.shared import Figure, Findings, Point

DOCS = Path(__file__).parent.parent / "docs"
COLUMNS = ("work", "backend", "beside", "ours", "theirs", "unit", "ratio", "spread")
PACKAGES = (
    "langchain-core", "langgraph", "langgraph-checkpoint", "langgraph-checkpoint-postgres", "langgraph-checkpoint-sqlite",
    "langgraph-checkpoint-aws", "langchain", "langchain-community", "langchain-postgres", "langmem", "deepagents",
)  # fmt: skip
NAMES = {"sqlite": "SQLite", "postgres": "Postgres", "redis": "Redis", "": ""}
_COMMANDS = {"short": "python -m benchmarks --write", "full": "python -m benchmarks --full --write"}


def conditions(size: str) -> dict[str, Any]:
    """Return what the figures depend on: date, versions, machine, load at the start."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "size": size,
        "date": datetime.now(UTC).strftime("%d %B %Y").lstrip("0"),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "versions": versions,
    }


def save(file: Path, given: Mapping[str, Any], found: Mapping[str, Findings]) -> None:
    """Write all results as JSON."""
    file.parent.mkdir(exist_ok=True)
    results = {name: dataclasses.asdict(one) for name, one in found.items()}
    file.write_text(json.dumps({"conditions": given, "results": results}, indent=1) + "\n", encoding="utf-8")


def load(file: Path) -> tuple[dict[str, Any], dict[str, Findings]]:
    """Read the results of a run."""
    document = json.loads(file.read_text(encoding="utf-8"))
    found = {
        name: Findings(
            [Figure(**{**one, "ratios": tuple(one["ratios"])}) for one in results["figures"]],
            [Point(**one) for one in results["points"]],
        )
        for name, results in document["results"].items()
    }
    return document["conditions"], found


# Tables


def number(value: float) -> str:
    """Return a number with three significant digits at least."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def cells(figure: Figure) -> list[str]:
    """Return the row of a figure."""
    spread = f"{number(min(figure.ratios))} to {number(max(figure.ratios))}" if len(figure.ratios) > 1 else ""
    mine, theirs = number(figure.ours), number(figure.theirs)
    return [figure.what, NAMES[figure.backend], figure.peer, mine, theirs, figure.unit, number(figure.ratio), spread]


def by_curve(points: Iterable[Point]) -> dict[str, list[Point]]:
    """Return points by the title of their curve."""
    curves: dict[str, list[Point]] = defaultdict(list)
    for point in points:
        curves[f"{point.curve}, {point.unit}, by {point.axis}"].append(point)
    return curves


def by_side(points: Iterable[Point]) -> dict[str, dict[int, float]]:
    """Return values by side and size."""
    sides: dict[str, dict[int, float]] = defaultdict(dict)
    for point in points:
        sides[NAMES.get(point.side, point.side)][point.size] = point.value
    return sides


def by_axis(points: Iterable[Point]) -> dict[str, tuple[list[str], list[list[str]]]]:
    """Return tables of curves with the same axis: header and rows."""
    axes: dict[str, list[Point]] = defaultdict(list)
    for point in points:
        axes[point.axis].append(point)
    tables = {}
    for axis, some in axes.items():
        sizes = sorted({point.size for point in some})
        rows = []
        for curve, few in by_curve(some).items():
            for side, values in by_side(few).items():
                shown = [number(values[one]) if one in values else "" for one in sizes]
                rows.append([curve.removesuffix(f", by {axis}"), side, *shown])
        tables[axis] = ([axis, "", *(f"{one:,}" for one in sizes)], rows)
    return tables


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    names = list(header)
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# The page


def write(given: Mapping[str, Any], found: Mapping[str, Findings], docs: Path = DOCS) -> Path:
    """Write `performance.md` and its plots; return the page.

    Args:
        given: The conditions of the run.
        found: The results of the comparisons.
        docs: The folder of the documentation.
    """
    images = docs / "images"
    images.mkdir(exist_ok=True)
    parts = [_head(given)]
    for name, findings in found.items():
        parts.append(f"## {COMPARISONS[name].title}")
        if findings.figures:
            parts.append(table(COLUMNS, (cells(one) for one in findings.figures)))
        if not findings.points:
            continue
        plot(findings.points, images / f"performance-{name}.png")
        parts.append(f"![{COMPARISONS[name].title}](images/performance-{name}.png)")
        parts += [table(header, rows) for header, rows in by_axis(findings.points).values()]
    page = docs / "performance.md"
    page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return page


def list_page(root: Path) -> None:
    """Add the page to the navigation of the site and to `llms.txt`, unless they have it.

    Args:
        root: The folder of the repository.
    """
    site = root / "zensical.toml"
    text = site.read_text(encoding="utf-8")
    if '"performance.md"' not in text:
        before, after, rest = text.partition('{ "How it compares" = "comparison.md" },\n')
        site.write_text(f'{before}{after}        {{ "Performance" = "performance.md" }},\n{rest}', encoding="utf-8")
    subprocess.run([sys.executable, str(root / "docs" / "website.py"), "llms"], check=True, cwd=root)


def _head(given: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {one}" for name, one in given["versions"].items())
    busy = given["load"] > 0.5 * (given["cores"] or 1)
    note = " Other work ran on the machine, so compare ratios only." if busy else ""
    return f"""# Performance

`python -m benchmarks` compares this package with its peers in one process and writes this page. You can repeat it:

```text
{_COMMANDS[given["size"]]}
```

Run of {given["date"]}: {given["cores"]} cores, load {given["load"]} at the start, {given["minutes"]} minutes.{note}

Python {given["python"]}, SQLite {given["sqlite"]}, PostgreSQL 18 without `fsync`, Redis 6.2 without persistence; {versions}.

- **ours** and **theirs** are medians. **ratio** is the median of ours divided by theirs in each round, and **spread** is the
  smallest and the largest of them. The sides take turns in each round.
- A lower ratio is better, except for operations and turns a second.
- "by hand" is the least code that does the same work on the same database. It has no windows by tokens, search, tenants,
  expiry or checks, so it is a lower bound.
- CPU times are those of the process and of the database server."""


def plot(points: list[Point], file: Path) -> None:
    """Draw the curves of points: one panel for each curve."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    curves = by_curve(points)
    columns = min(3, len(curves))
    rows = -(-len(curves) // columns)
    figure, panels = plt.subplots(rows, columns, figsize=(4.2 * columns, 3.2 * rows), squeeze=False)
    for panel, (title, some) in zip(panels.flat, curves.items(), strict=False):
        for side, values in by_side(some).items():
            panel.plot(list(values), list(values.values()), marker="o", markersize=3, label=side)
        name, unit, axis = title.rsplit(", ", 2)
        panel.set_title(name, fontsize=9)
        panel.set_xlabel(axis.removeprefix("by "), fontsize=8)
        panel.set_ylabel(unit, fontsize=8)
        if max(point.size for point in some) >= 1_000 and min(point.size for point in some) <= 10:
            panel.set_xscale("log")
            panel.set_yscale("log")
        else:
            panel.set_ylim(bottom=0)
        panel.tick_params(labelsize=8)
        panel.legend(fontsize=7)
    for panel in panels.flat[len(curves) :]:
        panel.set_visible(False)
    figure.tight_layout()
    figure.savefig(file, dpi=100)
    plt.close(figure)
