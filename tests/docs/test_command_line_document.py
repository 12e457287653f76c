"""Every command in `docs/command-line.md` exists, and prints what the document says; `…` stands for what differs."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from langchain_agentmem.__main__ import main
from langchain_agentmem.command.application import build

TEXT = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text(encoding="utf-8")
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRESS = re.compile(r"[⠀-⣿] .*")
COMMANDS = [str(one.name) for one in build().registered_commands]


def test_the_commands_print_what_the_document_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["agentmem"])
    for name, value in (("FORCE_COLOR", "1"), ("NO_COLOR", "1"), ("COLUMNS", "100"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    exec(compile("\n".join(PYTHON.findall(TEXT)), "command-line.md", "exec"), {})
    calls = [call for block in CONSOLE.findall(TEXT) for call in block.removeprefix("$ ").split("\n$ ")]
    assert len(calls) >= 8
    for call in calls:
        line, _, promised = call.partition("\n")
        program, *arguments = shlex.split(line)
        assert program == "agentmem"
        code = main(arguments)
        shown = capsys.readouterr()
        printed = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", shown.out + PROGRESS.sub("", shown.err))
        assert code == 0, printed
        assert re.fullmatch(pattern(promised), words(printed)), (line, words(printed), words(promised))


def words(text: str) -> str:
    """A text without trailing spaces, and without the width of its columns."""
    return "\n".join(" ".join(line.split()) for line in text.strip().splitlines() if not set(line.strip()) <= {"─"})


def pattern(promised: str) -> str:
    return re.escape(words(promised)).replace("…", "(?s:.*)")


def test_the_document_names_every_command() -> None:
    for name in COMMANDS:
        assert re.search(rf"`{name}[` ]|`agentmem {name}[` ]", TEXT), name


@pytest.mark.parametrize("name", COMMANDS)
def test_the_options_in_the_document_exist(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["agentmem"])
    monkeypatch.setenv("COLUMNS", "200")
    assert main([name, "--help"]) == 0
    known = capsys.readouterr().out
    for row in re.findall(rf"^\| `{name}[` ].*$", TEXT, re.MULTILINE):
        for option in re.findall(r"(--[a-z-]+)", row):
            assert f"{option} " in known or f"{option}\n" in known, (name, option)
