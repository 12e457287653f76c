"""mypy accepts correct calls of the public API with the right types, and rejects mistakes in others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mypy import api

import langchain_agentmem

HERE = Path(__file__).parent
EXPECTED = re.compile(r"# E: ([a-z-]+)$")
FOUND = re.compile(r"^(?P<file>.+?):(?P<line>\d+): error: (?P<message>.*?)  \[(?P<code>[a-z-]+)\]$", re.MULTILINE)


def test_what_type_checkers_accept_and_reject(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(langchain_agentmem.__file__).parent.parent
    monkeypatch.chdir(root)
    files = [HERE / "accepted.py", HERE / "rejected.py"]
    arguments = ["--strict", "--no-pretty", *map(str, files)]  # with the cache of `mypy --strict langchain_agentmem`
    output, errors, _ = api.run(arguments)
    assert errors == ""
    found = {(Path(one["file"]).name, int(one["line"]), one["code"]) for one in FOUND.finditer(output)}
    expected = {
        (file.name, number, match[1])
        for file in files
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if (match := EXPECTED.search(line))
    }
    assert len(expected) > 20
    assert found == expected, output
