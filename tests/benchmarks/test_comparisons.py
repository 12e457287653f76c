"""`python -m benchmarks`: each comparison runs, and its report has each figure."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from patience import PATIENCE

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks import report
from benchmarks.comparisons import COMPARISONS, SIZES
from benchmarks.shared import Figure, Findings, Point, take_turns

ROOT = Path(__file__).parents[2]
GIVEN = {
    "size": "short",
    "date": "1 May 2026",
    "cores": 2,
    "load": 9.0,
    "python": "3.11",
    "sqlite": "3.45",
    "minutes": 3.0,
}


def run(*arguments: str) -> str:
    """Run the command; return what it prints."""
    command = [sys.executable, "-m", "benchmarks", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=PATIENCE * 5)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.benchmarks
@pytest.mark.parametrize("name", COMPARISONS)
def test_a_comparison_runs(name):
    shown = run("--quick", "--only", name)
    backends = COMPARISONS[name].backends or ("",)
    assert all(f"{name} {backend}: " in shown for backend in backends)
    assert COMPARISONS[name].title in shown


def test_each_comparison_has_each_size():
    assert all(list(one.sizes) == list(SIZES) for one in COMPARISONS.values())


def test_the_sides_take_turns():
    order: list[str] = []
    sides = {"ours": lambda: order.append("ours"), "theirs": lambda: order.append("theirs")}
    times = take_turns(sides, 2, 2, {"theirs": 1})
    assert order == ["theirs", "ours", "ours", "ours", "ours", "theirs"]
    assert {name: len(one) for name, one in times.items()} == {"ours": 2, "theirs": 2}


def test_a_ratio_is_the_median_of_the_rounds():
    figure = Figure.of("put", "sqlite", "SqliteStore", "ms", [1.0, 2.0, 9.0], [2.0, 2.0, 3.0])
    assert (figure.ratio, figure.ours, figure.theirs, figure.is_better) == (1.0, 2.0, 2.0, False)
    assert report.cells(figure)[-2:] == ["1.00", "0.50 to 3.00"]


def test_the_page_has_each_figure_and_point(tmp_path):
    found = {
        "stores": Findings([Figure.of("put", "sqlite", "SqliteStore", "ms", [1.0], [4.0])]),
        "curves": Findings(
            points=[Point("get an item", "items", "redis", size, size / 7, "ms") for size in (10, 1_000)]
        ),
    }
    given = {**GIVEN, "versions": {"langgraph": "1.2"}}
    report.save(tmp_path / "build" / "results.json", given, found)
    assert report.load(tmp_path / "build" / "results.json") == (given, found)
    page = report.write(given, found, tmp_path).read_text()
    assert "| put | SQLite | SqliteStore | 1.00 | 4.00 | ms | 0.25 |" in page
    assert "| get an item, ms | Redis | 1.43 | 143 |" in page
    assert "Other work ran on the machine" in page
    assert (tmp_path / "images" / "performance-curves.png").stat().st_size > 1_000


def test_the_page_is_listed_once(tmp_path, monkeypatch):
    called: list[list[str]] = []
    monkeypatch.setattr(report.subprocess, "run", lambda command, **_: called.append(command))
    (tmp_path / "zensical.toml").write_text((ROOT / "zensical.toml").read_text())
    for _ in range(2):
        report.list_page(tmp_path)
    listed = (tmp_path / "zensical.toml").read_text()
    assert listed.count('{ "Performance" = "performance.md" },') == 1
    tomllib.loads(listed)
    assert called[0][-1] == "llms"
