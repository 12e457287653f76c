"""Every notebook is kept with its outputs, and runs again from the first cell to the last."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from jupyter_client import KernelManager
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_kept_with_its_outputs(file: Path) -> None:
    cells = [cell for cell in nbformat.read(file, as_version=4).cells if cell.cell_type == "code"]
    assert cells
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert any(cell.outputs for cell in cells)
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]


@pytest.fixture(scope="module")
def kernel() -> Iterator[KernelManager]:
    """A kernel, which imports packages once for all notebooks."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel()
    yield manager
    manager.shutdown_kernel(now=True)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_again(file: Path, tmp_path: Path, kernel: KernelManager) -> None:
    fresh = nbformat.read(file, as_version=4)
    for cell in fresh.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    # The notebook makes its folder in TMPDIR.
    prepare = f"""
get_ipython().run_line_magic("reset", "-f")
import os, tempfile
os.chdir({str(tmp_path)!r})
os.environ["TMPDIR"] = tempfile.tempdir = {str(tmp_path)!r}
del os, tempfile
"""
    fresh.cells.insert(0, nbformat.v4.new_code_cell(prepare))
    client = NotebookClient(fresh, timeout=600, km=kernel)
    try:
        client.execute(cleanup_kc=False)
    finally:
        client.kc.stop_channels()
    printed = [
        [output.text for output in cell.get("outputs", []) if output.output_type == "stream"] for cell in fresh.cells
    ]
    assert any(printed)


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_has_one_title_and_sections(file: Path) -> None:
    texts = [cell.source for cell in nbformat.read(file, as_version=4).cells if cell.cell_type == "markdown"]
    headings = [line for text in texts for line in text.splitlines() if line.startswith("#")]
    assert headings[0].startswith("# ")
    assert all(re.match(r"##+ \w", one) for one in headings[1:]), headings
    assert len(headings) > 3
