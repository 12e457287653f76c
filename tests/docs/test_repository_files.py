"""The files of the repository for services that the tests cannot start: the workflow and the compose file."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

from langchain_agentmem.backends import connect

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PYTHONS = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["project"]["classifiers"]))


def read(path: str) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))
    return found


def test_the_workflow_tests_each_python_and_the_lowest_dependencies() -> None:
    workflow = read(".github/workflows/nightly.yml")
    newest, lowest = workflow["jobs"]["newest"], workflow["jobs"]["lowest"]
    assert workflow[True]["schedule"], "YAML reads `on` as true"
    assert newest["strategy"]["matrix"]["python"] == PYTHONS
    (setup,) = [step["with"] for step in lowest["steps"] if "setup-python" in step.get("uses", "")]
    assert sorted(setup["python-version"].split()) == sorted(PYTHONS)
    (script,) = [step["run"] for step in lowest["steps"] if "run" in step]
    assert os.access(ROOT / script, os.X_OK)
    assert "--resolution lowest-direct" in (ROOT / script).read_text(encoding="utf-8")


def test_the_services_of_the_compose_file_are_those_of_its_urls() -> None:
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    services = read("compose.yaml")["services"]
    postgres, valkey = re.findall(r"^#   AGENTMEM_URL=(\S+)$", text, re.MULTILINE)
    environment = services["postgres"]["environment"]
    user, password, name = (environment[f"POSTGRES_{key}"] for key in ("USER", "PASSWORD", "DB"))
    assert postgres == f"postgresql://{user}:{password}@localhost:5432/{name}"
    assert services["postgres"]["ports"] == ["127.0.0.1:5432:5432"]
    assert services["valkey"]["ports"] == ["127.0.0.1:6379:6379"]
    assert "noeviction" in services["valkey"]["command"], "the memory refuses a server that evicts keys"
    assert "vector" in services["postgres"]["image"]
    for url in (postgres, valkey):
        connect(url).close()
    assert all(service["healthcheck"]["test"] for service in services.values())
