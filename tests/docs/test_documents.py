"""Every Python block of the documents runs as it stands, and prints what its comments say."""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from opentelemetry import trace
from opentelemetry.util._once import Once

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
WITH_PEERS = {"switch-from-agno.md", "switch-from-mem0.md"}
"""Documents whose packages are in the dependency group `peers`."""
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def marks(name: str) -> list[pytest.MarkDecorator]:
    """The marks of the test of a document."""
    found = [pytest.mark.peers] if name in WITH_PEERS else []
    if name.startswith("switch-from-"):  # the code before the switch uses what is deprecated
        found.append(pytest.mark.filterwarnings("ignore::DeprecationWarning"))
    return found


WITH_CODE = [
    pytest.param(one, id=one.name, marks=marks(one.name))
    for one in DOCUMENTS
    if _BLOCK.search(one.read_text(encoding="utf-8"))
]
_PROMISED = re.compile(r"^\s*print\(.*\)  # (.+)$", re.MULTILINE)


def test_documents_have_code() -> None:
    assert len(WITH_CODE) > 40


@pytest.mark.parametrize("document", WITH_CODE)
def test_the_python_of_a_document_runs_and_prints_what_it_says(
    document: Path,
    tmp_path: Path,
    postgres_database: str,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", postgres_database)
    monkeypatch.setenv("REDIS_URL", redis_url)
    for name, value in (("_TRACER_PROVIDER", None), ("_TRACER_PROVIDER_SET_ONCE", Once())):
        monkeypatch.setattr(trace, name, value)  # a document may set the process's tracer provider
    code = "\n".join(_BLOCK.findall(document.read_text(encoding="utf-8")))
    module = ModuleType("document")
    monkeypatch.setitem(sys.modules, "document", module)  # where Python looks for the types of annotations
    try:
        exec(compile(code, str(document), "exec", dont_inherit=True), module.__dict__)
    finally:
        logging.getLogger("langchain_agentmem").setLevel(logging.NOTSET)
    printed = capsys.readouterr().out.splitlines()
    for promise in _PROMISED.findall(code):
        if not promise.startswith("the "):
            assert promise in printed


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_links_of_a_document_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), target


def test_documents_name_no_path_of_a_machine() -> None:
    home = str(Path.home())
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        assert home not in text
        assert str(ROOT) not in text


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_an_extra_that_a_document_names_exists_and_is_installed_in_a_clone_too(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    released = re.findall(r"pip install \'langchain-agentmem\[([\w,]+)\]", text)
    assert sorted(released) == sorted(set(re.findall(r"pip install -e \'\.\[([\w,]+)\]", text)) - {"dev"})
    for extra in (one for group in released for one in group.split(",")):
        assert re.search(rf"^{extra} = \[", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
