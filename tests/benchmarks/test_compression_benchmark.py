"""`benchmarks/compression.py`: a smaller run of the same measurement."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def loaded(name: str) -> ModuleType:
    """A benchmark program as a module."""
    path = Path(__file__).parents[2] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


TURNS = 50


@pytest.fixture(scope="module")
def compression() -> Any:
    return loaded("compression")


@pytest.fixture(scope="module")
def figures(compression: Any) -> dict[str, Any]:
    return {name: compression.measured(make, TURNS) for name, make in compression.METHODS.items()}


def test_the_conversation_is_deterministic_and_does_not_fit(compression):
    runs = [
        [(added.messages, answer) for added, answer in compression.script_steps(compression.Script(TURNS))]
        for _ in (1, 2)
    ]
    assert runs[0] == runs[1]
    whole = [one for added, answer in runs[0] for one in (*added, answer)]
    assert compression.count_tokens_approximately(whole) > 4 * compression.BUDGET
    assert {len(str(one.content)) > 2 * compression.BUDGET for one in whole if one.type == "tool"} == {True, False}


def test_each_method_answers_the_same_calls_and_summarises(figures):
    assert len({one.calls for one in figures.values()}) == 1
    assert all(one.summariser_calls > 0 for one in figures.values())


def test_this_package_sends_valid_requests_within_the_budget_and_loses_no_needle(figures):
    ours = figures["this package"]
    assert ours.over == 0
    assert set(ours.invalid.values()) == {0}
    assert (ours.said, ours.found) == (1.0, 1.0)


def test_this_package_keeps_the_beginning_of_requests_and_sends_the_summariser_little(figures):
    ours, langchain, editing = (figures[name] for name in ("this package", "LangChain", "LangChain + editing"))
    assert ours.unchanged > 0.8
    assert ours.unchanged > editing.unchanged
    assert ours.summariser_tokens < langchain.summariser_tokens


def test_the_rules_find_requests_that_providers_refuse(figures):
    assert figures["LangMem"].invalid["bedrock"] > 0


def test_the_program_prints_a_table(compression, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["compression.py", "--turns", "10", "--only", "this package"])
    compression.main()
    assert "10 turns" in capsys.readouterr().out
