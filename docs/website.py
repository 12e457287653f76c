"""Builds the documentation site, and writes `docs/llms.txt`.

    pip install --group docs             # Zensical and mkdocstrings
    python docs/website.py build         # the site in build/site; a wrong link is an error
    python docs/website.py serve         # the same, on a port of this machine
    python docs/website.py llms          # writes docs/llms.txt

The site has the pages of `docs/`, the README as its first page, the other documents of the repository and the notebooks. They
are copied to `build/pages` with their links changed, so all of them stay readable in the repository.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "build" / "pages"
SITE = ROOT / "build" / "site"
LLMS = ROOT / "docs" / "llms.txt"

MOVED = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "templates/langgraph-app/README.md": "template.md",
}
"""Files of the repository that are pages of the site, with their names there."""

_LINK = re.compile(r"(\]\()([^)#\s]+)([^)]*\))")
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_CONTROL = re.compile(r"\x1b\[[0-9;]*m")


def navigation() -> dict[str, Any]:
    """Return the navigation of `zensical.toml`: titles with pages, or with further titles."""
    with (ROOT / "zensical.toml").open("rb") as file:
        return _mapping(tomllib.load(file)["project"]["nav"])


def _mapping(entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        title: _mapping(target) if isinstance(target, list) else target
        for entry in entries
        for title, target in entry.items()
    }


def pages_of(part: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the title and the page of each entry of a navigation, with those of its parts."""
    for title, target in part.items():
        if isinstance(target, str):
            yield title, target
        else:
            yield from pages_of(target)


def source_of(page: str) -> Path:
    """Return the file of the repository that a page of the site is made from."""
    for source, moved in MOVED.items():
        if moved == page:
            return ROOT / source
    if page.startswith("notebooks/"):
        return ROOT / Path(page).with_suffix(".ipynb")
    return ROOT / "docs" / page


def page_of(source: Path) -> str:
    """Return the place in the site of a file of the repository."""
    relative = source.relative_to(ROOT).as_posix()
    if relative in MOVED:
        return MOVED[relative]
    if relative.startswith("docs/"):
        return relative.removeprefix("docs/")
    return relative.removesuffix(".ipynb") + ".md" if relative.endswith(".ipynb") else relative


def text_of(source: Path) -> str:
    """Return the Markdown of a document or of a notebook, with its links as in the repository."""
    text = source.read_text(encoding="utf-8")
    return text if source.suffix == ".md" else "\n\n".join(_cells(json.loads(text), source.stem))


def linked(text: str, source: Path) -> str:
    """Return a document with the links that its page in the site needs."""
    here = Path(page_of(source)).parent

    def changed(found: re.Match[str]) -> str:
        target = found[2]
        if re.match(r"\w+:", target) or target.startswith("/"):
            return found[0]
        page = page_of((source.parent / target).resolve())
        return f"{found[1]}{os.path.relpath(page, here)}{found[3]}"

    parts, at = [], 0
    for block in _FENCED.finditer(text):
        parts += [_LINK.sub(changed, text[at : block.start()]), block[0]]
        at = block.end()
    return "".join([*parts, _LINK.sub(changed, text[at:])])


def _cells(notebook: dict[str, Any], name: str) -> Iterator[str]:
    for number, cell in enumerate(notebook["cells"]):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            yield source
            continue
        yield f"```python\n{source}\n```"
        for at, output in enumerate(cell["outputs"]):
            data = output.get("data", {})
            if "image/png" in data:
                image = f"{name}-{number}-{at}.png"
                folder = PAGES / "notebooks"
                folder.mkdir(parents=True, exist_ok=True)
                (folder / image).write_bytes(base64.b64decode("".join(data["image/png"])))
                yield f"![Output of the cell](./{image})"
            elif "text/html" in data:
                yield f'<div class="output">{" ".join("".join(data["text/html"]).split())}</div>'
            else:
                text = "".join(output.get("text") or data.get("text/plain") or "")
                yield f"```text\n{_CONTROL.sub('', text).rstrip()}\n```"


def stage() -> None:
    """Copy all pages of the site to `build/pages`, with the links that they need there."""
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.copytree(ROOT / "docs", PAGES, ignore=shutil.ignore_patterns("*.md", "*.py", "__pycache__"))
    sources = [*(ROOT / "docs").rglob("*.md"), *(ROOT / "notebooks").glob("*.ipynb"), *map(ROOT.joinpath, MOVED)]
    for source in sources:
        page = PAGES / page_of(source)
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(linked(text_of(source), source), encoding="utf-8")


def llms() -> str:
    """Return the index of the documentation as plain text, in the form of llms.txt."""
    lines = ["# langchain-agentmem", "", f"> {_summary(ROOT / 'README.md')}"]
    for part, entries in navigation().items():
        if isinstance(entries, str):
            continue
        lines += ["", f"## {part}", ""]
        lines += [f"- [{title}]({page}): {_summary(source_of(page))}" for title, page in pages_of(entries)]
    return "\n".join(lines) + "\n"


def _summary(source: Path) -> str:
    """Return the first sentence of a page."""
    text = _FENCED.sub("", text_of(source))
    paragraph = next(
        part for part in re.split(r"\n\s*\n", text) if part.strip() and not part.startswith(("#", "<", "!", "|", ">"))
    )
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(paragraph.split()))
    return re.split(r"(?<=[.:])\s", plain)[0].rstrip(":.") + "."


def main() -> int:
    """Run the command that the arguments name; return the exit code."""
    parser = argparse.ArgumentParser(description="The documentation site.")
    parser.add_argument("command", choices=["build", "serve", "llms"])
    command = parser.parse_args().command
    if command == "llms":
        LLMS.write_text(llms(), encoding="utf-8")
        return 0
    stage()
    options = ["--strict", "--clean"] if command == "build" else []
    code = subprocess.run([sys.executable, "-m", "zensical", command, *options], cwd=ROOT, check=False).returncode
    if code == 0:  # the links of llms.txt lead to the Markdown of the pages
        shutil.copytree(PAGES, SITE, dirs_exist_ok=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
