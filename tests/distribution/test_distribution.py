"""The wheel and the sdist in the folder `AGENTMEM_TEST_DIST`: what they hold, and that they agree with the repository."""

from __future__ import annotations

import configparser
import os
import subprocess
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SUFFIXES = {".css", ".html", ".js", ".json", ".lua", ".py", ".sql", ".svg", ".txt", ".typed"}
"""Of files that a user of the package needs: code, statements, the page, lists of words, and the mark of typed packages."""

pytestmark = pytest.mark.wheel


@pytest.fixture(scope="module")
def dist() -> Path:
    return Path(os.environ["AGENTMEM_TEST_DIST"])


@pytest.fixture(scope="module")
def wheel(dist: Path) -> zipfile.ZipFile:
    (file,) = dist.glob("*.whl")
    return zipfile.ZipFile(file)


@pytest.fixture(scope="module")
def sdist(dist: Path) -> list[str]:
    (file,) = dist.glob("*.tar.gz")
    with tarfile.open(file) as archive:
        return [name.partition("/")[2] for name in archive.getnames()]


def files(*paths: str) -> set[str]:
    """The files of the repository below some paths, with those that are not committed yet."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *paths],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    return set(listed.stdout.split("\0")) - {""}


def of_the_package(wheel: zipfile.ZipFile) -> set[str]:
    return {name for name in wheel.namelist() if ".dist-info/" not in name}


def test_the_wheel_holds_the_files_of_the_package_and_no_others(wheel: zipfile.ZipFile) -> None:
    assert of_the_package(wheel) == files("langchain_agentmem")


def test_the_wheel_holds_nothing_that_users_do_not_need(wheel: zipfile.ZipFile) -> None:
    names = of_the_package(wheel)
    assert {Path(name).suffix for name in names} <= SUFFIXES
    assert not [name for name in names if Path(name).name.startswith(("test_", "conftest", "."))]
    assert not [name for name in names if {"tests", "docs", "notebooks", "benchmarks"} & {*Path(name).parts}]
    assert sum(one.compress_size for one in wheel.infolist()) < 2_500_000


def test_the_wheel_names_its_licences_and_commands(wheel: zipfile.ZipFile) -> None:
    about = {Path(name).name: name for name in wheel.namelist() if ".dist-info/" in name}
    assert {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "LICENSE"} <= set(about)
    for licence in files("LICENSE", "LICENSES"):
        assert any(name.endswith(f".dist-info/licenses/{licence}") for name in wheel.namelist())
    commands = configparser.ConfigParser()
    commands.read_string(wheel.read(about["entry_points.txt"]).decode())
    assert {*commands["console_scripts"]} == {"agentmem", "langchain-agentmem"}
    metadata = Parser().parsestr(wheel.read(about["METADATA"]).decode())
    assert metadata["Requires-Python"] == ">=3.11"
    assert "create_agent" in str(metadata.get_payload()), "the README is the description"


def test_the_sdist_holds_what_builds_tests_and_documents_the_package(sdist: list[str]) -> None:
    assert files("langchain_agentmem", "tests", "docs", "notebooks", "templates", "pyproject.toml") <= set(sdist)
    assert not [name for name in sdist if "__pycache__" in name or name.endswith((".db", ".pyc"))]
