"""The licences of what the package took from others go with every copy of it."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_licences_of_the_stop_words_go_with_every_copy():
    configured = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = configured["project"]["license-files"]
    included = configured["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    found = {path.name for pattern in patterns for path in ROOT.glob(pattern)}
    assert found == {"LICENSE", "snowball.txt", "postgresql.txt"}
    assert {"/LICENSE", "/LICENSES"} <= set(included)
    assert "Dr Martin Porter" in (ROOT / "LICENSES/snowball.txt").read_text(encoding="utf-8")
    assert "PostgreSQL Global Development Group" in (ROOT / "LICENSES/postgresql.txt").read_text(encoding="utf-8")
