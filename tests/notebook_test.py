"""The tutorial's notebook is the tutorial's page, and runs."""

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

from tests.markdown import ROOT

NOTEBOOK = ROOT / "docs/tutorial.ipynb"


def cells(notebook) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def test_the_notebook_is_in_step_with_the_page():
    page = jupytext.read(ROOT / "docs/tutorial.md")
    assert cells(nbformat.read(NOTEBOOK, as_version=4)) == cells(page), "make notebook"


@pytest.mark.full
def test_the_notebook_executes(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) > 5 and all(cell.execution_count for cell in code)
